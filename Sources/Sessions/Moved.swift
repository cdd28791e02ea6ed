import Attention

/// How much of the attention lies elsewhere on another side: half of what two fields differ by in a
/// row, the mean over rows.
public struct MovedMass: Sendable, Hashable {
  /// 0 for equal fields, 1 for rows that share no key.
  public let share: Double
  /// Rows that were read.
  public let rows: Int
  /// Not every row was read.
  public let isSampled: Bool

  /// `rows` were read, of more where it `isSampled`.
  public init(share: Double, rows: Int, isSampled: Bool) {
    (self.share, self.rows, self.isSampled) = (share, rows, isSampled)
  }

  /// Beyond so many rows some stand for all.
  static let mostRows = 4096
  /// As many then.
  static let sampledRows = 512
}

extension Backend {
  /// The answer to a question about what has moved, from the rows of both sides; nil to any other.
  ///
  /// Example: `if let moved = try await moved(question, at: frame) { return moved }` is the first
  /// line of a backend's `answer`. Keys that one side alone has count as moved. Throws what the
  /// rows throw, and `CancellationError`.
  public func moved(_ question: Question, at frame: Frame) async throws -> Answer? {
    guard case .moved(let left, let right, let count) = question else { return nil }
    let isSampled = count > MovedMass.mostRows
    let wanted = isSampled ? MovedMass.sampledRows : count
    var sum = 0.0, read = 0
    for index in 0..<max(wanted, 0) {
      try Task.checkCancellation()
      // The last row is always among them.
      let row = (index + 1) * count / wanted - 1
      let answers = (
        try await answer(.row(left, row), at: frame), try await answer(.row(right, row), at: frame)
      )
      switch answers {
      case (.row(let a), .row(let b)):
        guard let moved = Self.difference(a, b) else { continue }
        sum += moved
        read += 1
      case (.unavailable(let why), _), (_, .unavailable(let why)): return .unavailable(why)
      default: return .unavailable("the rows of both sides are not there")
      }
    }
    guard read > 0 else { return .unavailable("no row has attention on both sides") }
    return .moved(
      MovedMass(share: sum / Double(read), rows: read, isSampled: isSampled))
  }

  /// Half the sum of what two rows differ by; nil where either is no number throughout.
  private static func difference(_ a: [Float], _ b: [Float]) -> Double? {
    var sum = 0.0
    for key in 0..<max(a.count, b.count) {
      let one = key < a.count ? a[key] : 0, other = key < b.count ? b[key] : 0
      sum += Double(abs((one.isNaN ? 0 : one) - (other.isNaN ? 0 : other)))
    }
    let isThere = a.contains { !$0.isNaN } && b.contains { !$0.isNaN }
    return isThere && sum.isFinite ? sum / 2 : nil
  }
}
