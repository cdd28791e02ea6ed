import Analysis
import Attention

/// How many pairs of queries a map cannot tell apart: rows of the bidirectional map whose L2
/// distance is below 0.001.
///
/// Linear attention gives the same row to every query of one direction of φ(q); InLine and softmax
/// do not ("Bridging the Divide", NeurIPS 2024, arXiv 2412.06590). Rows are over all keys, also in
/// causal heads. Of more than 512 queries every ⌈n/512⌉-th is compared, and a note says so. Memory
/// 512 n doubles a form; a pair is given up as soon as it is far enough apart, so that few cost n.
///
/// Findings: `confusion` (InLine's), `confusion_linear`, `confusion_softmax`, and
/// `confusion_pairs`, how many pairs there are.
struct LinearConfusion: Sendable {
  /// Most queries that are compared.
  static let mostQueries = 512
  /// Rows nearer than this are one.
  static let distance = 1e-3

  /// Name behind `confusion`, title, and pairs that are confused.
  private var counts: [(suffix: String, title: String, pairs: Int)] = []
  private let queries: Int
  private let step: Int

  /// Rows and pairs on all threads. Throws `CancellationError`.
  init(_ features: LinearFeatures, _ run: MethodRun) throws {
    let head = features.head, keys = head.keys
    step = max(1, (head.queries + Self.mostQueries - 1) / Self.mostQueries)
    let chosen = Array(stride(from: 0, to: head.queries, by: step))
    queries = chosen.count
    let dense = head.queryAndKey.map {
      DoubleRows(
        Head(query: $0.query, key: $0.key, value: nil, causal: false, scale: head.scale))
    }
    let forms: [(suffix: String, title: String, row: @Sendable (Int) -> [Double])] = [
      ("", "", { InLine.weights(features, features.features($0), limit: keys) }),
      (
        "_linear", ", linear attention",
        { LinearFeatures.divided(features.products(features.features($0), limit: keys)) }
      ),
      ("_softmax", ", softmax", { dense?.weights($0) ?? [] }),
    ]
    for form in forms {
      let rows = try RowPicks.spread(chosen.count, by: 16, run) { $0.map { form.row(chosen[$0]) } }
      counts.append((form.suffix, form.title, try Self.count(rows, run)))
    }
  }

  /// Pairs of rows that are nearer than `distance`.
  private static func count(_ rows: [[Double]], _ run: MethodRun) throws -> Int {
    try RowPicks.spread(rows.count, by: 8, run) { part in
      part.map { i in (0..<i).count { isNear(rows[i], rows[$0]) } }
    }.reduce(0, +)
  }

  /// Sums stretches of 16 keys, and stops where they are enough.
  private static func isNear(_ a: [Double], _ b: [Double]) -> Bool {
    var sum = 0.0, start = 0
    while start < a.count, sum < distance * distance {
      for key in start..<min(start + 16, a.count) { sum += (a[key] - b[key]) * (a[key] - b[key]) }
      start += 16
    }
    return sum < distance * distance
  }

  /// The counts, and how many there could be.
  func add(to findings: inout Findings) {
    for (suffix, title, pairs) in counts {
      findings.number(
        "confusion" + suffix, Double(pairs), .count,
        title: "pairs of queries with one row" + title)
    }
    findings.number(
      "confusion_pairs", Double(queries * (queries - 1) / 2), .count,
      title: "pairs of queries compared")
    if step > 1 { findings.note("pairs from one query in \(step)") }
  }
}
