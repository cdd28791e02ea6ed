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
/// `linear_mass` is what it would have to absorb. Paper: arXiv 2602.02180, 2026 (card S23).
///
/// Findings: those of every mask, the series `saliency` along keys, `salient_share`,
/// `linear_mass`, `linear_mass_max` and `consistency` (Spearman correlation of the saliency with
/// the mean weight that later chunks give). Needs Q and K. Cost n W d, and the pattern for
/// `consistency`.
public struct STILL: MaskMethod {
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
    mainField: "kept", mainNumber: "linear_mass", denseKnobs: ["ratio": .number(1)])

  private let knobs: CheckedKnobs

  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  public func keep(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> KeptSet {
    guard let (query, key) = head.queryAndKey else { throw Missing(.queryKey) }
    let budget = Budget(knobs, of: ["window", "chunk"], keys: head.keys, reference: 1024)
    let size = budget.block(knobs[Self.chunk]), window = budget.block(knobs[Self.window])
    budget.note(["chunk": size, "window": window], &aside)
    let saliency = try Self.saliency(
      head, query.floats(), key.floats(), window: window, knobs[Self.variant], run)
    let salient = chosen(saliency, size)
    aside.selection = saliency.indices.reduce(0) { $0 + min($1 + 1, window) }
    aside.findings.series(
      "saliency", Axis(.key, head.keys), saliency.map(Float.init), .nats, title: "self-saliency")
    aside.findings.number(
      "salient_share", Double(salient.reduce(0) { $0 + $1.count }) / Double(max(head.keys, 1)),
      .share, title: "salient tokens")
    let rows = (0..<head.queries).map { row -> [Range<Int>] in
      let at = min(max(head.visibility.position(row: row), 0), head.keys - 1) / size
      let near = max(0, (at - 1) * size)..<min(head.keys, (at + 2) * size)
      let far = salient.enumerated().filter { abs($0.offset - at) > 1 }.flatMap(\.element)
      return TopPicks.runs(far.filter { !near.contains($0) }) + [near]
    }
    var set = KeptSet(queries: head.queries, keys: head.keys, visibility: head.visibility)
    set.keep(KeyRanges(rows))
    if run.wantsNumbers { try report(head, set, saliency, size, run, &aside) }
    return set
  }

  /// Salient tokens of each chunk, ascending.
  private func chosen(_ saliency: [Double], _ size: Int) -> [[Int]] {
    let count = max(1, Int((Double(size) * knobs[Self.ratio] + 0.5).rounded(.down)))
    return stride(from: 0, to: saliency.count, by: size).map { start in
      let chunk = Array(saliency[start..<min(start + size, saliency.count)])
      return Shapes.top(count, of: chunk).map { start + $0 }.sorted()
    }
  }

  /// Saliency of each key that has a query, `[keys]`; keys before the first query are as salient as
  /// nothing. Throws `CancellationError`.
  static func saliency(
    _ head: Head, _ query: [Float], _ key: [Float], window: Int, _ variant: Variant,
    _ run: MethodRun
  ) throws -> [Double] {
    let dim = head.dim, offset = head.visibility.offset
    return try RowPicks.spread(head.keys, by: 64, run) { keys in
      keys.map { t -> Double in
        let row = t - offset
        guard row >= 0, row < head.queries else { return -.infinity }
        let scores = (max(0, t - window + 1)...t).map { j in
          (0..<dim).reduce(0.0) {
            $0 + Double(query[row * dim + $1]) * Double(key[j * dim + $1])
          } * head.scale
        }
        return saliency(
          of: FlexSearch.softmax(scores).last ?? 1, window: window, isPaper: variant == .paper)
      }
    }.map { $0 == -.infinity ? 0 : $0 }
  }

  /// Saliency in nats of a token whose own weight is `p`, for a window of so many keys.
  public static func saliency(of p: Double, window: Int, isPaper: Bool) -> Double {
    let rest = p < 1 ? (1 - p) * logarithm(1 - p) : 0
    guard !isPaper else { return rest + (p > 0 ? p * logarithm(p / 1e-8) : 0) }
    let w = Double(window)
    return logarithm((w + 1) / w) + rest + (p > 0 ? p * logarithm(w * p) : 0)
  }

  /// What the linear branch would have to absorb, and whether saliency foretells what later chunks
  /// look at.
  private func report(
    _ head: Head, _ set: KeptSet, _ saliency: [Double], _ size: Int, _ run: MethodRun,
    _ aside: inout Aside
  ) throws {
    let pattern = run.pattern(head), visibility = head.visibility
    var sums = [Double](repeating: 0, count: head.keys), seen = sums, lost: [Double] = []
    for start in stride(from: 0, to: head.queries, by: 64) {
      try run.checkCancellation()
      pattern.withRows(start..<min(start + 64, head.queries)) { row, p, lse in
        guard lse != -.infinity else { return }
        lost.append(1 - min(1, set.mass(of: p, row: row, visibility).0))
        let chunk = max(0, visibility.position(row: row)) / size
        for key in 0..<min(max(0, (chunk - 1) * size), visibility.limit(row: row)) {
          sums[key] += Double(p[key])
          seen[key] += 1
        }
      }
    }
    aside.findings.number(
      "linear_mass", lost.isEmpty ? nil : lost.reduce(0, +) / Double(lost.count), .share,
      title: "mass of the linear region")
    aside.findings.number(
      "linear_mass_max", lost.max(), .share, title: "mass of the linear region, worst row")
    let later = head.visibility.causal ? saliency.indices.filter { seen[$0] > 0 } : []
    aside.findings.number(
      "consistency",
      Ranks.correlation(later.map { saliency[$0] }, later.map { sums[$0] / seen[$0] }), .none,
      title: "rank correlation with later rows")
  }
}

/// Rank correlation.
enum Ranks {
  /// Spearman's: the correlation of ranks, ties sharing their mean rank; nil below two values or
  /// where all are equal.
  static func correlation(_ a: [Double], _ b: [Double]) -> Double? {
    guard a.count > 1 else { return nil }
    return pearson(ranks(a), ranks(b))
  }

  /// Pearson's; nil below two values or where one side is constant.
  static func pearson(_ a: [Double], _ b: [Double]) -> Double? {
    guard a.count > 1 else { return nil }
    let n = Double(a.count), meanA = a.reduce(0, +) / n, meanB = b.reduce(0, +) / n
    var xy = 0.0, xx = 0.0, yy = 0.0
    for (x, y) in zip(a, b) {
      xy += (x - meanA) * (y - meanB)
      xx += (x - meanA) * (x - meanA)
      yy += (y - meanB) * (y - meanB)
    }
    return xx > 0 && yy > 0 ? xy / (xx * yy).squareRoot() : nil
  }

  private static func ranks(_ values: [Double]) -> [Double] {
    let order = values.indices.sorted { values[$0] < values[$1] }
    var ranks = [Double](repeating: 0, count: values.count), start = 0
    while start < order.count {
      var end = start
      while end + 1 < order.count, values[order[end + 1]] == values[order[start]] { end += 1 }
      for place in start...end { ranks[order[place]] = Double(start + end) / 2 }
      start = end + 1
    }
    return ranks
  }
}
