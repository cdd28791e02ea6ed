/// What methods of one family have in common: what they do, what that costs, when it fails.
///
/// Example: `MethodFamily("oracle", "Oracles", "The best that any selection could do: ...")`. Lists
/// show it beside the methods whose cards carry its word; it knows none of them.
public struct MethodFamily: Sendable, Equatable {
  /// The word that cards carry as their `family`.
  public let word: String
  /// For a person.
  public let title: String
  /// Two to four sentences.
  public let paragraph: String

  /// `word` is that of `MethodCard.family`.
  public init(_ word: String, _ title: String, _ paragraph: String) {
    (self.word, self.title, self.paragraph) = (word, title, paragraph)
  }
}
