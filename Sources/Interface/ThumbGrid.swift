import Canvas

/// How small pictures stand in a rectangle, each with a line of text above it.
///
/// They fill the rectangle: the columns are chosen with which all fit and are largest. Where all
/// cannot fit, the smallest fill it, and lines are scrolled so that the chosen one is in sight.
struct ThumbGrid {
  /// Columns and lines of the smallest picture that shows a shape.
  private static let least = (width: 11, height: 4)
  /// A picture is at most so many times as wide as high: cells are twice as high as wide.
  private static let widest = 3

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

  /// So many pictures, one of them chosen. `columns` fixes how many stand in a line.
  init(_ count: Int, chosen: Int, columns wanted: Int? = nil, in area: Rect) {
    let (least, total) = (Self.least, max(count, 1))
    let most = max(1, (area.width + 2) / (least.width + 2))
    func size(_ columns: Int) -> (width: Int, height: Int) {
      let rows = (total + columns - 1) / columns
      return ((area.width + 2) / columns - 2, area.height / rows - 1)
    }
    func worth(_ columns: Int) -> Int {
      let (width, height) = size(columns)
      guard width >= least.width - 2, height >= least.height - 1 else { return 0 }
      return min(width, 2 * height)
    }
    let choices = wanted.map { [$0] } ?? Array(1...min(most, total))
    let columns = choices.max { worth($0) < worth($1) } ?? 1
    if worth(columns) > 0 {
      let (width, height) = size(columns)
      self.init(
        count, thumbWidth: min(width, Self.widest * height), thumbHeight: height,
        columns: columns, rows: (total + columns - 1) / columns, first: 0, in: area)
      return
    }
    let across = wanted ?? most, rows = max(1, area.height / (least.height + 1))
    self.init(
      count, thumbWidth: max(1, (area.width + 2) / across - 2),
      thumbHeight: max(1, area.height / rows - 1), columns: across, rows: rows,
      first: max(0, chosen / across - rows + 1) * across, in: area)
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
