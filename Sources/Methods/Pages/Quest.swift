public import Analysis
public import Attention
import Tensors

/// Quest: pages of keys by an upper bound of what a query can score on them.
///
/// A page of `page` keys holds, a channel, the least and the largest key value. For query q no key
/// of the page can score more than sum_c max(q_c least_c, q_c largest_c). Every query keeps the
/// `pages` pages with the largest bound, the one it stands in always and counted. Paper: Tang et
/// al., "Quest", ICML 2024, arXiv 2406.10774. Bounds of a page that a query sees in part are those
/// of the keys it sees, as they were when its token came. The paper leaves the first two layers
/// dense, which is for who sets it. Findings: those of every mask, and the field `bound`
/// `[queries, pages]` in logits. Needs Q and K. Cost n (n / page) bounds of 2 d each.
public struct Quest: MaskMethod {
  static let pages = Knob(
    "pages", "pages kept a query", 1...1 << 30, standard: 128, step: .multiply(2), isMain: true,
    aliases: ["k"])
  static let page = Knob(
    "page", "keys of a page", 1...4096, standard: 16, step: .multiply(2), aliases: ["block"])

  public static let card = MethodCard(
    id: "quest", title: "Quest", family: "pages",
    idea: "Keep the pages of keys whose best possible score for this query is largest.",
    source: "Tang et al., Quest, ICML 2024, arXiv 2406.10774", needs: [.queryKey],
    knobs: [pages.facts, page.facts, Budget.knob.facts], mainField: "kept",
    mainNumber: "recall_mean",
    denseKnobs: ["pages": .number(Double(1 << 30))],
    growth: Growth("n²/16, a bound a page") { $0 * $0 })

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for knobs that are unknown or out of range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// What is kept of a head. Throws `Missing`, `CancellationError`.
  public func keep(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> KeptSet {
    guard let (query, key) = head.queryAndKey else { throw Missing(.queryKey) }
    let budget = Budget(knobs, of: ["pages", "page"], keys: head.keys, reference: 32 * 1024)
    let size = budget.block(knobs[Self.page])
    let count = budget.blocks(knobs[Self.pages], size: knobs[Self.page])
    budget.note(["page": size, "pages": count], &aside)
    let bounds = PageBounds(query.floats(), key.floats(), head, size: size)
    let set = try RowPicks.looked(head, run, &aside) { row in
      let limit = head.visibility.limit(row: row)
      guard limit > 0 else { return [] }
      let own = min(max(head.visibility.position(row: row), 0), limit - 1) / size
      var scores = bounds.row(row)
      scores[own] = .infinity
      return Shapes.top(count, of: scores).map { $0 * size..<min(($0 + 1) * size, limit) }
    }
    aside.selection = (0..<head.queries).reduce(0) {
      $0 + 2 * ((head.visibility.limit(row: $1) + size - 1) / size)
    }
    aside.findings.field("bound", bounds, .magnitude(.logits), title: "upper bound of a page")
    return set
  }
}

/// Quest's upper bounds, a query row at a time: `[queries, pages]`, NaN where a page is not seen.
struct PageBounds: RowField {
  let rows: Axis
  let columns: Axis
  private let head: Head
  private let size: Int
  private let query: [Float]
  private let key: [Float]
  private let dim: Int
  /// `[pages * dim]` of whole pages.
  private let least: [Float]
  private let largest: [Float]

  /// Query `[queries * dim]` and key `[keys * dim]`; `size` keys a page.
  init(_ query: [Float], _ key: [Float], _ head: Head, size: Int) {
    (self.query, self.key, self.head, self.size) = (query, key, head, size)
    dim = head.dim
    let pages = (head.keys + size - 1) / size
    rows = Axis(.query, head.queries)
    columns = Axis(.block, pages, span: size, tokens: head.keys)
    var least = [Float](repeating: .infinity, count: pages * dim)
    var largest = [Float](repeating: -.infinity, count: pages * dim)
    for token in 0..<head.keys {
      let page = token / size * dim
      for c in 0..<dim {
        least[page + c] = min(least[page + c], key[token * dim + c])
        largest[page + c] = max(largest[page + c], key[token * dim + c])
      }
    }
    (self.least, self.largest) = (least, largest)
  }

  /// The arrays that this field made for itself.
  var bytes: Int { 4 * (query.count + key.count + 2 * least.count) }

  /// Bounds of the pages that a query row sees, in logits: `[visible pages]`.
  func row(_ row: Int) -> [Double] {
    let limit = head.visibility.limit(row: row), whole = limit / size
    var bounds = wholePages(row, whole).map { $0 * head.scale }
    guard whole * size < limit else { return bounds }
    let seen = whole * size..<limit
    let last = (0..<dim).reduce(0.0) { sum, c in
      let q = Double(query[row * dim + c])
      return sum + (seen.map { q * Double(key[$0 * dim + c]) }.max() ?? 0)
    }
    bounds.append(last * head.scale)
    return bounds
  }

  /// Bounds of the first pages, before the scale. Each sum runs from channel 0 on; four at a time,
  /// since one alone waits for its own last addition.
  private func wholePages(_ row: Int, _ count: Int) -> [Double] {
    var sums = [Double](repeating: 0, count: (count + 3) / 4 * 4)
    query.withUnsafeBufferPointer { query in
      least.withUnsafeBufferPointer { least in
        largest.withUnsafeBufferPointer { largest in
          for first in stride(from: 0, to: count, by: 4) {
            for c in 0..<dim {
              let q = Double(query[row * dim + c])
              for page in first..<min(first + 4, count) {
                let at = page * dim + c
                sums[page] += max(q * Double(least[at]), q * Double(largest[at]))
              }
            }
          }
        }
      }
    }
    return Array(sums[..<count])
  }

  func withRows(
    _ range: Range<Int>, _ body: (Int, UnsafeBufferPointer<Float>) throws -> Void
  ) throws {
    for index in range {
      let seen = row(index).map(Float.init)
      let rest = [Float](repeating: .nan, count: columns.count - seen.count)
      try (seen + rest).withUnsafeBufferPointer { try body(index, $0) }
    }
  }
}
