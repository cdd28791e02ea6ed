import Glibc

/// One sign of the built-in font: pen strokes on a grid where capitals are 10 high, small letters
/// 7, tails 3 below.
///
/// Coordinates are those of the middle of the pen, y up from the baseline. `left` and `right` are
/// the blank sides, counted from the edge of the ink, so that the space between letters does not
/// depend on the thickness of the pen.
struct Glyph: Sendable {
  /// `[strokes][points]`, in units of the grid; a stroke of one point is a dot.
  var strokes: [[GlyphPoint]]
  /// The blank side before the ink, in units of the grid.
  var left: Double
  /// The blank side after the ink, in units of the grid.
  var right: Double
  /// From the leftmost to the rightmost middle of the pen; 0 and 0 for a blank.
  var span: (left: Double, right: Double)

  /// The span follows from the strokes.
  init(_ strokes: [[GlyphPoint]], left: Double, right: Double) {
    self.strokes = strokes
    (self.left, self.right) = (left, right)
    let all = strokes.joined().map(\.x)
    span = (all.min() ?? 0, all.max() ?? 0)
  }
}

/// A place of the pen's middle, in units of the grid.
struct GlyphPoint: Sendable, Equatable {
  var x, y: Double

  static func + (a: GlyphPoint, b: GlyphPoint) -> GlyphPoint {
    GlyphPoint(x: a.x + b.x, y: a.y + b.y)
  }
}

/// Reads the notation of the glyph tables.
///
///     n 1.1 1.1 M0 7L0 0M0 4.3A2.5 4.3 2.5 2.7 180 0L5 0
///
/// The sign, its blank sides, and a path: `M x y` lifts the pen and puts it down (a dot, if nothing
/// follows), `L x y` draws straight, `Q` and `C` are Bézier curves as in SVG, and `A cx cy rx ry
/// from to` an arc of an ellipse between two angles in degrees, counter-clockwise when the second
/// is larger; a line leads to its start when the pen is down. `A` first in a path, or after `P`,
/// which lifts the pen, begins a stroke.
struct GlyphReader {
  private var strokes: [[GlyphPoint]] = []
  private var isDown = false

  /// One line for each glyph.
  /// Lines that are not a sign, two numbers and a path are passed over; a path that cannot be read
  /// traps, since tables are part of the program.
  static func table(_ text: String) -> [Unicode.Scalar: Glyph] {
    var out: [Unicode.Scalar: Glyph] = [:]
    for line in text.split(separator: "\n") {
      let parts = line.split(separator: " ", maxSplits: 3)
      guard parts.count == 4, let sign = parts[0].unicodeScalars.first,
        let left = Double(parts[1]), let right = Double(parts[2])
      else { continue }
      out[sign] = Glyph(path(parts[3]), left: left, right: right)
    }
    return out
  }

  /// The strokes of a path in the notation above.
  static func path(_ text: some StringProtocol) -> [[GlyphPoint]] {
    var reader = GlyphReader()
    var rest = Substring(text)
    while let command = rest.popFirst() {
      let end = rest.firstIndex(where: \.isLetter) ?? rest.endIndex
      reader.run(command, rest[..<end].split(separator: " ").compactMap { Double($0) })
      rest = rest[end...]
    }
    return reader.strokes
  }

  /// One command with its numbers.
  private mutating func run(_ command: Character, _ n: [Double]) {
    switch (command, n.count) {
    case ("P", 0): isDown = false
    case ("M", 2):
      isDown = false
      add(n[0], n[1])
    case ("L", 2): add(n[0], n[1])
    case ("Q", 4): curve(n[0], n[1], n[0], n[1], n[2], n[3], quadratic: true)
    case ("C", 6): curve(n[0], n[1], n[2], n[3], n[4], n[5], quadratic: false)
    case ("A", 6): arc(n)
    default: preconditionFailure("glyph table: \(command) \(n)")
    }
  }

  /// Goes on to a point, or puts the pen down there.
  private mutating func add(_ x: Double, _ y: Double) {
    if isDown {
      strokes[strokes.count - 1].append(GlyphPoint(x: x, y: y))
    } else {
      strokes.append([GlyphPoint(x: x, y: y)])
      isDown = true
    }
  }

  /// A straight piece every 7.5 degrees at most: at the size of text nobody sees the corners.
  private mutating func arc(_ n: [Double]) {
    let steps = max(1, Int((abs(n[5] - n[4]) / 7.5).rounded(.up)))
    for step in 0...steps {
      let angle = (n[4] + (n[5] - n[4]) * Double(step) / Double(steps)) * .pi / 180
      add(n[0] + n[2] * cos(angle), n[1] + n[3] * sin(angle))
    }
  }

  /// Twelve straight pieces of a Bézier curve from where the pen is.
  private mutating func curve(
    _ ax: Double, _ ay: Double, _ bx: Double, _ by: Double, _ x: Double, _ y: Double,
    quadratic: Bool
  ) {
    guard let from = strokes.last?.last else { return }
    let steps = 12
    for step in 1...steps {
      let t = Double(step) / Double(steps)
      let s = 1 - t
      if quadratic {
        add(
          s * s * from.x + 2 * s * t * ax + t * t * x, s * s * from.y + 2 * s * t * ay + t * t * y)
      } else {
        let (p, q, r, v) = (s * s * s, 3 * s * s * t, 3 * s * t * t, t * t * t)
        add(p * from.x + q * ax + r * bx + v * x, p * from.y + q * ay + r * by + v * y)
      }
    }
  }
}
