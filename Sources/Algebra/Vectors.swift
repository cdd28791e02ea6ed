/// Sums over runs of numbers, for rooms that keep rows of their own.
public enum Vectors {
  /// Σ x_i y_i over `count` elements of two arrays, in an order that depends on `count` alone.
  public static func dot(
    _ x: UnsafePointer<Double>, _ y: UnsafePointer<Double>, _ count: Int
  ) -> Double { Algebra.dot(x, y, count) }
}

/// Σ x_i y_i over `count` elements in four partial sums, which the compiler keeps in lanes; the
/// order of the sums depends on `count` alone.
func dot(_ x: UnsafePointer<Double>, _ y: UnsafePointer<Double>, _ count: Int) -> Double {
  var s0 = 0.0, s1 = 0.0, s2 = 0.0, s3 = 0.0
  var i = 0
  while i + 4 <= count {
    s0 += x[i] * y[i]
    s1 += x[i + 1] * y[i + 1]
    s2 += x[i + 2] * y[i + 2]
    s3 += x[i + 3] * y[i + 3]
    i += 4
  }
  while i < count {
    s0 += x[i] * y[i]
    i += 1
  }
  return (s0 + s2) + (s1 + s3)
}

/// y += a x, over `count` elements; each is one product and one sum, in any order.
func addScaled(
  _ y: UnsafeMutablePointer<Double>, _ a: Double, _ x: UnsafePointer<Double>, _ count: Int
) {
  for i in 0..<count { y[i] += a * x[i] }
}

/// x *= a, over `count` elements.
func scale(_ x: UnsafeMutablePointer<Double>, _ a: Double, _ count: Int) {
  for i in 0..<count { x[i] *= a }
}

/// The rotation that turns (f, g) to (r, 0): r = c f + s g, 0 = c g - s f.
struct Rotation {
  /// Cosine of the angle.
  var c: Double
  /// Sine of the angle.
  var s: Double
  /// ±√(f² + g²): what becomes of f.
  var r: Double

  /// Of any two finite numbers whose squares are; without a turn where g is 0.
  init(_ f: Double, _ g: Double) {
    if g == 0 {
      (c, s, r) = (1, 0, f)
    } else {
      let length = (f * f + g * g).squareRoot()
      (c, s, r) = length > 0 ? (f / length, g / length, length) : (1, 0, f)
    }
  }
}

/// The reflection H = I - tau v v^T that turns x to beta e_1 (Householder, 1958); v takes the place
/// of x, with v_0 = 1. A tau of 0 reflects nothing: x was that already.
func reflect(_ x: UnsafeMutablePointer<Double>, _ count: Int) -> (beta: Double, tau: Double) {
  let alpha = x[0], rest = dot(x + 1, x + 1, count - 1)
  x[0] = 1
  guard rest > 0 else { return (alpha, 0) }
  let length = (alpha * alpha + rest).squareRoot()
  let beta = alpha > 0 ? -length : length
  scale(x + 1, 1 / (alpha - beta), count - 1)
  return (beta, (beta - alpha) / beta)
}
