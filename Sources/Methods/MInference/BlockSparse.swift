public import Analysis
public import Attention

/// MInference 1.0, block-sparse: per query block the key blocks whose mean key agrees best with the
/// mean query.
///
///     score(a, b) = q̄_a · k̄_b        q̄, k̄: means over blocks of `block` tokens
///     keep block (a, b)  <=>  b is among the `count` largest of row a that a may see
///
/// The third shape of MInference 1.0 (Jiang et al., "MInference 1.0", 2024, arXiv 2407.02490), for
/// heads whose targets move about. Only the order within a row of blocks matters, so neither 1/√d
/// nor softmax is applied. Computed here exactly, with these readings: a ragged last block averages
/// the rows it has; ties go to the lower block; the diagonal is not forced, so a row may lose
/// itself.
///
/// Replaced: of a stored map, which has no Q and K, the mean score or weight of a block stands for
/// the product of the means. 100 blocks of 64 tokens are the paper's, scaled from 128k tokens
/// unless `budget` is `paper`.
///
/// Findings: those of every mask, and a note of the budgets in force. Cost: (n / block)² products
/// of width d to select, counted in `selection`; n · count · block entries to attend to.
public struct BlockSparse: MaskMethod {
  /// Key blocks kept for each block of queries; what `[` and `]` move.
  static let count = Knob(
    "count", "key blocks kept a query block", 1...1 << 30, standard: 100, step: .multiply(2),
    isMain: true, aliases: ["k"])
  /// Side of a block in tokens, of queries and of keys.
  static let block = Knob(
    "block", "tokens of a block", 2...4096, standard: 64, step: .multiply(2),
    aliases: ["B"])

  /// Dense when every visible block is kept; the number to rank heads by is the mean recall.
  public static let card = MethodCard(
    id: "block-sparse", title: "Block-sparse", family: "minference",
    idea: "Keep the key blocks whose mean key agrees best with the mean query.",
    source: "Jiang et al., MInference 1.0, 2024, arXiv 2407.02490",
    knobs: [count.facts, block.facts, Budget.knob.facts], mainField: "kept",
    mainNumber: "recall_mean",
    denseKnobs: ["count": .number(Double(1 << 30)), "budget": .word("paper")],
    variants: ["minference-block": [:]],
    growth: Growth("(n/64)²") { $0 * $0 / 4096 })

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// As the knob says, in query rows: a prompt is cut before its length is known, so nothing is
  /// scaled here.
  public var rowsTogether: Int { knobs[Self.block] }

  /// The set of one head, whole blocks cut at the causal edge. Throws nothing.
  public func keep(_ head: Head, _ run: MethodRun, _ aside: inout Aside) -> KeptSet {
    let budget = Budget(knobs, of: ["block", "count"], keys: head.keys)
    let size = budget.block(knobs[Self.block])
    let count = budget.blocks(knobs[Self.count], size: knobs[Self.block])
    aside.selection = ((head.queries + size - 1) / size) * ((head.keys + size - 1) / size)
    budget.note(["block": size, "count": count], &aside)
    return Shapes.blockSparse(head, size: size, count: count)
  }
}
