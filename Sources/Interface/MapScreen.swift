import Sessions
import Analysis
import Attention
import Canvas

/// View 1: the heat map with axes, skipped blocks, cross-hair, marginal and legend.
///
/// Also one side of the comparison, with another layout and title. The picture may be a stand-in,
/// an older window of a live run or a sample of rows; the screen then says so over the plot.
struct MapScreen {
  private let look: Look
  private let paint: Paint
  private let layout: MapLayout
  private let scale: HeatScale?
  /// Of a field that a method found.
  private let shade: FieldShade?
  private let map: PooledMap?
  private let table: BlockTable?
  /// The picture is not of this window: marked as waiting.
  private let isStale: Bool
  private let question: Question?
  /// One of several: its title, and what stands on the right of it.
  private let title: (left: String, right: String)?

  /// One of several maps: `question` is its picture, `table` its blocks.
  /// View 1.
  init(_ look: Look) {
    self.init(
      look, MapLayout(look), Needs.map(look), table: look.mapTable)
  }

  init(
    _ look: Look, _ layout: MapLayout, _ question: Question?, table: BlockTable?,
    title: (left: String, right: String)? = nil
  ) {
    self.look = look
    self.layout = layout
    (self.table, self.question, self.title) = (table, question, title)
    paint = Paint(look)
    let fresh = question.flatMap(look.bestMap)
    let old = look.known.lastMap.flatMap { $0.field == look.mapField ? $0.map : nil }
    // While a live source grows, the picture of a moment ago is near enough until the next one is
    // there.
    let grows = look.live != nil
    map = fresh ?? old.flatMap { grows || $0.window == look.viewpoint.window ? $0 : nil }
    isStale = fresh == nil && (!grows || map == nil)
    scale = map.map { HeatScale($0, look.viewpoint, wholeTop: look.wholeTop) }
    let style = look.mapLook
    shade =
      look.viewpoint.field == nil
      ? nil : map.map { FieldShade($0, style, look.viewpoint, wholeTop: look.wholeTop) }
  }

  /// From back to front: frame, heat, blocks, axes, mass, legend, what is awaited.
  func draw(on grid: inout Grid) {
    let left = Fitted.name(title?.left ?? mapTitle, layout.panel.width - 4)
    let room = layout.panel.width - 8 - Width.of(left)
    let right = title?.right ?? decided.first { Width.of($0) <= room } ?? ""
    Panel(left, right: right, style: paint.dim, unicode: paint.unicode)
      .draw(in: layout.panel, on: &grid)
    guard !layout.plot.isEmpty else { return }
    if title == nil { Minimap(look)?.drawThumbs(layout, on: &grid) }
    drawHeat(&grid)
    if scale != nil, look.viewpoint.overlay != .none { drawSkipped(&grid) }
    MapAxes(look, layout).draw(on: &grid)
    MapSides(look, layout).draw(scale, on: &grid)
    drawSpark(&grid)
    drawLegend(&grid)
    if isStale || map?.sampled != nil { drawWaiting(&grid) }
  }

  /// What is on the map: the pattern, or a field of the method in force.
  private var mapTitle: String {
    guard let name = look.viewpoint.field, let setting = look.methodInForce else {
      let names = look.poolNames.map { "Map: \($0)" } + ["Map"]
      return names.first { Width.of($0) <= layout.panel.width - 8 } ?? "Map"
    }
    let title = look.findings(look.viewpoint.head)?[name]?.title ?? name
    return "\(setting.id): \(title)"
  }

  /// What decides the blocks on the map, from long to short: lambda and tile, or the method in
  /// force with its knobs and the tile of its blocks.
  private var decided: [String] {
    guard title != nil || look.hasBlocksOnMap else {
      return ["blocks are drawn of one head", "no blocks"]
    }
    guard !look.isByTable, let setting = look.methodInForce else {
      let spec = look.viewpoint.spec
      let name = layout.panel.width >= 70 ? spec.presetName.map { "\($0) " } ?? "" : ""
      let lambda = "\(paint.lambda)=\(Self.lambdaText(look.viewpoint.lambda))"
      // Without a panel beside the map the number that people come for stands here.
      guard title == nil, let table, ScreenLayout(look).side.isEmpty else {
        return ["\(lambda) \(name)\(spec.description)", lambda]
      }
      let pruned = "\(Numbers.percent(table.sparsity(look.lambda))) pruned"
      return ["\(pruned)  \(lambda) \(spec.description)", "\(pruned)  \(lambda)", pruned]
    }
    let tile = table.map { "\($0.spec.rows)x\($0.spec.keys)" }
    func words(_ parts: String?...) -> String { parts.compactMap { $0 }.joined(separator: " ") }
    guard look.viewpoint.field == nil else {
      let knobs =
        setting.knobs.isEmpty
        ? nil : String(setting.description.dropFirst(setting.id.count + 1))
      return [words(knobs, tile), words(tile)]
    }
    return [words(setting.description, tile), words(setting.id, tile), setting.id]
  }

  /// Lambda as titles write it.
  static func lambdaText(_ lambda: Double) -> String {
    lambda == 0 ? "0 (dense)" : Numbers.threshold(lambda)
  }

  // MARK: Heat

  /// Two pixels a cell where the terminal can; entries that no query may see are dotted.
  private func drawHeat(_ grid: inout Grid) {
    if let shade {
      shade.draw(paint, pixelsPerCell: layout.pixelsPerCell, in: layout.plot, on: &grid)
      return
    }
    guard let scale else { return }
    let plot = layout.plot, pixels = layout.pixelRows
    for y in 0..<plot.height {
      for x in 0..<plot.width {
        let column = x * scale.columns / plot.width
        let top = scale[min(scale.rows - 1, y * layout.pixelsPerCell * scale.rows / pixels), column]
        let below = (y * layout.pixelsPerCell + layout.pixelsPerCell - 1) * scale.rows / pixels
        let cell = paint.cell(top: top, bottom: scale[min(scale.rows - 1, below), column])
        // What no query may see stays empty but for a few dots, so that it never reads as "zero".
        let isDot = cell == .blank && top.isNaN && (x + 2 * y) % 4 == 0
        grid[plot.x + x, plot.y + y] = isDot ? Cell(paint.unicode ? "·" : " ", paint.faint) : cell
      }
    }
  }

  /// Marks every other cell of a skipped block, so that the heat stays visible between the marks;
  /// small blocks get every mark.
  private func drawSkipped(_ grid: inout Grid) {
    guard let table else { return }
    guard table.isFixed || look.viewpoint.lambda > 0 || look.viewpoint.overlay == .grid else {
      return
    }
    let skips = SkipLookup(table, look.lambda)
    let window = look.viewpoint.window, plot = layout.plot
    for y in plot.y..<plot.maxY {
      let queries = layout.queries(y, window)
      for x in plot.x..<plot.maxX {
        let keys = layout.keys(x, window)
        switch skips.share(queries, keys) {
        case .all where (x + y) % 2 == 0 || skips.isSmall(queries, keys):
          grid[x, y] = paint.mark(paint.cross, over: grid[x, y])
        case .some where (x + y) % 2 == 0:
          grid[x, y] = paint.mark(paint.partialCross, over: grid[x, y])
        default: break
        }
        guard look.viewpoint.overlay == .grid, skips.isWide(queries, keys),
          skips.isCorner(queries, keys)
        else { continue }
        grid[x, y] = paint.mark(paint.unicode ? "┼" : "+", over: grid[x, y], (255, 16))
      }
    }
  }

  // MARK: Marginal and legend

  /// Under the map: how much each key column holds, of what is shown.
  private func drawSpark(_ grid: inout Grid) {
    guard let y = layout.spark, let map else { return }
    if title == nil, let strip = look.tokenStrip { return drawStrip(strip, y, &grid) }
    grid.put(endingAt: layout.plot.x - 1, layout.gutter >= 6 ? "mass" : "m", y, paint.dim)
    var sums = [Double](repeating: 0, count: map.columns)
    for r in 0..<map.rows {
      let rows = Double(map.rowEdges[r + 1] - map.rowEdges[r])
      for c in 0..<map.columns {
        let value = map.mean[r * map.columns + c]
        if !value.isNaN {
          sums[c] += Double(value) * rows * Double(map.keyEdges[c + 1] - map.keyEdges[c])
        }
      }
    }
    let top = sums.max() ?? 0
    let values = sums.map { top > 0 ? ($0 / top).squareRoot() : 0 }
    Sparkline(values, style: paint.accent, unicode: paint.unicode)
      .draw(in: Rect(x: layout.plot.x, y: y, width: layout.plot.width, height: 1), on: &grid)
  }

  /// Under the map: what the method in force says of each key that is shown.
  private func drawStrip(_ finding: Finding, _ y: Int, _ grid: inout Grid) {
    guard case .series(let axis, let values, _) = finding.content else { return }
    grid.put(
      endingAt: layout.plot.x - 1, Fitted.cut(finding.name, max(1, layout.gutter - 1)), y,
      paint.dim)
    let window = look.viewpoint.window
    let cells = (0..<layout.plot.width).map { x -> Double in
      let tokens = layout.keys(layout.plot.x + x, window)
      return axis.entries(of: tokens).map { Double(values[$0]) }.filter(\.isFinite).max() ?? .nan
    }
    let known = cells.filter(\.isFinite)
    let low = min(0, known.min() ?? 0), span = max((known.max() ?? 1) - low, 1e-300)
    Sparkline(
      cells.map { $0.isFinite ? ($0 - low) / span : 0 }, style: paint.accent,
      unicode: paint.unicode
    ).draw(in: Rect(x: layout.plot.x, y: y, width: layout.plot.width, height: 1), on: &grid)
  }

  /// The colours' ends, how they were scaled, and what the marks mean, as far as there is room.
  private func drawLegend(_ grid: inout Grid) {
    let y = layout.legend, end = layout.panel.maxX - 1
    guard let scale else { return }
    if let shade {
      let at = shade.drawLegend(paint, layout.panel.x + 1, y, end: end, on: &grid)
      // Labels stand beside their colours already.
      if case .labels = shade.look { return }
      let words = "  \(FindingText.words(shade.look))"
      if at + Width.of(words) <= end { grid.put(words, at, y, paint.dim) }
      return
    }
    var x = layout.panel.x + 1
    func put(_ text: String, _ style: Style) {
      if x + Width.of(text) <= end { x = grid.put(text, x, y, style) }
    }
    let viewpoint = look.viewpoint
    let low = viewpoint.scale == .log ? "≤" + Numbers.short(scale.low) : "0"
    let high = viewpoint.scale == .rank ? "top" : Numbers.short(scale.high)
    x = Legend(low, high).draw(paint, x, y, end: end, on: &grid)
    var words = " \(viewpoint.scale.rawValue) \(viewpoint.pooling.rawValue)"
    if viewpoint.normaliseRows { words += " by row" }
    if let muted = map?.muted { words += " key \(muted) muted" }
    put(words, paint.dim)
    // A sign without its meaning is worse than none.
    func put(_ sign: Unicode.Scalar, _ meaning: String) {
      guard x + 3 + Width.of(meaning) <= end else { return }
      put("  \(sign)", paint.pruned)
      put(meaning, paint.dim)
    }
    if viewpoint.overlay != .none, title != nil || look.hasBlocksOnMap {
      put(paint.cross, " pruned")
      put(paint.partialCross, " in part")
    }
    if look.source.visibility.causal {
      put("  \(paint.unicode ? "·" : "blank") not visible", paint.dim)
    }
  }

  /// A bar at the top of the plot: why there is no picture, or how good the present one is.
  private func drawWaiting(_ grid: inout Grid) {
    let why = question.flatMap(look.refusal)
    var texts = [why ?? (look.isStopped ? "stopped" : "computing…")]
    if why == nil, let question, let map, let sampled = map.sampled, !isStale {
      texts = self.texts(
        "sampled", rows: map.window.queries.count / max(1, map.rows * sampled), question)
    }
    // The longest that fits.
    let text = texts.first { Width.of($0) + 2 <= layout.plot.width } ?? texts[texts.count - 1]
    let x = layout.plot.x + max(0, (layout.plot.width - Width.of(text) - 2) / 2)
    grid.put(" \(text) ", x, layout.plot.y, paint.bar, limit: max(0, layout.plot.maxX - x))
  }

  /// What a sampled picture says of itself, from long to short.
  private func texts(_ name: String, rows: Int, _ question: Question) -> [String] {
    let facts = "\(name): 1 row in \(rows)"
    if look.isStopped { return [facts + ", stopped", "\(name), stopped"] }
    guard let working = look.workingNow, working.question == question else {
      return [facts, name]
    }
    let share = working.state.share
    return [
      "\(facts)  exact: \(bar(share)) \(working.state.text)",
      "\(name) \(bar(share)) \(working.state.text)", "\(name) \(bar(share))", name,
    ]
  }

  /// A share as ten blocks.
  private func bar(_ share: Double) -> String {
    let full = Int((Numbers.unit(share) * 10).rounded(.down))
    return String(repeating: paint.unicode ? "█" : "#", count: full)
      + String(repeating: paint.unicode ? "░" : ".", count: 10 - full)
  }
}

/// Whether the blocks under a cell are skipped.
///
/// Cells and blocks rarely have the same size, so that a cell may hold some of each.
struct SkipLookup {
  /// None, some or all of the blocks under a cell are skipped.
  enum Share { case none, some, all }

  private let table: BlockTable
  private let mask: BlockMask

  /// The mask of one lambda, made once a picture.
  init(_ table: BlockTable, _ lambda: Lambda) {
    self.table = table
    mask = table.mask(lambda)
  }

  /// Blocks that nobody sees do not count; a cell without any visible one has none skipped.
  func share(_ queries: Range<Int>, _ keys: Range<Int>) -> Share {
    var skipped = false, computed = false
    for i in queries.lowerBound / table.spec.rows...max(queries.lowerBound, queries.upperBound - 1)
      / table.spec.rows
    {
      for j in keys.lowerBound / table.spec.keys...max(keys.lowerBound, keys.upperBound - 1)
        / table.spec.keys
      {
        guard i < table.rowTiles, j < table.keyTiles else { continue }
        switch mask[i, j] {
        case .skipped: skipped = true
        case .computed: computed = true
        case .invisible: break
        }
      }
    }
    return skipped ? (computed ? .some : .all) : .none
  }

  /// A block is about as small as the cell, so that every mark counts.
  func isSmall(_ queries: Range<Int>, _ keys: Range<Int>) -> Bool {
    queries.count * 2 > table.spec.rows || keys.count * 2 > table.spec.keys
  }

  /// Blocks are wide enough for their corners to leave room between them.
  func isWide(_ queries: Range<Int>, _ keys: Range<Int>) -> Bool {
    table.spec.rows >= 2 * queries.count && table.spec.keys >= 3 * keys.count
  }

  /// The cell holds the upper left corner of a block.
  func isCorner(_ queries: Range<Int>, _ keys: Range<Int>) -> Bool {
    let row = (queries.lowerBound + table.spec.rows - 1) / table.spec.rows * table.spec.rows
    let key = (keys.lowerBound + table.spec.keys - 1) / table.spec.keys * table.spec.keys
    return queries.contains(row) && keys.contains(key) && row > 0 && key > 0
  }
}
