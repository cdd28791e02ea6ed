/// Who decides about a block: each query head alone, or all query heads of a KV head together.
public enum Vote: String, Sendable, Hashable, CaseIterable {
  case head, group
}

/// In which order key blocks are visited; it changes the running maxima and so the mask.
public enum Order: String, Sendable, Hashable, CaseIterable {
  case ascending, descending
}

/// What a block's row maxima are compared with.
public enum Criterion: String, Sendable, Hashable, CaseIterable {
  /// The running row maxima: BLASST as published and deployed. Margins do not depend on lambda.
  case max
  /// The running log-sum-exp of the blocks computed so far, m + ln l. What was skipped is not in l, so here margins
  /// do depend on lambda, and a table holds for the lambda it was made with.
  case lse
}

/// The size of a tile and how it is decided: what a mask means nothing without.
///
/// Example: `TileSpec(rows: 128, keys: 128)` is ModelOpt's prefill tile. Rows are query rows that vote together.
public struct TileSpec: Sendable, Hashable, CustomStringConvertible {
  public var rows: Int
  public var keys: Int
  public var vote: Vote
  public var order: Order
  public var criterion: Criterion
  /// Split-K: the visible key tiles of a row tile, in the order of the visit, are cut into this many runs of equal
  /// length (the last may be shorter), each with a running maximum of its own. 1 is the one logical order.
  public var splits: Int

  public init(
    rows: Int, keys: Int, vote: Vote = .head, order: Order = .ascending,
    criterion: Criterion = .max, splits: Int = 1
  ) {
    precondition(rows > 0 && keys > 0, "a tile has at least one row and one key")
    precondition(splits > 0, "there is at least one split")
    (self.rows, self.keys, self.vote, self.order) = (rows, keys, vote, order)
    (self.criterion, self.splits) = (criterion, splits)
  }

  public var description: String {
    var text = "\(rows)x\(keys) \(vote.rawValue) \(order == .ascending ? "asc" : "desc")"
    if criterion == .lse { text += " lse" }
    if splits > 1 { text += " \(splits) splits" }
    return text
  }

  /// How many of `tiles` visited tiles a split takes.
  func run(_ tiles: Int) -> Int { max(1, (tiles + splits - 1) / splits) }

  /// Parses `128x128`.
  public static func sides(_ text: String) -> (rows: Int, keys: Int)? {
    let parts = text.lowercased().split(separator: "x", omittingEmptySubsequences: false).map {
      Int($0)
    }
    guard parts.count == 2, let rows = parts[0], let keys = parts[1], rows > 0, keys > 0,
      rows <= 1 << 20,
      keys <= 1 << 20
    else { return nil }
    return (rows, keys)
  }
}

/// Tiles as deployed kernels use them (blasst.md).
public struct TilePreset: Sendable {
  public let name: String
  public let prefill: TileSpec
  public let decode: TileSpec

  public static func named(_ name: String) -> TilePreset? { all.first { $0.name == name } }

  public static let all: [TilePreset] = [
    TilePreset(
      name: "modelopt", prefill: .init(rows: 128, keys: 128), decode: .init(rows: 1, keys: 128)),
    TilePreset(
      name: "hopper", prefill: .init(rows: 64, keys: 256),
      decode: .init(rows: 1, keys: 64, vote: .group)),
    TilePreset(
      name: "blackwell", prefill: .init(rows: 32, keys: 128),
      decode: .init(rows: 1, keys: 128, vote: .group)),
    TilePreset(
      name: "flashinfer", prefill: .init(rows: 128, keys: 128),
      decode: .init(rows: 1, keys: 128, vote: .group)),
    TilePreset(name: "fine", prefill: .init(rows: 16, keys: 16), decode: .init(rows: 1, keys: 16)),
  ]
}

extension TileSpec {
  /// The preset that has these sides and this vote, the first of equals.
  public var presetName: String? {
    TilePreset.all.first { preset in
      [preset.prefill, preset.decode].contains {
        ($0.rows, $0.keys) == (rows, keys) && $0.vote == vote
      }
    }?.name
  }

  /// What is used when nothing is said: ModelOpt's tile; heads vote alone in prefill, as a group in decode.
  public static func standard(queries: Int) -> TileSpec {
    queries == 1 ? TileSpec(rows: 1, keys: 128, vote: .group) : TileSpec(rows: 128, keys: 128)
  }
}

/// A lambda that BLASST accepts: at most 1; 0 and below mean dense.
public struct Lambda: Sendable, Hashable {
  public let value: Double

  /// Throws for lambda > 1, where deployed kernels disagree, and for NaN.
  public init(_ value: Double) throws(LambdaError) {
    guard value <= 1 else { throw LambdaError(value: value) }
    self.value = value
  }

  /// Blocks whose margin is below this are skipped; -infinity when nothing may be.
  public var threshold: Float { Lambda.threshold(value) }

  static func threshold(_ value: Double) -> Float {
    value > 0 ? Float(logarithm(value)) : -.infinity
  }
}

public struct LambdaError: Error, CustomStringConvertible {
  public let value: Double

  public init(value: Double) { self.value = value }

  public var description: String {
    value.isNaN
      ? "lambda is refused: it is not a number"
      : "lambda \(value) is refused: above 1 a block could be skipped although it raises the running maximum, and deployed kernels differ on what that means; give a value in (0, 1], or 0 for dense"
  }
}
