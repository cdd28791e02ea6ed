import Algebra
import Analysis
public import Attention
import Tensors

/// AdaptInfer: tokens of an image are pruned by the votes of text tokens, and a text token that
/// other text cares about votes more.
///
/// In each head, over the rows and keys that are text:
///
///     T = A[text, text],  Y = T + Tᵀ - diag(T),  w_t = Σ_t' Y_t't
///     z_v = Σ over heads h, t in text of w_t A_tv          the k largest stay, and all text
///
/// Paper: "AdaptInfer", 2025, arXiv 2508.06084; the scores are those of its official code.
///
/// Scores are exact. The paper prunes at a few layers, found by a study over many prompts: here the
/// layer that is looked at stands for each of its stages, and a stage chooses among what the one
/// before left. Published counts are for 576 tokens of an image; with `budget` at `scaled` (ours)
/// they shrink in proportion, never below one. Shares (`qwen2`) are of the tokens still there.
///
/// Findings: `score`, `column_score`, `last_score` `[keys]`, NaN off the image (z; the plain sum
/// over text rows; the last row, mean over heads, as FastV does); `weights` `[keys]`, w of the head
/// looked at; fields `patches` `[rows, columns]` (z on the image), `text_map` `[text, text]` (T),
/// `survivors` `[stages, keys]`; numbers `kept_N` (tokens) and `kept_mass_N` (share of the mass
/// from text to image) of stage N, `rank_column`, `rank_last` (Spearman), `overlap_last` (first
/// stage), `entropy_w` of the head, `entropy_w_mean` (nats), `error` of the head's text rows after
/// the first stage.
///
/// Throws `Missing(.roles)` without roles or a grid, or without text. Cost: the text rows of all
/// heads, twice.
public struct AdaptInfer: AttentionMethod {
  /// Published sets of counts, by model and mean number of tokens.
  enum Preset: String, Sendable, CaseIterable {
    case llava128 = "llava-128"
    case llava64 = "llava-64"
    case llava48 = "llava-48"
    case llava32 = "llava-32"
    case large128 = "llava13-128"
    case large64 = "llava13-64"
    case qwen2

    /// Tokens left of 576; empty for shares.
    var counts: [Int] {
      switch self {
      case .llava128: [290, 72, 18]
      case .llava64: [133, 27, 3]
      case .llava48: [80, 24, 2]
      case .llava32: [40, 12, 0]
      case .large128: [300, 94, 30]
      case .large64: [148, 40, 5]
      case .qwen2: []
      }
    }

    /// What the stages are called: the layers at which the paper prunes, where it says so.
    var stages: [String] {
      switch self {
      case .llava128, .llava64, .llava48, .llava32: ["layer 1", "layer 10", "layer 20"]
      case .large128, .large64: ["stage 1", "stage 2", "stage 3"]
      case .qwen2: ["layer 0", "layer 9", "layer 19"]
      }
    }
  }

  /// Which counts.
  static let preset = Knob(
    "preset", "published tokens left at each stage", standard: Preset.llava128, isMain: true)
  /// k of a single stage.
  static let keep = Knob(
    "keep", "image tokens kept by a single stage; -1: those of the preset", -1...1 << 30,
    standard: -1, aliases: ["k"])
  /// How much of w is used.
  static let blend = Knob(
    "lb", "weights lb w + (1 - lb) mean w", 0...1, standard: 1.0, step: .add(0.1))
  /// Published counts as they are, or for this image.
  static let budget = Knob(
    "budget", "counts as published, or in proportion to the image's tokens",
    standard: Budget.Mode.scaled)

  /// The scope is a layer; heads are ranked by the entropy of their weights.
  public static let card = MethodCard(
    id: "adaptinfer", title: "AdaptInfer", family: "images",
    idea: "Text tokens that other text looks at vote more for the image tokens that stay.",
    source: "AdaptInfer, 2025, arXiv 2508.06084", scope: .layer, needs: [.roles],
    knobs: [preset.facts, keep.facts, blend.facts, budget.facts], mainNumber: "entropy_w")

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// Scores and stages of the layer looked at. Throws `Missing`, `CancellationError`.
  public func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    let head = subject.head, tokens = try ImageTokens(subject.tokens, keys: head.keys)
    let text = ImageTokens.rows(tokens.text, head).map { $0 + head.visibility.offset }
      .filter { $0 < head.keys }
    guard !text.isEmpty, head.queries > 0 else {
      throw Missing(.roles, hint: "no row of this head is text")
    }
    let layer = subject.layer, focus = subject.focus.head, blend = knobs[Self.blend]
    let votes = try RowPicks.spread(layer.count, by: 1, run) { heads in
      heads.map { TextVotes(run.pattern(layer[$0]), text, tokens.visual, blend) }
    }
    func sum(_ path: KeyPath<TextVotes, [Double]>) -> [Double] {
      votes.reduce(into: [Double](repeating: 0, count: tokens.visual.count)) { all, vote in
        for (v, x) in vote[keyPath: path].enumerated() { all[v] += x }
      }
    }
    let score = sum(\.score), column = sum(\.column)
    let last = sum(\.last).map { $0 / Double(votes.count) }
    var findings = Findings()
    tokens.image("patches", score, .magnitude(.none), title: "score, on the image", to: &findings)
    let stages = stages(score)
    add(stages.kept, stages.names, column, tokens, &findings)
    findings.number(
      "rank_column", Correlation.ofRanks(score, column), title: "rank correlation with plain sums")
    findings.number(
      "rank_last", Correlation.ofRanks(score, last), title: "rank correlation with the last row")
    let first = stages.kept[0]
    findings.number(
      "overlap_last", ImageTokens.overlap(first, ImageTokens.best(first.count, last)), .share,
      title: "kept by the last row, too")
    findings.number("entropy_w", votes[focus].entropy, .nats, title: "entropy of the weights")
    let entropies = votes.compactMap(\.entropy)
    findings.number(
      "entropy_w_mean",
      entropies.isEmpty ? nil : entropies.reduce(0, +) / Double(entropies.count), .nats,
      title: "entropy of the weights, mean over heads")
    findings.number(
      "error", error(run.pattern(head), text, tokens, first),
      title: "output error of text rows, first stage")
    tokens.strip("score", score, title: "score z", to: &findings)
    tokens.strip("column_score", column, title: "plain sum over text rows", to: &findings)
    tokens.strip("last_score", last, .share, title: "last row, mean over heads", to: &findings)
    addText(run.pattern(head), text, votes[focus], tokens, subject.tokens, &findings)
    if text.count < tokens.text.count {
      findings.note("\(tokens.text.count - text.count) text tokens have no query row here")
    }
    return findings
  }

  /// Indices into the image's tokens that each stage keeps, ascending, and what the stages are
  /// called. `score` is `[visual]`.
  private func stages(_ score: [Double]) -> (kept: [[Int]], names: [String]) {
    let all = score.count, preset = knobs[Self.preset]
    var counts: [Int], names = preset.stages
    if knobs[Self.keep] >= 0 {
      (counts, names) = ([knobs[Self.keep]], ["kept"])
    } else if preset == .qwen2 {
      counts = []
      for share in [0.17, 0.6, 0.3] {
        counts.append(Int((Double(counts.last ?? all) * share + 0.5).rounded(.down)))
      }
    } else {
      counts = preset.counts
      if knobs[Self.budget] == .scaled {
        counts = counts.map { $0 == 0 ? 0 : Scaled.tokens($0, n: all, reference: 576) }
      }
    }
    let order = ImageTokens.best(all, score)
    // Nested: the best of what a stage left are the best of all.
    return (counts.map { order.prefix($0).sorted() }, names)
  }

  /// Counts, masses and the film strip. `column` `[visual]` is the mass that text gives.
  private func add(
    _ kept: [[Int]], _ names: [String], _ column: [Double], _ tokens: ImageTokens,
    _ findings: inout Findings
  ) {
    let total = column.reduce(0, +)
    for (stage, chosen) in kept.enumerated() {
      findings.number(
        "kept_\(stage + 1)", Double(chosen.count), .tokens,
        title: "image tokens kept, \(names[stage])")
      findings.number(
        "kept_mass_\(stage + 1)",
        total > 0 ? chosen.reduce(0) { $0 + column[$1] } / total : nil, .share,
        title: "text to image mass kept, \(names[stage])")
    }
    tokens.film("survivors", kept, stages: names, title: "kept by each stage", to: &findings)
    if knobs[Self.keep] < 0 {
      findings.note("the scores of this layer stand for every stage")
      if knobs[Self.preset] != .qwen2, knobs[Self.budget] == .scaled, tokens.visual.count < 576 {
        findings.note("counts scaled from 576 image tokens to \(tokens.visual.count)")
      }
    }
  }

  /// T and w of the head looked at.
  private func addText(
    _ pattern: PatternRows, _ text: [Int], _ votes: TextVotes, _ tokens: ImageTokens,
    _ facts: TokenFacts, _ findings: inout Findings
  ) {
    let names = text.map { facts.texts.indices.contains($0) ? facts.texts[$0] : "token \($0)" }
    let axis = Axis(.slot, text.count, labels: names), offset = pattern.head.visibility.offset
    findings.field(
      "text_map",
      RuleField(rows: axis, columns: axis) { row, out in
        let at = text[row] - offset
        pattern.withRows(at..<at + 1) { _, p, _ in
          for (place, key) in text.enumerated() { out[place] = p[key] }
        }
      }, .magnitude(.share), title: "text on text")
    findings.series(
      "weights", Axis(.key, tokens.keys), tokens.spread(votes.weights, on: text),
      title: "weights of text tokens")
  }

  /// ‖O' - O‖ / ‖O‖ over the text rows of a head when pruned tokens are no keys; nil without V.
  private func error(
    _ pattern: PatternRows, _ text: [Int], _ tokens: ImageTokens, _ kept: [Int]
  ) -> Double? {
    guard let value = pattern.head.value else { return nil }
    let v = value.floats(), width = value.shape[1]
    var isKept = [Bool](repeating: true, count: tokens.keys)
    for token in tokens.visual { isKept[token] = false }
    for index in kept { isKept[tokens.visual[index]] = true }
    var difference = 0.0, norm = 0.0
    for run in TopPicks.runs(text.map { $0 - pattern.head.visibility.offset }) {
      pattern.withRows(run) { row, p, _ in
        var dense = [Double](repeating: 0, count: width), sparse = dense, mass = 0.0
        for key in 0..<pattern.head.visibility.limit(row: row) {
          let weight = Double(p[key])
          if isKept[key] { mass += weight }
          for x in 0..<width {
            let part = weight * Double(v[key * width + x])
            dense[x] += part
            if isKept[key] { sparse[x] += part }
          }
        }
        for x in 0..<width {
          let off = (mass > 0 ? sparse[x] / mass : 0) - dense[x]
          difference += off * off
          norm += dense[x] * dense[x]
        }
      }
    }
    return norm > 0 ? (difference / norm).squareRoot() : nil
  }
}

/// What the text of one head says about the image.
private struct TextVotes: Sendable {
  /// `[text]`, w, blended.
  let weights: [Double]
  /// `[visual]`, Σ_t w_t A_tv.
  private(set) var score: [Double]
  /// `[visual]`, Σ_t A_tv.
  let column: [Double]
  /// `[visual]` of the last row.
  let last: [Double]

  /// Two passes over the rows of `text`; both lists are places among the keys.
  init(_ pattern: PatternRows, _ text: [Int], _ visual: [Int], _ blend: Double) {
    let offset = pattern.head.visibility.offset
    let runs = TopPicks.runs(text.map { $0 - offset })
    var given = [Double](repeating: 0, count: text.count), received = given, own = given
    var column = [Double](repeating: 0, count: visual.count), t = 0
    for run in runs {
      pattern.withRows(run) { _, p, _ in
        for (place, key) in text.enumerated() {
          given[t] += Double(p[key])
          received[place] += Double(p[key])
        }
        own[t] = Double(p[text[t]])
        for (place, key) in visual.enumerated() { column[place] += Double(p[key]) }
        t += 1
      }
    }
    // A column of Y: that of T, its row, and the diagonal once.
    let plain = text.indices.map { given[$0] + received[$0] - own[$0] }
    let mean = plain.reduce(0, +) / Double(text.count)
    let weights = plain.map { blend * $0 + (1 - blend) * mean }
    var score = [Double](repeating: 0, count: visual.count)
    t = 0
    for run in runs {
      pattern.withRows(run) { _, p, _ in
        for (place, key) in visual.enumerated() { score[place] += weights[t] * Double(p[key]) }
        t += 1
      }
    }
    let end = ImageTokens.sums(pattern, [pattern.head.queries - 1])
    (self.weights, self.score, self.column) = (weights, score, column)
    last = visual.map { end[$0] }
  }

  /// Of the weights as shares, in nats; nil when all are zero.
  var entropy: Double? {
    let sum = weights.reduce(0, +)
    guard sum > 0 else { return nil }
    return weights.reduce(0) { $1 > 0 ? $0 - $1 / sum * logarithm($1 / sum) : $0 }
  }
}
