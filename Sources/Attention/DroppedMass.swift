/// Softmax mass that a method leaves out: what skipped blocks, or entries that are not kept, hold
/// of the dense pattern, before what is left is renormalised.
///
/// Both are shares in 0...1 of a query row's attention. Where masses cannot be known (only a mask
/// was stored, no row sees anything) there is nil in its place, never 0.
///
/// Example: `table.droppedMass(try Lambda(0.01))?.mean`.
public struct DroppedMass: Sendable, Hashable {
  /// Mean over the rows that see something, a share in 0...1.
  public let mean: Double
  /// What the worst row loses, a share in 0...1.
  public let max: Double

  /// Both as they are; nothing is checked.
  public init(mean: Double, max: Double) { (self.mean, self.max) = (mean, max) }
}

extension Findings {
  /// Adds `dropped_mean` and `dropped_max`, the names that every method that leaves something out
  /// shares; nil when the masses cannot be known.
  public mutating func dropped(_ mass: DroppedMass?) {
    number("dropped_mean", mass?.mean, .share, title: "dropped mass")
    number("dropped_max", mass?.max, .share, title: "dropped, worst row")
  }

  /// What `dropped` added; nil where that was not known, or nobody said it.
  public var droppedMass: DroppedMass? {
    guard let mean = self["dropped_mean"]?.number, let max = self["dropped_max"]?.number else {
      return nil
    }
    return DroppedMass(mean: mean, max: max)
  }
}
