import Analysis
public import Attention
import Tensors

/// What a deployed kernel computed, as a probe saw it, against what BLASST says that it should.
///
///     deployed(B) = skipped  <=>  some group of B's keys has no say in the output of B's rows
///     expected(B) = skipped  <=>  margin(B) < ln(lambda)
///
/// A probe calls the kernel with values that are 1 in one group of keys and 0 elsewhere: the output
/// is exactly 0 where the group was skipped, and where its weight was too small for the arithmetic,
/// which is unsure and counts as computed. B is a block of the probe's fingerprint, the finest
/// tile, vote, order and number of splits that explain all of it; without a fingerprint, of the
/// probe's own tile, and nothing is expected.
///
/// Exact: nothing is computed here but the margins. The rule is that of "BLASST", 2025, arXiv
/// 2512.12087; the probe is ours. A disagreement is a sure block where the two differ; its margin
/// says whether it is a tie in rounding (near ln λ) or another rule.
///
/// Findings beside those of every mask: `sparsity` (really skipped, in blocks of the fingerprint),
/// `expected_sparsity`, `disagreements`, `unsure`, `nearest_margin` (the least |margin - ln λ| of
/// any block, nats), `worst_margin` (the margin of the disagreement that is farthest from ln λ),
/// fields `blocks`, `expected`, `disagreements_at` (their margins, and nothing elsewhere),
/// `margins`. Needs a probe, and Q and K. Cost: one table of blocks.
public struct Deployed: AttentionMethod {
  /// The scope is a layer: its array has every head's blocks, and the heads of a group may vote.
  public static let card = MethodCard(
    id: "deployed", title: "Deployed kernel (of a probe)", family: "softmax",
    idea: "Keep what a kernel was seen to compute, and hold it against the rule it claims.",
    source:
      "BLASST: Dynamic BLocked Attention Sparsity via Softmax Thresholding, 2025, arXiv 2512.12087",
    scope: .layer, needs: [.probe], mainField: "blocks", mainNumber: "sparsity")

  /// Throws `KnobError` for any knob: it has none.
  public init(knobs: Knobs) throws(KnobError) { _ = try CheckedKnobs(knobs, for: Self.card) }

  /// Throws `Missing(.probe)` where there is none, or none of this head's sides, and
  /// `CancellationError`.
  public func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    guard let probe = subject.probe else { throw Missing(.probe) }
    let head = subject.head
    let all = try subject.array(.probe, layer: subject.focus.layer)
    let seen = try ProbedBlocks(all, probe, subject)
    let mask = seen.blocks(of: probe.rule ?? seen.spec)
    var findings = try MaskFindings.of(head, run) { _ in
      var set = KeptSet(queries: head.queries, keys: head.keys, visibility: head.visibility)
      set.keep(
        blocks: mask.blocks.map { $0 == .skipped || $0 == .invisible ? 0 : 1 },
        rows: mask.spec.rows, keys: mask.spec.keys)
      return set
    }
    findings.field(
      "blocks", mask.field(head), .labels(["computed", "skipped", "unsure"]),
      title: "what the kernel did")
    findings.blockNumbers(
      visible: mask.blocks.count { $0 != .invisible }, skipped: mask.count(.skipped))
    findings.number("unsure", Double(mask.count(.unsure)), .blocks, title: "blocks not told apart")
    guard let rule = probe.rule else {
      for name in Self.compared { findings.number(name, nil) }
      findings.note("no tile, vote and order explains this kernel: nothing is expected of it")
      return findings
    }
    let (group, slot) = rule.vote == .group ? subject.group : (HeadGroup([head]), 0)
    guard
      let table = try run.table(rule, 0)
        ?? TilePass(group, keysPerTile: rule.keys, threads: run.threads).tables(
          rule, threads: run.threads, isCancelled: run.isCancelled)?[slot]
    else { throw CancellationError() }
    try Self.compare(mask, table, Lambda(probe.lambda), head, &findings)
    return findings
  }

  /// Numbers that take an expectation.
  private static let compared = [
    "expected_sparsity", "disagreements", "nearest_margin", "worst_margin",
  ]

  /// What was seen against what the margins say.
  private static func compare(
    _ mask: SeenBlocks, _ table: BlockTable, _ lambda: Lambda, _ head: Head,
    _ findings: inout Findings
  ) {
    let level = lambda.threshold, expected = table.mask(lambda)
    var apart = [Float](repeating: .nan, count: table.margins.count)
    for index in apart.indices where mask.disagrees(index, with: expected.verdicts[index]) {
      apart[index] = table.margins[index]
    }
    let found = apart.filter { !$0.isNaN }
    let away = table.margins.lazy.filter(\.isFinite).map { abs($0 - level) }.min()
    let worst = found.max { abs($0 - level) < abs($1 - level) }
    findings.number("expected_sparsity", table.sparsity(lambda), .share)
    findings.number(
      "disagreements", Double(found.count), .blocks, title: "blocks unlike the expected ones")
    findings.number(
      "nearest_margin", away.flatMap { $0.isFinite ? Double($0) : nil }, .nats,
      title: "least distance of a margin from ln λ")
    findings.number(
      "worst_margin", worst.map(Double.init), .nats, title: "margin of the worst disagreement")
    findings.dropped(table.droppedMass(lambda))
    let (queries, keys) = (head.queries, head.keys)
    findings.field(
      "expected", BlockField(expected, queries: queries, keys: keys),
      .labels(["computed", "skipped"]), title: "what was expected")
    findings.field(
      "disagreements_at", BlockField(apart, table.spec, queries: queries, keys: keys),
      .magnitude(.nats), title: "margins where the two differ")
    findings.field(
      "margins", BlockField(table.margins, table.spec, queries: queries, keys: keys),
      .magnitude(.nats))
    guard !found.isEmpty, let worst else { return }
    findings.note(
      """
      \(found.count) blocks are not as expected at λ \(lambda.value) in tiles of \(table.spec); \
      the worst has a margin of \(Double((worst * 100).rounded()) / 100) nats, and ln λ is \
      \(Double((level * 100).rounded()) / 100)
      """)
  }
}

/// The blocks of one head as the probe has them, in its own tile.
private struct ProbedBlocks {
  let spec: TileSpec
  let queries: Int, keys: Int
  let values: [Probe.Block]

  /// Throws `Missing(.probe)` for arrays of other sides, and for values that are no verdict.
  init(_ all: Tensor, _ probe: Probe, _ subject: Subject) throws {
    let head = subject.head
    spec = TileSpec(rows: probe.tile.rows, keys: probe.tile.keys)
    (queries, keys) = (head.queries, head.keys)
    let wide = (keys + spec.keys - 1) / spec.keys, high = (queries + spec.rows - 1) / spec.rows
    guard all.shape.axes == [subject.layer.count, high, wide] else {
      throw Missing(
        .probe,
        hint: "its blocks are \(all.shape), and \(subject.layer.count) x \(high) x \(wide) here")
    }
    let raw = all[subject.focus.head].integers()
    values = try raw.map { value in
      guard let block = UInt8(exactly: value).flatMap(Probe.Block.init) else {
        throw Missing(.probe, hint: "its blocks hold \(value), which is none of 0, 1, 2 and 255")
      }
      return block
    }
  }

  /// As blocks of a tile whose sides are multiples of the probe's: a block was computed where some
  /// part of it was, else skipped where some part surely was, else it cannot be told.
  func blocks(of rule: TileSpec) -> SeenBlocks {
    let wide = (keys + spec.keys - 1) / spec.keys
    let across = (keys + rule.keys - 1) / rule.keys, down = (queries + rule.rows - 1) / rule.rows
    var has = [Set<Probe.Block>](repeating: [], count: across * down)
    for (index, block) in values.enumerated() {
      let row = index / wide * spec.rows / rule.rows, column = index % wide * spec.keys / rule.keys
      has[row * across + column].insert(block)
    }
    return SeenBlocks(
      spec: rule,
      blocks: has.map { parts in
        [.computed, .skipped, .unsure].first(where: parts.contains) ?? .invisible
      },
      isTorn: has.map { $0.isSuperset(of: [.computed, .skipped]) })
  }
}

/// What a kernel did with blocks of a tile.
private struct SeenBlocks {
  let spec: TileSpec
  let blocks: [Probe.Block]
  /// Parts of the block were computed and others skipped: the tile is not the kernel's.
  let isTorn: [Bool]

  func count(_ block: Probe.Block) -> Int { blocks.count { $0 == block } }

  /// A block that is told and is not what was expected of it.
  func disagrees(_ index: Int, with verdict: Verdict) -> Bool {
    switch blocks[index] {
    case .computed: verdict == .skipped || isTorn[index]
    case .skipped: verdict == .computed
    case .unsure, .invisible: false
    }
  }

  /// 0, 1 and 2; NaN where nobody sees.
  func field(_ head: Head) -> BlockField {
    BlockField(
      blocks.map { $0 == .invisible ? .nan : Float($0.rawValue) }, spec, queries: head.queries,
      keys: head.keys)
  }
}
