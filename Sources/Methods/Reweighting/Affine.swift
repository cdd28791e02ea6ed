import Algebra
public import Analysis
public import Attention
import Tensors

/// Affine-scaled attention: every query scales its row of softmax, and a floor that is the same for
/// all keys makes up for it.
///
///     W_ij = α_i A_ij + (α_ma - α_i) / N_i        over visible pairs, N_i of them in row i
///     α_i = clip(0.1 (w_h · x_i) + ½, 0, 1)       α_ma, the running mean of α
///
/// As N_i counts the keys that row i sees, a row sums to α_ma, whatever α_i is; with N the whole
/// length (`count=full`) row i sums to α_i + c_i (α_ma - α_i) / n. Entries are negative where α_i
/// is above α_ma and softmax is small. Paper: "Affine-Scaled Attention", 2026, arXiv 2602.23057.
///
/// Exact for numbers given. w_h is trained and reads the hidden state x_i; in its place, by
/// `alpha`: `U0`, w = 0 and α = ½, where training begins; `U1`, w drawn from N(0, 0.02²) with
/// `seed`, on residuals of root mean square 1 (ours, in place of the norm's own weights); `U3`,
/// α_i = clip(½ + 0.1 z_i) with z the length of q_i, standardised over the text, which peeks ahead.
/// α_ma is `mean` of α, what the running mean comes to, or a number. Bidirectional heads: N = n.
///
/// Findings: those of every map; `alpha_mean`, `alpha_ma`, `negative_share` (of visible entries),
/// `sink_mass_dense` and `sink_mass_change`; the series `alpha`, `row_sums`, `sink_column` and
/// `sink_column_dense`, the weights on the first key. Cost n² d, in double precision up to 2048
/// tokens; above, rows on demand.
public struct AffineAttention: MapMethod {
  /// Where α comes from, when it is not given as a number.
  enum Alpha: String, Sendable, CaseIterable { case U3, U0, U1 }
  /// Where α_ma comes from.
  enum Mean: String, Sendable, CaseIterable { case mean }
  /// What N counts.
  enum Count: String, Sendable, CaseIterable { case attended, full }

  /// α of every query, of 1; what `[` and `]` move.
  static let alpha = Knob(
    "alpha", "scale of a row, or where it comes from", 0...1, standard: .rule(Alpha.U3),
    step: .add(0.1), isMain: true)
  /// α_ma, of 1.
  static let alphaMA = Knob(
    "alpha_ma", "what a row sums to; mean of alpha, or a number", 0...1,
    standard: .rule(Mean.mean), step: .add(0.1))
  /// N.
  static let count = Knob(
    "count", "N of the floor: keys that a row sees, or all of the map", standard: Count.attended,
    aliases: ["N"])
  /// Of the draw of `U1`.
  static let seed = Knob("seed", "of the draw of U1", 0...1 << 30, standard: 1)

  /// Ranked by how far the output is from that of softmax.
  public static let card = MethodCard(
    id: "affine", title: "affine-scaled attention", family: "reweighting",
    idea: "Every query scales its softmax row, over a floor that is the same for all keys.",
    source: "Affine-Scaled Attention, 2026, arXiv 2602.23057",
    knobs: [alpha.facts, alphaMA.facts, count.facts, seed.facts],
    fidelity: .surrogate(
      .U3, "alpha follows the length of a query: the trained w_h and its input are not there"),
    wholeMap: 2048, mainField: "map", mainNumber: "error",
    denseKnobs: ["alpha": .number(1), "alpha_ma": .number(1)],
    variants: ["affine-fixed": ["alpha": .number(0.8), "alpha_ma": .number(0.4)]],
    knobFidelity: { knobs in
      switch knobs["alpha"] {
      case .number: .exact
      case .word(Alpha.U0.rawValue): .surrogate(.U0, "alpha is 0.5, where training begins")
      case .word(Alpha.U1.rawValue): .surrogate(.U1, "w_h is drawn in place of the trained one")
      default: nil
      }
    })

  private let knobs: CheckedKnobs
  /// `[queries]`, α where the surroundings of a head were asked for it.
  private var drawn: [Double]?

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// The findings of a map. Throws `Missing(.residuals)` for a drawn w, `Missing(.queryKey)` for
  /// lengths of queries that are not there, `Missing(.length)`, `CancellationError`.
  public func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    guard case .rule(.U1, _) = knobs[Self.alpha] else { return try examineMap(subject, run) }
    var method = self
    method.drawn = try drawnAlpha(subject)
    return try method.examineMap(subject, run)
  }

  /// W of a head, `[queries, keys]`, a row at a time. Throws as `examine` does.
  public func map(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> any RowField {
    let alpha = try alpha(head, &aside), known = alpha.filter(\.isFinite)
    let mean = known.reduce(0, +) / Double(max(known.count, 1))
    let target: Double
    switch knobs[Self.alphaMA] {
    case .number(let x): target = x
    case .rule: target = mean
    }
    let scaled = Scaling(
      rows: DoubleRows(head), alpha: alpha, mean: target, isFull: knobs[Self.count] == .full)
    if run.wantsNumbers {
      aside.findings.number("alpha_mean", mean, .share, title: "alpha, mean")
      aside.findings.number("alpha_ma", target, .share, title: "alpha_ma, what a row sums to")
      aside.findings.series(
        "alpha", Axis(.query, head.queries), alpha.map { Float($0) }, .share,
        title: "alpha, by query")
      try addFacts(scaled, run, &aside)
    }
    return KernelRows.field(head) { scaled($0).w }
  }

  /// α of every query, `[queries]`, with a note on where it comes from.
  private func alpha(_ head: Head, _ aside: inout Aside) throws -> [Double] {
    switch knobs[Self.alpha] {
    case .number(let x): return [Double](repeating: x, count: head.queries)
    case .rule(.U0, _):
      aside.findings.note("U0: alpha is 0.5, where training begins")
      return [Double](repeating: 0.5, count: head.queries)
    case .rule(.U1, _):
      guard let drawn else { throw Missing(.residuals) }
      aside.findings.note("U1: w drawn with seed \(knobs[Self.seed])")
      return drawn
    case .rule(.U3, _):
      guard head.queryAndKey != nil else {
        throw Missing(.queryKey, hint: "or alpha as a number")
      }
      aside.findings.note("U3: \(Self.card.fidelity.sentence)")
      let norms = LinearFeatures.norms(DoubleRows(head).query, width: head.dim)
      return Standardised.values(norms).map { Self.clipped(0.5 + 0.1 * $0) }
    }
  }

  /// Within 0...1; NaN stays.
  private static func clipped(_ alpha: Double) -> Double {
    alpha.isNaN ? alpha : min(1, max(0, alpha))
  }

  /// α of a w_h drawn for this head, `[queries]`, on what its layer reads. Throws `Missing`.
  private func drawnAlpha(_ subject: Subject) throws -> [Double] {
    let array = try subject.array(.residuals), head = subject.head
    let sources = 2 * subject.numbers[subject.focus.layer.value].value + 1
    let first = head.visibility.position(row: 0)
    guard array.shape.rank == 3, array.shape[0] >= sources, first >= 0,
      array.shape[1] >= first + head.queries
    else { throw Missing(.residuals, hint: "of this layer, for every token that has a query") }
    let width = array.shape[2]
    var random = SplitMix64(UInt64(knobs[Self.seed] + subject.focus.head))
    let w = random.gaussians(width).map { 0.02 * $0 }
    var state = [Double](repeating: 0, count: array.shape[1] * width)
    for source in 0..<sources {
      for (x, value) in array[source].floats().enumerated() { state[x] += Double(value) }
    }
    return (0..<head.queries).map { row in
      let x = state[(row + first) * width..<(row + first + 1) * width]
      let size = (x.reduce(0) { $0 + $1 * $1 } / Double(max(width, 1))).squareRoot()
      let product = zip(x, w).reduce(0) { $0 + $1.0 * $1.1 }
      return Self.clipped(0.5 + 0.1 * (size == 0 ? 0 : product / size))
    }
  }

  /// What is counted over rows: all of them up to `wholeMap` tokens, else 64.
  private func addFacts(_ scaled: Scaling, _ run: MethodRun, _ aside: inout Aside) throws {
    let head = scaled.rows.head, isWhole = max(head.queries, head.keys) <= Self.card.wholeMap
    let chosen = KernelRows.chosen(head, whole: Self.card.wholeMap)
    let parts = try RowPicks.spread(chosen.count, by: 16, run) { part in
      part.map { AffineRow(scaled, chosen[$0]) }
    }
    let seen = parts.reduce(0) { $0 + $1.seen }, negative = parts.reduce(0) { $0 + $1.negative }
    aside.findings.number(
      "negative_share", ZeroOverlap.share(negative, seen), .share, title: "negative entries")
    let late = zip(chosen, parts).filter { $0.0 >= 4 && $0.1.seen > 0 }.map(\.1)
    let alive = late.filter { $0.size > 0 }
    let dense = late.isEmpty ? nil : late.reduce(0) { $0 + $1.sinkDense } / Double(late.count)
    let mass =
      alive.isEmpty
      ? nil : alive.reduce(0) { $0 + abs($1.sink) / $1.size } / Double(alive.count)
    aside.findings.number("sink_mass_dense", dense, .share, title: "sink mass of softmax")
    aside.findings.number(
      "sink_mass_change", dense.flatMap { dense in mass.map { $0 - dense } }, .share,
      title: "sink mass less that of softmax")
    guard isWhole else { return }
    for (name, title, value) in [
      ("row_sums", "row sum, by query", \AffineRow.sum),
      ("sink_column", "weight on the first key, by query", \.sink),
      ("sink_column_dense", "softmax weight on the first key, by query", \.sinkDense),
    ] {
      aside.findings.series(
        name, Axis(.query, head.queries), parts.map { Float($0[keyPath: value]) }, .share,
        title: title)
    }
  }
}

/// W of a head from its softmax rows.
private struct Scaling: Sendable {
  /// Softmax rows.
  let rows: DoubleRows
  /// `[queries]`
  let alpha: [Double]
  /// α_ma.
  let mean: Double
  /// N is the whole length.
  let isFull: Bool

  /// A row of W and of A, `[keys]`; both 0 for keys that are not seen.
  func callAsFunction(_ row: Int) -> (w: [Double], a: [Double]) {
    let limit = rows.head.visibility.limit(row: row), a = rows.weights(row)
    let floor = (mean - alpha[row]) / Double(max(isFull ? rows.head.keys : limit, 1))
    var w = a
    for key in 0..<limit { w[key] = alpha[row] * a[key] + floor }
    return (w, a)
  }
}

/// What is counted of one row.
private struct AffineRow: Sendable {
  /// Visible entries, and those below 0.
  let seen: Int, negative: Int
  /// Σ W and Σ |W|.
  let sum: Double, size: Double
  /// Weights on the first key, of W and of softmax.
  let sink: Double, sinkDense: Double

  init(_ scaled: Scaling, _ row: Int) {
    let (w, a) = scaled(row)
    seen = scaled.rows.head.visibility.limit(row: row)
    negative = w.count { $0 < 0 }
    (sum, size) = (w.reduce(0, +), w.reduce(0) { $0 + abs($1) })
    (sink, sinkDense) = (w.first ?? 0, a.first ?? 0)
  }
}
