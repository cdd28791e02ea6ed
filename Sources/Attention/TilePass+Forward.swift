import Kernels
public import Tensors

/// What a forward pass gives one query head.
public struct HeadOutput: Sendable {
  /// `[queries * valueDim]`, row-major
  public var values: [Float]
  public var mask: BlockMask
}

/// Which entries a forward pass may use, beside what is visible.
public enum Selection: Sendable {
  /// BLASST: a block whose margin is below ln(lambda) is skipped; lambda <= 0 is dense.
  case blasst(lambda: Double)
  /// Only the kept entries of each head; a block without any is skipped.
  case kept([KeptSet])
}

extension TilePass {
  /// The online softmax over tiles, output included: BLASST exactly as blasst.md says, or attention over kept sets.
  ///
  /// Needs V (`withValues: true`). With lambda <= 0 no block can be skipped and the arithmetic is that of dense
  /// attention, bit for bit. Nil when cancelled.
  public func forward(
    _ spec: TileSpec, _ selection: Selection, threads: ComputeThreads = .shared,
    isCancelled: @escaping @Sendable () -> Bool = { Task.isCancelled }
  ) -> [HeadOutput]? {
    precondition(
      spec.keys == keysPerTile, "packed for \(keysPerTile) keys a tile, asked for \(spec.keys)")
    let units = spec.vote == .head ? group.heads.indices.map { [$0] } : [Array(group.heads.indices)]
    let rowTiles = (group.queries + spec.rows - 1) / spec.rows
    let results = Slots<ForwardRow>(count: units.count * rowTiles)
    threads.forEach(0..<results.count, isCancelled: isCancelled) { item in
      let i = rowTiles - 1 - item / units.count, unit = units[item % units.count]
      let rows = i * spec.rows..<min((i + 1) * spec.rows, self.group.queries)
      results[item] = self.forwardRow(TileRows(heads: unit, rows: rows), spec, selection)
    }
    if isCancelled() { return nil }
    let dv = group.heads[0].valueDim
    var outputs = group.heads.map { _ in
      HeadOutput(
        values: [Float](repeating: 0, count: group.queries * dv),
        mask: BlockMask(
          spec: spec, rowTiles: rowTiles, keyTiles: keyTiles,
          verdicts: [Verdict](repeating: .invisible, count: rowTiles * keyTiles)))
    }
    for item in 0..<results.count {
      guard let row = results[item] else { continue }
      let i = rowTiles - 1 - item / units.count
      let perHead = row.output.count / units[item % units.count].count
      for (slot, head) in units[item % units.count].enumerated() {
        let start = i * spec.rows * dv
        outputs[head].values.replaceSubrange(
          start..<start + perHead, with: row.output[slot * perHead..<(slot + 1) * perHead])
        outputs[head].mask.verdicts.replaceSubrange(
          i * keyTiles..<(i + 1) * keyTiles, with: row.verdicts)
      }
    }
    return outputs
  }

  private func forwardRow(_ rows: TileRows, _ spec: TileSpec, _ selection: Selection) -> ForwardRow
  {
    let scratch = TileScratch(self, rows)
    var state = ForwardState(self, rows)
    var threshold = -Float.infinity
    if case .blasst(let lambda) = selection { threshold = Lambda.threshold(lambda) }
    var verdicts = [Verdict](repeating: .invisible, count: keyTiles)
    var isFirst = true
    for j in spec.order == .ascending ? Array(0..<keyTiles) : (0..<keyTiles).reversed() {
      guard keyRange(j).lowerBound < scratch.maxLimit else { continue }
      if case .kept(let sets) = selection {
        guard state.keep(sets, rows, keyRange(j), group.visibility) else {
          verdicts[j] = .skipped
          continue
        }
        state.score(j, scratch, masked: true)
        verdicts[j] = .computed
      } else {
        state.score(j, scratch, masked: false)
        let margin =
          isFirst ? .infinity : Float(as_margin(plan, Int32(rows.count), state.t, scratch.m))
        verdicts[j] = margin < threshold ? .skipped : .computed
        isFirst = false
        if verdicts[j] == .skipped { continue }
      }
      state.accumulate(j, scratch)
    }
    return ForwardRow(output: state.finish(), verdicts: verdicts)
  }
}

struct ForwardRow: Sendable {
  let output: [Float]
  let verdicts: [Verdict]
}

/// m, l and O of the online softmax for one tile of rows.
private struct ForwardState: ~Copyable {
  private let pass: TilePass
  private let count: Int
  let t: UnsafeMutableRawPointer
  private var l: [Float]
  private var output: [Float]
  private var weights: [Float]
  private var kept: [UInt8] = []

  init(_ pass: TilePass, _ rows: TileRows) {
    self.pass = pass
    count = rows.count
    t = .allocate(byteCount: max(64, count * 8), alignment: 64)
    l = [Float](repeating: 0, count: count)
    output = [Float](repeating: 0, count: count * pass.paddedValueDim)
    weights = [Float](repeating: 0, count: count * pass.groupsPerTile * 16)
  }

  deinit { t.deallocate() }

  func score(_ j: Int, _ scratch: TileScratch, masked: Bool) {
    scratch.score(j, into: t)
    guard masked else { return }
    let keys = pass.keyRange(j)
    as_mask_unkept(
      pass.plan, scratch.scores, Int64(scratch.ld), Int32(count), Int32(keys.count), kept,
      Int64(keys.count))
    let limits = [Int32](repeating: Int32(keys.count), count: count)
    as_tile_max(
      pass.plan, scratch.scores, Int64(scratch.ld), Int32(count), Int32(keys.count), limits, t)
  }

  /// Writes which entries of the block are kept; false when none is.
  mutating func keep(
    _ sets: [KeptSet], _ rows: TileRows, _ keys: Range<Int>, _ visibility: Visibility
  ) -> Bool {
    if kept.count < count * keys.count { kept = [UInt8](repeating: 0, count: count * keys.count) }
    var any = false
    kept.withUnsafeMutableBufferPointer { out in
      for (slot, head) in rows.heads.enumerated() {
        for (r, row) in rows.rows.enumerated() {
          let start = (slot * rows.rows.count + r) * keys.count
          let part = UnsafeMutableBufferPointer(rebasing: out[start..<start + keys.count])
          sets[head].fill(part, row: row, keys: keys, visibility)
          any = any || part.contains { $0 != 0 }
        }
      }
    }
    return any
  }

  mutating func accumulate(_ j: Int, _ scratch: TileScratch) {
    let keys = pass.keyRange(j), width = pass.paddedValueDim
    pass.withValues { values in
      as_accumulate(
        pass.plan, scratch.scores, Int64(scratch.ld), Int32(count), Int32(keys.count), t, scratch.m,
        &l, &weights,
        values.map { $0 + keys.lowerBound * width }, Int32(width), &output)
    }
    guard !pass.brokenValues.isEmpty else { return }
    let stride = (keys.count + 15) / 16 * 16
    for (key, row) in pass.brokenValues where keys.contains(key) {
      for r in 0..<count where weights[r * stride + key - keys.lowerBound] != 0 {
        for (x, value) in row.enumerated() where !value.isFinite { output[r * width + x] += value }
      }
    }
  }

  /// O / l, without the padding columns.
  consuming func finish() -> [Float] {
    let dv = pass.group.heads[0].valueDim, width = pass.paddedValueDim
    var out = [Float](repeating: 0, count: count * dv)
    for r in 0..<count where l[r] != 0 {
      for x in 0..<dv { out[r * dv + x] = output[r * width + x] / l[r] }
    }
    return out
  }
}
