public import Attention
public import Tensors

/// Records queries as another observer does, and what every source adds to the residual
/// stream of a prompt.
///
/// Memory: (2 layers + 1) x tokens x width floats; for a prompt of 4096 tokens in a model of
/// 30 layers 576 wide, 576 MB. Methods that weigh layers against each other read it through
/// `tensor`.
public final class ResidualRecord: ForwardObserver {
  private let inner: any ForwardObserver
  private let width: Int
  /// `[sources][positions * width]`
  private var rows: [[Float]]

  /// `inner` hears everything else.
  public init(_ config: ModelConfig, beside inner: any ForwardObserver) {
    (self.inner, width) = (inner, config.width)
    rows = [[Float]](repeating: [], count: 2 * config.layers + 1)
  }

  /// Always: that is what it is for.
  public var wantsResiduals: Bool { true }

  /// Passed on.
  public func queries(_ layer: LayerIndex, _ positions: Range<Int>, _ rows: UnsafePointer<Float>) {
    inner.queries(layer, positions, rows)
  }

  /// Passed on.
  public func finished(_ layer: LayerIndex, _ positions: Range<Int>) {
    inner.finished(layer, positions)
  }

  /// Keeps a source's rows; positions that come again replace those before.
  public func residual(_ source: Int, _ positions: Range<Int>, _ new: UnsafePointer<Float>) {
    let kept = positions.lowerBound * width
    if rows[source].count > kept { rows[source].removeLast(rows[source].count - kept) }
    rows[source] += UnsafeBufferPointer(start: new, count: positions.count * width)
  }

  /// `[sources, tokens, width]`: the embedding, then attention and MLP of each layer in turn.
  public var tensor: Tensor {
    Tensor(rows.flatMap { $0 }, shape: [rows.count, (rows.first?.count ?? 0) / width, width])
  }
}
