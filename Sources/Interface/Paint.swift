import Analysis
import Canvas

/// The colours of text and frames; maps have colour maps of their own.
///
/// Raw values are the words of the config file.
public enum Theme: String, Sendable, CaseIterable {
  /// The usual accents, faint frames.
  case standard
  /// Nothing is dimmed.
  case contrast
  /// Softer accents.
  case calm

  /// Palette index of the accent on a dark or a light page.
  func accent(_ light: Bool) -> UInt8 {
    switch self {
    case .standard: light ? 25 : 75
    case .contrast: light ? 18 : 229
    case .calm: light ? 65 : 151
    }
  }
}

/// Colours and glyphs for what a terminal can show.
///
/// Every screen asks here, so that a terminal without colours or without glyphs is a matter of this
/// file. Marks keep a contrast to whatever they stand on.
struct Paint {
  /// How many colours can be used.
  let colors: Capabilities.Colors
  /// Whether glyphs beyond ASCII can be used.
  let unicode: Bool
  /// The ramp of weights.
  let map: ColorMap
  /// The page is light.
  let light: Bool
  /// Accents of text and frames.
  let theme: Theme

  /// What the terminal can show and its user has chosen.
  init(_ look: Look) {
    theme = look.display.theme
    colors = look.display.capabilities.colors
    unicode = look.display.capabilities.unicode
    map = look.viewpoint.colors
    light = look.viewpoint.light
  }

  /// Ten steps from little to much, by ink.
  static let asciiShades: [Unicode.Scalar] = [" ", ".", ":", "-", "=", "+", "*", "#", "%", "@"]
  /// Five steps from little to much, by coverage.
  static let shades: [Unicode.Scalar] = [" ", "░", "▒", "▓", "█"]

  // MARK: Text

  /// For what is there to be looked up, and not to be read first.
  var dim: Style { theme == .contrast ? .plain : Style(dim: true) }
  /// For the many faint dots of a map: a colour, because an attribute costs twice the bytes.
  var faint: Style { colors.hasRamps ? Style(.index(light ? 250 : 240)) : dim }
  /// For headings and values that matter.
  var strong: Style { Style(bold: true) }
  /// For what moves: the cursor, the chosen, the keys.
  var accent: Style {
    colors.hasRamps ? Style(.index(theme.accent(light)), bold: true) : Style(bold: true)
  }
  /// For what is not as one would expect.
  var warning: Style {
    switch colors {
    case .palette, .direct: Style(.index(light ? 130 : 214), bold: true)
    case .basic: Style(.index(3), bold: true)
    case .mono: Style(bold: true, underline: true)
    }
  }
  /// The colour that means pruned, wherever it stands.
  var pruned: Style {
    switch colors {
    case .palette, .direct: Style(.index(light ? 125 : 212), bold: true)
    case .basic: Style(.index(5), bold: true)
    case .mono: Style(bold: true)
    }
  }
  /// A style as that of a key that is selected: underlined, in the colour of the cursor.
  func selected(_ style: Style) -> Style {
    var style = style
    style.underline = true
    if colors != .mono, style.background == .standard, !style.reverse {
      style.foreground = accent.foreground
    }
    return style
  }
  /// A style as that of a token that was searched for: underlined, so that shades stay readable.
  func found(_ style: Style) -> Style {
    var style = style
    (style.underline, style.bold) = (true, true)
    if colors != .mono, style.background == .standard, !style.reverse {
      style.foreground = warning.foreground
    }
    return style
  }
  /// Header, footer and what is chosen in a list.
  var bar: Style { Style(reverse: true) }
  /// Behind what stands under the cursor where its own colours must stay; nil without ramps.
  var behind: Color? { colors.hasRamps ? .index(light ? 252 : 238) : nil }
  /// The letter, or its name.
  var lambda: String { unicode ? "λ" : "lambda" }
  /// Marks what is skipped.
  var cross: Unicode.Scalar { unicode ? "×" : "x" }
  /// Marks what is skipped in part.
  var partialCross: Unicode.Scalar { unicode ? "╱" : "/" }

  // MARK: Heat

  /// The ramp at t in 0...1.
  func color(_ t: Float) -> Color {
    guard colors == .direct else { return .index(map.index(Double(t), light: light)) }
    let (r, g, b) = map.shade(Double(t), light: light)
    return .rgb(r, g, b)
  }

  /// Text on the ramp at t in 0...1, black or white by what reads better.
  func text(on t: Float, _ style: Style = .plain) -> Style {
    var style = style
    style.background = color(t)
    style.foreground = .index(style.background.isLight ?? false ? 16 : 231)
    return style
  }

  /// A cell of two pixels; NaN is what no query may see.
  func cell(top: Float, bottom: Float) -> Cell {
    if top == .infinity || bottom == .infinity { return Cell("!", warning) }
    guard colors.hasRamps, unicode else {
      return shade(top.isNaN ? bottom : (bottom.isNaN ? top : max(top, bottom)))
    }
    switch (top.isNaN, bottom.isNaN) {
    case (true, true): return .blank
    case (false, true): return Cell("▀", Style(color(top)))
    case (true, false): return Cell("▄", Style(color(bottom)))
    case (false, false):
      let (a, b) = (color(top), color(bottom))
      return a == b ? Cell(" ", Style(on: a)) : Cell("▀", Style(a, on: b))
    }
  }

  /// Skipped on the left side alone.
  var leftOnly: Unicode.Scalar { unicode ? "◂" : "<" }
  /// Skipped on the right side alone.
  var rightOnly: Unicode.Scalar { unicode ? "▸" : ">" }

  /// A cell of two signed pixels in -1...1: blue for the right side, orange for the left, dark
  /// where they agree.
  func signed(top: Float, bottom: Float) -> Cell {
    if top.isNaN, bottom.isNaN { return .blank }
    guard colors.hasRamps else {
      let value = top.isNaN ? bottom : (bottom.isNaN || abs(top) >= abs(bottom) ? top : bottom)
      if abs(value) < 0.15 { return Cell(unicode ? "·" : ".", dim) }
      let glyph: Unicode.Scalar = value > 0 ? "+" : "-"
      return Cell(glyph, abs(value) > 0.6 ? strong : .plain)
    }
    func color(_ value: Float) -> Color {
      guard colors == .direct else { return .index(DifferenceColors.index(value, light: light)) }
      let steps = Float(ColorMap.shades - 1) / 2
      let (r, g, b) = DifferenceColors.rgb(Double((value * steps).rounded() / steps), light: light)
      return .rgb(r, g, b)
    }
    guard unicode else {
      return Cell(" ", Style(on: color(abs(top) >= abs(bottom) ? top : bottom)))
    }
    if top.isNaN { return Cell("▄", Style(color(bottom))) }
    if bottom.isNaN { return Cell("▀", Style(color(top))) }
    let (a, b) = (color(top), color(bottom))
    return a == b ? Cell(" ", Style(on: a)) : Cell("▀", Style(a, on: b))
  }

  /// Neither little nor much: what has no value of its own.
  var neutral: Cell {
    guard colors.hasRamps else { return Cell(unicode ? "▒" : "%", dim) }
    return Cell(" ", Style(on: .index(light ? 250 : 240)))
  }

  /// One value a cell, where colours or half blocks are missing.
  func shade(_ t: Float) -> Cell {
    if t.isNaN { return .blank }
    if !t.isFinite { return Cell("!", warning) }
    if colors.hasRamps { return Cell(" ", Style(on: color(t))) }
    let ramp = unicode ? Self.shades : Self.asciiShades
    let step = min(ramp.count - 1, max(0, Int(t * Float(ramp.count))))
    return Cell(
      ramp[step],
      colors == .basic ? Style(.index([4, 6, 2, 3, 7][min(4, max(0, Int(t * 5)))])) : .plain)
  }

  /// A glyph over a heat cell, readable on it.
  func mark(
    _ glyph: Unicode.Scalar, over cell: Cell, _ tone: (dark: UInt8, light: UInt8) = (212, 125)
  ) -> Cell {
    guard colors.hasRamps else { return Cell(glyph, pruned) }
    let back = background(of: cell)
    return Cell(
      glyph, Style(.index(back.isLight ?? light ? tone.light : tone.dark), on: back))
  }

  /// The colour that a glyph put on a cell would have behind it; half blocks count by their
  /// foreground.
  private func background(of cell: Cell) -> Color {
    if cell.style.background != .standard { return cell.style.background }
    return cell.glyph == "▀" || cell.glyph == "▄" ? cell.style.foreground : .standard
  }
}
