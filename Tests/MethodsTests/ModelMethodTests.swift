import Attention
import Foundation
import Methods
import Support
import Tensors
import Testing

/// The checks of the cards of methods that ask a model, on figures that can be worked out by hand.
@Suite struct ModelMethodTests {
  /// Four tokens, or so many.
  private static func head(_ n: Int = 4, causal: Bool = true, seed: UInt64 = 5) -> Head {
    var random = Seeded(seed)
    func draw(_ count: Int) -> [Float] {
      (0..<count).map { _ in Float(Double.random(in: -1...1, using: &random)) }
    }
    return Head(
      query: Tensor(draw(n * 4), shape: [n, 4]), key: Tensor(draw(n * 4), shape: [n, 4]),
      value: Tensor(draw(n * 3), shape: [n, 3]), causal: causal)
  }

  private static func examine(
    _ setting: String, _ head: Head, p: [Float]? = nil, losses: [Float]? = nil,
    residuals: Tensor? = nil, facts: TokenFacts = TokenFacts(), model: (any ModelReader)? = nil
  ) throws -> Findings {
    let subject = Subject(layers: [[head]], tokens: facts) { need, _ in
      switch need {
      case .probabilities:
        if let p { return Tensor(p, shape: [p.count]) }
      case .losses:
        if let losses { return Tensor(losses, shape: [losses.count]) }
      case .residuals: if let residuals { return residuals }
      default: break
      }
      throw Missing(need)
    }
    var run = MethodRun()
    run.model = model
    return try Registry.standard.make(MethodSetting(parsing: setting)).examine(subject, run)
  }

  // MARK: PRIOR

  /// Checks 2 to 5: the card's own figures.
  @Test func priorHasTheCardsFigures() throws {
    let head = Self.head(3), p: [Float] = [0.9, 0.5, 0.1]
    let found = try Self.examine("prior", head, p: p)
    let w = try #require(found.series("weight"))
    for (got, wanted) in zip(w, [0.2, 1.0, 1.8] as [Float]) { #expect(abs(got - wanted) < 1e-6) }
    #expect(abs(w.reduce(0, +) / 3 - 1) < 1e-6)
    #expect(found["top_token"]?.number == 2)
    let size = try #require(found["effective_share"]?.number)
    #expect(abs(size - 9 / (0.04 + 1 + 3.24) / 3) < 1e-6)
    #expect(found["loss_plain"]?.number == nil)
    let sure = try Self.examine("prior", head, p: [1, 0.5, 0.5])
    #expect(sure.series("weight") == [0, 1.5, 1.5])
    let even = try Self.examine("prior:alpha=0", head, p: [1, 0.5, 0.1])
    #expect(even.series("weight") == [1, 1, 1])
    let none = try Self.examine("prior", head, p: [1, 1, 1])
    #expect(none["top_weight"]?.number == nil && none.notes.contains { $0.hasPrefix("n/a") })
    let surprise = try #require(found.series("surprise_weight")).map(Double.init)
    let total = -(log(0.9) + log(0.5) + log(0.1))
    #expect(abs(surprise[1] + 3 * log(0.5) / total) < 1e-6)
  }

  /// Checks 1 and 6: a constant leaves the loss as it is, and weights fall with p.
  @Test func priorOfAConstantIsThePlainLoss() throws {
    let head = Self.head(5), losses: [Float] = [.nan, 1, 4, 2, 3]
    let flat = try Self.examine("prior", head, p: [.nan, 0.3, 0.3, 0.3, 0.3], losses: losses)
    #expect(abs(try #require(flat["loss_weighted"]?.number) - 2.5) < 1e-12)
    #expect(abs(try #require(flat["loss_ratio"]?.number) - 1) < 1e-12)
    #expect(flat["caption_tokens"]?.number == 4)
    let p: [Float] = [.nan, 0.1, 0.2, 0.6, 0.7]
    for alpha in [0.5, 1, 2] {
      let found = try Self.examine("prior:alpha=\(alpha)", head, p: p, losses: losses)
      let w = try #require(found.series("weight")).dropFirst()
      #expect(zip(w, w.dropFirst()).allSatisfy { $0 > $1 })
      let u = [0.9, 0.8, 0.4, 0.3].map { pow($0, alpha) }, sum = u.reduce(0, +)
      let wanted = zip(u, [1.0, 4, 2, 3]).reduce(0) { $0 + $1.0 * $1.1 } / sum
      #expect(abs(try #require(found["loss_weighted"]?.number) - wanted) < 1e-6)
    }
    #expect(throws: Missing.self) { try Self.examine("prior", head) }
    #expect(throws: Missing.self) { try Self.examine("prior", head, p: [0.5, 0.5]) }
    #expect(throws: Missing.self) { try Self.examine("prior", head, p: [2, 0, 0, 0, 0]) }
  }

  /// Two visual tokens, then text: g is what rows hold on them.
  @Test func priorSeesTheImage() throws {
    let n = 5
    let map: [Float] = [
      1, 0, 0, 0, 0, 0.5, 0.5, 0, 0, 0, 0.1, 0.1, 0.8, 0, 0, 0.3, 0.2, 0.1, 0.4, 0, 0.4, 0.3, 0.1,
      0.1, 0.1,
    ]
    let head = Head(pattern: Tensor(map, shape: [n, n]), causal: true)
    let facts = TokenFacts(roles: [.visual, .visual, .text, .text, .text])
    let found = try Self.examine("prior", head, p: [0, 0, 0.9, 0.5, 0.1], facts: facts)
    let mass = try #require(found.series("image_mass"))
    #expect(mass[0].isNaN)
    for (t, wanted) in [(2, 0.2), (3, 0.5), (4, 0.7)] {
      #expect(abs(Double(mass[t]) - wanted) < 1e-6)
    }
    #expect(abs(try #require(found["mass_correlation"]?.number) - 1) < 1e-12)
    #expect(found["caption_tokens"]?.number == 3)
  }

  // MARK: LayerBoost

  /// A model of four layers whose loss is a sum of what its layers are worth.
  struct Sum: ModelReader {
    let worth: [Float]
    var layers: Int { worth.count }
    let heads = 1, vocabulary = 8

    func losses(_ changes: [ModelChange]) throws -> [[Float]] {
      changes.map { change in
        let lost = change.skipped.reduce(0) { $0 + worth[$1.value] }
        let half = change.windows.keys.reduce(0) { $0 + worth[$1.value] / 2 }
        let more = lost + half + Float(change.heads.count) / 8
        return [Float.nan, 2 + more, 3 + more, 4 + more]
      }
    }

    func heads(reading tokens: [Int]) throws -> [[Head]] { throw Missing(.model) }
  }

  @Test func layerBoostSortsLayersByWhatTheyCost() throws {
    let model = Sum(worth: [0.5, 0, 0.25, 0.125])
    let found = try Self.examine("layerboost:window=1", Self.head(), model: model)
    #expect(found.series("sensitivity") == [0.5, 0, 0.25, 0.125])
    let tiers = try #require(found.field("tiers")).field
    for (layer, tier) in [2, 0, 2, 1].enumerated() {
      #expect(try tiers.row(layer) == [Float(tier)])
    }
    #expect(found["base_loss"]?.number == 3 && found["joint_change"]?.number == 0.0625)
    #expect(found["sum_change"]?.number == 0)
    // One of four layers gone, one keeps 1 of 4 keys, and 4 of 10 entries.
    #expect(found["cache_saved"]?.number == (1 + 0.75) / 4)
    #expect(abs(try #require(found["flops_saved"]?.number) - (1 + 0.6) / 4) < 1e-12)
    #expect(found["layer_sensitivity"]?.number == 0.5 && found["layer_rank"]?.number == 3)
    // Check 4: r of L removed saves r / L; check 1: nothing changed costs nothing.
    let half = try Self.examine("layerboost:removed=0.5,linear=0", Self.head(), model: model)
    #expect(half["cache_saved"]?.number == 0.5 && half["flops_saved"]?.number == 0.5)
    let none = try Self.examine("layerboost:removed=0,linear=0", Self.head(), model: model)
    #expect(none["joint_change"]?.number == 0 && none["joint_loss"]?.number == 3)
    #expect(none["cache_saved"]?.number == 0)
    // Equal layers go by their number, and one and a half are two.
    let even = try Self.examine(
      "layerboost:removed=0.5,linear=0", Self.head(), model: Sum(worth: [1, 1, 1]))
    let equal = try #require(even.field("tiers")).field
    #expect(try [equal.row(0), equal.row(1), equal.row(2)] == [[0], [0], [2]])
    #expect(throws: Missing.self) { try Self.examine("layerboost", Self.head()) }
    #expect(throws: Missing.self) { try Self.examine("layerboost:measure=loss", Self.head()) }
  }

  /// Two layers over two tokens of width 2; the first adds nothing, the second a quarter turn.
  @Test func layerBoostProxies() throws {
    let residuals = Tensor(
      [3, 4, 0, 1] + [0, 0, 0, 0] + [0, 0, 0, 0] + [-4, 3, 1, 0] + [7, 7, 7, 7], shape: [5, 2, 2])
    let found = try Self.examine("layerboost", Self.head(), residuals: residuals)
    let norms = try #require(found.series("proxy_norm"))
    let angles = try #require(found.series("proxy_angle"))
    #expect(norms[0] == 0 && angles[0] == 0)
    #expect(norms[1] == 1 && abs(Double(angles[1]) - (1 - 0.5.squareRoot())) < 1e-6)
    #expect(found["base_loss"]?.number == nil && found["proxy_correlation"]?.number == nil)
    #expect(found.notes.contains { $0.hasPrefix("output-change proxy") })
    let both = try Self.examine(
      "layerboost", Self.head(), residuals: residuals, model: Sum(worth: [0, 1]))
    #expect(abs(try #require(both["proxy_correlation"]?.number) - 1) < 1e-12)
  }

  /// Rows of the linear window against the definition.
  @Test(arguments: [true, false]) func linearWindow(_ causal: Bool) throws {
    let head = Self.head(9, causal: causal), both = try #require(head.queryAndKey)
    let found = try #require(LinearWindow(head, window: 3))
    func f(_ x: Float) -> Double { x > 0 ? Double(x) + 1 : exp(Double(x)) }
    for i in 0..<9 {
      let q = both.query[i].floats().map(f)
      let dots = (0..<9).map { j -> Double in
        guard causal ? j <= i && i - j < 3 : abs(i - j) < 3 else { return 0 }
        return zip(q, both.key[j].floats().map(f)).reduce(0) { $0 + $1.0 * $1.1 }
      }
      let sum = dots.reduce(0, +)
      for (j, got) in try found.row(i).enumerated() {
        if causal, j > i {
          #expect(got.isNaN)
        } else {
          #expect(abs(Double(got) - dots[j] / sum) < 1e-6, "\(i) \(j)")
        }
      }
    }
  }

  // MARK: Masked heads

  /// Check 4 of AttentionInfluence: the running mean, exactly.
  @Test func maskedHeads() {
    let v = Tensor([1, 2, 3, 4, 5, 9], shape: [3, 2])
    #expect(ReplacedAttention.masked(.mean, v, 0..<3, length: 3) == [1, 2, 2, 3, 3, 5])
    #expect(ReplacedAttention.masked(.mean, v, 2..<3, length: 3) == [3, 5])
    #expect(ReplacedAttention.masked(.literal, v, 1..<2, length: 4) == [1, 1.5])
    #expect(ReplacedAttention.masked(.zero, v, 0..<1, length: 3) == [0, 0])
    let place = ModelChange.Place(0, 1)
    #expect(ModelChange(mask: .zero) == ModelChange() && !ModelChange(heads: [place]).isEmpty)
  }
}
