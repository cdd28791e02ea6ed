import Algebra
public import Analysis
public import Attention

/// RALA, rank-augmented linear attention: keys that the mean query likes count more, which raises
/// the effective rank of what a linear head keeps.
///
///     q̄ = mean_i φ(q_i),   α_j = n softmax_j(q̄ · φ(k_j) / √d),   Σ_j α_j = n
///     W_ij = α_j φ(q_i) · φ(k_j) / Σ_s α_s φ(q_i) · φ(k_s)
///
/// with φ(x) = elu(x) + 1; √d is 1 over the scale of the head's own scores. The output is then
/// multiplied by a gate, a linear map of the layer's input. Paper: "Breaking the Low-Rank Dilemma
/// of Linear Attention", CVPR 2025, arXiv 2411.07635. The map is exact without a causal mask; in
/// causal heads q̄ would know what comes, so that every row has its own, over the queries up to it
/// (ours), and the strip and the buffer are those of the last row. The trained gate is replaced by
/// a seeded draw that reads v (U1), and only its ranks are told. Left out: rotations of the
/// numerator alone, the convolution of V.
///
/// Findings: those of every map; the series `alpha` `[keys]`; singular values of the buffer
/// Σ α_j φ(k_j) v_jᵀ with α (`buffer_spectrum`) and with 1 (`buffer_spectrum_plain`), and of the
/// outputs with and without a gate (`output_spectrum`, `output_spectrum_gated`); effective and
/// numerical ranks of all these and of the outputs of linear attention and softmax
/// (`RankFacts`); without a causal mask the cost of a token (`CostFacts`). Ranks need V. The catch:
/// no rank of W is above d without a causal mask, with α or without; only the effective rank may
/// rise. Cost 2 n² d for the map, n d² for outputs.
public struct RALA: MapMethod {
  /// Of the gate's weights.
  static let seed = Knob(
    "seed", "of the gate that is drawn", 0...1 << 30, standard: 1, isMain: true)
  static let epsilon = LinearFeatures.epsilon

  /// Ranked by how far the output is from that of softmax.
  public static let card = MethodCard(
    id: "rala", title: "RALA", family: "kernel",
    idea: "Weight keys by how much the mean query likes them, to raise the rank of linear maps.",
    source: "Breaking the Low-Rank Dilemma of Linear Attention, CVPR 2025, arXiv 2411.07635",
    needs: [.queryKey], knobs: [seed.facts, epsilon.facts], wholeMap: 2048, mainField: "map",
    mainNumber: "error")

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// W of a head, `[queries, keys]`, a row at a time. Throws `Missing(.queryKey)`,
  /// `CancellationError`.
  public func map(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> any RowField {
    let features = try LinearFeatures(head, .elu1), epsilon = knobs[Self.epsilon]
    let means = features.meanQueries(), last = head.queries - 1
    let final = Self.alpha(features, means, last), causal = head.visibility.causal
    let row: @Sendable (Int) -> [Double] = { query in
      let alpha = causal ? Self.alpha(features, means, query) : final
      var weights = features.products(query)
      for key in weights.indices { weights[key] *= alpha[key] }
      return LinearFeatures.divided(weights, epsilon: epsilon)
    }
    guard run.wantsNumbers else { return features.field(row) }
    aside.findings.series(
      "alpha", Axis(.key, head.keys),
      final.enumerated().map { $0 < features.seen(last) ? Float($1) : .nan },
      title: causal ? "alpha of the last row, by key" : "alpha, by key")
    if let ranks = RankFacts(features, run) {
      try ranks.add(
        row, alpha: Array(final.prefix(max(features.seen(last), 0))), seed: knobs[Self.seed],
        to: &aside.findings)
    } else {
      aside.findings.note("ranks of buffer and outputs need V")
    }
    if causal {
      aside.findings.note(
        "causal: ours, alpha of the queries so far; it needs every key, so its state grows")
    } else {
      CostFacts(head, features: features.width).add(to: &aside.findings)
    }
    return features.field(row)
  }

  /// c α of a row, c the keys it sees: `[keys]`, zeros after them.
  private static func alpha(_ features: LinearFeatures, _ means: [Double], _ row: Int) -> [Double] {
    guard row >= 0 else { return [Double](repeating: 0, count: features.head.keys) }
    let limit = features.seen(row), width = features.width
    let mean = Array(means[row * width..<(row + 1) * width])
    let scores = features.products(mean, limit: limit).map { $0 * features.head.scale }
    return Elementary.softmax(scores, limit: limit).map { $0 * Double(limit) }
  }
}
