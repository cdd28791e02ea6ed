public import Analysis
public import Attention
import Tensors

/// Gated attention: a gate of each head and token scales its output, so that a head can do nothing.
///
///     O_i = π_i (A V)_i,   π_i = σ(G(x_i)),   W_ij = π_i A_ij
///
/// G is trained and reads the hidden state x_i; its bias starts at logit(π). In its place, by
/// `gate`: `constant` (U0: π everywhere, where training begins), `sink` (U3: π_i = 1 - A_i1, doing
/// nothing where the head parks on the first token), which may be said as `pi=1 - A_i1`. `rescale`
/// divides by π, as fine-tuning does. Paper: Bondarenko et al., "Quantizable Transformers", NeurIPS
/// 2023, arXiv 2306.12929.
///
/// Findings: those of every map; the series `gate` `[queries]` and the field `gates` `[queries,
/// heads]` of the layer; `gate_mean`, `gate_bias` (logit π, nil for `sink`), `noop_rows` (rows with
/// a gate below 0.1), `top_key_mass` of softmax; outliers of outputs and activations (`Outliers`).
/// Cost n² d a head of the layer for `sink`.
public struct GatedAttention: MapMethod {
  /// Where gates come from.
  enum Gate: String, Sendable, CaseIterable { case constant, sink }

  /// A gate that is no constant, said in the place of π: what `gate=sink` says as well.
  enum RowGate: String, Sendable, CaseIterable { case sink = "1 - A_i1" }

  static let gate = Knob("gate", "where gates come from", standard: Gate.constant)
  /// π where it is not given: the paper's start for OPT.
  private static let start = 0.25
  /// π, of 1. What `[` and `]` move.
  static let pi = Knob(
    "pi", "the gate where it is constant, or what gate=sink makes of a row", 0...1,
    standard: Ruled<RowGate>.number(start), isMain: true)
  static let rescale = Knob("rescale", "divide by pi, as for fine-tuning", standard: false)

  /// The scope is a layer, as the strip of gates stands over its heads.
  public static let card = MethodCard(
    id: "gated", title: "gated attention", family: "reweighting",
    idea: "A gate of each head and token scales the output, down to nothing at all.",
    source: "Bondarenko et al., Quantizable Transformers, NeurIPS 2023, arXiv 2306.12929",
    scope: .layer, knobs: [gate.facts, pi.facts, rescale.facts],
    fidelity: .surrogate(
      .U0, "gates are stand-ins: this model was trained without them"),
    wholeMap: 2048, mainField: "map", mainNumber: "gate_mean", denseKnobs: ["pi": .number(1)],
    variants: ["gated-half": ["pi": .number(0.5)], "gated-sink": ["pi": .word("1 - A_i1")]],
    variantFidelity: [
      "gated-sink": .surrogate(.U3, "the weight on the first key stands for the trained gate")
    ])

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// π as a number: what `rescale` divides by.
  private var start: Double {
    if case .number(let pi) = knobs[Self.pi] { pi } else { Self.start }
  }

  /// The gate of every row; nil where each row has its own.
  private var constant: Double? {
    guard knobs[Self.gate] == .constant, case .number(let pi) = knobs[Self.pi] else { return nil }
    return pi
  }

  /// The findings of a map, the gates of its layer, and the outliers. Throws `Missing(.length)`,
  /// `CancellationError`.
  public func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    var findings = try examineMap(subject, run)
    guard run.wantsNumbers else { return findings }
    let gates = try subject.layer.map { try self.gates($0, run) }, head = subject.head
    let mine = gates[subject.focus.head], count = Double(max(mine.count, 1))
    let isConstant = constant != nil, pi = start
    findings.number("gate_mean", mine.reduce(0, +) / count, .share, title: "gate, mean")
    let bias = pi > 0 && pi < 1 ? logarithm(pi / (1 - pi)) : nil
    findings.number(
      "gate_bias", isConstant ? bias : nil, .logits, title: "bias that starts at this gate")
    findings.number(
      "noop_rows", Double(mine.count { $0 < 0.1 }) / count, .share,
      title: "rows with a gate below 0.1")
    findings.series(
      "gate", Axis(.query, head.queries), mine.map { Float($0) }, .share, title: "gate, by query")
    let rows = head.queries
    if gates.allSatisfy({ $0.count == rows }) {
      findings.field(
        "gates",
        WholeField(
          rows: Axis(.query, rows), columns: Axis(.head, gates.count),
          values: (0..<rows).flatMap { row in gates.map { Float($0[row]) } }),
        .magnitude(.share), title: "gates of the layer, by query and head")
    }
    if let (map, _) = findings.field("map"), map.bytes > 0 {
      findings.number(
        "top_key_mass", try topMass(head, run), .share, title: "softmax mass of the heaviest key")
      try Outliers.addOutputs(map, head, run, to: &findings)
    }
    try Outliers.addResiduals(subject, run, to: &findings)
    findings.note(
      isConstant
        ? "U0: a constant gate, where training begins"
        : "U3: gates are 1 - the weight on the first key")
    return findings
  }

  /// W of a head, `[queries, keys]`, a row at a time.
  public func map(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> any RowField {
    let rows = DoubleRows(head)
    let factor = knobs[Self.rescale] && start > 0 ? 1 / start : 1, constant = constant
    return RuleField(rows: Axis(.query, head.queries), columns: Axis(.key, head.keys)) { row, out in
      let weights = rows.weights(row), limit = head.visibility.limit(row: row)
      let gate = (constant ?? 1 - (weights.first ?? 0)) * factor
      for key in 0..<head.keys { out[key] = key < limit ? Float(gate * weights[key]) : .nan }
    }
  }

  /// π of every row, `[queries]`. Throws `CancellationError`.
  private func gates(_ head: Head, _ run: MethodRun) throws -> [Double] {
    if let constant { return [Double](repeating: constant, count: head.queries) }
    let pattern = run.pattern(head)
    return try RowPicks.spread(head.queries, by: 16, run) { rows in
      var found: [Double] = []
      pattern.withRows(rows) { _, p, _ in found.append(1 - Double(p.first ?? 0)) }
      return found
    }
  }

  /// Mean share of a row on the key that takes most. Throws `CancellationError`.
  private func topMass(_ head: Head, _ run: MethodRun) throws -> Double? {
    let pattern = run.pattern(head)
    let parts = try RowPicks.spread(head.queries, by: 32, run) { rows in
      var sums = [Double](repeating: 0, count: head.keys)
      pattern.withRows(rows) { _, p, _ in for key in sums.indices { sums[key] += Double(p[key]) } }
      return [sums]
    }
    let total = parts.reduce(into: [Double](repeating: 0, count: head.keys)) { sum, part in
      for key in sum.indices { sum[key] += part[key] }
    }
    return total.max().map { $0 / Double(max(head.queries, 1)) }
  }
}
