import Attention
import Backends
import Canvas
import Glibc
import Tensors

/// One new token's rows against a long cache: the query heads of one KV head, voting together.
struct DecodeBench {
  let repeats: Int
  let baseline: Baseline?

  private static let keys = 32768
  /// Rows are taken from the last part of a synthetic head, so that each is another query.
  private static let rounds = 16

  func figures() -> [Figure] {
    let bandwidth = Ceilings.bandwidth(repeats: repeats, threads: ComputeThreads(count: 1))
    var out = [
      Figure(
        suite: "decode", name: "one core", metric: "read bandwidth", values: bandwidth,
        unit: "GB/s", threads: 1)
    ]
    for (heads, dim) in [(1, 64), (4, 64), (4, 128)] { out += cases(heads, dim, bandwidth) }
    return out
  }

  private func cases(_ heads: Int, _ dim: Int, _ bandwidth: [Double]) -> [Figure] {
    let made = SyntheticHeads(tokens: Self.keys, dim: dim, pattern: .vertical)
    let cache = KeyCache(dim: dim, valueDim: dim, capacity: Self.keys)
    let (keys, values) = (made.keys(0, 0..<Self.keys), made.values(0, 0..<Self.keys))
    keys.withUnsafeBufferPointer { k in
      values.withUnsafeBufferPointer { v in
        for i in 0..<Self.keys {
          cache.append(key: k.baseAddress! + i * dim, value: v.baseAddress! + i * dim)
        }
      }
    }
    let queries = made.queries(0, Self.keys - Self.rounds * heads..<Self.keys)
    let row = DecodeRow(heads: heads, dim: dim), snapshot = cache.snapshot
    let spec = TileSpec(rows: 1, keys: 128, vote: .group)
    var output = [Float](repeating: 0, count: heads * dim)
    func run(_ lambda: Double, _ screen: Screening) -> (
      seconds: Double, sparsity: Double, decided: Double
    ) {
      var skipped = 0, visible = 0, decided = 0
      let seconds = Ceilings.timed {
        for round in 0..<Self.rounds {
          queries.withUnsafeBufferPointer { q in
            _ = row.blasst(
              q.baseAddress! + round * heads * dim, snapshot, spec, lambda: lambda, screen: screen,
              into: &output)
          }
          skipped += Int(row.skipped[0])
          visible += Int(row.visible[0])
          decided += Int(row.decidedByBound[0])
        }
      }
      return (
        seconds / Double(Self.rounds), Double(skipped) / Double(visible),
        Double(decided) / Double(max(skipped, 1))
      )
    }
    let lambda = Self.lambda(for: 0.73) { run($0, .none).sparsity }
    let name = "\(heads) x \(Self.keys) d=\(dim)"
    let bytes = Double(2 * Self.keys * dim * 4)
    let request = JSON.object([
      ("suite", .string("decode")), ("case", .string("dense")), ("queries", .integer(heads)),
      ("keys", .integer(Self.keys)), ("dim", .integer(dim)), ("value_dim", .integer(dim)),
      ("causal", .bool(false)), ("threads", .integer(1)),
    ])
    var (dense, theirs, sparse, screened): ([Double], [Double], [Double], [Double]) = (
      [], [], [], []
    )
    _ = run(lambda, .int8)
    for _ in 0..<max(repeats, 5) {
      dense.append(run(0, .none).seconds)
      sparse.append(run(lambda, .none).seconds)
      screened.append(run(lambda, .int8).seconds)
      if let seconds = baseline?.seconds(request) { theirs.append(seconds) }
    }
    let facts = run(lambda, .int8), share = Numbers.percent(facts.sparsity)
    let beside = theirs.count == dense.count ? zip(theirs, dense).map { $0 / $1 } : []
    // K is always read, V where a block is computed: what skipping V alone can give.
    let ceiling = Figure(
      suite: "decode", name: "BLASST \(share) skipped, \(name)", metric: "speedup",
      values: zip(dense, sparse).map { $0 / $1 }, unit: "x", threads: 1,
      ceiling: 2 / (2 - facts.sparsity))
    func speedup(_ label: String, _ times: [Double]) -> Figure {
      Figure(
        suite: "decode", name: "\(label) \(share) skipped, \(name)", metric: "time",
        values: times.map { 1e6 * $0 }, unit: "us", threads: 1, against: "own dense",
        ratios: zip(dense, times).map { $0 / $1 })
    }
    return [
      Figure(
        suite: "decode", name: "dense \(name)", metric: "keys and values", values: [bytes / 1e6],
        unit: "MB", threads: 1),
      Figure(
        suite: "decode", name: "dense \(name)", metric: "read",
        values: dense.map { bytes / $0 / 1e9 },
        unit: "GB/s", threads: 1, ceiling: Figure.median(bandwidth),
        against: beside.isEmpty ? nil : baseline?.name, ratios: beside),
      speedup("BLASST", sparse), ceiling, speedup("screened BLASST", screened),
      Figure(
        suite: "decode", name: "screened BLASST \(share) skipped, \(name)",
        metric: "decided by the bound", values: [facts.decided], unit: "of the skipped", threads: 1),
    ]
  }

  /// The lambda that comes nearest to a sparsity, by halving.
  static func lambda(for target: Double, _ sparsity: (Double) -> Double) -> Double {
    var (low, high) = (-30.0, 0.0)
    for _ in 0..<30 {
      let middle = (low + high) / 2
      if sparsity(exp(middle)) < target { low = middle } else { high = middle }
    }
    return exp(high)
  }
}
