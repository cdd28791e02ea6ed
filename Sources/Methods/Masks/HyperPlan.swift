import Algebra
public import Analysis
import Attention

/// What HyperAttention reads of each row: keys that are read exactly, and keys that stand for the
/// rest.
///
/// A core sorts its queries and keys by rank, cuts both into nb = ⌈n_k / block⌉ blocks, and lets
/// query block b read key block b; `samples` keys drawn with replacement stand for the others, each
/// with log-weight ln(n_k / m), unless they lie in the query's own block. A causal head is split in
/// halves down to what is exact; the quarter below the diagonal of each split is a core.
///
/// The parts of a row merge by their log-sum-exps, which is one softmax over all that it reads.
/// Ours: with queries that are not as many as keys, halves are halves of the positions.
public struct HyperPlan: Sendable {
  /// The knobs in force.
  public struct Setting: Sendable {
    /// Keys of a block, keys drawn, and the number of tokens that are read exactly.
    public let block: Int, samples: Int, exact: Int
    /// Directions of the hash, and the order of its codes.
    public let bits: Int, order: GrayHash.Order

    /// All at least 1, but for `exact`.
    public init(block: Int, samples: Int, exact: Int, bits: Int, order: GrayHash.Order = .rank) {
      (self.block, self.samples, self.exact) = (block, samples, exact)
      (self.bits, self.order) = (bits, order)
    }
  }

  /// One sort: the keys of each block in sorted order, the keys drawn with their blocks, and their
  /// log-weight.
  public struct Core: Sendable {
    /// `[blocks]` keys of each.
    public let blocks: [[Int]]
    /// `[m]`, the same key as often as it was drawn.
    public let samples: [(key: Int, block: Int)]
    /// ln(n_k / m).
    public let logWeight: Double
  }

  /// All sorts, in the order of their draws: of a split the first half, the second, the quarter.
  public private(set) var cores: [Core] = []
  /// `[queries]` runs of keys that are read whatever their hash.
  public private(set) var exact: [[Range<Int>]]
  /// `[queries]` the core and the block of each sort that the row takes part in.
  public private(set) var cells: [[(core: Int, block: Int)]]
  /// `[queries]` and `[keys]`.
  public let queryRanks: [Int], keyRanks: [Int]

  /// Directions and draws come from one generator of `seed`, directions first.
  public init(_ rows: DoubleRows, _ setting: Setting, seed: Int) {
    let head = rows.head
    var generator = SplitMix64(UInt64(seed))
    let hash = GrayHash(bits: setting.bits, dim: rows.dim, setting.order, from: &generator)
    (queryRanks, keyRanks) = (hash.ranks(rows.query), hash.ranks(rows.key))
    exact = [[Range<Int>]](repeating: [], count: head.queries)
    cells = [[(core: Int, block: Int)]](repeating: [], count: head.queries)
    guard head.visibility.causal else {
      addCore(0..<head.queries, 0..<head.keys, setting, &generator)
      return
    }
    let end = max(head.keys, head.visibility.position(row: head.queries - 1) + 1)
    addCausal(0..<end, head.visibility, setting, &generator)
  }

  /// The triangle of some positions. Two blocks of tokens and less are exact in any case: the
  /// quarter of their split would be a single block.
  private mutating func addCausal(
    _ span: Range<Int>, _ visibility: Visibility, _ setting: Setting,
    _ generator: inout SplitMix64
  ) {
    let rows = rows(span, visibility)
    guard !rows.isEmpty, span.lowerBound < visibility.keys else { return }
    guard span.count > max(setting.exact, 2 * setting.block) else {
      for row in rows { exact[row].append(span.lowerBound..<visibility.limit(row: row)) }
      return
    }
    let middle = span.lowerBound + (span.count + 1) / 2
    addCausal(span.lowerBound..<middle, visibility, setting, &generator)
    addCausal(middle..<span.upperBound, visibility, setting, &generator)
    addCore(
      self.rows(middle..<span.upperBound, visibility),
      span.lowerBound..<min(middle, visibility.keys), setting, &generator)
  }

  /// The query rows that stand at some positions.
  private func rows(_ span: Range<Int>, _ visibility: Visibility) -> Range<Int> {
    let first = span.lowerBound - visibility.offset
    return (first..<first + span.count).clamped(to: 0..<exact.count)
  }

  /// Rows against keys that all of them see.
  private mutating func addCore(
    _ rows: Range<Int>, _ keys: Range<Int>, _ setting: Setting, _ generator: inout SplitMix64
  ) {
    guard !rows.isEmpty, !keys.isEmpty else { return }
    let count = (keys.count + setting.block - 1) / setting.block
    guard rows.count >= setting.exact, count > 1 else {
      for row in rows { exact[row].append(keys) }
      return
    }
    let sorted = Self.sorted(keys, by: keyRanks)
    let blocks = stride(from: 0, to: sorted.count, by: setting.block).map {
      Array(sorted[$0..<min($0 + setting.block, sorted.count)])
    }
    let high = (rows.count + count - 1) / count
    for (place, row) in Self.sorted(rows, by: queryRanks).enumerated() {
      cells[row].append((cores.count, place / high))
    }
    let drawn = (0..<setting.samples).map { _ -> (key: Int, block: Int) in
      let place = Int(generator.uniform() * Double(keys.count))
      return (sorted[place], place / setting.block)
    }
    cores.append(
      Core(
        blocks: blocks, samples: drawn,
        logWeight: logarithm(Double(keys.count) / Double(setting.samples))))
  }

  /// Tokens by rank, ties in the order of tokens.
  static func sorted(_ tokens: Range<Int>, by ranks: [Int]) -> [Int] {
    tokens.sorted { (ranks[$0], $0) < (ranks[$1], $1) }
  }

  /// Keys that a row reads exactly, as runs.
  public func heavy(_ row: Int) -> [Range<Int>] {
    exact[row]
      + cells[row].flatMap { cell in cores[cell.core].blocks[cell.block].map { $0..<$0 + 1 } }
  }

  /// Keys that stand for the rest of a row, with their log-weights, as often as they were drawn.
  public func samples(_ row: Int) -> [(key: Int, logWeight: Double)] {
    cells[row].flatMap { cell in
      cores[cell.core].samples.filter { $0.block != cell.block }.map {
        ($0.key, cores[cell.core].logWeight)
      }
    }
  }

  /// The output of a row from its logits `[keys]`: the softmax over all that it reads, applied to
  /// `value` `[keys * dim]`. Zeros for a row that reads nothing.
  public func output(_ row: Int, _ logits: [Double], _ value: [Double], _ dim: Int) -> [Double] {
    var keys = exact[row].flatMap { $0 }
    for cell in cells[row] { keys += cores[cell.core].blocks[cell.block] }
    var scores = keys.map { logits[$0] }
    for cell in cells[row] {
      let core = cores[cell.core]
      for sample in core.samples where sample.block != cell.block {
        keys.append(sample.key)
        scores.append(logits[sample.key] + core.logWeight)
      }
    }
    var out = [Double](repeating: 0, count: dim)
    for (weight, key) in zip(Elementary.softmax(scores), keys) {
      Self.add(weight, value, key, to: &out)
    }
    return out
  }

  /// A weighted value row `[dim]` of `value` `[keys * dim]`.
  static func add(_ weight: Double, _ value: [Double], _ key: Int, to out: inout [Double]) {
    out.withUnsafeMutableBufferPointer { out in
      value.withUnsafeBufferPointer { value in
        let first = key * out.count
        precondition(first + out.count <= value.count, "there is no key \(key)")
        for x in 0..<out.count { out[x] += weight * value[first + x] }
      }
    }
  }

  /// `[keys]` summed over cores: n_k / m for every time that a key was drawn.
  public var sampleWeights: [Double] {
    cores.reduce(into: [Double](repeating: 0, count: keyRanks.count)) { sums, core in
      for sample in core.samples { sums[sample.key] += exponential(core.logWeight) }
    }
  }
}
