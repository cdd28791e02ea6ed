import Algebra
public import Analysis
public import Attention
import Tensors

/// HyperAttention: queries and keys are sorted by a hash, blocks on the diagonal of the sorted
/// order are read exactly, and a few drawn keys stand for the rest.
///
/// The hash and its order are `GrayHash`, what each row reads is `HyperPlan`: O = softmax over the
/// blocks and, with log-weight ln(n_k / m), the m drawn keys, which is what merging both parts by
/// their log-sum-exps gives. Kept is the exact part, and the shared numbers are of it alone. Up to
/// `min_seq_len` tokens all is exact. How hard a head is: α = n max_j Σ_i A_ij², 1 for uniform
/// rows; κ = max_i u_i / min_i u_i with u_i = Σ of exp S_ij outside of the kept entries, over rows
/// that have any; ln κ comes from log-sum-exps. Paper: Han et al., "HyperAttention", ICLR 2024,
/// arXiv
/// 2310.05869 (card S9). Draws: `SplitMix64(seed)`, directions row by row, then the keys of each
/// core. Of two seeds directions and keys differ.
///
/// Findings: those of every mask, the field `sorted` (kept entries with queries and keys in the
/// order of the hash), `alpha`, `kappa` and `log10_` of both, the series `column_norm` (Σ_i A_ij²),
/// `sample_weight`, `row_error`, the field `estimate` `[queries, dv]`, and `hyper_error_mean`,
/// `hyper_error_sd` over eight seeds from `seed` on. Needs Q and K. Cost n r d for the hash; the
/// findings, the pattern in double precision and eight estimates.
public struct HyperAttention: MaskMethod {
  static let block = Knob(
    "block", "keys of a block in the sorted order", 1...1 << 20, standard: 256, step: .multiply(2),
    isMain: true)
  static let samples = Knob(
    "m", "keys that are drawn to stand for the rest", 1...1 << 20, standard: 256,
    step: .multiply(2), aliases: ["sample"])
  static let bits = Knob("r", "directions of the hash", 1...30, standard: 7)
  static let exact = Knob(
    "min_seq_len", "tokens up to which all is exact", 0...1 << 30, standard: 4096,
    step: .multiply(2))
  static let order = Knob(
    "order", "a code's place in the Gray list, or the list's entry at the code, as released",
    standard: GrayHash.Order.rank)
  static let seed = Knob("seed", "of directions and drawn keys", 0...1 << 30, standard: 0)

  public static let card = MethodCard(
    id: "hyper", title: "HyperAttention", family: "hash",
    idea: "Sort by a hash, read the blocks on the diagonal, let drawn keys stand for the rest.",
    source: "Han et al., HyperAttention, ICLR 2024, arXiv 2310.05869", needs: [.queryKey],
    knobs: [
      block.facts, samples.facts, bits.facts, exact.facts, order.facts, seed.facts,
      Budget.knob.facts,
    ], mainField: "kept", mainNumber: "hyper_error_mean",
    denseKnobs: ["min_seq_len": .number(1_073_741_824)],
    growth: Growth("n log n") { $0 * logarithm($0) })

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for knobs that are unknown or out of range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// The drawn keys are no part of a kept set.
  public var engineRefusal: String? { "estimates what lies outside of its mask" }

  /// What is kept of a head. Throws `Missing`, `CancellationError`.
  public func keep(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> KeptSet {
    guard head.queryAndKey != nil else { throw Missing(.queryKey) }
    let budget = Budget(
      knobs, of: ["block", "m", "min_seq_len"], keys: head.keys, reference: 32 * 1024)
    let setting = HyperPlan.Setting(
      block: budget.block(knobs[Self.block]), samples: budget.tokens(knobs[Self.samples]),
      exact: budget.tokens(knobs[Self.exact]), bits: knobs[Self.bits], order: knobs[Self.order])
    budget.note(
      ["block": setting.block, "m": setting.samples, "min_seq_len": setting.exact], &aside)
    let rows = DoubleRows(head)
    let plan = HyperPlan(rows, setting, seed: knobs[Self.seed])
    aside.selection = (head.queries + head.keys) * setting.bits
    let set = try RowPicks.looked(head, run, &aside) { plan.heavy($0) }
    guard run.wantsNumbers else { return set }
    guard !head.isLong else {
      for name in ["alpha", "kappa", "hyper_error_mean", "hyper_error_sd"] {
        aside.findings.number(name, nil)
      }
      return set
    }
    if plan.cores.isEmpty {
      aside.findings.note("dense: nothing here is longer than what is read exactly")
    }
    let plans = [plan] + (1..<8).map { HyperPlan(rows, setting, seed: knobs[Self.seed] + $0) }
    let parts = try HyperRows.measure(rows, set, plans, run)
    addSorted(plan, set, head, &aside.findings)
    addHardness(parts, head, &aside.findings)
    addErrors(parts, head, &aside.findings)
    return set
  }

  /// The kept entries in the order of the hash. A causal head sorts each of its cores for itself:
  /// the order here is the one of all its tokens.
  private func addSorted(
    _ plan: HyperPlan, _ set: KeptSet, _ head: Head, _ findings: inout Findings
  ) {
    let queries = HyperPlan.sorted(0..<head.queries, by: plan.queryRanks)
    let keys = HyperPlan.sorted(0..<head.keys, by: plan.keyRanks)
    let kept = KeptField(set, head.visibility)
    findings.field(
      "sorted",
      RuleField(rows: Axis(.slot, queries.count), columns: Axis(.slot, keys.count)) { place, out in
        let row = try kept.row(queries[place])
        for (x, key) in keys.enumerated() { out[x] = row[key] }
      }, .kept, title: "kept entries in the order of the hash")
    findings.series(
      "sample_weight", Axis(.key, head.keys), plan.sampleWeights.map(Float.init), .none,
      title: "weight of drawn keys")
  }

  private func addHardness(_ parts: [HyperRows], _ head: Head, _ findings: inout Findings) {
    var squares = [Double](repeating: 0, count: head.keys)
    for part in parts { for j in squares.indices { squares[j] += part.squares[j] } }
    let alpha = squares.max().map { $0 * Double(head.keys) }
    let rest = parts.flatMap(\.rest)
    let spread = rest.max().flatMap { most in rest.min().map { most - $0 } }
    func finite(_ x: Double?) -> Double? { x.flatMap { $0.isFinite ? $0 : nil } }
    findings.number("alpha", finite(alpha), title: "α, n times the largest squared column norm")
    findings.number("kappa", finite(spread.map(exponential)), title: "κ, spread of what is left")
    let ten = logarithm(10)
    findings.number("log10_alpha", finite(alpha.map { logarithm($0) / ten }), title: "log10 of α")
    findings.number("log10_kappa", finite(spread.map { $0 / ten }), title: "log10 of κ")
    findings.series(
      "column_norm", Axis(.key, head.keys), squares.map(Float.init), .none,
      title: "squared norm of a key's column")
  }

  private func addErrors(_ parts: [HyperRows], _ head: Head, _ findings: inout Findings) {
    guard head.value != nil else {
      for name in ["hyper_error_mean", "hyper_error_sd"] { findings.number(name, nil) }
      return
    }
    let norm = parts.reduce(0) { $0 + $1.norm }
    let errors = (0..<8).compactMap { seed -> Double? in
      let sum = parts.reduce(0) { $0 + $1.errors[seed] }
      return norm > 0 ? (sum / norm).squareRoot() : nil
    }
    let mean = errors.isEmpty ? nil : errors.reduce(0, +) / 8
    let deviation = mean.map { mean in
      (errors.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / 7).squareRoot()
    }
    findings.number("hyper_error_mean", mean, title: "output error over eight seeds, relative L2")
    findings.number("hyper_error_sd", deviation, title: "its standard deviation")
    findings.series(
      "row_error", Axis(.query, head.queries), parts.flatMap(\.rowErrors), .none,
      title: "|O - O of the estimate| by row")
    findings.field(
      "estimate",
      WholeField(
        rows: Axis(.query, head.queries), columns: Axis(.channel, head.valueDim),
        values: parts.flatMap(\.estimate)), .signed, title: "output with drawn keys")
  }
}

/// What a run of rows says of a head and of its estimates.
private struct HyperRows: Sendable {
  /// `[keys]` Σ A_ij² over the rows.
  var squares: [Double]
  /// Log-sum-exp of what is not kept, of rows that have any.
  var rest: [Double] = []
  /// Σ |O|² over the rows, and `[plans]` Σ |O' - O|².
  var norm = 0.0
  var errors: [Double]
  /// `[rows]` |O' - O| and `[rows * dv]` O', of the first plan.
  var rowErrors: [Float] = [], estimate: [Float] = []

  /// In order of rows; without V no errors. Throws `CancellationError`.
  static func measure(
    _ rows: DoubleRows, _ set: KeptSet, _ plans: [HyperPlan], _ run: MethodRun
  ) throws -> [HyperRows] {
    let value = rows.head.value.map { $0.floats().map(Double.init) }
    return try RowPicks.spread(rows.head.queries, by: 64, run) { range in
      var part = HyperRows(
        squares: [Double](repeating: 0, count: rows.head.keys),
        errors: [Double](repeating: 0, count: plans.count))
      for row in range { part.add(row, rows, set, plans, value) }
      return [part]
    }
  }

  private mutating func add(
    _ row: Int, _ rows: DoubleRows, _ set: KeptSet, _ plans: [HyperPlan], _ value: [Double]?
  ) {
    let head = rows.head, logits = rows.logits(row), limit = head.visibility.limit(row: row)
    let weights = Elementary.softmax(logits, limit: limit)
    for j in 0..<limit { squares[j] += weights[j] * weights[j] }
    let kept = set.row(row, head.visibility)
    let left = (0..<limit).filter { kept[$0] == 0 }.map { logits[$0] }
    if let most = left.max() {
      rest.append(most + logarithm(left.reduce(0) { $0 + exponential($1 - most) }))
    }
    guard let value else { return }
    let dim = head.valueDim
    var dense = [Double](repeating: 0, count: dim)
    for j in 0..<limit { HyperPlan.add(weights[j], value, j, to: &dense) }
    norm += dense.reduce(0) { $0 + $1 * $1 }
    for (index, plan) in plans.enumerated() {
      let output = plan.output(row, logits, value, dim)
      let error = zip(output, dense).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
      errors[index] += error
      if index == 0 {
        rowErrors.append(Float(error.squareRoot()))
        estimate += output.map(Float.init)
      }
    }
  }
}
