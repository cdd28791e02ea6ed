import Analysis
import Attention
import Canvas
import Sessions

/// A finding on the screen: the one switch over the five shapes that draws.
///
/// Whatever a method reports has one of five shapes, so that a new method needs no screen of its
/// own.
struct FindingView {
  private let look: Look
  private let paint: Paint
  private let setting: MethodSetting

  /// `setting` is the method whose findings are drawn.
  init(_ look: Look, _ setting: MethodSetting) {
    (self.look, self.setting) = (look, setting)
    paint = Paint(look)
  }

  /// In a frame of its own, with its title.
  func draw(_ finding: Finding, in rect: Rect, on grid: inout Grid) {
    guard rect.width >= 8, rect.height >= 3 else { return }
    Panel(finding.title, right: side(finding), style: paint.dim, unicode: paint.unicode)
      .draw(in: rect, on: &grid)
    draw(finding, bare: rect.inset(2, 1), on: &grid)
  }

  /// Without a frame.
  func draw(_ finding: Finding, bare inner: Rect, on grid: inout Grid) {
    switch finding.content {
    case .number(let value, let unit):
      grid.put(
        FindingText.measured(value, unit), inner.x, inner.y, paint.strong, limit: inner.width)
    case .series(let axis, let values, let unit): draw(axis, values, unit, in: inner, on: &grid)
    case .field(let field, let style):
      draw(finding.name, field, style, in: inner, on: &grid)
    case .curve(let curve): draw(curve, in: inner, on: &grid)
    case .spans(let spans, let lanes, let unit): draw(spans, lanes, unit, in: inner, on: &grid)
    }
  }

  /// What stands on the right of the frame.
  private func side(_ finding: Finding) -> String {
    switch finding.content {
    case .number, .curve: return ""
    case .series(let axis, _, let unit):
      return unit == .none || unit == .share
        ? "by \(axis.kind.rawValue)" : "\(unit.rawValue) by \(axis.kind.rawValue)"
    case .field(let field, _):
      return "\(field.rows.kind.rawValue) x \(field.columns.kind.rawValue)"
    case .spans(let spans, _, let unit):
      return FindingText.measured(spans.map(\.to).max() ?? 0, unit)
    }
  }

  // MARK: Series

  /// Bars of the largest value under each cell, from zero up, with the entry under the cursor in
  /// words.
  private func draw(
    _ axis: Axis, _ values: [Float], _ unit: Unit, in rect: Rect, on grid: inout Grid
  ) {
    let known = values.filter(\.isFinite)
    guard let low = known.min(), let high = known.max(), rect.height >= 1 else {
      grid.put("nothing is known", rect.x, rect.y, paint.dim, limit: rect.width)
      return
    }
    let floor = min(low, 0), span = max(high - floor, .leastNormalMagnitude)
    let edges = PooledMap.edges(0..<values.count, cells: rect.width)
    let bars = zip(edges, edges.dropFirst()).map { a, b -> Double in
      let top = values[a..<b].filter(\.isFinite).max() ?? floor
      return Double((top - floor) / span)
    }
    let plot = Rect(x: rect.x, y: rect.y, width: rect.width, height: max(1, rect.height - 1))
    Sparkline(bars, style: paint.accent, unicode: paint.unicode).draw(in: plot, on: &grid)
    guard rect.height >= 2 else { return }
    let y = rect.maxY - 1
    var text =
      "\(FindingText.number(Double(low), unit)) to \(FindingText.number(Double(high), unit))"
    if let here = here(axis), values.indices.contains(here) {
      text = "\(axis.name(here)): \(FindingText.number(Double(values[here]), unit))  " + text
    }
    grid.put(text, rect.x, y, paint.dim, limit: rect.width)
    let end = axis.name(values.count - 1)
    if Width.of(text) + Width.of(end) + 2 < rect.width {
      grid.put(endingAt: rect.maxX, end, y, paint.dim)
    }
  }

  /// The entry of an axis under the cursor.
  private func here(_ axis: Axis) -> Int? {
    switch axis.kind {
    case .key, .block: look.viewpoint.key / axis.span
    case .query: look.viewpoint.query / axis.span
    case .token: look.viewpoint.key
    case .head: look.viewpoint.head.head
    case .layer: look.viewpoint.head.layer.value
    default: nil
    }
  }

  // MARK: Fields

  /// The picture of a field with its legend, or what it waits for.
  private func draw(
    _ name: String, _ field: any RowField, _ style: FieldLook, in rect: Rect, on grid: inout Grid
  ) {
    guard rect.height >= 3, rect.width >= 8 else { return }
    let plot = Rect(x: rect.x, y: rect.y, width: rect.width, height: rect.height - 1)
    let question = Self.question(
      look, setting, name, field, plot, pixelsPerCell: pixels)
    guard let map = look.map(question) else {
      let why = look.refusal(question) ?? look.waiting(question)
      grid.put(why, plot.x, plot.y, paint.dim, limit: plot.width)
      return
    }
    let shade = FieldShade(map, style, look.viewpoint)
    shade.draw(paint, pixelsPerCell: pixels, in: plot, on: &grid)
    let end = shade.drawLegend(paint, rect.x, rect.maxY - 1, end: rect.maxX, on: &grid)
    if map.sampled != nil, end + 9 < rect.maxX {
      grid.put(endingAt: rect.maxX, "sampled", rect.maxY - 1, paint.dim)
    }
  }

  /// Two rows of pixels a cell where half blocks and colours are there.
  private var pixels: Int { paint.unicode && paint.colors.hasRamps ? 2 : 1 }

  /// The whole field at the cells of a rectangle.
  static func question(
    _ look: Look, _ setting: MethodSetting, _ name: String, _ field: any RowField, _ plot: Rect,
    pixelsPerCell: Int
  ) -> Question {
    func range(_ axis: Axis) -> Range<Int> { 0..<max(1, axis.isText ? axis.tokens : axis.count) }
    return .picture(
      FieldID(look.viewpoint.head, method: setting, name: name),
      PictureRequest(
        MapWindow(queries: range(field.rows), keys: range(field.columns)),
        rows: max(1, min(plot.height * pixelsPerCell, range(field.rows).count)),
        columns: max(1, min(plot.width, range(field.columns).count)),
        perCell: look.isLong ? 1 : nil))
  }

  // MARK: Curves and spans

  /// A line of dots between its extremes, marks as upright lines.
  private func draw(_ curve: Curve, in rect: Rect, on grid: inout Grid) {
    let xs = curve.points.map { curve.isLogarithmic ? Scale.log10($0.x) : $0.x }
    let ys = curve.points.map(\.y)
    guard rect.height >= 2, let left = xs.min(), let right = xs.max(), let low = ys.min(),
      let high = ys.max()
    else { return }
    let plot = Rect(x: rect.x, y: rect.y, width: rect.width, height: rect.height - 1)
    let wide = max(right - left, 1e-300), floor = min(low, 0), high2 = max(high - floor, 1e-300)
    BrailleCurve(
      zip(xs, ys).map { (x: ($0 - left) / wide, y: ($1 - floor) / high2) }, style: paint.accent,
      unicode: paint.unicode
    ).draw(in: plot, on: &grid)
    var words = "\(curve.yName) over \(curve.xName), to \(Numbers.short(curve.points.last?.x ?? 0))"
    for mark in curve.marks {
      let x = curve.isLogarithmic ? Scale.log10(mark.x) : mark.x
      let at = plot.x + Int(Numbers.unit((x - left) / wide) * Double(plot.width - 1))
      for y in plot.y..<plot.maxY where grid[at, y].glyph == " " {
        grid[at, y] = Cell(paint.unicode ? "┊" : ":", paint.pruned)
      }
      words += "  \(mark.name) \(Numbers.short(mark.x)), \(Numbers.short(mark.y))"
    }
    grid.put(words, rect.x, rect.maxY - 1, paint.dim, limit: rect.width)
  }

  /// Lanes from the top; with more lanes than lines several share one, and the last drawn is seen.
  private func draw(
    _ spans: [Span], _ lanes: Axis, _ unit: Unit, in rect: Rect, on grid: inout Grid
  ) {
    guard rect.height >= 2, lanes.count > 0 else { return }
    let plot = Rect(x: rect.x, y: rect.y, width: rect.width, height: rect.height - 1)
    let end = max(spans.map(\.to).max() ?? 1, 1e-9)
    for span in spans {
      let y = plot.y + span.lane * plot.height / max(lanes.count, plot.height)
      guard y < plot.maxY else { continue }
      let from = plot.x + Int(span.from / end * Double(plot.width))
      let to = max(from + 1, plot.x + Int(span.to / end * Double(plot.width)))
      for x in from..<min(to, plot.maxX) { grid[x, y] = cell(span.key, isFirst: x == from) }
    }
    let shown = lanes.count > plot.height ? ", several a line" : ""
    grid.put(
      """
      \(lanes.count) \(lanes.kind.rawValue)s\(shown); 0 to \(FindingText.measured(end, unit)); \
      equal colours belong together
      """,
      rect.x, rect.maxY - 1, paint.dim, limit: rect.width)
  }

  /// A piece of the timeline: its key tells the colour, and its digit where colours are missing.
  private func cell(_ key: Int, isFirst: Bool) -> Cell {
    guard paint.colors.hasRamps else {
      return Cell(Unicode.Scalar(UInt8(48 + key % 10)), isFirst ? paint.strong : .plain)
    }
    let tones: [UInt8] = [25, 130, 65, 97, 31, 136, 60, 94, 29, 125]
    return Cell(
      isFirst ? "▏" : " ", Style(.index(231), on: .index(tones[key % tones.count])))
  }
}

/// Numbers of the method in force as lines of a panel.
///
/// The same lines stand in view 3 and beside the map.
struct MethodNumbers {
  private let look: Look
  private let paint: Paint

  /// Reads the look.
  init(_ look: Look) {
    self.look = look
    paint = Paint(look)
  }

  /// Title, knobs, numbers and notes, as far as `room` lines go.
  func draw(_ lines: inout Lines, room: Int, on grid: inout Grid) {
    guard let setting = look.methodInForce else { return }
    let end = lines.y + room
    lines.rule(
      (look.card?.title ?? setting.id) + look.doubt(look.viewpoint.head),
      right: look.card?.fidelity(of: setting).tag ?? "", on: &grid)
    guard let findings = look.findings(look.viewpoint.head) else {
      let question = look.findingsQuestion(look.viewpoint.head)
      lines.wrap(
        question.map { look.refusal($0) ?? look.waiting($0) } ?? "", paint.dim, on: &grid)
      return
    }
    if !setting.knobs.isEmpty, lines.y < end {
      let text = setting.knobs.sorted { $0.key < $1.key }.map { name, value in
        let here = findings.applied[name].map { "\($0)" } ?? "\(value)"
        return "\(name) \(value)" + (here == "\(value)" ? "" : " (here \(here))")
      }
      lines.wrap(text.joined(separator: ", "), paint.strong, on: &grid)
    }
    if case .surrogate(let level, let text) = look.card?.fidelity(of: setting), lines.y < end {
      lines.wrap("\(level.rawValue): \(text)", paint.dim, on: &grid)
    }
    for finding in findings.all {
      guard case .number(let value, let unit) = finding.content, lines.y < end else { continue }
      let text = FindingText.measured(value, unit)
      lines.pair(finding.title, value == nil ? "not known" : text, on: &grid)
    }
    for note in findings.notes where lines.y < end { lines.wrap(note, paint.dim, on: &grid) }
  }
}

/// Lines whose values stand to the right.
extension Lines {
  /// A name on the left and its value on the right; the name gives way.
  mutating func pair(_ name: String, _ value: String, on grid: inout Grid) {
    if y < rect.maxY - 1 {
      let room = max(0, width - Width.of(value) - 1)
      grid.put(Fitted.name(name, room), x, y, paint.dim, limit: room)
      grid.put(endingAt: x + width, value, y)
    }
    y += 1
  }
}
