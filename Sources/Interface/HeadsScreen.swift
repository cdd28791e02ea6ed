import Analysis
import Attention
import Canvas
import Sessions

/// View 2: every head as a thumbnail.
///
/// Thumbnails show means on a scale of their own, so that shapes can be compared and not sizes; the
/// number above each is what the heads are sorted by.
struct HeadsScreen {
  private let look: Look
  private let paint: Paint

  /// Reads the look.
  init(_ look: Look) {
    self.look = look
    paint = Paint(look)
  }

  /// As many heads as fit, the chosen one among them.
  func draw(in rect: Rect, on grid: inout Grid) {
    let layout = HeadsLayout(look)
    var shown =
      """
      by \(look.viewpoint.sort.rawValue), \
      \(paint.lambda)=\(MapScreen.lambdaText(look.viewpoint.lambda))
      """
    if !look.isByTable || look.scoreName != nil {
      let name = shownNumber
      let number = name.map { look.numberTitle($0) } ?? ""
      let isOwn = name.map(Look.ownNumbers.contains) ?? false
      let whose = isOwn ? "" : (name == nil ? "" : " of ") + (look.methodInForce?.id ?? "")
      shown = "by \(look.viewpoint.sort.rawValue), \(number)\(whose)"
    }
    let all = look.source.allHeads.count
    let count =
      look.viewpoint.filter.map { "\(layout.order.count) of \(all) with \($0)" } ?? "\(all)"
    let agreed = look.agreement.map { ", \($0)" } ?? ""
    let left = Fitted.text(["Heads \(count)\(agreed)", "Heads \(count)"], rect.width - 4)
    Panel(
      left, right: shown, style: paint.dim, unicode: paint.unicode
    )
    .draw(in: rect, on: &grid)
    for index in layout.visible.indices {
      draw(layout.order[index], layout, in: layout.grid.rect(index), on: &grid)
    }
    if layout.order.isEmpty {
      var lines = Lines(rect, paint)
      lines.wrap(look.noHeads, on: &grid)
    }
    drawLegend(layout, in: rect, on: &grid)
    HeadCosts(look).draw(in: layout.strip, on: &grid)
    let below = layout.order.count - layout.visible.endIndex
    if below > 0 {
      grid.put(endingAt: rect.maxX - 2, " \(below) more below ", rect.maxY - 1, paint.dim)
    }
  }

  /// On the lower edge: what the colours of the chosen picture stand for. Each picture has a scale
  /// of its own, so that faint heads show their shape as well.
  private func drawLegend(_ layout: HeadsLayout, in rect: Rect, on grid: inout Grid) {
    guard let map = look.map(Needs.thumbnail(look.viewpoint.head, look, layout)) else { return }
    var shape = look.viewpoint
    shape.pooling = .mean
    let scale = HeatScale(map, shape)
    let low = shape.scale == .log ? "≤" + Numbers.short(scale.low) : "0"
    let high = shape.scale == .rank ? "top" : Numbers.short(scale.high)
    let y = rect.maxY - 1
    let name = " \(look.layerNumber).\(look.chosenHeadNumber): "
    let start = grid.put(name, rect.x + 2, y, paint.dim)
    let end = Legend(low, high, " mean weight; each its own scale ", " mean ").draw(
      paint, start, y, end: rect.maxX - 20, on: &grid)
    if end > start { grid[end, y] = .blank }
  }

  /// Name, number and picture of one head, or why there is no picture.
  private func draw(_ head: HeadID, _ layout: HeadsLayout, in rect: Rect, on grid: inout Grid) {
    let isChosen = head == look.viewpoint.head
    let text = Rect(x: rect.x, y: rect.y, width: rect.width, height: 1)
    let style = isChosen ? paint.bar : Style.plain
    if isChosen { grid.fill(text, Cell(" ", style)) }
    // Where heads stand in the order of the file, the first of a layer names it.
    let begins = head.head == 0 && look.viewpoint.sort == .layer
    let number = look.source.headNumber(head.head)
    let name =
      "\(begins ? "L" : "")\(look.source.layers[head.layer]).\(number)\(look.doubt(head))"
      + (look.agrees(head) == false ? (paint.unicode ? "≠" : "/") : "")
    let end = grid.put(
      name, rect.x, rect.y, begins && !isChosen ? paint.accent : style, limit: rect.width)
    let room = rect.maxX - end - 1
    if let text = figures(head).first(where: { Width.of($0) <= room }) {
      grid.put(endingAt: rect.maxX, text, rect.y, isChosen ? paint.bar : paint.dim)
    }
    let picture = Rect(x: rect.x, y: rect.y + 1, width: rect.width, height: rect.height - 1)
    let question = Needs.thumbnail(head, look, layout)
    guard let map = look.map(question) else {
      let note = look.refusal(question) != nil ? "no map" : (look.isStopped ? "stopped" : "…")
      grid.put(note, picture.x + 1, picture.y, paint.dim, limit: picture.width - 1)
      return
    }
    // A mean shows shape where a maximum over so many entries is bright everywhere.
    var shape = look.viewpoint
    shape.pooling = .mean
    drawMap(HeatScale(map, shape), in: picture, on: &grid)
  }

  /// The number above each head when that is one of the method's: what it is sorted by, or the
  /// number in force. Nil: the head's own, or the sparsity of the block table.
  private var shownNumber: String? {
    switch look.viewpoint.sort {
    case .layer, .number: look.scoreName
    case .sparsity: look.isByTable ? nil : "sparsity"
    case .sink, .entropy, .pattern: nil
    }
  }

  /// What the head saves and what it costs, from long to short: the number that heads are sorted
  /// by is the last to go.
  private func figures(_ head: HeadID) -> [String] {
    if look.viewpoint.sort == .pattern { return look.patternTexts(head) }
    let main = figure(head)
    guard shownNumber == nil, [.layer, .sparsity].contains(look.viewpoint.sort),
      look.sparsity(head) ?? 0 > 0
    else { return [main] }
    let costs = HeadCosts(look)
    let dropped = costs.dropped(head).map { " drop \(Numbers.short($0))" } ?? ""
    guard let error = costs.error(head) else { return [main + dropped, main] }
    return [
      "\(main)\(dropped) err \(Numbers.short(error))", "\(main) err \(Numbers.short(error))",
      "\(main) \(Numbers.short(error))", main,
    ]
  }

  /// The number that the heads are sorted by; sparsity when by layer.
  private func figure(_ head: HeadID) -> String {
    let summary = look.summary(head)
    if let name = shownNumber {
      if let number = look.headNumber(name, head) {
        return FindingText.number(number.value, number.unit)
      }
      return look.findings(head) == nil ? "…" : "-"
    }
    switch look.viewpoint.sort {
    case .layer, .sparsity, .number:
      return look.sparsity(head).map { Numbers.fixed(100 * $0, 0) + "%" } ?? "…"
    case .sink: return summary.map { $0.sign + Numbers.fixed(100 * $0.sink.mass, 0) + "%" } ?? "…"
    case .entropy: return summary.map { $0.sign + Numbers.fixed($0.entropy, 2) } ?? "…"
    case .pattern: return summary.map { $0.label.name.short } ?? "…"
    }
  }

  /// A picture without axes, two pixels a cell where the terminal can.
  private func drawMap(_ scale: HeatScale, in rect: Rect, on grid: inout Grid) {
    let two = paint.colors.hasRamps && paint.unicode
    for y in 0..<rect.height {
      for x in 0..<rect.width {
        let column = min(scale.columns - 1, x * scale.columns / rect.width)
        let top = scale[
          min(
            scale.rows - 1, (two ? 2 * y : y) * scale.rows / (two ? 2 * rect.height : rect.height)),
          column]
        let below =
          two ? (2 * y + 1) * scale.rows / (2 * rect.height) : y * scale.rows / rect.height
        grid[rect.x + x, rect.y + y] = paint.cell(
          top: top, bottom: scale[min(scale.rows - 1, below), column])
      }
    }
  }
}
