import Algebra
import Analysis
public import Attention
import Tensors

/// Attention Residuals: softmax attention over depth in place of the sum of residual connections.
///
/// With v_0 the embedding of a token and v_i what sublayer i added to it, each `[width]`:
///
///     α_{i→l} = softmax over i < l of w_l · RMSNorm(v_i)          ε = 1e-6 inside the root
///     h_l = Σ_{i<l} α_{i→l} v_i                                    instead of Σ_{i<l} v_i
///
/// Block form: outputs are summed inside blocks of sublayers, and attention goes over the
/// embedding, the finished blocks and the running sum of the present one. Paper: "Attention
/// Residuals", Kimi Team, 2026, arXiv 2603.15031.
///
/// The arithmetic is exact; the pseudo-queries w_l are trained, and a model with plain residuals
/// has none. In their place, by `query`: `zero` (U0, where training begins: the mean of all
/// sources), `seeded` (U1, a Gaussian draw of size gain / √width), `self` (U3, w_l = gain ·
/// RMSNorm(h_l) / √width of the plain sum h_l: which earlier outputs agree with the present state).
/// A note always says which.
///
/// Findings: fields `depth` `[consumers, sources]` and `block_depth` `[consumers, blocks + 2]`
/// (embedding first, running sum last); series `norm_standard` and `norm_attention` `[consumers]`;
/// numbers `depth_entropy` (nats), `effective_sources` (its exponential), `weight_embedding`,
/// `weight_previous`, `weight_partial` (shares), `growth_standard`, `growth_attention` (‖h_L‖ /
/// ‖h_1‖), `cosine` of both states, `two_phase_error` (block form in two phases against one,
/// relative).
///
/// Needs residuals `[sources, tokens, width]`, as `capture --residuals` saves them, and throws
/// `Missing(.residuals)` otherwise. Cost: L² width a token for L sublayers, linear in tokens, of
/// which at most 64, evenly spread, stand for all.
public struct AttentionResiduals: AttentionMethod {
  /// Where pseudo-queries come from.
  enum Query: String, Sendable, CaseIterable { case selfQuery = "self", zero, seeded }

  /// U3 unless told otherwise, as U0 shows nothing but means.
  static let query = Knob("query", "where pseudo-queries come from", standard: Query.selfQuery)
  /// Sharpness: at 0 all sources weigh the same. What `[` and `]` move.
  static let gain = Knob(
    "gain", "size of pseudo-queries", 0...64, standard: 1.0, step: .add(1), isMain: true)
  /// Of SplitMix64; equal seeds give equal maps everywhere.
  static let seed = Knob("seed", "of seeded pseudo-queries", 0...1 << 30, standard: 1)
  /// N, how many blocks the sublayers are divided into; about 8 in the paper.
  static let blocks = Knob(
    "blocks", "blocks of the block form", 1...1024, standard: 8, aliases: ["N"])
  /// Index of a token of the text; -1 for the mean.
  static let token = Knob(
    "token", "one token, or -1 for the mean over tokens", -1...1 << 30, standard: -1)
  /// The last row asks what the output head would read, as published inference code does.
  static let output = Knob(
    "output", "one more row: the aggregation before the output head", standard: true)

  /// The scope is the model: a depth map belongs to a token, not to a head.
  public static let card = MethodCard(
    id: "attention-residuals", title: "Attention Residuals", family: "depth",
    idea: "Each sublayer chooses how much of each earlier sublayer's output to read.",
    source: "Kimi Team, Attention Residuals, 2026, arXiv 2603.15031", scope: .model,
    needs: [.residuals],
    knobs: [query.facts, gain.facts, seed.facts, blocks.facts, token.facts, output.facts],
    fidelity: .surrogate(
      .U3, "pseudo-queries are stand-ins: this model was trained with plain residuals"),
    wholeMap: .max, mainField: "depth", mainNumber: "depth_entropy")

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// The depth maps of one token, or their mean over some. Throws `Missing(.residuals)` where there
  /// are none, they have another shape or the token is not there, and `CancellationError`.
  public func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    let array = try subject.array(.residuals)
    guard array.shape.rank == 3, array.shape[0] > 1, array.shape[1] > 0 else {
      throw Missing(.residuals, hint: "[sources, tokens, width] with at least two sources")
    }
    let sources = array.shape[0], tokens = array.shape[1]
    let wanted = knobs[Self.token]
    guard wanted < tokens else {
      throw Missing(.residuals, hint: "there is no token \(wanted); they are 0 to \(tokens - 1)")
    }
    let chosen = wanted >= 0 ? [wanted] : MapPass.sample(0..<tokens, 64)
    let consumers = sources - 1 + (knobs[Self.output] ? 1 : 0)
    let size = max(1, (sources - 1 + knobs[Self.blocks] - 1) / knobs[Self.blocks])
    let queries = pseudoQueries(consumers, width: array.shape[2])
    var sum = DepthSums(consumers: consumers, sources: sources, blocks: (sources - 2) / size + 3)
    for token in chosen {
      try run.checkCancellation()
      let rows = (0..<sources).map { array[$0][token].floats().map(Double.init) }
      sum.add(DepthStack(rows, blockSize: size) { l, state in self.pseudoQuery(l, state, queries) })
    }
    return findings(sum, chosen.count, of: tokens, size: size)
  }

  /// `[consumers][width]` draws of size gain / √width; empty unless they are seeded.
  private func pseudoQueries(_ count: Int, width: Int) -> [[Double]] {
    guard knobs[Self.query] == .seeded else { return [] }
    var random = SplitMix64(UInt64(knobs[Self.seed]))
    let scale = knobs[Self.gain] / Double(width).squareRoot()
    return (0..<count).map { _ in random.gaussians(width).map { $0 * scale } }
  }

  /// w_l, `[width]`, for consumer l (1 reads the embedding alone) whose plain state is `state`.
  private func pseudoQuery(_ l: Int, _ state: [Double], _ drawn: [[Double]]) -> [Double] {
    switch knobs[Self.query] {
    case .zero: [Double](repeating: 0, count: state.count)
    case .seeded: drawn[l - 1]
    case .selfQuery:
      DepthStack.normalised(state).map { $0 * knobs[Self.gain] / Double(state.count).squareRoot() }
    }
  }

  /// Sums over `tokens` tokens as means, under the names above; `size` is sublayers a block.
  private func findings(_ sum: DepthSums, _ tokens: Int, of all: Int, size: Int) -> Findings {
    var findings = Findings()
    let n = Double(tokens), sources = sum.sources
    func name(_ i: Int) -> String {
      i == 0 ? "embedding" : "\(i % 2 == 1 ? "attention" : "mlp") \((i - 1) / 2)"
    }
    var consumers = (1..<sources).map(name)
    if sum.consumers > consumers.count { consumers.append("output") }
    let down = Axis(.sublayer, sum.consumers, labels: consumers)
    let across = Axis(.source, sources, labels: (0..<sources).map(name))
    findings.field(
      "depth", WholeField(rows: down, columns: across, values: sum.depth.map { Float($0 / n) }),
      .weights, title: "weight on each earlier output")
    let parts = (0..<sum.blocks).map { b in
      b == 0 ? "embedding" : (b == sum.blocks - 1 ? "running sum" : "block \(b)")
    }
    findings.field(
      "block_depth",
      WholeField(
        rows: down, columns: Axis(.source, sum.blocks, labels: parts),
        values: sum.blockDepth.map { Float($0 / n) }), .weights,
      title: "weight on blocks of \(size) sublayers")
    findings.series(
      "norm_standard", down, sum.standard.map { Float($0 / n) }, title: "‖h‖, plain sum")
    findings.series(
      "norm_attention", down, sum.attention.map { Float($0 / n) }, title: "‖h‖, attention")
    let rows = n * Double(sum.consumers)
    findings.number("depth_entropy", sum.entropy / rows, .nats)
    findings.number("effective_sources", sum.effective / rows)
    findings.number("weight_embedding", sum.embedding / rows, .share, title: "on the embedding")
    findings.number("weight_previous", sum.previous / rows, .share, title: "on the sublayer before")
    findings.number(
      "weight_partial", sum.partial / rows, .share, title: "on the running sum, block form")
    findings.number("growth_standard", growth(sum.standard), title: "‖h_L‖/‖h_1‖, plain sum")
    findings.number("growth_attention", growth(sum.attention), title: "‖h_L‖/‖h_1‖, attention")
    findings.number("cosine", sum.cosine / rows, title: "cosine of both states")
    findings.number("two_phase_error", sum.twoPhase, title: "two phases against one")
    switch knobs[Self.query] {
    case .zero: findings.note("U0: pseudo-queries are zero, the mean of all sources")
    case .seeded: findings.note("U1: pseudo-queries drawn with seed \(knobs[Self.seed])")
    case .selfQuery: findings.note("U3: \(Self.card.fidelity.sentence)")
    }
    if tokens < all, knobs[Self.token] < 0 { findings.note("mean over \(tokens) of \(all) tokens") }
    return findings
  }

  /// ‖h_L‖ / ‖h_1‖; nil when the first norm is 0.
  private func growth(_ norms: [Double]) -> Double? {
    guard let first = norms.first, let last = norms.last, first > 0 else { return nil }
    return last / first
  }
}

/// The depth attention of one token: every consumer's weights on what stands before it, in the full
/// form and in blocks.
struct DepthStack {
  /// `[sources][sources]`, row l - 1 of consumer l, the last one the output's; rows sum to 1, zero
  /// where there is no source yet.
  private(set) var alpha: [[Double]] = []
  /// `[sources][blocks]`, the last column for the running sum.
  private(set) var blockAlpha: [[Double]] = []
  /// `[sources]`, norm of the plain sum before each consumer.
  private(set) var standard: [Double] = []
  /// `[sources]`, norm of the attended mixture.
  private(set) var attention: [Double] = []
  /// `[sources]`, cosine of the two.
  private(set) var cosines: [Double] = []
  /// Largest difference between the two-phase evaluation of the block form and the plain one,
  /// relative to its size.
  private(set) var twoPhase = 0.0
  /// Columns of the block form: embedding, blocks, running sum.
  let blocks: Int

  /// `values` `[sources][width]`; `query(l, h)` gives w_l for the standard state h before sublayer
  /// l, l from 1 to `sources`, the last for the output.
  init(_ values: [[Double]], blockSize: Int, query: (Int, [Double]) -> [Double]) {
    let sources = values.count
    blocks = (sources - 2) / blockSize + 3
    let keys = values.map(Self.normalised)
    var state = [Double](repeating: 0, count: values[0].count)
    var done = [values[0]], partial = [Double](repeating: 0, count: state.count), held = 0
    for l in 1...sources {
      for x in state.indices { state[x] += values[l - 1][x] }
      if l > 1 {
        for x in partial.indices { partial[x] += values[l - 1][x] }
        held += 1
        if held == blockSize {
          done.append(partial)
          partial = [Double](repeating: 0, count: state.count)
          held = 0
        }
      }
      let w = query(l, state)
      let weights = Elementary.softmax((0..<l).map { Self.dot(w, keys[$0]) })
      let mixed = Self.mix(weights, Array(values[..<l]))
      alpha.append(weights + [Double](repeating: 0, count: sources - l))
      standard.append(Self.norm(state))
      attention.append(Self.norm(mixed))
      cosines.append(Self.cosine(state, mixed))
      addBlocks(w, done, held > 0 ? partial : nil)
    }
  }

  /// One row of the block form for the pseudo-query w: over finished sums `done` (the embedding
  /// first) and the running sum, which is nil where a block has just begun. Also evaluates it in
  /// the paper's two phases and keeps the largest difference.
  private mutating func addBlocks(_ w: [Double], _ done: [[Double]], _ partial: [Double]?) {
    let all = done + (partial.map { [$0] } ?? [])
    let scores = all.map { Self.dot(w, Self.normalised($0)) }
    let weights = Elementary.softmax(scores)
    var row = [Double](repeating: 0, count: blocks)
    for index in done.indices { row[index] = weights[index] }
    if partial != nil { row[blocks - 1] = weights[done.count] }
    blockAlpha.append(row)
    // Phase 1 over finished blocks, phase 2 with the running sum.
    let m = scores[..<done.count].max() ?? 0
    let first = scores[..<done.count].map { exponential($0 - m) }
    var z = first.reduce(0, +), sum = Self.mix(first, done)
    if let partial {
      let r = scores[done.count], top = max(m, r)
      let (a, b) = (exponential(m - top), exponential(r - top))
      z = a * z + b
      for x in sum.indices { sum[x] = a * sum[x] + b * partial[x] }
    }
    let whole = Self.mix(weights, all), size = max(Self.norm(whole), 1e-300)
    let worst = zip(sum, whole).map { abs($0 / z - $1) }.max() ?? 0
    twoPhase = max(twoPhase, worst / size)
  }

  /// RMSNorm without a gain: x / √(mean x² + 1e-6), `[width]`.
  static func normalised(_ x: [Double]) -> [Double] {
    let mean = x.reduce(0) { $0 + $1 * $1 } / Double(max(x.count, 1))
    let factor = 1 / (mean + 1e-6).squareRoot()
    return x.map { $0 * factor }
  }

  /// Σ a_x b_x, in order.
  static func dot(_ a: [Double], _ b: [Double]) -> Double {
    var sum = 0.0
    for x in a.indices { sum += a[x] * b[x] }
    return sum
  }

  /// ‖a‖₂.
  static func norm(_ a: [Double]) -> Double { dot(a, a).squareRoot() }

  /// Cosine of two vectors; 0 when one is zero.
  static func cosine(_ a: [Double], _ b: [Double]) -> Double {
    let size = norm(a) * norm(b)
    return size > 0 ? dot(a, b) / size : 0
  }

  /// Σ weight · row over `[count]` weights and `[count][width]` rows.
  static func mix(_ weights: [Double], _ rows: [[Double]]) -> [Double] {
    var out = [Double](repeating: 0, count: rows[0].count)
    for (weight, row) in zip(weights, rows) { for x in out.indices { out[x] += weight * row[x] } }
    return out
  }
}

/// Sums over tokens, divided by their number when they become findings.
private struct DepthSums {
  /// Sublayers that read, and the output where it is asked for.
  let consumers: Int
  /// The embedding and the sublayers that wrote.
  let sources: Int
  /// Columns of the block form.
  let blocks: Int
  /// `[consumers * sources]`
  var depth: [Double]
  /// `[consumers * blocks]`
  var blockDepth: [Double]
  /// `[consumers]`, norms of the plain sums.
  var standard: [Double]
  /// `[consumers]`, norms of the mixtures.
  var attention: [Double]
  /// Sums over consumers and tokens; entropy in nats, the others shares.
  var entropy = 0.0, effective = 0.0, embedding = 0.0, previous = 0.0, partial = 0.0
  /// A sum as well, and the largest error of any token.
  var cosine = 0.0, twoPhase = 0.0

  /// Nothing summed yet.
  init(consumers: Int, sources: Int, blocks: Int) {
    (self.consumers, self.sources, self.blocks) = (consumers, sources, blocks)
    depth = [Double](repeating: 0, count: consumers * sources)
    blockDepth = [Double](repeating: 0, count: consumers * blocks)
    standard = [Double](repeating: 0, count: consumers)
    attention = standard
  }

  /// One more token; the two-phase error keeps its largest value.
  mutating func add(_ stack: DepthStack) {
    for l in 0..<consumers {
      for i in 0..<sources { depth[l * sources + i] += stack.alpha[l][i] }
      for b in 0..<blocks { blockDepth[l * blocks + b] += stack.blockAlpha[l][b] }
      standard[l] += stack.standard[l]
      attention[l] += stack.attention[l]
      let h = stack.alpha[l].reduce(0) { $1 > 0 ? $0 - $1 * logarithm($1) : $0 }
      entropy += h
      effective += exponential(h)
      embedding += stack.alpha[l][0]
      previous += stack.alpha[l][l]
      partial += stack.blockAlpha[l][blocks - 1]
      cosine += stack.cosines[l]
    }
    twoPhase = max(twoPhase, stack.twoPhase)
  }
}
