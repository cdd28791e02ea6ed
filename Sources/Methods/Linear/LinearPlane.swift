import Analysis
import Attention

/// Where the tokens of a head lie, one beside the other along the text or on the grid of an image:
/// for terms that mix neighbours.
///
/// Tokens that are no patches (class, registers, text) have no neighbours on a grid but themselves,
/// and share one window. Places are counted along the keys.
struct LinearPlane: Sendable {
  /// What neighbours are.
  enum Kind: String, Sendable, CaseIterable { case line, grid }

  /// A token in reach, and how far it is, squared.
  struct Near: Sendable {
    /// Its place among the keys.
    let token: Int
    /// dx² + dy², in tokens or patches.
    let square: Int
  }

  private let head: Head
  private let grid: (side: TokenFacts.Grid, first: Int)?

  /// Throws `Missing(.imageGrid)` where a grid is wanted and there is none.
  init(_ kind: Kind, _ head: Head, _ tokens: TokenFacts) throws {
    self.head = head
    guard kind == .grid else {
      grid = nil
      return
    }
    guard let side = tokens.grid, let patches = side.tokens(of: head.keys) else {
      throw Missing(.imageGrid)
    }
    grid = (side, patches.lowerBound)
  }

  /// Place of a query row among the keys.
  func place(_ row: Int) -> Int { head.visibility.position(row: row) }

  /// Tokens within `reach` along each direction, ascending, itself among them.
  func near(_ place: Int, reach: Int) -> [Near] {
    guard let (side, first) = grid else {
      return stride(from: max(place - reach, 0), to: min(place + reach + 1, head.keys), by: 1).map {
        Near(token: $0, square: ($0 - place) * ($0 - place))
      }
    }
    let patch = place - first
    guard (0..<side.patches).contains(patch) else { return [Near(token: place, square: 0)] }
    let (y, x) = patch.quotientAndRemainder(dividingBy: side.columns)
    return (max(y - reach, 0)...min(y + reach, side.rows - 1)).flatMap { v in
      (max(x - reach, 0)...min(x + reach, side.columns - 1)).map { u in
        Near(
          token: first + v * side.columns + u, square: (u - x) * (u - x) + (v - y) * (v - y))
      }
    }
  }

  /// Which window a token is in: runs of `count` tokens, or squares of about as many patches.
  func window(_ place: Int, count: Int) -> Int {
    guard let (side, first) = grid else { return max(place, 0) / max(count, 1) }
    let patch = place - first
    guard (0..<side.patches).contains(patch) else { return -1 }
    let length = max(1, Int(Double(count).squareRoot()))
    let across = (side.columns + length - 1) / length
    return patch / side.columns / length * across + patch % side.columns / length
  }

  /// Weights of a Gaussian of `width` tokens, or `width` by `width` patches, over the query rows
  /// around one, past ones alone where causal; they sum to 1 at the edges too.
  func gaussian(_ row: Int, width: Int, deviation: Double) -> [(row: Int, weight: Double)] {
    let sight = head.visibility, place = place(row)
    let all = near(place, reach: width / 2).compactMap { near -> (row: Int, weight: Double)? in
      let other = near.token - sight.offset
      guard (0..<head.queries).contains(other), !sight.causal || near.token <= place else {
        return nil
      }
      return (other, exponential(-Double(near.square) / (2 * deviation * deviation)))
    }
    let sum = all.reduce(0) { $0 + $1.weight }
    return all.map { ($0.row, $0.weight / sum) }
  }

  /// Numbers `local_mass_R`: the share of Σ|W| within R tokens of the query, for each R of
  /// `reaches`; over the rows of a whole map, else over 64. Throws `CancellationError`.
  static func addMass(
    _ head: Head, _ row: @escaping @Sendable (Int) -> [Double], _ reaches: [Int], wholeMap: Int,
    _ run: MethodRun, to findings: inout Findings
  ) throws {
    let rows = KernelRows.chosen(head, whole: wholeMap)
    let sums = try RowPicks.spread(rows.count, by: 16, run) { part in
      part.map { index -> [Double] in
        let weights = row(rows[index]), place = head.visibility.position(row: rows[index])
        var sums = [Double](repeating: 0, count: reaches.count + 1)
        for (key, weight) in weights.enumerated() where weight != 0 {
          sums[reaches.count] += abs(weight)
          for (slot, reach) in reaches.enumerated() where abs(place - key) <= reach {
            sums[slot] += abs(weight)
          }
        }
        return sums
      }
    }
    let total = sums.reduce(0) { $0 + $1[reaches.count] }
    for (slot, reach) in reaches.enumerated() {
      findings.number(
        "local_mass_\(reach)", total > 0 ? sums.reduce(0) { $0 + $1[slot] } / total : nil, .share,
        title: "mass within \(reach) token\(reach == 1 ? "" : "s")")
    }
  }
}
