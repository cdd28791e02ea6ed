import Algebra
public import Analysis
public import Attention

/// Test-time regression: an associative layer regresses values on keys while it reads, and answers
/// with the fit at the query.
///
/// Weights of the past, class of functions and optimiser make the member:
///
///     linear       W_ij = q_i · k_j                    least squares with KᵀK taken for I
///     decayed      W_ij = γ^(i - j) q_i · k_j          the past weighs less
///     DeltaNet     one step of gradient descent a token           (`deltanet`)
///     mesa         ridge regression, solved exactly               (`mesa`)
///     softmax      a local constant: Nadaraya-Watson; Gaussian on the sphere under QK-norm
///     local linear a local line                                   (`lla`)
///
/// Only softmax has 1/√d. Paper: "Test-time regression: a unifying framework for designing sequence
/// models with associative memory", JMLR 2026, arXiv 2501.12352.
///
/// Exact; `divide` by the keys that a row sees is ours, and so is γ = 0.95. Decay counts tokens
/// back: bidirectional heads throw for γ < 1, and their small multiples lack decay and DeltaNet.
///
/// Findings: those of every map; the other members as fields (`linear`, `decayed`, `delta`, `mesa`,
/// `softmax`, `local_linear`), each at its standard; `leverage`, `spectrum`; `recall_error` and
/// `degrees_of_freedom`, of this map and as `recall_NAME` and `freedom_NAME` of every member; cost
/// of a token (`CostFacts`). Cost n² d for the map; members' numbers n² d² up to 512 tokens. Needs
/// Q and K. All in double precision.
public struct TestTimeRegression: Smoother {
  /// γ, a factor a token; what `[` and `]` move.
  static let gamma = Knob(
    "gamma", "weight of a token, each token back; below 1 for causal heads", 0...1, standard: 1.0,
    step: .add(0.01), isMain: true)
  /// Divides rows by c_i.
  static let divide = Knob("divide", "rows over the keys they see", standard: false)

  /// Ranked by the recall test: how well the last query finds what was stored.
  public static let card = MethodCard(
    id: "ttr", title: "test-time regression", family: "solvers",
    idea:
      """
      Linear attention, plain or decayed, as a regression of values on keys, beside the other \
      members of that family.
      """,
    source: "Test-time regression, JMLR 2026, arXiv 2501.12352",
    needs: [.queryKey],
    knobs: [gamma.facts, divide.facts, QKNorm.isOn.facts, QKNorm.gain.facts], wholeMap: 512,
    mainField: "map", mainNumber: "recall_error",
    variants: [
      "ttr-linear": ["gamma": .number(1)], "ttr-decayed": ["gamma": .number(0.95)],
    ])

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// W of a head, `[queries, keys]`, a row at a time. Throws `Missing(.queryKey)`, `AlgebraError`,
  /// `CancellationError`.
  public func map(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> any RowField {
    if knobs[Self.gamma] < 1 {
      try Missing.unlessCausal(head, "decay counts tokens back from the query")
    }
    let rows = try RegressionRows(head, knobs, &aside.findings)
    let own = LinearRegression(rows, gamma: knobs[Self.gamma], divides: knobs[Self.divide])
    try own.addFacts(rows, run, upTo: Self.card.wholeMap, to: &aside.findings)
    if run.wantsNumbers {
      try addMembers(rows, run, &aside.findings)
      let decay = knobs[Self.gamma] < 1 ? head.dim * max(head.valueDim, 1) : 0
      CostFacts(head, features: head.dim, isNormalised: false, extraFlops: Double(decay))
        .add(to: &aside.findings)
    }
    return own.map(rows)
  }

  /// The small multiples, each at its standard. They come with the numbers: their sums over all
  /// keys would hold up a map that is looked at alone.
  private func addMembers(_ rows: RegressionRows, _ run: MethodRun, _ findings: inout Findings)
    throws
  {
    let head = rows.head, ridge = Ridge(kappa: 0.1)
    let ones = [Double](repeating: 1, count: head.keys)
    var members: [(name: String, title: String, member: any Regression)] = [
      ("linear", "linear attention", LinearRegression(rows, gamma: 1, divides: false))
    ]
    if head.visibility.causal {
      members += [
        ("decayed", "decayed, 0.95", LinearRegression(rows, gamma: 0.95, divides: false)),
        ("delta", "DeltaNet, beta 1", DeltaRule(rows, beta: ones)),
      ]
    }
    members += [
      ("mesa", "mesa", try RidgeRegression(rows, ridge, gamma: 1)),
      ("softmax", "softmax, a local constant", ConstantRegression(rows: rows)),
      ("local_linear", "local linear", LineRegression(rows, ridge)),
    ]
    for (name, title, member) in members {
      findings.field(name, member.map(rows), .signed, title: title)
    }
    let isWhole = max(head.queries, head.keys) <= Self.card.wholeMap
    for (name, title, member) in members {
      findings.number(
        "recall_\(name)" + (isWhole ? "" : SampledRecall.suffix),
        try member.recall(rows, run, sample: isWhole ? .max : SampledRecall.keys),
        title: "recall error, \(title)" + (isWhole ? "" : ", \(SampledRecall.keys) keys"))
    }
    guard isWhole else { return }
    for (name, title, member) in members {
      findings.number(
        "freedom_\(name)", try member.freedom(rows, run), title: "degrees of freedom, \(title)")
    }
  }
}

/// Linear attention, plain or decayed: the fit that takes keys for orthonormal.
struct LinearRegression: Regression {
  private let rows: RegressionRows
  /// γ^0, γ^1, ... as far back as a row looks.
  private let powers: [Double]
  private let divides: Bool

  /// γ in 0...1.
  init(_ rows: RegressionRows, gamma: Double, divides: Bool) {
    (self.rows, self.divides) = (rows, divides)
    powers = Decay.powers(gamma, rows.head)
  }

  /// γ^(i - j) q · k_j, over the keys seen where `divides`.
  func weights(_ query: [Double], _ place: RowPlace) -> [Double] {
    var out = rows.products(query, place.limit)
    let divisor = divides ? Double(max(place.limit, 1)) : 1
    if !powers.isEmpty {
      for key in out.indices { out[key] *= powers[place.position - key] }
    }
    if divides { for key in out.indices { out[key] /= divisor } }
    return out
  }
}

/// Softmax as the member that fits a local constant.
private struct ConstantRegression: Regression {
  let rows: RegressionRows

  /// The pattern's row of a query.
  func weights(_ query: [Double], _ place: RowPlace) -> [Double] {
    rows.softmax(query, place)
  }
}

/// Powers of a decay.
enum Decay {
  /// γ^0, γ^1, ... up to the furthest that a causal row of the head looks back; empty at γ = 1,
  /// where nothing decays.
  static func powers(_ gamma: Double, _ head: Head) -> [Double] {
    guard gamma < 1 else { return [] }
    let last = max(head.visibility.position(row: max(head.queries - 1, 0)), head.keys)
    var powers = [1.0]
    for _ in 0..<last { powers.append(powers[powers.count - 1] * gamma) }
    return powers
  }
}
