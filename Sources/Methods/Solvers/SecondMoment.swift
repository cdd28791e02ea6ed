import Algebra

/// Sums Σ w x xᵀ over vectors of a head, from which ridges and local lines are solved.
///
/// Only the lower triangle is kept up, which is all that `Cholesky` reads. Example:
/// `moment.add(keys, from: 0, weights: w)`, then `Cholesky(moment.matrix, ridge: λ)`. Cost d² / 2 a
/// vector; memory 8 d² bytes.
struct SecondMoment: Sendable {
  /// d, width of a vector.
  let dim: Int
  /// `[dim, dim]`, zeros above the diagonal.
  private(set) var matrix: Matrix

  /// Nothing yet.
  init(dim: Int) { (self.dim, matrix) = (dim, Matrix(rows: dim, columns: dim)) }

  /// Everything that was added times a factor: how a decayed sum moves on.
  mutating func scale(by factor: Double) {
    matrix.elements.withUnsafeMutableBufferPointer { m in
      for at in m.indices { m[at] *= factor }
    }
  }

  /// Adds w_j x_j x_jᵀ of vectors `[count, dim]` that stand one behind the other, from `first` of
  /// `vectors` on, with weights `[count]`. Four vectors share each row of the matrix.
  mutating func add(_ vectors: [Double], from first: Int, weights: [Double]) {
    let d = dim
    matrix.elements.withUnsafeMutableBufferPointer { m in
      vectors.withUnsafeBufferPointer { all in
        guard let m = m.baseAddress, let start = all.baseAddress else { return }
        let x = start + first * d, whole = weights.count / 4 * 4
        for j in stride(from: 0, to: whole, by: 4) {
          let (x0, x1, x2, x3) = (
            x + j * d, x + (j + 1) * d, x + (j + 2) * d, x + (j + 3) * d
          )
          let (w0, w1, w2, w3) = (weights[j], weights[j + 1], weights[j + 2], weights[j + 3])
          for a in 0..<d {
            let row = m + a * d
            let (c0, c1, c2, c3) = (w0 * x0[a], w1 * x1[a], w2 * x2[a], w3 * x3[a])
            for b in 0...a { row[b] += (c0 * x0[b] + c1 * x1[b]) + (c2 * x2[b] + c3 * x3[b]) }
          }
        }
        for j in whole..<weights.count {
          let x = x + j * d
          for a in 0..<d {
            let row = m + a * d, c = weights[j] * x[a]
            for b in 0...a { row[b] += c * x[b] }
          }
        }
      }
    }
  }

  /// M x for a vector `[dim]`, the upper triangle read off the lower one.
  func multiplied(by x: [Double]) -> [Double] {
    var y = [Double](repeating: 0, count: dim)
    for a in 0..<dim {
      var sum = 0.0
      for b in 0..<a {
        let value = matrix.elements[a * dim + b]
        sum += value * x[b]
        y[b] += value * x[a]
      }
      y[a] += sum + matrix.elements[a * dim + a] * x[a]
    }
    return y
  }
}
