public import Attention

/// Softmax attention over everything a query may see: the yardstick.
///
/// O = softmax(Q K^T / sqrt(d)) V. Vaswani et al., "Attention Is All You Need", 2017, arXiv 1706.03762; tile by tile with
/// an online softmax as in Dao et al., "FlashAttention", 2022, arXiv 2205.14135.
public struct Dense: AttentionMethod {
  public static let card = MethodCard(
    id: "dense", title: "Dense attention", family: "softmax",
    idea: "Every query attends to every key it may see.",
    citation: "Vaswani et al., Attention Is All You Need, 2017, arXiv 1706.03762", knobs: [])

  public init(knobs: Knobs) throws(KnobError) { _ = try CheckedKnobs(knobs, for: Self.card) }

  public func attend(_ group: HeadGroup, state: inout AttentionState, trace: inout Trace)
    -> [[Float]]?
  {
    attendByTiles(group, .standard(queries: group.queries), .blasst(lambda: 0), state, &trace)
  }

  public func decode(
    _ query: UnsafePointer<Float>, _ keys: CachedKeys, _ row: DecodeRow,
    into output: UnsafeMutablePointer<Float>
  ) -> Bool { row.blasst(query, keys, .standard(queries: 1), lambda: 0, into: output) }
}

/// The forward pass that tile-wise methods share: outputs, masks and costs.
func attendByTiles(
  _ group: HeadGroup, _ spec: TileSpec, _ selection: Selection, _ state: AttentionState,
  _ trace: inout Trace, screen: Screening = .none
) -> [[Float]]? {
  let pass = TilePass(
    group, keysPerTile: spec.keys, withValues: group.heads[0].value != nil,
    precision: state.precision, threads: state.threads)
  guard let outputs = pass.forward(spec, selection, screen: screen, threads: state.threads) else {
    return nil
  }
  trace.masks = outputs.map(\.mask)
  for mask in trace.masks { trace.cost.add(mask, group) }
  return outputs.map(\.values)
}
