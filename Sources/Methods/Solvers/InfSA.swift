import Algebra
public import Analysis
public import Attention

/// InfSA: attention as a discounted walk over the graph of tokens.
///
///     Â = [Q Kᵀ]₊ / (‖[Q Kᵀ]₊‖_F + ε)                 ‖Â‖ ≤ 1; any positive scale cancels
///     hop       W = ρ Â                               what one released layer computes
///     neumann   W = Σ_(t ≥ 1) γ^t Â^t = (I - γÂ)⁻¹ - I     the theory; `hops` cuts the sum off
///
/// Paper: "Infinite self-attention", 2026, arXiv 2603.00175.
///
/// Exact at ρ = γ = 0.95, where training begins; the layer learns them. Causal heads are ours: keys
/// are masked before the norm, Â is then lower triangular and its eigenvalues are its diagonal, so
/// that the principal eigenvector says nothing, and Katz centralities stand for it.
///
/// Findings: those of every map; up to 512 tokens, and for all hops whatever `hops` is: the series
/// `katz_in` and `katz_out` (column and row sums of the Neumann map), `eigenvector` (dominant left
/// one, bidirectional), `linear_scores` (a of Linear-InfSA, both of length 1), `hop_mass` (share of
/// the walk's mass that each hop brings), `spectral_radius`, `hops_needed` for 1 % of the map,
/// `cosine` of a and the eigenvector, `katz_rank_correlation` with column sums of softmax.
///
/// Needs Q and K of the same tokens. Cost n² d + n³ / 6 for causal heads, n² d + 4/3 n³ for others.
/// One hop has rows on demand at any length; walks keep Â, up to 2048 tokens (1024 bidirectional).
public struct InfSA: MapMethod {
  /// What the map is.
  enum Form: String, CaseIterable, Sendable {
    case hop, neumann
  }

  /// One hop, or the walk.
  static let form = Knob("form", "one hop, or the sum of all", standard: Form.neumann)
  /// L, in hops; what `[` and `]` move.
  static let hops = Knob(
    "hops", "hops of the walk; 0: all", 0...16, standard: 0, isMain: true, aliases: ["L"])
  /// ρ, of one hop.
  static let rho = Knob("rho", "factor of one hop", 0...1, standard: 0.95, step: .add(0.01))
  /// γ, a factor a hop.
  static let gamma = Knob(
    "gamma", "discount of every hop", 0...0.999, standard: 0.95, step: .add(0.01))
  /// ε, in the unit of the norm.
  static let epsilon = Knob(
    "eps", "added to the norm", 0...1, standard: 1e-6, step: .multiply(10), aliases: ["epsilon"])

  /// Ranked by how far the output is from that of softmax.
  public static let card = MethodCard(
    id: "infsa", title: "InfSA", family: "solvers",
    idea:
      """
      Sum attention over walks of every length, each hop discounted, and let importance be \
      centrality.
      """,
    source: "Infinite self-attention, 2026, arXiv 2603.00175",
    needs: [.queryKey],
    knobs: [form.facts, hops.facts, rho.facts, gamma.facts, epsilon.facts], wholeMap: 512,
    mainField: "map", mainNumber: "error",
    variants: [
      "infsa-hop": ["form": .word("hop")], "infsa-neumann": ["form": .word("neumann")],
      "infsa-neumann-4": ["form": .word("neumann"), "hops": .number(4)],
    ])

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// W of a head, `[queries, keys]`, a row at a time. Throws `Missing(.queryKey)`,
  /// `Missing(.length)` for walks, and `CancellationError`.
  public func map(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> any RowField {
    let rows = try RegressionRows(head)
    if head.visibility.causal { aside.findings.note("causal: ours, masked before the norm") }
    let isHop = knobs[Self.form] == .hop
    let isShort = max(head.queries, head.keys) <= Self.card.wholeMap
    let wantsWalk = run.wantsNumbers && isShort && WalkGraph.isSquare(head)
    guard !isHop || wantsWalk else { return try hop(rows, run) }
    let graph = try Self.graph(rows, epsilon: knobs[Self.epsilon], run)
    let gamma = knobs[Self.gamma], hops = knobs[Self.hops]
    // A few hops are products with a vector: only sums of all hops take a factor.
    let solver = wantsWalk || hops == 0 ? WalkSolver(graph, discount: gamma) : nil
    if wantsWalk, let solver {
      try WalkFacts(graph, solver, discount: gamma, run).add(rows, run, to: &aside.findings)
    } else if run.wantsNumbers {
      aside.findings.note("rows only: centralities and hops up to \(Self.card.wholeMap) tokens")
    }
    guard !isHop else { return try hop(rows, run) }
    return RuleField(rows: Axis(.query, head.queries), columns: Axis(.key, head.keys)) {
      row, out in
      let weights =
        if let solver, hops == 0 {
          solver.row(graph.matrix.row(row).map { $0 * gamma })
        } else {
          Self.cut(graph, row, discount: gamma, hops: hops)
        }
      let limit = graph.limit(row)
      for key in 0..<head.keys { out[key] = key < limit ? shown(weights[key]) : .nan }
    }
  }

  /// ρ Â without a graph, a row at a time. Throws `CancellationError`.
  private func hop(_ rows: RegressionRows, _ run: MethodRun) throws -> RuleField {
    let head = rows.head, rho = knobs[Self.rho]
    let divisor = try Self.norm(rows, run) + knobs[Self.epsilon]
    let factor = divisor == 0 ? 0 : rho / divisor
    return RuleField(rows: Axis(.query, head.queries), columns: Axis(.key, head.keys)) {
      row, out in
      let weights = Self.positive(rows, row)
      for key in 0..<head.keys {
        out[key] = key < weights.count ? shown(weights[key] * factor) : .nan
      }
    }
  }

  /// Σ_(t ≤ hops) γ^t Â^t, one row.
  private static func cut(_ graph: WalkGraph, _ row: Int, discount: Double, hops: Int) -> [Double] {
    var sum = [Double](repeating: 0, count: graph.size)
    var start = sum
    start[row] = 1
    graph.walk(start, discount: discount, hops: hops) { term in
      for key in sum.indices { sum[key] += term[key] }
    }
    return sum
  }

  /// [q · k]₊ over the keys that a row sees.
  private static func positive(_ rows: RegressionRows, _ row: Int) -> [Double] {
    rows.products(rows.query(row), rows.place(row: row).limit).map { max($0, 0) }
  }

  /// ‖[Q Kᵀ]₊‖_F over what may be seen. Throws `CancellationError`.
  private static func norm(_ rows: RegressionRows, _ run: MethodRun) throws -> Double {
    let squares = try RowPicks.spread(rows.head.queries, by: 16, run) { part in
      part.map { positive(rows, $0).reduce(0) { $0 + $1 * $1 } }
    }
    return squares.reduce(0, +).squareRoot()
  }

  /// Â, kept whole; zero where no score is positive. Throws `Missing`, `CancellationError`.
  static func graph(_ rows: RegressionRows, epsilon: Double, _ run: MethodRun) throws
    -> WalkGraph
  {
    let raw = try WalkGraph(rows.head, run) { positive(rows, $0) }
    let divisor = raw.matrix.frobeniusNorm + epsilon
    guard divisor != 0 else { return raw }
    var matrix = raw.matrix
    for at in matrix.elements.indices { matrix.elements[at] /= divisor }
    return WalkGraph(matrix, isCausal: raw.isCausal)
  }
}
