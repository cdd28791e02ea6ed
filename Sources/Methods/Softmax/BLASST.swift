import Analysis
public import Attention
import Tensors

/// Dynamic blocked sparsity by softmax thresholding: skip softmax.
///
/// In the online softmax over key blocks, with m the running row maxima `[rows]` and t a block's
/// row maxima `[rows]`:
///
///     margin(block) = max over the tile's rows of (t - m)    first visited block: +infinity
///     skip block  <=>  margin < ln(lambda)                         strict; lambda = 0 is dense
///
/// A skipped block changes neither m nor the sums nor O: no exp, no load of V, no P V; its scores
/// were computed. For lambda <= 1 it cannot raise m either, so margins do not depend on lambda, and
/// one pass that stores them (`BlockTable`) answers for every lambda: mask, sparsity and dropped
/// mass are comparisons over that table. Above 1 deployed kernels disagree; the knob ends there.
/// Paper: "BLASST: Dynamic BLocked Attention Sparsity via Softmax Thresholding", 2025, arXiv
/// 2512.12087.
///
/// Exact, with the readings that kernels differ in as knobs: the tile, who votes (a query head
/// alone, or all that share a KV head), the order of the visit, split-K. `criterion=lse` (ours)
/// compares with the running log-sum-exp in place of the maximum; its margins do depend on lambda,
/// so its tables hold for one lambda. `screen` skips on the word of an int8 bound and changes no
/// bit of the result.
///
/// Findings beside those of every mask: `sparsity` in blocks of this tile, `dropped_mean` and
/// `dropped_max` (mass of a row on what is skipped), `lambda_30` to `lambda_70` (the least lambda
/// that reaches this sparsity), `fit_a`, `fit_b`, `fit_r2`, `inverse_a`, `inverse_target` (both
/// calibrations in use, of this head alone), `most` (sparsity at lambda 1), series
/// `inverse_lengths`, curve `sparsity_curve`, fields `margins` (nats), `blocks`, `kept`, `output`.
/// Cost: n² d for the table unless it is there already; a new lambda costs one comparison a block.
public struct BLASST: EngineMethod {
  /// Who votes: as deployed kernels do in each phase, or as told.
  enum VoteChoice: String, Sendable, CaseIterable { case standard, head, group }

  /// The threshold: a share of the largest weight seen so far; `[` and `]` move it by a quarter
  /// decade.
  static let lambda = Knob(
    "lambda", "threshold; 0 is dense", 0...1, standard: 0.01,
    step: .multiply(1.778279410038923), isMain: true)
  /// Height of a tile, in query rows.
  static let rows = Knob(
    "rows", "query rows that vote together; 0: 128 in prefill, 1 in decode", 0...1 << 20,
    standard: 0)
  /// Width of a block, in keys.
  static let keys = Knob("keys", "keys of a block", 1...1 << 20, standard: 128, step: .multiply(2))
  /// Standard: each head alone in prefill, all heads of a group together in decode.
  static let vote = Knob("vote", "who decides", standard: VoteChoice.standard)
  /// From the first key on, or from the last one back; it decides how high the maxima stand for the
  /// rest.
  static let order = Knob("order", "of key blocks", standard: Order.ascending)
  /// The maximum is the paper's, the log-sum-exp ours; see above.
  static let criterion = Knob(
    "criterion",
    "what a block's maxima are compared with: the running maximum, or the running log-sum-exp",
    standard: Criterion.max)
  /// Runs of key blocks, each of which keeps its first block; 1 is one logical order.
  static let splits = Knob(
    "splits", "split-K: runs of key blocks with a running maximum of their own", 1...1 << 20,
    standard: 1)
  /// What it saves is told by the number `decided_by_bound`, in blocks; it needs Q and K.
  static let screen = Knob(
    "screen", "skip on the word of an int8 bound where it can tell; results stay the same bits",
    standard: Screening.none)

  /// Brings `blockTables`: how its setting and a tile and lambda translate into each other. The
  /// scope is a group, as the heads of one may vote together.
  public static let card = MethodCard(
    id: "blasst", title: "BLASST (skip softmax)", family: "softmax",
    idea:
      "Skip a key block whose scores all lie more than ln(1/lambda) below the running row maxima.",
    source:
      "BLASST: Dynamic BLocked Attention Sparsity via Softmax Thresholding, 2025, arXiv 2512.12087",
    scope: .group,
    knobs: [
      lambda.facts, rows.facts, keys.facts, vote.facts, order.facts, criterion.facts,
      splits.facts, screen.facts,
    ], wholeMap: .max, mainField: "blocks", mainNumber: "sparsity",
    denseKnobs: ["lambda": .number(0)],
    blockTables: BlockTables(
      setting: { MethodSetting("blasst", knobs($0, lambda: $1)) },
      read: { setting, queries in
        let method = try BLASST(knobs: setting.knobs)
        return (method.spec(queries: queries), method.lambda)
      }),
    growth: Growth("no search, all scores: n²") { $0 * $0 })

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// The knobs of a tile and a lambda: the way back from `spec` and `lambda`. A lambda outside
  /// 0...1 is clamped.
  public static func knobs(_ spec: TileSpec, lambda: Double) -> Knobs {
    [
      "lambda": .number(max(0, min(1, lambda))), "rows": .number(Double(spec.rows)),
      "keys": .number(Double(spec.keys)), "vote": .word(spec.vote.rawValue),
      "order": .word(spec.order.rawValue), "criterion": .word(spec.criterion.rawValue),
      "splits": .number(Double(spec.splits)),
    ]
  }

  /// The threshold in force, in 0...1.
  public var lambda: Double { knobs[Self.lambda] }

  /// The tile for so many queries: a single one is decode, more are prefill.
  public func spec(queries: Int) -> TileSpec {
    var spec = TileSpec.standard(queries: queries)
    if knobs[Self.rows] > 0 { spec.rows = knobs[Self.rows] }
    spec.keys = knobs[Self.keys]
    if let vote = Vote(rawValue: knobs[Self.vote].rawValue) { spec.vote = vote }
    (spec.order, spec.criterion) = (knobs[Self.order], knobs[Self.criterion])
    spec.splits = knobs[Self.splits]
    return spec
  }

  /// The height of a prefill tile: a prompt is cut between tiles.
  public var rowsTogether: Int { spec(queries: 2).rows }

  /// Margins, verdicts, the curve over every lambda, and what this lambda costs.
  ///
  /// A table that `run` knows is used as it is; otherwise one is made, for the whole group where it
  /// votes together. Throws `CancellationError`, and `LambdaError` for a lambda that is refused.
  public func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    let head = subject.head, spec = spec(queries: head.queries)
    let (group, slot) = spec.vote == .group ? subject.group : (HeadGroup([head]), 0)
    let lambda = try Lambda(lambda)
    let asked = spec.criterion == .lse ? lambda.value : 0
    let known = try run.table(spec, asked)
    guard
      let table = known
        ?? TilePass(group, keysPerTile: spec.keys, threads: run.threads).tables(
          spec, lambda: asked, threads: run.threads, isCancelled: run.isCancelled)?[slot]
    else { throw CancellationError() }
    let mask = table.mask(lambda)
    var findings = Findings()
    if run.wantsNumbers {
      try MaskNumbers(head, KeptSet(mask, head), run).add(to: &findings)
      numbers(table, lambda, &findings)
      findings.number("selection", 1, .share, title: "selection overhead")
      if spec.criterion == .max { Self.calibrate(table, &findings) }
      findings.curve("sparsity_curve", Self.curve(table, lambda), title: "sparsity by lambda")
      try OutputNumbers.add(
        group, slot, spec, .blasst(lambda: lambda.value), screen: knobs[Self.screen], run,
        to: &findings)
    }
    findings.field(
      "margins", BlockField(table.margins, spec, queries: head.queries, keys: head.keys),
      .magnitude(.nats))
    findings.field(
      "blocks", BlockField(mask, queries: head.queries, keys: head.keys),
      .labels(["computed", "skipped"]))
    findings.field("kept", KeptField(KeptSet(mask, head), head.visibility), .kept)
    return findings
  }

  /// What the table says at this lambda, in shares and blocks of its own tile. These replace the
  /// numbers of 64x64 tiles that every mask has.
  private func numbers(_ table: BlockTable, _ lambda: Lambda, _ findings: inout Findings) {
    findings.blockNumbers(table, lambda)
    findings.dropped(table.droppedMass(lambda))
  }

  /// The threshold that this head alone would need, by both models in use: lambda = a exp(b S) / L
  /// and lambda = a / L, for sparsity S and a context of L tokens. Nothing for tables whose margins
  /// do not hold for every lambda.
  private static func calibrate(_ table: BlockTable, _ findings: inout Findings) {
    guard let calibration = HeadCalibration(table).calibration,
      let longest = calibration.curves.last
    else { return }
    for target in [30, 50, 70] {
      findings.number(
        "lambda_\(target)", longest.lambda(for: Double(target) / 100),
        title: "lambda for \(target) %")
    }
    findings.number("fit_a", calibration.exponential?.a, title: "a of a·exp(bS)/L")
    findings.number("fit_b", calibration.exponential?.b, title: "b of a·exp(bS)/L")
    findings.number("fit_r2", calibration.exponential?.r2, title: "R² of a·exp(bS)/L")
    let target = [0.5, 0.3, 0.1].first { calibration.inverse($0) != nil }
    let inverse = target.flatMap { calibration.inverse($0) }
    findings.number("inverse_a", inverse?.a, title: "a of a/L")
    findings.number("inverse_target", target, .share, title: "target of a/L")
    findings.number("most", longest.most, .share, title: "most, at lambda 1")
    if let inverse {
      findings.series(
        "inverse_lengths", Axis(.step, inverse.points.count),
        inverse.points.map { Float($0.length) }, .tokens, title: "lengths of a/L")
    }
  }

  /// Sparsity at quarter decades from 1e-10 to 1, with the lambda in force marked.
  private static func curve(_ table: BlockTable, _ lambda: Lambda) -> Curve {
    let points = (0...40).compactMap { step -> Curve.Point? in
      let x = tenTo(Double(step) / 4 - 10)
      return (try? Lambda(min(x, 1))).map { Curve.Point($0.value, table.sparsity($0)) }
    }
    let mark =
      lambda.value > 0
      ? [Curve.Mark("λ", x: lambda.value, y: table.sparsity(lambda))] : []
    return Curve(x: "lambda", y: "sparsity", points: points, marks: mark, isLogarithmic: true)
  }

  /// Outputs `[queries * valueDim]` of every head of the group, by skipping; nil when cancelled.
  /// `trace` takes masks and counts.
  public func attend(_ group: HeadGroup, state: inout AttentionState, trace: inout Trace)
    -> [[Float]]?
  {
    attendByTiles(
      group, spec(queries: group.queries), .blasst(lambda: lambda), state, &trace,
      screen: knobs[Self.screen])
  }

  /// One new row against the cache, to the same bits as `attend`; false for settings that only
  /// `attend` can follow (the log-sum-exp, split-K, blocks of no multiple of 16 keys).
  public func decode(
    _ query: UnsafePointer<Float>, _ keys: CachedKeys, _ row: DecodeRow,
    into output: UnsafeMutablePointer<Float>
  ) -> Bool {
    row.blasst(
      query, keys, spec(queries: 1), lambda: lambda, screen: knobs[Self.screen], into: output)
  }
}

extension KeptSet {
  /// The entries of the blocks that a mask computes; invisible blocks are not kept.
  init(_ mask: BlockMask, _ head: Head) {
    self.init(queries: head.queries, keys: head.keys, visibility: head.visibility)
    keep(
      blocks: mask.verdicts.map { $0 == .computed ? 1 : 0 }, rows: mask.spec.rows,
      keys: mask.spec.keys)
  }
}
