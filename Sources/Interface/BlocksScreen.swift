import Sessions
import Analysis
import Attention
import Canvas

/// View 3: the margins of all blocks, the mask, the curve, a histogram, and the row of blocks under
/// the cursor.
///
/// It shows the rule of BLASST in full: margins against ln lambda, what that gives for every
/// lambda, and block by block why. Below 70 columns only the margins stay.
struct BlocksScreen {
  private let look: Look
  private let paint: Paint

  /// Reads the look; nothing is computed here but pictures of its tables.
  init(_ look: Look) {
    self.look = look
    paint = Paint(look)
  }

  /// The whole view, or a sentence while the table is not there.
  func draw(in rect: Rect, on grid: inout Grid) {
    guard let table = look.table(look.viewpoint.head) else {
      Panel("Blocks", style: paint.dim, unicode: paint.unicode).draw(in: rect, on: &grid)
      let question = look.tableQuestion(look.viewpoint.head)
      let why = look.refusal(question) ?? look.waiting(question)
      grid.put(why, rect.x + 2, rect.y + 1, paint.dim, limit: rect.width - 4)
      return
    }
    guard rect.width >= 70 else { return drawMargins(table, in: rect, on: &grid) }
    let (left, curve, rest) = Self.parts(rect)
    drawMargins(table, in: left, on: &grid)
    drawCurve(table, in: curve, on: &grid)
    let height = CalibrationPanel.height
    let (histogram, below) = rest.splitTop(max(4, (rest.height - height) / 3))
    let (calibration, reasons) = below.splitTop(height)
    drawHistogram(table, in: histogram, on: &grid)
    CalibrationPanel(look).draw(in: calibration, on: &grid)
    drawReasons(table, in: reasons, on: &grid)
  }

  /// Margins, curve, and the rest on the right; on narrow screens margins alone.
  private static func parts(_ rect: Rect) -> (margins: Rect, curve: Rect, rest: Rect) {
    let nothing = Rect(x: 0, y: 0, width: 0, height: 0)
    guard rect.width >= 70 else { return (rect, nothing, nothing) }
    let (left, right) = rect.splitLeft(rect.width / 2)
    let (curve, rest) = right.splitTop(max(6, right.height * 3 / 10))
    return (left, curve, rest)
  }

  /// What a press means: the lambda under the curve, or the block among the margins.
  enum Target: Equatable {
    /// To be taken.
    case lambda(Double)
    /// Its row tile and key tile.
    case block(Int, Int)
  }

  /// What stands at a place of the view; nil where nothing answers.
  func target(x: Int, y: Int, in rect: Rect) -> Target? {
    guard let table = look.table(look.viewpoint.head) else { return nil }
    let (margins, curve, _) = Self.parts(rect), inner = margins.inset(2, 1)
    let plot = Rect(x: inner.x, y: inner.y, width: inner.width, height: inner.height - 1)
    if plot.contains(x, y) {
      return .block(
        share(y - plot.y, plot.height, table.rowTiles).lowerBound,
        share(x - plot.x, plot.width, table.keyTiles).lowerBound)
    }
    return CurvePlot(look).lambda(x: x, y: y, in: curve.inset()).map(Target.lambda)
  }

  // MARK: Margins

  /// One cell a range of blocks, coloured by the highest margin under it, with the margins as
  /// numbers where blocks are large enough, the cursor's block marked, and a legend below.
  private func drawMargins(_ table: BlockTable, in rect: Rect, on grid: inout Grid) {
    Panel(
      "Margins" + look.doubt(look.viewpoint.head), right: look.viewpoint.spec.description,
      style: paint.dim, unicode: paint.unicode
    ).draw(in: rect, on: &grid)
    let inner = rect.inset(2, 1)
    let plot = Rect(x: inner.x, y: inner.y, width: inner.width, height: inner.height - 1)
    let cells = MarginCells(table, look)
    for y in 0..<plot.height {
      let rows = share(y, plot.height, table.rowTiles)
      for x in 0..<plot.width {
        let keys = share(x, plot.width, table.keyTiles)
        grid[plot.x + x, plot.y + y] = cells.cell(rows, keys, isEven: (x + y) % 2 == 0)
      }
    }
    cells.drawNumbers(in: plot, on: &grid)
    let i = look.viewpoint.query / table.spec.rows, j = look.viewpoint.key / table.spec.keys
    let x = plot.x + centre(j, plot.width, table.keyTiles),
      y = plot.y + centre(i, plot.height, table.rowTiles)
    grid[x, y] = paint.mark(paint.unicode ? "╋" : "+", over: grid[x, y], (231, 16))
    cells.drawLegend(in: inner, on: &grid)
  }

  /// The tiles under a cell, at least one: a table with fewer tiles than cells is stretched.
  private func share(_ index: Int, _ count: Int, _ total: Int) -> Range<Int> {
    let low = index * total / max(count, 1)
    return low..<max(low + 1, (index + 1) * total / max(count, 1))
  }

  /// The cell in the middle of a tile, where the cursor is drawn.
  private func centre(_ tile: Int, _ count: Int, _ total: Int) -> Int {
    min(max(count - 1, 0), (2 * tile + 1) * count / max(2 * total, 1))
  }

  // MARK: Numbers

  /// Sparsity of every lambda, with the chosen one written out.
  private func drawCurve(_ table: BlockTable, in rect: Rect, on grid: inout Grid) {
    let right =
      """
      \(paint.lambda)=\(MapScreen.lambdaText(look.viewpoint.lambda)) → \
      \(Numbers.percent(table.sparsity(look.lambda)))
      """
    Panel("Sparsity(\(paint.lambda))", right: right, style: paint.dim, unicode: paint.unicode).draw(
      in: rect, on: &grid)
    CurvePlot(look).draw(in: rect.inset(), on: &grid)
  }

  /// Visible blocks by margin from -20 to 5 nats; what is beyond falls into the outer bins, the
  /// line is ln lambda.
  private func drawHistogram(_ table: BlockTable, in rect: Rect, on grid: inout Grid) {
    Panel(
      "Margins, blocks per nat", right: "\(table.visibleBlocks) visible", style: paint.dim,
      unicode: paint.unicode
    )
    .draw(in: rect, on: &grid)
    let inner = rect.inset(2, 1)
    guard inner.height >= 2 else { return }
    let low = -20.0, bins = min(inner.width, 25)
    var counts = [Double](repeating: 0, count: bins), skipped = counts
    for margin in table.sortedMargins where margin.isFinite {
      let at = (Double(margin) - low) / (5 - low)
      let bin = min(bins - 1, max(0, Int(Numbers.unit(at) * Double(bins))))
      counts[bin] += 1
      if margin < look.lambda.threshold { skipped[bin] += 1 }
    }
    let top = max(counts.max() ?? 0, 1)
    let plot = Rect(x: inner.x, y: inner.y, width: inner.width, height: inner.height - 1)
    StackedBars(counts.map { $0 / top }, skipped.map { $0 / top }, paint)
      .draw(in: plot, on: &grid)
    grid.put("≤-20", inner.x, inner.maxY - 1, paint.dim)
    grid.put("0", inner.x + inner.width * 4 / 5, inner.maxY - 1, paint.dim)
    grid.put(endingAt: inner.maxX, "5", inner.maxY - 1, paint.dim)
    let threshold = Double(look.lambda.threshold)
    guard threshold.isFinite else { return }
    let x = inner.x + Int((max(threshold, low) - low) / (5 - low) * Double(inner.width - 1))
    for y in plot.y..<plot.maxY where grid[x, y].glyph == " " {
      grid[x, y] = Cell(paint.unicode ? "┊" : ":", paint.pruned)
    }
    grid.put("ln λ", max(inner.x, min(x - 1, inner.maxX - 4)), inner.maxY - 1, paint.pruned)
  }

  /// The blocks of the cursor's query tile, around the cursor's: margin, mass per row, verdict.
  private func drawReasons(_ table: BlockTable, in rect: Rect, on grid: inout Grid) {
    let i = min(look.viewpoint.query / table.spec.rows, table.rowTiles - 1)
    let j = min(look.viewpoint.key / table.spec.keys, table.keyTiles - 1)
    Panel("Query tile \(i)", right: "arrows move", style: paint.dim, unicode: paint.unicode).draw(
      in: rect, on: &grid)
    let inner = rect.inset(2, 1)
    grid.put("keys       margin mass/row verdict", inner.x, inner.y, paint.dim, limit: inner.width)
    let room = max(0, inner.height - 1)
    let first = min(max(0, j - room / 2), max(0, table.keyTiles - room))
    let rows = Double(min(table.spec.rows, look.source.queries - i * table.spec.rows))
    for (line, tile) in (first..<min(table.keyTiles, first + room)).enumerated() {
      let margin = table.margins[i * table.keyTiles + tile]
      let end = min(table.keys, (tile + 1) * table.spec.keys) - 1
      let y = inner.y + 1 + line
      var verdict = "computed"
      if margin.isNaN {
        verdict = "not visible"
      } else if margin == .infinity {
        verdict = table.isFixed ? "computed" : "first"
      }
      let skipped = table.isFixed ? margin < 0 : margin < look.lambda.threshold
      if skipped { verdict = "skipped" }
      let style =
        tile == j ? paint.bar : (skipped ? paint.pruned : (margin.isNaN ? paint.dim : .plain))
      if tile == j {
        grid.fill(Rect(x: inner.x, y: y, width: inner.width, height: 1), Cell(" ", paint.bar))
      }
      grid.put("\(tile * table.spec.keys)-\(end)", inner.x, y, style, limit: 10)
      let shown = margin.isNaN ? "-" : (table.isFixed ? "?" : Numbers.fixed(Double(margin), 2))
      grid.put(endingAt: inner.x + 17, shown, y, style)
      let mass = Double(table.massSum[i * table.keyTiles + tile]) / max(rows, 1)
      grid.put(
        endingAt: inner.x + 26, margin.isNaN || table.isFixed ? "-" : Numbers.short(mass), y, style)
      grid.put(
        Fitted.text([verdict, verdict == "not visible" ? "unseen" : verdict], inner.width - 28),
        inner.x + 28, y, style, limit: inner.width - 28)
    }
  }
}
