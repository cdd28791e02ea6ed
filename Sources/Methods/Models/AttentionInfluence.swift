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
/// segment that the model reads twice or of the text's own; the papers' needle tests with generated
/// text are left out. A masked head's weights are 1/(i+1) on what row i sees (`mean`), the paper's
/// 1/L (`literal`), or its output is 0 (`zero`, ours).
///
/// Findings: field `retrieval` `[layers, heads]` and `chosen`, the heads that are masked; fields
/// `probe_map` and `needle` `[queries, keys]` of the head looked at on the probe, and the keys that
/// would copy; series `loss_change` `[tokens]` (nats), `document` (the score of this text); numbers
/// `retrieval_score`, `is_chosen`, `chosen_heads`, `retrieval_heads` (above 0.1, the papers' mark),
/// `segment` (tokens), `loss_base`, `loss_masked`, `loss_control` (nats; as many other heads drawn
/// at random), `influence`, `influence_control`, `top_token`. A note names the tokens that lose
/// most.
///
/// Needs a segment that occurs twice, in the text or by a model that runs; throws
/// `Missing(.repetition)` without. Losses need a model and are nil without. Cost: three passes over
/// the text, one over the probe, once for all heads.
public struct AttentionInfluence: AttentionMethod {
  /// What heads are tried on.
  enum Probe: String, Sendable, CaseIterable { case auto, text, random }

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
    "probe", "a random segment (needs a model), the text's own, or what is there",
    standard: Probe.auto)
  /// Places of the text's own segment; -1: the longest that stands twice.
  static let first = Knob("first", "where the first copy begins", -1...1 << 30, standard: -1)
  /// The same of the other copy.
  static let second = Knob("second", "where the second copy begins", -1...1 << 30, standard: -1)
  /// m; 0 leaves it to the probe.
  static let length = Knob(
    "length", "tokens of the segment; 0: the longest, or 64 at random", 0...1 << 20, standard: 0)
  /// Of SplitMix64: the random segment, and the heads of the control.
  static let seed = Knob(
    "seed", "of the random segment and of the control", 0...1 << 30, standard: 1)

  /// Heads are ranked by how well they retrieve.
  public static let card = MethodCard(
    id: "attention-influence", title: "AttentionInfluence", family: "models",
    idea: "A text's loss rises by how much it needs the heads that retrieve.",
    source: "AttentionInfluence, 2025, arXiv 2505.07293", scope: .model, needs: [.layer],
    knobs: [
      share.facts, mask.facts, probe.facts, first.facts, second.facts, length.facts, seed.facts,
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
    let probe = try trial(subject, run), numbers = probe.numbers
    let key = "influence \(probe.first) \(probe.second) \(probe.length) \(probe.name)"
    let scores = try run.memo.value(key) {
      try probe.layers.map { heads in try heads.map { try probe.score($0, run) } }
    }
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
    findings.number("segment", Double(probe.length), .tokens)
    if let l = numbers.firstIndex(of: mine.layer), probe.layers[l].indices.contains(mine.head) {
      let head = probe.layers[l][mine.head]
      findings.field("probe_map", run.pattern(head), .weights, title: "this head on the probe")
      findings.field("needle", probe.needle(head), .kept, title: "keys that would copy")
    }
    let others = places.filter { !chosen.contains($0) }
    try addLosses(subject.tokens.texts, chosen, others, run, &findings)
    findings.note(Self.card.fidelity.sentence)
    findings.note("\(probe.name): \(probe.length) tokens at \(probe.first) and \(probe.second)")
    return findings
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

/// A segment that stands twice, and the heads that have read it.
struct RepeatedSegment: Sendable {
  /// For a note.
  let name: String
  /// `[layers][heads]`
  let layers: [[Head]]
  /// `[layers]`
  let numbers: [LayerNumber]
  /// Where the copies begin, in tokens; they do not overlap.
  let first, second: Int
  /// m, tokens of each.
  let length: Int

  /// The share of m - 1 rows whose largest weight lies on the token that comes next. Throws
  /// `Missing(.repetition)` where rows are not there, and `CancellationError`.
  func score(_ head: Head, _ run: MethodRun) throws -> Double {
    try run.checkCancellation()
    let from = second - head.visibility.offset, to = from + length - 1
    guard from >= 0, to <= head.queries else {
      throw Missing(.repetition, hint: "the queries of its second copy are not there")
    }
    var copied = 0
    run.pattern(head).withRows(from..<to) { row, p, _ in
      var best = 0
      for j in p.indices where p[j] > p[best] { best = j }
      if best == target(row, head) { copied += 1 }
    }
    return Double(copied) / Double(length - 1)
  }

  /// The key that a row of the second copy would copy from.
  private func target(_ row: Int, _ head: Head) -> Int {
    first + head.visibility.position(row: row) - second + 1
  }

  /// 1 on the keys that would copy, `[queries, keys]`; NaN after a causal query.
  func needle(_ head: Head) -> RuleField {
    let part = self
    return RuleField(rows: Axis(.query, head.queries), columns: Axis(.key, head.keys)) { row, out in
      let limit = head.visibility.limit(row: row), at = head.visibility.position(row: row)
      let isCopy = (part.second..<part.second + part.length - 1).contains(at)
      let key = part.target(row, head)
      for j in out.indices { out[j] = j >= limit ? .nan : isCopy && j == key ? 1 : 0 }
    }
  }

  /// The longest segment of two tokens or more that stands twice without overlap, the first of
  /// equal ones; nil where none does. Cost n² of the tokens, of which the first 8192 are looked at.
  static func longest(_ texts: [String]) -> (first: Int, second: Int, length: Int)? {
    var ids: [String: Int] = [:]
    let tokens = texts.prefix(8192).map { text -> Int in
      let id = ids[text] ?? ids.count
      ids[text] = id
      return id
    }
    var best = (first: 0, second: 0, length: 1)
    // before[j]: how far the runs that end before i and before j agree.
    var before = [Int](repeating: 0, count: tokens.count + 1)
    for i in tokens.indices {
      var now = [Int](repeating: 0, count: tokens.count + 1)
      for j in i + 1..<max(tokens.count, i + 1) where tokens[i] == tokens[j] {
        now[j + 1] = before[j] + 1
        let length = min(now[j + 1], j - i)
        if length > best.length {
          best = (i - length + 1, j - length + 1, length)
        }
      }
      before = now
    }
    return best.length > 1 ? best : nil
  }
}
