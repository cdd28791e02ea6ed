import Algebra
public import Analysis
public import Attention
import Tensors

/// Softplus attention, and its re-weighting by a power: LSSA and LSSAR.
///
/// With cosines of queries and keys, and N_i the keys that row i sees:
///
///     P_ij = softplus(ln d · ln N_i · cos(q_i, k_j)),    P_i ← P_i / Σ P_i           LSSA, p = 0
///     W_ij = ReLU(N_i P_ij - O_i)^p,    W_i ← W_i / Σ W_i,    O_i = 1; 0 where N_i ≤ 3    LSSAR
///
/// Positivity and competition come apart: softplus keeps weights positive, the power sharpens them
/// at any length. What lies below the mean of its row becomes exactly 0, whatever p is: {j : P_ij >
/// 1 / N_i} survives. The power is taken of a row over its maximum. Paper: "Softplus Attention with
/// Re-weighting", ICML 2026, arXiv 2501.13428; p = 15 for long texts, 3 at the length of training.
///
/// Exact for causal heads; for others N_i = n in every row (ours). Vectors of zeros stay zero. A
/// row whose largest N P - O is at most 1e-6 is a row of zeros, as rounding alone would decide it;
/// `zero_rows` counts them. The head was trained under softmax.
///
/// Findings: those of every map; `zero_share` of the visible entries; `survivors_on_computed`,
/// those not zero that lie on 64x64 tiles that BLASST computes at `lambda`; `zeros_in_skipped`,
/// `skipped_zero`; `entropy_slope` with that of softmax; the series `entropies` and
/// `entropies_dense`, and with p above 0 `entropies_lssa`; the fields `softmax`, and with p above 0
/// `lssa` and `zeros`.
///
/// Needs Q and K: throws `Missing(.queryKey)` for stored maps. Cost n² d, in double precision up to
/// 2048 tokens; above, rows on demand.
public struct LSSA: MapMethod {
  /// p, without a unit; what `[` and `]` move.
  static let power = Knob(
    "p", "the power of the re-weighting; 0: softplus weights as they are", 0...1024,
    standard: 0.0, step: .add(1), isMain: true, aliases: ["power"])

  /// Ranked by how far the output is from that of softmax.
  public static let card = MethodCard(
    id: "lssa", title: "softplus attention", family: "reweighting",
    idea:
      """
      Softplus of scaled cosines in place of exponentials, then a power of what lies above the \
      mean of its row.
      """,
    source: "Softplus Attention with Re-weighting, ICML 2026, arXiv 2501.13428",
    needs: [.queryKey], knobs: [power.facts, SkippedTiles.lambda.facts], wholeMap: 2048,
    mainField: "map", mainNumber: "error",
    variants: ["lssar-3": ["p": .number(3)], "lssar-15": ["p": .number(15)]])

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// W of a head, `[queries, keys]`, a row at a time. Throws `Missing(.queryKey)` and
  /// `CancellationError`.
  public func map(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> any RowField {
    guard head.queryAndKey != nil else { throw Missing(.queryKey) }
    let rows = DoubleRows(head), weights = Softplus(rows, power: knobs[Self.power])
    if weights.power > 0 {
      aside.findings.field(
        "lssa", KernelRows.field(head) { weights.softplus($0) }, .weights,
        title: "softplus weights, before the power")
      aside.findings.field(
        "zeros", KernelRows.field(head) { row in weights.row(row).map { $0 == 0 ? 1 : 0 } },
        .labels(["alive", "zero"]), title: "what is below the mean of its row")
    }
    aside.findings.field("softmax", KernelRows.field(head) { rows.weights($0) }, .weights)
    if run.wantsNumbers { try addFacts(weights, rows, run, &aside) }
    if !head.visibility.causal { aside.findings.note("bidirectional: N = n in every row, ours") }
    return KernelRows.field(head) { weights.row($0) }
  }

  /// What is counted over rows: all of them up to `wholeMap` tokens, else 64.
  private func addFacts(
    _ weights: Softplus, _ rows: DoubleRows, _ run: MethodRun, _ aside: inout Aside
  ) throws {
    let head = rows.head, isWhole = max(head.queries, head.keys) <= Self.card.wholeMap
    let chosen = KernelRows.chosen(head, whole: Self.card.wholeMap)
    let mask =
      isWhole ? try SkippedTiles.mask(head, run, lambda: knobs[SkippedTiles.lambda]) : nil
    let parts = try RowPicks.spread(chosen.count, by: 16, run) { part in
      part.map { index in
        let row = chosen[index], limit = head.visibility.limit(row: row)
        let plain = weights.softplus(row), map = weights.sharpened(plain, limit)
        var zeros = ZeroOverlap()
        for key in 0..<limit { zeros.add(isZero: map[key] == 0, row: row, key: key, mask) }
        return (
          zeros: zeros, map: RowEntropy.of(map), plain: RowEntropy.of(plain),
          dense: RowEntropy.of(rows.weights(row))
        )
      }
    }
    let zeros = parts.reduce(into: ZeroOverlap()) { $0.add($1.zeros) }
    aside.findings.number("zero_share", zeros.zeroShare, .share, title: "exactly zero")
    let alive = zeros.entries - zeros.zeros
    let aliveInSkipped = zeros.skipped - zeros.zerosInSkipped
    aside.findings.number(
      "survivors_on_computed",
      mask == nil ? nil : ZeroOverlap.share(alive - aliveInSkipped, alive), .share,
      title: "what is not zero, on tiles that BLASST computes")
    zeros.addTiles(hasMask: mask != nil, to: &aside.findings)
    RowEntropy.add(
      head, rows: chosen, map: parts.map(\.map), dense: parts.map(\.dense), to: &aside.findings)
    if isWhole, weights.power > 0 {
      aside.findings.series(
        "entropies_lssa", Axis(.query, head.queries), parts.map { Float($0.plain) }, .nats,
        title: "entropy by query, before the power")
    }
  }
}

/// Both steps of a row, from cosines that are made ready once: 8 (queries + keys) d bytes.
private struct Softplus: Sendable {
  /// p; 0 leaves the first step as it is.
  let power: Double
  private let head: Head
  private let dim: Int
  /// What cosines are made of.
  private let unit: UnitVectors

  /// Brings rows of Q and K to length 1.
  init(_ rows: DoubleRows, power: Double) {
    (head, self.power, dim) = (rows.head, power, rows.dim)
    unit = UnitVectors(rows, gain: 1)
  }

  /// P of LSSA, `[keys]`, zero for keys that are not seen. A row with a NaN is NaN as far as it
  /// sees.
  func softplus(_ row: Int) -> [Double] {
    let limit = head.visibility.limit(row: row)
    let scale = logarithm(Double(max(dim, 1))) * logarithm(Double(max(limit, 1)))
    var out = unit.cosines(row, limit: limit).map { Elementary.softplus(scale * $0) }
    let sum = out.reduce(0, +)
    if sum != 0 { for j in 0..<limit { out[j] /= sum } }
    return out + [Double](repeating: 0, count: head.keys - limit)
  }

  /// W of a row, `[keys]`.
  func row(_ row: Int) -> [Double] {
    sharpened(softplus(row), head.visibility.limit(row: row))
  }

  /// W of LSSAR from a row of P of which `limit` keys are seen; P itself where p is 0, or where P
  /// is no number.
  func sharpened(_ plain: [Double], _ limit: Int) -> [Double] {
    guard power > 0, plain.first?.isNaN != true else { return plain }
    let n = Double(limit), offset = limit <= 3 ? 0.0 : 1.0
    var out = [Double](repeating: 0, count: plain.count)
    for j in 0..<limit { out[j] = max(0, n * plain[j] - offset) }
    let top = out.max() ?? 0
    guard top > 1e-6 else { return [Double](repeating: 0, count: plain.count) }
    var sum = 0.0
    for j in 0..<limit where out[j] > 0 {
      out[j] = exponential(power * logarithm(out[j] / top))
      sum += out[j]
    }
    for j in 0..<limit { out[j] /= sum }
    return out
  }
}
