public import Attention
import Tensors

extension LanguageModel {
  /// W_Q, W_K, W_V and W_O of a layer as float32, views `[heads, width, d]` and their kin; nil for
  /// a layer that is not there. Cost: all four are dequantised.
  ///
  /// Norms and biases are left out. Queries and keys of architectures that rotate neighbouring
  /// elements lie in the file's order, which no dot product of the two notices.
  public func projections(_ layer: LayerNumber) -> Projections? {
    guard weights.layers.indices.contains(layer.value) else { return nil }
    let layer = weights.layers[layer.value], width = config.width, d = config.headDim
    /// `[heads * d, width]` seen as `[heads, width, d]`.
    func inwards(_ matrix: Matrix, _ heads: Int) -> Tensor {
      Tensor(
        storage: matrix.whole.storage, dtype: .float32, shape: Shape([heads, width, d]),
        strides: [d * width, 1, width])
    }
    // `[width, heads * d]` seen as `[heads, d, width]`.
    let output = Tensor(
      storage: layer.output.whole.storage, dtype: .float32,
      shape: Shape([config.heads, d, width]), strides: [d, 1, config.heads * d])
    return Projections(
      query: inwards(layer.query, config.heads), key: inwards(layer.key, config.kvHeads),
      value: inwards(layer.value, config.kvHeads), output: output)
  }
}

extension Matrix {
  /// All of it as float32, `[rows, columns]`.
  fileprivate var whole: Tensor {
    Tensor((0..<rows).flatMap { floats(row: $0) }, shape: [rows, columns])
  }
}
