import Analysis
import Attention
import Canvas
import Sessions

/// The axes of a map, in tokens, and the cross-hair.
///
/// Tokens stand along an axis where each has room of its own; numbers at round places elsewhere.
///
/// The cursor's marks stand outside of the plot, and its cross on it, so that it is found on any
/// map.
struct MapAxes {
  private let look: Look
  private let paint: Paint
  private let layout: MapLayout

  /// Reads the look; `layout` says where the plot is.
  init(_ look: Look, _ layout: MapLayout) {
    (self.look, self.layout) = (look, layout)
    paint = Paint(look)
  }

  /// Axes first, then the cursor's own number over them.
  func draw(on grid: inout Grid) {
    drawKeyAxis(&grid)
    drawQueryAxis(&grid)
    drawFound(&grid)
    drawSelected(&grid)
    drawCursor(&grid)
  }

  /// Below the plot. A tick that the cursor's mark would cover is left out.
  private func drawKeyAxis(_ grid: inout Grid) {
    let plot = layout.plot, window = look.viewpoint.window
    let perKey = plot.width / max(window.keys.count, 1)
    guard perKey >= 4, !look.source.tokens.isEmpty else {
      for key in Ticks.of(window.keys, most: max(1, plot.width / 10)) {
        guard let x = layout.column(of: key, window), x + "\(key)".count <= plot.maxX else {
          continue
        }
        if let cursor = layout.column(of: look.viewpoint.key, window),
          (x...x + "\(key)".count).contains(cursor)
        {
          continue
        }
        grid.put("\(key)", x, layout.axis, paint.dim)
      }
      return
    }
    for key in window.keys {
      guard let x = layout.column(of: key, window), let token = look.token(key) else { continue }
      grid.put(Self.clipped(token, perKey - 1), x, layout.axis, paint.dim)
    }
  }

  /// Left of the plot, ending at its edge.
  private func drawQueryAxis(_ grid: inout Grid) {
    let plot = layout.plot, window = look.viewpoint.window
    guard window.queries.count <= plot.height else {
      for query in Ticks.of(window.queries, most: max(1, plot.height / 3)) {
        if let y = layout.line(of: query, window) {
          grid.put(endingAt: plot.x - 1, "\(query)", y, paint.dim)
        }
      }
      return
    }
    for query in window.queries {
      guard let y = layout.line(of: query, window) else { continue }
      let label = Self.clipped(
        (look.queryToken(query).map { $0 + " " } ?? "") + "\(query)", layout.gutter - 1)
      grid.put(endingAt: plot.x - 1, label, y, paint.dim)
    }
  }

  /// The end of a text, so that it fits in `width` columns.
  private static func clipped(_ text: String, _ width: Int) -> String {
    var text = Printable.text(text)
    while Width.of(text) > width, !text.isEmpty { text.removeFirst() }
    return text
  }

  /// A dot on the axis above each key that was searched for, and left of each such query, where
  /// nothing else stands.
  private func drawFound(_ grid: inout Grid) {
    let window = look.viewpoint.window, plot = layout.plot, offset = look.source.visibility.offset
    let mark = Cell(paint.unicode ? "•" : "*", paint.warning)
    let shown = look.found.filter {
      window.keys.contains($0) || window.queries.contains($0 - offset)
    }
    // Each costs a walk along the axis; a few hundred put a dot at every place.
    for index in stride(from: 0, to: shown.count, by: shown.count / 500 + 1) {
      let token = shown[index]
      if let x = layout.column(of: token, window), grid[x, layout.axis].glyph == " " {
        grid[x, layout.axis] = mark
      }
      if let y = layout.line(of: token - offset, window), grid[plot.x - 1, y].glyph == " " {
        grid[plot.x - 1, y] = mark
      }
    }
  }

  /// A bar on the axis over the keys that are selected; numbers and tokens there are underlined.
  private func drawSelected(_ grid: inout Grid) {
    guard let selection = look.viewpoint.selection else { return }
    let plot = layout.plot, window = look.viewpoint.window
    for x in plot.x..<plot.maxX where selection.touches(layout.keys(x, window)) {
      if grid[x, layout.axis].glyph == " " {
        grid[x, layout.axis] = Cell(paint.unicode ? "═" : "=", paint.accent)
      } else {
        grid[x, layout.axis].style = paint.selected(grid[x, layout.axis].style)
      }
    }
  }

  /// An arrow on either axis and a cross on the map, readable on any colour.
  private func drawCursor(_ grid: inout Grid) {
    let window = look.viewpoint.window
    guard let x = layout.column(of: look.viewpoint.key, window),
      let y = layout.line(of: look.viewpoint.query, window)
    else { return }
    let style = paint.accent
    if look.display.presents { drawLines(x, y, &grid) }
    grid[x, layout.axis] = Cell(paint.unicode ? "▼" : "v", style)
    grid[layout.plot.x - 1, y] = Cell(paint.unicode ? "►" : ">", style)
    let query = "\(look.viewpoint.query)"
    let left = layout.plot.x - layout.gutter
    grid.fill(Rect(x: left, y: y, width: layout.gutter - 1, height: 1), .blank)
    grid.put(endingAt: layout.plot.x - 1, query, y, style)
    let glyph: Unicode.Scalar = paint.unicode ? "╋" : "+"
    grid[x, y] =
      paint.colors.hasRamps
      ? paint.mark(glyph, over: grid[x, y], (231, 16))
      : Cell(glyph, Style(bold: true, reverse: true))
  }

  /// A cross-hair that the last row of a room can see.
  private func drawLines(_ x: Int, _ y: Int, _ grid: inout Grid) {
    let plot = layout.plot
    for column in stride(from: plot.x, to: plot.maxX, by: 2) where abs(column - x) > 1 {
      grid[column, y] = paint.mark(paint.unicode ? "─" : "-", over: grid[column, y], (231, 16))
    }
    for line in plot.y..<plot.maxY where line != y {
      grid[x, line] = paint.mark(paint.unicode ? "│" : "|", over: grid[x, line], (231, 16))
    }
  }
}
