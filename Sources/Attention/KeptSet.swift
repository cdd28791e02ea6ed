import Kernels

/// Which entries a sparse pattern keeps: columns, diagonals, blocks, or any union of them.
///
/// Entry (i, j) is kept when it is visible and column j, or offset |position(i) - j|, or its block is. Every shape of
/// MInference is one of these: an A-shape is the first columns and the smallest offsets.
public struct KeptSet: Sendable, Equatable {
  public let queries: Int
  public let keys: Int
  /// `[keys]`, 1 where the column is kept.
  public var columns: [UInt8]
  /// Mirrored around its centre, so that one pointer serves a whole row: index `centre + j - position`.
  private var mirrored: [UInt8]
  private let centre: Int
  /// `[query blocks][key blocks]`, or empty.
  public private(set) var blocks: [UInt8] = []
  public private(set) var blockSize = 0

  public init(queries: Int, keys: Int, visibility: Visibility) {
    self.queries = queries
    self.keys = keys
    columns = [UInt8](repeating: 0, count: keys)
    centre = max(keys, visibility.position(row: queries - 1) + 1)
    mirrored = [UInt8](repeating: 0, count: 2 * centre + 1)
  }

  /// Keeps the diagonals at distance `offset` (on both sides when not causal).
  public mutating func keep(offset: Int) {
    guard offset >= 0, offset <= centre else { return }
    mirrored[centre - offset] = 1
    mirrored[centre + offset] = 1
  }

  public mutating func keep(columns range: Range<Int>) {
    for j in range.clamped(to: 0..<keys) { columns[j] = 1 }
  }

  public mutating func keep(blocks: [UInt8], size: Int) {
    precondition(
      blocks.count == ((queries + size - 1) / size) * ((keys + size - 1) / size),
      "blocks do not tile")
    (self.blocks, blockSize) = (blocks, size)
  }

  public var offsets: [Int] { (0...centre).filter { mirrored[centre + $0] != 0 } }

  /// The union with another set; at most one of the two may hold blocks.
  public func union(_ other: KeptSet) -> KeptSet {
    var result = self
    for j in columns.indices { result.columns[j] |= other.columns[j] }
    for o in mirrored.indices { result.mirrored[o] |= other.mirrored[o] }
    if blocks.isEmpty, !other.blocks.isEmpty {
      result.keep(blocks: other.blocks, size: other.blockSize)
    }
    return result
  }

  /// Writes 1 for each kept, visible key of `keys` for query `row`.
  func fill(
    _ out: UnsafeMutableBufferPointer<UInt8>, row: Int, keys range: Range<Int>,
    _ visibility: Visibility
  ) {
    let limit = min(range.count, visibility.limit(row: row) - range.lowerBound)
    guard let base = out.baseAddress, !range.isEmpty else { return }
    if limit < range.count { for c in max(limit, 0)..<range.count { base[c] = 0 } }
    guard limit > 0 else { return }
    let position = min(max(visibility.position(row: row), 0), centre)
    columns.withUnsafeBufferPointer { columns in
      mirrored.withUnsafeBufferPointer { offsets in
        as_kept_row(
          base, Int32(limit), columns.baseAddress! + range.lowerBound,
          offsets.baseAddress! + (centre - position + range.lowerBound), nil)
      }
    }
    guard !blocks.isEmpty else { return }
    let wide = (keys + blockSize - 1) / blockSize, first = row / blockSize * wide
    for c in 0..<limit where blocks[first + (range.lowerBound + c) / blockSize] != 0 { base[c] = 1 }
  }

  /// 1 for each kept, visible key of query `row`.
  public func row(_ row: Int, _ visibility: Visibility) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: keys) { buffer, filled in
      fill(
        UnsafeMutableBufferPointer(rebasing: buffer[0..<keys]), row: row, keys: 0..<keys, visibility
      )
      filled = keys
    }
  }
}

extension KeptSet {
  /// Mass of a row on kept entries, and how many are kept.
  public func mass(of pattern: UnsafeBufferPointer<Float>, row: Int, _ visibility: Visibility) -> (
    Double, kept: Int
  ) {
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: max(keys, 1)) { buffer in
      let out = UnsafeMutableBufferPointer(rebasing: buffer[0..<keys])
      fill(out, row: row, keys: 0..<keys, visibility)
      var kept: Int64 = 0
      let mass = as_kept_mass(pattern.baseAddress, out.baseAddress, Int32(keys), &kept)
      return (mass, Int(kept))
    }
  }
}
