import Kernels
public import Tensors

/// What a forward pass gives one query head.
public struct HeadOutput: Sendable {
  /// `[queries * valueDim]`, row-major
  public var values: [Float]
  /// What happened to each block; invisible for row tiles that were left out by `every`.
  public var mask: BlockMask
  /// Blocks that were skipped on the word of a bound, without their scores.
  public var decidedByBound = 0
}

/// How blocks may be skipped before their scores are known.
public enum Screening: String, Sendable, CaseIterable {
  case none
  /// An int8 product and a bound on its error; masks and outputs stay those of `none`, bit for bit.
  case int8
}

/// Which entries a forward pass may use, beside what is visible.
public enum Selection: Sendable {
  /// BLASST: a block whose margin is below ln(lambda) is skipped; lambda <= 0 is dense.
  case blasst(lambda: Double)
  /// Only the kept entries of each head; a block without any is skipped.
  case kept([KeptSet])
}

extension TilePass {
  /// The online softmax over tiles, output included: BLASST exactly as blasst.md says, or attention
  /// over kept sets.
  ///
  /// With `every` 2 and more only the last of so many row tiles is computed; the others have no
  /// rows in `values` and are unseen. Needs V (`withValues: true`). With lambda <= 0 no block can
  /// be skipped and the arithmetic is that of dense attention, bit for bit. Nil when cancelled.
  /// Cost O(queries * keys * d / 2) for the scores, which are never saved, and about as much again
  /// for the values of blocks that are computed.
  public func forward(
    _ spec: TileSpec, _ selection: Selection, screen: Screening = .none, every step: Int = 1,
    threads: ComputeThreads = .shared,
    isCancelled: @escaping @Sendable () -> Bool = { Task.isCancelled }
  ) -> [HeadOutput]? {
    precondition(
      spec.keys == keysPerTile, "packed for \(keysPerTile) keys a tile, asked for \(spec.keys)")
    let units = spec.vote == .head ? group.heads.indices.map { [$0] } : [Array(group.heads.indices)]
    let rowTiles = (group.queries + spec.rows - 1) / spec.rows
    let screened = screen == .int8 ? ScreenedKeys(self, threads: threads) : nil
    let results = Slots<ForwardRow>(count: units.count * rowTiles)
    threads.forEach(0..<results.count, isCancelled: isCancelled) { item in
      guard item / units.count % step == 0 else { return }
      let i = rowTiles - 1 - item / units.count, unit = units[item % units.count]
      let rows = i * spec.rows..<min((i + 1) * spec.rows, self.group.queries)
      results[item] = self.forwardRow(
        TileRows(heads: unit, rows: rows), spec, selection, screen: screened)
    }
    if isCancelled() { return nil }
    let dv = group.heads[0].valueDim
    let places = Self.places(rowTiles, spec.rows, group.queries, every: step)
    var outputs = group.heads.map { _ in
      HeadOutput(
        values: [Float](repeating: 0, count: places.last * dv),
        mask: BlockMask(
          spec: spec, rowTiles: rowTiles, keyTiles: keyTiles,
          verdicts: [Verdict](repeating: .invisible, count: rowTiles * keyTiles)))
    }
    for item in 0..<results.count {
      guard let row = results[item] else { continue }
      let i = rowTiles - 1 - item / units.count
      let perHead = row.output.count / units[item % units.count].count
      for (slot, head) in units[item % units.count].enumerated() {
        let start = places.starts[i] * dv
        outputs[head].values.replaceSubrange(
          start..<start + perHead, with: row.output[slot * perHead..<(slot + 1) * perHead])
        outputs[head].decidedByBound += row.decidedByBound
        outputs[head].mask.verdicts.replaceSubrange(
          i * keyTiles..<(i + 1) * keyTiles, with: row.verdicts)
      }
    }
    return outputs
  }
}

extension TilePass {
  /// Where the rows of each tile stand in an output, and how many rows it has: tiles that are left
  /// out take no room.
  fileprivate static func places(_ tiles: Int, _ rows: Int, _ queries: Int, every step: Int) -> (
    starts: [Int], last: Int
  ) {
    var starts = [Int](repeating: 0, count: tiles), at = 0
    for tile in 0..<tiles {
      starts[tile] = at
      if (tiles - 1 - tile) % step == 0 { at += min(rows, queries - tile * rows) }
    }
    return (starts, at)
  }
}

/// What one tile of rows of a voting unit gives: outputs `[heads * rows * valueDim]`, verdicts
/// `[keyTiles]`, and how many blocks the bound decided.
struct ForwardRow: Sendable {
  let output: [Float]
  let verdicts: [Verdict]
  let decidedByBound: Int
}
