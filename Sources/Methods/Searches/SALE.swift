import Algebra
public import Analysis
public import Attention
import Tensors

/// SALE: blocks judged by a 4-bit estimate of their scores, relative to sink and local attention.
///
/// 1. Queries and keys lose their mean over all tokens, and are rounded to integers -7...7 with a
/// step max|x| / 7 for each token (`token`) or each group of tokens that a warp shares (`warp`, the
/// released code); `exact` leaves them unrounded. mean(q) . k is added again. 2. Over the first key
/// block (sink) and the last ones (local) the true scores give each row its maximum m and its sum
/// l.
/// 3. A key block stays where an estimate reaches m + ln(theta l) in any pair of its tile. Local is
/// at least `local` tokens and so many that what lies between is a multiple of `seg`. Paper: Xiao
/// et al., "SALE", 2025, arXiv 2505.24179 (card S3). In `exact` no entry of weight theta or more is
/// ever dropped, since the reference sum is a part of softmax's own. `fallback`: maps of 1024
/// tokens or less stay dense, as released.
///
/// Left out: the calibration that finds theta for each head by its output error.
///
/// Findings: those of every mask, `false_drops` (entries of weight theta or more in dropped tiles),
/// and `correlation` of estimated and true scores, over a sample of rows. Needs Q and K. Cost n² /
/// 2 products of 4 bits.
public struct SALE: MaskMethod {
  enum Scores: String, Sendable, CaseIterable { case warp, token, exact }

  static let theta = Knob(
    "theta", "least weight relative to sink and local", 0...1, standard: 0.004,
    step: .multiply(2), isMain: true)
  static let scores = Knob("scores", "how scores are estimated", standard: Scores.warp)
  static let queryBlock = Knob(
    "bq", "queries of a block", 1...4096, standard: 64, step: .multiply(2))
  static let keyBlock = Knob(
    "bk", "keys of a block", 1...4096, standard: 32, step: .multiply(2))
  static let local = Knob(
    "local", "least keys of the local part", 0...1 << 30, standard: 128, step: .multiply(2))
  static let segment = Knob(
    "seg", "keys that the part between is a multiple of", 1...1 << 30, standard: 128,
    step: .multiply(2))
  static let fallback = Knob(
    "fallback", "dense on maps of 1024 tokens or less, as released", standard: true)

  public static let card = MethodCard(
    id: "sale", title: "SALE", family: "search",
    idea: "Estimate every score with 4 bits, and keep blocks that matter beside sink and local.",
    source: "Xiao et al., SALE, 2025, arXiv 2505.24179", needs: [.queryKey],
    knobs: [
      theta.facts, scores.facts, queryBlock.facts, keyBlock.facts, local.facts, segment.facts,
      fallback.facts, Budget.knob.facts,
    ], mainField: "kept", mainNumber: "recall_mean", denseKnobs: ["theta": .number(0)],
    variants: [
      "sale-token": ["scores": .word("token")], "sale-warp": ["scores": .word("warp")],
      "sale-exact": ["scores": .word("exact")],
    ],
    growth: Growth("n² in 4 bit") { $0 * $0 })

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for knobs that are unknown or out of range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// Means are over all tokens, of which an engine gives a part.
  public var engineRefusal: String? { "takes means over all tokens, and an engine gives some" }

  /// What is kept of a head. Throws `Missing`, `CancellationError`.
  public func keep(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> KeptSet {
    guard let (query, key) = head.queryAndKey else { throw Missing(.queryKey) }
    let budget = Budget(
      knobs, of: ["bq", "bk", "local", "seg"], keys: head.keys, reference: 16 * 1024)
    let tall = budget.block(knobs[Self.queryBlock]), wide = budget.block(knobs[Self.keyBlock])
    let local = budget.tokens(knobs[Self.local]), segment = budget.tokens(knobs[Self.segment])
    budget.note(["bq": tall, "bk": wide, "local": local, "seg": segment], &aside)
    var set = KeptSet(queries: head.queries, keys: head.keys, visibility: head.visibility)
    if knobs[Self.fallback], head.keys <= budget.tokens(1024) {
      aside.findings.note(
        "dense fallback: \(head.keys) tokens are no more than the method begins at")
      set.keep(columns: 0..<head.keys)
      return set
    }
    let estimate = FourBits(head, query.floats(), key.floats(), knobs[Self.scores])
    let search = RelativeSearch(
      head, estimate, tall: tall, wide: wide, local: max(1, (local + wide - 1) / wide),
      segment: max(1, segment / wide), theta: knobs[Self.theta])
    let long = try RowPicks.looked(
      head, run, &aside, tall: tall,
      byBlocks: { a in
        let kept = search.row(a).kept
        return TopPicks.runs(kept.indices.filter { kept[$0] != 0 })
          .map { $0.lowerBound * wide..<min($0.upperBound * wide, head.keys) }
      })
    if let long {
      if run.wantsNumbers { try search.report(long, run, &aside) }
      return long
    }
    let rows = try RowPicks.spread((head.queries + tall - 1) / tall, by: 1, run) { blocks in
      blocks.map(search.row)
    }
    aside.selection = rows.reduce(0) { $0 + $1.products }
    set.keep(blocks: rows.flatMap(\.kept), rows: tall, keys: wide)
    if run.wantsNumbers { try search.report(set, run, &aside) }
    return set
  }
}

/// Scores estimated from rounded queries and keys.
struct FourBits: Sendable {
  private let head: Head
  private let query: [Float]
  private let key: [Float]
  /// Rounded and smoothed: `[rows * dim]`, and the step of each row; 1 and unrounded where exact.
  private let roundedQuery: [Double]
  private let roundedKey: [Double]
  private let querySteps: [Double]
  private let keySteps: [Double]
  /// mean(q) . (k - mean k) of each key.
  private let correction: [Double]
  private let mode: SALE.Scores
  /// Width of a query, and what dot products are multiplied with.
  private let dim: Int, scale: Double

  /// Query `[queries * dim]`, key `[keys * dim]`.
  init(_ head: Head, _ query: [Float], _ key: [Float], _ mode: SALE.Scores) {
    (self.head, self.query, self.key, self.mode) = (head, query, key, mode)
    (dim, scale) = (head.dim, head.scale)
    let dim = dim
    let (q, queryMean) = Self.smoothed(query, dim), (k, _) = Self.smoothed(key, dim)
    correction = (0..<head.keys).map { j in
      (0..<dim).reduce(0.0) { $0 + queryMean[$1] * k[j * dim + $1] }
    }
    (querySteps, roundedQuery) = Self.rounded(q, dim, mode) { $0 / 16 * 8 + $0 % 8 }
    (keySteps, roundedKey) = Self.rounded(k, dim, mode) { $0 / 32 * 4 + $0 % 8 / 2 }
  }

  /// Without its mean over the rows, and the mean `[dim]`.
  private static func smoothed(_ rows: [Float], _ dim: Int) -> ([Double], [Double]) {
    let count = max(1, rows.count / max(dim, 1))
    var mean = [Double](repeating: 0, count: dim)
    for (index, value) in rows.enumerated() { mean[index % dim] += Double(value) }
    for c in 0..<dim { mean[c] /= Double(count) }
    return (rows.enumerated().map { Double($1) - mean[$0 % dim] }, mean)
  }

  /// Steps `[rows]` and whole numbers `[rows * dim]` in -7...7; `group` says which rows share a
  /// step.
  private static func rounded(
    _ rows: [Double], _ dim: Int, _ mode: SALE.Scores, _ group: (Int) -> Int
  ) -> ([Double], [Double]) {
    let count = rows.count / max(dim, 1)
    guard mode != .exact else { return ([Double](repeating: 1, count: count), rows) }
    var largest: [Int: Double] = [:]
    for row in 0..<count {
      let key = mode == .warp ? group(row) : row
      for c in 0..<dim { largest[key] = max(largest[key] ?? 0, abs(rows[row * dim + c])) }
    }
    let steps = (0..<count).map { (largest[mode == .warp ? group($0) : $0] ?? 0) / 7 }
    let whole = rows.enumerated().map { index, value -> Double in
      let step = steps[index / dim]
      return step > 0 ? (value / step).rounded(.toNearestOrEven) : 0
    }
    return (steps, whole)
  }

  /// The estimate of a score, without what is equal in its whole row.
  func estimate(_ i: Int, _ j: Int) -> Double {
    let sum = Self.dot(roundedQuery, i, roundedKey, j, dim)
    let unit = querySteps[i] * keySteps[j]
    guard mode == .warp, unit > 0 else { return (sum * unit + correction[j]) * scale }
    return unit * (sum + (correction[j] / unit).rounded(.toNearestOrEven)) * scale
  }

  /// The true score.
  func score(_ i: Int, _ j: Int) -> Double { Self.dot(query, i, key, j, dim) * scale }

  /// Row i of one matrix times row j of another, in double from channel 0 on.
  private static func dot<Value: BinaryFloatingPoint>(
    _ a: [Value], _ i: Int, _ b: [Value], _ j: Int, _ dim: Int
  ) -> Double {
    a.withUnsafeBufferPointer { a in
      b.withUnsafeBufferPointer { b in
        var sum = 0.0
        for c in 0..<dim { sum += Double(a[i * dim + c]) * Double(b[j * dim + c]) }
        return sum
      }
    }
  }

  /// q . mean(k) of each query, which true scores have and estimates lack: `[queries]`.
  var shifts: [Double] {
    let dim = head.dim, mean = Self.smoothed(key, dim).1
    return (0..<head.queries).map { i in
      (0..<dim).reduce(0.0) { $0 + Double(query[i * dim + $1]) * mean[$1] } * head.scale
    }
  }
}

/// The choice of key blocks by relative weight.
struct RelativeSearch: Sendable {
  private let head: Head
  private let estimate: FourBits
  private let tall: Int
  private let wide: Int
  private let local: Int
  private let segment: Int
  private let theta: Double
  private let shifts: [Double]

  /// `local` and `segment` in key blocks.
  init(
    _ head: Head, _ estimate: FourBits, tall: Int, wide: Int, local: Int, segment: Int,
    theta: Double
  ) {
    (self.head, self.estimate, self.tall, self.wide) = (head, estimate, tall, wide)
    (self.local, self.segment, self.theta) = (local, segment, theta)
    shifts = estimate.shifts
  }

  /// Key blocks of the local part of a query block that sees `seen` of them.
  func localBlocks(_ seen: Int) -> Int {
    var count = min(local, seen)
    while count < seen, max(0, seen - 1 - count) % segment != 0 { count += 1 }
    return count
  }

  /// One query block: `[key blocks]` flags, and the products spent on them.
  func row(_ a: Int) -> (kept: [UInt8], products: Int) {
    let all = (head.keys + wide - 1) / wide
    var kept = [UInt8](repeating: 0, count: all)
    let rows = a * tall..<min((a + 1) * tall, head.queries)
    let seen = (head.visibility.limit(row: rows.upperBound - 1) + wide - 1) / wide
    guard seen > 0 else { return (kept, 0) }
    let first = seen - localBlocks(seen)
    kept[0] = 1
    for b in first..<seen { kept[b] = 1 }
    guard first > 1 else { return (kept, 0) }
    var products = 0
    let bounds = rows.map { row -> Double in
      let limit = head.visibility.limit(row: row)
      let near = Array(0..<min(wide, limit)) + Array(min(first * wide, limit)..<limit)
      products += near.count
      let scores = near.map { estimate.score(row, $0) }, top = scores.max() ?? -.infinity
      let sum = scores.reduce(0) { $0 + exponential($1 - top) }
      return top + logarithm(theta * sum) - shifts[row]
    }
    for b in 1..<first {
      kept[b] = reaches(rows, b, bounds) ? 1 : 0
      products += rows.count * wide
    }
    return (kept, products)
  }

  private func reaches(_ rows: Range<Int>, _ b: Int, _ bounds: [Double]) -> Bool {
    for (r, row) in rows.enumerated() {
      let end = min((b + 1) * wide, head.visibility.limit(row: row))
      guard end > b * wide else { continue }
      for j in b * wide..<end where estimate.estimate(row, j) >= bounds[r] { return true }
    }
    return false
  }

  /// How well the estimate served. Throws `CancellationError`.
  func report(_ set: KeptSet, _ run: MethodRun, _ aside: inout Aside) throws {
    let pattern = run.pattern(head), head = head, theta = theta
    // Counts of a sample are none of the head: of long heads they stay unknown. The set holds the
    // rows of `RowPicks.looked` alone, which goes by tiles.
    let size = MaskNumbers.tile, tiles = (head.queries + size - 1) / size
    let isSampled = run.sampling(head, tiles: tiles, rows: size) > 1
    let drops = try RowPicks.spread(isSampled ? 0 : head.queries, by: 16, run) { rows -> [Int] in
      var found: [Int] = []
      pattern.withRows(rows) { row, p, _ in
        let flags = set.row(row, head.visibility)
        found.append(
          (0..<head.visibility.limit(row: row)).reduce(0) {
            $0 + (flags[$1] == 0 && Double(p[$1]) >= theta ? 1 : 0)
          })
      }
      return found
    }
    let step = max(1, head.queries / 64)
    var a: [Double] = [], b: [Double] = []
    for row in stride(from: 0, to: head.queries, by: step) {
      try run.checkCancellation()
      let limit = head.visibility.limit(row: row)
      for j in stride(from: 0, to: limit, by: max(1, limit / 64)) {
        a.append(estimate.estimate(row, j))
        b.append(estimate.score(row, j) - shifts[row])
      }
    }
    aside.findings.number(
      "false_drops", isSampled ? nil : Double(drops.reduce(0, +)), .entries,
      title: "dropped entries of weight theta or more")
    aside.findings.number(
      "correlation", Correlation.pearson(a, b), .none, title: "estimated and true scores")
    if step > 1 { aside.findings.note("the correlation is from one row in \(step)") }
  }
}
