public import Attention
import Tensors

/// Tiles of 64x64 that a kept set touches, counted without the pattern: what a search over knobs
/// asks again and again.
///
/// Example: `try KeptTiles(head, set, MethodRun()).density` is `MaskNumbers.tileDensity` of the
/// same set, to the bit. Cost one row of flags a query; of long heads some tiles of rows stand for
/// all.
public struct KeptTiles: Sendable, Hashable {
  /// Tiles with a kept entry.
  public private(set) var kept = 0
  /// Tiles with a visible one.
  public private(set) var visible = 0
  /// Kept entries.
  public private(set) var entries = 0
  /// Visible entries.
  public private(set) var visibleEntries = 0

  /// Nothing counted.
  public init() {}

  /// Throws `CancellationError`.
  public init(_ head: Head, _ set: KeptSet, _ run: MethodRun) throws {
    let tile = MaskNumbers.tile
    let tiles = (head.queries + tile - 1) / tile, wide = (head.keys + tile - 1) / tile
    let chosen = Array(
      stride(
        from: tiles - 1, through: 0, by: -run.sampling(head, tiles: tiles, rows: tile)))
    let parts = Gathered<KeptTiles>()
    let nothing = [Float](repeating: 0, count: max(head.keys, 1))
    run.threads.forEach(0..<chosen.count, isCancelled: run.isCancelled) { item in
      var part = KeptTiles()
      var flags = [UInt8](repeating: 0, count: wide)
      let rows = chosen[item] * tile..<min((chosen[item] + 1) * tile, head.queries)
      flags.withUnsafeMutableBufferPointer { flags in
        nothing.withUnsafeBufferPointer { nothing in
          for row in rows {
            part.entries +=
              set.measure(nothing, row: row, head.visibility, tile: tile, tiles: flags).kept
            part.visibleEntries += head.visibility.count(row: row)
          }
        }
      }
      part.visible = head.visibility.tiles(rows, width: tile).count
      part.kept = flags.count { $0 != 0 }
      parts.add(item, part)
    }
    try run.checkCancellation()
    for part in parts.inOrder { add(part) }
  }

  /// Kept over visible tiles, in 0...1; 0 where none is visible.
  public var density: Double { Double(kept) / Double(max(visible, 1)) }

  /// Kept over visible entries, in 0...1; 0 where none is visible.
  public var entryDensity: Double { Double(entries) / Double(max(visibleEntries, 1)) }

  /// Those of another head as well.
  public mutating func add(_ other: KeptTiles) {
    kept += other.kept
    visible += other.visible
    entries += other.entries
    visibleEntries += other.visibleEntries
  }
}

extension Findings {
  /// What a method keeps of a head, where it says so as entries; nil for methods that keep nothing
  /// apart.
  public var keptField: KeptField? { field("kept")?.field as? KeptField }
}
