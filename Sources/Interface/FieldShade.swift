import Analysis
import Attention
import Canvas

/// A picture of a field ready for colouring, by how the field is to be looked at.
///
/// One place decides what the ends of a scale are, for screens and their legends alike: weights by
/// the chosen scale, signed values symmetrically about zero, kept entries 0 to 1, sizes from zero
/// to the largest seen.
struct FieldShade {
  /// Values of one sign, or of both.
  private enum Kind {
    case heat(HeatScale)
    case signed(SignedScale)
  }

  private let kind: Kind
  /// How the field asks to be looked at.
  let look: FieldLook
  /// What the lower end of the legend stands for.
  let low: Double
  /// What the upper end stands for.
  let high: Double

  /// `wholeTop` is the largest size in the whole map, so that zooming does not change colours.
  init(_ map: PooledMap, _ look: FieldLook, _ viewpoint: Viewpoint, wholeTop: Float? = nil) {
    self.look = look
    switch look {
    case .weights:
      let scale = HeatScale(map, viewpoint, wholeTop: wholeTop)
      (kind, low, high) = (.heat(scale), scale.low, scale.high)
    case .signed:
      let values = viewpoint.pooling == .max ? map.max : map.mean
      let scale = SignedScale(
        values, rows: map.rows, columns: map.columns, viewpoint.scale, wholeTop: wholeTop)
      (kind, low, high) = (.signed(scale), -scale.top, scale.top)
    case .kept, .magnitude, .labels:
      let values = look == .kept || viewpoint.pooling == .max ? map.max : map.mean
      var (least, most) = Self.range(values)
      switch look {
      case .kept: (least, most) = (0, 1)
      case .labels(let names): (least, most) = (0, Float(max(1, names.count - 1)))
      default: break
      }
      (kind, low, high) = (
        .heat(HeatScale(values, rows: map.rows, columns: map.columns, low: least, high: most)),
        Double(least), Double(most)
      )
    }
  }

  /// Means of either sign on a scale that ends where another picture's does; larger ones have its
  /// last colour.
  init(_ map: PooledMap, signedTo top: Float, _ scale: Viewpoint.Scale) {
    look = .signed
    let signed = SignedScale(
      map.mean, rows: map.rows, columns: map.columns, scale, end: top)
    (kind, low, high) = (.signed(signed), -signed.top, signed.top)
  }

  /// From the least finite value, at most 0, to the largest; never an empty span.
  private static func range(_ values: [Float]) -> (Float, Float) {
    let known = values.filter(\.isFinite)
    return (min(0, known.min() ?? 0), max(known.max() ?? 1, 1e-30))
  }

  /// Rows of the picture.
  var rows: Int {
    switch kind {
    case .heat(let scale): scale.rows
    case .signed(let scale): scale.rows
    }
  }

  /// Columns of the picture.
  var columns: Int {
    switch kind {
    case .heat(let scale): scale.columns
    case .signed(let scale): scale.columns
    }
  }

  /// -1...1 of a signed field, 0...1 of others; NaN where there is nothing to see.
  func value(_ row: Int, _ column: Int) -> Float {
    switch kind {
    case .heat(let scale): scale[row, column]
    case .signed(let scale): scale[row, column]
    }
  }

  /// Colours are centred on zero.
  var isSigned: Bool { if case .signed = kind { true } else { false } }

  /// Exactly zero, and not merely small: only signed fields tell them apart.
  func isZero(_ row: Int, _ column: Int) -> Bool {
    if case .signed(let scale) = kind { scale.isZero(row, column) } else { false }
  }

  /// Draws the picture into a rectangle, two pixels a cell where the terminal can.
  /// The picture is stretched over the rectangle; the nearest row and column is shown, nothing is
  /// averaged again.
  func draw(_ paint: Paint, pixelsPerCell: Int, in plot: Rect, on grid: inout Grid) {
    let pixels = plot.height * pixelsPerCell
    guard rows > 0, columns > 0, pixels > 0 else { return }
    for y in 0..<plot.height {
      let top = min(rows - 1, y * pixelsPerCell * rows / pixels)
      let below = min(rows - 1, (y * pixelsPerCell + pixelsPerCell - 1) * rows / pixels)
      for x in 0..<plot.width {
        let column = x * columns / plot.width
        grid[plot.x + x, plot.y + y] = cell(paint, top, below, column)
      }
    }
  }

  /// Two values as one cell; where both are exactly zero a faint 0 stands, or a wide band of zeros
  /// would read as small values.
  private func cell(_ paint: Paint, _ top: Int, _ below: Int, _ column: Int) -> Cell {
    let (a, b) = (value(top, column), value(below, column))
    guard isSigned else { return paint.cell(top: a, bottom: b) }
    if isZero(top, column), isZero(below, column) { return Cell("0", paint.faint) }
    return paint.signed(top: a, bottom: b)
  }

  /// The ramp of a legend from `x` on; where it ends.
  /// Labels get a swatch each; everything else a ramp between two numbers. What does not fit is
  /// left out from the right.
  func drawLegend(_ paint: Paint, _ x: Int, _ y: Int, end: Int, on grid: inout Grid) -> Int {
    var at = x
    func put(_ text: String) {
      if at + Width.of(text) <= end { at = grid.put(text, at, y, paint.dim) }
    }
    if case .labels(let names) = look {
      for (index, name) in names.enumerated() where at + Width.of(name) + 4 <= end {
        grid[at, y] = paint.shade(Float(index) / Float(max(1, names.count - 1)))
        at = grid.put(" \(name)  ", at + 1, y, paint.dim)
      }
      return at
    }
    put("\(Numbers.short(low)) ")
    for step in 0..<12 where at < end {
      let t = Float(step) / 11
      grid[at, y] = isSigned ? paint.signed(top: 2 * t - 1, bottom: 2 * t - 1) : paint.shade(t)
      at += 1
    }
    put(" \(Numbers.short(high))")
    put(isSigned ? "  0 exactly zero" : "")
    return at
  }
}
