public import Analysis
public import Attention
import Tensors

/// MoBA, mixture of block attention: every query picks blocks of keys by their mean key.
///
/// Gate s_ib = q_i . mean(K of block b). Every query keeps the k blocks with the largest gate among
/// those that lie wholly before it; its own block is always one of the k and causal inside. Paper:
/// Lu et al., "MoBA", 2025, arXiv 2502.13189 (block 512, k = 3). Where nothing is causal, the block
/// at the query's own position is forced and all others compete. Models trained with it choose
/// better than this head, which was not. Findings: those of every mask. Needs Q and K. Cost
/// n (n / block) dot products.
public struct MoBA: MaskMethod {
  static let count = Knob(
    "k", "blocks kept a query, its own included", 1...1 << 30, standard: 3, isMain: true,
    aliases: ["count"])
  static let block = Knob(
    "block", "tokens of a block", 1...1 << 16, standard: 512, step: .multiply(2), aliases: ["B"])

  public static let card = MethodCard(
    id: "moba", title: "MoBA", family: "pages",
    idea: "Every query picks the blocks whose mean key it agrees with best, its own always.",
    source: "Lu et al., MoBA, 2025, arXiv 2502.13189", needs: [.queryKey],
    knobs: [count.facts, block.facts, Budget.knob.facts], mainField: "kept",
    mainNumber: "recall_mean", denseKnobs: ["k": .number(Double(1 << 30))],
    growth: Growth("n · blocks") { $0 * $0 })

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for knobs that are unknown or out of range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// The number of blocks is the paper's; their size is scaled to the map.
  public func keep(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> KeptSet {
    guard let (query, key) = head.queryAndKey else { throw Missing(.queryKey) }
    let budget = Budget(knobs, of: ["k", "block"], keys: head.keys, reference: 32 * 1024)
    let size = budget.block(knobs[Self.block]), count = knobs[Self.count]
    budget.note(["block": size], &aside)
    let means = Pooled.means(key, size), queries = query.floats(), dim = head.dim
    let set = try RowPicks.looked(head, run, &aside) { row in
      let limit = head.visibility.limit(row: row)
      guard limit > 0 else { return [] }
      let own = min(max(head.visibility.position(row: row), 0), limit - 1) / size
      let seen = (limit + size - 1) / size
      let gates = (0..<seen).map { block in
        block == own
          ? .infinity
          : (0..<dim).reduce(0.0) { $0 + Double(queries[row * dim + $1]) * means[block][$1] }
      }
      return Shapes.top(count, of: gates).map { $0 * size..<min(($0 + 1) * size, limit) }
    }
    aside.selection = (0..<head.queries).reduce(0) {
      $0 + (head.visibility.limit(row: $1) + size - 1) / size
    }
    return set
  }
}
