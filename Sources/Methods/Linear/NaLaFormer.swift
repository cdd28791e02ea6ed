public import Analysis
public import Attention

/// NaLaFormer: the length of a query sets how sharp its row is, its direction what it looks at.
///
///     p_i = 3 (1/2 + tanh(‖q_i‖ / s)),   q̂ = q / ‖q‖
///     φ_q = [ReLU(q̂)^p, ReLU(-q̂)^p],   φ_k = [ReLU(k³), ReLU(-k³)]
///     W_ij = φ_q(q_i) · φ_k(k_j) / Σ_s φ_q(q_i) · φ_k(k_s)
///
/// Powers are of each coordinate. Coordinates of one sign add, of opposite signs add nothing: W ≥
/// 0; a query that agrees in no sign with any key it sees, or is zero, has a row of zeros. p lies
/// in 1.5...4.5 and is near its end from ‖q‖ = 3 on, where queries of language models mostly are;
/// the `divisor` s is ours, 1 in the release. Paper: "NaLaFormer", 2025, arXiv 2506.21137, as
/// released; causal heads, which mask first, are ours. Left out: rotations of the numerator alone,
/// and what comes after the map.
///
/// Findings: those of every map; the series `power` (p) and `normaliser` `[queries]`; the field
/// `dead_coordinates`, the share of a pair's coordinates that have opposite signs; `norm_entropy`
/// and `entropy_by_norm`, also of linear attention (elu(x) + 1) and softmax (`NormEntropy`);
/// `divisor` in force; the cost of a token with 2 d features (`CostFacts`). Needs Q and K. Cost 2
/// n² d for the map, 2 n d² for outputs.
public struct NaLaFormer: MapMethod {
  /// s by a rule.
  enum Divisor: String, Sendable, CaseIterable { case root = "sqrt d" }

  /// s, in lengths of queries; what `[` and `]` move.
  static let divisor = Knob(
    "divisor", "of query norms before tanh, ours: a number, or sqrt d, which 0 is too", 0...1e6,
    standard: Ruled<Divisor>.number(1), step: .add(1), isMain: true)
  static let epsilon = LinearFeatures.epsilon

  /// Ranked by how far the output is from that of softmax.
  public static let card = MethodCard(
    id: "nalaformer", title: "NaLaFormer", family: "kernel",
    idea: "Raise a query's direction to a power that its length sets, and compare signs apart.",
    source: "NaLaFormer, norm-aware linear attention, 2025, arXiv 2506.21137",
    needs: [.queryKey], knobs: [divisor.facts, epsilon.facts], wholeMap: 2048, mainField: "map",
    mainNumber: "error", variants: ["nalaformer-sqrt-d": ["divisor": .word("sqrt d")]],
    knobFidelity: { knobs in
      guard let divisor = knobs["divisor"], divisor != .number(1) else { return nil }
      let what = if case .number(let x) = divisor, x > 0 { "\(x)" } else { "sqrt(d)" }
      return .surrogate(.U3, "query norms are divided by \(what), which the paper does not do")
    })

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// W of a head, `[queries, keys]`, a row at a time. Throws `Missing(.queryKey)`,
  /// `CancellationError`.
  public func map(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> any RowField {
    guard head.queryAndKey != nil else { throw Missing(.queryKey) }
    let rows = DoubleRows(head), norms = LinearFeatures.norms(rows.query, width: rows.dim)
    let divisor = divisor(dim: rows.dim)
    let powers = norms.map { Self.power($0 / divisor) }
    let features = Self.features(rows, norms, powers)
    let row = features.normalised(epsilon: knobs[Self.epsilon])
    if run.wantsNumbers {
      let axis = Axis(.query, head.queries), totals = features.totals()
      aside.findings.series(
        "power", axis, powers.map { Float($0) }, title: "power p, by query")
      aside.findings.series(
        "normaliser", axis, totals.map { Float($0) }, title: "sum of products, by query")
      aside.findings.field(
        "dead_coordinates", features.field { Self.opposite(rows, $0) }, .magnitude(.share),
        title: "coordinates of opposite signs")
      aside.findings.number("divisor", divisor, .setting, title: "divisor of norms in force")
      aside.findings.noteZeroRows(totals, head)
      let plain = try LinearFeatures(head, .elu1)
      try NormEntropy(head, wholeMap: Self.card.wholeMap, run).add(
        [.init(row), .linear(plain), .softmax(head)], to: &aside.findings)
      if divisor != 1 { aside.findings.note("U3: norms are divided by \(divisor), which is ours") }
      if head.visibility.causal { aside.findings.note("causal: ours, masked before the sum") }
      CostFacts(head, features: features.width).add(to: &aside.findings)
    }
    return features.field(row)
  }

  /// s in force.
  private func divisor(dim: Int) -> Double {
    if case .number(let x) = knobs[Self.divisor], x > 0 { return x }
    return Double(max(dim, 1)).squareRoot()
  }

  /// 3 (1/2 + tanh x) for x ≥ 0: in 1.5...4.5.
  static func power(_ x: Double) -> Double {
    let small = exponential(-2 * x)
    return 3 * (0.5 + (1 - small) / (1 + small))
  }

  /// Both signs of every coordinate apart: 2 d features.
  private static func features(_ rows: DoubleRows, _ norms: [Double], _ powers: [Double])
    -> LinearFeatures
  {
    let d = rows.dim
    func both(_ values: [Double], _ of: (_ row: Int, _ size: Double) -> Double) -> [Double] {
      var out = [Double](repeating: 0, count: 2 * values.count)
      for (at, value) in values.enumerated() where value != 0 {
        let row = at / d
        out[row * 2 * d + at % d + (value < 0 ? d : 0)] = of(row, abs(value))
      }
      return out
    }
    return LinearFeatures(
      rows.head, width: 2 * d,
      query: both(rows.query) { exponential(powers[$0] * logarithm($1 / norms[$0])) },
      key: both(rows.key) { $1 * $1 * $1 })
  }

  /// Share of coordinates in which a query and a key have opposite signs: `[keys]`.
  private static func opposite(_ rows: DoubleRows, _ row: Int) -> [Double] {
    let d = rows.dim
    return (0..<rows.head.visibility.limit(row: row)).map { key in
      let count = (0..<d).count { rows.query[row * d + $0] * rows.key[key * d + $0] < 0 }
      return Double(count) / Double(max(d, 1))
    }
  }
}
