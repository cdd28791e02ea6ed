extension Painter {
  /// One shape over what is there; one that cannot be drawn is left out.
  mutating func draw(_ shape: Shape) {
    switch shape {
    case .rect(let x, let y, let width, let height, let fill, let stroke, let strokeWidth):
      guard Shape.areNumbers(x, y, width, height), width >= 0, height >= 0 else { return }
      box(x, y, x + width, y + height, fill, stroke, strokeWidth)
    case .cells(let x, let y, let width, let height, let columns, let rows, let colors, _):
      let grid = CellGrid(
        x: x, y: y, width: width, height: height, columns: columns, rows: rows, colors: colors)
      if let grid { cells(grid) }
    case .crosses(let marks, let color, let halo, _):
      crosses(CrossPen(marks), color, halo)
    case .line(let x1, let y1, let x2, let y2, let color, let width, let dash):
      guard Shape.areNumbers(x1, y1, x2, y2), width > 0 else { return }
      line((x1 * scale, y1 * scale), (x2 * scale, y2 * scale), color, width * scale, dash)
    case .polyline(let points, let color, let width):
      let kept = points.filter { Shape.areNumbers($0.x, $0.y) }
      guard width > 0 else { return }
      curve(kept.map { ($0.x * scale, $0.y * scale) }, width: width * scale)
      ink(color)
    case .text(let text, let x, let y, let size, let anchor, let color, let bold, let rotation):
      guard Shape.areNumbers(x, y, size, rotation), size > 0 else { return }
      let place = TextPlace(
        x: x * scale, y: y * scale, size: size * scale, anchor: anchor, bold: bold,
        rotation: rotation)
      for stroke in place.strokes(text) { curve(stroke, width: place.pen(stroke)) }
      ink(color)
    }
  }

  /// A length in points as the nearest boundary of device pixels.
  private func device(_ value: Double) -> Int { snapped(value * scale) }

  /// Four windows make the stroke, one device pixel thick at least, so that it never fades.
  private mutating func box(
    _ left: Double, _ top: Double, _ right: Double, _ bottom: Double, _ color: RGB?, _ stroke: RGB?,
    _ strokeWidth: Double
  ) {
    let window = Window(
      left: device(left), top: device(top), right: device(right), bottom: device(bottom))
    if let color { fill(window, color) }
    guard let stroke, strokeWidth > 0 else { return }
    let pen = max(1, snapped(strokeWidth * scale))
    let (l, t) = (window.left - pen / 2, window.top - pen / 2)
    let (r, b) = (window.right - pen / 2, window.bottom - pen / 2)
    fill(Window(left: l, top: t, right: r + pen, bottom: t + pen), stroke)
    fill(Window(left: l, top: b, right: r + pen, bottom: b + pen), stroke)
    fill(Window(left: l, top: t, right: l + pen, bottom: b + pen), stroke)
    fill(Window(left: r, top: t, right: r + pen, bottom: b + pen), stroke)
  }

  /// Run by run; edges snapped once a column, so that no seam opens between rows.
  private mutating func cells(_ grid: CellGrid) {
    let lefts = (0...grid.drawnColumns).map { device(grid.left($0)) }
    for row in 0..<grid.rows {
      let (top, bottom) = (device(grid.top(row)), device(grid.top(row + 1)))
      for run in grid.runs(row) {
        let (left, right) = (lefts[run.columns.lowerBound], lefts[run.columns.upperBound])
        fill(Window(left: left, top: top, right: right, bottom: bottom), run.color)
      }
    }
  }

  /// All rims first, then all crosses: a rim never lies over a neighbour's cross.
  private mutating func crosses(_ pen: CrossPen, _ color: RGB, _ halo: RGB?) {
    for (color, width) in [(halo, pen.haloWidth), (color, pen.width)] {
      guard let color else { continue }
      for mark in pen.marks {
        for arm in pen.arms(mark) {
          stroke(
            Segment(
              arm.x1 * scale, arm.y1 * scale, arm.x2 * scale, arm.y2 * scale, width: width * scale,
              round: true))
        }
      }
      ink(color)
    }
  }

  /// An upright line moves to whole pixels across, so that it is as crisp as the boxes it stands
  /// by.
  private mutating func line(
    _ from: (x: Double, y: Double), _ to: (x: Double, y: Double), _ color: RGB, _ width: Double,
    _ dash: Double?
  ) {
    var (from, to, width) = (from, to, width)
    if from.x == to.x || from.y == to.y, width >= 0.75 {
      width = width.rounded()
      let shift = width.truncatingRemainder(dividingBy: 2) / 2
      if from.x == to.x {
        from.x = (from.x - shift).rounded() + shift
        to.x = from.x
      } else {
        from.y = (from.y - shift).rounded() + shift
        to.y = from.y
      }
    }
    for (start, end) in Self.dashes(from, to, length: (dash ?? 0) * scale) {
      stroke(Segment(start.x, start.y, end.x, end.y, width: width, round: false))
    }
    ink(color)
  }

  /// Device pixels.
  typealias Point = (x: Double, y: Double)

  /// The dashes of a line, the first at its start. A length of 0, or so many that they would be a
  /// grey haze, gives one.
  private static func dashes(_ from: Point, _ to: Point, length: Double) -> [(Point, Point)] {
    let (dx, dy) = (to.x - from.x, to.y - from.y)
    let whole = (dx * dx + dy * dy).squareRoot()
    guard length > 0, whole > length, whole / length < 20_000 else { return [(from, to)] }
    return stride(from: 0, to: whole, by: 2 * length).map { start in
      let (a, b) = (start / whole, min(whole, start + length) / whole)
      return ((from.x + a * dx, from.y + a * dy), (from.x + b * dx, from.y + b * dy))
    }
  }

  /// Marks a curve drawn with a round pen; a single point is a dot.
  private mutating func curve(_ points: [Point], width: Double) {
    if points.count == 1 {
      stroke(
        Segment(points[0].x, points[0].y, points[0].x, points[0].y, width: width, round: true))
    }
    for (a, b) in zip(points, points.dropFirst()) {
      stroke(Segment(a.x, a.y, b.x, b.y, width: width, round: true))
    }
  }
}
