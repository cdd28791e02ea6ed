import Algebra
public import Analysis
public import Attention
import Tensors

/// SpargeAttn: blocks by their mean tokens where the mean can be trusted, then skipping inside the
/// online softmax.
///
/// Level 1. Query blocks of `query_block`, key blocks of `block` tokens. A block's self-similarity
/// is the mean cosine of all its pairs of tokens; below `theta` its mean says nothing, and the
/// block is computed with everything. For the others P = softmax over trusted key blocks of
/// mean q . mean k / sqrt(d), and the fewest key blocks that hold a share `tau` of a row of P are
/// kept. Level 2. Kept blocks are visited in order; a block whose largest score lies more than
/// `lambda` below the running maximum in every row of the query block is skipped (`lambda` = 0
/// switches level 2 off). Paper: Zhang et al., "SpargeAttn", ICML 2025, arXiv 2502.18137. The
/// kernel decides level 2 for groups of rows within a query block; here for the whole block.
/// Findings: those of every mask, `level1_density` (blocks after level 1), `untrusted_queries`,
/// `untrusted_keys`, and the series `similarity` along key blocks. Needs Q and K. Cost
/// (n / block)² products to choose and n d for the similarities; level 2 scores what level 1 kept.
public struct SpargeAttn: MaskMethod {
  static let tau = Knob(
    "tau", "share of a query block's estimated mass to keep", 0...1, standard: 0.9,
    step: .add(0.05), isMain: true)
  static let theta = Knob(
    "theta", "self-similarity from which a block's mean is trusted", -1...1, standard: 0.6,
    step: .add(0.05))
  static let lambda = Knob(
    "lambda", "logits below the running maximum from which a block is skipped; 0: never",
    0...1000, standard: 5.0, step: .add(1))
  static let queryBlock = Knob(
    "query_block", "queries of a block", 1...4096, standard: 128, step: .multiply(2))
  static let block = Knob(
    "block", "keys of a block", 1...4096, standard: 64, step: .multiply(2), aliases: ["B"])

  public static let card = MethodCard(
    id: "spargeattn", title: "SpargeAttn", family: "search",
    idea: "Choose blocks by means where tokens agree, then skip inside the online softmax.",
    source: "Zhang et al., SpargeAttn, ICML 2025, arXiv 2502.18137", needs: [.queryKey],
    knobs: [
      tau.facts, theta.facts, lambda.facts, queryBlock.facts, block.facts, Budget.knob.facts,
    ], mainField: "kept", mainNumber: "recall_mean",
    denseKnobs: ["tau": .number(1), "lambda": .number(0)],
    growth: Growth("(n/64)², means of blocks") { $0 * $0 })

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
      knobs, of: ["query_block", "block"], keys: head.keys, reference: 16 * 1024)
    let size = budget.block(knobs[Self.block]), tall = budget.block(knobs[Self.queryBlock])
    budget.note(["query_block": tall, "block": size], &aside)
    let search = SpargeSearch(head, query, key, tall: tall, size: size, theta: knobs[Self.theta])
    var blocks = search.kept(tau: knobs[Self.tau])
    let first = blocks.reduce(0) { $0 + Int($1) }
    let level1 = blocks, lambda = knobs[Self.lambda]
    let long = try RowPicks.looked(
      head, run, &aside, tall: tall,
      byBlocks: { a in
        let kept = search.row(a, level1, lambda)
        return TopPicks.runs(kept.indices.filter { kept[$0] != 0 })
          .map { $0.lowerBound * size..<min($0.upperBound * size, head.keys) }
      })
    if let long {
      search.report(&aside, afterLevel1: first)
      return long
    }
    if knobs[Self.lambda] > 0 {
      blocks = try search.skipped(blocks, knobs[Self.lambda], run)
    }
    search.report(&aside, afterLevel1: first)
    var set = KeptSet(queries: head.queries, keys: head.keys, visibility: head.visibility)
    set.keep(blocks: blocks, rows: tall, keys: size)
    return set
  }
}

/// What SpargeAttn sees in one head.
struct SpargeSearch: Sendable {
  private let head: Head
  private let tall: Int
  private let size: Int
  private let high: Int
  private let wide: Int
  private let query: [Float]
  private let key: [Float]
  private let queryMeans: [[Double]]
  private let keyMeans: [[Double]]
  private let keySimilarity: [Double]
  private let trustedQueries: [Bool]
  private let trustedKeys: [Bool]

  /// Query blocks of `tall` rows, key blocks of `size` keys.
  init(_ head: Head, _ query: Tensor, _ key: Tensor, tall: Int, size: Int, theta: Double) {
    (self.head, self.tall, self.size) = (head, tall, size)
    (self.query, self.key) = (query.floats(), key.floats())
    (high, wide) = ((head.queries + tall - 1) / tall, (head.keys + size - 1) / size)
    queryMeans = Pooled.means(query, tall)
    keyMeans = Pooled.means(key, size)
    keySimilarity = Self.similarity(self.key, head.dim, size)
    trustedKeys = keySimilarity.map { $0 >= theta }
    trustedQueries = Self.similarity(self.query, head.dim, tall).map { $0 >= theta }
  }

  /// Mean cosine over all pairs of a block's tokens, a token with itself included: the squared
  /// length of the mean unit vector. `[blocks]`
  private static func similarity(_ rows: [Float], _ dim: Int, _ size: Int) -> [Double] {
    let count = rows.count / max(dim, 1)
    return stride(from: 0, to: count, by: size).map { start in
      let end = min(start + size, count)
      var sum = [Double](repeating: 0, count: dim)
      for row in start..<end {
        let part = rows[row * dim..<(row + 1) * dim].map(Double.init)
        let norm = part.reduce(0) { $0 + $1 * $1 }.squareRoot()
        guard norm > 0 else { continue }
        for c in 0..<dim { sum[c] += part[c] / norm }
      }
      let n = Double(end - start)
      return sum.reduce(0) { $0 + $1 * $1 } / (n * n)
    }
  }

  private func seen(_ a: Int) -> Int {
    (head.visibility.limit(row: min((a + 1) * tall, head.queries) - 1) + size - 1) / size
  }

  /// `[high * wide]` after level 1.
  func kept(tau: Double) -> [UInt8] {
    var kept = [UInt8](repeating: 0, count: high * wide)
    for a in 0..<high {
      let visible = 0..<seen(a)
      guard trustedQueries[a], tau < 1 else {
        for b in visible { kept[a * wide + b] = 1 }
        continue
      }
      let open = visible.filter { trustedKeys[$0] }
      let p = Elementary.softmax(
        open.map { Pooled.dot(queryMeans[a], keyMeans[$0]) * head.scale })
      for index in TopPicks.mass(tau, of: p) { kept[a * wide + open[index]] = 1 }
      for b in visible where !trustedKeys[b] { kept[a * wide + b] = 1 }
      // The first rows of a query block see only blocks up to their own.
      let first = max(1, head.visibility.limit(row: a * tall))
      if !visible.isEmpty, !(0...(first - 1) / size).contains(where: { kept[a * wide + $0] != 0 }) {
        kept[a * wide + (first - 1) / size] = 1
      }
    }
    return kept
  }

  /// Level 2: of the kept blocks those that are not skipped. Throws `CancellationError`.
  func skipped(_ blocks: [UInt8], _ lambda: Double, _ run: MethodRun) throws -> [UInt8] {
    try RowPicks.spread(high, by: 1, run) { rows in
      rows.flatMap { row($0, blocks, lambda) }
    }
  }

  /// One query block of level 2, `[wide]`; of level 1 where lambda is 0.
  func row(_ a: Int, _ blocks: [UInt8], _ lambda: Double) -> [UInt8] {
    guard lambda > 0 else { return Array(blocks[a * wide..<(a + 1) * wide]) }
    var kept = [UInt8](repeating: 0, count: wide)
    let rows = a * tall..<min((a + 1) * tall, head.queries)
    var top = [Double](repeating: -.infinity, count: rows.count)
    for b in 0..<seen(a) where blocks[a * wide + b] != 0 {
      var isSkipped = true
      for (r, row) in rows.enumerated() {
        let end = min((b + 1) * size, head.visibility.limit(row: row))
        guard end > b * size else { continue }
        let local = (b * size..<end).reduce(-.infinity) { max($0, score(row, $1)) }
        if local >= top[r] - lambda { isSkipped = false }
        top[r] = max(top[r], local)
      }
      if !isSkipped { kept[b] = 1 }
    }
    return kept
  }

  private func score(_ row: Int, _ column: Int) -> Double {
    let dim = head.dim
    var sum = 0.0
    for c in 0..<dim { sum += Double(query[row * dim + c]) * Double(key[column * dim + c]) }
    return sum * head.scale
  }

  /// What was seen, as findings.
  func report(_ aside: inout Aside, afterLevel1 count: Int) {
    let visible = (0..<high).reduce(0) { $0 + seen($1) }
    aside.selection = visible
    aside.findings.number(
      "level1_density", Double(count) / Double(max(visible, 1)), .share,
      title: "blocks kept by level 1")
    aside.findings.number(
      "untrusted_queries", Double(trustedQueries.filter { !$0 }.count), .blocks,
      title: "query blocks without a trusted mean")
    aside.findings.number(
      "untrusted_keys", Double(trustedKeys.filter { !$0 }.count), .blocks,
      title: "key blocks without a trusted mean")
    aside.findings.series(
      "similarity", Axis(.block, wide, span: size, tokens: head.keys),
      keySimilarity.map(Float.init), .none, title: "self-similarity of key blocks")
  }
}
