public import Attention
import Kernels
import Synchronization
public import Tensors

/// Queries of a run after rotation: with the keys in the cache, any row of any head can be computed
/// again, so no row is ever stored.
///
/// Half floats, for looking; `exact` keeps them as they were computed, in twice the memory. Memory:
/// `bytesPerPosition` for each position, up to `budget`; beyond it the oldest half is let go.
/// Written by the engine's thread, read by any.
public final class QueryRecord: ForwardObserver, Sendable {
  /// Bytes that a record takes at most unless told otherwise: 512 MiB.
  public static let standardBudget = 512 << 20

  private let heads: Int
  private let dim: Int
  private let layers: Mutex<[Layer?]>
  private let mostPositions: Int
  private let exact: Bool

  /// What is known of a layer. A value: a reader keeps the storage it took even when the
  /// writer has moved on to a larger one.
  private struct Layer {
    var storage: RowStorage
    /// Position of the first row in the storage.
    var first: Int
    /// Rows that are written.
    var count: Int
  }

  /// Records the given layers, or all, in at most `budget` bytes (and never fewer than 64
  /// positions).
  public convenience init(
    _ config: ModelConfig, layers: Set<LayerIndex>? = nil, budget: Int = standardBudget,
    exact: Bool = false
  ) {
    self.init(
      layers: config.layers, heads: config.heads, dim: config.headDim, only: layers,
      budget: budget, exact: exact)
  }

  /// The same from bare sizes: `number` layers of `heads` queries of `dim` elements.
  public init(
    layers number: Int, heads: Int, dim: Int, only chosen: Set<LayerIndex>? = nil,
    budget: Int = .max, exact: Bool = false
  ) {
    (self.heads, self.dim, self.exact) = (heads, dim, exact)
    let width = heads * dim, bytes = exact ? 4 : 2
    let most = max(64, budget / max(1, (chosen?.count ?? number) * width * bytes))
    mostPositions = most
    layers = Mutex(
      (0..<number).map { layer in
        chosen?.contains(LayerIndex(layer)) ?? true
          ? Layer(
            storage: RowStorage(width: width, capacity: min(256, most), exact: exact), first: 0,
            count: 0)
          : nil
      })
  }

  /// The first `count` positions of another record, copied; fewer when the oldest were let
  /// go.
  public init(copying other: QueryRecord, count: Int) {
    (heads, dim, mostPositions, exact) = (
      other.heads, other.dim, other.mostPositions, other.exact
    )
    let width = heads * dim
    layers = Mutex(
      other.layers.withLock { $0 }.map { [exact] layer in
        layer.map { layer in
          let kept = max(0, min(layer.count, count - layer.first))
          let storage = RowStorage(width: width, capacity: max(kept, 256), exact: exact)
          storage.copy(layer.storage, from: 0, count: kept)
          return Layer(storage: storage, first: layer.first, count: kept)
        }
      })
  }

  /// Bytes of half floats for one position.
  public static func bytesPerPosition(_ config: ModelConfig) -> Int {
    2 * config.layers * config.heads * config.headDim
  }

  /// Takes queries in; a position that comes again, after going back, replaces the old one
  /// and all behind it.
  public func queries(_ layer: LayerIndex, _ positions: Range<Int>, _ rows: UnsafePointer<Float>) {
    guard var held = layers.withLock({ $0[layer.value] }) else { return }
    // A branch may begin before the first position whose queries were kept.
    if positions.lowerBound < held.first { (held.first, held.count) = (positions.lowerBound, 0) }
    let end = positions.lowerBound - held.first
    // Rows that were told of may be read at this moment: those that replace them lie elsewhere.
    if end < held.storage.rows || end + positions.count > held.storage.capacity {
      held = larger(held, end, positions.count)
    }
    let at = positions.lowerBound - held.first
    held.storage.write(at, rows, count: positions.count)
    held.count = at + positions.count
    layers.withLock { [held] in $0[layer.value] = held }
  }

  /// Nothing to do: a layer's queries are complete when they come.
  public func finished(_ layer: LayerIndex, _ positions: Range<Int>) {}

  /// Other storage with the rows before `end` and room for `more` behind. Doubles until the budget,
  /// then drops the older half at once, so that the copying is paid once in many tokens.
  private func larger(_ held: Layer, _ end: Int, _ more: Int) -> Layer {
    let drop = end + more > mostPositions ? min(end, (end + more) / 2) : 0
    let kept = end - drop
    let storage = RowStorage(
      width: heads * dim, capacity: max(kept + more, min(2 * (kept + more), mostPositions)),
      exact: exact)
    storage.copy(held.storage, from: drop, count: kept)
    return Layer(storage: storage, first: held.first + drop, count: kept)
  }

  /// Positions of a layer that are recorded.
  public func positions(_ layer: LayerIndex) -> Range<Int> {
    layers.withLock { layers in
      guard let held = layers[layer.value] else { return 0..<0 }
      return held.first..<held.first + held.count
    }
  }

  /// Bytes of the rows that are recorded.
  public var bytes: Int {
    layers.withLock { layers in
      layers.reduce(0) { $0 + ($1?.count ?? 0) } * heads * dim * (exact ? 4 : 2)
    }
  }

  /// Forgets what is recorded; what comes is recorded again. For the thread that writes.
  public func letGo() {
    let small = heads * dim
    layers.withLock { [exact] layers in
      layers = layers.map { layer in
        layer.map {
          Layer(
            storage: RowStorage(width: small, capacity: 256, exact: exact),
            first: $0.first + $0.count, count: 0)
        }
      }
    }
  }

  /// Queries `[positions, dim]` of one head, float16 or, when exact, float32; nothing is copied.
  /// Nil for positions that are not recorded.
  public func tensor(_ layer: LayerIndex, head: Int, _ positions: Range<Int>) -> Tensor? {
    guard let held = layers.withLock({ $0[layer.value] }), positions.lowerBound >= held.first,
      positions.upperBound <= held.first + held.count
    else { return nil }
    let width = heads * dim
    return Tensor(
      storage: held.storage.bytes(rows: positions.upperBound - held.first),
      dtype: exact ? .float32 : .float16, shape: Shape([positions.count, dim]),
      strides: [width, 1],
      byteOffset: (exact ? 4 : 2) * ((positions.lowerBound - held.first) * width + head * dim))
  }
}

/// Rows of half floats, or of floats when exact.
///
/// `@unchecked Sendable`: a row is written once, before any count tells of it.
private final class RowStorage: @unchecked Sendable {
  let capacity: Int
  private let bytes: OwnedStorage
  private let written = Atomic<Int>(0)
  private let width: Int
  private let exact: Bool
  private let base: UnsafeMutableRawPointer

  init(width: Int, capacity: Int, exact: Bool) {
    (self.width, self.capacity, self.exact) = (width, capacity, exact)
    var start: UnsafeMutableRawPointer?
    bytes = OwnedStorage(byteCount: (exact ? 4 : 2) * width * capacity) { start = $0.baseAddress }
    base = start!
  }

  private var rowBytes: Int { (exact ? 4 : 2) * width }

  /// Rows that are written.
  var rows: Int { written.load(ordering: .relaxed) }

  func write(_ row: Int, _ rows: UnsafePointer<Float>, count: Int) {
    let to = base + row * rowBytes
    if exact {
      to.copyMemory(from: rows, byteCount: count * rowBytes)
    } else {
      as_float_to_half(rows, count * width, to.assumingMemoryBound(to: UInt16.self))
    }
    written.store(row + count, ordering: .releasing)
  }

  /// The bytes, in which this thread sees the first `rows` rows as they were written.
  func bytes(rows: Int) -> OwnedStorage {
    let there = written.load(ordering: .acquiring)
    precondition(rows <= there, "\(rows) of \(there) rows")
    return bytes
  }

  /// Takes `count` rows of another storage to the front of this one.
  func copy(_ other: RowStorage, from row: Int, count: Int) {
    base.copyMemory(from: other.base + row * rowBytes, byteCount: count * rowBytes)
    written.store(count, ordering: .releasing)
  }
}
