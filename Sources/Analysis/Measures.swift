/// How far sparse outputs are from dense ones.
public struct OutputError: Sendable, Equatable {
  /// ||O' - O||_F / ||O||_F
  public let relativeL2: Double
  public let maxAbsolute: Double
  /// One row tile in so many was looked at; nil when all were.
  public let sampled: Int?

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

/// How often one token takes a large share: the sink rate of "When Attention Sink Emerges" (2024, arXiv 2410.10781).
public struct SinkRate: Sendable, Equatable {
  /// Share of heads with α_k > ε.
  public let rate: Double
  public let threshold: Double
  public let heads: Int

  public init(importances: [Float], threshold: Double = 0.3) {
    heads = importances.count
    self.threshold = threshold
    let above = importances.filter { Double($0) > threshold }.count
    rate = heads == 0 ? 0 : Double(above) / Double(heads)
  }
}
