import Algebra
public import Analysis
public import Attention
import Tensors

/// Hedgehog with the feature map that distillation on this head finds (U2).
///
///     L(H_q, H_k) = -(1/n) Σ_i Σ_j A_ij ln W_ij,   from H = I,   by Adam
///     ∂L/∂R_ij = (1/n) (1 / Σ_j R_ij - A_ij / R_ij),   R = φ(Q) φ(K)ᵀ
///
/// The paper's objective, on the one head that is looked at: fitted on the very sequence that is
/// displayed, so in-sample. L is never below the mean entropy of A's rows (Gibbs); what it is above
/// is the mean KL(A‖W). Adam with β 0.9 and 0.999, ε 1e-8, no decay. Up to `rows` queries nothing
/// is random; above, so many of them are drawn by `seed`. Paper: "The Hedgehog & the Porcupine",
/// ICLR 2024, arXiv 2402.04347.
///
/// Findings: those of every map and of `hedgehog`; the fields `identity` (the map before, U0),
/// `h_query` and `h_key` `[d, d]`; the curve `loss` `[steps + 1]`; numbers `loss_start`,
/// `loss_end`, `loss_bound`, `kl_identity` (before; `kl_softmax` is after), `fitted_rows`, `seed`
/// where it was used. Throws `Missing(.queryKey)` for stored maps. Cost of a step: 6 rows n d, on
/// all threads; the same bits whatever their number.
public struct HedgehogFit: MapMethod {
  /// Adam's step.
  static let rate = Knob(
    "rate", "step of the descent", 0...1, standard: 0.01, step: .multiply(2), aliases: ["lr"])
  /// Steps of the descent; what `[` and `]` move.
  static let steps = Knob(
    "steps", "of the descent", 0...5000, standard: 200, step: .add(50), isMain: true)
  /// Rows of the loss.
  static let rows = Knob(
    "rows", "queries that the loss is taken over; more are sampled", 1...4096, standard: 256,
    step: .multiply(2))
  static let seed = Knob("seed", "of the sample of queries", 0...1 << 30, standard: 1)

  /// Heads are ranked by how far their fitted map is from softmax, on the text it was fitted to.
  public static let card = MethodCard(
    id: "hedgehog-fit", title: "Hedgehog, fitted", family: "kernel",
    idea: "The feature map that copies this head's softmax best, by a short descent.",
    source: "Zhang et al., The Hedgehog & the Porcupine, ICLR 2024, arXiv 2402.04347",
    needs: [.queryKey],
    knobs: [steps.facts, rate.facts, Hedgehog.scale.facts, rows.facts, seed.facts],
    fidelity: .surrogate(.U2, "H is fitted on the displayed sequence (in-sample)"),
    wholeMap: 2048, mainField: "map", mainNumber: "kl_softmax")

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// W of a head, `[queries, keys]`, a row at a time; the fit comes first. Throws
  /// `Missing(.queryKey)`, `CancellationError`.
  public func map(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> any RowField {
    let inputs = try HedgehogInputs(head, scale: knobs[Hedgehog.scale])
    // As many as `rows` says, all of them drawn.
    let chosen = ProbeChoice.rows(
      head.queries, recent: 0, random: knobs[Self.rows], seed: knobs[Self.seed])
    var descent = try HedgehogDescent(inputs, chosen, run)
    let losses = try descent.run(steps: knobs[Self.steps], rate: knobs[Self.rate], run)
    let before = try HedgehogMap(
      inputs, query: inputs.query, key: inputs.key, kind: .softmax, run)
    let after = try HedgehogMap(
      inputs, query: KernelRows.product(inputs.query, descent.queryMap.transposed(), run),
      key: KernelRows.product(inputs.key, descent.keyMap.transposed(), run), kind: .softmax, run)
    KernelRows.addDense(inputs.rows, to: &aside.findings)
    aside.findings.field(
      "identity", KernelRows.field(head) { before.weights($0) }, .weights,
      title: "the map before the fit")
    let axes = (Axis(.row, inputs.rows.dim), Axis(.column, inputs.rows.dim))
    for (name, matrix, title) in [
      ("h_query", descent.queryMap, "H of queries"), ("h_key", descent.keyMap, "H of keys"),
    ] {
      aside.findings.field(
        name,
        WholeField(rows: axes.0, columns: axes.1, values: matrix.elements.map { Float($0) }),
        .signed, title: title)
    }
    aside.findings.note("U2: \(Self.card.fidelity.sentence)")
    if chosen.count < head.queries {
      aside.findings.note("fitted on \(chosen.count) queries, drawn by seed \(knobs[Self.seed])")
      aside.findings.number("seed", Double(knobs[Self.seed]), .setting, title: "seed in force")
    }
    if run.wantsNumbers {
      try HedgehogFacts(after, run).add(to: &aside.findings)
      aside.findings.number(
        "kl_identity", try HedgehogFacts(before, run).divergence, .nats,
        title: "the same before the fit")
      addLoss(losses, descent.bound, rows: chosen.count, &aside.findings)
      CostFacts(head, features: 2 * inputs.rows.dim).add(to: &aside.findings)
    }
    return KernelRows.field(head) { after.weights($0) }
  }

  /// The curve of the loss, and where it began and ended.
  private func addLoss(
    _ losses: [Double], _ bound: Double, rows: Int, _ findings: inout Findings
  ) {
    let last = losses.last ?? 0
    findings.number("loss_start", losses.first, .nats, title: "loss before the fit")
    findings.number("loss_end", losses.last, .nats, title: "loss after the fit")
    findings.number("loss_bound", bound, .nats, title: "no loss is below (entropy of softmax)")
    findings.number("fitted_rows", Double(rows), .count, title: "queries of the loss")
    findings.curve(
      "loss",
      Curve(
        x: "step", y: "loss, nats",
        points: losses.enumerated().map { Curve.Point(Double($0.offset), $0.element) }.filter {
          $0.y.isFinite
        },
        marks: [
          .init("bound", x: Double(losses.count - 1), y: bound),
          .init("end", x: Double(losses.count - 1), y: last),
        ].filter(\.y.isFinite)), title: "loss by step")
  }
}
