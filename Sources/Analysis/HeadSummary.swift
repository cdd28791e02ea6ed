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
  /// How many rows entropy, sink and importance were read from; nil when from all. The label says
  /// for itself.
  public let sampledRows: Int?
  /// How far the head looks; nil for maps whose queries and keys are not one text.
  public let reach: HeadReach?
  /// The keys that take most mass, heaviest first and equal ones in their own order: the first
  /// `mostHeaviest` of all.
  public let heaviest: [Int]
  /// Mass of all keys before each, `[keys + 1]`: any run of keys is a difference.
  private let massBefore: [Double]

  /// Put before a number that was read from part of the rows.
  public var sign: String { sampledRows == nil ? "" : "~" }

  /// exp(entropy): how many tokens a row attends to, on the whole.
  public var effectiveTokens: Double { exponential(entropy) }

  /// The key that takes most mass per row, and its mean share of a row in 0...1.
  public var sink: (position: Int, mass: Double) {
    heaviest.first.map { ($0, Double(columnMass[$0])) } ?? (0, 0)
  }

  /// Mean share of a row that a run of keys takes; traps outside the keys.
  public func mass(_ keys: Range<Int>) -> Double {
    massBefore[keys.upperBound] - massBefore[keys.lowerBound]
  }

  /// Rows and keys of `truncatedImportance`.
  public static let publishedRows = 64
  /// Keys of `heaviest`: more than a screen has lines.
  public static let mostHeaviest = 512

  /// Orders the keys by their mass, once for all who draw them.
  init(
    importance: [Float], columnMass: [Float], truncatedImportance: Float?, entropy: Double,
    label: PatternLabel, quality: Quality, sampledRows: Int?, reach: HeadReach? = nil
  ) {
    self.reach = reach
    (self.importance, self.columnMass) = (importance, columnMass)
    (self.truncatedImportance, self.entropy, self.label) = (truncatedImportance, entropy, label)
    (self.quality, self.sampledRows) = (quality, sampledRows)
    // What is not a number takes no place from what is one.
    let known = columnMass.map { $0.isNaN ? -1 : $0 }
    let order = known.indices.sorted { known[$0] != known[$1] ? known[$0] > known[$1] : $0 < $1 }
    heaviest = Array(order.prefix(Self.mostHeaviest))
    var sum = 0.0
    massBefore =
      [0]
      + columnMass.map {
        sum += Double($0)
        return sum
      }
  }
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
        """
        \(nonFinite) NaN or infinite values, first at \(firstNonFinite ?? "?"): numbers drawn from \
        them are not reliable
        """
      )
    }
    if rowsNotSummingToOne > 0 {
      badges.append(
        """
        \(rowsNotSummingToOne) rows do not sum to 1, first row \(firstBadRow ?? 0): renormalised \
        here
        """
      )
    }
    if paddingKeys > 0 {
      badges.append("the last \(paddingKeys) keys get no mass at all: padding?")
    }
    return badges
  }
}
