import Algebra
public import Analysis
public import Attention

/// Local linear attention: softmax fits a constant around each query, this fits a line.
///
/// For query i, with w_ij the softmax weights over the keys it sees, and z_ij = k_j - q_i:
///
///     μ = Σ w z,  Σ = Σ w z zᵀ + λ I,  ρ = Σ⁻¹ μ
///     W_ij = w_ij (1 - z_ij · ρ) / (1 - μ · ρ)              rows sum to 1, entries of either sign
///
/// Solved here around the mean key k̄ = Σ w k, which is the same by the formula of Sherman and
/// Morrison and loses no digits far from the keys:
///
///     C = Σ w (k - k̄)(k - k̄)ᵀ + λ I,   W_ij = w_ij (1 + (k_j - k̄) · C⁻¹ (q_i - k̄))
///
/// λ → ∞ is softmax; λ → 0 reproduces every affine map of the keys where a row sees more than d of
/// them. Paper: "Local linear attention", ICLR 2026, arXiv 2510.01450.
///
/// Exact for a given λ; no standard of the paper is known, ours is λ_i = κ Σ w_ij ‖k_j‖² / d with
/// κ = 0.1 (weights sum to 1, so that λ does not depend on the length). `solver=cg` solves Σ ρ = μ
/// by conjugate gradients, as FlashLLA does.
///
/// Findings: those of every map; `extrapolation`, ‖k̄ - q‖ by query; `correction`, by query, and
/// `correction_share`, Σ|W - A| / (Σ|W - A| + ΣA); the fields `residual_part` and `linear_part`,
/// whose sum is W (softmax average of v - Ŵ k, and Ŵ q), and `linear_share` of the output's;
/// `underdetermined_rows` that see d keys or fewer; `cg_iterations`; the curve `error_by_kappa`;
/// `leverage`, `spectrum`. Needs Q and K. Cost n² d² / 4 + n d³ / 6, in double precision; above 512
/// tokens rows are computed as they are looked at.
public struct LocalLinearAttention: MapMethod {
  /// κ, a share of the keys' mean square; what `[` and `]` move.
  static let kappa = Knob(
    "kappa", "ridge over Σ w |k|² / d", 1e-9...1e6, standard: 0.1, step: .multiply(2), isMain: true)
  /// Who solves the system of a row.
  static let solver = Knob(
    "solver", "a factor, or conjugate gradients as in FlashLLA", standard: Solver.cholesky)

  /// Ways to solve a row.
  enum Solver: String, CaseIterable, Sendable {
    case cholesky, cg
  }

  /// Ranked by how much of the map is the line's doing.
  public static let card = MethodCard(
    id: "lla", title: "local linear attention", family: "solvers",
    idea: "Fit a line instead of a constant around every query, under the weights of softmax.",
    source: "Local linear attention, FlashLLA, ICLR 2026, arXiv 2510.01450",
    needs: [.queryKey], knobs: [kappa.facts, Ridge.lambda.facts, solver.facts], wholeMap: 512,
    mainField: "map", mainNumber: "correction_share",
    variants: ["lla-1": ["lambda": .number(1)]])

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// The findings of a map, and what the line adds. Throws `Missing`, `AlgebraError`,
  /// `CancellationError`.
  public func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    try examineMap(subject, run) { map, numbers, findings in
      let rows = try RegressionRows(subject.head)
      try LineFacts(rows, fit(rows)).add(map, run, to: &findings)
      try findings.addHat(subject.head, map, numbers)
    }
  }

  /// W of a head, `[queries, keys]`, a row at a time. Throws `Missing(.queryKey)`,
  /// `AlgebraError.notPositive` where a ridge is too small for its keys.
  public func map(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> any RowField {
    let rows = try RegressionRows(head), fit = fit(rows)
    if knobs[Ridge.lambda] == 0 {
      aside.findings.note("the ridge is ours: kappa Σ w |k|² / d, as none is published")
    }
    if head.dim > 128 { aside.findings.note("d = \(head.dim) is more than 128: rows are slow") }
    for (name, title, part) in [
      ("residual_part", "softmax average of v - Wk", LineRegression.Part.residual),
      ("linear_part", "linear prediction Wq", .linear),
    ] {
      aside.findings.field(name, fit.taking(part).map(rows), .signed, title: title)
    }
    return fit.map(rows)
  }

  /// The fit that the knobs say.
  private func fit(_ rows: RegressionRows) -> LineRegression {
    LineRegression(
      rows, Ridge(knobs, kappa: Self.kappa),
      byGradients: knobs[Self.solver] == .cg)
  }
}

/// A line around each query, under the weights of softmax.
struct LineRegression: Regression {
  /// What of the answer is asked for; the first two sum to the third.
  enum Part: Sendable {
    case residual, linear, all
  }

  private let rows: RegressionRows
  private let ridge: Ridge
  private let byGradients: Bool
  private var part = Part.all

  /// Nothing is computed yet.
  init(_ rows: RegressionRows, _ ridge: Ridge, byGradients: Bool = false) {
    (self.rows, self.ridge, self.byGradients) = (rows, ridge, byGradients)
  }

  /// The same fit, of which one part is asked for.
  func taking(_ part: Part) -> LineRegression {
    var copy = self
    copy.part = part
    return copy
  }

  /// W of a query, or the part of it that is asked for.
  func weights(_ query: [Double], _ place: RowPlace) throws -> [Double] {
    try weights(line(query, place), part)
  }

  /// The same of a system that is there already. The parts are those of the factored system,
  /// whoever solves the whole. Throws `AlgebraError.notPositive`.
  func weights(_ line: LocalLine, _ part: Part) throws(AlgebraError) -> [Double] {
    let lambda = ridge(line.meanSquare), query = line.query
    // Keys that are all zero hold no line; from what is no number comes none.
    guard line.meanSquare.isFinite else { return line.weights.map { _ in .nan } }
    guard lambda > 0 else { return line.weights.map { part == .linear ? 0 : $0 } }
    if byGradients && part == .all { return line.solvedByGradients(ridge: lambda).weights }
    let difference = zip(query, line.mean).map { $0 - $1 }
    switch part {
    case .all: return try line.weights(along: difference, offset: 1, ridge: lambda)
    case .linear: return try line.weights(along: query, offset: 0, ridge: lambda)
    case .residual:
      return try line.weights(along: line.mean.map { -$0 }, offset: 1, ridge: lambda)
    }
  }

  /// λ of a system, by the fit's own rule.
  func lambda(_ line: LocalLine) -> Double { ridge(line.meanSquare) }

  /// The system of a query, before a ridge.
  func line(_ query: [Double], _ place: RowPlace) -> LocalLine {
    LocalLine(rows, query, rows.softmax(query, place))
  }
}

/// The weighted keys around one query.
struct LocalLine: Sendable {
  /// Softmax weights, `[limit]`.
  let weights: [Double]
  /// q, `[d]`.
  let query: [Double]
  /// k̄ = Σ w k, `[d]`.
  let mean: [Double]
  /// Σ w ‖k‖² / d.
  let meanSquare: Double
  /// k_j - k̄, `[limit * d]`.
  private let centred: [Double]
  /// C without its ridge.
  private let moment: SecondMoment

  /// limit d² / 2 multiplications.
  init(_ rows: RegressionRows, _ query: [Double], _ weights: [Double]) {
    let d = rows.dim
    (self.weights, self.query) = (weights, query)
    var mean = [Double](repeating: 0, count: d), squares = 0.0
    for (j, w) in weights.enumerated() {
      for x in 0..<d {
        let value = rows.key[j * d + x]
        mean[x] += w * value
        squares += w * value * value
      }
    }
    (self.mean, meanSquare) = (mean, squares / Double(max(d, 1)))
    var centred = Array(rows.key[0..<weights.count * d])
    for j in weights.indices {
      for x in 0..<d { centred[j * d + x] -= mean[x] }
    }
    var moment = SecondMoment(dim: d)
    moment.add(centred, from: 0, weights: weights)
    (self.centred, self.moment) = (centred, moment)
  }

  /// w_j (offset + (k_j - k̄) · (C + λ I)⁻¹ x), `[limit]`. Throws `AlgebraError.notPositive`.
  func weights(along x: [Double], offset: Double, ridge: Double) throws(AlgebraError) -> [Double] {
    let slope = try Cholesky(moment.matrix, ridge: ridge).solve(x)
    return weights(slope) { w, product in w * (offset + product) }
  }

  /// `rule` of w_j and (k_j - k̄) · slope.
  private func weights(_ slope: [Double], _ rule: (Double, Double) -> Double) -> [Double] {
    let d = mean.count
    return centred.withUnsafeBufferPointer { all in
      slope.withUnsafeBufferPointer { slope in
        weights.indices.map { j in
          guard let all = all.baseAddress, let slope = slope.baseAddress else { return weights[j] }
          return rule(weights[j], Vectors.dot(all + j * d, slope, d))
        }
      }
    }
  }

  /// W by conjugate gradients for Σ ρ = μ, to a residual of 1e-10 |μ| or 4 d steps, and the steps
  /// that were made (Hestenes and Stiefel, 1952). Rows sum to 1 wherever it stops.
  func solvedByGradients(ridge: Double) -> (weights: [Double], steps: Int) {
    let mu = zip(mean, query).map { $0 - $1 }, d = mu.count
    func dot(_ x: [Double], _ y: [Double]) -> Double { zip(x, y).reduce(0) { $0 + $1.0 * $1.1 } }
    var rho = [Double](repeating: 0, count: d), residual = mu, direction = mu
    var size = dot(mu, mu), steps = 0
    let enough = 1e-20 * size
    while size > enough && steps < 4 * d {
      // Σ p = C p + λ p + μ (μ · p).
      var image = moment.multiplied(by: direction)
      let along = dot(mu, direction)
      for x in 0..<d { image[x] += ridge * direction[x] + along * mu[x] }
      let step = size / dot(direction, image)
      for x in 0..<d {
        rho[x] += step * direction[x]
        residual[x] -= step * image[x]
      }
      let next = dot(residual, residual)
      for x in 0..<d { direction[x] = residual[x] + next / size * direction[x] }
      (size, steps) = (next, steps + 1)
    }
    // z_j = (k_j - k̄) + μ.
    let shift = dot(mu, rho), divisor = 1 - shift
    return (weights(rho) { w, product in w * (1 - product - shift) / divisor }, steps)
  }
}
