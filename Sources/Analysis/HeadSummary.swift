import Attention

/// What one head does, read from all its rows: where its mass goes and how it is shaped.
///
/// Cost O(queries * keys * d): one sweep over the pattern, a strip of rows at a time.
///
/// Example: `Summariser(head).summary()?.sink` names the key with most mass. The catch: of long
/// heads only some strips of rows are read, and `sampledRows` says how many; the label then is of
/// the last rows alone.
public struct HeadSummary: Sendable {
  /// α_k: mean attention on key k over the rows that see it, `[keys]`. "When Attention Sink
  /// Emerges", 2024, arXiv 2410.10781.
  public let importance: [Float]
  /// Mean over rows of the mass on each key, `[keys]`; sums to 1.
  public let columnMass: [Float]
  /// α_1 over the first 64 rows and keys only, as published sink rates are measured; nil for
  /// shorter or bidirectional maps.
  public let truncatedImportance: Float?
  /// Mean entropy of a row, in nats.
  public let entropy: Double
  /// The shape that recalls most at equal density.
  public let label: PatternLabel
  /// What is odd about the head's numbers.
  public let quality: Quality
  /// How many rows entropy, sink and importance were read from; nil when from all. The label says for itself.
  public let sampledRows: Int?

  /// Put before a number that was read from part of the rows.
  public var sign: String { sampledRows == nil ? "" : "~" }

  /// exp(entropy): how many tokens a row attends to, on the whole.
  public var effectiveTokens: Double { exponential(entropy) }

  /// The key that takes most mass per row, and its mean share of a row in 0...1.
  public var sink: (position: Int, mass: Double) {
    let best = columnMass.indices.max { columnMass[$0] < columnMass[$1] } ?? 0
    return (best, columnMass.isEmpty ? 0 : Double(columnMass[best]))
  }

  /// Rows and keys of `truncatedImportance`.
  public static let publishedRows = 64
}

/// What is odd about the numbers of a head; shown as a badge, never a reason to refuse.
public struct Quality: Sendable, Equatable {
  /// NaN and infinite values in all arrays of the head.
  public var nonFinite = 0
  /// Where the first one is, in words.
  public var firstNonFinite: String?
  /// Rows of a stored pattern whose sum is further than 1e-2 from 1.
  public var rowsNotSummingToOne = 0
  /// The first of them.
  public var firstBadRow: Int?
  /// Trailing keys that no row gives any mass.
  public var paddingKeys = 0

  /// Nothing odd.
  public init() {}

  /// True when there is nothing to show.
  public var isClean: Bool { self == Quality() }

  /// Sentences, worst first.
  public var badges: [String] {
    var badges: [String] = []
    if nonFinite > 0 {
      badges.append(
        "\(nonFinite) NaN or infinite values, first at \(firstNonFinite ?? "?"): numbers drawn from them are not reliable"
      )
    }
    if rowsNotSummingToOne > 0 {
      badges.append(
        "\(rowsNotSummingToOne) rows do not sum to 1, first row \(firstBadRow ?? 0): renormalised here"
      )
    }
    if paddingKeys > 0 {
      badges.append("the last \(paddingKeys) keys get no mass at all: padding?")
    }
    return badges
  }
}
