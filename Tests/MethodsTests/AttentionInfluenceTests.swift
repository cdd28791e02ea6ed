import Attention
import Foundation
import Methods
import Support
import Tensors
import Testing

/// The checks of the card of AttentionInfluence, on maps that are drawn by hand.
@Suite struct AttentionInfluenceTests {
  /// Causal rows of ten tokens, each with all its weight on the key that `target` names, else even.
  private static func head(_ target: (Int) -> Int?) -> Head {
    let n = 10
    let map = (0..<n * n).map { at -> Float in
      let (i, j) = (at / n, at % n)
      guard let key = target(i) else { return j <= i ? 1 / Float(i + 1) : 0 }
      return j == key ? 1 : 0
    }
    return Head(pattern: Tensor(map, shape: [n, n]), causal: true)
  }

  /// a b c d x a b c d y: the segment at 0 and at 5.
  private static let texts = ["a", "b", "c", "d", "x", "a", "b", "c", "d", "y"]

  private static func examine(
    _ setting: String, _ layers: [[Head]], texts: [String] = texts,
    model: (any ModelReader)? = nil
  ) throws -> Findings {
    var run = MethodRun()
    run.model = model
    return try Registry.standard.make(MethodSetting(parsing: setting)).examine(
      Subject(layers: layers, tokens: TokenFacts(texts: texts)), run)
  }

  /// Checks 2 and 3: the right token, another of the needle, and even weights.
  @Test func retrievalOfMapsDrawnByHand() throws {
    let right = Self.head { i in (5...7).contains(i) ? i - 4 : nil }
    let wrong = Self.head { i in (5...7).contains(i) ? i - 5 : nil }
    let even = Self.head { _ in nil }
    let twice = Self.head { i in (5...6).contains(i) ? i - 4 : nil }
    let found = try Self.examine("attention-influence", [[wrong, right], [even, twice]])
    let field = try #require(found.field("retrieval")).field
    #expect(try field.row(0) == [0, 1] && field.row(1) == [0, Float(2.0 / 3)])
    #expect(found["segment"]?.number == 4 && found["chosen_heads"]?.number == 1)
    #expect(found["retrieval_heads"]?.number == 2 && found["retrieval_score"]?.number == 0)
    let chosen = try #require(found.field("chosen")).field
    #expect(try chosen.row(0) == [0, 1] && chosen.row(1) == [0, 0])
    let needle = try #require(found.field("needle")).field
    #expect(try needle.row(5)[1] == 1 && needle.row(7)[3] == 1 && needle.row(8)[4] == 0)
    #expect(found["influence"]?.number == nil && found["loss_base"]?.number == nil)
    let given = try Self.examine(
      "attention-influence:first=0,second=5,length=4,share=0.5", [[wrong, right], [even, twice]],
      texts: [])
    #expect(given["chosen_heads"]?.number == 2)
    #expect(throws: Missing.self) {
      try Self.examine("attention-influence", [[even]], texts: (0..<10).map { "\($0)" })
    }
    #expect(throws: Missing.self) { try Self.examine("attention-influence:probe=random", [[even]]) }
  }

  /// Check 2 by needle tests: a head that looks at what comes next where it stood before finds the
  /// whole needle, one that looks at its own token finds nothing, one that gives up halfway half.
  @Test func needleTests() throws {
    func needles(_ setting: String, vocabulary: Int = 1000) throws -> Findings {
      try Self.examine(
        "attention-influence:probe=needles,share=0.3,\(setting)", [[Self.head { _ in nil }]],
        texts: [], model: Finder(vocabulary: vocabulary))
    }
    let found = try needles("tests=3,length=10")
    let field = try #require(found.field("retrieval")).field
    #expect(try field.row(0) == [1, 0, 0.5, 0])
    #expect(found["segment"]?.number == 10 && found["needle_tests"]?.number == 3)
    #expect(found["retrieval_heads"]?.number == 2 && found["retrieval_score"]?.number == 1)
    // The box: ten rows of the answer, each with one key of the needle, one after another.
    let needle = try #require(found.field("needle")).field
    let n = needle.rows.count, rows = try (0..<n).map { try needle.row($0).firstIndex(of: 1) }
    let keys = rows[(n - 11)..<(n - 1)].compactMap { $0 }
    #expect(n == 12 * 18 && keys.count == 10 && rows.compactMap { $0 }.count == 10)
    #expect(zip(keys, keys.dropFirst()).allSatisfy { $0 + 1 == $1 } && keys[9] < 8 * 18)
    let other = try #require(needles("tests=1,length=10,seed=5", vocabulary: 150).field("needle"))
    #expect(try other.field.row(n - 2).firstIndex(of: 1) != nil)
    #expect(throws: Missing.self) { try needles("length=10", vocabulary: 143) }
    #expect(throws: Missing.self) {
      try Self.examine("attention-influence:probe=needles", [[Self.head { _ in nil }]])
    }
  }

  /// A model whose first head looks at the next token's first place, the second at its own token's,
  /// the third as the first in the first half of the last five tokens in ten, the fourth evenly.
  private struct Finder: ModelReader {
    let vocabulary: Int
    let layers = 1, heads = 4

    func losses(_ changes: [ModelChange]) throws -> [[Float]] { changes.map { _ in [.nan, 1] } }

    func heads(reading tokens: [Int]) throws -> [[Head]] {
      let n = tokens.count
      #expect(tokens.allSatisfy { (0..<vocabulary).contains($0) })
      func head(_ target: (Int) -> Int?) -> Head {
        var map = [Float](repeating: 0, count: n * n)
        for i in 0..<n {
          guard let key = target(i), key <= i else {
            for j in 0...i { map[i * n + j] = 1 / Float(i + 1) }
            continue
          }
          map[i * n + key] = 1
        }
        return Head(pattern: Tensor(map, shape: [n, n]), causal: true)
      }
      func place(_ i: Int) -> Int? {
        tokens.indices.contains(i) ? tokens.firstIndex(of: tokens[i]) : nil
      }
      return [
        [
          head { place($0 + 1) }, head { place($0) }, head { $0 < n - 6 ? place($0 + 1) : nil },
          head { _ in nil },
        ]
      ]
    }
  }

  /// The relative rise of the mean loss, and that of as many other heads.
  @Test func influenceIsTheRelativeRise() throws {
    let right = Self.head { i in (5...7).contains(i) ? i - 4 : nil }
    let even = Self.head { _ in nil }
    let found = try Self.examine(
      "attention-influence:probe=text", [[right, even]],
      model: Weighed(worth: [ModelChange.Place(0, 0): 0.5, ModelChange.Place(0, 1): 0.25]))
    #expect(found["loss_base"]?.number == 2 && found["loss_masked"]?.number == 2.5)
    #expect(found["influence"]?.number == 0.25 && found["influence_control"]?.number == 0.125)
    #expect(found["top_token"]?.number == 1)
    #expect(found.series("document") == [0.25])
    // With every head chosen nobody is left for the control.
    let all = try Self.examine(
      "attention-influence:probe=text,share=1", [[right, even]],
      model: Weighed(worth: [:]))
    #expect(all["influence"]?.number == 0 && all["influence_control"]?.number == nil)
  }

  /// Heads of a model that are worth so much of the loss.
  private struct Weighed: ModelReader {
    let worth: [ModelChange.Place: Float]
    let layers = 1, heads = 2, vocabulary = 8

    func losses(_ changes: [ModelChange]) throws -> [[Float]] {
      changes.map { change in
        let more = change.heads.reduce(Float(0)) { $0 + (worth[$1] ?? 0) }
        return [Float.nan, 1 + more, 3 + more]
      }
    }

    func heads(reading tokens: [Int]) throws -> [[Head]] { throw Missing(.model) }
  }
}
