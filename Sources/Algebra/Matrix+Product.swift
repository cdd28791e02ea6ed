extension Matrix {
  /// A B: `[rows][inner]` times `[inner][columns]`; rows · inner · columns multiplications.
  ///
  /// The loop runs i, k, j over panels of B that stay in cache, 64 by 256 of its elements or 128
  /// KiB, four k at a time. The order of the sums depends on k alone, so that a product does not
  /// change with what stands beside it.
  public func multiplied(by other: Matrix) -> Matrix {
    precondition(columns == other.rows, "a product of matrices whose inner sides differ")
    var result = Matrix(rows: rows, columns: other.columns)
    let (height, inner, width) = (rows, columns, other.columns)
    guard height > 0 && inner > 0 && width > 0 else { return result }
    let panel = (inner: 64, width: 256)
    result.elements.withUnsafeMutableBufferPointer { c in
      elements.withUnsafeBufferPointer { a in
        other.elements.withUnsafeBufferPointer { b in
          for left in stride(from: 0, to: width, by: panel.width) {
            let count = min(panel.width, width - left)
            for top in stride(from: 0, to: inner, by: panel.inner) {
              let depth = min(panel.inner, inner - top)
              for i in 0..<height {
                addProduct(
                  c.baseAddress! + i * width + left, a.baseAddress! + i * inner + top,
                  b.baseAddress! + top * width + left, stride: width, depth: depth, count)
              }
            }
          }
        }
      }
    }
    return result
  }

  /// A x: `[rows][columns]` times `[columns]` is `[rows]`; four partial sums a row, so equal to a
  /// product with a one-column matrix only to rounding.
  public func multiplied(by vector: [Double]) -> [Double] {
    precondition(columns == vector.count, "a vector as long as the matrix is wide")
    return elements.withUnsafeBufferPointer { a in
      vector.withUnsafeBufferPointer { x in
        (0..<rows).map { i in
          columns == 0 ? 0 : dot(a.baseAddress! + i * columns, x.baseAddress!, columns)
        }
      }
    }
  }
}

/// y += Σ a_k x_k, where a is `[depth]`, y is `[count]` and x_k are `depth` rows `stride` apart, of
/// `count` elements each.
func addProduct(
  _ y: UnsafeMutablePointer<Double>, _ a: UnsafePointer<Double>, _ x: UnsafePointer<Double>,
  stride: Int, depth: Int, _ count: Int
) {
  var k = 0
  while k + 4 <= depth {
    let (a0, a1, a2, a3) = (a[k], a[k + 1], a[k + 2], a[k + 3])
    let x0 = x + k * stride
    let (x1, x2, x3) = (x0 + stride, x0 + 2 * stride, x0 + 3 * stride)
    for j in 0..<count { y[j] += (a0 * x0[j] + a1 * x1[j]) + (a2 * x2[j] + a3 * x3[j]) }
    k += 4
  }
  while k < depth {
    addScaled(y, a[k], x + k * stride, count)
    k += 1
  }
}
