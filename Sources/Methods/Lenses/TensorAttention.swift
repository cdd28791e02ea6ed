public import Analysis
public import Attention
import Tensors

/// Tensor attention: a query scores pairs of keys jointly.
///
///     T_i[j, l] = s Σ_c q_ic k1_jc k2_lc,   E_i = softmax over all visible pairs (j, l)
///     out_i = Σ_jl E_i[j, l] (v1_j ⊙ v2_l)
///     W1_ij = Σ_l E_i[j, l],   W2_il = Σ_j E_i[j, l];   with v2 = 1 the output is W1 V
///
/// Paper: Alman and Song, "How to capture higher-order correlations", ICLR 2024, arXiv 2310.04064.
/// The arithmetic is exact. A head has one K and V, trained for pairs: `k2` takes K itself, K
/// shifted by one token (k2_l = k_{l-1}, k2_1 = 0), ones, or the K of head `other` of the layer
/// (U3), and `v2` ones or V. Ours: the causal form (j ≤ i and l ≤ i), and the scale, by default the
/// head's own, 1/√d, as the paper's entries are bounded instead. With k2 of ones W1 is softmax.
///
/// Findings: those of every map, for W1; the field `map_second`, W2; of the query looked at the
/// fields `pair`, E_i `[keys, keys]` with j down and l across, and `interaction`, E_i - W1_i W2_iᵀ,
/// and the series `marginal_first` and `marginal_second` `[keys]`; numbers `mutual_information` of
/// j and l (nats; 0 means no genuine triple), `diagonal_share` (Σ_j E_i[j, j]), both means over
/// rows; `largest_entry`, the largest |entry| of Q, K and K2, beside `entry_threshold`, (ln
/// n)^(1/3), above which no algorithm is near-linear.
///
/// Needs Q and K. Cost n² d a row, n³ d a map: whole up to 128 tokens, rows above, numbers up to
/// 2048. Memory n a row.
public struct TensorAttention: MapMethod {
  /// Where the second keys come from.
  enum SecondKey: String, Sendable, CaseIterable { case K, shifted, ones, other }
  /// What the second values are.
  enum SecondValue: String, Sendable, CaseIterable { case ones, V }
  /// s before `gain`.
  enum Scale: String, Sendable, CaseIterable { case root = "d^-1/2", inverse = "1/d", one }

  /// Also `K2`, as the paper writes it.
  static let secondKey = Knob(
    "k2", "second keys: K, K of the token before, ones, or of another head",
    standard: SecondKey.K, aliases: ["K2"])
  /// Also `V2`; with ones the output is W1 V.
  static let secondValue = Knob(
    "v2", "second values: ones, or V", standard: SecondValue.ones, aliases: ["V2"])
  /// s without the gain; the paper bounds entries instead, for which 1/d is the friendlier.
  static let scale = Knob(
    "scale", "of the products: the head's own, 1/d, or 1", standard: Scale.root, aliases: ["s"])
  /// A factor; what `[` and `]` move.
  static let gain = Knob(
    "gain", "a factor of the scale", 0...1024, standard: 1.0, step: .multiply(2), isMain: true)
  /// Query head of the layer.
  static let other = Knob(
    "other", "query head whose keys are the second ones, for k2=other", 0...1 << 20, standard: 0)

  /// The scope is a layer, as second keys may be another head's.
  public static let card = MethodCard(
    id: "tensor", title: "tensor attention", family: "tensor",
    idea: "A query scores pairs of keys, and softmax runs over all pairs.",
    source: "Alman and Song, ICLR 2024, arXiv 2310.04064", scope: .layer, needs: [.queryKey],
    knobs: [
      gain.facts, secondKey.facts, secondValue.facts, scale.facts, other.facts,
      LensRows.query.facts,
    ],
    fidelity: .surrogate(
      .U3, "second keys and values are stand-ins: the head was trained with one of each"),
    wholeMap: 128, mainField: "map", mainNumber: "mutual_information",
    variants: ["tensor-shifted": ["k2": .word("shifted")]])

  /// Tokens up to which numbers are computed: 64 rows of them take n² d each.
  static let mostNumbers = 2048

  private let knobs: CheckedKnobs
  private var second: Head?

  /// Throws `KnobError` for an unknown knob or a value outside its range. `v2=1` is `v2=ones`.
  public init(knobs: Knobs) throws(KnobError) {
    var knobs = knobs
    for name in ["v2", "V2"] where knobs[name] == .number(1) { knobs[name] = .word("ones") }
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// The findings of the map W1. Throws `Missing`, `CancellationError`.
  public func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    var method = self, run = run
    if knobs[Self.secondKey] == .other {
      let wanted = knobs[Self.other], head = subject.head
      guard subject.layer.indices.contains(wanted) else {
        let last = subject.layer.count - 1
        throw Missing(.layer, hint: "there is no head \(wanted); they are 0 to \(last)")
      }
      let other = subject.layer[wanted]
      guard other.keys == head.keys, other.dim == head.dim else {
        throw Missing(.layer, hint: "head \(wanted) has other keys than this one")
      }
      method.second = other
    }
    let isLong = max(subject.head.queries, subject.head.keys) > Self.mostNumbers
    if isLong { run.wantsNumbers = false }
    var findings = try method.examineMap(subject, run)
    if isLong {
      findings.note("rows only: numbers are computed up to \(Self.mostNumbers) tokens")
    }
    return findings
  }

  /// W1 of a head, `[queries, keys]`, a row at a time. Throws `Missing(.queryKey)`.
  public func map(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> any RowField {
    guard head.queryAndKey != nil else { throw Missing(.queryKey) }
    let pairs = PairMap(head, second: secondKeys(head), scale: factor(head))
    let axes = (Axis(.query, head.queries), Axis(.key, head.keys))
    let query = try LensRows.index(knobs, head)
    if run.wantsNumbers {
      addSlices(pairs, query, &aside.findings)
      aside.findings.field(
        "map_second",
        RuleField(rows: axes.0, columns: axes.1) { row, out in
          LensRows.fill(out, pairs.row(row).second, pairs.limit(row))
        }, .weights, title: "marginal of the second key")
      try addNumbers(pairs, run, &aside.findings)
      if knobs[Self.secondValue] == .V, let values = LensRows.values(head) {
        aside.findings.field(
          "output",
          RuleField(rows: axes.0, columns: Axis(.channel, values.width)) { row, out in
            let sums = pairs.output(row, values)
            for x in out.indices { out[x] = Float(sums[x]) }
          }, .signed, title: "output Σ E (v1 ⊙ v2)")
        aside.findings.note("output takes V twice; the numbers are of W1 V")
      }
      note(head, &aside.findings)
    }
    return RuleField(rows: axes.0, columns: axes.1) { row, out in
      LensRows.fill(out, pairs.first(row), pairs.limit(row))
    }
  }

  /// s.
  private func factor(_ head: Head) -> Double {
    let d = Double(max(head.dim, 1)), gain = knobs[Self.gain]
    switch knobs[Self.scale] {
    case .root: return gain * head.scale
    case .inverse: return gain / d
    case .one: return gain
    }
  }

  /// K2 `[keys * d]`; of keys that are shifted the first is zero, so that its pairs score 0.
  private func secondKeys(_ head: Head) -> [Double] {
    let own = (second ?? head).queryAndKey?.key.floats().map(Double.init) ?? []
    switch knobs[Self.secondKey] {
    case .K, .other: return own
    case .shifted:
      let first = [Double](repeating: 0, count: min(head.dim, own.count))
      return first + own.dropLast(head.dim)
    case .ones: return [Double](repeating: 1, count: own.count)
    }
  }

  /// The pair map of one query, its marginals, and what they do not explain. Rows of the fields are
  /// made as they are drawn: n d each.
  private func addSlices(_ pairs: PairMap, _ query: Int, _ findings: inout Findings) {
    let facts = pairs.row(query), limit = pairs.limit(query)
    let axis = Axis(.key, pairs.keys)
    func field(_ value: @escaping @Sendable (Int) -> [Double]) -> RuleField {
      RuleField(rows: axis, columns: axis) { j, out in
        LensRows.fill(out, j < limit ? value(j) : out.map { _ in 0 }, j < limit ? limit : 0)
      }
    }
    findings.field(
      "pair", field { pairs.pair(query, $0, facts.level) }, .magnitude(.share),
      title: "pairs of query \(query): first key down, second across")
    findings.field(
      "interaction",
      field { j in
        zip(pairs.pair(query, j, facts.level), facts.second).map { $0 - facts.first[j] * $1 }
      }, .signed, title: "pairs of query \(query) less the product of marginals")
    findings.series(
      "marginal_first", axis, LensRows.series(facts.first, limit), .share,
      title: "query \(query), first key")
    findings.series(
      "marginal_second", axis, LensRows.series(facts.second, limit), .share,
      title: "query \(query), second key")
    findings.number(
      "mutual_information_query", facts.information, .nats,
      title: "mutual information at query \(query)")
  }

  /// Means over all rows of a whole map, over 64 of others.
  private func addNumbers(_ pairs: PairMap, _ run: MethodRun, _ findings: inout Findings) throws {
    let rows = LensRows.chosen(pairs.head, whole: Self.card.wholeMap)
    let all = try RowPicks.spread(rows.count, by: 4, run) { part in
      part.map { index -> (information: Double, diagonal: Double)? in
        guard pairs.limit(rows[index]) > 0, !run.isCancelled() else { return nil }
        let facts = pairs.row(rows[index])
        return (facts.information, facts.diagonal)
      }
    }.compactMap { $0 }
    let n = Double(all.count)
    findings.number(
      "mutual_information", all.isEmpty ? nil : all.reduce(0) { $0 + $1.information } / n, .nats,
      title: "mutual information of the two keys")
    findings.number(
      "diagonal_share", all.isEmpty ? nil : all.reduce(0) { $0 + $1.diagonal } / n, .share,
      title: "mass on pairs of one key with itself")
    findings.number("largest_entry", pairs.largestEntry, title: "largest |entry| of Q, K and K2")
    let size = logarithm(Double(pairs.keys))
    findings.number(
      "entry_threshold", size > 0 ? exponential(logarithm(size) / 3) : nil,
      title: "(ln n)^(1/3), the bound of near-linear algorithms")
  }

  /// What K2 and V2 stand for.
  private func note(_ head: Head, _ findings: inout Findings) {
    let keys: String
    switch knobs[Self.secondKey] {
    case .K: keys = "the head's own"
    case .shifted: keys = "those of the token before"
    case .ones: keys = "ones"
    case .other: keys = "those of head \(knobs[Self.other])"
    }
    findings.note("U3: second keys are \(keys), second values \(knobs[Self.secondValue].rawValue)")
    if head.visibility.causal { findings.note("causal: ours, both keys up to the query") }
  }
}
