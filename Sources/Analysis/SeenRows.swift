import Attention

/// The rows that a label is tried on, and how many of their entries a shape takes.
///
/// A row sees the keys from `first` up to `limit` and stands at `position`; entries that it
/// does not see are never counted. Positions before the first key count as the first, as in
/// `KeptSet`; rows that share one see the same.
struct SeenRows {
  let rows: [Int]
  private let firsts, limits: [Int]
  private let positions: [Int]
  /// How many rows see each key.
  let viewers: [Int]
  /// How many entries lie at each distance from the diagonal, on both sides.
  let diagonals: [Int]
  /// By position: rows that stand there and see something, and from where to where.
  private let standing: [(rows: Int, first: Int, limit: Int)]

  init(_ head: Head, _ rows: [Int]) {
    let visibility = head.visibility
    let most = max(head.keys, visibility.position(row: head.queries - 1) + 1)
    self.rows = rows
    limits = rows.map { visibility.limit(row: $0) }
    firsts = zip(rows, limits).map { min(visibility.first(row: $0), $1) }
    positions = rows.map { min(max(visibility.position(row: $0), 0), most) }
    var standing = [(rows: Int, first: Int, limit: Int)](repeating: (0, 0, 0), count: most + 1)
    // Each row adds one over a run of keys, and over runs of distances: steps up and down, summed
    // in the end.
    var keys = [Int](repeating: 0, count: head.keys + 1)
    var distances = [Int](repeating: 0, count: most + 2)
    for (index, position) in positions.enumerated() where limits[index] > 0 {
      let first = firsts[index], limit = limits[index]
      standing[position] = (standing[position].rows + 1, first, limit)
      keys[first] += 1
      keys[limit] -= 1
      // Behind, its own position among them, and ahead.
      if first <= position {
        distances[max(0, position - limit + 1)] += 1
        distances[position - first + 1] -= 1
      }
      if limit > position + 1 {
        distances[max(1, first - position)] += 1
        distances[limit - position] -= 1
      }
    }
    self.standing = standing
    viewers = Self.sums(keys)
    diagonals = Self.sums(distances)
  }

  /// How many there are at each place but the last, of steps up and down.
  static func sums(_ steps: [Int]) -> [Int] {
    var sum = 0
    return steps.dropLast().map { step in
      sum += step
      return sum
    }
  }

  /// Entries of all rows.
  var visible: Int { zip(firsts, limits).reduce(0) { $0 + $1.1 - $1.0 } }

  /// Entries of the first `initial` columns and of the diagonals nearer than `local`.
  func aShape(initial: Int, local: Int) -> Int {
    var count = 0
    for (index, position) in positions.enumerated() {
      let own = firsts[index], limit = limits[index], first = max(own, min(initial, limit))
      let low = max(first, position - local + 1), high = min(limit, position + local)
      count += first - own + max(0, local > 0 ? high - low : 0)
    }
    return count
  }

  /// Entries at a distance from the diagonal that lie on none of some columns.
  func entries(distance: Int, beside columns: [Int]) -> Int {
    columns.reduce(diagonals[distance]) { $0 - crossings($1, distance) }
  }

  /// Entries of a column that lie at none of some distances.
  func entries(column: Int, beside distances: [Int]) -> Int {
    distances.reduce(viewers[column]) { $0 - crossings(column, $1) }
  }

  /// Entries of a column that lie at a distance: one below the diagonal and one above, but for rows
  /// that share a position.
  private func crossings(_ column: Int, _ distance: Int) -> Int {
    func at(_ position: Int) -> Int {
      guard standing.indices.contains(position), standing[position].first <= column,
        standing[position].limit > column
      else { return 0 }
      return standing[position].rows
    }
    return at(column + distance) + (distance > 0 ? at(column - distance) : 0)
  }

  /// Entries of a block of rows, by their places in `rows`, and keys.
  func entries(_ places: Range<Int>, _ keys: Range<Int>) -> Int {
    places.reduce(0) {
      $0 + max(0, min(limits[$1], keys.upperBound) - max(firsts[$1], keys.lowerBound))
    }
  }
}

/// The largest number of a range that fits, where all below it do; the first when none does.
func largest(_ range: ClosedRange<Int>, _ fits: (Int) -> Bool) -> Int {
  var low = range.lowerBound, high = range.upperBound
  while low < high {
    let middle = (low + high + 1) / 2
    if fits(middle) { low = middle } else { high = middle - 1 }
  }
  return low
}
