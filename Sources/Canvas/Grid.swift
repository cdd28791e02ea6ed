/// One character position of the screen.
public struct Cell: Sendable, Hashable {
  /// A printable scalar of width 1 or 2; the cell after a wide one holds `Cell.continuation`.
  public var glyph: Unicode.Scalar
  /// Colours and attributes.
  public var style: Style

  /// `glyph` is printable; `Grid.put` sees to that, this does not.
  public init(_ glyph: Unicode.Scalar, _ style: Style = .plain) {
    (self.glyph, self.style) = (glyph, style)
  }

  /// A blank in the terminal's own colours.
  public static let blank = Cell(" ")
  /// What the second cell of a wide glyph holds; never sent.
  public static let continuation: Unicode.Scalar = "\0"
}

/// A screen as a value: `height` rows of `width` cells. Drawing outside is cut off, never an error.
///
/// Example:
/// ```
/// var grid = Grid(width: 80, height: 24)
/// grid.put("layer 12", 2, 0, Style(bold: true))
/// grid.lines[0]        // "  layer 12"
/// ```
/// The catch: a wide glyph takes two cells, and overwriting one of them leaves the other as it was.
/// Memory some 16 bytes a cell.
public struct Grid: Sendable, Equatable {
  /// Columns.
  public let width: Int
  /// Rows.
  public let height: Int
  /// `[height * width]`, row by row.
  public private(set) var cells: [Cell]

  /// All blank; negative sides count as 0.
  public init(width: Int, height: Int) {
    self.width = max(0, width)
    self.height = max(0, height)
    cells = [Cell](repeating: .blank, count: self.width * self.height)
  }

  /// All of it, from (0, 0).
  public var bounds: Rect { Rect(x: 0, y: 0, width: width, height: height) }

  /// Column, then row. Blank outside, and writing there does nothing.
  public subscript(x: Int, y: Int) -> Cell {
    get { contains(x, y) ? cells[y * width + x] : .blank }
    set { if contains(x, y) { cells[y * width + x] = newValue } }
  }

  private func contains(_ x: Int, _ y: Int) -> Bool { x >= 0 && y >= 0 && x < width && y < height }

  /// Writes text from (x, y), at most `limit` columns, unsafe characters made visible. Returns the
  /// column after it. What does not fit ends in `…`, and never within a number.
  @discardableResult
  public mutating func put(
    _ text: String, _ x: Int, _ y: Int, _ style: Style = .plain, limit: Int = .max
  ) -> Int {
    var at = x
    let end = limit == .max ? width : min(width, x + limit)
    let scalars = Printable.text(text).unicodeScalars
    for index in scalars.indices {
      let scalar = scalars[index], columns = Width.of(scalar)
      if columns == 0 { continue }
      guard at + columns <= end else {
        return scalars[index...].allSatisfy { $0 == " " } ? at : mark(from: x, end, at, y, style)
      }
      self[at, y] = Cell(scalar, style)
      if columns == 2 { self[at + 1, y] = Cell(Cell.continuation, style) }
      at += columns
    }
    return at
  }

  /// Ends a text that was cut with `…`, in its own last column. A number of which digits are
  /// missing would read as another one: it goes as a whole. The column after the mark.
  private mutating func mark(from x: Int, _ end: Int, _ at: Int, _ y: Int, _ style: Style) -> Int {
    guard end > x else { return at }
    var mark = min(at, end - 1)
    if mark > x, self[mark, y].glyph == Cell.continuation { mark -= 1 }
    func isOfNumber(_ x: Int) -> Bool {
      let glyph = self[x, y].glyph
      return ("0"..."9").contains(glyph) || glyph == "." || glyph == ","
    }
    while mark > x, isOfNumber(mark - 1) { mark -= 1 }
    for column in mark..<max(mark, min(at, end)) { self[column, y] = Cell(" ", style) }
    self[mark, y] = Cell("…", style)
    return mark + 1
  }

  /// Writes text that ends before column `x`; of one that is longer than that, the beginning.
  public mutating func put(endingAt x: Int, _ text: String, _ y: Int, _ style: Style = .plain) {
    let start = x - Width.of(text)
    put(text, max(0, start), y, style, limit: start < 0 ? x : .max)
  }

  /// Sets every cell of the rectangle that lies within the grid.
  public mutating func fill(_ rect: Rect, _ cell: Cell) {
    for y in max(0, rect.y)..<max(0, rect.y, min(height, rect.maxY)) {
      for x in max(0, rect.x)..<max(0, rect.x, min(width, rect.maxX)) { self[x, y] = cell }
    }
  }

  /// The glyphs as lines, trailing blanks removed.
  public var lines: [String] {
    (0..<height).map { y in
      var line = String.UnicodeScalarView()
      for x in 0..<width where self[x, y].glyph != Cell.continuation {
        line.append(self[x, y].glyph)
      }
      while line.last == " " { line.removeLast() }
      return String(line)
    }
  }
}

/// A rectangle of cells.
///
/// Example: `let (head, body) = grid.bounds.splitTop(1)`. Sides are never negative, so that a
/// layout that runs out of room gives empty rectangles.
public struct Rect: Sendable, Hashable {
  /// Column of the left edge.
  public var x: Int
  /// Row of the top edge.
  public var y: Int
  /// Columns.
  public var width: Int
  /// Rows.
  public var height: Int

  /// Negative sides become 0.
  public init(x: Int, y: Int, width: Int, height: Int) {
    (self.x, self.y, self.width, self.height) = (x, y, max(0, width), max(0, height))
  }

  /// The column after the last.
  public var maxX: Int { x + width }
  /// The row after the last.
  public var maxY: Int { y + height }
  /// True when it has no cell.
  public var isEmpty: Bool { width == 0 || height == 0 }

  /// Smaller by `dx` columns and `dy` rows at each edge.
  public func inset(_ dx: Int = 1, _ dy: Int = 1) -> Rect {
    Rect(x: x + dx, y: y + dy, width: width - 2 * dx, height: height - 2 * dy)
  }

  /// Whether a cell lies in it.
  public func contains(_ px: Int, _ py: Int) -> Bool {
    px >= x && px < maxX && py >= y && py < maxY
  }

  /// The top `rows` rows and the rest.
  public func splitTop(_ rows: Int) -> (Rect, Rect) {
    let rows = min(max(rows, 0), height)
    return (
      Rect(x: x, y: y, width: width, height: rows),
      Rect(x: x, y: y + rows, width: width, height: height - rows)
    )
  }

  /// The left `columns` columns and the rest.
  public func splitLeft(_ columns: Int) -> (Rect, Rect) {
    let columns = min(max(columns, 0), width)
    return (
      Rect(x: x, y: y, width: columns, height: height),
      Rect(x: x + columns, y: y, width: width - columns, height: height)
    )
  }
}

/// How many columns a scalar takes; a small table of the ranges that terminals agree on.
public enum Width {
  /// Ranges of scalars two columns wide, ascending. Source: Unicode Standard Annex 11, East Asian
  /// Width, as terminals follow it.
  private static let wide: [ClosedRange<UInt32>] = [
    0x1100...0x115f, 0x231a...0x231b, 0x2329...0x232a, 0x23e9...0x23ec, 0x2e80...0x303e,
    0x3041...0x33ff,
    0x3400...0x4dbf, 0x4e00...0x9fff, 0xa000...0xa4cf, 0xa960...0xa97f, 0xac00...0xd7a3,
    0xf900...0xfaff,
    0xfe30...0xfe6f, 0xff00...0xff60, 0xffe0...0xffe6, 0x1f004...0x1f004, 0x1f0cf...0x1f0cf,
    0x1f18e...0x1f18e,
    0x1f191...0x1f19a, 0x1f200...0x1f320, 0x1f32d...0x1f335, 0x1f337...0x1f37c, 0x1f37e...0x1f393,
    0x1f3a0...0x1f3ca, 0x1f3cf...0x1f3d3, 0x1f3e0...0x1f3f0, 0x1f3f8...0x1f43e, 0x1f440...0x1f440,
    0x1f442...0x1f4fc, 0x1f4ff...0x1f53d, 0x1f550...0x1f567, 0x1f595...0x1f596, 0x1f5fb...0x1f64f,
    0x1f680...0x1f6c5, 0x1f900...0x1f9ff, 0x20000...0x3fffd,
  ]

  /// Columns of one scalar: 0 for controls and combining marks, 1, or 2.
  public static func of(_ scalar: Unicode.Scalar) -> Int {
    let value = scalar.value
    if value < 0x300 { return value < 0x20 || (0x7f..<0xa0).contains(value) ? 0 : 1 }
    if value < 0x1100 || (0x2500...0x2bff).contains(value) || (0x2800...0x28ff).contains(value) {
      return scalar.properties.generalCategory == .nonspacingMark ? 0 : 1
    }
    if wide.contains(where: { $0.contains(value) }) { return 2 }
    return scalar.properties.generalCategory == .nonspacingMark ? 0 : 1
  }

  /// Columns of a text as `Grid.put` writes it.
  public static func of(_ text: String) -> Int {
    Printable.text(text).unicodeScalars.reduce(0) { $0 + of($1) }
  }
}
