import RealModule

/// A generator of 64 bits with a seed (Steele, Lea and Flood, "Fast splittable pseudorandom number
/// generators", 2014).
///
/// Example: `SplitMix64(1_234_567)` begins with 6457827717110365317. One seed, one sequence, on
/// every machine.
public struct SplitMix64: RandomNumberGenerator, Sendable {
  /// Grows by 2^64 / φ, φ the golden ratio, with every draw.
  @usableFromInline var state: UInt64

  /// The state begins as the seed.
  @inlinable public init(_ seed: UInt64) { state = seed }

  /// The next 64 bits, each as likely 0 as 1.
  @inlinable public mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var z = state
    z = (z ^ z >> 30) &* 0xbf58_476d_1ce4_e5b9
    z = (z ^ z >> 27) &* 0x94d0_49bb_1331_11eb
    return z ^ z >> 31
  }

  /// In [0, 1), a multiple of 2^-53.
  @inlinable public mutating func uniform() -> Double { Double(next() >> 11) * 0x1p-53 }

  /// Two independent standard normal numbers from two uniforms u1, u2 (Box and Muller, 1958): r cos
  /// 2πu2 and r sin 2πu2 with r = √(-2 ln(1 - u1)).
  public mutating func gaussianPair() -> (Double, Double) {
    let u1 = uniform(), u2 = uniform()
    let r = (-2 * Double.log(1 - u1)).squareRoot()
    let angle = 2 * Double.pi * u2
    return (r * Double.cos(angle), r * Double.sin(angle))
  }

  /// Standard normal numbers in the order of drawing, both of each pair; of an odd count's last
  /// pair the first: `[count]`.
  public mutating func gaussians(_ count: Int) -> [Double] {
    var values: [Double] = []
    values.reserveCapacity(count + 1)
    while values.count < count {
      let (first, second) = gaussianPair()
      values.append(first)
      values.append(second)
    }
    return Array(values.prefix(count))
  }

  /// A matrix of standard normal numbers, filled row by row as `gaussians` draws them:
  /// `[rows][columns]`.
  public mutating func gaussianMatrix(rows: Int, columns: Int) -> Matrix {
    Matrix(rows: rows, columns: columns, elements: gaussians(rows * columns))
  }
}
