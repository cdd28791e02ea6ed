import Analysis
import Attention
import Glibc
import Support
import Tensors
import Testing

@Suite struct CalibrationTests {
  private static let published: [(Double, Double, Double)] = [
    (0.1, 18.76, 0.32), (0.2, 44.37, 0.86), (0.3, 104.97, 2.30), (0.4, 248.40, 6.17),
    (0.5, 587.18, 16.52), (0.6, 1390.63, 44.26), (0.7, 3293.04, 118.62), (0.8, 7799.91, 317.99),
    (0.9, 18471.56, 852.20),
  ]

  /// NVIDIA's table of Qwen3-30B-A3B and the pair it was made from.
  @Test func thePublishedTableGivesThePublishedPair() throws {
    let prefill = try #require(ExponentialFit(Self.published.map { ($0.0, $0.1) }))
    #expect(abs(prefill.a / 7.88 - 1) < 0.01 && abs(prefill.b / 8.62 - 1) < 0.01)
    let decode = try #require(ExponentialFit(Self.published.map { ($0.0, $0.2) }))
    #expect(abs(decode.a / 0.1195 - 1) < 0.01 && abs(decode.b / 9.86 - 1) < 0.01)
    #expect(prefill.r2 > 0.9999 && decode.r2 > 0.9999)
    let logs = try #require(ExponentialFit(Self.published.map { ($0.0, $0.1) }, logarithmic: true))
    #expect(abs(logs.a / 7.88 - 1) < 0.02 && abs(logs.b / 8.62 - 1) < 0.01)
  }

  /// Knowing the answer: factors made by a pair give the pair back; points outside 10 to 90 % do
  /// not matter.
  @Test(arguments: [(3.0, 0.0), (0.5, 4.0), (120, 12), (1, 19.5)]) func fitsFindWhatMadeThem(
    _ pair: (Double, Double)
  ) throws {
    var points = stride(from: 0.1, through: 0.9, by: 0.1).map { ($0, pair.0 * exp(pair.1 * $0)) }
    points += [(0.05, 1e9), (0.99, 1e-9), (0.5, 0)]
    for logarithmic in [false, true] {
      let fit = try #require(ExponentialFit(points, logarithmic: logarithmic))
      #expect(abs(fit.a / pair.0 - 1) < 1e-4 && abs(fit.b - pair.1) < 1e-4 && fit.points == 9)
    }
    #expect(ExponentialFit([(0.5, 1), (0.5, 2)]) == nil)
  }

  @Test func inverseLengthIsFittedThroughTheOrigin() throws {
    let points = [256, 1024, 4096].map {
      CalibrationPoint(sparsity: 0.5, length: $0, lambda: 3 / Double($0))
    }
    let fit = try #require(InverseFit(target: 0.5, points))
    #expect(abs(fit.a - 3) < 1e-9 && fit.rmse < 1e-12)
  }

  /// A curve read off margins says what counting says, and a prefix of a table is the table of the
  /// prefix.
  @Test func curvesAreExact() throws {
    let one = Case(heads: 2, queries: 96, keys: 96, TileSpec(rows: 16, keys: 16), scale: 2)
    let group = one.group(seed: 8)
    let tables = try #require(TilePass(group, keysPerTile: 16).tables(one.spec))
    let curve = SparsityCurve(prefill: tables, length: 96)
    for lambda in [1, 0.5, 0.1, 1e-3] {
      let exact = try Lambda(lambda)
      let skipped = tables.reduce(0) { $0 + $1.skippedBlocks(exact) }
      let visible = tables.reduce(0) { $0 + $1.visibleBlocks }
      #expect(curve.sparsity(lambda) == Double(skipped) / Double(visible))
    }
    let target = curve.most / 2
    let lambda = try #require(curve.lambda(for: target))
    #expect(curve.sparsity(lambda) >= target && curve.sparsity(lambda * 0.9999) < target)
    #expect(curve.lambda(for: 0.999) == nil)
    let half = HeadGroup(
      group.heads.map {
        let (q, k) = $0.queryAndKey!
        return Head(
          query: q.slice(axis: 0, 0..<48), key: k.slice(axis: 0, 0..<48), value: nil, causal: true)
      })
    let own = try #require(TilePass(half, keysPerTile: 16).tables(one.spec))
    #expect(
      SparsityCurve(prefill: tables, length: 50).margins
        == SparsityCurve(prefill: own, length: 48).margins)
  }

  /// What the screen says of one head: all of its rows are in the longest length, those of the
  /// ragged last tile too.
  @Test(arguments: [(40, 40, true), (20, 45, true), (40, 40, false), (1, 70, true)])
  func theLongestLengthIsTheWholeHead(_ queries: Int, _ keys: Int, _ causal: Bool) throws {
    let spec = TileSpec(rows: 16, keys: 16)
    let group = Case(heads: 1, queries: queries, keys: keys, causal: causal, spec, scale: 2)
      .group(seed: 5)
    let table = try #require(TilePass(group, keysPerTile: 16).tables(spec))[0]
    let curves = try #require(HeadCalibration(table).calibration).curves
    let longest = try #require(curves.last)
    #expect(longest.length == keys)
    for lambda in [1, 0.5, 0.1] {
      let verdicts = ReferenceAttention(group).run(spec, lambda: lambda).verdicts[0]
      let skipped = verdicts.filter { $0 == .skipped }.count
      let visible = verdicts.filter { $0 != .invisible }.count
      #expect(longest.margins.count == visible)
      #expect(longest.sparsity(lambda) == Double(skipped) / Double(visible))
    }
    // Only the first rows of a causal square are a shorter prompt.
    #expect(curves.map(\.length) == (queries == keys && causal ? [16, 40] : [keys]))
  }
}
