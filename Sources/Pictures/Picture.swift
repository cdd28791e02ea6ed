/// A figure as a value: its size, its words for people who cannot see it, and its shapes from back
/// to front.
///
///     var picture = Picture(
///       width: 200, height: 100, background: RGB(hex: 0xffffff), title: "Map", summary: "")
///     picture.shapes.append(
///       .text(
///         "a", x: 10, y: 20, size: 11, anchor: .start, color: RGB(0, 0, 0), bold: false,
///         rotation: 0))
///     picture.svg                                          // a file
///     try picture.pixels(scale: 2).png(dpi: 192, title: picture.title)   // another
///
/// Lengths are points (CSS pixels, 96 to the inch), x to the right and y down. The same picture
/// gives the same bytes on every machine: nothing here asks for a font, a locale or a clock.
public struct Picture: Sendable {
  /// In points.
  public var width: Double
  /// In points.
  public var height: Double
  /// nil: transparent.
  public var background: RGB?
  /// A few words; the file's title.
  public var title: String
  /// What the figure shows, in a sentence or two, for screen readers.
  public var summary: String
  /// From back to front.
  public var shapes: [Shape]

  /// Without shapes and transparent, unless told otherwise; sizes in points.
  public init(
    width: Double, height: Double, background: RGB? = nil, title: String, summary: String,
    shapes: [Shape] = []
  ) {
    (self.width, self.height) = (width, height)
    self.background = background
    (self.title, self.summary) = (title, summary)
    self.shapes = shapes
  }
}

/// Which part of a text stands at its x: its first edge, its middle or its last.
public enum Anchor: Sendable, Hashable { case start, middle, end }

/// One thing to draw. Shapes with a coordinate that is no number are left out.
public enum Shape: Sendable {
  /// A box; its stroke is centred on the edge. In pixels, edges are moved to whole device pixels.
  case rect(
    x: Double, y: Double, width: Double, height: Double, fill: RGB?, stroke: RGB?,
    strokeWidth: Double)
  /// Cells of one size in a grid: `width` and `height` are those of the whole grid, `colors` has a
  /// colour for each cell, row after row from the top; nil cells are not drawn. Cells that are
  /// narrower than a device pixel may vanish from the pixels, so a map should be pooled to its size
  /// first.
  case cells(
    x: Double, y: Double, width: Double, height: Double, columns: Int, rows: Int, colors: [RGB?],
    id: String)
  /// A cross × in the middle of each block, with a rim in the colour `halo` so that it is seen on
  /// any colour.
  case crosses([Mark], color: RGB, halo: RGB?, id: String)
  /// A straight line with blunt ends; `dash` is the length of a dash and of the gap after it.
  case line(
    x1: Double, y1: Double, x2: Double, y2: Double, color: RGB, width: Double, dash: Double?)
  /// A curve through points, with round ends and corners.
  case polyline([(x: Double, y: Double)], color: RGB, width: Double)
  /// One line of text; `y` is its baseline, `rotation` degrees clockwise about (x, y), as in SVG:
  /// -90 reads upwards.
  case text(
    String, x: Double, y: Double, size: Double, anchor: Anchor, color: RGB, bold: Bool,
    rotation: Double)
}

/// A block of an attention map that gets a cross: where it is in the map and where in the figure.
public struct Mark: Sendable, Hashable {
  /// Row of the block in the map, from 0.
  public var row: Int
  /// Column of the block in the map, from 0.
  public var column: Int
  /// Left edge in the figure, in points.
  public var x: Double
  /// Upper edge in the figure, in points.
  public var y: Double
  /// In points.
  public var width: Double
  /// In points.
  public var height: Double

  /// A block of the map and its box in the figure.
  public init(row: Int, column: Int, x: Double, y: Double, width: Double, height: Double) {
    (self.row, self.column) = (row, column)
    (self.x, self.y, self.width, self.height) = (x, y, width, height)
  }
}

/// The geometry of crosses, one for the SVG and the pixels.
struct CrossPen {
  /// Marks that can be drawn.
  let marks: [Mark]
  /// Thickness of a cross, in points.
  let width: Double
  /// Thickness of its rim, both sides and the cross between them.
  let haloWidth: Double

  /// One pen for all marks, fitted to the smallest, so that a row of crosses looks even.
  init(_ all: [Mark]) {
    marks = all.filter {
      $0.x.isFinite && $0.y.isFinite && $0.width.isFinite && $0.height.isFinite && $0.width > 0
        && $0.height > 0
    }
    let side = marks.map { min($0.width, $0.height) }.min() ?? 0
    width = min(1.4, max(0.4, 0.13 * side))
    haloWidth = width + min(1.6, max(0.5, 0.16 * side))
  }

  /// Half the side of the square that the arms of a cross span.
  func reach(_ mark: Mark) -> Double { min(4.5, 0.27 * min(mark.width, mark.height)) }

  /// The two arms, each from end to end.
  func arms(_ mark: Mark) -> [(x1: Double, y1: Double, x2: Double, y2: Double)] {
    let (x, y, r) = (mark.x + mark.width / 2, mark.y + mark.height / 2, reach(mark))
    return [(x - r, y - r, x + r, y + r), (x - r, y + r, x + r, y - r)]
  }
}
