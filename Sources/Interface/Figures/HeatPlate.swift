import Analysis
import Attention
import Canvas
import Pictures
import Sessions

/// A heat map on a page: cells, block grid, crosses on skipped blocks, axes with numbers or tokens.
///
/// A cell that is `nil` stays the colour of what nobody may see. Blocks are drawn over the cells at
/// their true edges, which need not be those of cells.
struct HeatPlate {
  /// Whose window, cursor, lambda and tokens are meant.
  let look: Look
  /// Where the cells are, in points; axes stand outside.
  let area: Area
  /// Cells from top to bottom.
  let rows: Int
  /// Cells from left to right.
  let columns: Int
  /// `[rows * columns]`; nil is not visible.
  let colors: [RGB?]
  /// Whose skipped blocks get crosses; nil draws none.
  let table: BlockTable?
  /// The name of the crosses in the SVG.
  var crossID = "skipped-blocks"
  /// The name of the cells in the SVG.
  var cellID = "map"
  /// Axes are drawn.
  var labels = true

  /// Tokens are named when there is room for each.
  static let mostNamed = 48

  /// Background, cells, and everything over them.
  func draw(on sheet: inout Sheet) {
    sheet.rect(area, fill: sheet.ink.absent)
    sheet.add(
      .cells(
        x: area.x, y: area.y, width: area.width, height: area.height, columns: columns, rows: rows,
        colors: colors, id: cellID))
    drawOver(on: &sheet)
  }

  /// Grid, crosses and axes, over cells that are there already.
  func drawOver(on sheet: inout Sheet) {
    if let table, look.viewpoint.overlay != .none { drawBlocks(table, on: &sheet) }
    sheet.rect(area.outset(1), stroke: sheet.ink.grid, width: 0.75)
    if labels { drawAxes(on: &sheet) }
  }

  // MARK: Blocks

  /// Place of the left edge of a key.
  private func x(_ key: Int) -> Double {
    let keys = look.viewpoint.window.keys
    return area.x + Double(key - keys.lowerBound) / Double(keys.count) * area.width
  }

  /// Place of the upper edge of a query.
  private func y(_ query: Int) -> Double {
    let queries = look.viewpoint.window.queries
    return area.y + Double(query - queries.lowerBound) / Double(queries.count) * area.height
  }

  /// Crosses on the parts of skipped blocks that lie in the window, and lines between blocks that
  /// are wide enough.
  private func drawBlocks(_ table: BlockTable, on sheet: inout Sheet) {
    let window = look.viewpoint.window, mask = table.mask(look.lambda)
    let wide = area.width * Double(table.spec.keys) / Double(window.keys.count)
    let high = area.height * Double(table.spec.rows) / Double(window.queries.count)
    if min(wide, high) >= 9 { drawGrid(table, on: &sheet) }
    guard table.isFixed || look.viewpoint.lambda > 0 else { return }
    var marks: [Mark] = []
    for i in window.queries.lowerBound / table.spec.rows..<table.rowTiles {
      let (top, bottom) = (i * table.spec.rows, min((i + 1) * table.spec.rows, table.queries))
      guard top < window.queries.upperBound else { break }
      for j in window.keys.lowerBound / table.spec.keys..<table.keyTiles {
        let (left, right) = (j * table.spec.keys, min((j + 1) * table.spec.keys, table.keys))
        guard left < window.keys.upperBound else { break }
        guard mask[i, j] == .skipped else { continue }
        let (x1, x2) = (max(x(left), area.x), min(x(right), area.maxX))
        let (y1, y2) = (max(y(top), area.y), min(y(bottom), area.maxY))
        marks.append(Mark(row: i, column: j, x: x1, y: y1, width: x2 - x1, height: y2 - y1))
      }
    }
    sheet.add(
      .crosses(marks, color: sheet.ink.pruned, halo: sheet.ink.halo, id: crossID))
  }

  /// Lines between blocks.
  private func drawGrid(_ table: BlockTable, on sheet: inout Sheet) {
    let window = look.viewpoint.window
    for key in stride(from: table.spec.keys, to: table.keys, by: table.spec.keys)
    where window.keys.contains(key) && key > window.keys.lowerBound {
      sheet.line(x(key), area.y, x(key), area.maxY, sheet.ink.grid, width: 0.4)
    }
    for row in stride(from: table.spec.rows, to: table.queries, by: table.spec.rows)
    where window.queries.contains(row) && row > window.queries.lowerBound {
      sheet.line(area.x, y(row), area.maxX, y(row), sheet.ink.grid, width: 0.4)
    }
  }

  // MARK: Axes

  /// Tokens where there is room for each, numbers at round places elsewhere.
  private func drawAxes(on sheet: inout Sheet) {
    let window = look.viewpoint.window
    let isNamed = !look.source.tokens.isEmpty
    if isNamed, window.queries.count <= Self.mostNamed {
      for query in window.queries {
        let middle = (y(query) + y(query + 1)) / 2 + 3
        let name = Sheet.clipped(look.queryToken(query) ?? "", width: 56, size: 9)
        sheet.text("\(name) \(query)", area.x - 5, middle, size: 9, .end, sheet.ink.dim)
      }
    } else {
      for query in Ticks.of(window.queries, most: 9) {
        sheet.line(area.x - 4, y(query), area.x, y(query))
        sheet.text("\(query)", area.x - 7, y(query) + 4, size: 10, .end, sheet.ink.dim)
      }
    }
    if isNamed, window.keys.count <= Self.mostNamed {
      for key in window.keys {
        let middle = (x(key) + x(key + 1)) / 2 + 3
        let name = Sheet.clipped(look.token(key) ?? "", width: 56, size: 9)
        sheet.text(
          "\(key) \(name)", middle, area.maxY + 5, size: 9, .end, sheet.ink.dim, rotation: -90)
      }
    } else {
      for key in Ticks.of(window.keys, most: 9) {
        sheet.line(x(key), area.maxY, x(key), area.maxY + 4)
        sheet.text("\(key)", x(key), area.maxY + 16, size: 10, .middle, sheet.ink.dim)
      }
    }
    let named = isNamed && window.keys.count <= Self.mostNamed
    sheet.text(
      "key (token)", area.x + area.width / 2, area.maxY + (named ? 92 : 33), size: 11, .middle)
    let left = isNamed && window.queries.count <= Self.mostNamed ? 92.0 : 46
    sheet.text(
      "query (token)", area.x - left, area.y + area.height / 2, size: 11, .middle, rotation: -90)
  }

  /// Room that the axes take at the left and below.
  static func margins(_ look: Look) -> (left: Double, below: Double) {
    let window = look.viewpoint.window, isNamed = !look.source.tokens.isEmpty
    return (
      isNamed && window.queries.count <= mostNamed ? 112 : 66,
      isNamed && window.keys.count <= mostNamed ? 104 : 44
    )
  }
}

/// The map of one head.
///
/// The map is as high as its window is long, within bounds; its caption names file, head, scale,
/// lambda and tile.
struct MapFigure {
  private let figure: Figure

  /// Reads the figure's look.
  init(_ figure: Figure) { self.figure = figure }

  /// The page, with everything that a reader needs to make it again.
  var picture: Picture {
    let look = figure.look, ink = figure.ink, viewpoint = look.viewpoint
    var sheet = Sheet(ink)
    let (left, below) = HeatPlate.margins(look)
    let side = figure.width - left - 96
    let area = Area(
      x: left, y: 46, width: side,
      height: (side * Double(viewpoint.window.queries.count)
        / Double(max(1, viewpoint.window.keys.count))).clamped(60, side))
    sheet.text(figure.title, left, 26, size: 15, bold: true)
    guard let map = look.map(figure.mapQuestion(look)) else {
      return figure.page(sheet, height: 120, title: figure.title, summary: "")
    }
    if viewpoint.field != nil { return field(map, area, below, &sheet) }
    let scale = HeatScale(map, viewpoint, wholeTop: look.wholeTop)
    let colors = scale.values.map { $0.isNaN ? nil : viewpoint.colors.tone($0, ink) }
    HeatPlate(
      look: look, area: area, rows: scale.rows, columns: scale.columns, colors: colors,
      table: look.mapTable
    ).draw(on: &sheet)
    sheet.colorBar(
      Area(x: area.maxX + 14, y: area.y, width: 12, height: min(area.height, 260)),
      low: viewpoint.scale == .log ? "≤ \(Numbers.short(scale.low))" : "0",
      high: viewpoint.scale == .rank ? "top" : Numbers.short(scale.high),
      title: "attention, \(viewpoint.scale.rawValue)"
    ) { viewpoint.colors.tone(Float($0), ink) }
    var y = area.maxY + below + 22
    y = legend(&sheet, left, y)
    let caption = figure.caption([figure.headName, figure.looks], byTable: look.isByTable)
    y = sheet.paragraph(caption + " " + figure.outcome, left, y, width: figure.width - left - 20)
    return figure.page(
      sheet, height: y + 8, title: "Attention map: \(figure.title)",
      summary: caption + " " + figure.outcome)
  }

  /// A field of the method in force in the place of the pattern.
  private func field(_ map: PooledMap, _ area: Area, _ below: Double, _ sheet: inout Sheet)
    -> Picture
  {
    let look = figure.look, viewpoint = look.viewpoint
    let shade = FieldShade(map, look.mapLook, viewpoint, wholeTop: look.wholeTop)
    HeatPlate(
      look: look, area: area, rows: shade.rows, columns: shade.columns,
      colors: figure.colors(shade),
      table: nil
    ).draw(on: &sheet)
    figure.colorBar(
      shade, Area(x: area.maxX + 14, y: area.y, width: 12, height: min(area.height, 260)),
      title: FindingText.words(shade.look), on: &sheet)
    let name = look.mapField.name
    let title = look.findings(viewpoint.head)?[name]?.title ?? name
    let caption =
      "\(title). " + figure.caption([figure.headName, figure.looks], byTable: look.isByTable) + " "
      + figure.outcome
    let y = sheet.paragraph(
      caption, area.x, area.maxY + below + 22, width: figure.width - area.x - 20)
    return figure.page(
      sheet, height: y + 8, title: "\(title): \(figure.title)", summary: caption)
  }

  /// What crosses and blank cells mean; the y below it.
  private func legend(_ sheet: inout Sheet, _ x: Double, _ y: Double) -> Double {
    var x = x
    let ink = figure.ink
    if figure.look.viewpoint.overlay != .none, figure.look.hasBlocksOnMap {
      sheet.add(
        .crosses(
          [Mark(row: 0, column: 0, x: x, y: y - 10, width: 12, height: 12)], color: ink.pruned,
          halo: ink.halo, id: "legend-cross"))
      let look = figure.look
      let isStored = look.isByTable && look.source.storedTile != nil
      let words =
        "block skipped by \(isStored ? "the file's mask" : look.card?.title ?? "the method")"
      sheet.text(words, x + 17, y, size: 10.5, ink.dim)
      x += 17 + Strokes.width(words, size: 10.5, bold: false) + 22
    }
    if figure.look.source.visibility.causal {
      sheet.rect(
        Area(x: x, y: y - 9, width: 11, height: 11), fill: ink.absent, stroke: ink.grid, width: 0.5)
      sheet.text("not visible (later keys)", x + 17, y, size: 10.5, ink.dim)
    }
    return y + 20
  }
}

extension Double {
  /// Into a range whose ends are in order.
  func clamped(_ low: Double, _ high: Double) -> Double { Swift.min(Swift.max(self, low), high) }
}
