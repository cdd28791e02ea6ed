import Analysis
public import Attention
import Tensors

/// ATTN-FIQA: the mean pre-softmax logit of a layer as a quality of its input.
///
///     quality = mean over heads h, queries i, keys j of q_i · k_j / √d
///             = mean over heads of (mean q) · (mean k) / √d               linear in n
///     received_j = mean over h, i of S_ij,   given_i = mean over h, j of S_ij
///
/// Softmax would hide this number: a constant added to all logits leaves every weight as it is.
/// Paper: "ATTN-FIQA", 2026, arXiv 2604.22841.
///
/// The formula is exact. How the paper reduces logits to an image is not known; both sums are
/// shown. Every pair counts, also those a causal query does not see, for Q and K; of stored scores
/// only what is finite counts. Calibrated only with a face backbone; elsewhere a proxy, and said to
/// be one.
///
/// Findings: `score`, `score_sd`, `logit_min`, `logit_max` of the head looked at; `quality` of the
/// layer; series `score_by_head` `[heads]`, `received` `[keys]`, `given` `[queries]`, all in
/// logits; with an image grid the field `patches` `[rows, columns]`, the last tokens of `received`.
/// Notes say what was sampled.
///
/// Needs all heads of a layer, as Q and K or as scores before softmax; throws `Missing(.logits)`
/// for stored patterns. Cost: n d a head for means, and up to 2^22 products a head for deviation
/// and extremes.
public struct ATTNFIQA: AttentionMethod {
  /// The scope is a layer; its last one is the paper's. Heads are ranked by their own mean logit.
  public static let card = MethodCard(
    id: "attn-fiqa", title: "ATTN-FIQA", family: "scores",
    idea: "The average attention logit before softmax, as a quality of the input.",
    source: "ATTN-FIQA, 2026, arXiv 2604.22841", scope: .layer, needs: [.queryKey, .logits],
    fidelity: .proxy("a logit-level quality proxy: calibrated only with a face backbone"),
    wholeMap: .max, mainNumber: "score")

  /// Throws `KnobError` for any knob: there are none.
  public init(knobs: Knobs) throws(KnobError) { _ = try CheckedKnobs(knobs, for: Self.card) }

  /// The numbers of the head looked at, and of its layer. Throws `Missing`, `CancellationError`.
  public func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    let parts = try subject.layer.map { try LogitMeans($0, run) }
    let mine = parts[subject.focus.head]
    var findings = Findings()
    findings.number("score", mine.mean, .logits, title: "mean logit of this head")
    findings.number("score_sd", mine.deviation, .logits, title: "its standard deviation")
    findings.number("logit_min", mine.least, .logits, title: "least logit")
    findings.number("logit_max", mine.most, .logits, title: "largest logit")
    findings.number(
      "quality", parts.reduce(0) { $0 + $1.mean } / Double(parts.count), .logits,
      title: "quality: mean over the layer's heads")
    findings.series(
      "score_by_head", Axis(.head, parts.count), parts.map { Float($0.mean) }, .logits,
      title: "mean logit by head")
    func average(_ path: KeyPath<LogitMeans, [Double]>) -> [Float] {
      var sums = [Double](repeating: 0, count: parts[0][keyPath: path].count)
      for part in parts { for (j, x) in part[keyPath: path].enumerated() { sums[j] += x } }
      return sums.map { Float($0 / Double(parts.count)) }
    }
    let received = average(\.received), given = average(\.given)
    findings.series(
      "received", Axis(.key, received.count), received, .logits, title: "received by token")
    findings.series("given", Axis(.query, given.count), given, .logits, title: "given by token")
    addGrid(received, subject.tokens.grid, &findings)
    if subject.head.visibility.causal {
      findings.note("every pair of query and key counts, also those a causal query does not see")
    }
    if let rows = mine.sampledRows {
      findings.note("least, largest and deviation from \(rows) rows")
    }
    findings.note(Self.card.fidelity.sentence)
    return findings
  }

  /// The received logits on the image, where the tokens are its patches; `values` is `[tokens]`. A
  /// grid that does not lie within them becomes a note.
  private func addGrid(_ values: [Float], _ grid: TokenFacts.Grid?, _ findings: inout Findings) {
    guard let grid else { return }
    guard let patches = grid.tokens(of: values.count) else {
      findings.note("the grid \(grid) does not lie within the \(values.count) tokens")
      return
    }
    findings.field(
      "patches",
      WholeField(
        rows: Axis(.row, grid.rows), columns: Axis(.column, grid.columns),
        values: Array(values[patches])), .signed, title: "received, on the image")
  }
}

/// Sums of the logits of one head, without the map: means are exact, deviation and extremes come
/// from at most about 2^22 pairs.
struct LogitMeans: Sendable {
  /// Mean of all logits.
  let mean: Double
  /// Standard deviation of the logits looked at, around `mean`.
  let deviation: Double
  /// The smallest of them.
  let least: Double
  /// The largest of them.
  let most: Double
  /// `[keys]`, the mean logit that each key receives.
  let received: [Double]
  /// `[queries]`, the mean logit that each query gives.
  let given: [Double]
  /// Query rows that deviation and extremes come from; nil for all.
  let sampledRows: Int?

  /// From Q and K, or from stored scores. Throws `Missing(.logits)` for patterns, as a constant
  /// added to all logits is lost in them, and `CancellationError`.
  init(_ head: Head, _ run: MethodRun) throws {
    if case .scores(let map) = head.source {
      let rows = (0..<map.shape[0]).map { map[$0].floats().map(Double.init) }
      let all = rows.joined().filter(\.isFinite)
      guard !all.isEmpty else { throw Missing(.logits) }
      let mean = all.reduce(0, +) / Double(all.count)
      self.mean = mean
      deviation = (all.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(all.count))
        .squareRoot()
      (least, most) = (all.min() ?? 0, all.max() ?? 0)
      given = rows.map { Self.average($0) }
      received = (0..<map.shape[1]).map { j in Self.average(rows.map { $0[j] }) }
      sampledRows = nil
      return
    }
    guard let (query, key) = head.queryAndKey else {
      throw Missing(.logits, hint: "the mean logit cannot be told from a stored pattern")
    }
    let dim = query.shape[1], q = query.floats(), k = key.floats()
    let queryMean = Pooled.means(query, max(query.shape[0], 1))[0]
    let keyMean = Pooled.means(key, max(key.shape[0], 1))[0]
    mean = Pooled.dot(queryMean, keyMean) * head.scale
    func against(_ rows: [Float], _ other: [Double]) -> [Double] {
      (0..<rows.count / dim).map { row in
        var sum = 0.0
        for x in 0..<dim { sum += Double(rows[row * dim + x]) * other[x] }
        return sum * head.scale
      }
    }
    (received, given) = (against(k, queryMean), against(q, keyMean))
    let chosen = MapPass.sample(0..<head.queries, max(1, (1 << 22) / max(head.keys, 1)))
    sampledRows = chosen.count < head.queries ? chosen.count : nil
    var squares = 0.0, low = Double.infinity, high = -Double.infinity, count = 0
    for row in chosen {
      try run.checkCancellation()
      for j in 0..<head.keys {
        var s = 0.0
        for x in 0..<dim { s += Double(q[row * dim + x]) * Double(k[j * dim + x]) }
        s *= head.scale
        (low, high) = (min(low, s), max(high, s))
        squares += (s - mean) * (s - mean)
        count += 1
      }
    }
    (least, most, deviation) = (low, high, (squares / Double(max(count, 1))).squareRoot())
  }

  /// Mean of what is finite; NaN when nothing is.
  private static func average(_ values: [Double]) -> Double {
    let known = values.filter(\.isFinite)
    return known.isEmpty ? .nan : known.reduce(0, +) / Double(known.count)
  }
}
