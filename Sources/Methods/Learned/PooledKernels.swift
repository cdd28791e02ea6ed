import Algebra
import Analysis
import Attention
import Tensors

/// Attention of a group over mean keys of overlapping kernels, a query row at a time: what block
/// selectors with compressed keys begin with.
///
/// Kernel c holds the keys [c stride, c stride + size); a query sees those that lie wholly among
/// the keys it sees. Rows are the softmax of scale q . mean, of each head and summed over them.
struct PooledKernels: Sendable {
  /// Keys of a kernel, and from one to the next.
  let size: Int, stride: Int
  /// Kernels that the keys hold.
  let count: Int
  private let group: HeadGroup
  /// `[heads][queries * dim]`
  private let queries: [[Double]]
  /// `[count * dim]`
  private let means: [Double]

  /// Throws `Missing` for stored maps.
  init(_ group: HeadGroup, size: Int, stride: Int) throws {
    let pairs = group.heads.compactMap(\.queryAndKey)
    guard pairs.count == group.heads.count, let key = pairs.first?.key else {
      throw Missing(.queryKey)
    }
    (self.group, self.size, self.stride) = (group, size, stride)
    queries = pairs.map { $0.query.floats().map(Double.init) }
    count = key.shape[0] < size ? 0 : (key.shape[0] - size) / stride + 1
    let dim = key.shape[1], values = key.floats()
    means = (0..<count).flatMap { kernel in
      var mean = [Double](repeating: 0, count: dim)
      for row in kernel * stride..<kernel * stride + size {
        for c in 0..<dim { mean[c] += Double(values[row * dim + c]) }
      }
      return mean.map { $0 / Double(size) }
    }
  }

  /// The keys of a kernel.
  func keys(_ kernel: Int) -> Range<Int> { kernel * stride..<kernel * stride + size }

  /// Kernels that a query sees whole.
  func seen(_ row: Int) -> Int {
    let limit = group.heads[0].visibility.limit(row: row)
    return limit < size ? 0 : min(count, (limit - size) / stride + 1)
  }

  /// Weights of one head, `[seen kernels]`, which sum to 1.
  func weights(_ slot: Int, _ row: Int) -> [Double] {
    let head = group.heads[slot], dim = head.dim
    let scores = DoubleRows.dots(
      Array(queries[slot][row * dim..<(row + 1) * dim]), means, count: seen(row), scale: head.scale)
    return scores.isEmpty ? [] : Elementary.softmax(scores)
  }

  /// The same summed over the heads of the group.
  func shared(_ row: Int) -> [Double] {
    group.heads.indices.reduce(into: [Double](repeating: 0, count: seen(row))) { sum, slot in
      for (kernel, weight) in weights(slot, row).enumerated() { sum[kernel] += weight }
    }
  }

  /// Products of a query and a mean key, of all heads and rows.
  var products: Int {
    group.heads.count * (0..<group.heads[0].queries).reduce(0) { $0 + seen($1) }
  }

  /// Weights of one head as a field `[queries, kernels]`; NaN where a kernel is not seen whole.
  func field(_ slot: Int) -> any RowField {
    let head = group.heads[slot], columns = max(count, 1)
    return RuleField(
      rows: Axis(.query, head.queries),
      columns: Axis(.block, columns, span: stride, tokens: head.keys)
    ) { row, out in
      out.update(repeating: .nan)
      for (kernel, weight) in weights(slot, row).enumerated() { out[kernel] = Float(weight) }
    }
  }
}

/// Choice among blocks of keys with some that are always taken.
enum ForcedBlocks {
  /// The `count` best of the blocks that a row sees, the first `initial` and the last `local` up to
  /// the query's own among them whatever their score: where these are more, the query's own, then
  /// the lowest. `scores` `[seen blocks]`; ascending.
  static func pick(
    _ count: Int, of scores: [Double], own: Int, initial: Int, local: Int
  ) -> [Int] {
    let ranked = scores.enumerated().map { block, score -> Double in
      if block == own { return .infinity }
      let isForced = block < initial || (block <= own && block > own - local)
      return isForced ? .greatestFiniteMagnitude : score
    }
    return Shapes.top(count, of: ranked).sorted()
  }
}
