import Attention
import Foundation
import Methods
import Support
import Tensors
import Testing

/// The checks of card S10.
@Suite struct ProbeTests {
  private static func examine(_ knobs: String, _ subject: Subject) throws -> Findings {
    try Registry.standard.make(MethodSetting(parsing: "zipvl:\(knobs)")).examine(
      subject, MethodRun())
  }

  private static func uniform(_ n: Int, causal: Bool) -> Head {
    Head(
      scores: Tensor([Float](repeating: 0, count: n * n), shape: [n, n]), causal: causal)
  }

  private static func random(_ n: Int, seed: UInt64) -> Head {
    var random = Seeded(seed)
    return Head(
      query: random.tensor([n, 8], scale: 2), key: random.tensor([n, 8]),
      value: random.tensor([n, 5]), causal: true)
  }

  /// Check 1: τ = 1 keeps every token, and the map is dense.
  @Test func allOfTheMassIsDense() throws {
    let found = try Self.examine("tau=1,recent=8,random=8", Subject(Self.random(50, seed: 1)))
    #expect(found["token_share"]?.number == 1 && found["density"]?.number == 1)
    #expect(found["error"]?.number ?? 1 < 1e-6 && found["rows_left_out"]?.number == 0)
  }

  /// Check 2: more mass never takes fewer tokens.
  @Test func tokensGrowWithTau() throws {
    let subject = Subject(Self.random(60, seed: 2))
    var before = 0.0
    for tau in [0.1, 0.3, 0.5, 0.7, 0.9, 0.96, 0.975, 1] {
      let found = try Self.examine("tau=\(tau),recent=12,random=12", subject)
      let tokens = try #require(found["tokens_kept"]?.number)
      #expect(tokens >= before, "tau \(tau)")
      #expect(try #require(found["mass_top"]?.number) >= tau - 1e-9)
      let top = try #require(found["mass_top"]?.number)
      #expect(try #require(found["mass_kept"]?.number) <= top + 1e-12)
      #expect(found["rows_left_out"]?.number == 60 - tokens)
      before = tokens
    }
    #expect(before == 60)
  }

  /// Check 3: of equal weights without causality, as many tokens as the share says.
  @Test(arguments: [0.3, 0.5, 0.975]) func uniformTokens(_ tau: Double) throws {
    let found = try Self.examine(
      "tau=\(tau),recent=64", Subject(Self.uniform(64, causal: false)))
    #expect(found["tokens_kept"]?.number == (tau * 64).rounded(.up))
  }

  /// Check 4: four causal rows of equal weights, as the card prints them.
  @Test func fourCausalRows() throws {
    let found = try Self.examine("tau=0.7", Subject(Self.uniform(4, causal: true)))
    let a = try #require(found.series("accumulated"))
    for (got, wanted) in zip(a, [25.0 / 12, 13.0 / 12, 7.0 / 12, 0.25] as [Float]) {
      #expect(abs(got - wanted) < 1e-6)
    }
    let normalised = try #require(found.series("normalised"))
    for (got, wanted) in zip(normalised, [0.5208, 0.3611, 0.2917, 0.25] as [Float]) {
      #expect(abs(got - wanted) < 1e-4)
    }
    #expect(found["tokens_kept"]?.number == 2)
    let kept = try #require(found.field("kept")).field
    let (second, last) = (try kept.row(1), try kept.row(3))
    #expect(second[..<2] == [1, 1] && last == [0, 0, 0, 0])
  }

  /// Check 5: every probe row gives a mass of one, and probe rows are drawn without replacement.
  @Test func probeRowsGiveOneEach() throws {
    for seed in 0..<5 {
      let rows = ProbeChoice.rows(100, recent: 16, random: 20, seed: seed)
      #expect(rows.count == 36 && Set(rows).count == 36 && rows.suffix(16) == Array(84..<100))
      #expect(rows == rows.sorted() && rows[0] >= 0)
    }
    #expect(ProbeChoice.rows(10, recent: 64, random: 64, seed: 0) == Array(0..<10))
    let heads = [Self.random(70, seed: 5), Self.random(70, seed: 6)]
    let found = try Self.examine("recent=16,random=16", Subject(layers: [heads]))
    let sum = try #require(found.series("accumulated")).reduce(0) { $0 + Double($1) }
    #expect(abs(sum - 32) < 1e-4 && found["probe_rows"]?.number == 32)
    #expect(try #require(found.series("probe")).reduce(0, +) == 32)
  }

  /// Heads of a layer keep the same tokens when they are averaged, and layers stand in a strip.
  @Test func layersAndRoles() throws {
    let layers = (0..<2).map { l in (0..<2).map { Self.random(40, seed: UInt64(10 + 2 * l + $0)) } }
    let roles = (0..<40).map { $0 < 16 ? TokenFacts.Role.visual : .text }
    func subject(_ head: Int) -> Subject {
      Subject(
        layers: layers, focus: (1, head),
        tokens: TokenFacts(roles: roles, grid: .init(rows: 4, columns: 4, first: 0)))
    }
    let knobs = "tau=0.8,recent=8,random=8"
    let one = try Self.examine(knobs, subject(0)), two = try Self.examine(knobs, subject(1))
    let tokens = try #require(one.series("token_kept"))
    #expect(tokens == two.series("token_kept"))
    let strip = try #require(one.field("layers")).field
    #expect(strip.rows.count == 2)
    #expect(try strip.row(1) == tokens)
    let visual = Double(tokens[..<16].reduce(0, +)), all = Double(tokens.reduce(0, +))
    #expect(one["kept_visual"]?.number == visual / 16)
    #expect(one["kept_text"]?.number == (all - visual) / 24)
    #expect(try #require(one.field("patches_kept")).field.row(1) == Array(tokens[4..<8]))
  }
}
