public import Analysis
public import Attention

/// Linear attention: a product of features in the place of an exponential, so that a head is a sum
/// that can be kept.
///
///     R_ij = φ(q_i) · φ(k_j),   W_ij = R_ij / Σ_s R_is,   out_i = φ(q_i) S_i / φ(q_i) · z_i
///
/// with S_i = Σ φ(k_j) v_jᵀ and z_i = Σ φ(k_j) over the keys that query i sees. φ works on each
/// coordinate: elu(x) + 1, ReLU, LeakyReLU (0.01), e^(0.2 x) or the identity. Paper: Katharopoulos
/// et al., "Transformers are RNNs", 2020, arXiv 2006.16236, with elu(x) + 1; exact on this head,
/// causal or not. Twice the query gives the same row wherever φ(2q) = 2 φ(q): what the forms that
/// follow it set right.
///
/// Findings: those of every map; the series `normaliser` (Σ_s R_is) `[queries]`; `norm_entropy`,
/// how row entropies go with ‖q‖, here and in softmax, and the curves behind it (`NormEntropy`);
/// the cost of a token (`CostFacts`). Needs Q and K. Cost n² d for the map, n d² for outputs.
public struct LinearAttention: MapMethod {
  /// φ; what `[` and `]` move.
  static let phi = Knob(
    "phi", "the feature map", standard: LinearFeatures.Map.elu1, isMain: true)

  /// Ranked by how far the output is from that of softmax.
  public static let card = MethodCard(
    id: "linear", title: "linear attention", family: "kernel",
    idea: "Replace exp(q k) by a product of features: the past fits a matrix of fixed size.",
    source: "Katharopoulos et al., Transformers are RNNs, 2020, arXiv 2006.16236",
    needs: [.queryKey], knobs: [phi.facts], wholeMap: 2048, mainField: "map", mainNumber: "error")

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value that it does not take.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// W of a head, `[queries, keys]`, a row at a time. Throws `Missing(.queryKey)`,
  /// `CancellationError`.
  public func map(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> any RowField {
    let features = try LinearFeatures(head, knobs[Self.phi])
    let row = features.normalised()
    if run.wantsNumbers {
      let totals = features.totals()
      aside.findings.series(
        "normaliser", Axis(.query, head.queries), totals.map { Float($0) },
        title: "sum of R, by query")
      aside.findings.noteZeroRows(totals, head)
      try NormEntropy(head, wholeMap: Self.card.wholeMap, run).add(
        [.init(row), .softmax(head)], to: &aside.findings)
      CostFacts(head, features: features.width).add(to: &aside.findings)
    }
    return features.field(row)
  }
}
