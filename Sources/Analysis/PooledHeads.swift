public import Attention

/// Dense patterns of several heads pooled entry by entry, as one field over queries and keys.
///
/// Exact: every row of every head is computed whole, and sums are in double precision. A NaN of any
/// head comes out as infinity, a key that no query may see as NaN.
///
/// Example: `try PooledHeads(patterns, byMaximum: false)?.row(5)` gives `[keys]` means of p. Cost
/// that of the rows of all heads; memory a strip of double numbers for each call under way.
public struct PooledHeads: RowField {
  /// The queries that all heads have.
  public let rows: Axis
  /// Their keys.
  public let columns: Axis
  private let patterns: [SunkRows]
  private let isMaximum: Bool

  /// Patterns of equal sides, one at least; nil for others.
  public init?(_ patterns: [SunkRows], byMaximum: Bool) {
    guard let first = patterns.first,
      patterns.allSatisfy({ ($0.rows, $0.columns) == (first.rows, first.columns) })
    else { return nil }
    (rows, columns) = (first.rows, first.columns)
    (self.patterns, isMaximum) = (patterns, byMaximum)
  }

  /// A strip of rows at a time. Throws what `body` throws.
  public func withRows(
    _ range: Range<Int>, _ body: (Int, UnsafeBufferPointer<Float>) throws -> Void
  ) throws {
    let keys = columns.count
    var start = range.lowerBound
    while start < range.upperBound {
      let end = min(start + patterns[0].pattern.stripRows, range.upperBound)
      let sums = pooled(start..<end)
      var values = [Float](repeating: 0, count: keys)
      for row in start..<end {
        let limit = patterns.map { $0.pattern.head.visibility.limit(row: row) }.max() ?? 0
        for key in 0..<keys {
          let value = sums[(row - start) * keys + key]
          values[key] = key >= limit ? .nan : (value.isNaN ? .infinity : Float(value))
        }
        try values.withUnsafeBufferPointer { try body(row, $0) }
      }
      start = end
    }
  }

  /// `[strip * keys]`, means or maxima over the heads; a NaN of one of them stays.
  private func pooled(_ strip: Range<Int>) -> [Double] {
    let keys = columns.count
    var sums = [Double](repeating: 0, count: strip.count * keys)
    for one in patterns {
      one.withShares(strip) { row, p, sink in
        let at = (row - strip.lowerBound) * keys
        let share = (1 - sink) / (isMaximum ? 1 : Double(patterns.count))
        for key in 0..<keys {
          let value = Double(p[key]) * share, old = sums[at + key]
          sums[at + key] =
            isMaximum ? (value.isNaN || old.isNaN ? .nan : max(old, value)) : old + value
        }
      }
    }
    return sums
  }
}
