/// The one table everything is read from: a margin and masses per block of one query head.
///
/// For lambda <= 1 a block's margin does not depend on lambda (a skipped block never raises a running maximum), so one
/// pass gives the mask, the sparsity and the dropped mass of every lambda: each is a comparison over this table.
/// (A table of the lse criterion holds for one lambda only, `madeFor`.)
///
/// Layout: row-major `[rowTiles, keyTiles]`. Margin is NaN where no valid row of the tile may see the block, +infinity
/// for the first visited block. Paper: BLASST, 2025, arXiv 2512.12087.
public struct BlockTable: Sendable {
  public let spec: TileSpec
  public let queries: Int
  public let keys: Int
  public let rowTiles: Int
  public let keyTiles: Int
  /// max over voting rows of (block's row maximum - running maximum before it), in nats.
  public internal(set) var margins: [Float]
  /// Softmax mass of the block summed over this head's rows.
  public internal(set) var massSum: [Float]
  /// Softmax mass of the block in the row where it is largest.
  public internal(set) var massMax: [Float]
  /// Mass that the worst row of the tile loses when this block and every block of smaller margin are skipped.
  public internal(set) var worstDropped: [Float]
  /// Mean over rows of the entropy of the dense pattern, in nats.
  public internal(set) var entropy: Double
  /// Rows that see at least one key.
  public internal(set) var visibleRows: Int
  /// True when the source stored only a mask: lambda then has no effect, and masses are unknown.
  public let isFixed: Bool
  /// The lambda that an lse table was made with, and holds for; nil where margins do not depend on lambda.
  public internal(set) var madeFor: Double?
  /// Margins of visible blocks in ascending order.
  public private(set) var sortedMargins: [Float] = []

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

  /// A table for a mask that was stored without margins: computed blocks are never skipped, skipped ones always.
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

  /// Everything but the spec as bytes, for a cache: four floats a block, the entropy, the number of rows.
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

  mutating func seal() { sortedMargins = margins.filter { !$0.isNaN }.sorted() }

  public var visibleBlocks: Int { sortedMargins.count }

  /// Blocks with margin < threshold.
  func skippedBlocks(below threshold: Float) -> Int {
    var low = 0, high = sortedMargins.count
    while low < high {
      let middle = (low + high) / 2
      if sortedMargins[middle] < threshold { low = middle + 1 } else { high = middle }
    }
    return low
  }

  public func skippedBlocks(_ lambda: Lambda) -> Int { skippedBlocks(below: effective(lambda)) }

  private func effective(_ lambda: Lambda) -> Float {
    isFixed ? -.greatestFiniteMagnitude : lambda.threshold
  }

  /// skipped / visible
  public func sparsity(_ lambda: Lambda) -> Double {
    visibleBlocks == 0 ? 0 : Double(skippedBlocks(lambda)) / Double(visibleBlocks)
  }

  public func mask(_ lambda: Lambda) -> BlockMask {
    let threshold = effective(lambda)
    return BlockMask(
      spec: spec, rowTiles: rowTiles, keyTiles: keyTiles,
      verdicts: margins.map { $0.isNaN ? .invisible : ($0 < threshold ? .skipped : .computed) })
  }

  /// Softmax mass lost to skipping: mean over the rows that see something, and the worst row.
  public func droppedMass(_ lambda: Lambda) -> (mean: Double, max: Double) {
    let threshold = effective(lambda)
    var sum = 0.0
    var worst: Float = 0
    for (index, margin) in margins.enumerated() where margin < threshold {
      sum += Double(massSum[index])
      worst = max(worst, worstDropped[index])
    }
    return (visibleRows == 0 ? 0 : sum / Double(visibleRows), Double(min(worst, 1)))
  }

  /// The smallest lambda whose sparsity reaches `target`, or nil when lambda = 1 does not.
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
  case computed = 0
  case skipped = 1
  /// No valid row may see it: not visited and not counted.
  case invisible = 255
}

/// One verdict per block, row-major `[rowTiles, keyTiles]`, with the tile that gives it meaning.
public struct BlockMask: Sendable, Equatable {
  public let spec: TileSpec
  public let rowTiles: Int
  public let keyTiles: Int
  public var verdicts: [Verdict]

  public init(spec: TileSpec, rowTiles: Int, keyTiles: Int, verdicts: [Verdict]) {
    (self.spec, self.rowTiles, self.keyTiles, self.verdicts) = (spec, rowTiles, keyTiles, verdicts)
  }

  public subscript(row: Int, key: Int) -> Verdict { verdicts[row * keyTiles + key] }
}
