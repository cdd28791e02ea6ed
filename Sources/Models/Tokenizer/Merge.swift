import HeapModule

/// A symbol of a word that is being merged: its bytes, and its token if it is one (-1 if not).
struct Symbol {
  var token: Int32
  var bytes: Range<Int>
}

/// Byte-pair merging: the best neighbouring pair becomes one symbol, until no pair may merge.
///
/// `candidate` says what two neighbours would become and how good that is; smaller order
/// first, then further left. Each merge shortens the word by one symbol, so it ends whatever
/// the table says. O(n log n), by a heap of proposals of which stale ones are dropped as they
/// surface. The idea is that of Sennrich et al., Neural Machine Translation of Rare Words,
/// 2015, arXiv 1508.07909.
func merged(
  _ symbols: [Symbol], _ candidate: (Symbol, Symbol) -> (order: Float, token: Int32)?
) -> [Symbol] {
  guard symbols.count > 1 else { return symbols }
  var symbols = symbols
  var next = Array(1...symbols.count), previous = Array(-1..<symbols.count - 1)
  var alive = [Bool](repeating: true, count: symbols.count)
  var heap = Heap<PendingMerge>()
  func propose(_ left: Int) {
    guard left >= 0, next[left] < symbols.count else { return }
    let right = next[left]
    guard let found = candidate(symbols[left], symbols[right]) else { return }
    heap.insert(
      PendingMerge(
        order: found.order, left: left, token: found.token, end: symbols[right].bytes.upperBound,
        start: symbols[left].bytes.upperBound))
  }
  for left in 0..<symbols.count - 1 { propose(left) }
  while let best = heap.popMin() {
    let left = best.left
    guard alive[left], symbols[left].bytes.upperBound == best.start, next[left] < symbols.count
    else { continue }
    let right = next[left]
    guard symbols[right].bytes.upperBound == best.end else { continue }
    symbols[left] = Symbol(token: best.token, bytes: symbols[left].bytes.lowerBound..<best.end)
    alive[right] = false
    next[left] = next[right]
    if next[right] < symbols.count { previous[next[right]] = left }
    propose(previous[left])
    propose(left)
  }
  return symbols.indices.filter { alive[$0] }.map { symbols[$0] }
}

/// A pair that could merge; stale when either of its symbols has changed since.
private struct PendingMerge: Comparable {
  let order: Float
  let left: Int
  let token: Int32
  /// Where the right symbol ended, and where it began.
  let end: Int
  let start: Int

  static func < (a: PendingMerge, b: PendingMerge) -> Bool {
    a.order != b.order ? a.order < b.order : a.left < b.left
  }
}
