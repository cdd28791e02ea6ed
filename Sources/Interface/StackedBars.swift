import Canvas

/// Bars whose lower part is of another kind: blocks by margin, and how many of them are skipped.
///
/// Where a cell holds the end of both, the larger share of it tells its colour.
struct StackedBars {
  private let all: [Double]
  private let below: [Double]
  private let paint: Paint

  /// Both in 0...1, spread over the columns; `below` is a part of `all`.
  init(_ all: [Double], _ below: [Double], _ paint: Paint) {
    (self.all, self.below, self.paint) = (all, below, paint)
  }

  /// Eighths of a cell, from the bottom up; a value above 0 always shows.
  func draw(in rect: Rect, on grid: inout Grid) {
    Sparkline(all, style: paint.accent, unicode: paint.unicode).draw(in: rect, on: &grid)
    // The part below in its own colour, with the colour of the whole behind its end.
    var part = grid
    for y in rect.y..<rect.maxY { for x in rect.x..<rect.maxX { part[x, y] = .blank } }
    Sparkline(below, style: paint.pruned, unicode: paint.unicode).draw(in: rect, on: &part)
    for x in rect.x..<rect.maxX {
      for y in rect.y..<rect.maxY where part[x, y].glyph != " " {
        let whole = grid[x, y].glyph
        if part[x, y].glyph == whole {
          grid[x, y].style = paint.pruned
        } else if whole == (paint.unicode ? "█" : "@"), paint.colors.hasRamps, paint.unicode {
          grid[x, y] = Cell(
            part[x, y].glyph,
            Style(paint.pruned.foreground, on: paint.accent.foreground, bold: true))
        } else if Self.isMost(part[x, y].glyph, of: whole) {
          grid[x, y].style = paint.pruned
        }
      }
    }
  }

  /// At least half as high.
  private static func isMost(_ part: Unicode.Scalar, of whole: Unicode.Scalar) -> Bool {
    let bars: [Unicode.Scalar] = ["▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"]
    guard let a = bars.firstIndex(of: part), let b = bars.firstIndex(of: whole) else {
      return false
    }
    return 2 * (a + 1) >= b + 1
  }
}
