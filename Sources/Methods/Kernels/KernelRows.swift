import Algebra
import Analysis
import Attention
import Tensors

/// What maps share: fields over what a head sees, rows that stand for all, division by a row's sum,
/// products on all threads.
enum KernelRows {
  /// A sum of a row that is not above this is no normaliser: the row is zeros.
  static let leastSum = 1e-12

  /// A field `[queries, keys]`; `row` gives `[keys]` values, or as many as the query sees. What it
  /// may not see becomes NaN.
  static func field(_ head: Head, _ row: @escaping @Sendable (Int) -> [Double]) -> RuleField {
    RuleField(rows: Axis(.query, head.queries), columns: Axis(.key, head.keys)) { query, out in
      let values = row(query), limit = head.visibility.limit(row: query)
      for key in 0..<head.keys { out[key] = key < limit ? Float(values[key]) : .nan }
    }
  }

  /// A B, `[rows][inner]` times `[inner][columns]`, rows on all threads: the same bits as one
  /// product, whose sums do not depend on the rows beside them. Throws `CancellationError`.
  static func product(_ a: Matrix, _ b: Matrix, _ run: MethodRun) throws -> Matrix {
    try rowwise(a, columns: b.columns, run) { $0.multiplied(by: b) }
  }

  /// What `body` makes of runs of 32 rows `[32][columns]`, on all threads, one run below the other:
  /// `[rows][columns]`. Throws `CancellationError`.
  static func rowwise(
    _ matrix: Matrix, columns: Int, _ run: MethodRun, _ body: @escaping @Sendable (Matrix) -> Matrix
  ) throws -> Matrix {
    let elements = try RowPicks.spread(matrix.rows, by: 32, run) { part in
      body(
        Matrix(
          rows: part.count, columns: matrix.columns,
          elements: Array(
            matrix.elements[part.lowerBound * matrix.columns..<part.upperBound * matrix.columns]))
      ).elements
    }
    return Matrix(rows: matrix.rows, columns: columns, elements: elements)
  }

  /// The softmax that a map is held beside.
  static func addDense(_ rows: DoubleRows, to findings: inout Findings) {
    findings.field("dense", field(rows.head) { rows.weights($0) }, .weights, title: "softmax")
  }

  /// All rows of a head up to `whole` tokens, else `count` of them, spread evenly.
  static func chosen(_ head: Head, whole: Int, _ count: Int = 64) -> [Int] {
    let isWhole = max(head.queries, head.keys) <= whole
    return MapPass.sample(0..<head.queries, isWhole ? head.queries : count)
  }

  /// Divides the first `limit` values by their sum and clears the others; all are zeros where the
  /// sum is within 1e-12 of 0, or no number.
  static func normalise(_ row: inout [Double], limit: Int) {
    var sum = 0.0
    for key in 0..<limit { sum += row[key] }
    divide(&row, by: sum, limit: limit)
  }

  /// The same by another divisor.
  static func divide(_ row: inout [Double], by divisor: Double, limit: Int) {
    let isNormaliser = divisor.magnitude > leastSum && divisor.isFinite
    let factor = isNormaliser ? 1 / divisor : 0
    for key in row.indices { row[key] = key < limit && isNormaliser ? row[key] * factor : 0 }
  }

  /// Rows `[count * dim]` as a matrix `[count][dim]`, every element times `factor`.
  static func matrix(_ values: [Double], dim: Int, times factor: Double = 1) -> Matrix {
    Matrix(
      rows: dim > 0 ? values.count / dim : 0, columns: dim,
      elements: factor == 1 ? values : values.map { $0 * factor })
  }

  /// The same with every row at length `length`; rows of zeros stay.
  static func unit(_ values: [Double], dim: Int, length: Double = 1) -> Matrix {
    var matrix = matrix(values, dim: dim)
    for row in 0..<matrix.rows {
      let range = row * dim..<(row + 1) * dim
      let norm = matrix.elements[range].reduce(0) { $0 + $1 * $1 }.squareRoot()
      guard norm > 0 else { continue }
      for x in range { matrix.elements[x] *= length / norm }
    }
    return matrix
  }

  /// V of a head as a matrix `[keys][channels]`; nil without V.
  static func values(_ head: Head) -> Matrix? {
    head.value.map { value in
      Matrix(rows: head.keys, columns: value.shape[1], elements: value.floats().map(Double.init))
    }
  }

  /// Mean of a sum over some rows; nil of none.
  static func mean(_ sum: Double, _ count: Int) -> Double? {
    count > 0 ? sum / Double(count) : nil
  }
}
