import Attention
import Methods
import Testing

/// What lists say of families.
@Suite struct FamilyTests {
  /// A card's family is one that is written about, in two to four sentences.
  @Test(arguments: Registry.standard.cards.map(\.family)) func everyFamilyHasAParagraph(
    _ word: String
  ) throws {
    let family = try #require(MethodFamily.named(word), "nobody has written about \(word)")
    #expect(!family.title.isEmpty && family.title != word)
    let sentences = family.paragraph.matches(of: /[.?!](?= |$)/).count
    #expect((2...4).contains(sentences), "\(word): \(sentences) sentences")
    #expect(family.paragraph.hasSuffix(".") && !family.paragraph.contains("  "))
  }

  /// Words stand once, and what a registry lists is what its cards have.
  @Test func aRegistryListsItsOwnFamiliesOnce() {
    let words = MethodFamily.all.map(\.word)
    #expect(Set(words).count == words.count)
    #expect(Set(MethodFamily.all.map(\.paragraph)).count == words.count)
    let registry = Registry([Dense.self, TopK.self])
    #expect(registry.families.map(\.word) == ["softmax", "oracle"])
    let all = Registry.standard
    #expect(Set(all.families.map(\.word)) == Set(all.cards.map(\.family)))
    #expect(all.families.count == Set(all.cards.map(\.family)).count)
  }
}
