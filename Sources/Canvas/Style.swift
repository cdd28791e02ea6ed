/// A colour as terminals name it.
public enum Color: Sendable, Hashable {
  /// The terminal's own foreground or background.
  case standard
  /// Of the 256-colour palette.
  case index(UInt8)
}

/// How a cell looks.
public struct Style: Sendable, Hashable {
  public var foreground: Color
  public var background: Color
  public var bold: Bool
  public var dim: Bool
  public var reverse: Bool
  public var underline: Bool

  public init(
    _ foreground: Color = .standard, on background: Color = .standard, bold: Bool = false,
    dim: Bool = false,
    reverse: Bool = false, underline: Bool = false
  ) {
    (self.foreground, self.background) = (foreground, background)
    (self.bold, self.dim, self.reverse, self.underline) = (bold, dim, reverse, underline)
  }

  public static let plain = Style()
}
