public import Tensors

/// Records queries as another observer does, and what every source adds to the residual stream of a prompt.
///
/// Memory: (2 layers + 1) x tokens x width floats.
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

  public var wantsResiduals: Bool { true }

  public func queries(_ layer: Int, _ positions: Range<Int>, _ rows: UnsafePointer<Float>) {
    inner.queries(layer, positions, rows)
  }

  public func finished(_ layer: Int, _ positions: Range<Int>) { inner.finished(layer, positions) }

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
