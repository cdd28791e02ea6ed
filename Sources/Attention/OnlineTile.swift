import Kernels
package import Tensors

/// The online softmax over one tile of rows: its m, l and O, and the scores of the key tile at
/// hand.
///
/// Two make it: `NarrowTile`, keys in lanes, for any precision, stored maps and the few rows of a
/// decode step; and `WideTile`, rows in lanes, the fast float path.
protocol OnlineTile: AnyObject {
  /// False when the whole tile could be left out: no row sees the keys, or none of them is kept.
  func score(_ j: Int) -> Bool
  /// max over rows of (row maximum - level), the level being m or m + ln l.
  func margin(_ criterion: Criterion) -> Float
  /// Takes the scores of key tile `j` into m, l and O. Must follow `score(j)`, whose scores it uses
  /// up.
  func accumulate(_ j: Int)
  /// O / l and log-sum-exp of what was taken in so far; then everything starts anew.
  func takePartial() -> PartialOutput
  /// True when a bound proves the margin of key tile `j` below the threshold without its scores.
  func isBelow(_ threshold: Float, _ j: Int) -> Bool
}

extension OnlineTile {
  /// No bound, no decision: the scores must be computed.
  func isBelow(_ threshold: Float, _ j: Int) -> Bool { false }
}

/// What the rows of a tile got from some of the key tiles.
struct PartialOutput {
  /// `[rows * valueDim]`
  let output: [Float]
  /// `[rows]`, in nats; -infinity for rows that got nothing.
  let lse: [Double]

  /// The whole from its splits: each weighs what its share of the mass is.
  /// The weights are in double and relative to the largest log-sum-exp, so that no exponential
  /// overflows. A row that no split saw stays zero.
  static func merged(_ parts: [PartialOutput]) -> [Float] {
    guard parts.count > 1 else { return parts.first?.output ?? [] }
    let rows = parts[0].lse.count, width = parts[0].output.count / max(rows, 1)
    var out = [Float](repeating: 0, count: rows * width)
    for r in 0..<rows {
      let top = parts.map { $0.lse[r] }.max()!
      guard top > -.infinity else { continue }
      let weights = parts.map { exponential($0.lse[r] - top) }
      let total = weights.reduce(0, +)
      for (part, weight) in zip(parts, weights) where weight > 0 {
        for x in 0..<width {
          out[r * width + x] += Float(weight / total) * part.output[r * width + x]
        }
      }
    }
    return out
  }
}

extension TilePass {
  /// One tile of rows through all its key tiles, as blasst.md has it.
  /// Each split starts with an empty m, so that its first block is never skipped. A block that the
  /// bound rules out is counted and left without its scores; screening knows only row maxima and so
  /// serves the max criterion alone.
  func forwardRow(
    _ rows: TileRows, _ spec: TileSpec, _ selection: Selection,
    screen: ScreenedKeys?
  )
    -> ForwardRow
  {
    var threshold = -Float.infinity
    if case .blasst(let lambda) = selection { threshold = Lambda.threshold(lambda) }
    let tile = onlineTile(rows, selection, screen)
    var verdicts = [Verdict](repeating: .invisible, count: keyTiles)
    let visit = visitedTiles(rows, spec.order)
    let run = spec.run(visit.count)
    var parts: [PartialOutput] = []
    var decided = 0
    for (step, j) in visit.enumerated() {
      let isFirst = step % run == 0
      if isFirst, step > 0 { parts.append(tile.takePartial()) }
      verdicts[j] = .skipped
      if !isFirst, spec.criterion == .max, tile.isBelow(threshold, j) {
        decided += 1
        continue
      }
      guard tile.score(j) else { continue }
      if !isFirst, tile.margin(spec.criterion) < threshold { continue }
      verdicts[j] = .computed
      tile.accumulate(j)
    }
    parts.append(tile.takePartial())
    return ForwardRow(
      output: PartialOutput.merged(parts), verdicts: verdicts, decidedByBound: decided)
  }

  /// Kept sets mask single entries, which only `NarrowTile` can; BLASST takes the wide one when
  /// there are rows enough to fill its lanes.
  private func onlineTile(_ rows: TileRows, _ selection: Selection, _ screen: ScreenedKeys?)
    -> any OnlineTile
  {
    switch selection {
    case .kept(let sets): NarrowTile(self, rows, kept: sets)
    case .blasst:
      isWide(rows.count) ? WideTile(self, rows, screen: screen) : NarrowTile(self, rows, kept: nil)
    }
  }

  /// Key tiles that some row of the tile sees, in the order of the visit.
  func visitedTiles(_ rows: TileRows, _ order: Order) -> [Int] {
    let visited = visibleTiles(rows)
    return order == .ascending ? visited : visited.reversed()
  }
}

/// Keys in lanes.
///
/// Right for every precision and selection, and for one row as for many; slower than `WideTile`
/// where rows fill its lanes.
final class NarrowTile: OnlineTile {
  private let pass: TilePass
  private let rows: TileRows
  private let scratch: TileScratch
  private let sets: [KeptSet]?
  private let t: UnsafeMutableRawPointer
  private var l: [Float]
  private var output: [Float]
  private var weights: [Float]
  private var kept: [UInt8] = []

  /// `sets` `[heads of the group]`; nil keeps everything that is visible.
  init(_ pass: TilePass, _ rows: TileRows, kept sets: [KeptSet]?) {
    (self.pass, self.rows, self.sets) = (pass, rows, sets)
    scratch = TileScratch(pass, rows)
    t = .allocate(byteCount: max(64, rows.count * 8), alignment: 64)
    l = [Float](repeating: 0, count: rows.count)
    output = [Float](repeating: 0, count: rows.count * pass.paddedValueDim)
    weights = [Float](repeating: 0, count: rows.count * pass.groupsPerTile * 16)
  }

  deinit { t.deallocate() }

  func score(_ j: Int) -> Bool {
    let keys = pass.keyRange(j)
    if let sets, !keep(sets, keys) { return false }
    scratch.score(j, into: t)
    guard sets != nil else { return true }
    let (rows, width) = (Int32(rows.count), Int32(keys.count))
    as_mask_unkept(
      pass.plan, scratch.scores, Int64(scratch.ld), rows, width, kept, Int64(keys.count))
    let limits = [Int32](repeating: width, count: self.rows.count)
    as_tile_max(pass.plan, scratch.scores, Int64(scratch.ld), rows, width, limits, t)
    return true
  }

  /// Writes which entries of the block are kept; false when none is.
  private func keep(_ sets: [KeptSet], _ keys: Range<Int>) -> Bool {
    let count = rows.count
    if kept.count < count * keys.count { kept = [UInt8](repeating: 0, count: count * keys.count) }
    var any = false
    kept.withUnsafeMutableBufferPointer { out in
      for (slot, head) in rows.heads.enumerated() {
        for (r, row) in rows.rows.enumerated() {
          let start = (slot * rows.rows.count + r) * keys.count
          let part = UnsafeMutableBufferPointer(rebasing: out[start..<start + keys.count])
          sets[head].fill(part, row: row, keys: keys, pass.group.visibility)
          any = any || part.contains { $0 != 0 }
        }
      }
    }
    return any
  }

  func margin(_ criterion: Criterion) -> Float {
    if criterion == .max { return Float(as_margin(pass.plan, Int32(rows.count), t, scratch.m)) }
    var best = -Double.infinity
    for r in 0..<rows.count {
      let top = pass.real(t, r)
      guard top > -.infinity else { continue }
      best = max(best, top - (pass.real(scratch.m, r) + logarithm(Double(l[r]))))
    }
    return Float(best)
  }

  func accumulate(_ j: Int) {
    let keys = pass.keyRange(j), width = pass.paddedValueDim
    pass.withValues { values in
      as_accumulate(
        pass.plan, scratch.scores, Int64(scratch.ld), Int32(rows.count), Int32(keys.count), t,
        scratch.m, &l, &weights, values.map { $0 + keys.lowerBound * width }, Int32(width), &output)
    }
    let stride = (keys.count + 15) / 16 * 16
    for (key, row) in pass.brokenValues where keys.contains(key) {
      for r in 0..<rows.count where weights[r * stride + key - keys.lowerBound] != 0 {
        for (x, value) in row.enumerated() where !value.isFinite { output[r * width + x] += value }
      }
    }
  }

  func takePartial() -> PartialOutput {
    let dv = pass.group.heads[0].valueDim, width = pass.paddedValueDim
    var out = [Float](repeating: 0, count: rows.count * dv)
    var lse = [Double](repeating: -.infinity, count: rows.count)
    for r in 0..<rows.count where l[r] != 0 {
      for x in 0..<dv { out[r * dv + x] = output[r * width + x] / l[r] }
      lse[r] = pass.real(scratch.m, r) + logarithm(Double(l[r]))
    }
    scratch.startAnew()
    l = [Float](repeating: 0, count: rows.count)
    output = [Float](repeating: 0, count: output.count)
    return PartialOutput(output: out, lse: lse)
  }
}

extension TilePass {
  /// Element `index` of a buffer of this pass's precision.
  func real(_ buffer: UnsafeMutableRawPointer, _ index: Int) -> Double {
    isDouble
      ? buffer.load(fromByteOffset: 8 * index, as: Double.self)
      : Double(buffer.load(fromByteOffset: 4 * index, as: Float.self))
  }
}

extension TilePass {
  /// Q K^T and the row maxima of every visible block, and nothing after them: what no skipping can
  /// save. For benches.
  package func scoresAlone(_ spec: TileSpec, threads: ComputeThreads) {
    let rowTiles = (group.queries + spec.rows - 1) / spec.rows
    threads.forEach(0..<rowTiles, isCancelled: { false }) { [self] item in
      let i = rowTiles - 1 - item
      let rows = TileRows(
        heads: [0], rows: i * spec.rows..<min((i + 1) * spec.rows, group.queries))
      let tile: any OnlineTile =
        isWide(rows.count)
        ? WideTile(self, rows, screen: nil) : NarrowTile(self, rows, kept: nil)
      for j in visitedTiles(rows, spec.order) { _ = tile.score(j) }
    }
  }
}
