import Kernels
import Tensors

/// The three shapes of MInference 1.0 (2024, arXiv 2407.02490) as kept sets, found online from Q
/// and K.
///
/// Ties in every top-k go to the lower index. Forced entries count against the budget.
public enum Shapes {
  /// j < initial, or 0 <= i - j < local; where keys ahead are seen |i - j| < local.
  /// `initial` and `local` in tokens; negative ones count as 0.
  public static func aShape(_ head: Head, initial: Int, local: Int) -> KeptSet {
    var set = KeptSet(queries: head.queries, keys: head.keys, visibility: head.visibility)
    set.keep(columns: 0..<min(max(initial, 0), head.keys))
    for o in 0..<max(local, 0) { set.keep(offset: o) }
    return set
  }

  /// How the mass of the last queries falls on columns and on diagonals.
  public struct LastQueries: Sendable {
    /// Σ over rows of the pattern, per key; sums to the number of rows.
    public let columns: [Double]
    /// Σ over rows of the pattern, per offset i - j; sums to the number of rows when causal.
    public let offsets: [Double]
    /// How many rows were summed.
    public let rows: Int
  }

  /// Softmax of the last `rows` queries, summed down columns and along diagonals. Cost rows * keys
  /// dot products.
  public static func lastQueries(_ pattern: PatternRows, rows wanted: Int) -> LastQueries {
    let head = pattern.head
    let rows = min(wanted, head.queries)
    var columns = [Double](repeating: 0, count: head.keys)
    var offsets = [Double](
      repeating: 0, count: max(head.keys, head.visibility.position(row: head.queries - 1) + 1))
    pattern.withRows(head.queries - rows..<head.queries) { row, p, _ in
      let position = head.visibility.position(row: row)
      for j in 0..<head.keys where p[j] != 0 {
        columns[j] += Double(p[j])
        let offset = position - j
        if offset >= 0, offset < offsets.count { offsets[offset] += Double(p[j]) }
      }
    }
    return LastQueries(columns: columns, offsets: offsets, rows: rows)
  }

  /// The `vertical` heaviest columns and `slash` heaviest diagonals, the first few of each forced
  /// in.
  /// Counts are in columns and diagonals; `forced` ones are the lowest keys and the smallest
  /// offsets.
  public static func verticalSlash(
    _ head: Head, _ seen: LastQueries, vertical: Int, slash: Int, forcedColumns: Int,
    forcedOffsets: Int
  ) -> KeptSet {
    var set = KeptSet(queries: head.queries, keys: head.keys, visibility: head.visibility)
    for j in top(vertical, of: seen.columns, forced: forcedColumns) { set.columns[j] = 1 }
    for o in top(slash, of: seen.offsets, forced: forcedOffsets) { set.keep(offset: o) }
    return set
  }

  /// Indices of the `count` largest values, of equal ones the first; the first `forced` indices are
  /// taken before any other. Cost a pass for a few, a full sort for many; NaN values give an
  /// unspecified order.
  public static func top(_ count: Int, of values: [Double], forced: Int = 0) -> [Int] {
    guard count > 0 else { return [] }
    let first = min(forced, count, values.count), wanted = count - first
    if wanted <= few && wanted * 4 < values.count {
      return Array(0..<first) + best(wanted, of: values, from: first)
    }
    let rest = (first..<values.count).sorted {
      values[$0] != values[$1] ? values[$0] > values[$1] : $0 < $1
    }
    return Array(0..<first) + rest.prefix(wanted)
  }

  /// So many are kept sorted while the others pass.
  private static let few = 64

  /// The same of `values[start...]`, by one pass.
  private static func best(_ count: Int, of values: [Double], from start: Int) -> [Int] {
    var found: [Int] = []
    guard count > 0 else { return found }
    found.reserveCapacity(count + 1)
    for index in start..<values.count {
      let value = values[index]
      if found.count == count {
        guard value > values[found[count - 1]] else { continue }
        found.removeLast()
      }
      var place = found.count
      while place > 0 && value > values[found[place - 1]] { place -= 1 }
      found.insert(index, at: place)
    }
    return found
  }

  /// Per query block the `count` key blocks with the largest mean-pooled score q̄ k̄; the diagonal
  /// is not forced.
  ///
  /// Needs Q and K: a stored map is pooled itself instead (mean score a block), which is what the
  /// product estimates.
  public static func blockSparse(_ head: Head, size: Int, count: Int) -> KeptSet {
    var set = KeptSet(queries: head.queries, keys: head.keys, visibility: head.visibility)
    let wide = (head.keys + size - 1) / size, ranked = rankedBlocks(head, size: size)
    var blocks = [UInt8](repeating: 0, count: wide * ranked.count)
    for (a, order) in ranked.enumerated() {
      for b in order.prefix(count) { blocks[a * wide + b] = 1 }
    }
    set.keep(blocks: blocks, size: size)
    return set
  }

  /// Per query block the key blocks that it sees, `[query blocks][visible key blocks]`, the largest
  /// mean-pooled score first.
  public static func rankedBlocks(_ head: Head, size: Int) -> [[Int]] {
    let scores = pooledScores(head, size: size)
    let wide = (head.keys + size - 1) / size
    return (0..<(head.queries + size - 1) / size).map { a in
      let lastRow = min((a + 1) * size, head.queries) - 1
      let visible = (head.visibility.limit(row: lastRow) + size - 1) / size
      return top(visible, of: Array(scores[a * wide..<a * wide + visible]))
    }
  }

  /// `[query blocks * key blocks]`: only their order within a row matters, so that the scale and,
  /// for stored maps, the division by the size of a block are left out.
  private static func pooledScores(_ head: Head, size: Int) -> [Double] {
    let wide = (head.keys + size - 1) / size, high = (head.queries + size - 1) / size
    if let (query, key) = head.queryAndKey {
      let q = pooled(query, size: size), k = pooled(key, size: size), dim = head.dim
      return [Double](unsafeUninitializedCapacity: high * wide) { out, count in
        for a in 0..<high {
          q.withUnsafeBufferPointer {
            as_row_dots(
              $0.baseAddress! + a * dim, k, Int32(dim), Int32(wide), out.baseAddress! + a * wide)
          }
        }
        count = high * wide
      }
    }
    switch head.source {
    case .projections, .cached: return []
    case .pattern(let map), .scores(let map):
      var sums = [Double](repeating: 0, count: high * wide)
      for i in 0..<head.queries {
        let row = map[i].floats()
        for j in 0..<head.keys { sums[i / size * wide + j / size] += Double(row[j]) }
      }
      return sums
    }
  }

  /// Mean of each block of `size` rows, `[blocks * dim]`; a ragged last block averages its real
  /// rows.
  private static func pooled(_ rows: Tensor, size: Int) -> [Double] {
    stride(from: 0, to: rows.shape[0], by: size).flatMap { start in
      let part = rows.slice(axis: 0, start..<min(start + size, rows.shape[0]))
      let dim = part.shape[1], values = part.floats()
      var mean = [Double](repeating: 0, count: dim)
      for (index, value) in values.enumerated() { mean[index % dim] += Double(value) }
      return mean.map { $0 / Double(part.shape[0]) }
    }
  }
}

/// Budgets tuned for long prompts, brought down to a short map (the `scaled` mode of the method
/// cards; ours, not the papers').
public enum Scaled {
  /// max(1, ⌊b n / reference + 1/2⌋), never above b.
  public static func tokens(_ budget: Int, n: Int, reference: Int) -> Int {
    min(budget, max(1, Int((Double(budget) * Double(n) / Double(reference) + 0.5).rounded(.down))))
  }

  /// max(2, B n / reference), moved to the nearest power of two in the logarithm, never above B.
  public static func block(_ size: Int, n: Int, reference: Int) -> Int {
    let wanted = max(2, Double(size) * Double(n) / Double(reference))
    let exponent = Int((logarithm(wanted) / logarithm(2) + 0.5).rounded(.down))
    return min(size, 1 << exponent)
  }

  /// A budget in blocks: through tokens, divided by the scaled block, at least 1.
  public static func blocks(_ budget: Int, size: Int, n: Int, reference: Int) -> Int {
    let tokens = Double(tokens(budget * size, n: n, reference: reference))
    return max(1, Int((tokens / Double(block(size, n: n, reference: reference))).rounded()))
  }
}
