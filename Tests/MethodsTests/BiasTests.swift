import Attention
import Foundation
import Methods
import Support
import Tensors
import Testing

/// Cards S25 and A21: biases and their factors.
@Suite struct BiasTests {
  private static func examine(_ setting: String, _ subject: Subject) throws -> Findings {
    try ReweightingTests.examine(setting, subject)
  }

  private static func number(_ findings: Findings, _ name: String) throws -> Double {
    try ReweightingTests.number(findings, name)
  }

  /// softmax of scores and a bias, in double precision.
  private static func wanted(_ input: PackTests.Case, _ bias: (Int, Int) -> Double) -> [[Double]] {
    input.scores.enumerated().map { i, row in
      let e = row.prefix(input.limit(i)).enumerated().map { exp($1 + bias(i, $0)) }
      return e.map { $0 / e.reduce(0, +) }
    }
  }

  /// The last row of the golden fixture, and the error over all.
  @Test func alibiOfG4() throws {
    let found = try Self.examine("alibi", Subject(G4.head()))
    let row = try ReweightingTests.rows(found, "map")[3]
    for (a, b) in zip(row, [0.353818, 0.054460, 0.409620, 0.182102]) { #expect(abs(a - b) < 2e-6) }
    #expect(abs(try Self.number(found, "error") - 0.134534) < 2e-6)
  }

  /// The same by definition, by +m j where causal, by factors, and by all singular values.
  @Test(arguments: PackTests.cases) func alibiByDefinition(_ input: PackTests.Case) throws {
    func bias(_ i: Int, _ j: Int) -> Double {
      let off = Double(input.position(i) - j)
      return -0.25 * (input.causal ? off : abs(off))
    }
    let direct = Self.wanted(input, bias)
    for setting in ["alibi", "flashbias:form=svd,energy=1"] + (input.causal ? ["flashbias"] : []) {
      let map = try ReweightingTests.rows(Self.examine(setting, Subject(input.head)), "map")
      for (got, row) in zip(map, direct) {
        for (a, b) in zip(got, row) { #expect(abs(a - b) < 1e-5, "\(setting) \(input)") }
      }
    }
    guard input.causal else { return }
    for (a, b) in zip(direct, Self.wanted(input) { 0.25 * Double($1) }) {
      for (x, y) in zip(a, b) { #expect(abs(x - y) < 1e-12) }
    }
  }

  /// Slope 1, n = 20: singular values 115.33 twice, and nothing else; softmax feels one factor.
  @Test func alibiHasRankTwo() throws {
    let head = PackTests.Case(seed: 5, queries: 20, keys: 20, causal: true).head
    let found = try Self.examine("flashbias:m=1", Subject(head))
    let spectrum = try #require(found.series("spectrum"))
    #expect(spectrum.count == 2 && spectrum.allSatisfy { abs($0 - 115.33) < 0.01 })
    #expect(try Self.number(found, "bias_rank") == 2 && Self.number(found, "rank") == 2)
    #expect(try Self.number(found, "max_residual") < 1e-12)
    guard case .curve(let curve)? = found["gap_by_rank"]?.content else { throw Missing(.length) }
    #expect(curve.points.count == 3 && curve.points[0].y > 0.01)
    #expect(curve.points[1].y < 1e-12 && curve.points[2].y < 1e-12)
    #expect(try Self.number(found, "memory_bias") == 1600)
    #expect(try Self.number(found, "memory_factors") == 320)
    #expect(try Self.number(found, "flop_ratio") == 1.25)
  }

  /// -|i - j| of 64 tokens: 3 factors for 99 %, 5 for 99.9 %, all of them for all; the error of the
  /// truncation is what was left out (Eckart and Young).
  @Test func distanceIsNearlyLowRank() throws {
    let head = PackTests.Case(seed: 6, queries: 64, keys: 64, causal: false).head
    let found = try Self.examine("flashbias-svd", Subject(head))
    #expect(try Self.number(found, "rank") == 3 && Self.number(found, "rank_99") == 3)
    #expect(try Self.number(found, "rank_999") == 5 && Self.number(found, "bias_rank") == 64)
    let spectrum = try #require(found.series("spectrum")).map(Double.init)
    let left = spectrum.dropFirst(3).reduce(0) { $0 + $1 * $1 }.squareRoot()
    #expect(abs(try Self.number(found, "residual_norm") - left) < 1e-4 * left)
    let rows = try ReweightingTests.rows(found, "residual")
    let size = rows.joined().reduce(0) { $0 + $1 * $1 }.squareRoot()
    #expect(abs(size - left) < 1e-4 * left)
  }

  /// Squared distances between patches: rank 4 in the plane, exactly.
  @Test(arguments: ["exact", "svd,energy=1"]) func distancesOfPatches(_ form: String) throws {
    let input = PackTests.Case(seed: 7, queries: 26, keys: 26, causal: false)
    let subject = Subject(input.head, tokens: TokenFacts(grid: .init(rows: 4, columns: 6)))
    let found = try Self.examine("flashbias:bias=distance,m=0.1,form=\(form)", subject)
    #expect(try Self.number(found, "bias_rank") == 4)
    #expect(try Self.number(found, "max_residual") < 1e-10)
    let direct = Self.wanted(input) { i, j in
      guard i >= 2, j >= 2 else { return 0 }
      let (a, b) = ((i - 2) / 6 - (j - 2) / 6, (i - 2) % 6 - (j - 2) % 6)
      return -0.1 * Double(a * a + b * b)
    }
    for (got, row) in zip(try ReweightingTests.rows(found, "map"), direct) {
      for (a, b) in zip(got, row) { #expect(abs(a - b) < 1e-5) }
    }
    #expect(throws: Missing.self) {
      try Self.examine("flashbias:bias=distance", Subject(input.head))
    }
  }

  /// Without a bias nothing changes; slopes of heads are 2^(-8 h / H).
  @Test func slopes() throws {
    let head = Bench.random.head
    #expect(try Self.number(Self.examine("flashbias:m=0", Subject(head)), "map_gap") < 1e-6)
    #expect(try Self.number(Self.examine("alibi:m=0", Subject(head)), "map_gap") < 1e-6)
    for at in 0..<4 {
      let subject = Subject(layers: [[head, head, head, head]], focus: (0, at))
      let found = try Self.examine("alibi:slopes=heads", subject)
      #expect(abs(try Self.number(found, "slope") - pow(2, -2 * Double(at + 1))) < 1e-12)
    }
    let fit = try Self.examine("flashbias:bias=fit", Subject(head))
    #expect(try Self.number(fit, "energy_kept") >= 0.995)
  }
}
