import Algebra
import Analysis
import Attention

/// Centralities of a walk, and how many hops it takes.
///
/// All hops are solved for at once, S = (I - γÂ)⁻¹ - I on all threads, n³ / 6 for causal graphs and
/// n³ for others: Katz centralities are its column and row sums, whatever γ. The mass of the first
/// hops is that of products with a vector, n² a hop. The eigenvector is that of the graph where it
/// is not triangular. Hops are counted on S by some 2 log₂ L products of n³ each.
struct WalkFacts: Sendable {
  /// Hops whose mass is drawn.
  private static let drawn = 16

  /// Â, `[n, n]`.
  private let graph: WalkGraph
  /// γ, below 1.
  private let discount: Double
  /// S, `[n, n]`: Σ γ^t Â^t over all t ≥ 1.
  private let sum: Matrix

  /// `solver` is that of the graph and the discount. Throws `CancellationError`.
  init(_ graph: WalkGraph, _ solver: WalkSolver, discount: Double, _ run: MethodRun) throws {
    (self.graph, self.discount) = (graph, discount)
    let rows = try RowPicks.spread(graph.size, by: 8, run) { part in
      part.flatMap { row in solver.row(graph.matrix.row(row).map { $0 * discount }) }
    }
    sum = Matrix(rows: graph.size, columns: graph.size, elements: rows)
  }

  /// Says all of it. Throws `CancellationError`, `Missing`.
  func add(_ rows: RegressionRows, _ run: MethodRun, to findings: inout Findings) throws {
    let n = graph.size, tokens = Axis(.key, n), ones = [Double](repeating: 1, count: n)
    var inward = [Double](repeating: 0, count: n), outward = inward, masses: [Double] = []
    for (at, value) in sum.elements.enumerated() {
      inward[at % n] += value
      outward[at / n] += value
    }
    graph.walk(ones, discount: discount, hops: Self.drawn) { masses.append($0.reduce(0, +)) }
    findings.series("katz_in", tokens, inward.map { Float($0) }, title: "Katz centrality, inward")
    findings.series(
      "katz_out", Axis(.query, n), outward.map { Float($0) }, title: "Katz centrality, outward")
    let total = inward.reduce(0, +)
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
    guard !graph.isCausal else {
      let diagonal = (0..<n).map { graph.matrix[$0, $0] }
      let isKnown = graph.matrix.largestMagnitude.isFinite
      findings.number("spectral_radius", isKnown ? diagonal.max() : nil)
      findings.number("cosine", nil, title: "cosine of linear scores and eigenvector")
      findings.note("causal: eigenvalues stand on the diagonal; Katz says what is central")
      return
    }
    let principal = Principal(graph, scores)
    findings.number("spectral_radius", principal.value)
    findings.series(
      "eigenvector", Axis(.key, n), principal.vector,
      title: "dominant left eigenvector, length 1")
    findings.number(
      "cosine", principal.cosine, title: "cosine of linear scores and eigenvector")
    if !principal.isSettled { findings.note("the eigenvector still moved after 100 steps") }
  }

  /// A vector at length 1; zeros stay.
  private static func unit(_ x: [Double]) -> [Double] {
    let norm = LensRows.norm(x)
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
    var tail = sum
    let enough = share * tail.frobeniusNorm
    guard enough > 0 else { return nil }
    var powers = [graph.matrix]
    for at in powers[0].elements.indices { powers[0].elements[at] *= discount }
    var hops = 0
    while true {
      let last = powers.count - 1, next = try KernelRows.product(tail, powers[last], run)
      guard next.frobeniusNorm > enough else { break }
      (tail, hops) = (next, hops + 1 << last)
      powers.append(try KernelRows.product(powers[last], powers[last], run))
    }
    for power in (0..<powers.count - 1).reversed() {
      let next = try KernelRows.product(tail, powers[power], run)
      if next.frobeniusNorm > enough { (tail, hops) = (next, hops + 1 << power) }
    }
    return hops + 1
  }
}
