import Algebra
import Analysis
public import Attention
import Tensors

/// AttentionInfluence: how much a text needs the heads that copy from what was read before.
///
///     score = (L_masked - L_base) / L_base        mean losses; heads that retrieve best are masked
///     retrieval of a head = copied tokens / (m - 1)
///     a head copies at row i of the second copy b..b+m-1 of a segment, if argmax_j A_ij is
///     a + (i - b) + 1, the place of the next token in the first copy (ties: the lower key)
///
/// Paper: AttentionInfluence, 2025, arXiv 2505.07293; retrieval heads from arXiv 2404.15574. The
/// score is exact where a model runs. Its heads are found by the induction proxy above, of a random
/// segment that the model reads twice or of the text's own, or by needle tests (`NeedleTest`): keys
/// and sentences of random tokens, solved examples, and a key that is asked for. There the needle
/// is the sentence, retrieval the share of its tokens that a head copies, a mean over the tests;
/// the answer is read and not generated, so that it counts whether the model would find it or not.
/// A masked head's weights are 1/(i+1) on what row i sees (`mean`), the paper's
/// 1/L (`literal`), or its output is 0 (`zero`, ours).
///
/// Findings: field `retrieval` `[layers, heads]` and `chosen`, the heads that are masked; fields
/// `probe_map` and `needle` `[queries, keys]` of the head looked at on the probe, and the keys that
/// would copy; series `loss_change` `[tokens]` (nats), `document` (the score of this text); numbers
/// `retrieval_score`, `is_chosen`, `chosen_heads`, `retrieval_heads` (above 0.1, the papers' mark),
/// `segment` (tokens of the segment, or of a needle), `needle_tests`, `loss_base`, `loss_masked`,
/// `loss_control` (nats; as many other heads drawn at random), `influence`, `influence_control`,
/// `top_token`. A note names the tokens that lose most.
///
/// Needs a segment that occurs twice, in the text or by a model that runs; throws
/// `Missing(.repetition)` without, and `Missing(.model)` for needle tests. Losses need a model and
/// are nil without. Cost: three passes over the text, one over the probe or each test, once for all
/// heads.
public struct AttentionInfluence: AttentionMethod {
  /// What heads are tried on.
  enum Probe: String, Sendable, CaseIterable { case auto, text, random, needles }

  /// The paper's; at least one head. What `[` and `]` move.
  static let share = Knob(
    "share", "share of heads that are masked, at least one", 0...1, standard: 0.05,
    step: .add(0.01), isMain: true)
  /// The paper's 1/L is `literal`; its rows do not sum to 1.
  static let mask = Knob(
    "mask", "weights of masked heads: 1/(i+1), the paper's 1/L, or no output",
    standard: HeadMask.mean)
  /// Random tokens where a model runs, unless told otherwise.
  static let probe = Knob(
    "probe", "a random segment or needle tests (need a model), the text's own, or what is there",
    standard: Probe.auto)
  /// Places of the text's own segment; -1: the longest that stands twice.
  static let first = Knob("first", "where the first copy begins", -1...1 << 30, standard: -1)
  /// The same of the other copy.
  static let second = Knob("second", "where the second copy begins", -1...1 << 30, standard: -1)
  /// m; 0 leaves it to the probe.
  static let length = Knob(
    "length", "tokens of the segment; 0: the longest, 64 at random, 24 of a needle", 0...1 << 20,
    standard: 0)
  /// The paper's are 800 of near 4096 tokens.
  static let tests = Knob(
    "tests", "needle tests, over which scores are means", 1...800, standard: 8,
    step: .multiply(2))
  /// Of SplitMix64: the random segment, and the heads of the control.
  static let seed = Knob(
    "seed", "of the random segment, of needle tests and of the control", 0...1 << 30, standard: 1)

  /// Heads are ranked by how well they retrieve.
  public static let card = MethodCard(
    id: "attention-influence", title: "AttentionInfluence", family: "models",
    idea: "A text's loss rises by how much it needs the heads that retrieve.",
    source: "AttentionInfluence, 2025, arXiv 2505.07293", scope: .model, needs: [.layer],
    knobs: [
      share.facts, mask.facts, probe.facts, first.facts, second.facts, length.facts,
      tests.facts, seed.facts,
    ],
    fidelity: .proxy("induction proxy: heads are found by a repeated segment, not needle tests"),
    wholeMap: .max, mainField: "probe_map", mainNumber: "retrieval_score")

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// Scores of all heads, and the text's own where a model runs. Throws `Missing`,
  /// `CancellationError`.
  public func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    let isNeedle = knobs[Self.probe] == .needles
    let (probe, scores) = try isNeedle ? needles(run) : repetition(subject, run)
    let numbers = probe.numbers
    let flat = scores.flatMap { $0 }, wide = scores.map(\.count).max() ?? 0
    let places = scores.indices.flatMap { l in
      scores[l].indices.map { ModelChange.Place(numbers[l], $0) }
    }
    let wanted = max(1, Int((knobs[Self.share] * Double(flat.count) + 0.5).rounded(.down)))
    let order = flat.indices.sorted { (-flat[$0], $0) < (-flat[$1], $1) }
    let chosen = Set(order.prefix(wanted).map { places[$0] })
    var findings = Findings()
    let down = Axis(.layer, scores.count, labels: numbers.map(\.description))
    func grid(_ value: (Int, Int) -> Float) -> WholeField {
      let values = scores.indices.flatMap { l in
        (0..<wide).map { scores[l].indices.contains($0) ? value(l, $0) : .nan }
      }
      return WholeField(rows: down, columns: Axis(.head, wide), values: values)
    }
    findings.field(
      "retrieval", grid { Float(scores[$0][$1]) }, .magnitude(.share), title: "retrieval score")
    findings.field(
      "chosen", grid { chosen.contains(ModelChange.Place(numbers[$0], $1)) ? 1 : 0 }, .kept,
      title: "heads that are masked")
    let mine = ModelChange.Place(subject.numbers[subject.focus.layer], subject.focus.head)
    let at = places.firstIndex(of: mine)
    findings.number("retrieval_score", at.map { flat[$0] }, .share, title: "this head retrieves")
    findings.number("is_chosen", chosen.contains(mine) ? 1 : 0, .count)
    findings.number("chosen_heads", Double(chosen.count), .count)
    findings.number("retrieval_heads", Double(flat.count { $0 > 0.1 }), .count)
    findings.number("segment", Double(isNeedle ? probe.length - 1 : probe.length), .tokens)
    if isNeedle { findings.number("needle_tests", Double(knobs[Self.tests]), .count) }
    if let l = numbers.firstIndex(of: mine.layer), probe.layers[l].indices.contains(mine.head) {
      let head = probe.layers[l][mine.head]
      findings.field("probe_map", run.pattern(head), .weights, title: "this head on the probe")
      findings.field("needle", probe.needle(head), .kept, title: "keys that would copy")
    }
    let others = places.filter { !chosen.contains($0) }
    try addLosses(subject.tokens.texts, chosen, others, run, &findings)
    findings.note(
      isNeedle
        ? "proxy: needle tests of random tokens, whose answers are read and not generated"
        : Self.card.fidelity.sentence)
    findings.note("\(probe.name): \(probe.length) tokens at \(probe.first) and \(probe.second)")
    return findings
  }

  /// A repeated segment, and how well every head copies from it, `[layers][heads]`. Throws
  /// `Missing`, `CancellationError`.
  private func repetition(_ subject: Subject, _ run: MethodRun) throws
    -> (RepeatedSegment, [[Double]])
  {
    let probe = try trial(subject, run)
    let key = "influence \(probe.first) \(probe.second) \(probe.length) \(probe.name)"
    return (probe, try run.memo.value(key) { try probe.scores(run) })
  }

  /// The first of the needle tests, for drawing, and the means over all of them, `[layers][heads]`.
  /// Throws `Missing`, `CancellationError`.
  private func needles(_ run: MethodRun) throws -> (RepeatedSegment, [[Double]]) {
    let model = try run.reader(), count = knobs[Self.tests], seed = knobs[Self.seed]
    let length = knobs[Self.length] > 0 ? knobs[Self.length] : 24
    // A draw shuffles the whole vocabulary: once for all heads, like what is read of it.
    return try run.memo.value("influence needles \(seed) \(length) \(count)") {
      var random = SplitMix64(UInt64(seed))
      func read() throws -> RepeatedSegment {
        try NeedleTest(length: length, vocabulary: model.vocabulary, &random)
          .read(model, name: "the first of \(count) needle tests of seed \(seed)")
      }
      let first = try read()
      var sum = try first.scores(run)
      for _ in 1..<count {
        for (l, heads) in try read().scores(run).enumerated() {
          for (h, score) in heads.enumerated() { sum[l][h] += score }
        }
      }
      return (first, sum.map { $0.map { $0 / Double(count) } })
    }
  }

  /// Where heads are tried. Throws `Missing`, `CancellationError`.
  private func trial(_ subject: Subject, _ run: MethodRun) throws -> RepeatedSegment {
    let kind = knobs[Self.probe]
    if kind == .random || (kind == .auto && run.model != nil) {
      let model = try run.reader(), seed = knobs[Self.seed]
      let length = knobs[Self.length] > 0 ? knobs[Self.length] : 64
      guard length > 1 else { throw Missing(.repetition, hint: "of two tokens at least") }
      let layers = try run.memo.value("influence probe \(seed) \(length)") {
        var random = SplitMix64(UInt64(seed))
        let segment = (0..<length).map { _ in
          min(Int(random.uniform() * Double(model.vocabulary)), model.vocabulary - 1)
        }
        return try model.heads(reading: segment + segment)
      }
      return RepeatedSegment(
        name: "random segment of seed \(seed)", layers: layers, numbers: .counted(layers.count),
        first: 0, second: length, length: length)
    }
    let texts = subject.tokens.texts, n = subject.head.keys
    var place = (first: knobs[Self.first], second: knobs[Self.second], length: knobs[Self.length])
    if place.first < 0 || place.second < 0 || place.length == 0 {
      guard texts.count == n, let found = RepeatedSegment.longest(texts) else {
        throw Missing(.repetition)
      }
      place = found
    }
    guard place.length > 1, place.first + place.length <= place.second,
      place.second + place.length <= n
    else { throw Missing(.repetition, hint: "two copies of two tokens or more, side by side") }
    return RepeatedSegment(
      name: "segment of the text", layers: subject.layers, numbers: subject.numbers,
      first: place.first, second: place.second, length: place.length)
  }

  /// The text with the chosen heads masked, and with as many others.
  private func addLosses(
    _ texts: [String], _ chosen: Set<ModelChange.Place>, _ others: [ModelChange.Place],
    _ run: MethodRun, _ findings: inout Findings
  ) throws {
    var others = others, random = SplitMix64(UInt64(knobs[Self.seed]) &+ 1)
    var control: Set<ModelChange.Place> = []
    while control.count < chosen.count, !others.isEmpty {
      control.insert(
        others.remove(at: min(Int(random.uniform() * Double(others.count)), others.count - 1)))
    }
    let isWhole = control.count == chosen.count
    var losses: [[Float]] = []
    if let model = run.model {
      let mask = knobs[Self.mask]
      losses = try model.losses(
        [ModelChange(), ModelChange(heads: chosen, mask: mask)]
          + (isWhole ? [ModelChange(heads: control, mask: mask)] : []))
    } else {
      findings.note("losses: \(Missing(.model))")
    }
    let means = losses.map(LayerBoost.mean)
    func relative(_ index: Int) -> Double? {
      means.count > index && means[0] > 0 ? (means[index] - means[0]) / means[0] : nil
    }
    for (index, name) in ["loss_base", "loss_masked", "loss_control"].enumerated() {
      findings.number(name, means.count > index ? means[index] : nil, .nats)
    }
    findings.number("influence", relative(1), title: "loss rises by")
    findings.number("influence_control", relative(2), title: "by as many other heads")
    guard losses.count > 1 else { return }
    let change = zip(losses[1], losses[0]).map { $0 - $1 }
    findings.series(
      "loss_change", Axis(.token, change.count), change, .nats, title: "what masking adds")
    findings.series(
      "document", Axis(.slot, 1, labels: ["this text"]), [Float(relative(1) ?? .nan)],
      title: "score of the text")
    let known = change.indices.filter { !change[$0].isNaN }
    let order = known.sorted { (-change[$0], $0) < (-change[$1], $1) }
    findings.number("top_token", order.first.map { Double($0) }, title: "token that loses most")
    let names = order.prefix(5).map { t in
      "\(t)" + (texts.indices.contains(t) ? " \"\(texts[t])\"" : "")
        + " (\((Double(change[t]) * 1000).rounded() / 1000))"
    }
    findings.note("lose most: \(names.joined(separator: ", "))")
  }
}
