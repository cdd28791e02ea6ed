import Algebra
import Analysis
import Attention
import Tensors

/// What local lines say of themselves beside their map.
///
/// Distances and corrections come from every row of a whole map, of others from 64 of them; what
/// needs a row solved again (steps of conjugate gradients, shares of outputs, the curve by κ) from
/// 64 at most. Counts are of all rows. The curve's error is that of W V to A V, by W - A itself and
/// not by a difference of outputs.
struct LineFacts: Sendable {
  /// Rows that are solved again for numbers, and those of the curve.
  private static let sampled = 64, curveRows = 32
  /// Where the curve stands: 1e-4, 1e-3.5, ... 10.
  private static let kappas = (0...10).map { tenTo(Double($0) / 2 - 4) }

  /// The head's queries and keys.
  private let rows: RegressionRows
  /// The fit that the map is of, with its ridge.
  private let fit: LineRegression

  /// `fit` of `rows`.
  init(_ rows: RegressionRows, _ fit: LineRegression) { (self.rows, self.fit) = (rows, fit) }

  /// Says all of it; `map` is W, of which long heads are sampled. Throws `AlgebraError`,
  /// `CancellationError`, and what the map's rows throw.
  func add(_ map: any RowField, _ run: MethodRun, to findings: inout Findings) throws {
    let queries = rows.head.queries, axis = Axis(.query, queries)
    let chosen = MapPass.sample(0..<queries, map.bytes > 0 ? queries : Self.sampled)
    let parts = try RowPicks.spread(chosen.count, by: 8, run) { part in
      part.map { index in Result { try offset(chosen[index], map) } }
    }
    var gap = 0.0, mass = 0.0
    var distance = [Float](repeating: .nan, count: queries), correction = distance
    for (row, part) in zip(chosen, parts) {
      let found = try part.get()
      (gap, mass) = (gap + found.gap, mass + found.mass)
      distance[row] = found.distance
      let both = found.gap + found.mass
      if both > 0 { correction[row] = Float(found.gap / both) }
    }
    findings.series(
      "extrapolation", axis, distance, title: "distance of a query from its mean key")
    findings.series(
      "correction", axis, correction, .share,
      title: "share of the linear correction, by query")
    findings.number(
      "correction_share", gap + mass > 0 ? gap / (gap + mass) : nil, .share,
      title: "share of the linear correction")
    let narrow = (0..<queries).count { rows.place(row: $0).limit <= rows.dim }
    findings.number(
      "underdetermined_rows", Double(narrow), .count, title: "rows that see d keys or fewer")
    try addSampled(run, &findings)
  }

  /// How far a row of the map is from softmax, and its query from its keys.
  private struct Offset: Sendable {
    /// Σ|W - A| and ΣA.
    let gap, mass: Double
    /// ‖k̄ - q‖; NaN where the row sees no key.
    let distance: Float
  }

  /// Of one row of `map`, with one softmax for all of it. Throws what the row throws.
  private func offset(_ row: Int, _ map: any RowField) throws -> Offset {
    let place = rows.place(row: row), query = rows.query(row), dense = rows.softmax(query, place)
    let gap = zip(try map.row(row), dense).reduce(0) { $0 + abs(Double($1.0) - $1.1) }
    let off = (0..<rows.dim).map { x in
      dense.indices.reduce(0) { $0 + dense[$1] * rows.key[$1 * rows.dim + x] } - query[x]
    }
    return Offset(
      gap: gap, mass: dense.reduce(0, +),
      distance: place.limit > 0 ? Float(LensRows.norm(off)) : .nan)
  }

  /// What a sampled row says.
  private struct Sample: Sendable {
    /// Steps of conjugate gradients.
    var steps = 0
    /// ‖Ŵ q‖ over itself and the norm of the averaged residuals; nil without V.
    var linear: Double?
    /// Squared output error at every κ, `[kappas]`; empty for rows that the curve leaves out, whose
    /// size is 0.
    var errors: [Double] = []
    /// Squared norm of A V in this row.
    var size = 0.0
  }

  /// Numbers of sampled rows: steps of conjugate gradients, the line's share of outputs, the error
  /// by κ. Throws `AlgebraError.notPositive`, `CancellationError`.
  private func addSampled(_ run: MethodRun, _ findings: inout Findings) throws {
    let chosen = MapPass.sample(0..<rows.head.queries, Self.sampled)
    let values = rows.head.value.map { Values($0.floats().map(Double.init), $0.shape[1]) }
    let curveStep = (chosen.count + Self.curveRows - 1) / Self.curveRows
    let parts = try RowPicks.spread(chosen.count, by: 4, run) { part in
      part.map { index in
        Result { try sample(chosen[index], values, curve: index % max(curveStep, 1) == 0) }
      }
    }
    let samples = try parts.map { try $0.get() }
    let steps = samples.map { Double($0.steps) }
    findings.number(
      "cg_iterations", steps.isEmpty ? nil : steps.reduce(0, +) / Double(steps.count),
      title: "steps of conjugate gradients, mean")
    findings.number(
      "cg_iterations_max", steps.max(), .count, title: "steps of conjugate gradients, most")
    let shares = samples.compactMap(\.linear)
    findings.number(
      "linear_share", shares.isEmpty ? nil : shares.reduce(0, +) / Double(shares.count), .share,
      title: "linear prediction's share of the output")
    let size = samples.reduce(0) { $0 + $1.size }
    if chosen.count < rows.head.queries {
      findings.note("steps, linear share and the curve from \(chosen.count) rows")
    }
    guard size > 0 else { return }
    let points = Self.kappas.enumerated().map { at, kappa in
      let error = samples.reduce(0) { $0 + ($1.errors.isEmpty ? 0 : $1.errors[at]) }
      return Curve.Point(kappa, (error / size).squareRoot())
    }
    findings.curve(
      "error_by_kappa",
      Curve(x: "kappa", y: "output error, relative L2", points: points, isLogarithmic: true),
      title: "output error to softmax, by ridge")
  }

  /// V in double precision.
  private struct Values: Sendable {
    /// `[keys * width]`, and d_v.
    let all: [Double], width: Int
    /// `all` holds whole rows.
    init(_ all: [Double], _ width: Int) { (self.all, self.width) = (all, width) }

    /// w V, `[width]`.
    func output(_ weights: [Double]) -> [Double] {
      var out = [Double](repeating: 0, count: width)
      for (key, weight) in weights.enumerated() {
        for x in 0..<width { out[x] += weight * all[key * width + x] }
      }
      return out
    }
  }

  /// One row solved again, as far as its parts are wanted. Throws `AlgebraError.notPositive`.
  private func sample(_ row: Int, _ values: Values?, curve: Bool) throws -> Sample {
    let place = rows.place(row: row), query = rows.query(row)
    guard place.limit > 0 else { return Sample() }
    let line = fit.line(query, place), lambda = fit.lambda(line)
    var sample = Sample()
    guard lambda > 0, line.meanSquare.isFinite else { return sample }
    sample.steps = line.solvedByGradients(ridge: lambda).steps
    guard let values else { return sample }
    func norm(_ weights: [Double]) -> Double {
      LensRows.norm(values.output(weights))
    }
    let linear = norm(try fit.weights(line, .linear))
    let residual = norm(try fit.weights(line, .residual))
    if linear + residual > 0 { sample.linear = linear / (linear + residual) }
    guard curve else { return sample }
    let difference = zip(query, line.mean).map { $0 - $1 }
    sample.errors = try Self.kappas.map { kappa in
      // The constant cancels: what is left is the error itself.
      let off = try line.weights(
        along: difference, offset: 0, ridge: kappa * line.meanSquare)
      let error = norm(off)
      return error * error
    }
    let dense = norm(line.weights)
    sample.size = dense * dense
    return sample
  }
}
