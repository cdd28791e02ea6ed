import Algebra
public import Analysis
public import Attention
import Tensors

/// Hedgehog: features of queries and keys under which linear attention copies the softmax map.
///
///     φ(x) = [softmax(H x), softmax(-H x)]  of R^2d,   W = (M ⊙ φ(Q) φ(K)ᵀ) / row sum
///
/// The softmax runs over coordinates; H is trained, one for queries and one for keys. Here H is the
/// identity, where training begins (U0): nothing is divided by √d, and `s` scales what goes in.
/// Features are at least 1e-12. `features=exp` takes exp(H x - max) in place of softmax, as the
/// released code can. Paper: "The Hedgehog & the Porcupine", ICLR 2024, arXiv 2402.04347; features
/// as in the code of LoLCATs. What distillation on this head would reach is `hedgehog-fit`.
///
/// Findings: those of every map; fields `dense` (softmax); numbers `kl_softmax` (mean over rows of
/// KL(A‖W), nats), `rank_correlation` (Spearman's, of W_ij with q_i · k_j inside each row that sees
/// three keys, mean), `entropy_gap` (mean entropy of W less that of A); the curves
/// `weight_by_score` and `dense_by_score` (mean weight by score, whether it rises), and what a
/// token costs (`CostFacts`, 2 d features).
///
/// Throws `Missing(.queryKey)` for stored maps. Cost n² d; all rows up to 512 tokens for the
/// numbers, 128 above.
public struct Hedgehog: MapMethod {
  /// What a feature is made of.
  enum Features: String, Sendable, CaseIterable { case softmax, exp }
  /// What H is.
  enum Weights: String, Sendable, CaseIterable { case identity }

  /// s; what `[` and `]` move.
  static let scale = Knob(
    "s", "queries and keys are scaled by this first", 0...64, standard: 1.0, step: .multiply(1.25),
    isMain: true, aliases: ["scale"])
  static let features = Knob(
    "features", "softmax over coordinates, or exp less the largest", standard: Features.softmax,
    aliases: ["phi"])
  static let weights = Knob(
    "h", "the map before the features; hedgehog-fit learns one", standard: Weights.identity,
    aliases: ["H"])

  /// Heads are ranked by how far their map is from softmax.
  public static let card = MethodCard(
    id: "hedgehog", title: "Hedgehog", family: "kernel",
    idea: "Linear attention with features that are themselves softmaxes, to copy the softmax map.",
    source: "Zhang et al., The Hedgehog & the Porcupine, ICLR 2024, arXiv 2402.04347",
    needs: [.queryKey], knobs: [scale.facts, features.facts, weights.facts],
    fidelity: .surrogate(.U0, "H is the identity, where training begins"), wholeMap: 2048,
    mainField: "map", mainNumber: "kl_softmax")

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// W of a head, `[queries, keys]`, a row at a time. Throws `Missing(.queryKey)`,
  /// `CancellationError`.
  public func map(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> any RowField {
    let inputs = try HedgehogInputs(head, scale: knobs[Self.scale])
    let map = try HedgehogMap(
      inputs, query: inputs.query, key: inputs.key, kind: knobs[Self.features], run)
    KernelRows.addDense(inputs.rows, to: &aside.findings)
    aside.findings.note("U0: \(Self.card.fidelity.sentence)")
    if run.wantsNumbers {
      try HedgehogFacts(map, run).add(to: &aside.findings)
      CostFacts(head, features: 2 * inputs.rows.dim).add(to: &aside.findings)
    }
    return KernelRows.field(head) { map.weights($0) }
  }
}

/// Queries and keys of a head as features are made of them.
struct HedgehogInputs: Sendable {
  /// Scores and dense weights.
  let rows: DoubleRows
  /// s Q `[queries][d]` and s K `[keys][d]`.
  let query: Matrix, key: Matrix

  /// Throws `Missing(.queryKey)` for stored maps.
  init(_ head: Head, scale: Double) throws {
    guard head.queryAndKey != nil else { throw Missing(.queryKey) }
    rows = DoubleRows(head)
    query = KernelRows.matrix(rows.query, dim: rows.dim, times: scale)
    key = KernelRows.matrix(rows.key, dim: rows.dim, times: scale)
  }
}

/// Rows of W from features.
struct HedgehogMap: Sendable {
  /// The least that a feature is, and the least sum of a row.
  static let least = 1e-12

  /// Scores and dense weights of the same head.
  let rows: DoubleRows
  /// φ(Q) `[queries][2d]` and φ(K) `[keys][2d]`.
  let query: Matrix, key: Matrix

  /// Of H x for every query `[queries][d]` and key `[keys][d]`, on all threads. Throws
  /// `CancellationError`.
  init(
    _ inputs: HedgehogInputs, query: Matrix, key: Matrix, kind: Hedgehog.Features, _ run: MethodRun
  ) throws {
    func features(_ u: Matrix) throws -> Matrix {
      try KernelRows.rowwise(u, columns: 2 * u.columns, run) { Self.features($0, kind) }
    }
    rows = inputs.rows
    (self.query, self.key) = (try features(query), try features(key))
  }

  /// `[softmax(u), softmax(-u)]` of every row u: `[rows][2d]`.
  static func features(_ u: Matrix, _ kind: Hedgehog.Features = .softmax) -> Matrix {
    let d = u.columns
    var out = Matrix(rows: u.rows, columns: 2 * d)
    for row in 0..<u.rows {
      for (sign, start) in [(1.0, 2 * row * d), (-1.0, (2 * row + 1) * d)] {
        var top = -Double.infinity, sum = 0.0
        for x in 0..<d { top = max(top, sign * u.elements[row * d + x]) }
        for x in 0..<d {
          let value = exponential(sign * u.elements[row * d + x] - top)
          out.elements[start + x] = value
          sum += value
        }
        let factor = kind == .softmax ? 1 / sum : 1
        for x in start..<start + d { out.elements[x] = max(out.elements[x] * factor, least) }
      }
    }
    return out
  }

  /// W of a query, `[keys]`, zeros where it does not see.
  func weights(_ row: Int) -> [Double] {
    var values = key.multiplied(by: query.row(row))
    let limit = rows.head.visibility.limit(row: row)
    var sum = 0.0
    for x in 0..<limit { sum += values[x] }
    let factor = 1 / max(sum, Self.least)
    for x in values.indices { values[x] = x < limit ? values[x] * factor : 0 }
    return values
  }
}

/// How near a map of features is to softmax.
struct HedgehogFacts: Sendable {
  /// Of the scores, equal in width, for mean weights by score.
  private static let bins = 32
  /// Over the rows that were taken.
  private let sum: HedgehogSum
  /// Least and largest score among them, in logits.
  private let range: ClosedRange<Double>
  /// How many rows were taken.
  private let rows: Int

  /// Sums over all rows up to 512 tokens, else over 128. Throws `CancellationError`. Memory: the
  /// scores of these rows.
  init(_ map: HedgehogMap, _ run: MethodRun) throws {
    let head = map.rows.head, chosen = KernelRows.chosen(head, whole: 512, 128)
    let logits = try RowPicks.spread(chosen.count, by: 16, run) { part in
      part.map { map.rows.logits(chosen[$0]) }
    }
    var ends = (least: Double.infinity, most: -Double.infinity)
    for score in logits.joined() where score.isFinite {
      ends = (min(ends.least, score), max(ends.most, score))
    }
    let range = ends.least <= ends.most ? ends.least...ends.most : 0...0
    let parts = try RowPicks.spread(chosen.count, by: 16, run) { part in
      [
        part.reduce(into: HedgehogSum(bins: Self.bins)) {
          $0.add(chosen[$1], logits[$1], map, range)
        }
      ]
    }
    sum = parts.reduce(into: HedgehogSum(bins: Self.bins)) { $0.add($1) }
    (self.range, rows) = (range, chosen.count)
  }

  /// Mean of KL(A‖W) over rows, in nats; nil where no row sees anything.
  var divergence: Double? { KernelRows.mean(sum.divergence, sum.rows) }

  /// Numbers and curves.
  func add(to findings: inout Findings) {
    findings.number("kl_softmax", divergence, .nats, title: "KL of softmax from the map, mean")
    findings.number(
      "rank_correlation", KernelRows.mean(sum.correlation, sum.ranked),
      title: "rank correlation of weight and q·k, mean")
    findings.number(
      "entropy_gap", KernelRows.mean(sum.entropy - sum.denseEntropy, sum.rows), .nats,
      title: "entropy less that of softmax, mean")
    for (name, values, title) in [
      ("weight_by_score", sum.weights, "mean weight by score"),
      ("dense_by_score", sum.denseWeights, "mean weight of softmax by score"),
    ] {
      let width = (range.upperBound - range.lowerBound) / Double(Self.bins)
      let points = values.indices.filter { sum.counts[$0] > 0 }.map { bin in
        Curve.Point(
          range.lowerBound + (Double(bin) + 0.5) * width, values[bin] / Double(sum.counts[bin]))
      }
      findings.curve(name, Curve(x: "score", y: "weight", points: points), title: title)
    }
    if rows < sum.queries { findings.note("closeness to softmax from \(rows) rows") }
  }
}

/// Sums over some rows.
private struct HedgehogSum: Sendable {
  /// Rows that see something, those of them with a correlation, and all rows of the head.
  var rows = 0, ranked = 0, queries = 0
  /// Sums over rows, in nats but for the correlation.
  var divergence = 0.0, correlation = 0.0, entropy = 0.0, denseEntropy = 0.0
  /// `[bins]`, entries by their score, and sums of both weights over them.
  var counts: [Int], weights: [Double], denseWeights: [Double]

  /// Nothing yet.
  init(bins: Int) {
    counts = [Int](repeating: 0, count: bins)
    weights = [Double](repeating: 0, count: bins)
    denseWeights = weights
  }

  /// One row of a map, of these scores `[keys]`. Rows that hold a NaN say nothing.
  mutating func add(
    _ row: Int, _ logits: [Double], _ map: HedgehogMap, _ range: ClosedRange<Double>
  ) {
    let head = map.rows.head, limit = head.visibility.limit(row: row)
    queries = head.queries
    guard limit > 0 else { return }
    let w = map.weights(row), dense = Elementary.softmax(logits, limit: limit)
    // A NaN anywhere in a row is one in its sums.
    guard (dense.reduce(0, +) + w.reduce(0, +)).isFinite else { return }
    let width = range.upperBound - range.lowerBound
    rows += 1
    for key in 0..<limit {
      if dense[key] > 0 {
        denseEntropy -= dense[key] * logarithm(dense[key])
        divergence += dense[key] * (logarithm(dense[key]) - logarithm(w[key]))
      }
      if w[key] > 0 { entropy -= w[key] * logarithm(w[key]) }
      guard logits[key].isFinite else { continue }
      let place = width > 0 ? (logits[key] - range.lowerBound) / width : 0
      let bin = min(counts.count - 1, max(0, Int(place * Double(counts.count))))
      counts[bin] += 1
      weights[bin] += w[key]
      denseWeights[bin] += dense[key]
    }
    guard limit >= 3,
      let rho = Correlation.ofRanks(Self.ties(w[..<limit]), Self.ties(logits[..<limit]))
    else { return }
    ranked += 1
    correlation += rho
  }

  /// Whole multiples of 1e-10 of the largest, so that what differs by rounding alone is a tie.
  private static func ties(_ values: ArraySlice<Double>) -> [Double] {
    let top = values.reduce(0) { max($0, $1.magnitude) }
    return values.map { top > 0 ? ($0 / top * 1e10).rounded() : 0 }
  }

  /// Rows that come after.
  mutating func add(_ other: HedgehogSum) {
    rows += other.rows
    ranked += other.ranked
    queries = max(queries, other.queries)
    divergence += other.divergence
    correlation += other.correlation
    entropy += other.entropy
    denseEntropy += other.denseEntropy
    for bin in counts.indices {
      counts[bin] += other.counts[bin]
      weights[bin] += other.weights[bin]
      denseWeights[bin] += other.denseWeights[bin]
    }
  }
}
