public import Analysis
public import Attention
import Tensors

/// DHSA: chunks of varying length, scored by their pooled keys, for all heads of a layer at once.
///
/// With A averaged over the heads of the layer, w = `w` and R the queries from c + w on:
///
///     past_c = Σ_{i in R} Σ_{j = c-w+1..c} A_ij,     future_c = Σ_{i in R} Σ_{j = c+1..c+w} A_ij
///     ρ_c = (max + 1e-6) / (min + 1e-6)               2w - 1 <= c < n - 2w
///
/// Those with ρ > `threshold` are taken in descending order, none within `apart` tokens of another,
/// up to ⌊β n / block⌋: behind each a new chunk begins. With Q and K averaged over the heads, a
/// chunk's key is k̃ = √l mean(k), l its length, and a query block's q̃ likewise. Each block of
/// queries, ending at e, keeps the keys [e - local, e), and of the others as many of the highest
/// q̃ k̃ as `budget` leaves; the keys of a chunk tie, and the first is taken first.
///
/// Paper: "DHSA", 2025, arXiv 2510.24606 (card S5). Steps from the chunks on are exact. The paper
/// predicts the boundaries with a trained network; here they are its training targets, which are
/// an upper bound on what it can find and need the whole map. Ours: β = 1, as its value is not
/// known; `fixed` makes chunks of equal length instead; where `local` is given below `block`, a row
/// that would keep no key keeps its own; where nothing is causal all keys compete.
///
/// Findings: those of every mask; series `rho` `[keys]`, NaN where no boundary can be; spans
/// `chunks`; the field `chunk_scores` `[query blocks, keys]`, so that chunks are as wide as they
/// are; `chunk_count`, `chunk_mean`, `chunk_median`; `agreement_fixed` and `recall_gain`, against
/// chunks of `block` tokens at the same budget. Needs Q and K of all heads of a layer. Cost: n² d
/// a head for the boundaries, (n / block) · chunks products after that.
public struct DHSA: MaskMethod {
  static let budget = Knob(
    "budget", "keys kept a query block, the local ones included", 1...1 << 30, standard: 1024,
    step: .multiply(2), isMain: true)
  static let block = Knob(
    "block", "queries that choose together", 1...4096, standard: 64, step: .multiply(2))
  static let local = Knob(
    "local", "last keys of a query block, kept always", 1...1 << 30, standard: 64,
    step: .multiply(2))
  static let window = Knob("w", "keys on each side of a boundary", 1...4096, standard: 4)
  static let threshold = Knob(
    "threshold", "ratio of both sides above which a boundary may be", 0...1e9, standard: 1.1)
  static let apart = Knob(
    "apart", "two boundaries lie further apart than this", 0...1 << 20, standard: 8,
    aliases: ["nms"])
  static let beta = Knob(
    "beta", "boundaries at most, in numbers of query blocks", 0...1e6, standard: 1.0)
  static let fixed = Knob(
    "fixed", "chunks of so many tokens; 0 finds boundaries", 0...1 << 30, standard: 0)
  /// `budget` is the paper's word for its tokens, so that the mode has another name here.
  static let mode = Knob(
    "mode", Budget.knob.facts.help, standard: Budget.Mode.scaled, isPinned: true)

  public static let card = MethodCard(
    id: "dhsa", title: "DHSA", family: "search",
    idea: "Cut the keys where attention changes, and keep the chunks that match a query block.",
    source: "DHSA, dynamic hierarchical sparse attention, 2025, arXiv 2510.24606", scope: .layer,
    needs: [.queryKey],
    knobs: [
      budget.facts, block.facts, local.facts, window.facts, threshold.facts, apart.facts,
      beta.facts, fixed.facts, mode.facts,
    ],
    fidelity: .surrogate(
      .U3, "boundaries are the targets that the predictor is trained on, not its predictions"),
    mainField: "kept", mainNumber: "recall_mean",
    denseKnobs: ["budget": .number(Double(1 << 30)), "mode": .word("paper")],
    growth: Growth("(n/64) · chunks") { $0 * $0 })

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// Boundaries are found in all rows of all heads.
  public var engineRefusal: String? { "reads all rows of all heads of a layer" }

  /// The mask of the layer, and the numbers of the head looked at. Throws `Missing`,
  /// `CancellationError`.
  public func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    var aside = Aside()
    let set = try keep(
      subject.layer, subject.focus.head, run, &aside, layer: subject.numbers[subject.focus.layer])
    return try findings(of: set, on: subject.head, aside, run)
  }

  /// Of a head that is a layer of its own. Throws as `examine` does.
  public func keep(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> KeptSet {
    try keep([head], 0, run, &aside)
  }

  /// One set for all heads of a layer; numbers are those of one of them. Of a numbered layer the
  /// boundaries are found once for all of its heads.
  private func keep(
    _ heads: [Head], _ focus: Int, _ run: MethodRun, _ aside: inout Aside,
    layer: LayerNumber? = nil
  ) throws -> KeptSet {
    let head = heads[focus]
    let budget = Budget(
      knobs, of: ["budget", "block", "local"], keys: head.keys, reference: 16 * 1024,
      mode: Self.mode)
    let block = budget.block(knobs[Self.block]), wanted = budget.tokens(knobs[Self.local])
    let local = budget.isScaled ? max(wanted, block) : wanted
    let total = budget.tokens(knobs[Self.budget])
    budget.note(["budget": total, "block": block, "local": local], &aside)
    let pooled = try LayerMeans(heads, block: block)
    let chunks: [Range<Int>]
    if knobs[Self.fixed] > 0 {
      chunks = Chunks.even(head.keys, knobs[Self.fixed])
    } else {
      let w = knobs[Self.window], find = { try Chunks.ratios(heads, w: w, run) }
      let ratios =
        try layer.map { layer in
          try run.memo.value("boundaries of layer \(layer), w \(w), \(run.isWhole)", find)
        } ?? find()
      let most = Int((knobs[Self.beta] * Double(head.keys) / Double(block)).rounded(.down))
      chunks = Chunks.between(
        Chunks.boundaries(
          ratios, above: knobs[Self.threshold], apart: knobs[Self.apart], most: most),
        head.keys)
      aside.findings.series(
        "rho", Axis(.key, head.keys), ratios.map(Float.init), title: "mass on one side of a key")
      aside.findings.note(
        "boundaries are found in the whole map of all heads, which `selection` does not count")
    }
    let search = ChunkSearch(pooled, head, block: block, local: local, budget: total)
    aside.selection = pooled.queries.count * chunks.count
    let scores = try search.scores(chunks, run), set = search.set(chunks, scores)
    guard run.wantsNumbers else { return set }
    say(chunks, scores, head, block, &aside)
    let even = Chunks.even(head.keys, block)
    try compare(set, search.set(even, search.scores(even, run)), head, run, &aside)
    return set
  }

  /// The chunks, and their scores as wide as they are.
  private func say(
    _ chunks: [Range<Int>], _ scores: [[Double]], _ head: Head, _ block: Int, _ aside: inout Aside
  ) {
    let lengths = chunks.map { Double($0.count) }.sorted(), half = lengths.count / 2
    let median: Double? =
      lengths.isEmpty
      ? nil : lengths.count % 2 == 1 ? lengths[half] : (lengths[half - 1] + lengths[half]) / 2
    let mean = lengths.isEmpty ? nil : lengths.reduce(0, +) / Double(lengths.count)
    aside.findings.number("chunk_count", Double(chunks.count), .count, title: "chunks")
    aside.findings.number("chunk_mean", mean, title: "tokens of a chunk, mean")
    aside.findings.number("chunk_median", median, title: "tokens of a chunk, median")
    aside.findings.spans(
      "chunks",
      chunks.enumerated().map {
        Span(
          lane: 0, from: Double($1.lowerBound), to: Double($1.upperBound), key: $0)
      }, lanes: Axis(.row, 1), .tokens, title: "chunks of keys")
    let axis = Axis(.block, scores.count, span: block, tokens: head.queries)
    aside.findings.field(
      "chunk_scores",
      RuleField(rows: axis, columns: Axis(.key, head.keys)) { row, out in
        for (score, chunk) in zip(scores[row], chunks) {
          for key in chunk { out[key] = Float(score) }
        }
      }, .signed, title: "scores of chunks")
  }

  /// Whether chunks of varying length help, against chunks of a query block's length. Of long heads
  /// a sample of rows is compared.
  private func compare(
    _ set: KeptSet, _ even: KeptSet, _ head: Head, _ run: MethodRun, _ aside: inout Aside
  ) throws {
    let step = run.sampling(head, tiles: head.queries, rows: 1)
    var both = 0, either = 0
    for row in stride(from: 0, to: head.queries, by: step) {
      try run.checkCancellation()
      for (a, b) in zip(set.row(row, head.visibility), even.row(row, head.visibility)) {
        both += Int(a & b)
        either += Int(a | b)
      }
    }
    aside.findings.number(
      "agreement_fixed", either == 0 ? nil : Double(both) / Double(either), .share,
      title: "kept by both of what either keeps, against even chunks")
    let recall = try MaskNumbers(head, set, run).recallMean
    aside.findings.number(
      "recall_gain", recall - (try MaskNumbers(head, even, run).recallMean), .share,
      title: "recall beyond even chunks")
  }
}

/// Runs of keys that belong together.
enum Chunks {
  /// Chunks of `size` tokens, the last with what is left.
  static func even(_ keys: Int, _ size: Int) -> [Range<Int>] {
    stride(from: 0, to: keys, by: size).map { $0..<min($0 + size, keys) }
  }

  /// Chunks that end with each of the boundaries, ascending, and with the last key.
  static func between(_ boundaries: [Int], _ keys: Int) -> [Range<Int>] {
    let starts = [0] + boundaries.map { $0 + 1 }
    return zip(starts, starts.dropFirst() + [keys]).map { $0..<$1 }.filter { !$0.isEmpty }
  }

  /// ρ of each key, `[keys]`; NaN where no boundary can be or no query looks. Of long heads from a
  /// sample of rows. Throws `CancellationError`.
  static func ratios(_ heads: [Head], w: Int, _ run: MethodRun) throws -> [Double] {
    let head = heads[0], keys = head.keys, visibility = head.visibility
    let low = 2 * w - 1, high = keys - 2 * w
    guard low < high else { return [Double](repeating: .nan, count: keys) }
    let step = run.sampling(head, tiles: head.queries, rows: 1)
    var past = [Double](repeating: 0, count: keys), future = past
    for head in heads {
      let pattern = run.pattern(head)
      let parts = try RowPicks.spread((head.queries + step - 1) / step, by: 64, run) { rows in
        var past = [Double](repeating: 0, count: keys), future = past
        var before = [Double](repeating: 0, count: keys + 1)
        for row in rows.map({ $0 * step }) {
          let last = min(high - 1, visibility.position(row: row) - w)
          guard low <= last else { continue }
          pattern.withRows(row..<row + 1) { _, p, _ in
            for key in 0..<last + w + 1 { before[key + 1] = before[key] + Double(p[key]) }
          }
          for c in low...last {
            past[c] += before[c + 1] - before[c + 1 - w]
            future[c] += before[c + 1 + w] - before[c + 1]
          }
        }
        return [(past, future)]
      }
      for part in parts {
        for c in 0..<keys {
          past[c] += part.0[c] / Double(heads.count)
          future[c] += part.1[c] / Double(heads.count)
        }
      }
    }
    let last = min(high - 1, visibility.position(row: head.queries - 1) - w)
    return (0..<keys).map { c in
      guard low <= c, c <= last else { return .nan }
      return (max(past[c], future[c]) + 1e-6) / (min(past[c], future[c]) + 1e-6)
    }
  }

  /// Keys behind which a chunk begins, ascending: the largest ratios first, ties to the lower key.
  static func boundaries(_ ratios: [Double], above least: Double, apart: Int, most: Int) -> [Int] {
    var taken: [Int] = [], isNear = [Bool](repeating: false, count: ratios.count)
    let candidates = ratios.indices.filter { ratios[$0] > least }
    for c in candidates.sorted(by: { (ratios[$1], $0) < (ratios[$0], $1) }) {
      guard taken.count < most else { break }
      guard !isNear[c] else { continue }
      taken.append(c)
      for near in max(0, c - apart)...min(c + apart, ratios.count - 1) { isNear[near] = true }
    }
    return taken.sorted()
  }
}

/// Q and K of a layer, averaged over its heads.
struct LayerMeans: Sendable {
  /// `[query blocks][dim]`, means times √l.
  let queries: [[Double]]
  /// `[keys * dim]`
  private let keys: [Double]
  private let dim: Int

  /// Throws `Missing` for stored maps.
  init(_ heads: [Head], block: Int) throws {
    var query: [Double] = [], key: [Double] = []
    for head in heads {
      guard let both = head.queryAndKey else { throw Missing(.queryKey) }
      let q = both.query.floats(), k = both.key.floats()
      if query.isEmpty {
        query = [Double](repeating: 0, count: q.count)
        key = [Double](repeating: 0, count: k.count)
      }
      for x in q.indices { query[x] += Double(q[x]) }
      for x in k.indices { key[x] += Double(k[x]) }
    }
    let count = Double(heads.count), dim = heads[0].dim
    (keys, self.dim) = (key.map { $0 / count }, dim)
    queries = Chunks.even(heads[0].queries, block).map {
      Self.pooled(query, dim, $0).map { $0 / count }
    }
  }

  /// √l times the mean of a chunk's keys, `[dim]`.
  func key(_ chunk: Range<Int>) -> [Double] { Self.pooled(keys, dim, chunk) }

  /// Σ / √l, which is √l times the mean.
  private static func pooled(_ rows: [Double], _ dim: Int, _ range: Range<Int>) -> [Double] {
    var sum = [Double](repeating: 0, count: dim)
    for row in range {
      for x in 0..<dim { sum[x] += rows[row * dim + x] }
    }
    return sum.map { $0 / Double(range.count).squareRoot() }
  }
}

/// What query blocks keep of chunks.
struct ChunkSearch: Sendable {
  private let pooled: LayerMeans
  private let head: Head
  private let block: Int
  private let local: Int
  private let rest: Int

  /// All in tokens.
  init(_ pooled: LayerMeans, _ head: Head, block: Int, local: Int, budget: Int) {
    (self.pooled, self.head, self.block, self.local) = (pooled, head, block, local)
    rest = max(0, budget - local)
  }

  /// q̃ k̃, `[query blocks][chunks]`. Throws `CancellationError`.
  func scores(_ chunks: [Range<Int>], _ run: MethodRun) throws -> [[Double]] {
    let keys = chunks.map { pooled.key($0) }
    return try RowPicks.spread(pooled.queries.count, by: 1, run) { blocks in
      blocks.map { block in keys.map { Pooled.dot(pooled.queries[block], $0) } }
    }
  }

  /// The kept set of scores `[query blocks][chunks]`.
  func set(_ chunks: [Range<Int>], _ scores: [[Double]]) -> KeptSet {
    let tiles = scores.enumerated().map { runs($0, chunks, $1) }
    var set = KeptSet(queries: head.queries, keys: head.keys, visibility: head.visibility)
    guard head.visibility.causal, local < block else {
      set.keep(KeyRanges(tiles, tileRows: block))
      return set
    }
    // The first rows of a block may see none of its last keys.
    let rows = (0..<head.queries).map { row -> [Range<Int>] in
      let own = head.visibility.position(row: row), runs = tiles[row / block]
      let isBlind = !runs.contains { $0.lowerBound <= own && !$0.isEmpty }
      return isBlind && (0..<head.keys).contains(own) ? runs + [own..<own + 1] : runs
    }
    set.keep(KeyRanges(rows))
    return set
  }

  /// Kept keys of one query block, before visibility.
  private func runs(_ index: Int, _ chunks: [Range<Int>], _ scores: [Double]) -> [Range<Int>] {
    let last = min((index + 1) * block, head.queries) - 1, causal = head.visibility.causal
    let end = min(max(head.visibility.position(row: last) + 1, causal ? 0 : 1), head.keys)
    let near = max(0, end - local)..<end, open = causal ? end : head.keys
    var runs = [near], left = rest
    for chunk in Shapes.top(chunks.count, of: scores).map({ chunks[$0] }) {
      for part in [0..<near.lowerBound, near.upperBound..<max(open, near.upperBound)] {
        let free = part.clamped(to: chunk), count = min(left, free.count)
        runs.append(free.lowerBound..<free.lowerBound + count)
        left -= count
      }
      guard left > 0 else { break }
    }
    return runs
  }
}
