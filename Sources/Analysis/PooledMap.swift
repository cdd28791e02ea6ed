public import Attention
public import Tensors

/// A part of a head's map, in tokens.
///
/// Example: `MapWindow(queries: 0..<head.queries, keys: 0..<head.keys)` is all of it.
public struct MapWindow: Sendable, Hashable {
  /// Query rows.
  public var queries: Range<Int>
  /// Keys.
  public var keys: Range<Int>

  /// In tokens; nothing is checked here.
  /// `max` and `mean` are `[rows * columns]`; nothing is checked.
  public init(queries: Range<Int>, keys: Range<Int>) { (self.queries, self.keys) = (queries, keys) }
}

/// The dense pattern of a window, pooled to a grid no larger than the screen: exact, both by
/// maximum and by mean.
///
/// Cell (r, c) covers query rows `rowEdges[r]..<rowEdges[r+1]` and keys
/// `keyEdges[c]..<keyEdges[c+1]`. Values are probabilities; mean is over visible entries only; a
/// cell without any visible entry is NaN in both, and one that holds a NaN of the data is infinity
/// in both.
///
/// Example: `PooledMap.of(head, window: window, rows: 40, columns: 120)?.max`. Memory 8 bytes a
/// cell, whatever the length of the text.
public struct PooledMap: Sendable, Equatable {
  /// What was asked for.
  public let window: MapWindow
  /// `[rows + 1]`, ascending, in tokens.
  public let rowEdges: [Int]
  /// `[columns + 1]`, ascending, in tokens.
  public let keyEdges: [Int]
  /// `[rows * columns]`, the largest value under each cell.
  public let max: [Float]
  /// `[rows * columns]`, the mean of what may be seen under each cell.
  public let mean: [Float]
  /// The key whose column was muted: left out, its row renormalised.
  public let muted: Int?
  /// How many rows of each row of cells were looked at; nil when all were.
  public let sampled: Int?

  /// Cells from top to bottom.
  public var rows: Int { rowEdges.count - 1 }
  /// Cells from left to right.
  public var columns: Int { keyEdges.count - 1 }

  /// Splits a range into `cells` parts as equal as may be.
  public static func edges(_ range: Range<Int>, cells: Int) -> [Int] {
    let cells = Swift.max(1, min(cells, range.count))
    return (0...cells).map { range.lowerBound + $0 * range.count / cells }
  }

  public init(
    window: MapWindow, rowEdges: [Int], keyEdges: [Int], max: [Float], mean: [Float], muted: Int?,
    sampled: Int? = nil
  ) {
    (self.window, self.rowEdges, self.keyEdges) = (window, rowEdges, keyEdges)
    (self.max, self.mean, self.muted, self.sampled) = (max, mean, muted, sampled)
  }

  /// Pools a head. Nil when cancelled. Cost: the window's rows over all keys (a softmax needs the
  /// whole row), or over the window's keys alone where `pass` knows the row sums.
  ///
  /// With `sampled` only so many rows of every row cell are looked at: a picture at once, and no
  /// more than that.
  public static func of(
    _ head: Head, pass: MapPass? = nil, window: MapWindow, rows: Int, columns: Int,
    muted: Int? = nil, sampled: Int? = nil, threads: ComputeThreads = .shared,
    progress: Progress? = nil,
    isCancelled: @escaping @Sendable () -> Bool = { Task.isCancelled }
  ) -> PooledMap? {
    guard let pass = pass ?? MapPass(head, threads: threads) else {
      return slow(
        head, window: window, rows: rows, columns: columns, muted: muted, threads: threads,
        isCancelled: isCancelled)
    }
    let rowEdges = edges(window.queries, cells: rows), keyEdges = edges(window.keys, cells: columns)
    guard
      let pooled = pass.pool(
        rowEdges: rowEdges, keyEdges: keyEdges, muted: muted, sampled: sampled, threads: threads,
        progress: progress, isCancelled: isCancelled)
    else { return nil }
    var (most, mean) = pooled
    let width = keyEdges.count - 1
    for r in 0..<rowEdges.count - 1 {
      let looked = MapPass.sample(rowEdges[r]..<rowEdges[r + 1], sampled ?? .max)
      let visible = visibleEntries(looked.map { head.visibility.limit(row: $0) }, keyEdges, muted)
      for c in 0..<width {
        let at = r * width + c
        if visible[c] == 0 {
          (most[at], mean[at]) = (.nan, .nan)
        } else {
          mean[at] /= Float(visible[c])
        }
      }
    }
    return PooledMap(
      window: window, rowEdges: rowEdges, keyEdges: keyEdges, max: most, mean: mean, muted: muted,
      sampled: sampled)
  }

  /// How many entries of each key cell the rows see, but for a muted key.
  private static func visibleEntries(_ limits: [Int], _ edges: [Int], _ muted: Int?) -> [Int] {
    (0..<edges.count - 1).map { c in
      let start = edges[c], end = edges[c + 1]
      return limits.reduce(0) { sum, limit in
        let hidden = muted.map { $0 >= start && $0 < min(end, limit) } ?? false
        return sum + Swift.max(0, min(end, limit) - start) - (hidden ? 1 : 0)
      }
    }
  }

  /// The same over whole rows of the pattern: stored maps, and heads that need double precision.
  package static func slow(
    _ head: Head, window: MapWindow, rows: Int, columns: Int, muted: Int? = nil,
    threads: ComputeThreads = .shared,
    isCancelled: @escaping @Sendable () -> Bool = { Task.isCancelled }
  ) -> PooledMap? {
    let pattern = PatternRows(head)
    let rowEdges = edges(window.queries, cells: rows), keyEdges = edges(window.keys, cells: columns)
    let width = keyEdges.count - 1
    let gathered = Gathered<(max: [Float], mean: [Float])>()
    threads.forEach(0..<rowEdges.count - 1, isCancelled: isCancelled) { r in
      var most = [Float](repeating: 0, count: width), sum = most
      var visible = [Int](repeating: 0, count: width)
      pattern.withRows(rowEdges[r]..<rowEdges[r + 1]) { row, p, _ in
        pool(p, row, head.visibility, keyEdges, muted, &most, &sum, &visible)
      }
      for c in 0..<width {
        if visible[c] == 0 { (most[c], sum[c]) = (.nan, .nan) } else { sum[c] /= Float(visible[c]) }
      }
      gathered.add(r, (most, sum))
    }
    if isCancelled() { return nil }
    let parts = gathered.inOrder
    return PooledMap(
      window: window, rowEdges: rowEdges, keyEdges: keyEdges, max: parts.flatMap(\.max),
      mean: parts.flatMap(\.mean),
      muted: muted)
  }

  /// Adds one row `[keys]` to one row of cells. A muted key is left out and what remains scaled to
  /// 1; a cell of that key alone stays without entries, as does one that lies before the first key
  /// that the row sees.
  private static func pool(
    _ p: UnsafeBufferPointer<Float>, _ row: Int, _ visibility: Visibility, _ edges: [Int],
    _ muted: Int?,
    _ most: inout [Float], _ sum: inout [Float], _ visible: inout [Int]
  ) {
    let limit = visibility.limit(row: row), first = visibility.first(row: row)
    var scale: Float = 1
    if let muted, muted < limit, p[muted] < 1 { scale = 1 / (1 - p[muted]) }
    for c in 0..<edges.count - 1 {
      let start = Swift.max(edges[c], first), end = min(edges[c + 1], limit)
      guard edges[c] < limit else { return }
      guard end > start else { continue }
      var top: Float = 0, total: Float = 0
      for j in start..<end where j != muted {
        // NaN must show, and is not the same as nothing to see: it becomes infinity.
        top = p[j].isNaN ? .infinity : Swift.max(top, p[j])
        total += p[j].isNaN ? .infinity : p[j]
      }
      if muted.map({ $0 >= start && $0 < end }) ?? false {
        if end - start == 1 { continue }
        visible[c] -= 1
      }
      most[c] = Swift.max(most[c], top * scale)
      sum[c] += total * scale
      visible[c] += end - start
    }
  }
}
