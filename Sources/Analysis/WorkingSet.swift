public import Attention

/// How many keys a hot buffer must hold: rows are taken for decode steps, each reads its kept keys,
/// and the buffer drops what was read longest ago (LRU).
///
/// Before a step reads, its own key is put into the buffer: it has just been made there. Then its
/// kept keys are read in ascending order; a read hits where fewer than s other keys were touched
/// since the key was last. One pass gives the hit rate of every size (Mattson's stack distances).
///
/// Example: `WorkingSet(field).hitRate(256)`. Cost kept entries times a logarithm, memory 4 bytes
/// an entry. The catch: a read of all keys in order is what LRU serves worst, and a buffer smaller
/// than a step's keys may hit nothing.
public struct WorkingSet: Sendable, Equatable {
  /// `[keys + 1]`, reads that hit from that size on; none at size 0.
  private var hits: [Int]
  /// Reads of kept keys, among them those that no size serves.
  public private(set) var reads = 0

  /// Every row of a mask, in order. Throws `Missing` for long heads.
  public init(_ field: KeptField) throws {
    let set = field.set
    if set.queries * set.keys >= Head.longEntries {
      throw Missing(.length, hint: "every step's reads are followed; `slice` cuts")
    }
    hits = [Int](repeating: 0, count: set.keys + 1)
    let rows = 0..<set.queries
    // Every read, and every key that a step makes.
    var stack = LRUStack(
      keys: set.keys, touches: set.count(rows, field.visibility) + set.queries)
    for row in rows {
      let own = field.visibility.position(row: row)
      if own >= 0, own < set.keys { _ = stack.touch(own) }
      for (key, flag) in set.row(row, field.visibility).enumerated() where flag != 0 {
        reads += 1
        if let depth = stack.touch(key) { hits[depth] += 1 }
      }
    }
  }

  /// Reads of another head, each with a buffer of its own; both have as many keys.
  public mutating func add(_ other: WorkingSet) {
    for size in hits.indices { hits[size] += other.hits[size] }
    reads += other.reads
  }

  /// Share of reads that a buffer of `size` keys serves, in 0...1; nil where nothing was read.
  public func hitRate(_ size: Int) -> Double? {
    guard reads > 0 else { return nil }
    return Double(hits[...min(max(size, 0), hits.count - 1)].reduce(0, +)) / Double(reads)
  }

  /// The fewest keys whose buffer hits `share` of the reads; nil where none does.
  public func size(for share: Double) -> Int? {
    var sum = 0
    for (size, count) in hits.enumerated() {
      sum += count
      if reads > 0, Double(sum) >= share * Double(reads) { return size }
    }
    return nil
  }

  /// Hit rates at 1, 2, 4, ... and all keys.
  public var curve: [Curve.Point] {
    var sizes: [Int] = [], size = 1
    while size < hits.count - 1 {
      sizes.append(size)
      size *= 2
    }
    sizes.append(hits.count - 1)
    return sizes.compactMap { size in hitRate(size).map { Curve.Point(Double(size), $0) } }
  }
}

/// Keys by when they were last touched; a Fenwick tree counts those that were touched since.
private struct LRUStack {
  /// `[keys]`, when each was last touched, from 1; 0 never.
  private var last: [Int]
  /// `[touches + 1]`
  private var tree: [Int32]
  private var now = 0

  init(keys: Int, touches: Int) {
    last = [Int](repeating: 0, count: keys)
    tree = [Int32](repeating: 0, count: touches + 1)
  }

  /// How many keys a buffer must hold for this touch to hit; nil for a key that was never there.
  mutating func touch(_ key: Int) -> Int? {
    let before = last[key]
    now += 1
    let depth = before == 0 ? nil : Int(sum(now - 1) - sum(before - 1))
    if before > 0 { add(before, -1) }
    add(now, 1)
    last[key] = now
    return depth
  }

  private mutating func add(_ index: Int, _ value: Int32) {
    var index = index
    while index < tree.count {
      tree[index] += value
      index += index & -index
    }
  }

  private func sum(_ index: Int) -> Int32 {
    var index = index, sum: Int32 = 0
    while index > 0 {
      sum += tree[index]
      index -= index & -index
    }
    return sum
  }
}
