/// Systems with a lower-triangular matrix L, solved in place by substitution.
///
/// Example: `try Triangular.solveRows(gram, weights, unit: true)` is W of W G = A for causal G.
/// Only the lower triangle of L is read, and with `unit` not even its diagonal, which then counts
/// as ones. The functions on pointers trust their sizes and their diagonals: call `check` once
/// before many of them.
public enum Triangular {
  /// Throws `AlgebraError.singular` at the first zero, infinity or NaN on the diagonal of `[n][n]`.
  public static func check(_ lower: Matrix) throws(AlgebraError) {
    precondition(lower.rows == lower.columns, "a triangular matrix is square")
    for i in 0..<lower.rows {
      let pivot = lower[i, i]
      guard pivot != 0 && pivot.isFinite else { throw .singular(pivot: i, value: pivot) }
    }
  }

  /// Solves L X = B by forward substitution: X is `[n][columns]`; n² / 2 multiplications a column.
  ///
  /// Throws `AlgebraError.singular`, naming the pivot.
  public static func solve(_ lower: Matrix, _ b: Matrix, unit: Bool = false) throws(AlgebraError)
    -> Matrix
  {
    try inPlace(lower, b, unit: unit, side: lower.rows == b.rows) { l, x in
      forward(l, order: lower.rows, x, columns: b.columns, unit: unit)
    }
  }

  /// Solves L^T X = B by back substitution: X is `[n][columns]`; n² / 2 multiplications a column.
  ///
  /// Throws `AlgebraError.singular`, naming the pivot.
  public static func solveTransposed(_ lower: Matrix, _ b: Matrix, unit: Bool = false)
    throws(AlgebraError) -> Matrix
  {
    try inPlace(lower, b, unit: unit, side: lower.rows == b.rows) { l, x in
      backwardTransposed(l, order: lower.rows, x, columns: b.columns, unit: unit)
    }
  }

  /// Solves X L = B, each row x L = b for itself: X is `[rows][n]`; n² / 2 multiplications a row.
  ///
  /// Example: the W of W G = A, where both are causal. Throws `AlgebraError.singular`, naming the
  /// pivot.
  public static func solveRows(_ lower: Matrix, _ b: Matrix, unit: Bool = false)
    throws(AlgebraError) -> Matrix
  {
    try inPlace(lower, b, unit: unit, side: lower.rows == b.columns) { l, x in
      backwardRows(l, order: lower.rows, x, unit: unit)
    }
  }

  /// Checks sides and diagonal, then lets `body` solve a copy of `b`.
  private static func inPlace(
    _ lower: Matrix, _ b: Matrix, unit: Bool, side: Bool,
    _ body: (UnsafeBufferPointer<Double>, UnsafeMutableBufferPointer<Double>) -> Void
  ) throws(AlgebraError) -> Matrix {
    precondition(lower.rows == lower.columns && side, "a system whose sides differ")
    if !unit { try check(lower) }
    var x = b
    x.elements.withUnsafeMutableBufferPointer { x in
      lower.elements.withUnsafeBufferPointer { l in body(l, x) }
    }
    return x
  }
}

extension Triangular {
  /// L X = B in place: `lower` is `[order][order]`, `x` is B `[order][columns]` and becomes X.
  public static func forward(
    _ lower: UnsafeBufferPointer<Double>, order: Int, _ x: UnsafeMutableBufferPointer<Double>,
    columns: Int, unit: Bool = false
  ) {
    guard let l = lower.baseAddress, let x = x.baseAddress else { return }
    for i in 0..<order {
      let row = x + i * columns
      for k in 0..<i { addScaled(row, -l[i * order + k], x + k * columns, columns) }
      if !unit { divide(row, l[i * order + i], columns) }
    }
  }

  /// L^T X = B in place: `lower` is `[order][order]`, `x` is B `[order][columns]` and becomes X.
  public static func backwardTransposed(
    _ lower: UnsafeBufferPointer<Double>, order: Int, _ x: UnsafeMutableBufferPointer<Double>,
    columns: Int, unit: Bool = false
  ) {
    guard let l = lower.baseAddress, let x = x.baseAddress else { return }
    for i in (0..<order).reversed() {
      let row = x + i * columns
      if !unit { divide(row, l[i * order + i], columns) }
      for k in 0..<i { addScaled(x + k * columns, -l[i * order + k], row, columns) }
    }
  }

  /// x L = b in place for every row of `x`: `lower` is `[order][order]`, `x` is `[rows][order]`.
  ///
  /// Eight rows share each row of L while it is in cache. A zero right of a row's last number costs
  /// nothing, so that a causal B takes half the time.
  public static func backwardRows(
    _ lower: UnsafeBufferPointer<Double>, order: Int, _ x: UnsafeMutableBufferPointer<Double>,
    unit: Bool = false
  ) {
    guard order > 0, let l = lower.baseAddress, let base = x.baseAddress else { return }
    let rows = x.count / order, group = 8
    for first in stride(from: 0, to: rows, by: group) {
      for j in (0..<order).reversed() {
        let pivotRow = l + j * order
        for row in first..<min(first + group, rows) {
          let x = base + row * order
          guard x[j] != 0 else { continue }
          if !unit { x[j] /= pivotRow[j] }
          addScaled(x, -x[j], pivotRow, j)
        }
      }
    }
  }

  /// x /= pivot, element by element: a product with 1 / pivot would round twice.
  private static func divide(_ x: UnsafeMutablePointer<Double>, _ pivot: Double, _ count: Int) {
    for i in 0..<count { x[i] /= pivot }
  }
}
