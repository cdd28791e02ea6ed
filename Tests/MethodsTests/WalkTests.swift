import Algebra
import Attention
import Foundation
import Methods
import Support
import Tensors
import Testing

/// Cards A16 and A17: walks over the graph of tokens, and local lines.
@Suite struct WalkTests {
  typealias Table = [[Double]]

  /// A walk's map, on G4 or on random heads, causal or not.
  private static func random(_ causal: Bool, seed: UInt64 = 21) -> Head {
    SolverTests.head(
      SolverTests.draw(30, 5, seed), SolverTests.draw(30, 5, seed + 1),
      SolverTests.draw(30, 4, seed + 2), causal: causal)
  }

  private static func norm(_ a: Table) -> Double {
    a.reduce(0) { $0 + $1.reduce(0) { $0 + $1 * $1 } }.squareRoot()
  }

  private static func identity(_ n: Int) -> Table {
    (0..<n).map { i in (0..<n).map { $0 == i ? 1 : 0 } }
  }

  // MARK: InfSA

  /// (a) Â has norm 1, (b) (I - γÂ)(S + I) = I, sums cut off at L miss S by γ^(L+1) / (1 - γ) at
  /// most, and the hops that are needed are the first that come within 1 %.
  @Test(arguments: [true, false]) func neumann(_ causal: Bool) throws {
    let head = Self.random(causal), n = 30, gamma = 0.95
    let hop = try SolverTests.rows(SolverTests.examine("infsa-hop:rho=1,eps=0", head))
    #expect(abs(Self.norm(hop) - 1) < 1e-6)
    let found = try SolverTests.examine("infsa:eps=0", head), s = try SolverTests.rows(found)
    let eye = Self.identity(n)
    let left = (0..<n).map { i in (0..<n).map { eye[i][$0] - gamma * hop[i][$0] } }
    let right = (0..<n).map { i in (0..<n).map { eye[i][$0] + s[i][$0] } }
    SolverTests.expectEqual(SolverTests.product(left, right), eye, 2e-6)
    let needed = Int(try SolverTests.number(found, "hops_needed"))
    for hops in 1...16 {
      let cut = try SolverTests.rows(SolverTests.examine("infsa:eps=0,hops=\(hops)", head))
      let miss = Self.norm((0..<n).map { i in (0..<n).map { s[i][$0] - cut[i][$0] } })
      #expect(miss <= pow(gamma, Double(hops + 1)) / (1 - gamma) * Double(n).squareRoot())
      #expect((miss <= 0.01 * Self.norm(s)) == (hops >= needed), "\(hops) of \(needed)")
    }
    let inward = try #require(found.series("katz_in"))
    let outward = try #require(found.series("katz_out"))
    for i in 0..<n {
      #expect(abs(Double(inward[i]) - s.reduce(0) { $0 + $1[i] }) < 1e-5)
      #expect(abs(Double(outward[i]) - s[i].reduce(0, +)) < 1e-5)
    }
    let mass = try #require(found.series("hop_mass"))
    let first = gamma * hop.reduce(0) { $0 + $1.reduce(0, +) }
    let total = s.reduce(0) { $0 + $1.reduce(0, +) }
    #expect(abs(Double(mass[0]) - first / total) < 1e-6)
    let radius = try SolverTests.number(found, "spectral_radius")
    #expect(radius > 0 && radius <= 1)
    if causal { #expect(abs(radius - (hop.indices.map { hop[$0][$0] }.max() ?? 0)) < 1e-7) }
  }

  /// (e) [S]₊ = [[1, 0], [1, 1]].
  @Test func neumannOfTwo() throws {
    let head = SolverTests.head([[1, 0], [1, 1]], [[1, 0], [0, 1]], nil)
    let map = try SolverTests.rows(SolverTests.examine("infsa:eps=0", head))
    SolverTests.expectEqual(map, [[1.2148, 0], [2.6904, 1.2148]], 2e-5)
  }

  /// Â of a head by its definition, with ε = 0: `[30][30]`.
  private static func walkGraph(_ head: Head) throws -> Table {
    let (query, key) = try #require(head.queryAndKey), n = head.keys
    func table(_ t: Tensor) -> Table { (0..<n).map { t[$0].floats().map(Double.init) } }
    let (q, k) = (table(query), table(key))
    let raw = (0..<n).map { i in
      (0..<n).map { j in head.visibility.limit(row: i) > j ? max(0, SolverTests.dot(q[i], k[j])) : 0
      }
    }
    let size = norm(raw)
    return raw.map { $0.map { $0 / size } }
  }

  /// A⁻¹ by Gauss and Jordan, the largest pivot first.
  private static func inverse(_ a: Table) -> Table {
    let n = a.count, eye = identity(n)
    var rows = zip(a, eye).map { $0 + $1 }
    for c in 0..<n {
      let top = (c..<n).max { abs(rows[$0][c]) < abs(rows[$1][c]) } ?? c
      rows.swapAt(c, top)
      let pivot = rows[c][c]
      rows[c] = rows[c].map { $0 / pivot }
      for r in 0..<n where r != c && rows[r][c] != 0 {
        let factor = rows[r][c]
        for x in 0..<2 * n { rows[r][x] -= factor * rows[c][x] }
      }
    }
    return rows.map { Array($0[n...]) }
  }

  /// At γ = 0.999 a walk takes 10,000 hops and more: Katz centralities are those of a dense solve,
  /// on signed heads and on keys that are nearly one, whose graph has an eigenvalue of nearly 1.
  @Test(arguments: [true, false], [true, false]) func katzOfLongWalks(
    _ causal: Bool, _ isNearlyOne: Bool
  ) throws {
    func draw(_ seed: UInt64) -> Table {
      let drawn = SolverTests.draw(30, 5, seed)
      return isNearlyOne ? drawn.map { $0.map { Double(Float(1 + 1e-3 * $0)) } } : drawn
    }
    let head = SolverTests.head(draw(61), draw(62), nil, causal: causal)
    let found = try SolverTests.examine("infsa:eps=0,gamma=0.999", head)
    let a = try Self.walkGraph(head), eye = Self.identity(30)
    let whole = Self.inverse(
      (0..<30).map { i in (0..<30).map { eye[i][$0] - 0.999 * a[i][$0] } })
    let s = (0..<30).map { i in (0..<30).map { whole[i][$0] - eye[i][$0] } }
    let inward = try #require(found.series("katz_in")).map(Double.init)
    let outward = try #require(found.series("katz_out")).map(Double.init)
    SolverTests.expectEqual([inward], [(0..<30).map { j in s.reduce(0) { $0 + $1[j] } }])
    SolverTests.expectEqual([outward], [s.map { $0.reduce(0, +) }])
    let total = s.joined().reduce(0, +), first = 0.999 * a.joined().reduce(0, +)
    let mass = try #require(found.series("hop_mass"))
    #expect(abs(Double(mass[0]) - first / total) < 1e-6 * first / total)
    if isNearlyOne && !causal { #expect(total > 29_000) }
  }

  /// (c) rows of F sum to 1 / (1 - γ), (d) F of a pattern of two; a stored pattern is enough.
  @Test(arguments: [true, false]) func visits(_ causal: Bool) throws {
    let map = try SolverTests.rows(SolverTests.examine("infsa-visits", Self.random(causal)))
    for row in map { #expect(abs(row.reduce(0, +) - 20) < 1e-5) }
    let two = Head(pattern: Tensor([1, 0, 0.5, 0.5], shape: [2, 2]), causal: causal)
    let f = try SolverTests.rows(SolverTests.examine("infsa-visits:gamma=0.5", two))
    SolverTests.expectEqual(f, [[2, 0], [2.0 / 3, 4.0 / 3]])
  }

  /// (f) a and the eigenvector on G4, with its own queries and keys and with their magnitudes.
  @Test(arguments: ["infsa", "infsa-linear"]) func cosines(_ setting: String) throws {
    let (q, k) = (G4.values(G4.query), G4.values(G4.key))
    func cosine(_ q: Table, _ k: Table) throws -> Double {
      let head = SolverTests.head(q, k, nil, causal: false)
      return try SolverTests.number(SolverTests.examine(setting, head), "cosine")
    }
    #expect(abs(try cosine(q, k) - 0.72277) < 5e-6)
    #expect(abs(try cosine(q.map { $0.map(abs) }, k.map { $0.map(abs) }) - 0.99988) < 5e-6)
    let causal = try SolverTests.examine(setting, G4.head())
    #expect(causal["cosine"] != nil && causal["cosine"]?.number == nil)
  }

  /// Rank 1 where nothing is masked, by the formula; rows without a positive score are zero.
  @Test(arguments: [true, false]) func linear(_ causal: Bool) throws {
    let head = Self.random(causal), (query, key) = try #require(head.queryAndKey)
    func table(_ t: Tensor) -> Table { (0..<30).map { t[$0].floats().map(Double.init) } }
    let (q, k) = (table(query), table(key))
    let found = try SolverTests.examine("infsa-linear:rho=0.5", head)
    let map = try SolverTests.rows(found)
    for i in 0..<30 {
      let seen = causal ? 0...i : 0...29
      var mean = [Double](repeating: 0, count: 5)
      for t in seen {
        let size = SolverTests.dot(q[t], q[t]).squareRoot()
        for x in 0..<5 { mean[x] += size * q[t][x] }
      }
      let raw = seen.map { max(0, SolverTests.dot(mean, k[$0])) }, sum = raw.reduce(0, +)
      for j in seen { #expect(abs(map[i][j] - (sum > 0 ? 0.5 * raw[j] / sum : 0)) < 1e-6) }
    }
    if !causal { #expect(found["numerical_rank"]?.number == 1) }
    let against = SolverTests.head([[1, 0], [1, 1]], [[-1, 0], [0, -1]], nil, causal: causal)
    for id in ["infsa-linear", "infsa", "infsa-hop:eps=0"] {
      let nothing = try SolverTests.examine(id, against)
      #expect(try SolverTests.rows(nothing).allSatisfy { $0 == [0, 0] })
      #expect(nothing["zero_rows"]?.number == 2)
    }
  }

  /// Keys that are equal share their rank, however sums round.
  @Test func equalKeysShareARank() throws {
    let q = SolverTests.draw(24, 4, 41), three = SolverTests.draw(3, 4, 42)
    let head = SolverTests.head(q, (0..<24).map { three[$0 % 3] }, nil, causal: false)
    let found = try SolverTests.examine("infsa-visits", head)
    let sums = try SolverTests.rows(SolverTests.examine("lucid:strength=0", head))
      .reduce([Double](repeating: 0, count: 24)) { zip($0, $1).map(+) }
    let visits = try #require(found.series("visits"))
    // Three ranks on each side: in one order they agree wholly.
    func order(_ x: [Double]) -> [Int] { [0, 1, 2].sorted { x[$0] < x[$1] } }
    let isSame = order(sums) == order(visits.map(Double.init))
    #expect((try SolverTests.number(found, "visits_rank_correlation") > 1 - 1e-9) == isSame)
  }

  /// A walk needs as many queries as keys; one hop does not.
  @Test func oneHopOfDecodeRows() throws {
    let rows = Self.random(true).slice(20..<30, keys: 30)
    for id in ["infsa", "infsa-visits", "infsa-linear"] {
      #expect(throws: Missing.self) { try SolverTests.examine(id, rows) }
    }
    let hop = try SolverTests.rows(SolverTests.examine("infsa-hop:rho=1,eps=0", rows))
    #expect(abs(Self.norm(hop) - 1) < 1e-6 && hop.count == 10)
  }

  // MARK: Local linear attention

  /// Rows sum to 1 for every λ; λ → ∞ is softmax (I3); both solvers agree, and the parts sum to W.
  @Test(arguments: [true, false]) func lines(_ causal: Bool) throws {
    let head = Self.random(causal, seed: 31)
    for setting in ["lla", "lla:lambda=1e-3", "lla:lambda=100", "lla:kappa=10"] {
      let found = try SolverTests.examine(setting, head), map = try SolverTests.rows(found)
      for row in map { #expect(abs(row.reduce(0, +) - 1) < 2e-6) }
      let name = setting.contains(":") ? setting + ",solver=cg" : "lla:solver=cg"
      SolverTests.expectEqual(try SolverTests.rows(SolverTests.examine(name, head)), map, 1e-6)
      let (a, b) = (
        try SolverTests.rows(found, "residual_part"), try SolverTests.rows(found, "linear_part")
      )
      SolverTests.expectEqual(map.indices.map { i in zip(a[i], b[i]).map(+) }, map, 2e-6)
      #expect(try SolverTests.number(found, "cg_iterations") > 0)
      #expect(try SolverTests.number(found, "underdetermined_rows") == (causal ? 5 : 0))
    }
    let far = try SolverTests.examine("lla:lambda=1e9", head)
    #expect(try SolverTests.number(far, "map_gap") < 1e-6)
    #expect(try SolverTests.number(far, "correction_share") < 1e-6)
  }

  /// λ → 0 reproduces V = K T + b where a row sees more than d keys, with an error in proportion to
  /// λ (111 λ on G4), and the first moment vanishes.
  @Test func linesReproduceAffineMaps() throws {
    let k = G4.values(G4.key), q = G4.values(G4.query), t = [[1, 2], [-1, 0.5]]
    func affine(_ x: Table) -> Table { SolverTests.product(x, t).map { [$0[0] + 1, $0[1] - 2] } }
    let head = SolverTests.head(q, k, affine(k)), wanted = affine(q)
    for (lambda, error) in [(1e-5, 1.1062e-3), (1e-6, 1.1081e-4), (1e-8, 1.1083e-6)] {
      let found = try SolverTests.examine("lla:lambda=\(lambda)", head)
      let out = try SolverTests.rows(found, "output"), map = try SolverTests.rows(found)
      let most = (2..<4).flatMap { i in zip(out[i], wanted[i]).map { abs($0 - $1) } }.max() ?? 1
      #expect(abs(most - error) < 2e-6, "\(most) at \(lambda)")
      for i in 2..<4 {
        let moment = (0..<2).map { x in
          (0...i).reduce(0) { $0 + map[i][$1] * (k[$1][x] - q[i][x]) }
        }
        #expect(SolverTests.dot(moment, moment).squareRoot() < 90 * lambda + 2e-6)
      }
    }
  }

  /// Keys 0 and 1 of equal weight, a query at 2: the line goes on, the ridge holds it back.
  @Test func aLineOfTwoPoints() throws {
    let head = SolverTests.head([[2], [2]], [[0], [1]], [[0], [1]], causal: false, scale: 0)
    let free = try SolverTests.examine("lla:lambda=1e-9", head)
    SolverTests.expectEqual([try SolverTests.rows(free)[0]], [[-1, 2]])
    let held = try SolverTests.examine("lla:lambda=1", head)
    SolverTests.expectEqual([try SolverTests.rows(held)[0]], [[0.2, 0.8]])
    #expect(held.series("extrapolation") == [1.5, 1.5])
    // |W - A| is 0.6 in a row of mass 1.
    #expect(abs(try SolverTests.number(held, "correction_share") - 0.6 / 1.6) < 1e-6)
    // Slope 0.25 / 1.25: the line says 0.4, what it leaves 0.4.
    #expect(abs(try SolverTests.number(held, "linear_share") - 0.5) < 1e-6)
    guard case .curve(let curve)? = held["error_by_kappa"]?.content else {
      Issue.record("no curve by ridge")
      return
    }
    #expect(zip(curve.points, curve.points.dropFirst()).allSatisfy { $0.y > $1.y })
  }
}
