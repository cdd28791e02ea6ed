public import Analysis
public import Attention

/// MInference 1.0, A-shape: the first tokens and a local window.
///
/// Keep (i, j) <=> j < initial or 0 <= i - j < local. No search. Paper: Jiang et al., "MInference 1.0", 2024, arXiv
/// 2407.02490 (card 1). Budgets are the paper's (1024, 4096), scaled from 128k unless `budget` is `paper`.
public struct AShape: MaskMethod {
  static let initial = Knob(
    "initial", "first tokens kept", 0...1 << 30, standard: 1024, step: .multiply(2),
    aliases: ["n_init"])
  static let local = Knob(
    "local", "recent tokens kept", 1...1 << 30, standard: 4096, step: .multiply(2), isMain: true,
    aliases: ["n_local"])

  public static let card = MethodCard(
    id: "a-shape", title: "A-shape", family: "minference",
    idea: "Keep the first tokens (where sinks are) and a window of recent ones.",
    source: "Jiang et al., MInference 1.0, 2024, arXiv 2407.02490",
    knobs: [initial.facts, local.facts, Budget.knob.facts], mainField: "kept",
    mainNumber: "recall_mean",
    denseKnobs: ["initial": .number(Double(1 << 30)), "budget": .word("paper")])

  private let knobs: CheckedKnobs

  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  public func keep(_ head: Head, _ run: MethodRun, _ aside: inout Aside) -> KeptSet {
    let budget = Budget(knobs, of: ["initial", "local"], keys: head.keys)
    let initial = min(budget.tokens(knobs[Self.initial]), head.keys)
    let local = min(budget.tokens(knobs[Self.local]), head.keys)
    budget.note(["initial": initial, "local": local], &aside)
    return Shapes.aShape(head, initial: initial, local: local)
  }
}
