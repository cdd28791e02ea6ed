import Algebra
import Analysis
import Attention

/// What is counted of the maps of the Dynamical Systems Framework.
///
///     locality = Σ |W_ij| |i - j| / Σ |W_ij|                          in tokens
///     ln |W_ij| ≈ c + m (i - j)   by least squares over W_ij ≠ 0:  R², and half-life ln 2 / -m
///
/// Findings: `locality`, `distance_r2` (1 is pure decay, 0 pure content) and `distance_half_life`
/// (infinite where nothing decays) of the member in force, all three of every map as series
/// `[maps]`; `recurrence_gap`, the largest difference of recurrence and map over the largest
/// output; the series `decay` `[keys]`, Π A up to the query looked at, and of all members the field
/// `decays` `[members, keys]`; states in elements a head, `state_linear`, `state_normalised`,
/// `state_ssd`, `state_s6` (d d_v), `state_qlstm` (d), `state_taylor_1` to `_3` (Σ_{r≤p} d^r d_v),
/// `state_softmax` (the cache, n (d + d_v)); the curve `error_by_state`, the output error of a
/// softmax whose exponential ends after order p = 0..8; `CostFacts` of the member.
struct DynamicalFacts: Sendable {
  /// The maps.
  let maps: DynamicalMap
  /// The member in force.
  let member: DynamicalMap.Member
  /// The query whose decays are drawn.
  let query: Int

  /// All of it; maps longer than `whole` tokens by 64 rows. Throws `CancellationError`.
  func add(_ run: MethodRun, whole: Int, to findings: inout Findings) throws {
    try addFits(run, whole, &findings)
    let head = maps.head, axis = Axis(.key, head.keys)
    let members = maps.members, limit = maps.limit(query)
    findings.series(
      "decay", axis, LensRows.series(maps.decay(member, query), limit), .share,
      title: "what query \(query) finds left of each key's state")
    findings.field(
      "decays",
      RuleField(rows: Axis(.row, members.count, labels: members.map(\.title)), columns: axis) {
        LensRows.fill($1, maps.decay(members[$0], query), limit)
      }, .magnitude(.share), title: "what query \(query) finds left, by member")
    addStates(&findings)
    try addTaylor(run, &findings)
    cost.add(to: &findings)
  }

  /// Sums over rows: of the member in force over all that are chosen, of the others over 64. The
  /// recurrence is run once, and every chosen row of the map is held against it.
  private func addFits(_ run: MethodRun, _ whole: Int, _ findings: inout Findings) throws {
    let head = maps.head, maps = maps, member = member, members = maps.members
    let recurrence = maps.recurrence(member)
    let rows = LensRows.chosen(head, whole: whole)
    let parts = try RowPicks.spread(rows.count, by: 16, run) { part in
      var sum = DistanceFit()
      for index in part {
        let row = rows[index], weights = maps.weights(member, row)
        sum.add(weights, at: head.visibility.position(row: row), maps.limit(row))
        if let recurrence { sum.compare(recurrence, row, output(weights, row)) }
      }
      return [sum]
    }
    let mine = parts.reduce(into: DistanceFit()) { $0.add($1) }
    findings.number("locality", mine.locality, .tokens, title: "distance of the mass, mean")
    findings.number(
      "distance_r2", mine.fit?.r2, .share, title: "of ln |W| explained by distance (R²)")
    findings.number(
      "distance_half_life", mine.fit?.halfLife, .tokens, title: "half-life of that fit")
    findings.number(
      "recurrence_gap", recurrence == nil ? nil : mine.gap,
      title: "recurrence against map, largest difference")
    let sample = MapPass.sample(0..<head.queries, 64)
    let each = try RowPicks.spread(members.count + 1, by: 1, run) { part in
      part.map { place -> DistanceFit in
        var sum = DistanceFit()
        for row in sample {
          let weights =
            place == 0 ? maps.rows.weights(row) : maps.weights(members[place - 1], row)
          sum.add(weights, at: head.visibility.position(row: row), maps.limit(row))
        }
        return sum
      }
    }
    let axis = Axis(.row, each.count, labels: ["softmax"] + members.map(\.title))
    func series(_ name: String, _ unit: Unit, _ title: String, _ of: (DistanceFit) -> Double?) {
      findings.series(name, axis, each.map { Float(of($0) ?? .nan) }, unit, title: title)
    }
    series("localities", .tokens, "distance of the mass, by map") { $0.locality }
    series("distance_r2s", .share, "of ln |W| explained by distance, by map") { $0.fit?.r2 }
    series("distance_half_lives", .tokens, "half-life, by map") { $0.fit?.halfLife }
  }

  /// y_i of the map, `[width]`; of the qLSTM by its channels.
  private func output(_ weights: [Double], _ row: Int) -> [Double] {
    if member == .qlstm { return maps.channels(row) }
    return maps.values.map { LensRows.product(weights, maps.limit(row), $0) } ?? []
  }

  /// d, and d_v or d without V.
  private var sides: (d: Int, width: Int) { (maps.dim, maps.values?.width ?? maps.dim) }

  /// Elements of the Taylor features up to order p, times the width of V: order r has d^r of them,
  /// as each q·k to the power r is one dot product of r-fold outer products.
  private func taylor(_ p: Int) -> Double {
    let (d, width) = (Double(sides.d), Double(sides.width))
    return (0...p).reduce((sum: 0.0, power: 1.0)) { found, _ in
      (found.sum + found.power, found.power * d)
    }.sum * width
  }

  /// The table of states.
  private func addStates(_ findings: inout Findings) {
    let (d, width) = sides
    for member in DynamicalMap.Member.allCases {
      findings.number(
        "state_\(member.rawValue)", Double(member == .qlstm ? d : d * width), .entries,
        title: "state of \(member.title)")
    }
    for p in 1...3 {
      findings.number(
        "state_taylor_\(p)", taylor(p), .entries, title: "state of softmax to order \(p)")
    }
    findings.number(
      "state_softmax", Double(maps.head.keys * (d + width)), .entries,
      title: "cache of softmax, whose state has no bound")
  }

  /// What the member keeps and computes for a token; the decay is one product an element more.
  private var cost: CostFacts {
    let (d, width) = sides, head = maps.head
    switch member {
    case .linear: return CostFacts(head, features: d)
    case .normalised: return CostFacts(head, features: d, isNormalised: false)
    case .ssd, .s6:
      return CostFacts(
        head, features: d, isNormalised: false, extraFlops: Double(d * width))
    case .qlstm: return CostFacts(head, state: d, flops: 4 * Double(d))
    }
  }

  /// The output error of E_p(S) / row sum, E_p = Σ_{r≤p} S^r / r!, over at most 64 rows. A row
  /// whose polynomial sums to 0 (|sum| up to 1e-12, odd orders can) counts as zeros. Cost 9 n d_v a
  /// row.
  private func addTaylor(_ run: MethodRun, _ findings: inout Findings) throws {
    guard let values = maps.values else { return }
    let maps = maps, sample = MapPass.sample(0..<maps.head.queries, 64), orders = 0...8
    let parts = try RowPicks.spread(sample.count, by: 8, run) { part in
      part.map { index -> (errors: [Double], size: Double) in
        let row = sample[index], limit = maps.limit(row), scores = maps.rows.logits(row)
        let dense = LensRows.product(maps.rows.weights(row), limit, values)
        var term = [Double](repeating: 1, count: limit), sum = [Double](repeating: 0, count: limit)
        let errors = orders.map { p -> Double in
          for j in 0..<limit {
            if p > 0 { term[j] *= scores[j] / Double(p) }
            sum[j] += term[j]
          }
          let total = sum.reduce(0, +)
          let weights = sum.map { total.magnitude > 1e-12 ? $0 / total : 0 }
          let out = LensRows.product(weights, limit, values)
          return zip(out, dense).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
        }
        return (errors, dense.reduce(0) { $0 + $1 * $1 })
      }
    }
    let size = parts.reduce(0) { $0 + $1.size }
    guard size > 0 else { return }
    let points = orders.map { p in
      Curve.Point(taylor(p), (parts.reduce(0) { $0 + $1.errors[p] } / size).squareRoot())
    }
    findings.curve(
      "error_by_state",
      Curve(
        x: "elements of the state", y: "output error, relative L2", points: points,
        marks: [.init("order 1", x: points[1].x, y: points[1].y)], isLogarithmic: true),
      title: "softmax by its Taylor orders 0 to 8")
  }
}

/// Sums over the entries of rows: how far mass lies, and a line of ln |W| on distance.
///
/// Sums of parts add, so that rows can be spread over threads; R² is the squared correlation of
/// distance and ln |W|.
private struct DistanceFit: Sendable {
  private var size = 0.0, moved = 0.0
  /// Entries that are not 0, and sums of x = i - j, y = ln |W|, and their products.
  private var n = 0.0, x = 0.0, y = 0.0, xx = 0.0, xy = 0.0, yy = 0.0
  /// The largest |recurrence - map|, and the largest |output|.
  private var off = 0.0, most = 0.0

  /// One row whose query stands at `position`.
  mutating func add(_ weights: [Double], at position: Int, _ limit: Int) {
    for j in 0..<limit where weights[j] != 0 {
      let w = weights[j].magnitude, distance = Double(position - j), level = logarithm(w)
      size += w
      moved += w * distance.magnitude
      n += 1
      x += distance
      y += level
      xx += distance * distance
      xy += distance * level
      yy += level * level
    }
  }

  /// One row of outputs, the map's `out` `[width]` beside the recurrence's.
  mutating func compare(_ recurrence: [Double], _ row: Int, _ out: [Double]) {
    for c in out.indices {
      off = max(off, (out[c] - recurrence[row * out.count + c]).magnitude)
      most = max(most, out[c].magnitude)
    }
  }

  /// Those of other rows.
  mutating func add(_ other: DistanceFit) {
    (size, moved, n) = (size + other.size, moved + other.moved, n + other.n)
    (x, y, xx, xy, yy) = (
      x + other.x, y + other.y, xx + other.xx, xy + other.xy, yy + other.yy
    )
    (off, most) = (max(off, other.off), max(most, other.most))
  }

  /// In tokens; nil of a map of zeros.
  var locality: Double? { size > 0 ? moved / size : nil }
  /// Relative to the largest output.
  var gap: Double { most > 0 ? off / most : off }
  /// R², and the half-life in tokens, infinite where |W| grows with distance or not at all; nil
  /// where all entries have one distance, or one size.
  var fit: (r2: Double, halfLife: Double)? {
    let a = n * xx - x * x, b = n * xy - x * y, c = n * yy - y * y
    guard n > 1, a > 0, c > 1e-12 * n * yy else { return nil }
    let slope = b / a
    return (b * b / (a * c), slope < 0 ? logarithm(2) / -slope : .infinity)
  }
}
