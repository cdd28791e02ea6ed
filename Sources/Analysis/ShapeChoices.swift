import Attention

/// The kept sets that a head is tried with: each shape at several splits of the same number of
/// entries.
struct ShapeChoices {
  private let head: Head
  private let entries: Double
  private let seen: Shapes.LastQueries
  private let blockSize: Int

  /// `entries` is the budget: kept entries of the whole map. Reads the last 64 rows of the pattern
  /// once for all candidates.
  init(_ head: Head, _ rows: PatternRows, entries: Double) {
    self.head = head
    self.entries = entries
    seen = Shapes.lastQueries(rows, rows: 64)
    // The largest block of which two fit into each query block's budget.
    var size = 64
    while size > 2, entries < Double(2 * size * head.queries) { size /= 2 }
    blockSize = size
  }

  /// A-shape with 0, 4, 16, 64... first columns; vertical-slash with five splits; block-sparse
  /// once.
  var candidates: [(PatternLabel.Name, String, KeptSet)] {
    var sets: [(PatternLabel.Name, String, KeptSet)] = []
    for initial in [0, 1, 4, 16, 64, 256]
    where initial < head.keys && columnEntries(initial) < entries {
      sets.append(aShape(initial: initial, entries: entries))
    }
    for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
      sets.append(verticalSlash(columns: share, entries: entries))
    }
    sets.append(blockSparse(entries: entries))
    return sets
  }

  /// Unions of the shapes, each with a part of the budget; they overlap, so a part may exceed a
  /// third.
  var unions: [(PatternLabel.Name, String, KeptSet)] {
    [0.5, 0.42, 0.34].flatMap { part -> [(PatternLabel.Name, String, KeptSet)] in
      let a = aShape(initial: min(4, head.keys), entries: entries * part)
      let v = verticalSlash(columns: 0.5, entries: entries * part)
      let b = blockSparse(entries: entries * part)
      let detail = "each shape with \(Int(part * 100)) % of the budget"
      return [
        (.hybrid, detail, a.2.union(v.2).union(b.2)),
        (.hybrid, "A-shape and vertical-slash, " + detail, a.2.union(v.2)),
      ]
    }
  }

  /// Entries of the first `count` columns.
  private func columnEntries(_ count: Int) -> Double {
    (0..<min(count, head.keys)).reduce(0.0) { $0 + Double(viewers(of: $1)) }
  }

  /// How many query rows see a key: the entries that keeping its column costs.
  private func viewers(of key: Int) -> Int {
    head.visibility.causal
      ? max(0, min(head.queries, head.queries - (key - head.visibility.offset))) : head.queries
  }

  /// How many entries a diagonal has; without a causal mask it stands on both sides of the main
  /// one.
  private func offsetEntries(_ offset: Int) -> Int {
    let one = max(
      0, min(head.queries, head.visibility.position(row: head.queries - 1) - offset + 1))
    return head.visibility.causal || offset == 0 ? one : 2 * one
  }

  /// What the first columns leave of the budget buys diagonals from the main one on.
  private func aShape(initial: Int, entries: Double) -> (PatternLabel.Name, String, KeptSet) {
    var left = entries - columnEntries(initial)
    var local = 0
    while local < head.keys, left >= Double(offsetEntries(local)) {
      left -= Double(offsetEntries(local))
      local += 1
    }
    return (
      .aShape, "first \(initial) + local \(local)",
      Shapes.aShape(head, initial: initial, local: local)
    )
  }

  /// Columns first, with `share` of the budget; diagonals get the rest and what columns left over.
  /// Entries on both are paid twice, so density may stay below the budget.
  private func verticalSlash(columns share: Double, entries: Double) -> (
    PatternLabel.Name, String, KeptSet
  ) {
    var set = KeptSet(queries: head.queries, keys: head.keys, visibility: head.visibility)
    var left = entries * share
    var columns = 0, offsets = 0
    for j in Shapes.top(head.keys, of: seen.columns) where seen.columns[j] > 0 {
      guard left >= Double(viewers(of: j)) else { break }
      left -= Double(viewers(of: j))
      set.columns[j] = 1
      columns += 1
    }
    left += entries * (1 - share)
    for o in Shapes.top(seen.offsets.count, of: seen.offsets) where seen.offsets[o] > 0 {
      guard left >= Double(offsetEntries(o)) else { break }
      left -= Double(offsetEntries(o))
      set.keep(offset: o)
      offsets += 1
    }
    return (.verticalSlash, "\(columns) columns + \(offsets) diagonals", set)
  }

  /// As many blocks for every query block, at least one.
  private func blockSparse(entries: Double) -> (PatternLabel.Name, String, KeptSet) {
    let blocks = (head.queries + blockSize - 1) / blockSize
    let count = max(1, Int(entries / Double(blocks * blockSize * blockSize)))
    return (
      .blockSparse, "\(count) blocks of \(blockSize) a query block",
      Shapes.blockSparse(head, size: blockSize, count: count)
    )
  }
}
