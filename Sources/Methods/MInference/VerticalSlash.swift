public import Analysis
public import Attention

/// MInference 1.0, vertical-slash: the heaviest columns and diagonals, found from the last queries.
///
/// Softmax of the last 64 queries; sum down columns and along diagonals; keep the `vertical` heaviest columns and
/// the `slash` heaviest offsets, the first `forced` of each taken before any other and counted. Keep (i, j) <=> column j
/// or offset i - j chosen. Paper: Jiang et al., "MInference 1.0", 2024, arXiv 2407.02490 (card 1). A column that
/// nobody of the last 64 queries looks at is missed: that is the method, not a fault.
public struct VerticalSlash: MaskMethod {
  static let vertical = Knob(
    "vertical", "columns kept", 0...1 << 30, standard: 1000, step: .multiply(2), aliases: ["v"])
  static let slash = Knob(
    "slash", "diagonals kept", 0...1 << 30, standard: 6096, step: .multiply(2), isMain: true,
    aliases: ["s"])
  static let rows = Knob(
    "rows", "last queries that are looked at", 1...4096, standard: 64, aliases: ["L"])

  public static let card = MethodCard(
    id: "vertical-slash", title: "Vertical-slash", family: "minference",
    idea: "Keep the columns and diagonals that the last 64 queries find heaviest.",
    source: "Jiang et al., MInference 1.0, 2024, arXiv 2407.02490",
    knobs: [vertical.facts, slash.facts, rows.facts, Budget.knob.facts], mainField: "kept",
    mainNumber: "recall_mean",
    denseKnobs: ["vertical": .number(Double(1 << 30)), "budget": .word("paper")])

  private let knobs: CheckedKnobs

  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// The budgets are raised to the released code's floors (30 columns, 50 offsets); its forced counts are 30 and 100.
  public func keep(_ head: Head, _ run: MethodRun, _ aside: inout Aside) -> KeptSet {
    let budget = Budget(knobs, of: ["vertical", "slash"], keys: head.keys)
    let vertical = max(budget.tokens(knobs[Self.vertical]), budget.tokens(30))
    let slash = max(budget.tokens(knobs[Self.slash]), budget.tokens(50))
    let seen = Shapes.lastQueries(run.pattern(head), rows: knobs[Self.rows])
    aside.selection = seen.rows * head.keys
    aside.findings.series(
      "columns", Axis(.key, seen.columns.count), seen.columns.map(Float.init), .none,
      title: "mass of the last queries, by key")
    aside.findings.series(
      "offsets", Axis(.offset, seen.offsets.count), seen.offsets.map(Float.init), .none,
      title: "mass of the last queries, by offset")
    budget.note(["vertical": vertical, "slash": slash], &aside)
    return Shapes.verticalSlash(
      head, seen, vertical: vertical, slash: slash, forcedColumns: budget.tokens(30),
      forcedOffsets: budget.tokens(100))
  }
}
