/// What a method did, recorded as it worked.
public struct Trace: Sendable {
  /// One mask per query head.
  public var masks: [BlockMask] = []
  /// For methods that keep entries rather than blocks: one set per query head.
  public var keptSets: [KeptSet] = []
  /// What the work came to, summed over heads.
  public var cost = Cost()

  /// Nothing yet.
  public init() {}
}

/// Operation counts: they repeat exactly, whatever the machine.
///
/// Example: `valueRows` over `scores` is the share of the work on values that was left. The catch:
/// these count entries, not time; kernels work in whole blocks, so time follows them only roughly.
public struct Cost: Sendable, Equatable {
  /// Query-key dot products that attention itself needs.
  public var scores = 0
  /// Exponentials.
  public var exponentials = 0
  /// Rows of V read and multiplied, once per query.
  public var valueRows = 0
  /// Dot products spent deciding what to keep.
  public var selection = 0

  /// Nothing yet.
  public init() {}

  /// Counts visible entries by verdict: Q K^T is never skipped, exp and P V only where computed.
  public mutating func add(_ mask: BlockMask, _ group: HeadGroup) {
    for i in 0..<mask.rowTiles {
      for row in i * mask.spec.rows..<min((i + 1) * mask.spec.rows, group.queries) {
        let limit = group.visibility.limit(row: row)
        for j in 0..<mask.keyTiles {
          let seen = max(0, min(limit, (j + 1) * mask.spec.keys) - j * mask.spec.keys)
          scores += seen
          if mask[i, j] == .computed {
            exponentials += seen
            valueRows += seen
          }
        }
      }
    }
  }
}
