public import Analysis
public import Attention
import Tensors

/// InfLLM v2: blocks of keys chosen for a whole KV group by pooled attention, without parameters.
///
/// Keys are averaged over kernels of `kernel` tokens, `stride` apart; S = sum over the heads of the
/// group of softmax(scale q . mean) over the kernels that a query sees whole. A block of keys
/// scores the maximum of S over the kernels that reach into it, and every query keeps the `count`
/// best: the first `initial` blocks and those of the last `window` tokens, its own counted, are
/// always among them. Attention is then exact on these blocks, for all heads of the group. Paper:
/// Zhao et al., "InfLLM-V2", 2025, arXiv 2509.24663 (kernels of 32 with stride 16, blocks of 64).
/// Exact but for the paper's cheaper softmax, whose denominator comes from coarser kernels; here it
/// is that of the kernels themselves. Below its `dense_len` of 8k tokens the model attends densely,
/// which is for who sets it. Where nothing is causal, the window ends at the query's own block.
///
/// Findings: those of every mask, fields `compressed` `[queries, kernels]` of the head and
/// `importance` `[queries, blocks]` of the group (NaN where nothing is seen). Needs Q and K. Cost
/// n (n / stride) products a head.
public struct InfLLM: GroupMaskMethod {
  static let count = Knob(
    "count", "blocks kept a query, forced ones included", 1...1 << 30, standard: 96,
    step: .multiply(2), isMain: true, aliases: ["k", "topk"])
  static let block = Knob(
    "block", "keys of a block", 1...1 << 16, standard: 64, step: .multiply(2), aliases: ["B"])
  static let kernel = Knob(
    "kernel", "keys of a mean", 1...1 << 16, standard: 32, step: .multiply(2))
  static let stride = Knob(
    "stride", "keys from a mean to the next", 1...1 << 16, standard: 16, step: .multiply(2))
  static let initial = Knob(
    "initial", "first blocks kept always", 0...1 << 20, standard: 1, aliases: ["sinks"])
  static let window = Knob(
    "window", "last tokens whose blocks are kept always", 0...1 << 30, standard: 2048,
    step: .multiply(2), aliases: ["w", "local"])

  public static let card = MethodCard(
    id: "infllm", title: "InfLLM v2", family: "pages",
    idea: "A KV group keeps the blocks that its queries' attention to mean keys peaks in.",
    source: "Zhao et al., InfLLM-V2, 2025, arXiv 2509.24663", scope: .group, needs: [.queryKey],
    knobs: [
      count.facts, block.facts, kernel.facts, stride.facts, initial.facts, window.facts,
      Budget.knob.facts,
    ], mainField: "kept", mainNumber: "recall_mean",
    denseKnobs: ["count": .number(Double(1 << 30))],
    growth: Growth("n²/16, keys of windows") { $0 * $0 })

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// One set for all heads of the group. Throws `Missing`, `CancellationError`.
  public func keep(_ group: HeadGroup, _ slot: Int, _ run: MethodRun, _ aside: inout Aside) throws
    -> KeptSet
  {
    let head = group.heads[slot]
    let budget = Budget(
      knobs, of: ["count", "block", "kernel", "stride", "window"], keys: head.keys,
      reference: 32 * 1024)
    let size = budget.block(knobs[Self.block]), step = budget.block(knobs[Self.stride])
    let kernel = budget.block(knobs[Self.kernel])
    let count = budget.blocks(knobs[Self.count], size: knobs[Self.block])
    let window = budget.tokens(knobs[Self.window]), initial = knobs[Self.initial]
    budget.note(
      ["count": count, "block": size, "kernel": kernel, "stride": step, "window": window], &aside)
    let kernels = try PooledKernels(group, size: kernel, stride: step)
    let local = (window + size - 1) / size
    @Sendable func scores(_ row: Int) -> [Double] {
      let limit = head.visibility.limit(row: row)
      var best = [Double](repeating: 0, count: (limit + size - 1) / size)
      for (index, weight) in kernels.shared(row).enumerated() {
        let keys = kernels.keys(index)
        for block in keys.lowerBound / size...(keys.upperBound - 1) / size {
          best[block] = max(best[block], weight)
        }
      }
      return best
    }
    let set = try RowPicks.looked(head, run, &aside) { row in
      let limit = head.visibility.limit(row: row)
      guard limit > 0 else { return [] }
      let own = min(max(head.visibility.position(row: row), 0), limit - 1) / size
      return ForcedBlocks.pick(
        count, of: scores(row), own: own, initial: initial, local: local
      ).map { $0 * size..<min(($0 + 1) * size, limit) }
    }
    aside.selection = kernels.products / group.heads.count
    aside.findings.field(
      "compressed", kernels.field(slot), .weights, title: "attention to mean keys")
    let blocks = (head.keys + size - 1) / size
    aside.findings.field(
      "importance",
      RuleField(
        rows: Axis(.query, head.queries),
        columns: Axis(.block, blocks, span: size, tokens: head.keys)
      ) { row, out in
        out.update(repeating: .nan)
        for (block, score) in scores(row).enumerated() { out[block] = Float(score) }
      }, .magnitude(.none), title: "peak of the group's attention in a block")
    return set
  }
}
