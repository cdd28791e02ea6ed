import Algebra
import Analysis
import Attention

/// Centralities of a walk, and how many hops it takes.
///
/// Katz centralities sum γ^t Âᵗ 1 from both sides over all hops, by products with a vector, n² a
/// hop. The eigenvector is that of the graph where it is not triangular. Hops are counted on the
/// whole Neumann map, by some 2 log₂ L products of n³ each.
struct WalkFacts: Sendable {
  /// Hops whose mass is drawn.
  private static let drawn = 16

  /// Â, `[n, n]`.
  private let graph: WalkGraph
  /// Rows of (I - γÂ)⁻¹.
  private let solver: WalkSolver
  /// γ, below 1.
  private let discount: Double

  /// `solver` is that of the graph and the discount.
  init(_ graph: WalkGraph, _ solver: WalkSolver, discount: Double) {
    (self.graph, self.solver, self.discount) = (graph, solver, discount)
  }

  /// Says all of it. Throws `CancellationError`, `Missing`.
  func add(_ rows: RegressionRows, _ run: MethodRun, to findings: inout Findings) throws {
    let n = graph.size, tokens = Axis(.key, n), ones = [Double](repeating: 1, count: n)
    var inward = [Double](repeating: 0, count: n), outward = inward, masses: [Double] = []
    graph.walk(ones, discount: discount) { term in
      for key in inward.indices { inward[key] += term[key] }
      masses.append(term.reduce(0, +))
      return true
    }
    graph.walk(ones, discount: discount, forward: true) { term in
      for row in outward.indices { outward[row] += term[row] }
      return true
    }
    findings.series("katz_in", tokens, inward.map { Float($0) }, title: "Katz centrality, inward")
    findings.series(
      "katz_out", Axis(.query, n), outward.map { Float($0) }, title: "Katz centrality, outward")
    let total = masses.reduce(0, +)
    findings.series(
      "hop_mass", Axis(.round, Self.drawn),
      (0..<Self.drawn).map { hop in
        masses.indices.contains(hop) && total > 0 ? Float(masses[hop] / total) : 0
      }, .share, title: "share of the walk's mass, by hop")
    try addEigenvector(rows, &findings)
    findings.number(
      "hops_needed", try hopsNeeded(share: 0.01, run).map(Double.init), .count,
      title: "hops needed for 1 % of the map")
    let received = try Self.columnSums(rows.head, run)
    findings.number(
      "katz_rank_correlation", WalkGraph.rankCorrelation(inward, received),
      title: "Spearman, Katz inward to softmax's column sums")
  }

  /// The dominant left eigenvector beside a of Linear-InfSA. Of a triangular graph the eigenvalues
  /// are the diagonal, and the vector is left out. Throws `Missing(.queryKey)`.
  private func addEigenvector(_ rows: RegressionRows, _ findings: inout Findings) throws {
    let scores = Self.unit(try LinearScores(rows).last()), n = graph.size
    findings.series(
      "linear_scores", Axis(.key, n), scores.map { Float($0) },
      title: "scores of Linear-InfSA, length 1")
    let isKnown = graph.matrix.largestMagnitude.isFinite
    guard !graph.isCausal else {
      let diagonal = (0..<n).map { graph.matrix[$0, $0] }
      findings.number("spectral_radius", isKnown ? diagonal.max() : nil)
      findings.number("cosine", nil, title: "cosine of linear scores and eigenvector")
      findings.note("causal: eigenvalues stand on the diagonal; Katz says what is central")
      return
    }
    let eigen = graph.leftEigenvector(), isZero = scores.allSatisfy { $0 == 0 }
    findings.number("spectral_radius", isKnown ? eigen?.value ?? 0 : nil)
    findings.series(
      "eigenvector", Axis(.key, n),
      eigen?.vector.map { Float($0) } ?? [Float](repeating: .nan, count: n),
      title: "dominant left eigenvector, length 1")
    let product = eigen.map { zip(scores, $0.vector).reduce(0) { $0 + $1.0 * $1.1 } }
    findings.number(
      "cosine", isZero ? nil : product, title: "cosine of linear scores and eigenvector")
    if let eigen, !eigen.settled { findings.note("the eigenvector still moved after 100 steps") }
  }

  /// A vector at length 1; zeros stay.
  private static func unit(_ x: [Double]) -> [Double] {
    let norm = x.reduce(0) { $0 + $1 * $1 }.squareRoot()
    return norm > 0 ? x.map { $0 / norm } : x
  }

  /// Column sums of the dense pattern. Throws `CancellationError`.
  private static func columnSums(_ head: Head, _ run: MethodRun) throws -> [Double] {
    let rows = DoubleRows(head)
    let parts = try RowPicks.spread(head.queries, by: 32, run) { part in
      var sums = [Double](repeating: 0, count: head.keys)
      for row in part {
        for (key, weight) in rows.weights(row).enumerated() { sums[key] += weight }
      }
      return [sums]
    }
    return parts.reduce(into: [Double](repeating: 0, count: head.keys)) { total, part in
      for key in total.indices { total[key] += part[key] }
    }
  }

  /// Smallest L with ‖S - S_L‖_F ≤ share ‖S‖_F, where S - S_L = S (γM)^L: powers of γM are doubled
  /// until enough, then halved back. Nil for a walk that goes nowhere. Throws `CancellationError`.
  func hopsNeeded(share: Double, _ run: MethodRun) throws -> Int? {
    let n = graph.size
    let whole = try RowPicks.spread(n, by: 8, run) { part in
      part.flatMap { row in solver.row(graph.matrix.row(row).map { $0 * discount }) }
    }
    var tail = Matrix(rows: n, columns: n, elements: whole)
    let enough = share * tail.frobeniusNorm
    guard enough > 0 else { return nil }
    var powers = [graph.matrix]
    for at in powers[0].elements.indices { powers[0].elements[at] *= discount }
    var hops = 0
    while true {
      let last = powers.count - 1, next = try Self.product(tail, powers[last], run)
      guard next.frobeniusNorm > enough else { break }
      (tail, hops) = (next, hops + 1 << last)
      powers.append(try Self.product(powers[last], powers[last], run))
    }
    for power in (0..<powers.count - 1).reversed() {
      let next = try Self.product(tail, powers[power], run)
      if next.frobeniusNorm > enough { (tail, hops) = (next, hops + 1 << power) }
    }
    return hops + 1
  }

  /// A product on all threads, by runs of rows. Throws `CancellationError`.
  private static func product(_ a: Matrix, _ b: Matrix, _ run: MethodRun) throws -> Matrix {
    let n = b.columns
    let elements = try RowPicks.spread(a.rows, by: 32, run) { part in
      let rows = Array(a.elements[part.lowerBound * a.columns..<part.upperBound * a.columns])
      return Matrix(rows: part.count, columns: a.columns, elements: rows)
        .multiplied(by: b).elements
    }
    return Matrix(rows: a.rows, columns: n, elements: elements)
  }
}
