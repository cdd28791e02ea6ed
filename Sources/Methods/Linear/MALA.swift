public import Analysis
public import Attention

/// MALA, magnitude-aware linear attention: a longer query sharpens its row, as in softmax.
///
///     R'_ij = φ(q_i) · φ(k_j) / (√d n),   z_i = Σ_j R'_ij
///     W_ij = β_i R'_ij - γ_i,   β_i = 1 + 1 / z_i,   γ_i = z_i / n
///
/// that is, linear attention plus R'_ij less its row's mean: the part that φ(q) scales. Rows sum to
/// 1; entries may be negative, and are in heads that were not trained with it. `scale=released` is
/// the R' of the authors' code; `scale=paper` leaves 1 / (√d n) out, which sharpens far more. √d is
/// 1 over the scale of the head's own scores. A row with z_i = 0 is zeros. Paper: "Rectifying
/// Magnitude Neglect in Linear Attention", 2025, arXiv 2507.00698, with φ(x) = elu(x) + 1; other φ
/// are ours. Causal heads, which are ours too, sum over j ≤ i and have c_i, the keys seen, for n.
/// Left out: rotations of the numerator alone, the convolution of V and the output gate.
///
/// Findings: those of every map; the series `beta`, `gamma` and `query_norm` `[queries]`, and the
/// curves `beta_by_norm`, `gamma_by_norm`; `norm_entropy` and `entropy_by_norm`, also of linear
/// attention and softmax (`NormEntropy`); the cost of a token (`CostFacts`). Needs Q and K. Cost
/// n² d for the map, n d² for outputs.
public struct MALA: MapMethod {
  /// What R' is divided by.
  enum Scale: String, Sendable, CaseIterable { case released, paper }

  static let scale = Knob(
    "scale", "divide products by sqrt(d) n, as released, or not", standard: Scale.released,
    isMain: true)
  static let phi = Knob("phi", "the feature map", standard: LinearFeatures.Map.elu1)
  static let epsilon = LinearFeatures.epsilon

  /// Ranked by how far the output is from that of softmax.
  public static let card = MethodCard(
    id: "mala", title: "MALA", family: "kernel",
    idea: "Linear attention that sharpens when the query grows: scale each row, then subtract.",
    source: "Rectifying Magnitude Neglect in Linear Attention, 2025, arXiv 2507.00698",
    needs: [.queryKey], knobs: [scale.facts, phi.facts, epsilon.facts], wholeMap: 2048,
    mainField: "map", mainNumber: "error", variants: ["mala-paper": ["scale": .word("paper")]])

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// W of a head, `[queries, keys]`, a row at a time. Throws `Missing(.queryKey)`,
  /// `CancellationError`.
  public func map(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> any RowField {
    let features = try LinearFeatures(head, knobs[Self.phi])
    let isReleased = knobs[Self.scale] == .released, epsilon = knobs[Self.epsilon]
    /// What a product of a row that sees `seen` keys is multiplied with.
    @Sendable func factor(_ seen: Int) -> Double {
      isReleased ? head.scale / Double(max(seen, 1)) : 1
    }
    let row: @Sendable (Int) -> [Double] = { query in
      var weights = features.products(query)
      let seen = features.seen(query), by = factor(seen)
      let sum = by * weights.reduce(0, +)
      guard sum + epsilon != 0 else { return [Double](repeating: 0, count: head.keys) }
      let beta = 1 + 1 / (sum + epsilon), gamma = sum / Double(max(seen, 1))
      for key in 0..<seen { weights[key] = beta * by * weights[key] - gamma }
      return weights
    }
    if run.wantsNumbers {
      let sums = features.totals().enumerated().map { $1 * factor(features.seen($0)) }
      try add(sums, features, row, run, to: &aside.findings)
    }
    return features.field(row)
  }

  /// Strips, curves and the cost; `sums` are z `[queries]`.
  private func add(
    _ sums: [Double], _ features: LinearFeatures, _ row: @escaping @Sendable (Int) -> [Double],
    _ run: MethodRun, to findings: inout Findings
  ) throws {
    let head = features.head, axis = Axis(.query, head.queries)
    let beta = sums.map { $0 == 0 ? Double.nan : 1 + 1 / ($0 + knobs[Self.epsilon]) }
    let gamma = sums.indices.map { sums[$0] / Double(max(features.seen($0), 1)) }
    let norms = try NormEntropy(head, wholeMap: Self.card.wholeMap, run)
    findings.noteZeroRows(sums, head)
    findings.series("beta", axis, beta.map { Float($0) }, title: "beta = 1 + 1/z, by query")
    findings.series("gamma", axis, gamma.map { Float($0) }, title: "gamma = z/n, by query")
    findings.series(
      "query_norm", axis, norms.norms.map { Float($0) }, title: "norm of the query")
    findings.curve("beta_by_norm", norms.curve("beta", beta), title: "beta by query norm")
    findings.curve("gamma_by_norm", norms.curve("gamma", gamma), title: "gamma by query norm")
    try norms.add([.init(row), .linear(features), .softmax(head)], to: &findings)
    if head.visibility.causal { findings.note("causal: ours, with the keys seen for n") }
    CostFacts(subtracting: features).add(to: &findings)
  }
}
