import Analysis
import Attention
import Canvas
import Pictures
import Sessions

/// Margins of all blocks with the mask, the curve and the histogram.
///
/// Blocks are drawn at their own size, ragged ones smaller; a margin is written in where it fits.
struct BlocksFigure {
  private let figure: Figure

  /// Reads the figure's look.
  init(_ figure: Figure) { self.figure = figure }

  /// The page; without a table only its title.
  var picture: Picture {
    let look = figure.look, ink = figure.ink
    var sheet = Sheet(ink)
    sheet.text("Blocks: \(figure.title)", 66, 26, size: 15, bold: true)
    guard let table = look.table(look.viewpoint.head) else {
      return figure.page(sheet, height: 120, title: figure.title, summary: "")
    }
    let side = (figure.width - 66 - 60) * 0.56
    let high = (side * Double(table.rowTiles) / Double(max(1, table.keyTiles))).clamped(80, side)
    let area = Area(x: 66, y: 46, width: side, height: high)
    drawMargins(table, area, &sheet)
    let right = Area(
      x: area.maxX + 66, y: 62, width: figure.width - area.maxX - 90, height: max(96, high * 0.4))
    CurvePlate(figure, right).draw([table], on: &sheet)
    let below = Area(
      x: right.x, y: right.maxY + 66, width: right.width,
      height: max(60, area.maxY - right.maxY - 66))
    drawHistogram(table, below, &sheet)
    let end = max(area.maxY, below.maxY + 10) + 62
    let caption = figure.caption([figure.headName])
    let text =
      """
      A block is skipped (×) when its margin, in nats, lies under ln λ = \
      \(Numbers.fixed(Double(look.lambda.threshold), 2)).
      """
      + " " + MarginScale(table, look.lambda).words + caption + " " + figure.outcome
    let y = sheet.paragraph(text, 66, end, width: figure.width - 90)
    return figure.page(sheet, height: y + 8, title: "Blocks: \(figure.title)", summary: text)
  }

  /// Every block by its margin, crosses on what lambda skips.
  private func drawMargins(_ table: BlockTable, _ area: Area, _ sheet: inout Sheet) {
    let look = figure.look, ink = figure.ink
    var whole = look
    whole.viewpoint.window = MapWindow(queries: 0..<table.queries, keys: 0..<table.keys)
    if whole.viewpoint.overlay == .none { whole.viewpoint.overlay = .skipped }
    let scale = MarginScale(table, look.lambda)
    let colors = table.margins.map { margin -> RGB? in
      switch scale.tone(margin) {
      case .unseen: nil
      case .first: ink.grid
      case .signed(let t): DifferenceColors.tone(t, ink)
      case .shade(let t): look.viewpoint.colors.tone(t, ink)
      }
    }
    // Tiles at the edge may be cut short, so each block is drawn at its own size.
    let (sx, sy) = (area.width / Double(table.keys), area.height / Double(table.queries))
    sheet.rect(area, fill: ink.absent)
    for i in 0..<table.rowTiles {
      for j in 0..<table.keyTiles {
        guard let color = colors[i * table.keyTiles + j] else { continue }
        let place = Area(
          x: area.x + Double(j * table.spec.keys) * sx,
          y: area.y + Double(i * table.spec.rows) * sy,
          width: Double(min(table.spec.keys, table.keys - j * table.spec.keys)) * sx,
          height: Double(min(table.spec.rows, table.queries - i * table.spec.rows)) * sy)
        sheet.rect(place, fill: color)
        let margin = table.margins[i * table.keyTiles + j]
        let isSkipped = margin < look.lambda.threshold && look.viewpoint.lambda > 0
        if place.width >= 34, place.height >= (isSkipped ? 46 : 24), !table.isFixed {
          sheet.text(
            margin == .infinity ? "first" : Numbers.fixed(Double(margin), 1),
            place.x + place.width / 2, place.maxY - 5, size: 8.5, .middle, ink.over(color))
        }
      }
    }
    HeatPlate(
      look: whole, area: area, rows: 0, columns: 0, colors: [], table: table, cellID: "none"
    ).drawOver(on: &sheet)
  }

  /// Blocks by margin from -20 to 5 nats; the skipped ones of a bin, at its bottom, have the colour
  /// that means pruned.
  private func drawHistogram(_ table: BlockTable, _ area: Area, _ sheet: inout Sheet) {
    let ink = figure.ink
    let low = -20.0, high = 5.0, bins = 25
    var counts = [Int](repeating: 0, count: bins), skipped = counts
    for margin in table.sortedMargins where margin.isFinite {
      let bin = Int(((Double(margin) - low) / (high - low)).clamped(0, 0.9999) * Double(bins))
      counts[bin] += 1
      if margin < figure.look.lambda.threshold { skipped[bin] += 1 }
    }
    let top = Double(max(counts.max() ?? 1, 1))
    let step = area.width / Double(bins)
    func x(_ margin: Double) -> Double {
      area.x + ((margin - low) / (high - low)).clamped(0, 1) * area.width
    }
    for (bin, count) in counts.enumerated() where count > 0 {
      for (part, color) in [(count, ink.accent), (skipped[bin], ink.pruned)] where part > 0 {
        let tall = Double(part) / top * area.height
        sheet.rect(
          Area(x: area.x + Double(bin) * step, y: area.maxY - tall, width: step - 1, height: tall),
          fill: color)
      }
    }
    sheet.line(area.x, area.maxY, area.maxX, area.maxY)
    for tick in [-20.0, -15, -10, -5, 0, 5] {
      sheet.text("\(Int(tick))", x(tick), area.maxY + 15, size: 10, .middle, ink.dim)
    }
    sheet.text("blocks by margin (nats)", area.x, area.y - 10, size: 11)
    let threshold = Double(figure.look.lambda.threshold)
    if threshold.isFinite {
      sheet.line(x(threshold), area.y - 4, x(threshold), area.maxY, ink.pruned, width: 1, dash: 4)
      sheet.text("ln λ", x(threshold) + 4, area.y + 5, size: 10, ink.pruned)
    }
  }
}

/// sparsity(λ) of one head or many.
///
/// Heads in the background are pale and thin, the chosen one is in front with its lambda marked.
struct CurvePlate {
  private let figure: Figure
  private let area: Area

  /// A plot in `area`, axes outside of it.
  init(_ figure: Figure, _ area: Area) { (self.figure, self.area) = (figure, area) }

  /// Place of a power of ten.
  private func x(_ exponent: Double) -> Double {
    area.x + (1 - exponent / CurvePlot.left).clamped(0, 1) * area.width
  }

  /// Place of a share.
  private func y(_ share: Double) -> Double { area.maxY - share * area.height }

  /// `count` points at even steps of log10 lambda, from the left edge to lambda = 1.
  static func points(_ table: BlockTable, count: Int) -> [(exponent: Double, sparsity: Double)] {
    (0..<count).map { step in
      let exponent = CurvePlot.left * (1 - Double(step) / Double(count - 1))
      let lambda = (try? Lambda(Scale.pow10(exponent))) ?? (try! Lambda(1))
      return (exponent, table.sparsity(lambda))
    }
  }

  /// The last table is the one that matters.
  func draw(_ tables: [BlockTable], on sheet: inout Sheet) {
    let ink = figure.ink
    sheet.rect(area, stroke: ink.grid, width: 0.75)
    for share in [0.25, 0.5, 0.75] {
      sheet.line(area.x, y(share), area.maxX, y(share), ink.grid, width: 0.4, dash: 3)
    }
    for share in [0, 0.5, 1] {
      sheet.text("\(Int(100 * share)) %", area.x - 6, y(share) + 4, size: 10, .end, ink.dim)
    }
    for exponent in stride(from: CurvePlot.left, through: 0, by: 2) {
      sheet.text(
        exponent == 0 ? "1" : "1e\(Int(exponent))", x(exponent), area.maxY + 15, size: 10, .middle,
        ink.dim)
    }
    for (index, table) in tables.enumerated() where !table.isFixed && table.madeFor == nil {
      let isChosen = index == tables.count - 1
      sheet.add(
        .polyline(
          Self.points(table, count: 200).map { (x($0.exponent), y($0.sparsity)) },
          color: isChosen ? ink.accent : ink.grid, width: isChosen ? 2 : 0.8))
    }
    sheet.text("skipped blocks against λ", area.x, area.y - 10, size: 11)
    let lambda = figure.look.viewpoint.lambda
    guard lambda > 0, let table = tables.last else { return }
    let at = x(Scale.log10(lambda)), share = table.sparsity(figure.look.lambda)
    sheet.line(at, area.y, at, area.maxY, ink.pruned, width: 1, dash: 4)
    sheet.rect(Area(x: at - 3, y: y(share) - 3, width: 6, height: 6), fill: ink.pruned)
    sheet.text(
      Numbers.percent(share), at - 7, y(share) - 6, size: 10.5, .end, ink.pruned)
  }
}

/// sparsity(λ) of every head, the chosen one in front.
///
/// Long sources show the chosen head alone: a table of every head would take too long for a page.
struct CurveFigure {
  private let figure: Figure

  /// Reads the figure's look.
  init(_ figure: Figure) { self.figure = figure }

  /// The page.
  var picture: Picture {
    let look = figure.look
    var sheet = Sheet(figure.ink)
    let title = "Sparsity by λ: \(figure.title)"
    sheet.text(title, 66, 26, size: 15, bold: true)
    let area = Area(x: 66, y: 64, width: figure.width - 100, height: (figure.width - 100) * 0.5)
    let others = look.source.allHeads.filter { $0 != look.viewpoint.head }.compactMap(look.table)
    let tables = others + [look.table(look.viewpoint.head)].compactMap { $0 }
    CurvePlate(figure, area).draw(tables, on: &sheet)
    sheet.text("λ", area.x + area.width / 2, area.maxY + 34, size: 11, .middle)
    let text =
      """
      In front \
      \(figure.headName)\(others.isEmpty ? "" : ", behind it the other \(others.count) heads").
      """
      + " " + figure.caption() + " " + figure.outcome
    let y = sheet.paragraph(text, 66, area.maxY + 62, width: figure.width - 90)
    return figure.page(sheet, height: y + 8, title: title, summary: text)
  }
}
