public import Analysis
public import Attention

/// Oracle top-p: in every dense row the fewest entries whose mass reaches p.
///
/// The number of entries follows the row: one for a row that looks at a sink alone, many for a flat
/// one. Decided from the whole dense pattern (selection overhead 100 %): a yardstick. Ties go to
/// the lower key. Findings: those of every mask, `picks` (entries kept, by query) and `picks_mean`.
/// Cost n² d for the pattern, a sort of every row.
public struct TopP: MaskMethod {
  static let mass = Knob(
    "p", "mass to reach in every row", 0...1, standard: 0.95, step: .add(0.01), isMain: true,
    aliases: ["mass"])

  public static let card = MethodCard(
    id: "top-p", title: "Top-p (oracle)", family: "oracle",
    idea: "Keep the fewest entries of every row that hold a share p of its mass.",
    source: "the yardstick of adaptive masks; as in Lin et al., Twilight, 2025, arXiv 2502.02770",
    knobs: [mass.facts], mainField: "kept", mainNumber: "density",
    denseKnobs: ["p": .number(1)],
    growth: .wholeMap)

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for knobs that are unknown or out of range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// What is kept of a head. Throws `Missing`, `CancellationError`.
  public func keep(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> KeptSet {
    let mass = knobs[Self.mass]
    let set = try RowPicks.looked(head, run, &aside) { _, p, limit in
      // All of it means all of it, whatever float sums say.
      guard mass < 1 else { return [0..<limit] }
      return TopPicks.runs(TopPicks.mass(mass, of: p[..<limit]).sorted())
    }
    aside.selection = head.visibleEntries
    guard aside.keptRows == nil, let ranges = set.ranges else { return set }
    let picks = (0..<head.queries).map { ranges.runs(row: $0).reduce(0) { $0 + $1.count } }
    aside.findings.series(
      "picks", Axis(.query, head.queries), picks.map(Float.init), .count,
      title: "entries kept, by query")
    aside.findings.number(
      "picks_mean", Double(picks.reduce(0, +)) / Double(max(picks.count, 1)), .count,
      title: "entries kept a row")
    return set
  }
}
