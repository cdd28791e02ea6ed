/// Viewpoints before and after the present one.
///
/// Example: `history.note(before, isMove: false)` after a change, then `history.back(from: now)`.
/// Memory: 500 viewpoints each way, at some hundred bytes.
struct History: Sendable {
  /// Views before this one, the newest last.
  private var earlier: [Viewpoint] = []
  /// Views that undo took back.
  private var later: [Viewpoint] = []

  /// Views that are kept.
  static let most = 500

  /// How many steps can be undone.
  var depth: Int { earlier.count }

  /// Remembers the view before a change. A run of cursor moves (`isMove`) is one step: all but its
  /// first change nothing here but what could be redone.
  mutating func note(_ before: Viewpoint, isMove: Bool) {
    if !isMove || earlier.last.map({ !$0.isSamePicture(as: before) }) ?? true {
      earlier.append(before)
    }
    if earlier.count > Self.most { earlier.removeFirst() }
    later = []
  }

  /// The view before `now`, which can be redone; nil when there is none.
  mutating func back(from now: Viewpoint) -> Viewpoint? {
    guard let view = earlier.popLast() else { return nil }
    later.append(now)
    return view
  }

  /// The view that undo left for `now`; nil when there is none.
  mutating func forth(from now: Viewpoint) -> Viewpoint? {
    guard let view = later.popLast() else { return nil }
    earlier.append(now)
    return view
  }
}

extension Viewpoint {
  /// Equal but for the cursor and the window around it.
  fileprivate func isSamePicture(as other: Viewpoint) -> Bool {
    var copy = self
    (copy.query, copy.key, copy.window) = (other.query, other.key, other.window)
    return copy == other
  }
}
