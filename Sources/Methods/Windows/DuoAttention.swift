public import Analysis
public import Attention

/// DuoAttention: heads that retrieve keep everything, heads that stream keep sinks and a window.
///
/// The paper learns a gate a head by optimisation on synthetic retrieval; without that gate the
/// class is read off the head itself: the mean mass that its rows place on keys which are neither
/// among the `sinks` first nor the `window` last, its *distant mass*. At `threshold` or more the
/// head is a retrieval head and keeps all, below it it keeps sinks and window. Rows that see no
/// distant key are left out of the mean. Paper: Xiao et al., "DuoAttention", ICLR 2025, arXiv
/// 2410.10819 (sinks 64, recent 256). Findings: those of every mask, `distant_mass`, `retrieval` (1
/// or 0) and the series `distant` along queries. Cost n² d for the pattern.
public struct DuoAttention: MaskMethod {
  static let threshold = Knob(
    "threshold", "distant mass from which a head retrieves", 0...1, standard: 0.1,
    step: .add(0.01), isMain: true)
  static let sinks = Knob(
    "sinks", "first keys of a streaming head", 0...1 << 30, standard: 64, aliases: ["initial"])
  static let size = Knob(
    "window", "recent keys of a streaming head", 1...1 << 30, standard: 256,
    step: .multiply(2), aliases: ["w", "local"])

  public static let card = MethodCard(
    id: "duoattention", title: "DuoAttention's head classes", family: "heads",
    idea: "Heads that look far keep everything, the others sinks and a window.",
    source: "Xiao et al., DuoAttention, ICLR 2025, arXiv 2410.10819",
    knobs: [threshold.facts, sinks.facts, size.facts, Budget.knob.facts],
    fidelity: .surrogate(.U3, "the class by distant mass of this head, not by the trained gate"),
    mainField: "kept", mainNumber: "distant_mass", denseKnobs: ["threshold": .number(0)],
    growth: .wholeMap)

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for knobs that are unknown or out of range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// A class is of a head and not of a row.
  public var engineRefusal: String? { "reads all rows of a head to tell its class" }

  /// What is kept of a head. Throws `Missing`, `CancellationError`.
  public func keep(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> KeptSet {
    let budget = Budget(knobs, of: ["sinks", "window"], keys: head.keys, reference: 32 * 1024)
    let sinks = budget.tokens(knobs[Self.sinks]),
      size = min(budget.tokens(knobs[Self.size]), head.keys)
    budget.note(["sinks": sinks, "window": size], &aside)
    let pattern = run.pattern(head)
    let step = run.sampling(head, tiles: head.queries, rows: 1)
    let parts = try RowPicks.spread((head.queries + step - 1) / step, by: 16, run) { places in
      var found: [Float] = []
      for rows in step == 1 ? [places] : places.map({ $0 * step..<$0 * step + 1 }) {
        pattern.withRows(rows) { row, p, _ in
          found.append(Self.distant(p, row, head, sinks: sinks, size: size))
        }
      }
      return found
    }
    var masses = [Float](repeating: .nan, count: head.queries)
    for (place, mass) in parts.enumerated() { masses[place * step] = mass }
    if step > 1 { aside.findings.note("distant mass is read from one row in \(step)") }
    let seen = masses.filter { !$0.isNaN }
    let mean = seen.isEmpty ? nil : seen.reduce(0.0) { $0 + Double($1) } / Double(seen.count)
    let isRetrieval = (mean ?? 0) >= knobs[Self.threshold]
    aside.selection = head.visibleEntries
    aside.findings.number("distant_mass", mean, .share, title: "distant mass")
    aside.findings.number(
      "retrieval", isRetrieval ? 1 : 0, .count, title: "retrieval (1) or streaming (0)")
    aside.findings.series(
      "distant", Axis(.query, head.queries), masses, .share, title: "distant mass, by query")
    if mean == nil { aside.findings.note("no query sees a distant key on this map") }
    guard !isRetrieval else {
      var set = KeptSet(queries: head.queries, keys: head.keys, visibility: head.visibility)
      set.keep(columns: 0..<head.keys)
      return set
    }
    return Shapes.aShape(head, initial: sinks, local: size)
  }

  /// Mass of a row `p` `[keys]` behind the window and, where the head is not causal, before it;
  /// NaN where there is nothing as far away.
  private static func distant(
    _ p: UnsafeBufferPointer<Float>, _ row: Int, _ head: Head, sinks: Int, size: Int
  ) -> Float {
    let at = head.visibility.position(row: row), limit = head.visibility.limit(row: row)
    let behind = sinks..<max(sinks, min(at - size + 1, limit))
    let ahead = max(sinks, at + size)..<max(sinks, at + size, limit)
    let far = behind.reduce(0.0) { $0 + Double(p[$1]) }
    let mass = ahead.reduce(far) { $0 + Double(p[$1]) }
    return behind.isEmpty && ahead.isEmpty ? .nan : Float(mass)
  }
}
