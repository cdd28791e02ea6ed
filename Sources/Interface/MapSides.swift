import Analysis
import Attention
import Canvas
import Sessions

/// Beside the map, line by line: the column of a learned sink on the left, and a number of every
/// query on the right.
struct MapSides {
  private let look: Look
  private let paint: Paint
  private let layout: MapLayout

  /// Reads the look; `layout` says where the plot is and whether there is room.
  init(_ look: Look, _ layout: MapLayout) {
    (self.look, self.layout) = (look, layout)
    paint = Paint(look)
  }

  /// After the axes. `scale` is that of the map: a sink and a key of one weight have one colour.
  func draw(_ scale: HeatScale?, on grid: inout Grid) {
    if layout.sink > 0 { drawSink(scale, on: &grid) }
    if layout.strip > 0 { drawStrip(on: &grid) }
  }

  /// The sink takes its share before any key does, and so it stands first.
  private func drawSink(_ scale: HeatScale?, on grid: inout Grid) {
    let x = layout.panel.x + 1, plot = layout.plot
    grid.put("sink", x, layout.axis, paint.accent)
    guard let scale,
      let map = look.factQuestion(.learnedSink, lines: layout.pixelRows).flatMap(look.map)
    else { return }
    let values = look.viewpoint.pooling == .max ? map.max : map.mean
    func shade(_ pixel: Int) -> Float {
      let row = min(map.rows - 1, pixel * map.rows / max(layout.pixelRows, 1))
      return scale.shade(values[row], look.viewpoint)
    }
    for y in 0..<plot.height {
      let first = y * layout.pixelsPerCell
      let cell = paint.cell(top: shade(first), bottom: shade(first + layout.pixelsPerCell - 1))
      for column in 0..<2 { grid[x + column, plot.y + y] = cell }
    }
  }

  /// A bar a line, and what a full one stands for in the line below.
  private func drawStrip(on grid: inout Grid) {
    let plot = layout.plot, x = plot.maxX + 1, width = layout.strip - 1
    grid.put(look.viewpoint.strip.short, x, layout.axis, paint.dim, limit: width)
    let values = stripValues
    let most = look.viewpoint.strip == .kept ? 1 : values.filter(\.isFinite).max() ?? 0
    if let y = layout.spark, most > 0 {
      grid.put(Fitted.cut(Numbers.short(most), width), x, y, paint.dim, limit: width)
    }
    guard most > 0 else { return }
    for (line, value) in values.enumerated() where value.isFinite {
      let text = Self.bar(value / most, width, unicode: paint.unicode)
      grid.put(text, x, plot.y + line, paint.accent, limit: width)
    }
  }

  /// A number of every line; NaN where there is none.
  private var stripValues: [Double] {
    let plot = layout.plot, window = look.viewpoint.window
    if let fact = look.stripFact {
      guard let map = look.factQuestion(fact, lines: plot.height).flatMap(look.map) else {
        return []
      }
      return (0..<plot.height).map {
        Double(map.mean[min(map.rows - 1, $0 * map.rows / max(plot.height, 1))])
      }
    }
    guard look.isByTable, let table = look.mapTable, !table.isFixed else { return [] }
    let mask = table.mask(look.lambda)
    return (0..<plot.height).map {
      Look.keptShare(layout.queries(plot.y + $0, window), table, mask) ?? .nan
    }
  }

  /// A share as eighths of cells from the left.
  static func bar(_ share: Double, _ width: Int, unicode: Bool) -> String {
    let eighths = Int((Numbers.unit(share) * Double(8 * width)).rounded())
    guard unicode else { return String(repeating: "#", count: (eighths + 4) / 8) }
    let rest = eighths % 8, parts = Array("▏▎▍▌▋▊▉")
    return String(repeating: "█", count: eighths / 8) + (rest > 0 ? String(parts[rest - 1]) : "")
  }
}

extension HeatScale {
  /// The shade of a value that is not a cell of the map, by the same ends; of ranks linearly.
  func shade(_ value: Float, _ viewpoint: Viewpoint) -> Float {
    guard value.isFinite, high > 0 else { return value }
    let share = Double(value) / high
    guard viewpoint.scale == .log else { return Float(min(max(share, 0), 1)) }
    guard share > 0 else { return 0 }
    return Float(min(max(1 + Scale.log10(share) / Self.decades, 0), 1))
  }
}

extension Viewpoint.Strip {
  /// Four letters, for the head of the strip.
  var short: String {
    switch self {
    case .off: ""
    case .keys: "keys"
    case .distance: "away"
    case .kept: "kept"
    }
  }

  /// What it shows, for the caption.
  var words: String {
    switch self {
    case .off: "Nothing stands beside the map."
    case .keys: "Beside the map: how many keys a query reads, exp(entropy)."
    case .distance: "Beside the map: how far away a query reads, in tokens, the mean."
    case .kept: "Beside the map: the share of mass in computed blocks, by rows of blocks."
    }
  }
}
