import Algebra
import Analysis
import Attention

/// What the sandbox of in-context regression says.
///
/// Findings: the field `regression_weights` `[3, L]` of the first prompt, softmax at ω, at -ω, and
/// what the heads multiply each y by; the field `predictions` `[prompts, 5]` of at most 32 prompts;
/// mean squared errors `mse_heads`, `mse_single` (one head of the same slope), `mse_debiased`,
/// `mse_ridge` (λ = d σ²; least squares where σ = 0) and `mse_zero` (who answers 0);
/// `gap_debiased`, the mean |heads - debiased gradient descent|, `gap_ratio`, by how much it falls
/// with a tenth of ω (100 as ω → 0), and the curve `gap_by_omega`; `eta_fit`, the η of least error
/// over the prompts, and `mse_debiased_fit`; `shift_heads` and `shift_single`, how much an answer
/// changes when every y grows by 1; the series `head_omegas` and `head_mus`.
struct RegressionFindings: Sendable {
  /// The prompts.
  let sandbox: RegressionSandbox
  /// H.
  let heads: Int
  /// ω and η.
  let omega, eta: Double

  private typealias Heads = RegressionSandbox.Heads
  private typealias Prompt = RegressionSandbox.Prompt

  /// All of it. Throws `CancellationError`.
  func add(_ run: MethodRun, to findings: inout Findings) throws {
    let prompts = sandbox.prompts, several = Heads(heads, omega: omega, eta: eta)
    let single = Heads(1, omega: omega, eta: eta), eta = eta
    let lambda = Double(prompts[0].query.count) * sandbox.sigma * sandbox.sigma
    let all = try RowPicks.spread(prompts.count, by: 8, run) { part in
      part.map { index -> [Double?] in
        let prompt = prompts[index]
        return [
          prompt.truth, prompt.prediction(several), prompt.debiased(eta), prompt.ridge(lambda),
          prompt.prediction(single),
        ]
      }
    }
    addFields(several, all, &findings)
    func error(_ of: ([Double?]) -> Double?) -> Double? {
      let squares = all.map { row in of(row).map { ($0 - row[0]!) * ($0 - row[0]!) } }
      guard !squares.contains(where: { $0 == nil }) else { return nil }
      return squares.reduce(0) { $0 + $1! } / Double(squares.count)
    }
    let names = ["mse_heads", "mse_debiased", "mse_ridge", "mse_single"]
    let titles = [
      "\(heads) heads", "debiased gradient descent", sandbox.sigma > 0 ? "ridge" : "least squares",
      "one head",
    ]
    for (place, (name, title)) in zip(names, titles).enumerated() {
      findings.number(name, error { $0[place + 1] }, title: "squared error, \(title)")
    }
    findings.number("mse_zero", error { _ in 0 }, title: "squared error of the answer 0")
    let squares = prompts.reduce(0) { $0 + $1.debiased(1) * $1.debiased(1) }
    let best = prompts.reduce(0) { $0 + $1.debiased(1) * $1.truth } / squares
    findings.number("eta_fit", squares > 0 ? best : nil, title: "η of least error")
    findings.number(
      "mse_debiased_fit",
      squares > 0 && eta > 0 ? error { $0[2].map { $0 / eta * best } } : nil,
      title: "squared error at that η")
    for (name, title, heads) in [
      ("shift_heads", "\(heads) heads", several), ("shift_single", "one head", single),
    ] {
      findings.number(
        name, prompts[0].weights(heads).reduce(0, +),
        title: "answer when every y grows by 1, \(title)")
    }
    try addGap(run, &findings)
  }

  /// Weights of the first prompt, answers of some, and the heads. `all` are rows of truth, heads,
  /// descent, ridge and one head.
  private func addFields(_ several: Heads, _ all: [[Double?]], _ findings: inout Findings) {
    let first = sandbox.prompts[0], count = first.y.count
    let rows = [first.row(omega), first.row(-omega), first.weights(several)]
    findings.field(
      "regression_weights",
      WholeField(
        rows: Axis(.row, 3, labels: ["softmax at ω", "softmax at -ω", "weights of y"]),
        columns: Axis(.slot, count), values: rows.flatMap { $0.map { Float($0) } }), .signed,
      title: "what a prompt's examples weigh")
    let shown = all.prefix(32)
    let names = ["truth", "\(heads) heads", "debiased GD", "ridge", "one head"]
    findings.field(
      "predictions",
      WholeField(
        rows: Axis(.slot, shown.count), columns: Axis(.column, names.count, labels: names),
        values: shown.flatMap { $0.map { Float($0 ?? .nan) } }), .signed,
      title: "answers by prompt")
    let axis = Axis(.head, heads)
    findings.series(
      "head_omegas", axis, several.omegas.map { Float($0) }, title: "ω of the sandbox's heads")
    findings.series(
      "head_mus", axis, several.mus.map { Float($0) }, title: "μ of the sandbox's heads")
  }

  /// The mean |heads - debiased gradient descent| over the prompts at one ω, η as given: μ grows as
  /// ω falls.
  private func gap(_ omega: Double) -> Double {
    let heads = Heads(heads, omega: omega, eta: eta), prompts = sandbox.prompts
    return prompts.reduce(0) { $0 + ($1.prediction(heads) - $1.debiased(eta)).magnitude }
      / Double(prompts.count)
  }

  /// How that distance falls with ω: as ω², a hundred times a decade.
  private func addGap(_ run: MethodRun, _ findings: inout Findings) throws {
    let here = gap(omega), tenth = gap(omega / 10)
    findings.number("gap_debiased", here, title: "heads against debiased gradient descent")
    findings.number(
      "gap_ratio", heads > 1 && tenth > 0 ? here / tenth : nil,
      title: "that, over the same at a tenth of ω")
    let powers = stride(from: -3.0, through: 0, by: 0.5).map { tenTo($0) }
    var points: [Curve.Point] = []
    for omega in powers {
      try run.checkCancellation()
      points.append(Curve.Point(omega, gap(omega)))
    }
    findings.curve(
      "gap_by_omega",
      Curve(
        x: "ω", y: "mean distance to debiased gradient descent", points: points,
        marks: [.init("here", x: omega, y: here)], isLogarithmic: true),
      title: "heads against debiased gradient descent, by ω")
  }
}
