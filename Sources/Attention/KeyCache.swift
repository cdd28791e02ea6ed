import Kernels
import Synchronization
public import Tensors

/// Keys and values of one KV head, growing: laid out so that the tile pass reads them as they are.
///
/// Keys are kept in panels `[keys / 16][dim][16]`, values as rows `[keys, valueDim rounded up to
/// 16]`, both float32. One thread appends; what `snapshot` gave out stays valid and unchanged while
/// the cache grows, because positions are only ever written once and a storage that is outgrown
/// lives until its last reader lets go.
///
/// Example: `cache.append(key: k, value: v)`, then `Head(query: q, cached: cache.snapshot)`. Cost:
/// appending is O(d) until the storage is full, then everything is copied to one that is half as
/// large again. Memory 4 (d + dv) bytes a position of capacity, dv rounded up to 16.
public final class KeyCache {
  /// Width of a key.
  public let dim: Int
  /// Width of a value.
  public let valueDim: Int
  private var storage: KeyStorage
  /// Positions that were appended, in tokens.
  public private(set) var count = 0

  /// `capacity` in tokens; it is a first guess, not a limit.
  public init(dim: Int, valueDim: Int, capacity: Int = 256) {
    (self.dim, self.valueDim) = (dim, valueDim)
    storage = KeyStorage(dim: dim, valueDim: valueDim, capacity: capacity)
  }

  /// A cache of its own with the same first `count` positions.
  public init(copying other: KeyCache, count: Int) {
    precondition(count <= other.count, "\(count) of \(other.count) positions")
    (dim, valueDim) = (other.dim, other.valueDim)
    storage = KeyStorage(dim: dim, valueDim: valueDim, capacity: max(count, 256))
    storage.copy(other.storage, positions: count)
    self.count = count
  }

  /// Room for so many positions at once.
  public func reserve(_ positions: Int) {
    guard positions > storage.capacity else { return }
    let larger = KeyStorage(
      dim: dim, valueDim: valueDim, capacity: max(positions, storage.capacity * 3 / 2))
    larger.copy(storage, positions: count)
    storage = larger
  }

  /// Appends one position: key `[dim]`, value `[valueDim]`.
  public func append(key: UnsafePointer<Float>, value: UnsafePointer<Float>) {
    reserve(count + 1)
    storage.write(count, key, value)
    count += 1
  }

  /// Forgets positions from `count` on, in a storage of its own: snapshots keep theirs.
  public func truncate(_ count: Int) {
    guard count < self.count else { return }
    let fresh = KeyStorage(dim: dim, valueDim: valueDim, capacity: storage.capacity)
    fresh.copy(storage, positions: count)
    (storage, self.count) = (fresh, count)
  }

  public var snapshot: CachedKeys { CachedKeys(memory: storage, count: count) }
}

/// The first positions of a key cache, as they were when asked.
public struct CachedKeys: Sendable {
  private let memory: KeyStorage
  public let count: Int

  init(memory: KeyStorage, count: Int) { (self.memory, self.count) = (memory, count) }

  /// The memory, in which this thread sees the first `count` positions as they were written.
  var storage: KeyStorage {
    memory.acquire(count)
    return memory
  }

  /// The first `count` positions of these.
  public func prefix(_ count: Int) -> CachedKeys {
    CachedKeys(memory: memory, count: min(count, self.count))
  }

  /// These keys in int8, made when first asked for and extended as the cache grows: whole panels of
  /// 16 alone, for the last one goes on being filled. At most 32 rows can be screened at once.
  func screened() -> ScreenedKeys { storage.screened(count) }

  public var dim: Int { memory.dim }
  public var valueDim: Int { memory.valueDim }

  /// Keys as rows `[count, dim]`, a copy.
  public var keyRows: Tensor { keyRows(0..<count) }

  /// Keys of some positions as rows, a copy.
  public func keyRows(_ positions: Range<Int>) -> Tensor {
    precondition(positions.upperBound <= count, "\(positions) of \(count) positions")
    var out = [Float](repeating: 0, count: positions.count * dim)
    let storage = storage
    for (row, key) in positions.enumerated() {
      let panel = storage.panels + key / 16 * dim * 16 + key % 16
      for c in 0..<dim { out[row * dim + c] = panel[c * 16] }
    }
    return Tensor(out, shape: [positions.count, dim])
  }

  /// Values as rows `[count, valueDim]`; nothing is copied.
  public var valueRows: Tensor {
    let storage = storage
    return Tensor(
      storage: storage.valueBytes, dtype: .float32, shape: Shape([count, valueDim]),
      strides: [storage.paddedValueDim, 1])
  }
}

/// The memory of a key cache at one capacity.
///
/// `@unchecked Sendable`: one thread writes, and writes a position once. `written` tells how many
/// are there: it is stored with release after their floats, and every reader begins with an acquire
/// load of it (`CachedKeys.storage`) and uses positions below its own count only. A panel holds 16
/// positions side by side, so kernels also load the lanes beyond the count, perhaps while they are
/// written. What those hold is never used: their scores are masked before any maximum or sum is
/// taken, a bound over a panel only grows by them, and an aligned float is loaded whole.
final class KeyStorage: @unchecked Sendable {
  let dim: Int
  let valueDim: Int
  let paddedValueDim: Int
  let capacity: Int
  let panels: UnsafeMutablePointer<Float>
  let values: UnsafeMutablePointer<Float>
  let valueBytes: Storage
  private let keep: OwnedStorage
  private let screen = Mutex<ScreenedKeys?>(nil)
  private let written = Atomic<Int>(0)

  /// Makes the first `count` positions visible to this thread.
  func acquire(_ count: Int) {
    let there = written.load(ordering: .acquiring)
    precondition(count <= there, "\(count) of \(there) positions")
  }

  /// Quantised keys that hold the full panels of the first `count` positions.
  func screened(_ count: Int) -> ScreenedKeys {
    screen.withLock { screen in
      let keys = screen ?? ScreenedKeys(groups: capacity / 16, dim: dim, isa: as_best_isa())
      keys.extend(panels, to: count / 16)
      screen = keys
      return keys
    }
  }

  /// All zero: unused lanes of the last panel must hold finite numbers, for kernels multiply them.
  init(dim: Int, valueDim: Int, capacity: Int) {
    (self.dim, self.valueDim) = (dim, valueDim)
    paddedValueDim = (valueDim + 15) / 16 * 16
    let groups = (capacity + 15) / 16
    self.capacity = groups * 16
    let keyFloats = groups * dim * 16, valueFloats = groups * 16 * paddedValueDim
    var base: UnsafeMutableRawPointer?
    keep = OwnedStorage(byteCount: 4 * (keyFloats + valueFloats)) { bytes in
      bytes.initializeMemory(as: Float.self, repeating: 0)
      base = bytes.baseAddress
    }
    panels = base!.assumingMemoryBound(to: Float.self)
    values = panels + keyFloats
    let owner = keep
    valueBytes = SharedStorage(
      owner, UnsafeRawBufferPointer(start: UnsafeRawPointer(values), count: 4 * valueFloats))
  }

  /// The one way in which a position comes to be; never called twice for the same position.
  func write(_ position: Int, _ key: UnsafePointer<Float>, _ value: UnsafePointer<Float>) {
    let panel = panels + position / 16 * dim * 16 + position % 16
    for c in 0..<dim { panel[c * 16] = key[c] }
    (values + position * paddedValueDim).update(from: value, count: valueDim)
    written.store(position + 1, ordering: .releasing)
  }

  /// The first positions of another storage of the same widths, the rest of the last panel with
  /// them.
  func copy(_ other: KeyStorage, positions: Int) {
    panels.update(from: other.panels, count: (positions + 15) / 16 * dim * 16)
    values.update(from: other.values, count: positions * paddedValueDim)
    written.store(positions, ordering: .releasing)
  }
}

/// A part of the bytes that another storage owns.
private final class SharedStorage: Storage, @unchecked Sendable {
  private let owner: OwnedStorage

  init(_ owner: OwnedStorage, _ bytes: UnsafeRawBufferPointer) {
    self.owner = owner
    super.init(unowned: bytes)
  }
}
