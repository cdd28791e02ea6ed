import Attention

/// Blocks that a forward pass saw and skipped, by layer and query head.
///
/// Example: `state.counts.sparsity` is the share of visible blocks that the last pass left
/// out. The catch: a block counts as one whether its tile is full or cut by the causal
/// diagonal.
public struct BlockCounts: Sendable, Equatable {
  /// Layers of the model.
  public let layers: Int
  /// Query heads of a layer.
  public let heads: Int
  /// Blocks with at least one key that a query may see, `[layers * heads]`, a layer's heads
  /// together.
  public private(set) var visible: [Int32]
  /// Of those, how many were not computed, `[layers * heads]`.
  public private(set) var skipped: [Int32]

  /// Nothing seen yet.
  public init(layers: Int, heads: Int) {
    (self.layers, self.heads) = (layers, heads)
    visible = [Int32](repeating: 0, count: layers * heads)
    skipped = visible
  }

  /// Counts that somebody kept, `[layers * heads]` each; traps when they have another size.
  public init(layers: Int, heads: Int, visible: [Int32], skipped: [Int32]) {
    precondition(visible.count == layers * heads && skipped.count == visible.count)
    (self.layers, self.heads, self.visible, self.skipped) = (layers, heads, visible, skipped)
  }

  /// Visible blocks of all layers and heads.
  public var totalVisible: Int { visible.reduce(0) { $0 + Int($1) } }
  /// Skipped blocks of all layers and heads.
  public var totalSkipped: Int { skipped.reduce(0) { $0 + Int($1) } }
  /// Skipped over visible, 0 to 1; 0 when nothing was visible.
  public var sparsity: Double {
    totalVisible == 0 ? 0 : Double(totalSkipped) / Double(totalVisible)
  }

  /// Adds another pass of the same model.
  public mutating func add(_ other: BlockCounts) {
    for i in visible.indices {
      visible[i] += other.visible[i]
      skipped[i] += other.skipped[i]
    }
  }

}

/// Counts blocks while a pass runs.
///
/// Plain memory and no lock, because counting stands in the inner loop of a token.
/// `@unchecked Sendable`: every head has places of its own, and a head is attended by one
/// thread at a time.
final class BlockCounter: @unchecked Sendable {
  private let layers: Int
  private let heads: Int
  private let visible, skipped: UnsafeMutablePointer<Int32>

  init(_ config: ModelConfig) {
    (layers, heads) = (config.layers, config.heads)
    visible = .allocate(capacity: layers * heads)
    skipped = .allocate(capacity: layers * heads)
    reset()
  }

  deinit {
    visible.deallocate()
    skipped.deallocate()
  }

  /// Every pass begins at zero; sums over passes are the reader's business.
  func reset() {
    visible.initialize(repeating: 0, count: layers * heads)
    skipped.initialize(repeating: 0, count: layers * heads)
  }

  /// What a decode row already counted for itself.
  func add(_ layer: Int, _ head: Int, visible seen: Int32, skipped dropped: Int32) {
    visible[layer * heads + head] += seen
    skipped[layer * heads + head] += dropped
  }

  /// Counts the tiles of a prefill mask; those above the diagonal are neither seen nor
  /// skipped.
  func add(_ layer: Int, _ head: Int, _ mask: BlockMask) {
    for verdict in mask.verdicts where verdict != .invisible {
      add(layer, head, visible: 1, skipped: verdict == .skipped ? 1 : 0)
    }
  }

  /// A copy, to be taken when the pass is over.
  var counts: BlockCounts {
    BlockCounts(
      layers: layers, heads: heads,
      visible: Array(UnsafeBufferPointer(start: visible, count: layers * heads)),
      skipped: Array(UnsafeBufferPointer(start: skipped, count: layers * heads)))
  }
}
