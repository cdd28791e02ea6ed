import Algebra
public import Analysis
public import Attention
import Tensors

/// Softmax as a sum of recurrences: its exponential cut off after order P.
///
///     E_P(S) = Σ_{p=0..P} S^p / p!,   W = (M ⊙ E_P(S)) / row sum,   S = Q Kᵀ / √d
///     H_p(i) = H_p(i-1) + k_i^{⊗p} v_iᵀ,   read by (q_i^{⊗p})ᵀ H_p(i) / (p! d^{p/2})
///
/// Order p alone is a recurrent network with a state of d^p rows: linear attention is p = 1, and
/// softmax is all of them. Paper: "On the Expressiveness of Softmax Attention: A Recurrent Neural
/// Network Perspective", 2025, arXiv 2507.23632. Exact, by powers of S and not by their features; a
/// mask is all that makes it causal.
///
/// `denominator` is what divides a row in the paper's ablations: `softmax` (the row's sum), `divS`
/// (the keys it sees), `clamp` (max(sum, 1)), `none`, and `L2norm`, which divides the output by its
/// norm and is no mixer: the map is then E_P itself. Odd orders may be negative, and a sum may
/// vanish: |sum| ≤ 1e-12 gives a row of zeros. `cut` takes scores down to 5 first, as most of the
/// published ablations do. Written out for every row in double precision; far below zero, the
/// powers of one score cancel, and orders above 30 or so lose their digits.
///
/// Findings: those of every map; fields `dense` (softmax), `mass_by_order` `[queries, 80]` (Σ_j
/// |S_ij|^p / p! over Σ_j e^|S_ij|) and for `L2norm` `output_normalised`; the series `order_mass`,
/// its mean; curves `error_by_order` (output error of the row-normalised form) and
/// `state_by_order`; numbers `order_error_2` and `order_error_3` (smallest P with an error below
/// 1e-2 and 1e-3; nil above 79), `max_score`, `mass_within`, `features` (Σ_{p≤P} d^p), and what a
/// token costs (`CostFacts`).
///
/// Needs scores: throws `Missing(.logits)` for stored patterns. Cost n² (d + P); the curve of
/// errors n² d_v a order, all rows up to 512 tokens and 128 of them above.
public struct Taylor: MapMethod {
  /// What a row of E_P is divided by.
  enum Denominator: String, Sendable, CaseIterable {
    case softmax, divS, clamp
    case normOfOutput = "L2norm"
    case none
  }

  /// P; what `[` and `]` move.
  static let order = Knob(
    "order", "P, the highest power of a score", 0...79, standard: 2, isMain: true, aliases: ["P"])
  static let denominator = Knob(
    "denominator",
    "what divides a row: its sum, the keys it sees, max(sum, 1), the norm of its output, nothing",
    standard: Denominator.softmax)
  static let cut = Knob(
    "cut", "scores are cut at 5 first, as in the published ablations", standard: false)

  /// A head whose scores stay small needs few orders; ranked by the error of those in force.
  public static let card = MethodCard(
    id: "taylor", title: "softmax by orders", family: "kernel",
    idea: "The exponential of softmax cut off after a few powers: each power is a recurrence.",
    source: "On the Expressiveness of Softmax Attention, TMLR 2025, arXiv 2507.23632",
    needs: [.logits], knobs: [order.facts, denominator.facts, cut.facts], wholeMap: 2048,
    mainField: "map", mainNumber: "error",
    variants: [
      "taylor-1": ["order": .number(1)], "taylor-2": ["order": .number(2)],
      "taylor-4": ["order": .number(4)], "taylor-8": ["order": .number(8)],
      "taylor-2-divS": ["order": .number(2), "denominator": .word("divS")],
      "taylor-2-clamp": ["order": .number(2), "denominator": .word("clamp")],
    ])

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// W of a head, `[queries, keys]`, a row at a time. Throws `Missing(.logits)`,
  /// `CancellationError`.
  public func map(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> any RowField {
    if case .pattern = head.source {
      throw Missing(.logits, hint: "powers of a score cannot be told from a stored pattern")
    }
    let rows = TaylorRows(
      rows: DoubleRows(head), order: knobs[Self.order], denominator: knobs[Self.denominator],
      isCut: knobs[Self.cut])
    KernelRows.addDense(rows.rows, to: &aside.findings)
    if knobs[Self.denominator] == .normOfOutput {
      aside.findings.note("the map is E_P: division by the norm of the output is no mixing matrix")
      if let output = rows.normalisedOutput {
        aside.findings.field(
          "output_normalised", output, .signed, title: "output over its own norm")
      }
    }
    let facts = TaylorFacts(rows)
    aside.findings.field(
      "mass_by_order", facts.field, .magnitude(.share), title: "mass by order of interaction")
    if run.wantsNumbers { try facts.add(run, whole: Self.card.wholeMap, to: &aside.findings) }
    return KernelRows.field(head) { rows.weights($0) }
  }
}

/// Rows of E_P(S) and of the map.
struct TaylorRows: Sendable {
  /// Scores before powers are taken.
  let rows: DoubleRows
  /// P.
  let order: Int
  /// What divides.
  let denominator: Taylor.Denominator
  /// Scores are taken down to 5.
  let isCut: Bool

  /// The head that the rows are of.
  var head: Head { rows.head }

  /// `[limit]` scores of what a query sees.
  func scores(_ row: Int) -> [Double] { cut(logits(row)) }

  /// The same before they are cut.
  func logits(_ row: Int) -> [Double] {
    Array(rows.logits(row).prefix(head.visibility.limit(row: row)))
  }

  /// Scores as powers are taken of them.
  func cut(_ logits: [Double]) -> [Double] { isCut ? logits.map { min($0, 5) } : logits }

  /// E_P of scores, `[limit]`, by Horner's rule: 1 + s (1 + s / 2 (1 + s / 3 ...)).
  func polynomial(_ scores: [Double]) -> [Double] {
    var values = [Double](repeating: 1, count: scores.count)
    for p in stride(from: order, to: 0, by: -1) {
      let share = 1 / Double(p)
      for key in values.indices { values[key] = 1 + scores[key] * share * values[key] }
    }
    return values
  }

  /// W of a query, `[keys]`, zeros where it does not see.
  func weights(_ row: Int) -> [Double] {
    var values = polynomial(scores(row))
    let limit = values.count, sum = values.reduce(0, +)
    values += [Double](repeating: 0, count: head.keys - limit)
    switch denominator {
    case .softmax: KernelRows.divide(&values, by: sum, limit: limit)
    case .divS: KernelRows.divide(&values, by: Double(limit), limit: limit)
    case .clamp: KernelRows.divide(&values, by: max(sum, 1), limit: limit)
    case .normOfOutput, .none: break
    }
    return values
  }

  /// E_P(S) V with every row at length 1, `[queries, channels]`; nil without V.
  var normalisedOutput: RuleField? {
    guard let values = KernelRows.values(head) else { return nil }
    let transposed = values.transposed()
    return RuleField(
      rows: Axis(.query, head.queries), columns: Axis(.channel, values.columns)
    ) { row, out in
      let mixed = transposed.multiplied(by: weights(row))
      let norm = mixed.reduce(0) { $0 + $1 * $1 }.squareRoot()
      for channel in mixed.indices { out[channel] = norm > 0 ? Float(mixed[channel] / norm) : 0 }
    }
  }
}
