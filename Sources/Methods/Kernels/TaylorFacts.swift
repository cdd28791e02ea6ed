import Algebra
import Analysis
import Attention

/// What there is to say of orders of interaction beside the map.
struct TaylorFacts: Sendable {
  /// Orders that are looked at: 0 to 79, as many as the published reference takes.
  static let orders = 80
  /// Most tokens for errors by order of all rows, and how many rows are taken above.
  static let errorTokens = 512, errorRows = 128

  /// E_P, its order and what divides it.
  private let rows: TaylorRows
  /// The head that the scores are of.
  private var head: Head { rows.head }

  /// Of the scores of these rows.
  init(_ rows: TaylorRows) { self.rows = rows }

  /// Share of every order in a row, `[queries, 80]`.
  ///
  /// How many powers of its scores a row really uses: one of small scores sits at the left.
  var field: RuleField {
    let names = (0..<Self.orders).map { "\($0)" }
    return RuleField(
      rows: Axis(.query, head.queries), columns: Axis(.rank, Self.orders, labels: names)
    ) { row, out in
      let shares = Self.shares(rows.scores(row))
      for (order, share) in shares.enumerated() { out[order] = Float(share) }
    }
  }

  /// Σ_j |S_ij|^p / p! over Σ_j e^|S_ij| of a row of scores, `[80]`: a mean of Poisson
  /// distributions.
  private static func shares(_ scores: [Double]) -> [Double] {
    let sizes = scores.map(\.magnitude)
    var shares = [Double](repeating: 0, count: orders)
    guard let top = sizes.max(), top.isFinite else { return shares }
    var terms = sizes.map { _ in exponential(-top) }
    let total = sizes.reduce(0) { $0 + exponential($1 - top) }
    for order in shares.indices {
      if order > 0 {
        let share = 1 / Double(order)
        for key in terms.indices { terms[key] *= sizes[key] * share }
      }
      shares[order] = terms.reduce(0, +) / total
    }
    return shares
  }

  /// Numbers, the series and the curves. Throws `CancellationError`.
  ///
  /// Means are over all rows up to `whole` tokens, over 64 of them above.
  func add(_ run: MethodRun, whole: Int, to findings: inout Findings) throws {
    let chosen = KernelRows.chosen(head, whole: whole)
    let parts = try RowPicks.spread(chosen.count, by: 16, run) { part in
      [
        MassSum(
          part.map {
            let scores = rows.scores(chosen[$0])
            return (Self.shares(scores), scores)
          })
      ]
    }
    let sum = parts.reduce(into: MassSum()) { $0.add($1) }
    let mean = sum.shares.map { $0 / Double(max(sum.rows, 1)) }
    findings.series(
      "order_mass", Axis(.rank, Self.orders, labels: (0..<Self.orders).map { "\($0)" }),
      mean.map { Float($0) }, .share, title: "mass by order, mean over rows")
    findings.number("max_score", sum.rows > 0 ? sum.top : nil, .logits, title: "largest |score|")
    findings.number(
      "mass_within", sum.rows > 0 ? mean.prefix(rows.order + 1).reduce(0, +) : nil, .share,
      title: "mass of the orders in force")
    try addErrors(run, &findings)
    addStates(&findings)
  }

  /// Orders that are needed until a remainder bound says that the error is gone: |E_P - e^S| ≤ e^s
  /// s^{P+1} / (P+1)! for |S| ≤ s. `top` is s of the rows whose error it is, in logits.
  private static func needed(top: Double) -> Int {
    var count = 1, remainder = 2 * top + logarithm(max(top, 1e-300))
    while count < orders, remainder > logarithm(1e-9) {
      count += 1
      remainder += logarithm(max(top, 1e-300)) - logarithm(Double(count))
    }
    return count
  }

  /// Output error of the row-normalised form, order by order, until nothing is left of it. Throws
  /// `CancellationError`. Memory: the scores of at most 512 rows.
  private func addErrors(_ run: MethodRun, _ findings: inout Findings) throws {
    guard let values = KernelRows.values(head) else {
      for name in ["order_error_2", "order_error_3"] { findings.number(name, nil) }
      return
    }
    let chosen = KernelRows.chosen(head, whole: Self.errorTokens, Self.errorRows)
    let logits = try RowPicks.spread(chosen.count, by: 8, run) { part in
      part.map { rows.logits(chosen[$0]) }
    }
    let top = logits.reduce(0.0) { top, row in
      rows.cut(row).reduce(top) { max($0, $1.magnitude) }
    }
    let count = Self.needed(top: top)
    let parts = try RowPicks.spread(chosen.count, by: 8, run) { part in
      [part.reduce(into: ErrorSum(orders: count)) { $0.add(logits[$1], rows, values) }]
    }
    let sum = parts.reduce(into: ErrorSum(orders: count)) { $0.add($1) }
    let errors = sum.errors
    if chosen.count < head.queries { findings.note("errors by order from \(chosen.count) rows") }
    for (name, most) in [("order_error_2", 1e-2), ("order_error_3", 1e-3)] {
      let found = errors.firstIndex { $0 < most }
      findings.number(
        name, found.map(Double.init), .count, title: "orders for an output error below \(most)")
      if found == nil, errors.count == Self.orders {
        findings.note("more than 79 orders for an output error below \(most)")
      }
    }
    let points = errors.enumerated().filter { $0.element.isFinite }.map {
      Curve.Point(Double($0.offset), $0.element)
    }
    let here = points.first { $0.x == Double(rows.order) }
    findings.curve(
      "error_by_order",
      Curve(
        x: "order", y: "output error, relative L2", points: points,
        marks: here.map { [.init("P", x: $0.x, y: $0.y)] } ?? []),
      title: "output error by order")
  }

  /// Σ_{p≤P} d^p features, and what a token costs with them.
  ///
  /// A state grows as d^P: what the recurrent form is about, and why none runs it far.
  private func addStates(_ findings: inout Findings) {
    let d = Double(rows.rows.dim)
    guard d > 0 else { return }
    var sizes: [Double] = [], power = 1.0
    for _ in 0...max(16, rows.order) {
      sizes.append((sizes.last ?? 0) + power)
      power *= d
    }
    let features = sizes[rows.order]
    findings.number("features", features, .count, title: "features of the orders in force")
    findings.curve(
      "state_by_order",
      Curve(
        x: "order", y: "features, as a power of ten",
        points: (0...16).map { .init(Double($0), logarithm(sizes[$0]) / logarithm(10)) },
        marks: rows.order <= 16
          ? [.init("P", x: Double(rows.order), y: logarithm(features) / logarithm(10))] : []),
      title: "features by order")
    let width = Double(
      head.value == nil ? rows.rows.dim : head.valueDim)
    let state = features * (width + 1)
    guard state < 1e15 else {
      findings.note("the recurrent form of this order would keep more than 1e15 elements")
      return
    }
    CostFacts(head, state: Int(state), flops: 4 * state).add(to: &findings)
  }
}

/// Shares of orders over some rows.
private struct MassSum: Sendable {
  /// Rows that see something.
  var rows = 0
  /// `[80]`
  var shares = [Double](repeating: 0, count: TaylorFacts.orders)
  /// The largest |S|.
  var top = 0.0

  /// Nothing yet.
  init() {}

  /// Shares and scores of each row.
  init(_ found: [(shares: [Double], scores: [Double])]) {
    for row in found where !row.scores.isEmpty {
      rows += 1
      for order in shares.indices { shares[order] += row.shares[order] }
      for score in row.scores { top = max(top, score.magnitude) }
    }
  }

  /// Rows that come after.
  mutating func add(_ other: MassSum) {
    rows += other.rows
    for order in shares.indices { shares[order] += other.shares[order] }
    top = max(top, other.top)
  }
}

/// Squares of output differences, order by order.
private struct ErrorSum: Sendable {
  /// `[orders]`
  private var squares: [Double]
  /// Σ ‖A V‖² of the rows.
  private var norm = 0.0

  /// Of orders 0 to `orders` - 1.
  init(orders: Int) { squares = [Double](repeating: 0, count: orders) }

  /// ‖W_P V - A V‖ / ‖A V‖ of every order, `[orders]`; empty where there are no outputs.
  var errors: [Double] { norm > 0 ? squares.map { ($0 / norm).squareRoot() } : [] }

  /// One row of logits `[limit]`: the terms of every order, and the weights of softmax, times V at
  /// once.
  mutating func add(_ logits: [Double], _ rows: TaylorRows, _ values: Matrix) {
    let scores = rows.cut(logits), limit = scores.count, width = values.columns
    guard limit > 0 else { return }
    var terms = Matrix(rows: squares.count + 1, columns: limit, repeating: 1)
    for order in 1..<max(squares.count, 1) {
      let share = 1 / Double(order), (from, to) = ((order - 1) * limit, order * limit)
      for key in 0..<limit {
        terms.elements[to + key] = terms.elements[from + key] * scores[key] * share
      }
    }
    terms.elements.replaceSubrange(
      squares.count * limit..<(squares.count + 1) * limit, with: Elementary.softmax(logits))
    let seen = Matrix(
      rows: limit, columns: width, elements: Array(values.elements[..<(limit * width)]))
    let outputs = terms.multiplied(by: seen), dense = outputs.row(squares.count)
    var sum = 0.0, mixed = [Double](repeating: 0, count: width)
    for order in squares.indices {
      sum += terms.elements[order * limit..<(order + 1) * limit].reduce(0, +)
      let factor = sum.magnitude > KernelRows.leastSum ? 1 / sum : 0
      for x in 0..<width {
        mixed[x] += outputs[order, x]
        let off = mixed[x] * factor - dense[x]
        squares[order] += off * off
      }
    }
    norm += dense.reduce(0) { $0 + $1 * $1 }
  }

  /// Rows that come after.
  mutating func add(_ other: ErrorSum) {
    for order in squares.indices { squares[order] += other.squares[order] }
    norm += other.norm
  }
}
