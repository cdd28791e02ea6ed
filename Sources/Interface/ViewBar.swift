import Canvas

/// The line of views under the header: each with its digit, the one in sight marked.
///
/// Example: ` 1 Map  2 Heads  3 Method  4 Scores  5 Text  6 Compare`. Drawing and the mouse read
/// the same places, so that what is clicked is what is seen.
struct ViewBar {
  /// A view and where its name stands.
  struct Item {
    /// What a click shows.
    let view: ViewKind
    /// Digit and name.
    let text: String
    /// The cells that answer to a click.
    let rect: Rect
  }

  /// From the left, all six.
  let items: [Item]
  /// The line itself.
  private let rect: Rect

  /// As much of each name as lets all six stand in the line.
  init(in rect: Rect) {
    self.rect = rect
    let words = Self.candidates.first { $0.reduce(0) { $0 + Width.of($1) } <= rect.width }
    var x = rect.x
    items = zip(ViewKind.allCases, words ?? Self.candidates[Self.candidates.count - 1]).map {
      view, text in
      defer { x += Width.of(text) }
      let place = Rect(x: x, y: rect.y, width: Width.of(text), height: 1)
      return Item(view: view, text: text, rect: place)
    }
  }

  /// From long to short.
  private static let candidates: [[String]] = [
    ViewKind.allCases.map { " \($0.rawValue) \($0.title) " },
    ViewKind.allCases.map { "\($0.rawValue) \($0.title) " },
    ViewKind.allCases.map { "\($0.rawValue)\($0 == .compare ? "Comp" : $0.title) " },
  ]

  /// The view whose name stands at a place of the screen.
  func view(x: Int, y: Int) -> ViewKind? { items.first { $0.rect.contains(x, y) }?.view }

  /// Names, and on the right the keys that lead further where there is room.
  func draw(_ look: Look, _ keymap: Keymap, on grid: inout Grid) {
    let paint = Paint(look)
    for item in items {
      let isHere = item.view == look.viewpoint.view
      let style = isHere ? Style(bold: true, reverse: true) : Style.plain
      grid.put(item.text, item.rect.x, rect.y, style)
      guard !isHere, let at = item.text.firstIndex(where: \.isNumber) else { continue }
      let x = item.rect.x + item.text.distance(from: item.text.startIndex, to: at)
      grid.put(String(item.text[at]), x, rect.y, paint.accent)
    }
    let end = items.last?.rect.maxX ?? rect.x
    let hints = [
      "\(keymap.key(.nextView)) next view", "\(keymap.key(.palette)) commands",
      "\(keymap.key(.find)) find", "\(keymap.key(.help)) help",
    ]
    let shown = (0...hints.count).lazy.map { hints.dropLast($0).joined(separator: "   ") }
      .first { end + Width.of($0) + 3 <= rect.maxX }
    if let shown { grid.put(endingAt: rect.maxX - 1, shown, rect.y, paint.dim) }
  }
}
