import Attention
import Analysis
import Canvas
import Sessions

/// Where everything stands on a screen of a given size. Used by the view to draw and by `update` to
/// read the mouse.
///
/// One table of places for drawing and for the mouse: what is clicked is what is seen. Low screens
/// lose the row and then the caption, narrow ones the side.
struct ScreenLayout {
  /// Columns and rows below which nothing is drawn.
  static let minimum = (width: 40, height: 12)

  /// The top line.
  private(set) var header: Rect
  /// The line of views under it.
  private(set) var tabs: Rect
  /// One sentence above the footer; empty on low screens.
  private(set) var caption: Rect
  /// The bottom line.
  private(set) var footer: Rect
  /// What a lesson says; empty without one.
  private(set) var lesson = Rect(x: 0, y: 0, width: 0, height: 0)
  /// The view's own area.
  private(set) var main: Rect
  /// Numbers beside the map; empty on narrow screens.
  let side: Rect
  /// The text of the row; empty on low screens.
  let row: Rect
  /// Under the text, what a method says of every token; empty without.
  private(set) var strip = Rect(x: 0, y: 0, width: 0, height: 0)

  /// Without a lesson; `hasSide` and `hasRow` say what the view could use.
  init(width: Int, height: Int, hasSide: Bool, hasRow: Bool) {
    let whole = Rect(x: 0, y: 0, width: width, height: height)
    var (top, rest) = whole.splitTop(1)
    header = top
    (tabs, rest) = rest.splitTop(1)
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

  /// As the view and the lesson need it.
  init(_ look: Look) {
    self.init(framed: look)
    guard look.viewpoint.view == .tokens, look.tokenStrip != nil, main.height >= 14 else {
      return
    }
    (main, strip) = main.splitTop(main.height - 5)
  }

  private init(framed look: Look) {
    let isMap = look.viewpoint.view == .map, isTokens = look.viewpoint.view == .tokens
    let hasRow = isMap || (isTokens && look.live != nil)
    guard look.lesson != nil else {
      self.init(
        width: look.display.width, height: look.display.height, hasSide: isMap || isTokens,
        hasRow: hasRow)
      return
    }
    // A lesson stands on the right; on a narrow screen below.
    let wide = look.display.width >= 120 ? 42 : 38
    guard look.display.width - wide >= Self.minimum.width else {
      let high = min(11, max(0, look.display.height - Self.minimum.height))
      self.init(
        width: look.display.width, height: look.display.height - high, hasSide: isMap || isTokens,
        hasRow: hasRow)
      lesson = Rect(x: 0, y: footer.y, width: look.display.width, height: high)
      footer.y = look.display.height - 1
      if !caption.isEmpty {
        lesson.y = caption.y
        caption.y = look.display.height - 2
      }
      return
    }
    self.init(
      width: look.display.width - wide, height: look.display.height, hasSide: isMap || isTokens,
      hasRow: hasRow)
    let end = caption.isEmpty ? footer.y : caption.y
    lesson = Rect(
      x: look.display.width - wide, y: tabs.maxY, width: wide, height: end - tabs.maxY)
    for bar in [\ScreenLayout.header, \.tabs, \.caption, \.footer] {
      self[keyPath: bar].width = look.display.width
    }
  }

  /// Between the line of views and the caption.
  var body: Rect {
    Rect(
      x: 0, y: tabs.maxY, width: header.width,
      height: (caption.isEmpty ? footer.y : caption.y) - tabs.maxY)
  }
}

/// The parts of the map panel.
///
/// Cells and tokens translate both ways here: `keys` and `queries` from the screen, `column` and
/// `line` to it.
struct MapLayout {
  /// The frame and all in it.
  let panel: Rect
  /// The cells of the picture itself.
  let plot: Rect
  /// Columns left of the plot, for numbers or tokens of queries.
  let gutter: Int
  /// Columns left of those, for a learned sink; 0 without one.
  let sink: Int
  /// Columns right of the plot, for a number of every query; 0 without.
  let strip: Int
  /// The line above the plot, for keys.
  let axis: Int
  /// The line of the keys' masses; nil where there is none.
  let spark: Int?
  /// The line of the legend.
  let legend: Int
  /// Two pixels a cell where half blocks and colours are there.
  let pixelsPerCell: Int

  /// Rows of pixels in the plot.
  var pixelRows: Int { plot.height * pixelsPerCell }

  /// Of view 1.
  init(_ look: Look) { self.init(look, in: ScreenLayout(look).main) }

  /// `isPlain`: without marginal and token names, for one of several maps.
  init(_ look: Look, in panel: Rect, isPlain: Bool = false) {
    self.panel = panel
    let inner = panel.inset()
    let digits = max(4, String(look.source.queries).count)
    gutter = min(
      inner.width / 4, !isPlain && MapLayout.showsTokens(look) ? 14 : digits + (isPlain ? 1 : 2))
    axis = inner.y
    legend = inner.maxY - 1
    let hasSpark = inner.height >= 10 && !isPlain
    spark = hasSpark ? inner.maxY - 2 : nil
    sink = !isPlain && look.hasSinkColumn && inner.width >= 24 ? 3 : 0
    strip = !isPlain && look.viewpoint.strip != .off && inner.width >= 32 ? 5 : 0
    plot = Rect(
      x: inner.x + sink + gutter, y: inner.y + 1, width: inner.width - sink - gutter - strip,
      height: inner.height - (hasSpark ? 3 : 2))
    pixelsPerCell =
      look.display.capabilities.unicode && look.display.capabilities.colors.hasRamps ? 2 : 1
  }

  /// Close enough that each query row can be named by its token.
  private static func showsTokens(_ look: Look) -> Bool {
    !look.source.tokens.isEmpty && look.viewpoint.window.queries.count <= look.display.height
  }

  /// The tokens that a cell covers.
  func keys(_ x: Int, _ window: MapWindow) -> Range<Int> {
    Self.share(x - plot.x, of: plot.width, window.keys)
  }

  /// The query rows that a line covers.
  func queries(_ y: Int, _ window: MapWindow) -> Range<Int> {
    Self.share(y - plot.y, of: plot.height, window.queries)
  }

  /// The part of a range under a cell, at least one token.
  private static func share(_ index: Int, of count: Int, _ range: Range<Int>) -> Range<Int> {
    let low = range.lowerBound + index * range.count / max(count, 1)
    let high = range.lowerBound + (index + 1) * range.count / max(count, 1)
    return low..<max(low + 1, high)
  }

  /// The column that shows a key; nil outside the window.
  func column(of key: Int, _ window: MapWindow) -> Int? {
    guard window.keys.contains(key) else { return nil }
    return (0..<plot.width).first { keys(plot.x + $0, window).contains(key) }.map { plot.x + $0 }
  }

  /// The line that shows a query; nil outside the window.
  func line(of query: Int, _ window: MapWindow) -> Int? {
    guard window.queries.contains(query) else { return nil }
    return (0..<plot.height).first { queries(plot.y + $0, window).contains(query) }.map {
      plot.y + $0
    }
  }
}

/// View 6: two maps and their difference, and the numbers of both.
///
/// All three maps have layouts of their own, but pictures are asked for at `cells`, which fits them
/// all.
struct CompareLayout {
  /// The left map.
  let left: MapLayout
  /// The right map.
  let right: MapLayout
  /// Left minus right.
  let difference: MapLayout
  /// The panel of numbers.
  let numbers: Rect

  /// Four panels in a square where there is height, three above one otherwise; on a very low screen
  /// numbers alone.
  init(_ look: Look) {
    let area = ScreenLayout(look).main
    let least = 7, most = 15
    if area.height >= 28, area.width < 150 {
      let (top, bottom) = area.splitTop(area.height / 2)
      let (a, b) = top.splitLeft(area.width / 2), (c, d) = bottom.splitLeft(area.width / 2)
      left = MapLayout(look.leftSide, in: a, isPlain: true)
      right = MapLayout(look.rightSide, in: b, isPlain: true)
      difference = MapLayout(look.leftSide, in: c, isPlain: true)
      numbers = d
      return
    }
    guard area.height >= least + 6 else {
      // Too low for maps: numbers alone.
      let nothing = Rect(x: area.x, y: area.y, width: 0, height: 0)
      left = MapLayout(look.leftSide, in: nothing, isPlain: true)
      (right, difference, numbers) = (left, left, area)
      return
    }
    let rows = min(most, max(least, area.height / 3))
    let (maps, below) = area.splitTop(area.height - rows)
    let (a, rest) = maps.splitLeft(area.width / 3)
    let (b, c) = rest.splitLeft(area.width / 3)
    left = MapLayout(look.leftSide, in: a, isPlain: true)
    right = MapLayout(look.rightSide, in: b, isPlain: true)
    difference = MapLayout(look.leftSide, in: c, isPlain: true)
    numbers = below
  }

  /// Both maps are asked for with the cells of the smaller one, so that they can be subtracted.
  var cells: (rows: Int, columns: Int) {
    let all = [left, right, difference]
    return (all.map(\.pixelRows).min() ?? 0, all.map(\.plot.width).min() ?? 0)
  }
}

/// How thumbnails stand in the Heads view.
///
/// The order is part of the layout, since arrows move through what is seen.
struct HeadsLayout {
  /// Sizes and places.
  let grid: ThumbGrid
  /// In the order shown.
  let order: [HeadID]

  /// Numbers of the chosen head and of its layer; empty on low screens.
  let strip: Rect

  /// Scrolls by lines so that the chosen head is in sight.
  init(_ look: Look) {
    let main = ScreenLayout(look).main, inner = main.inset()
    let (area, below) = inner.splitTop(inner.height - (inner.height >= 15 ? 2 : 0))
    strip = below
    let isList = look.viewpoint.costs == .list
    order = isList ? HeadCosts(look).cheapestFirst : HeadsLayout.sorted(look)
    let chosen = order.firstIndex(of: look.viewpoint.head) ?? 0
    guard !isList else {
      let list = CostScreen.parts(main).list
      let first = max(0, min(chosen - list.height / 2, order.count - list.height))
      grid = ThumbGrid(
        order.count, thumbWidth: list.width, thumbHeight: 0, columns: 1,
        rows: max(1, list.height), first: first, in: list)
      return
    }
    // A line of pictures a layer, where they are wide enough: heads of one number then stand under
    // each other.
    let heads = look.source.heads
    let fits =
      look.viewpoint.sort == .layer && look.viewpoint.filter == nil
      && (area.width + 2) / max(heads, 1) - 2 >= 9
    grid = ThumbGrid(order.count, chosen: chosen, columns: fits ? heads : nil, in: area)
  }

  /// Those that are shown.
  var visible: ArraySlice<HeadID> { order[grid.visible] }

  /// By the number in force, largest first (entropy: smallest); what is not known yet comes last,
  /// and equal ones keep the order of the file.
  private static func sorted(_ look: Look) -> [HeadID] {
    let heads = look.filteredHeads
    func key(_ head: HeadID) -> Double {
      switch look.viewpoint.sort {
      case .layer: 0
      case .sparsity: -(look.sparsity(head) ?? -1)
      case .sink: -(look.summary(head)?.sink.mass ?? -1)
      case .entropy: look.summary(head)?.entropy ?? .infinity
      case .number:
        -(look.headNumber(look.scoreName ?? "sparsity", head)?.value ?? -.greatestFiniteMagnitude)
      case .pattern:
        Double(
          look.summary(head).flatMap { PatternLabel.Name.allCases.firstIndex(of: $0.label.name) }
            ?? 99)
      }
    }
    let keys = Dictionary(uniqueKeysWithValues: heads.map { ($0, key($0)) })
    return heads.sorted { keys[$0]! != keys[$1]! ? keys[$0]! < keys[$1]! : $0 < $1 }
  }
}
