/// A colour as terminals name it.
public enum Color: Sendable, Hashable {
  /// The terminal's own foreground or background.
  case standard
  /// Of the 256-colour palette.
  case index(UInt8)
  /// Red, green and blue, where the terminal has them.
  case rgb(UInt8, UInt8, UInt8)

  /// Whether black text reads better on it than white; nil of the terminal's own.
  public var isLight: Bool? {
    switch self {
    case .standard: nil
    case .index(let index): Palette.isLight(index)
    case .rgb(let r, let g, let b): Palette.luma(of: (r, g, b)) > 128
    }
  }
}

/// How a cell looks.
///
/// Example: `Style(.index(214), bold: true)`. How much of it is seen is the terminal's affair:
/// `mono` shows attributes alone.
public struct Style: Sendable, Hashable {
  /// Of the glyph.
  public var foreground: Color
  /// Of the cell behind it.
  public var background: Color
  /// Heavier, or brighter, as the terminal has it.
  public var bold: Bool
  /// Fainter, where the terminal can.
  public var dim: Bool
  /// Foreground and background change places.
  public var reverse: Bool
  /// A line below.
  public var underline: Bool

  /// Plain, unless something is said.
  public init(
    _ foreground: Color = .standard, on background: Color = .standard, bold: Bool = false,
    dim: Bool = false,
    reverse: Bool = false, underline: Bool = false
  ) {
    (self.foreground, self.background) = (foreground, background)
    (self.bold, self.dim, self.reverse, self.underline) = (bold, dim, reverse, underline)
  }

  /// The terminal's own colours, no attributes.
  public static let plain = Style()
}
