import Analysis
public import Attention
import Tensors

/// Attention debiasing: attention to an image rises with the place of a token, and falls on padding
/// as well; both are taken out before tokens are pruned.
///
///     a_v = attention of the last row to image token v, mean over heads
///     t(v) = exp(α + β v), least squares on the mean of a over other maps, v in raster order
///     ã_v = a_v / t(v), with the sum of a; 0 for padding; the k largest stay
///
/// Paper: "Attention Debiasing", 2025, arXiv 2508.17807; the padding rule is that of its released
/// patches: an image that is not square is padded to both sides alike, and a patch of which more
/// than ρ is padding never stays.
///
/// The procedure is exact. The paper fits the trend over many images; here (ours) the other layers
/// stand for them, and the map that is shown is left out. With one layer, or `fit` at `all`, it is
/// in the fit. `from` at `text` takes the mean over text rows. Padding comes from roles, and from
/// the shape of the image before it was padded (`aspect`).
///
/// Findings: `score_before`, `trend`, `score_after` `[keys]`, NaN off the image; fields `before`,
/// `after`, `padding` `[rows, columns]`; numbers `alpha`, `beta` (a token), `r_squared` of the mean
/// curve, `kept` (tokens), `position_before`, `position_after` (mean place of the kept, 0 first to
/// 1 last), `position_content` (of all that is not padding), `jaccard` (kept before and after),
/// `changed` (tokens kept after and not before), `padded` (tokens), `padded_before`,
/// `padded_after` (kept ones).
///
/// Throws `Missing(.roles)` without roles or a grid, and `Missing(.imageGrid)` for an aspect
/// without a grid. Cost: one row of every head of every layer.
public struct Debias: AttentionMethod {
  /// Which maps the trend comes from.
  enum Fit: String, Sendable, CaseIterable { case others, all }
  /// Which rows look at the image.
  enum From: String, Sendable, CaseIterable { case last, text }

  /// k as a share; FastV's half.
  static let keep = Knob("keep", "share of image tokens kept", 0...1, standard: 0.5, isMain: true)
  /// Which maps.
  static let fit = Knob(
    "fit", "the trend comes from the other layers, or from all", standard: Fit.others)
  /// Which rows.
  static let from = Knob("from", "attention of the last row, or of text", standard: From.last)
  /// ρ of the FastV and HiMAP patches.
  static let rho = Knob(
    "rho", "share of padding above which a patch is never kept", 0...1, standard: 0.5)
  /// Of the image before it was padded.
  static let aspect = Knob(
    "aspect", "width / height of the image before padding; 0: not padded", 0...1000, standard: 0.0)
  /// Ours.
  static let clamp = Knob(
    "clamp", "weights 1 / t, of mean 1, stay within 0.1...10", standard: false)

  /// The scope is the model: other layers give the trend.
  public static let card = MethodCard(
    id: "debias", title: "Attention Debiasing", family: "images",
    idea: "The rise of attention with the place of an image token is divided out.",
    source: "Attention Debiasing, 2025, arXiv 2508.17807", scope: .model, needs: [.roles],
    knobs: [keep.facts, fit.facts, from.facts, rho.facts, aspect.facts, clamp.facts],
    fidelity: .surrogate(.U2, "the trend is fitted on the maps at hand, not on many images"),
    mainNumber: "jaccard")

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// Both rankings of the layer looked at. Throws `Missing`, `CancellationError`.
  public func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    let tokens = try ImageTokens(subject.tokens, keys: subject.head.keys).withPadding
    let isPadded = try padding(tokens)
    let curves = try curves(subject, tokens, run)
    let focus = subject.focus.layer.value, before = curves[focus]
    var others = curves.indices.filter { $0 != focus }
    let usesAll = knobs[Self.fit] == .all || others.isEmpty
    if usesAll { others = Array(curves.indices) }
    let mean = before.indices.map { v in
      others.reduce(0) { $0 + curves[$1][v] } / Double(others.count)
    }
    let trend = ExponentialTrend(mean)
    var after = trend.map { divided(before, by: $0) } ?? before
    for v in after.indices where isPadded[v] { after[v] = 0 }
    var findings = Findings()
    let look = Look.magnitude(.share)
    tokens.image("before", before, look, title: "attention, on the image", to: &findings)
    tokens.image("after", after, look, title: "without the trend, on the image", to: &findings)
    findings.number("alpha", trend?.alpha)
    findings.number("beta", trend?.beta, title: "rise of the trend, a token")
    findings.number("r_squared", trend?.rSquared, title: "R² of the mean curve")
    addRankings(before, after, isPadded, &findings)
    tokens.strip("score_before", before, .share, title: "attention to the image", to: &findings)
    if let trend {
      let line = before.indices.map { trend[$0] }
      tokens.strip("trend", line, .share, title: "fitted trend", to: &findings)
    } else {
      findings.note("fewer than two tokens have attention: there is no trend to fit")
    }
    tokens.strip("score_after", after, .share, title: "without the trend", to: &findings)
    tokens.image(
      "padding", isPadded.map { $0 ? 1 : 0 }, .labels(["image", "padding"]), title: "padding",
      to: &findings)
    findings.note(
      usesAll
        ? "the trend is fitted on the mean of \(curves.count) layers, the one shown among them"
        : "the trend is fitted on the mean of the \(others.count) other layers")
    if let trend, trend.beta <= 0 { findings.note("the fitted trend does not rise") }
    findings.note(Self.card.fidelity.sentence)
    return findings
  }

  /// `[layers][visual]`, means over heads and rows.
  private func curves(_ subject: Subject, _ tokens: ImageTokens, _ run: MethodRun) throws
    -> [[Double]]
  {
    let layers = subject.layers, isText = knobs[Self.from] == .text
    func rows(_ head: Head) -> [Int] {
      isText ? ImageTokens.rows(tokens.text, head) : [head.queries - 1]
    }
    guard subject.head.queries > 0, !rows(subject.head).isEmpty else {
      throw Missing(.roles, hint: "no row of this head is text")
    }
    return try RowPicks.spread(layers.count, by: 1, run) { range in
      range.map { layer in
        var mean = [Double](repeating: 0, count: tokens.visual.count)
        for head in layers[layer] {
          let rows = isText ? ImageTokens.rows(tokens.text, head) : [head.queries - 1]
          let sums = ImageTokens.sums(run.pattern(head), rows)
          let share = 1 / Double(max(rows.count, 1) * layers[layer].count)
          for (v, token) in tokens.visual.enumerated() { mean[v] += sums[token] * share }
        }
        return mean
      }
    }
  }

  /// Which image tokens are padding: by their role, and by the image's shape. Throws
  /// `Missing(.imageGrid)`.
  private func padding(_ tokens: ImageTokens) throws -> [Bool] {
    var isPadded = tokens.visual.map { tokens.padding.contains($0) }
    let aspect = knobs[Self.aspect]
    guard aspect > 0 else { return isPadded }
    guard let grid = tokens.grid, let patches = grid.tokens(of: tokens.keys) else {
      throw Missing(.imageGrid)
    }
    // Patches are square: the image fills one side, and lies in the middle of the other.
    let high = Double(grid.rows), wide = Double(grid.columns)
    let tall = min(high, wide / aspect), broad = min(wide, high * aspect)
    func covered(_ at: Int, _ size: Double, _ side: Double) -> Double {
      let low = (side - size) / 2
      return max(0, min(Double(at + 1), low + size) - max(Double(at), low))
    }
    for (v, token) in tokens.visual.enumerated() where patches.contains(token) {
      let place = token - patches.lowerBound
      let content =
        covered(place / grid.columns, tall, high) * covered(place % grid.columns, broad, wide)
      if 1 - content > knobs[Self.rho] + 1e-9 { isPadded[v] = true }
    }
    return isPadded
  }

  /// a / t, or clamped weights times a, with the sum of a.
  private func divided(_ score: [Double], by trend: ExponentialTrend) -> [Double] {
    var weights = score.indices.map { 1 / trend[$0] }
    if knobs[Self.clamp] {
      let mean = weights.reduce(0, +) / Double(weights.count)
      weights = weights.map { min(max($0 / mean, 0.1), 10) }
    }
    let raw = zip(score, weights).map(*), sum = raw.reduce(0, +)
    let scale = sum > 0 ? score.reduce(0, +) / sum : 1
    return raw.map { $0 * scale }
  }

  /// What stays by either score, `[visual]`. Padding is not even a candidate after.
  private func addRankings(
    _ before: [Double], _ after: [Double], _ isPadded: [Bool], _ findings: inout Findings
  ) {
    let count = before.count, content = before.indices.filter { !isPadded[$0] }
    let wanted = min(count, Int((knobs[Self.keep] * Double(count) + 0.5).rounded(.down)))
    let old = ImageTokens.best(wanted, before)
    let new = ImageTokens.best(min(wanted, content.count), content.map { after[$0] })
      .map { content[$0] }
    func place(_ chosen: [Int]) -> Double? {
      guard count > 1, !chosen.isEmpty else { return nil }
      return Double(chosen.reduce(0, +)) / Double(chosen.count * (count - 1))
    }
    let both = Set(old).intersection(new).count, either = Set(old).union(new).count
    findings.number("kept", Double(new.count), .tokens, title: "image tokens kept")
    findings.number("position_before", place(old), .share, title: "mean place of kept, before")
    findings.number("position_after", place(new), .share, title: "mean place of kept, after")
    findings.number("position_content", place(content), .share, title: "mean place of the content")
    findings.number(
      "jaccard", either == 0 ? nil : Double(both) / Double(either), .share,
      title: "kept before and after, Jaccard")
    findings.number(
      "changed", Double(new.count - both), .tokens, title: "kept after and not before")
    findings.number("padded", Double(count - content.count), .tokens, title: "padded tokens")
    findings.number(
      "padded_before", Double(old.count { isPadded[$0] }), .tokens, title: "padded, kept before")
    findings.number(
      "padded_after", Double(new.count { isPadded[$0] }), .tokens, title: "padded, kept after")
  }
}

/// exp(α + β v) through a curve over v = 0, 1, 2...: least squares on the curve itself.
///
/// Starts from the straight line through the logarithms of what is positive; then Gauss-Newton, a
/// step halved until it helps. Places are centred and scaled meanwhile, for the sake of digits.
private struct ExponentialTrend {
  /// At v = 0, a logarithm.
  let alpha: Double
  /// A step of v.
  let beta: Double
  /// 1 - squared error / squared deviation from the mean; nil for a constant curve.
  let rSquared: Double?

  /// The trend at a place.
  subscript(v: Int) -> Double { exponential(alpha + beta * Double(v)) }

  /// Nil when fewer than two values are positive.
  init?(_ curve: [Double]) {
    let count = Double(curve.count), middle = (count - 1) / 2, half = max(middle, 0.5)
    let x = curve.indices.map { (Double($0) - middle) / half }
    let positive = curve.indices.filter { curve[$0] > 0 }
    guard positive.count > 1 else { return nil }
    let level = curve.reduce(0, +) / count, y = curve.map { $0 / level }
    let n = Double(positive.count), meanX = positive.reduce(0) { $0 + x[$1] } / n
    let meanY = positive.reduce(0) { $0 + logarithm(y[$1]) } / n
    var xy = 0.0, xx = 0.0
    for v in positive {
      xy += (x[v] - meanX) * (logarithm(y[v]) - meanY)
      xx += (x[v] - meanX) * (x[v] - meanX)
    }
    // A flat curve has no slope, not even one of rounding, which would decide between equals.
    let isFlat = curve.min() == curve.max()
    var b = isFlat ? 0 : xy / xx
    var a = meanY - b * meanX
    func error(_ a: Double, _ b: Double) -> Double {
      zip(x, y).reduce(0) {
        let off = $1.1 - exponential(a + b * $1.0)
        return $0 + off * off
      }
    }
    var best = error(a, b)
    for _ in 0..<(isFlat ? 0 : 200) {
      guard let (da, db) = Self.step(x, y, a, b) else { break }
      var size = 1.0, next = error(a + da, b + db)
      while !(next < best), size > 1e-12 {
        size /= 2
        next = error(a + size * da, b + size * db)
      }
      guard next < best else { break }
      (a, b) = (a + size * da, b + size * db)
      best = next
      if max(abs(size * da), abs(size * db)) < 1e-15 { break }
    }
    let spread = y.reduce(0) { $0 + ($1 - 1) * ($1 - 1) }
    rSquared = spread > 1e-24 * count ? 1 - best / spread : nil
    beta = b / half
    alpha = a - b * middle / half + logarithm(level)
  }

  /// A Gauss-Newton step from (a, b); nil where the two cannot be told apart.
  private static func step(_ x: [Double], _ y: [Double], _ a: Double, _ b: Double) -> (
    Double, Double
  )? {
    var aa = 0.0, ab = 0.0, bb = 0.0, ra = 0.0, rb = 0.0
    for (x, y) in zip(x, y) {
      let t = exponential(a + b * x), off = y - t
      aa += t * t
      ab += t * t * x
      bb += t * t * x * x
      ra += t * off
      rb += t * x * off
    }
    let determinant = aa * bb - ab * ab
    guard determinant > 1e-30 * aa * bb else { return nil }
    return ((bb * ra - ab * rb) / determinant, (aa * rb - ab * ra) / determinant)
  }
}
