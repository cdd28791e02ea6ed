import Algebra
public import Analysis
public import Attention
import Tensors

/// ZipVL: how many tokens a layer reads follows from the mass that probe rows give; the rest leave.
///
/// Probe rows are the last `recent` queries and `random` earlier ones, drawn without replacement by
/// `SplitMix64(seed)`. a_j = Σ over probe rows of A_ij, averaged over the layer's heads; p is the
/// least number of the largest a_j whose sum reaches τ Σ a (with a slack of 1e-12; τ = 1 takes
/// every token with mass). Kept are the p tokens of largest ã_j = a_j / nnz_j, nnz_j the probe rows
/// that see j: p comes from a, the choice from ã. Kept tokens attend to kept tokens; the rows of
/// others have no output in this layer. Reading: heads are averaged before p is counted, which was
/// not seen published; `heads=own` counts each head for itself. Left out: the quantised cache of
/// the first version. Paper: He et al., "ZipVL", 2024, arXiv 2410.08584 (card S10).
///
/// Findings: those of every mask, the series `probe`, `accumulated` (a), `normalised` (ã) and
/// `token_kept`, the curve `cumulative`, `tokens_kept` (p), `token_share` (p / n), the shares of
/// probe mass `mass_top` (the p largest) and `mass_kept` (the p chosen; may be below τ), of all
/// rows of this head `mass_top_all` and `mass_kept_all`, `kept_visual` and `kept_text` where token
/// roles or a grid say which is which, the fields `layers` and, on a grid, `patches` and
/// `patches_kept`. Cost: probe rows times keys, a head; the numbers, the pattern.
public struct ZipVL: MaskMethod {
  enum Heads: String, Sendable, CaseIterable { case average, own }

  static let tau = Knob(
    "tau", "share of the probe rows' mass that the kept tokens must reach", 0...1, standard: 0.975,
    step: .add(0.005), isMain: true)
  static let recent = Knob(
    "recent", "last queries that are probe rows", 0...1 << 20, standard: 64, step: .multiply(2))
  static let random = Knob(
    "random", "earlier queries that are drawn as probe rows", 0...1 << 20, standard: 64,
    step: .multiply(2))
  static let seed = Knob("seed", "of the drawn rows", 0...1 << 30, standard: 0)
  static let heads = Knob(
    "heads", "the layer's heads averaged, or each head for itself", standard: Heads.average)

  public static let card = MethodCard(
    id: "zipvl", title: "ZipVL", family: "multimodal",
    idea: "Probe rows say how many tokens carry the mass; only those attend to each other.",
    source: "He et al., ZipVL, 2024, arXiv 2410.08584", scope: .model,
    knobs: [tau.facts, recent.facts, random.facts, seed.facts, heads.facts],
    mainField: "kept", mainNumber: "token_share", denseKnobs: ["tau": .number(1)],
    growth: Growth("128 n") { 128 * $0 })

  /// Rows of tokens that are not kept.
  public static let leavesRowsOut = true

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for knobs that are unknown or out of range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// The probe rows end a prompt.
  public var engineRefusal: String? { "decides by the last rows of a whole prompt" }

  /// The head decides for itself: a layer is known to `examine` alone.
  public func keep(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> KeptSet {
    let choice = try self.choice([head], run)
    aside.selection = choice.products
    return try choice.set(head, run, &aside)
  }

  /// Everything there is to say. Throws `Missing`, `CancellationError`.
  public func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    var aside = Aside(), run = run
    run.tokens = subject.tokens
    let head = subject.head
    let layer = knobs[Self.heads] == .own ? [head] : subject.layer
    let choice = try self.choice(layer, run)
    aside.selection = choice.products
    let set = try choice.set(head, run, &aside)
    guard run.wantsNumbers else { return try findings(of: set, on: head, aside, run) }
    addTokens(choice, head, &aside.findings)
    try addMasses(choice, head, run, &aside.findings)
    addImage(choice, subject.tokens, &aside.findings)
    try addLayers(choice, subject, run, &aside.findings)
    return try findings(of: set, on: head, aside, run)
  }

  private func choice(_ heads: [Head], isExact: Bool = true, _ run: MethodRun) throws
    -> ProbeChoice
  {
    let probes = ProbeChoice.rows(
      heads[0].queries, recent: knobs[Self.recent], random: knobs[Self.random],
      seed: knobs[Self.seed])
    return try ProbeChoice(heads, probes, tau: knobs[Self.tau], isExact: isExact, run)
  }

  private func addTokens(_ choice: ProbeChoice, _ head: Head, _ findings: inout Findings) {
    let axis = Axis(.key, head.keys)
    var probe = [Float](repeating: 0, count: head.queries)
    for row in choice.probes { probe[row] = 1 }
    findings.number("tokens_kept", Double(choice.kept.count), .tokens, title: "tokens kept")
    findings.number("token_share", choice.share, .share, title: "tokens kept, of all")
    findings.number("probe_rows", Double(choice.probes.count), .count)
    findings.series("probe", Axis(.query, head.queries), probe, title: "probe rows")
    findings.series(
      "accumulated", axis, choice.accumulated.map(Float.init), title: "mass from probe rows, a")
    findings.series(
      "normalised", axis, choice.normalised.map(Float.init), .share,
      title: "mean mass from rows that see the token, ã")
    findings.series("token_kept", axis, choice.flags, title: "kept tokens")
    let total = choice.running.last ?? 0, count = choice.running.count
    guard total > 0 else { return }
    let step = max(1, count / 1024)
    let places = Array(stride(from: 0, to: count, by: step))
    let points = places.map { Curve.Point(Double($0 + 1), choice.running[$0] / total) }
    let last = choice.running[choice.kept.count - 1] / total
    findings.curve(
      "cumulative",
      Curve(
        x: "tokens", y: "share of the probe mass", points: points,
        marks: [
          .init("tau", x: Double(choice.kept.count), y: knobs[Self.tau]),
          .init("kept", x: Double(choice.kept.count), y: last),
        ]), title: "mass of the largest tokens")
  }

  /// Shares of mass of the largest tokens and of the chosen ones: of the probe rows, and of all
  /// rows of this head.
  private func addMasses(
    _ choice: ProbeChoice, _ head: Head, _ run: MethodRun, _ findings: inout Findings
  ) throws {
    let pattern = run.pattern(head), step = run.sampling(head, tiles: head.queries, rows: 1)
    let parts = try RowPicks.spread((head.queries + step - 1) / step, by: 64, run) { range in
      var sums = [Double](repeating: 0, count: head.keys)
      for index in range {
        pattern.withRows(index * step..<index * step + 1) { row, p, _ in
          for key in 0..<head.visibility.limit(row: row) { sums[key] += Double(p[key]) }
        }
      }
      return [sums]
    }
    let all = parts.reduce(into: [Double](repeating: 0, count: head.keys)) { sums, part in
      for key in sums.indices { sums[key] += part[key] }
    }
    func share(_ tokens: [Int], _ mass: [Double]) -> Double? {
      let total = mass.reduce(0, +)
      return total > 0 ? min(1, tokens.reduce(0) { $0 + mass[$1] } / total) : nil
    }
    let top = Array(choice.ranked.prefix(choice.kept.count))
    for (name, tokens, what) in [("top", top, "largest"), ("kept", choice.kept, "kept")] {
      findings.number(
        "mass_\(name)", share(tokens, choice.accumulated), .share,
        title: "probe mass of the \(what) tokens")
      findings.number(
        "mass_\(name)_all", share(tokens, all), .share,
        title: "mass of the \(what) tokens, all rows")
    }
  }

  /// Which of image and text is kept, as far as the source says which is which.
  private func addImage(_ choice: ProbeChoice, _ facts: TokenFacts, _ findings: inout Findings) {
    let keys = choice.flags.count, patches = facts.grid?.tokens(of: keys)
    func share(_ role: TokenFacts.Role) -> Double? {
      let tokens = (0..<keys).filter { key in
        if facts.roles.count == keys { return facts.roles[key] == role }
        return patches.map { $0.contains(key) == (role == .visual) } ?? false
      }
      guard !tokens.isEmpty else { return nil }
      return tokens.reduce(0) { $0 + Double(choice.flags[$1]) } / Double(tokens.count)
    }
    findings.number("kept_visual", share(.visual), .share, title: "image tokens kept")
    findings.number("kept_text", share(.text), .share, title: "text tokens kept")
    guard let grid = facts.grid else { return }
    guard let patches else {
      return findings.note("the grid \(grid) does not lie within the \(keys) tokens")
    }
    let rows = Axis(.row, grid.rows), columns = Axis(.column, grid.columns)
    findings.field(
      "patches",
      WholeField(rows: rows, columns: columns, values: choice.normalised[patches].map(Float.init)),
      .magnitude(.share), title: "ã on the image")
    findings.field(
      "patches_kept",
      WholeField(rows: rows, columns: columns, values: Array(choice.flags[patches])), .kept,
      title: "kept tokens on the image")
  }

  /// What every layer keeps, where that costs little; of other layers than the one looked at from
  /// weights in float.
  private func addLayers(
    _ mine: ProbeChoice, _ subject: Subject, _ run: MethodRun, _ findings: inout Findings
  ) throws {
    let keys = subject.head.keys, queries = subject.head.queries
    let heads = subject.layers.joined()
    guard heads.allSatisfy({ $0.keys == keys && $0.queries == queries }),
      heads.count * mine.probes.count * keys <= 1 << 24
    else { return findings.note("what other layers keep is not computed: they are long or differ") }
    let choices = try subject.layers.indices.map { index -> ProbeChoice in
      if index == subject.focus.layer.value { return mine }
      let own = [subject.layers[index][min(subject.focus.head, subject.layers[index].count - 1)]]
      let heads = knobs[Self.heads] == .own ? own : subject.layers[index]
      return try choice(heads, isExact: false, run)
    }
    let axis = Axis(.layer, choices.count, labels: subject.numbers.map { "\($0.value)" })
    findings.series(
      "token_share_by_layer", axis, choices.map { Float($0.share ?? .nan) }, .share,
      title: "tokens kept by layer")
    findings.field(
      "layers",
      WholeField(rows: axis, columns: Axis(.key, keys), values: choices.flatMap(\.flags)), .kept,
      title: "tokens kept by layer")
  }
}
