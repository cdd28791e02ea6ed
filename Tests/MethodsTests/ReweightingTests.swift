import Algebra
import Attention
import Foundation
import Methods
import Support
import Tensors
import Testing

/// Cards S22 and A22: clipped softmax and gates, by the cards' own figures.
@Suite struct ReweightingTests {
  static func examine(_ setting: String, _ subject: Subject) throws -> Findings {
    try Registry.standard.make(MethodSetting(parsing: setting)).examine(subject, MethodRun())
  }

  /// A bidirectional head of these logits, with values of a rule.
  static func head(_ logits: [[Double]], causal: Bool = false) -> Head {
    let n = logits[0].count
    let key = (0..<n * n).map { Float($0 / n == $0 % n ? 1 : 0) }
    return Head(
      query: Tensor(logits.flatMap { $0.map(Float.init) }, shape: [logits.count, n]),
      key: Tensor(key, shape: [n, n]),
      value: Tensor((0..<2 * n).map { Float(($0 * 5 + 3) % 7) - 3 }, shape: [n, 2]),
      causal: causal, scale: 1)
  }

  static func number(_ findings: Findings, _ name: String) throws -> Double {
    try #require(findings[name]?.number, "\(name)")
  }

  static func rows(_ findings: Findings, _ name: String) throws -> [[Double]] {
    let field = try #require(findings.field(name)).field
    return try (0..<field.rows.count).map { try field.row($0).map(Double.init) }
  }

  private static let cut: [(String, [Double], [Double], Double)] = [
    ("clipped:gamma=-0.1,zeta=1", [exp(4), exp(1), 1.0, 1.0], [0.9125, 0, 0, 0], 0.0909),
    ("clipped:gamma=-0.1", [0.9, 0.06, 0.04], [0.89, 0, 0], 0.0909),
    ("clipped:gamma=-0.025", [0.9, 0.06, 0.04], [0.8975, 0.0365, 0.016], 0.02439),
    ("clipped-stretched", [0.97, 0.01, 0.01, 0.01], [0.9982, 0, 0, 0], 0.0283),
  ]

  /// The figures that the cards print: what is left of a row.
  @Test(arguments: ReweightingTests.cut) func clippedRows(
    _ setting: String, _ p: [Double], _ wanted: [Double], _ cut: Double
  ) throws {
    let found = try Self.examine(setting, Subject(Self.head([p.map { log($0) }])))
    let row = try Self.rows(found, "map")[0]
    for (a, b) in zip(row, wanted) { #expect(abs(a - b) < 5e-5, "\(row)") }
    #expect(abs(try Self.number(found, "threshold") - cut) < 5e-5)
    let zeros = wanted.filter { $0 == 0 }.count
    let share = Double(zeros) / Double(p.count)
    #expect(abs(try Self.number(found, "zero_share") - share) < 1e-12)
    #expect(try Self.rows(found, "zeros")[0].filter { $0 == 1 }.count == zeros)
    let sums = try #require(found.series("row_sums"))
    #expect(abs(Double(sums[0]) - wanted.reduce(0, +)) < 5e-5)
  }

  @Test func clippedOfG4() throws {
    let found = try Self.examine("clipped:gamma=-0.025,zeta=1", Subject(G4.head()))
    let row = try Self.rows(found, "map")[3]
    for (a, b) in zip(row, [0.471325, 0.034496, 0.323514, 0.095665]) { #expect(abs(a - b) < 2e-6) }
    #expect(abs(try Self.number(found, "error") - 0.054844) < 2e-6)
  }

  /// Without a cut it is softmax; with more of it more is zero; sums are (1 - γ) P + γ k.
  @Test(arguments: Bench.allCases) func clippedByItsFormula(_ input: Bench) throws {
    let subject = Subject(input.head), n = Bench.n
    let dense = try Self.examine("clipped:alpha=0", subject)
    #expect(try Self.number(dense, "map_gap") < 1e-6)
    var last = -1.0
    for gamma in [0.0, 0.001, 0.01, 0.025, 0.1] {
      let found = try Self.examine("clipped:gamma=\(-gamma)", subject)
      let share = try Self.number(found, "zero_share")
      #expect(share >= last)
      last = share
      let map = try Self.rows(found, "map"), before = try Self.rows(dense, "map")
      for i in 0..<n {
        let alive = (0...i).filter { before[i][$0] * (1 + gamma) > gamma }
        let p = alive.reduce(0) { $0 + before[i][$1] }
        let sum = map[i].prefix(i + 1).reduce(0, +)
        #expect(abs(sum - ((1 + gamma) * p - gamma * Double(alive.count))) < 1e-6 && sum < 1 + 1e-6)
        #expect(map[i].prefix(i + 1).allSatisfy { $0 >= 0 && $0 <= 1 })
      }
    }
    let stretched = try Self.rows(try Self.examine("clipped-stretched", subject), "map")
    #expect(stretched.allSatisfy { $0.reduce(0) { $0 + ($1.isNaN ? 0 : $1) } <= 1.03 + 1e-6 })
    guard case .curve(let curve)? = dense["zeros_by_alpha"]?.content else { throw Missing(.length) }
    #expect(zip(curve.points, curve.points.dropFirst()).allSatisfy { $0.y <= $1.y })
    let alpha = try Self.examine("clipped:alpha=4", subject)
    #expect(abs(try Self.number(alpha, "zero_share") - curve.points[8].y) < 1e-12)
  }

  /// A uniform row of more keys than 1 / threshold holds nothing at all.
  @Test func uniformRowsVanish() throws {
    let found = try Self.examine("clipped:gamma=-0.025", Subject(Bench.uniform.head))
    let sums = try #require(found.series("row_sums"))
    // 41 keys lie on the threshold itself.
    for (row, sum) in sums.enumerated() where row != 40 { #expect((sum == 0) == (row > 40)) }
    #expect(try Self.number(found, "zero_rows") == Double(sums.count { $0 == 0 }))
  }

  /// The α of γ = -α / T counts T and not the row.
  @Test func theLengthIsTheSequences() throws {
    let subject = Subject(Bench.random.head)
    let found = try Self.examine("clipped", subject)
    #expect(abs(try Self.number(found, "gamma") + 0.05) < 1e-15)
    let opt = try Self.examine("clipped:alpha=12,T=512", subject)
    #expect(abs(try Self.number(opt, "gamma") + 0.0234375) < 1e-15)
  }

  /// π = 1 changes nothing, π = 0 leaves nothing; the bias of 1/4 is the card's.
  @Test func gates() throws {
    let subject = Subject(Bench.random.head)
    #expect(try Self.number(Self.examine("gated:pi=1", subject), "error") < 1e-6)
    let shut = try Self.examine("gated:pi=0", subject)
    #expect(try Self.number(shut, "output_max") == 0 && Self.number(shut, "zero_rows") == 64)
    let start = try Self.examine("gated", subject)
    #expect(abs(try Self.number(start, "gate_bias") + 1.0986) < 1e-4)
    #expect(abs(try Self.number(start, "error") - 0.75) < 1e-6)
    #expect(try Self.number(Self.examine("gated:rescale=true", subject), "error") < 1e-6)
    let sink = try Self.examine("gated-sink", subject)
    let strip = try #require(sink.series("gate")), sums = try Self.rows(sink, "map")
    for (row, gate) in strip.enumerated() {
      #expect(abs(sums[row].prefix(row + 1).reduce(0, +) - Double(gate)) < 1e-5)
    }
    #expect(strip[0] == 0 && sink["gate_bias"]?.number == nil)
    let field = try #require(sink.field("gates")).field
    #expect(field.rows.count == 64 && field.columns == Axis(.head, 1))
  }

  /// Kurtosis of Gaussian values is about 3, of a one-hot vector of length 100 about 95.1.
  @Test func outliers() throws {
    var random = SplitMix64(1)
    var values = [Float](repeating: 0, count: 100_000)
    values += random.gaussians(100_000).map { Float($0) }
    let gaussian = Tensor(values, shape: [2, 1000, 100])
    let one = Tensor((0..<200).map { $0 == 150 ? 1 : 0 }, shape: [2, 1, 100])
    for (array, wanted, hair) in [(gaussian, 3, 0.06), (one, 95.1, 0.05)] {
      let subject = Subject(layers: [[G4.head()]]) { need, _ in
        guard need == .residuals else { throw Missing(need) }
        return array
      }
      let found = try Self.examine("clipped", subject)
      #expect(abs(try Self.number(found, "kurtosis") - wanted) < hair)
      #expect(try Self.number(found, "max_inf_norm") >= 1)
    }
    let without = try Self.examine("clipped", Subject(G4.head()))
    #expect(without["kurtosis"]?.number == nil)
  }
}
