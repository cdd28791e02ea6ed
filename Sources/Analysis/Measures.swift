/// How far sparse outputs are from dense ones.
///
/// Example: `OutputError(dense: a, sparse: b).relativeL2`. Sums are in double. The catch: it is
/// relative to all rows together, so that a small row which is quite wrong hardly shows;
/// `maxAbsolute` is there for that.
public struct OutputError: Sendable, Equatable {
  /// ||O' - O||_F / ||O||_F
  public let relativeL2: Double
  /// The largest difference of any entry, in the unit of the outputs.
  public let maxAbsolute: Double
  /// One row tile in so many was looked at; nil when all were.
  public let sampled: Int?

  /// Both `[rows * valueDim]`. Traps when they differ in size; 0 against 0 is no error, anything
  /// against 0 an infinite one.
  public init(dense: [Float], sparse: [Float], sampled: Int? = nil) {
    precondition(dense.count == sparse.count, "outputs of different size")
    var difference = 0.0, norm = 0.0, most = 0.0
    for (a, b) in zip(dense, sparse) {
      let d = Double(b) - Double(a)
      difference += d * d
      norm += Double(a) * Double(a)
      most = max(most, abs(d))
    }
    self.sampled = sampled
    relativeL2 = norm > 0 ? (difference / norm).squareRoot() : (difference > 0 ? .infinity : 0)
    maxAbsolute = most
  }
}

/// How often one token takes a large share: the sink rate of "When Attention Sink Emerges" (2024,
/// arXiv 2410.10781).
public struct SinkRate: Sendable, Equatable {
  /// Share of heads with α_k > ε.
  public let rate: Double
  /// ε, a share of a row's mass in 0...1.
  public let threshold: Double
  /// Heads that were counted.
  public let heads: Int

  /// `importances` `[heads]` are α of the key in question, one a head; 0.3 is the paper's
  /// threshold.
  public init(importances: [Float], threshold: Double = 0.3) {
    heads = importances.count
    self.threshold = threshold
    let above = importances.filter { Double($0) > threshold }.count
    rate = heads == 0 ? 0 : Double(above) / Double(heads)
  }
}
