import Algebra
public import Analysis
public import Attention
import Tensors

/// Weight shifting: a step of gradient descent on a row of attention is a small shift of its
/// target, or of its weights.
///
///     f(x) = softmax(A x),   A = K_{≤i} / √d `[c_i, d]`,   x = q_i,   L = ½ ‖f - b‖²
///     g = (diag f - f fᵀ)(f - b),   ∇_x L = Aᵀ g,   ∇_A L = g xᵀ,   x⁺ = x - η ∇_x L
///
///     data shift     b̃ = b - (f(x⁺) - f(x))             ‖f(x⁺) - b‖ = ‖f(x) - b̃‖
///     weight shift   A⁺ = A + (A (x⁺ - x)) xᵀ / ‖x‖²     A⁺ x = A x⁺, of rank 1
///     bound          ‖b̃ - b‖ ≤ ½ ‖A‖₂ ‖x⁺ - x‖           softmax's Jacobian is at most ½
///
/// Exact, as identities. The target b is ours to choose: `uniform`, one `key`, the row over the
/// blocks that BLASST keeps (`skip`, with `lambda` and 64x64 tiles), or the row of the head
/// `other`. Paper: Li et al., "The closeness of in-context learning and weight shifting for softmax
/// regression", 2023, arXiv 2304.13276, whose bound is exponential in the radius R; its constants
/// are known in order only, exp(R² + ln n) with R = max(‖A‖₂, ‖x‖, ‖b‖).
///
/// Findings: those of every map, for W, in which every row has taken one step; of the query looked
/// at the series `row_before`, `row_after`, `target` and `shift` (|b̃ - b|) `[keys]`; the curves
/// `loss_by_step`, 50 steps on x, and `loss_by_step_weights`, on A; numbers `loss_before`,
/// `loss_after`, `gradient_norm`, `query_step` (‖Δx‖ / ‖x‖), `data_shift`, `weight_shift`
/// (‖A⁺ - A‖_F), `bound`, `bound_ratio`, `paper_bound_log` and `paper_ratio_log` (nats),
/// `steps_to_half` and `steps_to_half_weights` (nil beyond 50), and `data_gap`, `weight_gap`, how
/// far both identities are from exact.
///
/// Needs Q and K, all heads of the layer for another's row. Cost n d a row and step.
public struct WeightShifting: MapMethod {
  /// What a row is drawn towards.
  enum Target: String, Sendable, CaseIterable { case uniform, key, skip, head }

  /// b; a row that has no such target stays as it is.
  static let target = Knob(
    "target", "uniform, one key, the row on the blocks that BLASST keeps, or another head's row",
    standard: Target.uniform, aliases: ["b"])
  /// η; what `[` and `]` move.
  static let eta = Knob(
    "eta", "size of the step", 0...1e6, standard: 1.0, step: .multiply(2), isMain: true)
  /// Index of a key, from 0.
  static let key = Knob(
    "key", "the key of target=key; rows that do not see it stay", 0...1 << 30, standard: 0)
  /// Index of a head within the layer.
  static let other = Knob("other", "the head of target=head", 0...1 << 20, standard: 0)
  /// A share of the running maximum, as for the block method.
  static let lambda = Knob(
    "lambda", "λ of target=skip", 0...1, standard: 0.01, step: .multiply(10))

  /// The scope is a layer, as a target may be another head's row.
  public static let card = MethodCard(
    id: "weight-shifting", title: "weight shifting", family: "lens",
    idea: "A gradient step on a query is a shift of its target, or of the weights, of known size.",
    source: "Li et al., 2023, arXiv 2304.13276", scope: .layer, needs: [.queryKey],
    knobs: [
      eta.facts, target.facts, key.facts, other.facts, lambda.facts, LensRows.query.facts,
    ], wholeMap: 2048, mainField: "map", mainNumber: "bound_ratio",
    denseKnobs: ["eta": .number(0)])

  private let knobs: CheckedKnobs
  private var second: Head?

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// The findings of the map of all rows' steps. Throws `Missing`, `CancellationError`.
  public func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    var method = self
    if knobs[Self.target] == .head {
      let wanted = knobs[Self.other], last = subject.layer.count - 1
      guard subject.layer.indices.contains(wanted) else {
        throw Missing(.layer, hint: "there is no head \(wanted); they are 0 to \(last)")
      }
      method.second = subject.layer[wanted]
    }
    return try method.examineMap(subject, run)
  }

  /// W of a head, `[queries, keys]`: each row after one step towards its target. Throws `Missing`,
  /// `CancellationError`.
  public func map(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> any RowField {
    guard head.queryAndKey != nil else { throw Missing(.queryKey) }
    let shift = RowShift(head), target = try targets(head, run), eta = knobs[Self.eta]
    if run.wantsNumbers {
      let query = try LensRows.index(knobs, head)
      guard let b = target(query) else {
        throw Missing(.queryKey, hint: "query \(query) does not see key \(knobs[Self.key])")
      }
      try addRow(shift, query, b, &aside.findings)
    }
    return RuleField(rows: Axis(.query, head.queries), columns: Axis(.key, head.keys)) { row, out in
      let limit = head.visibility.limit(row: row), x = shift.query(row)
      let moved = target(row).map { b in shift.step(row, x, b, eta) } ?? x
      LensRows.fill(out, shift.weights(row, moved), limit)
    }
  }

  /// b of a row, `[keys]`; nil for rows that stay as they are. Throws `CancellationError`, and
  /// `KnobError` for a λ that is none.
  private func targets(_ head: Head, _ run: MethodRun) throws
    -> @Sendable (Int) -> [Double]?
  {
    let sight = head.visibility, keys = head.keys
    switch knobs[Self.target] {
    case .uniform:
      return { row in
        let limit = sight.limit(row: row), share = 1 / Double(max(limit, 1))
        return (0..<keys).map { $0 < limit ? share : 0 }
      }
    case .key:
      let wanted = knobs[Self.key]
      return { row in
        guard wanted < sight.limit(row: row) else { return nil }
        return (0..<keys).map { $0 == wanted ? 1 : 0 }
      }
    case .head:
      guard let other = second, other.queries == head.queries, other.keys == keys else {
        throw Missing(.layer, hint: "head \(knobs[Self.other]) has other queries and keys")
      }
      let rows = DoubleRows(other)
      return { rows.weights($0) }
    case .skip:
      let rows = DoubleRows(head)
      let mask = try SkippedTiles.mask(head, run, lambda: knobs[Self.lambda])
      return { row in
        var b = rows.weights(row), sum = 0.0
        for j in b.indices {
          if mask[row / mask.spec.rows, j / mask.spec.keys] != .computed { b[j] = 0 }
          sum += b[j]
        }
        return sum > 0 ? b.map { $0 / sum } : nil
      }
    }
  }

  /// Strips, curves and numbers of the query looked at.
  private func addRow(_ shift: RowShift, _ row: Int, _ b: [Double], _ findings: inout Findings)
    throws
  {
    let eta = knobs[Self.eta], limit = shift.limit(row), axis = Axis(.key, b.count)
    let facts = shift.facts(row, b, eta)
    func strip(_ name: String, _ values: [Double], _ title: String) {
      findings.series(name, axis, LensRows.series(values, limit), .share, title: title)
    }
    strip("row_before", facts.before, "query \(row), f(x)")
    strip("row_after", facts.after, "query \(row), f(x⁺)")
    strip("target", b, "query \(row), target b")
    strip("shift", zip(facts.after, facts.before).map { ($0 - $1).magnitude }, "|b̃ - b|")
    findings.number("loss_before", facts.lossBefore, title: "½ ‖f(x) - b‖²")
    findings.number("loss_after", facts.lossAfter, title: "½ ‖f(x⁺) - b‖²")
    findings.number("gradient_norm", facts.gradient, title: "‖∇_x L‖")
    findings.number(
      "query_step", facts.size > 0 ? facts.step / facts.size : nil, title: "‖x⁺ - x‖ / ‖x‖")
    findings.number("data_shift", facts.dataShift, title: "data shift ‖b̃ - b‖")
    findings.number("weight_shift", facts.weightShift, title: "weight shift ‖A⁺ - A‖")
    findings.number("data_gap", facts.dataGap, title: "data shift against its identity")
    findings.number("weight_gap", facts.weightGap, title: "weight shift against its identity")
    addBounds(shift, row, b, facts, &findings)
    for (name, title, losses) in [
      ("", "on x", shift.descent(row, b, eta, onWeights: false)),
      ("_weights", "on A", shift.descent(row, b, eta, onWeights: true)),
    ] {
      let half = losses.firstIndex { $0 <= losses[0] / 2 }
      findings.number(
        "steps_to_half" + name, losses[0] > 0 ? half.map(Double.init) : 0, .count,
        title: "steps \(title) that halve the loss")
      findings.curve(
        "loss_by_step" + name,
        Curve(
          x: "steps \(title)", y: "½ ‖f - b‖²",
          points: losses.enumerated().map { Curve.Point(Double($0), $1) }),
        title: "loss of query \(row), steps \(title)")
    }
  }

  /// What was measured, beside our bound and the order of the paper's.
  private func addBounds(
    _ shift: RowShift, _ row: Int, _ b: [Double], _ facts: RowShift.Facts,
    _ findings: inout Findings
  ) {
    let norm = shift.spectralNorm(row), bound = norm.map { $0 / 2 * facts.step }
    findings.number("bound", bound, title: "bound ½ ‖A‖ ‖x⁺ - x‖")
    findings.number(
      "bound_ratio", bound.flatMap { $0 > 0 ? facts.dataShift / $0 : nil }, .share,
      title: "data shift over its bound")
    let exponent = norm.map { norm in
      let radius = max(norm, facts.size, LensRows.norm(b))
      return radius * radius + logarithm(Double(max(shift.limit(row), 1)))
    }
    let paper = facts.step > 0 ? exponent.map { $0 + logarithm(facts.step) } : nil
    findings.number("paper_bound_log", paper, .nats, title: "ln of the paper's bound, in order")
    findings.number(
      "paper_ratio_log",
      facts.dataShift > 0 ? paper.map { logarithm(facts.dataShift) - $0 } : nil, .nats,
      title: "ln of data shift over that")
    findings.note("the paper's bound is known in order only: exp(R² + ln n) ‖x⁺ - x‖")
  }
}
