public import Attention

/// MInference 1.0, vertical-slash: the heaviest columns and diagonals, found from the last queries.
///
/// Softmax of the last 64 queries; sum down columns and along diagonals; keep the `vertical` heaviest columns and
/// the `slash` heaviest offsets, the first `forced` of each taken before any other and counted. Keep (i, j) <=> column j
/// or offset i - j chosen. Paper: Jiang et al., "MInference 1.0", 2024, arXiv 2407.02490 (card 1). A column that
/// nobody of the last 64 queries looks at is missed: that is the method, not a fault.
public struct VerticalSlash: AttentionMethod {
  public static let card = MethodCard(
    id: "vertical-slash", title: "Vertical-slash", family: "minference",
    idea: "Keep the columns and diagonals that the last 64 queries find heaviest.",
    citation: "Jiang et al., MInference 1.0, 2024, arXiv 2407.02490",
    knobs: [
      Knob("vertical", "columns kept", .integer(0...1 << 30), standard: .number(1000)),
      Knob("slash", "diagonals kept", .integer(0...1 << 30), standard: .number(6096)),
      Knob("rows", "last queries that are looked at", .integer(1...4096), standard: .number(64)),
      MInference.budgetKnob,
    ], denseKnobs: ["vertical": .number(Double(1 << 30)), "budget": .word("paper")])

  private let knobs: CheckedKnobs

  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// The budgets in force on a map of `keys` keys: the released code's floors (30 columns, 50 offsets) and forced counts (30, 100).
  func budgets(keys: Int) -> (vertical: Int, slash: Int, columns: Int, offsets: Int) {
    let budget = MInference.Budget(knobs, keys: keys)
    return (
      max(budget.tokens(knobs.integer("vertical")), budget.tokens(30)),
      max(budget.tokens(knobs.integer("slash")), budget.tokens(50)), budget.tokens(30),
      budget.tokens(100)
    )
  }

  public func attend(_ group: HeadGroup, state: inout AttentionState, trace: inout Trace)
    -> [[Float]]?
  {
    let use = budgets(keys: group.keys)
    let sets = group.heads.map { head in
      let seen = Shapes.lastQueries(PatternRows(head), rows: knobs.integer("rows"))
      trace.cost.selection += seen.rows * head.keys
      return Shapes.verticalSlash(
        head, seen, vertical: use.vertical, slash: use.slash, forcedColumns: use.columns,
        forcedOffsets: use.offsets)
    }
    return MInference.attend(group, sets, state, &trace)
  }
}
