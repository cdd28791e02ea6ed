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
        for j in 0..<limit {
          var sum = 0.0
          for x in 0..<dim { sum += q[row * dim + x] * k[j * dim + x] }
          out[j] = sum * head.scale
        }
      }
    }
    return out
  }

  /// `[keys]` softmax weights of a query; 0 where it may not see.
  public func weights(_ row: Int) -> [Double] {
    Elementary.softmax(logits(row), limit: head.visibility.limit(row: row))
  }
}
