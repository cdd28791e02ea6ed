public import Analysis
public import Attention
import Tensors

/// HiP, hierarchically pruned attention: about k keys a query block, found by halving groups.
///
/// For the query block of positions [m0, e) the keys [0, T), T = e - window, are cut into
/// G = mask_k / block_k groups of key blocks. In every round each group is split in two halves, a
/// half scores max q . k over all queries of the block and the keys of its first key block, and the
/// G best halves stay, until each is one key block. Kept: those and [T, e). Few keys of a large
/// group are ever looked at: a needle that never stands at the front of a half is lost. Paper: Lee
/// et al., "HiP Attention", ICLR 2025, arXiv 2406.09827, rule of v1.1 (card S4). Where nothing is
/// causal all keys are searched and the block's own are kept.
///
/// Findings: those of every mask, `rounds`, the spans `search` (rounds of the last query block, one
/// lane a round, coloured by staying or going) and `needle_lost` (rows whose heaviest key is not
/// kept). Needs Q and K. Cost n log n products, and the pattern for `needle_lost`.
public struct HiP: MaskMethod {
  static let count = Knob(
    "mask_k", "keys kept beside the window", 1...1 << 30, standard: 512, step: .multiply(2),
    isMain: true, aliases: ["k"])
  static let queryBlock = Knob(
    "bq", "queries that search together", 1...4096, standard: 32, step: .multiply(2))
  static let keyBlock = Knob(
    "bk", "keys of the smallest group", 1...4096, standard: 2, step: .multiply(2))
  static let window = Knob(
    "window", "last keys, kept always", 0...1 << 30, standard: 128, step: .multiply(2),
    aliases: ["w"])

  public static let card = MethodCard(
    id: "hip", title: "HiP", family: "search",
    idea: "Halve groups of keys round by round and keep the best halves: n log n.",
    source: "Lee et al., HiP Attention, ICLR 2025, arXiv 2406.09827", needs: [.queryKey],
    knobs: [count.facts, queryBlock.facts, keyBlock.facts, window.facts, Budget.knob.facts],
    mainField: "kept", mainNumber: "recall_mean",
    denseKnobs: ["mask_k": .number(Double(1 << 30)), "budget": .word("paper")],
    growth: Growth("n log(n/512)") { $0 * max(0, logarithm($0 / 512)) })

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for knobs that are unknown or out of range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// As the knob says: a prompt is cut before its length is known.
  public var rowsTogether: Int { knobs[Self.queryBlock] }

  /// What is kept of a head. Throws `Missing`, `CancellationError`.
  public func keep(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> KeptSet {
    guard let (query, key) = head.queryAndKey else { throw Missing(.queryKey) }
    let budget = Budget(
      knobs, of: ["mask_k", "bq", "bk", "window"], keys: head.keys, reference: 16 * 1024)
    let tall = budget.block(knobs[Self.queryBlock]), wide = budget.block(knobs[Self.keyBlock])
    let count = budget.tokens(knobs[Self.count]), window = budget.tokens(knobs[Self.window])
    budget.note(["mask_k": count, "bq": tall, "bk": wide, "window": window], &aside)
    let search = HalvingSearch(
      head, query.floats(), key.floats(), count: count, tall: tall, wide: wide, window: window)
    let found = try RowPicks.spread((head.queries + tall - 1) / tall, by: 1, run) { blocks in
      blocks.map(search.block)
    }
    aside.selection = found.reduce(0) { $0 + $1.products }
    let rounds = found.map { $0.rounds.count }.max() ?? 0
    aside.findings.number("rounds", Double(rounds), .count, title: "rounds of the search")
    if let last = found.last(where: { !$0.rounds.isEmpty }) {
      aside.findings.spans(
        "search", last.spans, lanes: Axis(.round, last.rounds.count), .keys,
        title: "search of the last query block: 0 goes, 1 stays")
    }
    var set = KeptSet(queries: head.queries, keys: head.keys, visibility: head.visibility)
    set.keep(KeyRanges(found.map(\.runs), tileRows: tall))
    if run.wantsNumbers {
      aside.findings.number(
        "needle_lost", try Needles.lost(head, set, run), .share,
        title: "rows whose heaviest key is lost")
    }
    return set
  }
}

/// The search of HiP in one head.
struct HalvingSearch: Sendable {
  /// What one query block found.
  struct Found: Sendable {
    /// Kept keys of all its rows, before visibility.
    var runs: [Range<Int>] = []
    /// Groups of each round, in keys, and whether they stay.
    var rounds: [[(keys: Range<Int>, stays: Bool)]] = []
    /// Query-key products spent.
    var products = 0

    /// One lane a round; key 1 stays, 0 goes.
    var spans: [Span] {
      rounds.enumerated().flatMap { lane, groups in
        groups.map {
          Span(
            lane: lane, from: Double($0.keys.lowerBound), to: Double($0.keys.upperBound),
            key: $0.stays ? 1 : 0)
        }
      }
    }
  }

  private let head: Head
  private let query: [Float]
  private let key: [Float]
  private let count: Int
  private let tall: Int
  private let wide: Int
  private let window: Int
  /// Width of a query.
  private let dim: Int

  /// Query `[queries * dim]`, key `[keys * dim]`; all sizes in tokens.
  init(
    _ head: Head, _ query: [Float], _ key: [Float], count: Int, tall: Int, wide: Int, window: Int
  ) {
    (self.head, self.query, self.key, dim) = (head, query, key, head.dim)
    (self.count, self.tall, self.wide, self.window) = (count, tall, wide, window)
  }

  /// Searches for the query rows of one block.
  func block(_ index: Int) -> Found {
    let rows = index * tall..<min((index + 1) * tall, head.queries)
    let end = min(max(head.visibility.position(row: rows.upperBound - 1) + 1, 0), head.keys)
    let start = min(max(head.visibility.position(row: rows.lowerBound), 0), end)
    // Where nothing is causal all keys compete, and the block's own stay.
    let searched = head.visibility.causal ? max(0, end - window) : head.keys
    var found = Found()
    found.runs = [(head.visibility.causal ? searched : start)..<end]
    guard searched > count else {
      found.runs.append(0..<searched)
      return found
    }
    let blocks = (searched + wide - 1) / wide, groups = (count + wide - 1) / wide
    var living = (0..<groups).map { $0 * blocks / groups..<($0 + 1) * blocks / groups }
      .filter { !$0.isEmpty }
    while living.contains(where: { $0.count > 1 }) {
      let halves = living.flatMap { group -> [Range<Int>] in
        guard group.count > 1 else { return [group] }
        let middle = group.lowerBound + group.count / 2
        return [group.lowerBound..<middle, middle..<group.upperBound]
      }
      let scores = halves.map { score(rows, $0.lowerBound, searched) }
      found.products += halves.count * rows.count * wide
      let best = Set(Shapes.top(groups, of: scores))
      found.rounds.append(
        halves.enumerated().map { (keys(of: $1, searched), best.contains($0)) })
      living = halves.enumerated().filter { best.contains($0.offset) }.map(\.element)
    }
    found.runs += living.map { keys(of: $0, searched) }
    // Where the window is shorter than the block its first rows may see none of these: they have
    // the first row's own key then.
    let isSeen = found.runs.contains { !$0.isEmpty && $0.lowerBound <= start }
    if head.visibility.causal, !isSeen { found.runs.append(start..<start + 1) }
    return found
  }

  private func keys(of group: Range<Int>, _ searched: Int) -> Range<Int> {
    group.lowerBound * wide..<min(group.upperBound * wide, searched)
  }

  /// The largest product of any row with the keys of one key block.
  private func score(_ rows: Range<Int>, _ block: Int, _ searched: Int) -> Double {
    var top = -Double.infinity
    query.withUnsafeBufferPointer { query in
      key.withUnsafeBufferPointer { key in
        guard let q = query.baseAddress, let k = key.baseAddress else { return }
        for j in block * wide..<min((block + 1) * wide, searched) {
          for first in stride(from: rows.lowerBound, to: rows.upperBound, by: 4) {
            let count = min(4, rows.upperBound - first)
            top = max(top, largest(q + first * dim, count, k + j * dim))
          }
        }
      }
    }
    return top
  }

  /// The largest product of a key with at most four rows. Each sum runs from channel 0 on; four at
  /// a time, since one alone waits for its own last addition.
  private func largest(_ q: UnsafePointer<Float>, _ count: Int, _ k: UnsafePointer<Float>)
    -> Double
  {
    // Where there are fewer, the last stands in for those that are missing.
    let (b, c, d) = (min(1, count - 1) * dim, min(2, count - 1) * dim, (count - 1) * dim)
    var sums = (0.0, 0.0, 0.0, 0.0)
    for x in 0..<dim {
      let value = Double(k[x])
      sums.0 += Double(q[x]) * value
      sums.1 += Double(q[b + x]) * value
      sums.2 += Double(q[c + x]) * value
      sums.3 += Double(q[d + x]) * value
    }
    return max(max(sums.0, sums.1), max(sums.2, sums.3))
  }
}

/// What a search lost.
enum Needles {
  /// The share of rows whose heaviest key is not kept; nil where no row sees a key. Of long heads
  /// a sample of rows. Throws `CancellationError`.
  static func lost(_ head: Head, _ set: KeptSet, _ run: MethodRun) throws -> Double? {
    let pattern = run.pattern(head), step = run.sampling(head, tiles: head.queries, rows: 1)
    let rows = (head.queries + step - 1) / step
    let misses = try RowPicks.spread(rows, by: 16, run) { chunk -> [Int] in
      var found: [Int] = []
      for index in chunk {
        let row = index * step
        pattern.withRows(row..<row + 1) { row, p, lse in
          let limit = head.visibility.limit(row: row)
          guard lse != -.infinity, limit > 0 else { return }
          let top = (0..<limit).max { p[$0] < p[$1] } ?? 0
          found.append(set.row(row, head.visibility)[top] == 0 ? 1 : 0)
        }
      }
      return found
    }
    return misses.isEmpty ? nil : Double(misses.reduce(0, +)) / Double(misses.count)
  }
}
