import Algebra
public import Analysis
public import Attention
import Tensors

/// NPRF: kernelised attention with a bias by relative position, in n log n.
///
///     φ(x) = e^{-‖x‖²/2} m^{-½} [e^{ω_r · x}]_{r=1..m},   ω ~ N(0, I),   q̂, k̂ of length g and 1
///     W_ij = φ(q̂_i)·φ(k̂_j) c_{j-i} / Σ_s φ(q̂_i)·φ(k̂_s) c_{s-i},   c_δ = e^{b_δ}
///     m → ∞:  W = softmax(g cos θ_ij + b_{j-i})
///
/// Paper: "Stable, Fast and Accurate: Kernelized Attention with Relative Positional Encoding",
/// NeurIPS 2021, arXiv 2106.12566. The trained bias is replaced by `bias`: `slope`, b_δ = -b |δ|
/// (0, none: U0), `heads`, the slopes 2^(-8 h / H) of ALiBi in place of b, or `fit` (U2), the mean
/// of S_ij - g cos θ_ij along each diagonal of what is seen. `form` is `features`, a Monte Carlo
/// draw from `seed`, or `limit`, exact. `orthogonal` makes each block of d draws orthogonal, at
/// their own lengths. Causal heads have c_δ = 0 for δ > 0; a vector of zeros stays.
///
/// The outputs are computed twice: row by row, and as the paper does, by Fourier transforms of the
/// columns φ_r(k̂_j) [v_j, 1] with a circulant; `fft_difference` is the largest difference.
///
/// Findings: those of every map; fields `dense` (softmax) and, of features, `limit`; the curve
/// `bias_by_distance`; numbers `bias_explained` (share of the variance of S - g cos θ that distance
/// explains), `slope`; of features also `fft_difference`, `kernel_error` (mean relative error of
/// φ·φ over pairs seen), `random_features`, `seed`, what a token costs (`CostFacts`), and the
/// curves `error_by_features` with `_least` and `_most` (five seeds) and `error_by_norm` (median,
/// q and k at one length). Throws `Missing(.queryKey)` for stored maps. Cost n² (d + m); the FFT
/// n log n m d_v, fewer channels where that is too much.
public struct NPRF: MapMethod {
  /// Random features, or what they tend to.
  enum Form: String, Sendable, CaseIterable { case features, limit }
  /// Where the bias comes from.
  enum Bias: String, Sendable, CaseIterable { case slope, heads, fit }

  /// m; what `[` and `]` move.
  static let features = Knob(
    "m", "random features", 1...4096, standard: 64, step: .multiply(2), isMain: true,
    aliases: ["features"])
  static let seed = Knob("seed", "of the random features", 0...1 << 30, standard: 1)
  static let form = Knob("form", "random features, or their limit", standard: Form.features)
  static let bias = Knob("bias", "b times distance, slopes by head, or a fit", standard: Bias.slope)
  /// In logits a token.
  static let slope = Knob(
    "b", "slope of the bias, in logits a token; 0 is none", 0...64, standard: 0.0,
    step: .add(0.05), aliases: ["slope"])
  static let gain = Knob("gain", "length of a query", 0...64, standard: 1.0, step: .multiply(1.25))
  static let orthogonal = Knob("orthogonal", "draws in orthogonal blocks", standard: false)

  /// The scope is a layer, as slopes by head count its heads.
  public static let card = MethodCard(
    id: "nprf", title: "NPRF", family: "kernel",
    idea: "Random features of unit queries and keys, with a bias by distance, through an FFT.",
    source: "Luo et al., Stable, Fast and Accurate, NeurIPS 2021, arXiv 2106.12566",
    scope: .layer, needs: [.queryKey],
    knobs: [
      features.facts, seed.facts, form.facts, bias.facts, slope.facts, gain.facts,
      orthogonal.facts,
    ],
    fidelity: .surrogate(
      .U0, "random features of one seed; the trained bias is 0, or what bias says"),
    wholeMap: 2048, mainField: "map", mainNumber: "error",
    variants: [
      "nprf-limit": ["form": .word("limit")],
      "nprf-limit-fit": ["form": .word("limit"), "bias": .word("fit")],
      "nprf-64": ["m": .number(64), "seed": .number(1)],
    ],
    variantFidelity: [
      "nprf-limit": .surrogate(.U0, "the limit of many features; the trained bias is 0"),
      "nprf-limit-fit": .surrogate(.U2, "the bias is the Toeplitz fit of this head's own logits"),
    ])

  private let knobs: CheckedKnobs
  private var slope: Double

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
    slope = self.knobs[Self.slope]
  }

  /// The findings of a map. Throws `Missing`, `CancellationError`.
  public func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    var method = self
    if knobs[Self.bias] == .heads {
      let share = Double(subject.focus.head + 1) / Double(subject.layer.count)
      method.slope = exponential(-8 * share * logarithm(2))
    }
    return try method.examineMap(subject, run)
  }

  /// W of a head, `[queries, keys]`, a row at a time. Throws `Missing(.queryKey)`,
  /// `CancellationError`.
  public func map(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> any RowField {
    guard head.queryAndKey != nil else { throw Missing(.queryKey) }
    let rows = DoubleRows(head)
    let unit = UnitVectors(rows, gain: knobs[Self.gain])
    let isFit = knobs[Self.bias] == .fit, isWhole = max(head.queries, head.keys) <= 2048
    let fit = try isFit || (run.wantsNumbers && isWhole) ? ToeplitzFit(rows, unit, run) : nil
    let bias = isFit ? fit?.bias : nil
    let rule = bias ?? ToeplitzBias(head) { [slope] in -slope * Double($0.magnitude) }
    let limit = NPRFLimit(rows: rows, unit: unit, bias: rule)
    KernelRows.addDense(rows, to: &aside.findings)
    note(isFit, &aside.findings)
    aside.findings.curve("bias_by_distance", rule.curve, title: "bias by distance")
    if run.wantsNumbers {
      aside.findings.number(
        "bias_explained", fit?.explained, .share, title: "explained by distance")
      aside.findings.number(
        "slope", isFit ? nil : slope, .setting, title: "slope of the bias in force")
    }
    guard knobs[Self.form] == .features else {
      return KernelRows.field(head) { limit.weights($0) }
    }
    let draw = RandomFeatures(
      count: knobs[Self.features], dim: rows.dim, seed: UInt64(knobs[Self.seed]),
      isOrthogonal: knobs[Self.orthogonal])
    let map = NPRFMap(limit: limit, draw: draw)
    aside.findings.field(
      "limit", KernelRows.field(head) { limit.weights($0) }, .weights,
      title: "the limit of many features")
    if run.wantsNumbers {
      aside.findings.number("seed", Double(knobs[Self.seed]), .setting, title: "seed in force")
      try NPRFFacts(map: map).add(run, whole: Self.card.wholeMap, to: &aside.findings)
      if isFit || (slope > 0 && !head.visibility.causal) {
        aside.findings.note("no state of bounded size holds this bias: the cost is that of b = 0")
      }
    }
    return KernelRows.field(head) { map.weights($0) }
  }

  /// What is made up, and how much.
  private func note(_ isFit: Bool, _ findings: inout Findings) {
    if knobs[Self.form] == .features {
      let kind = knobs[Self.orthogonal] ? "orthogonal random features" : "random features"
      findings.note("\(knobs[Self.features]) \(kind) of seed \(knobs[Self.seed])")
    }
    findings.note(
      isFit
        ? "U2: the bias is the Toeplitz fit of this head's own logits"
        : "U0: a bias of \(slope == 0 ? "0" : "a slope") in place of the trained one")
  }
}

/// Queries and keys at one length.
struct UnitVectors: Sendable {
  /// q̂ `[queries][d]` of length g, k̂ `[keys][d]` of length 1; zero vectors stay.
  let query: Matrix, key: Matrix

  /// `gain` is g.
  init(_ rows: DoubleRows, gain: Double) {
    query = KernelRows.unit(rows.query, dim: rows.dim, length: gain)
    key = KernelRows.unit(rows.key, dim: rows.dim)
  }

  /// g cos θ of a query with every key, `[keys]`, seen or not.
  func cosines(_ row: Int) -> [Double] { key.multiplied(by: query.row(row)) }
}

/// softmax(g cos θ + b).
struct NPRFLimit: Sendable {
  /// Scores of the head itself.
  let rows: DoubleRows
  /// What cosines are made of.
  let unit: UnitVectors
  /// b by distance.
  let bias: ToeplitzBias

  /// W of a query, `[keys]`, zeros where it does not see.
  func weights(_ row: Int) -> [Double] {
    var scores = unit.cosines(row)
    let limit = rows.head.visibility.limit(row: row)
    for key in 0..<limit { scores[key] += bias[row, key] }
    return Elementary.softmax(scores, limit: limit)
  }
}

/// The same with random features.
struct NPRFMap: Sendable {
  /// What many features tend to.
  let limit: NPRFLimit
  /// ω.
  let draw: RandomFeatures
  /// φ(q̂) `[queries][m]` and φ(k̂) `[keys][m]`.
  let query: Matrix, key: Matrix

  /// Features of every query and key: (queries + keys) m d multiplications.
  init(limit: NPRFLimit, draw: RandomFeatures) {
    (self.limit, self.draw) = (limit, draw)
    query = draw.features(limit.unit.query)
    key = draw.features(limit.unit.key)
  }

  /// The head that rows are of.
  var head: Head { limit.rows.head }

  /// φ(q̂)·φ(k̂) of a query with every key, `[keys]`.
  func kernel(_ row: Int) -> [Double] { key.multiplied(by: query.row(row)) }

  /// W of a query, `[keys]`, zeros where it does not see. The largest bias of the row is taken off
  /// first, which changes nothing but what a double can hold.
  func weights(_ row: Int) -> [Double] {
    var values = kernel(row)
    let sight = head.visibility.limit(row: row)
    var top = -Double.infinity
    for key in 0..<sight { top = max(top, limit.bias[row, key]) }
    for key in 0..<sight { values[key] *= exponential(limit.bias[row, key] - top) }
    var sum = 0.0
    for key in 0..<sight { sum += values[key] }
    let factor = sum > 0 ? 1 / sum : 0
    for key in values.indices { values[key] = key < sight ? values[key] * factor : 0 }
    return values
  }
}
