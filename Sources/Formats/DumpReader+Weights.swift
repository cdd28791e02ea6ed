import Tensors

/// Projections that lie beside the activations they made.
extension DumpReader {
  /// Adds W_Q, W_K, W_V and W_O to layers that are there: arrays of three axes whose first counts
  /// the layer's heads, or KV heads. Others are passed over with a remark: Q and K beside them are
  /// as good as without. Throws what reading throws.
  mutating func addWeights(_ layers: inout [Int: LayerArrays]) throws(FormatError) {
    for role in ArrayRole.weights {
      for item in found[role] ?? [] {
        guard let layer = item.layer.map({ layers[$0] }) ?? layers.values.first,
          layers.count == 1 || item.layer != nil
        else {
          remarks.append("\(role.rawValue) of no layer that is here was passed over")
          continue
        }
        let heads = layer.positions.heads, shape = item.entry.shape
        let shared = layer.arrays[.key]?.shape[0]
        let isOfHeads = role == .queryWeights || role == .outputWeights
        guard shape.rank == 3, shape.count > 0, item.entry.dtype.isFloat,
          isOfHeads ? shape[0] == heads : shape[0] == shared ?? shape[0]
        else {
          remarks.append(
            """
            layer \(layer.layer): \(role.rawValue) \(shape) is no projection of \(heads) heads \
            over \(shared ?? heads), and was passed over
            """
          )
          continue
        }
        layers[layer.layer]?.arrays[role] = try item.archive.tensor(item.entry.name)
      }
    }
  }
}
