import Algebra
public import Analysis
public import Attention

/// InfSA on softmax weights: how often a discounted walk from each query visits each key.
///
///     F = (I - γA)⁻¹ = I + γA + γ²A² + ...      A the pattern, rows of F sum to 1 / (1 - γ)
///
/// F is the fundamental matrix of a Markov chain that goes on with probability γ: F_ij is the
/// expected number of visits to j from i before the walk is absorbed, its own start counted. Paper:
/// "Infinite self-attention", 2026, arXiv 2603.00175.
///
/// Exact at γ = 0.95, where training begins. A stored pattern is enough.
///
/// Findings: those of every map; the series `visits`, the mean over queries of F by key, and
/// `visits_rank_correlation` of it with column sums of A. Cost n² d + n³ / 6 for causal heads,
/// n² d + 4/3 n³ for others, in double precision; needs a query for every key; above 512 tokens
/// rows are computed as they are looked at, up to 2048 (1024 bidirectional).
public struct InfSAVisits: MapMethod {
  /// γ, the chance to go on; what `[` and `]` move.
  static let gamma = Knob(
    "gamma", "chance to go on after every hop", 0...0.999, standard: 0.95, step: .add(0.01),
    isMain: true)

  /// Ranked by how far the output is from that of softmax.
  public static let card = MethodCard(
    id: "infsa-visits", title: "InfSA, visits", family: "solvers",
    idea: "Walk on along softmax weights, and count how often every key is visited.",
    source: "Infinite self-attention, 2026, arXiv 2603.00175", knobs: [gamma.facts],
    wholeMap: 512, mainField: "map", mainNumber: "error")

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// F of a head, `[queries, keys]`, a row at a time. Throws `Missing(.queryKey)` where queries and
  /// keys are not the same tokens, `Missing(.length)`, `CancellationError`.
  public func map(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> any RowField {
    let rows = DoubleRows(head)
    let graph = try WalkGraph(head, run) {
      Array(rows.weights($0).prefix(head.visibility.limit(row: $0)))
    }
    let gamma = knobs[Self.gamma], solver = WalkSolver(graph, discount: gamma)
    if run.wantsNumbers {
      let n = graph.size, ones = [Double](repeating: 1, count: n)
      let visits = solver.row(ones), received = graph.before(ones)
      aside.findings.series(
        "visits", Axis(.key, n), visits.map { Float($0 / Double(n)) },
        title: "expected visits of a key, mean over queries")
      aside.findings.number(
        "visits_rank_correlation", WalkGraph.rankCorrelation(visits, received),
        title: "Spearman, visits to softmax's column sums")
    }
    return RuleField(rows: Axis(.query, head.queries), columns: Axis(.key, head.keys)) {
      row, out in
      var start = [Double](repeating: 0, count: graph.size)
      start[row] = 1
      let weights = solver.row(start), limit = graph.limit(row)
      for key in 0..<head.keys { out[key] = key < limit ? shown(weights[key]) : .nan }
    }
  }
}
