import Algebra
import Attention
import Foundation
import Methods
import Support
import Tensors
import Testing

/// Cards A6 (sigmoid), A9 (softplus), A11 (affine) and A15 (selective): row-wise re-weightings of
/// the scores, by the cards' own figures and by second computations in double precision.
@Suite struct RowwiseTests {
  static func examine(_ setting: String, _ head: Head) throws -> Findings {
    try ReweightingTests.examine(setting, Subject(head))
  }

  static func number(_ findings: Findings, _ name: String) throws -> Double {
    try ReweightingTests.number(findings, name)
  }

  /// The map's rows, 0 where nothing is seen.
  static func map(_ findings: Findings, _ name: String = "map") throws -> [[Double]] {
    try ReweightingTests.rows(findings, name).map { $0.map { $0.isNaN ? 0 : $0 } }
  }

  static func series(_ findings: Findings, _ name: String) throws -> [Double] {
    try #require(findings.series(name), "\(name)").map(Double.init)
  }

  static func close(_ a: [Double], _ b: [Double], _ hair: Double) -> Bool {
    a.count == b.count && zip(a, b).allSatisfy { abs($0 - $1) <= hair }
  }

  /// q · k in double precision.
  static func dot(_ q: [Float], _ k: [Float]) -> Double {
    var sum = 0.0
    for (x, y) in zip(q, k) { sum += Double(x) * Double(y) }
    return sum
  }

  /// Random rows; `scale` is the deviation of an entry.
  static func drawn(_ n: Int, _ d: Int, seed: UInt64, scale: Double = 1, causal: Bool = true)
    -> Head
  {
    var random = SplitMix64(seed)
    func draw() -> Tensor {
      Tensor(random.gaussians(n * d).map { Float(scale * $0) }, shape: [n, d])
    }
    return Head(query: draw(), key: draw(), value: draw(), causal: causal)
  }

  /// Row 4 of W, its sum, and the error over all rows, as the card prints them.
  @Test(arguments: [
    ("sigmoid:b=-ln n", [0.506979, 0.109740, 0.419303, 0.200000], 1.236022, 0.451668),
    ("lssa", [0.327016, 0.149069, 0.336971, 0.186944], 1, 0.230259),
    ("lssar-3", [0.409830, 0, 0.590170, 0], 1, 0.204264),
    ("lssar-15", [0.139033, 0, 0.860967, 0], 1, 0.290903),
    ("affine-fixed", [0.287376, -0.053564, 0.172011, -0.005822], 0.4, 0.595406),
    ("ssa-position", [0.599397, 0.016514, 0.329411, 0.054678], 1, 0.163365),
    ("clipped:gamma=-0.1/n", [0.471325, 0.034496, 0.323514, 0.095665], 0.925, 0.054844),
  ]) func tableOfG4(_ setting: String, _ row: [Double], _ sum: Double, _ error: Double) throws {
    let found = try Self.examine(setting, G4.head()), last = try Self.map(found)[3]
    #expect(Self.close(last, row, 1.1e-6), "\(last)")
    #expect(abs(last.reduce(0, +) - sum) < 1.1e-6)
    #expect(abs(try Self.number(found, "error") - error) < 1.1e-6)
  }

  /// The panel that the card prints for lssar p = 15.
  @Test func panelOfG4() throws {
    let found = try Self.examine("lssar-15", G4.head())
    for (name, wanted) in [
      ("entropy", 0.227721), ("entropy_normalised", 0.340991), ("effective_rank", 2.952676),
      ("numerical_rank", 3), ("negative_mass", 0), ("error_row_max", 0.391297),
      ("map_gap", 0.240429), ("max_weight", 0.914007), ("spikiness", 0.858668),
    ] { #expect(abs(try Self.number(found, name) - wanted) < 2e-6, "\(name)") }
  }

  /// I7: at these settings nothing is left of the method.
  @Test(
    arguments: [
      "affine:alpha=1,alpha_ma=1", "ssa:kappa=0,token=None", "clipped:gamma=0,zeta=1", "alibi:m=0",
    ], Bench.allCases)
  func identityI7(_ setting: String, _ input: Bench) throws {
    let found = try Self.examine(setting, input.head)
    let dense = try Self.map(try Self.examine("clipped:alpha=0", input.head))
    for (w, a) in zip(try Self.map(found), dense) { #expect(Self.close(w, a, 1e-6)) }
    #expect(try Self.number(found, "map_gap") < 1e-6)
  }
}

// MARK: Sigmoid

extension RowwiseTests {
  @Test func sigmoidOfFewLogits() throws {
    let zero = ReweightingTests.head([[Double]](repeating: [0, 0, 0, 0, 0], count: 5))
    for row in try Self.map(try Self.examine("sigmoid", zero)) {
      #expect(abs(row.reduce(0, +) - 5.0 / 6) < 1e-6)
    }
    let two = ReweightingTests.head([[0, log(3.0)]])
    let row = try Self.map(try Self.examine("sigmoid", two))[0]
    #expect(Self.close(row, [1.0 / 3, 3.0 / 5], 1e-6), "\(row)")
    // Of logits 0: row i of a causal head sums to i / (n + 1), or to ½ by the keys it sees.
    let sums = try Self.series(try Self.examine("sigmoid", Bench.uniform.head), "row_sums")
    let own = try Self.series(try Self.examine("sigmoid-per-row", Bench.uniform.head), "row_sums")
    for i in 0..<64 {
      let seen = Double(i + 1)
      #expect(abs(sums[i] - seen / 65) < 1e-6)
      #expect(abs(own[i] - seen / (seen + 1)) < 1e-6)
    }
  }

  /// Entries by the definition, with every kind of b; the field `normalised` and its gap.
  @Test(arguments: ["-ln n", "-ln c_i", "0", "-2.5"], [true, false])
  func sigmoidByItsFormula(_ b: String, _ causal: Bool) throws {
    let head = Self.drawn(50, 8, seed: 5, causal: causal), both = try #require(head.queryAndKey)
    let found = try Self.examine("sigmoid:b=\(b)", head), map = try Self.map(found)
    let rows = try Self.map(found, "normalised")
    let dense = try Self.map(try Self.examine("clipped:alpha=0", head))
    var high = 0, low = 0, seen = 0, gap = 0.0
    for i in 0..<50 {
      let limit = causal ? i + 1 : 50, q = both.query[i].floats(), sum = map[i].reduce(0, +)
      var bias = Double(b) ?? -log(50.0)
      if b == "-ln c_i" { bias = -log(Double(limit)) }
      for j in 0..<limit {
        let s = Self.dot(q, both.key[j].floats()) / 8.0.squareRoot()
        let gate: Double = 1 / (1 + exp(-s - bias))
        #expect(abs(map[i][j] - gate) < 1e-6)
        #expect(abs(rows[i][j] - map[i][j] / sum) < 1e-6)
        high += gate > 0.9 ? 1 : 0
        low += gate < 0.01 ? 1 : 0
        seen += 1
        gap += abs(map[i][j] / sum - dense[i][j]) / 2 / 50
      }
    }
    #expect(abs(try Self.number(found, "saturated_high") - Double(high) / Double(seen)) < 1e-12)
    #expect(abs(try Self.number(found, "saturated_low") - Double(low) / Double(seen)) < 1e-12)
    #expect(abs(try Self.number(found, "gap_normalised") - gap) < 1e-6)
  }

  /// Check (c) and I8: an entry of a row over its sum differs from softmax by at most a relative
  /// e^(x_max) / n, so that the gap goes to 0 as n grows.
  @Test func sigmoidRowsBecomeSoftmax() throws {
    var last = 1.0
    for n in [16, 64, 256, 1024] {
      let head = Self.drawn(n, 4, seed: 9, scale: 0.7, causal: false)
      let found = try Self.examine("sigmoid", head)
      let dense = try Self.map(try Self.examine("clipped:alpha=0", head))
      let rows = try Self.map(found, "normalised"), both = try #require(head.queryAndKey)
      let k = (0..<n).map { both.key[$0].floats() }
      for i in stride(from: 0, to: n, by: max(1, n / 16)) {
        let q = both.query[i].floats()
        let scores = k.map { Self.dot(q, $0) / 2 }
        let bound: Double = exp(scores.max() ?? 0) / Double(n) + 1e-5
        for (w, a) in zip(rows[i], dense[i]) {
          #expect(abs(w / a - 1) <= bound, "n \(n) row \(i)")
        }
      }
      let gap = try Self.number(found, "gap_normalised")
      #expect(gap < last / 2, "n \(n): \(gap)")
      last = gap
    }
  }

  /// Check (d): another key changes its own column, where softmax changes the whole row.
  @Test func sigmoidKeysStandAlone() throws {
    let head = Bench.random.head, both = try #require(head.queryAndKey)
    var keys = both.key.floats()
    for x in 0..<32 { keys[7 * 32 + x] += 1 }
    let other = Head(
      query: both.query, key: Tensor(keys, shape: [64, 32]), value: head.value, causal: true)
    for (setting, isAlone) in [("sigmoid", true), ("clipped:alpha=0", false)] {
      let before = try Self.map(try Self.examine(setting, head))
      let after = try Self.map(try Self.examine(setting, other))
      let changed = (0..<64).filter { (j: Int) -> Bool in
        (0..<64).contains { (i: Int) -> Bool in before[i][j] != after[i][j] }
      }
      #expect((changed == [7]) == isAlone, "\(setting): \(changed)")
    }
  }

  /// Tiles by their largest gate, beside BLASST's blocks of the same tile.
  @Test(arguments: Bench.allCases) func sigmoidTiles(_ input: Bench) throws {
    let found = try Self.examine("sigmoid:tile=16,tau=0.02,lambda=0.1", input.head)
    let map = try Self.map(found), tiles = try ReweightingTests.rows(found, "tiles")
    let blasst = try Self.examine("blasst:lambda=0.1,rows=16,keys=16", input.head)
    let blocks = try ReweightingTests.rows(blasst, "blocks")
    var below = 0.0, skipped = 0.0, both = 0.0
    for r in 0..<4 {
      for c in 0..<4 where c <= r {
        var top = 0.0
        for i in 16 * r..<16 * r + 16 {
          for j in 16 * c..<16 * c + 16 { top = max(top, map[i][j]) }
        }
        let isBelow: Double = top < 0.02 ? 1 : 0, isSkipped: Double = blocks[r][c] == 1 ? 1 : 0
        let label = isBelow + 2 * isSkipped
        #expect(tiles[r][c] == label, "\(input) \(r) \(c)")
        below += isBelow
        skipped += isSkipped
        both += isBelow * isSkipped
      }
      for c in 0..<4 where c > r { #expect(tiles[r][c].isNaN) }
    }
    #expect(abs(try Self.number(found, "tiles_below") - below / 10) < 1e-12)
    #expect(abs(try Self.number(found, "tiles_skipped") - skipped / 10) < 1e-12)
    let either = below + skipped - both
    if either == 0 {
      #expect(found["tiles_common"]?.number == nil)
    } else {
      #expect(abs(try Self.number(found, "tiles_common") - both / either) < 1e-12)
    }
  }

  @Test func sigmoidNeedsScores() throws {
    let map = Tensor([Float](repeating: 0.25, count: 16), shape: [4, 4])
    #expect(throws: Missing.self) {
      try Self.examine("sigmoid", Head(pattern: map, causal: false))
    }
    let scores = try Self.examine("sigmoid:b=0", Head(scores: map, causal: false))
    let gate: Double = 1 / (1 + exp(-0.25))
    #expect(abs(try Self.map(scores)[2][1] - gate) < 1e-6)
  }
}

// MARK: Softplus

extension RowwiseTests {
  /// One query along the first axis, and keys of these cosines with it.
  private static func cosines(_ values: [Double], d: Int) -> Head {
    let keys = values.flatMap { (c: Double) -> [Float] in
      let rest = [Float](repeating: 0, count: d - 2)
      return [Float(c), Float((1 - c * c).squareRoot())] + rest
    }
    let query = (0..<d).map { $0 == 0 ? Float(1) : 0 }
    return Head(
      query: Tensor(query, shape: [1, d]), key: Tensor(keys, shape: [values.count, d]), value: nil,
      causal: false)
  }

  /// Check (a): a row (.5, .3, .15, .05), whose cosines are softplus⁻¹(2 P) over the scale.
  @Test(arguments: [
    (1, [0.8333, 0.1667], 5e-5), (3, [0.9921, 0.0079], 5e-5), (15, [1.0, 3.3e-11], 2e-12),
  ]) func softplusPowers(_ p: Int, _ wanted: [Double], _ hair: Double) throws {
    let row = [0.5, 0.3, 0.15, 0.05], scale: Double = log(16.0) * log(4.0)
    let cosines = row.map { (share: Double) -> Double in log(exp(2 * share) - 1) / scale }
    let head = Self.cosines(cosines, d: 16)
    let found = try Self.examine("lssa:p=\(p)", head)
    #expect(Self.close(try Self.map(found, "lssa")[0], row, 1e-6))
    #expect(Self.close(try Self.map(found)[0], wanted + [0, 0], hair))
    #expect(try Self.number(found, "zero_share") == 0.5)
  }

  /// Check (b): d = 4, N = 3.
  @Test func softplusOfThreeCosines() throws {
    let row = try Self.map(try Self.examine("lssa", Self.cosines([1, 0, -1], d: 4)))[0]
    #expect(Self.close(row, [0.6589, 0.2655, 0.0756], 5e-5), "\(row)")
  }

  /// Checks (c) to (f): the first row, the survivors, the limit of large p, and scales of vectors.
  @Test(arguments: Bench.allCases) func softplusSurvivors(_ input: Bench) throws {
    let head = input.head, both = try #require(head.queryAndKey)
    let plain = try Self.map(try Self.examine("lssa", head))
    #expect(plain[0][0] == 1)
    for p in [1, 3, 15] {
      let found = try Self.examine("lssa:p=\(p)", head), map = try Self.map(found)
      let zeros = try ReweightingTests.rows(found, "zeros")
      for i in 0..<64 {
        let n = Double(i + 1)
        for j in 0...i {
          // What lies on the mean of its row is left to rounding; a large power may leave a float.
          let above = n * plain[i][j] - (i < 3 ? 0 : 1)
          guard abs(above) > 1e-5 else { continue }
          #expect((zeros[i][j] == 0) == (above > 0), "\(input) \(i) \(j)")
          if p < 15 || above < 0 { #expect((map[i][j] > 0) == (above > 0)) }
        }
        let sum = map[i].reduce(0, +)
        #expect(sum == 0 || abs(sum - 1) < 1e-5)
      }
    }
    let width = both.query.shape[1]
    let stretched = Head(
      query: Tensor(
        both.query.floats().enumerated().map { $1 * Float($0 / width + 1) }, shape: [64, width]),
      key: Tensor(both.key.floats().map { $0 * 3 }, shape: [64, width]), value: head.value,
      causal: true, scale: head.scale)
    for (a, b) in zip(plain, try Self.map(try Self.examine("lssa", stretched))) {
      #expect(Self.close(a, b, 1e-6))
    }
    guard input == .random else { return }
    for (row, all) in zip(try Self.map(try Self.examine("lssa:p=1024", head)), plain) {
      let top = row.indices.max { row[$0] < row[$1] }
      #expect(top == all.indices.max { all[$0] < all[$1] } && (row.max() ?? 0) > 0.5, "\(row)")
    }
  }

  /// A uniform row has nothing above its mean: it is a row of zeros, and counted.
  @Test func softplusOfUniformRows() throws {
    let found = try Self.examine("lssar-3", Bench.uniform.head)
    #expect(try Self.number(found, "zero_rows") == 61)
    #expect(try Self.map(found)[10].allSatisfy { $0 == 0 })
    let plain = try Self.examine("lssa", Bench.uniform.head)
    #expect(abs(try Self.number(plain, "entropy_slope") - 1) < 1e-5)
    #expect(try Self.number(plain, "zero_share") == 0)
  }

  /// 160 tokens whose keys 64 to 127 have small scores, every second one of them by its length and
  /// the others by their direction, of which cosines know the second alone.
  private static func halfSkipped() throws -> Head {
    let plain = drawn(160, 8, seed: 21, scale: 0.4), both = try #require(plain.queryAndKey)
    var query = both.query.floats(), key = both.key.floats()
    for token in 0..<160 {
      query[token * 8] = 5
      key[token * 8] = 5
      guard (64..<128).contains(token) else { continue }
      for x in 0..<8 { key[token * 8 + x] *= token % 2 == 0 ? 0.05 : -1 }
    }
    return Head(
      query: Tensor(query, shape: [160, 8]), key: Tensor(key, shape: [160, 8]),
      value: plain.value, causal: true)
  }

  /// What survives on tiles that BLASST computes, counted from its blocks.
  @Test func softplusBesideSkippedTiles() throws {
    let head = try Self.halfSkipped()
    let found = try Self.examine("lssar-3:lambda=0.5", head), map = try Self.map(found)
    let blasst = try Self.examine("blasst:lambda=0.5,rows=64,keys=64", head)
    let blocks = try ReweightingTests.rows(blasst, "blocks")
    var alive = 0.0, computed = 0.0, zeros = 0.0, skipped = 0.0, both = 0.0
    for i in 0..<160 {
      for j in 0...i {
        let isZero = map[i][j] == 0, isSkipped = blocks[i / 64][j / 64] == 1
        alive += isZero ? 0 : 1
        computed += isZero || isSkipped ? 0 : 1
        zeros += isZero ? 1 : 0
        skipped += isSkipped ? 1 : 0
        both += isZero && isSkipped ? 1 : 0
      }
    }
    // Something is skipped, some of it zero and some not, and there are zeros elsewhere.
    #expect(both > 0 && both < skipped && both < zeros && computed < alive)
    #expect(abs(try Self.number(found, "survivors_on_computed") - computed / alive) < 1e-12)
    #expect(abs(try Self.number(found, "zeros_in_skipped") - both / zeros) < 1e-12)
    #expect(abs(try Self.number(found, "skipped_zero") - both / skipped) < 1e-12)
    let share = zeros / (160 * 161 / 2)
    #expect(abs(try Self.number(found, "zero_share") - share) < 1e-12)
    let stored = Head(pattern: Tensor([1, 0, 0.5, 0.5], shape: [2, 2]), causal: true)
    #expect(throws: Missing.self) { try Self.examine("lssa", stored) }
  }
}
