public import Analysis
public import Attention

/// MInference 1.0, A-shape: the first tokens and a local window.
///
///     keep (i, j)  <=>  j < initial  or  0 <= i - j < local
///
/// The simplest of the three shapes that MInference 1.0 deals out to heads (Jiang et al.,
/// "MInference 1.0", 2024, arXiv 2407.02490): sinks at the beginning, neighbours at the diagonal,
/// nothing searched for. Computed here exactly, as a mask over entries; the paper's offline search,
/// which decides *which* heads get this shape and how large, is not part of it. Budgets are the
/// paper's (1024 and 4096 tokens), scaled from 128k tokens to this map unless `budget` is `paper`.
///
/// Without a causal mask the window is taken on both sides of the diagonal (ours).
///
/// Findings: those of every mask (`kept`, `blocks`, `output`, `density`, `recall_mean`, `error` and
/// the others) and a note of the budgets in force. Needs nothing beyond a head, Q and K or a stored
/// map; `selection` is 0. Cost: O(n) to make the set, n (initial + local) entries to attend to; the
/// shared numbers read the whole pattern once.
public struct AShape: MaskMethod {
  /// First tokens that every query keeps, in tokens.
  static let initial = Knob(
    "initial", "first tokens kept", 0...1 << 30, standard: 1024, step: .multiply(2),
    aliases: ["n_init"])
  /// Width of the window in tokens, the query itself included; what `[` and `]` move.
  static let local = Knob(
    "local", "recent tokens kept", 1...1 << 30, standard: 4096, step: .multiply(2), isMain: true,
    aliases: ["n_local"])

  /// The id is that of a pattern label too: a head may look like this without being cut to it.
  public static let card = MethodCard(
    id: "a-shape", title: "A-shape", family: "minference",
    idea: "Keep the first tokens (where sinks are) and a window of recent ones.",
    source: "Jiang et al., MInference 1.0, 2024, arXiv 2407.02490",
    knobs: [initial.facts, local.facts, Budget.knob.facts], mainField: "kept",
    mainNumber: "recall_mean",
    denseKnobs: ["initial": .number(Double(1 << 30)), "budget": .word("paper")],
    growth: .noSearch)

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// The set of one head `[queries, keys]`; budgets beyond the map keep everything. Throws nothing.
  public func keep(_ head: Head, _ run: MethodRun, _ aside: inout Aside) -> KeptSet {
    let budget = Budget(knobs, of: ["initial", "local"], keys: head.keys)
    let initial = min(budget.tokens(knobs[Self.initial]), head.keys)
    let local = min(budget.tokens(knobs[Self.local]), head.keys)
    budget.note(["initial": initial, "local": local], &aside)
    return Shapes.aShape(head, initial: initial, local: local)
  }
}
