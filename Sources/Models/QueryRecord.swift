import Kernels
import Synchronization
public import Tensors

/// Queries of a run after rotation, as half floats: with the keys in the cache, any row of
/// any head can be computed again, so no row is ever stored.
///
/// Memory: `bytesPerPosition` for each position, up to `budget`; beyond it the oldest half is
/// let go. Written by the engine's thread, read by any. Example:
/// `record.tensor(4, head: 2, 0..<128)` is 128 queries of one head. The catch: half floats
/// keep eleven bits, so recomputed scores are near the run's, not equal to them.
public final class QueryRecord: ForwardObserver, Sendable {
  /// Bytes that a record takes at most unless told otherwise: 512 MiB.
  public static let standardBudget = 512 << 20

  private let heads: Int
  private let dim: Int
  private let layers: Mutex<[Layer?]>
  private let mostPositions: Int

  /// What is known of a layer. A value: a reader keeps the storage it took even when the
  /// writer has moved on to a larger one.
  private struct Layer {
    var storage: HalfStorage
    /// Position of the first row in the storage.
    var first: Int
    /// Rows that are written.
    var count: Int
  }

  /// Records the given layers, or all, in at most `budget` bytes (and never fewer than 64
  /// positions).
  public convenience init(
    _ config: ModelConfig, layers: Set<Int>? = nil, budget: Int = standardBudget
  ) {
    self.init(
      layers: config.layers, heads: config.heads, dim: config.headDim, only: layers,
      budget: budget)
  }

  /// The same from bare sizes: `number` layers of `heads` queries of `dim` elements.
  public init(
    layers number: Int, heads: Int, dim: Int, only chosen: Set<Int>? = nil, budget: Int = .max
  ) {
    (self.heads, self.dim) = (heads, dim)
    let width = heads * dim
    let most = max(64, budget / max(1, (chosen?.count ?? number) * width * 2))
    mostPositions = most
    layers = Mutex(
      (0..<number).map { layer in
        chosen?.contains(layer) ?? true
          ? Layer(storage: HalfStorage(width: width, capacity: min(256, most)), first: 0, count: 0)
          : nil
      })
  }

  /// The first `count` positions of another record, copied; fewer when the oldest were let
  /// go.
  public init(copying other: QueryRecord, count: Int) {
    (heads, dim, mostPositions) = (other.heads, other.dim, other.mostPositions)
    let width = heads * dim
    layers = Mutex(
      other.layers.withLock { $0 }.map { layer in
        layer.map { layer in
          let kept = max(0, min(layer.count, count - layer.first))
          let storage = HalfStorage(width: width, capacity: max(kept, 256))
          storage.copy(layer.storage, from: 0, count: kept)
          return Layer(storage: storage, first: layer.first, count: kept)
        }
      })
  }

  /// Bytes of one position when every layer is recorded.
  public static func bytesPerPosition(_ config: ModelConfig) -> Int {
    2 * config.layers * config.heads * config.headDim
  }

  /// Takes queries in; a position that comes again, after going back, replaces the old one
  /// and all behind it.
  public func queries(_ layer: Int, _ positions: Range<Int>, _ rows: UnsafePointer<Float>) {
    guard var held = layers.withLock({ $0[layer] }) else { return }
    let end = positions.lowerBound - held.first
    if end + positions.count > held.storage.capacity { held = larger(held, end, positions.count) }
    let at = positions.lowerBound - held.first
    held.storage.write(at, rows, count: positions.count)
    held.count = at + positions.count
    layers.withLock { [held] in $0[layer] = held }
  }

  /// Nothing to do: a layer's queries are complete when they come.
  public func finished(_ layer: Int, _ positions: Range<Int>) {}

  /// Storage with room for `more` rows behind `end`. Doubles until the budget, then drops the
  /// older half at once, so that the copying is paid once in many tokens.
  private func larger(_ held: Layer, _ end: Int, _ more: Int) -> Layer {
    let drop = end + more > mostPositions ? min(end, (end + more) / 2) : 0
    let kept = end - drop
    let storage = HalfStorage(
      width: heads * dim, capacity: max(kept + more, min(2 * (kept + more), mostPositions)))
    storage.copy(held.storage, from: drop, count: kept)
    return Layer(storage: storage, first: held.first + drop, count: kept)
  }

  /// Positions of a layer that are recorded.
  public func positions(_ layer: Int) -> Range<Int> {
    layers.withLock { layers in
      guard let held = layers[layer] else { return 0..<0 }
      return held.first..<held.first + held.count
    }
  }

  /// Queries `[positions, dim]` of one head in half floats; nothing is copied. Nil unless all
  /// positions are recorded.
  public func tensor(_ layer: Int, head: Int, _ positions: Range<Int>) -> Tensor? {
    guard let held = layers.withLock({ $0[layer] }), positions.lowerBound >= held.first,
      positions.upperBound <= held.first + held.count
    else { return nil }
    let width = heads * dim
    return Tensor(
      storage: held.storage.bytes(rows: positions.upperBound - held.first), dtype: .float16,
      shape: Shape([positions.count, dim]),
      strides: [width, 1],
      byteOffset: 2 * ((positions.lowerBound - held.first) * width + head * dim))
  }
}

/// Rows of half floats.
///
/// `@unchecked Sendable`: one thread writes, and writes a row once. `written` tells how many
/// are there: it is stored with release after their halves, and every reader begins with an
/// acquire load of it (`bytes(rows:)`).
private final class HalfStorage: @unchecked Sendable {
  let capacity: Int
  private let bytes: OwnedStorage
  private let written = Atomic<Int>(0)
  private let width: Int
  private let base: UnsafeMutablePointer<UInt16>

  /// Room for `capacity` rows of `width` half floats, not initialised.
  init(width: Int, capacity: Int) {
    (self.width, self.capacity) = (width, capacity)
    var start: UnsafeMutableRawPointer?
    bytes = OwnedStorage(byteCount: 2 * width * capacity) { start = $0.baseAddress }
    base = start!.bindMemory(to: UInt16.self, capacity: width * capacity)
  }

  /// Rounds `count` rows to half floats, from row `row` on.
  func write(_ row: Int, _ rows: UnsafePointer<Float>, count: Int) {
    as_float_to_half(rows, count * width, base + row * width)
    // A prompt that was stopped and is read again writes rows once more, the same ones.
    written.store(max(written.load(ordering: .relaxed), row + count), ordering: .releasing)
  }

  /// The bytes, in which this thread sees the first `rows` rows as they were written.
  func bytes(rows: Int) -> OwnedStorage {
    let there = written.load(ordering: .acquiring)
    precondition(rows <= there, "\(rows) of \(there) rows")
    return bytes
  }

  /// Takes `count` rows of another storage to the front of this one.
  func copy(_ other: HalfStorage, from row: Int, count: Int) {
    base.update(from: other.base + row * width, count: count * width)
    written.store(count, ordering: .releasing)
  }
}
