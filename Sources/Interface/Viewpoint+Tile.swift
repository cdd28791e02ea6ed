import Attention
import Sessions

/// The tile that blocks are counted in, as keys and commands change it. Each change gives a
/// sentence for the caption where there is something to say.
extension Viewpoint {
  /// Changes tile, vote, order, criterion or splits, unless they are given by the file or make too
  /// many blocks: then, and where splits are more than there are tiles, it says so.
  mutating func setSpec(in source: SourceDescription, _ change: (inout TileSpec) -> Void)
    -> String?
  {
    guard source.storedTile == nil else {
      return "This file stores masks: their tile, vote and order are given."
    }
    var wanted = spec
    change(&wanted)
    guard source.blocks(wanted) <= TileLimit.blocks else {
      return
        """
        A tile of \(wanted.rows)x\(wanted.keys) makes \(source.blocks(wanted)) blocks of this map; \
        \(TileLimit.blocks) are the most.
        """
    }
    spec = wanted
    guard spec.splits > (source.keys - 1) / spec.keys + 1 else { return nil }
    return
      """
      \(spec.splits) splits of \((source.keys - 1) / spec.keys + 1) key tiles: every tile is its \
      own, and none is skipped.
      """
  }

  /// The next preset, vote or order, and what it means now.
  mutating func turnTile(_ action: Action, in source: SourceDescription, isLive: Bool) -> String? {
    switch action {
    case .tile: return nextTile(in: source, isLive: isLive)
    case .vote:
      let refusal = setSpec(in: source) { $0.vote = $0.vote.following }
      guard source.storedTile == nil else { return refusal }
      return spec.vote == .head
        ? "Each query head decides alone." : "Query heads of a KV head decide together."
    default:
      let refusal = setSpec(in: source) { $0.order = $0.order.following }
      guard source.storedTile == nil else { return refusal }
      return spec.order == .ascending
        ? "Key blocks from the first on." : "Key blocks from the last on: local first."
    }
  }

  /// The next preset whose tile is not too fine for this map.
  private mutating func nextTile(in source: SourceDescription, isLive: Bool) -> String? {
    // Presets of equal tiles are one step, under both names.
    var steps: [(spec: TileSpec, names: [String])] = []
    for preset in TilePreset.all {
      let spec = source.queries == 1 && !isLive ? preset.decode : preset.prefill
      if let at = steps.firstIndex(where: { $0.spec == spec }) {
        steps[at].names.append(preset.name)
      } else {
        steps.append((spec, [preset.name]))
      }
    }
    let here =
      steps.firstIndex {
        ($0.spec.rows, $0.spec.keys) == (spec.rows, spec.keys)
      } ?? -1
    // A tile too fine for this map is passed over.
    let next =
      (1...steps.count).map { steps[(here + $0) % steps.count] }.first {
        source.blocks($0.spec) <= TileLimit.blocks
      }
      ?? steps[max(here, 0)]
    let refusal = setSpec(in: source) {
      ($0.rows, $0.keys, $0.vote) = (next.spec.rows, next.spec.keys, next.spec.vote)
    }
    guard source.storedTile == nil else { return refusal }
    let names = next.names.joined(separator: ", ")
    return "Tile \(next.spec.rows)x\(next.spec.keys) (\(names)): query rows that vote x keys."
  }
}
