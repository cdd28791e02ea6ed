import Analysis
public import Attention

/// Softmax attention over everything a query may see: the yardstick.
///
/// O = softmax(Q K^T / sqrt(d)) V. Vaswani et al., "Attention Is All You Need", 2017, arXiv 1706.03762; tile by tile with
/// an online softmax as in Dao et al., "FlashAttention", 2022, arXiv 2205.14135.
public struct Dense: EngineMethod {
  public static let card = MethodCard(
    id: "dense", title: "Dense attention", family: "softmax",
    idea: "Every query attends to every key it may see.",
    source: "Vaswani et al., Attention Is All You Need, 2017, arXiv 1706.03762",
    wholeMap: .max, mainField: "map", mainNumber: "entropy", denseKnobs: [:])

  public init(knobs: Knobs) throws(KnobError) { _ = try CheckedKnobs(knobs, for: Self.card) }

  /// The pattern itself, with nothing skipped and nothing lost.
  public func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    let head = subject.head, spec = TileSpec.standard(queries: head.queries)
    var findings = Findings()
    findings.field("map", PatternRows(head, precision: run.precision), .weights, title: "pattern")
    guard run.wantsNumbers else { return findings }
    let high = (head.queries + spec.rows - 1) / spec.rows
    let wide = (head.keys + spec.keys - 1) / spec.keys
    let verdicts = (0..<high * wide).map { index -> Verdict in
      let last = min((index / wide + 1) * spec.rows, head.queries) - 1
      return head.visibility.limit(row: last) > index % wide * spec.keys ? .computed : .invisible
    }
    let mask = BlockMask(spec: spec, rowTiles: high, keyTiles: wide, verdicts: verdicts)
    findings.number("sparsity", 0, .share)
    findings.number("visible_blocks", Double(mask.visibleBlocks), .blocks)
    findings.number("skipped_blocks", 0, .blocks)
    findings.number("dropped_mean", 0, .share, title: "dropped mass")
    findings.number("dropped_max", 0, .share, title: "dropped, worst row")
    for name in ["density", "tile_density", "recall_mean", "recall_min"] {
      findings.number(name, 1, .share)
    }
    findings.field(
      "blocks", BlockField(mask, queries: head.queries, keys: head.keys),
      .labels(["computed", "skipped"]))
    try OutputNumbers.add(
      subject.group.heads, subject.group.slot, spec, .blasst(lambda: 0), run, to: &findings)
    return findings
  }

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
