import Algebra
import Attention
import Foundation
import Methods
import Support
import Tensors
import Testing

/// Cards A7, A16 and A17: regressions, walks and local lines, by the cards' own figures and by
/// computations that share no code with the methods.
@Suite struct SolverTests {
  typealias Table = [[Double]]

  static func examine(_ setting: String, _ head: Head) throws -> Findings {
    try Registry.standard.make(MethodSetting(parsing: setting)).examine(Subject(head), MethodRun())
  }

  static func head(
    _ q: Table, _ k: Table, _ v: Table?, causal: Bool = true, scale: Double? = nil
  ) -> Head {
    func tensor(_ rows: Table) -> Tensor {
      Tensor(rows.flatMap { $0.map(Float.init) }, shape: [rows.count, rows[0].count])
    }
    return Head(
      query: tensor(q), key: tensor(k), value: v.map(tensor), causal: causal, scale: scale)
  }

  /// Rows of numbers that a float holds, so that both sides start from the same.
  static func draw(_ rows: Int, _ columns: Int, _ seed: UInt64) -> Table {
    var random = SplitMix64(seed)
    return (0..<rows).map { _ in
      random.gaussians(columns).map { Double(Float($0)) }
    }
  }

  static func dot(_ x: [Double], _ y: [Double]) -> Double {
    zip(x, y).reduce(0) { $0 + $1.0 * $1.1 }
  }

  static func rows(_ findings: Findings, _ name: String = "map") throws -> Table {
    let field = try #require(findings.field(name), "\(name)").field
    return try (0..<field.rows.count).map { try field.row($0).map { $0.isNaN ? 0 : Double($0) } }
  }

  static func number(_ findings: Findings, _ name: String) throws -> Double {
    try #require(findings[name]?.number, "\(name)")
  }

  /// a B.
  static func product(_ a: Table, _ b: Table) -> Table {
    a.map { row in
      b[0].indices.map { x in row.indices.reduce(0) { $0 + row[$1] * b[$1][x] } }
    }
  }

  /// Entries agree to `hair` of the largest.
  static func expectEqual(_ got: Table, _ wanted: Table, _ hair: Double = 1e-6) {
    let size = max(wanted.flatMap { $0 }.map(abs).max() ?? 0, 1e-12)
    for (i, (a, b)) in zip(got, wanted).enumerated() {
      for (j, (x, y)) in zip(a, b).enumerated() {
        #expect(abs(x - y) <= hair * size, "(\(i), \(j)): \(x), not \(y)")
      }
    }
    #expect(got.count == wanted.count)
  }

  /// Row 4 of W on G4, its sum, and the error over all rows, as the card prints them.
  @Test(arguments: [
    ("infsa-hop:eps=0", [0.548483, 0, 0.411362, 0], 0.959845, 0.565257),
    ("infsa-neumann:eps=0", [0.810051, 0.287475, 0.411362, 0], 1.508888, 0.466068),
    ("mesa:lambda=1", [0.802632, -0.289474, 0.657895, -0.223684], 0.947368, 0.871471),
    ("deltanet", [0, -0.316228, 0.948683, 0], 0.632456, 0.460136),
    ("lla-1", [0.648783, -0.013049, 0.388126, -0.023860], 1, 0.262986),
    ("lla-1:solver=cg", [0.648783, -0.013049, 0.388126, -0.023860], 1, 0.262986),
  ]) func tableOfG4(_ setting: String, _ row: [Double], _ sum: Double, _ error: Double) throws {
    let found = try Self.examine(setting, G4.head()), last = try Self.rows(found)[3]
    for (got, wanted) in zip(last, row) { #expect(abs(got - wanted) < 1e-6, "\(last)") }
    #expect(abs(last.reduce(0, +) - sum) < 1.5e-6)
    #expect(abs(try Self.number(found, "error") - error) < 1e-6)
  }

  // MARK: Test-time regression

  /// Setting, decay, and β of the delta rule.
  private static let layers: [(String, Double, Double?)] = [
    ("ttr-linear", 1, nil), ("ttr-decayed", 0.95, nil), ("deltanet", 1, 1),
    ("deltanet-half", 1, 0.5),
  ]

  /// Linear and decayed attention, and DeltaNet, as what they are token by token: I9 with decay 1.
  @Test(arguments: SolverTests.layers) func recurrences(
    _ setting: String, _ gamma: Double, _ beta: Double?
  ) throws {
    let n = 24, q = Self.draw(n, 6, 1), k = Self.draw(n, 6, 2), v = Self.draw(n, 3, 3)
    func hat(_ x: [Double]) -> [Double] {
      beta == nil ? x : x.map { $0 / Self.dot(x, x).squareRoot() }
    }
    var state = Table(repeating: [Double](repeating: 0, count: 6), count: 3), wanted: Table = []
    for t in 0..<n {
      let key = hat(k[t])
      for x in 0..<3 {
        let known = beta == nil ? 0 : Self.dot(state[x], key)
        for y in 0..<6 {
          state[x][y] = gamma * state[x][y] + (beta ?? 1) * (v[t][x] - known) * key[y]
        }
      }
      wanted.append(state.map { Self.dot($0, hat(q[t])) })
    }
    let found = try Self.examine(setting, Self.head(q, k, v))
    Self.expectEqual(try Self.rows(found, "output"), wanted)
  }

  /// β of each token by the file, of the head that is looked at; a knob that is given goes before
  /// it, and what is no β is refused.
  @Test func deltaNetTakesTheFilesStrengths() throws {
    let n = 20, q = Self.draw(n, 4, 71), k = Self.draw(n, 4, 72), v = Self.draw(n, 3, 73)
    func hat(_ x: [Double]) -> [Double] { x.map { $0 / Self.dot(x, x).squareRoot() } }
    let beta = (0..<n).map { Float($0 % 5) / 4 }, head = Self.head(q, k, v)
    var state = Table(repeating: [Double](repeating: 0, count: 4), count: 3), wanted: Table = []
    for t in 0..<n {
      let key = hat(k[t])
      for x in 0..<3 {
        let off = Double(beta[t]) * (v[t][x] - Self.dot(state[x], key))
        for y in 0..<4 { state[x][y] += off * key[y] }
      }
      wanted.append(state.map { Self.dot($0, hat(q[t])) })
    }
    func found(_ setting: String, _ values: [Float], _ shape: [Int]) throws -> Findings {
      let subject = Subject(layers: [[head, head]], focus: (0, 1)) { need, _ in
        guard need == .writeStrengths else { throw Missing(need) }
        return Tensor(values, shape: shape)
      }
      let method = try Registry.standard.make(MethodSetting(parsing: setting))
      return try method.examine(subject, MethodRun())
    }
    let both = [Float](repeating: 1, count: n) + beta
    let own = try found("deltanet", both, [2, n])
    Self.expectEqual(try Self.rows(own, "output"), wanted)
    #expect(own.series("beta") == beta && own.notes.contains { $0.hasSuffix("exact") })
    Self.expectEqual(try Self.rows(found("deltanet", beta, [1, n]), "output"), wanted)
    let half = try Self.rows(Self.examine("deltanet-half", head))
    #expect(try Self.rows(found("deltanet-half", both, [2, n])) == half)
    for (values, shape) in [(both, [n, 2]), ([Float](repeating: 3, count: n), [1, n])] {
      #expect(throws: Missing.self) { try found("deltanet", values, shape) }
    }
  }

  /// Updates of H⁻¹ by Sherman and Morrison, which hold for γ = 1 and one λ, and under decay a
  /// system a row.
  @Test func mesaIsRecursiveLeastSquares() throws {
    let n = 40, d = 5, q = Self.draw(n, d, 4), k = Self.draw(n, d, 5)
    var inverse = (0..<d).map { i in (0..<d).map { $0 == i ? 1.0 : 0 } }, wanted: Table = []
    for i in 0..<n {
      let u = inverse.map { Self.dot($0, k[i]) }, divisor = 1 + Self.dot(u, k[i])
      for a in 0..<d { for b in 0..<d { inverse[a][b] -= u[a] * u[b] / divisor } }
      let x = inverse.map { Self.dot($0, q[i]) }
      wanted.append((0..<n).map { $0 <= i ? Self.dot(k[$0], x) : 0 })
    }
    let found = try Self.examine("mesa:lambda=1", Self.head(q, k, nil))
    Self.expectEqual(try Self.rows(found), wanted)
    let decayed = try Self.rows(Self.examine("mesa-gamma", Self.head(q, k, nil)))
    for i in [0, 31, 32, 39] {
      // H_i w = γ^(i - j) k q read the other way: Σ_j W_ij k_j = q - λ H⁻¹ q, and W_ij / γ^(i-j) is
      // linear in k_j.
      let h = Matrix(rows: d, columns: d) { a, b in
        (0...i).reduce(a == b ? 1 : 0) { $0 + pow(0.95, Double(i - $1)) * k[$1][a] * k[$1][b] }
      }
      let x = try Cholesky(h).solve(q[i])
      for j in 0...i {
        let weight = pow(0.95, Double(i - j)) * Self.dot(k[j], x)
        #expect(abs(decayed[i][j] - weight) < 1e-6, "(\(i), \(j))")
      }
    }
  }

  /// I4: mesa with a large ridge, times the ridge, is linear attention. I5: DeltaNet with unit keys
  /// that are the queries is the identity.
  @Test func identities4And5() throws {
    let q = Self.draw(20, 4, 6), k = Self.draw(20, 4, 7)
    let mesa = try Self.rows(Self.examine("mesa:lambda=1e8", Self.head(q, k, nil)))
    let linear = try Self.rows(Self.examine("ttr-linear", Self.head(q, k, nil)))
    Self.expectEqual(mesa.map { $0.map { $0 * 1e8 } }, linear)
    let delta = try Self.rows(Self.examine("deltanet", Self.head(k, k, nil)))
    Self.expectEqual(delta, (0..<20).map { i in (0..<20).map { $0 == i ? 1 : 0 } })
  }

  /// λ → 0 reproduces V = K T from row d on, with an error in proportion to λ: 7.25 λ on G4.
  @Test func mesaReproducesLinearMaps() throws {
    let k = G4.values(G4.key), q = G4.values(G4.query), t = [[1, 2], [-1, 0.5]]
    let head = Self.head(q, k, Self.product(k, t)), wanted = Self.product(q, t)
    for (lambda, error) in [(1e-3, 7.2303e-3), (1e-4, 7.2480e-4), (1e-9, 7.25e-9)] {
      let out = try Self.rows(Self.examine("mesa:lambda=\(lambda)", head), "output")
      let most = (1..<4).flatMap { i in zip(out[i], wanted[i]).map { abs($0 - $1) } }.max() ?? 1
      #expect(abs(most - error) < 1e-6, "\(most) at \(lambda)")
    }
  }

  @Test func twoTokens() throws {
    let same = Self.head([[1, 0], [1, 0]], [[1, 0], [1, 0]], [[1, 2], [3, 4]])
    #expect(try Self.rows(Self.examine("deltanet", same))[1] == [0, 1])
    #expect(try Self.rows(Self.examine("ttr-linear", same))[1] == [1, 1])
    let near = Self.head([[1, 0], [1, 0]], [[1, 0], [0.6, 0.8]], nil)
    Self.expectEqual([try Self.rows(Self.examine("deltanet", near))[1]], [[0.64, 0.6]])
    let one = try Self.rows(Self.examine("mesa:lambda=1", Self.head([[1], [1]], [[1], [2]], nil)))
    Self.expectEqual([one[1]], [[1.0 / 6, 2.0 / 6]])
  }

  /// Recall and degrees of freedom: orthonormal keys are found again by every member that erases
  /// or whitens; the freedom of a bidirectional ridge is Σ σ² / (σ² + λ).
  @Test func recallAndFreedom() throws {
    let eye = (0..<6).map { i in (0..<6).map { $0 == i ? 1.0 : 0 } }, v = Self.draw(6, 3, 8)
    for setting in ["ttr-linear", "deltanet", "mesa:lambda=1e-9"] {
      let found = try Self.examine(setting, Self.head(eye, eye, v))
      #expect(try Self.number(found, "recall_error") < 1e-6, "\(setting)")
      #expect(abs(try Self.number(found, "degrees_of_freedom") - 6) < 1e-6, "\(setting)")
    }
    let half = try Self.examine("deltanet-half", Self.head(eye, eye, v))
    let mean = v.map { Self.dot($0, $0).squareRoot() / 2 }.reduce(0, +) / 6
    #expect(abs(try Self.number(half, "recall_error") - mean) < 1e-6)
    #expect(abs(try Self.number(half, "degrees_of_freedom") - 3) < 1e-6)
    let k = Self.draw(30, 4, 9), flat = k.flatMap { $0 }
    let singular = try SingularValues(Matrix(rows: 30, columns: 4, elements: flat)).values
    let wanted = singular.reduce(0) { $0 + $1 * $1 / ($1 * $1 + 2) }
    let ridge = try Self.examine("mesa:lambda=2", Self.head(k, k, nil, causal: false))
    #expect(abs(try Self.number(ridge, "degrees_of_freedom") - wanted) < 1e-9)
    // With Q = K the leverages are the trace, and the spectrum is that of the hat matrix.
    let leverage = try #require(ridge.series("leverage"))
    #expect(abs(leverage.reduce(0) { $0 + Double($1) } - wanted) < 1e-5)
    let spectrum = try #require(ridge.series("spectrum"))
    for (value, s) in zip(spectrum, singular) {
      #expect(abs(Double(value) - s * s / (s * s + 2)) < 1e-5)
    }
    #expect(ridge["recall_error"]?.number == nil)
  }

  /// QK-norm forgets the size of keys; the small multiples of `ttr` are the cards of their own.
  @Test func qkNormAndMembers() throws {
    let q = Self.draw(16, 4, 10), k = Self.draw(16, 4, 11), v = Self.draw(16, 3, 12)
    let stretched = k.enumerated().map { j, row in row.map { $0 * Double(1 + j % 4) } }
    for setting in ["ttr:qk_norm=true", "mesa:qk_norm=true,gain=3"] {
      let one = try Self.examine(setting, Self.head(q, k, v))
      let other = try Self.rows(Self.examine(setting, Self.head(q, stretched, v)))
      Self.expectEqual(try Self.rows(one), other)
      let isNoted = one.notes.contains { $0.hasPrefix("U0") }
      #expect(isNoted == !setting.contains("gain"))
    }
    let all = try Self.examine("ttr", Self.head(q, k, v))
    for (member, setting) in [
      ("linear", "ttr-linear"), ("decayed", "ttr-decayed"), ("delta", "deltanet"),
      ("mesa", "mesa"), ("softmax", "lucid:strength=0"), ("local_linear", "lla"),
    ] {
      let own = try Self.examine(setting, Self.head(q, k, v))
      Self.expectEqual(try Self.rows(all, member), try Self.rows(own))
      guard member != "softmax", member != "local_linear" else { continue }
      let (recall, freedom) = ("recall_\(member)", "freedom_\(member)")
      #expect(try Self.number(all, recall) == Self.number(own, "recall_error"))
      #expect(try Self.number(all, freedom) == Self.number(own, "degrees_of_freedom"))
    }
    let divided = try Self.rows(Self.examine("ttr:divide=true", Self.head(q, k, v)))
    let plain = try Self.rows(all)
    for i in 0..<16 { #expect(abs(divided[i][0] * Double(i + 1) - plain[i][0]) < 1e-5) }
  }

  /// Under QK-norm softmax is Nadaraya and Watson's regression with a Gaussian, of variance √d.
  @Test func softmaxIsAGaussianOnTheSphere() throws {
    let q = Self.draw(12, 4, 15), k = Self.draw(12, 4, 16)
    let found = try Self.examine("ttr:qk_norm=true", Self.head(q, k, nil, causal: false))
    func ball(_ x: [Double]) -> [Double] { x.map { 2 * $0 / Self.dot(x, x).squareRoot() } }
    let wanted = q.map { query -> [Double] in
      let weights = k.map { key -> Double in
        let off = zip(ball(query), ball(key)).map { $0 - $1 }
        return exp(-Self.dot(off, off) / 4)
      }
      return weights.map { $0 / weights.reduce(0, +) }
    }
    Self.expectEqual(try Self.rows(found, "softmax"), wanted)
    #expect(found.field("decayed") == nil && found.field("mesa") != nil)
  }

  /// A NaN of the data shows as +infinity where it counts, and nothing is thrown.
  @Test(arguments: [
    "ttr", "deltanet", "mesa", "mesa-gamma", "lla", "lla:solver=cg", "infsa", "infsa-hop",
    "infsa-neumann-4", "infsa-visits", "infsa-linear",
  ])
  func whatIsNoNumberStaysOne(_ setting: String) throws {
    var q = Self.draw(8, 3, 19), k = Self.draw(8, 3, 20)
    (q[2][0], k[5][1]) = (.nan, .nan)
    let found = try Self.examine(setting, Self.head(q, k, k))
    let field = try #require(found.field("map")).field
    // The numbers of all maps come before the output.
    for finding in found.all.drop(while: { $0.name != "output" }) {
      if let number = finding.number { #expect(!number.isNaN, "\(finding.name)") }
    }
    #expect(try field.row(2)[0] == .infinity && field.row(7)[5] == .infinity)
    #expect(try field.row(1)[2].isNaN)
  }

  /// States that do not grow, and what a token takes, by the counts of the cards.
  @Test func costs() throws {
    let q = Self.draw(9, 4, 17), v = Self.draw(9, 3, 18), head = Self.head(q, q, v)
    for (setting, state, flops) in [
      ("ttr-linear", 12.0, 48.0), ("ttr-decayed", 12, 60), ("deltanet", 12, 72),
      ("mesa", 28, 48 + 32 + 32 + 21),
    ] {
      let found = try Self.examine(setting, head)
      #expect(try Self.number(found, "state_size") == state, "\(setting)")
      #expect(try Self.number(found, "flops_token") == flops, "\(setting)")
      #expect(try Self.number(found, "flops_token_softmax") == 2 * 9 * 7)
    }
  }

  @Test(arguments: ["ttr-decayed", "deltanet", "deltanet-half", "mesa-gamma"])
  func whatCountsBackNeedsACausalHead(_ setting: String) throws {
    let error = #expect(throws: Missing.self) {
      try Self.examine(setting, G4.head(causal: false))
    }
    #expect("\(try #require(error))".hasPrefix("needs Q and K: of a causal head"))
  }

  /// The same bits, and NaN in the same places.
  private static func isSame(_ a: [Float], _ b: [Float]) -> Bool {
    a.elementsEqual(b) { $0 == $1 || ($0.isNaN && $1.isNaN) }
  }

  /// Above 512 tokens recall is the mean over 64 keys, evenly spread, and is called so; what takes
  /// the whole map is not there, and notes say it.
  @Test func recallOfLongHeadsIsSampled() throws {
    let n = 520, q = Self.draw(n, 3, 51), k = Self.draw(n, 3, 52), v = Self.draw(n, 2, 53)
    let found = try Self.examine("ttr", Self.head(q, k, v))
    // Out for a query k_j at the end is k_j Σ k vᵀ.
    let sums = (0..<3).map { a in
      (0..<2).map { x in (0..<n).reduce(0) { $0 + k[$1][a] * v[$1][x] } }
    }
    let chosen = MapPass.sample(0..<n, 64)
    let errors = chosen.map { j in
      let off = (0..<2).map { x in (0..<3).reduce(-v[j][x]) { $0 + k[j][$1] * sums[$1][x] } }
      return Self.dot(off, off).squareRoot()
    }
    let mean = errors.reduce(0, +) / 64
    for name in ["recall_error_sampled", "recall_linear_sampled"] {
      #expect(abs(try Self.number(found, name) - mean) < 1e-9 * mean, "\(name)")
    }
    for name in ["recall_error", "recall_mesa", "degrees_of_freedom", "leverage", "spectrum"] {
      #expect(found[name] == nil, "\(name)")
    }
    #expect(found["recall_mesa_sampled"]?.number != nil)
    #expect(found.notes.filter { $0.hasPrefix("rows only") }.count == 3, "\(found.notes)")
  }

  /// Beside a map that is looked at alone nothing is computed that only a screen of numbers shows.
  @Test func membersComeWithTheNumbers() throws {
    let method = try Registry.standard.make(MethodSetting("ttr"))
    let light = try method.examine(Subject(G4.head()), MethodRun(wantsNumbers: false))
    #expect(light.all.map(\.name) == ["map"])
    let full = try method.examine(Subject(G4.head()), MethodRun())
    #expect(full.field("mesa") != nil && full.series("spectrum") != nil)
  }

  /// Above 512 tokens; rows of chunked prefill count from their own places.
  @Test(arguments: ["ttr-decayed", "deltanet", "mesa-gamma", "lla-1", "mesa:lambda=2"])
  func rowsOnDemand(_ setting: String) throws {
    let n = 520, q = Self.draw(n, 3, 13), k = Self.draw(n, 3, 14)
    let long = try Self.examine(setting, Self.head(q, k, nil))
    let short = Self.head(Array(q[..<100]), Array(k[..<100]), nil)
    let field = try #require(long.field("map")).field
    let whole = try #require(Self.examine(setting, short).field("map")).field
    for row in [0, 31, 32, 99] {
      #expect(try Self.isSame(Array(field.row(row)[..<100]), whole.row(row)), "row \(row)")
    }
    #expect(long.notes.contains { $0.hasPrefix("rows only") } && long.series("spectrum") == nil)
    let late = Self.head(Array(q[60..<100]), Array(k[..<100]), nil)
    let part = try #require(Self.examine(setting, late).field("map")).field
    for row in [0, 3, 39] {
      #expect(try Self.isSame(part.row(row), whole.row(row + 60)), "row \(row + 60)")
    }
  }
}
