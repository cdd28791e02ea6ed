public import Attention
import Synchronization
public import Tensors

/// Records queries as another observer does, and what every source adds to the residual stream.
///
/// Memory: (2 layers + 1) x tokens x width floats, 140 KB a token in a model of 30 layers 576 wide,
/// up to `budget`; a longer text is not kept at all, for a method that weighs layers against each
/// other wants every token from the first on. Written by the engine's thread, read by any.
///
/// Example: `model.prefill(tokens, state, plan, observer: record)`, then `record.tensor(tokens:
/// 64)`.
public final class ResidualRecord: ForwardObserver, Sendable {
  /// Bytes that a record takes at most unless told otherwise: 256 MiB.
  public static let standardBudget = 256 << 20

  private let inner: QueryRecord
  private let sources: Int
  private let width: Int
  private let mostPositions: Int
  private let state: Mutex<State>

  /// The rows of a position count once its last source has come. A value: a reader keeps the
  /// storage it took even when the writer has moved on to a larger one.
  private struct State {
    /// Nil once the text was too long.
    var rows: ResidualRows?
    var count = 0
  }

  /// `inner` hears everything else; `budget` in bytes.
  public init(_ config: ModelConfig, beside inner: QueryRecord, budget: Int = .max) {
    (self.inner, width, sources) = (inner, config.width, 2 * config.layers + 1)
    mostPositions = budget / (4 * sources * width)
    let rows = ResidualRows(sources: sources, width: width, capacity: min(256, mostPositions))
    state = Mutex(State(rows: rows))
  }

  /// The first `count` positions of another record, copied; nothing where that one gave up.
  public init(copying other: ResidualRecord, beside inner: QueryRecord, count: Int) {
    (self.inner, width, sources) = (inner, other.width, other.sources)
    mostPositions = other.mostPositions
    let held = other.state.withLock { $0 }
    let kept = min(count, held.count)
    state = Mutex(
      State(
        rows: held.rows?.copy(
          kept, capacity: max(kept, min(max(256, 2 * kept), other.mostPositions))), count: kept))
  }

  /// While the text is not too long.
  public var wantsResiduals: Bool { state.withLock { $0.rows != nil } }

  /// Passed on.
  public func queries(_ layer: LayerIndex, _ positions: Range<Int>, _ rows: UnsafePointer<Float>) {
    inner.queries(layer, positions, rows)
  }

  /// Passed on.
  public func finished(_ layer: LayerIndex, _ positions: Range<Int>) {
    inner.finished(layer, positions)
  }

  /// Keeps a source's rows; positions that come again replace those before and all behind them.
  public func residual(_ source: Int, _ positions: Range<Int>, _ new: UnsafePointer<Float>) {
    guard var rows = state.withLock({ $0.rows }) else { return }
    guard positions.upperBound <= mostPositions else {
      return state.withLock { $0 = State() }
    }
    let isWritten = positions.lowerBound < rows.count
    // Rows that were told of may be read at this moment: those that replace them lie elsewhere.
    if isWritten || positions.upperBound > rows.capacity {
      rows = rows.copy(
        min(rows.count, positions.lowerBound),
        capacity: max(positions.upperBound, min(2 * positions.upperBound, mostPositions)))
      state.withLock { [rows] in $0 = State(rows: rows, count: min($0.count, rows.count)) }
    }
    rows.write(source, positions, new)
    if source == sources - 1 {
      rows.publish(positions.upperBound)
      state.withLock { $0.count = positions.upperBound }
    }
  }

  /// Positions that all sources are known of.
  public var count: Int { state.withLock { $0.count } }

  /// Bytes of the rows that are known.
  public var bytes: Int { 4 * sources * width * count }

  /// Forgets all, and keeps nothing of what comes. For the thread that writes.
  public func letGo() { state.withLock { $0 = State() } }

  /// `[sources, tokens, width]`, nothing is copied: the embedding, then attention and MLP of each
  /// layer in turn. Nil when not so many positions are known.
  public func tensor(tokens: Int) -> Tensor? {
    let (rows, count) = state.withLock { ($0.rows, $0.count) }
    guard let rows, tokens <= count else { return nil }
    return Tensor(
      storage: rows.bytes(positions: tokens), dtype: .float32,
      shape: Shape([sources, tokens, width]), strides: [width, sources * width, 1])
  }
}

/// The sources of each position, one behind the other: `[positions][sources][width]`.
///
/// `@unchecked Sendable`: one thread writes, and a row is written once before `publish` tells of it
/// with a release store; every reader begins with an acquire load.
private final class ResidualRows: @unchecked Sendable {
  let capacity: Int
  private let sources: Int
  private let width: Int
  private let storage: OwnedStorage
  private let base: UnsafeMutablePointer<Float>
  private let written = Atomic<Int>(0)

  init(sources: Int, width: Int, capacity: Int) {
    (self.sources, self.width, self.capacity) = (sources, width, max(capacity, 1))
    var start: UnsafeMutableRawPointer?
    storage = OwnedStorage(byteCount: 4 * sources * width * max(capacity, 1)) {
      start = $0.baseAddress
    }
    base = start!.bindMemory(to: Float.self, capacity: sources * width * max(capacity, 1))
  }

  /// Positions that are told of.
  var count: Int { written.load(ordering: .relaxed) }

  /// `rows` is `[positions, width]` of one source.
  func write(_ source: Int, _ positions: Range<Int>, _ rows: UnsafePointer<Float>) {
    for (row, position) in positions.enumerated() {
      (base + (position * sources + source) * width).update(from: rows + row * width, count: width)
    }
  }

  func publish(_ count: Int) { written.store(count, ordering: .releasing) }

  /// The bytes, in which this thread sees the first positions as they were written.
  func bytes(positions: Int) -> OwnedStorage {
    let there = written.load(ordering: .acquiring)
    precondition(positions <= there, "\(positions) of \(there) positions")
    return storage
  }

  /// Storage of its own with the first positions of this one.
  func copy(_ count: Int, capacity: Int) -> ResidualRows {
    let other = ResidualRows(sources: sources, width: width, capacity: max(count, capacity))
    other.base.update(from: base, count: count * sources * width)
    other.publish(count)
    return other
  }
}
