import RealModule

/// What is asked of a distribution: weights that are not negative and sum to about 1, in float64.
/// Nothing here checks that they are.
public enum Distributions {
  /// The Jensen-Shannon distance of two distributions over the same places, in nats to the power of
  /// one half: sqrt(½ KL(a ‖ m) + ½ KL(b ‖ m)) with m = (a + b) / 2.
  ///
  /// A metric between 0 (equal) and sqrt(ln 2) = 0.8326 (no place in common). A place where a has
  /// no weight adds nothing for a, so no weight needs a floor. Exact to rounding; of distributions
  /// that differ by less than 1e-8 only the order of magnitude is meant. Endres and Schindelin
  /// 2003.
  public static func jensenShannonDistance(_ a: [Double], _ b: [Double]) -> Double {
    precondition(a.count == b.count, "two distributions over the same places")
    func divergence(_ p: [Double]) -> Double {
      zip(p, zip(a, b)).reduce(0) { sum, item in
        let mean = (item.1.0 + item.1.1) / 2
        return item.0 > 0 ? sum + item.0 * Double.log(item.0 / mean) : sum
      }
    }
    return max(0, (divergence(a) + divergence(b)) / 2).squareRoot()
  }

  /// How many of the largest weights are needed for a sum above `share`: the number of prefixes,
  /// largest first, whose sum is at most `share`, plus one.
  ///
  /// Example: of 0.4, 0.3, 0.2, 0.1 a share of 0.69 needs 2 and one of 0.71 needs 3. All of them
  /// from a share of 1 on; never more than there are. Sums run in the order of size, so that what
  /// is counted does not depend on the order of the weights. Cost: a sort.
  public static func needed(_ weights: [Double], for share: Double) -> Int {
    guard share < 1 else { return weights.count }
    var sum = 0.0, count = 0
    for value in weights.sorted(by: >) {
      sum += value
      guard sum <= share else { break }
      count += 1
    }
    return min(count + 1, weights.count)
  }
}
