import Attention
import Glibc
import Synchronization

func exponential(_ x: Double) -> Double { exp(x) }
func logarithm(_ x: Double) -> Double { log(x) }

/// Small loops over one row.
enum Rows {
  /// -Σ p ln p in nats.
  static func entropy(_ p: UnsafeBufferPointer<Float>) -> Double {
    var sum: Float = 0
    for x in p where x > 0 { sum -= x * logf(x) }
    return Double(sum)
  }

  static func add(_ p: UnsafeBufferPointer<Float>, to sums: inout [Double]) {
    sums.withUnsafeMutableBufferPointer { sums in
      for j in 0..<p.count { sums[j] += Double(p[j]) }
    }
  }

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
final class Gathered<Value: Sendable>: Sendable {
  private let parts = Mutex<[Int: Value]>([:])

  func add(_ index: Int, _ value: Value) { parts.withLock { $0[index] = value } }

  var inOrder: [Value] { parts.withLock { parts in parts.keys.sorted().map { parts[$0]! } } }
}
