import RealModule

/// The small functions that attention methods are written with, safe for arguments of any size.
///
/// A NaN given is a NaN returned, and so is a row whose scores hold one or +infinity. Example:
/// `Elementary.softmax(scores, limit: row + 1)` is a causal row `[count]`.
public enum Elementary {
  /// elu(x) + 1, the feature of linear attention: x + 1 above zero, exp(x) below; never negative
  /// (Katharopoulos et al., "Transformers are RNNs", 2020, arXiv:2006.16236).
  public static func elu1(_ x: Double) -> Double { x > 0 ? x + 1 : Double.exp(x) }

  /// log(1 + exp(x)) without overflow: x for large x, exp(x) for very negative ones.
  public static func softplus(_ x: Double) -> Double {
    x.isNaN ? x : max(x, 0) + Double.log(onePlus: Double.exp(-x.magnitude))
  }

  /// 1 / (1 + exp(-x)) without overflow; in 0...1.
  public static func sigmoid(_ x: Double) -> Double {
    let small = Double.exp(-x.magnitude)
    return x < 0 ? small / (1 + small) : 1 / (1 + small)
  }

  /// The softmax of the first `limit` scores, zeros after them: `[count]`.
  ///
  /// A row that sees nothing (limit 0, or -infinity everywhere) is all zeros.
  public static func softmax(_ scores: [Double], limit: Int? = nil) -> [Double] {
    var row = scores
    row.withUnsafeMutableBufferPointer { softmax($0, limit: limit ?? scores.count) }
    return row
  }

  /// The same in place; a limit beyond the row is the whole row. The largest score is subtracted
  /// first, so that nothing overflows and what is too small for a double becomes 0.
  public static func softmax(_ row: UnsafeMutableBufferPointer<Double>, limit: Int) {
    let seen = min(max(limit, 0), row.count)
    for j in seen..<row.count { row[j] = 0 }
    var largest = -Double.infinity, sum = 0.0
    for j in 0..<seen { largest = row[j].isNaN ? row[j] : max(largest, row[j]) }
    guard largest != -.infinity else {
      for j in 0..<seen { row[j] = 0 }
      return
    }
    for j in 0..<seen {
      row[j] = Double.exp(row[j] - largest)
      sum += row[j]
    }
    for j in 0..<seen { row[j] /= sum }
  }

  /// Divides a row by max(Σ|x|, floor) in place and returns Σ|x|: a row of zeros stays, and none
  /// blows up.
  @discardableResult
  public static func normaliseL1(
    _ row: UnsafeMutableBufferPointer<Double>, floor: Double = 1e-12
  ) -> Double {
    precondition(floor > 0, "a floor above zero")
    let sum = row.reduce(0) { $0 + $1.magnitude }
    let divisor = sum > floor ? sum : floor
    for j in row.indices { row[j] /= divisor }
    return sum
  }

  /// Every row over max(Σ|x|, floor): `[rows][columns]`.
  public static func rowsNormalisedL1(_ matrix: Matrix, floor: Double = 1e-12) -> Matrix {
    var result = matrix
    let columns = matrix.columns
    result.elements.withUnsafeMutableBufferPointer { elements in
      for i in 0..<matrix.rows {
        normaliseL1(
          UnsafeMutableBufferPointer(rebasing: elements[i * columns..<(i + 1) * columns]),
          floor: floor)
      }
    }
    return result
  }
}
