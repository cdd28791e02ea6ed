import Glibc

/// The built-in font as layout sees it.
public enum Strokes {
  /// The width of a text in points, about that of Helvetica.
  public static func width(_ text: String, size: Double, bold: Bool) -> Double {
    size * Pen(bold: bold).width(text)
  }
}

/// How the grid of the glyphs becomes lengths of one em.
struct Pen {
  /// The thickness of the pen, and the units of the grid across, up, and of the blank sides.
  let thickness, across, up, side: Double

  /// The outer height of capitals, pen and all.
  static let capHeight = 0.717

  /// Measures that look like Helvetica's, so that a figure's layout also fits an SVG whose reader
  /// has such a font.
  init(bold: Bool) {
    thickness = bold ? 0.122 : 0.082
    across = bold ? 0.073 : 0.069
    side = bold ? 0.052 : 0.068
    up = (Self.capHeight - thickness) / 10
  }

  /// How far a glyph moves the pen on.
  func advance(_ glyph: Glyph) -> Double {
    let span = glyph.span
    return (glyph.left + glyph.right) * side + (span.right - span.left) * across + thickness
  }

  /// The width of a text, in ems.
  func width(_ text: String) -> Double {
    text.unicodeScalars.reduce(0) { $0 + advance(Glyphs.glyph($1)) }
  }
}

/// Where a text stands in device pixels, and how it is turned.
struct TextPlace {
  private let origin: GlyphPoint
  private let size: Double
  private let anchor: Anchor
  private let shape: Pen
  private let cosine, sine: Double

  /// A text along the grid of pixels has its baseline on it: the feet of letters are crisp.
  init(x: Double, y: Double, size: Double, anchor: Anchor, bold: Bool, rotation: Double) {
    let quarter = rotation / 90
    if quarter == quarter.rounded() {
      let turns = Int(quarter.truncatingRemainder(dividingBy: 4)) & 3
      (cosine, sine) = [(1, 0), (0, 1), (-1, 0), (0, -1)][turns]
      let isLevel = turns % 2 == 0
      origin = GlyphPoint(x: isLevel ? x : x.rounded(), y: isLevel ? y.rounded() : y)
    } else {
      let angle = rotation.truncatingRemainder(dividingBy: 360) * .pi / 180
      (cosine, sine) = (cos(angle), sin(angle))
      origin = GlyphPoint(x: x, y: y)
    }
    (self.size, self.anchor) = (size, anchor)
    shape = Pen(bold: bold)
  }

  /// The thickness of the pen for a stroke, in device pixels; dots are a little larger, or they
  /// would look lost.
  func pen(_ stroke: [(x: Double, y: Double)]) -> Double {
    size * shape.thickness * (stroke.count == 1 ? 1.25 : 1)
  }

  /// The strokes of a text in device pixels.
  func strokes(_ text: String) -> [[(x: Double, y: Double)]] {
    var at = 0.0
    switch anchor {
    case .start: break
    case .middle: at = -shape.width(text) / 2
    case .end: at = -shape.width(text)
    }
    var out: [[(x: Double, y: Double)]] = []
    for scalar in text.unicodeScalars {
      let glyph = Glyphs.glyph(scalar)
      let first =
        at + shape.thickness / 2 + glyph.left * shape.side - glyph.span.left * shape.across
      for stroke in glyph.strokes {
        out.append(stroke.map { turned(first + $0.x * shape.across, $0.y * shape.up) })
      }
      at += shape.advance(glyph)
    }
    return out
  }

  /// From ems along and above the baseline to device pixels.
  private func turned(_ along: Double, _ above: Double) -> (x: Double, y: Double) {
    let (dx, dy) = (along * size, -(above + shape.thickness / 2) * size)
    return (origin.x + dx * cosine - dy * sine, origin.y + dx * sine + dy * cosine)
  }
}
