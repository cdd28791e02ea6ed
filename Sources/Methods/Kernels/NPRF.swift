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
  /// Another name of `bias=fit`.
  enum Slope: String, Sendable, CaseIterable { case fit = "U2 Toeplitz fit" }

  /// In logits a token.
  static let slope = Knob(
    "b", "slope of the bias, in logits a token; 0 is none; or bias=fit", 0...64,
    standard: Ruled<Slope>.number(0), step: .add(0.05), aliases: ["slope"])
  /// Above 32 the features of a double, e^(-g²/2) and less, would be 0.
  static let gain = Knob("gain", "length of a query", 0...32, standard: 1.0, step: .multiply(1.25))
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
    knobFidelity: { knobs in
      if knobs["bias"] == .word(Bias.fit.rawValue) || knobs["b"] == .word(Slope.fit.rawValue) {
        return .surrogate(.U2, fitted)
      }
      guard knobs["form"] == .word(Form.limit.rawValue) else { return nil }
      let isZero = knobs["b"] ?? .number(0) == .number(0) && knobs["bias"] == nil
      return .surrogate(
        .U0, "the limit of many features; the trained bias is \(isZero ? "0" : "what bias says")")
    })

  /// What stands for the trained bias.
  private static let fitted = "the bias is the Toeplitz fit of this head's own logits"

  private let knobs: CheckedKnobs
  /// The bias is the fit of the head's own logits.
  private let isFit: Bool
  /// b, where it is a slope; in logits a token.
  private var slope = 0.0

  /// Throws `KnobError` for an unknown knob, a value outside its range, and `b` and `bias` that
  /// contradict each other.
  public init(knobs: Knobs) throws(KnobError) {
    let checked = try CheckedKnobs(knobs, for: Self.card), bias = checked[Self.bias]
    switch checked[Self.slope] {
    case .number(let x): (slope, isFit) = (x, bias == .fit)
    case .rule:
      guard bias == .fit || !checked.given.contains("bias") else {
        throw KnobError("nprf: b=\(Slope.fit.rawValue) is bias=fit, and bias is \(bias.rawValue)")
      }
      isFit = true
    }
    self.knobs = checked
  }

  /// The findings of a map. Throws `Missing`, `CancellationError`.
  public func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    var method = self
    if knobs[Self.bias] == .heads {
      method.slope = ALiBi.slope(ofHeadIn: subject)
    }
    return try method.examineMap(subject, run)
  }

  /// W of a head, `[queries, keys]`, a row at a time. Throws `Missing(.queryKey)`,
  /// `CancellationError`.
  public func map(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> any RowField {
    guard head.queryAndKey != nil else { throw Missing(.queryKey) }
    let rows = DoubleRows(head)
    let unit = UnitVectors(rows, gain: knobs[Self.gain])
    let isWhole = max(head.queries, head.keys) <= Self.card.wholeMap
    let fit = try isFit || (run.wantsNumbers && isWhole) ? ToeplitzFit(rows, unit, run) : nil
    let bias = isFit ? fit?.bias : nil
    let rule = bias ?? ToeplitzBias(head) { [slope] in -slope * Double($0.magnitude) }
    let limit = NPRFLimit(rows: rows, unit: unit, bias: rule)
    KernelRows.addDense(rows, to: &aside.findings)
    note(&aside.findings)
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
    let map = try NPRFMap(limit: limit, draw: draw, run)
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
  private func note(_ findings: inout Findings) {
    if knobs[Self.form] == .features {
      let kind = knobs[Self.orthogonal] ? "orthogonal random features" : "random features"
      findings.note("\(knobs[Self.features]) \(kind) of seed \(knobs[Self.seed])")
    }
    findings.note(
      isFit
        ? "U2: \(Self.fitted)"
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

  /// g cos θ of a query with the first `limit` keys, `[limit]`, seen or not; nil: with all.
  func cosines(_ row: Int, limit: Int? = nil) -> [Double] {
    let d = key.columns
    return query.elements.withUnsafeBufferPointer { q in
      key.elements.withUnsafeBufferPointer { k in
        (0..<(limit ?? key.rows)).map { j in
          guard let q = q.baseAddress, let k = k.baseAddress else { return 0 }
          return Vectors.dot(q + row * d, k + j * d, d)
        }
      }
    }
  }
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
    let limit = rows.head.visibility.limit(row: row)
    var scores = unit.cosines(row, limit: limit)
    for key in 0..<limit { scores[key] += bias[row, key] }
    return Elementary.softmax(scores) + [Double](repeating: 0, count: rows.head.keys - limit)
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

  /// Features of every query and key: (queries + keys) m d multiplications, on all threads. Throws
  /// `CancellationError`.
  init(limit: NPRFLimit, draw: RandomFeatures, _ run: MethodRun) throws {
    (self.limit, self.draw) = (limit, draw)
    query = try KernelRows.rowwise(limit.unit.query, columns: draw.count, run) { draw.features($0) }
    key = try KernelRows.rowwise(limit.unit.key, columns: draw.count, run) { draw.features($0) }
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
