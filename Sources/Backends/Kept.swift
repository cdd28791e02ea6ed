import Synchronization

/// Things that were made and may be wanted again; the oldest go when all together pass the budget.
///
/// Example: `let kept = Kept<Int, [Float]>(budget: 1 << 20) { 4 * $0.count }`. A value that is set
/// a second time does not replace the first: equal keys are taken to mean equal values. The newest
/// value stays, even when it alone passes the budget. Cost of a look-up O(entries), of which there
/// are few.
final class Kept<Key: Hashable & Sendable, Value: Sendable>: Sendable {
  /// What the lock guards.
  private struct State {
    /// What is kept.
    var values: [Key: Value] = [:]
    /// Every key once, the least recently used first.
    var order: [Key] = []
    /// The sum of their sizes.
    var bytes = 0
  }

  /// Guards look-ups and changes; values are made outside of it.
  private let state = Mutex(State())
  /// Bytes of all values together.
  private let budget: Int
  /// Asked when a value comes and again when it goes, so it must not change meanwhile.
  private let size: @Sendable (Value) -> Int

  /// `budget` in bytes; `size` estimates the bytes of a value.
  init(budget: Int, _ size: @escaping @Sendable (Value) -> Int) {
    (self.budget, self.size) = (budget, size)
  }

  /// Reading makes the entry the newest; setting nil does nothing.
  subscript(_ key: Key) -> Value? {
    get {
      state.withLock { state in
        if let at = state.order.firstIndex(of: key) {
          state.order.append(state.order.remove(at: at))
        }
        return state.values[key]
      }
    }
    set {
      guard let newValue else { return }
      state.withLock { state in
        guard state.values[key] == nil else { return }
        state.values[key] = newValue
        state.order.append(key)
        state.bytes += size(newValue)
        while state.bytes > budget, state.order.count > 1 {
          if let old = state.values.removeValue(forKey: state.order.removeFirst()) {
            state.bytes -= size(old)
          }
        }
      }
    }
  }
}
