public import Attention

/// Where two masks over the same tokens agree, counted in cells of the largest tile that divides
/// both.
///
/// Example: `MaskAgreement(a.mask(lambda), b.mask(lambda)).overlap`. The catch: with tiles of 128
/// and 96 a cell has 32 tokens, so that counts are cells and not blocks of either side.
public struct MaskAgreement: Sendable, Equatable {
  /// Cells that both skip.
  public var bothSkipped = 0
  /// Cells that the left one alone skips.
  public var onlyLeft = 0
  /// Cells that the right one alone skips.
  public var onlyRight = 0
  /// Cells that both compute.
  public var bothComputed = 0

  /// Blocks that either cannot see are not counted. Cost: the cells of the common tile.
  public init(_ left: BlockMask, _ right: BlockMask) {
    let rows = Self.divisor(left.spec.rows, right.spec.rows)
    let keys = Self.divisor(left.spec.keys, right.spec.keys)
    let height = min(left.rowTiles * left.spec.rows, right.rowTiles * right.spec.rows) / rows
    let width = min(left.keyTiles * left.spec.keys, right.keyTiles * right.spec.keys) / keys
    for i in 0..<height {
      for j in 0..<width {
        switch (
          left[i * rows / left.spec.rows, j * keys / left.spec.keys],
          right[i * rows / right.spec.rows, j * keys / right.spec.keys]
        ) {
        case (.skipped, .skipped): bothSkipped += 1
        case (.skipped, .computed): onlyLeft += 1
        case (.computed, .skipped): onlyRight += 1
        case (.computed, .computed): bothComputed += 1
        default: break
        }
      }
    }
  }

  /// Cells that both can see.
  public var total: Int { bothSkipped + onlyLeft + onlyRight + bothComputed }

  /// Of everything that either skips, what both skip: 1 when the masks are equal, also when neither
  /// skips anything.
  public var overlap: Double {
    let either = bothSkipped + onlyLeft + onlyRight
    return either == 0 ? 1 : Double(bothSkipped) / Double(either)
  }

  /// The greatest common divisor.
  private static func divisor(_ a: Int, _ b: Int) -> Int { b == 0 ? a : divisor(b, a % b) }
}

/// Two pooled maps of the same window subtracted.
///
/// Example: `MapDifference(left, right, usesMean: true, head.visibility)?.movedMass`. Values are
/// differences of probabilities, in -1...1.
public struct MapDifference: Sendable {
  /// Cells from top to bottom.
  public let rows: Int
  /// Cells from left to right.
  public let columns: Int
  /// Left minus right, `[rows * columns]`; NaN where either has nothing visible.
  public let values: [Float]
  /// Half of the mass that differs, per query row: at least so much of a row's attention lies
  /// elsewhere on the other side (entries within a cell are not told apart).
  public let movedMass: Double

  /// Nil when the maps do not have the same window and cells. `usesMean` subtracts means, else
  /// maxima.
  public init?(_ left: PooledMap, _ right: PooledMap, usesMean: Bool, _ visibility: Visibility) {
    guard left.window == right.window, left.rowEdges == right.rowEdges,
      left.keyEdges == right.keyEdges
    else { return nil }
    (rows, columns) = (left.rows, left.columns)
    let (a, b) = usesMean ? (left.mean, right.mean) : (left.max, right.max)
    values = zip(a, b).map { $0 - $1 }
    var moved = 0.0
    for r in 0..<left.rows {
      for c in 0..<left.columns {
        let difference = Double(left.mean[r * left.columns + c] - right.mean[r * left.columns + c])
        guard difference.isFinite else { continue }
        moved +=
          abs(difference)
          * Double(
            Self.visible(
              left.rowEdges[r]..<left.rowEdges[r + 1], left.keyEdges[c]..<left.keyEdges[c + 1],
              visibility))
      }
    }
    movedMass = moved / 2 / Double(max(1, left.window.queries.count))
  }

  /// Entries of a cell that may be seen.
  private static func visible(_ queries: Range<Int>, _ keys: Range<Int>, _ visibility: Visibility)
    -> Int
  {
    guard let first = queries.first, let last = queries.last else { return 0 }
    if visibility.limit(row: first) >= keys.upperBound { return queries.count * keys.count }
    if visibility.limit(row: last) <= keys.lowerBound { return 0 }
    return queries.reduce(0) {
      $0 + max(0, min(visibility.limit(row: $1), keys.upperBound) - keys.lowerBound)
    }
  }
}
