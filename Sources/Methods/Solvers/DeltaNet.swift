public import Analysis
public import Attention

/// DeltaNet as a map: a memory that corrects itself by one step of gradient descent a token.
///
///     S_t = S_(t-1) + β (v_t - S_(t-1) k̂_t) k̂_tᵀ          out_t = S_t q̂_t
///     W   = tril(Q̂ K̂ᵀ) (I + strictTril(β K̂ K̂ᵀ))⁻¹ β
///
/// with hats for vectors of length 1. A row needs no inverse: with p = q̂_i, from j = i down to 0,
///
///     W_ij = β k̂_j · p,     p ← p - W_ij k̂_j
///
/// so that a row costs i d and keeps d numbers. β = 1 replaces what a key held, β = 0.5 meets the
/// new value halfway. The form is that of "Test-time regression", JMLR 2026, arXiv 2501.12352; the
/// layer is that of Yang et al., "Parallelizing linear transformers with the delta rule over
/// sequence length", NeurIPS 2024, arXiv 2406.06484.
///
/// Exact for a β that is one for all tokens. The layer learns σ(w · x) of each token, which takes
/// weights and hidden states: one β stands for it (U0). Keys of zeros write nothing.
///
/// Findings: those of every map, `leverage`, `spectrum`, `recall_error`, `degrees_of_freedom`
/// (β for every key that is not zero), cost of a token (`CostFacts`). Needs Q and K of a causal
/// head. Cost n² d, all in double precision; above 512 tokens rows are computed as they are looked
/// at.
public struct DeltaNet: MapMethod {
  /// β, without a unit; what `[` and `]` move.
  static let beta = Knob(
    "beta", "step of a token: 1 replaces, 0 writes nothing", 0...2, standard: 1.0,
    step: .add(0.05), isMain: true)

  /// Ranked by the recall test: how well the last query finds what was stored.
  public static let card = MethodCard(
    id: "deltanet", title: "DeltaNet", family: "solvers",
    idea:
      """
      Every token first erases what its key already holds, then writes its value: one step of \
      gradient descent.
      """,
    source: "Test-time regression, JMLR 2026, arXiv 2501.12352; the layer: arXiv 2406.06484",
    needs: [.queryKey], knobs: [beta.facts],
    fidelity: .surrogate(
      .U0, "one beta for all tokens, where the layer learns a gate of each token"), wholeMap: 512,
    mainField: "map", mainNumber: "recall_error",
    variants: ["deltanet-half": ["beta": .number(0.5)]])

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// The findings of a map, and what a smoother says of itself. Throws `Missing`,
  /// `CancellationError`.
  public func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    var findings = try examineMap(subject, run)
    try findings.addHat(subject.head, run)
    return findings
  }

  /// W of a head, `[queries, keys]`, a row at a time. Throws `Missing(.queryKey)` for stored maps
  /// and bidirectional heads, and `CancellationError`.
  public func map(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> any RowField {
    try Missing.unlessCausal(head, "every token corrects what those before it wrote")
    let rows = try RegressionRows(head), rule = DeltaRule(rows, beta: knobs[Self.beta])
    try rule.addFacts(rows, run, upTo: Self.card.wholeMap, to: &aside.findings)
    if run.wantsNumbers {
      // Reading S k̂ before it is corrected comes on top of writing and of the answer.
      let read = 2 * head.dim * max(head.valueDim, 1)
      CostFacts(head, features: head.dim, isNormalised: false, extraFlops: Double(read))
        .add(to: &aside.findings)
    }
    return rule.map(rows)
  }
}

/// The delta rule, read backwards from a query.
struct DeltaRule: Regression {
  /// d.
  private let dim: Int
  /// `[keys * dim]` of length 1, or zero.
  private let keys: [Double]
  private let beta: Double

  /// β is one for all tokens.
  init(_ rows: RegressionRows, beta: Double) {
    (dim, self.beta) = (rows.dim, beta)
    keys = RegressionRows.brought(rows.key, rows.dim, to: 1)
  }

  /// One row, by the recurrence over keys from the last to the first.
  func weights(_ query: [Double], _ place: RowPlace) -> [Double] {
    var out = [Double](repeating: 0, count: place.limit)
    var left = RegressionRows.brought(query, dim, to: 1)
    left.withUnsafeMutableBufferPointer { left in
      keys.withUnsafeBufferPointer { keys in
        guard let p = left.baseAddress, let all = keys.baseAddress else { return }
        for j in (0..<place.limit).reversed() {
          let key = all + j * dim, weight = beta * dotProduct(key, p, dim)
          out[j] = weight
          for x in 0..<dim { p[x] -= weight * key[x] }
        }
      }
    }
    return out
  }
}
