import Algebra
import Attention

/// A bias as a product of two narrow matrices: what is appended to queries and keys.
///
/// By a closed form, or by the truncated singular value decomposition of the whole table, the mask
/// ignored, as a causal mask is not low rank. Cost 3 n³ for a table of n tokens without a closed
/// form; memory 8 n² bytes meanwhile.
struct BiasFactors: Sendable {
  /// Most tokens of a table that is decomposed.
  static let mostTokens = 1024
  /// Factors kept beyond those in force, for the curve over ranks.
  private static let extra = 16

  /// R, how many factors are in force.
  let rank: Int
  /// Factors that are there, R or more.
  let available: Int
  /// σ of the whole table, largest first; of a closed form those that can be other than 0.
  let spectrum: [Double]
  /// `[queries * available]` and `[keys * available]`.
  private let left: [Double], right: [Double]
  private let keys: Int

  /// `energy` is the share of Σσ² to be kept; nil for the closed form, where there is one. Throws
  /// `Missing(.length)`, `AlgebraError`.
  init(_ bias: AdditiveBias, energy: Double?) throws {
    keys = bias.keys
    if let closed = bias.closed {
      let values = try SingularValues(product: closed.left, transposed: closed.right)
      let wanted = energy.map { Self.rank($0, values.values) } ?? closed.left.columns
      if energy == nil || wanted >= values.numericalRank() {
        spectrum = values.values
        (rank, available) = (closed.left.columns, closed.left.columns)
        (left, right) = (closed.left.elements, closed.right.elements)
        return
      }
    }
    guard max(bias.queries, bias.keys) <= Self.mostTokens else {
      throw Missing(
        .length, hint: "a table without a closed form is decomposed up to \(Self.mostTokens) tokens"
      )
    }
    let table = bias.matrix
    let vectors: Matrix, order: [Int], factors: Matrix
    if bias.isSymmetric {
      let eigen = try SymmetricEigen(table, vectors: true)
      order = eigen.values.indices.sorted { abs(eigen.values[$0]) > abs(eigen.values[$1]) }
      spectrum = order.map { abs(eigen.values[$0]) }
      vectors = eigen.vectors ?? Matrix(rows: 0, columns: 0)
      factors = Matrix(rows: vectors.rows, columns: vectors.columns) { r, i in
        eigen.values[r] * vectors[r, i]
      }
    } else {
      spectrum = try SingularValues(table).values
      vectors =
        try SymmetricEigen(table.gram(), vectors: true).vectors ?? Matrix(rows: 0, columns: 0)
      order = Array(0..<min(vectors.rows, spectrum.count))
      factors = vectors.multiplied(by: table.transposed())
    }
    rank = Self.rank(energy ?? 0.995, spectrum)
    available = min(order.count, max(rank, Self.extra))
    let chosen = order.prefix(available)
    left = (0..<bias.queries).flatMap { i in chosen.map { factors[$0, i] } }
    right = (0..<bias.keys).flatMap { j in chosen.map { vectors[$0, j] } }
  }

  /// The smallest number of singular values with so much of Σσ²; 0 for a table of zeros.
  static func rank(_ energy: Double, _ spectrum: [Double]) -> Int {
    let total = spectrum.reduce(0) { $0 + $1 * $1 }
    guard total > 0 else { return 0 }
    var sum = 0.0
    for (index, value) in spectrum.enumerated() {
      sum += value * value
      if sum >= energy * total { return index + 1 }
    }
    return spectrum.count
  }

  /// Row i of the product of the first `count` factors (nil: of those in force), `[keys]`.
  func row(_ i: Int, _ count: Int? = nil) -> [Double] {
    let used = min(count ?? rank, available)
    var out = [Double](repeating: 0, count: keys)
    for j in 0..<keys {
      for r in 0..<used { out[j] += left[i * available + r] * right[j * available + r] }
    }
    return out
  }

  /// What factor r adds to row i.
  func add(_ r: Int, _ i: Int, to row: inout [Double]) {
    let factor = left[i * available + r]
    for j in 0..<keys { row[j] += factor * right[j * available + r] }
  }
}
