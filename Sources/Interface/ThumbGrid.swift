import Canvas

/// How small pictures stand in a rectangle, each with a line of text above it.
///
/// The largest size with which all fit is taken, else the smallest, and then lines are scrolled so
/// that the chosen one is in sight.
struct ThumbGrid {
  /// Columns and lines of a picture, from the largest.
  private static let sizes = [(29, 12), (23, 10), (19, 8), (17, 7), (15, 6), (13, 5), (11, 4)]

  /// Where they stand.
  let area: Rect
  /// How many there are.
  let count: Int
  /// Columns of a picture.
  let thumbWidth: Int
  /// Lines of a picture.
  let thumbHeight: Int
  /// Pictures in a line.
  let columns: Int
  /// Lines of pictures that fit.
  let rows: Int
  /// Index of the first one shown.
  let first: Int

  /// So many pictures, one of them chosen.
  init(_ count: Int, chosen: Int, in area: Rect) {
    func fits(_ size: (Int, Int)) -> Bool {
      ((area.width + 2) / (size.0 + 2)) * (area.height / (size.1 + 1)) >= count
    }
    let size = Self.sizes.first(where: fits) ?? Self.sizes[Self.sizes.count - 1]
    let columns = max(1, (area.width + 2) / (size.0 + 2))
    let rows = max(1, area.height / (size.1 + 1))
    let page = max(0, chosen / columns - rows + 1)
    self.init(
      count, thumbWidth: size.0, thumbHeight: size.1, columns: columns, rows: rows,
      first: page * columns, in: area)
  }

  /// With sizes that the caller has reasons for.
  init(
    _ count: Int, thumbWidth: Int, thumbHeight: Int, columns: Int, rows: Int, first: Int,
    in area: Rect
  ) {
    (self.area, self.count, self.columns, self.rows) = (area, count, columns, rows)
    (self.thumbWidth, self.thumbHeight, self.first) = (thumbWidth, thumbHeight, first)
  }

  /// Those that are shown.
  var visible: Range<Int> { min(first, count)..<min(count, first + columns * rows) }

  /// The place of one, its title line included.
  func rect(_ index: Int) -> Rect {
    let at = index - first
    return Rect(
      x: area.x + at % columns * (thumbWidth + 2), y: area.y + at / columns * (thumbHeight + 1),
      width: thumbWidth, height: thumbHeight + 1)
  }

  /// The one that a move ends at, from one of them; held to those there are.
  func moved(_ action: Action, _ steps: Int, from here: Int) -> Int {
    let step: Int
    switch action {
    case .left: step = -steps
    case .right: step = steps
    case .up: step = -steps * columns
    case .down: step = steps * columns
    case .pageUp: step = -steps * columns * rows
    case .pageDown: step = steps * columns * rows
    case .home: step = -here
    default: step = count
    }
    return max(min(here + step, count - 1), 0)
  }
}
