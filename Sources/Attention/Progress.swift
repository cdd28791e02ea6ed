import Synchronization

/// How far a long computation is; counts of work, not of items.
public final class Progress: Sendable {
  private let tell: @Sendable (Double) -> Void

  /// `tell` is called with the share that is done, from any thread, at most about a thousand times.
  public init(_ tell: @escaping @Sendable (Double) -> Void) { self.tell = tell }

  /// A counter over `total` units.
  func counter(_ total: Int) -> WorkCounter { WorkCounter(total: total, tell: tell) }
}

/// Adds up work done by many threads and tells the share about a thousand times.
final class WorkCounter: Sendable {
  private let total: Int
  private let tell: @Sendable (Double) -> Void
  private let done = Atomic<Int>(0)

  /// `total` in the unit that `add` counts in; 0 is taken for 1.
  init(total: Int, tell: @escaping @Sendable (Double) -> Void) {
    (self.total, self.tell) = (max(total, 1), tell)
  }

  /// Tells only when the total passes a thousandth, so that a fine loop does not flood whoever
  /// listens.
  func add(_ work: Int) {
    let now = done.wrappingAdd(work, ordering: .relaxed).newValue
    if now * 1000 / total != (now - work) * 1000 / total { tell(Double(now) / Double(total)) }
  }
}
