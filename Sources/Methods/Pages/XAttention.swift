import Algebra
public import Analysis
public import Attention
import Tensors

/// XAttention: blocks weighed by sums along antidiagonals of the scores.
///
/// Queries and keys are taken `stride` at a time: query group a is the concatenation of its rows in
/// reversed order, key group b that of its rows in order, so that their product sums the scores of
/// an antidiagonal of an S x S square. P = softmax over key groups of these sums / S, causal by
/// groups. A block of B x B tokens weighs the sum of its groups; every query block keeps the fewest
/// key blocks that hold a share `threshold` of its weight. Paper: Xu et al., "XAttention", ICML
/// 2025, arXiv 2503.16428 (B = 128, S = 8 or 16, threshold 0.9). A group at the ragged end counts
/// the rows it has. Findings: those of every mask and the field `score` `[query blocks, key
/// blocks]`. Needs Q and K. Cost (n / S)² products of length S d, that is n² d / S.
public struct XAttention: MaskMethod {
  static let threshold = Knob(
    "threshold", "share of a query block's weight to keep", 0...1, standard: 0.9,
    step: .add(0.05), isMain: true, aliases: ["tau", "p"])
  static let stride = Knob(
    "stride", "rows that are summed along an antidiagonal", 1...256, standard: 16,
    step: .multiply(2), aliases: ["S"])
  static let block = Knob(
    "block", "tokens of a block", 1...4096, standard: 128, step: .multiply(2), aliases: ["B"])

  public static let card = MethodCard(
    id: "xattention", title: "XAttention", family: "search",
    idea: "Weigh a block by its antidiagonals: each crosses every vertical and slash line.",
    source: "Xu et al., XAttention, ICML 2025, arXiv 2503.16428", needs: [.queryKey],
    knobs: [threshold.facts, stride.facts, block.facts, Budget.knob.facts], mainField: "kept",
    mainNumber: "recall_mean", denseKnobs: ["threshold": .number(1)],
    growth: Growth("n²/16, sums of antidiagonals") { $0 * $0 })

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for knobs that are unknown or out of range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// Decoding has one query at a time, and a group has `stride` of them.
  public var engineRefusal: String? { "sums scores of groups of queries, and decoding has one" }

  /// What is kept of a head. Throws `Missing`, `CancellationError`.
  public func keep(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> KeptSet {
    guard let (query, key) = head.queryAndKey else { throw Missing(.queryKey) }
    let budget = Budget(knobs, of: ["stride", "block"], keys: head.keys, reference: 16 * 1024)
    let size = budget.block(knobs[Self.block])
    // Groups lie within blocks: the largest stride that divides one.
    let wanted = min(budget.block(knobs[Self.stride]), size), share = knobs[Self.threshold]
    let step = (1...wanted).last { size % $0 == 0 } ?? 1
    if step < wanted { aside.findings.note("stride \(step), the largest that divides \(size)") }
    budget.note(["block": size, "stride": step], &aside)
    let groups = AntidiagonalScores(head, query.floats(), key.floats(), stride: step)
    let wide = (head.keys + size - 1) / size, high = (head.queries + size - 1) / size
    let perBlock = size / step
    @Sendable func scores(_ a: Int) -> [Double] {
      var sums = [Double](repeating: 0, count: wide)
      for group in a * perBlock..<min((a + 1) * perBlock, groups.high) {
        for (b, p) in groups.row(group).enumerated() { sums[b / perBlock] += p }
      }
      return sums
    }
    @Sendable func pick(_ sums: [Double], _ seen: Int) -> [Int] {
      share >= 1 ? Array(0..<seen) : TopPicks.mass(share, of: Array(sums.prefix(seen)))
    }
    let axes = (
      Axis(.block, high, span: size, tokens: head.queries),
      Axis(.block, wide, span: size, tokens: head.keys)
    )
    aside.selection = groups.products
    let title = "antidiagonal score of a block"
    let long = try RowPicks.looked(
      head, run, &aside, tall: size,
      byBlocks: { a in
        let last = min((a + 1) * size, head.queries) - 1
        let seen = (head.visibility.limit(row: last) + size - 1) / size
        return pick(scores(a), seen).map { $0 * size..<min(($0 + 1) * size, head.keys) }
      })
    if let long {
      aside.findings.field(
        "score",
        RuleField(rows: axes.0, columns: axes.1) { a, out in
          for (b, sum) in scores(a).enumerated() { out[b] = Float(sum) / Float(perBlock) }
        }, .weights, title: title)
      return long
    }
    let rows = try RowPicks.spread(high, by: 1, run) { $0.map(scores) }
    aside.findings.field(
      "score",
      WholeField(
        rows: axes.0, columns: axes.1,
        values: rows.flatMap { $0.map { Float($0) / Float(perBlock) } }),
      .weights, title: title)
    return BlockPicks.set(head, size: size) { a, seen in pick(rows[a], seen) }
  }
}

/// Softmax of the antidiagonal sums, a group of queries at a time.
struct AntidiagonalScores: Sendable {
  /// Groups of queries.
  let high: Int
  private let head: Head
  private let stride: Int
  private let query: [Float]
  private let key: [Float]

  /// Query `[queries * dim]`, key `[keys * dim]`; `stride` rows a group.
  init(_ head: Head, _ query: [Float], _ key: [Float], stride: Int) {
    (self.head, self.query, self.key, self.stride) = (head, query, key, stride)
    high = (head.queries + stride - 1) / stride
  }

  /// Query-key products that all groups take together: one a row of each square.
  var products: Int {
    (0..<high).reduce(0) { $0 + visible($1) * stride }
  }

  /// Key groups that the last query of a group sees.
  private func visible(_ group: Int) -> Int {
    let last = min((group + 1) * stride, head.queries) - 1
    return (head.visibility.limit(row: last) + stride - 1) / stride
  }

  /// `[visible key groups]`, sums to 1.
  func row(_ group: Int) -> [Double] {
    let dim = head.dim, count = visible(group), (queries, keys) = (head.queries, head.keys)
    var scores = [Double](repeating: 0, count: count)
    query.withUnsafeBufferPointer { query in
      key.withUnsafeBufferPointer { key in
        // Each sum runs down its antidiagonal, whatever the others do.
        for first in Swift.stride(from: 0, to: count, by: 4) {
          let others = first..<min(first + 4, count)
          for r in 0..<stride {
            let i = group * stride + stride - 1 - r
            guard i < queries else { continue }
            let last = others.upperBound - 1
            let seen = others.lowerBound..<(last * stride + r < keys ? last + 1 : last)
            for c in 0..<dim {
              let q = Double(query[i * dim + c])
              for other in seen { scores[other] += q * Double(key[(other * stride + r) * dim + c]) }
            }
          }
        }
      }
    }
    return Elementary.softmax(scores.map { $0 * head.scale / Double(stride) })
  }
}
