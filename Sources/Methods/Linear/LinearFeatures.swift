import Algebra
import Analysis
import Attention

/// Feature maps φ of queries and keys, and the products R_ij = φ(q_i) · φ(k_j) that linear forms of
/// attention put in the place of exp(q · k / √d).
///
/// A sum over keys of such products is one product with a sum of features, Σ_j R_ij = φ(q_i) · Σ_j
/// φ(k_j), so that the normalisers of all rows cost (n + m) times the width of φ (Katharopoulos et
/// al., "Transformers are RNNs", 2020, arXiv 2006.16236). A row of R costs keys times width. Memory
/// 8 (queries + keys) width bytes. All in double precision.
struct LinearFeatures: Sendable {
  /// φ of one coordinate.
  enum Map: String, Sendable, CaseIterable {
    case elu1, relu, exp, identity
    case leakyReLU = "leaky-relu"

    /// elu(x) + 1; max(x, 0); e^(0.2 x); x; and x above zero, 0.01 x below.
    func callAsFunction(_ x: Double) -> Double {
      switch self {
      case .elu1: Elementary.elu1(x)
      case .relu: max(x, 0)
      case .exp: exponential(0.2 * x)
      case .identity: x
      case .leakyReLU: x > 0 ? x : 0.01 * x
      }
    }
  }

  /// ε of the linear forms that guard a quotient; the releases write 1e-6. Left out by default, as
  /// a row whose normaliser is 0 becomes a row of zeros here.
  static let epsilon = Knob(
    "epsilon", "added to what rows are divided by; the releases have 1e-6", 0...1, standard: 0.0,
    step: .multiply(10), aliases: ["eps"])

  /// The head that the features are of.
  let head: Head
  /// Features of a query and a key.
  let width: Int
  /// `[queries * width]`, row by row.
  let query: [Double]
  /// `[width * keys]`, one feature of all keys after the other, so that a row of R is a sum of
  /// whole stretches.
  private let key: [Double]

  /// φ of every coordinate. Throws `Missing(.queryKey)` for stored maps.
  init(_ head: Head, _ map: Map) throws {
    guard head.queryAndKey != nil else { throw Missing(.queryKey) }
    let rows = DoubleRows(head)
    self.init(
      head, width: rows.dim, query: rows.query.map { map($0) }, key: rows.key.map { map($0) })
  }

  /// Features that are there already: `[queries * width]` and `[keys * width]`, row by row.
  init(_ head: Head, width: Int, query: [Double], key: [Double]) {
    let columns = Matrix(rows: head.keys, columns: width, elements: key).transposed()
    (self.head, self.width, self.query, self.key) = (head, width, query, columns.elements)
  }

  private init(_ other: LinearFeatures, query: [Double]) {
    (head, width, key) = (other.head, other.width, other.key)
    self.query = query
  }

  /// The same keys, and every query's features times a factor of its row.
  func scaled(_ factor: (_ row: Int) -> Double) -> LinearFeatures {
    var query = query
    for row in 0..<head.queries {
      let by = factor(row)
      for x in row * width..<(row + 1) * width { query[x] *= by }
    }
    return LinearFeatures(self, query: query)
  }

  /// Keys that a query sees, c_i.
  func seen(_ row: Int) -> Int { head.visibility.limit(row: row) }

  /// φ(q_i), `[width]`.
  func features(_ row: Int) -> [Double] { Array(query[row * width..<(row + 1) * width]) }

  /// R_ij of a query with the keys it sees, zeros after them: `[keys]`.
  func products(_ row: Int) -> [Double] { products(features(row), limit: seen(row)) }

  /// Any `[width]` features with the first `limit` keys, zeros after them: `[keys]`.
  func products(_ features: [Double], limit: Int) -> [Double] {
    var out = [Double](repeating: 0, count: head.keys)
    add(features, limit: limit, to: &out)
    return out
  }

  /// The same, added to `[keys]` sums.
  func add(_ features: [Double], limit: Int, to out: inout [Double]) {
    let keys = head.keys
    out.withUnsafeMutableBufferPointer { out in
      key.withUnsafeBufferPointer { key in
        for (x, feature) in features.enumerated() where feature != 0 {
          for j in 0..<limit { out[j] += feature * key[x * keys + j] }
        }
      }
    }
  }

  /// Σ_j R_ij over the keys that each query sees: `[queries]`, by running sums of the keys'
  /// features.
  func totals() -> [Double] {
    let keys = head.keys
    var totals = [Double](repeating: 0, count: head.queries)
    for x in 0..<width {
      var sum = 0.0, seen = 0
      for row in 0..<head.queries {
        let limit = self.seen(row)
        while seen < limit {
          sum += key[x * keys + seen]
          seen += 1
        }
        totals[row] += query[row * width + x] * sum
      }
    }
    return totals
  }

  /// Means of φ(q): over the rows up to each one in causal heads, else over all of them,
  /// `[queries * width]`.
  func meanQueries() -> [Double] {
    var sums = query
    for row in stride(from: 1, to: head.queries, by: 1) {
      for x in 0..<width { sums[row * width + x] += sums[(row - 1) * width + x] }
    }
    let last = head.queries - 1, causal = head.visibility.causal
    return sums.indices.map { at in
      let row = causal ? at / width : last
      return sums[row * width + at % width] / Double(row + 1)
    }
  }

  /// Σ_j a_j φ(k_j) v_jᵀ over the first keys, `[width, d_v]`: the buffer that a linear form keeps;
  /// `weights` has one a for each of them, `values` is `[keys * valueWidth]`.
  func buffer(_ weights: [Double], _ values: [Double], valueWidth: Int) -> Matrix {
    let keys = head.keys
    let left = Matrix(rows: width, columns: weights.count) { key[$0 * keys + $1] * weights[$1] }
    return left.multiplied(
      by: Matrix(
        rows: weights.count, columns: valueWidth,
        elements: Array(values[..<(weights.count * valueWidth)])))
  }
}

extension LinearFeatures {
  /// A field `[queries, keys]` of a rule that gives `[keys]` values of a row; NaN where a query may
  /// not see.
  func field(_ row: @escaping @Sendable (Int) -> [Double]) -> RuleField {
    KernelRows.field(head, row)
  }

  /// Rows over their sums, R_ij / (Σ_s R_is + ε); a row whose sum is 0 becomes zeros.
  func normalised(epsilon: Double = 0) -> @Sendable (Int) -> [Double] {
    { Self.divided(self.products($0), epsilon: epsilon) }
  }

  /// A row `[keys]` over its sum and ε; zeros where that is 0.
  static func divided(_ row: [Double], epsilon: Double = 0) -> [Double] {
    let sum = row.reduce(0, +) + epsilon
    return row.map { sum == 0 ? 0 : $0 / sum }
  }
}

extension CostFacts {
  /// Of forms that subtract a row's mean instead of dividing: they keep Σ φ(k_j) v_jᵀ `[m, d_v]`,
  /// Σ φ(k_j) `[m]` and Σ v_j `[d_v]`. A token adds to the three and reads them, a multiply-add
  /// being two FLOPs.
  init(subtracting features: LinearFeatures) {
    let head = features.head, m = features.width, values = head.value == nil ? m : head.valueDim
    let state = m * values + m + values
    self.init(head, state: state, flops: 4 * Double(state))
  }
}
