import Analysis
import Attention
import Canvas
import Sessions

/// View 2 as numbers: what can be skipped at the lambda in force, and what that costs.
///
/// Either a list of heads, the cheapest first, with the totals of layers beside it; or two maps of
/// layers by heads, shares and prices, each with a column of totals.
struct CostScreen {
  private let look: Look
  private let paint: Paint
  private let costs: HeadCosts

  /// Reads the look.
  init(_ look: Look) {
    self.look = look
    paint = Paint(look)
    costs = HeadCosts(look)
  }

  /// The list or the maps.
  func draw(in rect: Rect, on grid: inout Grid) {
    if look.viewpoint.costs == .map {
      drawMaps(in: rect, on: &grid)
    } else {
      drawList(in: rect, on: &grid)
    }
  }

  /// What decides, for titles.
  private var setting: String {
    look.isByTable
      ? "\(paint.lambda)=\(MapScreen.lambdaText(look.viewpoint.lambda))"
      : look.methodInForce?.id ?? ""
  }

  // MARK: List

  /// The frame of the list, the lines of its heads, and the frame of layers: empty on narrow
  /// screens.
  static func parts(_ rect: Rect) -> (panel: Rect, list: Rect, layers: Rect) {
    let (panel, layers) = rect.splitLeft(rect.width - (rect.width >= 76 ? 37 : 0))
    let inner = panel.inset(2, 1)
    // Headings above, the total below.
    let high = max(0, inner.height - 2)
    let list = Rect(x: inner.x, y: inner.y + 1, width: inner.width, height: high)
    return (panel, list, layers)
  }

  /// A line a head, the chosen one marked.
  private func drawList(in rect: Rect, on grid: inout Grid) {
    let (panel, list, layers) = Self.parts(rect), layout = HeadsLayout(look)
    let below = layout.order.count - layout.visible.endIndex
    Panel(
      "Skipped at \(setting)",
      right: costs.pricesErrors ? "least error first" : "least dropped first", style: paint.dim,
      unicode: paint.unicode
    ).draw(in: panel, on: &grid)
    let columns = Column.fitting(list.width)
    drawLine(columns, columns.map(\.title), list.x, list.y - 1, paint.dim, on: &grid)
    for index in layout.visible.indices {
      let head = layout.order[index], place = layout.grid.rect(index)
      let isChosen = head == look.viewpoint.head
      if isChosen { grid.fill(place, Cell(" ", paint.bar)) }
      let isSkipped = look.sparsity(head) ?? 0 > 0
      let style = isChosen ? paint.bar : (isSkipped ? .plain : paint.dim)
      drawLine(columns, columns.map { text($0, head) }, place.x, place.y, style, on: &grid)
    }
    if layout.order.isEmpty {
      grid.put(look.noHeads, list.x, list.y, paint.dim, limit: list.width)
    }
    let all = costs.sum(look.filteredHeads), end = list.maxY
    drawLine(
      columns, columns.map { text($0, all, "all") }, list.x, end, paint.strong, on: &grid)
    if below > 0 {
      grid.put(endingAt: panel.maxX - 2, " \(below) more below ", panel.maxY - 1, paint.dim)
    }
    if !layers.isEmpty { drawLayers(in: layers, on: &grid) }
  }

  /// A line a layer, around the chosen one, with means of its heads and the error of the worst.
  private func drawLayers(in rect: Rect, on grid: inout Grid) {
    Panel("Layers", right: "worst error", style: paint.dim, unicode: paint.unicode)
      .draw(in: rect, on: &grid)
    let inner = rect.inset(2, 1), columns = Column.fitting(inner.width)
    drawLine(
      columns, ["layer"] + columns.dropFirst().map(\.title), inner.x, inner.y, paint.dim,
      on: &grid)
    let room = inner.height - 1, count = look.source.layers.count
    let mine = look.viewpoint.head.layer.value
    let first = max(0, min(mine - room / 2, count - room))
    for layer in first..<min(count, first + max(room, 0)) {
      let sum = costs.sum(heads(of: layer)), y = inner.y + 1 + layer - first
      drawLine(
        columns, columns.map { text($0, sum, "L\(look.source.layers[layer])") }, inner.x, y,
        layer == mine ? paint.accent : .plain, on: &grid)
    }
    if first + room < count {
      grid.put(
        endingAt: rect.maxX - 2, " \(count - first - room) more below ", rect.maxY - 1, paint.dim)
    }
  }

  /// The heads of a layer by its index.
  private func heads(of layer: Int) -> [HeadID] {
    (0..<look.source.heads).map {
      HeadID(layer: LayerIndex(layer), head: $0, source: look.source.index)
    }
  }

  /// What stands in a line.
  private enum Column: CaseIterable {
    case name, skipped, dropped, error, worst, pattern

    /// Above it.
    var title: String {
      switch self {
      case .name: "head"
      case .skipped: "skipped"
      case .dropped: "dropped"
      case .error: "error"
      case .worst: "worst row"
      case .pattern: "pattern"
      }
    }

    /// Its cells, the gap before it included.
    var width: Int {
      switch self {
      case .name: 6
      case .skipped: 9
      case .dropped, .error: 9
      case .worst: 11
      case .pattern: 16
      }
    }

    /// As many as fit, those that matter most first.
    static func fitting(_ width: Int) -> [Column] {
      var left = width
      return Array(
        allCases.prefix {
          left -= $0.width
          return left >= 0
        })
    }
  }

  /// The first column begins at the left, the others end at their places.
  private func drawLine(
    _ columns: [Column], _ texts: [String], _ x: Int, _ y: Int, _ style: Style,
    on grid: inout Grid
  ) {
    var at = x
    for (index, (column, text)) in zip(columns, texts).enumerated() {
      at += column.width
      if index == 0 {
        grid.put(text, x, y, style, limit: column.width)
      } else {
        grid.put(endingAt: at, Fitted.cut(text, column.width - 1), y, style)
      }
    }
  }

  /// A head's number; `…` while it may still come, `-` where it will not.
  private func text(_ column: Column, _ head: HeadID) -> String {
    switch column {
    case .name:
      return
        "\(look.source.layers[head.layer]).\(look.source.headNumber(head.head))\(look.doubt(head))"
    case .skipped: return look.sparsity(head).map(Numbers.percent) ?? "…"
    case .dropped: return costs.dropped(head).map(Numbers.short) ?? missing(head)
    case .error:
      return costs.error(head).map(Numbers.short)
        ?? (costs.pricesErrors ? missing(head) : "needs V")
    case .worst: return look.droppedMass(head).map { Numbers.short($0.max) } ?? missing(head)
    case .pattern: return look.summary(head).map(\.label.name.rawValue) ?? "…"
    }
  }

  /// Why a number is not there.
  private func missing(_ head: HeadID) -> String {
    let asked = look.findingsQuestion(head)
    let isOver = asked.map { look.refusal($0) != nil || look.known.answer($0) != nil } ?? true
    return isOver || look.isStopped ? "-" : "…"
  }

  /// A number of several heads together.
  private func text(_ column: Column, _ sum: HeadCosts.Sum, _ name: String) -> String {
    switch column {
    case .name: name
    case .skipped: sum.share.map(Numbers.percent) ?? "…"
    case .dropped: sum.dropped.map(Numbers.short) ?? "-"
    case .error: sum.error.map { "≤\(Numbers.short($0))" } ?? "-"
    case .worst, .pattern: ""
    }
  }

  // MARK: Maps

  /// Where the two maps stand: beside each other where all heads fit so, else one above the
  /// other. The numbers of the chosen head stand below.
  private func maps(_ rect: Rect) -> (shares: Rect, prices: Rect, strip: Rect) {
    let (area, strip) = rect.splitTop(rect.height - (rect.height >= 12 ? 2 : 0))
    let half = area.splitLeft(area.width / 2)
    let isWide = HeadMatrix(look, half.0.inset(2, 1)).heads.count == look.source.heads
    let (shares, prices) = isWide || area.height < 12 ? half : area.splitTop(area.height / 2)
    return (shares, prices, strip)
  }

  /// Shares on the left or above, prices on the right or below.
  private func drawMaps(in rect: Rect, on grid: inout Grid) {
    let (shares, prices, strip) = maps(rect)
    drawMap("Skipped, %", setting, in: shares, on: &grid) {
      look.sparsity($0)
    } total: {
      costs.sum($0).share
    } shade: {
      $0
    }
    let price = costs.pricesErrors ? "Error, %" : "Dropped mass, %"
    let all = look.source.allHeads.compactMap(costs.price)
    let top = max(all.max() ?? 0, 1e-12)
    drawMap(
      price, costs.pricesErrors ? "worst at the end" : "mean at the end", in: prices, on: &grid
    ) {
      costs.price($0)
    } total: {
      costs.pricesErrors ? costs.sum($0).error : costs.sum($0).dropped
    } shade: {
      // Prices lie decades apart: three of them below the dearest are told apart.
      max(0, 1 + Scale.log10(max($0, 1e-12) / top) / 3)
    }
    costs.draw(in: strip, on: &grid)
  }

  /// One map: layers down, heads across, a layer's total at the end of its line.
  private func drawMap(
    _ title: String, _ right: String, in rect: Rect, on grid: inout Grid,
    value: (HeadID) -> Double?, total: ([HeadID]) -> Double?, shade: (Double) -> Double
  ) {
    Panel(title, right: right, style: paint.dim, unicode: paint.unicode).draw(in: rect, on: &grid)
    let matrix = HeadMatrix(look, rect.inset(2, 1))
    for head in matrix.heads {
      grid.put(
        "\(look.source.headNumber(head))", matrix.x(head), matrix.inner.y, paint.dim,
        limit: matrix.wide)
    }
    grid.put("all", matrix.totals, matrix.inner.y, paint.dim, limit: 5)
    for layer in matrix.layers {
      let y = matrix.y(layer)
      grid.put("L\(look.source.layers[layer])", matrix.inner.x, y, paint.dim, limit: 4)
      for head in matrix.heads {
        let id = HeadID(layer: LayerIndex(layer), head: head, source: look.source.index)
        let place = Rect(x: matrix.x(head), y: y, width: matrix.wide, height: 1)
        drawCell(value(id), shade, isChosen: id == look.viewpoint.head, in: place, on: &grid)
      }
      let sum = total(heads(of: layer)).map { Numbers.brief(100 * $0, 4) } ?? "…"
      grid.put(sum, matrix.totals, y, paint.strong, limit: 5)
    }
    let below = look.source.layers.count - matrix.layers.upperBound
    if below > 0 {
      grid.put(endingAt: rect.maxX - 2, " \(below) more below ", rect.maxY - 1, paint.dim)
    }
  }

  /// A head's per cent on its shade; the chosen one is reversed.
  private func drawCell(
    _ value: Double?, _ shade: (Double) -> Double, isChosen: Bool, in rect: Rect,
    on grid: inout Grid
  ) {
    var style = paint.dim
    if let value {
      style = paint.colors.hasRamps ? paint.text(on: Float(Numbers.unit(shade(value)))) : .plain
      let filled = Rect(x: rect.x, y: rect.y, width: rect.width - 1, height: 1)
      grid.fill(filled, Cell(" ", style))
    }
    style.reverse = isChosen
    let text = value.map { Numbers.fixed(100 * $0, 0) } ?? "…"
    grid.put(text, rect.x, rect.y, style, limit: rect.width - 1)
  }

  /// The head under a place of either map.
  func head(x: Int, y: Int, in rect: Rect) -> HeadID? {
    let (shares, prices, _) = maps(rect)
    for map in [shares, prices] where map.contains(x, y) {
      let matrix = HeadMatrix(look, map.inset(2, 1))
      guard let layer = matrix.layers.first(where: { matrix.y($0) == y }),
        let head = matrix.heads.first(where: {
          (matrix.x($0)..<matrix.x($0) + matrix.wide).contains(x)
        })
      else { return nil }
      return HeadID(layer: LayerIndex(layer), head: head, source: look.source.index)
    }
    return nil
  }
}

/// Layers down and heads across in a rectangle, the part that holds the chosen head, with room for
/// a column of totals.
struct HeadMatrix {
  /// Without the frame.
  let inner: Rect
  /// Cells of a head.
  let wide: Int
  /// Heads that are shown, by their index.
  let heads: Range<Int>
  /// Layers that are shown, by their index.
  let layers: Range<Int>

  /// As wide as fits, from four cells a head, a gap included, to five.
  init(_ look: Look, _ inner: Rect) {
    self.inner = inner
    let room = inner.width - 5 - 6, all = look.source.heads, count = look.source.layers.count
    wide = max(4, min(5, room / max(all, 1)))
    func around(_ chosen: Int, _ shown: Int, _ total: Int) -> Range<Int> {
      let shown = max(1, min(shown, total)), first = max(0, min(chosen - shown / 2, total - shown))
      return first..<first + shown
    }
    heads = around(look.viewpoint.head.head, room / wide, all)
    layers = around(look.viewpoint.head.layer.value, inner.height - 1, count)
  }

  /// The first cell of a head.
  func x(_ head: Int) -> Int { inner.x + 5 + (head - heads.lowerBound) * wide }
  /// The line of a layer.
  func y(_ layer: Int) -> Int { inner.y + 1 + layer - layers.lowerBound }
  /// The first cell of the totals.
  var totals: Int { inner.x + 5 + heads.count * wide + 1 }
}
