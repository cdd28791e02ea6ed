import Algebra
import Analysis
import Attention

/// How spread the rows of a map are, beside how long their queries are.
///
/// Softmax sharpens as ‖q‖ grows; linear attention, whose rows are over their sums, does not. A
/// row's entropy is -Σ p ln p with p = |W_i| / Σ|W_i|, in nats; rows of zeros have none.
///
/// Findings, for each form with its suffix: `norm_entropy` (Pearson's correlation of ‖q_i‖ and row
/// entropy) and the curve `entropy_by_norm`, a point a row. The catch: a causal row that sees more
/// keys has more entropy whatever its query. Cost: every form's row once.
struct NormEntropy: Sendable {
  /// A way of weighting a row.
  struct Form: Sendable {
    /// Behind the names of its findings: empty, or `_softmax`.
    let suffix: String
    /// Behind their titles: empty, or `, softmax`.
    let title: String
    /// `[keys]` weights of a row, zeros where it may not see.
    let row: @Sendable (Int) -> [Double]

    /// The form that the findings are about, unless a name is given.
    init(_ row: @escaping @Sendable (Int) -> [Double], name: String = "", title: String = "") {
      (suffix, self.title) = (name.isEmpty ? "" : "_" + name, title.isEmpty ? "" : ", " + title)
      self.row = row
    }

    /// Softmax of the head's own scores.
    static func softmax(_ head: Head) -> Form {
      let rows = DoubleRows(head)
      return Form({ rows.weights($0) }, name: "softmax", title: "softmax")
    }

    /// Linear attention with a φ. Throws `Missing(.queryKey)`.
    static func linear(_ features: LinearFeatures) -> Form {
      Form(features.normalised(), name: "linear", title: "linear attention")
    }
  }

  private let head: Head
  /// `[queries]`, ‖q_i‖.
  let norms: [Double]
  /// The rows that are looked at: all of them where a map is wanted whole, else 64.
  let rows: [Int]
  private let run: MethodRun

  /// Norms of the queries. Throws `Missing(.queryKey)`.
  init(_ head: Head, wholeMap: Int, _ run: MethodRun) throws {
    guard head.queryAndKey != nil else { throw Missing(.queryKey) }
    (self.head, self.run) = (head, run)
    norms = LinearFeatures.norms(DoubleRows(head).query, width: head.dim)
    rows = KernelRows.chosen(head, whole: wholeMap)
  }

  /// Correlations and curves of these forms. Throws `CancellationError`.
  func add(_ forms: [Form], to findings: inout Findings) throws {
    let rows = rows, head = head
    for form in forms {
      let entropies = try RowPicks.spread(rows.count, by: 16, run) { part in
        part.map {
          RowEntropy.of(form.row(rows[$0]).prefix(head.visibility.limit(row: rows[$0])))
        }
      }
      let pairs = zip(rows, entropies).map { (norm: norms[$0], entropy: $1) }.filter {
        $0.norm.isFinite && $0.entropy.isFinite
      }
      findings.number(
        "norm_entropy" + form.suffix,
        Correlation.pearson(pairs.map(\.norm), pairs.map(\.entropy)),
        title: "correlation of query norm and row entropy" + form.title)
      findings.curve(
        "entropy_by_norm" + form.suffix,
        Self.curve("row entropy, nats", pairs.map { ($0.norm, $0.entropy) }),
        title: "row entropy by query norm" + form.title)
    }
  }

  /// One value of every row by the norm of its query: a curve of `[rows]` points.
  func curve(_ y: String, _ values: [Double]) -> Curve {
    Self.curve(y, rows.map { (norms[$0], values[$0]) })
  }

  private static func curve(_ y: String, _ pairs: [(Double, Double)]) -> Curve {
    let points = pairs.filter { $0.0.isFinite && $0.1.isFinite }.sorted { $0 < $1 }
    return Curve(x: "norm of the query", y: y, points: points.map { .init($0.0, $0.1) })
  }
}

extension LinearFeatures {
  /// Lengths of rows: `[rows * width]` gives `[rows]`.
  static func norms(_ rows: [Double], width: Int) -> [Double] {
    stride(from: 0, to: rows.count, by: max(width, 1)).map { start in
      rows[start..<start + width].reduce(0) { $0 + $1 * $1 }.squareRoot()
    }
  }
}

extension Findings {
  /// A note of how many queries that see keys have a normaliser of 0, `[queries]`: their row of W
  /// is zeros. Nothing is said where there is none.
  mutating func noteZeroRows(_ totals: [Double], _ head: Head) {
    let count = totals.indices.count {
      totals[$0] == 0 && head.visibility.limit(row: $0) > 0
    }
    if count > 0 {
      note("\(count) of \(totals.count) queries have a normaliser of 0: their rows are zeros")
    }
  }
}
