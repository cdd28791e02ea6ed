/// What is known of a deployed kernel whose blocks were probed: how it was set, and the rule that
/// explains what it did.
///
/// Example: `Probe(tile: (16, 16), lambda: 0.1, rule: TileSpec(rows: 64, keys: 32))`. The blocks
/// themselves are an array, `Need.probe`: U8 `[heads, row tiles, key tiles]` of `tile`.
public struct Probe: Sendable {
  /// What a probe can tell of a block of its array.
  public enum Block: UInt8, Sendable {
    /// Its values were added; were not; weighed too little to tell; no row sees it.
    case computed = 0
    case skipped, unsure
    case invisible = 255
  }

  /// Query rows and keys of a block of the array.
  public let tile: (rows: Int, keys: Int)
  /// The threshold that the kernel was given, in 0...1.
  public let lambda: Double
  /// The tile, vote, order and splits that explain every block; nil: nothing that was tried does.
  public let rule: TileSpec?

  /// The sides of `rule` are multiples of those of `tile`.
  public init(tile: (rows: Int, keys: Int), lambda: Double, rule: TileSpec?) {
    (self.tile, self.lambda, self.rule) = (tile, lambda, rule)
  }
}
