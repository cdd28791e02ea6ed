/// Why a factorisation or an iteration has no answer, where, and what to do about it.
///
/// Example:
/// `pivot 3 is -0.5: the matrix is not positive definite; add a ridge, 1e-10 or more (it is 0)`.
/// Wrong shapes are no errors but traps: they are mistakes of the program, not of its data.
public enum AlgebraError: Error, Sendable, Equatable, CustomStringConvertible {
  /// A Cholesky pivot is zero, negative or not a number; `suggestion` is a ridge that suits the
  /// diagonal, in its unit.
  case notPositive(pivot: Int, value: Double, ridge: Double, suggestion: Double)
  /// A triangular matrix has a zero, or something that is not finite, on its diagonal.
  case singular(pivot: Int, value: Double)
  /// An element is infinite or not a number.
  case notFinite(row: Int, column: Int)
  /// An iteration came to its bound.
  case notConverged(what: String, steps: Int)

  /// A sentence for a person: what, where, what next.
  public var description: String {
    switch self {
    case .notPositive(let pivot, let value, let ridge, let suggestion):
      "pivot \(pivot) is \(value): the matrix is not positive definite; "
        + "add a ridge, \(suggestion) or more (it is \(ridge))"
    case .singular(let pivot, let value):
      "pivot \(pivot) of the triangular matrix is \(value): the system has no single solution; "
        + "add a ridge to the diagonal or leave that row out"
    case .notFinite(let row, let column):
      """
      element (\(row), \(column)) is infinite or not a number; look for an overflow where it was \
      made
      """
    case .notConverged(let what, let steps):
      "\(what): not converged after \(steps) steps; look for elements of very different sizes"
    }
  }
}
