/// Statistics of a text brought to mean 0 and deviation 1, for stand-ins that follow one of them.
enum Standardised {
  /// (x - mean) / deviation of the population; 0 everywhere where all are equal up to rounding, so
  /// that no noise of 1e-16 nats is blown up to 1. NaN stays; it and infinities count for neither.
  static func values(_ values: [Double]) -> [Double] {
    let known = values.filter(\.isFinite), n = Double(max(known.count, 1))
    let mean = known.reduce(0, +) / n
    let deviation = (known.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / n).squareRoot()
    let isSpread = deviation > 1e-12 * max(abs(mean), 1)
    return values.map { $0.isNaN ? $0 : (isSpread ? ($0 - mean) / deviation : 0) }
  }
}
