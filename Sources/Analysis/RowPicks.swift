public import Attention
import Tensors

/// Kept keys that are picked row by row, or tile by tile, on all threads.
///
/// Example: `try RowPicks.rows(head, run) { _, p, limit in
/// TopPicks.runs(TopPicks.largest(8, of: UnsafeBufferPointer(rebasing: p[..<limit]))) }` keeps the
/// eight heaviest keys of every row. The catch: `pick` runs on several threads at once
/// and gets rows in no order. Memory: the runs it returns.
public enum RowPicks {
  /// Throws `Missing` for long heads, whose rows together may pick more than memory holds.
  public static func checkLength(_ head: Head) throws {
    guard head.isLong else { return }
    throw Missing(
      .length,
      hint: "every row picks its keys, up to \(Head.longEntries) entries of a map; `slice` cuts")
  }

  /// What `pick` keeps of every row: all at once, or, of long heads, those rows that numbers are
  /// read from, and the others as they are looked at. Throws `Missing` where a long head is to be
  /// read whole, `CancellationError`. `pick` is called from several threads.
  public static func looked(
    _ head: Head, _ run: MethodRun, _ aside: inout Aside,
    _ pick: @escaping @Sendable (Int) -> [Range<Int>]
  ) throws -> KeptSet {
    var set = KeptSet(queries: head.queries, keys: head.keys, visibility: head.visibility)
    // An engine's rows are all there are.
    guard head.isLong, !run.goesOn else {
      set.keep(try rows(head.queries, run, pick))
      return set
    }
    if run.isWhole { try checkLength(head) }
    let size = MaskNumbers.tile, tiles = (head.queries + size - 1) / size
    let step = run.sampling(head, tiles: tiles, rows: size)
    set.keep(
      KeyRanges(
        try spread(tiles, by: 1, run) { part in
          part.flatMap { tile -> [[Range<Int>]] in
            let isRead = run.wantsNumbers && (tiles - 1 - tile) % step == 0
            return (tile * size..<min((tile + 1) * size, head.queries)).map {
              isRead ? pick($0) : []
            }
          }
        }))
    aside.keptRows = RuleField(
      rows: Axis(.query, head.queries), columns: Axis(.key, head.keys)
    ) { row, out in
      let limit = head.visibility.limit(row: row)
      for key in out.indices { out[key] = key < limit ? 0 : .nan }
      for run in pick(row) {
        for key in run where key < limit { out[key] = 1 }
      }
    }
    aside.findings.note("rows only: kept keys of a long head are chosen as rows are looked at")
    return set
  }

  /// The same from a row's weights: `pick` gets a query row, its pattern `[keys]` and how many keys
  /// it sees. Throws as above.
  public static func looked(
    _ head: Head, _ run: MethodRun, _ aside: inout Aside,
    byWeights pick: @escaping @Sendable (Int, UnsafeBufferPointer<Float>, Int) -> [Range<Int>]
  ) throws -> KeptSet {
    guard head.isLong, !run.goesOn else {
      var set = KeptSet(queries: head.queries, keys: head.keys, visibility: head.visibility)
      set.keep(try rows(head, run, pick))
      return set
    }
    let pattern = run.pattern(head)
    return try looked(head, run, &aside) { row in
      var picks: [Range<Int>] = []
      pattern.withRows(row..<row + 1) { row, p, _ in
        picks = pick(row, p, head.visibility.limit(row: row))
      }
      return picks
    }
  }

  /// The same of a long head for methods that decide for blocks of `tall` rows at once: `pick` gets
  /// a block. Nil where the head is not long, and all blocks are to be decided. Throws `Missing`
  /// where a long head is to be read whole, `CancellationError`.
  public static func looked(
    _ head: Head, _ run: MethodRun, _ aside: inout Aside, tall: Int,
    byBlocks pick: @escaping @Sendable (Int) -> [Range<Int>]
  ) throws -> KeptSet? {
    guard head.isLong, !run.goesOn else { return nil }
    let size = MaskNumbers.tile, tiles = (head.queries + size - 1) / size
    let step = run.sampling(head, tiles: tiles, rows: size)
    let read = stride(from: tiles - 1, through: 0, by: -step).flatMap { tile in
      tile * size / tall...(min((tile + 1) * size, head.queries) - 1) / tall
    }
    let blocks = run.wantsNumbers && !run.isWhole ? Set(read).sorted() : []
    let picks = try spread(blocks.count, by: 1, run) { $0.map { pick(blocks[$0]) } }
    let known = Dictionary(uniqueKeysWithValues: zip(blocks, picks))
    return try looked(head, run, &aside) { known[$0 / tall] ?? pick($0 / tall) }
  }

  /// Rows of the dense pattern that one thread takes at a time.
  private static let chunk = 16

  /// `pick` gets a query row, its pattern `[keys]` and how many keys it sees; what it returns is
  /// kept. Throws `CancellationError`. Cost: the pattern.
  public static func rows(
    _ head: Head, _ run: MethodRun,
    _ pick: @escaping @Sendable (Int, UnsafeBufferPointer<Float>, Int) -> [Range<Int>]
  ) throws -> KeyRanges {
    let pattern = run.pattern(head)
    return KeyRanges(
      try spread(head.queries, by: chunk, run) { rows in
        var picks: [[Range<Int>]] = []
        pattern.withRows(rows) { row, p, _ in
          picks.append(pick(row, p, head.visibility.limit(row: row)))
        }
        return picks
      })
  }

  /// The same without a pattern: for methods that decide from Q and K alone. Throws
  /// `CancellationError`.
  public static func rows(
    _ queries: Int, _ run: MethodRun, _ pick: @escaping @Sendable (Int) -> [Range<Int>]
  ) throws -> KeyRanges {
    KeyRanges(try spread(queries, by: chunk, run) { rows in rows.map(pick) })
  }

  /// `body` for chunks of `0..<count`, its results joined in order. Throws `CancellationError`.
  public static func spread<Value: Sendable>(
    _ count: Int, by chunk: Int, _ run: MethodRun,
    _ body: @escaping @Sendable (Range<Int>) -> [Value]
  ) throws -> [Value] {
    let parts = Gathered<[Value]>()
    run.threads.forEach(0..<(count + chunk - 1) / chunk, isCancelled: run.isCancelled) { item in
      parts.add(item, body(item * chunk..<min((item + 1) * chunk, count)))
    }
    try run.checkCancellation()
    return parts.inOrder.flatMap { $0 }
  }
}

/// The largest entries of a row.
public enum TopPicks {
  /// Indices of the `count` largest, ties to the lower index, ascending. Cost one selection, not a
  /// sort of the row.
  public static func largest(_ count: Int, of row: UnsafeBufferPointer<Float>) -> [Int] {
    guard count < row.count else { return Array(row.indices) }
    guard count > 0 else { return [] }
    var heap = [Entry](), rest = 0
    heap.reserveCapacity(count)
    // The least of the chosen on top: a later equal value never replaces an earlier one.
    while rest < count {
      heap.append(Entry(value: row[rest], index: rest))
      rest += 1
    }
    for start in stride(from: count / 2 - 1, through: 0, by: -1) { sink(&heap, start) }
    for index in rest..<row.count where row[index] > heap[0].value {
      heap[0] = Entry(value: row[index], index: index)
      sink(&heap, 0)
    }
    return heap.map(\.index).sorted()
  }

  /// The smallest number of largest entries whose sum reaches `share` of the row's own sum, largest
  /// first, ties to the lower index; at least one of a row that has any. Cost a sort.
  public static func mass<Row: RandomAccessCollection<Value>, Value: BinaryFloatingPoint>(
    _ share: Double, of row: Row
  ) -> [Int] where Row.Index == Int {
    let start = row.startIndex
    return mass(share, of: row.map { Double($0) }).map { $0 + start }
  }

  /// The same of plain numbers: sorts of generic rows are not made for their type in other rooms,
  /// and cost a hundred times as much.
  private static func mass(_ share: Double, of row: [Double]) -> [Int] {
    let total = row.reduce(0, +)
    let order = row.withUnsafeBufferPointer { row in
      row.indices.sorted { row[$0] != row[$1] ? row[$0] > row[$1] : $0 < $1 }
    }
    var sum = 0.0, count = 0
    for index in order {
      guard count == 0 || sum < share * total else { break }
      sum += row[index]
      count += 1
    }
    return Array(order.prefix(count))
  }

  /// Ascending indices as runs of neighbours.
  public static func runs(_ indices: [Int]) -> [Range<Int>] {
    var runs: [Range<Int>] = []
    for index in indices {
      if let last = runs.last, last.upperBound == index {
        runs[runs.count - 1] = last.lowerBound..<index + 1
      } else {
        runs.append(index..<index + 1)
      }
    }
    return runs
  }

  private struct Entry {
    let value: Float
    let index: Int

    /// Leaves before the other: smaller, or as large and later.
    func isLess(_ other: Entry) -> Bool {
      value != other.value ? value < other.value : index > other.index
    }
  }

  private static func sink(_ heap: inout [Entry], _ start: Int) {
    var at = start
    while true {
      var least = at
      for child in [2 * at + 1, 2 * at + 2] where child < heap.count {
        if heap[child].isLess(heap[least]) { least = child }
      }
      guard least != at else { return }
      heap.swapAt(at, least)
      at = least
    }
  }
}

/// Dense attention pooled to square blocks: what an oracle of blocks looks at.
public struct BlockMass: Sendable {
  /// What a block says of its entries.
  public enum Pooling: Sendable {
    /// Their sum.
    case sum
    /// The largest.
    case max
  }

  /// Query blocks.
  public let high: Int
  /// Key blocks.
  public let wide: Int
  /// `[high * wide]`, a row of blocks after the other.
  public let values: [Double]

  /// Blocks of `size` tokens on a side. Throws `CancellationError`. Cost: the pattern.
  public init(_ head: Head, size: Int, _ pooling: Pooling, _ run: MethodRun) throws {
    high = (head.queries + size - 1) / size
    wide = (head.keys + size - 1) / size
    let pattern = run.pattern(head), wide = wide
    values = try RowPicks.spread(high, by: 1, run) { blocks in
      blocks.flatMap { block -> [Double] in
        var sums = [Double](repeating: 0, count: wide)
        let rows = block * size..<Swift.min((block + 1) * size, head.queries)
        pattern.withRows(rows) { row, p, _ in
          for key in 0..<head.visibility.limit(row: row) {
            switch pooling {
            case .sum: sums[key / size] += Double(p[key])
            case .max: sums[key / size] = Swift.max(sums[key / size], Double(p[key]))
            }
          }
        }
        return sums
      }
    }
  }

  /// A row of blocks, as far as its last query sees: `[visible key blocks]`.
  public func row(_ block: Int, _ head: Head, size: Int) -> [Double] {
    let last = Swift.min((block + 1) * size, head.queries) - 1
    let seen = (head.visibility.limit(row: last) + size - 1) / size
    return Array(values[block * wide..<block * wide + seen])
  }
}
