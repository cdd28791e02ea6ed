import Synchronization
public import Tensors

/// What several methods want of one head and each would compute anew: its keys and values side by
/// side, and dense outputs.
///
/// Example: `run.passes = SharedPasses(head)` before a run is given to one method after another.
/// The catch: two threads that miss the same thing at the same time both make it. Memory: keys and
/// values once for each width of a tile, and an output `[queries, valueDim]` for each tile asked
/// for, as long as it lives.
public final class SharedPasses: Sendable {
  /// The head that it is about.
  public let head: Head
  private let precision: TilePass.Precision
  private let made = Mutex(Made())

  /// What is there already.
  private struct Made {
    var passes: [Int: TilePass] = [:]
    var outputs: [Tile: HeadOutput] = [:]
  }

  /// What a dense output depends on: sums run tile by tile.
  private struct Tile: Hashable {
    let spec: TileSpec
    let step: Int
  }

  /// Nothing is computed yet. The head has V.
  public init(_ head: Head, precision: TilePass.Precision = .automatic) {
    (self.head, self.precision) = (head, precision)
  }

  /// Whether a run may take from here what it wants of a head.
  public func serve(_ other: Head, _ run: MethodRun) -> Bool {
    run.precision == precision && head.isSame(as: other)
  }

  /// Keys and values, packed for tiles of so many keys.
  public func pass(keysPerTile: Int, threads: ComputeThreads) -> TilePass {
    if let pass = made.withLock({ $0.passes[keysPerTile] }) { return pass }
    let pass = TilePass(
      HeadGroup([head]), keysPerTile: keysPerTile, withValues: true, precision: precision,
      threads: threads)
    made.withLock { $0.passes[keysPerTile] = pass }
    return pass
  }

  /// Outputs of one row tile in `step` with nothing skipped. Nil when cancelled.
  public func dense(_ spec: TileSpec, every step: Int, _ run: MethodRun) -> HeadOutput? {
    let tile = Tile(spec: spec, step: step)
    if let output = made.withLock({ $0.outputs[tile] }) { return output }
    let output = pass(keysPerTile: spec.keys, threads: run.threads).forward(
      spec, .blasst(lambda: 0), every: step, threads: run.threads, isCancelled: run.isCancelled)
    guard let output else { return nil }
    made.withLock { $0.outputs[tile] = output[0] }
    return output[0]
  }
}
