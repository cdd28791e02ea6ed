public import Attention

/// MInference 1.0, block-sparse: per query block the key blocks whose mean key agrees best with the mean query.
///
/// Block score q̄_a k̄_b over mean-pooled blocks; keep the top `count` visible blocks of each query block. The diagonal is
/// not forced, so a row may lose itself. Paper: Jiang et al., "MInference 1.0", 2024, arXiv 2407.02490 (card 1).
public struct BlockSparse: AttentionMethod {
  public static let card = MethodCard(
    id: "block-sparse", title: "Block-sparse", family: "minference",
    idea: "Keep the key blocks whose mean key agrees best with the mean query.",
    citation: "Jiang et al., MInference 1.0, 2024, arXiv 2407.02490",
    knobs: [
      Knob("count", "key blocks kept a query block", .integer(1...1 << 30), standard: .number(100)),
      Knob("block", "tokens of a block", .integer(2...4096), standard: .number(64)),
      MInference.budgetKnob,
    ], denseKnobs: ["count": .number(Double(1 << 30)), "budget": .word("paper")])

  private let knobs: CheckedKnobs

  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  public func attend(_ group: HeadGroup, state: inout AttentionState, trace: inout Trace)
    -> [[Float]]?
  {
    var size = knobs.integer("block"), count = knobs.integer("count")
    if MInference.Budget(knobs, keys: group.keys).isScaled {
      count = Scaled.blocks(count, size: size, n: group.keys, reference: MInference.reference)
      size = Scaled.block(size, n: group.keys, reference: MInference.reference)
    }
    let pooled = ((group.queries + size - 1) / size) * ((group.keys + size - 1) / size)
    trace.cost.selection += pooled * group.heads.count
    let sets = group.heads.map { Shapes.blockSparse($0, size: size, count: count) }
    return MInference.attend(group, sets, state, &trace)
  }
}
