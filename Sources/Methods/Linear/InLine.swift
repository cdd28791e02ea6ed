public import Analysis
public import Attention

/// InLine, injective linear attention: subtract the row's mean instead of dividing by its sum, so
/// that different queries have different rows.
///
///     R'_ij = φ(q_i) · φ(k_j) / (√d n),   W_ij = R'_ij - (1/n) Σ_s R'_is + 1/n
///     out_i = φ(q_i) Σ_j φ(k_j) v_jᵀ / (√d n) + (1 - Σ_s R'_is) mean(V)
///
/// Every row sums to 1, entries may be negative; with φ the identity one vector added to every key
/// changes nothing, as in softmax. φ is the identity, as in the release, ReLU, LeakyReLU (0.01),
/// e^(0.2 x), or elu(x) + 1. √d is 1 over the scale of the head's own scores. Paper: "Bridging the
/// Divide", NeurIPS 2024, arXiv 2412.06590. Causal heads are ours: sums over j ≤ i, c_i for n. The
/// local term, whose nine weights a small network makes, is off (U0); `local=line` and `grid` put
/// weights of 1/3 and 1/9 in its place (U3), reported apart.
///
/// Findings: those of every map; `confusion`, pairs of queries whose rows of the bidirectional map
/// are closer than 0.001, also of linear attention and softmax (`LinearConfusion`); the field
/// `injectivity` `[6, keys]`, the rows of φ, 2 φ and 4 φ of one query (`query`) under both, and
/// `injectivity_change`, ‖W(2φ) - W(φ)‖ of both; `local_mass_1` and `local_mass_3`, shares of Σ|W|
/// within so many tokens; with `local`, the field `with_local` and `error_with_local`; the cost of
/// a token (`CostFacts`). Needs Q and K. Cost n² d for the map, n d² for outputs.
public struct InLine: MapMethod {
  static let phi = Knob(
    "phi", "the feature map", standard: LinearFeatures.Map.identity, isMain: true)
  static let local = Knob("local", "equal weights for the local term", standard: Local.off)
  static let query = Knob(
    "query", "whose rows the injectivity panel shows; -1 is the last", -1...1 << 30, standard: -1)

  /// Where the local term stands.
  enum Local: String, Sendable, CaseIterable { case off, line, grid }

  /// Ranked by how far the output is from that of softmax.
  public static let card = MethodCard(
    id: "inline", title: "InLine", family: "kernel",
    idea: "Subtract the row's mean instead of dividing by its sum: no two queries look alike.",
    source: "Bridging the Divide, NeurIPS 2024, arXiv 2412.06590",
    needs: [.queryKey], knobs: [phi.facts, local.facts, query.facts], wholeMap: 2048,
    mainField: "map", mainNumber: "error", variants: ["inline-elu1": ["phi": .word("elu1")]])

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// W of a head, `[queries, keys]`, a row at a time. Throws `Missing(.queryKey)`,
  /// `Missing(.imageGrid)` for a local term on a grid, `CancellationError`.
  public func map(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> any RowField {
    let features = try LinearFeatures(head, knobs[Self.phi])
    let row: @Sendable (Int) -> [Double] = { query in
      Self.weights(features, features.features(query), limit: features.seen(query))
    }
    if run.wantsNumbers {
      try LinearConfusion(features, run).add(to: &aside.findings)
      addInjectivity(features, to: &aside.findings)
      try LinearPlane.addMass(
        head, row, [1, 3], wholeMap: Self.card.wholeMap, run, to: &aside.findings)
      if knobs[Self.local] != .off { try addLocal(features, row, run, to: &aside.findings) }
      if head.visibility.causal { aside.findings.note("causal: ours, with the keys seen for n") }
      CostFacts(subtracting: features).add(to: &aside.findings)
    }
    return features.field(row)
  }

  /// A row of W for features `[width]` that see the first `limit` keys: `[keys]`.
  static func weights(_ features: LinearFeatures, _ query: [Double], limit: Int) -> [Double] {
    var weights = features.products(query, limit: limit)
    let n = Double(max(limit, 1)), factor = features.head.scale / n
    let shift = (1 - factor * weights.reduce(0, +)) / n
    for key in 0..<limit { weights[key] = factor * weights[key] + shift }
    return weights
  }

  /// Rows of one query at three lengths, divided and subtracted. The length is that of φ(q), which
  /// is that of q only where φ(t q) = t φ(q).
  private func addInjectivity(_ features: LinearFeatures, to findings: inout Findings) {
    let head = features.head
    guard head.queries > 0 else { return }
    let last = head.queries - 1, wanted = knobs[Self.query]
    let query = wanted < 0 ? last : min(wanted, last), limit = features.seen(query)
    let lengths = [1.0, 2, 4].map { t in features.features(query).map { t * $0 } }
    let linear = lengths.map { row in
      LinearFeatures.divided(features.products(row, limit: limit))
    }
    let inline = lengths.map { Self.weights(features, $0, limit: limit) }
    let labels = ["linear", "InLine"].flatMap { name in
      ["φ(q)", "2 φ(q)", "4 φ(q)"].map { "\(name) \($0)" }
    }
    findings.field(
      "injectivity",
      WholeField(
        rows: Axis(.row, 6, labels: labels), columns: Axis(.key, head.keys),
        values: (linear + inline).flatMap { row in
          row.indices.map { $0 < limit ? Float(row[$0]) : .nan }
        }), .signed, title: "rows of query \(query) as its features grow")
    for (suffix, title, rows) in [("", "", inline), ("_linear", ", linear attention", linear)] {
      let squares = zip(rows[0], rows[1]).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
      findings.number(
        "injectivity_change" + suffix, squares.squareRoot(),
        title: "change of the row from φ(q) to 2 φ(q)" + title)
    }
  }

  /// The map with equal weights of the three tokens, or nine patches, around a query; past ones
  /// alone where causal. Throws `Missing(.imageGrid)`, `CancellationError`.
  private func addLocal(
    _ features: LinearFeatures, _ row: @escaping @Sendable (Int) -> [Double], _ run: MethodRun,
    to findings: inout Findings
  ) throws {
    let head = features.head, isGrid = knobs[Self.local] == .grid
    let plane = try LinearPlane(isGrid ? .grid : .line, head, run.tokens)
    let weight = isGrid ? 1.0 / 9 : 1.0 / 3
    let sum = features.field { query in
      var weights = row(query)
      for near in plane.near(plane.place(query), reach: 1)
      where near.token < features.seen(query) {
        weights[near.token] += weight
      }
      return weights
    }
    findings.field("with_local", sum, .signed, title: "with a local term of equal weights")
    let rows = KernelRows.chosen(head, whole: Self.card.wholeMap)
    var shared = Findings()
    try MapNumbers(head, sum, rows: rows, run).add(to: &shared)
    findings.number(
      "error_with_local", shared["error"]?.number, title: "output error with the local term")
    findings.note("U3: the local term has equal weights, the paper's come from a small network")
  }
}
