import Algebra
import Analysis
public import Attention
import Tensors

/// PRIOR: a token weighs as much as a text-only model fails to predict it.
///
///     u_t = (1 - p_t)^α,   w_t = u_t / mean u         p_t = p_ref(x_t | x_<t) of a text-only model
/// weighted loss = Σ_t w_t ℓ_t / k ℓ_t = -ln p(x_t) of the model that is trained
///     w'_t = -ln p_t / mean of it                     (ours: the same by surprise)
///     g_t = Σ_{v visual} A_{t,v}                      (ours: what the head looks at in the image)
///
/// over the k caption tokens: those called text, or all where no roles are known; a token that
/// nothing predicts (the first) is none. Paper: PRIOR, 2025, arXiv 2505.08971.
///
/// The formula is exact, as a review of the paper quotes it; whether the paper's mean runs over a
/// caption or a batch is not known, here it is one caption. The paper trains its reference on
/// captions alone; here it is whatever model gave the probabilities, and a note says so.
///
/// Findings: series `weight`, `surprise_weight`, `probability`, `image_mass`, `loss` and
/// `weighted_loss` (nats) `[tokens]`, NaN at tokens that are no caption; curve `weight_and_mass`;
/// numbers `caption_tokens`, `top_token` (its place), `top_weight`, `effective_share` ((Σw)²/Σw²
/// over k), `loss_plain`, `loss_weighted` (nats), `loss_ratio`, `mass_correlation` (Spearman of w
/// and g). A note names the tokens of most weight.
///
/// Needs token probabilities `[tokens]`, of the file or of a model that runs, and throws
/// `Missing(.probabilities)` otherwise. Image masses need roles or a grid; losses need
/// `token_losses`. Cost: O(n), and the head's rows for masses.
public struct PRIOR: AttentionMethod {
  /// Whose losses are weighted.
  enum Loss: String, Sendable, CaseIterable { case main, reference }

  /// The paper's exponent; at 0 all tokens weigh the same. What `[` and `]` move.
  static let alpha = Knob(
    "alpha", "exponent of 1 - p; 0 weighs all alike", 0...16, standard: 1.0, step: .add(0.25),
    isMain: true)
  /// The main model's are the paper's; the reference's own show the effect without it.
  static let loss = Knob(
    "loss", "losses of the main model (token_losses), or the reference's own", standard: Loss.main)
  /// How many tokens the note names.
  static let top = Knob("top", "tokens of most weight that are named", 1...64, standard: 5)

  /// Heads are ranked by how well their look at the image goes with the weights.
  public static let card = MethodCard(
    id: "prior", title: "PRIOR", family: "models",
    idea: "Tokens that a text-only model cannot predict weigh more in the loss.",
    source: "PRIOR, 2025, arXiv 2505.08971", scope: .model, needs: [.probabilities],
    knobs: [alpha.facts, loss.facts, top.facts],
    fidelity: .surrogate(.U3, "the reference is not the paper's model of captions"),
    wholeMap: .max, mainNumber: "mass_correlation")

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// Weights of the caption, and what comes of them. Throws `Missing(.probabilities)`,
  /// `CancellationError`.
  public func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    let p = try probabilities(subject, run), n = p.count
    let (caption, image) = Self.parts(subject.tokens, p)
    let weights = Self.weights(caption.map { p[$0] }, alpha: knobs[Self.alpha])
    var findings = Findings()
    let axis = Axis(.token, n)
    /// `[tokens]` from `[caption]`.
    func spread(_ values: [Double]?) -> [Float] {
      var all = [Float](repeating: .nan, count: n)
      for (t, x) in zip(caption, values ?? []) { all[t] = Float(x) }
      return all
    }
    findings.series("weight", axis, spread(weights), title: "weight in the loss")
    findings.series(
      "surprise_weight", axis, spread(Self.normalised(caption.map { -logarithm(p[$0]) })),
      title: "weight by surprise (ours)")
    findings.series("probability", axis, p.map(Float.init), .share, title: "p of the reference")
    findings.number("caption_tokens", Double(caption.count), .tokens)
    let place = weights.flatMap { w in
      w.indices.max { (w[$0], -$0) < (w[$1], -$1) }
    }
    findings.number("top_token", place.map { Double(caption[$0]) }, title: "token of most weight")
    findings.number("top_weight", place.flatMap { at in weights?[at] }, title: "its weight")
    findings.number(
      "effective_share", weights.map { Self.effectiveSize($0) / Double(max($0.count, 1)) }, .share,
      title: "effective sample size")
    try addLosses(subject, caption, p, weights, spread, &findings)
    try addMasses(subject, caption, image, weights, spread, run, &findings)
    addNotes(subject.tokens.texts, caption, weights, &findings)
    return findings
  }

  /// `[tokens]`, NaN where nothing predicts one. Of the file, or of the model.
  private func probabilities(_ subject: Subject, _ run: MethodRun) throws -> [Double] {
    let p: [Double]
    do {
      p = try subject.array(.probabilities).floats().map(Double.init)
    } catch let missing as Missing {
      guard let model = run.model else { throw missing }
      p = try model.losses([ModelChange()])[0].map { exponential(-Double($0)) }
    }
    guard p.count == subject.head.keys else {
      throw Missing(
        .probabilities, hint: "there are \(p.count) for \(subject.head.keys) tokens")
    }
    guard p.allSatisfy({ $0.isNaN || (0...1.000001).contains($0) }) else {
      throw Missing(.probabilities, hint: "they are not all within 0 and 1")
    }
    return p.map { min($0, 1) }
  }

  /// Caption tokens that have a probability, and the tokens of the image; nil without one.
  static func parts(_ facts: TokenFacts, _ p: [Double]) -> (caption: [Int], image: [Int]?) {
    let grid = facts.grid?.tokens(of: p.count)
    func role(_ t: Int) -> TokenFacts.Role {
      if facts.roles.indices.contains(t) { return facts.roles[t] }
      return grid?.contains(t) == true ? .visual : .text
    }
    let image = p.indices.filter { role($0) == .visual }
    return (p.indices.filter { role($0) == .text && !p[$0].isNaN }, image.isEmpty ? nil : image)
  }

  /// (1 - p)^α over its mean; nil where every token is certain.
  static func weights(_ p: [Double], alpha: Double) -> [Double]? {
    normalised(
      p.map { p in alpha == 0 ? 1 : p >= 1 ? 0 : exponential(alpha * logarithm(1 - p)) })
  }

  /// Over their mean; nil where that is 0 or not finite.
  static func normalised(_ u: [Double]) -> [Double]? {
    let mean = u.reduce(0, +) / Double(u.count)
    return mean > 0 && mean.isFinite ? u.map { $0 / mean } : nil
  }

  /// (Σw)² / Σw², tokens.
  static func effectiveSize(_ w: [Double]) -> Double {
    let sum = w.reduce(0, +)
    return sum * sum / w.reduce(0) { $0 + $1 * $1 }
  }

  /// Losses before and after; unknown without the main model's, unless the reference stands for it.
  private func addLosses(
    _ subject: Subject, _ caption: [Int], _ p: [Double], _ weights: [Double]?,
    _ spread: ([Double]?) -> [Float], _ findings: inout Findings
  ) throws {
    let axis = Axis(.token, p.count)
    var all: [Double]?
    switch knobs[Self.loss] {
    case .reference:
      all = p.map { -logarithm($0) }
      findings.note("ours: losses are the reference's own, no main model's")
    case .main:
      all = (try? subject.array(.losses))?.floats().map(Double.init)
      if let given = all, given.count != p.count {
        throw Missing(.losses, hint: "there are \(given.count) for \(p.count) tokens")
      }
      if all == nil {
        findings.note("losses: \(Missing(.losses)), or loss=reference for the reference's own")
      }
    }
    let mine = all.map { all in caption.map { all[$0] } }
    let weighted = mine.flatMap { mine in weights.map { zip($0, mine).map { $0 * $1 } } }
    if let mine {
      findings.series("loss", axis, spread(mine), .nats)
      findings.series("weighted_loss", axis, spread(weighted), .nats)
    }
    func mean(_ x: [Double]?) -> Double? {
      x.flatMap { $0.isEmpty ? nil : $0.reduce(0, +) / Double($0.count) }
    }
    let (plain, heavy) = (mean(mine), mean(weighted))
    findings.number("loss_plain", plain, .nats, title: "mean loss")
    findings.number("loss_weighted", heavy, .nats, title: "mean weighted loss")
    findings.number(
      "loss_ratio", plain.flatMap { plain in plain > 0 ? heavy.map { $0 / plain } : nil },
      title: "weighted over plain")
  }

  /// What every caption token's row holds on the image, beside its weight.
  private func addMasses(
    _ subject: Subject, _ caption: [Int], _ image: [Int]?, _ weights: [Double]?,
    _ spread: ([Double]?) -> [Float], _ run: MethodRun, _ findings: inout Findings
  ) throws {
    let head = subject.head
    guard let image, !head.isLong || run.isWhole else {
      findings.number("mass_correlation", nil)
      findings.note(
        "image mass: \(image == nil ? Missing(.roles) : Missing(.length))")
      return
    }
    var mass = [Double](repeating: .nan, count: head.keys)
    let rows = run.pattern(head)
    for start in stride(from: 0, to: head.queries, by: 64) {
      try run.checkCancellation()
      rows.withRows(start..<min(start + 64, head.queries)) { row, p, _ in
        let t = head.visibility.position(row: row)
        guard mass.indices.contains(t) else { return }
        mass[t] = image.reduce(0) { $0 + (p[$1].isNaN ? 0 : Double(p[$1])) }
      }
    }
    findings.series(
      "image_mass", Axis(.token, head.keys), spread(caption.map { mass[$0] }), .share,
      title: "mass on the image")
    let pairs = zip(weights ?? [], caption).map { ($0, mass[$1]) }.filter { !$0.1.isNaN }
    findings.curve(
      "weight_and_mass",
      Curve(
        x: "weight", y: "mass on the image",
        points: pairs.sorted { $0 < $1 }.map { Curve.Point($0.0, $0.1) }))
    findings.number(
      "mass_correlation", Correlation.ofRanks(pairs.map(\.0), pairs.map(\.1)),
      title: "Spearman of weight and mass")
  }

  /// The tokens of most weight, or that there are none; ties by place.
  private func addNotes(
    _ texts: [String], _ caption: [Int], _ weights: [Double]?, _ findings: inout Findings
  ) {
    findings.note("U3: \(Self.card.fidelity.sentence)")
    guard let weights else {
      findings.note(
        caption.isEmpty
          ? "n/a: there is no caption token"
          : "n/a: every token is certain, so no weight is defined")
      return
    }
    let order = weights.indices.sorted { (-weights[$0], $0) < (-weights[$1], $1) }
    let names = order.prefix(knobs[Self.top]).map { at in
      let t = caption[at], weight = (weights[at] * 1000).rounded() / 1000
      return "\(t)" + (texts.indices.contains(t) ? " \"\(texts[t])\"" : "") + " (\(weight))"
    }
    findings.note("most weight: \(names.joined(separator: ", "))")
  }
}
