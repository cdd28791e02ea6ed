import Algebra
public import Attention
import Tensors

/// The numbers that every method with a mixing matrix W reports, by one function, so that columns
/// are comparable.
///
/// With p = |W_i| / sum |W_i| of a row i that sees c_i keys: entropy -sum p ln p, the same over ln
/// c_i, spikiness sum p²; sink mass p_0 over rows after the fourth; row sums; negative mass sum
/// |min(W, 0)| / sum |W|; map gap, half of sum |W - A| to dense A; max weight, the mean of the
/// rows' largest W; output error of W V to A V. Rows of zeros are left out of means over p and
/// counted. Effective rank exp(entropy of singular values), of every ⌈n/512⌉-th token.
///
/// The catch: `effective_rank` of a sampled map is that of the sample, and a note says so. Cost:
/// one sweep over map and dense pattern together, one over V, and the singular values. Memory 32
/// rows a thread.
public struct MapNumbers: Sendable {
  /// Tokens of which singular values are computed.
  public static let rankTokens = 512

  private let sum: MapPart
  private let rows: Int
  private let queries: Int
  private let rank: (singular: SingularValues, step: Int)?

  /// Of some rows, all of them when the map is whole. Throws what the rows of `map` throw, and
  /// `CancellationError`.
  public init(_ head: Head, _ map: any RowField, rows chosen: [Int], _ run: MethodRun) throws {
    let dense = run.pattern(head)
    let values = head.value.map { (floats: $0.floats(), width: $0.shape[1]) }
    let runs = Range.runs(of: chosen).flatMap { range in
      stride(from: range.lowerBound, to: range.upperBound, by: 32).map {
        $0..<min($0 + 32, range.upperBound)
      }
    }
    let parts = Gathered<Result<MapPart, any Error>>()
    run.threads.forEach(0..<runs.count, isCancelled: run.isCancelled) { item in
      parts.add(item, Result { try MapPart(dense, map, runs[item], values) })
    }
    try run.checkCancellation()
    sum = try parts.inOrder.reduce(into: MapPart()) { $0.add(try $1.get()) }
    (rows, queries) = (chosen.count, head.queries)
    rank = chosen.count == head.queries ? try Self.rank(map) : nil
  }

  /// Nil when the singular values do not converge.
  /// The whole matrix of sampled tokens must be there for this: `rankTokens` squared doubles, 2 MB.
  /// Throws what the rows throw.
  private static func rank(_ map: any RowField) throws -> (SingularValues, Int)? {
    let longest = max(map.rows.count, map.columns.count)
    let step = max(1, (longest + rankTokens - 1) / rankTokens)
    let down = Array(stride(from: 0, to: map.rows.count, by: step))
    let across = Array(stride(from: 0, to: map.columns.count, by: step))
    var matrix = Matrix(rows: down.count, columns: across.count)
    for (r, row) in down.enumerated() {
      try map.withRows(row..<row + 1) { _, values in
        for (c, column) in across.enumerated() where !values[column].isNaN {
          matrix[r, c] = Double(values[column])
        }
      }
    }
    guard let singular = try? SingularValues(matrix) else { return nil }
    return (singular, step)
  }

  /// The singular values of the whole map, largest first, `[min(rows, columns)]`; nil where tokens
  /// were left out, and where the values are not known.
  public var spectrum: [Double]? { rank.flatMap { $0.step == 1 ? $0.singular.values : nil } }

  /// Adds them to findings, under the names that all maps share.
  /// Entropies, row sums and errors that no row could give are unknown, not 0.
  public func add(to findings: inout Findings) {
    let weighted = Double(max(sum.weighted, 1)), seen = Double(max(sum.rows, 1))
    func mean(_ total: Double, _ count: Int) -> Double? {
      count == 0 ? nil : total / Double(count)
    }
    findings.number("entropy", mean(sum.entropy, sum.weighted), .nats)
    findings.number(
      "entropy_normalised", mean(sum.relativeEntropy, sum.relativeRows), .none,
      title: "entropy / ln keys")
    findings.number("effective_rank", rank?.singular.effectiveRank, .none)
    findings.number("numerical_rank", rank.map { Double($0.singular.numericalRank()) }, .count)
    findings.number(
      "sink_mass", queries <= 4 ? nil : mean(sum.sink, sum.sinkRows), .share, title: "sink mass")
    findings.number("row_sum_min", sum.rows == 0 ? nil : sum.least, title: "row sum, least")
    findings.number("row_sum_mean", mean(sum.total, sum.rows), title: "row sum, mean")
    findings.number("row_sum_max", sum.rows == 0 ? nil : sum.most, title: "row sum, most")
    findings.number(
      "negative_mass", sum.size > 0 ? sum.negative / sum.size : nil, .share,
      title: "negative mass")
    findings.number(
      "error", sum.norm > 0 ? (sum.difference / sum.norm).squareRoot() : nil,
      title: "output error, relative L2")
    findings.number(
      "error_row_max", sum.norm > 0 ? sum.worstRow : nil, title: "output error, worst row")
    findings.number("map_gap", sum.gap / seen, .share, title: "map gap to softmax")
    findings.number("max_weight", sum.largest / seen, title: "largest weight, mean")
    findings.number("spikiness", sum.spikiness / weighted)
    findings.number("zero_rows", Double(sum.rows - sum.weighted), .count)
    if let rank, rank.step > 1 {
      findings.note("ranks from one token in \(rank.step), rows and columns")
    }
  }
}

/// Sums over some rows.
private struct MapPart: Sendable {
  var rows = 0, weighted = 0, relativeRows = 0, sinkRows = 0
  var entropy = 0.0, relativeEntropy = 0.0, sink = 0.0, spikiness = 0.0
  var least = Double.infinity, most = -Double.infinity, total = 0.0
  var size = 0.0, negative = 0.0, gap = 0.0, largest = 0.0
  var difference = 0.0, norm = 0.0, worstRow = 0.0

  /// Nothing summed yet.
  init() {}

  /// Sums over `range`, whose dense rows `[range][keys]` are taken first so that both sides of each
  /// row are at hand. Throws what the rows of the map throw.
  init(
    _ dense: PatternRows, _ map: any RowField, _ range: Range<Int>,
    _ values: (floats: [Float], width: Int)?
  ) throws {
    var patterns: [[Float]] = []
    dense.withRows(range) { _, p, _ in patterns.append(Array(p)) }
    try map.withRows(range) { row, weights in
      let limit = dense.head.visibility.limit(row: row)
      guard limit > 0 else { return }
      let pattern = patterns[row - range.lowerBound]
      let seen = dense.head.visibility.count(row: row)
      add(weights, pattern, row: row, limit: limit, seen: seen)
      if let values { addOutput(weights, pattern, limit, values) }
    }
  }

  /// One row of W beside one of A, of which `seen` keys are seen, none of them from `limit` on.
  /// Sink mass leaves the first four rows out: they have hardly anywhere else to look.
  private mutating func add(
    _ weights: UnsafeBufferPointer<Float>, _ pattern: [Float], row: Int, limit: Int, seen: Int
  ) {
    var size = 0.0, sum = 0.0, below = 0.0, distance = 0.0, top = -Double.infinity
    for key in 0..<limit {
      let w = Double(weights[key])
      size += abs(w)
      sum += w
      if w < 0 { below -= w }
      top = max(top, w)
      distance += abs(w - Double(pattern[key]))
    }
    rows += 1
    (self.size, negative) = (self.size + size, negative + below)
    (least, most, total) = (min(least, sum), max(most, sum), total + sum)
    gap += distance / 2
    largest += top
    guard size > 0 else { return }
    weighted += 1
    var h = 0.0, squares = 0.0
    for key in 0..<limit where weights[key] != 0 {
      let p = abs(Double(weights[key])) / size
      h -= p * logarithm(p)
      squares += p * p
    }
    entropy += h
    spikiness += squares
    if seen > 1 {
      relativeEntropy += h / logarithm(Double(seen))
      relativeRows += 1
    }
    if row >= 4 {
      sink += abs(Double(weights[0])) / size
      sinkRows += 1
    }
  }

  /// The output error of one row: (W - A) V is summed in double as such, and not as the difference
  /// of two outputs, which would cancel.
  private mutating func addOutput(
    _ weights: UnsafeBufferPointer<Float>, _ pattern: [Float], _ limit: Int,
    _ values: (floats: [Float], width: Int)
  ) {
    let width = values.width
    var off = [Double](repeating: 0, count: width), dense = off
    values.floats.withUnsafeBufferPointer { v in
      for key in 0..<limit {
        let a = Double(pattern[key]), d = Double(weights[key]) - a
        for x in 0..<width {
          let value = Double(v[key * width + x])
          off[x] += d * value
          dense[x] += a * value
        }
      }
    }
    let error = off.reduce(0) { $0 + $1 * $1 }, size = dense.reduce(0) { $0 + $1 * $1 }
    difference += error
    norm += size
    if size > 0 { worstRow = max(worstRow, (error / size).squareRoot()) }
  }

  /// Sums add, extremes compare; the order of parts is fixed by the caller, so that sums repeat to
  /// the bit.
  mutating func add(_ other: MapPart) {
    rows += other.rows
    weighted += other.weighted
    relativeRows += other.relativeRows
    sinkRows += other.sinkRows
    entropy += other.entropy
    relativeEntropy += other.relativeEntropy
    sink += other.sink
    spikiness += other.spikiness
    (least, most) = (min(least, other.least), max(most, other.most))
    total += other.total
    size += other.size
    negative += other.negative
    gap += other.gap
    largest += other.largest
    difference += other.difference
    norm += other.norm
    worstRow = max(worstRow, other.worstRow)
  }
}

extension MapNumbers {
  /// Share of the size of a map that lies on the blocks that a mask computes. Throws what the rows
  /// of the map throw.
  /// `map` is `[queries, keys]` of the mask's own head; nil when the map is zero throughout.
  public static func mass(_ map: any RowField, on mask: BlockMask) throws -> Double? {
    var size = 0.0, on = 0.0
    try map.withRows(0..<map.rows.count) { row, weights in
      for (key, weight) in weights.enumerated() where weight.isFinite && weight != 0 {
        let w = abs(Double(weight))
        size += w
        if mask[row / mask.spec.rows, key / mask.spec.keys] == .computed { on += w }
      }
    }
    return size > 0 ? on / size : nil
  }
}
