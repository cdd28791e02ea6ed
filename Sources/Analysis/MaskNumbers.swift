public import Attention
import Tensors

/// The numbers that every method which keeps some entries reports, by one function, so that columns
/// are comparable.
///
/// density: kept entries / visible ones. tile density: of the 64x64 tiles that hold a visible
/// entry, those that hold a kept one. recall: mass R of the dense row on kept entries, mean and
/// worst row. KL(kept row || dense row) = -ln R, mean. oracle gap: recall of the best kept set of
/// the same size in each row, minus R, mean. The kept row is renormalised. One sweep over the
/// pattern; of long heads some tiles of rows stand for all, and `sampledRows` says how many: a
/// number of skipped tiles is then not known. Where a method computes only some rows, those that
/// keep nothing are left out of the row statistics and counted; densities stay over all rows.
///
/// Example: `try MaskNumbers(head, set, MethodRun()).recallMean`. The catch: `recall` and `density`
/// must be read together; keeping all gives recall 1.
public struct MaskNumbers: Sendable {
  /// Sides of the tiles of `tileDensity` and of `mask`, in tokens.
  public static let tile = 64

  /// Kept entries over visible ones, in 0...1.
  public let density: Double
  /// Tiles with a kept entry over tiles with a visible one, in 0...1.
  public let tileDensity: Double
  /// Share of a dense row's mass on kept entries, mean over rows.
  public let recallMean: Double
  /// The same in the worst row; 0 when no row sees anything.
  public let recallMin: Double
  /// What is not recalled; nil when no row sees anything.
  public let dropped: DroppedMass?
  /// In nats; nil where a row keeps no mass at all.
  public let divergence: Double?
  /// What the best choice of as many entries would recall more, mean over rows, in 0...1.
  public let oracleGap: Double
  /// Tiles of 64x64: computed where they hold a kept entry; invisible in rows not looked at.
  public let mask: BlockMask
  /// Tiles of 64x64 with a visible entry, whether their rows were looked at or not.
  public let visibleBlocks: Int
  /// Rows looked at; nil when all were.
  public let sampledRows: Int?
  /// Rows, of those looked at, that keep nothing and are no part of the row statistics; nil when
  /// every row that sees a key counts.
  public let leftOut: Int?

  /// `leavesRowsOut` says that rows which keep nothing have no output. Throws
  /// `CancellationError`. Cost: the pattern, and a selection in every row.
  public init(_ head: Head, _ set: KeptSet, _ run: MethodRun, leavesRowsOut: Bool = false) throws {
    let rows = run.pattern(head)
    let tiles = (head.queries + Self.tile - 1) / Self.tile
    let step = run.sampling(head, tiles: tiles, rows: Self.tile)
    let chosen = Array(stride(from: tiles - 1, through: 0, by: -step))
    let parts = Gathered<MaskPart>()
    run.threads.forEach(0..<chosen.count, isCancelled: run.isCancelled) { item in
      let first = chosen[item] * Self.tile
      parts.add(
        chosen[item],
        MaskPart(rows, set, first..<min(first + Self.tile, head.queries), leavesRowsOut))
    }
    try run.checkCancellation()
    let all = parts.inOrder
    let sum = all.reduce(into: MaskPart()) { $0.add($1) }
    let seen = Double(max(sum.rows, 1))
    density = Double(sum.kept) / Double(max(sum.visible, 1))
    recallMean = sum.recall / seen
    recallMin = sum.rows == 0 ? 0 : sum.worst
    dropped = sum.rows == 0 ? nil : DroppedMass(mean: 1 - recallMean, max: 1 - recallMin)
    divergence = sum.divergence.isFinite ? sum.divergence / seen : nil
    oracleGap = sum.gap / seen
    let wide = (head.keys + Self.tile - 1) / Self.tile
    var verdicts = [Verdict](repeating: .invisible, count: tiles * wide)
    for (tile, part) in zip(chosen.sorted(), all) {
      verdicts.replaceSubrange(tile * wide..<(tile + 1) * wide, with: part.verdicts)
    }
    let open = verdicts.filter { $0 != .invisible }
    tileDensity =
      Double(open.filter { $0 == .computed }.count) / Double(max(open.count, 1))
    mask = BlockMask(
      spec: TileSpec(rows: Self.tile, keys: Self.tile), rowTiles: tiles, keyTiles: wide,
      verdicts: verdicts)
    visibleBlocks = (0..<tiles).reduce(0) { count, row in
      let rows = row * Self.tile..<min((row + 1) * Self.tile, head.queries)
      return count + head.visibility.tiles(rows, width: Self.tile).count
    }
    sampledRows = step > 1 ? sum.rows : nil
    leftOut = leavesRowsOut ? sum.leftOut : nil
  }

  /// Adds them to findings, under the names that all masks share.
  public func add(to findings: inout Findings) {
    findings.blockNumbers(
      visible: visibleBlocks, skipped: sampledRows == nil ? mask.skippedBlocks : nil,
      sparsity: 1 - tileDensity)
    findings.dropped(dropped)
    findings.number("density", density, .share, title: "density of entries")
    findings.number("tile_density", tileDensity, .share, title: "density of 64x64 tiles")
    findings.number("recall_mean", recallMean, .share, title: "recall")
    findings.number("recall_min", recallMin, .share, title: "recall, worst row")
    findings.number("kl", divergence, .nats, title: "KL from dense")
    findings.number("oracle_gap", oracleGap, .share, title: "oracle gap")
    if let leftOut {
      findings.number(
        "rows_left_out", sampledRows == nil ? Double(leftOut) : nil, .count,
        title: "rows without output")
      if leftOut > 0 {
        findings.note(
          """
          rows that keep nothing have no output here: recall, KL, gap and error run over the \
          others
          """
        )
      }
    }
    if let sampledRows { findings.note("numbers from \(sampledRows) rows, evenly spread") }
  }
}

/// Sums over a tile of rows.
private struct MaskPart: Sendable {
  var kept = 0, visible = 0, rows = 0, leftOut = 0
  var recall = 0.0, worst = 1.0, divergence = 0.0, gap = 0.0
  var verdicts: [Verdict] = []

  /// Nothing summed yet.
  init() {}

  /// Sums over `range`, the rows of one tile, in order. A row that sees nothing counts its visible
  /// entries, none, and is left out of the means; so is one that keeps nothing where
  /// `leavesRowsOut` says that it has no output.
  init(_ pattern: PatternRows, _ set: KeptSet, _ range: Range<Int>, _ leavesRowsOut: Bool) {
    let head = pattern.head, tile = MaskNumbers.tile
    let wide = (head.keys + tile - 1) / tile
    let seen = head.visibility.tiles(range, width: tile)
    verdicts = (0..<wide).map { seen.contains($0) ? .skipped : .invisible }
    var flags = [UInt8](repeating: 0, count: wide)
    flags.withUnsafeMutableBufferPointer { flags in
      pattern.withRows(range) { row, p, lse in
        let found = set.measure(
          p, row: row, head.visibility, tile: tile, tiles: flags, wantsBest: lse != -.infinity,
          best: pattern.bestMasses(row: row))
        visible += head.visibility.count(row: row)
        kept += found.kept
        guard lse != -.infinity else { return }
        guard found.kept > 0 || !leavesRowsOut else {
          leftOut += 1
          return
        }
        rows += 1
        let mass = min(found.mass, 1)
        recall += mass
        worst = min(worst, mass)
        divergence += mass > 0 ? -logarithm(mass) : .infinity
        gap += max(0, min(found.best ?? 0, 1) - mass)
      }
    }
    for block in 0..<wide where flags[block] != 0 && verdicts[block] == .skipped {
      verdicts[block] = .computed
    }
  }

  /// Sums add, the worst row is the smallest; verdicts stay with their tile.
  mutating func add(_ other: MaskPart) {
    kept += other.kept
    visible += other.visible
    rows += other.rows
    leftOut += other.leftOut
    recall += other.recall
    worst = min(worst, other.worst)
    divergence += other.divergence
    gap += other.gap
  }
}
