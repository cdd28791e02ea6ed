import Analysis
import Attention
import Glibc
import Support
import Tensors
import Testing

/// Numbers that can be worked out by hand.
@Suite struct AnalysisTests {
  static func uniform(_ n: Int) -> Head {
    Head(scores: Tensor([Float](repeating: 0, count: n * n), shape: [n, n]), causal: true)
  }

  @Test func uniformCausalHeadHasTheKnownSinkAndEntropy() throws {
    let summary = try #require(Summariser(Self.uniform(64)).summary())
    // Card 16, check 1: H_64 / 64 = 0.07412, no sink at 0.3.
    #expect(abs(summary.importance[0] - 0.07412) < 1e-4)
    #expect(abs(try #require(summary.truncatedImportance) - 0.07412) < 1e-4)
    #expect(SinkRate(importances: [summary.importance[0]]).rate == 0)
    let entropy = (1...64).reduce(0.0) { $0 + log(Double($1)) } / 64
    #expect(abs(summary.entropy - entropy) < 1e-4)
    #expect(abs(summary.columnMass.reduce(0, +) - 1) < 1e-4)
    // Card 16, check 3: the last key is seen by the last row alone.
    #expect(abs(summary.importance[63] - 1.0 / 64) < 1e-6)
  }

  @Test func theHeaviestKeysAreOrderedOnce() throws {
    var random = Seeded(9)
    let n = 700
    let head = Head(
      query: random.tensor([n, 8]), key: random.tensor([n, 8], scale: 2), value: nil, causal: true)
    let summary = try #require(Summariser(head).summary())
    let mass = summary.columnMass
    let order = mass.indices.sorted { (a: Int, b: Int) -> Bool in
      mass[a] != mass[b] ? mass[a] > mass[b] : a < b
    }
    #expect(summary.heaviest == Array(order.prefix(HeadSummary.mostHeaviest)))
    #expect(summary.sink.position == order[0] && summary.sink.mass == Double(mass[order[0]]))
    for keys in [0..<n, 0..<0, 3..<4, 100..<650] {
      let sum = mass[keys].reduce(0.0) { $0 + Double($1) }
      #expect(abs(summary.mass(keys) - sum) < 1e-9, "\(keys)")
    }
    // Equal masses keep the order of their keys.
    let zeros = Head(scores: Tensor([0, 0, 0, 0], shape: [1, 4]), causal: true)
    let even = try #require(Summariser(zeros).summary())
    #expect(even.heaviest == [0, 1, 2, 3])
  }

  @Test func allMassOnTheFirstTokenIsASink() throws {
    var scores = [Float](repeating: 0, count: 64 * 64)
    for i in 0..<64 { scores[i * 64] = 200 }
    let summary = try #require(
      Summariser(Head(scores: Tensor(scores, shape: [64, 64]), causal: true)).summary())
    #expect(abs(summary.importance[0] - 1) < 1e-5)
    #expect(summary.sink.position == 0 && summary.entropy < 1e-5)
    for threshold in [-0.1, 0.3, 0.9] {
      #expect(SinkRate(importances: [summary.importance[0]], threshold: threshold).rate == 1)
    }
    #expect(SinkRate(importances: [1], threshold: 1).rate == 0)
  }

  @Test(arguments: [
    ("a-shape", 0), ("vertical-slash", 1), ("diffuse", 2),
  ]) func plantedShapesAreNamed(_ name: String, _ kind: Int) throws {
    let n = 256
    var scores = [Float](repeating: 0, count: n * n)
    for i in 0..<n {
      for j in 0...i {
        if kind == 0, j < 4 || i - j < 4 { scores[i * n + j] = 9 }
        if kind == 1, [20, 90, 150].contains(j) || [10, 47].contains(i - j) {
          scores[i * n + j] = 12
        }
      }
    }
    let summary = try #require(
      Summariser(Head(scores: Tensor(scores, shape: [n, n]), causal: true)).summary())
    #expect(summary.label.name.rawValue == name, "\(summary.label.candidates)")
    #expect(summary.label.candidates.count >= 3)
    for candidate in summary.label.candidates {
      #expect(candidate.density <= PatternLabel.budget, "\(candidate)")
      #expect(candidate.recall >= 0 && candidate.recall <= 1.0001)
    }
  }

  /// Whatever the map, every candidate keeps a tenth of it and never more: rows and keys in any
  /// number, some rows that see nothing, some that stand before the first key.
  @Test(
    arguments: [
      (96, 96, true, nil), (333, 333, true, nil), (64, 400, true, nil), (300, 300, true, 40),
      (170, 40, false, nil), (90, 250, false, nil), (250, 250, false, -100), (200, 150, true, nil),
      (1, 500, true, nil), (2100, 2100, true, nil),
    ] as [(Int, Int, Bool, Int?)]) func candidatesAreOfEqualDensity(
      _ queries: Int, _ keys: Int, _ causal: Bool, _ offset: Int?
    ) throws
  {
    let one = Case(
      heads: 1, queries: queries, keys: keys, dim: 8, causal: causal, offset: offset,
      TileSpec(rows: 16, keys: 16))
    let label = try #require(Summariser(one.group(seed: 4).heads[0]).summary()).label
    #expect(label.candidates.count == (label.name == .hybrid || label.name == .diffuse ? 4 : 3))
    let visible = (0..<queries).reduce(0) {
      $0 + (causal ? min(keys, max(0, $1 + (offset ?? keys - queries) + 1)) : keys)
    }
    // What is missing is less than another column, diagonal or block.
    let line = Double(max(causal ? queries : 2 * queries, 4)) / Double(visible)
    for candidate in label.candidates {
      #expect(candidate.density <= PatternLabel.budget, "\(candidate)")
      let isUnion = candidate.name == .hybrid
      #expect(candidate.density > PatternLabel.budget - (isUnion ? 4 : 1) * line, "\(candidate)")
    }
    #expect(label.sampledRows == (queries > 2048 ? 1050 : nil))
  }

  /// Where all entries are equal, a shape recalls what it keeps.
  @Test(arguments: [(170, 12), (12, 170), (40, 40)]) func equalEntriesAreRecalledAsTheyAreKept(
    _ queries: Int, _ keys: Int
  ) throws {
    let zeros = Tensor([Float](repeating: 0, count: queries * keys), shape: [queries, keys])
    let label = try #require(Summariser(Head(scores: zeros, causal: false)).summary()).label
    #expect(label.name == .diffuse)
    for candidate in label.candidates {
      #expect(candidate.density <= PatternLabel.budget, "\(candidate)")
      #expect(abs(candidate.recall - candidate.density) < 1e-5, "\(candidate)")
    }
  }

  /// Half of a row's mass on one wandering block, half on six diagonals: no shape holds both within
  /// the budget.
  @Test func aHeadOfTwoShapesIsAHybrid() throws {
    let n = 512
    var scores = [Float](repeating: 0, count: n * n)
    for i in 8..<n {
      let wanders = (i / 8 * 7919) % 101 % (i / 8)
      for j in 0...i {
        if j / 8 == wanders { scores[i * n + j] = 10 }
        if [22, 35, 48, 61, 74, 87].contains(i - j) { scores[i * n + j] = 10.3 }
      }
    }
    let head = Head(scores: Tensor(scores, shape: [n, n]), causal: true)
    let label = try #require(Summariser(head).summary()).label
    let single = label.candidates.filter { $0.name != .hybrid }.map(\.recall)
    #expect(label.name == .hybrid, "\(label)")
    #expect(
      single.allSatisfy { $0 < PatternLabel.wanted } && label.recall(.hybrid) >= PatternLabel.wanted
    )
  }

  @Test(arguments: [nil, 0] as [Int?]) func poolingEqualsTheFullMap(_ muted: Int?) throws {
    let head = Case(heads: 1, queries: 37, keys: 53, TileSpec(rows: 8, keys: 8), scale: 2).group(
      seed: 3
    ).heads[0]
    let pattern = ReferenceAttention(HeadGroup([head])).run(TileSpec(rows: 8, keys: 8), lambda: 0)
      .patterns[0]
    let window = MapWindow(queries: 5..<30, keys: 2..<50)
    let map = try #require(PooledMap.of(head, window: window, rows: 6, columns: 9, muted: muted))
    for r in 0..<map.rows {
      for c in 0..<map.columns {
        var values: [Double] = []
        for i in map.rowEdges[r]..<map.rowEdges[r + 1] {
          let rest = muted.map { 1 - pattern[i * 53 + $0] } ?? 1
          for j in map.keyEdges[c]..<map.keyEdges[c + 1]
          where j < head.visibility.limit(row: i) && j != muted {
            values.append(pattern[i * 53 + j] / rest)
          }
        }
        let at = r * map.columns + c
        if values.isEmpty {
          #expect(map.max[at].isNaN && map.mean[at].isNaN)
        } else {
          #expect(abs(Double(map.max[at]) - values.max()!) < 1e-5)
          #expect(abs(Double(map.mean[at]) - values.reduce(0, +) / Double(values.count)) < 1e-5)
        }
      }
    }
  }

  @Test func oddNumbersAreCountedAndPlaced() throws {
    var random = Seeded(2)
    var query = (0..<20 * 4).map { _ in random.normal() }
    query[7 * 4 + 2] = .nan
    query[9 * 4] = .infinity
    let head = Head(
      query: Tensor(query, shape: [20, 4]), key: random.tensor([20, 4]), value: nil, causal: true)
    let quality = try #require(Summariser(head).summary()).quality
    #expect(quality.nonFinite == 2 && quality.firstNonFinite == "q[7][2]")
    #expect(quality.badges[0].contains("2 NaN or infinite values, first at q[7][2]"))

    var pattern = [Float](repeating: 0, count: 16)
    for i in 0..<4 { for j in 0...i { pattern[i * 4 + j] = 1 / Float(i + 1) } }
    pattern[2 * 4] += 0.2
    let stored = Head(pattern: Tensor(pattern, shape: [4, 4]), causal: true)
    let badges = try #require(Summariser(stored).summary()).quality
    #expect(badges.rowsNotSummingToOne == 1 && badges.firstBadRow == 2)
  }

  @Test func trailingKeysWithoutMassArePadding() throws {
    var pattern = [Float](repeating: 0, count: 4 * 6)
    for i in 0..<4 { pattern[i * 6 + i % 3] = 1 }
    let head = Head(pattern: Tensor(pattern, shape: [4, 6]), causal: false)
    #expect(try #require(Summariser(head).summary()).quality.paddingKeys == 3)
  }

  @Test func outputErrorIsRelative() {
    let error = OutputError(dense: [3, 4], sparse: [3, 3])
    #expect(error.relativeL2 == 0.2 && error.maxAbsolute == 1)
    #expect(OutputError(dense: [0], sparse: [0]).relativeL2 == 0)
  }
}
