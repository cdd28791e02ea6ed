public import Analysis
public import Attention
import Tensors

/// ALiBi: scores fall with distance, by a slope of each head.
///
///     W = softmax(Q Kᵀ / √d - m (i - j))       causal; -m |i - j| for other heads
///
/// Slopes are m = 2^(-8 h / H) for h = 1 ... H; `m` is one slope for every head unless
/// `slopes=heads`. The term -m i is the same along a causal row and cancels in softmax, so that
/// +m j does as well. Paper: Press et al., "Train Short, Test Long", ICLR 2022, arXiv 2108.12409;
/// its factors: "FlashBias", NeurIPS 2025, arXiv 2505.12044, whose released example has the other
/// sign: this is the definition. Exact; the head was trained without it.
///
/// Findings: those of every map; fields `bias`, `bias_low_rank`, `residual`, `dense`, `biased`; the
/// spectrum and the numbers of `flashbias`. Cost n² d; n³ up to 1024 tokens for the spectrum of
/// heads that are not causal.
public struct ALiBi: MapMethod {
  /// Who has which slope.
  enum Slopes: String, Sendable, CaseIterable { case given, heads }
  /// What the table of a causal head holds beyond the diagonal: nobody sees it, svd does.
  enum Table: String, Sendable, CaseIterable { case signed, mirrored }

  /// In logits a token; what `[` and `]` move.
  static let slope = Knob(
    "m", "the slope, in logits a token", 0...64, standard: 0.25, step: .multiply(2),
    aliases: ["slope"])
  static let slopes = Knob(
    "slopes", "m for every head, or 2^(-8 h / H)", standard: Slopes.given)
  static let table = Knob(
    "table", "beyond the diagonal of causal heads: -m (i - j), or -m |i - j|",
    standard: Table.signed)

  /// The scope is a layer, as slopes by head count its heads.
  public static let card = MethodCard(
    id: "alibi", title: "ALiBi", family: "reweighting",
    idea: "Scores fall in proportion to distance, by a slope of each head.",
    source: "Press et al., Train Short, Test Long, ICLR 2022, arXiv 2108.12409", scope: .layer,
    knobs: [slope.facts, slopes.facts], wholeMap: 2048, mainField: "map", mainNumber: "error",
    denseKnobs: ["m": .number(0)])

  private let knobs: CheckedKnobs
  private var slope: Double

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
    slope = self.knobs[Self.slope]
  }

  /// The slope in force for the head that is looked at, in logits a token.
  static func slope(_ knobs: CheckedKnobs, _ subject: Subject) -> Double {
    knobs[slopes] == .heads ? slope(ofHeadIn: subject) : knobs[slope]
  }

  /// 2^(-8 h / H) of the head that is looked at, the h-th of H in its layer; in logits a token.
  static func slope(ofHeadIn subject: Subject) -> Double {
    let share = Double(subject.focus.head + 1) / Double(subject.layer.count)
    return exponential(-8 * share * logarithm(2))
  }

  /// The findings of a map. Throws `Missing(.length)`, `CancellationError`.
  public func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    var method = self
    method.slope = Self.slope(knobs, subject)
    return try method.examineMap(subject, run)
  }

  /// softmax(S + B) of a head, `[queries, keys]`, a row at a time. Throws `AlgebraError`,
  /// `CancellationError`.
  public func map(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> any RowField {
    let rows = DoubleRows(head), bias = AdditiveBias.alibi(head, slope: slope, mirrored: false)
    let isFactored =
      bias.closed != nil || max(head.queries, head.keys) <= BiasFactors.mostTokens
    let factors = try isFactored ? BiasFactors(bias, energy: bias.closed == nil ? 0.995 : nil) : nil
    let facts = BiasFacts(rows: rows, bias: bias, factors: factors)
    if run.wantsNumbers { aside.findings.number("slope", slope, .setting, title: "m in force") }
    try facts.add(run, whole: Self.card.wholeMap, to: &aside.findings)
    return KernelRows.field(head) { facts.biased($0) }
  }
}
