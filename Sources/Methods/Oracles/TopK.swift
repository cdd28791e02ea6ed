public import Analysis
public import Attention

/// Oracle top-k: the k heaviest entries of every dense row.
///
/// Nothing can recall more with k entries a row, so that every mask's oracle gap is its distance to
/// this one at its own row sizes. It reads the whole dense pattern to decide, which a kernel could
/// not: a yardstick, not a way to save work. The selection overhead is therefore 100 %. Ties go to
/// the lower key; a row that sees fewer than k keys keeps them all. Findings: those of every mask.
/// Cost n² d for the pattern, n² log k for the choice.
public struct TopK: MaskMethod {
  static let count = Knob(
    "k", "entries kept a row", 1...1 << 30, standard: 64, step: .multiply(2), isMain: true,
    aliases: ["count"])

  public static let card = MethodCard(
    id: "top-k", title: "Top-k (oracle)", family: "oracle",
    idea: "Keep the k heaviest entries of every row: the most that k entries can recall.",
    source: "the yardstick of every mask; as in Gupta et al., 2021, arXiv 2106.06899",
    knobs: [count.facts], mainField: "kept", mainNumber: "recall_mean",
    denseKnobs: ["k": .number(Double(1 << 30))],
    growth: .wholeMap)

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for knobs that are unknown or out of range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// What is kept of a head. Throws `Missing`, `CancellationError`.
  public func keep(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> KeptSet {
    let count = knobs[Self.count]
    aside.selection = head.visibleEntries
    return try RowPicks.looked(head, run, &aside) { _, p, limit in
      TopPicks.runs(TopPicks.largest(count, of: UnsafeBufferPointer(rebasing: p[..<limit])))
    }
  }
}
