public import Attention

/// Bisection over one knob for the value at which a method keeps a share of tiles, or of entries.
///
/// It asks and is told: `next` is a value to try, `take` what came of it. Both ends of the knob
/// come first, and with them the direction; then the middle of what is left, in the logarithm where
/// the knob steps by factors.
///
/// A knob that moves without touching another tile moves on a step; the nearest step is then
/// followed to its end, where it keeps most, so that where the search first set foot on it does not
/// matter.
///
/// Example: `while let x = search.next { search.take(measure(x)) }`, then `search.best`. The catch:
/// the share is taken to rise or to fall with the knob; of a knob that does both, one crossing is
/// found. Counts have no upper end of their own: so many times the standard, or the keys.
public struct KnobSearch: Sendable {
  /// A value that was tried, and the share that it gave, in 0...1.
  public struct Try: Sendable, Hashable {
    /// The knob's value.
    public let value: Double
    /// What is tuned: tiles with a kept entry over tiles with a visible one, or entries.
    public let density: Double
    /// What it kept.
    public let kept: KeptTiles
  }

  /// Halvings after the ends are known.
  static let halvings = 14
  /// It stops this near, as a share of the target.
  static let tolerance = 0.01

  /// The share that is wanted, in 0...1.
  public let target: Double
  /// The next value to try; nil when nothing nearer will be found.
  public private(set) var next: Double?
  /// The nearest so far; of two as near the sparser one, and of two that touch the same share the
  /// one with more entries: a knob that is turned on without touching another tile costs nothing.
  public private(set) var best: Try?
  /// How many values were tried.
  public private(set) var tries = 0

  private let isWhole: Bool
  private let isGeometric: Bool
  private let standard: Double
  private let ends: ClosedRange<Double>
  private var low: Try?
  private var high: Try?
  private var tried: [Try] = []
  private var followed = 0
  private var missed = 0

  /// Nil for knobs without numbers, and where the range is a single one. `keys` of the longest
  /// head.
  public init?(_ knob: KnobFacts, target: Double, keys: Int) {
    guard case .number(let standard) = knob.standard else { return nil }
    switch knob.range {
    case .words: return nil
    case .number(let range), .ruled(let range, _): (ends, isWhole) = (range, false)
    case .integer(let range):
      let most = min(range.upperBound, max(64 * Int(standard), 4 * keys))
      ends = Double(range.lowerBound)...Double(max(most, range.lowerBound))
      isWhole = true
    }
    guard ends.upperBound > ends.lowerBound else { return nil }
    if case .multiply = knob.step { isGeometric = true } else { isGeometric = isWhole }
    (self.target, self.standard) = (target, standard)
    next = ends.lowerBound
  }

  /// What `next` gave; `kept` where it is known, for ties.
  public mutating func take(_ density: Double, _ kept: KeptTiles = KeptTiles()) {
    guard let value = next else { return }
    let found = Try(value: value, density: density, kept: kept)
    tries += 1
    tried.append(found)
    let isNew = best.map { isNearer(found, $0) } ?? true
    let isSameStep = isNew && found.density == best?.density
    if isNew { best = found }
    next = nil
    if followed > 0 {
      missed = isSameStep ? 0 : missed + 1
    } else if abs(density - target) > Self.tolerance * target {
      bisect(found)
    }
    if next == nil { follow() }
  }

  /// The next value between the ends, if there is one.
  private mutating func bisect(_ found: Try) {
    let density = found.density
    switch tries {
    case 1:
      low = found
      next = ends.upperBound
    case 2:
      high = found
      if isBetween {
        next = middle(low, high)
      } else if standard != ends.lowerBound, standard != ends.upperBound {
        next = standard
      }
    default:
      guard let low else { return }
      if tries == 3, !isBetween {
        // Both ends lie on one side: only a crossing before the standard is left.
        guard (density > target) != (low.density > target) else { return }
        self.high = found
      } else if (density > target) == (low.density > target) {
        self.low = found
      } else {
        self.high = found
      }
      if tries < Self.halvings + 3 { next = middle(self.low, self.high) }
    }
  }

  /// Between the best and the next denser value that was tried: the end of the best's step lies
  /// there. Of what does not reach the budget nothing is followed.
  private mutating func follow() {
    guard let best, followed < following.most, missed < following.misses,
      abs(best.density - target) <= EqualBudget.reach * target
    else { return }
    let denser = tried.filter { $0.density > best.density }
    guard let beyond = denser.min(by: { abs($0.value - best.value) < abs($1.value - best.value) })
    else { return }
    followed += 1
    next = beyond.value > best.value ? middle(best, beyond) : middle(beyond, best)
    if let value = next, tried.contains(where: { $0.value == value }) { next = nil }
  }

  /// Values tried to find the end of a step, and how many may miss it in a row: knobs that count
  /// move on steps, others seldom.
  private var following: (most: Int, misses: Int) { isWhole ? (14, 9) : (6, 3) }

  private func isNearer(_ a: Try, _ b: Try) -> Bool {
    let (one, two) = (abs(a.density - target), abs(b.density - target))
    guard one == two else { return one < two }
    return a.density != b.density ? a.density < b.density : a.kept.entries > b.kept.entries
  }

  /// The target lies between the shares at both ends of what is left.
  private var isBetween: Bool {
    guard let low, let high else { return false }
    return (low.density > target) != (high.density > target)
  }

  /// Between two values; nil when no whole number is left.
  private func middle(_ low: Try?, _ high: Try?) -> Double? {
    guard let low = low?.value, let high = high?.value else { return nil }
    guard isGeometric else { return (low + high) / 2 }
    guard isWhole else {
      let least = max(low, ends.upperBound * 1e-12)
      return exponential((logarithm(least) + logarithm(high)) / 2)
    }
    guard high - low > 1 else { return nil }
    let root = (max(low, 1) * high).squareRoot().rounded()
    return min(max(root, low + 1), high - 1)
  }
}
