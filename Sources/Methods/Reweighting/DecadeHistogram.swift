import Attention

/// Weights of a map by their size: four bins to a decade, eight decades below 1.
///
/// The first bin holds zeros and all that is smaller, the last one what is 1 or more. Weights below
/// zero count by their size.
struct DecadeHistogram: Sendable {
  private static let perDecade = 4, decades = 8

  /// `[bins]`, entries.
  private var bins = [Int](repeating: 0, count: perDecade * decades + 1)
  /// Entries in all.
  private(set) var count = 0

  /// Nothing counted yet.
  init() {}

  /// One entry.
  mutating func add(_ weight: Double) {
    bins[Self.bin(weight)] += 1
    count += 1
  }

  /// Entries of other rows.
  mutating func add(_ other: DecadeHistogram) {
    count += other.count
    for bin in bins.indices { bins[bin] += other.bins[bin] }
  }

  /// Where a weight stands.
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
    let marks = mark.map { [Curve.Mark($0.name, x: $0.x, y: points[Self.bin($0.x)].y)] } ?? []
    return Curve(x: x, y: "share of entries", points: points, marks: marks, isLogarithmic: true)
  }
}
