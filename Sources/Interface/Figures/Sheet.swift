import Canvas
import Pictures

/// The colours of a figure's page.
///
/// Two pages only, light and dark; colours that mean something are told apart by colour-blind
/// readers. Source: Okabe and Ito, "Color Universal Design", 2008.
struct Ink {
  /// The page itself.
  let page: RGB
  /// Words that matter.
  let text: RGB
  /// Axes, captions and notes.
  let dim: RGB
  /// Where nothing is visible.
  let absent: RGB
  /// Frames and lines between blocks.
  let grid: RGB
  /// What is skipped, wherever it stands.
  let pruned: RGB
  /// The rim of a cross, so that it is seen on any colour.
  let halo: RGB
  /// Bars, curves and what is chosen.
  let accent: RGB
  /// The page is dark.
  let isDark: Bool

  /// The colours of a light or a dark page.
  init(isDark: Bool) {
    self.isDark = isDark
    page = isDark ? RGB(hex: 0x14161a) : RGB(hex: 0xffffff)
    text = isDark ? RGB(hex: 0xe8e8e6) : RGB(hex: 0x1b1d21)
    dim = isDark ? RGB(hex: 0x9aa0a8) : RGB(hex: 0x61666e)
    absent = isDark ? RGB(hex: 0x1e2126) : RGB(hex: 0xf2f3f5)
    grid = isDark ? RGB(hex: 0x4a4f58) : RGB(hex: 0xb9bec6)
    // Okabe and Ito's reddish purple and sky blue, told apart by every eye and from every map.
    pruned = isDark ? RGB(hex: 0xff8fd0) : RGB(hex: 0xb0307a)
    halo = isDark ? RGB(hex: 0x000000) : RGB(hex: 0xffffff)
    accent = isDark ? RGB(hex: 0x56b4e9) : RGB(hex: 0x0072b2)
  }

  /// Black or white, whichever reads better on a colour.
  func over(_ color: RGB) -> RGB {
    let luma = 0.299 * Double(color.r) + 0.587 * Double(color.g) + 0.114 * Double(color.b)
    return luma > 140 ? RGB(0, 0, 0) : RGB(255, 255, 255)
  }
}

/// A rectangle in points.
///
/// Points from the upper left of the page.
struct Area {
  /// Left edge.
  var x: Double
  /// Upper edge.
  var y: Double
  /// To the right.
  var width: Double
  /// Downwards.
  var height: Double

  /// Right edge.
  var maxX: Double { x + width }
  /// Lower edge.
  var maxY: Double { y + height }

  /// Larger by so much on every side: a frame that covers nothing of what it frames.
  func outset(_ by: Double) -> Area {
    Area(x: x - by, y: y - by, width: width + 2 * by, height: height + 2 * by)
  }
}

/// A figure while it is drawn: shapes from back to front, with the few things that every figure
/// has.
///
/// Coordinates are points from the upper left. Text from outside is made visible here, so that no
/// caller has to think of it.
struct Sheet {
  /// The colours of the page.
  let ink: Ink
  /// From back to front.
  private(set) var shapes: [Shape] = []

  /// An empty page.
  init(_ ink: Ink) { self.ink = ink }

  /// Over everything that is there.
  mutating func add(_ shape: Shape) { shapes.append(shape) }

  /// One line; `y` is its baseline, and `rotation` is in degrees clockwise.
  mutating func text(
    _ text: String, _ x: Double, _ y: Double, size: Double = 11, _ anchor: Anchor = .start,
    _ color: RGB? = nil, bold: Bool = false, rotation: Double = 0
  ) {
    shapes.append(
      .text(
        Printable.text(text).replacing("⏎", with: "\\n").replacing("⇥", with: "\\t"), x: x, y: y,
        size: size, anchor: anchor, color: color ?? ink.text,
        bold: bold, rotation: rotation))
  }

  /// A box, filled, framed or both.
  mutating func rect(_ area: Area, fill: RGB? = nil, stroke: RGB? = nil, width: Double = 1) {
    shapes.append(
      .rect(
        x: area.x, y: area.y, width: area.width, height: area.height, fill: fill, stroke: stroke,
        strokeWidth: width))
  }

  /// A straight line; `dash` in points, nil draws it through.
  mutating func line(
    _ x1: Double, _ y1: Double, _ x2: Double, _ y2: Double, _ color: RGB? = nil,
    width: Double = 1, dash: Double? = nil
  ) {
    shapes.append(
      .line(x1: x1, y1: y1, x2: x2, y2: y2, color: color ?? ink.dim, width: width, dash: dash))
  }

  /// Lines of text no wider than `width`; returns the y below them.
  @discardableResult
  mutating func paragraph(
    _ text: String, _ x: Double, _ y: Double, width: Double, size: Double = 10.5
  ) -> Double {
    var y = y, line = ""
    for word in Printable.text(text).split(separator: " ").map(String.init) {
      let longer = line.isEmpty ? word : line + " " + word
      if !line.isEmpty, Strokes.width(longer, size: size, bold: false) > width {
        self.text(line, x, y, size: size, ink.dim)
        (line, y) = (word, y + size * 1.45)
      } else {
        line = longer
      }
    }
    self.text(line, x, y, size: size, ink.dim)
    return y + size * 1.45
  }

  /// The same text cut to what fits.
  static func clipped(_ text: String, width: Double, size: Double) -> String {
    var text = Printable.text(text)
    while !text.isEmpty, Strokes.width(text, size: size, bold: false) > width { text.removeLast() }
    return text
  }

  /// A ramp from low to high, upright, with its two ends and what it means.
  mutating func colorBar(
    _ area: Area, low: String, high: String, title: String, _ color: (Double) -> RGB
  ) {
    let steps = 64
    add(
      .cells(
        x: area.x, y: area.y, width: area.width, height: area.height, columns: 1, rows: steps,
        colors: (0..<steps).map { color(1 - Double($0) / Double(steps - 1)) }, id: "colour-bar"))
    rect(area, stroke: ink.grid, width: 0.75)
    text(high, area.maxX + 5, area.y + 8, size: 10, ink.dim)
    text(low, area.maxX + 5, area.maxY, size: 10, ink.dim)
    text(
      title, area.maxX + 16, area.y + area.height / 2, size: 10, .middle, ink.dim, rotation: 90)
  }

  /// A ramp from low to high lying down, with its two ends below.
  mutating func flatBar(_ area: Area, low: String, high: String, _ color: (Double) -> RGB) {
    let steps = 64
    add(
      .cells(
        x: area.x, y: area.y, width: area.width, height: area.height, columns: steps, rows: 1,
        colors: (0..<steps).map { color(Double($0) / Double(steps - 1)) }, id: "colour-bar"))
    rect(area, stroke: ink.grid, width: 0.75)
    text(low, area.x, area.maxY + 11, size: 9.5, ink.dim)
    text(high, area.maxX, area.maxY + 11, size: 9.5, .end, ink.dim)
  }
}

extension Sheet {
  /// The same in a colour, from its left end.
  mutating func text(
    _ text: String, _ x: Double, _ y: Double, size: Double = 11, _ color: RGB
  ) {
    self.text(text, x, y, size: size, .start, color)
  }
}

extension ColorMap {
  /// The true colour of t in 0...1, dark and light on the same side as on the screen; on a white
  /// page the lowest third fades into the page.
  ///
  /// In 48 steps: finer than an eye tells apart on a page, and neighbours of one colour make small
  /// files.
  func tone(_ t: Float, _ ink: Ink) -> RGB {
    let (r, g, b) = shade(Double(t), light: !ink.isDark)
    return RGB(r, g, b)
  }
}

extension DifferenceColors {
  /// The true colour of a value in -1...1.
  static func tone(_ value: Float, _ ink: Ink) -> RGB {
    let (r, g, b) = rgb((Double(value) * 24).rounded() / 24, light: !ink.isDark)
    return RGB(r, g, b)
  }
}
