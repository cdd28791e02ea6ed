import Kernels
public import Tensors

extension TilePass {
  /// One `BlockTable` per query head of the group, for the tile, vote and order given. Runs on all
  /// compute threads.
  ///
  /// `lambda` matters to the lse criterion alone. Nil when cancelled.
  public func tables(
    _ spec: TileSpec, lambda: Double = 0, threads: ComputeThreads = .shared,
    progress: Progress? = nil,
    isCancelled: @escaping @Sendable () -> Bool = { Task.isCancelled }
  ) -> [BlockTable]? {
    tables(
      [spec], lambda: lambda, threads: threads, progress: progress, isCancelled: isCancelled)?[0]
  }

  /// The pass of one tile alone, whatever its sides, criterion and precision; keys in lanes.
  package func ownTables(
    _ spec: TileSpec, lambda: Double = 0, threads: ComputeThreads = .shared,
    isCancelled: @escaping @Sendable () -> Bool = { Task.isCancelled }
  ) -> [BlockTable]? {
    precondition(
      spec.keys == keysPerTile, "packed for \(keysPerTile) keys a tile, asked for \(spec.keys)")
    let units = spec.vote == .head ? group.heads.indices.map { [$0] } : [Array(group.heads.indices)]
    var empty = BlockTable(spec: spec, queries: group.queries, keys: group.keys)
    if spec.criterion == .lse { empty.madeFor = lambda }
    let rowTiles = empty.rowTiles
    let results = Slots<[TileResult]>(count: units.count * rowTiles)
    threads.forEach(0..<results.count, isCancelled: isCancelled) { item in
      // The last rows see most keys: start with them, so that no thread ends with the largest
      // piece.
      let i = rowTiles - 1 - item / units.count, unit = units[item % units.count]
      let rows = i * spec.rows..<min((i + 1) * spec.rows, self.group.queries)
      results[item] = self.tableRow(TileRows(heads: unit, rows: rows), spec, lambda)
    }
    if isCancelled() { return nil }
    var tables = group.heads.map { _ in empty }
    for item in 0..<results.count {
      let i = rowTiles - 1 - item / units.count
      for (slot, head) in units[item % units.count].enumerated() {
        results[item]?[slot].write(to: &tables[head], rowTile: i)
      }
    }
    for head in tables.indices {
      if tables[head].visibleRows > 0 { tables[head].entropy /= Double(tables[head].visibleRows) }
      tables[head].seal()
    }
    return tables
  }

  /// One row of tiles: margins once for the unit, masses for each of its heads.
  private func tableRow(_ rows: TileRows, _ spec: TileSpec, _ lambda: Double) -> [TileResult] {
    let scratch = TileScratch(self, rows)
    let count = rows.count, tiles = keyTiles
    let visited = visibleTiles(rows)
    guard !visited.isEmpty else { return rows.heads.map { _ in TileResult(tiles: tiles) } }
    let t = UnsafeMutableRawPointer.allocate(byteCount: visited.count * count * real, alignment: 64)
    defer { t.deallocate() }
    var sums = [Float](repeating: 0, count: visited.count * count)
    var weighted = sums
    var margins = [Float](repeating: .nan, count: tiles)
    var l = [Double](repeating: 0, count: count)
    let run = spec.run(visited.count)
    let visit = Array(visited.enumerated())
    for (step, (slot, j)) in (spec.order == .ascending ? visit : visit.reversed()).enumerated() {
      let here = t + slot * count * real, at = slot * count
      scratch.score(j, into: here)
      sums.withUnsafeMutableBufferPointer { sum in
        weighted.withUnsafeMutableBufferPointer { product in
          as_tile_sums(
            plan, scratch.scores, Int64(scratch.ld), Int32(count), Int32(keyRange(j).count), here,
            sum.baseAddress! + at, product.baseAddress! + at)
        }
      }
      if step % run == 0 {
        scratch.startAnew()
        l = [Double](repeating: 0, count: count)
      }
      if spec.criterion == .max {
        margins[j] = Float(as_margin(plan, Int32(count), here, scratch.m))
      } else {
        margins[j] = levelMargin(here, scratch.m, l)
      }
      if step % run == 0 { margins[j] = .infinity }
      if spec.criterion == .lse {
        if margins[j] < Lambda.threshold(lambda) { continue }
        take(here, sums[at..<at + count], scratch.m, &l)
      }
      as_raise(plan, Int32(count), here, scratch.m)
    }
    var lse = [Double](repeating: 0, count: count)
    var entropy = [Float](repeating: 0, count: count)
    as_finish_rows(plan, Int32(count), Int32(visited.count), t, &sums, weighted, &lse, &entropy)
    return foldHeads(rows, visited, margins, sums, lse, entropy)
  }

  /// max over rows of t - (m + ln l)
  private func levelMargin(
    _ t: UnsafeMutableRawPointer, _ m: UnsafeMutableRawPointer, _ l: [Double]
  )
    -> Float
  {
    var best = -Double.infinity
    for r in l.indices where real(t, r) > -.infinity {
      best = max(best, real(t, r) - (real(m, r) + logarithm(l[r])))
    }
    return Float(best)
  }

  /// l takes in a computed block; m is raised after.
  private func take(
    _ t: UnsafeMutableRawPointer, _ sums: ArraySlice<Float>, _ m: UnsafeMutableRawPointer,
    _ l: inout [Double]
  ) {
    for r in l.indices where real(t, r) > -.infinity {
      let top = max(real(m, r), real(t, r))
      l[r] =
        l[r] * exponential(real(m, r) - top)
        + Double(sums[sums.startIndex + r]) * exponential(real(t, r) - top)
    }
  }

  /// What each head of the unit loses: the margins are shared, the masses are its own. Blocks are
  /// added in the order of their margins, as a rising lambda would skip them.
  private func foldHeads(
    _ rows: TileRows, _ visited: [Int], _ margins: [Float], _ masses: [Float], _ lse: [Double],
    _ entropy: [Float]
  ) -> [TileResult] {
    let order = visited.indices.sorted { margins[visited[$0]] < margins[visited[$1]] }.map {
      Int32($0)
    }
    let perHead = rows.rows.count
    return rows.heads.indices.map { slot in
      var sum = [Float](repeating: 0, count: visited.count), most = sum, worst = sum
      var scratch = [Float](repeating: 0, count: perHead)
      as_fold_masses(
        masses, Int32(rows.count), Int32(visited.count), Int32(slot * perHead), Int32(perHead),
        order, &sum, &most,
        &worst, &scratch)
      var result = TileResult(tiles: margins.count)
      result.margins = margins
      for (index, j) in visited.enumerated() {
        (result.massSum[j], result.massMax[j], result.worst[j]) = (
          sum[index], most[index], worst[index]
        )
      }
      for r in slot * perHead..<(slot + 1) * perHead where lse[r] != -.infinity {
        result.entropy += Double(entropy[r])
        result.visibleRows += 1
      }
      return result
    }
  }
}

/// What one row of tiles gives one head.
///
/// Margins in nats, the masses as shares of a row summed or at their largest: `[keyTiles]` each.
struct TileResult: Sendable {
  var margins: [Float]
  var massSum: [Float]
  var massMax: [Float]
  var worst: [Float]
  var entropy = 0.0
  var visibleRows = 0

  /// A row of tiles in which nothing is visible.
  init(tiles: Int) {
    margins = [Float](repeating: .nan, count: tiles)
    massSum = [Float](repeating: 0, count: tiles)
    (massMax, worst) = (massSum, massSum)
  }

  /// Copies the row of tiles into its place and adds entropy and rows to the table's sums.
  func write(to table: inout BlockTable, rowTile: Int) {
    let range = rowTile * table.keyTiles..<(rowTile + 1) * table.keyTiles
    table.margins.replaceSubrange(range, with: margins)
    table.massSum.replaceSubrange(range, with: massSum)
    table.massMax.replaceSubrange(range, with: massMax)
    table.worstDropped.replaceSubrange(range, with: worst)
    table.entropy += entropy
    table.visibleRows += visibleRows
  }
}

/// A fixed number of results that items of a parallel loop fill, each its own.
///
/// `@unchecked Sendable`: every slot is written by at most one item and read after the loop has
/// ended.
final class Slots<Value>: @unchecked Sendable {
  private let memory: UnsafeMutableBufferPointer<Value?>

  init(count: Int) {
    memory = .allocate(capacity: count)
    memory.initialize(repeating: nil)
  }

  deinit {
    memory.deinitialize()
    memory.deallocate()
  }

  /// Slots in all.
  var count: Int { memory.count }

  subscript(_ index: Int) -> Value? {
    get { memory[index] }
    set { memory[index] = newValue }
  }
}
