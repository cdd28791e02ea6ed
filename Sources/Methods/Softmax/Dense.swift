import Analysis
public import Attention

/// Softmax attention over everything a query may see: the yardstick.
///
///     O = softmax(Q Kᵀ / √d) V                Q `[n, d]`, K `[m, d]`, V `[m, dv]`
///
/// Vaswani et al., "Attention Is All You Need", 2017, arXiv 1706.03762; computed tile by tile with
/// an online softmax as in Dao et al., "FlashAttention", 2022, arXiv 2205.14135, so that no
/// `[n, m]` array exists. Exact: in float32 where that is near enough, in double where it is not. A
/// head that brings a scale of its own keeps it in place of 1/√d.
///
/// Findings: the field `map` (the pattern; rows on demand), `blocks`, `output`; `sparsity`,
/// `skipped_blocks`, `dropped_mean` and `dropped_max` are 0, `density`, `tile_density`,
/// `recall_mean` and `recall_min` are 1, said so that columns of a report line up; `error` and its
/// kin compare this pass with itself. The number heads are ranked by, the entropy in nats, is one
/// of the head's summary.
///
/// Needs nothing; without V the errors are unknown. Cost: n m d to score and n m dv to mix; two
/// passes for the output.
public struct Dense: EngineMethod {
  /// No knobs: there is nothing to choose, and the dense setting of the method is itself.
  public static let card = MethodCard(
    id: "dense", title: "Dense attention", family: "softmax",
    idea: "Every query attends to every key it may see.",
    source: "Vaswani et al., Attention Is All You Need, 2017, arXiv 1706.03762",
    wholeMap: .max, mainField: "map", mainNumber: "entropy", denseKnobs: [:])

  /// Throws `KnobError` for any knob: there are none.
  public init(knobs: Knobs) throws(KnobError) { _ = try CheckedKnobs(knobs, for: Self.card) }

  /// The pattern itself, with nothing skipped and nothing lost. Throws `CancellationError`.
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
    findings.blockNumbers(visible: mask.visibleBlocks, skipped: 0)
    findings.dropped(DroppedMass(mean: 0, max: 0))
    let titles: KeyValuePairs = [
      "density": "density of entries", "tile_density": "density of tiles",
      "recall_mean": "recall", "recall_min": "recall, worst row",
    ]
    for (name, title) in titles { findings.number(name, 1, .share, title: title) }
    findings.field(
      "blocks", BlockField(mask, queries: head.queries, keys: head.keys),
      .labels(["computed", "skipped"]))
    try OutputNumbers.add(
      subject.group.heads, subject.group.slot, spec, .blasst(lambda: 0), run, to: &findings)
    return findings
  }

  /// The outputs of every head of the group, `[queries * valueDim]` each; nil when cancelled.
  public func attend(_ group: HeadGroup, state: inout AttentionState, trace: inout Trace)
    -> [[Float]]?
  {
    attendByTiles(group, .standard(queries: group.queries), .blasst(lambda: 0), state, &trace)
  }

  /// One new row `[heads, dim]`, through the same kernel as skip softmax at a threshold of 0.
  public func decode(
    _ query: UnsafePointer<Float>, _ keys: CachedKeys, _ row: DecodeRow,
    into output: UnsafeMutablePointer<Float>
  ) -> Bool { row.blasst(query, keys, .standard(queries: 1), lambda: 0, into: output) }
}
