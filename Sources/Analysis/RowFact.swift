public import Attention

/// A number of every query row, read off its pattern: what stands beside a map line by line.
///
/// Raw values are the names of the fields that are asked for.
public enum RowFact: String, Sendable, Hashable, CaseIterable {
  /// exp(entropy): how many keys the row reads, on the whole. Of the mass that goes to keys.
  case effectiveKeys = "row_keys"
  /// Σ p |position - key|, in tokens. Of the mass that goes to keys.
  case distance = "row_distance"
  /// What a learned sink takes of the row: a share.
  case learnedSink = "row_sink"

  /// The fact of one row `[keys]` of a pattern without its sink; NaN where nothing is seen.
  /// `position` is that of the query among the keys.
  public func value(_ p: UnsafeBufferPointer<Float>, position: Int, seen: Int, sink: Double)
    -> Float
  {
    guard seen > 0 else { return .nan }
    switch self {
    case .learnedSink: return Float(sink)
    case .effectiveKeys:
      let entropy = p.reduce(0.0) { $1 > 0 ? $0 - Double($1) * logarithm(Double($1)) : $0 }
      return Float(exponential(entropy))
    case .distance:
      return Float(
        p.indices.reduce(0.0) { $0 + Double(p[$1]) * Double(abs(position - $1)) })
    }
  }
}

/// A number a row, as a field of a single column.
///
/// Example: `try RowFactField(.distance, rows).row(5)[0]`. Cost that of the rows of the pattern.
public struct RowFactField: RowField {
  /// The queries of the head.
  public let rows: Axis
  /// One entry.
  public let columns = Axis(.column, 1)
  private let fact: RowFact
  private let sunk: SunkRows

  /// Of a head's rows.
  public init(_ fact: RowFact, _ sunk: SunkRows) {
    (self.fact, self.sunk) = (fact, sunk)
    rows = sunk.rows
  }

  /// Throws what `body` throws.
  public func withRows(
    _ range: Range<Int>, _ body: (Int, UnsafeBufferPointer<Float>) throws -> Void
  ) throws {
    let visibility = sunk.pattern.head.visibility
    var failure: (any Error)?
    sunk.withShares(range) { row, p, share in
      guard failure == nil else { return }
      let value = fact.value(
        p, position: visibility.position(row: row), seen: visibility.count(row: row), sink: share)
      do { try withUnsafePointer(to: value) { try body(row, .init(start: $0, count: 1)) } } catch {
        failure = error
      }
    }
    if let failure { throw failure }
  }
}
