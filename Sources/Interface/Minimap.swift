import Analysis
import Attention
import Canvas
import Sessions

/// Where the window of view 1 lies in the whole map: thumbs on its frame at every size, and a small
/// picture of all of it in the panel beside, where there is room.
///
/// Nothing while everything is shown. The picture of a run that grows is left out, since it would
/// be another one with every token; its outline stays.
struct Minimap {
  /// Cells of the picture.
  static let size = (width: 14, height: 6)
  /// Lines of the picture with its heading.
  static let lines = size.height + 1

  private let look: Look
  private let paint: Paint
  private let window: MapWindow

  /// Nil while the whole map is shown, and in other views.
  init?(_ look: Look) {
    guard look.viewpoint.view == .map, !look.viewpoint.isFit(look.source) else { return nil }
    (self.look, window) = (look, look.viewpoint.window)
    paint = Paint(look)
  }

  // MARK: On the frame

  /// Heavier where the window is: the right edge for queries, the lower one for keys.
  func drawThumbs(_ layout: MapLayout, on grid: inout Grid) {
    let plot = layout.plot, panel = layout.panel
    guard !plot.isEmpty else { return }
    for y in Self.cells(window.queries, of: look.source.queries, plot.height) {
      grid[panel.maxX - 1, plot.y + y] = Cell(paint.unicode ? "┃" : "#", paint.accent)
    }
    for x in Self.cells(window.keys, of: look.source.keys, plot.width) {
      grid[plot.x + x, panel.maxY - 1] = Cell(paint.unicode ? "━" : "=", paint.accent)
    }
  }

  /// Of so many cells those that hold a part of the range, at least one.
  static func cells(_ range: Range<Int>, of total: Int, _ count: Int) -> Range<Int> {
    guard total > 0, count > 0 else { return 0..<0 }
    let low = min(range.lowerBound * count / total, count - 1)
    let high = (range.upperBound * count + total - 1) / total
    return low..<min(max(high, low + 1), count)
  }

  // MARK: In the panel

  /// What is asked for to draw the picture; nil where it is not drawn.
  var question: Question? {
    guard look.live == nil, ScreenLayout(look).side.height >= 20 else { return nil }
    let whole = MapWindow(queries: 0..<look.source.queries, keys: 0..<look.source.keys)
    return .picture(
      look.patternOnMap,
      PictureRequest(
        whole, rows: 2 * Self.size.height, columns: Self.size.width,
        perCell: look.isLong ? 4 : nil))
  }

  /// A heading, the picture, and the window in numbers beside it.
  func draw(_ lines: inout Lines, on grid: inout Grid) {
    lines.rule("In the whole map", on: &grid)
    let picture = Rect(
      x: lines.x, y: lines.y, width: Self.size.width, height: Self.size.height)
    drawPicture(in: picture, on: &grid)
    drawWindow(in: picture, on: &grid)
    let x = picture.maxX + 2, room = lines.x + lines.width - x
    func words(_ name: String, _ range: Range<Int>, _ total: Int) -> [String] {
      let ends = "\(range.lowerBound)-\(range.upperBound - 1)"
      return ["\(name) \(ends)", ends].map { Fitted.cut($0, room) }
        + ["of \(total), \(Numbers.percent(Double(range.count) / Double(max(total, 1))))"]
    }
    let queries = words("queries", window.queries, look.source.queries)
    let keys = words("keys", window.keys, look.source.keys)
    for (line, part) in [queries, keys].enumerated() {
      let y = picture.y + 3 * line
      grid.put(part[0].hasSuffix("…") ? part[1] : part[0], x, y, limit: room)
      grid.put(part[2], x, y + 1, paint.dim, limit: room)
    }
    lines.y += Self.size.height
  }

  /// Two pixels a cell where the terminal can; while there is none, what rows may see.
  private func drawPicture(in rect: Rect, on grid: inout Grid) {
    guard let map = question.flatMap(look.map) else {
      for y in 0..<rect.height {
        let row = (y + 1) * look.source.queries / rect.height - 1
        let seen = look.source.visibility.limit(row: max(row, 0))
        for x in Self.cells(0..<max(seen, 1), of: look.source.keys, rect.width) {
          grid[rect.x + x, rect.y + y] = Cell(paint.unicode ? "·" : ".", paint.faint)
        }
      }
      return
    }
    let scale = HeatScale(map, look.viewpoint)
    for y in 0..<rect.height {
      for x in 0..<rect.width {
        let column = x * scale.columns / rect.width
        func value(_ pixel: Int) -> Float {
          scale[min(scale.rows - 1, pixel * scale.rows / (2 * rect.height)), column]
        }
        grid[rect.x + x, rect.y + y] = paint.cell(top: value(2 * y), bottom: value(2 * y + 1))
      }
    }
  }

  /// The outline of the window over the picture.
  private func drawWindow(in rect: Rect, on grid: inout Grid) {
    let rows = Self.cells(window.queries, of: look.source.queries, rect.height)
    let columns = Self.cells(window.keys, of: look.source.keys, rect.width)
    guard let top = rows.first, let bottom = rows.last, let left = columns.first,
      let right = columns.last
    else { return }
    func glyph(_ x: Int, _ y: Int) -> Unicode.Scalar? {
      guard paint.unicode else { return "#" }
      switch (x == left, x == right, y == top, y == bottom) {
      case (true, true, true, true): return "■"
      case (true, true, _, _): return "┃"
      case (_, _, true, true): return "━"
      case (true, _, true, _): return "┏"
      case (_, true, true, _): return "┓"
      case (true, _, _, true): return "┗"
      case (_, true, _, true): return "┛"
      case (true, _, _, _), (_, true, _, _): return "┃"
      case (_, _, true, _), (_, _, _, true): return "━"
      default: return nil
      }
    }
    for y in rows {
      for x in columns where x == left || x == right || y == top || y == bottom {
        guard let glyph = glyph(x, y) else { continue }
        let place = (rect.x + x, rect.y + y)
        grid[place.0, place.1] = paint.mark(glyph, over: grid[place.0, place.1], (231, 16))
      }
    }
  }
}
