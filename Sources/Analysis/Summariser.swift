public import Attention
public import Tensors

/// Computes a `HeadSummary`: column sums, entropies and the data for a label in one parallel sweep
/// over the rows.
///
/// Example: `Summariser(head).summary()`. It blocks the caller until the threads are done; ask from
/// a task that may wait. Memory `[keys]` doubles a strip.
public struct Summariser: Sendable {
  /// The head that is summed up.
  public let head: Head
  private let rows: PatternRows
  /// Nil where the texts of the keys are not known.
  private let copies: TokenCopies?

  /// Packs the keys; nothing is computed yet. `tokens` are the texts of the keys, or none.
  public init(_ head: Head, _ rows: PatternRows? = nil, tokens: [String] = []) {
    self.head = head
    copies = TokenCopies(tokens, keys: head.keys)
    self.rows = rows ?? PatternRows(head)
  }

  /// Entries that are looked at: of longer heads strips of rows, evenly spread, stand for all.
  private static let mostEntries = 1 << 25

  /// Strips of rows that are read.
  private var strips: [Range<Int>] {
    guard head.isLong else {
      let chunk = max(rows.stripRows, (head.queries + 31) / 32)
      return stride(from: 0, to: head.queries, by: chunk).map {
        $0..<min($0 + chunk, head.queries)
      }
    }
    let size = rows.stripRows
    let count = max(8, Self.mostEntries / max(head.keys, 1) / size)
    let all = (head.queries + size - 1) / size
    return Set((0..<count).map { (2 * $0 + 1) * all / (2 * count) }).sorted().map {
      $0 * size..<min(($0 + 1) * size, head.queries)
    }
  }

  /// What the label is tried on: of a long head its last rows.
  private var labelled: (Head, PatternRows) {
    guard head.isLong else { return (head, rows) }
    let count = min(head.queries, max(64, Self.mostEntries / max(head.keys, 1)))
    let last = head.slice(head.queries - count..<head.queries, keys: head.keys)
    return (last, PatternRows(last))
  }

  /// Nil when cancelled.
  /// Cost: one sweep over the rows for the sums, and two at most over `Labeller.mostRows` of them
  /// for the label.
  public func summary(
    threads: ComputeThreads = .shared,
    isCancelled: @escaping @Sendable () -> Bool = { Task.isCancelled }
  ) -> HeadSummary? {
    let strips = strips, (part, partRows) = labelled
    guard let totals = sweep(strips, threads, isCancelled),
      let label = Labeller(part, partRows).label(threads: threads, isCancelled: isCancelled)
    else { return nil }
    let viewers = viewers(strips)
    let seen = max(totals.rowsWithMass, 1)
    var importance = [Float](repeating: 0, count: head.keys)
    for key in 0..<head.keys {
      importance[key] = viewers[key] > 0 ? Float(totals.columns[key] / Double(viewers[key])) : 0
    }
    var quality = Quality.scan(head)
    quality.paddingKeys = head.keys - 1 - (totals.columns.lastIndex { $0 != 0 } ?? -1)
    // Of keys that no row read here could see nothing is known.
    if let unseen = viewers.lastIndex(where: { $0 > 0 }), unseen < head.keys - 1 {
      quality.paddingKeys = 0
    }
    if quality.paddingKeys == head.keys { quality.paddingKeys = 0 }
    return HeadSummary(
      importance: importance, columnMass: totals.columns.map { Float($0 / Double(seen)) },
      truncatedImportance: totals.published,
      entropy: totals.rowsWithMass == 0 && totals.rowsBroken > 0
        ? .nan : totals.entropy / Double(seen), label: label,
      quality: quality, sampledRows: head.isLong ? strips.reduce(0) { $0 + $1.count } : nil,
      reach: totals.reach?.reach)
  }

  /// How many of the rows that were read see each key.
  private func viewers(_ strips: [Range<Int>]) -> [Int] {
    var steps = [Int](repeating: 0, count: head.keys + 1)
    for row in strips.joined() {
      let limit = head.visibility.limit(row: row)
      steps[min(head.visibility.first(row: row), limit)] += 1
      steps[limit] -= 1
    }
    return SeenRows.sums(steps)
  }

  /// Sums over a strip: mass of each key `[keys]`, entropy in nats, rows that see something, and
  /// rows left out since they hold what is no number; `published` only of the whole.
  private struct Totals: Sendable {
    var columns: [Double]
    var entropy = 0.0
    var rowsWithMass = 0
    var rowsBroken = 0
    var published: Float?
    /// Nil for maps whose queries and keys are not one text.
    var reach: ReachSums?
  }

  /// Parts are added in the order of their strips, so that the sums repeat to the bit. The
  /// published sink rate needs the first rows, whether or not they were among the strips.
  private func sweep(
    _ strips: [Range<Int>], _ threads: ComputeThreads,
    _ isCancelled: @escaping @Sendable () -> Bool
  ) -> Totals? {
    let parts = Gathered<Totals>()
    threads.forEach(0..<strips.count, isCancelled: isCancelled) { index in
      parts.add(index, totals(of: strips[index]))
    }
    if isCancelled() { return nil }
    var sum = noTotals
    for part in parts.inOrder {
      if let reach = part.reach { sum.reach?.add(reach) }
      for key in 0..<head.keys { sum.columns[key] += part.columns[key] }
      sum.entropy += part.entropy
      sum.rowsWithMass += part.rowsWithMass
      sum.rowsBroken += part.rowsBroken
    }
    let count = HeadSummary.publishedRows
    if head.visibility.causal, head.queries >= count, head.visibility.offset == 0 {
      var first: Float = 0
      rows.withRows(0..<count) { _, p, _ in first += p[0] }
      sum.published = first / Float(count)
    }
    return sum
  }

  /// Sums of no row.
  private var noTotals: Totals {
    let isOneText = head.visibility.causal || head.queries == head.keys
    return Totals(
      columns: [Double](repeating: 0, count: head.keys),
      reach: isOneText ? ReachSums(keys: head.keys) : nil)
  }

  /// One strip, on the thread that asks.
  private func totals(of range: Range<Int>) -> Totals {
    var part = noTotals
    rows.withRows(range) { row, p, lse in
      guard lse != -.infinity else { return }
      guard Rows.isWhole(p) else {
        part.rowsBroken += 1
        return
      }
      part.rowsWithMass += 1
      part.entropy += Rows.entropy(p)
      Rows.add(p, to: &part.columns)
      let position = head.visibility.position(row: row), first = head.visibility.first(row: row)
      part.reach?.add(
        p, position: position, first: first, followers: copies?.followers(position, from: first))
    }
    return part
  }
}

extension Quality {
  /// Counts what is not finite in a head's arrays, and rows of a stored pattern that are finite and
  /// do not sum to 1.
  /// Infinity before softmax may be a mask, so that of stored scores only NaN and +infinity count,
  /// and only where a query may look.
  public static func scan(_ head: Head) -> Quality {
    var quality = Quality()
    func look(_ tensor: Tensor, _ name: String) {
      for start in stride(from: 0, to: tensor.shape[0], by: 1024) {
        let part = tensor.slice(axis: 0, start..<min(start + 1024, tensor.shape[0])).floats()
        let (count, first) = Rows.nonFinite(part)
        if count > 0, quality.nonFinite == 0 {
          quality.firstNonFinite =
            "\(name)[\(start + first / tensor.shape[1])][\(first % tensor.shape[1])]"
        }
        quality.nonFinite += count
      }
    }
    switch head.source {
    case .projections(let q, let k, let v):
      look(q, "q")
      look(k, "k")
      if let v { look(v, "v") }
    case .cached(let q, let keys):
      look(q, "q")
      look(keys.keyRows, "k")
      look(keys.valueRows, "v")
    case .scores(let map):
      for row in 0..<map.shape[0] {
        let bad = map[row].floats().prefix(head.visibility.limit(row: row)).filter {
          $0.isNaN || $0 == .infinity
        }.count
        if bad > 0, quality.nonFinite == 0 { quality.firstNonFinite = "scores row \(row)" }
        quality.nonFinite += bad
      }
    case .pattern(let map):
      look(map, "pattern")
      for row in 0..<map.shape[0] where head.visibility.limit(row: row) > 0 {
        let sum = map[row].floats().reduce(0, +)
        guard sum.isFinite, abs(sum - 1) > 1e-2 else { continue }
        if quality.rowsNotSummingToOne == 0 { quality.firstBadRow = row }
        quality.rowsNotSummingToOne += 1
      }
    }
    return quality
  }
}
