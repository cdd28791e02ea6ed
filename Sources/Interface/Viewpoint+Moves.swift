import Analysis
import Attention
import Canvas
import Sessions

/// Moves of the cursor, the window and the head. Each stays within a source, and gives a sentence
/// for the caption where it met an edge.
extension Viewpoint {
  // MARK: Cursor

  /// Moves the cursor by `count` cells of `across` keys and `down` queries, or leaps.
  mutating func move(
    _ action: Action, _ count: Int, across: Int, down: Int, in source: SourceDescription
  ) -> String? {
    let before = (query, key)
    switch action {
    case .left: key -= count * across
    case .right: key += count * across
    case .up: query -= count * down
    case .down: query += count * down
    case .pageUp: query -= count * max(1, window.queries.count / 2)
    case .pageDown: query += count * max(1, window.queries.count / 2)
    case .home: key = 0
    case .end: key = source.keys - 1
    default: break
    }
    clampCursor(in: source)
    followCursor(in: source)
    return (query, key) == before ? "This is the edge of the map." : nil
  }

  /// Brings the cursor into the map.
  mutating func clampCursor(in source: SourceDescription) {
    query = min(max(query, 0), source.queries - 1)
    key = min(max(key, 0), source.keys - 1)
  }

  /// Shifts the window so that the cursor is in it.
  mutating func followCursor(in source: SourceDescription) {
    window.queries = Self.shift(window.queries, toHold: query, within: source.queries)
    window.keys = Self.shift(window.keys, toHold: key, within: source.keys)
  }

  /// Puts the cursor on a key, or says which there are.
  mutating func goTo(_ wanted: Int, in source: SourceDescription) -> String? {
    guard (0..<source.keys).contains(wanted) else {
      return "There is no token \(wanted); they are 0 to \(source.keys - 1)."
    }
    key = wanted
    followCursor(in: source)
    return nil
  }

  /// Puts the cursor on a query row, or says which there are.
  mutating func goTo(query wanted: Int, in source: SourceDescription) -> String? {
    guard (0..<source.queries).contains(wanted) else {
      return "There is no query \(wanted); they are 0 to \(source.queries - 1)."
    }
    query = wanted
    followCursor(in: source)
    return nil
  }

  /// Puts the cursor in the middle of a cell's queries and keys.
  mutating func point(_ queries: Range<Int>, _ keys: Range<Int>, in source: SourceDescription) {
    key = (keys.lowerBound + keys.upperBound - 1) / 2
    query = (queries.lowerBound + queries.upperBound - 1) / 2
    clampCursor(in: source)
  }

  // MARK: Window

  /// All of the map.
  mutating func fit(_ source: SourceDescription) {
    window = MapWindow(queries: 0..<source.queries, keys: 0..<source.keys)
  }

  /// All of the map is in the window.
  func isFit(_ source: SourceDescription) -> Bool {
    window == MapWindow(queries: 0..<source.queries, keys: 0..<source.keys)
  }

  /// Halves or doubles the window around the cursor, which stays where it is on the screen.
  mutating func zoom(by factor: Double, in source: SourceDescription) -> String? {
    let before = window
    window.queries = Self.zoomed(
      before.queries, by: factor, around: query, within: source.queries)
    window.keys = Self.zoomed(before.keys, by: factor, around: key, within: source.keys)
    guard window == before else { return nil }
    return factor < 1 ? "This is as close as it gets." : "The whole map is shown."
  }

  /// Moves the window by tokens, its size kept.
  mutating func pan(queries: Int, keys: Int, in source: SourceDescription) {
    func panned(_ range: Range<Int>, by step: Int, within limit: Int) -> Range<Int> {
      let start = min(max(range.lowerBound + step, 0), limit - range.count)
      return start..<start + range.count
    }
    window.keys = panned(window.keys, by: keys, within: source.keys)
    window.queries = panned(window.queries, by: queries, within: source.queries)
  }

  /// Follows a source that has another length now: a window that showed everything goes on to do
  /// so, a cursor that was on the newest query stays on it.
  mutating func follow(_ source: SourceDescription, wasFit: Bool, wasNewest: Bool) {
    if wasFit {
      fit(source)
    } else {
      window.queries = Self.fitted(window.queries, within: source.queries)
      window.keys = Self.fitted(window.keys, within: source.keys)
    }
    if wasNewest || view == .tokens { query = source.queries - 1 }
    clampCursor(in: source)
    if !wasFit { followCursor(in: source) }
  }

  /// The range moved as little as needed to hold a value.
  private static func shift(_ range: Range<Int>, toHold value: Int, within limit: Int)
    -> Range<Int>
  {
    if range.contains(value) { return range }
    let low = value < range.lowerBound ? value : value - range.count + 1
    let start = min(max(low, 0), max(limit - range.count, 0))
    return start..<min(start + range.count, limit)
  }

  /// At least 8 tokens, at most all.
  private static func zoomed(
    _ range: Range<Int>, by factor: Double, around value: Int, within limit: Int
  ) -> Range<Int> {
    let size = min(limit, max(min(8, limit), Int((Double(range.count) * factor).rounded())))
    let share = Double(value - range.lowerBound) / Double(max(range.count, 1))
    let start = min(max(value - Int(share * Double(size)), 0), limit - size)
    return start..<start + size
  }

  /// The range moved and cut to end within the limit.
  private static func fitted(_ range: Range<Int>, within limit: Int) -> Range<Int> {
    let size = min(range.count, limit)
    let start = min(range.lowerBound, limit - size)
    return start..<start + size
  }

  // MARK: Heads

  /// Another head of the layer.
  mutating func stepHead(_ step: Int, in source: SourceDescription) -> String? {
    let wanted = head.head + step
    head.head = min(max(wanted, 0), source.heads - 1)
    guard wanted != head.head else { return nil }
    return "Heads are \(source.headNames); < > change the layer."
  }

  /// Another layer, the same head.
  mutating func stepLayer(_ step: Int, in source: SourceDescription) -> String? {
    let wanted = head.layer.value + step
    head.layer = LayerIndex(min(max(wanted, 0), source.layers.count - 1))
    guard wanted != head.layer.value else { return nil }
    return "This file has layers \(source.layerNames)."
  }

  /// Through layers and heads as a matrix.
  mutating func moveInMatrix(_ action: Action, _ count: Int, in source: SourceDescription)
    -> String?
  {
    let before = head
    switch action {
    case .left: head.head -= count
    case .right: head.head += count
    case .up: head.layer.value -= count
    case .down: head.layer.value += count
    case .pageUp, .home: (head.layer, head.head) = (0, 0)
    default: (head.layer.value, head.head) = (source.layers.count - 1, source.heads - 1)
    }
    head.head = min(max(head.head, 0), source.heads - 1)
    head.layer = min(max(head.layer, 0), LayerIndex(source.layers.count - 1))
    return head == before ? "There are no more heads this way." : nil
  }

  // MARK: Pictures

  /// Toggles and cycles of how things are shown, with what a toggle is now where the picture alone
  /// might not tell.
  mutating func turn(_ action: Action) -> String? {
    switch action {
    case .overlay:
      overlay = overlay.following
      return "Overlay: \(overlay.rawValue)."
    case .scale:
      scale = scale.following
      return "Scale: \(scale.rawValue)."
    case .normalise:
      normaliseRows.toggle()
      return normaliseRows ? "Each row scaled by its own maximum." : "One scale for all rows."
    case .pooling:
      pooling = pooling.following
      return "A cell shows the \(pooling.rawValue) of its entries."
    case .colorMap:
      colors = colors.next
      return "Colours: \(colors.rawValue)."
    case .background: light.toggle()
    case .strip:
      strip = strip.following
      return strip.words
    case .sort:
      sort = sort.following
      return "Heads by \(sort.rawValue)."
    case .costs:
      (costs, gallery) = (costs.following, nil)
      switch costs {
      case .off: return "Heads as pictures."
      case .list: return "What is skipped in each head, the cheapest first."
      case .map: return "What is skipped and what it costs, layers down, heads across."
      }
    default: if let kind = ViewKind.turned(to: action, from: view) { view = kind }
    }
    return nil
  }
}

extension ViewKind {
  /// The view that an action opens, from another; nil for other actions.
  fileprivate static func turned(to action: Action, from view: ViewKind) -> ViewKind? {
    switch action {
    case .open, .viewMap: return .map
    case .viewHeads: return .heads
    case .viewBlocks: return .blocks
    case .viewSinks: return .sinks
    case .viewTokens: return .tokens
    case .viewCompare: return .compare
    case .nextView: return view.following
    case .previousView:
      let all = Self.allCases
      return all[(all.firstIndex(of: view)! + all.count - 1) % all.count]
    default: return nil
    }
  }
}
