import Glibc
import Tensors

/// Q, K or V of one layer as a stream brings them: rows of positions that follow one another, kept
/// as they came.
///
/// Example: `rows.append(part)` for `[heads, positions, width]`, then `rows.tensor(120)` for
/// `[heads, 120, width]`, each head contiguous. Cost: appending copies what came; a storage that is
/// outgrown is copied to one twice as large and lives until its last tensor is let go.
///
/// `@unchecked Sendable`: it is touched only under the lock of its store, and a tensor that was
/// given out covers rows that are never written again.
final class PositionRows: @unchecked Sendable {
  /// How elements are stored.
  let dtype: DType
  /// Position of the first row.
  let first: Int
  /// Rows that are there, in positions.
  private(set) var count = 0
  private let heads: Int
  /// Bytes of one row of one head.
  private let rowBytes: Int
  private let width: Int
  private var capacity: Int
  private var storage: OwnedStorage
  private var base: UnsafeMutableRawPointer

  /// No rows yet, and room for so many.
  init(heads: Int, width: Int, dtype: DType, first: Int, capacity: Int) {
    (self.heads, self.width, self.dtype, self.first) = (heads, width, dtype, first)
    self.capacity = max(capacity, 64)
    rowBytes = width * dtype.byteWidth
    (storage, base) = Self.room(heads * self.capacity * rowBytes)
  }

  private static func room(_ bytes: Int) -> (OwnedStorage, UnsafeMutableRawPointer) {
    var start: UnsafeMutableRawPointer?
    let storage = OwnedStorage(byteCount: bytes) { start = $0.baseAddress }
    return (storage, start!)
  }

  /// Bytes that are taken up.
  var bytes: Int { heads * capacity * rowBytes }

  /// Takes the next positions, `[heads, positions, width]` of the same type; others are converted
  /// by nobody and must not come.
  func append(_ part: Tensor) {
    precondition(part.dtype == dtype && part.shape[0] == heads && part.shape[2] == width)
    let positions = part.shape[1]
    grow(to: count + positions)
    guard let bytes = part.plainBytes, let source = bytes.baseAddress else { return }
    for head in 0..<heads {
      (base + (head * capacity + count) * rowBytes).copyMemory(
        from: source + head * positions * rowBytes, byteCount: positions * rowBytes)
    }
    count += positions
  }

  /// Room for so many rows.
  private func grow(to rows: Int) {
    guard rows > capacity else { return }
    let larger = max(rows, 2 * capacity)
    let (fresh, start) = Self.room(heads * larger * rowBytes)
    for head in 0..<heads {
      (start + head * larger * rowBytes).copyMemory(
        from: base + head * capacity * rowBytes, byteCount: count * rowBytes)
    }
    (storage, base, capacity) = (fresh, start, larger)
  }

  /// The first rows `[heads, rows, width]`; nothing is copied.
  func tensor(_ rows: Int) -> Tensor {
    precondition(rows <= count, "\(rows) of \(count) rows")
    return Tensor(
      storage: storage, dtype: dtype, shape: Shape([heads, rows, width]),
      strides: [capacity * width, width, 1])
  }
}
