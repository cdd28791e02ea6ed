import Analysis
public import Attention
import Tensors

/// SGL: the attention of a small model, summed over all layers and heads, says which tokens of an
/// image a large one may drop; a small answer that is sure enough is taken as it is.
///
///     z_v = Σ over layers, heads, rows behind the image of A_row,v
///     from layer K = ⌊start L⌋ on the ⌊ratio N⌋ best of N image tokens stay
///     c₁ = (Π p_t)^(1 / len) over the answer's tokens,  c₂ = Π p̃_t,  leave early at ½ (c₁ + c₂)
///
/// p_t is the largest probability at token t of the answer, p̃_t that of the answer's token when
/// the small model sees 5 % of the image. Paper: "A Stitch in Time Saves Nine", 2024, arXiv
/// 2412.03324; the sums are those of its released code.
///
/// The ranking is exact, and that of the model at hand: it guides itself. c₁ and c₂ need the
/// probabilities of an answer, which no dump holds: they are unknown unless given as knobs. The
/// paper has no standard for the threshold.
///
/// Findings: `score` `[keys]` (z, NaN off the image), `kept_tokens` `[keys]` (1 or 0),
/// `overlap_by_layer` `[layers]`; fields `patches` `[rows, columns]`, `by_layer` `[layers, keys]`;
/// numbers `z_total` (mass from the rows to the image), `image_mass` (its share of all mass of
/// these rows), `rows`, `top_share` (mass on the best `top` of the image), `overlap_layer` (best
/// tokens of this layer alone that are best of all, too), `overlap_mean`, `overlap_models` (unknown
/// with one model), `kept`, `start_layer`, `flops` (K/L + (1 - K/L) ratio, linear parts of image
/// tokens), `c1`, `c2`, `exit_score`, `exits`.
///
/// Throws `Missing(.roles)` without roles or a grid, or without rows behind the image. Cost: those
/// rows of every head of every layer.
public struct SGL: AttentionMethod {
  /// Share of image tokens that stay.
  static let ratio = Knob(
    "ratio", "share of image tokens kept", 0...1, standard: 0.4, isMain: true)
  /// K / L.
  static let start = Knob(
    "start", "share of the layers before pruning starts", 0...1, standard: 0.4)
  /// Of `top_share`.
  static let top = Knob(
    "top", "share of image tokens that top_share is about", 0...1, standard: 0.1)
  /// c₁, measured elsewhere.
  static let c1 = Knob(
    "c1", "confidence of a small answer, measured elsewhere; -1: unknown", -1...1, standard: -1.0)
  /// c₂, measured elsewhere.
  static let c2 = Knob(
    "c2", "consistency of that answer, measured elsewhere; -1: unknown", -1...1, standard: -1.0)
  /// Of the exit score.
  static let threshold = Knob(
    "threshold", "exit score above which the small answer is final; -1: none", -1...1,
    standard: -1.0)

  /// The scope is the model: all layers vote. Heads are ranked by what their layer has in common
  /// with all.
  public static let card = MethodCard(
    id: "sgl", title: "SGL", family: "images",
    idea: "Attention summed over all layers and heads says which image tokens stay.",
    source: "A Stitch in Time Saves Nine, 2024, arXiv 2412.03324", scope: .model, needs: [.roles],
    knobs: [ratio.facts, start.facts, top.facts, c1.facts, c2.facts, threshold.facts],
    mainNumber: "overlap_layer")

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// c₁: the geometric mean of the probabilities of an answer's tokens, in 0...1; nil without any.
  public static func confidence(_ probabilities: [Double]) -> Double? {
    guard !probabilities.isEmpty else { return nil }
    let sum = probabilities.reduce(0) { $0 + logarithm($1) }
    return exponential(sum / Double(probabilities.count))
  }

  /// c₂: the probability of a whole answer, in 0...1; nil without any token.
  public static func consistency(_ probabilities: [Double]) -> Double? {
    probabilities.isEmpty ? nil : probabilities.reduce(1, *)
  }

  /// The ranking of the model's layers. Throws `Missing`, `CancellationError`.
  public func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    let tokens = try ImageTokens(subject.tokens, keys: subject.head.keys)
    let end = tokens.visual.last ?? 0, behind = tokens.text.filter { $0 > end }
    let rows = ImageTokens.rows(behind, subject.head)
    guard !rows.isEmpty else {
      throw Missing(.roles, hint: "no query row is text behind the image")
    }
    let layers = subject.layers, width = layers.map(\.count).max() ?? 1
    // One head at a time, so that few layers keep all threads busy as well.
    let parts = try RowPicks.spread(layers.count * width, by: 1, run) { items in
      items.map { item -> [Double] in
        guard layers[item / width].indices.contains(item % width) else { return [] }
        let head = layers[item / width][item % width]
        let sums = ImageTokens.sums(run.pattern(head), ImageTokens.rows(behind, head))
        return tokens.visual.map { sums[$0] } + [sums.reduce(0, +)]
      }
    }
    var byLayer = layers.map { _ in [Double](repeating: 0, count: tokens.visual.count) }, all = 0.0
    for (item, part) in parts.enumerated() where !part.isEmpty {
      for v in tokens.visual.indices { byLayer[item / width][v] += part[v] }
      all += part[tokens.visual.count]
    }
    var findings = Findings()
    tokens.image(
      "patches", Self.total(byLayer), .magnitude(.none), title: "score, on the image",
      to: &findings)
    addNumbers(byLayer, all, rows.count, subject, &findings)
    addGauges(&findings)
    addStrips(byLayer, tokens, subject, &findings)
    findings.note("one model is loaded: its own attention guides it")
    if layers.count > 1 || subject.numbers.first?.value ?? 0 > 0 {
      findings.note("summed over the \(layers.count) layers that are there")
    }
    return findings
  }

  /// Sums of the layers, `[visual]`.
  private static func total(_ byLayer: [[Double]]) -> [Double] {
    byLayer.dropFirst().reduce(byLayer[0]) { zip($0, $1).map(+) }
  }

  /// ⌊share of count⌋; a product that is whole but for rounding counts as whole.
  private static func part(_ share: Double, of count: Int) -> Int {
    min(count, Int((share * Double(count) + 1e-9).rounded(.down)))
  }

  /// `byLayer` `[layers][visual]`; `all` is the mass of the rows on any key.
  private func addNumbers(
    _ byLayer: [[Double]], _ all: Double, _ rows: Int, _ subject: Subject,
    _ findings: inout Findings
  ) {
    let score = Self.total(byLayer), mass = score.reduce(0, +), layers = byLayer.count
    let kept = Self.part(knobs[Self.ratio], of: score.count)
    let start = Self.part(knobs[Self.start], of: layers)
    let best = ImageTokens.best(kept, score)
    let overlaps = byLayer.map { ImageTokens.overlap(ImageTokens.best(kept, $0), best) }
    findings.number("z_total", mass, title: "mass from text behind the image to it")
    findings.number("image_mass", all > 0 ? mass / all : nil, .share, title: "share on the image")
    findings.number("rows", Double(rows), .tokens, title: "rows behind the image")
    let top = ImageTokens.best(Self.part(knobs[Self.top], of: score.count), score)
    findings.number(
      "top_share", mass > 0 ? top.reduce(0) { $0 + score[$1] } / mass : nil, .share,
      title: "mass on the best \(top.count) image tokens")
    findings.number(
      "overlap_layer", overlaps[subject.focus.layer.value], .share,
      title: "best tokens: this layer and all")
    let known = overlaps.compactMap { $0 }
    findings.number(
      "overlap_mean", known.isEmpty ? nil : known.reduce(0, +) / Double(known.count), .share,
      title: "the same, mean over layers")
    findings.number("overlap_models", nil, .share, title: "best tokens: small and large model")
    findings.number("kept", Double(kept), .tokens, title: "image tokens kept")
    findings.number("start_layer", Double(start), .count, title: "layers before pruning")
    let before = Double(start) / Double(layers)
    findings.number(
      "flops", before + (1 - before) * knobs[Self.ratio], .share,
      title: "work on image tokens, linear parts")
    findings.series(
      "overlap_by_layer", axis(subject), overlaps.map { $0.map(Float.init) ?? .nan }, .share,
      title: "best tokens: each layer and all")
  }

  private func axis(_ subject: Subject) -> Axis {
    Axis(.layer, subject.layers.count, labels: subject.numbers.map(\.description))
  }

  /// What was measured elsewhere, and what follows from it.
  private func addGauges(_ findings: inout Findings) {
    let given = [Self.c1, Self.c2].map { knobs[$0] >= 0 ? knobs[$0] : nil }
    let exit = given[0].flatMap { a in given[1].map { (a + $0) / 2 } }
    let threshold = knobs[Self.threshold]
    findings.number("c1", given[0], .share, title: "confidence of the small answer")
    findings.number("c2", given[1], .share, title: "its consistency")
    findings.number("exit_score", exit, .share, title: "exit score")
    findings.number(
      "exits", threshold >= 0 ? exit.map { $0 > threshold ? 1 : 0 } : nil, .count,
      title: "the small answer is final")
    if exit == nil {
      findings.note("c1 and c2 need the probabilities of an answer; the knobs c1 and c2 take them")
    }
    if threshold < 0 { findings.note("the paper gives no threshold for leaving early") }
  }

  private func addStrips(
    _ byLayer: [[Double]], _ tokens: ImageTokens, _ subject: Subject, _ findings: inout Findings
  ) {
    let score = Self.total(byLayer)
    tokens.strip("score", score, title: "score z", to: &findings)
    var flags = [Double](repeating: 0, count: score.count)
    for index in ImageTokens.best(Self.part(knobs[Self.ratio], of: score.count), score) {
      flags[index] = 1
    }
    tokens.strip("kept_tokens", flags, title: "kept image tokens", to: &findings)
    findings.field(
      "by_layer",
      WholeField(
        rows: axis(subject), columns: Axis(.key, tokens.keys),
        values: byLayer.flatMap { tokens.spread($0, on: tokens.visual) }), .magnitude(.none),
      title: "score by layer")
  }
}
