/// An upper bidiagonal matrix `[n][n]`, and the iteration that brings its singular values to the
/// diagonal. Any matrix becomes one by reflections, which leave singular values as they are.
struct Bidiagonal {
  /// `[n]`
  var diagonal: [Double]
  /// `[n - 1]`, above the diagonal.
  var above: [Double]

  /// Golub and Kahan (1965): reflections from the left and the right in turn; `[m][n]`, m >= n; 2
  /// (m n² - n³ / 3) multiplications.
  init(_ matrix: Matrix) {
    precondition(matrix.rows >= matrix.columns, "a matrix at least as high as wide")
    let n = matrix.columns
    var d = [Double](repeating: 0, count: n), e = [Double](repeating: 0, count: max(n - 1, 0))
    reflectColumns(of: matrix) { k, a, v, w, height, made in
      d[k] = made.beta
      guard k + 1 < n else { return }
      // The first row is done at once, as it says how to reflect from the right; the others
      // take both in one go.
      addScaled(a + 1, -made.tau, w, n - k - 1)
      let (edge, turn) = reflect(a + 1, n - k - 1)
      e[k] = edge
      for i in 1..<height {
        let row = a + i * n + 1
        addScaled(row, -made.tau * v[i], w, n - k - 1)
        addScaled(row, -turn * dot(row, a + 1, n - k - 1), a + 1, n - k - 1)
      }
    }
    (diagonal, above) = (d, e)
  }

  /// Takes both diagonals as they are: `[n]` and `[n - 1]`.
  init(diagonal: [Double], above: [Double]) { (self.diagonal, self.above) = (diagonal, above) }
}

/// Reflects one column after another of a copy of a matrix `[m][n]`, m >= n.
///
/// `body` gets the column's number k; where its part of `height` = m - k elements begins, in rows
/// of n; the reflection's v `[height]`; and w = v^T A `[n - k - 1]` of the columns right of it,
/// which it brings up to date itself.
private func reflectColumns(
  of matrix: Matrix,
  _ body: (
    _ k: Int, _ a: UnsafeMutablePointer<Double>, _ v: UnsafeMutablePointer<Double>,
    _ w: UnsafeMutablePointer<Double>, _ height: Int, _ made: (beta: Double, tau: Double)
  ) -> Void
) {
  let (m, n) = (matrix.rows, matrix.columns)
  var work = matrix.elements
  var column = [Double](repeating: 0, count: m), product = [Double](repeating: 0, count: n)
  work.withUnsafeMutableBufferPointer { work in
    column.withUnsafeMutableBufferPointer { column in
      product.withUnsafeMutableBufferPointer { product in
        for k in 0..<n {
          let a = work.baseAddress! + k * n + k, height = m - k, width = n - k - 1
          let v = column.baseAddress!, w = product.baseAddress!
          for i in 0..<height { v[i] = a[i * n] }
          let made = reflect(v, height)
          for j in 0..<width { w[j] = 0 }
          addProduct(w, v, a + 1, stride: n, depth: height, width)
          body(k, a, v, w, height, made)
        }
      }
    }
  }
}

/// R of A = Q R by reflections: `[m][n]`, m >= n, gives `[n][n]`; m n² - n³ / 3 multiplications.
func upperFactor(_ matrix: Matrix) -> Matrix {
  let n = matrix.columns
  precondition(matrix.rows >= n, "a matrix at least as high as wide")
  var result = Matrix(rows: n, columns: n)
  reflectColumns(of: matrix) { k, a, v, w, height, made in
    for i in 0..<height { addScaled(a + i * n + 1, -made.tau * v[i], w, n - k - 1) }
    result[k, k] = made.beta
    for j in k + 1..<n { result[k, j] = a[j - k] }
  }
  return result
}
