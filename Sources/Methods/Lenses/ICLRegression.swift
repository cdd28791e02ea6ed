import Algebra
import Analysis
public import Attention
import Tensors

/// In-context linear regression: the algorithm that small attention layers come to, as a lens on
/// weights and as an experiment.
///
///     KQ_h = W_Q W_Kᵀ,   OV_h = W_V W_O                             both `[width, width]`
///     δ_h = ‖diag KQ‖_F / ‖KQ‖_F,   ω_h = mean diag KQ,   cv_h = std diag KQ / |ω_h|
///     zero-sum ‖Σ_h OV_h‖_F / Σ_h ‖OV_h‖_F,   copying tr OV / ‖OV‖_*
///
///     ŷ = Σ_h μ_h Σ_l y_l softmax_l(ω_h x_l·x_q)     heads of ±ω with Σ μ_h = 0, μ_h as ω_h signed
///       → η/L Σ_l (y_l - ȳ)(x_l - x̄)·x_q             as ω → 0 with η = 2 μ ω
///
/// Trained layers have a diagonal KQ of one size, values that read the label alone, and heads in
/// pairs that cancel: debiased gradient descent. Paper: "In-context linear regression demystified",
/// ICML 2025, arXiv 2503.12734. The sandbox is exact. The lens is exact with weights, of which
/// norms, biases and rotations are no part; sizes come from traces of `[d, d]` products. μ_h is the
/// mean of the diagonal of OV, or with `label=last` its last entry, as where the last coordinate is
/// the label (the share of that entry is n/a otherwise). The optimal η in closed form is left out:
/// `eta_fit` is fitted over prompts.
///
/// Findings: of the head the fields `kq` and `ov` `[width, width]`, `diagonality`, `diagonal_mean`,
/// `diagonal_cv`, `copying`, `last_entry`; of its layer the series `omegas`, `mus`,
/// `diagonalities`, `copyings` `[heads]`, `zero_sum`, `mu_sum`. What the sandbox says stands in
/// `RegressionFindings`; it needs no model and is the same for every head.
///
/// Without weights a note says what is needed. Cost width d² a head, H d width² a layer; H L d a
/// prompt, of which all prompts together may take 2^24.
public struct ICLRegression: AttentionMethod {
  /// Where the label is in the residual stream.
  enum Label: String, Sendable, CaseIterable { case none, last }

  /// ω, per unit of x·x; what `[` and `]` move.
  static let omega = Knob(
    "omega", "ω of the sandbox", 1e-6...100, standard: 0.1, step: .multiply(2), isMain: true)
  static let eta = Knob("eta", "step of gradient descent, 2 μ ω of a pair", 0...100, standard: 0.9)
  static let heads = Knob("heads", "heads of the sandbox", 1...64, standard: 2, aliases: ["H"])
  static let context = Knob(
    "context", "examples in a prompt", 2...4096, standard: 40, step: .multiply(2), aliases: ["L"])
  static let dim = Knob("dim", "width of x", 1...256, standard: 8, aliases: ["d"])
  static let sigma = Knob("sigma", "deviation of the noise of y", 0...100, standard: 0.0)
  static let prompts = Knob("prompts", "prompts of the means", 1...4096, standard: 64)
  /// Of SplitMix64.
  static let seed = Knob("seed", "of the prompts", 0...1 << 30, standard: 1)
  static let label = Knob(
    "label", "last: the last coordinate of the stream is the label", standard: Label.none)

  /// The scope is a layer, whose heads cancel or do not.
  public static let card = MethodCard(
    id: "icl-regression", title: "in-context linear regression", family: "lens",
    idea: "Diagonal KQ and heads that cancel make attention a debiased step of gradient descent.",
    source: "ICML 2025, arXiv 2503.12734", scope: .layer,
    knobs: [
      omega.facts, eta.facts, heads.facts, context.facts, dim.facts, sigma.facts, prompts.facts,
      seed.facts, label.facts,
    ], fidelity: .exactWithWeights, wholeMap: .max, mainField: "regression_weights",
    mainNumber: "diagonality")

  private let knobs: CheckedKnobs

  /// Most products of numbers that one answer of all heads to all prompts may take.
  static let most = 1 << 24

  /// Throws `KnobError` for an unknown knob, a value outside its range, and for more prompts,
  /// examples, heads and widths than are worth waiting for.
  public init(knobs: Knobs) throws(KnobError) {
    let checked = try CheckedKnobs(knobs, for: Self.card)
    let product = [Self.heads, Self.context, Self.dim, Self.prompts].reduce(1) { $0 * checked[$1] }
    guard product <= Self.most else {
      throw KnobError(
        """
        \(Self.card.id): heads * context * dim * prompts is \(product), more than \(Self.most); \
        give fewer prompts, examples, heads or a smaller dim
        """
      )
    }
    self.knobs = checked
  }

  /// The lens where there are weights, and the sandbox. Throws `CancellationError`.
  public func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    var findings = Findings()
    do {
      let layer = subject.numbers[subject.focus.layer], isLast = knobs[Self.label] == .last
      // Weights of a model are unpacked as they are asked for: once a layer, not once a head.
      let lens = try run.memo.value("icl-regression \(layer) \(isLast)") {
        try ProjectionLens(
          subject.projections(layer: subject.focus.layer), labelIsLast: isLast, run)
      }
      guard lens.circuits.indices.contains(subject.focus.head) else {
        throw Missing(.weights, hint: "the weights have \(lens.circuits.count) heads")
      }
      lens.add(subject.focus.head, to: &findings)
    } catch let missing as Missing {
      findings.number("diagonality", nil, .share, title: "diagonal share of KQ")
      findings.note("no lens on weights: \(missing)")
    }
    let sandbox = RegressionSandbox(
      context: knobs[Self.context], dim: knobs[Self.dim], sigma: knobs[Self.sigma],
      prompts: knobs[Self.prompts], seed: knobs[Self.seed])
    let findingsOfSandbox = RegressionFindings(
      sandbox: sandbox, heads: knobs[Self.heads], omega: knobs[Self.omega], eta: knobs[Self.eta])
    try findingsOfSandbox.add(run, to: &findings)
    findings.note(
      """
      sandbox: \(knobs[Self.prompts]) prompts of seed \(knobs[Self.seed]), the same for every head
      """
    )
    return findings
  }
}
