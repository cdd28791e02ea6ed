public import Canvas

/// What is drawn on: a terminal, or the page of a figure.
public struct Display: Sendable {
  /// Columns.
  public internal(set) var width: Int
  /// Rows.
  public internal(set) var height: Int
  /// Which colours and glyphs can be shown.
  public internal(set) var capabilities: Capabilities
  /// Colours of text and frames.
  public internal(set) var theme = Theme.standard
  /// For the projector: a large cursor, and the keys that were pressed.
  public internal(set) var presents = false
}
