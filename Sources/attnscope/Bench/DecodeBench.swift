import Attention
import Backends
import Canvas
import Glibc
import Tensors

/// One new token's rows against a long cache: the query heads of one KV head, voting
/// together.
///
/// Bound by memory: a dense step reads all keys and values once, so its figure is a bandwidth
/// and stands beside the one measured.
struct DecodeBench {
  /// Turns of each figure; five at least.
  let repeats: Int
  /// Takes turns with the dense step; nil for none.
  let baseline: Baseline?

  /// Length of the cache in positions, beyond what caches of a core hold.
  private static let keys = 32768
  /// Rows are taken from the last part of a synthetic head, so that each is another query.
  private static let rounds = 16

  /// The bandwidth of one core, then a group of figures for each shape.
  func figures() -> [BenchFigure] {
    let bandwidth = Ceilings.bandwidth(repeats: repeats, threads: ComputeThreads(count: 1))
    var out = [
      BenchFigure(
        suite: "decode", name: "one core", metric: "read bandwidth, 256 MB", values: bandwidth,
        unit: "GB/s", threads: 1)
    ]
    for (heads, dim) in [(1, 64), (4, 64), (4, 128)] { out += cases(heads, dim) }
    return out
  }

  /// Dense, BLASST and screened BLASST in turns, at a lambda that skips about 73 % of blocks.
  /// `heads` query heads share one KV head of width `dim`.
  private func cases(_ heads: Int, _ dim: Int) -> [BenchFigure] {
    let rows = DecodeRows(heads: heads, dim: dim, keys: Self.keys, rounds: Self.rounds)
    let lambda = Self.lambda(for: 0.73) { rows.run($0, .none).sparsity }
    var (dense, theirs, sparse, screened): ([Double], [Double], [Double], [Double]) = (
      [], [], [], []
    )
    let facts = rows.run(lambda, .int8)
    for _ in 0..<max(repeats, 5) {
      dense.append(rows.run(0, .none).seconds)
      sparse.append(rows.run(lambda, .none).seconds)
      screened.append(rows.run(lambda, .int8).seconds)
      if let seconds = baseline?.seconds(request(heads, dim)) { theirs.append(seconds) }
    }
    let name = "\(heads) x \(Self.keys) d=\(dim)", share = Numbers.percent(facts.sparsity)
    let bytes = Double(2 * Self.keys * dim * 4)
    let beside = theirs.count == dense.count ? zip(theirs, dense).map { $0 / $1 } : []
    func time(_ label: String, _ times: [Double]) -> BenchFigure {
      BenchFigure(
        suite: "decode", name: "\(label) \(share) skipped, \(name)", metric: "time",
        values: times.map { 1e6 * $0 }, unit: "us", threads: 1, against: "own dense",
        ratios: zip(dense, times).map { $0 / $1 })
    }
    return [
      BenchFigure(
        suite: "decode", name: "dense \(name)", metric: "keys and values", values: [bytes / 1e6],
        unit: "MB", threads: 1),
      BenchFigure(
        suite: "decode", name: "dense \(name)", metric: "read",
        values: dense.map { bytes / $0 / 1e9 }, unit: "GB/s", threads: 1,
        against: beside.isEmpty ? nil : baseline?.name,
        ratios: beside),
      time("BLASST", sparse),
      // K is always read, V where a block is computed: what skipping V alone can give while
      // bytes decide. A cache that fits the last level better without the V that is skipped
      // goes beyond it.
      BenchFigure(
        suite: "decode", name: "BLASST \(share) skipped, \(name)", metric: "speedup",
        values: zip(dense, sparse).map { $0 / $1 }, unit: "x", threads: 1,
        ceiling: 2 / (2 - facts.sparsity)),
      time("screened BLASST", screened),
      BenchFigure(
        suite: "decode", name: "screened BLASST \(share) skipped, \(name)",
        metric: "decided by the bound", values: [facts.decided], unit: "of the skipped",
        threads: 1),
    ]
  }

  /// What the baseline is asked: the same step, dense.
  private func request(_ heads: Int, _ dim: Int) -> JSON {
    .object([
      ("suite", .string("decode")), ("case", .string("dense")), ("queries", .integer(heads)),
      ("keys", .integer(Self.keys)), ("dim", .integer(dim)), ("value_dim", .integer(dim)),
      ("causal", .bool(false)), ("threads", .integer(1)),
    ])
  }

  /// The lambda that comes nearest to a sparsity, by thirty halvings of its logarithm between
  /// -30 and 0. `sparsity` must not fall with lambda.
  static func lambda(for target: Double, _ sparsity: (Double) -> Double) -> Double {
    var (low, high) = (-30.0, 0.0)
    for _ in 0..<30 {
      let middle = (low + high) / 2
      if sparsity(exp(middle)) < target { low = middle } else { high = middle }
    }
    return exp(high)
  }
}

/// A cache and the last queries of a synthetic head, each round another token's rows: one row
/// repeated would find its blocks in the cache.
private final class DecodeRows {
  /// Scratch space of the kernels, made once.
  private let row: DecodeRow
  /// Keys and values of one KV head.
  private let cache: KeyCache
  /// `[rounds][heads * dim]`.
  private let queries: [Float]
  /// Floats of a round: heads · dim.
  private let stride: Int
  /// Tokens that are decoded in a run.
  private let rounds: Int
  /// `[heads * dim]`, overwritten by each round.
  private var output: [Float]
  /// The decode tile of kernels that vote as a group.
  private let spec = TileSpec(rows: 1, keys: 128, vote: .group)

  /// Fills the cache once with `count` positions and keeps the queries of `rounds` tokens,
  /// `heads` rows each.
  init(heads: Int, dim: Int, keys count: Int, rounds: Int) {
    let made = SyntheticHeads(tokens: count, dim: dim, pattern: .vertical)
    let cache = KeyCache(dim: dim, valueDim: dim, capacity: count)
    self.cache = cache
    let (keys, values) = (made.keys(0, 0..<count), made.values(0, 0..<count))
    keys.withUnsafeBufferPointer { k in
      values.withUnsafeBufferPointer { v in
        for i in 0..<count {
          cache.append(key: k.baseAddress! + i * dim, value: v.baseAddress! + i * dim)
        }
      }
    }
    queries = made.queries(0, count - rounds * heads..<count)
    row = DecodeRow(heads: heads, dim: dim)
    (stride, self.rounds) = (heads * dim, rounds)
    output = [Float](repeating: 0, count: heads * dim)
  }

  /// Seconds of a token (the mean over the rounds), and of its blocks the shares that are
  /// skipped, and decided by the bound among those.
  func run(_ lambda: Double, _ screen: Screening)
    -> (seconds: Double, sparsity: Double, decided: Double)
  {
    var (skipped, visible, decided) = (0, 0, 0)
    let snapshot = cache.snapshot
    let seconds = Ceilings.timed {
      queries.withUnsafeBufferPointer { q in
        for round in 0..<rounds {
          _ = row.blasst(
            q.baseAddress! + round * stride, snapshot, spec, lambda: lambda, screen: screen,
            into: &output)
          skipped += Int(row.skipped[0])
          visible += Int(row.visible[0])
          decided += Int(row.decidedByBound[0])
        }
      }
    }
    return (
      seconds / Double(rounds), Double(skipped) / Double(visible),
      Double(decided) / Double(max(skipped, 1))
    )
  }
}
