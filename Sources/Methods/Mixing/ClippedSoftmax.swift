import Algebra
public import Analysis
public import Attention
import Tensors

/// Clipped softmax: weights are stretched beyond 0 and 1 and cut off there, so that a head can do
/// exactly nothing.
///
///     W_ij = clip((ζ - γ) A_ij + γ, 0, 1)          γ ≤ 0 ≤ 1 ≤ ζ
///     W_ij = 0   exactly where   A_ij ≤ -γ / (ζ - γ)
///
/// Nothing is renormalised: with ζ = 1 a row sums to (1 - γ) P + γ k, for the mass P and the number
/// k of what survives. γ = -α / T is the form that holds for any length T, the sequence's and not
/// the row's. Paper: Bondarenko et al., "Quantizable Transformers", NeurIPS 2023, arXiv 2306.12929.
///
/// Exact as a function; the head was trained without it, so that the tail it removes is not the one
/// a retrained model would give up.
///
/// Findings: those of every map; `threshold` and `gamma` in force; `zero_share` of the visible
/// entries and `saturated` of them, `noop_rows` (rows with a sum below 0.1); `top_key`, the key
/// with most mass, its share before (`top_key_mass_dense`) and after; `zeros_in_skipped`, the share
/// of zeros on 64x64 tiles that BLASST skips at `lambda`, and `skipped_zero`, how much of those
/// tiles is zero; the field `zeros`; the series `row_sums` and `top_weights`; the curves
/// `zeros_by_alpha` and `weights`, a histogram with the threshold; outliers of outputs and
/// activations (`Outliers`). Cost n² d in double precision up to 2048 tokens; above, rows on
/// demand.
public struct ClippedSoftmax: MapMethod {
  /// α, without a unit; what `[` and `]` move.
  static let alpha = Knob(
    "alpha", "gamma = -alpha / T", 0...64, standard: 3.2, step: .add(0.4), isMain: true)
  /// Where γ comes from, when it is not a number.
  enum Gamma: String, Sendable, CaseIterable { case overLength = "x/n" }

  /// γ itself.
  static let gamma = Knob(
    "gamma", "the lower end itself, or x over n keys; given, alpha and T do not count", -1...0,
    standard: Ruled<Gamma>.number(0), step: .add(0.005))
  /// ζ, the upper end.
  static let zeta = Knob("zeta", "the upper end", 1...2, standard: 1.0, step: .add(0.01))
  /// T in tokens.
  static let length = Knob(
    "T", "tokens of a sequence; 0: the keys of this map", 0...1 << 30, standard: 0,
    step: .multiply(2), aliases: ["length"])
  /// λ of the tiles that zeros are compared with.
  static let lambda = Knob(
    "lambda", "of BLASST, whose skipped tiles are compared with the zeros", 0...1, standard: 0.01,
    step: .multiply(10))

  public static let card = MethodCard(
    id: "clipped", title: "clipped softmax", family: "reweighting",
    idea: "Stretch softmax weights a little beyond 0 and 1 and clip: small ones become exactly 0.",
    source: "Bondarenko et al., Quantizable Transformers, NeurIPS 2023, arXiv 2306.12929",
    knobs: [alpha.facts, gamma.facts, zeta.facts, length.facts, lambda.facts], wholeMap: 2048,
    mainField: "map", mainNumber: "zero_share", denseKnobs: ["alpha": .number(0)],
    variants: ["clipped-stretched": ["gamma": .number(-0.03), "zeta": .number(1.03)]],
    growth: Growth("n²") { $0 * $0 })

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
    if case .rule(.overLength, let x) = self.knobs[Self.gamma], x > 0 {
      throw KnobError("\(Self.card.id): gamma = \(x)/n is above 0")
    }
  }

  /// The findings of a map, and the outliers. Throws `Missing(.length)`, `CancellationError`.
  public func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    var findings = try examineMap(subject, run)
    guard run.wantsNumbers else { return findings }
    if let (map, _) = findings.field("map"), map.bytes > 0 {
      try Outliers.addOutputs(map, subject.head, run, to: &findings)
    }
    try Outliers.addResiduals(subject, run, to: &findings)
    findings.note("applied to a head that was trained without it")
    return findings
  }

  /// W of a head, `[queries, keys]`, a row at a time. Throws `CancellationError`.
  public func map(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> any RowField {
    let rows = DoubleRows(head), clip = clip(keys: head.keys)
    let axes = (Axis(.query, head.queries), Axis(.key, head.keys))
    aside.findings.field(
      "zeros",
      RuleField(rows: axes.0, columns: axes.1) { row, out in
        let weights = rows.weights(row), limit = head.visibility.limit(row: row)
        for key in 0..<head.keys {
          out[key] = key < limit ? clip.label(weights[key]) : .nan
        }
      }, .labels(["between", "zero", "one"]), title: "what is cut off")
    if run.wantsNumbers { try addFacts(rows, clip, run, &aside) }
    return RuleField(rows: axes.0, columns: axes.1) { row, out in
      let weights = rows.weights(row), limit = head.visibility.limit(row: row)
      for key in 0..<head.keys { out[key] = key < limit ? Float(clip(weights[key])) : .nan }
    }
  }

  /// γ and ζ in force.
  private func clip(keys: Int) -> Clip {
    let length = knobs[Self.length] > 0 ? knobs[Self.length] : max(keys, 1)
    var gamma = -knobs[Self.alpha] / Double(length)
    if knobs.given.contains("gamma") {
      switch knobs[Self.gamma] {
      case .number(let x): gamma = x
      case .rule(.overLength, let x): gamma = x / Double(max(keys, 1))
      }
    }
    return Clip(gamma: gamma, zeta: knobs[Self.zeta])
  }

  /// What is counted over rows: all of them up to `wholeMap` tokens, else 64.
  private func addFacts(_ rows: DoubleRows, _ clip: Clip, _ run: MethodRun, _ aside: inout Aside)
    throws
  {
    let head = rows.head, isWhole = max(head.queries, head.keys) <= Self.card.wholeMap
    let chosen = isWhole ? Array(0..<head.queries) : MapPass.sample(0..<head.queries, 64)
    let length = knobs[Self.length] > 0 ? knobs[Self.length] : max(head.keys, 1)
    let steps = ClippedRows.alphas.map { Clip(gamma: -$0 / Double(length), zeta: clip.zeta) }
    let mask = try isWhole ? SkippedTiles.mask(head, run, lambda: knobs[Self.lambda]) : nil
    let parts = try RowPicks.spread(chosen.count, by: 16, run) { part in
      var sums = ClippedRows(keys: head.keys)
      for index in part {
        let row = chosen[index], limit = head.visibility.limit(row: row)
        sums.add(rows.weights(row), row, limit, clip, steps, mask)
      }
      return [sums]
    }
    var sum = ClippedRows(keys: head.keys)
    for part in parts { sum.add(part) }
    sum.add(clip, hasMask: mask != nil, to: &aside.findings)
    guard isWhole else { return }
    aside.findings.series(
      "row_sums", Axis(.query, head.queries), sum.sums.map { Float($0) }, .share,
      title: "row sum, by query")
    aside.findings.series(
      "top_weights", Axis(.query, head.queries), sum.tops.map { Float($0) }, .share,
      title: "largest weight of softmax, by query")
  }
}

/// The cut itself.
struct Clip: Sendable {
  /// The lower end, 0 or below.
  let gamma: Double
  /// The upper end, 1 or above.
  let zeta: Double

  /// Weights up to this become 0.
  var threshold: Double { gamma == 0 ? 0 : -gamma / (zeta - gamma) }

  /// A weight of softmax, stretched and cut to 0...1.
  func callAsFunction(_ weight: Double) -> Double {
    min(1, max(0, (zeta - gamma) * weight + gamma))
  }

  /// 1 where a weight is cut to 0, 2 where it is cut to 1, else 0.
  func label(_ weight: Double) -> Float {
    let value = (zeta - gamma) * weight + gamma
    return value <= 0 ? 1 : (value >= 1 ? 2 : 0)
  }
}
