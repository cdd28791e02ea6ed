/// Who decides about a block: each query head alone, or all query heads of a KV head together.
public enum Vote: String, Sendable, Hashable, CaseIterable {
  /// Each query head alone, or all query heads of a KV head together: a group skips a block only
  /// when none of its heads needs it.
  case head, group
}

/// In which order key blocks are visited; it changes the running maxima and so the mask.
public enum Order: String, Sendable, Hashable, CaseIterable {
  /// From the first key on, or from the last key back. Ascending meets a sink at key 0 first,
  /// descending the diagonal: what is met first decides how high the maxima stand for the rest.
  case ascending, descending
}

/// What a block's row maxima are compared with.
public enum Criterion: String, Sendable, Hashable, CaseIterable {
  /// The running row maxima: BLASST as published and deployed. Margins do not depend on lambda.
  case max
  /// The running log-sum-exp of the blocks computed so far, m + ln l. What was skipped is not in l,
  /// so here margins do depend on lambda, and a table holds for the lambda it was made with.
  case lse
}

/// The size of a tile and how it is decided: what a mask means nothing without.
///
/// Example: `TileSpec(rows: 128, keys: 128)` is ModelOpt's prefill tile. Rows are query rows that
/// vote together.
///
/// The catch: two masks can only be compared when their specs are known; the same lambda skips more
/// with small tiles and with `vote: .head`.
public struct TileSpec: Sendable, Hashable, CustomStringConvertible {
  /// Query rows that vote together.
  public var rows: Int
  /// Keys of a block.
  public var keys: Int
  /// Who decides about a block.
  public var vote: Vote
  /// In which order blocks are visited.
  public var order: Order
  /// What a block's row maxima are compared with.
  public var criterion: Criterion
  /// Split-K: the visible key tiles of a row tile, in the order of the visit, are cut into this
  /// many runs of equal length (the last may be shorter), each with a running maximum of its own. 1
  /// is the one logical order.
  public var splits: Int

  /// Traps for sides or splits below 1.
  public init(
    rows: Int, keys: Int, vote: Vote = .head, order: Order = .ascending,
    criterion: Criterion = .max, splits: Int = 1
  ) {
    precondition(rows > 0 && keys > 0, "a tile has at least one row and one key")
    precondition(splits > 0, "there is at least one split")
    (self.rows, self.keys, self.vote, self.order) = (rows, keys, vote, order)
    (self.criterion, self.splits) = (criterion, splits)
  }

  /// As reports print it: `128x128 head asc`.
  public var description: String {
    var text = "\(rows)x\(keys) \(vote.rawValue) \(order == .ascending ? "asc" : "desc")"
    if criterion == .lse { text += " lse" }
    if splits > 1 { text += " \(splits) splits" }
    return text
  }

  /// How many of `tiles` visited tiles a split takes.
  func run(_ tiles: Int) -> Int { max(1, (tiles + splits - 1) / splits) }

  /// Parses `128x128`.
  /// Nil for anything else, and for sides above 2^20.
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
  /// What users type.
  public let name: String
  /// The tile for the prompt.
  public let prefill: TileSpec
  /// The tile for one new token.
  public let decode: TileSpec

  /// The preset of a name; nil when there is none.
  public static func named(_ name: String) -> TilePreset? { all.first { $0.name == name } }

  /// Every preset; where two have the same sides, the earlier one gives its name.
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
    TilePreset(
      name: "fine", prefill: .init(rows: 16, keys: 16),
      decode: .init(rows: 1, keys: 16, vote: .group)),
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

  /// What is used when nothing is said: ModelOpt's tile; heads vote alone in prefill, as a group in
  /// decode.
  public static func standard(queries: Int) -> TileSpec {
    queries == 1 ? TileSpec(rows: 1, keys: 128, vote: .group) : TileSpec(rows: 128, keys: 128)
  }
}

/// A lambda that BLASST accepts: at most 1; 0 and below mean dense.
///
/// Example: `try Lambda(0.01).threshold` is -4.6 nats. Paper: BLASST, 2025, arXiv 2512.12087.
public struct Lambda: Sendable, Hashable {
  /// As it was given; 0 and below are dense.
  public let value: Double

  /// Throws `LambdaError` for lambda > 1, where deployed kernels disagree, and for NaN.
  public init(_ value: Double) throws(LambdaError) {
    guard value <= 1 else { throw LambdaError(value: value) }
    self.value = value
  }

  /// Blocks whose margin is below this are skipped; -infinity when nothing may be.
  public var threshold: Float { Lambda.threshold(value) }

  /// The same for a number that is known to be acceptable, in nats.
  static func threshold(_ value: Double) -> Float {
    value > 0 ? Float(logarithm(value)) : -.infinity
  }
}

/// Why a lambda was not taken.
public struct LambdaError: Error, CustomStringConvertible {
  /// The number that was given.
  public let value: Double

  /// `value` is NaN or above 1.
  public init(value: Double) { self.value = value }

  /// What was refused, why, and what to give instead.
  public var description: String {
    value.isNaN
      ? "lambda is refused: it is not a number"
      : """
      lambda \(value) is refused: above 1 a block could be skipped although it raises the running \
      maximum, and deployed kernels differ on what that means; give a value in (0, 1], or 0 for \
      dense
      """
  }
}
