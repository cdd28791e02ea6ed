import Analysis
import Attention
import Canvas
import Sessions

/// View 4: how much each head gives to its first token, and which keys take most in the chosen
/// head.
///
/// Any other number takes the place of the sinks when one is chosen (`:score`), or when the method
/// in force has a main one. Source of the sink rate: "When Attention Sink Emerges", 2024, arXiv
/// 2410.10781.
struct SinksScreen {
  private let look: Look
  private let paint: Paint
  /// Mean attention on the first token above which a head has a sink: the ε of the paper.
  static let threshold = 0.3

  /// Reads the look.
  init(_ look: Look) {
    self.look = look
    paint = Paint(look)
  }

  /// The matrix of heads, and beside it keys or strips where there is room.
  func draw(in rect: Rect, on grid: inout Grid) {
    let overlap = OverlapPanel(look)
    guard rect.width >= 70 else {
      if let overlap { overlap.draw(in: rect, on: &grid) } else { drawMatrix(in: rect, on: &grid) }
      return
    }
    let (left, right) = rect.splitLeft(rect.width / 2)
    drawMatrix(in: left, on: &grid)
    if let overlap { return overlap.draw(in: right, on: &grid) }
    if !drawMethodSeries(in: right, on: &grid) { drawKeys(in: right, on: &grid) }
  }

  /// Layers down and heads across, the part that holds the chosen head.
  private func drawMatrix(in rect: Rect, on grid: inout Grid) {
    let title = look.scoreName.map { name -> String in
      let isMarked = [Look.selectedNumber, Look.agreesNumber].contains(name)
      let whose = isMarked ? "" : "\(look.methodInForce?.id ?? ""): "
      return Fitted.name(whose + look.numberTitle(name), rect.width - 4)
    }
    Panel(
      title ?? "Mass on the first token", right: "layer x head", style: paint.dim,
      unicode: paint.unicode
    ).draw(in: rect, on: &grid)
    let inner = rect.inset(2, 1)
    let (wide, columns, rows, firstHead, firstLayer) = matrix(inner)
    for head in firstHead..<min(look.source.heads, firstHead + columns) {
      grid.put(
        "\(look.source.headNumber(head))", inner.x + 5 + (head - firstHead) * wide, inner.y,
        paint.dim, limit: wide)
    }
    for layer in firstLayer..<min(look.source.layers.count, firstLayer + rows) {
      let y = inner.y + 1 + layer - firstLayer
      grid.put("L\(look.source.layers[layer])", inner.x, y, paint.dim, limit: 4)
      for head in firstHead..<min(look.source.heads, firstHead + columns) {
        let place = Rect(x: inner.x + 5 + (head - firstHead) * wide, y: y, width: wide, height: 1)
        drawHead(
          HeadID(layer: LayerIndex(layer), head: head, source: look.source.index), in: place,
          on: &grid)
      }
    }
    let left = inner.height - 1 - rows
    guard look.scoreName == nil else {
      drawScores(in: inner, y: inner.y + 1 + rows + (left > 3 ? 1 : 0), on: &grid)
      return
    }
    drawRates(in: inner, y: inner.y + 1 + rows + (left > 3 ? 1 : 0), on: &grid)
  }

  /// Columns of a head, how many heads and layers are shown, and the first of each.
  private func matrix(_ inner: Rect) -> (
    wide: Int, columns: Int, rows: Int, firstHead: Int, firstLayer: Int
  ) {
    let wide = max(2, min(5, (inner.width - 5) / max(look.source.heads, 1)))
    let columns = max(1, (inner.width - 5) / wide)
    let rows = max(1, min(look.source.layers.count, inner.height - 2))
    return (
      wide, columns, rows, max(0, look.viewpoint.head.head - columns + 1),
      max(0, look.viewpoint.head.layer.value - rows + 1)
    )
  }

  /// The head at a place of the matrix; nil elsewhere.
  func head(x: Int, y: Int, in rect: Rect) -> HeadID? {
    let left = rect.width >= 70 ? rect.splitLeft(rect.width / 2).0 : rect
    if rect.width < 70, OverlapPanel(look) != nil { return nil }
    let inner = left.inset(2, 1), (wide, columns, rows, firstHead, firstLayer) = matrix(inner)
    let column = (x - inner.x - 5) / wide, row = y - inner.y - 1
    guard x >= inner.x + 5, (0..<columns).contains(column), (0..<rows).contains(row),
      firstHead + column < look.source.heads, firstLayer + row < look.source.layers.count
    else { return nil }
    return HeadID(
      layer: LayerIndex(firstLayer + row), head: firstHead + column, source: look.source.index)
  }

  /// One head's place: a share in per cent on its colour, or what is missing.
  private func drawHead(_ head: HeadID, in rect: Rect, on grid: inout Grid) {
    let isChosen = head == look.viewpoint.head
    if let name = look.scoreName {
      return drawScore(name, head, isChosen: isChosen, in: rect, on: &grid)
    }
    guard let alpha = look.summary(head)?.importance.first else {
      let note = look.refusal(.summary(head)) == nil ? "…" : "-"
      grid.put(isChosen ? "[\(note)]" : note, rect.x, rect.y, paint.dim, limit: rect.width)
      return
    }
    var cell = paint.shade(alpha)
    if paint.colors.hasRamps, let isLight = cell.style.background.isLight {
      cell.style.foreground = .index(isLight ? 16 : 231)
    } else {
      cell = .blank
    }
    cell.style.bold = Double(alpha) > Self.threshold
    grid.fill(
      Rect(x: rect.x, y: rect.y, width: rect.width - (rect.width > 3 ? 1 : 0), height: 1),
      Cell(" ", cell.style))
    // A head past the threshold is also underlined, so that colour is not all that tells.
    var style = cell.style
    style.underline = Double(alpha) > Self.threshold
    let text = Numbers.fixed(100 * Double(alpha), 0)
    if isChosen { style.reverse = true }
    grid.put(
      isChosen && rect.width >= 4 ? "[\(text)]" : text, rect.x, rect.y, style, limit: rect.width)
  }

  // MARK: Any number

  /// Least and largest of a number over the heads that are known.
  private func range(_ name: String) -> (low: Double, high: Double)? {
    let known = look.source.allHeads.compactMap { look.headNumber(name, $0)?.value }
      .filter(\.isFinite)
    guard let low = known.min(), let high = known.max() else { return nil }
    return (low, high)
  }

  /// The same for any number, shaded between its least and largest over the heads known.
  private func drawScore(
    _ name: String, _ head: HeadID, isChosen: Bool, in rect: Rect, on grid: inout Grid
  ) {
    guard let (value, unit) = look.headNumber(name, head), let value, let range = range(name)
    else {
      let why = look.findingsQuestion(head).flatMap(look.refusal)
      let note = why == nil && !look.lacks(name, head) ? "…" : "-"
      grid.put(isChosen ? "[\(note)]" : note, rect.x, rect.y, paint.dim, limit: rect.width)
      return
    }
    let span = max(range.high - range.low, 1e-300)
    var cell = paint.shade(Float((value - range.low) / span))
    if paint.colors.hasRamps, let isLight = cell.style.background.isLight {
      cell.style.foreground = .index(isLight ? 16 : 231)
    } else {
      cell = .blank
    }
    grid.fill(
      Rect(x: rect.x, y: rect.y, width: rect.width - (rect.width > 3 ? 1 : 0), height: 1),
      Cell(" ", cell.style))
    if isChosen { cell.style.reverse = true }
    // Only as many digits as the place has: the exact number stands below.
    let text = unit == .share ? Numbers.fixed(100 * value, 0) : Numbers.brief(value, rect.width - 1)
    grid.put(text, rect.x, rect.y, cell.style, limit: rect.width)
  }

  /// Under the matrix: the chosen head's exact number, the range, and what else could be shown.
  private func drawScores(in rect: Rect, y: Int, on grid: inout Grid) {
    guard let name = look.scoreName else { return }
    let head = look.viewpoint.head
    if let why = look.findingsQuestion(head).flatMap(look.refusal) {
      grid.put("\(look.methodInForce?.id ?? ""): \(why)", rect.x, y, paint.dim, limit: rect.width)
      return
    }
    let isUnknown = look.lacks(name, head) && look.headNumber(name, head) == nil
    let mine =
      look.headNumber(name, head).map { FindingText.measured($0.value, $0.unit) }
      ?? (isUnknown ? "is no number of this method" : nil)
    grid.put(
      Fitted.name(
        "L\(look.layerNumber) H\(look.chosenHeadNumber): \(look.numberTitle(name)) \(mine ?? "…")",
        rect.width),
      rect.x, y, paint.strong, limit: rect.width)
    if let range = range(name) {
      grid.put(
        "\(Numbers.short(range.low)) (dark) to \(Numbers.short(range.high)) over the heads known",
        rect.x, y + 1, paint.dim, limit: rect.width)
    }
    guard y + 2 < rect.maxY else { return }
    grid.put(
      Fitted.cut(":score \(look.numberNames.joined(separator: ", "))", rect.width), rect.x, y + 2,
      paint.dim, limit: rect.width)
  }

  /// Under the matrix: the share of heads with a sink, over all rows and as published.
  private func drawRates(in rect: Rect, y: Int, on grid: inout Grid) {
    let known = look.source.allHeads.compactMap(look.summary)
    guard !known.isEmpty else {
      let why =
        look.refusal(.summary(look.viewpoint.head))
        ?? (look.isStopped ? "stopped" : "computing…")
      grid.put(why, rect.x, y, paint.dim, limit: rect.width)
      return
    }
    let all = SinkRate(
      importances: known.map { $0.importance.first ?? 0 }, threshold: Self.threshold)
    let share = Numbers.percent(all.rate)
    let heads = "\(all.heads)\(all.heads < look.source.allHeads.count ? " known" : "") heads"
    grid.put(
      Fitted.text(
        [
          "sink rate, > \(Self.threshold): \(share) of \(heads)", "sink rate \(share) of \(heads)",
          "sinks \(share)",
        ], rect.width),
      rect.x, y, limit: rect.width)
    let published = known.compactMap(\.truncatedImportance)
    if published.count == known.count {
      let rate = SinkRate(importances: published, threshold: Self.threshold).rate
      let percent = Numbers.percent(rate)
      grid.put(
        Fitted.text(
          ["of the first 64 rows, as published: \(percent)", "first 64 rows: \(percent)"],
          rect.width), rect.x, y + 1, paint.dim, limit: rect.width)
    }
    if y + 2 < rect.maxY {
      Legend("0", "100 %", " of attention; underlined: a sink", "; underlined: a sink").draw(
        paint, rect.x, y + 2, end: rect.maxX, on: &grid)
    }
  }

  /// The strips along keys and tokens of a method without a block table; false when it has none.
  private func drawMethodSeries(in rect: Rect, on grid: inout Grid) -> Bool {
    guard !look.isByTable, let setting = look.methodInForce else { return false }
    let strips = (look.findings(look.viewpoint.head)?.all ?? []).filter { finding in
      if case .series = finding.content { true } else { false }
    }
    guard !strips.isEmpty else { return false }
    let height = max(4, min(8, rect.height / strips.count))
    let view = FindingView(look, setting)
    for (index, strip) in strips.enumerated() {
      let y = rect.y + index * height
      let isLast = index == strips.count - 1 || y + 2 * height > rect.maxY
      let place = Rect(
        x: rect.x, y: y, width: rect.width, height: isLast ? rect.maxY - y : height)
      view.draw(strip, in: place, on: &grid)
      if isLast { break }
    }
    return true
  }

  /// The chosen head's mass by key, and its heaviest keys with bars.
  private func drawKeys(in rect: Rect, on grid: inout Grid) {
    Panel(
      "Keys",
      right:
        "L\(look.layerNumber) H\(look.chosenHeadNumber)\(look.doubt(look.viewpoint.head))",
      style: paint.dim,
      unicode: paint.unicode
    )
    .draw(in: rect, on: &grid)
    let inner = rect.inset(2, 1)
    guard let summary = look.summary(look.viewpoint.head) else {
      let why =
        look.refusal(.summary(look.viewpoint.head))
        ?? (look.isStopped ? "stopped" : "computing…")
      grid.put(why, inner.x, inner.y, paint.dim, limit: inner.width)
      return
    }
    let mine = look.viewpoint.key
    let cursor =
      summary.columnMass.indices.contains(mine)
      ? Numbers.percent(Double(summary.columnMass[mine])) : "-"
    let name = look.token(mine).map { " \"\($0)\"" } ?? ""
    let words = [
      "mass by key (sqrt); cursor k \(mine)\(name) \(cursor)", "cursor k \(mine)\(name) \(cursor)",
      "k \(mine) \(cursor)",
    ]
    grid.put(Fitted.text(words, inner.width), inner.x, inner.y, paint.dim, limit: inner.width)
    let strip = Rect(x: inner.x, y: inner.y + 1, width: inner.width, height: 2)
    Sparkline(pooled(summary, strip.width), style: paint.accent, unicode: paint.unicode)
      .draw(in: strip, on: &grid)
    grid.put("0", inner.x, inner.y + 3, paint.dim)
    grid.put(endingAt: inner.maxX, "\(summary.columnMass.count - 1)", inner.y + 3, paint.dim)
    for (line, key) in summary.heaviest.prefix(max(0, inner.height - 4)).enumerated() {
      let y = inner.y + 4 + line, mass = Double(summary.columnMass[key])
      grid.put(endingAt: inner.x + 7, Numbers.percent(mass), y)
      grid.put(endingAt: inner.x + 13, "\(key)", y, paint.dim)
      grid.put("\"\(look.token(key) ?? "")\"", inner.x + 14, y, limit: 12)
      let bar = Rect(x: inner.x + 27, y: y, width: max(0, inner.width - 27), height: 1)
      Bar(
        mass / max(summary.sink.mass, 1e-9), style: paint.accent,
        unicode: paint.unicode
      ).draw(in: bar, on: &grid)
    }
  }

  /// Square roots of sums, relative to the largest: small masses stay visible beside a sink.
  private func pooled(_ summary: HeadSummary, _ width: Int) -> [Double] {
    let edges = PooledMap.edges(0..<summary.columnMass.count, cells: width)
    let sums = zip(edges, edges.dropFirst()).map { a, b in summary.mass(a..<b) }
    let top = sums.max() ?? 0
    return sums.map { top > 0 ? ($0 / top).squareRoot() : 0 }
  }
}
