import RealModule

/// The eigenvalues of a symmetric matrix, and its eigenvectors when asked: A = V^T diag(values) V.
///
/// Example: `try SymmetricEigen(gram, vectors: true)`. Only the lower triangle is read. Reflections
/// to a tridiagonal matrix, then implicit QL (Bowdler, Martin, Reinsch and Wilkinson, "The QR and
/// QL algorithms for symmetric matrices", 1968): 4/3 n³ multiplications, and some 4 n³ more with
/// vectors.
public struct SymmetricEigen: Sendable {
  /// Largest first: `[n]`.
  public let values: [Double]
  /// Row k is the unit eigenvector of value k: `[n][n]`; nil unless asked for. The sign of a row
  /// means nothing.
  public let vectors: Matrix?

  /// Takes `[n][n]`; throws `AlgebraError.notFinite` and, after 60 steps for one value,
  /// `.notConverged`.
  public init(_ matrix: Matrix, vectors wanted: Bool = false) throws(AlgebraError) {
    precondition(matrix.rows == matrix.columns, "a symmetric matrix is square")
    try matrix.requireFinite()
    let n = matrix.rows
    let (scaled, scale) = matrix.scaled()
    var form = Tridiagonal(scaled)
    var rows = wanted ? form.reflections() : Matrix(rows: 0, columns: 0)
    // An empty list has an address too: without vectors there is nothing to turn.
    let steps = rows.elements.withUnsafeMutableBufferPointer {
      form.solve(wanted ? $0.baseAddress : nil)
    }
    if let steps { throw .notConverged(what: "eigenvalues", steps: steps) }
    let order = (0..<n).sorted { form.diagonal[$0] > form.diagonal[$1] }
    values = order.map { form.diagonal[$0] * scale }
    vectors =
      wanted ? Matrix(rows: n, columns: n, elements: order.flatMap { rows.row($0) }) : nil
  }
}

/// A symmetric tridiagonal matrix, and the reflections that led to it.
struct Tridiagonal {
  /// Steps allowed for one eigenvalue; two are usual.
  static let stepsAValue = 60

  /// `[n]`
  var diagonal: [Double]
  /// `[n]`, beside the diagonal; the last is zero
  var beside: [Double]
  /// Row k holds v of reflection k from column k + 1 on: `[n][n]`
  private var work: Matrix
  /// `[n]`
  private var taus: [Double]

  /// H_{n-3} .. H_0 A H_0 .. H_{n-3}; each step is a product with v and an update of rank two.
  init(_ matrix: Matrix) {
    let n = matrix.rows
    diagonal = [Double](repeating: 0, count: n)
    (beside, taus) = (diagonal, diagonal)
    work = Matrix(rows: n, columns: n) { i, j in i >= j ? matrix[i, j] : matrix[j, i] }
    var product = diagonal
    for k in 0..<n {
      diagonal[k] = work.elements[k * n + k]
      guard k + 1 < n else { continue }
      (beside[k], taus[k]) = work.elements.withUnsafeMutableBufferPointer { work in
        product.withUnsafeMutableBufferPointer { product in
          Self.step(work.baseAddress! + k * n + k + 1, n, n - k - 1, product.baseAddress!)
        }
      }
    }
  }

  /// Reflects the row at `v` to its first element and updates the square of order `count` below it.
  private static func step(
    _ v: UnsafeMutablePointer<Double>, _ n: Int, _ count: Int, _ w: UnsafeMutablePointer<Double>
  ) -> (Double, Double) {
    let (beta, tau) = reflect(v, count)
    guard tau != 0 else { return (beta, 0) }
    let square = v + n
    for i in 0..<count { w[i] = tau * dot(square + i * n, v, count) }
    addScaled(w, -tau / 2 * dot(w, v, count), v, count)
    for i in 0..<count {
      let row = square + i * n, a = v[i], b = w[i]
      for j in 0..<count { row[j] -= a * w[j] + b * v[j] }
    }
    return (beta, tau)
  }

  /// H_{n-3} .. H_0, whose rows QL then turns to eigenvectors: `[n][n]`.
  func reflections() -> Matrix {
    let n = diagonal.count
    var result = Matrix.identity(n)
    result.elements.withUnsafeMutableBufferPointer { result in
      work.elements.withUnsafeBufferPointer { work in
        for k in (0..<n).reversed() where taus[k] != 0 {
          let v = work.baseAddress! + k * n + k + 1, count = n - k - 1
          for i in k + 1..<n {
            let row = result.baseAddress! + i * n + k + 1
            addScaled(row, -taus[k] * dot(row, v, count), v, count)
          }
        }
      }
    }
    return result
  }

  /// QL with implicit shifts; `rows` `[n][n]` take the rotations. Nil, or the number of steps when
  /// that was not enough.
  mutating func solve(_ rows: UnsafeMutablePointer<Double>?) -> Int? {
    let n = diagonal.count
    for l in 0..<n {
      var steps = 0
      while true {
        let m = blockEnd(l)
        if m == l { break }
        guard steps < Self.stepsAValue else { return steps }
        steps += 1
        step(l, m, rows)
      }
    }
    return nil
  }

  /// The last row of the unreduced block that begins at `l`.
  private func blockEnd(_ l: Int) -> Int {
    let tiny = Double.ulpOfOne * Double.ulpOfOne
    var m = l
    while m + 1 < diagonal.count {
      let near = diagonal[m].magnitude + diagonal[m + 1].magnitude
      if !(beside[m].magnitude > Double.ulpOfOne * near + tiny) { break }
      m += 1
    }
    return m
  }

  /// One implicit QL step on rows `l...m`, from the bottom upwards; the shift is that of Wilkinson,
  /// from the first 2 x 2.
  private mutating func step(_ l: Int, _ m: Int, _ rows: UnsafeMutablePointer<Double>?) {
    let n = diagonal.count
    let half = (diagonal[l + 1] - diagonal[l]) / (2 * beside[l])
    let root = Double.hypot(half, 1)
    var g = diagonal[m] - diagonal[l] + beside[l] / (half + (half < 0 ? -root : root))
    var s = 1.0, c = 1.0, p = 0.0
    for i in (l..<m).reversed() {
      let b = c * beside[i]
      let turn = Rotation(g, s * beside[i])
      beside[i + 1] = turn.r
      (c, s) = (turn.c, turn.s)
      g = diagonal[i + 1] - p
      let r = (diagonal[i] - g) * s + 2 * c * b
      p = s * r
      diagonal[i + 1] = g + p
      g = c * r - b
      if let rows { rotate(rows + i * n, rows + (i + 1) * n, c, s, n) }
    }
    diagonal[l] -= p
    beside[l] = g
    beside[m] = 0
  }
}

/// (x, y) becomes (c x - s y, s x + c y), over `count` elements.
private func rotate(
  _ x: UnsafeMutablePointer<Double>, _ y: UnsafeMutablePointer<Double>, _ c: Double, _ s: Double,
  _ count: Int
) {
  for j in 0..<count {
    let (a, b) = (x[j], y[j])
    x[j] = c * a - s * b
    y[j] = s * a + c * b
  }
}
