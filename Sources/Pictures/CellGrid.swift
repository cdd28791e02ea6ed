/// A grid of cells of one size that can be drawn: where its edges are and which neighbours share a
/// colour.
///
/// Both printers, SVG and pixels, take edges and runs from here, so that they cannot differ. Edges
/// are computed from their number and not summed up: neighbours share them to the last bit.
struct CellGrid {
  /// The whole grid, in points.
  let x, y, width, height: Double
  /// Cells across, and rows that can have a colour.
  let columns, rows: Int
  /// `[rows * columns]` or fewer, row by row from the top.
  let colors: [RGB?]

  /// nil when there is nothing to draw. A cell without an entry in `colors` is not drawn.
  init?(
    x: Double, y: Double, width: Double, height: Double, columns: Int, rows: Int, colors: [RGB?]
  ) {
    guard Shape.areNumbers(x, y, width, height), width > 0, height > 0, columns > 0, rows > 0 else {
      return nil
    }
    (self.x, self.y, self.width, self.height) = (x, y, width, height)
    self.columns = columns
    // Rows beyond the last colour would be empty: a count out of all proportion costs nothing.
    self.rows = colors.isEmpty ? 0 : min(rows, (colors.count - 1) / columns + 1)
    self.colors = colors
    allRows = rows
    stride = height / Double(rows)
  }

  /// Height of a row, in points.
  private let stride: Double
  /// With those that have no colours.
  let allRows: Int

  /// The left edge of a column; of `columns`, the right edge of the grid.
  func left(_ column: Int) -> Double { x + width * Double(column) / Double(columns) }

  /// The upper edge of a row; of `allRows`, the lower edge of the grid.
  func top(_ row: Int) -> Double { y + stride * Double(row) }

  /// The columns that can have a colour: `columns`, unless there are fewer colours than that.
  var drawnColumns: Int { min(columns, colors.count) }

  /// The runs of one colour in a row, from the left; cells that are not drawn are in none.
  func runs(_ row: Int) -> [(columns: Range<Int>, color: RGB)] {
    var out: [(columns: Range<Int>, color: RGB)] = []
    let first = row * columns
    for column in 0..<min(columns, max(0, colors.count - first)) {
      guard let color = colors[first + column] else { continue }
      if let last = out.last, last.color == color, last.columns.upperBound == column {
        out[out.count - 1].columns = last.columns.lowerBound..<column + 1
      } else {
        out.append((column..<column + 1, color))
      }
    }
    return out
  }
}
