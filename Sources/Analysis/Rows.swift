import Attention
import Glibc
import Synchronization

/// e to the power of x, so that no other file needs the C library.
func exponential(_ x: Double) -> Double { exp(x) }
/// Natural logarithm, for the same reason.
func logarithm(_ x: Double) -> Double { log(x) }

/// Small loops over one row.
enum Rows {
  /// -Σ p ln p in nats.
  /// Float sums are enough here, since all terms have one sign.
  static func entropy(_ p: UnsafeBufferPointer<Float>) -> Double {
    var sum: Float = 0
    for x in p where x > 0 { sum -= x * logf(x) }
    return Double(sum)
  }

  /// No value is NaN or infinite: one sum tells.
  static func isWhole(_ p: UnsafeBufferPointer<Float>) -> Bool {
    var sum: Float = 0
    for x in p { sum += x }
    return sum.isFinite
  }

  /// `p` `[keys]` into sums `[keys]`; in double, since a column may have a hundred thousand rows.
  static func add(_ p: UnsafeBufferPointer<Float>, to sums: inout [Double]) {
    sums.withUnsafeMutableBufferPointer { sums in
      for j in 0..<p.count { sums[j] += Double(p[j]) }
    }
  }

  /// How many values are NaN or infinite, and the index of the first; 0 when none is.
  static func nonFinite(_ values: [Float]) -> (count: Int, first: Int) {
    var count = 0, first = 0
    for (index, value) in values.enumerated() where !value.isFinite {
      if count == 0 { first = index }
      count += 1
    }
    return (count, first)
  }
}

/// Results of a parallel loop, put back in order.
///
/// Keyed by index and not appended, so that floating-point sums over the parts come out the same
/// however the threads ran.
final class Gathered<Value: Sendable>: Sendable {
  private let parts = Mutex<[Int: Value]>([:])

  /// Keeps the result of item `index`; a second one replaces it.
  func add(_ index: Int, _ value: Value) { parts.withLock { $0[index] = value } }

  /// The results by ascending index, without those that never came.
  var inOrder: [Value] { parts.withLock { parts in parts.keys.sorted().map { parts[$0]! } } }
}
