import Attention

/// The kept sets that a head is tried with: each shape at several splits of the same number of
/// entries, filled as nearly as whole columns, diagonals and blocks allow and never beyond.
struct ShapeChoices {
  typealias Choice = (name: PatternLabel.Name, detail: String, set: KeptSet)

  private let head: Head
  private let rows: SeenRows
  /// Entries that a set may keep, of those that the rows see.
  private let budget: Int
  /// Those with any mass, the heaviest first.
  private let columns, distances: [Int]
  /// Key blocks of each query block, best first, by the size of a block.
  private let ranked: [(size: Int, blocks: [[Int]])]

  /// Columns or diagonals that are passed over before no more are tried.
  private static let mostMisses = 64
  /// Smaller blocks are hardly more than single entries, chosen one by one: every head would be
  /// block-sparse.
  private static let leastBlock = 4

  init(_ head: Head, _ pattern: PatternRows, _ rows: SeenRows, budget: Int) {
    (self.head, self.rows, self.budget) = (head, rows, budget)
    let seen = Shapes.lastQueries(pattern, rows: 64)
    columns = Shapes.top(head.keys, of: seen.columns).filter { seen.columns[$0] > 0 }
    distances = Shapes.top(seen.offsets.count, of: seen.offsets).filter { seen.offsets[$0] > 0 }
    // The largest block of which two fit into each query block's budget, and the next smaller ones.
    var size = 64
    while size > 2, budget < 2 * size * rows.rows.count { size /= 2 }
    ranked = [size, size / 2, size / 4].filter { $0 == size || $0 >= Self.leastBlock }.map {
      ($0, Shapes.rankedBlocks(head, size: $0))
    }
  }

  /// A-shape with 0, 1, 4, 16... first columns, vertical-slash with five splits, block-sparse with
  /// up to three sizes.
  var candidates: [Choice] {
    var choices: [Choice] = []
    for initial in [0, 1, 4, 16, 64, 256]
    where initial <= head.keys && rows.aShape(initial: initial, local: 0) <= budget {
      choices.append(aShape(initial: initial, budget))
    }
    for share in [0.0, 0.25, 0.5, 0.75, 1.0] {
      choices.append(verticalSlash(columns: share, budget))
    }
    return choices + ranked.map { blockSparse($0.size, $0.blocks, budget) }
  }

  /// Unions of the shapes, each with an equal part of the budget: as large a part as their overlap
  /// leaves room for.
  func unions(blockSize: Int) -> [Choice] {
    let blocks = ranked.first { $0.size == blockSize } ?? ranked[0]
    func two(_ part: Int) -> KeptSet {
      aShape(initial: 4, part).set.union(verticalSlash(columns: 0.5, part).set)
    }
    func three(_ part: Int) -> KeptSet {
      two(part).union(blockSparse(blocks.size, blocks.blocks, part).set)
    }
    return [("", 3, three), ("A-shape and vertical-slash, ", 2, two)].map {
      name, count, make -> Choice in
      // In steps of a hundredth; an equal share of each always fits.
      func part(_ percent: Int) -> Int { budget * percent / 100 }
      let percent = largest(100 / count...100) {
        make(part($0)).count(rows.rows, head.visibility) <= budget
      }
      return (.hybrid, name + "each shape with \(percent) % of the budget", make(part(percent)))
    }
  }

  /// The window takes what the columns leave, then columns what the window leaves.
  private func aShape(initial: Int, _ budget: Int) -> Choice {
    let first = largest(0...min(initial, head.keys)) {
      rows.aShape(initial: $0, local: 0) <= budget
    }
    let local = largest(0...rows.diagonals.count - 1) {
      rows.aShape(initial: first, local: $0) <= budget
    }
    let all = largest(first...head.keys) { rows.aShape(initial: $0, local: local) <= budget }
    return (
      .aShape, "first \(all) + local \(local)",
      Shapes.aShape(head, initial: all, local: local)
    )
  }

  /// Columns, the heaviest first, up to their share; then diagonals, the heaviest first, as many as
  /// fit; then columns again.
  private func verticalSlash(columns share: Double, _ budget: Int) -> Choice {
    var mine = Int(Double(budget) * share), left = budget
    var verticals: [Int] = []
    for column in columns {
      guard rows.viewers[column] <= mine else { break }
      (mine, left) = (mine - rows.viewers[column], left - rows.viewers[column])
      verticals.append(column)
    }
    /// Those of `order` that fit one after another.
    func fill(_ order: some Sequence<Int>, _ entries: (Int) -> Int) -> [Int] {
      var fitting: [Int] = [], misses = 0
      for line in order where left > 0 && misses < Self.mostMisses {
        let new = entries(line)
        if new <= left {
          fitting.append(line)
          left -= new
        } else {
          misses += 1
        }
      }
      return fitting
    }
    let slashes = fill(distances) { rows.entries(distance: $0, beside: verticals) }
    verticals += fill(columns.dropFirst(verticals.count)) {
      rows.entries(column: $0, beside: slashes)
    }
    var set = KeptSet(queries: head.queries, keys: head.keys, visibility: head.visibility)
    for column in verticals { set.columns[column] = 1 }
    for distance in slashes { set.keep(offset: distance) }
    return (
      .verticalSlash, "\(verticals.count) columns + \(slashes.count) diagonals", set
    )
  }

  /// Every query block's best key block, then every one's second, and so on, from the last query
  /// block up; a block that no longer fits is passed over.
  private func blockSparse(_ size: Int, _ ranked: [[Int]], _ budget: Int) -> Choice {
    let wide = (head.keys + size - 1) / size
    var blocks = [UInt8](repeating: 0, count: wide * ranked.count)
    var places = [Range<Int>](repeating: 0..<0, count: ranked.count)
    for (place, row) in rows.rows.enumerated() {
      let a = row / size
      places[a] = (places[a].isEmpty ? place : places[a].lowerBound)..<place + 1
    }
    var open = places.indices.reversed().filter { !places[$0].isEmpty }
    var left = budget, count = 0, rank = 0
    while left > 0, !open.isEmpty {
      open.removeAll { ranked[$0].count <= rank }
      for a in open {
        let b = ranked[a][rank]
        let entries = rows.entries(places[a], b * size..<min((b + 1) * size, head.keys))
        guard entries <= left else { continue }
        blocks[a * wide + b] = 1
        (left, count) = (left - entries, count + 1)
      }
      rank += 1
    }
    var set = KeptSet(queries: head.queries, keys: head.keys, visibility: head.visibility)
    set.keep(blocks: blocks, size: size)
    return (.blockSparse, "\(count) blocks of \(size)", set)
  }
}
