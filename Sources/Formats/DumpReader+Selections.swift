import Tensors

/// What a model's own selector left in a file, chosen keys and the scores it chose by, and the
/// write strengths of a delta rule.
extension DumpReader {
  /// Adds what a learned selector left behind to layers that are there, chosen keys and its scores,
  /// and write strengths. An array that fits no head is passed over with a remark: Q and K beside
  /// it are as good as without it. Throws what reading throws.
  mutating func addSelections(_ layers: inout [Int: LayerArrays]) throws(FormatError) {
    for role in [ArrayRole.selected, .indexScores, .beta] {
      for item in found[role] ?? [] {
        guard let layer = item.layer.map({ layers[$0] }) ?? layers.values.first,
          layers.count == 1 || item.layer != nil
        else {
          remarks.append("\(role.rawValue) of no layer that is here were passed over")
          continue
        }
        let tensor =
          role == .beta ? try strengths(item, layer) : try selection(role, item, layer)
        guard let tensor else {
          let (queries, keys, heads) = layer.positions, what = role == .beta ? "beta" : "selection"
          remarks.append(
            """
            layer \(layer.layer): \(role.rawValue) \(item.entry.shape) of \
            \(item.entry.dtype.rawValue) fit no \(what) of \(queries) queries, \(keys) keys and \
            \(heads) heads, and were passed over
            """
          )
          continue
        }
        layers[layer.layer]?.arrays[role] = tensor
      }
    }
  }

  /// β as `[sets, keys]`, or nil where it is none: `[sets, k]` or `[k, sets]` with sets that divide
  /// the heads, each with a batch before it. Throws what reading throws.
  private func strengths(_ item: Found, _ layer: LayerArrays) throws(FormatError) -> Tensor? {
    let (_, keys, heads) = layer.positions, shape = item.entry.shape
    let batch = options.batch ?? 0
    guard (2...3).contains(shape.rank), shape.count > 0, item.entry.dtype.isFloat,
      shape.rank == 2 || (0..<shape[0]).contains(batch)
    else { return nil }
    let tensor = try item.archive.tensor(item.entry.name)
    let part = shape.rank == 2 ? tensor : tensor[batch]
    if part.shape[1] == keys, heads % part.shape[0] == 0 { return part }
    return part.shape[0] == keys && heads % part.shape[1] == 0 ? part.permuted([1, 0]) : nil
  }

  /// The array as `[sets, queries, last]`, or nil where it is none: `[q, x]` shared by all heads,
  /// `[sets, q, x]` or `[q, sets, x]` with sets that divide the heads, each with a batch before it.
  private func selection(
    _ role: ArrayRole, _ item: Found, _ layer: LayerArrays
  ) throws(FormatError) -> Tensor? {
    let (queries, keys, heads) = layer.positions
    let shape = item.entry.shape
    guard (2...4).contains(shape.rank), shape.count > 0,
      role == .selected ? !item.entry.dtype.isFloat : shape[-1] == keys
    else { return nil }
    let tensor = try item.archive.tensor(item.entry.name)
    func sets(_ part: Tensor) -> Tensor? {
      if part.shape.rank == 2 {
        return part.shape[0] == queries ? AxisOrder.insertOne(part, at: 0) : nil
      }
      let (a, b) = (part.shape[0], part.shape[1])
      if b == queries, heads % a == 0 { return part }
      return a == queries && heads % b == 0 ? part.permuted([1, 0, 2]) : nil
    }
    if shape.rank < 4, let whole = sets(tensor) { return whole }
    let batch = options.batch ?? 0
    guard shape.rank > 2, (0..<shape[0]).contains(batch) else { return nil }
    return sets(tensor[batch])
  }
}
