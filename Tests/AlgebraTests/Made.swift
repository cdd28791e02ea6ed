import Algebra

/// Matrices whose answers are known.
enum Made {
  static func gaussian(_ rows: Int, _ columns: Int, seed: UInt64 = 7) -> Matrix {
    var random = SplitMix64(seed)
    return random.gaussianMatrix(rows: rows, columns: columns)
  }

  /// Orthonormal rows by Gram and Schmidt, twice: `[rows][columns]`, rows <= columns.
  static func orthonormal(_ rows: Int, _ columns: Int, seed: UInt64) -> Matrix {
    var made = gaussian(rows, columns, seed: seed)
    for i in 0..<rows {
      for _ in 0..<2 {
        for k in 0..<i {
          let share = (0..<columns).reduce(0) { $0 + made[i, $1] * made[k, $1] }
          for j in 0..<columns { made[i, j] -= share * made[k, j] }
        }
      }
      let size = (0..<columns).reduce(0) { $0 + made[i, $1] * made[i, $1] }.squareRoot()
      for j in 0..<columns { made[i, j] /= size }
    }
    return made
  }

  /// U^T diag(values) V with orthonormal U and V: `[rows][columns]`.
  static func withSingularValues(_ values: [Double], _ rows: Int, _ columns: Int) -> Matrix {
    let u = orthonormal(values.count, rows, seed: 11),
      v = orthonormal(values.count, columns, seed: 12)
    let scaled = Matrix(rows: values.count, columns: columns) { values[$0] * v[$0, $1] }
    return u.transposed().multiplied(by: scaled)
  }

  /// V^T diag(values) V: `[n][n]`, symmetric.
  static func withEigenvalues(_ values: [Double]) -> Matrix {
    let v = orthonormal(values.count, values.count, seed: 13)
    let made = v.transposed().multiplied(
      by: Matrix(rows: values.count, columns: values.count) { values[$0] * v[$0, $1] })
    return Matrix(rows: values.count, columns: values.count) { (made[$0, $1] + made[$1, $0]) / 2 }
  }

  /// A well-conditioned lower triangle under a full upper one that must not be read.
  static func lower(_ n: Int, seed: UInt64 = 5) -> Matrix {
    var made = gaussian(n, n, seed: seed)
    for i in 0..<n {
      for j in 0..<n where j != i { made[i, j] = j > i ? .nan : made[i, j] / Double(n) }
      made[i, i] = 2 + made[i, i].magnitude
    }
    return made
  }

  static func lowerPart(_ matrix: Matrix, unit: Bool = false) -> Matrix {
    Matrix(rows: matrix.rows, columns: matrix.columns) { i, j in
      i == j && unit ? 1 : i >= j ? matrix[i, j] : 0
    }
  }

  static func hilbert(_ n: Int) -> Matrix {
    Matrix(rows: n, columns: n) { 1 / Double($0 + $1 + 1) }
  }
}

/// The largest difference of two matrices; infinite where sizes differ or a difference is NaN.
func difference(_ a: Matrix, _ b: Matrix) -> Double {
  guard a.rows == b.rows && a.columns == b.columns else { return .infinity }
  return difference(a.elements, b.elements)
}

/// The largest difference of two lists; infinite where lengths differ or a difference is NaN.
func difference(_ a: [Double], _ b: [Double]) -> Double {
  guard a.count == b.count else { return .infinity }
  return zip(a, b).reduce(0) { worst, pair in
    let gap = (pair.0 - pair.1).magnitude
    return gap.isNaN ? .infinity : max(worst, gap)
  }
}

/// The error that `body` throws, nil when it throws none.
func failure<T>(_ body: () throws(AlgebraError) -> T) -> AlgebraError? {
  do {
    _ = try body()
    return nil
  } catch {
    return error
  }
}
