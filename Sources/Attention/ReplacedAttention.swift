import Synchronization
public import Tensors

/// Outputs of heads whose weights do not come from their own scores.
public enum ReplacedAttention {
  /// The rows `positions` of a masked head whose values are `[keys, dv]`, `[positions * dv]`; the
  /// text has `length` tokens in all. Sums are running ones in double, from key 0 on.
  public static func masked(
    _ mask: HeadMask, _ value: Tensor, _ positions: Range<Int>, length: Int
  ) -> [Float] {
    let width = value.shape[1]
    guard mask != .zero else { return [Float](repeating: 0, count: positions.count * width) }
    let values = value.slice(axis: 0, 0..<positions.upperBound).floats()
    var sum = [Double](repeating: 0, count: width), out: [Float] = []
    out.reserveCapacity(positions.count * width)
    for i in 0..<positions.upperBound {
      for x in 0..<width { sum[x] += Double(values[i * width + x]) }
      guard i >= positions.lowerBound else { continue }
      let parts = Double(mask == .mean ? i + 1 : length)
      for x in 0..<width { out.append(Float(sum[x] / parts)) }
    }
    return out
  }
}

/// Linear attention inside a sliding window, as a map `[queries, keys]`.
///
///     A_ij = φ(q_i)·φ(k_j) / Σ_j' φ(q_i)·φ(k_j'),   φ(x) = elu(x) + 1,   i - W < j <= i
///
/// Queries and keys as the head has them, without the scale; a head that is not causal sees W - 1
/// keys to either side. Rows sum to 1. NaN after a causal query, 0 outside of the window. Cost W d
/// a row.
public struct LinearWindow: RowField {
  /// The queries of the head.
  public let rows: Axis
  /// Its keys.
  public let columns: Axis
  /// W, the keys of a causal row, the query's own among them.
  public let window: Int
  private let visibility: Visibility
  private let dim: Int
  /// φ(q) `[queries * dim]` and φ(k) `[keys * dim]`.
  private let query, key: [Double]

  /// `window` of at least 1; nil for stored maps.
  public init?(_ head: Head, window: Int) {
    guard let both = head.queryAndKey, window > 0 else { return nil }
    self.window = window
    (rows, columns) = (Axis(.query, head.queries), Axis(.key, head.keys))
    (visibility, dim) = (head.visibility, both.query.shape[1])
    func feature(_ x: Float) -> Double { x > 0 ? Double(x) + 1 : exponential(Double(x)) }
    (query, key) = (both.query.floats().map(feature), both.key.floats().map(feature))
  }

  /// Features, eight bytes each.
  public var bytes: Int { 8 * (query.count + key.count) }

  /// Keys that a row may look at.
  public func keys(of row: Int) -> Range<Int> {
    let position = visibility.position(row: row)
    let end = min(visibility.limit(row: row), position + window)
    return min(max(0, position - window + 1), max(end, 0))..<max(end, 0)
  }

  /// The weights of `keys(of: row)`.
  func weights(_ row: Int) -> [Double] {
    var dots = keys(of: row).map { j in
      var sum = 0.0
      for x in 0..<dim { sum += query[row * dim + x] * key[j * dim + x] }
      return sum
    }
    let total = dots.reduce(0, +)
    if total > 0 { for j in dots.indices { dots[j] /= total } }
    return dots
  }

  /// A row at a time; throws only what `body` throws.
  public func withRows(
    _ range: Range<Int>, _ body: (Int, UnsafeBufferPointer<Float>) throws -> Void
  ) throws {
    for row in range {
      let limit = visibility.limit(row: row)
      var values = (0..<columns.count).map { $0 < limit ? Float(0) : .nan }
      for (j, weight) in zip(keys(of: row), weights(row)) { values[j] = Float(weight) }
      try values.withUnsafeBufferPointer { try body(row, $0) }
    }
  }

  /// A V of every row, `[queries * dv]`; `value` is `[keys, dv]`.
  public func output(_ value: Tensor, threads: ComputeThreads) -> [Float] {
    let width = value.shape[1], values = value.floats(), size = 16
    let all = Mutex([Float](repeating: 0, count: rows.count * width))
    threads.forEach(0..<(rows.count + size - 1) / size, isCancelled: { false }) { part in
      var out: [Float] = []
      for row in part * size..<min((part + 1) * size, rows.count) {
        var sum = [Double](repeating: 0, count: width)
        for (j, weight) in zip(keys(of: row), weights(row)) {
          for x in 0..<width { sum[x] += weight * Double(values[j * width + x]) }
        }
        out += sum.map(Float.init)
      }
      let at = part * size * width
      all.withLock { [out] in $0.replaceSubrange(at..<at + out.count, with: out) }
    }
    return all.withLock { $0 }
  }
}
