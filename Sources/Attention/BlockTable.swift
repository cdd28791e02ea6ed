/// The one table everything is read from: a margin and masses per block of one query head.
///
/// For lambda <= 1 a block's margin does not depend on lambda (a skipped block never raises a
/// running maximum), so one pass gives the mask, the sparsity and the dropped mass of every lambda:
/// each is a comparison over this table. (A table of the lse criterion holds for one lambda only,
/// `madeFor`.)
///
/// Layout: row-major `[rowTiles, keyTiles]`. Margin is NaN where no valid row of the tile may see
/// the block, +infinity for the first visited block. Paper: BLASST, 2025, arXiv 2512.12087.
///
/// Example: `pass.tables(spec)[0].sparsity(try Lambda(0.01))` is the share of visible blocks that
/// lambda 0.01 skips in the first head, in 0...1.
///
/// The catch: a table belongs to one tile, vote and order. Tables of different specs are not
/// comparable entry by entry, and one cannot be made from the other. Cost: `mask` walks all blocks;
/// `sparsity`, `droppedMass` and `lambda(forSparsity:)` are binary searches in the sorted margins.
/// Memory 20 bytes a block, and 12 more where masses are known.
public struct BlockTable: Sendable {
  /// The tile, vote, order and criterion that the margins were decided with.
  public let spec: TileSpec
  /// Query rows of the head, in tokens.
  public let queries: Int
  /// Keys of the head, in tokens.
  public let keys: Int
  /// Blocks from top to bottom: `queries / spec.rows`, rounded up.
  public let rowTiles: Int
  /// Blocks from left to right: `keys / spec.keys`, rounded up.
  public let keyTiles: Int
  /// max over voting rows of (block's row maximum - running maximum before it), in nats.
  public internal(set) var margins: [Float]
  /// Softmax mass of the block summed over this head's rows.
  public internal(set) var massSum: [Float]
  /// Softmax mass of the block in the row where it is largest.
  public internal(set) var massMax: [Float]
  /// Mass that the worst row of the tile loses when this block and every block of smaller margin
  /// are skipped.
  public internal(set) var worstDropped: [Float]
  /// Mean over rows of the entropy of the dense pattern, in nats.
  public internal(set) var entropy: Double
  /// Rows that see at least one key; 0 where only a mask was stored.
  public internal(set) var visibleRows: Int
  /// True when the source stored only a mask: lambda then has no effect, and masses are unknown.
  public let isFixed: Bool
  /// The lambda that an lse table was made with, and holds for; nil where margins do not depend on
  /// lambda.
  public internal(set) var madeFor: Double?
  /// Margins of visible blocks in ascending order.
  public internal(set) var sortedMargins: [Float] = []
  /// What skipping the first blocks in the order of `sortedMargins` loses `[visibleBlocks + 1]`: 0,
  /// then the mass summed over all rows. Empty where masses are unknown.
  var droppedSums: [Double] = []
  /// And what the row loses that loses most `[visibleBlocks + 1]`.
  var droppedMost: [Float] = []

  /// A table in which nothing is visible yet; whoever fills it calls `seal` at the end.
  init(spec: TileSpec, queries: Int, keys: Int, isFixed: Bool = false) {
    self.spec = spec
    self.queries = queries
    self.keys = keys
    self.isFixed = isFixed
    rowTiles = (queries + spec.rows - 1) / spec.rows
    keyTiles = (keys + spec.keys - 1) / spec.keys
    let count = rowTiles * keyTiles
    margins = [Float](repeating: .nan, count: count)
    massSum = [Float](repeating: 0, count: count)
    massMax = massSum
    worstDropped = massSum
    entropy = 0
    visibleRows = 0
  }

  /// A table for a mask that was stored without margins: computed blocks are never skipped, skipped
  /// ones always.
  /// `storedMask` and `margins` are `[rowTiles * keyTiles]`, row by row. With margins these alone
  /// count; without, verdict bytes that are neither computed nor skipped are invisible blocks.
  /// Traps when the mask has another size.
  public init(
    storedMask: [UInt8], margins stored: [Float]?, spec: TileSpec, queries: Int, keys: Int
  ) {
    self.init(spec: spec, queries: queries, keys: keys, isFixed: stored == nil)
    precondition(storedMask.count == margins.count, "the mask is not \(rowTiles)x\(keyTiles)")
    margins =
      stored
      ?? storedMask.map { verdict in
        switch Verdict(rawValue: verdict) {
        case .computed: .infinity
        case .skipped: -.infinity
        default: .nan
        }
      }
    seal()
  }

  /// Everything but the spec as bytes, for a cache: four floats a block, the entropy, the number of
  /// rows.
  package var packed: [UInt8] {
    var bytes: [UInt8] = []
    bytes.reserveCapacity(16 * margins.count + 24)
    for values in [margins, massSum, massMax, worstDropped] {
      values.withUnsafeBytes { bytes.append(contentsOf: $0) }
    }
    withUnsafeBytes(of: entropy) { bytes.append(contentsOf: $0) }
    withUnsafeBytes(of: Int64(visibleRows)) { bytes.append(contentsOf: $0) }
    withUnsafeBytes(of: madeFor ?? .nan) { bytes.append(contentsOf: $0) }
    return bytes
  }

  /// What `packed` gave; nil when the bytes are not as many as this shape needs.
  package init?(spec: TileSpec, queries: Int, keys: Int, packed bytes: UnsafeRawBufferPointer) {
    self.init(spec: spec, queries: queries, keys: keys)
    let count = margins.count
    guard bytes.count == 16 * count + 24 else { return nil }
    func floats(_ index: Int) -> [Float] {
      [Float](unsafeUninitializedCapacity: count) { out, filled in
        UnsafeMutableRawBufferPointer(out).copyMemory(
          from: UnsafeRawBufferPointer(
            rebasing: bytes[4 * count * index..<4 * count * (index + 1)]))
        filled = count
      }
    }
    (margins, massSum, massMax, worstDropped) = (floats(0), floats(1), floats(2), floats(3))
    entropy = bytes.loadUnaligned(fromByteOffset: 16 * count, as: Double.self)
    visibleRows = Int(bytes.loadUnaligned(fromByteOffset: 16 * count + 8, as: Int64.self))
    let made = bytes.loadUnaligned(fromByteOffset: 16 * count + 16, as: Double.self)
    if !made.isNaN { madeFor = made }
    seal()
  }

  /// Blocks that some voting row may see: the denominator of every sparsity.
  public var visibleBlocks: Int { sortedMargins.count }

  /// Blocks with margin < threshold.
  /// A binary search, in nats; equal margins are not below.
  func skippedBlocks(below threshold: Float) -> Int {
    var low = 0, high = sortedMargins.count
    while low < high {
      let middle = (low + high) / 2
      if sortedMargins[middle] < threshold { low = middle + 1 } else { high = middle }
    }
    return low
  }

  /// How many blocks this lambda skips: none for lambda <= 0, and for a stored mask those that it
  /// skips, whatever lambda is.
  public func skippedBlocks(_ lambda: Lambda) -> Int { skippedBlocks(below: effective(lambda)) }

  /// A stored mask has only plus and minus infinity for margins: any finite threshold tells them
  /// apart, so lambda must not matter.
  private func effective(_ lambda: Lambda) -> Float {
    isFixed ? -.greatestFiniteMagnitude : lambda.threshold
  }

  /// Skipped blocks over visible ones, in 0...1; 0 when nothing is visible.
  public func sparsity(_ lambda: Lambda) -> Double {
    visibleBlocks == 0 ? 0 : Double(skippedBlocks(lambda)) / Double(visibleBlocks)
  }

  /// The verdict of every block at this lambda. Cost: one pass over the table.
  public func mask(_ lambda: Lambda) -> BlockMask {
    let threshold = effective(lambda)
    return BlockMask(
      spec: spec, rowTiles: rowTiles, keyTiles: keyTiles,
      verdicts: margins.map { $0.isNaN ? .invisible : ($0 < threshold ? .skipped : .computed) })
  }

  /// Softmax mass lost to skipping; nil when masses are unknown, or no row sees anything.
  /// Cost: a binary search.
  public func droppedMass(_ lambda: Lambda) -> DroppedMass? {
    guard visibleRows > 0, !droppedSums.isEmpty else { return nil }
    let skipped = skippedBlocks(lambda)
    return DroppedMass(
      mean: droppedSums[skipped] / Double(visibleRows), max: Double(min(droppedMost[skipped], 1)))
  }

  /// The smallest lambda whose sparsity reaches `target`, or nil when lambda = 1 does not.
  /// Nil as well for an lse table, whose margins hold for one lambda only. `target` is a share in
  /// 0...1; 0 is reached by any lambda and gives 0.
  public func lambda(forSparsity target: Double) -> Double? {
    if madeFor != nil { return nil }
    let wanted = Int((target * Double(visibleBlocks)).rounded(.up))
    guard wanted > 0 else { return 0 }
    guard wanted <= visibleBlocks, sortedMargins[wanted - 1] < 0 else { return nil }
    // The smallest double whose float logarithm lies above the margin, to a part in ten million.
    var lambda = exponential(Double(sortedMargins[wanted - 1]))
    while Lambda.threshold(lambda) <= sortedMargins[wanted - 1] {
      lambda = max(lambda * (1 + 1e-7), .leastNormalMagnitude)
    }
    return min(lambda, 1)
  }
}

/// What happened to a block. Raw values are those of `layers.{l}.blocks` in our files.
public enum Verdict: UInt8, Sendable {
  /// Its scores passed the threshold: it took part in the softmax and in P V.
  case computed = 0
  /// Its margin was below ln(lambda): neither exponentials nor values were needed.
  case skipped = 1
  /// No valid row may see it: not visited and not counted.
  case invisible = 255
}

/// One verdict per block, row-major `[rowTiles, keyTiles]`, with the tile that gives it meaning.
public struct BlockMask: Sendable, Equatable {
  /// The tile and vote under which the verdicts mean something.
  public let spec: TileSpec
  /// Blocks from top to bottom.
  public let rowTiles: Int
  /// Blocks from left to right.
  public let keyTiles: Int
  /// `[rowTiles * keyTiles]`, row by row.
  public var verdicts: [Verdict]

  /// `verdicts` are `[rowTiles * keyTiles]`, row by row; the counts are not checked here.
  public init(spec: TileSpec, rowTiles: Int, keyTiles: Int, verdicts: [Verdict]) {
    (self.spec, self.rowTiles, self.keyTiles, self.verdicts) = (spec, rowTiles, keyTiles, verdicts)
  }

  /// The verdict of the block at a row tile and a key tile.
  public subscript(row: Int, key: Int) -> Verdict { verdicts[row * keyTiles + key] }
}
