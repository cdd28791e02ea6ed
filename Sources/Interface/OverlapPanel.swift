import Analysis
import Attention
import Canvas
import Sessions

/// What masks have in common, as a panel of views 4 and 6: a square of places by places, under it a
/// curve or a strip, and what follows in words.
///
/// Of two sides of a comparison there is no square: the overlap of each query stands as a strip.
struct OverlapPanel {
  private let look: Look
  private let paint: Paint

  /// Reads the look; nil where nothing is laid over one another.
  init?(_ look: Look) {
    guard look.viewpoint.overlap != nil else { return nil }
    self.look = look
    paint = Paint(look)
  }

  /// Said where the two sides have no common place.
  static let noQuestion = "masks of two files are not laid over one another"

  /// The panel, or what it waits for.
  func draw(in rect: Rect, on grid: inout Grid) {
    guard let along = look.viewpoint.overlap else { return }
    let isOfSides = along == .methods && look.viewpoint.view == .compare
    Panel(
      isOfSides ? "Overlap of the sides" : "Overlap of \(along.rawValue)",
      right: along == .methods ? "intersection / union" : look.methodInForce?.id ?? "",
      style: paint.dim, unicode: paint.unicode
    ).draw(in: rect, on: &grid)
    let inner = rect.inset(2, 1)
    guard inner.width >= 8, inner.height >= 2 else { return }
    guard let question = look.overlapQuestion else {
      grid.put(Self.noQuestion, inner.x, inner.y, paint.dim, limit: inner.width)
      return
    }
    guard let text = OverlapText(look) else {
      var lines = Lines(rect, paint)
      lines.wrap(look.refusal(question) ?? look.waiting(question), paint.dim, on: &grid)
      return
    }
    let words = text.lines.flatMap { Printable.lines($0, width: inner.width) }
    // Words get what they need, half of the panel at most; pictures share the rest.
    let low = min(words.count, max(inner.height / 2, inner.height - 12))
    let (pictures, below) = inner.splitTop(inner.height - low)
    for (line, word) in words.prefix(below.height).enumerated() {
      grid.put(word, below.x, below.y + line, line == 0 ? .plain : paint.dim, limit: below.width)
    }
    if words.count > below.height, below.height > 0 {
      grid.put(
        endingAt: below.maxX, " \(words.count - below.height) more", below.maxY - 1, paint.dim)
    }
    draw(text, in: pictures, on: &grid)
  }

  /// The square above, the curve or strip below it; alone each has all of the room.
  private func draw(_ text: OverlapText, in rect: Rect, on grid: inout Grid) {
    let finding = text.strip ?? (look.viewpoint.overlap == .steps ? text.curve : nil)
    guard let setting = look.methodInForce else { return }
    let view = FindingView(look, setting)
    guard let (axis, values) = text.square, values.count == axis.count * axis.count else {
      if let finding { view.draw(finding, bare: rect, on: &grid) }
      return
    }
    guard let finding, rect.height >= 10 else {
      draw(axis, values, in: rect, on: &grid)
      return
    }
    let (above, below) = rect.splitTop(rect.height - max(4, rect.height * 2 / 5))
    draw(axis, values, in: above, on: &grid)
    view.draw(finding, bare: below, on: &grid)
  }

  /// Two rows of pixels a cell where half blocks and colours are there.
  private var pixels: Int { paint.unicode && paint.colors.hasRamps ? 2 : 1 }

  /// A square with the names of its rows on the left, as far as each has a line of its own, and a
  /// legend below.
  private func draw(_ axis: Axis, _ values: [Float], in rect: Rect, on grid: inout Grid) {
    guard rect.height >= 2, axis.count > 0 else { return }
    let lines = rect.height - 1
    let isNamed = axis.count <= lines && axis.kind != .step
    let longest = (0..<axis.count).map { Width.of(axis.name($0)) }.max() ?? 0
    let gutter = isNamed ? min(longest, rect.width / 3) + 1 : 0
    // As many cells a place as fit, equally, so that the square stays one.
    let room = rect.width - gutter
    let high = isNamed ? lines / axis.count : 0
    let wide = max(room / axis.count, 0)
    let plot = Rect(
      x: rect.x + gutter, y: rect.y,
      width: wide > 0 ? min(wide, 2 * max(high, 4)) * axis.count : room,
      height: high > 0 ? high * axis.count : lines)
    let map = pooled(axis, values, rows: plot.height * pixels, columns: plot.width)
    let shade = FieldShade(map, .magnitude(.share), look.viewpoint)
    shade.draw(paint, pixelsPerCell: pixels, in: plot, on: &grid)
    if isNamed {
      for place in 0..<axis.count {
        grid.put(
          axis.name(place), rect.x, plot.y + place * high,
          isHere(axis, place) ? paint.strong : paint.dim, limit: gutter - 1)
      }
    }
    _ = shade.drawLegend(paint, rect.x, plot.maxY, end: rect.maxX, on: &grid)
  }

  /// The row of the layer or head that is looked at.
  private func isHere(_ axis: Axis, _ place: Int) -> Bool {
    switch axis.kind {
    case .layer: axis.name(place) == "\(look.layerNumber)"
    case .head: axis.name(place) == "\(look.chosenHeadNumber)"
    default: false
    }
  }

  /// Means over the places of a cell, no finer than the places themselves.
  private func pooled(_ axis: Axis, _ values: [Float], rows: Int, columns: Int) -> PooledMap {
    let down = PooledMap.edges(0..<axis.count, cells: min(rows, axis.count))
    let across = PooledMap.edges(0..<axis.count, cells: min(columns, axis.count))
    var cells: [Float] = []
    for (top, bottom) in zip(down, down.dropFirst()) {
      for (left, right) in zip(across, across.dropFirst()) {
        let known = (top..<bottom).flatMap { row in
          values[row * axis.count + left..<row * axis.count + right].filter { !$0.isNaN }
        }
        cells.append(known.isEmpty ? .nan : known.reduce(0, +) / Float(known.count))
      }
    }
    return PooledMap(
      window: MapWindow(queries: 0..<axis.count, keys: 0..<axis.count), rowEdges: down,
      keyEdges: across, max: cells, mean: cells, muted: nil)
  }
}
