public import Analysis
public import Attention
import Tensors

/// FlashBias: an additive bias of rank R as R more columns of queries and keys.
///
///     softmax(Q Kᵀ / √d + B) V,   B ≈ U U'ᵀ,   [q / √d, U] · [k, U'] = q · k / √d + B_ij
///
/// `bias` is the table: `alibi`, -m (i - j) of causal heads (rank 2, of which softmax feels 1) and
/// -m |i - j| of others; `distance`, -m ‖x_i - x_j‖² between the patches of an image (rank 4);
/// `fit`, the Toeplitz fit of this head's own logits less its cosines (U2, ours for other than
/// causal distances). `form` is `exact`, the closed form where there is one, or `svd`, the
/// truncated decomposition of the whole table, the mask ignored, with `energy` of Σσ².
/// `table=mirrored` takes
/// -m |i - j| for causal heads too. Paper: "FlashBias", NeurIPS 2025, arXiv 2505.12044. Small
/// networks that fit factors to biases of the data are trained and left out.
///
/// Findings: those of every map, for softmax(S + U U'ᵀ); fields `bias`, `bias_low_rank`,
/// `residual`, `dense` (without B), `biased` (with B); `spectrum` `[rank]`; the curves
/// `energy_by_rank` and `gap_by_rank`; numbers `rank`, `rank_99`, `rank_995`, `rank_999`,
/// `bias_rank`, `energy_kept`, `max_residual`, `residual_norm`, `map_gap_biased`, `memory_bias`,
/// `memory_factors`, `flop_ratio`, `slope`. Cost n² (d + R); n³ for a table without a closed form,
/// up to 1024 tokens, above which it throws `Missing(.length)`.
public struct FlashBias: MapMethod {
  /// How a table becomes factors.
  enum Form: String, Sendable, CaseIterable { case exact, svd }

  static let bias = Knob("bias", "the table that is added", standard: AdditiveBias.Kind.alibi)
  static let form = Knob("form", "closed form where there is one, or svd", standard: Form.exact)
  /// In share of Σσ²; what `[` and `]` move.
  static let energy = Knob(
    "energy", "of the singular values that svd keeps", 0...1, standard: 0.995, step: .add(0.005),
    isMain: true)

  /// The scope is a layer, as slopes by head count its heads.
  public static let card = MethodCard(
    id: "flashbias", title: "FlashBias", family: "reweighting",
    idea: "An additive bias of low rank, as a few more columns of queries and keys.",
    source: "FlashBias, NeurIPS 2025, arXiv 2505.12044", scope: .layer,
    knobs: [
      energy.facts, bias.facts, form.facts, ALiBi.slope.facts, ALiBi.slopes.facts,
      ALiBi.table.facts,
    ], wholeMap: 2048, mainField: "map", mainNumber: "error",
    denseKnobs: ["m": .number(0), "bias": .word("alibi")],
    variants: ["flashbias-svd": ["form": .word("svd"), "energy": .number(0.99)]],
    growth: Growth("n² (d + R)") { $0 * $0 })

  private let knobs: CheckedKnobs
  private var slope: Double

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
    slope = self.knobs[ALiBi.slope]
  }

  /// The findings of a map. Throws `Missing`, `CancellationError`.
  public func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    var method = self
    method.slope = ALiBi.slope(knobs, subject)
    return try method.examineMap(subject, run)
  }

  /// softmax(S + U U'ᵀ) of a head, `[queries, keys]`, a row at a time. Throws `Missing`,
  /// `AlgebraError`, `CancellationError`.
  public func map(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> any RowField {
    let rows = DoubleRows(head)
    let bias: AdditiveBias
    switch knobs[Self.bias] {
    case .alibi:
      bias = .alibi(head, slope: slope, mirrored: knobs[ALiBi.table] == .mirrored)
    case .distance: bias = try .distance(head, weight: slope, run.tokens)
    case .fit:
      bias = try .fit(rows, run)
      aside.findings.note("U2: the bias is the Toeplitz fit of this head's own logits")
    }
    let isExact = knobs[Self.form] == .exact
    if isExact, bias.closed == nil {
      aside.findings.note("this table has no closed form: factors by svd")
    }
    let factors = try BiasFactors(
      bias, energy: isExact && bias.closed != nil ? nil : knobs[Self.energy])
    let facts = BiasFacts(rows: rows, bias: bias, factors: factors)
    if run.wantsNumbers { aside.findings.number("slope", slope, .setting, title: "m in force") }
    try facts.add(run, whole: Self.card.wholeMap, to: &aside.findings)
    return KernelRows.field(head) { facts.factored($0) }
  }
}
