import Algebra
public import Analysis
public import Attention
import Tensors

/// STILL: tokens that look hard at themselves stay exact, the others go into a linear state.
///
/// p = the weight of token t on itself, in a softmax over the last `window` = W keys. Saliency of
/// the paper: (1 - p) ln(1 - p) + p ln(p / e), e = 1e-8; of the released code: ln((W + 1) / W)
/// + (1 - p) ln(1 - p) + p ln(W p), which falls below p = 1 / (W + 1) and rises above. In every
/// chunk the `ratio` most salient tokens (at least one) are salient. A query of chunk c sees chunks
/// c and c - 1 whole, and of earlier ones the salient tokens; the others enter a linear state two
/// chunks late. Drawn is the exact part alone: the linear branch needs its trained feature map, and
/// the dropped mass is what it would have to absorb. Paper: arXiv 2602.02180, 2026 (card S23).
///
/// Findings: those of every mask, the series `saliency` along keys, `salient_share` and
/// `consistency` (Spearman correlation of the saliency with
/// the mean weight that later chunks give). Needs Q and K. Cost n W d, and the pattern for
/// `consistency`.
public struct STILL: ReplayedMask {
  enum Variant: String, Sendable, CaseIterable { case code, paper }

  static let window = Knob(
    "window", "keys of the softmax that a token's own weight is taken in", 1...1 << 16,
    standard: 64,
    step: .multiply(2), aliases: ["W"])
  static let chunk = Knob(
    "chunk", "tokens of a chunk", 1...1 << 16, standard: 64, step: .multiply(2))
  static let ratio = Knob(
    "ratio", "share of a chunk's tokens that are salient", 0...1, standard: 0.0625,
    step: .multiply(2), isMain: true)
  static let variant = Knob(
    "variant", "the saliency of the released code, or of the paper", standard: Variant.code)

  public static let card = MethodCard(
    id: "still", title: "STILL", family: "hybrid",
    idea: "Tokens that look hard at themselves stay exact; a linear state has the rest.",
    source: "STILL, 2026, arXiv 2602.02180", needs: [.queryKey],
    knobs: [ratio.facts, window.facts, chunk.facts, variant.facts, Budget.knob.facts],
    fidelity: .proxy("routing exact; the linear branch, which needs weights, is left out"),
    mainField: "kept", mainNumber: "dropped_mean", denseKnobs: ["ratio": .number(1)],
    growth: Growth("64 n") { 64 * $0 })

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for knobs that are unknown or out of range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// What is kept of a head. Throws `Missing`, `CancellationError`.
  public func keep(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> KeptSet {
    guard let (query, key) = head.queryAndKey else { throw Missing(.queryKey) }
    let budget = Budget(knobs, of: ["window", "chunk"], keys: head.keys, reference: 1024)
    let size = budget.block(knobs[Self.chunk]), window = budget.block(knobs[Self.window])
    budget.note(["chunk": size, "window": window], &aside)
    let saliency = try Self.saliency(
      head, query.floats(), key.floats(), window: window, knobs[Self.variant], run)
    let salient = chosen(saliency, size)
    if saliency.contains(where: \.isNaN) {
      aside.findings.note("keys without a query here have no saliency, and none of them is salient")
    }
    aside.selection = saliency.indices.reduce(0) { $0 + min($1 + 1, window) }
    aside.findings.series(
      "saliency", Axis(.key, head.keys), saliency.map(Float.init), .nats, title: "self-saliency")
    aside.findings.number(
      "salient_share", Double(salient.reduce(0) { $0 + $1.count }) / Double(max(head.keys, 1)),
      .share, title: "salient tokens")
    let set = Self.set(head, salient, size)
    if run.wantsNumbers { try report(head, saliency, size, run, &aside) }
    return set
  }

  /// What each token said of itself is remembered; chunks are as long as the prompt makes them.
  public func memory(prompt: Int) -> (any RowMemory)? {
    let budget = Budget(knobs, of: ["window", "chunk"], keys: prompt, reference: 1024)
    return Tokens(
      method: self, size: budget.block(knobs[Self.chunk]),
      window: budget.block(knobs[Self.window]))
  }

  /// Saliencies of the tokens so far.
  private struct Tokens: RowMemory {
    let method: STILL
    let size: Int
    let window: Int
    var saliency: [Double] = []

    mutating func take(_ head: Head, _ run: MethodRun) throws -> KeptSet {
      guard let (query, key) = head.queryAndKey else { throw Missing(.queryKey) }
      // Of the rows that are there; those before have said theirs.
      let new = try STILL.saliency(
        head, query.floats(), key.floats(), window: window, method.knobs[STILL.variant], run)
      saliency += new[min(saliency.count, new.count)...]
      return STILL.set(head, method.chosen(saliency, size), size)
    }
  }

  /// Salient tokens everywhere, and the chunks at a query and before it.
  private static func set(_ head: Head, _ salient: [[Int]], _ size: Int) -> KeptSet {
    let rows = (0..<head.queries).map { row -> [Range<Int>] in
      let at = min(max(head.visibility.position(row: row), 0), head.keys - 1) / size
      let near = max(0, (at - 1) * size)..<min(head.keys, (at + 2) * size)
      return [near]
    }
    var set = KeptSet(queries: head.queries, keys: head.keys, visibility: head.visibility)
    for key in salient.joined() { set.columns[key] = 1 }
    set.keep(KeyRanges(rows))
    return set
  }

  /// Salient tokens of each chunk, ascending.
  private func chosen(_ saliency: [Double], _ size: Int) -> [[Int]] {
    let count = max(1, Int((Double(size) * knobs[Self.ratio] + 0.5).rounded(.down)))
    return stride(from: 0, to: saliency.count, by: size).map { start in
      let chunk = Array(saliency[start..<min(start + size, saliency.count)])
      let ranked = Shapes.top(count, of: chunk.map { $0.isNaN ? -.infinity : $0 })
      let known = count >= chunk.count ? ranked : ranked.filter { !chunk[$0].isNaN }
      return known.map { start + $0 }.sorted()
    }
  }

  /// Saliency of each key, `[keys]`; NaN for those that have no query here. Throws
  /// `CancellationError`.
  static func saliency(
    _ head: Head, _ query: [Float], _ key: [Float], window: Int, _ variant: Variant,
    _ run: MethodRun
  ) throws -> [Double] {
    let dim = head.dim, offset = head.visibility.offset
    return try RowPicks.spread(head.keys, by: 64, run) { keys in
      keys.map { t -> Double in
        let row = t - offset
        guard row >= 0, row < head.queries else { return .nan }
        let scores = (max(0, t - window + 1)...t).map { j in
          (0..<dim).reduce(0.0) {
            $0 + Double(query[row * dim + $1]) * Double(key[j * dim + $1])
          } * head.scale
        }
        return saliency(
          of: Elementary.softmax(scores).last ?? 1, window: window, isPaper: variant == .paper)
      }
    }
  }

  /// Saliency in nats of a token whose own weight is `p`, for a window of so many keys.
  public static func saliency(of p: Double, window: Int, isPaper: Bool) -> Double {
    let rest = p < 1 ? (1 - p) * logarithm(1 - p) : 0
    guard !isPaper else { return rest + (p > 0 ? p * logarithm(p / 1e-8) : 0) }
    let w = Double(window)
    return logarithm((w + 1) / w) + rest + (p > 0 ? p * logarithm(w * p) : 0)
  }

  /// Whether saliency foretells what later chunks look at; of long heads from a sample of rows.
  private func report(
    _ head: Head, _ saliency: [Double], _ size: Int, _ run: MethodRun, _ aside: inout Aside
  ) throws {
    let pattern = run.pattern(head), visibility = head.visibility
    var sums = [Double](repeating: 0, count: head.keys), seen = sums
    let step = run.sampling(head, tiles: head.queries, rows: 1)
    for row in stride(from: 0, to: head.queries, by: step) {
      try run.checkCancellation()
      pattern.withRows(row..<row + 1) { row, p, lse in
        guard lse != -.infinity else { return }
        let chunk = max(0, visibility.position(row: row)) / size
        for key in 0..<min(max(0, (chunk - 1) * size), visibility.limit(row: row)) {
          sums[key] += Double(p[key])
          seen[key] += 1
        }
      }
    }
    let later =
      visibility.causal ? saliency.indices.filter { seen[$0] > 0 && !saliency[$0].isNaN } : []
    aside.findings.number(
      "consistency",
      Correlation.ofRanks(later.map { saliency[$0] }, later.map { sums[$0] / seen[$0] }), .none,
      title: "rank correlation with later rows")
  }
}
