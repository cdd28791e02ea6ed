public import Attention
public import Tensors

/// A window of any field pooled to cells no larger than the screen.
///
/// `max` of the result holds the value of largest magnitude in each cell, with its sign; `mean` the
/// mean of what may be seen; a cell without anything to see is NaN in both, one with a NaN of the
/// data is infinity.
///
/// Example: `try FieldPool.picture(field, window: window, rows: 40, columns: 120)`. The catch: it
/// reads every row of the window (or `perCell` of each cell) at full width, so that a small window
/// of a costly field is cheap in rows only.
public enum FieldPool {
  /// What of the window is the field's own: entries for axes of the text, as they are for others.
  /// A window of tokens may be larger than the field; it is cut, never stretched.
  private static func window(_ window: Range<Int>, _ axis: Axis) -> Range<Int> {
    axis.isText ? window.clamped(to: 0..<max(axis.tokens, 1)) : window.clamped(to: 0..<axis.count)
  }

  /// Cells as equal as may be; a whole axis of blocks in as many cells is cut at its blocks.
  private static func edges(_ range: Range<Int>, _ axis: Axis, _ cells: Int) -> [Int] {
    if axis.isText, axis.span > 1, cells == axis.count, range == 0..<axis.tokens {
      return (0...axis.count).map { min($0 * axis.span, axis.tokens) }
    }
    return PooledMap.edges(range, cells: cells)
  }

  /// The entries under each cell.
  private static func entries(_ edges: [Int], _ axis: Axis) -> [Range<Int>] {
    zip(edges, edges.dropFirst()).map { low, high in
      axis.isText ? axis.entries(of: low..<high) : low..<max(high, low + 1)
    }
  }

  /// Throws what the field throws, and `CancellationError`. Cost: the rows of the window, or
  /// `perCell` of each cell.
  /// `rows` and `columns` are cells at most; `muted` is a column whose weight is spread over the
  /// rest of its row.
  public static func picture(
    _ field: any RowField, window wanted: MapWindow, rows: Int, columns: Int, muted: Int? = nil,
    perCell: Int? = nil, threads: ComputeThreads = .shared,
    isCancelled: @escaping @Sendable () -> Bool = { Task.isCancelled }
  ) throws -> PooledMap {
    let shown = MapWindow(
      queries: window(wanted.queries, field.rows), keys: window(wanted.keys, field.columns))
    let rowEdges = edges(shown.queries, field.rows, rows)
    let keyEdges = edges(shown.keys, field.columns, columns)
    let down = entries(rowEdges, field.rows), across = entries(keyEdges, field.columns)
    let gathered = Gathered<Result<Line, any Error>>()
    threads.forEach(0..<down.count, isCancelled: isCancelled) { r in
      gathered.add(r, Result { try line(field, down[r], across, muted, perCell, isCancelled) })
    }
    if isCancelled() { throw CancellationError() }
    let lines = try gathered.inOrder.map { try $0.get() }
    return PooledMap(
      window: shown, rowEdges: rowEdges, keyEdges: keyEdges, max: lines.flatMap(\.top),
      mean: lines.flatMap(\.mean), muted: muted, sampled: perCell)
  }

  /// One row of cells: the value of largest magnitude and the mean, `[cells]` each.
  private struct Line: Sendable {
    var top: [Float]
    var mean: [Float]
  }

  /// Reads the rows under one row of cells, neighbours in one call, since a field may share work
  /// between them.
  private static func line(
    _ field: any RowField, _ rows: Range<Int>, _ across: [Range<Int>], _ muted: Int?,
    _ perCell: Int?, _ isCancelled: () -> Bool
  ) throws -> Line {
    var top = [Float](repeating: .nan, count: across.count)
    var sum = [Double](repeating: 0, count: across.count)
    var seen = [Int](repeating: 0, count: across.count)
    let chosen = perCell.map { MapPass.sample(rows, $0) } ?? Array(rows)
    for run in Range.runs(of: chosen) {
      if isCancelled() { throw CancellationError() }
      try field.withRows(run) { _, values in
        let scale = muted.map { scaleWithout($0, values) } ?? 1
        for (c, keys) in across.enumerated() {
          for key in keys where key != muted && !values[key].isNaN {
            let value = values[key] * scale
            if top[c].isNaN || abs(value) > abs(top[c]) { top[c] = value }
            sum[c] += Double(value)
            seen[c] += 1
          }
        }
      }
    }
    let mean = zip(sum, seen).map { $1 == 0 ? Float.nan : Float($0 / Double($1)) }
    return Line(top: top, mean: mean)
  }

  /// What is left of a row without one of its columns is brought to the sum it had.
  private static func scaleWithout(_ muted: Int, _ row: UnsafeBufferPointer<Float>) -> Float {
    guard row.indices.contains(muted), row[muted].isFinite, row[muted] < 1 else { return 1 }
    return 1 / (1 - row[muted])
  }
}
