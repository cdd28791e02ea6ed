import Analysis
import Attention
import Canvas
import Sessions

/// View 6: two maps with one cursor, their signed difference, and the numbers of both sides.
///
/// Both maps show the same tokens at the same cells, so that the difference is one of entries and
/// not of scales; one cursor stands on all three.
struct CompareScreen {
  private let look: Look
  private let paint: Paint
  private let layout: CompareLayout
  private let comparison: Comparison

  /// Reads the look of both sides.
  init(_ look: Look) {
    self.look = look
    paint = Paint(look)
    layout = CompareLayout(look)
    comparison = Comparison(look)
  }

  /// Left, right, difference and numbers, each in its rectangle.
  func draw(on grid: inout Grid) {
    let (rows, columns) = layout.cells
    let left = look.leftSide, other = look.rightSide
    // In another file the same place may be another word, which nobody searched for.
    var right = other
    right.found = other.found.filter { other.token($0) == look.token($0) }
    MapScreen(
      left, layout.left, Needs.map(left, rows: rows, columns: columns),
      table: left.shownTable(left.viewpoint.head),
      title: title("Left", comparison.left, layout.left)
    ).draw(on: &grid)
    MapScreen(
      right, layout.right, Needs.map(right, rows: rows, columns: columns), table: look.otherTable,
      title: title("Right", comparison.right, layout.right)
    ).draw(on: &grid)
    if let overlap = OverlapPanel(look), !layout.difference.panel.isEmpty {
      overlap.draw(in: layout.difference.panel, on: &grid)
    } else {
      drawDifference(on: &grid)
    }
    drawNumbers(on: &grid)
  }

  /// As much of a name as fits on the frame.
  private func title(_ side: String, _ name: String, _ map: MapLayout) -> (
    left: String, right: String
  ) {
    (side, Fitted.cut(name, map.panel.width - Width.of(side) - 8))
  }

  // MARK: The difference

  /// The signed difference with the blocks that the sides treat differently.
  private func drawDifference(on grid: inout Grid) {
    let map = layout.difference, plot = map.plot
    Panel(
      "Left - right", right: look.comparesKept ? "kept entries" : "", style: paint.dim,
      unicode: paint.unicode
    ).draw(in: map.panel, on: &grid)
    guard !plot.isEmpty else { return }
    guard let heat = comparison.heat else {
      grid.put(comparison.waiting, plot.x, plot.y, paint.dim, limit: plot.width)
      return
    }
    for y in 0..<plot.height {
      for x in 0..<plot.width {
        let column = x * heat.columns / plot.width
        func value(_ pixel: Int) -> Float {
          heat[min(heat.rows - 1, pixel * heat.rows / max(map.pixelRows, 1)), column]
        }
        let first = y * map.pixelsPerCell
        grid[plot.x + x, plot.y + y] = paint.signed(
          top: value(first), bottom: value(first + map.pixelsPerCell - 1))
      }
    }
    if look.viewpoint.overlay != .none { drawMasks(map, on: &grid) }
    MapAxes(look.leftSide, map).draw(on: &grid)
    drawLegend(heat, map, on: &grid)
  }

  /// Blocks that one side skips and the other does not.
  private func drawMasks(_ map: MapLayout, on grid: inout Grid) {
    guard let left = look.shownTable(look.viewpoint.head), let right = look.otherTable else {
      return
    }
    let (a, b) = (SkipLookup(left, look.lambda), SkipLookup(right, look.lambda))
    let window = look.sharedWindow
    for y in map.plot.y..<map.plot.maxY where y % 2 == 0 {
      let queries = map.queries(y, window)
      for x in map.plot.x..<map.plot.maxX where (x + y) % 2 == 0 {
        let keys = map.keys(x, window)
        switch (a.share(queries, keys) != .none, b.share(queries, keys) != .none) {
        case (true, false): grid[x, y] = paint.mark(paint.leftOnly, over: grid[x, y], (231, 16))
        case (false, true): grid[x, y] = paint.mark(paint.rightOnly, over: grid[x, y], (231, 16))
        default: break
        }
      }
    }
  }

  /// The ramp from right to left, what its ends stand for, and the marks.
  private func drawLegend(_ heat: SignedScale, _ map: MapLayout, on grid: inout Grid) {
    let y = map.legend, end = map.panel.maxX - 1
    if heat.top == 0 {
      let words = ["no difference: both show the pattern itself", "no difference"]
      grid.put(Fitted.text(words, end - map.panel.x - 1), map.panel.x + 1, y, paint.dim)
      return
    }
    var x = grid.put("right ", map.panel.x + 1, y, paint.dim, limit: map.panel.width - 2)
    // The value stays on a narrow map, where the ramp gets shorter.
    let half = end - x < 5 + 9 + Width.of(", ±\(Numbers.short(heat.top))") ? 2 : 4
    for step in -half...half where x < end {
      let t = Float(step) / Float(half)
      grid[x, y] = paint.signed(top: t, bottom: t)
      x += 1
    }
    // A sign without its meaning is worse than none.
    func put(_ sign: String, _ text: String) {
      guard x + Width.of(sign + text) <= end else { return }
      x = grid.put(sign, x, y, paint.pruned)
      x = grid.put(text, x, y, paint.dim)
    }
    put("", " left")
    put("", half == 4 ? ", ±\(Numbers.short(heat.top))" : " ±\(Numbers.brief(heat.top, 4))")
    put("  \(paint.leftOnly)", " left skips")
    put("  \(paint.rightOnly)", " right skips")
  }

  // MARK: Numbers

  /// Rows of numbers; equal ones are dim, so that the eye finds the others.
  private func drawNumbers(on grid: inout Grid) {
    let rect = layout.numbers
    let readsLambda = look.leftSide.isByTable || look.rightSide.isByTable
    let lambda = "\(paint.lambda)=\(MapScreen.lambdaText(look.viewpoint.lambda))"
    Panel(
      "Numbers", right: readsLambda ? lambda : "", style: paint.dim, unicode: paint.unicode
    ).draw(in: rect, on: &grid)
    var inner = rect.inset(2, 1)
    guard inner.width > 12 else { return }
    if ScreenLayout(look).caption.isEmpty, !comparison.warnings.isEmpty {
      // Without a line for sentences below, a doubt stands before the numbers it is about.
      let (line, rest) = inner.splitTop(1)
      let texts = comparison.warnings.map { "! " + $0 }
      grid.put(
        Fitted.text(texts, line.width), line.x, line.y, paint.warning, limit: line.width)
      inner = rest
    }
    let rows = comparison.rows
    let columns = NumberColumns(rows, inner)
    // Where a handful fits, each row is worth more than the count of those that do not.
    let says = rows.count > columns.places && columns.places > 8
    let shown = rows.prefix(says ? columns.places - 1 : columns.places)
    for (index, row) in shown.enumerated() {
      let (x, y) = columns.place(index)
      grid.put(row.name, x, y, paint.dim, limit: columns.name - 1)
      let value = x + columns.name
      if let right = row.right {
        grid.put(Fitted.cut(row.left, columns.side - 1), value, y, limit: columns.side - 1)
        let style = row.left == right ? paint.dim : .plain
        grid.put(
          Fitted.cut(right, columns.side), value + columns.side, y, style, limit: columns.side)
      } else {
        let room = columns.blocks == 1 ? inner.maxX - value : 2 * columns.side
        grid.put(row.left, value, y, paint.strong, limit: room)
      }
    }
    guard says else { return }
    let (x, y) = columns.place(shown.count)
    grid.put(
      "\(rows.count - shown.count) more: attnscope compare", x, y, paint.dim,
      limit: inner.maxX - x)
  }
}

/// Where the rows of two sides stand: a low wide panel shows them in two blocks beside each other.
private struct NumberColumns {
  /// Cells of a row's name, a space at its end included.
  let name: Int
  /// Cells of each of the two values.
  let side: Int
  /// Blocks of rows beside each other.
  let blocks: Int
  private let inner: Rect

  /// As wide as the names ask for, while the values keep 14 cells each.
  init(_ rows: [Comparison.Row], _ inner: Rect) {
    self.inner = inner
    let beside = rows.count > inner.height && inner.width >= 72
    let width = beside ? inner.width / 2 - 2 : inner.width
    let longest = rows.map { Width.of($0.name) }.max() ?? 0
    name = max(9, min(longest + 1, width - 2 * 14))
    side = max(9, min(20, (width - name) / 2))
    blocks = max(1, inner.width / (name + 2 * side + 2))
  }

  /// Rows that have a place.
  var places: Int { blocks * max(1, inner.height) }

  /// Where a row begins.
  func place(_ index: Int) -> (x: Int, y: Int) {
    let height = max(1, inner.height)
    return (inner.x + index / height * (name + 2 * side + 2), inner.y + index % height)
  }
}

/// A difference turned into -1...1 for colouring.
///
/// Symmetric about 0: the same size has the same strength on either side. On the log scale three
/// decades below the top are shown.
struct SignedScale {
  /// Shades in -1...1, `[rows * columns]`; NaN where there is nothing to see.
  let values: [Float]
  /// Cells from top to bottom.
  let rows: Int
  /// Cells from left to right.
  let columns: Int
  /// What ±1 stands for, in probability.
  let top: Double
  private let zeros: Set<Int>

  /// Of a comparison's own difference.
  init(_ difference: MapDifference, _ scale: Viewpoint.Scale) {
    self.init(
      difference.values, rows: difference.rows, columns: difference.columns, scale)
  }

  /// `[rows * columns]` values of either sign. `wholeTop` is the least end of the scale, `end` its
  /// end whatever the values are.
  init(
    _ raw: [Float], rows: Int, columns: Int, _ scale: Viewpoint.Scale, wholeTop: Float? = nil,
    end: Float? = nil
  ) {
    (self.rows, self.columns) = (rows, columns)
    let top = end ?? raw.reduce(wholeTop ?? 0) { $1.isFinite ? max($0, abs($1)) : $0 }
    self.top = Double(top)
    zeros = Set(raw.indices.filter { raw[$0] == 0 })
    values = raw.map { value in
      guard value.isFinite, top > 0 else { return value.isNaN ? .nan : 0 }
      let share = min(abs(value) / top, 1)
      let size = scale == .linear ? share : max(0, 1 + Float(Scale.log10(Double(share))) / 3)
      return value < 0 ? -size : size
    }
  }

  /// The shade of a cell.
  subscript(row: Int, column: Int) -> Float { values[row * columns + column] }

  /// The value itself is exactly zero, whatever its shade.
  func isZero(_ row: Int, _ column: Int) -> Bool { zeros.contains(row * columns + column) }
}
