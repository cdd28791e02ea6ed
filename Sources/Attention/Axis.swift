/// What one direction of an array counts, and how many there are.
///
/// Example: `Axis(.query, 832)` counts query rows; `Axis(.block, 7, span: 128)` counts blocks of
/// 128 tokens, so that entry 2 stands for tokens 256 to 383. Axes of tokens are drawn on the map's
/// own window; others have a scale of their own.
public struct Axis: Sendable, Hashable {
  /// What is counted.
  public enum Kind: String, Sendable, Hashable, CaseIterable {
    /// Places of a text, of a model, or of a schedule. `offset` is the distance of a key behind its
    /// query, in tokens; `sublayer` and `source` count who reads the residual stream and who wrote
    /// into it; `worker` counts who computes.
    case query, key, offset, block, token, layer, head, sublayer, source, channel, worker, slot,
      step
    /// Places of a factorisation, of a plane (an image's patches, say), and turns of an iteration.
    case rank, row, column, round
  }

  /// What an entry is: a query, a key, a block of tokens, a layer.
  public let kind: Kind
  /// Entries along this direction.
  public let count: Int
  /// Tokens that one entry stands for; 1 unless blocks are counted.
  public let span: Int
  /// The tokens that there are: a last block may be shorter than `span`.
  public let tokens: Int
  /// Names of the entries, where numbers alone would not tell; empty otherwise.
  public let labels: [String]

  /// `span` tokens an entry; `tokens` in all (default: `count * span`).
  public init(
    _ kind: Kind, _ count: Int, span: Int = 1, tokens: Int? = nil, labels: [String] = []
  ) {
    (self.kind, self.count, self.span, self.labels) = (kind, count, span, labels)
    self.tokens = tokens ?? count * span
  }

  /// True for entries that are tokens, or runs of them, of the text that is looked at.
  public var isText: Bool {
    switch kind {
    case .query, .key, .block, .token: true
    default: false
    }
  }

  /// The entries that hold the tokens of a range, within the axis.
  public func entries(of tokens: Range<Int>) -> Range<Int> {
    let low = min(max(tokens.lowerBound / span, 0), max(count - 1, 0))
    let high = min(count, (max(tokens.upperBound, tokens.lowerBound + 1) + span - 1) / span)
    return low..<max(high, min(low + 1, count))
  }

  /// The name of an entry: its label, or its number.
  public func name(_ entry: Int) -> String {
    labels.indices.contains(entry) ? labels[entry] : "\(entry)"
  }
}
