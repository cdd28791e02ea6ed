public import Attention

/// Rows of a dense pattern beside a learned sink: one more element of the softmax, of logit b, that
/// belongs to no key.
///
///     p_j = exp(s_j) / (exp(b) + Σ_i exp(s_i)) = (1 - s) softmax(scores)_j
///     s   = 1 / (1 + e^(l - b))
///
/// with l the log-sum-exp of the row's scores. A row and its sink sum to 1. Without a sink, s is 0
/// and rows are those of the pattern.
///
/// Example: `SunkRows(PatternRows(head), sink: 3)`. Cost that of the pattern.
public struct SunkRows: RowField {
  /// The rows without the sink.
  public let pattern: PatternRows
  /// The logit b; nil: there is none.
  public let sink: Float?

  /// `sink` in the unit of the scores after scaling.
  public init(_ pattern: PatternRows, sink: Float?) {
    (self.pattern, self.sink) = (pattern, sink)
  }

  /// The queries of the head.
  public var rows: Axis { pattern.rows }
  /// Its keys.
  public var columns: Axis { pattern.columns }

  /// What the sink takes of a row whose log-sum-exp is `lse`: a share; 0 without a sink.
  public func share(lse: Double) -> Double { Self.share(sink, lse: lse) }

  /// e^b / (e^l + e^b), without overflow; 0 without a sink.
  public static func share(_ sink: Float?, lse: Double) -> Double {
    sink.map { 1 / (1 + exponential(lse - Double($0))) } ?? 0
  }

  /// Calls `body` with each row's `[keys]` pattern without the sink, and the sink's share of it.
  public func withShares(
    _ range: Range<Int>, _ body: (Int, UnsafeBufferPointer<Float>, _ sink: Double) -> Void
  ) {
    pattern.withRows(range) { row, p, lse in body(row, p, share(lse: lse)) }
  }

  /// Rows with the sink taken off: NaN out of sight, infinity for a NaN of the data. Throws what
  /// `body` throws.
  public func withRows(
    _ range: Range<Int>, _ body: (Int, UnsafeBufferPointer<Float>) throws -> Void
  ) throws {
    try pattern.withRows(range, share: { 1 - share(lse: $0) }, body)
  }
}
