public import Analysis
public import Attention

/// MInference 1.0, block-sparse: per query block the key blocks whose mean key agrees best with the mean query.
///
/// Block score q̄_a k̄_b over mean-pooled blocks; keep the top `count` visible blocks of each query block. The diagonal is
/// not forced, so a row may lose itself. Paper: Jiang et al., "MInference 1.0", 2024, arXiv 2407.02490 (card 1).
public struct BlockSparse: MaskMethod {
  static let count = Knob(
    "count", "key blocks kept a query block", 1...1 << 30, standard: 100, step: .multiply(2),
    isMain: true, aliases: ["k"])
  static let block = Knob(
    "block", "tokens of a block", 2...4096, standard: 64, step: .multiply(2),
    aliases: ["B"])

  public static let card = MethodCard(
    id: "block-sparse", title: "Block-sparse", family: "minference",
    idea: "Keep the key blocks whose mean key agrees best with the mean query.",
    source: "Jiang et al., MInference 1.0, 2024, arXiv 2407.02490",
    knobs: [count.facts, block.facts, Budget.knob.facts], mainField: "kept",
    mainNumber: "recall_mean",
    denseKnobs: ["count": .number(Double(1 << 30)), "budget": .word("paper")])

  private let knobs: CheckedKnobs

  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// As the knob says: a prompt is cut before its length is known.
  public var rowsTogether: Int { knobs[Self.block] }

  public func keep(_ head: Head, _ run: MethodRun, _ aside: inout Aside) -> KeptSet {
    let budget = Budget(knobs, of: ["block", "count"], keys: head.keys)
    let size = budget.block(knobs[Self.block])
    let count = budget.blocks(knobs[Self.count], size: knobs[Self.block])
    aside.selection = ((head.queries + size - 1) / size) * ((head.keys + size - 1) / size)
    budget.note(["block": size, "count": count], &aside)
    return Shapes.blockSparse(head, size: size, count: count)
  }
}
