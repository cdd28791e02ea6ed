import Kernels
import Synchronization

/// Tables of one tile spec, one for each head of a group, filled by many threads: each writes its
/// own rows of tiles.
///
/// `@unchecked Sendable`: no two work items share a row tile, and the tables are taken when all are
/// done.
final class TableBuilder: @unchecked Sendable {
  private let spec: TileSpec
  private let group: HeadGroup
  private let isa: as_isa
  private let keyTiles: Int
  private let margins, sums, maxima, worst: [Floats]
  private let totals: Mutex<[(entropy: Double, rows: Int)]>

  /// Room for the tables of every head of the pass; invisible until filled.
  init(_ spec: TileSpec, _ pass: TilePass) {
    let group = pass.group
    (self.spec, self.group, isa) = (spec, group, pass.isa)
    keyTiles = (group.keys + spec.keys - 1) / spec.keys
    let count = keyTiles * ((group.queries + spec.rows - 1) / spec.rows)
    margins = group.heads.map { _ in Floats(count, fill: .nan) }
    (sums, maxima, worst) = (
      group.heads.map { _ in Floats(count) }, group.heads.map { _ in Floats(count) },
      group.heads.map { _ in Floats(count) }
    )
    totals = Mutex(group.heads.map { _ in (0, 0) })
  }

  /// Takes in the same rows of all heads of a voting unit, or of one head.
  func add(_ rows: Range<Int>, _ parts: [HeadStatistics]) {
    let work = FoldScratch(spec, tiles: keyTiles)
    for first in stride(from: 0, to: rows.count, by: spec.rows) {
      let last = min(first + spec.rows, rows.count) - 1
      let limit = group.visibility.limit(row: rows.lowerBound + last)
      let tiles = (limit + spec.keys - 1) / spec.keys, groups = (limit + 15) / 16
      guard tiles > 0 else { continue }
      let row = (rows.lowerBound + first) / spec.rows * keyTiles
      for part in parts {
        work.margins(isa, part, first, groups, tiles, to: margins[part.head].base + row)
      }
      if spec.vote == .group { shareMargins(parts.map { margins[$0.head].base + row }, tiles) }
      for part in parts {
        let at = part.head
        work.masses(
          isa, part, first, groups, tiles, margins[at].base + row, sums[at].base + row,
          maxima[at].base + row, worst[at].base + row)
      }
    }
    totals.withLock { totals in
      for part in parts {
        totals[part.head].entropy += part.entropy
        totals[part.head].rows += part.visibleRows
      }
    }
  }

  /// Heads that vote together have the largest of their margins.
  private func shareMargins(_ rows: [UnsafeMutablePointer<Float>], _ tiles: Int) {
    for j in 0..<tiles {
      let most = rows.map { $0[j] }.max()!
      for row in rows { row[j] = most }
    }
  }

  /// One table a head, sealed. Call it once, after the loop has ended.
  func tables() -> [BlockTable] {
    let totals = totals.withLock { $0 }
    return group.heads.indices.map { head in
      var table = BlockTable(spec: spec, queries: group.queries, keys: group.keys)
      func array(_ floats: Floats) -> [Float] {
        Array(UnsafeBufferPointer(start: floats.base, count: floats.count))
      }
      table.margins = array(margins[head])
      (table.massSum, table.massMax, table.worstDropped) = (
        array(sums[head]), array(maxima[head]), array(worst[head])
      )
      table.visibleRows = totals[head].rows
      table.entropy = totals[head].entropy / Double(max(totals[head].rows, 1))
      table.seal()
      return table
    }
  }
}

/// Memory of one thread for folding one row of tiles.
private final class FoldScratch {
  private let spec: TileSpec
  private let folded, running: Floats
  private var order: [Int32]
  private var words: [UInt32]

  /// Room for a row of `tiles` blocks.
  init(_ spec: TileSpec, tiles: Int) {
    self.spec = spec
    folded = Floats(tiles * spec.rows)
    running = Floats(spec.rows)
    order = [Int32](repeating: 0, count: tiles)
    words = [UInt32](repeating: 0, count: 4 * tiles)
  }

  /// Folds maxima of 16 keys to those of the tile's keys, then walks the blocks in the order of the
  /// visit with a running maximum for each row: the margin is the largest rise of any of them.
  func margins(
    _ isa: as_isa, _ part: HeadStatistics, _ first: Int, _ groups: Int, _ tiles: Int,
    to out: UnsafeMutablePointer<Float>
  ) {
    part.fold(
      isa, part.maxima, takeMax: true, rows: first, spec.rows, groups: groups, per: spec.keys / 16,
      into: folded)
    let run = spec.splits > 1 ? spec.run(tiles) : 0
    as_wide_margins(
      isa, folded.base, Int32(spec.rows), Int32(tiles), spec.order == .descending ? 1 : 0,
      Int32(run), running.base, out)
  }

  /// Folds masses likewise, then adds blocks up in the order of their margins: what is lost with a
  /// block and everything below it, in the worst row, is a running sum.
  func masses(
    _ isa: as_isa, _ part: HeadStatistics, _ first: Int, _ groups: Int, _ tiles: Int,
    _ margins: UnsafePointer<Float>, _ sum: UnsafeMutablePointer<Float>,
    _ max: UnsafeMutablePointer<Float>, _ worst: UnsafeMutablePointer<Float>
  ) {
    part.fold(
      isa, part.masses, takeMax: false, rows: first, spec.rows, groups: groups,
      per: spec.keys / 16, into: folded)
    as_order(margins, Int32(tiles), &order, &words)
    as_wide_masses(
      isa, folded.base, Int32(spec.rows), Int32(tiles), order, sum, max, worst, running.base)
  }
}
