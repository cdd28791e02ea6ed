/// One row of tiles decided as blasst.md says, in double precision: the margins of its blocks, what
/// each row says of them, and the mass that lies on them.
///
/// For rows that vote together, and key blocks in the order of the visit, with t a row's maximum in
/// the block and m its running maximum:
///
///     vote(row, block) = t - m       margin(block) = max of the votes; the first block +infinity
///
/// With the criterion lse m + ln l stands for m, l the sum over the blocks that `lambda` computes.
/// Splits begin anew.
///
/// Example: `StraightTile([head], spec, tile: 3).margins[0]`. Cost: rows * keys * d; memory rows *
/// keys / the width of a block.
public struct StraightTile: Sendable {
  /// `[keyTiles]`, in nats; NaN where no row may see the block.
  public private(set) var margins: [Double]
  /// `[stacked rows][keyTiles]`: each row's own rise, NaN where the block is not visited.
  public private(set) var votes: [[Double]]
  /// `[stacked rows][keyTiles]`: softmax mass; a row of zeros for one that sees nothing, of NaN for
  /// one that holds what is no number.
  public private(set) var masses: [[Double]]
  /// `[stacked rows]`: -Σ p ln p, in nats; nil for a row that sees nothing.
  public private(set) var entropies: [Double?]

  /// What is left of a row of scores: its maximum in each block, and Σ e^(s - maximum).
  private struct Row {
    var tops: [Double]
    var sums: [Double]
  }

  /// Row tile `tile` of heads that vote together; all have the same sides. `lambda` matters to the
  /// criterion lse alone.
  public init(_ heads: [StraightHead], _ spec: TileSpec, tile: Int, lambda: Double = 0) {
    let head = heads[0], tiles = (head.keys + spec.keys - 1) / spec.keys
    let range = tile * spec.rows..<min((tile + 1) * spec.rows, head.queries)
    margins = [Double](repeating: .nan, count: tiles)
    (votes, masses, entropies) = ([], [], [])
    var rows: [Row] = []
    for head in heads {
      for row in range { rows.append(add(head.scores(row), width: spec.keys, tiles: tiles)) }
    }
    let visited = (0..<tiles).filter { block in
      let keys = block * spec.keys..<min((block + 1) * spec.keys, head.keys)
      return range.contains { row in keys.contains { head.rules.sees(row, $0) } }
    }
    decide(rows, spec.order == .ascending ? visited : visited.reversed(), spec, lambda)
  }

  /// Takes in a row of scores, and keeps what blocks need of it.
  private mutating func add(_ scores: [Double], width: Int, tiles: Int) -> Row {
    var row = Row(
      tops: [Double](repeating: -.infinity, count: tiles),
      sums: [Double](repeating: 0, count: tiles))
    let (weights, logSum) = StraightHead.softmax(scores)
    var mass = row.sums, entropy = 0.0
    for block in 0..<tiles {
      let keys = block * width..<min((block + 1) * width, scores.count)
      let top = StraightHead.largest(scores[keys])
      row.tops[block] = top
      for key in keys {
        mass[block] += weights[key]
        if weights[key] > 0 { entropy -= weights[key] * logarithm(weights[key]) }
        if scores[key] > -.infinity { row.sums[block] += exponential(scores[key] - top) }
      }
    }
    masses.append(mass)
    entropies.append(logSum == -.infinity ? nil : (logSum.isNaN ? .nan : entropy))
    return row
  }

  /// The published loop over the blocks of a visit.
  private mutating func decide(
    _ rows: [Row], _ visit: [Int], _ spec: TileSpec, _ lambda: Double
  ) {
    votes = rows.map { _ in [Double](repeating: .nan, count: margins.count) }
    let run = max(1, (visit.count + spec.splits - 1) / spec.splits)
    var m = rows.map { _ in -Double.infinity }, l = rows.map { _ in 0.0 }
    for (step, block) in visit.enumerated() {
      let isFirst = step % run == 0
      if isFirst { (m, l) = (m.map { _ in -.infinity }, l.map { _ in 0 }) }
      for r in rows.indices {
        let level = spec.criterion == .max ? m[r] : m[r] + logarithm(l[r])
        let top = rows[r].tops[block]
        votes[r][block] = top == -.infinity ? -.infinity : top - level
      }
      margins[block] = isFirst ? .infinity : StraightHead.largest(votes.map { $0[block] })
      if spec.criterion == .lse, lambda > 0, margins[block] < logarithm(lambda) { continue }
      for r in rows.indices where rows[r].tops[block] > -.infinity {
        let top = max(m[r], rows[r].tops[block])
        l[r] =
          l[r] * exponential(m[r] - top)
          + rows[r].sums[block] * exponential(rows[r].tops[block] - top)
        m[r] = top
      }
    }
  }
}

/// Sums over some rows of a head in double precision, for the numbers that stand for the whole
/// head: what skipped blocks hold, how far outputs move, where the mass goes.
///
/// Example: add the parts of all row tiles, then `sums.entropy / Double(sums.rows)`.
public struct StraightSums: Sendable {
  /// Rows that see something.
  public private(set) var rows = 0
  /// Σ over rows of the entropy, in nats.
  public private(set) var entropy = 0.0
  /// Σ over rows of the map `[keys]`.
  public private(set) var columns: [Double]
  /// Σ over rows of the mass on skipped blocks, and the worst row's.
  public private(set) var dropped = 0.0, worst = 0.0
  /// ‖O' - O‖², ‖O‖² and the largest |O' - O|, O' the output without skipped blocks.
  public private(set) var moved = 0.0, norm = 0.0, mostMoved = 0.0
  /// Σ over rows of the share that a sink of this logit would take; 0 without one.
  public private(set) var sink = 0.0

  /// No rows of a head with so many keys.
  public init(keys: Int) { columns = [Double](repeating: 0, count: keys) }

  /// The rows of one row tile of `head` under the verdicts of `mask`; `sink` is a learned sink's
  /// logit.
  public init(_ head: StraightHead, _ mask: BlockMask, tile: Int, sink logit: Double? = nil) {
    self.init(keys: head.keys)
    let spec = mask.spec
    for row in tile * spec.rows..<min((tile + 1) * spec.rows, head.queries) {
      let (weights, logSum) = head.pattern(row)
      guard logSum != -.infinity else { continue }
      rows += 1
      var lost = 0.0
      let isComputed = { mask[tile, $0 / spec.keys] == .computed }
      for (key, weight) in weights.enumerated() where weight > 0 {
        columns[key] += weight
        entropy -= weight * logarithm(weight)
        if !isComputed(key) { lost += weight }
      }
      (dropped, worst) = (dropped + lost, max(worst, lost))
      if let logit { sink += 1 / (1 + exponential(logSum - logit)) }
      guard head.valueDim > 0 else { continue }
      for (a, b) in zip(head.output(weights) { _ in true }, head.output(weights, isComputed)) {
        moved += (b - a) * (b - a)
        norm += a * a
        mostMoved = max(mostMoved, abs(b - a))
      }
    }
  }

  /// Adds other rows of the same head.
  public mutating func add(_ other: StraightSums) {
    rows += other.rows
    entropy += other.entropy
    for key in columns.indices { columns[key] += other.columns[key] }
    (dropped, worst) = (dropped + other.dropped, max(worst, other.worst))
    (moved, norm, mostMoved) = (
      moved + other.moved, norm + other.norm, max(mostMoved, other.mostMoved)
    )
    sink += other.sink
  }
}
