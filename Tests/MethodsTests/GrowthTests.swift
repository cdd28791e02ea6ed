import Analysis
import Attention
import Foundation
import Methods
import Support
import Testing

/// What cards say of the cost of choosing, held to the dot products that methods count.
@Suite struct GrowthTests {
  private static func head(_ n: Int) -> Head {
    var random = Seeded(17)
    return Head(
      query: random.tensor([n, 16]), key: random.tensor([n, 16], scale: 2),
      value: random.tensor([n, 16]), causal: true)
  }

  /// Masks, at the paper's numbers.
  private static let masks: [any MaskMethod.Type] = Registry.standard.methods.compactMap {
    $0 as? any MaskMethod.Type
  }

  @Test func everyMaskSaysHowItsChoiceGrows() {
    for type in Self.masks where !type.card.needs.contains(.selection) {
      #expect(type.card.growth?.text.isEmpty == false, "\(type.card.id)")
    }
  }

  /// The slope between lengths of the count is not above that of the card's formula.
  @Test func countsGrowAsTheCardSays() throws {
    let lengths = [512, 1024, 2048], heads = lengths.map(Self.head)
    var counted = 0
    for type in Self.masks {
      let card = type.card
      guard let growth = card.growth, !card.needs.contains(.imageGrid) else { continue }
      let scaled = card.knobs.first { $0.standard == .word("scaled") }
      let method = try type.init(knobs: scaled.map { [$0.name: .word("paper")] } ?? [:])
      var products: [Int] = []
      for head in heads {
        var aside = Aside()
        _ = try method.keep(head, MethodRun(wantsNumbers: false), &aside)
        products.append(aside.selection)
      }
      guard growth.isSearch else {
        #expect(products == [0, 0, 0], "\(card.id) searches nothing")
        continue
      }
      guard products.allSatisfy({ $0 > 0 }) else { continue }
      counted += 1
      let found = log(Double(products[2]) / Double(products[0])) / log(4)
      let said = log(growth.cost(2048) / growth.cost(512)) / log(4)
      #expect(found <= said + 0.15, "\(card.id): n^\(found), and \(growth.text) is n^\(said)")
    }
    #expect(counted > 15)
  }
}
