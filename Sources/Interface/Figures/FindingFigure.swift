import Analysis
import Attention
import Canvas
import Pictures
import Sessions

/// Everything a method found on one head, on a page: the one switch over the five shapes that a
/// page knows.
///
/// The height follows from what there is: fields in pairs, then strips, curves and timelines one
/// under the other, then every number.
struct FindingFigure {
  private let figure: Figure

  /// Reads the figure's look.
  init(_ figure: Figure) { self.figure = figure }

  /// Cells on a side of a field.
  static let cells = 256

  /// The page, or the reason why there is nothing to show.
  var picture: Picture {
    let look = figure.look, ink = figure.ink
    var sheet = Sheet(ink)
    let setting = look.methodInForce, name = look.card?.title ?? setting?.id ?? "Method"
    let title = "\(name): \(figure.title)"
    sheet.text(
      Sheet.clipped(title, width: figure.width - 48, size: 15), 24, 26, size: 15, bold: true)
    guard let findings = look.findings(look.viewpoint.head) else {
      let why = look.findingsQuestion(look.viewpoint.head).flatMap(look.refusal) ?? ""
      let y = sheet.paragraph(why, 24, 56, width: figure.width - 48)
      return figure.page(sheet, height: y + 12, title: title, summary: why)
    }
    var y = 44.0
    let wide = figure.width - 48
    let fields = Self.fields(look)
    for start in stride(from: 0, to: fields.count, by: 2) {
      let pair = fields[start..<min(start + 2, fields.count)]
      let side = (wide - 24) / 2
      var below = y
      for (index, field) in pair.enumerated() {
        let area = Area(
          x: 24 + Double(index) * (side + 24), y: y + 18, width: side, height: side * 0.8)
        below = max(below, draw(field, in: area, &sheet))
      }
      y = below + 12
    }
    for finding in findings.all {
      let area = Area(x: 24, y: y + 18, width: wide, height: 84)
      switch finding.content {
      case .number, .field: continue
      case .series(let axis, let values, let unit):
        y = draw(finding.title, axis, values, unit, in: area, &sheet)
      case .curve(let curve): y = draw(finding.title, curve, in: area, &sheet)
      case .spans(let spans, let lanes, let unit):
        y = draw(finding.title, spans, lanes, unit, in: area, &sheet)
      }
    }
    y = numbers(findings, y + 16, &sheet)
    let words = [look.card?.idea, setting.map { "Setting: \($0)." }].compactMap { $0 }
    let notes = findings.notes.map { "\($0)." }
    y = sheet.paragraph((words + notes).joined(separator: " "), 24, y + 8, width: wide)
    return figure.page(sheet, height: y + 10, title: title, summary: words.joined(separator: " "))
  }

  // MARK: Fields

  /// Fields that are worth a picture, the method's own first; outputs stay in files.
  static func fields(_ look: Look) -> [Finding] {
    let main = look.card?.mainField
    let all = (look.findings(look.viewpoint.head)?.all ?? []).filter {
      $0.isField && ($0.name == main || !["output", "blocks"].contains($0.name))
    }
    return all.filter { $0.name == main } + all.filter { $0.name != main }
  }

  /// The pictures it needs, once the findings are there.
  static func questions(_ look: Look) -> [Question] {
    fields(look).compactMap { question(look, $0) }
  }

  /// The picture of a field at `cells` on a side.
  private static func question(_ look: Look, _ finding: Finding) -> Question? {
    guard let setting = look.methodInForce, case .field(let field, _) = finding.content else {
      return nil
    }
    let plot = Rect(x: 0, y: 0, width: cells, height: cells)
    return FindingView.question(
      look, setting, finding.name, field, plot, pixelsPerCell: 1)
  }

  /// A field with its colour bar; the y below it.
  private func draw(_ finding: Finding, in area: Area, _ sheet: inout Sheet) -> Double {
    let look = figure.look, ink = figure.ink
    sheet.text(finding.title, area.x, area.y - 6, size: 11, bold: true)
    guard case .field(let field, let style) = finding.content,
      let question = Self.question(look, finding), let map = look.map(question)
    else { return area.maxY }
    let shade = FieldShade(map, style, look.viewpoint)
    let plot = Area(x: area.x, y: area.y, width: area.width - 70, height: area.height)
    sheet.rect(plot, fill: ink.absent)
    sheet.add(
      .cells(
        x: plot.x, y: plot.y, width: plot.width, height: plot.height, columns: shade.columns,
        rows: shade.rows, colors: figure.colors(shade), id: "field-\(finding.name)"))
    sheet.rect(plot.outset(1), stroke: ink.grid, width: 0.75)
    figure.colorBar(
      shade, Area(x: plot.maxX + 10, y: plot.y, width: 10, height: min(plot.height, 160)),
      title: FindingText.words(style), on: &sheet)
    sheet.text(
      "\(field.rows.kind.rawValue) x \(field.columns.kind.rawValue)", plot.x, plot.maxY + 14,
      size: 10, ink.dim)
    return plot.maxY + 18
  }

  // MARK: Strips, curves, timelines

  /// A strip of bars; the y below it.
  private func draw(
    _ title: String, _ axis: Axis, _ values: [Float], _ unit: Unit, in area: Area,
    _ sheet: inout Sheet
  ) -> Double {
    let known = values.filter(\.isFinite)
    guard let least = known.min(), let high = known.max() else { return area.y }
    let low = min(least, 0), span = max(high - low, .leastNormalMagnitude)
    let range =
      "\(FindingText.number(Double(least), unit)) to \(FindingText.measured(Double(high), unit))"
    sheet.text("\(title), by \(axis.kind.rawValue): \(range)", area.x, area.y - 6, size: 11)
    let count = min(values.count, Int(area.width / 2))
    let edges = PooledMap.edges(0..<values.count, cells: count)
    for (index, (a, b)) in zip(edges, edges.dropFirst()).enumerated() {
      guard let top = values[a..<b].filter(\.isFinite).max() else { continue }
      let tall = Double((top - low) / span) * area.height
      sheet.rect(
        Area(
          x: area.x + Double(index) / Double(count) * area.width, y: area.maxY - tall,
          width: max(0.8, area.width / Double(count) - 0.3), height: tall), fill: sheet.ink.accent)
    }
    sheet.line(area.x, area.maxY, area.maxX, area.maxY)
    return area.maxY + 10
  }

  /// A curve with its marks; the y below it.
  private func draw(_ title: String, _ curve: Curve, in area: Area, _ sheet: inout Sheet) -> Double
  {
    let xs = curve.points.map { curve.isLogarithmic ? Scale.log10($0.x) : $0.x }
    let ys = curve.points.map(\.y)
    guard let left = xs.min(), let right = xs.max(), let least = ys.min(), let high = ys.max()
    else { return area.y }
    let low = min(least, 0), wide = max(right - left, 1e-300), tall = max(high - low, 1e-300)
    func place(_ x: Double, _ y: Double) -> (Double, Double) {
      (area.x + (x - left) / wide * area.width, area.maxY - (y - low) / tall * area.height)
    }
    sheet.text("\(title): \(curve.yName) over \(curve.xName)", area.x, area.y - 6, size: 11)
    sheet.rect(area, stroke: sheet.ink.grid, width: 0.75)
    for index in 1..<max(xs.count, 1) {
      let (x1, y1) = place(xs[index - 1], ys[index - 1]), (x2, y2) = place(xs[index], ys[index])
      sheet.line(x1, y1, x2, y2, sheet.ink.accent, width: 1.6)
    }
    for mark in curve.marks {
      let at = place(curve.isLogarithmic ? Scale.log10(mark.x) : mark.x, mark.y)
      let x = at.0.clamped(area.x, area.maxX)
      sheet.line(x, area.y, x, area.maxY, sheet.ink.pruned, width: 1, dash: 3)
      sheet.text(
        "\(mark.name) \(Numbers.short(mark.x)), \(Numbers.short(mark.y))", x + 4, area.y + 12,
        size: 10, sheet.ink.pruned)
    }
    sheet.text(
      Numbers.short(curve.points.first?.x ?? 0), area.x, area.maxY + 13, size: 10, sheet.ink.dim)
    sheet.text(
      Numbers.short(curve.points.last?.x ?? 0), area.maxX, area.maxY + 13, size: 10, .end,
      sheet.ink.dim)
    return area.maxY + 20
  }

  /// A timeline, each key a colour of its own; the y below it.
  private func draw(
    _ title: String, _ spans: [Span], _ lanes: Axis, _ unit: Unit, in area: Area,
    _ sheet: inout Sheet
  ) -> Double {
    let end = max(spans.map(\.to).max() ?? 1, 1e-9)
    let high = min(12, max(2, 220 / Double(max(lanes.count, 1))))
    let whole = Area(
      x: area.x, y: area.y, width: area.width, height: high * Double(lanes.count))
    sheet.text(
      "\(title): \(lanes.count) \(lanes.kind.rawValue)s, 0 to \(FindingText.measured(end, unit))",
      area.x, area.y - 6, size: 11)
    for span in spans {
      let x = whole.x + span.from / end * whole.width
      let y = whole.y + Double(span.lane) * high
      let wide = (span.to - span.from) / end * whole.width
      let t = (Float(span.key) * 0.618_034).truncatingRemainder(dividingBy: 1)
      sheet.rect(
        Area(x: x, y: y, width: max(wide, 0.6), height: max(high - 0.6, 1)),
        fill: figure.look.viewpoint.colors.tone(0.2 + 0.7 * t, figure.ink),
        stroke: sheet.ink.page, width: 0.4)
    }
    sheet.rect(whole, stroke: sheet.ink.grid, width: 0.75)
    return whole.maxY + 12
  }

  // MARK: Numbers

  /// Two columns of names and values.
  private func numbers(_ findings: Findings, _ top: Double, _ sheet: inout Sheet) -> Double {
    let items = findings.all.compactMap { finding -> (String, String)? in
      guard case .number(let value, let unit) = finding.content else { return nil }
      return (finding.title, value == nil ? "not known" : FindingText.measured(value, unit))
    }
    let rows = (items.count + 1) / 2, wide = (figure.width - 72) / 2
    for (index, item) in items.enumerated() {
      let x = 24 + Double(index / max(rows, 1)) * (wide + 24)
      let y = top + Double(index % max(rows, 1)) * 16
      sheet.text(
        Sheet.clipped(item.0, width: wide - 90, size: 10.5), x, y, size: 10.5, sheet.ink.dim)
      sheet.text(item.1, x + wide, y, size: 10.5, .end)
    }
    return top + Double(rows) * 16
  }
}
