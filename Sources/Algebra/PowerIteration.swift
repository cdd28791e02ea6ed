/// The eigenvalue of largest magnitude and its vector, by repeated multiplication (von Mises and
/// Pollaczek-Geiringer, 1929).
///
/// Example: `PowerIteration(of: map, tolerance: 1e-10).value`. The catch: two eigenvalues of one
/// magnitude (1 and -1, or a complex pair) never settle, and near ones settle slowly: look at
/// `converged` before the value.
public struct PowerIteration: Sendable {
  /// x^T A x of the last unit vector x.
  public let value: Double
  /// A unit vector: `[order]`
  public let vector: [Double]
  /// ‖A x - value · x‖, in the unit of A.
  public let residual: Double
  /// Products with A that were made.
  public let steps: Int
  /// Whether the residual came below tolerance · |value|.
  public let converged: Bool

  /// Takes `[n][n]`; n² multiplications a step, `limit` steps at most. `tolerance` is relative to
  /// the value.
  public init(of matrix: Matrix, tolerance: Double = 1e-10, limit: Int = 1000, seed: UInt64 = 1) {
    precondition(matrix.rows == matrix.columns, "eigenvalues are those of a square matrix")
    self.init(order: matrix.rows, tolerance: tolerance, limit: limit, seed: seed) {
      matrix.multiplied(by: $0)
    }
  }

  /// Takes an operator that turns `[order]` to `[order]` and need not exist as a matrix; a random
  /// vector numbered by `seed` begins.
  public init(
    order: Int, tolerance: Double = 1e-10, limit: Int = 1000, seed: UInt64 = 1,
    _ apply: ([Double]) -> [Double]
  ) {
    var random = SplitMix64(seed)
    var x = unit(random.gaussians(order)), value = 0.0, residual = 0.0
    var steps = 0, settled = order == 0
    while !settled && steps < limit {
      let y = apply(x)
      precondition(y.count == order, "an operator that keeps the length")
      steps += 1
      value = zip(x, y).reduce(0) { $0 + $1.0 * $1.1 }
      residual = length(zip(x, y).map { $1 - value * $0 })
      settled = residual <= tolerance * value.magnitude
      let next = length(y)
      guard !settled && next > 0 && next.isFinite else { break }
      x = y.map { $0 / next }
    }
    (self.value, self.vector, self.residual) = (value, x, residual)
    (self.steps, converged) = (steps, settled)
  }
}

/// The root of the sum of squares, without overflow.
private func length(_ x: [Double]) -> Double {
  Matrix(rows: 1, columns: x.count, elements: x).frobeniusNorm
}

/// The vector at length 1; a zero vector stays.
private func unit(_ x: [Double]) -> [Double] {
  let size = length(x)
  return size > 0 ? x.map { $0 / size } : x
}
