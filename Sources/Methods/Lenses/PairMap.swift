import Algebra
import Analysis
import Attention

/// Softmax over pairs of keys, one query at a time: E_i `[keys, keys]`, of which only the rows in
/// work are ever there.
///
/// Example: `PairMap(head, second: k, scale: 0.5).row(3).information`. Cost n² d a query and n²
/// exponentials, twice that with the second marginal; memory one row of pairs.
struct PairMap: Sendable {
  /// What one query says of its pairs.
  struct Row: Sendable {
    /// W1_i and W2_i `[keys]`, 0 beyond what is seen.
    var first, second: [Double]
    /// ln Σ exp T.
    var level: Double
    /// Mutual information of both keys, in nats.
    var information: Double
    /// Σ_j E_i[j, j].
    var diagonal: Double
  }

  /// The head that gives Q and K1.
  let head: Head
  private let rows: DoubleRows
  /// K2 `[keys * d]`.
  private let other: [Double]
  /// s.
  private let scale: Double

  /// `second` is K2, `[keys * d]`.
  init(_ head: Head, second: [Double], scale: Double) {
    (self.head, rows, other, self.scale) = (head, DoubleRows(head), second, scale)
  }

  /// Keys of the head.
  var keys: Int { head.keys }
  /// Keys that a query sees.
  func limit(_ row: Int) -> Int { head.visibility.limit(row: row) }

  /// The largest |entry| of Q, K1 and K2.
  var largestEntry: Double {
    [rows.query, rows.key, other].reduce(0) { $1.reduce($0) { max($0, $1.magnitude) } }
  }

  /// T_i[j, l] for all visible l, into `out` `[limit]`.
  private func scores(_ row: Int, _ j: Int, _ out: UnsafeMutableBufferPointer<Double>) {
    let d = rows.dim
    withUnsafeTemporaryAllocation(of: Double.self, capacity: max(d, 1)) { mixed in
      for c in 0..<d {
        mixed[c] = scale * rows.query[row * d + c] * rows.key[j * d + c]
      }
      other.withUnsafeBufferPointer { other in
        guard let a = mixed.baseAddress, let b = other.baseAddress else { return }
        for l in out.indices { out[l] = Vectors.dot(a, b + l * d, d) }
      }
    }
  }

  /// ln Σ_l exp T_i[j, l] for every visible j: `[limit]`.
  private func levels(_ row: Int) -> [Double] {
    let limit = limit(row)
    return withUnsafeTemporaryAllocation(of: Double.self, capacity: max(limit, 1)) { all in
      let line = UnsafeMutableBufferPointer(rebasing: all[0..<limit])
      return (0..<limit).map { j in
        scores(row, j, line)
        return Self.level(UnsafeBufferPointer(line))
      }
    }
  }

  /// ln Σ exp, by the largest first.
  private static func level(_ values: UnsafeBufferPointer<Double>) -> Double {
    var top = -Double.infinity
    for value in values { top = max(top, value) }
    guard top.isFinite else { return top }
    var sum = 0.0
    for value in values { sum += exponential(value - top) }
    return top + logarithm(sum)
  }

  /// W1_i alone, `[keys]`: one sweep over the pairs.
  func first(_ row: Int) -> [Double] {
    Elementary.softmax(levels(row)) + [Double](repeating: 0, count: keys - limit(row))
  }

  /// E_i[j, ·] `[keys]`, given ln Σ exp T of the query; 0 beyond what is seen.
  func pair(_ row: Int, _ j: Int, _ level: Double) -> [Double] {
    let limit = limit(row)
    var out = [Double](repeating: 0, count: keys)
    out.withUnsafeMutableBufferPointer { out in
      let line = UnsafeMutableBufferPointer(rebasing: out[0..<limit])
      scores(row, j, line)
      for l in line.indices { line[l] = exponential(line[l] - level) }
    }
    return out
  }

  /// Both marginals, and how far they are from independent: H(W1) + H(W2) - H(E), where
  /// H(E) = ln Σ exp T - Σ E T.
  func row(_ row: Int) -> Row {
    let limit = limit(row), levels = levels(row)
    let level = levels.withUnsafeBufferPointer(Self.level)
    let none = [Double](repeating: 0, count: keys - limit)
    var found = Row(
      first: Elementary.softmax(levels) + none, second: [Double](repeating: 0, count: keys),
      level: level, information: 0, diagonal: 0)
    guard limit > 0 else { return found }
    var mean = 0.0
    withUnsafeTemporaryAllocation(of: Double.self, capacity: limit) { line in
      for j in 0..<limit {
        scores(row, j, line)
        for l in 0..<limit {
          let share = exponential(line[l] - level)
          found.second[l] += share
          // ln E, summed with its own weight: no cancellation against the level.
          mean += share * (line[l] - level)
          if l == j { found.diagonal += share }
        }
      }
    }
    found.information = max(0, Self.entropy(found.first) + Self.entropy(found.second) + mean)
    return found
  }

  /// -Σ p ln p in nats.
  private static func entropy(_ p: [Double]) -> Double {
    p.reduce(0) { $1 > 0 ? $0 - $1 * logarithm($1) : $0 }
  }

  /// Σ_jl E_i[j, l] (v_j ⊙ v_l), `[width]`. Cost n² (d + width).
  func output(_ row: Int, _ values: (elements: [Double], width: Int)) -> [Double] {
    let limit = limit(row), level = levels(row).withUnsafeBufferPointer(Self.level)
    var out = [Double](repeating: 0, count: values.width)
    for j in 0..<limit {
      let inner = LensRows.product(pair(row, j, level), limit, values)
      for x in out.indices { out[x] += values.elements[j * values.width + x] * inner[x] }
    }
    return out
  }
}
