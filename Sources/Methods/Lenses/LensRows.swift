import Algebra
import Analysis
import Attention
import Tensors

/// What the lenses share: which query they look at, and the loops that they are made of.
///
/// Rows are `[keys]` in double precision, whole up to the keys that their query sees (`limit`) and
/// 0 or NaN from there on. Nothing here allocates more than one row.
enum LensRows {
  /// Index of a query row of the head; -1 is its last.
  static let query = Knob(
    "query", "the query that strips and pair maps are of; -1: the last", -1...1 << 30,
    standard: -1)

  /// The row that the knob names. Throws `Missing` where the head has no such query.
  static func index(_ knobs: CheckedKnobs, _ head: Head) throws -> Int {
    let wanted = knobs[query]
    guard wanted < head.queries, head.queries > 0 else {
      throw Missing(
        .queryKey, hint: "there is no query \(wanted); they are 0 to \(head.queries - 1)")
    }
    return wanted < 0 ? head.queries - 1 : wanted
  }

  /// Rows that numbers are taken from: all up to `whole` tokens, else 64, evenly spread.
  static func chosen(_ head: Head, whole: Int, most: Int = 64) -> [Int] {
    max(head.queries, head.keys) <= whole
      ? Array(0..<head.queries) : MapPass.sample(0..<head.queries, most)
  }

  /// Row `i` of a `[rows, width]` array times row `j` of another: any two arrays that hold them.
  static func dot(_ x: [Double], _ i: Int, _ y: [Double], _ j: Int, _ width: Int) -> Double {
    x.withUnsafeBufferPointer { x in
      y.withUnsafeBufferPointer { y in
        guard let x = x.baseAddress, let y = y.baseAddress else { return 0 }
        return Vectors.dot(x + i * width, y + j * width, width)
      }
    }
  }

  /// ‖x‖₂.
  static func norm(_ x: [Double]) -> Double { x.reduce(0) { $0 + $1 * $1 }.squareRoot() }

  /// Values `[keys]` as one row of a field, NaN from `limit` on, as fields mark what a query may
  /// not see.
  static func fill(_ out: UnsafeMutableBufferPointer<Float>, _ values: [Double], _ limit: Int) {
    for key in out.indices { out[key] = key < limit ? Float(values[key]) : .nan }
  }

  /// Values `[keys]` as a series, NaN from `limit` on.
  static func series(_ values: [Double], _ limit: Int) -> [Float] {
    values.indices.map { $0 < limit ? Float(values[$0]) : .nan }
  }

  /// V `[keys * width]` in double precision, and its width; nil without V.
  static func values(_ head: Head) -> (elements: [Double], width: Int)? {
    head.value.map { ($0.floats().map(Double.init), $0.shape[1]) }
  }

  /// Σ_j w_j v_j over the first `limit` keys: `[width]`, one row of W V. Weights of 0 cost nothing.
  static func product(_ weights: [Double], _ limit: Int, _ values: ([Double], width: Int))
    -> [Double]
  {
    var out = [Double](repeating: 0, count: values.width)
    values.0.withUnsafeBufferPointer { v in
      for j in 0..<limit where weights[j] != 0 {
        let w = weights[j], at = j * values.width
        for x in 0..<values.width { out[x] += w * v[at + x] }
      }
    }
    return out
  }
}
