import Algebra
public import Analysis
public import Attention
import Tensors

/// Sigmoid attention: a gate for every key by itself, in place of a softmax in which keys compete.
///
///     W_ij = σ(S_ij + b)     over visible pairs,  S = Q Kᵀ / √d,  b = -ln n
///
/// There is no row maximum and no row sum: changing one key changes its own column and nothing
/// else, and rows sum to what they like. As σ(x - ln n) = eˣ / (n + eˣ), a row over its sum is
/// softmax up to a relative e^(x_max) / n an entry. Paper: Ramapuram et al., "Theory, Analysis, and
/// Best Practices for Sigmoid Self-Attention", 2024, arXiv 2409.04431.
///
/// Exact, with one b for the whole text; its causal rows begin almost empty, row i of logits 0
/// summing to i / (n + 1). Ours: `b=-ln c_i`, by how many keys a row sees. Norms of queries and
/// keys, ALiBi and LayerScale stand outside the map. The head was trained under softmax.
///
/// Findings: those of every map, where sums of rows say most; `bias` (b of the last row),
/// `saturated_high` and `saturated_low` (gates above 0.9, below 0.01), `gap_normalised` (map gap of
/// rows over their sums), `sink_mass_dense`; the series `row_sums`; the field `normalised`; the
/// curve `gates`, a histogram; the field `tiles` of which tiles have all gates below `tau`, beside
/// those that BLASST skips at `lambda`, and the shares `tiles_below`, `tiles_skipped`,
/// `tiles_common`.
///
/// Needs scores: throws `Missing(.logits)` for a stored pattern, whose rows are known up to a
/// constant only. Cost n² d, in double precision up to 2048 tokens; above, rows on demand.
public struct SigmoidAttention: MapMethod {
  /// Where b comes from, when it is not given as a number.
  enum Bias: String, Sendable, CaseIterable {
    case length = "-ln n"
    case row = "-ln c_i"
  }

  /// b, in logits; what `[` and `]` move.
  static let bias = Knob(
    "b", "added to every score; n tokens, c_i keys that a row sees", -16...16,
    standard: .rule(Bias.length), step: .add(0.5), isMain: true, aliases: ["bias"])
  /// τ, of 1.
  static let tau = Knob(
    "tau", "a tile with all gates below it could be skipped", 0...1, standard: 0.01,
    step: .multiply(10))
  /// Side of a tile, in tokens.
  static let tile = Knob(
    "tile", "queries and keys of a tile", 8...1024, standard: 64, step: .multiply(2))

  /// Ranked by how far the output is from that of softmax.
  public static let card = MethodCard(
    id: "sigmoid", title: "sigmoid attention", family: "reweighting",
    idea: "A gate for every key by itself in place of a softmax in which keys compete.",
    source:
      "Ramapuram et al., Theory and Best Practices for Sigmoid Self-Attention, 2024, "
      + "arXiv 2409.04431",
    knobs: [bias.facts, tau.facts, tile.facts, SkippedTiles.lambda.facts], wholeMap: 2048,
    mainField: "map", mainNumber: "error",
    variants: ["sigmoid-per-row": ["b": .word("-ln c_i")]])

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// W of a head, `[queries, keys]`, a row at a time. Throws `Missing(.logits)` for stored
  /// patterns, and `CancellationError`.
  public func map(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> any RowField {
    if case .pattern = head.source {
      throw Missing(.logits, hint: "a pattern after softmax tells scores up to a constant a row")
    }
    let gates = Gates(rows: DoubleRows(head), bias: knobs[Self.bias])
    aside.findings.field(
      "normalised", KernelRows.field(head) { LinearFeatures.divided(gates.row($0)) }, .weights,
      title: "rows over their sums")
    if run.wantsNumbers { try addFacts(gates, run, &aside) }
    return KernelRows.field(head) { gates.row($0) }
  }

  /// What is counted over rows: all of them up to `wholeMap` tokens, else 64.
  private func addFacts(_ gates: Gates, _ run: MethodRun, _ aside: inout Aside) throws {
    let head = gates.rows.head, isWhole = max(head.queries, head.keys) <= Self.card.wholeMap
    let chosen = KernelRows.chosen(head, whole: Self.card.wholeMap)
    let tile = knobs[Self.tile], wide = (head.keys + tile - 1) / tile
    // A part is a row of tiles.
    let parts = try RowPicks.spread(chosen.count, by: isWhole ? tile : 16, run) { part in
      var sums = SigmoidRows(tile: tile, wide: wide)
      for index in part { sums.add(gates, chosen[index]) }
      return [sums]
    }
    var sum = SigmoidRows(tile: tile, wide: wide)
    for part in parts { sum.add(part) }
    let last = head.visibility.limit(row: max(head.queries - 1, 0))
    aside.findings.number("bias", gates.bias(limit: last), .logits, title: "b of the last row")
    sum.add(to: &aside.findings)
    guard isWhole else { return }
    aside.findings.series(
      "row_sums", Axis(.query, head.queries), sum.sums.map { Float($0) },
      title: "row sum, by query")
    let mask = try SkippedTiles.mask(
      head, run, lambda: knobs[SkippedTiles.lambda], tile: tile)
    compare(parts.map(\.tops), mask, head, &aside)
  }

  /// Tiles by the largest gate of each, `[row tiles][key tiles]`, beside BLASST's.
  private func compare(_ tops: [[Double]], _ mask: BlockMask, _ head: Head, _ aside: inout Aside) {
    let tau = knobs[Self.tau]
    var labels: [Float] = [], below = 0, skipped = 0, both = 0, visible = 0
    for (row, line) in tops.enumerated() {
      for (key, top) in line.enumerated() {
        let verdict = mask[row, key]
        guard verdict != .invisible else {
          labels.append(.nan)
          continue
        }
        let isBelow = top < tau, isSkipped = verdict == .skipped
        visible += 1
        below += isBelow ? 1 : 0
        skipped += isSkipped ? 1 : 0
        both += isBelow && isSkipped ? 1 : 0
        labels.append((isBelow ? 1 : 0) + (isSkipped ? 2 : 0))
      }
    }
    aside.findings.field(
      "tiles", BlockField(labels, mask.spec, queries: head.queries, keys: head.keys),
      .labels(["neither", "gates below tau", "skipped by BLASST", "both"]),
      title: "tiles that could be skipped")
    aside.findings.number(
      "tiles_below", ZeroOverlap.share(below, visible), .share,
      title: "tiles with all gates below tau")
    aside.findings.number(
      "tiles_skipped", ZeroOverlap.share(skipped, visible), .share,
      title: "tiles that BLASST skips")
    aside.findings.number(
      "tiles_common", ZeroOverlap.share(both, below + skipped - both), .share,
      title: "tiles of both among those of either")
  }
}

/// The gates of a head, a row at a time.
private struct Gates: Sendable {
  /// Scores of the head.
  let rows: DoubleRows
  /// As the knob says it.
  let bias: Ruled<SigmoidAttention.Bias>

  /// b of a row that sees `limit` keys, in logits.
  func bias(limit: Int) -> Double {
    switch bias {
    case .number(let b): b
    case .rule(.length, _): -logarithm(Double(max(rows.head.keys, 1)))
    case .rule(.row, _): -logarithm(Double(max(limit, 1)))
    }
  }

  /// Gates of a row of scores, `[limit]`.
  func callAsFunction(_ logits: [Double], _ limit: Int) -> [Double] {
    let b = bias(limit: limit)
    return logits[..<limit].map { Elementary.sigmoid($0 + b) }
  }

  /// A row of W, `[limit]`: as far as it sees.
  func row(_ row: Int) -> [Double] {
    self(rows.logits(row), rows.head.visibility.limit(row: row))
  }
}

/// What is counted over some rows.
private struct SigmoidRows: Sendable {
  /// `[rows]`, in their order.
  private(set) var sums: [Double] = []
  /// `[key tiles]`, the largest gate in each; 0 where none is seen.
  private(set) var tops: [Double]
  private let tile: Int
  private var high = 0, low = 0, sinkRows = 0
  private var gap = 0.0, sink = 0.0
  private var gates = DecadeHistogram()

  /// Nothing yet; `wide` tiles of `tile` keys.
  init(tile: Int, wide: Int) {
    self.tile = tile
    tops = [Double](repeating: 0, count: wide)
  }

  /// A row, which is read here.
  mutating func add(_ gates: Gates, _ row: Int) {
    let limit = gates.rows.head.visibility.limit(row: row), logits = gates.rows.logits(row)
    let w = gates(logits, limit), p = Elementary.softmax(logits, limit: limit)
    let sum = w.reduce(0, +)
    for key in 0..<limit {
      self.gates.add(w[key])
      if w[key] > 0.9 { high += 1 }
      if w[key] < 0.01 { low += 1 }
      tops[key / tile] = max(tops[key / tile], w[key])
      gap += abs((sum > 0 ? w[key] / sum : 0) - p[key]) / 2
    }
    sums.append(sum)
    if row >= 4, limit > 0 {
      sink += p[0]
      sinkRows += 1
    }
  }

  /// Rows that come after; tops are those of a row of tiles and stay apart.
  mutating func add(_ other: SigmoidRows) {
    sums += other.sums
    high += other.high
    low += other.low
    gap += other.gap
    sink += other.sink
    sinkRows += other.sinkRows
    gates.add(other.gates)
  }

  /// Numbers, and the histogram.
  func add(to findings: inout Findings) {
    findings.number(
      "saturated_high", ZeroOverlap.share(high, gates.count), .share, title: "gates above 0.9")
    findings.number(
      "saturated_low", ZeroOverlap.share(low, gates.count), .share, title: "gates below 0.01")
    findings.number(
      "gap_normalised", sums.isEmpty ? nil : gap / Double(sums.count), .share,
      title: "map gap to softmax, rows over their sums")
    findings.number(
      "sink_mass_dense", sinkRows > 0 ? sink / Double(sinkRows) : nil, .share,
      title: "sink mass of softmax")
    findings.curve("gates", gates.curve("gate"), title: "entries by their gate")
  }
}
