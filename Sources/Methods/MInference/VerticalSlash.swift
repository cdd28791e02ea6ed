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
/// `level=kernel` keeps what the released kernel computes: for each block of queries a kept offset
/// covers a run of `block` keys, and a run that reaches beyond the running one by up to a block
/// makes it longer by a whole block, so that more is covered than the union of the runs. It is
/// defined for causal heads; others keep the entries.
///
/// The offline search that deals shapes to heads is `PatternSearch`.
///
/// A column that nobody of the last 64 queries looks at is missed: that is the method, not a fault.
///
/// Findings: those of every mask; series `columns` `[n]` and `offsets` `[n]`, the sums a and b (a
/// sums to L, and b too where the head is causal); `columns_kept` and `offsets_kept`; the field
/// `origin` `[queries, keys]`, what each kept entry was chosen by; a note of the budgets in force.
/// Cost: L n products to select, counted in `selection`, and a sort; n (vertical + slash) entries
/// to attend to. Needs a head, or a stored map, whose own last rows then are Â.
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

  /// First columns taken before any other, in keys; the released code's 30.
  static let forcedColumns = Knob(
    "forced_v", "first columns taken before others", 0...1 << 30, standard: 30)
  /// Smallest offsets taken before any other, in tokens; the released code's 100.
  static let forcedOffsets = Knob(
    "forced_s", "smallest offsets taken before others", 0...1 << 30, standard: 100)
  /// Fewest columns whatever the budget; the released code's 30.
  static let leastColumns = Knob("floor_v", "fewest columns", 0...1 << 30, standard: 30)
  /// Fewest offsets whatever the budget; the released code's 50.
  static let leastOffsets = Knob("floor_s", "fewest offsets", 0...1 << 30, standard: 50)
  /// Entries as chosen, or the wider cover of the kernel.
  static let level = Knob(
    "level", "entries as they are chosen, or what the kernel computes", standard: Level.entry)
  /// Rows and keys of the kernel's tiles, in tokens; the released kernel's 64.
  static let block = Knob(
    "block", "tokens of the kernel's tiles", 1...4096, standard: 64, step: .multiply(2))

  /// What is drawn: the pattern, or its cover.
  enum Level: String, Sendable, CaseIterable { case entry, kernel }

  /// Dense when all columns are kept; the number to rank heads by is the mean recall.
  public static let card = MethodCard(
    id: "vertical-slash", title: "Vertical-slash", family: "minference",
    idea: "Keep the columns and diagonals that the last 64 queries find heaviest.",
    source: "Jiang et al., MInference 1.0, 2024, arXiv 2407.02490",
    knobs: [
      vertical.facts, slash.facts, rows.facts, forcedColumns.facts, forcedOffsets.facts,
      leastColumns.facts, leastOffsets.facts, level.facts, block.facts, Budget.knob.facts,
    ], mainField: "kept", mainNumber: "recall_mean",
    denseKnobs: ["vertical": .number(Double(1 << 30)), "budget": .word("paper")],
    variants: [
      "minference-vs": [:], "minference-vs-kernel": ["level": .word("kernel")],
    ],
    growth: Growth("64 n") { 64 * $0 })

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// The set of one head, and the two strips it was chosen by. The budgets are raised to the
  /// floors; floors and forced counts are scaled like the budgets. Throws nothing.
  public func keep(_ head: Head, _ run: MethodRun, _ aside: inout Aside) -> KeptSet {
    let budget = Budget(
      knobs,
      of: ["vertical", "slash", "forced_v", "forced_s", "floor_v", "floor_s", "block"],
      keys: head.keys)
    func tokens(_ knob: Knob<Int>) -> Int { budget.tokens(knobs[knob]) }
    let vertical = max(tokens(Self.vertical), tokens(Self.leastColumns))
    let slash = max(tokens(Self.slash), tokens(Self.leastOffsets))
    let seen = Shapes.lastQueries(run.pattern(head), rows: knobs[Self.rows])
    aside.selection = seen.rows * head.keys
    aside.findings.series(
      "columns", Axis(.key, seen.columns.count), seen.columns.map(Float.init), .none,
      title: "mass of the last queries, by key")
    aside.findings.series(
      "offsets", Axis(.offset, seen.offsets.count), seen.offsets.map(Float.init), .none,
      title: "mass of the last queries, by offset")
    budget.note(["vertical": vertical, "slash": slash], &aside)
    let set = Shapes.verticalSlash(
      head, seen, vertical: vertical, slash: slash, forcedColumns: tokens(Self.forcedColumns),
      forcedOffsets: tokens(Self.forcedOffsets))
    let columns = set.columns.reduce(0) { $0 + Int($1) }
    aside.findings.number("columns_kept", Double(columns), .keys, title: "columns kept")
    aside.findings.number(
      "offsets_kept", Double(set.offsets.count), .count, title: "diagonals kept")
    aside.findings.field(
      "origin", OriginField(head, set), .labels(["none", "vertical", "slash", "both"]),
      title: "chosen by")
    guard knobs[Self.level] == .kernel, head.visibility.causal else { return set }
    return Self.cover(head, set, size: budget.block(knobs[Self.block]))
  }

  /// What the kernel computes of a set of columns and diagonals, in tiles of `size`.
  static func cover(_ head: Head, _ set: KeptSet, size: Int) -> KeptSet {
    let offsets = set.offsets.reversed()
    let tiles = stride(from: 0, to: head.queries, by: size).map { row -> [Range<Int>] in
      let first = head.visibility.position(row: row)
      var runs: [Range<Int>] = []
      for offset in offsets where offset < first + size {
        let end = max(first + size - offset, size)
        guard let last = runs.last, end <= last.upperBound + size else {
          runs.append(end - size..<end)
          continue
        }
        guard end > last.upperBound else { continue }
        runs[runs.count - 1] = last.lowerBound..<last.upperBound + size
      }
      return runs.map { $0.clamped(to: 0..<head.keys) }
    }
    var wide = KeptSet(queries: head.queries, keys: head.keys, visibility: head.visibility)
    wide.columns = set.columns
    wide.keep(KeyRanges(tiles, tileRows: size))
    return wide
  }
}

/// What each entry was chosen by: 0 nothing, 1 its column, 2 its diagonal, 3 both; NaN where it is
/// not seen.
struct OriginField: RowField {
  /// Queries from top to bottom.
  let rows: Axis
  /// Keys from left to right.
  let columns: Axis
  private let visibility: Visibility
  private let kept: [UInt8]
  private let offsets: Set<Int>

  /// Of a set that columns and diagonals make.
  init(_ head: Head, _ set: KeptSet) {
    (rows, columns) = (Axis(.query, head.queries), Axis(.key, head.keys))
    (visibility, kept, offsets) = (head.visibility, set.columns, Set(set.offsets))
  }

  /// Flags and the set of offsets.
  var bytes: Int { kept.count + 16 * offsets.count }

  /// One row at a time. Throws what `body` throws.
  func withRows(
    _ range: Range<Int>, _ body: (Int, UnsafeBufferPointer<Float>) throws -> Void
  ) throws {
    for row in range {
      let limit = visibility.limit(row: row), position = max(visibility.position(row: row), 0)
      let flags = (0..<columns.count).map { key -> Float in
        guard key < limit else { return .nan }
        return Float(kept[key]) + (offsets.contains(abs(position - key)) ? 2 : 0)
      }
      try flags.withUnsafeBufferPointer { try body(row, $0) }
    }
  }
}
