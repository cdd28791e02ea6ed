import Algebra
import Analysis
import Attention

/// Ranks of what a linear head keeps and of what it gives out, with and without weights of keys.
///
/// Effective rank is exp of the entropy of σ / Σσ, numerical rank counts σ above 1e-6 of the
/// largest. Outputs are those of every ⌈n/512⌉-th query, `[at most 512, d_v]`. The gate is G v_i of
/// the query's own place, elementwise, with G `[d_v, d_v]` normal of deviation 0.02, drawn row by
/// row. Cost 512 n (d + d_v) a form.
struct RankFacts: Sendable {
  private let features: LinearFeatures
  /// `[keys * d_v]`.
  private let values: [Double]
  /// d_v.
  private let valueWidth: Int
  private let run: MethodRun
  private let rows: [Int]

  /// Nil without V.
  init?(_ features: LinearFeatures, _ run: MethodRun) {
    guard let (values, width) = LensRows.values(features.head) else { return nil }
    (self.features, self.run) = (features, run)
    (self.values, valueWidth) = (values, width)
    let count = features.head.queries, step = max(1, (count + 511) / 512)
    rows = Array(stride(from: 0, to: count, by: step))
  }

  /// Spectra and ranks; `row` is the form's `[keys]` weights, `alpha` the weights of the keys that
  /// the last row sees. Throws `CancellationError`.
  func add(
    _ row: @escaping @Sendable (Int) -> [Double], alpha: [Double], seed: Int,
    to findings: inout Findings
  ) throws {
    let ones = [Double](repeating: 1, count: alpha.count)
    let kept = features.buffer(alpha, values, valueWidth: valueWidth)
    let plain = features.buffer(ones, values, valueWidth: valueWidth)
    add(kept, "buffer", "", "buffer", true, &findings)
    add(plain, "buffer", "_plain", "buffer, alpha = 1", true, &findings)
    let dense = DoubleRows(features.head), output = try outputs(row)
    add(output, "output", "", "output", true, &findings)
    add(gated(output, seed), "output", "_gated", "output with a drawn gate", true, &findings)
    add(
      try outputs(features.normalised()), "output", "_linear", "output of linear attention", false,
      &findings)
    add(
      try outputs { dense.weights($0) }, "output", "_softmax", "output of softmax", false,
      &findings)
    findings.note("U1: the gate is drawn with seed \(seed) and reads v; theirs is trained")
    if rows.count < features.head.queries { findings.note("ranks of outputs from some queries") }
  }

  /// Ranks of a matrix, and its singular values where they are drawn; nil where they do not
  /// converge.
  private func add(
    _ matrix: Matrix, _ name: String, _ suffix: String, _ title: String, _ isDrawn: Bool,
    _ findings: inout Findings
  ) {
    let singular = try? SingularValues(matrix)
    findings.number(
      "\(name)_rank\(suffix)", singular?.effectiveRank, title: "effective rank: \(title)")
    findings.number(
      "\(name)_numerical_rank\(suffix)", singular.map { Double($0.numericalRank()) }, .count,
      title: "numerical rank: \(title)")
    guard isDrawn, let singular else { return }
    findings.series(
      "\(name)_spectrum\(suffix)", Axis(.rank, singular.values.count),
      singular.values.map { Float($0) }, title: "singular values: \(title)")
  }

  /// W V of the rows, `[rows, d_v]`. Throws `CancellationError`.
  private func outputs(_ row: @escaping @Sendable (Int) -> [Double]) throws -> Matrix {
    let rows = rows, values = (values, width: valueWidth), keys = features.head.keys
    let all = try RowPicks.spread(rows.count, by: 16, run) { part in
      part.flatMap { LensRows.product(row(rows[$0]), keys, values) }
    }
    return Matrix(rows: rows.count, columns: valueWidth, elements: all)
  }

  /// Outputs times their gates.
  private func gated(_ output: Matrix, _ seed: Int) -> Matrix {
    var random = SplitMix64(UInt64(seed))
    let width = valueWidth, head = features.head
    let weights = random.gaussianMatrix(rows: width, columns: width)
    var result = output
    for (index, row) in rows.enumerated() {
      let place = min(max(head.visibility.position(row: row), 0), head.keys - 1)
      let gate = weights.multiplied(by: Array(values[place * width..<(place + 1) * width]))
      for x in 0..<width { result[index, x] *= 0.02 * gate[x] }
    }
    return result
  }
}
