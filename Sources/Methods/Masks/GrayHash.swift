public import Algebra

/// Buckets of vectors by the signs of r random directions, in an order where neighbours differ in
/// one sign.
///
/// Bit p of the code of x is [x . g_p > 0] with weight 2^p, g_p Gaussian. The Gray list is G_1 =
/// (0, 1), G_{t+1} = (G_t, reverse(G_t) + 2^t), for three bits 0, 1, 3, 2, 6, 7, 5, 4; the rank of
/// a code is its place in the list, so that consecutive ranks differ in one bit.
///
/// Example: `GrayHash.rank(of: 4)` is 7. The catch: the code released with HyperAttention looks the
/// code up instead, rank = G[code], under which neighbours may differ in several bits; that is
/// `released`.
public struct GrayHash: Sendable {
  /// Which of both a rank is.
  public enum Order: String, Sendable, CaseIterable {
    /// The place of the code in the Gray list.
    case rank
    /// The entry of the Gray list at the code.
    case released
  }

  /// `[r][d]`, one direction a row.
  private let directions: Matrix
  private let order: Order

  /// `bits` directions for vectors of width `dim`, drawn row by row from `generator`; at most 30
  /// bits.
  public init(bits: Int, dim: Int, _ order: Order, from generator: inout SplitMix64) {
    precondition(bits <= 30, "at most 30 directions")
    directions = generator.gaussianMatrix(rows: bits, columns: dim)
    self.order = order
  }

  /// Ranks of vectors `[count * dim]`: `[count]`, each below 2^r. Cost r d a vector.
  public func ranks(_ vectors: [Double]) -> [Int] {
    let dim = directions.columns
    return stride(from: 0, to: dim > 0 ? vectors.count : 0, by: dim).map { start in
      let code = (0..<directions.rows).reduce(0) { code, p in
        var sum = 0.0
        for x in 0..<dim { sum += vectors[start + x] * directions.elements[p * dim + x] }
        return sum > 0 ? code | 1 << p : code
      }
      return order == .rank ? Self.rank(of: code) : Self.code(at: code)
    }
  }

  /// The entry of the Gray list at a place.
  public static func code(at rank: Int) -> Int { rank ^ rank >> 1 }

  /// The place of a code in the Gray list; the inverse of `code(at:)`.
  public static func rank(of code: Int) -> Int {
    var rank = code
    for shift in [1, 2, 4, 8, 16] { rank ^= rank >> shift }
    return rank
  }
}
