import Kernels
public import Tensors

/// Rows of the dense pattern (after softmax), computed a strip at a time and never stored.
///
/// Example: `PatternRows(head).withRows(0..<64) { row, p, lse in ... }` gives each row's `[keys]`
/// probabilities and its log-sum-exp in nats. Rows that see no key are all zero with lse =
/// -infinity. One object serves many threads.
///
/// Cost keys * d a row, plus the softmax; memory two strips, of scores and of weights, for each
/// call that is under way.
public struct PatternRows: Sendable {
  /// The head whose rows are computed.
  public let head: Head
  private let pass: TilePass
  private let index: Int
  /// Rows of a strip: as many as keep scores and weights within about 4 MB.
  public let stripRows: Int

  /// All rows, where they are there already.
  private var whole: WholePattern?

  /// Keys packed side by side. Rows are whole here, so that the width of a tile is a matter of the
  /// cache alone.
  static let keysPerTile = 128

  /// In float precision a cache is read where it lies.
  public init(_ head: Head, precision: TilePass.Precision = .automatic) {
    self.init(
      TilePass(HeadGroup([head]), keysPerTile: Self.keysPerTile, precision: precision), head: 0)
  }

  /// Of a pass that is packed already, by its own instruction set. Traps for tiles that are no
  /// multiple of 16 keys: between them a row would have gaps.
  package init(_ pass: TilePass, head: Int) {
    precondition(pass.keysPerTile % 16 == 0, "rows of tiles of \(pass.keysPerTile) keys have gaps")
    self.pass = pass
    index = head
    self.head = pass.group.heads[head]
    stripRows = max(1, min(64, (1 << 19) / max(pass.group.keys, 1)))
  }

  /// Calls `body` with each row of `rows` in order, on this thread.
  public func withRows(
    _ rows: Range<Int>,
    _ body: (_ row: Int, _ pattern: UnsafeBufferPointer<Float>, _ lse: Double) -> Void
  ) {
    if let whole {
      for row in rows { body(row, whole.row(row), whole.lse[row]) }
      return
    }
    var start = rows.lowerBound
    while start < rows.upperBound {
      let strip = start..<min(start + stripRows, rows.upperBound)
      withStrip(strip) { pattern, lse in
        for (r, row) in strip.enumerated() {
          let part = UnsafeBufferPointer(rebasing: pattern[r * head.keys..<(r + 1) * head.keys])
          body(row, part, lse[r])
        }
      }
      start = strip.upperBound
    }
  }

  /// Sums of the largest entries of a row, `[visible keys]`: element i is the mass of the best
  /// choice of i + 1 keys. Nil where the rows are not held.
  public func bestMasses(row: Int) -> UnsafeBufferPointer<Double>? { whole?.sums(row) }

  /// The same rows computed once, for many who ask for all of them. Cost the pattern and a sort of
  /// each row now, and `queries * keys` floats and a double for each visible entry for as long as
  /// it lives. When cancelled it computes as ever.
  public func held(
    threads: ComputeThreads = .shared, isCancelled: @escaping @Sendable () -> Bool = { false }
  ) -> PatternRows {
    guard whole == nil else { return self }
    let all = WholePattern(head)
    let strips = (head.queries + stripRows - 1) / stripRows
    threads.forEach(0..<strips, isCancelled: isCancelled) { strip in
      let rows = strip * stripRows..<min((strip + 1) * stripRows, head.queries)
      withRows(rows) { row, pattern, lse in all.set(row, pattern, lse) }
    }
    guard !isCancelled() else { return self }
    var copy = self
    copy.whole = all
    return copy
  }

  /// All scores of a strip must be there before its softmax: unlike the online tile, this pass
  /// cannot forget any of them.
  private func withStrip(_ rows: Range<Int>, _ body: (UnsafeBufferPointer<Float>, [Double]) -> Void)
  {
    let tile = TileRows(heads: [index], rows: rows)
    let scratch = TileScratch(pass, tile)
    let width = pass.keyTiles * scratch.ld
    let scores = UnsafeMutableRawPointer.allocate(
      byteCount: rows.count * width * pass.real, alignment: 64)
    let pattern = UnsafeMutableBufferPointer<Float>.allocate(capacity: rows.count * head.keys + 16)
    let t = UnsafeMutableRawPointer.allocate(byteCount: rows.count * 8, alignment: 64)
    defer {
      scores.deallocate()
      pattern.deallocate()
      t.deallocate()
    }
    for j in 0..<pass.keyTiles where pass.keyRange(j).lowerBound < scratch.maxLimit {
      scratch.score(j, into: t)
      for r in 0..<rows.count {
        (scores + (r * width + j * scratch.ld) * pass.real).copyMemory(
          from: scratch.scores + r * scratch.ld * pass.real, byteCount: scratch.ld * pass.real)
      }
    }
    var lse = [Double](repeating: 0, count: rows.count)
    as_softmax_rows(
      pass.plan, scores, Int64(width), Int32(rows.count), Int32(head.keys), scratch.limits,
      pattern.baseAddress,
      Int64(head.keys), &lse)
    body(UnsafeBufferPointer(pattern), lse)
  }
}

/// A dense pattern, written once and then only read.
///
/// `@unchecked Sendable`: each row is written by one thread, all of them before it is handed out.
private final class WholePattern: @unchecked Sendable {
  private let keys: Int
  /// `[queries * keys]`
  private let values: UnsafeMutableBufferPointer<Float>
  /// `[queries]`, in nats.
  let lse: UnsafeMutableBufferPointer<Double>
  /// `[queries + 1]`: where the sums of a row begin.
  private let starts: [Int]
  /// `[visible entries]`, row after row.
  private let best: UnsafeMutableBufferPointer<Double>

  init(_ head: Head) {
    keys = head.keys
    values = .allocate(capacity: max(head.queries * keys, 1))
    lse = .allocate(capacity: max(head.queries, 1))
    starts = (0..<head.queries).reduce(into: [0]) { starts, row in
      starts.append(starts[row] + max(min(head.visibility.limit(row: row), head.keys), 0))
    }
    best = .allocate(capacity: max(starts[head.queries], 1))
  }

  deinit {
    values.deallocate()
    lse.deallocate()
    best.deallocate()
  }

  func set(_ row: Int, _ pattern: UnsafeBufferPointer<Float>, _ sum: Double) {
    (values.baseAddress! + row * keys).update(from: pattern.baseAddress!, count: keys)
    lse[row] = sum
    let seen = starts[row + 1] - starts[row]
    withUnsafeTemporaryAllocation(of: UInt32.self, capacity: max(2 * seen, 1)) { scratch in
      as_descending_sums(
        pattern.baseAddress!, Int32(seen), scratch.baseAddress!, best.baseAddress! + starts[row])
    }
  }

  func row(_ row: Int) -> UnsafeBufferPointer<Float> {
    UnsafeBufferPointer(rebasing: values[row * keys..<(row + 1) * keys])
  }

  func sums(_ row: Int) -> UnsafeBufferPointer<Double> {
    UnsafeBufferPointer(rebasing: best[starts[row]..<starts[row + 1]])
  }
}
