import Algebra
import Analysis
import Attention

/// The descent of Hedgehog's two feature maps from the identity.
///
/// Rows are taken in runs of 32 on all threads, and what runs leave behind is added in their order:
/// a sum does not depend on who computed what. A run of queries needs the keys that its last row
/// sees, a run of keys the queries from the first that sees it, so that a causal head costs half.
struct HedgehogDescent: Sendable {
  /// H_q and H_k, `[d][d]`.
  private(set) var queryMap: Matrix, keyMap: Matrix
  /// -(1/n) Σ A ln A: the mean entropy of the rows, which no loss is below; in nats.
  let bound: Double

  /// Rows of a run.
  private static let chunk = 32

  /// The inputs, queries `[r][d]` of the rows that were chosen and keys `[n][d]`.
  private let query: Matrix, key: Matrix
  /// `[r]` rows of A, each as long as it sees.
  private let dense: [[Double]]
  /// What Adam remembers of each side.
  private var queryStep: Adam, keyStep: Adam

  /// `chosen` queries ascend; their rows of A are taken on all threads. Throws `CancellationError`.
  init(_ inputs: HedgehogInputs, _ chosen: [Int], _ run: MethodRun) throws {
    let rows = inputs.rows, d = rows.dim, sight = rows.head.visibility
    query = Matrix(
      rows: chosen.count, columns: d, elements: chosen.flatMap { inputs.query.row($0) })
    key = inputs.key
    dense = try RowPicks.spread(chosen.count, by: 16, run) { part in
      chosen[part].map { Array(rows.weights($0).prefix(sight.limit(row: $0))) }
    }
    let entropy = dense.joined().reduce(0.0) { $1 > 0 ? $0 - $1 * logarithm($1) : $0 }
    bound = entropy / Double(max(chosen.count, 1))
    (queryMap, keyMap) = (.identity(d), .identity(d))
    (queryStep, keyStep) = (Adam(d * d), Adam(d * d))
  }

  /// Takes steps and returns the loss before each and after the last, `[steps + 1]`, in nats.
  /// Throws `CancellationError`.
  mutating func run(steps: Int, rate: Double, _ run: MethodRun) throws -> [Double] {
    var losses: [Double] = []
    for step in 0...steps {
      let state = HedgehogState(
        self, try Self.features(query, queryMap, run), try Self.features(key, keyMap, run),
        isLast: step == steps)
      let forward = try Self.parts(query.rows, run) { state.queries($0) }
      losses.append(forward.reduce(0) { $0 + $1.loss } / Double(max(query.rows, 1)))
      guard step < steps else { break }
      let slopes = forward.map { $0.slopes }
      let backward = try Self.parts(key.rows, run) { state.keys($0, slopes, chunk: Self.chunk) }
      queryStep.move(&queryMap, along: Self.sum(forward.map { $0.gradient }), rate: rate)
      keyStep.move(&keyMap, along: Self.sum(backward), rate: rate)
    }
    return losses
  }

  /// Results of runs of 32 of `count`, in their order.
  private static func parts<Value: Sendable>(
    _ count: Int, _ run: MethodRun, _ body: @escaping @Sendable (Range<Int>) -> Value
  ) throws -> [Value] {
    let chunks = (count + chunk - 1) / chunk
    return try RowPicks.spread(chunks, by: 1, run) { part in
      part.map { body($0 * chunk..<min(($0 + 1) * chunk, count)) }
    }
  }

  /// φ(H x) of every row, `[rows][2d]`. Throws `CancellationError`.
  private static func features(_ x: Matrix, _ map: Matrix, _ run: MethodRun) throws -> Matrix {
    let map = map.transposed()
    let parts = try parts(x.rows, run) { HedgehogMap.features(part(x, $0).multiplied(by: map)) }
    return Matrix(rows: x.rows, columns: 2 * x.columns, elements: parts.flatMap(\.elements))
  }

  /// Some rows of a matrix.
  private static func part(_ matrix: Matrix, _ rows: Range<Int>) -> Matrix {
    let width = matrix.columns
    return Matrix(
      rows: rows.count, columns: width,
      elements: Array(matrix.elements[rows.lowerBound * width..<rows.upperBound * width]))
  }

  /// The sum of matrices of one size, in their order.
  private static func sum(_ parts: [Matrix]) -> Matrix {
    var total = parts[0]
    for part in parts.dropFirst() {
      for index in total.elements.indices { total.elements[index] += part.elements[index] }
    }
    return total
  }

  /// What runs of one step read.
  private struct HedgehogState: Sendable {
    /// Inputs and rows of A, as the descent holds them.
    private let query: Matrix, key: Matrix, dense: [[Double]]
    /// φ(Q) `[r][2d]`, φ(K) `[n][2d]` and its mirror image.
    private let queryFeatures: Matrix, keyFeatures: Matrix, keyColumns: Matrix
    /// The loss alone is wanted.
    private let isLast: Bool

    /// `queries` and `keys` are the features of this step.
    init(_ descent: HedgehogDescent, _ queries: Matrix, _ keys: Matrix, isLast: Bool) {
      (query, key, dense) = (descent.query, descent.key, descent.dense)
      (queryFeatures, keyFeatures) = (queries, keys)
      keyColumns = keyFeatures.transposed()
      self.isLast = isLast
    }

    /// Of a run of queries: its share of n L, n ∂L/∂R `[rows][seen]`, and of ∂L/∂H_q.
    func queries(_ range: Range<Int>) -> (loss: Double, slopes: Matrix, gradient: Matrix) {
      let seen = dense[range].map(\.count).max() ?? 0
      let features = HedgehogDescent.part(queryFeatures, range)
      var slopes = features.multiplied(by: Self.leading(keyColumns, seen)), loss = 0.0
      let share = 1 / Double(query.rows)
      for (row, place) in range.enumerated() {
        let a = dense[place], start = row * seen
        var sum = 0.0
        for j in a.indices { sum += slopes.elements[start + j] }
        sum = max(sum, HedgehogMap.least)
        for j in 0..<seen {
          guard j < a.count else {
            slopes.elements[start + j] = 0
            continue
          }
          let r = slopes.elements[start + j]
          if a[j] > 0 { loss -= a[j] * logarithm(r / sum) }
          slopes.elements[start + j] = share * (1 / sum - a[j] / r)
        }
      }
      guard !isLast else { return (loss, slopes, Matrix(rows: 0, columns: 0)) }
      let inner = slopes.multiplied(by: HedgehogDescent.part(keyFeatures, 0..<seen))
      return (loss, slopes, Self.gradient(inner, features, HedgehogDescent.part(query, range)))
    }

    /// Of a run of keys: its share of ∂L/∂H_k, from the slopes of all runs of queries.
    func keys(_ range: Range<Int>, _ slopes: [Matrix], chunk: Int) -> Matrix {
      let features = HedgehogDescent.part(keyFeatures, range)
      var inner = Matrix(rows: range.count, columns: features.columns)
      for (run, part) in slopes.enumerated() where part.columns > range.lowerBound {
        let mirror = Matrix(rows: range.count, columns: part.rows) { j, i in
          range.lowerBound + j < part.columns ? part[i, range.lowerBound + j] : 0
        }
        let rows = run * chunk..<run * chunk + part.rows
        let sum = mirror.multiplied(by: HedgehogDescent.part(queryFeatures, rows))
        for index in inner.elements.indices { inner.elements[index] += sum.elements[index] }
      }
      return Self.gradient(inner, features, HedgehogDescent.part(key, range))
    }

    /// Σ du xᵀ `[d][d]`, du = p ⊙ (dp - p · dp) of the first half of the features less that of the
    /// second.
    private static func gradient(_ inner: Matrix, _ features: Matrix, _ x: Matrix) -> Matrix {
      let d = x.columns
      var mirror = Matrix(rows: d, columns: x.rows)
      for row in 0..<x.rows {
        for (sign, start) in [(1.0, 2 * row * d), (-1.0, (2 * row + 1) * d)] {
          var mean = 0.0
          for c in start..<start + d { mean += features.elements[c] * inner.elements[c] }
          for c in 0..<d {
            let at = start + c
            mirror.elements[c * x.rows + row] +=
              sign * features.elements[at] * (inner.elements[at] - mean)
          }
        }
      }
      return mirror.multiplied(by: x)
    }

    /// Its first columns.
    private static func leading(_ matrix: Matrix, _ columns: Int) -> Matrix {
      guard columns < matrix.columns else { return matrix }
      var elements: [Double] = []
      elements.reserveCapacity(matrix.rows * columns)
      for row in 0..<matrix.rows {
        let start = row * matrix.columns
        elements += matrix.elements[start..<start + columns]
      }
      return Matrix(rows: matrix.rows, columns: columns, elements: elements)
    }
  }
}

/// Adam (Kingma and Ba, 2015): steps by a running mean of slopes over the root of that of their
/// squares.
private struct Adam: Sendable {
  /// Running means of slopes and of their squares, not yet corrected for their start at zero.
  private var mean: [Double], square: [Double]
  /// β1 and β2 to the power of the steps taken.
  private var fade = (mean: 1.0, square: 1.0)

  /// For so many numbers.
  init(_ count: Int) {
    mean = [Double](repeating: 0, count: count)
    square = mean
  }

  /// One step down the slope.
  mutating func move(_ matrix: inout Matrix, along slope: Matrix, rate: Double) {
    let (first, second) = (0.9, 0.999)
    fade = (fade.mean * first, fade.square * second)
    for index in mean.indices {
      let g = slope.elements[index]
      mean[index] = first * mean[index] + (1 - first) * g
      square[index] = second * square[index] + (1 - second) * g * g
      let root = (square[index] / (1 - fade.square)).squareRoot()
      matrix.elements[index] -= rate * mean[index] / (1 - fade.mean) / (root + 1e-8)
    }
  }
}
