import Algebra
public import Analysis
public import Attention
import Tensors

/// Selective self-attention: an inverse temperature of every query, and a scale of every value,
/// from its token and its position.
///
///     W_ij = softmax_j(τ_i S_ij) τ_v,j        τ_i = τ_tok(x_i) + 1 + κ ln i
///     τ_tok = tanh(f(x)),  κ = σ(a); released: κ = exp(-exp(β)), β = 2 (fine-tuned), 1.5 (GPT-2)
///
/// The position term undoes the dilution of softmax, whose rows grow flatter as they see more; for
/// bidirectional heads it is ln n in every row. Rows sum to 1 while τ_v = 1, else to Σ_j A'_ij
/// τ_v,j. Paper: Zhang et al., "Selective Attention: Enhancing Transformer through Principled
/// Context Control", NeurIPS 2024, arXiv 2411.12892.
///
/// f is trained and reads the hidden state. In its place, by `token`: z of the row's entropy under
/// softmax, standardised over the text, so that flat rows are sharpened (U3; it peeks ahead), or
/// `None` (U0). κ = ½ is σ of 0. With the released β almost nothing changes: 1 + κ ln 1024 is 1.004
/// at β = 2 and 1.078 at 1.5. `factor` multiplies τ, `value=position` gives values 1 + κ ln j.
///
/// Findings: those of every map; `kappa` in force, `tau_mean`; the series `tau` by query and
/// `tau_value` by key; `entropy_slope` with that of softmax, the series `entropies` and
/// `entropies_dense`; `flatness` and `flatness_dense`, ‖s‖₁ / (‖s‖₂² c_i) of rows before τ_v, 1 for
/// uniform rows and 1 / c_i for one-hot ones, which the paper calls spikiness. Stored patterns
/// serve as well. Cost n² d, twice for the entropies, in double precision up to 2048 tokens.
public struct SelectiveAttention: MapMethod {
  /// Where the token's part of τ comes from.
  enum Token: String, Sendable, CaseIterable {
    case entropy = "tanh(z of row entropy)"
    case nothing = "None"
  }
  /// Where τ_v comes from.
  enum Value: String, Sendable, CaseIterable { case one, position }

  /// κ, without a unit; what `[` and `]` move.
  static let kappa = Knob(
    "kappa", "how far position counts: tau = 1 + kappa ln i", 0...1, standard: 0.5,
    step: .add(0.1), isMain: true)
  /// β of the released form.
  static let beta = Knob(
    "beta", "kappa = exp(-exp(beta)), as released; given, kappa does not count", -8...8,
    standard: 2.0, step: .add(0.5))
  /// τ_tok.
  static let token = Knob("token", "the token's part of tau", standard: Token.entropy)
  /// τ_v.
  static let value = Knob("value", "the scale of values: 1, or 1 + kappa ln j", standard: Value.one)
  /// All of τ times this.
  static let factor = Knob(
    "factor", "tau is multiplied by it; 0 makes rows uniform", 0...1_000_000, standard: 1.0,
    step: .multiply(2), aliases: ["tau"])

  /// Ranked by how far the output is from that of softmax.
  public static let card = MethodCard(
    id: "ssa", title: "selective self-attention", family: "reweighting",
    idea: "An inverse temperature of every query, from its token and its position.",
    source:
      "Zhang et al., Selective Attention: Principled Context Control, NeurIPS 2024, "
      + "arXiv 2411.12892",
    knobs: [kappa.facts, beta.facts, token.facts, value.facts, factor.facts],
    fidelity: .surrogate(
      .U3, "flat rows are sharpened: the trained map of the token is not there"),
    wholeMap: 2048, mainField: "map", mainNumber: "error",
    denseKnobs: ["kappa": .number(0), "token": .word("None")],
    variants: ["ssa-position": ["token": .word("None")]],
    knobFidelity: { knobs in
      guard knobs["token"] == .word(Token.nothing.rawValue) else { return nil }
      let isGiven = knobs["kappa"] != nil || knobs["beta"] != nil
      return .surrogate(
        .U0, "no token term, and kappa is \(isGiven ? "as given" : "σ(0), where training begins")")
    })

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// κ in force.
  private var kappa: Double {
    knobs.given.contains("beta")
      ? exponential(-exponential(knobs[Self.beta])) : knobs[Self.kappa]
  }

  /// W of a head, `[queries, keys]`, a row at a time. Throws `CancellationError`.
  public func map(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> any RowField {
    let rows = DoubleRows(head), kappa = kappa, factor = knobs[Self.factor]
    let isByEntropy = knobs[Self.token] == .entropy
    let part = try isByEntropy ? Self.sharpness(rows, run) : nil
    let tau = (0..<head.queries).map { row in
      let seen = Double(max(head.visibility.limit(row: row), 1))
      return factor * (1 + kappa * logarithm(seen) + (part?[row] ?? 0))
    }
    let isScaled = knobs[Self.value] == .position
    let values = (0..<head.keys).map { isScaled ? 1 + kappa * logarithm(Double($0 + 1)) : 1 }
    let tempered = Tempered(rows: rows, tau: tau, values: values)
    if run.wantsNumbers { try addFacts(tempered, run, &aside) }
    aside.findings.note(
      isByEntropy ? "U3: \(Self.card.fidelity.sentence)" : "U0: no token term, kappa is given")
    if !head.visibility.causal {
      aside.findings.note("bidirectional: the position term is ln n in every row")
    }
    return KernelRows.field(head) { row in
      zip(tempered.row(row, rows.logits(row)), values).map { $0 * $1 }
    }
  }

  /// tanh of the standardised entropy of every row, `[queries]`; 0 for rows that see nothing. Above
  /// `wholeMap` tokens entropies are those of the pattern in float. Throws `CancellationError`.
  private static func sharpness(_ rows: DoubleRows, _ run: MethodRun) throws -> [Double] {
    let head = rows.head, isExact = max(head.queries, head.keys) <= card.wholeMap
    let pattern = run.pattern(head)
    let entropies = try RowPicks.spread(head.queries, by: 16, run) { part in
      guard !isExact else { return part.map { RowEntropy.of(rows.weights($0)) } }
      var found: [Double] = []
      pattern.withRows(part) { row, p, _ in
        found.append(RowEntropy.of(p[..<head.visibility.limit(row: row)].lazy.map(Double.init)))
      }
      return found
    }
    return Standardised.values(entropies).map { z in
      // tanh z = 2 σ(2 z) - 1.
      z.isNaN ? 0 : 2 * Elementary.sigmoid(2 * z) - 1
    }
  }

  /// Strips, and what is counted over rows: all of them up to `wholeMap` tokens, else 64.
  private func addFacts(_ tempered: Tempered, _ run: MethodRun, _ aside: inout Aside) throws {
    let head = tempered.rows.head, tau = tempered.tau
    aside.findings.number("kappa", kappa, .setting, title: "kappa in force")
    aside.findings.number(
      "tau_mean", tau.isEmpty ? nil : tau.reduce(0, +) / Double(tau.count), title: "tau, mean")
    aside.findings.series(
      "tau", Axis(.query, head.queries), tau.map { Float($0) },
      title: "inverse temperature, by query")
    aside.findings.series(
      "tau_value", Axis(.key, head.keys), tempered.values.map { Float($0) },
      title: "scale of values, by key")
    let chosen = KernelRows.chosen(head, whole: Self.card.wholeMap)
    let parts = try RowPicks.spread(chosen.count, by: 16, run) { part in
      part.map { index in
        let row = chosen[index], limit = head.visibility.limit(row: row)
        let logits = tempered.rows.logits(row), s = tempered.row(row, logits)
        let dense = Elementary.softmax(logits, limit: limit)
        let w = zip(s, tempered.values).lazy.map { $0 * $1 }
        return (
          map: RowEntropy.of(w), dense: RowEntropy.of(dense), flat: Self.flatness(s, limit),
          flatDense: Self.flatness(dense, limit)
        )
      }
    }
    RowEntropy.add(
      head, rows: chosen, map: parts.map(\.map), dense: parts.map(\.dense), to: &aside.findings)
    func mean(_ values: [Double?]) -> Double? {
      let known = values.compactMap { $0 }
      return known.isEmpty ? nil : known.reduce(0, +) / Double(known.count)
    }
    aside.findings.number(
      "flatness", mean(parts.map(\.flat)), title: "‖s‖₁ / (‖s‖₂² keys), 1 is uniform")
    aside.findings.number(
      "flatness_dense", mean(parts.map(\.flatDense)), title: "the same of softmax")
  }

  /// ‖s‖₁ / (‖s‖₂² L) of a row that sees L keys; nil for a row of zeros.
  private static func flatness(_ row: [Double], _ limit: Int) -> Double? {
    let sum = row.reduce(0, +), squares = row.reduce(0) { $0 + $1 * $1 }
    return squares > 0 ? sum / (squares * Double(limit)) : nil
  }
}

/// Rows under their own temperatures.
private struct Tempered: Sendable {
  /// Scores of the head.
  let rows: DoubleRows
  /// `[queries]`, what scores are multiplied with.
  let tau: [Double]
  /// `[keys]`, τ_v.
  let values: [Double]

  /// softmax(τ S) of a row of scores `[keys]`, before τ_v: `[keys]`. A score of -infinity stays one
  /// under τ = 0.
  func row(_ row: Int, _ logits: [Double]) -> [Double] {
    let t = tau[row]
    return Elementary.softmax(
      logits.map { $0 == -.infinity ? $0 : t * $0 }, limit: rows.head.visibility.limit(row: row))
  }
}
