import Algebra
public import Attention
import Tensors

/// Logits and dense weights of a head in double precision, a row at a time: what methods that solve
/// or divide stand on.
///
/// Cost keys * d a row; memory 8 (queries + keys) d bytes. Stored maps give their own rows. Rows
/// that see no key are zero.
///
/// Example: `DoubleRows(head).weights(5)` is row 5 of the pattern. The catch: no panels, no
/// threads, no tiles; a whole map costs many times what `PatternRows` takes.
public struct DoubleRows: Sendable {
  /// The head whose rows are computed.
  public let head: Head
  /// Width of a query and a key; 0 for stored maps.
  public let dim: Int
  /// `[queries * dim]`, row by row; empty for stored maps.
  public let query: [Double]
  /// `[keys * dim]`; empty for stored maps.
  public let key: [Double]
  private let stored: Tensor?
  private let isPattern: Bool

  /// Reads Q and K, or keeps the stored map.
  public init(_ head: Head) {
    self.head = head
    dim = head.dim
    if let both = head.queryAndKey {
      (query, key) = (both.query.floats().map(Double.init), both.key.floats().map(Double.init))
      (stored, isPattern) = (nil, false)
      return
    }
    (query, key) = ([], [])
    switch head.source {
    case .pattern(let map): (stored, isPattern) = (map, true)
    case .scores(let map): (stored, isPattern) = (map, false)
    case .projections, .cached: (stored, isPattern) = (nil, false)
    }
  }

  /// `[keys]` scores of a query, before softmax; -infinity where it may not see. From a stored
  /// pattern, ln p.
  public func logits(_ row: Int) -> [Double] {
    let limit = head.visibility.limit(row: row)
    var out = [Double](repeating: -.infinity, count: head.keys)
    if let stored {
      let values = stored[row].floats()
      for j in 0..<limit { out[j] = isPattern ? logarithm(Double(values[j])) : Double(values[j]) }
      return out
    }
    query.withUnsafeBufferPointer { q in
      key.withUnsafeBufferPointer { k in
        out.withUnsafeMutableBufferPointer { out in
          guard let q = q.baseAddress, let k = k.baseAddress else { return }
          Self.dots(q + row * dim, k, dim, limit, head.scale, out)
        }
      }
    }
    return out
  }

  /// Scaled dot products of `query` `[dim]` with the first `count` of `rows` `[rows * dim]`.
  public static func dots(
    _ query: [Double], _ rows: [Double], count: Int, scale: Double
  ) -> [Double] {
    precondition(count * query.count <= rows.count, "more products than rows")
    // An empty array is one for all threads, and is not to be written to.
    guard count > 0 else { return [] }
    return query.withUnsafeBufferPointer { q in
      rows.withUnsafeBufferPointer { k in
        [Double](unsafeUninitializedCapacity: count) { out, filled in
          filled = count
          guard let q = q.baseAddress, let k = k.baseAddress else { return }
          dots(q, k, query.count, count, scale, out)
        }
      }
    }
  }

  /// Each sum runs from channel 0 on; four at a time, since one alone waits for its own last
  /// addition.
  private static func dots(
    _ q: UnsafePointer<Double>, _ k: UnsafePointer<Double>, _ dim: Int, _ limit: Int,
    _ scale: Double, _ out: UnsafeMutableBufferPointer<Double>
  ) {
    var j = 0
    while j + 4 <= limit {
      let a = k + j * dim, b = a + dim, c = b + dim, d = c + dim
      var sums = (0.0, 0.0, 0.0, 0.0)
      for x in 0..<dim {
        sums.0 += q[x] * a[x]
        sums.1 += q[x] * b[x]
        sums.2 += q[x] * c[x]
        sums.3 += q[x] * d[x]
      }
      (out[j], out[j + 1]) = (sums.0 * scale, sums.1 * scale)
      (out[j + 2], out[j + 3]) = (sums.2 * scale, sums.3 * scale)
      j += 4
    }
    while j < limit {
      var sum = 0.0
      for x in 0..<dim { sum += q[x] * k[j * dim + x] }
      out[j] = sum * scale
      j += 1
    }
  }

  /// `[keys]` softmax weights of a query; 0 where it may not see.
  public func weights(_ row: Int) -> [Double] {
    Elementary.softmax(logits(row), limit: head.visibility.limit(row: row))
  }
}
