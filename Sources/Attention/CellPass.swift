import Kernels
import Synchronization
public import Tensors

/// Rows of the dense pattern pooled to cells, a strip of rows at a time: the kernel of every map on
/// the screen.
///
/// For a chosen set of rows and runs of keys it gives, for every row cell and key cell, the largest
/// probability and the sum of all. Scores are float32; the softmax is over all keys of a row,
/// whatever the window shows.
struct CellPass {
  /// A group of one head whose keys are packed in panels of floats; must not be in double
  /// precision.
  let pass: TilePass
  /// Boundaries of the key cells, ascending.
  let keyEdges: [Int]
  /// The key that is left out of every row, or nil.
  let muted: Int?
  /// Log-sum-exp of every row, where it is known: then only the keys of the window are looked at.
  let lse: [Float]?
  /// `[queries]`: takes each row's log-sum-exp when it is found.
  let found: Floats?

  var cells: Int { keyEdges.count - 1 }

  /// Rows that share each tile of keys while it is in the cache.
  static let rows = 4 * Strips.lanes
  private static let keys = 128

  /// Adds up to `CellPass.rows` rows of the only head, each given with the row cell it belongs to
  /// (ascending), to `out`.
  func add(_ rows: [Int], cell: [Int], to out: CellSums) {
    let lanes = Strips.lanes
    let strips = Strips(pass, head: 0, rows: rows)
    let size = cells * lanes
    let top = Floats(strips.count * size, fill: -.infinity), sum = Floats(strips.count * size)
    let level = Floats(strips.count * size, fill: -.infinity)
    let m = Floats(strips.count * lanes, fill: -.infinity), l = Floats(strips.count * lanes)
    let scores = Floats(Self.keys * lanes), gmax = Floats(Self.keys / 16 * lanes)
    let t = Floats(lanes)
    let limit = strips.most.max() ?? 0
    var first = 0
    let window =
      lse == nil
      ? 0..<limit
      : keyEdges[0] / Self.keys * Self.keys..<max(keyEdges[0], min(limit, keyEdges[cells]))
    for start in stride(from: window.lowerBound, to: window.upperBound, by: Self.keys) {
      let keys = start..<min(start + Self.keys, pass.group.keys)
      while first < cells, keyEdges[first + 1] <= start { first += 1 }
      var last = first
      while last < cells, keyEdges[last] < keys.upperBound { last += 1 }
      for strip in 0..<strips.count {
        let width = strips.width(strip, keys)
        guard width > 0 else { continue }
        strips.score(
          pass, strip, keys, pass.panel(key: start), scores.base, gmax.base, t.base)
        if let muted, muted >= start, muted < start + width {
          as_wide_mute(pass.isa, scores.base, Int32(width), Int32(muted - start), t.base)
        }
        let bounds = keyEdges[first..<max(first + 1, last + 1)].map {
          Int32(min(max($0 - start, 0), width))
        }
        as_wide_cells(
          pass.isa, scores.base, Int32(width), t.base, m.base + strip * lanes,
          l.base + strip * lanes, Int32(first < cells ? last - first : 0), bounds,
          top.base + strip * size + first * lanes, sum.base + strip * size + first * lanes,
          level.base + strip * size + first * lanes)
      }
    }
    fold(strips, rows, cell, top, sum, level, m, l, out)
  }

  /// Brings the sums of each lane from its own running level to the row's log-sum-exp, and adds the
  /// lanes of one row cell together. Lanes of a cell are neighbours, so that a cell is locked once
  /// a strip and not once a row.
  private func fold(
    _ strips: Strips, _ rows: [Int], _ cell: [Int], _ top: Floats, _ sum: Floats, _ level: Floats,
    _ m: Floats,
    _ l: Floats, _ out: CellSums
  ) {
    let lanes = Strips.lanes, size = cells * lanes
    let own = Floats(lanes)
    for strip in 0..<strips.count {
      let first = strip * lanes
      for lane in 0..<min(lanes, rows.count - first) {
        let mass = l.base[first + lane], row = rows[first + lane]
        own.base[lane] =
          lse.map { $0[row] }
          ?? (mass == 0 ? -.infinity : m.base[first + lane] + Float(logarithm(Double(mass))))
        found?.base[row] = own.base[lane]
      }
      var from = 0
      let count = min(lanes, cell.count - first)
      while from < count {
        var to = from
        while to < count, cell[first + to] == cell[first + from] { to += 1 }
        out.withRow(cell[first + from]) { most, mass in
          as_wide_cells_fold(
            pass.isa, Int32(cells), top.base + strip * size, sum.base + strip * size,
            level.base + strip * size, own.base, Int32(from), Int32(to), most, mass)
        }
        from = to
      }
    }
  }
}

/// A head made ready for maps: its keys are packed once, and row sums that one exact map found
/// serve every zoom after it.
///
/// Nil for stored maps and where float32 would not do; `PatternRows` is the way for those.
///
/// Example: `MapPass(head)?.pool(rowEdges: [0, 64, 128], keyEdges: [0, 128], muted: nil)` gives two
/// cells. The catch: a row's log-sum-exp is only known after an exact pool of all rows without a
/// muted key; until then every pool, however small its window, walks all keys of its rows.
public final class MapPass: Sendable {
  /// The head whose rows are pooled.
  public let head: Head
  private let pass: TilePass
  private let lse = Mutex<[Float]?>(nil)

  /// Packs the keys. Cost O(keys * d), memory `bytes`. Nil where maps take the slow way.
  public init?(_ head: Head, threads: ComputeThreads = .shared) {
    let pass = TilePass(HeadGroup([head]), keysPerTile: 128, threads: threads)
    guard pass.hasPanels, !pass.isDouble else { return nil }
    (self.head, self.pass) = (head, pass)
  }

  /// Bytes beyond those of the file.
  public var bytes: Int { 4 * ((head.keys + 15) / 16 * 16 * head.dim + head.queries) }

  /// Per cell the largest probability and the sum of all, `[row cells][key cells]`. With `sampled`
  /// only that many rows of each row cell are looked at. Nil when cancelled.
  /// `rowEdges` `[row cells + 1]` and `keyEdges` `[key cells + 1]` ascend, in tokens. A cell
  /// without a visible entry is 0 in both arrays: the caller knows the visibility and tells it from
  /// a weight of 0.
  public func pool(
    rowEdges: [Int], keyEdges: [Int], muted: Int?, sampled: Int? = nil,
    threads: ComputeThreads = .shared, progress: Progress? = nil,
    isCancelled: @escaping @Sendable () -> Bool = { Task.isCancelled }
  ) -> (max: [Float], sum: [Float])? {
    let cells = rowEdges.count - 1
    var rows: [Int] = [], cell: [Int] = []
    for index in 0..<cells {
      let range = rowEdges[index]..<rowEdges[index + 1]
      let chosen = sampled.map { Self.sample(range, $0) } ?? Array(range)
      rows += chosen
      cell += [Int](repeating: index, count: chosen.count)
    }
    let known = muted == nil ? lse.withLock { $0 } : nil
    let isWhole = sampled == nil && muted == nil && rows.count == head.queries
    let found = isWhole && known == nil ? Floats(head.queries, fill: -.infinity) : nil
    let work = CellPass(pass: pass, keyEdges: keyEdges, muted: muted, lse: known, found: found)
    let out = CellSums(rows: cells, columns: keyEdges.count - 1)
    let block = CellPass.rows, blocks = (rows.count + block - 1) / block
    let counter = progress?.counter(rows.reduce(0) { $0 + head.visibility.limit(row: $1) })
    let order = (rows, cell)
    threads.forEach(0..<blocks, isCancelled: isCancelled) { item in
      // The last rows see most keys: they go first.
      let start = (blocks - 1 - item) * block, end = min(start + block, order.0.count)
      work.add(Array(order.0[start..<end]), cell: Array(order.1[start..<end]), to: out)
      counter?.add(order.0[start..<end].reduce(0) { $0 + self.head.visibility.limit(row: $1) })
    }
    if isCancelled() { return nil }
    if let found {
      lse.withLock { $0 = Array(UnsafeBufferPointer(start: found.base, count: found.count)) }
    }
    return (out.maxima, out.sums)
  }

  /// Block tables of several tiles from the keys that are packed already: see `TilePass.tables`.
  public func tables(
    _ specs: [TileSpec], lambda: Double = 0, threads: ComputeThreads = .shared,
    progress: Progress? = nil,
    isCancelled: @escaping @Sendable () -> Bool = { Task.isCancelled }
  ) -> [BlockTable]? {
    pass.tables(
      specs, lambda: lambda, threads: threads, progress: progress, isCancelled: isCancelled)?
      .map { $0[0] }
  }

  /// Rows of the pattern.
  public var rows: PatternRows { PatternRows(pass, head: 0) }

  /// `count` rows of a range, evenly spread.
  /// Each is the middle of its share of the range, so that neither end is favoured.
  public static func sample(_ range: Range<Int>, _ count: Int) -> [Int] {
    guard count < range.count else { return Array(range) }
    return (0..<count).map { range.lowerBound + (2 * $0 + 1) * range.count / (2 * count) }
  }
}

/// What a `CellPass` found: `[row cells][key cells]` maxima and sums. Row cells may be filled by
/// different threads.
///
/// `@unchecked Sendable`: two threads that share a row cell take turns.
final class CellSums: @unchecked Sendable {
  private let columns: Int
  private let most, mass: Floats
  private let locks: [Guard]

  /// A mutex cannot be stored in an array; in a class of its own it can.
  private final class Guard: Sendable {
    let mutex = Mutex<Void>(())
  }

  /// All maxima and sums start at 0, the least a probability can be.
  init(rows: Int, columns: Int) {
    self.columns = columns
    (most, mass) = (Floats(rows * columns), Floats(rows * columns))
    locks = (0..<rows).map { _ in Guard() }
  }

  /// The row's maxima and sums, `[columns]` each, for as long as no other thread has them.
  func withRow(
    _ row: Int, _ body: (UnsafeMutablePointer<Float>, UnsafeMutablePointer<Float>) -> Void
  ) {
    locks[row].mutex.withLock { _ in
      body(most.base + row * columns, mass.base + row * columns)
    }
  }

  /// `[rows * columns]`, row by row.
  var maxima: [Float] { Array(UnsafeBufferPointer(start: most.base, count: most.count)) }
  /// `[rows * columns]`, row by row.
  var sums: [Float] { Array(UnsafeBufferPointer(start: mass.base, count: mass.count)) }
}
