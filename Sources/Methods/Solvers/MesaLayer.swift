import Algebra
public import Analysis
public import Attention

/// The mesa layer: ridge regression of values on keys, solved exactly at every token.
///
///     H_i  = Σ_(j ≤ i) γ^(i - j) k_j k_jᵀ + λ_i I
///     W_ij = γ^(i - j) k_jᵀ H_i⁻¹ q_i
///
/// What recursive least squares would answer: λ → 0 reproduces every linear map of the keys from
/// row d on, λ → ∞ is linear attention over λ. Bidirectional heads take H of all tokens. Paper:
/// "Test-time regression", JMLR 2026, arXiv 2501.12352.
///
/// Exact for a given λ. The standard is ours, free of scale and growing with the row, so that every
/// row is a system of its own: λ_i = κ c_i ‖K‖²_F / (d n), over all keys of the text. Updates of
/// H⁻¹ by Sherman and Morrison would hold for γ = 1 and one λ alone; here each row is factored by
/// Cholesky, from sums of k kᵀ that stand every 32 keys. Decay is for causal heads.
///
/// Findings: those of every map, `leverage`, `spectrum`, `ridge` of the last row, `recall_error`,
/// `degrees_of_freedom`, cost of a token (`CostFacts`). Needs Q and K. Cost n (n d + d³ / 6), in
/// double precision; memory n d² / 4 bytes; above 512 tokens rows are computed as they are looked
/// at.
public struct MesaLayer: Smoother {
  /// κ, a share of the keys' mean square; what `[` and `]` move.
  static let kappa = Knob(
    "kappa", "ridge over c_i |K|² / (d n)", 1e-9...1e6, standard: 0.1, step: .multiply(2),
    isMain: true)
  /// γ, a factor a token.
  static let gamma = Knob(
    "gamma", "weight of a token, each token back; below 1 for causal heads", 0...1, standard: 1.0,
    step: .add(0.01))

  /// Ranked by the recall test: how well the last query finds what was stored.
  public static let card = MethodCard(
    id: "mesa", title: "mesa layer", family: "solvers",
    idea: "Fit a ridge regression of the values on the keys so far, and read it at the query.",
    source: "Test-time regression, JMLR 2026, arXiv 2501.12352",
    needs: [.queryKey],
    knobs: [
      kappa.facts, Ridge.lambda.facts, gamma.facts, QKNorm.isOn.facts, QKNorm.gain.facts,
    ], wholeMap: 512, mainField: "map", mainNumber: "recall_error",
    variants: ["mesa-gamma": ["lambda": .number(1), "gamma": .number(0.95)]])

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// W of a head, `[queries, keys]`, a row at a time. Throws `Missing(.queryKey)`,
  /// `AlgebraError.notPositive` where a ridge is too small for its keys, and `CancellationError`.
  public func map(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> any RowField {
    if knobs[Self.gamma] < 1 {
      try Missing.unlessCausal(head, "decay counts tokens back from the query")
    }
    let rows = try RegressionRows(head, knobs, &aside.findings)
    let ridge = Ridge(knobs, kappa: Self.kappa)
    let fit = try RidgeRegression(rows, ridge, gamma: knobs[Self.gamma])
    if knobs[Ridge.lambda] == 0 { aside.findings.note("the ridge is ours: kappa c_i |K|² / (d n)") }
    if run.wantsNumbers {
      let last = fit.ridge(head.keys)
      aside.findings.number(
        "ridge", last.isFinite ? last : nil, title: "ridge of the last row")
      try fit.addFacts(rows, run, upTo: Self.card.wholeMap, to: &aside.findings)
      let d = head.dim, width = max(head.valueDim, 1)
      // Both sums take and give d (d + d_v); a factor d³ / 6 and two substitutions d² / 2.
      let solve = (Double(d * d * d) / 3 + 2 * Double(d * d)).rounded()
      let sums = Double(2 * d * d + 4 * d * width)
      CostFacts(head, state: d * (d + width), flops: sums + solve).add(to: &aside.findings)
    }
    return fit.map(rows)
  }
}

/// A ridge that is given, or a share κ of what it is added to.
struct Ridge: Sendable {
  /// λ itself, in the unit of squared keys.
  static let lambda = Knob(
    "lambda", "the ridge itself, one for all rows; 0: by kappa", 0...1e12, standard: 0.0,
    step: .multiply(10), aliases: ["ridge"])

  /// λ for all rows; nil, and 0, for κ.
  let given: Double?
  /// κ.
  let kappa: Double

  /// No ridge is given: a share κ.
  init(kappa: Double) { (given, self.kappa) = (nil, kappa) }

  /// As the knobs say, of which each card has a κ of its own.
  init(_ knobs: CheckedKnobs, kappa: Knob<Double>) {
    (given, self.kappa) = (knobs[Self.lambda], knobs[kappa])
  }

  /// λ of a row whose matrix has this mean of its diagonal.
  func callAsFunction(_ diagonal: Double) -> Double {
    if let given, given > 0 { given } else { kappa * diagonal }
  }
}

/// Ridge regression of the values on all keys that a row sees.
struct RidgeRegression: Regression {
  /// Keys between two sums that are kept.
  private static let step = 32

  private let rows: RegressionRows
  private let ridgeRule: Ridge
  /// ‖K‖²_F / (d n).
  private let meanSquare: Double
  private let gamma: Double
  private let powers: [Double]
  /// Σ γ^(e - 1 - j) k_j k_jᵀ over j < e, for e = 0, 32, 64, ...
  private let sums: [SecondMoment]
  /// H of all keys, where every row sees all of them.
  private let whole: Cholesky?

  /// Sums over all keys: n d² / 2. Throws `AlgebraError` where a bidirectional H has no factor.
  init(_ rows: RegressionRows, _ ridge: Ridge, gamma: Double) throws(AlgebraError) {
    (self.rows, ridgeRule, self.gamma) = (rows, ridge, gamma)
    let powers = Decay.powers(gamma, rows.head)
    self.powers = powers
    let keys = rows.head.keys
    meanSquare = rows.keySquares / Double(max(rows.dim * keys, 1))
    var sum = SecondMoment(dim: rows.dim), sums = [sum]
    for start in stride(from: 0, to: keys, by: Self.step) {
      let count = min(Self.step, keys - start)
      if gamma < 1 { sum.scale(by: powers[count]) }
      let weights = (0..<count).map { gamma < 1 ? powers[count - 1 - $0] : 1 }
      sum.add(rows.key, from: start, weights: weights)
      sums.append(sum)
    }
    self.sums = sums
    let lambda = ridge(meanSquare * Double(keys))
    let isWhole = !rows.head.visibility.causal && lambda > 0 && meanSquare.isFinite
    whole = isWhole ? try Cholesky(sum.matrix, ridge: lambda) : nil
  }

  /// λ of a row that sees so many keys.
  func ridge(_ limit: Int) -> Double { ridgeRule(meanSquare * Double(limit)) }

  /// γ^(p - j) k_j · H⁻¹ q. Keys that are all zero have no weight, whatever the ridge; from keys
  /// that are no numbers come none.
  func weights(_ query: [Double], _ place: RowPlace) throws -> [Double] {
    guard place.limit > 0, meanSquare != 0 else {
      return [Double](repeating: 0, count: place.limit)
    }
    let factor: Cholesky
    if let whole {
      factor = whole
    } else {
      let moment = moment(place), lambda = ridge(place.limit)
      let trace = (0..<rows.dim).reduce(lambda) { $0 + moment[$1, $1] }
      guard trace.isFinite else { return [Double](repeating: .nan, count: place.limit) }
      factor = try Cholesky(moment, ridge: lambda)
    }
    var out = rows.products(factor.solve(query), place.limit)
    if !powers.isEmpty {
      for key in out.indices { out[key] *= powers[place.position - key] }
    }
    return out
  }

  /// Σ γ^(p - j) k_j k_jᵀ over the keys of a row: the last sum that is kept, and what came since.
  private func moment(_ place: RowPlace) -> Matrix {
    let index = place.limit / Self.step, start = index * Self.step
    var sum = sums[index]
    if gamma < 1, start > 0 { sum.scale(by: powers[place.position - (start - 1)]) }
    let weights = (start..<place.limit).map { gamma < 1 ? powers[place.position - $0] : 1 }
    sum.add(rows.key, from: start, weights: weights)
    return sum.matrix
  }
}
