import Attention
import Foundation
import Methods
import Support
import Tensors
import Testing

/// Methods that prune the tokens of an image, cards S11 to S14: their checks, with the cards' figures.
@Suite struct ImageTests {
  private static func examine(_ setting: String, _ subject: Subject) throws -> Findings {
    try Registry.standard.make(MethodSetting(parsing: setting)).examine(subject, MethodRun())
  }

  private static func number(_ name: String, _ findings: Findings) throws -> Double {
    try #require(findings[name]?.number, "\(name)")
  }

  /// A head of a stored pattern, not causal; rows are shared out to sum to 1 by every reader.
  private static func stored(_ rows: [[Double]]) -> Head {
    Head(
      pattern: Tensor(rows.flatMap { $0.map(Float.init) }, shape: [rows.count, rows[0].count]),
      causal: false)
  }

  private static func roles(_ text: String) -> [TokenFacts.Role] {
    text.map { $0 == "t" ? .text : ($0 == "v" ? .visual : .padding) }
  }

  private static func heads(
    _ count: Int, _ seed: UInt64, n: Int = 20, causal: Bool = true
  ) -> [Head] {
    var random = Seeded(seed)
    return (0..<count).map { _ in
      Head(
        query: random.tensor([n, 8]), key: random.tensor([n, 8]), value: random.tensor([n, 4]),
        causal: causal)
    }
  }

  // MARK: Roles and grids

  /// Nothing is made up for what is not known of the tokens.
  @Test func whatIsMissingIsSaid() throws {
    let layer = Self.heads(2, 1)
    for (setting, need) in [
      ("adaptinfer", Need.roles), ("sgl", .roles), ("as-vit", .imageGrid), ("debias", .roles),
    ] {
      for tokens in [TokenFacts(), TokenFacts(roles: Self.roles("tv"))] {
        if need == .imageGrid, !tokens.roles.isEmpty { continue }
        let error = #expect(throws: Missing.self) {
          try Self.examine(setting, Subject(layers: [layer], tokens: tokens))
        }
        #expect(error?.need == need, "\(setting)")
      }
      let outside = TokenFacts(grid: .init("4x5@3"))
      let error = #expect(throws: Missing.self) {
        try Self.examine(setting, Subject(layers: [layer], tokens: outside))
      }
      #expect(error?.need == .imageGrid)
      // A grid alone is enough, and is drawn.
      let grid = TokenFacts(grid: .init("3x4@2"))
      let found = try Self.examine(setting, Subject(layers: [layer], tokens: grid))
      let image = try #require(found.field(setting == "debias" ? "after" : "patches")).field
      #expect(image.rows.count == 3 && image.columns.count == 4)
      let strip = try #require(found.series(setting == "debias" ? "score_after" : "score"))
      #expect(try image.row(1) == Array(strip[6..<10]))
      #expect(strip[0].isNaN && strip[14].isNaN && strip.count == 20)
    }
    let bare = Head(
      pattern: Tensor([Float](repeating: 0.1, count: 100), shape: [10, 10]), causal: false)
    let error = #expect(throws: Missing.self) {
      try Self.examine("as-vit", Subject(bare, tokens: TokenFacts(grid: .init("3x3"))))
    }
    #expect(error?.need == .values)
    let silent = #expect(throws: Missing.self) {
      try Self.examine("sgl", Subject(layers: [layer], tokens: TokenFacts(grid: .init("3x4"))))
    }
    #expect(silent?.need == .roles)
  }

  // MARK: AdaptInfer

  /// Check 2. The rows of the card sum to 2, a pattern's to 1: w is half of the card's, z a quarter.
  @Test func adaptInferOfTheCard() throws {
    let rest = [[Double]](repeating: [1, 1, 1, 1, 1], count: 3)
    let head = Self.stored([[1, 0, 0.5, 0.5, 0], [0.6, 0.4, 0.1, 0.2, 0.7]] + rest)
    let tokens = TokenFacts(roles: Self.roles("ttvvv"))
    let found = try Self.examine("adaptinfer:keep=1", Subject(head, tokens: tokens))
    let weights = try #require(found.series("weights")), score = try #require(found.series("score"))
    let plain = try #require(found.series("column_score"))
    for (got, wanted) in zip(weights, [1.6, 1.0]) { #expect(abs(2 * got - Float(wanted)) < 1e-6) }
    for (got, wanted) in zip(score[2...], [0.9, 1.0, 0.7]) {
      #expect(abs(4 * got - Float(wanted)) < 1e-6)
    }
    for (got, wanted) in zip(plain[2...], [0.6, 0.7, 0.7]) {
      #expect(abs(2 * got - Float(wanted)) < 1e-6)
    }
    let map = try #require(found.field("text_map")).field
    for (got, wanted) in zip(try map.row(1), [0.6, 0.4]) {
      #expect(abs(2 * got - Float(wanted)) < 1e-6)
    }
    let film = try #require(found.field("survivors")).field
    #expect(try film.row(0)[2...] == [0, 1, 0])
    #expect(abs(try Self.number("kept_mass_1", found) - 0.35) < 1e-6)
    let shares = [1.6 / 2.6, 1 / 2.6], entropy = -shares.reduce(0) { $0 + $1 * log($1) }
    #expect(abs(try Self.number("entropy_w", found) - entropy) < 1e-6)
    // lb = 0: all text votes alike.
    let flat = try Self.examine("adaptinfer:lb=0", Subject(head, tokens: tokens))
    let even = try #require(flat.series("score"))
    for (got, wanted) in zip(even[2...], plain[2...]) { #expect(abs(got - 0.65 * wanted) < 1e-6) }
  }

  /// Check 1: where text looks at text by a multiple of the identity, z are plain sums; and check 3.
  @Test func adaptInferOfTheIdentity() throws {
    let rest = [[Double]](repeating: [1, 1, 1, 1, 1], count: 3)
    let head = Self.stored([[0.5, 0, 0.25, 0.25, 0], [0, 0.5, 0.1, 0.1, 0.3]] + rest)
    let tokens = TokenFacts(roles: Self.roles("ttvvv"))
    let found = try Self.examine("adaptinfer", Subject(head, tokens: tokens))
    let score = try #require(found.series("score"))
    for (a, b) in zip(score[2...], try #require(found.series("column_score"))[2...]) {
      #expect(abs(2 * a - b) < 1e-6)
    }
    let layer = Self.heads(3, 5), picture = TokenFacts(grid: .init("3x4@2"))
    func error(_ keep: Int) throws -> Double {
      let subject = Subject(layers: [layer], focus: (0, 1), tokens: picture)
      return try Self.number("error", try Self.examine("adaptinfer:keep=\(keep)", subject))
    }
    #expect(try error(12) < 1e-6)
    #expect(try error(3) > 0.01)
  }

  /// The published counts at the published size, in proportion below it, and shares one of the other.
  @Test func adaptInferStages() throws {
    func kept(_ setting: String, _ grid: String, _ n: Int) throws -> [Double] {
      let layer = Self.heads(1, 9, n: n), tokens = TokenFacts(grid: .init(grid))
      let found = try Self.examine(setting, Subject(layers: [layer], tokens: tokens))
      return try (1...3).map { try Self.number("kept_\($0)", found) }
    }
    #expect(try kept("adaptinfer", "24x24@2", 600) == [290, 72, 18])
    #expect(try kept("adaptinfer:preset=llava-32", "24x24@2", 600) == [40, 12, 0])
    #expect(try kept("adaptinfer:preset=llava13-64", "24x24@2", 600) == [148, 40, 5])
    #expect(try kept("adaptinfer", "12x12@2", 150) == [73, 18, 5])
    #expect(try kept("adaptinfer:budget=paper", "12x12@2", 150) == [144, 72, 18])
    #expect(try kept("adaptinfer:preset=qwen2", "10x10@2", 110) == [17, 10, 3])
  }

  // MARK: SGL

  /// Checks 1, 3 and 4: layers and prompts add, mass is mass, heads have no order.
  @Test func sglAdds() throws {
    let layers = [Self.heads(2, 1), Self.heads(2, 2), Self.heads(2, 3)]
    func score(_ layers: [[Head]], _ roles: String) throws -> [Float] {
      let tokens = TokenFacts(roles: Self.roles(roles))
      let found = try Self.examine("sgl", Subject(layers: layers, tokens: tokens))
      let z = try #require(found.series("score"))
      let total = z.reduce(0) { $1.isNaN ? $0 : $0 + Double($1) }
      let bound = try Self.number("rows", found) * Double(2 * layers.count)
      #expect(abs(try Self.number("z_total", found) - total) < 1e-5 && total <= bound)
      #expect(abs(try Self.number("image_mass", found) - total / bound) < 1e-6)
      return z
    }
    func expectSum(_ all: [Float], _ parts: [[Float]]) {
      for j in all.indices where !all[j].isNaN {
        #expect(abs(all[j] - parts.reduce(0) { $0 + $1[j] }) < 1e-5)
      }
    }
    let prompt = "tt" + String(repeating: "v", count: 12) + "tttttt"
    let all = try score(layers, prompt)
    expectSum(all, try layers.map { try score([$0], prompt) })
    let start = "tt" + String(repeating: "v", count: 12)
    expectSum(all, [try score(layers, start + "tttppp"), try score(layers, start + "pppttt")])
    expectSum(all, [try score(layers.map { $0.reversed() }, prompt)])
  }

  /// Checks 2, 5 and 6, and what is not known.
  @Test func sglKeepsAndLeaves() throws {
    let layers = (0..<5).map { Self.heads(2, UInt64($0)) }
    let tokens = TokenFacts(grid: .init("3x4@2"))
    let subject = Subject(layers: layers, focus: (2, 0), tokens: tokens)
    let all = try Self.examine("sgl:ratio=1", subject)
    #expect(try Self.number("kept", all) == 12 && Self.number("flops", all) == 1)
    #expect(try Self.number("overlap_layer", all) == 1)
    let some = try Self.examine("sgl", subject)
    #expect(try Self.number("kept", some) == 4 && Self.number("start_layer", some) == 2)
    #expect(abs(try Self.number("flops", some) - (0.4 + 0.6 * 0.4)) < 1e-12)
    let kept = try #require(some.series("kept_tokens")).filter { $0 == 1 }
    #expect(kept.count == 4)
    for name in ["c1", "c2", "exit_score", "exits", "overlap_models"] {
      #expect(some[name] != nil && some[name]?.number == nil, "\(name)")
    }
    #expect(some.notes.contains { $0.contains("c1 and c2") })
    let given = try Self.examine("sgl:c1=0.9,c2=0.5,threshold=0.6", subject)
    #expect(abs(try Self.number("exit_score", given) - 0.7) < 1e-12)
    #expect(try Self.number("exits", given) == 1)
    #expect(abs(try #require(SGL.confidence([0.9, 0.8])) - 0.84853) < 1e-5)
    let both = try #require(SGL.confidence([0.9, 0.8, 0.3]))
    let whole = try #require(SGL.consistency([0.9, 0.8, 0.3]))
    #expect(abs(pow(both, 3) - whole) < 1e-12 && SGL.confidence([]) == nil)
  }

  // MARK: AS-ViT

  private static func thresholds(_ theta: Double) -> String {
    "as-vit:theta1=\(theta),theta2=\(theta),theta3=\(theta)"
  }

  /// Checks 1 to 5, and against sums by the definition.
  @Test func asViTScores() throws {
    let n = 13, tokens = TokenFacts(grid: .init("3x4"))
    let layer = Self.heads(3, 4, n: n, causal: false)
    func scaled(_ head: Head, _ factor: Float) throws -> Head {
      let (q, k) = try #require(head.queryAndKey), v = try #require(head.value)
      return Head(
        query: q, key: k, value: Tensor(v.floats().map { $0 * factor }, shape: [n, 4]),
        causal: false)
    }
    func score(_ layer: [Head]) throws -> [Float] {
      let found = try Self.examine("as-vit", Subject(layers: [layer], tokens: tokens))
      return Array(try #require(found.series("score"))[1...])
    }
    let maps = try layer.map { head in
      try (0..<n).map { try PatternRows(head).row($0).map(Double.init) }
    }
    let outputs = try layer.indices.map { h in
      let v = try #require(layer[h].value).floats().map(Double.init)
      return (0..<n).map { i in
        (0..<4).reduce(0) { sum, x in
          let o = (0..<n).reduce(0) { $0 + maps[h][i][$1] * v[$1 * 4 + x] }
          return sum + o * o
        }.squareRoot()
      }
    }
    let z = try score(layer)
    for j in 1..<n {
      let sum = outputs.reduce(0) { $0 + $1[j] } + 1e-8
      #expect(abs(outputs.reduce(0) { $0 + $1[j] / sum } - 1) < 1e-7)
      let wanted = layer.indices.reduce(0) { $0 + maps[$1][0][j] * outputs[$1][j] / sum }
      #expect(abs(Double(z[j - 1]) - wanted) < 1e-6)
      #expect(Double(z[j - 1]) <= maps.map { $0[0][j] }.max()! + 1e-6)
    }
    for (j, same) in try score([layer[0], layer[0], layer[0]]).enumerated() {
      #expect(abs(Double(same) - maps[0][0][j + 1]) < 1e-6)
    }
    for (a, b) in zip(try score(try layer.map { try scaled($0, 7) }), z) {
      #expect(abs(a - b) < 1e-6)
    }
    let leaning = try score([try scaled(layer[0], 1000), layer[1], layer[2]])
    for j in z.indices {
      let wanted = Float(maps[0][0][j + 1])
      #expect(abs(leaning[j] - wanted) <= abs(z[j] - wanted) + 1e-6)
    }
    func kept(_ theta: Double) throws -> Double {
      let found = try Self.examine(Self.thresholds(theta), Subject(layers: [layer], tokens: tokens))
      return try Self.number("kept_3", found)
    }
    #expect(try kept(0) == 13 && kept(1) == 1)
  }

  /// Check 6: even attention over 197 tokens prunes nothing at the first thresholds, and work is whole.
  @Test func asViTOfEvenAttention() throws {
    let n = 197, zero = Tensor([Float](repeating: 0, count: n * 4), shape: [n, 4])
    var random = Seeded(3)
    let head = Head(query: zero, key: zero, value: random.tensor([n, 4]), causal: false)
    let tokens = TokenFacts(grid: .init("14x14"))
    let found = try Self.examine("as-vit", Subject(head, tokens: tokens))
    let score = try #require(found.series("score"))
    #expect(abs(score[1] - 0.00508) < 5e-6 && score[0].isNaN)
    for stage in 1...3 { #expect(try Self.number("kept_\(stage)", found) == 197) }
    #expect(try Self.number("flops", found) == 1 && Self.number("kept_mass_3", found) == 1)
    #expect(found["spread"] != nil && found["spread"]?.number == nil)
    let none = try Self.examine("as-vit:theta2=1", Subject(head, tokens: tokens))
    #expect(try Self.number("kept_1", none) == 197 && Self.number("kept_3", none) == 1)
    #expect(abs(try Self.number("flops", none) - (7.0 * 197 + 5) / (12 * 197)) < 1e-12)
  }

  // MARK: Debiasing

  /// Layers whose last row attends to an image behind one text token by a curve.
  private static func layers(_ curves: [[Double]]) -> [[Head]] {
    curves.map { curve in
      let n = curve.count + 1
      var rows = [Float](repeating: 1, count: (n - 1) * n)
      rows += [0] + curve.map(Float.init)
      return [Head(pattern: Tensor(rows, shape: [n, n]), causal: false)]
    }
  }

  private static func trend(_ count: Int, _ beta: Double) -> [Double] {
    (0..<count).map { exp(-3 + beta * Double($0)) }
  }

  private static func debias(
    _ curves: [[Double]], _ grid: String, _ knobs: String = "", roles: [TokenFacts.Role] = []
  ) throws -> Findings {
    let tokens = TokenFacts(roles: roles, grid: .init(grid))
    return try examine("debias\(knobs)", Subject(layers: layers(curves), tokens: tokens))
  }

  /// Checks 1 and 2.
  @Test func debiasTakesTheTrendOut() throws {
    let curve = Self.trend(48, 0.03)
    for curves in [[curve], [curve, curve, curve]] {
      let found = try Self.debias(curves, "6x8")
      #expect(abs(try Self.number("beta", found) - 0.03) < 1e-6)
      #expect(abs(try Self.number("r_squared", found) - 1) < 1e-6)
      let after = try #require(found.series("score_after"))[1...]
      let most = try #require(after.max()), least = try #require(after.min())
      #expect((most - least) / most < 1e-6)
      #expect(abs(after.reduce(0) { $0 + Double($1) } - 1) < 1e-5)
    }
    var random = Seeded(8)
    let noise = (0..<48).map { _ in Double.random(in: 0.1...1, using: &random) }
    let flat = try Self.debias([noise, Self.trend(48, 0)], "6x8")
    #expect(abs(try Self.number("beta", flat)) < 1e-7)
    #expect(try Self.number("jaccard", flat) == 1 && Self.number("changed", flat) == 0)
  }

  /// The fit is least squares on the curve, not on its logarithm: no near trend is better.
  @Test func debiasFitsTheCurve() throws {
    var random = Seeded(21)
    let curve = Self.trend(48, 0.04).map { $0 * Double.random(in: 0.3...1.7, using: &random) }
    let sum = curve.reduce(0, +), y = curve.map { $0 / sum }
    let found = try Self.debias([curve], "6x8")
    let alpha = try Self.number("alpha", found), beta = try Self.number("beta", found)
    func error(_ a: Double, _ b: Double) -> Double {
      y.enumerated().reduce(0) { $0 + pow($1.1 - exp(a + b * Double($1.0)), 2) }
    }
    let best = error(alpha, beta)
    for (a, b) in [(1e-3, 0), (-1e-3, 0), (0, 1e-4), (0, -1e-4), (2e-3, -1e-4), (-2e-3, 1e-4)] {
      #expect(error(alpha + a, beta + b) > best)
    }
    let mean = y.reduce(0, +) / 48, spread = y.reduce(0) { $0 + ($1 - mean) * ($1 - mean) }
    #expect(abs(try Self.number("r_squared", found) - (1 - best / spread)) < 1e-6)
  }

  /// Checks 3 and 5: a bump that the trend hides comes first, and the map that is shown is no part of the fit.
  @Test func debiasFindsTheBump() throws {
    let trend = Self.trend(48, 0.05)
    var bump = trend
    bump[5] *= 3
    let found = try Self.debias([bump, trend, trend], "6x8", ":keep=0.02")
    #expect(try Self.number("kept", found) == 1)
    #expect(abs(try Self.number("position_before", found) - 1) < 1e-12)
    #expect(abs(try Self.number("position_after", found) - 5.0 / 47) < 1e-12)
    #expect(try Self.number("jaccard", found) == 0 && Self.number("changed", found) == 1)
    var random = Seeded(2)
    let noise = (0..<48).map { _ in Double.random(in: 0...1, using: &random) }
    let other = try Self.debias([noise, trend, trend], "6x8")
    for name in ["alpha", "beta", "r_squared"] {
      #expect(try Self.number(name, other) == Self.number(name, found))
    }
    let all = try Self.debias([noise, trend, trend], "6x8", ":fit=all")
    #expect(try Self.number("beta", all) != Self.number("beta", found))
  }

  /// Checks 4 and 6: a wide image has 6 padded rows of 24 above and below, and none of them is kept.
  @Test func debiasForbidsPadding() throws {
    let curve = Self.trend(576, 0.004)
    for (aspect, rho) in [(2.0, 0.5), (0.5, 0.5), (2.0, 0.01)] {
      let found = try Self.debias([curve], "24x24", ":aspect=\(aspect),rho=\(rho)")
      #expect(try Self.number("padded", found) == 288 && Self.number("padded_after", found) == 0)
      #expect(try Self.number("padded_before", found) > 100 && Self.number("kept", found) == 288)
      let image = try #require(found.field("padding")).field
      for row in 0..<24 {
        let isPadded = row < 6 || row >= 18
        let values = try image.row(row)
        #expect(aspect < 1 || values.allSatisfy { $0 == (isPadded ? 1 : 0) })
      }
      #expect(abs(try Self.number("position_content", found) - 0.5) < 1e-12)
    }
    // 3:2 pads four rows on either side; 1.6 pads four and a half: more than 0.3 of a patch, not of 0.5.
    for (aspect, rho, rows) in [(1.5, 0.5, 8), (1.6, 0.5, 8), (1.6, 0.3, 10), (1, 0.5, 0)] {
      let found = try Self.debias([curve], "24x24", ":aspect=\(aspect),rho=\(rho),keep=1")
      #expect(try Self.number("padded", found) == Double(24 * rows))
      #expect(try Self.number("kept", found) == Double(576 - 24 * rows))
    }
    let roles: [TokenFacts.Role] = Self.roles("t" + String(repeating: "vvvvvppp", count: 6))
    let said = try Self.debias([Self.trend(48, 0.03)], "6x8", ":keep=1", roles: roles)
    #expect(try Self.number("padded", said) == 18 && Self.number("padded_after", said) == 0)
    #expect(try Self.number("kept", said) == 30)
    let tokens = TokenFacts(roles: roles)
    #expect(throws: Missing.self) {
      try Self.examine(
        "debias:aspect=2", Subject(layers: Self.layers([Self.trend(48, 0.03)]), tokens: tokens))
    }
  }
}
