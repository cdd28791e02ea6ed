import Algebra
import Analysis
public import Attention
import Tensors

/// LayerBoost: which layers need softmax attention, which a linear window, and which none.
///
///     Δ_l = loss with the attention of layer l skipped - loss             nats a token, exact
///     tiers by Δ, lowest first: removed, linear inside a window, softmax
///     proxies: ‖a_l‖_F / ‖h_l‖_F  and  mean_t 1 - cos(h_l, h_l + a_l)      a_l attention's output,
///                                                                        h_l the stream before it
///
/// Paper: LayerBoost, 2026, arXiv 2604.22050. Of it the sensitivity is exact where a model runs.
/// Cut-offs, window W and the feature map φ(x) = elu(x) + 1 of the linear window are ours, as the
/// paper's are not known; its healing by distillation is left out. Without a model the first proxy
/// stands for Δ, and a note says so.
///
/// Findings: series `sensitivity` `[layers]` and the same by tier, `sensitivity_removed`,
/// `sensitivity_linear`, `sensitivity_softmax` (NaN elsewhere), `proxy_norm`, `proxy_angle`; field
/// `tiers` `[layers, 1]`; curve `ranking` (Δ sorted, cuts marked); fields `linear_map` and
/// `dense_map` `[queries, keys]` of the head looked at; numbers `layer_sensitivity`, `layer_rank`
/// (0 is the lowest), `layer_tier` (0 removed, 1 linear, 2 softmax), `removed_layers`,
/// `linear_layers`, `window`, `base_loss`, `joint_loss`, `joint_change` (of all layers changed at
/// once; single Δ need not add: `sum_change`), `flops_saved` (entries of Q K^T and P V),
/// `cache_saved`, `proxy_correlation` (Spearman of the first proxy with Δ).
///
/// Needs a model that runs, or residuals `[sources, tokens, width]` for the proxies; throws
/// `Missing` without both. Cost: a pass for each layer, one for all changes together.
public struct LayerBoost: AttentionMethod {
  /// What Δ is read from.
  enum Measure: String, Sendable, CaseIterable { case auto, loss, proxy }

  /// Ours; the layers of lowest Δ. What `[` and `]` move.
  static let removed = Knob(
    "removed", "share of layers without attention", 0...1, standard: 0.25, isMain: true)
  /// Ours; those that follow.
  static let linear = Knob(
    "linear", "share of layers with a linear window", 0...1, standard: 0.25)
  /// W, keys of a row; 0 for a quarter of the text.
  static let window = Knob(
    "window", "keys of the linear window; 0: a quarter of the text", 0...1 << 30, standard: 0,
    aliases: ["W"])
  /// The loss where a model runs, unless told otherwise.
  static let measure = Knob(
    "measure", "loss (needs a model), the output-change proxy, or what is there",
    standard: Measure.auto)

  /// The scope is the model: layers are weighed against each other.
  public static let card = MethodCard(
    id: "layerboost", title: "LayerBoost", family: "models",
    idea: "Layers that are missed least lose their attention, or keep a linear window.",
    source: "LayerBoost, 2026, arXiv 2604.22050", scope: .model, needs: [.residuals],
    knobs: [removed.facts, linear.facts, window.facts, measure.facts],
    fidelity: .surrogate(.U3, "cut-offs, window and feature map are stand-ins; no healing"),
    wholeMap: .max, mainField: "linear_map", mainNumber: "layer_sensitivity")

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// Sensitivities, tiers and what they save. Throws `Missing`, `CancellationError`.
  public func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    let proxies: [LayerProxy]?
    do {
      let array = try subject.array(.residuals)
      proxies = try run.memo.value("layerboost") { try LayerProxy.all(array, run) }
    } catch let missing as Missing {
      guard run.model != nil, knobs[Self.measure] != .proxy else { throw missing }
      proxies = nil
    }
    let losses = wantsLoss(run) ? try singleLosses(try run.reader()) : nil
    let delta = losses?.delta ?? (proxies ?? []).map(\.norm)
    let tiers = Self.tiers(delta, removed: knobs[Self.removed], linear: knobs[Self.linear])
    let head = subject.head
    let wide = knobs[Self.window] > 0 ? knobs[Self.window] : max(1, head.keys / 4)
    var findings = Findings()
    addLayers(delta, tiers, losses == nil ? .none : .nats, &findings)
    addFocus(subject, delta, tiers, &findings)
    let axis = Axis(.layer, delta.count)
    if let proxies {
      findings.series(
        "proxy_norm", axis, proxies.map { Float($0.norm) }, title: "output-change proxy, norms")
      findings.series(
        "proxy_angle", axis, proxies.map { Float($0.angle) }, title: "output-change proxy, angles")
    }
    try addJoint(losses?.base, delta, tiers, wide, run, &findings)
    addSavings(head, tiers, wide, &findings)
    findings.number(
      "proxy_correlation",
      losses == nil ? nil : proxies.flatMap { Correlation.ofRanks($0.map(\.norm), delta) },
      title: "Spearman of proxy and loss")
    if let map = LinearWindow(head, window: wide) {
      findings.field("linear_map", map, .weights, title: "linear window of this head")
    }
    findings.field("dense_map", run.pattern(head), .weights, title: "softmax of this head")
    findings.note("U3: \(Self.card.fidelity.sentence)")
    if losses == nil { findings.note("output-change proxy: no loss was measured") }
    return findings
  }

  private func wantsLoss(_ run: MethodRun) -> Bool {
    switch knobs[Self.measure] {
    case .auto: run.model != nil
    case .loss: true
    case .proxy: false
    }
  }

  /// The mean loss, and what skipping each layer alone adds to it, `[layers]`.
  private func singleLosses(_ model: any ModelReader) throws -> (base: Double, delta: [Double]) {
    let changes = (0..<model.layers).map { ModelChange(skipped: [LayerNumber($0)]) }
    let all = try model.losses([ModelChange()] + changes).map(Self.mean)
    return (all[0], all.dropFirst().map { $0 - all[0] })
  }

  /// Over tokens that are predicted.
  static func mean(_ losses: [Float]) -> Double {
    let known = losses.filter { !$0.isNaN }
    return known.reduce(0) { $0 + Double($1) } / Double(max(known.count, 1))
  }

  /// 0 removed, 1 linear, 2 softmax, `[layers]`: stable by ascending Δ, counts rounded half up.
  static func tiers(_ delta: [Double], removed: Double, linear: Double) -> [Int] {
    let count = Double(delta.count)
    let none = Int((removed * count + 0.5).rounded(.down))
    let some = min(none + Int((linear * count + 0.5).rounded(.down)), delta.count)
    var tiers = [Int](repeating: 2, count: delta.count)
    for (rank, layer) in order(delta).enumerated() where rank < some {
      tiers[layer] = rank < none ? 0 : 1
    }
    return tiers
  }

  /// Layers by ascending Δ, equal ones in their own order.
  static func order(_ delta: [Double]) -> [Int] {
    delta.indices.sorted { (delta[$0], $0) < (delta[$1], $1) }
  }

  private static let names = ["removed", "linear", "softmax"]

  /// Bars by layer, coloured by tier, and the same sorted.
  private func addLayers(
    _ delta: [Double], _ tiers: [Int], _ unit: Unit, _ findings: inout Findings
  ) {
    let axis = Axis(.layer, delta.count)
    findings.series(
      "sensitivity", axis, delta.map(Float.init), unit, title: "what skipping the layer costs")
    for (tier, name) in Self.names.enumerated() {
      findings.series(
        "sensitivity_\(name)", axis,
        zip(delta, tiers).map { $1 == tier ? Float($0) : .nan }, unit, title: "of \(name) layers")
    }
    findings.field(
      "tiers", WholeField(rows: axis, columns: Axis(.slot, 1), values: tiers.map(Float.init)),
      .labels(Self.names), title: "tier of each layer")
    let sorted = Self.order(delta).map { delta[$0] }
    var marks: [Curve.Mark] = [], at = 0
    for (tier, name) in Self.names.enumerated() {
      let count = tiers.count { $0 == tier }
      if count > 0 { marks.append(Curve.Mark(name, x: Double(at), y: sorted[at])) }
      at += count
    }
    findings.curve(
      "ranking",
      Curve(
        x: "rank", y: "sensitivity",
        points: sorted.enumerated().map { Curve.Point(Double($0), $1) }, marks: marks))
    findings.number("removed_layers", Double(tiers.count { $0 == 0 }), .count)
    findings.number("linear_layers", Double(tiers.count { $0 == 1 }), .count)
  }

  /// The layer of the head that is looked at.
  private func addFocus(
    _ subject: Subject, _ delta: [Double], _ tiers: [Int], _ findings: inout Findings
  ) {
    let layer = subject.numbers[subject.focus.layer].value
    let isThere = delta.indices.contains(layer)
    findings.number("layer_sensitivity", isThere ? delta[layer] : nil, title: "Δ of this layer")
    findings.number(
      "layer_rank", Self.order(delta).firstIndex(of: layer).map(Double.init), .count)
    findings.number("layer_tier", isThere ? Double(tiers[layer]) : nil, .count)
  }

  /// All changes at once, beside the sum of the single ones.
  private func addJoint(
    _ base: Double?, _ delta: [Double], _ tiers: [Int], _ window: Int, _ run: MethodRun,
    _ findings: inout Findings
  ) throws {
    var joint: Double?
    if base != nil {
      var change = ModelChange()
      for (layer, tier) in tiers.enumerated() {
        if tier == 0 { change.skipped.insert(LayerNumber(layer)) }
        if tier == 1 { change.windows[LayerNumber(layer)] = window }
      }
      joint = try run.reader().losses([change]).map(Self.mean)[0]
    }
    findings.number("base_loss", base, .nats, title: "mean loss")
    findings.number("joint_loss", joint, .nats, title: "mean loss, all changed")
    findings.number(
      "joint_change", joint.flatMap { joint in base.map { joint - $0 } }, .nats,
      title: "what all changes cost")
    let removed = zip(delta, tiers).reduce(0) { $1.1 == 0 ? $0 + $1.0 : $0 }
    findings.number(
      "sum_change", base == nil ? nil : removed, .nats, title: "sum of Δ of removed layers")
  }

  /// Entries that are not computed, and rows of K and V that are not kept, over those of all
  /// layers.
  private func addSavings(
    _ head: Head, _ tiers: [Int], _ window: Int, _ findings: inout Findings
  ) {
    let seen = head.visibility
    let inWindow = (0..<head.queries).reduce(0) { sum, row in
      let at = seen.position(row: row), end = min(seen.limit(row: row), at + window)
      return sum + max(0, end - max(0, at - window + 1))
    }
    let count = Double(max(tiers.count, 1)), linear = Double(tiers.count { $0 == 1 })
    let removed = Double(tiers.count { $0 == 0 })
    let kept = Double(inWindow) / Double(max(head.visibleEntries, 1))
    let cache = min(1, Double(window) / Double(max(head.keys, 1)))
    findings.number("window", Double(min(window, head.keys)), .keys)
    findings.number(
      "flops_saved", (removed + linear * (1 - kept)) / count, .share,
      title: "attention entries saved")
    findings.number(
      "cache_saved", (removed + linear * (1 - cache)) / count, .share, title: "KV cache saved")
  }
}

/// How much the attention of a layer changes the residual stream, without any loss.
struct LayerProxy: Sendable {
  /// ‖a‖_F / ‖h‖_F over all tokens.
  let norm: Double
  /// Mean over tokens of 1 - cos(h, h + a).
  let angle: Double

  /// Of every layer, from `[sources, tokens, width]`: the embedding, then attention and MLP of each
  /// layer in turn. Throws `Missing(.residuals)` for another shape, and `CancellationError`.
  static func all(_ array: Tensor, _ run: MethodRun) throws -> [LayerProxy] {
    guard array.shape.rank == 3, array.shape[0] > 2, array.shape[0] % 2 == 1, array.shape[1] > 0
    else { throw Missing(.residuals, hint: "[2 layers + 1, tokens, width]") }
    var state = array[0].floats().map(Double.init)
    return try (0..<(array.shape[0] - 1) / 2).map { layer in
      try run.checkCancellation()
      let added = array[2 * layer + 1].floats()
      let proxy = LayerProxy(state, added, width: array.shape[2])
      let net = array[2 * layer + 2].floats()
      for x in state.indices { state[x] += Double(added[x]) + Double(net[x]) }
      return proxy
    }
  }

  /// `state` and `added` are `[tokens * width]`.
  init(_ state: [Double], _ added: [Float], width: Int) {
    var (a, h, angles) = (0.0, 0.0, 0.0)
    let tokens = state.count / max(width, 1)
    for t in 0..<tokens {
      var (aa, ah, hh) = (0.0, 0.0, 0.0)
      for x in t * width..<(t + 1) * width {
        let add = Double(added[x])
        aa += add * add
        ah += add * state[x]
        hh += state[x] * state[x]
      }
      (a, h) = (a + aa, h + hh)
      // Nothing added is no change, to the bit.
      if aa > 0 {
        let size = (hh * max(0, hh + 2 * ah + aa)).squareRoot()
        angles += size > 0 ? max(0, 1 - (hh + ah) / size) : 1
      }
    }
    norm = a == 0 ? 0 : (a / h).squareRoot()
    angle = angles / Double(max(tokens, 1))
  }
}
