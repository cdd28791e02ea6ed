import Algebra
import Analysis
import Attention

/// A weighted graph over tokens, on which a walk goes from query to key and on from there: square,
/// and lower triangular where heads are causal.
struct WalkGraph: Sendable {
  /// Most tokens of a graph that is kept, and of one that is factored: 32 and 8 MB.
  static let most = 2048, mostFactored = 1024

  /// n, in tokens.
  let size: Int
  /// Nothing stands above the diagonal.
  let isCausal: Bool
  /// `[n, n]`, not negative.
  let matrix: Matrix

  /// `weights` gives the `[limit]` weights of a row, on several threads. Throws
  /// `Missing(.queryKey)` where not every key is a query too, `Missing(.length)` for more tokens
  /// than are kept, and `CancellationError`.
  init(
    _ head: Head, _ run: MethodRun, _ weights: @escaping @Sendable (Int) -> [Double]
  ) throws {
    try Self.checkSquare(head)
    let causal = head.visibility.causal, n = head.keys
    let most = causal ? Self.most : Self.mostFactored
    guard n <= most else {
      throw Missing(.length, hint: "a walk needs every pair at once, up to \(most) tokens")
    }
    let elements = try RowPicks.spread(n, by: 16, run) { rows in
      rows.flatMap { row in
        let weights = weights(row)
        return weights + [Double](repeating: 0, count: n - weights.count)
      }
    }
    (size, isCausal) = (n, causal)
    matrix = Matrix(rows: n, columns: n, elements: elements)
  }

  /// Of a matrix that is there already.
  init(_ matrix: Matrix, isCausal: Bool) {
    (size, self.isCausal, self.matrix) = (matrix.rows, isCausal, matrix)
  }

  /// Every key is a query too, at its own position.
  static func isSquare(_ head: Head) -> Bool {
    head.queries == head.keys && (!head.visibility.causal || head.visibility.offset == 0)
  }

  /// Throws `Missing(.queryKey)` for heads that are not square.
  static func checkSquare(_ head: Head) throws {
    guard !isSquare(head) else { return }
    throw Missing(
      .queryKey,
      hint: "of the same tokens: there are \(head.queries) queries for \(head.keys) keys")
  }

  /// Columns of a row that may hold something.
  func limit(_ row: Int) -> Int { isCausal ? row + 1 : size }

  /// Spearman's correlation of what two sums say of each key. Sums that differ by rounding alone,
  /// as those of equal keys do, share a rank; nil where one side is constant.
  static func rankCorrelation(_ a: [Double], _ b: [Double]) -> Double? {
    func settled(_ x: [Double]) -> [Double] {
      let unit = (x.map(abs).max() ?? 0) * 1e-11
      return unit > 0 ? x.map { ($0 / unit).rounded() } : x
    }
    return Correlation.ofRanks(settled(a), settled(b))
  }

  /// x M for a row vector `[n]`.
  func before(_ x: [Double]) -> [Double] {
    var out = [Double](repeating: 0, count: size)
    out.withUnsafeMutableBufferPointer { out in
      matrix.elements.withUnsafeBufferPointer { m in
        for row in 0..<size where x[row] != 0 {
          let factor = x[row], start = row * size
          for column in 0..<limit(row) { out[column] += factor * m[start + column] }
        }
      }
    }
    return out
  }

  /// The first hops of a walk: `add` gets γ^t x M^t for t = 1, ..., `hops`, or until a term is
  /// nothing beside the first. Cost n² a hop.
  func walk(_ x: [Double], discount: Double, hops: Int, _ add: ([Double]) -> Void) {
    var term = x, first = 0.0
    for hop in 0..<hops {
      term = before(term).map { $0 * discount }
      let size = term.reduce(0) { $0 + abs($1) }
      if hop == 0 { first = size }
      // A NaN of the data is said once, and goes no further.
      guard size.isNaN || size > 1e-17 * first else { return }
      add(term)
      guard !size.isNaN else { return }
    }
  }

  /// The dominant left eigenvector, of length 1, and its eigenvalue: powers of the mirrored matrix
  /// from the uniform vector, at most 100, until a step moves it less than 1e-9. Nil for a graph
  /// that leads nowhere.
  func leftEigenvector() -> (value: Double, vector: [Double], settled: Bool)? {
    var x = [Double](repeating: 1 / Double(max(size, 1)).squareRoot(), count: size), value = 0.0
    for _ in 0..<100 {
      let next = before(x), norm = next.reduce(0) { $0 + $1 * $1 }.squareRoot()
      guard norm > 0 else { return nil }
      let unit = next.map { $0 / norm }
      let moved = zip(unit, x).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }.squareRoot()
      (x, value) = (unit, norm)
      if moved < 1e-9 { return (value, x, true) }
    }
    return (value, x, false)
  }
}

/// The dominant left eigenvector of a walk, beside scores that stand in for it.
struct Principal: Sendable {
  /// The eigenvalue: 0 of a graph that leads nowhere, nil where the data holds a NaN.
  let value: Double?
  /// Of length 1, `[n]`; NaN where there is none.
  let vector: [Float]
  /// Cosine of vector and scores; nil where either is zero.
  let cosine: Double?
  /// The vector stood still after 100 steps; so does one that is not there.
  let isSettled: Bool

  /// `scores` `[n]`, of any length.
  init(_ graph: WalkGraph, _ scores: [Double]) {
    let eigen = graph.leftEigenvector(), length = LensRows.norm(scores)
    value = graph.matrix.largestMagnitude.isFinite ? eigen?.value ?? 0 : nil
    vector = eigen?.vector.map { Float($0) } ?? [Float](repeating: .nan, count: graph.size)
    let product = eigen.map { zip(scores, $0.vector).reduce(0) { $0 + $1.0 * $1.1 } }
    cosine = length > 0 ? product.map { $0 / length } : nil
    isSettled = eigen?.settled ?? true
  }
}

/// Rows of (I - γ M)⁻¹ for a graph M: x (I - γ M) = b, solved for one b at a time.
///
/// Causal systems are triangular as they stand, n² / 2 a row. Others are factored once, n³ / 3, and
/// cost n² a row. No pivots are looked for: with ‖γM‖ < 1, or rows of γM that sum to less than 1,
/// elimination without them is safe.
struct WalkSolver: Sendable {
  /// n, in tokens.
  private let size: Int
  /// The system is triangular as it stands.
  private let isCausal: Bool
  /// I - γ M, or its factors: L without its diagonal of ones, U with its own.
  private let system: Matrix

  /// γ below 1.
  init(_ graph: WalkGraph, discount: Double) {
    (size, isCausal) = (graph.size, graph.isCausal)
    let n = size
    var system = graph.matrix
    system.elements.withUnsafeMutableBufferPointer { a in
      for at in a.indices { a[at] *= -discount }
      for i in 0..<n { a[i * n + i] += 1 }
      guard !graph.isCausal else { return }
      for i in 1..<max(n, 1) {
        for k in 0..<i where a[i * n + k] != 0 {
          let factor = a[i * n + k] / a[k * n + k]
          a[i * n + k] = factor
          for j in k + 1..<n { a[i * n + j] -= factor * a[k * n + j] }
        }
      }
    }
    self.system = system
  }

  /// x with x (I - γ M) = b, `[n]`.
  func row(_ b: [Double]) -> [Double] {
    var x = b
    let n = size
    x.withUnsafeMutableBufferPointer { x in
      system.elements.withUnsafeBufferPointer { a in
        if !isCausal {
          for j in 0..<n where x[j] != 0 {
            x[j] /= a[j * n + j]
            let known = x[j]
            for m in j + 1..<n { x[m] -= known * a[j * n + m] }
          }
        }
        Triangular.backwardRows(a, order: n, x, unit: !isCausal)
      }
    }
    return x
  }
}
