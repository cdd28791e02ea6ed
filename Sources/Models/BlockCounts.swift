import Attention

/// Blocks that a forward pass saw and skipped, by layer and query head.
public struct BlockCounts: Sendable, Equatable {
  public let layers: Int
  public let heads: Int
  /// [layers * heads]
  public private(set) var visible: [Int32]
  public private(set) var skipped: [Int32]

  public init(layers: Int, heads: Int) {
    (self.layers, self.heads) = (layers, heads)
    visible = [Int32](repeating: 0, count: layers * heads)
    skipped = visible
  }

  public init(layers: Int, heads: Int, visible: [Int32], skipped: [Int32]) {
    precondition(visible.count == layers * heads && skipped.count == visible.count)
    (self.layers, self.heads, self.visible, self.skipped) = (layers, heads, visible, skipped)
  }

  public var totalVisible: Int { visible.reduce(0) { $0 + Int($1) } }
  public var totalSkipped: Int { skipped.reduce(0) { $0 + Int($1) } }
  /// 0 when nothing was visible.
  public var sparsity: Double {
    totalVisible == 0 ? 0 : Double(totalSkipped) / Double(totalVisible)
  }

  public mutating func add(_ other: BlockCounts) {
    for i in visible.indices {
      visible[i] += other.visible[i]
      skipped[i] += other.skipped[i]
    }
  }

}

/// Counts blocks while a pass runs.
///
/// `@unchecked Sendable`: every head has places of its own, and a head is attended by one thread at a time.
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

  func reset() {
    visible.initialize(repeating: 0, count: layers * heads)
    skipped.initialize(repeating: 0, count: layers * heads)
  }

  func add(_ layer: Int, _ head: Int, visible seen: Int32, skipped dropped: Int32) {
    visible[layer * heads + head] += seen
    skipped[layer * heads + head] += dropped
  }

  func add(_ layer: Int, _ head: Int, _ mask: BlockMask) {
    for verdict in mask.verdicts where verdict != .invisible {
      add(layer, head, visible: 1, skipped: verdict == .skipped ? 1 : 0)
    }
  }

  var counts: BlockCounts {
    BlockCounts(
      layers: layers, heads: heads,
      visible: Array(UnsafeBufferPointer(start: visible, count: layers * heads)),
      skipped: Array(UnsafeBufferPointer(start: skipped, count: layers * heads)))
  }
}
