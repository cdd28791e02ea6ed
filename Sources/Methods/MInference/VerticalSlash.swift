public import Analysis
public import Attention

/// MInference 1.0, vertical-slash: the heaviest columns and diagonals, found from the last queries.
///
///     Â  = softmax of the last L = `rows` queries                      `[L, n]`
///     a_j = Σ_i Â_ij,   b_o = Σ_i Â_{i, i-o}                           `[n]` each
///     V = top `vertical` of a,   S = top `slash` of b
///     keep (i, j)  <=>  j in V  or  i - j in S
///
/// The shape that most heads get in MInference 1.0 (Jiang et al., "MInference 1.0", 2024, arXiv
/// 2407.02490): columns are tokens that everybody reads, diagonals are fixed distances. Computed
/// here exactly, entry by entry; ties go to the lower index. The first 30 columns and the 100
/// smallest offsets are taken before any other and count against the budget, which is raised to at
/// least 30 columns and 50 offsets, all as in the released code.
///
/// Not computed: the wider cover of the released kernel, which rounds diagonals up to runs of 64
/// keys (`blocks` shows aligned 64x64 tiles instead), and the offline search that deals shapes to
/// heads.
///
/// A column that nobody of the last 64 queries looks at is missed: that is the method, not a fault.
///
/// Findings: those of every mask; series `columns` `[n]` and `offsets` `[n]`, the sums a and b (a
/// sums to L, and b too where the head is causal); a note of the budgets in force. Cost: L n
/// products to select, counted in `selection`, and a sort; n (vertical + slash) entries to attend
/// to. Needs a head, or a stored map, whose own last rows then are Â.
public struct VerticalSlash: MaskMethod {
  /// Columns kept, in keys; the paper's 1000 at 128k tokens.
  static let vertical = Knob(
    "vertical", "columns kept", 0...1 << 30, standard: 1000, step: .multiply(2), aliases: ["v"])
  /// Diagonals kept, in offsets i - j; the paper's 6096. What `[` and `]` move.
  static let slash = Knob(
    "slash", "diagonals kept", 0...1 << 30, standard: 6096, step: .multiply(2), isMain: true,
    aliases: ["s"])
  /// L: how many of the last queries vote; no budget, so never scaled.
  static let rows = Knob(
    "rows", "last queries that are looked at", 1...4096, standard: 64, aliases: ["L"])

  /// Dense when all columns are kept; the number to rank heads by is the mean recall.
  public static let card = MethodCard(
    id: "vertical-slash", title: "Vertical-slash", family: "minference",
    idea: "Keep the columns and diagonals that the last 64 queries find heaviest.",
    source: "Jiang et al., MInference 1.0, 2024, arXiv 2407.02490",
    knobs: [vertical.facts, slash.facts, rows.facts, Budget.knob.facts], mainField: "kept",
    mainNumber: "recall_mean",
    denseKnobs: ["vertical": .number(Double(1 << 30)), "budget": .word("paper")])

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// The set of one head, and the two strips it was chosen by. The budgets are raised to the
  /// released code's floors (30 columns, 50 offsets); its forced counts are 30 and 100, scaled like
  /// the budgets. Throws nothing.
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
