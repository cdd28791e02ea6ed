import Attention
import Canvas

/// sparsity(lambda) of a head, read off its margins, with the cursor at the current lambda.
///
/// Two points a column, since braille has two dots. The axis is logarithmic: deployed lambdas lie
/// decades apart. A stored mask or an lse table has no curve, and says so.
struct CurvePlot {
  private let look: Look
  private let paint: Paint
  /// log10 lambda at the left edge; the right edge is lambda = 1.
  static let left = -10.0

  /// Reads the look.
  init(_ look: Look) {
    self.look = look
    paint = Paint(look)
  }

  private var table: BlockTable? { look.table(look.viewpoint.head) }

  /// The curve with its axis, from 10^-10 to 1; nothing below two rows.
  func draw(in rect: Rect, on grid: inout Grid) {
    guard let table, rect.height >= 2 else { return }
    guard !table.isFixed else {
      grid.put(
        "no curve: the mask has no margins", rect.x + 1, rect.y, paint.dim, limit: rect.width - 2)
      return
    }
    guard table.madeFor == nil else {
      grid.put(
        "no curve: lse margins hold for this \(paint.lambda) alone", rect.x + 1, rect.y, paint.dim,
        limit: rect.width - 2)
      return
    }
    let plot = Self.plot(rect)
    let steps = max(plot.width * 2, 2)
    let points = (0..<steps).map { step in
      let x = Double(step) / Double(steps - 1)
      let lambda = (try? Lambda(Scale.pow10(Self.left * (1 - x)))) ?? (try! Lambda(1))
      return (x: x, y: table.sparsity(lambda))
    }
    BrailleCurve(points, style: paint.accent, unicode: paint.unicode).draw(in: plot, on: &grid)
    grid.put(endingAt: plot.x - 1, "100 %", plot.y, paint.dim)
    if plot.height > 2 { grid.put(endingAt: plot.x - 1, "0 %", plot.maxY - 1, paint.dim) }
    drawAxis(plot, on: &grid)
  }

  /// The curve itself, beside its percentages and above its axis.
  private static func plot(_ rect: Rect) -> Rect {
    let gutter = 6
    return Rect(
      x: rect.x + gutter, y: rect.y, width: rect.width - gutter - 1, height: rect.height - 1)
  }

  /// The lambda under a place of the curve or of its axis, to a quarter of a decade; nil elsewhere,
  /// and where no curve is drawn.
  func lambda(x: Int, y: Int, in rect: Rect) -> Double? {
    let plot = Self.plot(rect)
    guard let table, !table.isFixed, table.madeFor == nil, rect.height >= 2, plot.width > 1,
      Rect(x: plot.x, y: plot.y, width: plot.width, height: plot.height + 1).contains(x, y)
    else { return nil }
    let exponent = Self.left * (1 - Double(x - plot.x) / Double(plot.width - 1))
    return exponent == 0 ? 1 : Scale.pow10((exponent * 4).rounded() / 4)
  }

  /// Every second decade that does not collide with its neighbour or with the cursor.
  private func drawAxis(_ plot: Rect, on grid: inout Grid) {
    var end = plot.x - 1
    for exponent in stride(from: Int(Self.left), through: 0, by: 2) {
      let x = plot.x + Int((1 - Double(exponent) / Self.left) * Double(plot.width - 1))
      let text = exponent == 0 ? "1" : "e\(exponent)"
      let at = min(x, plot.maxX - text.count)
      let isCovered = cursor(plot).map { (at - 1...at + text.count).contains($0) } ?? false
      guard at > end, !isCovered else { continue }
      end = grid.put(text, at, plot.maxY, paint.dim)
    }
    guard let x = cursor(plot) else { return }
    for y in plot.y..<plot.maxY where grid[x, y].glyph == " " {
      grid[x, y] = Cell(paint.unicode ? "┊" : ":", paint.pruned)
    }
    grid[x, plot.maxY] = Cell(paint.unicode ? "▲" : "^", paint.pruned)
  }

  /// The column of the current lambda.
  private func cursor(_ plot: Rect) -> Int? {
    guard look.viewpoint.lambda > 0 else { return nil }
    let at = 1 - Scale.log10(look.viewpoint.lambda) / Self.left
    return at >= 0 ? plot.x + Int(at * Double(plot.width - 1)) : nil
  }
}
