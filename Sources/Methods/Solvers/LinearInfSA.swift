import Algebra
public import Analysis
public import Attention

/// Linear-InfSA: one score a key stands in for the principal eigenvector of the walk.
///
///     w_t = ‖q_t‖ / Σ ‖q‖,   q̄ = Σ w_t q_t,   a_j = [q̄ · k_j]₊ / Σ_m [q̄ · k_m]₊
///     W_ij = ρ a_j                                     of every query, a matrix of rank 1
///
/// Rows are zero where no score is positive. Paper: "Infinite self-attention", 2026, arXiv
/// 2603.00175.
///
/// Exact at ρ = 0.95, where training begins; the layer learns it. Causal heads are ours: w, q̄ and
/// the sum of scores run over what has been seen, and a differs from row to row.
///
/// Findings: those of every map; the series `scores`, a of the last row; up to 512 tokens of a
/// bidirectional head `cosine` of a and the dominant left eigenvector of Â (`infsa`), and the
/// series `eigenvector`. Needs Q and K of the same tokens. Cost n d for a, and n d more for every
/// causal row, in double precision.
public struct LinearInfSA: MapMethod {
  /// ρ, of every row; what `[` and `]` move.
  static let rho = Knob(
    "rho", "sum of every row", 0...1, standard: 0.95, step: .add(0.01), isMain: true)

  /// Ranked by how well the scores stand in for the eigenvector.
  public static let card = MethodCard(
    id: "infsa-linear", title: "Linear-InfSA", family: "solvers",
    idea: "Score every key once, by a mean query, and give all queries the same row.",
    source: "Infinite self-attention, 2026, arXiv 2603.00175", needs: [.queryKey],
    knobs: [rho.facts], wholeMap: 2048, mainField: "map", mainNumber: "cosine")

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// W of a head, `[queries, keys]`, a row at a time. Throws `Missing(.queryKey)`,
  /// `CancellationError`.
  public func map(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> any RowField {
    let rows = try RegressionRows(head), scores = try LinearScores(rows)
    let last = scores.last(), rho = knobs[Self.rho], isCausal = head.visibility.causal
    if isCausal {
      aside.findings.note("causal: ours, the mean query is that of the tokens so far")
    }
    aside.findings.series(
      "scores", Axis(.key, head.keys), last.map { Float($0) },
      title: "scores of keys, for the last query")
    if run.wantsNumbers { try compare(rows, last, run, &aside.findings) }
    return RuleField(rows: Axis(.query, head.queries), columns: Axis(.key, head.keys)) {
      row, out in
      let weights = isCausal ? scores.row(row) : last
      for key in 0..<head.keys { out[key] = key < weights.count ? shown(rho * weights[key]) : .nan }
    }
  }

  /// The scores beside the eigenvector that they stand in for; nil for causal heads, whose
  /// eigenvectors say nothing, and above 512 tokens.
  private func compare(
    _ rows: RegressionRows, _ scores: [Double], _ run: MethodRun, _ findings: inout Findings
  ) throws {
    let title = "cosine of scores and eigenvector", n = rows.head.keys
    guard !rows.head.visibility.causal, n <= InfSA.card.wholeMap else {
      if !rows.head.visibility.causal {
        findings.note("cosine and eigenvector: up to \(InfSA.card.wholeMap) tokens")
      }
      return findings.number("cosine", nil, title: title)
    }
    let principal = Principal(try InfSA.graph(rows, epsilon: 0, run), scores)
    findings.number("cosine", principal.cosine, title: title)
    findings.series(
      "eigenvector", Axis(.key, n), principal.vector,
      title: "dominant left eigenvector, length 1")
  }
}

/// a of Linear-InfSA, for every row.
struct LinearScores: Sendable {
  private let rows: RegressionRows
  /// q̄ of the queries up to each one, `[queries * dim]`.
  private let means: [Double]

  /// n d. Throws `Missing(.queryKey)` where queries and keys are not the same tokens.
  init(_ rows: RegressionRows) throws {
    try WalkGraph.checkSquare(rows.head)
    let d = rows.dim
    var sum = [Double](repeating: 0, count: d), size = 0.0, means: [Double] = []
    means.reserveCapacity(rows.query.count)
    for row in 0..<rows.head.queries {
      let query = rows.query(row), norm = query.reduce(0) { $0 + $1 * $1 }.squareRoot()
      size += norm
      for x in 0..<d { sum[x] += norm * query[x] }
      means += size > 0 ? sum.map { $0 / size } : sum
    }
    (self.rows, self.means) = (rows, means)
  }

  /// a by the queries up to a row, over the keys that it sees; zero where no score is positive.
  func row(_ row: Int) -> [Double] {
    let d = rows.dim, mean = Array(means[row * d..<(row + 1) * d])
    let raw = rows.products(mean, rows.place(row: row).limit).map { max($0, 0) }
    let sum = raw.reduce(0, +)
    return sum == 0 ? raw : raw.map { $0 / sum }
  }

  /// a by all queries; empty without any.
  func last() -> [Double] { rows.head.queries > 0 ? row(rows.head.queries - 1) : [] }
}
