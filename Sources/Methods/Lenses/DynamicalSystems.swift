import Algebra
public import Analysis
public import Attention
import Tensors

/// Dynamical Systems Framework: causal mixers as one recurrence, unrolled into maps side by side.
///
///     h_i = A_i h_{i-1} + B_i v_i,   y_i = C_i h_i,   W_ij = C_i A_i ⋯ A_{j+1} B_j   for j ≤ i
///
///     linear      φ(q_i)·φ(k_j) / η_i,   η_i = Σ_{j≤i} φ(q_i)·φ(k_j)       A_i = η_{i-1} / η_i
///     normalised  q_i·k_j / η_i,   η_i = exp(w·x_i + b)                   the same with this η
///     ssd         (q_i·k_j) Δ_j exp(-a Σ_{t=j+1..i} Δ_t)                  Mamba-2
///     s6          Σ_s q_is k_js Δ_j exp(-a_s Σ_{t=j+1..i} Δ_t)            Mamba
///     qlstm       mean over channels c of σ(q_ic) Π_{t=j+1..i} f_tc σ(v_jc),   f = σ(k)
///
/// No member scales by 1/√d, as the authors' code does not. Paper: Sieber et al., "Understanding
/// the differences in foundation models", NeurIPS 2024, arXiv 2405.15731. Linear attention is
/// exact. The others have trained parts that read hidden states, which are replaced: normalised
/// attention divides by the number of keys (U0); Δ_i = Δ̄ (1 + tanh z_i), z the standardised norm
/// of k_i and Δ̄ = ln 2 / half_life (U3), or a seeded projection of k_i (U1); gates of the qLSTM
/// read K, V and Q (U3). `reversed` takes f = σ(-k) = exp(-softplus k), the paper's remedy.
///
/// Findings: those of every map; fields `softmax`, `linear`, `normalised`, `ssd`, `s6`, `qlstm`,
/// and `members`, all six side by side as signed shares of their rows, on one scale; `output` is
/// W V, and for the qLSTM `channel_output` what its channels give; what `DynamicalFacts` counts
/// (locality, fit of decay by distance, the recurrence against the map, states); `CostFacts`.
///
/// Causal heads only, with Q and K, and V for the qLSTM: throws `Missing` otherwise. Cost n² d a
/// map, twice that for s6 and qlstm; n times the state for the recurrence.
public struct DynamicalSystems: MapMethod {
  static let member = Knob("member", "whose map it is", standard: DynamicalMap.Member.linear)
  /// H in tokens; what `[` and `]` move.
  static let halfLife = Knob(
    "half_life", "tokens in which ssd, and the slowest channel of s6, forget half", 0.01...1e9,
    standard: 32.0, step: .multiply(2), isMain: true)
  /// a, per unit of Δ.
  static let rate = Knob("a", "decay rate of ssd; 0 forgets nothing", 0...1024, standard: 1.0)
  static let rates = Knob(
    "a_s", "rates of s6: s for channels s = 1..d, or a for all", standard: DynamicalMap.Rates.s)
  static let steps = Knob(
    "delta", "Δ by the norm of keys, 1 for all, or a seeded projection of keys",
    standard: DynamicalMap.Steps.norm)
  static let phi = Knob(
    "phi", "feature map of linear: elu(x) + 1, or relu", standard: DynamicalMap.Feature.elu1)
  static let eta = Knob(
    "log_eta", "ln η of normalised: ln of the keys that a row sees, or zero",
    standard: DynamicalMap.Eta.count)
  static let reversed = Knob("reversed", "f = σ(-k) in the qlstm", standard: false)
  /// Of SplitMix64.
  static let seed = Knob("seed", "of the seeded projection", 0...1 << 30, standard: 1)

  private static let decay = Fidelity.surrogate(
    .U3, "step sizes are a statistic of the keys: a trained model computes them from its stream")
  private static let gates = Fidelity.surrogate(
    .U3, "gates read K, V and Q in place of trained projections")

  /// Above 2048 tokens rows are computed as they are looked at.
  public static let card = MethodCard(
    id: "dsf", title: "Dynamical Systems Framework", family: "systems",
    idea: "Attention, state-space models and gated RNNs as one recurrence, unrolled into maps.",
    source: "Sieber et al., NeurIPS 2024, arXiv 2405.15731", needs: [.queryKey],
    knobs: [
      halfLife.facts, member.facts, rate.facts, rates.facts, steps.facts, phi.facts, eta.facts,
      reversed.facts, seed.facts, LensRows.query.facts,
    ],
    fidelity: .exactWithWeights, wholeMap: 2048, mainField: "map", mainNumber: "error",
    variants: [
      "dsf-linear": ["member": .word("linear")],
      "dsf-normalised": ["member": .word("normalised")],
      "dsf-ssd": ["member": .word("ssd")], "dsf-s6": ["member": .word("s6")],
      "dsf-qlstm": ["member": .word("qlstm")],
      "dsf-qlstm-reversed": ["member": .word("qlstm"), "reversed": .word("true")],
    ],
    variantFidelity: [
      "dsf-linear": .exact,
      "dsf-normalised": .surrogate(.U0, "each row is divided by the number of keys it sees"),
      "dsf-ssd": decay, "dsf-s6": decay, "dsf-qlstm": gates, "dsf-qlstm-reversed": gates,
    ])

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// The unrolled map of the member, `[queries, keys]`, a row at a time. Throws `Missing` for
  /// bidirectional heads and stored maps, and for the qLSTM without V as wide as K.
  public func map(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> any RowField {
    let maps = try unrolled(head), member = knobs[Self.member]
    addFields(maps, run, &aside.findings)
    note(member, to: &aside.findings)
    if run.wantsNumbers {
      let facts = DynamicalFacts(maps: maps, member: member, query: try LensRows.index(knobs, head))
      try facts.add(run, whole: Self.card.wholeMap, to: &aside.findings)
    }
    return maps.field(member)
  }

  /// All members over a head. Throws `Missing`.
  func unrolled(_ head: Head) throws -> DynamicalMap {
    guard head.queryAndKey != nil else { throw Missing(.queryKey) }
    guard head.visibility.causal else {
      throw Missing(.queryKey, hint: "in a causal head, as a recurrence sees no later keys")
    }
    let maps = DynamicalMap(
      head,
      DynamicalMap.Options(
        feature: knobs[Self.phi], eta: knobs[Self.eta], rate: knobs[Self.rate],
        rates: knobs[Self.rates], steps: knobs[Self.steps], halfLife: knobs[Self.halfLife],
        isReversed: knobs[Self.reversed], seed: knobs[Self.seed]))
    guard knobs[Self.member] != .qlstm || maps.hasGates else {
      throw Missing(.values, hint: "as wide as K, which the gates of the qLSTM read")
    }
    return maps
  }

  /// Every member's own map, all six on one scale, and the output of the qLSTM's channels.
  private func addFields(_ maps: DynamicalMap, _ run: MethodRun, _ findings: inout Findings) {
    findings.field("softmax", run.pattern(maps.head), .weights, title: "softmax")
    for member in maps.members {
      findings.field(member.rawValue, maps.field(member), .signed, title: member.title)
    }
    let titles = ["softmax"] + maps.members.map(\.title)
    if maps.head.keys <= Self.card.wholeMap {
      findings.field(
        "members", maps.sideBySide, .signed,
        title: "shares of rows, side by side: \(titles.joined(separator: ", "))")
    }
    if !maps.hasGates { findings.note("no qLSTM: it needs V as wide as K") }
    if knobs[Self.member] == .qlstm {
      findings.field(
        "channel_output", maps.channelOutput, .signed,
        title: "output of the channels, each through its own map")
    }
  }

  /// What stands in for trained parts of the member in force.
  private func note(_ member: DynamicalMap.Member, to findings: inout Findings) {
    switch member {
    case .linear: break
    case .normalised:
      let divisor = knobs[Self.eta] == .count ? "the number of keys that a row sees" : "1"
      findings.note("U0: w = 0, and rows are divided by \(divisor)")
    case .ssd, .s6:
      switch knobs[Self.steps] {
      case .norm:
        findings.note(
          "U3: Δ from norms of keys, standardised over the whole text, later keys among them")
      case .one: findings.note("U0: Δ = 1 for every token; half_life does not count")
      case .seeded:
        findings.note(
          "U1: Δ from a projection of keys of seed \(knobs[Self.seed]), within 0.001 to 0.1")
      }
    case .qlstm:
      findings.note("\(Self.gates.tag): \(Self.gates.sentence)")
      findings.note("the map is the mean over channels; channel_output is what the channels give")
    }
  }
}
