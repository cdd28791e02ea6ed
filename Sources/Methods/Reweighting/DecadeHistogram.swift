import Attention

/// Weights of a map by their size: four bins to a decade, eight decades below 1.
///
/// A bin holds what is above 10^(-1/4), or 0.56, of its upper end, up to that end. The ends are
/// 1e-8, 1.8e-8, 3.2e-8, ... 1: the first bin holds all that is smaller, zeros too, and the last
/// one what is above 1. Weights below zero count by their size; NaN and infinities are left out.
struct DecadeHistogram: Sendable {
  private static let perDecade = 4, decades = 8

  /// `[bins]`, entries.
  private var bins = [Int](repeating: 0, count: perDecade * decades + 1)
  /// Entries in all, finite ones.
  private(set) var count = 0

  /// Nothing counted yet.
  init() {}

  /// One entry; nothing where it is no finite number.
  mutating func add(_ weight: Double) {
    guard weight.isFinite else { return }
    bins[Self.bin(weight)] += 1
    count += 1
  }

  /// Entries of other rows.
  mutating func add(_ other: DecadeHistogram) {
    count += other.count
    for bin in bins.indices { bins[bin] += other.bins[bin] }
  }

  /// Where a finite weight stands.
  private static func bin(_ weight: Double) -> Int {
    guard weight != 0 else { return 0 }
    let place = logarithm(weight.magnitude) / logarithm(10) + Double(decades)
    return min(perDecade * decades, max(0, Int((place * Double(perDecade)).rounded(.up))))
  }

  /// Share of entries by the upper end of their bin, with a mark at a place on the x axis.
  func curve(_ x: String, mark: (name: String, x: Double)? = nil) -> Curve {
    let points = bins.enumerated().map { bin, entries in
      Curve.Point(
        tenTo(Double(bin) / Double(Self.perDecade) - Double(Self.decades)),
        Double(entries) / Double(max(count, 1)))
    }
    var marks: [Curve.Mark] = []
    if let (name, x) = mark, x.isFinite {
      marks = [Curve.Mark(name, x: x, y: points[Self.bin(x)].y)]
    }
    return Curve(x: x, y: "share of entries", points: points, marks: marks, isLogarithmic: true)
  }
}
