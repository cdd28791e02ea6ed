public import Analysis
public import Attention

/// Sliding window: every query sees the last w keys, itself included.
///
/// Keep (i, j) <=> 0 <= i - j < w; when not causal |i - j| < w. No search. As in Longformer
/// (Beltagy et al., 2020, arXiv 2004.05150) and Mistral 7B (Jiang et al., 2023, arXiv 2310.06825).
/// Sinks fall out of the window as soon as the text is longer than it: see what that costs beside
/// `sink-window`. Cost n w.
public struct SlidingWindow: MaskMethod {
  static let size = Knob(
    "window", "keys kept, the query's own included", 1...1 << 30, standard: 4096,
    step: .multiply(2), isMain: true, aliases: ["w"])

  public static let card = MethodCard(
    id: "window", title: "Sliding window", family: "static",
    idea: "Keep the last w keys of every query, and nothing else.",
    source: "Beltagy et al., Longformer, 2020, arXiv 2004.05150",
    knobs: [size.facts, Budget.knob.facts], mainField: "kept", mainNumber: "recall_mean",
    denseKnobs: ["window": .number(Double(1 << 30))],
    growth: .noSearch)

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for knobs that are unknown or out of range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// What is kept of a head. Throws `Missing`, `CancellationError`.
  public func keep(_ head: Head, _ run: MethodRun, _ aside: inout Aside) -> KeptSet {
    let budget = Budget(knobs, of: ["window"], keys: head.keys, reference: 32 * 1024)
    let size = min(budget.tokens(knobs[Self.size]), head.keys)
    budget.note(["window": size], &aside)
    return Shapes.aShape(head, initial: 0, local: size)
  }
}

/// StreamingLLM: a few first keys, where the sinks are, and a sliding window.
///
/// Keep (i, j) <=> j < sinks or 0 <= i - j < w. Paper: Xiao et al., "Efficient Streaming Language
/// Models with Attention Sinks", ICLR 2024, arXiv 2309.17453: four sinks. The paper also renumbers
/// the positions of what is kept; here keys keep the positions that they were rotated for. Cost
/// n (sinks + w).
public struct SinkWindow: MaskMethod {
  static let sinks = Knob(
    "sinks", "first keys kept", 0...1 << 30, standard: 4, aliases: ["initial"])
  static let size = Knob(
    "window", "recent keys kept", 1...1 << 30, standard: 1020, step: .multiply(2), isMain: true,
    aliases: ["w", "local"])

  public static let card = MethodCard(
    id: "sink-window", title: "Sink + window (StreamingLLM)", family: "static",
    idea: "Keep four first keys and the last w: bounded memory for endless text.",
    source: "Xiao et al., Streaming Language Models with Attention Sinks, 2023, arXiv 2309.17453",
    knobs: [sinks.facts, size.facts, Budget.knob.facts],
    fidelity: .proxy("keys keep the positions they were rotated for; the paper renumbers them"),
    mainField: "kept", mainNumber: "recall_mean",
    denseKnobs: ["window": .number(Double(1 << 30))],
    growth: .noSearch)

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for knobs that are unknown or out of range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// The window is scaled to the map; sinks are tokens of the model and are not.
  public func keep(_ head: Head, _ run: MethodRun, _ aside: inout Aside) -> KeptSet {
    let budget = Budget(knobs, of: ["window"], keys: head.keys, reference: 16 * 1024)
    let size = min(budget.tokens(knobs[Self.size]), head.keys)
    budget.note(["window": size], &aside)
    return Shapes.aShape(head, initial: knobs[Self.sinks], local: size)
  }
}

/// Tri-shape: an A-shape whose last queries are dense, since a question at the end of a prompt
/// decides the answer.
///
/// Keep (i, j) <=> j < initial, or 0 <= i - j < local, or i is one of the last `last` queries.
/// Paper: Li et al., "SCBench", ICLR 2025, arXiv 2412.10319. Cost n (initial + local) + last n.
public struct TriShape: MaskMethod {
  static let initial = Knob(
    "initial", "first keys kept", 0...1 << 30, standard: 1024, step: .multiply(2),
    aliases: ["n_init"])
  static let local = Knob(
    "local", "recent keys kept", 1...1 << 30, standard: 4096, step: .multiply(2), isMain: true,
    aliases: ["n_local"])
  static let last = Knob(
    "last", "last queries that see everything", 0...1 << 30, standard: 100, step: .multiply(2),
    aliases: ["n_last"])

  public static let card = MethodCard(
    id: "tri-shape", title: "Tri-shape", family: "static",
    idea: "An A-shape whose last queries, where the question stands, see everything.",
    source: "Li et al., SCBench, ICLR 2025, arXiv 2412.10319",
    knobs: [initial.facts, local.facts, last.facts, Budget.knob.facts], mainField: "kept",
    mainNumber: "recall_mean",
    denseKnobs: ["initial": .number(Double(1 << 30)), "budget": .word("paper")],
    growth: .noSearch)

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for knobs that are unknown or out of range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// An engine reads a prompt in parts, and does not know its last rows.
  public var engineRefusal: String? { "sees a prompt's last rows whole, and a part has none" }

  /// What is kept of a head. Throws `Missing`, `CancellationError`.
  public func keep(_ head: Head, _ run: MethodRun, _ aside: inout Aside) -> KeptSet {
    let budget = Budget(knobs, of: ["initial", "local", "last"], keys: head.keys)
    let initial = min(budget.tokens(knobs[Self.initial]), head.keys)
    let local = min(budget.tokens(knobs[Self.local]), head.keys)
    let last = min(budget.tokens(knobs[Self.last]), head.queries)
    budget.note(["initial": initial, "local": local, "last": last], &aside)
    var set = Shapes.aShape(head, initial: initial, local: local)
    let dense = head.queries - last
    set.keep(
      KeyRanges((0..<head.queries).map { $0 < dense ? [] : [0..<head.keys] }))
    return set
  }
}

/// Dilated window: every second, third or so on key behind the query.
///
/// Keep (i, j) <=> i - j is a multiple of `dilation` and 0 <= (i - j) / dilation < w, or j is one
/// of the first `sinks` keys. Reaches `dilation` times further than a window of the same cost.
/// Paper: Beltagy et al., "Longformer", 2020, arXiv 2004.05150. Cost n w.
public struct DilatedWindow: MaskMethod {
  static let size = Knob(
    "window", "keys kept", 1...1 << 30, standard: 512, step: .multiply(2), isMain: true,
    aliases: ["w"])
  static let dilation = Knob(
    "dilation", "distance of kept keys", 1...1 << 20, standard: 2, step: .multiply(2))
  static let sinks = Knob("sinks", "first keys kept", 0...1 << 30, standard: 0)

  public static let card = MethodCard(
    id: "dilated", title: "Dilated window", family: "static",
    idea: "Keep every d-th key behind the query: further back for the same cost.",
    source: "Beltagy et al., Longformer, 2020, arXiv 2004.05150",
    knobs: [size.facts, dilation.facts, sinks.facts, Budget.knob.facts], mainField: "kept",
    mainNumber: "recall_mean",
    denseKnobs: ["window": .number(Double(1 << 30)), "dilation": .number(1)],
    growth: .noSearch)

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for knobs that are unknown or out of range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// What is kept of a head. Throws `Missing`, `CancellationError`.
  public func keep(_ head: Head, _ run: MethodRun, _ aside: inout Aside) -> KeptSet {
    let budget = Budget(knobs, of: ["window"], keys: head.keys, reference: 4096)
    let size = budget.tokens(knobs[Self.size]), dilation = knobs[Self.dilation]
    budget.note(["window": size], &aside)
    var set = Shapes.aShape(head, initial: knobs[Self.sinks], local: 0)
    let furthest = max(head.keys, head.visibility.position(row: head.queries - 1) + 1)
    for step in 0..<min(size, furthest / dilation + 1) { set.keep(offset: step * dilation) }
    return set
  }
}
