import Canvas

/// A ramp with the values of its two ends: what the colours of a view stand for.
///
/// Example: `Legend("1.0e-4", "0.31", " of the row").draw(paint, 2, 20, end: 60, on: &grid)`. Where
/// the words do not fit they are left out, then the ramp gets shorter; the values stay.
struct Legend {
  /// What the faintest colour stands for.
  let low: String
  /// What the strongest one stands for.
  let high: String
  /// What is measured, behind the ramp: from long to short.
  let words: [String]

  /// The ends as they are written.
  init(_ low: String, _ high: String, _ words: String...) {
    (self.low, self.high, self.words) = (low, high, words)
  }

  /// From column `x` on, at most to `end`; the column after it. Nothing where there is no room for
  /// both values.
  @discardableResult
  func draw(_ paint: Paint, _ x: Int, _ y: Int, end: Int, on grid: inout Grid) -> Int {
    let ends = Width.of(low) + Width.of(high) + 2
    let steps = min(12, end - x - ends)
    guard steps >= 3 else { return x }
    var at = grid.put("\(low) ", x, y, paint.dim)
    for step in 0..<steps {
      grid[at, y] = paint.shade(Float(step) / Float(steps - 1))
      at += 1
    }
    at = grid.put(" \(high)", at, y, paint.dim)
    if let words = words.first(where: { at + Width.of($0) <= end }) {
      at = grid.put(words, at, y, paint.dim)
    }
    return at
  }
}
