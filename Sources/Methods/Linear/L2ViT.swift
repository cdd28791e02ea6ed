import Algebra
public import Analysis
public import Attention

/// L2ViT: linear attention of ReLU features whose divisor is bounded, between blocks of softmax in
/// windows, and a convolution that concentrates it again.
///
///     R = ReLU(Q) ReLU(K)ᵀ,   W_ij = τ R_ij / max(Σ_s R_is, c)
///
/// Rows sum to τ, to τ ΣR / c where c is in force, to 0 for a query without a positive product.
/// `part` is what the map shows: `linear` is W; `window`, softmax within runs of 49 tokens (7x7
/// patches with `plane=grid`), what every other block does; `smoothed`, C W with a Gaussian C of 7
/// tokens (7x7 patches) in the place of the convolutions (U3: theirs are trained and not linear),
/// past rows alone where causal. τ of each head is trained and stands at its start, d^(-1/2) (U0);
/// c is 100 in one path of the release, tuned to images, and 1 in the other, which is the standard
/// here. Paper: "L2ViT", 2025, arXiv 2501.16182. Causal heads, which mask R first, are ours.
///
/// Findings: those of every map, of `part`; the other two parts as fields `linear`,
/// `window_softmax`, `smoothed`; the series `normaliser` (ΣR) and `clamped` (1 where c is in force)
/// `[queries]`; `clamped_rows` (share), `dead_rows` (ΣR = 0), `tau` in force, and `local_mass_3`,
/// the share of Σ|W| within three tokens; the cost of a token (`CostFacts`). Needs Q and K, an
/// image grid for `plane=grid`. Cost n² d for a map, n d² for outputs.
public struct L2ViT: MapMethod {
  /// What the map shows.
  enum Part: String, Sendable, CaseIterable { case linear, window, smoothed }

  /// c, in sums of products; what `[` and `]` move.
  static let clamp = Knob(
    "clamp", "least divisor of a row", 0...1e9, standard: 1.0, step: .multiply(10), isMain: true,
    aliases: ["c"])
  /// Where training begins.
  enum Temperature: String, Sendable, CaseIterable { case initial = "d^-1/2" }

  static let tau = Knob(
    "tau", "temperature of the head; d^-1/2, or 0, is where training begins", 0...64,
    standard: Ruled.rule(Temperature.initial), step: .add(0.05))
  static let part = Knob("part", "what the map shows", standard: Part.linear)
  static let window = Knob(
    "window", "tokens of a softmax window", 1...1 << 30, standard: 49, step: .multiply(2))
  static let width = Knob("width", "tokens of the Gaussian", 1...63, standard: 7, step: .add(2))
  static let deviation = Knob(
    "sd", "deviation of the Gaussian, in tokens", 0.05...64, standard: 1.5, step: .add(0.25))
  static let plane = Knob(
    "plane", "windows and Gaussian along the text, or on the image's grid",
    standard: LinearPlane.Kind.line)

  private static let smoothing = Fidelity.surrogate(
    .U3, "a Gaussian over rows stands for convolutions that are trained and not linear")

  /// Ranked by how far the output is from that of softmax.
  public static let card = MethodCard(
    id: "l2vit", title: "L2ViT", family: "kernel",
    idea: "Linear attention of ReLU features with a least divisor, then mixed among neighbours.",
    source: "L2ViT, 2025, arXiv 2501.16182", needs: [.queryKey],
    knobs: [
      clamp.facts, tau.facts, part.facts, window.facts, width.facts, deviation.facts, plane.facts,
    ],
    fidelity: .surrogate(.U0, "the temperature of the head stands where training begins"),
    wholeMap: 2048, mainField: "map", mainNumber: "error",
    variants: [
      "l2vit-100": ["clamp": .number(100)], "l2vit-window": ["part": .word("window")],
      "l2vit-smoothed": ["part": .word("smoothed")],
    ],
    knobFidelity: { knobs in
      switch (knobs["part"], knobs["tau"]) {
      case (.word(Part.window.rawValue), _): .exact
      case (.word(Part.smoothed.rawValue), _): smoothing
      case (_, .number(let tau)) where tau > 0: .exact
      default: nil
      }
    })

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// The part of a head, `[queries, keys]`, a row at a time. Throws `Missing(.queryKey)`,
  /// `Missing(.imageGrid)`, `CancellationError`.
  public func map(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> any RowField {
    let features = try LinearFeatures(head, .relu), totals = features.totals()
    let tau = tau(head), clamp = knobs[Self.clamp]
    let scaled = features.scaled { totals[$0] == 0 ? 0 : tau / max(totals[$0], clamp) }
    let plane = try LinearPlane(knobs[Self.plane], head, run.tokens)
    let parts: [(Part, name: String, title: String, row: @Sendable (Int) -> [Double])] = [
      (.linear, "linear", "linear attention with a least divisor", { scaled.products($0) }),
      (.window, "window_softmax", "softmax within windows", windows(head, plane)),
      (.smoothed, "smoothed", "U3: linear attention, mixed among rows", smoothed(scaled, plane)),
    ]
    let chosen = parts.first { $0.0 == knobs[Self.part] } ?? parts[0]
    if run.wantsNumbers {
      for part in parts where part.0 != chosen.0 {
        aside.findings.field(
          part.name, features.field(part.row), .signed, title: part.title)
      }
      add(totals, head, &aside.findings)
      try LinearPlane.addMass(
        head, chosen.row, [3], wholeMap: Self.card.wholeMap, run, to: &aside.findings)
      if chosen.0 == .linear { CostFacts(head, features: features.width).add(to: &aside.findings) }
    }
    return features.field(chosen.row)
  }

  /// τ, where it is given as a number.
  private var givenTau: Double? {
    if case .number(let x) = knobs[Self.tau], x > 0 { x } else { nil }
  }

  /// τ in force.
  private func tau(_ head: Head) -> Double {
    givenTau ?? 1 / Double(max(head.dim, 1)).squareRoot()
  }

  /// Softmax of the keys that are seen and in the query's window.
  private func windows(_ head: Head, _ plane: LinearPlane) -> @Sendable (Int) -> [Double] {
    let rows = DoubleRows(head), count = knobs[Self.window]
    let windows = (0..<head.keys).map { plane.window($0, count: count) }
    return { row in
      var logits = rows.logits(row)
      let own = plane.window(plane.place(row), count: count)
      for key in windows.indices where windows[key] != own { logits[key] = -.infinity }
      return Elementary.softmax(logits, limit: head.visibility.limit(row: row))
    }
  }

  /// C W: with every key in sight one product of mixed features, else a sum of rows.
  private func smoothed(_ scaled: LinearFeatures, _ plane: LinearPlane)
    -> @Sendable (Int) -> [Double]
  {
    let width = knobs[Self.width], deviation = knobs[Self.deviation], head = scaled.head
    return { row in
      let near = plane.gaussian(row, width: width, deviation: deviation)
      var out = [Double](repeating: 0, count: head.keys)
      guard !head.visibility.causal else {
        for (other, weight) in near {
          scaled.add(
            scaled.features(other).map { weight * $0 }, limit: scaled.seen(other), to: &out)
        }
        return out
      }
      var mixed = [Double](repeating: 0, count: scaled.width)
      for (other, weight) in near {
        for (x, feature) in scaled.features(other).enumerated() { mixed[x] += weight * feature }
      }
      scaled.add(mixed, limit: head.keys, to: &out)
      return out
    }
  }

  /// Strips and counts of the linear part; `totals` are ΣR `[queries]`.
  private func add(_ totals: [Double], _ head: Head, _ findings: inout Findings) {
    let clamp = knobs[Self.clamp], axis = Axis(.query, head.queries)
    findings.series(
      "normaliser", axis, totals.map { Float($0) }, title: "sum of R, by query")
    findings.series(
      "clamped", axis, totals.map { $0 < clamp ? 1 : 0 }, title: "the least divisor is in force")
    let clamped = totals.count { $0 < clamp }, count = Double(max(totals.count, 1))
    findings.number(
      "clamped_rows", Double(clamped) / count, .share, title: "rows with the least divisor")
    findings.number(
      "dead_rows", Double(totals.count { $0 == 0 }), .count, title: "queries without any product")
    findings.number("tau", tau(head), .setting, title: "temperature in force")
    if head.visibility.causal { findings.note("causal: ours, R is masked before it is summed") }
    switch knobs[Self.part] {
    case .linear where givenTau == nil: findings.note("U0: tau stands where training begins")
    case .linear: break
    case .window: break
    case .smoothed: findings.note("U3: " + Self.smoothing.sentence)
    }
  }
}
