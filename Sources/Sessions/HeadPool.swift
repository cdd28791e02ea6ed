/// Which heads a dense pattern is of: a head's own, or several heads pooled entry by entry.
///
/// Example: `FieldID.pattern(head, pool: .mean)` is the mean of p over the heads of the layer. Of
/// rows that sum to 1 a mean does so too; a maximum does not.
public enum HeadPool: String, Sendable, Hashable, CaseIterable {
  /// The head alone.
  case one
  /// Over all query heads of the layer.
  case mean, max
  /// The mean over the query heads that share the head's keys.
  case group
}
