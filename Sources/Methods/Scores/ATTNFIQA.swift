import Analysis
public import Attention
import Tensors

/// ATTN-FIQA: the mean pre-softmax logit of a layer as a quality of its input.
///
/// Quality is the mean over heads, queries and keys of q·k/√d, which equals (mean q)·(mean k)/√d per head: linear in n.
/// Spatial: with head-mean logits S̄, a token is given m_j = mean_i S̄_ij (received) and m'_j = mean_j S̄_ij (given). Every pair
/// counts, also those a causal query does not see. Calibrated only with a face backbone; elsewhere a proxy. Paper:
/// "ATTN-FIQA", 2026, arXiv 2604.22841 (card S18).
public struct ATTNFIQA: AttentionMethod {
  public static let card = MethodCard(
    id: "attn-fiqa", title: "ATTN-FIQA", family: "scores",
    idea: "The average attention logit before softmax, as a quality of the input.",
    source: "ATTN-FIQA, 2026, arXiv 2604.22841", scope: .layer, needs: [.queryKey, .logits],
    fidelity: .proxy("a logit-level quality proxy: calibrated only with a face backbone"),
    wholeMap: .max, mainNumber: "score")

  public init(knobs: Knobs) throws(KnobError) { _ = try CheckedKnobs(knobs, for: Self.card) }

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

  /// The received logits on the image, where the tokens are its patches.
  private func addGrid(_ values: [Float], _ grid: TokenFacts.Grid?, _ findings: inout Findings) {
    guard let grid else { return }
    let patches = grid.rows * grid.columns
    guard patches <= values.count else {
      findings.note("the grid \(grid.rows)x\(grid.columns) has more patches than tokens")
      return
    }
    // Class and register tokens stand before the patches.
    findings.field(
      "patches",
      WholeField(
        rows: Axis(.row, grid.rows), columns: Axis(.column, grid.columns),
        values: Array(values.suffix(patches))), .signed, title: "received, on the image")
  }
}

/// Sums of the logits of one head, without the map.
struct LogitMeans: Sendable {
  let mean: Double
  let deviation: Double
  let least: Double
  let most: Double
  /// Mean logit that each key receives, `[keys]`, and that each query gives, `[queries]`.
  let received: [Double]
  let given: [Double]
  let sampledRows: Int?

  /// From Q and K, or from stored scores. Throws `Missing` for patterns: a constant added to all logits is lost in them.
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
    let queryMean = FlexSearch.means(query, max(query.shape[0], 1))[0]
    let keyMean = FlexSearch.means(key, max(key.shape[0], 1))[0]
    mean = FlexSearch.dot(queryMean, keyMean) * head.scale
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

  private static func average(_ values: [Double]) -> Double {
    let known = values.filter(\.isFinite)
    return known.isEmpty ? .nan : known.reduce(0, +) / Double(known.count)
  }
}
