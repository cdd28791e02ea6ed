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
    let (m, n) = (matrix.rows, matrix.columns)
    var d = [Double](repeating: 0, count: n), e = [Double](repeating: 0, count: max(n - 1, 0))
    var work = matrix.elements
    var column = [Double](repeating: 0, count: m), product = [Double](repeating: 0, count: n)
    work.withUnsafeMutableBufferPointer { work in
      column.withUnsafeMutableBufferPointer { column in
        product.withUnsafeMutableBufferPointer { product in
          for k in 0..<n {
            let a = work.baseAddress! + k * n + k
            let v = column.baseAddress!, w = product.baseAddress!
            let (beta, tau) = reflectColumn(a, stride: n, v, m - k, w, n - k - 1)
            d[k] = beta
            guard k + 1 < n else { continue }
            // The first row is done at once, as it says how to reflect from the right; the others
            // take both in one go.
            addScaled(a + 1, -tau, w, n - k - 1)
            let (edge, turn) = reflect(a + 1, n - k - 1)
            e[k] = edge
            for i in 1..<m - k {
              let row = a + i * n + 1
              addScaled(row, -tau * v[i], w, n - k - 1)
              addScaled(row, -turn * dot(row, a + 1, n - k - 1), a + 1, n - k - 1)
            }
          }
        }
      }
    }
    (diagonal, above) = (d, e)
  }

  /// Takes both diagonals as they are: `[n]` and `[n - 1]`.
  init(diagonal: [Double], above: [Double]) { (self.diagonal, self.above) = (diagonal, above) }
}

/// The reflection of the column of `height` elements that begins at `a`, its v `[height]`, and w =
/// v^T of the `width` columns right of it, `[width]`; rows lie `stride` apart.
func reflectColumn(
  _ a: UnsafePointer<Double>, stride: Int, _ v: UnsafeMutablePointer<Double>, _ height: Int,
  _ w: UnsafeMutablePointer<Double>, _ width: Int
) -> (beta: Double, tau: Double) {
  for i in 0..<height { v[i] = a[i * stride] }
  let made = reflect(v, height)
  for j in 0..<width { w[j] = 0 }
  addProduct(w, v, a + 1, stride: stride, depth: height, width)
  return made
}

/// R of A = Q R by reflections: `[m][n]`, m >= n, gives `[n][n]`; m n² - n³ / 3 multiplications.
func upperFactor(_ matrix: Matrix) -> Matrix {
  let (m, n) = (matrix.rows, matrix.columns)
  precondition(m >= n, "a matrix at least as high as wide")
  var result = Matrix(rows: n, columns: n), work = matrix.elements
  var column = [Double](repeating: 0, count: m), product = [Double](repeating: 0, count: n)
  work.withUnsafeMutableBufferPointer { work in
    column.withUnsafeMutableBufferPointer { column in
      product.withUnsafeMutableBufferPointer { product in
        for k in 0..<n {
          let a = work.baseAddress! + k * n + k
          let v = column.baseAddress!, w = product.baseAddress!
          let (beta, tau) = reflectColumn(a, stride: n, v, m - k, w, n - k - 1)
          for i in 0..<m - k { addScaled(a + i * n + 1, -tau * v[i], w, n - k - 1) }
          result[k, k] = beta
          for j in k + 1..<n { result[k, j] = a[j - k] }
        }
      }
    }
  }
  return result
}
