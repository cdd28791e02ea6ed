import Algebra
import Analysis
import Attention
import Foundation
import Methods
import Support
import Tensors
import Testing

/// The checks of card S9.
@Suite struct HyperTests {
  private static func examine(_ setting: String, _ head: Head) throws -> Findings {
    try Registry.standard.make(MethodSetting(parsing: setting)).examine(Subject(head), MethodRun())
  }

  /// A head whose logits are those of a rule: keys are unit vectors, queries their rows of logits.
  private static func head(_ n: Int, _ logit: (Int, Int) -> Float) -> Head {
    let query = (0..<n * n).map { logit($0 / n, $0 % n) }
    let key = (0..<n * n).map { $0 / n == $0 % n ? Float(1) : 0 }
    return Head(
      query: Tensor(query, shape: [n, n]), key: Tensor(key, shape: [n, n]),
      value: Tensor(key, shape: [n, n]), causal: false, scale: 1)
  }

  private static func random(_ n: Int, seed: UInt64, causal: Bool = false) -> Head {
    var random = Seeded(seed)
    return Head(
      query: random.tensor([n, 16]), key: random.tensor([n, 16]), value: random.tensor([n, 8]),
      causal: causal)
  }

  /// Check 1: a block as long as the text leaves nothing to estimate, whatever the seed.
  @Test(arguments: [0, 1, 17], [true, false]) func oneBlockIsDense(_ seed: Int, _ causal: Bool)
    throws
  {
    let head = Self.random(40, seed: 3, causal: causal)
    let found = try Self.examine("hyper:block=40,m=4,min_seq_len=0,seed=\(seed)", head)
    #expect(found["density"]?.number == 1 && found["error"]?.number ?? 1 < 1e-6)
    #expect(found["hyper_error_mean"]?.number ?? 1 < 1e-9)
    #expect(found["kappa"] != nil && found["kappa"]?.number == nil)
  }

  /// Check 2: what drawn keys stand for is right on average, and four times as many halve its
  /// spread.
  @Test func drawnKeysAreUnbiased() {
    let rows = DoubleRows(Self.random(256, seed: 9))
    let logits = [0, 90, 180].map { ($0, rows.logits($0)) }
    func ratios(_ samples: Int) -> [Double] {
      let setting = HyperPlan.Setting(block: 32, samples: samples, exact: 0, bits: 5)
      return (0..<500).flatMap { seed -> [Double] in
        let plan = HyperPlan(rows, setting, seed: seed)
        return logits.map { row, logits in
          let heavy = Set(plan.heavy(row).joined())
          #expect(heavy.count == 32)
          let rest = (0..<256).filter { !heavy.contains($0) }.reduce(0) { $0 + exp(logits[$1]) }
          let estimate = plan.samples(row).reduce(0) { $0 + exp(logits[$1.key] + $1.logWeight) }
          return estimate / rest
        }
      }
    }
    func moments(_ x: [Double]) -> (mean: Double, deviation: Double) {
      let mean = x.reduce(0, +) / Double(x.count)
      let squares = x.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
      return (mean, (squares / Double(x.count)).squareRoot())
    }
    let few = moments(ratios(32)), many = moments(ratios(128))
    #expect(abs(few.mean - 1) < 0.02 && abs(many.mean - 1) < 0.01, "\(few), \(many)")
    #expect((1.8...2.2).contains(few.deviation / many.deviation), "\(few), \(many)")
  }

  /// Check 3: α of the identity, of equal weights, and of rows that all read key 0.
  @Test func alphaOfKnownMaps() throws {
    let cases: [(Double, (Int, Int) -> Float)] = [
      (8, { $0 == $1 ? 60 : 0 }), (1, { _, _ in 0 }), (64, { $1 == 0 ? 60 : 0 }),
    ]
    for (wanted, rule) in cases {
      let alpha = try Self.examine("hyper", Self.head(8, rule))["alpha"]?.number
      #expect(abs((alpha ?? 0) - wanted) < 1e-9)
    }
  }

  /// Check 4: κ is 1 for equal rows and never below.
  @Test func kappaOfKnownMaps() throws {
    let knobs = "block=2,m=2,min_seq_len=0"
    let equal = try Self.examine("hyper:\(knobs)", Self.head(8) { _, _ in 0 })
    #expect(equal["kappa"]?.number == 1 && equal["log10_kappa"]?.number == 0)
    for seed in 0..<4 {
      let found = try Self.examine(
        "hyper:\(knobs),seed=\(seed)", Self.random(50, seed: 5, causal: seed % 2 == 0))
      #expect(try #require(found["kappa"]?.number) >= 1)
      let alpha = try #require(found["alpha"]?.number)
      #expect(alpha >= 1 && alpha <= 2500)
    }
  }

  /// Check 5: where no two tokens share a code, outputs follow a permutation of the tokens.
  @Test func permutedTokensGivePermutedOutputs() throws {
    let n = 24, order = (0..<n).map { ($0 * 7 + 5) % n }
    let head = Self.random(n, seed: 21)
    let both = try #require(head.queryAndKey), value = try #require(head.value)
    func permuted(_ x: Tensor) -> Tensor {
      let width = x.shape[1], all = x.floats()
      return Tensor(order.flatMap { all[$0 * width..<($0 + 1) * width] }, shape: [n, width])
    }
    let other = Head(
      query: permuted(both.query), key: permuted(both.key), value: permuted(value), causal: false)
    let setting = HyperPlan.Setting(block: 6, samples: 5, exact: 0, bits: 20)
    let plan = HyperPlan(DoubleRows(head), setting, seed: 0)
    #expect(Set(plan.keyRanks).count == n && Set(plan.queryRanks).count == n)
    let knobs = "hyper:r=20,block=6,m=5,min_seq_len=0"
    let first = try #require(try Self.examine(knobs, head).field("estimate")).field
    let second = try #require(try Self.examine(knobs, other).field("estimate")).field
    for (place, row) in order.enumerated() {
      for (a, b) in zip(try first.row(row), try second.row(place)) { #expect(abs(a - b) < 1e-5) }
    }
  }

  /// Check 6: equal queries and keys share a bucket under every seed.
  @Test func clustersShareABucket() {
    var random = Seeded(2)
    let centres = (0..<4).map { _ in (0..<8).map { _ in random.normal() } }
    let tokens = Tensor((0..<32).flatMap { centres[$0 % 4] }, shape: [32, 8])
    let rows = DoubleRows(Head(query: tokens, key: tokens, value: nil, causal: false))
    let setting = HyperPlan.Setting(block: 8, samples: 1, exact: 0, bits: 7)
    for seed in 0..<32 {
      let plan = HyperPlan(rows, setting, seed: seed)
      #expect(plan.queryRanks == plan.keyRanks)
      for token in 0..<32 { #expect(plan.keyRanks[token] == plan.keyRanks[token % 4]) }
      guard Set(plan.keyRanks).count == 4 else { continue }
      for token in 0..<32 {
        #expect(
          plan.heavy(token).joined().sorted() == stride(from: token % 4, to: 32, by: 4).map { $0 })
      }
    }
  }

  /// Check 7: codes of neighbouring ranks differ in one bit; for three bits the list of the card.
  @Test func grayCodesDifferInOneBit() {
    #expect((0..<8).map { GrayHash.code(at: $0) } == [0, 1, 3, 2, 6, 7, 5, 4])
    #expect(GrayHash.rank(of: 4) == 7 && GrayHash.code(at: 4) == 6)
    for rank in 0..<127 {
      let difference = GrayHash.code(at: rank) ^ GrayHash.code(at: rank + 1)
      #expect(difference.nonzeroBitCount == 1)
      #expect(GrayHash.rank(of: GrayHash.code(at: rank)) == rank)
    }
  }

  /// The released order makes another mask, and the sorted field is a block diagonal without
  /// causality.
  @Test func ordersAndTheSortedField() throws {
    let head = Self.random(64, seed: 4), knobs = "block=16,m=8,r=7,min_seq_len=0"
    let ranked = try Self.examine("hyper:\(knobs)", head)
    let released = try Self.examine("hyper:\(knobs),order=released", head)
    let sorted = try #require(ranked.field("sorted")).field
    var differ = false
    for row in 0..<64 {
      let flags = try sorted.row(row)
      #expect(flags == (0..<64).map { $0 / 16 == row / 16 ? 1 : 0 })
      let one = try ranked.field("kept")?.field.row(row)
      let other = try released.field("kept")?.field.row(row)
      if one != other { differ = true }
    }
    #expect(differ)
    let weights = try #require(ranked.series("sample_weight"))
    #expect(abs(weights.reduce(0, +) - 64) < 1e-4)
  }
}
