import Attention
import Glibc

/// How far float32 may be from the definitions, as the numbers of a head allow.
///
/// Scores are float32 where |scale| |q| |k| stays below `TilePass.floatBound`, and then within
/// `TilePass.floatError` of double precision, less for smaller products; beyond that, and for
/// stored maps, they are float64 and rounded at the end.
struct CheckBound: Sendable {
  /// Of a score, in nats.
  let score: Double

  /// Of a head of plain products, of one whose scores were made as floats under rules, or of a
  /// stored map.
  init(_ head: StraightHead, isRuled: Bool) {
    let norm = head.norm, least = 0.15 * TilePass.floatError
    // A sum of d float products is off by d rounding errors of the largest of them at most.
    let ruled = isRuled ? Double(head.dim + 8) * norm * 0x1p-24 : 0
    let share = norm <= TilePass.floatBound ? norm / TilePass.floatBound : 0
    score = max(least, TilePass.floatError * share, ruled)
  }

  /// Of a margin, in nats.
  func margin(_ x: Double) -> Double { score + (x.isFinite ? 1e-6 * abs(x) : 0) }

  /// Of softmax mass: dp = p (1 - p) ds at most, for numerator and denominator.
  func mass(_ x: Double, rows: Int = 1) -> Double {
    (2 * score + 2e-5) * abs(x) + 1e-7 * Double(rows)
  }

  /// Of an entropy, in nats.
  func entropy(_ x: Double) -> Double { 4 * score * (1 + abs(x)) + 2e-5 * abs(x) + 1e-6 }
}

/// Compares a row of tiles of a block table with the same decided straight.
struct TileCheck {
  /// Names of the lines that it adds to.
  struct Names {
    let margins, verdicts, masses: String
  }

  static let own = Names(
    margins: "margins of tiles", verdicts: "skipped or not", masses: "masses of tiles")
  static let cached = Names(
    margins: "cached tables: margins", verdicts: "cached tables: skipped or not",
    masses: "cached tables: masses")

  let names: Names
  let bound: CheckBound
  /// Layer and head, and what else tells the table from others.
  let place: String
  let lambdas: [Double]

  /// Row tile `row` of the table against `straight`, of which the stacked rows `rows` are the
  /// head's own; `tile` is what people call it.
  func compare(
    _ table: BlockTable, row: Int, _ straight: StraightTile, rows: Range<Int>, tile: Int
  ) -> CheckTally {
    var tally = CheckTally()
    var margins = CheckLine(names.margins), verdicts = CheckLine(names.verdicts)
    for block in 0..<table.keyTiles {
      let wanted = straight.margins[block]
      let found = Double(table.margins[row * table.keyTiles + block])
      let within = bound.margin(wanted)
      margins.add(found, wanted, within: within, at: "\(place) tile \(tile),\(block)")
      guard !wanted.isNaN else { continue }
      for lambda in lambdas {
        let level = log(lambda)
        let isWrong = (found < level) != (wanted < level)
        verdicts.add(
          isWrong ? abs(wanted - level) : 0, 0, within: within,
          at: "\(place) tile \(tile),\(block) at lambda \(lambda)")
      }
    }
    tally.add(margins)
    tally.add(verdicts)
    tally.add(masses(table, row: row, straight, rows, tile))
    return tally
  }

  /// Sums and maxima over rows, and what the worst row loses with each block and all below it.
  private func masses(
    _ table: BlockTable, row: Int, _ straight: StraightTile, _ rows: Range<Int>, _ tile: Int
  ) -> CheckLine {
    var line = CheckLine(names.masses)
    let own = straight.masses[rows], at = row * table.keyTiles
    // A row that holds what is no number has no masses to compare with.
    guard own.allSatisfy({ $0.allSatisfy(\.isFinite) }) else { return line }
    func add(_ found: Float, _ wanted: Double, _ block: Int, _ what: String) {
      line.add(
        Double(found), wanted, within: bound.mass(wanted, rows: rows.count),
        at: "\(place) tile \(tile),\(block) \(what)")
    }
    let shown = (0..<table.keyTiles).filter { !straight.margins[$0].isNaN }
    for block in shown {
      let masses = own.map { $0[block] }
      add(table.massSum[at + block], masses.reduce(0, +), block, "sum")
      add(table.massMax[at + block], masses.max() ?? 0, block, "largest")
    }
    var lost = own.map { _ in 0.0 }
    let margins = shown.map { table.margins[at + $0] }
    let order = shown.indices.sorted { margins[$0] < margins[$1] }
    for (place, index) in order.enumerated() {
      for (r, masses) in own.enumerated() { lost[r] += masses[shown[index]] }
      let next = place + 1 < order.count ? margins[order[place + 1]] : .nan
      guard margins[index] != next else { continue }
      // Of equal margins the last one has what all of them lose.
      let most =
        order[...place].filter { margins[$0] == margins[index] }
        .map { table.worstDropped[at + shown[$0]] }.max() ?? 0
      add(most, lost.max() ?? 0, shown[index], "worst row")
    }
    return line
  }
}

extension BlockTable {
  /// What must hold of every block of a table, whatever the head: nothing is computed, so all are
  /// looked at.
  func facts(_ what: String, at place: String) -> CheckLine {
    var line = CheckLine(what)
    for row in 0..<rowTiles {
      var isBegun = false, sum = 0.0
      let rows = min((row + 1) * spec.rows, queries) - row * spec.rows
      for block in 0..<keyTiles {
        let at = row * keyTiles + block, margin = margins[at]
        isBegun = isBegun || margin == .infinity
        sum += Double(massSum[at])
        let isInOrder =
          massMax[at] >= 0 && massMax[at] <= 1.001 && massMax[at] <= massSum[at] * 1.001 + 1e-6
          && worstDropped[at] <= 1.001 && worstDropped[at] >= massMax[at] * 0.999 - 1e-6
        line.add(
          margin.isNaN ? massSum[at] == 0 : isInOrder || massSum[at].isNaN,
          at: "\(place) tile \(row),\(block): masses outside of their range")
      }
      let isSeen = (0..<keyTiles).contains { !margins[row * keyTiles + $0].isNaN }
      line.add(
        !isSeen || isBegun, at: "\(place) row of tiles \(row): no block was the first")
      line.add(
        sum.isNaN || sum <= Double(rows) * 1.001 + 1e-3,
        at: "\(place) row of tiles \(row): its masses add up to \(sum) for \(rows) rows")
    }
    line.add(
      entropy.isNaN || entropy >= -1e-6 && entropy <= log(Double(max(keys, 1))) + 1e-3,
      at: "\(place): entropy \(entropy)")
    return line
  }
}
