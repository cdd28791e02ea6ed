import Algebra
import Analysis
import Attention

/// What is added to the scores of a head after the scale: a table `[queries, keys]`, by a rule.
struct AdditiveBias: Sendable {
  /// Where a bias comes from.
  enum Kind: String, Sendable, CaseIterable { case alibi, distance, fit }

  /// Query rows of the table.
  let queries: Int
  /// Its columns.
  let keys: Int
  /// B_ij in logits, also where a causal query does not see.
  let value: @Sendable (_ query: Int, _ key: Int) -> Double
  /// U `[queries, R]` and U' `[keys, R]` with B = U U'ᵀ exactly, what a causal softmax feels first;
  /// nil where there is no closed form.
  let closed: (left: Matrix, right: Matrix)?
  /// B is a square that is its own mirror image.
  let isSymmetric: Bool

  /// -m (i - j) for causal heads, of rank 2; otherwise, or `mirrored`, -m |i - j|. Paper: Press et
  /// al., "Train Short, Test Long", ICLR 2022, arXiv 2108.12409.
  static func alibi(_ head: Head, slope m: Double, mirrored: Bool) -> AdditiveBias {
    let sight = head.visibility, isSigned = sight.causal && !mirrored
    guard isSigned else {
      return AdditiveBias(
        queries: head.queries, keys: head.keys,
        value: { -m * Double(abs(sight.position(row: $0) - $1)) }, closed: nil,
        isSymmetric: head.queries == head.keys && sight.offset == 0)
    }
    let left = Matrix(rows: head.queries, columns: 2) { i, r in
      r == 0 ? m : -m * Double(sight.position(row: i))
    }
    let right = Matrix(rows: head.keys, columns: 2) { j, r in r == 0 ? Double(j) : 1 }
    return AdditiveBias(
      queries: head.queries, keys: head.keys,
      value: { -m * Double(sight.position(row: $0) - $1) }, closed: (left, right),
      isSymmetric: false)
  }

  /// -w ‖x_i - x_j‖² between the patches of an image, x their rows and columns; 0 for tokens that
  /// are none. Rank 4. Throws `Missing(.imageGrid)`.
  static func distance(_ head: Head, weight w: Double, _ tokens: TokenFacts) throws -> AdditiveBias
  {
    guard let grid = tokens.grid else { throw Missing(.imageGrid) }
    guard let patches = grid.tokens(of: head.keys) else {
      throw Missing(.imageGrid, hint: "\(grid) does not lie within the \(head.keys) tokens")
    }
    let sight = head.visibility
    func place(_ token: Int) -> (x: Double, y: Double)? {
      guard patches.contains(token) else { return nil }
      let (row, column) = (token - patches.lowerBound).quotientAndRemainder(
        dividingBy: grid.columns)
      return (Double(row), Double(column))
    }
    let left = Matrix(rows: head.queries, columns: 4) { i, r in
      guard let (x, y) = place(sight.position(row: i)) else { return 0 }
      return w * [2 * x, 2 * y, 1, -(x * x + y * y)][r]
    }
    let right = Matrix(rows: head.keys, columns: 4) { j, r in
      guard let (x, y) = place(j) else { return 0 }
      return [x, y, -(x * x + y * y), 1][r]
    }
    let places = (0..<max(head.keys, sight.position(row: head.queries - 1) + 1)).map(place)
    return AdditiveBias(
      queries: head.queries, keys: head.keys,
      value: { query, key in
        let at = sight.position(row: query)
        guard places.indices.contains(at), let a = places[at], let b = places[key] else { return 0 }
        return -w * ((a.x - b.x) * (a.x - b.x) + (a.y - b.y) * (a.y - b.y))
      }, closed: (left, right), isSymmetric: false)
  }

  /// The mean of S_ij - cos(q_i, k_j) along each diagonal of what is seen, the least-squares
  /// Toeplitz fit (`ToeplitzFit`); distances that nobody sees take the value of their mirror image.
  /// Throws `Missing(.queryKey)`, `CancellationError`. Cost n² d, on all threads.
  static func fit(_ rows: DoubleRows, _ run: MethodRun) throws -> AdditiveBias {
    let head = rows.head
    guard head.queryAndKey != nil else { throw Missing(.queryKey) }
    let fit = try ToeplitzFit(rows, UnitVectors(rows, gain: 1), run)
    let bias = ToeplitzBias(head) { fit.mean($0) ?? fit.mean(-$0) ?? 0 }
    return AdditiveBias(
      queries: head.queries, keys: head.keys, value: { bias[$0, $1] }, closed: nil,
      isSymmetric: false)
  }

  /// The whole table, `[queries, keys]`.
  var matrix: Matrix { Matrix(rows: queries, columns: keys, value) }
}
