public import Attention

/// Bisection over one knob for the value at which a method keeps a share of tiles.
///
/// It asks and is told: `next` is a value to try, `take` what came of it. Both ends of the knob
/// come first, and with them the direction; then the middle of what is left, in the logarithm where
/// the knob steps by factors.
///
/// Example: `while let x = search.next { search.take(measure(x)) }`, then `search.best`. The catch:
/// the share is taken to rise or to fall with the knob; of a knob that does both, one crossing is
/// found. Counts have no upper end of their own: so many times the standard, or the keys.
public struct KnobSearch: Sendable {
  /// A value that was tried, and the share of tiles that it gave, in 0...1.
  public struct Try: Sendable, Hashable {
    /// The knob's value.
    public let value: Double
    /// Tiles with a kept entry over tiles with a visible one.
    public let density: Double
  }

  /// Halvings after the ends are known.
  static let halvings = 14
  /// It stops this near, as a share of the target.
  static let tolerance = 0.01

  /// The share that is wanted, in 0...1.
  public let target: Double
  /// The next value to try; nil when nothing nearer will be found.
  public private(set) var next: Double?
  /// The nearest so far; of two as near the sparser one.
  public private(set) var best: Try?
  /// How many values were tried.
  public private(set) var tries = 0

  private let isWhole: Bool
  private let isGeometric: Bool
  private let standard: Double
  private let ends: ClosedRange<Double>
  private var low: Try?
  private var high: Try?

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

  /// What `next` gave.
  public mutating func take(_ density: Double) {
    guard let value = next else { return }
    let tried = Try(value: value, density: density)
    tries += 1
    if best.map({ isNearer(tried, $0) }) ?? true { best = tried }
    next = nil
    guard abs(density - target) > Self.tolerance * target else { return }
    switch tries {
    case 1:
      low = tried
      next = ends.upperBound
    case 2:
      high = tried
      if isBetween {
        next = middle
      } else if standard != ends.lowerBound, standard != ends.upperBound {
        next = standard
      }
    default:
      guard let low else { return }
      if tries == 3, !isBetween {
        // Both ends lie on one side: only a crossing before the standard is left.
        guard (density > target) != (low.density > target) else { return }
        self.high = tried
      } else if (density > target) == (low.density > target) {
        self.low = tried
      } else {
        self.high = tried
      }
      if tries < Self.halvings + 3 { next = middle }
    }
  }

  private func isNearer(_ a: Try, _ b: Try) -> Bool {
    let (one, two) = (abs(a.density - target), abs(b.density - target))
    return one != two ? one < two : a.density < b.density
  }

  /// The target lies between the shares at both ends of what is left.
  private var isBetween: Bool {
    guard let low, let high else { return false }
    return (low.density > target) != (high.density > target)
  }

  /// Between the two ends; nil when no whole number is left.
  private var middle: Double? {
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
