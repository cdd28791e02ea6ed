import Attention
import Analysis
import Canvas
import Sessions

/// Where everything stands on a screen of a given size. Used by the view to draw and by `update` to read the mouse.
struct ScreenLayout {
  static let minimum = (width: 40, height: 12)

  let header: Rect
  let caption: Rect
  let footer: Rect
  /// The view's own area.
  let main: Rect
  /// Numbers beside the map; empty on narrow screens.
  let side: Rect
  /// The text of the row; empty on low screens.
  let row: Rect

  init(width: Int, height: Int, hasSide: Bool, hasRow: Bool) {
    let whole = Rect(x: 0, y: 0, width: width, height: height)
    var (top, rest) = whole.splitTop(1)
    header = top
    (rest, footer) = rest.splitTop(rest.height - 1)
    (rest, caption) = rest.splitTop(rest.height - (height >= 16 ? 1 : 0))
    let nothing = Rect(x: 0, y: 0, width: 0, height: 0)
    let sideWidth = hasSide && width >= 76 ? (width >= 110 ? 42 : 32) : 0
    // On a low screen the numbers need the whole height, and the row stands under the map alone.
    let isLow = height < 34
    var numbers = nothing
    if isLow, sideWidth > 0 { (rest, numbers) = rest.splitLeft(width - sideWidth) }
    var text = nothing
    if hasRow, height >= 22 { (rest, text) = rest.splitTop(rest.height - (isLow ? 4 : 6)) }
    if !isLow, sideWidth > 0 { (rest, numbers) = rest.splitLeft(width - sideWidth) }
    (main, side, row) = (rest, numbers, text)
  }

  init(_ model: Model) {
    let isMap = model.selection.view == .map, isTokens = model.selection.view == .tokens
    self.init(
      width: model.width, height: model.height, hasSide: isMap || isTokens,
      hasRow: isMap || (isTokens && model.live != nil))
  }
}

/// The parts of the map panel.
struct MapLayout {
  let panel: Rect
  let plot: Rect
  let gutter: Int
  let axis: Int
  let spark: Int?
  let legend: Int
  /// Two pixels a cell where half blocks and colours are there.
  let pixelsPerCell: Int

  var pixelRows: Int { plot.height * pixelsPerCell }

  init(_ model: Model) {
    panel = ScreenLayout(model).main
    let inner = panel.inset()
    let digits = max(4, String(model.source.queries).count)
    gutter = min(inner.width / 4, MapLayout.showsTokens(model) ? 14 : digits + 2)
    axis = inner.y
    legend = inner.maxY - 1
    let hasSpark = inner.height >= 10
    spark = hasSpark ? inner.maxY - 2 : nil
    plot = Rect(
      x: inner.x + gutter, y: inner.y + 1, width: inner.width - gutter,
      height: inner.height - (hasSpark ? 3 : 2))
    pixelsPerCell = model.capabilities.unicode && model.capabilities.colors == .palette ? 2 : 1
  }

  /// Close enough that each query row can be named by its token.
  private static func showsTokens(_ model: Model) -> Bool {
    !model.source.tokens.isEmpty && model.selection.window.queries.count <= model.height
  }

  /// The tokens that a cell covers.
  func keys(_ x: Int, _ window: MapWindow) -> Range<Int> {
    Self.share(x - plot.x, of: plot.width, window.keys)
  }

  func queries(_ y: Int, _ window: MapWindow) -> Range<Int> {
    Self.share(y - plot.y, of: plot.height, window.queries)
  }

  private static func share(_ index: Int, of count: Int, _ range: Range<Int>) -> Range<Int> {
    let low = range.lowerBound + index * range.count / max(count, 1)
    let high = range.lowerBound + (index + 1) * range.count / max(count, 1)
    return low..<max(low + 1, high)
  }

  func column(of key: Int, _ window: MapWindow) -> Int? {
    guard window.keys.contains(key) else { return nil }
    return (0..<plot.width).first { keys(plot.x + $0, window).contains(key) }.map { plot.x + $0 }
  }

  func line(of query: Int, _ window: MapWindow) -> Int? {
    guard window.queries.contains(query) else { return nil }
    return (0..<plot.height).first { queries(plot.y + $0, window).contains(query) }.map {
      plot.y + $0
    }
  }
}

/// How thumbnails stand in the Heads view.
struct HeadsLayout {
  /// Columns and lines of a picture, from the largest; the first with which all heads fit is taken, else the last.
  private static let sizes = [(29, 12), (23, 10), (19, 8), (17, 7), (15, 6), (13, 5), (11, 4)]

  let thumbWidth: Int
  let thumbHeight: Int
  let area: Rect
  let columns: Int
  let rows: Int
  /// In the order shown.
  let order: [HeadID]
  let first: Int

  init(_ model: Model) {
    area = ScreenLayout(model).main.inset()
    let area = area, count = model.source.allHeads.count
    // A line of pictures a layer, when that fits: heads of one number then stand under each other.
    let heads = model.source.heads, layers = model.source.layers.count
    let wide = min(29, (area.width + 2) / max(heads, 1) - 2),
      high = area.height / max(layers, 1) - 1
    if wide >= 9, high >= 3, model.selection.sort == .layer {
      (thumbWidth, thumbHeight) = (wide, min(high, max(4, wide * 6 / 10)))
      (columns, rows) = (heads, max(1, area.height / (thumbHeight + 1)))
      order = HeadsLayout.sorted(model)
      first = 0
      return
    }
    func fits(_ size: (Int, Int)) -> Bool {
      ((area.width + 2) / (size.0 + 2)) * (area.height / (size.1 + 1)) >= count
    }
    (thumbWidth, thumbHeight) = Self.sizes.first(where: fits) ?? Self.sizes[Self.sizes.count - 1]
    columns = max(1, (area.width + 2) / (thumbWidth + 2))
    rows = max(1, area.height / (thumbHeight + 1))
    order = HeadsLayout.sorted(model)
    let chosen = order.firstIndex(of: model.selection.head) ?? 0
    let page = max(0, chosen / columns - rows + 1)
    first = page * columns
  }

  var visible: ArraySlice<HeadID> {
    order[min(first, order.count)..<min(order.count, first + columns * rows)]
  }

  func rect(_ index: Int) -> Rect {
    let at = index - first
    return Rect(
      x: area.x + at % columns * (thumbWidth + 2), y: area.y + at / columns * (thumbHeight + 1),
      width: thumbWidth,
      height: thumbHeight + 1)
  }

  private static func sorted(_ model: Model) -> [HeadID] {
    let heads = model.source.allHeads
    func key(_ head: HeadID) -> Double {
      switch model.selection.sort {
      case .layer: 0
      case .sparsity: -(model.table(head)?.sparsity(model.lambda) ?? -1)
      case .sink: -(model.summary(head)?.sink.mass ?? -1)
      case .entropy: model.summary(head)?.entropy ?? .infinity
      case .pattern:
        Double(
          model.summary(head).flatMap { PatternLabel.Name.allCases.firstIndex(of: $0.label.name) }
            ?? 99)
      }
    }
    let keys = Dictionary(uniqueKeysWithValues: heads.map { ($0, key($0)) })
    return heads.sorted { keys[$0]! != keys[$1]! ? keys[$0]! < keys[$1]! : $0 < $1 }
  }
}
