/// Something that draws itself into a rectangle of a grid; it never draws outside.
public protocol Widget {
  /// Draws; a rectangle too small for it gets as much as makes sense, or nothing.
  func draw(in rect: Rect, on grid: inout Grid)
}

/// A frame with a title; ASCII where the terminal has no line drawing.
public struct Panel: Widget {
  /// At the left of the upper edge.
  public var title: String
  /// At the right of the upper edge, when both fit.
  public var right: String
  public var style: Style
  public var unicode: Bool

  /// Faint lines, unless told otherwise.
  public init(
    _ title: String, right: String = "", style: Style = Style(dim: true), unicode: Bool = true
  ) {
    (self.title, self.right, self.style, self.unicode) = (title, right, style, unicode)
  }

  /// The frame; what it frames is left as it is. Nothing below 2x2 cells.
  public func draw(in rect: Rect, on grid: inout Grid) {
    guard rect.width >= 2, rect.height >= 2 else { return }
    let glyphs: [Unicode.Scalar] =
      unicode ? ["┌", "┐", "└", "┘", "─", "│"] : ["+", "+", "+", "+", "-", "|"]
    for x in rect.x + 1..<rect.maxX - 1 {
      grid[x, rect.y] = Cell(glyphs[4], style)
      grid[x, rect.maxY - 1] = Cell(glyphs[4], style)
    }
    for y in rect.y + 1..<rect.maxY - 1 {
      grid[rect.x, y] = Cell(glyphs[5], style)
      grid[rect.maxX - 1, y] = Cell(glyphs[5], style)
    }
    grid[rect.x, rect.y] = Cell(glyphs[0], style)
    grid[rect.maxX - 1, rect.y] = Cell(glyphs[1], style)
    grid[rect.x, rect.maxY - 1] = Cell(glyphs[2], style)
    grid[rect.maxX - 1, rect.maxY - 1] = Cell(glyphs[3], style)
    if !title.isEmpty, rect.width > 4 {
      grid.put(" \(title) ", rect.x + 1, rect.y, Style(bold: true), limit: rect.width - 2)
    }
    let room = rect.width - 6 - Width.of(title)
    if !right.isEmpty, Width.of(right) + 2 <= room {
      grid.put(endingAt: rect.maxX - 1, " \(right) ", rect.y, style)
    }
  }
}

/// One value a column as an eighth-block bar; values in 0...1.
public struct Sparkline: Widget {
  /// In 0...1, spread over the columns.
  public var values: [Double]
  public var style: Style
  public var unicode: Bool

  public init(_ values: [Double], style: Style = .plain, unicode: Bool = true) {
    (self.values, self.style, self.unicode) = (values, style, unicode)
  }

  /// Bars of eighths as high as the rectangle; a value above 0 always shows.
  public func draw(in rect: Rect, on grid: inout Grid) {
    let bars: [Unicode.Scalar] =
      unicode
      ? [" ", "▁", "▂", "▃", "▄", "▅", "▆", "▇", "█"]
      : [" ", ".", ":", "-", "=", "+", "*", "#", "@"]
    for x in 0..<rect.width where !values.isEmpty {
      let value = Numbers.unit(values[min(values.count - 1, x * values.count / rect.width)])
      let eighths = Int(
        (min(max(value, 0), 1) * Double(8 * rect.height)).rounded(value > 0 ? .up : .down))
      for y in 0..<rect.height {
        let here = min(8, max(0, eighths - 8 * (rect.height - 1 - y)))
        if here > 0 { grid[rect.x + x, rect.y + y] = Cell(bars[here], style) }
      }
    }
  }
}

/// A curve of braille dots: two dots a column, four a row. Points are (x, y) in 0...1, y upwards.
public struct BrailleCurve: Widget {
  /// In order of x.
  public var points: [(x: Double, y: Double)]
  public var style: Style
  public var unicode: Bool

  public init(_ points: [(x: Double, y: Double)], style: Style = .plain, unicode: Bool = true) {
    (self.points, self.style, self.unicode) = (points, style, unicode)
  }

  /// Each column of dots is joined to the one before it, so that steep curves have no gaps.
  public func draw(in rect: Rect, on grid: inout Grid) {
    guard !rect.isEmpty, !points.isEmpty else { return }
    let wide = rect.width * 2, high = rect.height * 4
    var dots = [UInt8](repeating: 0, count: rect.width * rect.height)
    let bits: [[UInt8]] = [[0x01, 0x08], [0x02, 0x10], [0x04, 0x20], [0x40, 0x80]]
    var last: Int?
    for column in 0..<wide {
      guard let value = value(at: Double(column) / Double(max(wide - 1, 1))) else { continue }
      let row = high - 1 - min(high - 1, max(0, Int(Numbers.unit(value) * Double(high - 1) + 0.5)))
      let from = min(last ?? row, row), to = max(last ?? row, row)
      for y in from...to where y != last || from == to {
        dots[y / 4 * rect.width + column / 2] |= bits[y % 4][column % 2]
      }
      last = row
    }
    for (index, dot) in dots.enumerated() where dot != 0 {
      let glyph: Unicode.Scalar = unicode ? Unicode.Scalar(0x2800 + UInt32(dot))! : "*"
      grid[rect.x + index % rect.width, rect.y + index / rect.width] = Cell(glyph, style)
    }
  }

  /// Linear between neighbours; points are in order of x.
  private func value(at x: Double) -> Double? {
    guard let after = points.firstIndex(where: { $0.x >= x }) else { return points.last?.y }
    guard after > 0 else { return points[0].y }
    let (a, b) = (points[after - 1], points[after])
    return b.x == a.x ? b.y : a.y + (b.y - a.y) * (x - a.x) / (b.x - a.x)
  }
}

/// A share of a whole as a bar.
public struct Bar: Widget {
  /// In 0...1.
  public var share: Double
  public var style: Style
  public var unicode: Bool

  public init(_ share: Double, style: Style = .plain, unicode: Bool = true) {
    (self.share, self.style, self.unicode) = (share, style, unicode)
  }

  /// Every row alike, to an eighth of a cell.
  public func draw(in rect: Rect, on grid: inout Grid) {
    let partial: [Unicode.Scalar] = ["▏", "▎", "▍", "▌", "▋", "▊", "▉"]
    let eighths = Int((Numbers.unit(share) * Double(rect.width * 8)).rounded())
    for y in rect.y..<rect.maxY {
      for x in 0..<eighths / 8 { grid[rect.x + x, y] = Cell(unicode ? "█" : "#", style) }
      if unicode, eighths % 8 > 0 {
        grid[rect.x + eighths / 8, y] = Cell(partial[eighths % 8 - 1], style)
      }
    }
  }
}
