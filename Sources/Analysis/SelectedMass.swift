public import Attention
public import Tensors

/// How much of a head's attention lies on keys that were marked.
///
/// Shares of rows, in 0...1, a learned sink's part taken off; rows that see no key do not count,
/// and rows with a NaN neither.
///
/// Example: `SelectedMass.of(head, keys)?.mean`. Cost a pass over the rows; of a long head 512 of
/// them, evenly spread, stand for all.
public struct SelectedMass: Sendable, Hashable {
  /// What the mean query puts there.
  public let mean: Double
  /// What the query that puts most there does, and which it is: the one that would lose most.
  public let most: Double, mostRow: Int
  /// Of the mean query, each run of the selection `[runs]`.
  public let parts: [Double]
  /// Rows that were read, where not all were.
  public let sampledRows: Int?

  /// Rows of a long head that are looked at.
  private static let rowsLooked = 512

  /// Nil when cancelled, and where no row counts. Keys that the head has not got hold nothing.
  public static func of(
    _ head: Head, _ rows: PatternRows? = nil, _ keys: KeySelection, sink: Float? = nil,
    threads: ComputeThreads = .shared,
    isCancelled: @escaping @Sendable () -> Bool = { Task.isCancelled }
  ) -> SelectedMass? {
    let pattern = rows ?? PatternRows(head), sunk = SunkRows(pattern, sink: sink)
    guard let keys = keys.clamped(to: head.keys) else { return nil }
    let step = head.isLong ? max(1, head.queries / rowsLooked) : 1
    let strips =
      head.isLong
      ? stride(from: head.queries - 1, through: 0, by: -step).reversed().map { $0..<$0 + 1 }
      : stride(from: 0, to: head.queries, by: pattern.stripRows).map {
        $0..<min($0 + pattern.stripRows, head.queries)
      }
    let gathered = Gathered<Sums>()
    threads.forEach(0..<strips.count, isCancelled: isCancelled) { index in
      gathered.add(index, Sums(sunk, strips[index], keys))
    }
    if isCancelled() { return nil }
    let parts = gathered.inOrder, count = parts.reduce(0) { $0 + $1.rows }
    guard count > 0, let most = parts.max(by: { $0.most < $1.most }) else { return nil }
    let means = keys.runs.indices.map { run in
      parts.reduce(0) { $0 + $1.parts[run] } / Double(count)
    }
    return SelectedMass(
      mean: means.reduce(0, +), most: most.most, mostRow: most.mostRow, parts: means,
      sampledRows: head.isLong ? strips.count : nil)
  }

  /// Of a strip of rows.
  private struct Sums: Sendable {
    var parts: [Double]
    var most = -1.0, mostRow = 0, rows = 0

    init(_ sunk: SunkRows, _ strip: Range<Int>, _ keys: KeySelection) {
      var sums = [Double](repeating: 0, count: keys.runs.count)
      var (most, mostRow, count) = (-1.0, 0, 0)
      let visibility = sunk.pattern.head.visibility
      sunk.withShares(strip) { row, p, sink in
        guard visibility.count(row: row) > 0 else { return }
        let shares = keys.runs.map { run in run.reduce(0.0) { $0 + Double(p[$1]) } * (1 - sink) }
        let all = shares.reduce(0, +)
        guard all.isFinite else { return }
        for (run, share) in shares.enumerated() { sums[run] += share }
        if all > most { (most, mostRow) = (all, row) }
        count += 1
      }
      (parts, self.most, self.mostRow, rows) = (sums, most, mostRow, count)
    }
  }
}
