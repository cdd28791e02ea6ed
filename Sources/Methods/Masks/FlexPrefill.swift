import Algebra
public import Analysis
public import Attention
import Tensors

/// FlexPrefill: pattern and budget of a head decided on this prompt.
///
/// The last B = `block` queries are looked at, with Â their softmax `[B, n]` and blocks b of B
/// keys:
///
///     ā = softmax_b(mean(q of those rows) · mean(k of block b) / √d)   a cheap estimate, `[n / B]`
///     â = mass of Â in each block, mean over rows                        the truth, `[n / B]`
///     D = √(½ KL(ā ‖ m) + ½ KL(â ‖ m)),   m = (ā + â) / 2                at most √ln 2 = 0.8326
///
/// D < `tau`: the estimate can be trusted, the head is query-aware. Every query block is pooled as
/// well, P_ab = softmax_b(q̄_a · k̄_b / √d), and block pairs are kept, largest first over the whole
/// map, while their mass stays within γ times the number of query blocks. Otherwise it is
/// vertical-slash: as many columns and diagonals, in blocks, as cumulative mass γ of Â needs. Both
/// keep at least `min_budget` tokens of columns and of diagonals, block 0 and the diagonal among
/// them. Paper: Lai et al., "FlexPrefill", ICLR 2025, arXiv 2502.20766.
///
/// Computed here exactly; details (the count of prefixes + 1, offsets pooled from the largest down,
/// a diagonal of blocks for a pool of offsets) as in the released code. Ours: where there are fewer
/// queries than keys, diagonals count from the last blocks of both; `budget` scales block and
/// budgets from 16k tokens, and leaves γ and τ alone.
///
/// Findings: those of every mask; numbers `distance`, `tau`, `query_aware` (1 or 0),
/// `vertical_blocks`, `slash_blocks`, `kept_blocks`, `computational_ratio` (of the full square, as
/// released, so a full causal map says a little more than half); series `pooled_estimate` and
/// `pooled_truth`, `[n / B]` each; curve `search`, the mass of the heaviest columns with the cut at
/// γ. Maps of two blocks or less, or within the least budget, keep everything, and a note says so
/// in place of the search.
///
/// Needs Q and K: throws `Missing(.queryKey)` for stored maps. Cost: B n products, counted in
/// `selection` (and (n / B)² for a query-aware head); attention between linear, for peaked heads,
/// and quadratic, for flat ones.
public struct FlexPrefill: MaskMethod {
  /// γ, a share of the mass; 1 keeps everything, whatever rounding makes of the sum.
  static let gamma = Knob(
    "gamma", "cumulative mass to keep", 0...1, standard: 0.9, step: .add(0.05), isMain: true)
  /// τ, in the unit of D; 0 makes every head vertical-slash, 1 every head query-aware.
  static let tau = Knob(
    "tau", "distance below which the pooled estimate is trusted", 0...1, standard: 0.1)
  /// B, tokens of a block and rows that are looked at.
  static let block = Knob(
    "block", "tokens of a block", 2...4096, standard: 128, step: .multiply(2),
    aliases: ["B"])
  /// Fewest columns and fewest diagonals kept, in tokens; rounded up to blocks.
  static let least = Knob(
    "min_budget", "fewest tokens kept", 1...1 << 30, standard: 512, step: .multiply(2))
  /// Most columns and most diagonals of a vertical-slash head, in tokens; rounded up to blocks.
  static let most = Knob(
    "max_budget", "most tokens kept; 0 is no bound", 0...1 << 30, standard: 0, step: .multiply(2))
  /// Off, short maps are searched like long ones: for looking at the method itself.
  static let fallback = Knob(
    "fallback", "dense on maps of two blocks or less, as released", standard: true)

  /// Variants force one of the two patterns by a τ that D never, or always, stays below.
  public static let card = MethodCard(
    id: "flexprefill", title: "FlexPrefill", family: "search",
    idea: "A divergence test picks the pattern of a head, cumulative mass its size.",
    source: "Lai et al., FlexPrefill, ICLR 2025, arXiv 2502.20766", needs: [.queryKey],
    knobs: [
      gamma.facts, tau.facts, block.facts, least.facts, most.facts, fallback.facts,
      Budget.knob.facts,
    ], mainField: "kept", mainNumber: "recall_mean", denseKnobs: ["gamma": .number(1)],
    variants: [
      "flexprefill-vs": ["tau": .number(0)], "flexprefill-qa": ["tau": .number(1)],
    ],
    growth: Growth("128 n + (n/128)²") { 128 * $0 + $0 * $0 / 16384 })

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// The blocks of one head, and how they were found. Throws `Missing(.queryKey)`.
  public func keep(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> KeptSet {
    guard let (query, key) = head.queryAndKey else { throw Missing(.queryKey) }
    let budget = Budget(
      knobs, of: ["block", "min_budget", "max_budget"], keys: head.keys, reference: 16 * 1024)
    let size = budget.block(knobs[Self.block]), least = budget.tokens(knobs[Self.least])
    let most = knobs[Self.most] == 0 ? Int.max : budget.tokens(knobs[Self.most])
    budget.note(["block": size, "min_budget": least], &aside)
    var set = KeptSet(queries: head.queries, keys: head.keys, visibility: head.visibility)
    let floor = (least + size - 1) / size
    if knobs[Self.fallback], head.keys <= max(2 * size, floor * size) {
      aside.findings.note(
        "dense fallback: \(head.keys) tokens are two blocks or less, or within the least budget")
      set.keep(columns: 0..<head.keys)
      return set
    }
    let search = FlexSearch(head, query, key, size: size, run)
    aside.selection = search.rows * head.keys
    let isAware = search.distance < knobs[Self.tau]
    search.report(isAware: isAware, tau: knobs[Self.tau], gamma: knobs[Self.gamma], &aside)
    let gamma = knobs[Self.gamma]
    func blocks(_ mass: [Double]) -> Int {
      let ceiling = most == .max ? search.wide : min(search.wide, (most + size - 1) / size)
      return min(max(Distributions.needed(mass, for: gamma) / size + 1, floor), ceiling)
    }
    let counts =
      isAware ? (floor, floor) : (blocks(search.vertical), blocks(search.slash))
    var kept = search.verticalSlash(
      vertical: gamma >= 1 ? search.wide : counts.0, slash: gamma >= 1 ? search.wide : counts.1)
    if isAware {
      aside.selection += search.wide * search.high
      for (index, keep) in search.aware(gamma).enumerated() where keep { kept[index] = 1 }
    }
    aside.findings.number("vertical_blocks", Double(min(counts.0, search.wide)), .blocks)
    aside.findings.number("slash_blocks", Double(min(counts.1, search.wide)), .blocks)
    let used = kept.reduce(0) { $0 + Int($1) }
    aside.findings.number("kept_blocks", Double(used), .blocks)
    aside.findings.number(
      "computational_ratio", Double(used) / Double(search.wide * search.high), .share,
      title: "kept blocks of the full square")
    set.keep(blocks: kept, size: size)
    return set
  }
}

/// What FlexPrefill looks at in one head: its last rows by key, by offset and by block, and the
/// means of its blocks. In double precision; memory linear in n.
struct FlexSearch {
  /// Tokens of a block.
  let size: Int
  /// Blocks of keys.
  let wide: Int
  /// Blocks of queries.
  let high: Int
  /// Representative rows: the last `size`, or as many as there are.
  let rows: Int
  /// `[keys]`, the mean mass that the rows give to each key; sums to 1.
  let vertical: [Double]
  /// `[keys]`, the same by offset, from 0 up; sums to 1 where the head is causal.
  let slash: [Double]
  /// ā, `[wide]`.
  let estimate: [Double]
  /// â, `[wide]`.
  let truth: [Double]
  private let head: Head
  /// `[high][d]`
  private let queryMeans: [[Double]]
  /// `[wide][d]`
  private let keyMeans: [[Double]]

  /// Looks at `query` `[queries, d]` and `key` `[keys, d]` in blocks of `size` tokens; rows of the
  /// pattern come from `run`. Cost size · keys products.
  init(_ head: Head, _ query: Tensor, _ key: Tensor, size: Int, _ run: MethodRun) {
    self.head = head
    self.size = size
    (wide, high) = ((head.keys + size - 1) / size, (head.queries + size - 1) / size)
    let seen = Shapes.lastQueries(run.pattern(head), rows: size)
    rows = seen.rows
    vertical = seen.columns.map { $0 / Double(max(seen.rows, 1)) }
    slash = seen.offsets.prefix(head.keys).map { $0 / Double(max(seen.rows, 1)) }
    keyMeans = Pooled.means(key, size)
    queryMeans = Pooled.means(query, size)
    let last = Pooled.means(
      query.slice(axis: 0, head.queries - seen.rows..<head.queries), max(seen.rows, 1))[0]
    estimate = Elementary.softmax(keyMeans.map { Pooled.dot(last, $0) * head.scale })
    truth = (0..<wide).map { [vertical, size, keys = head.keys] block in
      vertical[block * size..<min((block + 1) * size, keys)].reduce(0, +)
    }
  }

  /// D = √(½ KL(ā ‖ m) + ½ KL(â ‖ m)), m the mean of both; in nats to the power of one half.
  var distance: Double { Distributions.jensenShannonDistance(estimate, truth) }

  /// `[high * wide]` flags: chosen columns of blocks and chosen diagonals of blocks, the first of
  /// each forced. Counts are in blocks.
  func verticalSlash(vertical count: Int, slash other: Int) -> [UInt8] {
    let columns = (0..<wide).map { truth[$0] }
    // Offsets are pooled from the largest down: the short pool is the one at the diagonal.
    var diagonals = [Double](repeating: 0, count: wide)
    let ragged = wide * size - head.keys
    for (offset, mass) in slash.enumerated() { diagonals[(offset + ragged) / size] += mass }
    let down = Shapes.top(count, of: columns, forced: 1)
    let across = Shapes.top(other, of: diagonals, forced: 1)
    var kept = [UInt8](repeating: 0, count: high * wide)
    let shift = wide - high
    for a in 0..<high {
      for b in down where isVisible(a, b) { kept[a * wide + b] = 1 }
      for g in across where a + shift - g >= 0 && a + shift - g < wide {
        if isVisible(a, a + shift - g) { kept[a * wide + a + shift - g] = 1 }
      }
    }
    return kept
  }

  /// `[high * wide]`: block pairs of the pooled map while their cumulative mass stays at most gamma
  /// times the rows of blocks; all visible ones from a gamma of 1 on. Ties go to the earlier pair.
  func aware(_ gamma: Double) -> [Bool] {
    var mass = [Double](repeating: 0, count: high * wide)
    for a in 0..<high {
      let seen = (0..<wide).filter { isVisible(a, $0) }
      let row = Elementary.softmax(
        seen.map { Pooled.dot(queryMeans[a], keyMeans[$0]) * head.scale })
      for (b, p) in zip(seen, row) { mass[a * wide + b] = p }
    }
    if gamma >= 1 { return mass.indices.map { isVisible($0 / wide, $0 % wide) } }
    var kept = [Bool](repeating: false, count: mass.count), sum = 0.0
    let order = mass.indices.sorted { mass[$0] != mass[$1] ? mass[$0] > mass[$1] : $0 < $1 }
    for index in order {
      sum += mass[index]
      guard sum <= gamma * Double(high), mass[index] > 0 else { break }
      kept[index] = true
    }
    return kept
  }

  /// Some row of query block a sees some key of block b.
  private func isVisible(_ a: Int, _ b: Int) -> Bool {
    let last = min((a + 1) * size, head.queries) - 1
    return head.visibility.limit(row: last) > b * size
  }

  // MARK: Findings

  /// Adds the search to what the mask says: both distributions, their distance, the pattern taken.
  func report(isAware: Bool, tau: Double, gamma: Double, _ aside: inout Aside) {
    aside.findings.number("distance", distance, title: "D, estimate to truth")
    aside.findings.number("tau", tau, .setting, title: "τ")
    aside.findings.number(
      "query_aware", isAware ? 1 : 0, .count, title: "query-aware (1) or vertical-slash (0)")
    let blocks = Axis(.block, wide, span: size, tokens: head.keys)
    aside.findings.series(
      "pooled_estimate", blocks, estimate.map(Float.init), .share,
      title: "pooled estimate of the last rows")
    aside.findings.series(
      "pooled_truth", blocks, truth.map(Float.init), .share,
      title: "true pooled mass of the last rows")
    aside.findings.curve("search", curve(gamma), title: "cumulative mass of columns")
  }

  /// Mass of the heaviest columns, at most about 200 points, with the cut at γ.
  private func curve(_ gamma: Double) -> Curve {
    var sum = 0.0
    let sums = vertical.sorted(by: >).map { value -> Double in
      sum += value
      return sum
    }
    let step = max(1, sums.count / 200)
    let points = stride(from: 0, to: sums.count, by: step).map {
      Curve.Point(Double($0 + 1), sums[$0])
    }
    let cut = Distributions.needed(vertical, for: gamma)
    return Curve(
      x: "columns", y: "mass", points: points,
      marks: [Curve.Mark("cut", x: Double(cut), y: sums.isEmpty ? 0 : sums[cut - 1])])
  }
}
