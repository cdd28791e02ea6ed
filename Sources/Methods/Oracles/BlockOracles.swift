public import Analysis
public import Attention

/// Oracle of blocks: in every row of blocks the k key blocks that hold the most dense mass.
///
/// What a block-sparse kernel could recall at best with k blocks of B tokens a query block. A block
/// is weighed by the sum of its entries of the dense pattern; ties go to the lower block. Not
/// causal beyond what the rows see: the diagonal block is not forced, and a row whose block keeps
/// only later keys keeps the last block that it sees. Decided from the whole pattern (selection
/// overhead 100 %). Cost n² d.
public struct BlockTopK: MaskMethod {
  static let count = Knob(
    "k", "key blocks kept a query block", 1...1 << 30, standard: 8, step: .multiply(2),
    isMain: true, aliases: ["count"])
  static let block = Knob(
    "block", "tokens of a block", 1...4096, standard: 64, step: .multiply(2), aliases: ["B"])

  public static let card = MethodCard(
    id: "block-top-k", title: "Block top-k (oracle)", family: "oracle",
    idea: "Keep the k heaviest key blocks of every query block: the most that k blocks recall.",
    source: "the yardstick of block-sparse masks; as in SeerAttention, 2024, arXiv 2410.13276",
    knobs: [count.facts, block.facts], mainField: "kept", mainNumber: "recall_mean",
    denseKnobs: ["k": .number(Double(1 << 30))],
    growth: .wholeMap)

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for knobs that are unknown or out of range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// As the knob says: a prompt is cut before its length is known.
  public var rowsTogether: Int { knobs[Self.block] }

  /// What is kept of a head. Throws `Missing`, `CancellationError`.
  public func keep(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> KeptSet {
    let size = knobs[Self.block], count = knobs[Self.count]
    aside.selection = head.visibleEntries
    return try BlockPicks.set(head, BlockMass(head, size: size, .sum, run), size: size) { row in
      Shapes.top(count, of: row)
    }
  }
}

/// Oracle of blocks by mass: in every row of blocks the fewest key blocks that hold a share p of
/// its dense mass.
///
/// The yardstick of methods that choose blocks by cumulative mass. Blocks are weighed by the sum of
/// their entries, ties go to the lower block. Decided from the whole pattern (selection overhead
/// 100 %). Findings: those of every mask and the series
/// `picks` (blocks kept, by query block). Cost n² d.
public struct BlockTopP: MaskMethod {
  static let mass = Knob(
    "p", "mass to reach in every query block", 0...1, standard: 0.95, step: .add(0.01),
    isMain: true, aliases: ["mass"])
  static let block = Knob(
    "block", "tokens of a block", 1...4096, standard: 64, step: .multiply(2), aliases: ["B"])

  public static let card = MethodCard(
    id: "block-top-p", title: "Block top-p (oracle)", family: "oracle",
    idea: "Keep the fewest key blocks of every query block that hold a share p of its mass.",
    source: "the yardstick of masks by cumulative mass; as in FlexPrefill, 2025, arXiv 2502.20766",
    knobs: [mass.facts, block.facts], mainField: "kept", mainNumber: "density",
    denseKnobs: ["p": .number(1)],
    growth: .wholeMap)

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for knobs that are unknown or out of range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// As the knob says: a prompt is cut before its length is known.
  public var rowsTogether: Int { knobs[Self.block] }

  /// What is kept of a head. Throws `Missing`, `CancellationError`.
  public func keep(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> KeptSet {
    let size = knobs[Self.block], mass = knobs[Self.mass]
    aside.selection = head.visibleEntries
    let masses = try BlockMass(head, size: size, .sum, run)
    var picks: [Float] = []
    let set = BlockPicks.set(head, masses, size: size) { row in
      let chosen = mass >= 1 ? Array(row.indices) : TopPicks.mass(mass, of: row)
      picks.append(Float(chosen.count))
      return chosen
    }
    aside.findings.series(
      "picks", Axis(.block, picks.count, span: size, tokens: head.queries), picks, .blocks,
      title: "blocks kept, by query block")
    return set
  }
}

/// What methods that choose key blocks of query blocks share.
enum BlockPicks {
  /// The kept set of chosen blocks. `choose` gets a row's scores `[visible key blocks]` and says
  /// which of them are kept.
  static func set(
    _ head: Head, _ scores: BlockMass, size: Int, _ choose: ([Double]) -> [Int]
  ) -> KeptSet {
    set(head, size: size) { a, _ in choose(scores.row(a, head, size: size)) }
  }

  /// The kept set of chosen blocks. `choose` gets a query block and how many key blocks its last
  /// row sees.
  ///
  /// Rows at the upper edge of a query block may see none of the chosen blocks: the last block that
  /// they see is then kept for them alone, since softmax over nothing is not defined.
  static func set(_ head: Head, size: Int, _ choose: (Int, Int) -> [Int]) -> KeptSet {
    let high = (head.queries + size - 1) / size, wide = (head.keys + size - 1) / size
    var blocks = [UInt8](repeating: 0, count: high * wide)
    for a in 0..<high {
      let last = min((a + 1) * size, head.queries) - 1
      let seen = (head.visibility.limit(row: last) + size - 1) / size
      for b in choose(a, seen) { blocks[a * wide + b] = 1 }
    }
    var set = KeptSet(queries: head.queries, keys: head.keys, visibility: head.visibility)
    set.keep(blocks: blocks, size: size)
    guard let blind = blindRows(head, blocks, wide: wide, size: size) else { return set }
    set.keep(blind)
    return set
  }

  /// Runs for the rows that see no chosen block, their last visible block; nil when there is no
  /// such row.
  private static func blindRows(_ head: Head, _ blocks: [UInt8], wide: Int, size: Int)
    -> KeyRanges?
  {
    var any = false
    let rows = (0..<head.queries).map { row -> [Range<Int>] in
      let limit = head.visibility.limit(row: row), first = row / size * wide
      guard limit > 0 else { return [] }
      let last = (limit - 1) / size
      guard !(0...last).contains(where: { blocks[first + $0] != 0 }) else { return [] }
      any = true
      return [last * size..<limit]
    }
    return any ? KeyRanges(rows) : nil
  }
}
