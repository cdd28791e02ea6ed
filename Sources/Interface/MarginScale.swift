import Attention
import Canvas

/// How margins of blocks become colours: around ln lambda, where the verdict turns.
///
/// Example: with lambda 0.01 a margin of -4.61 is the middle, -10.61 and less the one end, 1.39 and
/// more the other. A first block has no margin and stands apart, so that a column of them is no
/// flood of the strongest colour. Dense heads have no middle: there the scale ends at 0.
struct MarginScale {
  /// Nats on either side of ln lambda: a factor of 400, beyond which nothing is close.
  static let span = 6.0
  /// Nats below 0 of the scale without a middle: e^-12 of a row's weight tells nothing apart.
  static let depth = 12.0

  /// What a block is drawn as.
  enum Tone: Equatable {
    /// No row may see it.
    case unseen
    /// Visited first, so that there was nothing to compare with.
    case first
    /// In -1...1, below 0 skipped.
    case signed(Float)
    /// In 0...1, where there is no middle.
    case shade(Float)
  }

  /// ln lambda; nil where nothing is decided by it.
  let centre: Double?
  /// The mask was stored: margins are plus and minus infinity.
  let isFixed: Bool

  /// Of a table and the lambda in force.
  init(_ table: BlockTable, _ lambda: Lambda) {
    isFixed = table.isFixed
    let threshold = Double(lambda.threshold)
    centre = isFixed || !threshold.isFinite ? nil : threshold
  }

  /// The ends of the scale, in nats.
  var ends: (low: Double, high: Double) {
    centre.map { ($0 - Self.span, $0 + Self.span) } ?? (-Self.depth, 0)
  }

  /// What a margin is drawn as.
  func tone(_ margin: Float) -> Tone {
    if margin.isNaN { return .unseen }
    if isFixed { return .shade(margin > 0 ? 1 : 0) }
    if margin == .infinity { return .first }
    guard let centre else {
      return .shade(Float(Numbers.unit(1 + Double(margin) / Self.depth)))
    }
    return .signed(Float(max(-1, min(1, (Double(margin) - centre) / Self.span))))
  }

  /// What the colours mean, as a sentence with a blank behind it; empty for a stored mask.
  var words: String {
    guard !isFixed else { return "" }
    guard let centre else {
      return "Bright: the block raises a running maximum; grey: visited first. "
    }
    return """
      Blue lies below ln λ = \(Numbers.fixed(centre, 2)), orange above it, \
      \(Numbers.fixed(Self.span, 0)) nats either way; grey was visited first and has no margin. \

      """
  }
}

/// The margins of view 3 as cells of the screen: colours, crosses, numbers and a legend.
struct MarginCells {
  private let table: BlockTable
  private let look: Look
  private let paint: Paint
  private let scale: MarginScale
  private let threshold: Float

  /// Reads the look; the table is that of its head.
  init(_ table: BlockTable, _ look: Look) {
    (self.table, self.look) = (table, look)
    paint = Paint(look)
    scale = MarginScale(table, look.lambda)
    threshold = look.lambda.threshold
  }

  /// The highest margin under a cell: what would have to fall below ln lambda for all of it to be
  /// skipped. First blocks count only where there are no others.
  func cell(_ rows: Range<Int>, _ keys: Range<Int>, isEven: Bool) -> Cell {
    var best = -Float.infinity, hasFirst = false, hasOther = false, some = false
    for i in rows {
      for j in keys {
        let margin = table.margins[i * table.keyTiles + j]
        if margin.isNaN { continue }
        if margin == .infinity, !table.isFixed {
          hasFirst = true
          continue
        }
        hasOther = true
        best = max(best, margin)
        some = some || isSkipped(margin)
      }
    }
    guard hasOther else { return hasFirst ? cell(.first) : .blank }
    let heat = cell(scale.tone(best))
    if isSkipped(best), !hasFirst { return isEven ? paint.mark(paint.cross, over: heat) : heat }
    return some && isEven ? paint.mark(paint.partialCross, over: heat) : heat
  }

  /// A stored mask has no use for lambda.
  private func isSkipped(_ margin: Float) -> Bool {
    table.isFixed ? margin < 0 : margin < threshold
  }

  /// A tone as a cell without a mark.
  private func cell(_ tone: MarginScale.Tone) -> Cell {
    switch tone {
    case .unseen: return .blank
    case .first: return paint.neutral
    case .signed(let t): return paint.signed(top: t, bottom: t)
    case .shade(let t): return paint.shade(t)
    }
  }

  // MARK: Numbers

  /// Each margin above the middle of its block, where every block has room for its number and a
  /// cell on either side of it.
  func drawNumbers(in plot: Rect, on grid: inout Grid) {
    guard !table.isFixed, plot.height / max(table.rowTiles, 1) >= 2 else { return }
    let texts = table.margins.map { margin -> String in
      if margin.isNaN { return "" }
      return margin == .infinity ? "first" : Numbers.fixed(Double(margin), 1)
    }
    let longest = texts.map { Width.of($0) }.max() ?? 0
    guard plot.width / max(table.keyTiles, 1) >= longest + 1 else { return }
    for i in 0..<table.rowTiles {
      let y = plot.y + (2 * i + 1) * plot.height / (2 * table.rowTiles) - 1
      for j in 0..<table.keyTiles {
        let margin = table.margins[i * table.keyTiles + j], text = texts[i * table.keyTiles + j]
        guard !text.isEmpty else { continue }
        let cells = Self.cells(j, plot.width, table.keyTiles)
        let back = cell(scale.tone(margin)).style.background
        var style = isSkipped(margin) ? paint.pruned : Style(bold: true)
        if paint.colors.hasRamps {
          style = Style(.index(back.isLight ?? look.viewpoint.light ? 16 : 231), on: back)
        }
        let start = cells.lowerBound + (cells.count - Width.of(text)) / 2
        let room =
          max(
            start - 1, cells.lowerBound)..<min(
            start + Width.of(text) + 1, cells.upperBound)
        for x in room { grid[plot.x + x, y] = Cell(" ", style) }
        grid.put(text, plot.x + start, y, style, limit: cells.upperBound - start)
      }
    }
  }

  /// The cells that show a tile, of so many cells for so many tiles.
  private static func cells(_ tile: Int, _ count: Int, _ total: Int) -> Range<Int> {
    (tile * count + total - 1) / total..<((tile + 1) * count + total - 1) / total
  }

  // MARK: Legend

  /// The values of the colours' ends and of their middle, and what the cross means.
  func drawLegend(in inner: Rect, on grid: inout Grid) {
    let y = inner.maxY - 1
    guard !table.isFixed else {
      grid.put(
        Fitted.text(["\(paint.cross) stored as skipped", "\(paint.cross) skipped"], inner.width),
        inner.x, y, paint.pruned, limit: inner.width)
      return
    }
    guard let centre = scale.centre else {
      // The word is kept whatever the width: without it the cross is missed in vain.
      let word = "  dense"
      let at = Legend("-12", "0", " nats: raises", " nats").draw(
        paint, inner.x, y, end: inner.maxX - Width.of(word), on: &grid)
      let words = ["  nothing skipped: dense", word]
      grid.put(
        Fitted.text(words, inner.maxX - at), at, y, paint.pruned, limit: inner.maxX - at)
      return
    }
    drawRamp(centre, in: inner, y, on: &grid)
  }

  /// The words shrink before the ramp does, and the ramp before the values go.
  private func drawRamp(_ centre: Double, in inner: Rect, _ y: Int, on grid: inout Grid) {
    let low = Numbers.fixed(scale.ends.low, 1), high = Numbers.fixed(scale.ends.high, 1)
    let short = Numbers.fixed(centre, 2), long = "ln \(paint.lambda) \(short)"
    let skipped = "  \(paint.cross) skipped", first = " first"
    let choices: [(middle: String, mark: String, tail: String)] = [
      (long, skipped, first), (long, skipped, ""), (short, skipped, ""), (short, "", ""),
    ]
    func half(_ choice: (middle: String, mark: String, tail: String)) -> Int {
      let fixed = [low, high, choice.middle, choice.mark].reduce(4) { $0 + Width.of($1) }
      let tail = choice.tail.isEmpty ? 0 : Width.of(choice.tail) + 3
      return min(6, (inner.width - fixed - tail) / 2)
    }
    guard let choice = choices.first(where: { half($0) >= 3 }) else {
      grid.put(Fitted.text([long, short], inner.width), inner.x, y, paint.dim, limit: inner.width)
      return
    }
    let steps = half(choice)
    func ramp(_ x: Int, _ sign: Float) -> Int {
      for step in 0..<steps {
        let t = (Float(sign < 0 ? steps - step : step + 1)) / Float(steps) * sign
        grid[x + step, y] = paint.signed(top: t, bottom: t)
      }
      return x + steps
    }
    var x = ramp(grid.put("\(low) ", inner.x, y, paint.dim), -1)
    x = ramp(grid.put(" \(choice.middle) ", x, y, paint.dim), 1)
    x = grid.put(" \(high)", x, y, paint.dim)
    x = grid.put(choice.mark, x, y, paint.pruned)
    guard !choice.tail.isEmpty else { return }
    grid[x + 2, y] = paint.neutral
    grid.put(choice.tail, x + 3, y, paint.dim)
  }
}
