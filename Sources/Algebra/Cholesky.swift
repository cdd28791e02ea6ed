import RealModule

/// The lower factor of a symmetric positive-definite matrix: A + ridge · I = L L^T.
///
/// Example: `try Cholesky(gram, ridge: 1e-6).solve(right)`. Only the lower triangle of A is read;
/// n³ / 6 multiplications (Cholesky, published by Benoît, 1924).
///
/// The catch: a matrix of near-equal rows is positive definite on paper and not in doubles; the
/// ridge, in the unit of the diagonal, is what makes it one. The error of a solution grows with the
/// condition number, at most about largest eigenvalue / ridge.
public struct Cholesky: Sendable {
  /// L, zeros above the diagonal: `[n][n]`.
  public let lower: Matrix

  /// Factors `[n][n]`; throws `AlgebraError.notPositive`, naming the pivot and a ridge that may
  /// help.
  public init(_ matrix: Matrix, ridge: Double = 0) throws(AlgebraError) {
    precondition(matrix.rows == matrix.columns, "a symmetric matrix is square")
    let n = matrix.rows
    var factor = Matrix(rows: n, columns: n)
    var failure: (pivot: Int, value: Double)?
    factor.elements.withUnsafeMutableBufferPointer { l in
      guard let l = l.baseAddress else { return }
      for i in 0..<n {
        let row = l + i * n
        for j in 0..<i {
          row[j] = (matrix.elements[i * n + j] - dot(row, l + j * n, j)) / l[j * n + j]
        }
        let pivot = matrix.elements[i * n + i] + ridge - dot(row, row, i)
        guard pivot > 0 && pivot.isFinite else {
          failure = (i, pivot)
          return
        }
        row[i] = pivot.squareRoot()
      }
    }
    if let failure {
      let diagonal = (0..<n).map { matrix[$0, $0].magnitude }.filter(\.isFinite).max() ?? 0
      let step = 1e-10 * (diagonal > 0 ? diagonal : 1)
      throw .notPositive(
        pivot: failure.pivot, value: failure.value, ridge: ridge,
        suggestion: max(step, 10 * ridge))
    }
    lower = factor
  }

  /// Solves (A + ridge · I) X = B for `[n][columns]`; n² multiplications a column.
  public func solve(_ b: Matrix) -> Matrix {
    precondition(b.rows == lower.rows, "a right side as high as the matrix")
    var x = b
    x.elements.withUnsafeMutableBufferPointer { x in
      lower.elements.withUnsafeBufferPointer { l in
        Triangular.forward(l, order: lower.rows, x, columns: b.columns)
        Triangular.backwardTransposed(l, order: lower.rows, x, columns: b.columns)
      }
    }
    return x
  }

  /// Solves (A + ridge · I) x = b for one vector `[n]`.
  public func solve(_ b: [Double]) -> [Double] {
    solve(Matrix(rows: b.count, columns: 1, elements: b)).elements
  }

  /// log det(A + ridge · I), in nats.
  public var logDeterminant: Double {
    (0..<lower.rows).reduce(0) { $0 + 2 * Double.log(lower[$1, $1]) }
  }
}
