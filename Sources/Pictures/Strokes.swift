/// The built-in font.
public enum Strokes {
  /// The width of a text in points.
  public static func width(_ text: String, size: Double, bold: Bool) -> Double {
    Double(text.unicodeScalars.count) * size * (bold ? 0.6 : 0.55)
  }
}
