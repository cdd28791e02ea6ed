import RealModule

/// The singular values of a matrix, and what they say of its rank.
///
/// Example: `try SingularValues(map).effectiveRank`. A 512 x 512 matrix takes well under a second
/// in release. Vectors are not computed: no method asks for them.
public struct SingularValues: Sendable, Equatable {
  /// Largest first, none negative: `[min(rows, columns)]`.
  public let values: [Double]

  /// Takes values in any order; they are sorted and not checked.
  public init(values: [Double]) { self.values = values.sorted(by: >) }

  /// Bidiagonalisation (Golub and Kahan, 1965), then implicit-shift QR; absolute error about 1e-15
  /// of the largest.
  ///
  /// A matrix that is much higher than wide, or wider than high, is brought to a triangle first
  /// (Chan, 1982). Costs about 8/3 n³ operations for `[n][n]`. Throws `AlgebraError.notFinite` and
  /// `.notConverged`.
  public init(_ matrix: Matrix) throws(AlgebraError) {
    try matrix.requireFinite()
    let (scaled, scale) = matrix.scaled()
    let high = scaled.rows >= scaled.columns ? scaled : scaled.transposed()
    let core = high.rows * 3 >= high.columns * 5 ? upperFactor(high) : high
    values = try Bidiagonal(core).singularValues().map { $0 * scale }
  }

  /// The singular values of F G^T, `[rows][m]` times `[columns][m]`, without the product: those of
  /// R_F R_G^T, where R are the triangles of F and G.
  ///
  /// At most m values, the others are zero and left out. Keeps the precision of the product itself;
  /// (rows + columns) · m² multiplications. Throws `AlgebraError.notFinite` and `.notConverged`.
  public init(product f: Matrix, transposed g: Matrix) throws(AlgebraError) {
    precondition(f.columns == g.columns, "factors whose inner sides differ")
    try f.requireFinite()
    try g.requireFinite()
    let (left, leftScale) = f.scaled(), (right, rightScale) = g.scaled()
    let a = left.rows > left.columns ? upperFactor(left) : left
    let b = right.rows > right.columns ? upperFactor(right) : right
    let core = try SingularValues(a.multiplied(by: b.transposed()))
    values = core.values.map { $0 * leftScale * rightScale }
  }

  /// The singular values of F G^T from `[m][m]` Gram matrices P = F^T F and Q = G^T G, for factors
  /// that are only seen row by row.
  ///
  /// They are the roots of the eigenvalues of P Q, which are those of the symmetric S Q S^T with P
  /// = S^T S, real and not negative. Squares cost half the digits: values below 1e-8 of the largest
  /// are noise. P may be singular. About 6 m³ multiplications. Throws `AlgebraError.notFinite` and
  /// `.notConverged`.
  public init(grams p: Matrix, _ q: Matrix) throws(AlgebraError) {
    precondition(p.rows == q.rows, "Gram matrices of one size")
    try q.requireFinite()
    let (left, leftScale) = p.scaled(), (right, rightScale) = q.scaled()
    let eigen = try SymmetricEigen(left, vectors: true)
    let vectors = eigen.vectors!
    let root = Matrix(rows: p.rows, columns: p.rows) { k, j in
      max(eigen.values[k], 0).squareRoot() * vectors[k, j]
    }
    let core = root.multiplied(by: right).multiplied(by: root.transposed())
    let scale = leftScale.squareRoot() * rightScale.squareRoot()
    values = try SymmetricEigen(core).values.map { max($0, 0).squareRoot() * scale }
  }

  /// exp of the entropy of σ / Σσ: between 1 and the number of values; 0 for a zero matrix (Roy and
  /// Vetterli, "The effective rank", 2007). n equal values give n.
  public var effectiveRank: Double {
    guard let largest = values.first, largest > 0 else { return 0 }
    let sum = values.reduce(0) { $0 + $1 / largest }
    let entropy = values.reduce(0.0) { total, value in
      let p = value / largest / sum
      return p > 0 ? total - p * Double.log(p) : total
    }
    return Double.exp(entropy)
  }

  /// How many values are above `relative` times the largest; 0 for a zero matrix.
  public func numericalRank(relative: Double = 1e-6) -> Int {
    guard let largest = values.first, largest > 0 else { return 0 }
    return values.count(where: { $0 / largest > relative })
  }

  /// σ_max / σ_min: infinite for a matrix without full rank, 1 for one without elements.
  public var conditionNumber: Double {
    guard let largest = values.first, let smallest = values.last else { return 1 }
    return smallest > 0 ? largest / smallest : .infinity
  }
}
