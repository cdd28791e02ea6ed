public import Tensors

/// Anything with rows: a pattern, a kept set, a block mask, a mixing matrix, a depth map. Rows on
/// demand; nothing `[rows, columns]` need exist.
///
/// NaN means that there is nothing to see (a key after a causal query); +infinity stands for a NaN
/// of the data. One object serves many threads.
///
/// Example: `try field.row(3)` gives the `[columns]` values of row 3. Fields are how a method of
/// any kind reaches the map, the row panel and the exports without these knowing the method.
public protocol RowField: Sendable {
  /// What rows count, and how many there are.
  var rows: Axis { get }
  /// What columns count, and how many there are.
  var columns: Axis { get }
  /// Calls `body` with each row of `range` in order, on this thread: its number and `[columns]`
  /// values. Throws what `body` throws, and `CancellationError` where rows are costly.
  func withRows(
    _ range: Range<Int>, _ body: (_ row: Int, _ values: UnsafeBufferPointer<Float>) throws -> Void
  ) throws
  /// Bytes this object keeps alive beyond what its source holds anyway.
  var bytes: Int { get }
}

extension RowField {
  /// Nothing of its own, unless a field says otherwise.
  public var bytes: Int { 0 }

  /// One row, `[columns]`.
  /// Throws what `withRows` throws.
  public func row(_ index: Int) throws -> [Float] {
    var values: [Float] = []
    try withRows(index..<index + 1) { _, row in values = Array(row) }
    return values
  }
}

/// A field whose values are all there, `[rows, columns]`.
public struct WholeField: RowField {
  /// What rows count.
  public let rows: Axis
  /// What columns count.
  public let columns: Axis
  /// `[rows * columns]`, row by row.
  public let values: [Float]

  /// As many values as rows times columns.
  public init(rows: Axis, columns: Axis, values: [Float]) {
    precondition(values.count == rows.count * columns.count, "values do not fill the field")
    (self.rows, self.columns, self.values) = (rows, columns, values)
  }

  /// Four bytes a value.
  public var bytes: Int { 4 * values.count }

  /// Hands out rows of the array; throws only what `body` throws.
  public func withRows(
    _ range: Range<Int>, _ body: (Int, UnsafeBufferPointer<Float>) throws -> Void
  ) throws {
    try values.withUnsafeBufferPointer { all in
      for row in range {
        try body(
          row,
          UnsafeBufferPointer(rebasing: all[row * columns.count..<(row + 1) * columns.count]))
      }
    }
  }
}

/// A field whose rows a rule gives: `fill(row, values)` writes `[columns]` values.
///
/// Example: `RuleField(rows: a, columns: b) { row, out in out.update(repeating: Float(row)) }`. The
/// catch: the buffer still holds the row before it, so a rule writes every value.
public struct RuleField: RowField {
  /// What rows count.
  public let rows: Axis
  /// What columns count.
  public let columns: Axis
  private let fill: @Sendable (Int, UnsafeMutableBufferPointer<Float>) throws -> Void

  /// `fill` may be called from several threads, and throws what `withRows` shall throw.
  public init(
    rows: Axis, columns: Axis,
    _ fill: @escaping @Sendable (Int, UnsafeMutableBufferPointer<Float>) throws -> Void
  ) {
    (self.rows, self.columns, self.fill) = (rows, columns, fill)
  }

  /// One buffer serves all rows of a call. Throws what the rule or `body` throws.
  public func withRows(
    _ range: Range<Int>, _ body: (Int, UnsafeBufferPointer<Float>) throws -> Void
  ) throws {
    try withUnsafeTemporaryAllocation(of: Float.self, capacity: max(columns.count, 1)) { buffer in
      buffer.initialize(repeating: 0)
      let row = UnsafeMutableBufferPointer(rebasing: buffer[0..<columns.count])
      for index in range {
        try fill(index, row)
        try body(index, UnsafeBufferPointer(row))
      }
    }
  }
}

/// A tensor `[rows, columns]` as a field.
public struct TensorField: RowField {
  /// What rows count.
  public let rows: Axis
  /// What columns count.
  public let columns: Axis
  private let tensor: Tensor

  /// The axes must have the tensor's sides.
  public init(_ tensor: Tensor, rows: Axis, columns: Axis) {
    precondition(
      tensor.shape.rank == 2 && tensor.shape[0] == rows.count && tensor.shape[1] == columns.count,
      "a field of \(tensor.shape) is not \(rows.count)x\(columns.count)")
    (self.tensor, self.rows, self.columns) = (tensor, rows, columns)
  }

  /// Converts one row at a time to float32; throws only what `body` throws.
  public func withRows(
    _ range: Range<Int>, _ body: (Int, UnsafeBufferPointer<Float>) throws -> Void
  ) throws {
    for row in range {
      let values = tensor[row].floats()
      try values.withUnsafeBufferPointer { try body(row, $0) }
    }
  }
}

extension PatternRows: RowField {
  /// The queries of the head.
  public var rows: Axis { Axis(.query, head.queries) }
  /// Its keys.
  public var columns: Axis { Axis(.key, head.keys) }

  /// The dense pattern; keys a query may not see are NaN.
  /// A NaN of the data comes out as infinity. Throws what `body` throws, and reads no further row
  /// after that.
  public func withRows(
    _ range: Range<Int>, _ body: (Int, UnsafeBufferPointer<Float>) throws -> Void
  ) throws {
    try withRows(range, share: { _ in 1 }, body)
  }

  /// The same, each row times a share of its own: what its keys have beside something else, by the
  /// log-sum-exp of the row. Throws what `body` throws.
  package func withRows(
    _ range: Range<Int>, share: (_ lse: Double) -> Double,
    _ body: (Int, UnsafeBufferPointer<Float>) throws -> Void
  ) throws {
    var copy = [Float](repeating: 0, count: head.keys)
    var failure: (any Error)?
    withRows(range) { row, pattern, lse in
      guard failure == nil else { return }
      let limit = head.visibility.limit(row: row), first = head.visibility.first(row: row)
      let share = Float(share(lse))
      for key in 0..<head.keys {
        let isSeen = key >= first && key < limit
        copy[key] = !isSeen ? .nan : (pattern[key].isNaN ? .infinity : pattern[key] * share)
      }
      do {
        try copy.withUnsafeBufferPointer { try body(row, $0) }
      } catch { failure = error }
    }
    if let failure { throw failure }
  }
}

/// A kept set as a field: 1 where an entry is kept, 0 where it is not, NaN where it may not be
/// seen.
public struct KeptField: RowField {
  /// What is kept.
  public let set: KeptSet
  /// What may be seen at all.
  public let visibility: Visibility
  /// The queries of the set.
  public let rows: Axis
  /// Its keys.
  public let columns: Axis

  /// `set` belongs to a head of this visibility.
  public init(_ set: KeptSet, _ visibility: Visibility) {
    (self.set, self.visibility) = (set, visibility)
    (rows, columns) = (Axis(.query, set.queries), Axis(.key, set.keys))
  }

  /// Bytes of the set.
  public var bytes: Int { self.set.bytes }

  /// Writes out one row of flags at a time; throws only what `body` throws.
  public func withRows(
    _ range: Range<Int>, _ body: (Int, UnsafeBufferPointer<Float>) throws -> Void
  ) throws {
    var values = [Float](repeating: 0, count: set.keys)
    for row in range {
      let kept = set.row(row, visibility), limit = visibility.limit(row: row)
      for key in values.indices { values[key] = key < limit ? Float(kept[key]) : .nan }
      try values.withUnsafeBufferPointer { try body(row, $0) }
    }
  }
}

/// Per block a number, as a field over blocks of tokens.
public struct BlockField: RowField {
  /// Tiles of query rows.
  public let rows: Axis
  /// Tiles of keys.
  public let columns: Axis
  private let values: [Float]

  /// `[rowTiles, keyTiles]` values of blocks of `spec` over `queries` and `keys`.
  public init(_ values: [Float], _ spec: TileSpec, queries: Int, keys: Int) {
    rows = Axis(.block, (queries + spec.rows - 1) / spec.rows, span: spec.rows, tokens: queries)
    columns = Axis(.block, (keys + spec.keys - 1) / spec.keys, span: spec.keys, tokens: keys)
    precondition(values.count == rows.count * columns.count, "values do not fill the blocks")
    self.values = values
  }

  /// A mask: 0 computed, 1 skipped, NaN where nobody may see.
  public init(_ mask: BlockMask, queries: Int, keys: Int) {
    self.init(
      mask.verdicts.map { $0 == .invisible ? .nan : ($0 == .skipped ? 1 : 0) }, mask.spec,
      queries: queries, keys: keys)
  }

  /// Four bytes a block.
  public var bytes: Int { 4 * values.count }

  /// Hands out rows of blocks; throws only what `body` throws.
  public func withRows(
    _ range: Range<Int>, _ body: (Int, UnsafeBufferPointer<Float>) throws -> Void
  ) throws {
    try WholeField(rows: rows, columns: columns, values: values).withRows(range, body)
  }
}
