import Algebra
import Analysis
import Attention

/// How the kernel of landmarks is inverted: `newton` is the layer's own way, `newton-unshifted`
/// that of its normalised form; `exact` tells what the two leave.
enum LandmarkInverse: String, Sendable, CaseIterable {
  case newton
  case unshifted = "newton-unshifted"
  case exact
}

/// Points that stand for runs of tokens.
struct Landmarks: Sendable {
  /// `[m][d]`, scaled like the queries.
  let points: Matrix
  /// The first token of each.
  let starts: [Int]
  /// Tokens are patches of an image, and the landmarks are of these.
  let isImage: Bool

  /// `count` of the rows of `x` `[n][d]`, 0 for as many as the layer would have: runs of ⌈n/m⌉
  /// tokens, so that there may be fewer. On a grid they are rectangles of patches.
  init(_ x: Matrix, count: Int, isMean: Bool, grid: TokenFacts.Grid?) {
    let groups: [[Int]]
    if let grid, let patches = grid.tokens(of: x.rows) {
      groups = Self.rectangles(grid, from: patches.lowerBound, count: count > 0 ? count : 49)
      isImage = true
    } else {
      let n = x.rows, wanted = min(max(count > 0 ? count : min(max((n + 7) / 8, 8), 64), 1), n)
      let length = (n + max(wanted, 1) - 1) / max(wanted, 1)
      groups = stride(from: 0, to: n, by: max(length, 1)).map {
        Array($0..<min($0 + length, n))
      }
      isImage = false
    }
    starts = groups.map { $0[0] }
    points = Matrix(rows: groups.count, columns: x.columns) { landmark, channel in
      let members = isMean ? groups[landmark] : [groups[landmark][0]]
      return members.reduce(0) { $0 + x[$1, channel] } / Double(members.count)
    }
  }

  /// Tokens of each rectangle of a grid that is cut into at most `count`, √count on a side.
  private static func rectangles(_ grid: TokenFacts.Grid, from first: Int, count: Int) -> [[Int]] {
    let side = max(1, Int(Double(count).squareRoot()))
    let high = (grid.rows + side - 1) / side, wide = (grid.columns + side - 1) / side
    return stride(from: 0, to: grid.rows, by: high).flatMap { top in
      stride(from: 0, to: grid.columns, by: wide).map { left in
        (top..<min(top + high, grid.rows)).flatMap { row in
          (left..<min(left + wide, grid.columns)).map { first + row * grid.columns + $0 }
        }
      }
    }
  }
}

/// W = C B† Cᵀ, of which C and its products with both inverses are kept: 24 n m bytes, and 8 m² of
/// B. All products run on the threads of the run, and stop between two when it is cancelled.
struct LandmarkMap: Sendable {
  /// The tokens that stand for all.
  let landmarks: Landmarks
  /// B, `[m][m]`.
  let between: Matrix
  /// ‖I - P X‖ after every iteration, the largest entry; the first is that of X_0. One value for
  /// an exact inverse.
  let residuals: [Double]
  /// C `[n][m]`.
  let right: Matrix
  /// C times the inverse that is not scaled, and times the scaled one: `[n][m]`.
  let plain: Matrix, scaled: Matrix
  /// Whether the scaled inverse is in force.
  let isSymmetric: Bool

  /// Of tokens `[n][d]`. Throws `AlgebraError` where eigenvalues do not converge, or B is not
  /// finite, and `CancellationError`.
  init(
    _ x: Matrix, _ landmarks: Landmarks, _ inverse: LandmarkInverse, iterations: Int,
    isSymmetric: Bool, _ run: MethodRun
  ) throws {
    (self.landmarks, self.isSymmetric) = (landmarks, isSymmetric)
    right = try GaussianKernel.matrix(x, landmarks.points, run)
    between = try GaussianKernel.matrix(landmarks.points, landmarks.points, run)
    let result: (x: Matrix, residuals: [Double])
    switch inverse {
    case .newton:
      result = try Self.newton(
        between, shift: 0.01, numerator: 1.8, halvings: 0, iterations, run)
    case .unshifted:
      result = try Self.newton(between, shift: 0, numerator: 2, halvings: 10, iterations, run)
    case .exact: result = try Self.exact(between, run)
    }
    residuals = result.residuals
    plain = try KernelRows.product(right, result.x, run)
    let sums = Self.rowSums(between).map { $0.squareRoot() }, m = between.rows
    scaled = try KernelRows.product(
      right, Matrix(rows: m, columns: m) { i, j in result.x[i, j] / (sums[i] * sums[j]) }, run)
  }

  /// W of a token with every token, seen or not: `[n]`.
  func row(_ query: Int) -> [Double] {
    right.multiplied(by: (isSymmetric ? scaled : plain).row(query))
  }

  /// Σ_j of each row, `[rows]`.
  private static func rowSums(_ matrix: Matrix) -> [Double] {
    (0..<matrix.rows).map { matrix.row($0).reduce(0, +) }
  }

  /// I - P X, `[m][m]`. Throws `CancellationError`.
  private static func residual(_ p: Matrix, _ x: Matrix, _ run: MethodRun) throws -> Matrix {
    var product = try KernelRows.product(p, x, run)
    for i in 0..<product.rows {
      for j in 0..<product.columns { product[i, j] = (i == j ? 1 : 0) - product[i, j] }
    }
    return product
  }

  /// X ← 2 X - X P X, from α P on; 2 m³ multiplications a turn. Throws `CancellationError`.
  private static func newton(
    _ b: Matrix, shift: Double, numerator: Double, halvings: Int, _ iterations: Int,
    _ run: MethodRun
  ) throws -> (x: Matrix, residuals: [Double]) {
    let m = b.rows, most = rowSums(b).max() ?? 1
    let p = Matrix(rows: m, columns: m) { i, j in b[i, j] + (i == j ? shift : 0) }
    var x = Matrix(rows: m, columns: m, elements: p.elements.map { $0 * numerator / (most * most) })
    for _ in 0..<halvings {
      let off = try residual(p, x, run).elements.map(\.magnitude)
      let columns = rowSums(Matrix(rows: m, columns: m, elements: off).transposed())
      guard (columns.max() ?? 0) > 1.01 else { break }
      x.elements = x.elements.map { $0 / 2 }
    }
    var left = try residual(p, x, run), residuals = [left.largestMagnitude]
    for _ in 0..<iterations {
      // 2 X - X P X = X + X (I - P X).
      let step = try KernelRows.product(x, left, run)
      for index in x.elements.indices { x.elements[index] += step.elements[index] }
      left = try residual(p, x, run)
      residuals.append(left.largestMagnitude)
    }
    return (x, residuals)
  }

  /// The pseudo-inverse: eigenvalues below 1e-13 of the largest count as zero.
  /// Throws `AlgebraError`, `CancellationError`.
  private static func exact(_ b: Matrix, _ run: MethodRun) throws
    -> (x: Matrix, residuals: [Double])
  {
    let eigen = try SymmetricEigen(b, vectors: true), least = 1e-13 * (eigen.values.first ?? 0)
    let vectors = eigen.vectors!, m = b.rows
    let weighted = Matrix(rows: m, columns: m) { k, j in
      eigen.values[k] > least ? vectors[k, j] / eigen.values[k] : 0
    }
    let x = try KernelRows.product(vectors.transposed(), weighted, run)
    return (x, [try residual(b, x, run).largestMagnitude])
  }
}

/// What there is to say of landmarks beside their map.
struct LandmarkFacts: Sendable {
  /// W in force and what it was made of.
  let map: LandmarkMap
  /// What W stands for.
  let kernel: GaussianKernel

  /// Numbers and series; kernel errors of all rows up to `whole` tokens, of 64 above. Throws
  /// `AlgebraError`, `CancellationError`.
  func add(_ run: MethodRun, whole: Int, to findings: inout Findings) throws {
    let n = map.right.rows, isWhole = n <= whole
    var ticks = [Float](repeating: 0, count: n)
    for start in map.landmarks.starts { ticks[start] = 1 }
    findings.series("landmarks", Axis(.key, n), ticks, title: "where a landmark begins")
    findings.number(
      "landmark_count", Double(map.between.rows), .count, title: "landmarks")
    findings.series(
      "newton_residual", Axis(.round, map.residuals.count), map.residuals.map { Float($0) },
      title: "residual of the inverse, by iteration")
    findings.number("residual", map.residuals.last, title: "residual of the inverse")
    if let spectrum = try? SymmetricEigen(map.between).values {
      findings.series(
        "landmark_spectrum", Axis(.rank, spectrum.count), spectrum.map { Float($0) },
        title: "eigenvalues of B")
    }
    let chosen = MapPass.sample(0..<n, isWhole ? n : 64)
    let sums = try RowPicks.spread(chosen.count, by: 16, run) { part in
      part.map { place -> (off: Double, size: Double) in
        let wanted = kernel.values(chosen[place]), got = map.row(chosen[place])
        let off = zip(got, wanted).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
        return (off, wanted.reduce(0) { $0 + $1 * $1 })
      }
    }
    let off = sums.reduce(0) { $0 + $1.off }, size = sums.reduce(0) { $0 + $1.size }
    findings.number(
      "kernel_error", size > 0 ? (off / size).squareRoot() : nil,
      title: "landmark map less the kernel, relative, unmasked")
    let plain = isWhole ? try? SingularValues(product: map.plain, transposed: map.right) : nil
    let scaled = isWhole ? try? SingularValues(product: map.scaled, transposed: map.right) : nil
    let rank = (map.isSymmetric ? scaled : plain)?.numericalRank()
    findings.number("kernel_rank", rank.map(Double.init), .count, title: "rank, unmasked")
    findings.number("spectral_norm", plain?.values.first, title: "spectral norm, unmasked")
    findings.number(
      "spectral_norm_symmetric", scaled?.values.first,
      title: "spectral norm with symmetric scaling")
  }
}
