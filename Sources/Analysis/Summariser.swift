public import Attention
public import Tensors

/// Computes a `HeadSummary`: column sums, entropies and the data for a label in one parallel sweep over the rows.
public struct Summariser: Sendable {
  public let head: Head
  private let rows: PatternRows

  public init(_ head: Head) {
    self.head = head
    rows = PatternRows(head)
  }

  /// Nil when cancelled.
  public func summary(
    threads: ComputeThreads = .shared,
    isCancelled: @escaping @Sendable () -> Bool = { Task.isCancelled }
  ) -> HeadSummary? {
    guard let totals = sweep(threads, isCancelled),
      let label = Labeller(head, rows).label(threads: threads, isCancelled: isCancelled)
    else { return nil }
    let seen = max(totals.rowsWithMass, 1)
    var importance = [Float](repeating: 0, count: head.keys)
    for key in 0..<head.keys {
      let viewers =
        head.visibility.causal ? head.queries - max(0, key - head.visibility.offset) : head.queries
      importance[key] = viewers > 0 ? Float(totals.columns[key] / Double(viewers)) : 0
    }
    var quality = Quality.scan(head)
    quality.paddingKeys = totals.columns.reversed().prefix { $0 == 0 }.count
    if quality.paddingKeys == head.keys { quality.paddingKeys = 0 }
    return HeadSummary(
      importance: importance, columnMass: totals.columns.map { Float($0 / Double(seen)) },
      truncatedImportance: totals.published, entropy: totals.entropy / Double(seen), label: label,
      quality: quality)
  }

  private struct Totals: Sendable {
    var columns: [Double]
    var entropy = 0.0
    var rowsWithMass = 0
    var published: Float?
  }

  private func sweep(_ threads: ComputeThreads, _ isCancelled: @escaping @Sendable () -> Bool)
    -> Totals?
  {
    let chunk = max(rows.stripRows, (head.queries + 31) / 32)
    let chunks = (head.queries + chunk - 1) / chunk
    let parts = Gathered<Totals>()
    threads.forEach(0..<chunks, isCancelled: isCancelled) { index in
      parts.add(index, totals(of: index * chunk..<min((index + 1) * chunk, head.queries)))
    }
    if isCancelled() { return nil }
    var sum = Totals(columns: [Double](repeating: 0, count: head.keys))
    for part in parts.inOrder {
      for key in 0..<head.keys { sum.columns[key] += part.columns[key] }
      sum.entropy += part.entropy
      sum.rowsWithMass += part.rowsWithMass
    }
    let count = HeadSummary.publishedRows
    if head.visibility.causal, head.queries >= count, head.visibility.offset == 0 {
      var first: Float = 0
      rows.withRows(0..<count) { _, p, _ in first += p[0] }
      sum.published = first / Float(count)
    }
    return sum
  }

  private func totals(of range: Range<Int>) -> Totals {
    var part = Totals(columns: [Double](repeating: 0, count: head.keys))
    rows.withRows(range) { row, p, lse in
      guard lse != -.infinity else { return }
      part.rowsWithMass += 1
      part.entropy += Rows.entropy(p)
      Rows.add(p, to: &part.columns)
    }
    return part
  }
}

extension Quality {
  /// Counts what is not finite in a head's arrays, and rows of a stored pattern that do not sum to 1.
  static func scan(_ head: Head) -> Quality {
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
        guard !(abs(sum - 1) <= 1e-2) else { continue }
        if quality.rowsNotSummingToOne == 0 { quality.firstBadRow = row }
        quality.rowsNotSummingToOne += 1
      }
    }
    return quality
  }
}
