public import Attention
import Analysis
import Tensors

/// When Attention Sink Emerges: how much of every row one token takes, and that token as a bias.
///
///     α_k = mean over the rows i that see key k of A_ik
///     sink rate = share of the heads of all layers with α_k > ε
///
/// `k` counts from 1. Published rates are of the first T = 64 rows and keys of causal maps; shorter
/// or bidirectional maps, and rows that begin later, are read whole, which a note says. A sink acts
/// as a learned extra key with b as its logit and a value of 0 would: the mass on it is thrown
/// away, A'_ij = A_ij Z / (Z + exp b), Z the old denominator; seen that way the mass that carries
/// anything is 1 - A_ik. Paper: Gu et al., "When Attention Sink Emerges in Language Models", ICLR
/// 2025, arXiv
/// 2410.10781. Exact; its KV bias has a trained value, and with the sink's own value it is softmax.
///
/// Findings: the fields `alphas` and `sinks` `[layers, heads]`, `without_sink` (column k removed,
/// renormalised), `key_bias` and `sigmoid` (σ(S), not normalised) `[queries, keys]`,
/// `output_k_bias` (column k with a value of 0); the series `importance` (α of every key),
/// `residual_by_query`, `key_norms`, `value_norms`; the curve `rate_by_epsilon`; numbers
/// `sink_rate`, `alpha_k`, `alpha_whole`, `argmax_key` (from 1), `residual_mass`, `key_norm_ratio`,
/// `value_norm_ratio` (to the mean of the others), `cosine` of queries with the key, `sink_logit`,
/// `mean_logit` of the others, `key_bias_mass`, `k_bias_error`. Stored patterns have no logits,
/// stored maps no norms. Cost T² d a head of the model and n² d for the one looked at; long heads
/// give the former alone.
public struct Sinks: AttentionMethod {
  /// ε, a share of a row; what `[` and `]` move. Below 0 every head is one.
  static let epsilon = Knob(
    "epsilon", "alpha from which a head has a sink", -1...1, standard: 0.3, isMain: true,
    aliases: ["eps"])
  /// Counted from 1.
  static let key = Knob("k", "the key, from 1", 1...1 << 30, standard: 1, aliases: ["key"])
  static let rows = Knob(
    "T", "first rows and keys that count; 0: all", 0...1 << 30, standard: 64, step: .multiply(2))
  /// In logits.
  static let bias = Knob(
    "b", "logit of the extra key with a value of 0", -64...64, standard: 0.0, step: .add(1))

  /// The scope is the model: a rate is of all its heads.
  public static let card = MethodCard(
    id: "sinks", title: "attention sinks", family: "heads",
    idea: "How much of every row one token takes, in each head of the model.",
    source: "Gu et al., When Attention Sink Emerges, ICLR 2025, arXiv 2410.10781", scope: .model,
    knobs: [epsilon.facts, key.facts, rows.facts, bias.facts], wholeMap: .max,
    mainField: "alphas", mainNumber: "alpha_k")

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// The rate, and the sink of the head that is looked at. Throws `Missing` where there is no such
  /// key, and `CancellationError`.
  public func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    let head = subject.head, key = knobs[Self.key] - 1
    guard key < head.keys else {
      throw Missing(.queryKey, hint: "there is no key \(key + 1); they are 1 to \(head.keys)")
    }
    let importances = try subject.layers.map { try $0.map { try importance($0, run) } }
    let mine = importances[subject.focus.layer.value][subject.focus.head]
    var findings = Findings()
    addRate(importances, key, subject, &findings)
    findings.number("alpha_k", mine.indices.contains(key) ? mine[key] : nil, .share)
    let top = mine.indices.max { mine[$0] < mine[$1] || (mine[$0] == mine[$1] && $0 > $1) }
    findings.number("argmax_key", top.map { Double($0 + 1) }, .count, title: "key of largest alpha")
    findings.series(
      "importance", Axis(.key, mine.count), mine.map { Float($0) }, .share,
      title: "alpha of every key")
    let isCut = Self.cut(head, knobs[Self.rows]) != nil
    if !isCut, knobs[Self.rows] > 0 {
      findings.note(
        "read whole: published rates are of \(knobs[Self.rows]) rows from the first on, causal")
    }
    guard !head.isLong else {
      findings.note("a long head: its anatomy is not read; `slice` cuts")
      return findings
    }
    let anatomy = SinkAnatomy(head, key: key, bias: knobs[Self.bias])
    if run.wantsNumbers {
      let whole = isCut ? try Self.importance(head, rows: head.queries, keys: head.keys, run) : mine
      findings.number("alpha_whole", whole[key], .share, title: "alpha over all rows")
      try anatomy.addNumbers(run, to: &findings)
    }
    anatomy.addFields(run, to: &findings)
    return findings
  }

  /// Rows and keys that count, where they are fewer than all.
  private static func cut(_ head: Head, _ rows: Int) -> Int? {
    let isFirst = head.visibility.causal && head.visibility.offset == 0
    return rows > 0 && isFirst && head.queries >= rows && head.keys >= rows ? rows : nil
  }

  /// α of every key that counts. Throws `Missing(.length)`, `CancellationError`.
  private func importance(_ head: Head, _ run: MethodRun) throws -> [Double] {
    if let rows = Self.cut(head, knobs[Self.rows]) {
      return try Self.importance(head, rows: rows, keys: rows, run)
    }
    try RowPicks.checkLength(head)
    return try Self.importance(head, rows: head.queries, keys: head.keys, run)
  }

  /// α over the first rows and keys; a key that no row sees has none, NaN.
  private static func importance(_ head: Head, rows: Int, keys: Int, _ run: MethodRun) throws
    -> [Double]
  {
    let pattern = run.pattern(head), sight = head.visibility
    let parts = try RowPicks.spread(rows, by: 32, run) { range in
      var sums = [Double](repeating: 0, count: keys), seen = [Int](repeating: 0, count: keys)
      pattern.withRows(range) { row, p, _ in
        for key in 0..<min(keys, sight.limit(row: row)) {
          sums[key] += Double(p[key])
          seen[key] += 1
        }
      }
      return [(sums, seen)]
    }
    return (0..<keys).map { key in
      let seen = parts.reduce(0) { $0 + $1.1[key] }
      return parts.reduce(0) { $0 + $1.0[key] } / Double(seen)
    }
  }

  /// α_k of every head, and how many lie above ε.
  private func addRate(
    _ importances: [[[Double]]], _ key: Int, _ subject: Subject, _ findings: inout Findings
  ) {
    let alphas = importances.map { $0.map { $0.indices.contains(key) ? $0[key] : Double.nan } }
    let known = alphas.flatMap { $0 }.filter { !$0.isNaN }, epsilon = knobs[Self.epsilon]
    func rate(_ epsilon: Double) -> Double {
      Double(known.count { $0 > epsilon }) / Double(max(known.count, 1))
    }
    findings.number(
      "sink_rate", known.isEmpty ? nil : rate(epsilon), .share,
      title: "heads with alpha above \(epsilon)")
    findings.field(
      "alphas", HeadField.make(subject, alphas.map { $0.map { Float($0) } }), .magnitude(.share),
      title: "alpha of key \(key + 1), by layer and head")
    findings.field(
      "sinks",
      HeadField.make(subject, alphas.map { $0.map { $0.isNaN ? .nan : ($0 > epsilon ? 1 : 0) } }),
      .labels(["none", "sink"]), title: "alpha above \(epsilon)")
    guard !known.isEmpty else { return }
    findings.curve(
      "rate_by_epsilon",
      Curve(
        x: "epsilon", y: "sink rate",
        points: (0...20).map { .init(Double($0) / 20, rate(Double($0) / 20)) },
        marks: [.init("epsilon", x: epsilon, y: rate(epsilon))]),
      title: "sink rate by epsilon")
  }
}
