public import Analysis
public import Attention
import Tensors

/// SoftPAG: attention of chosen heads is moved towards the identity, and guidance goes the other
/// way.
///
///     W = (1 - u) A + u I,   O' = (1 - u) O + u V,   O + w (O - O')
///
/// HeadHunter chooses heads in rounds, `k` in each, by an image metric of a diffusion model. In its
/// place, ours: the size of a head's guidance, ‖O - O'‖ = u ‖O - V‖ over its rows, which adds up
/// over heads, so that each round takes the next largest. Paper: "HeadHunter", 2025, arXiv
/// 2506.10978. The map is exact, the objective a surrogate and no image metric.
///
/// Findings: those of every map; `before` (softmax); `diagonal_before`, `diagonal_after` = (1 - u)
/// tr(A) / n + u, `entropy_before`; the series `off_diagonal` `[queries]`; `guided` `[queries,
/// channels]`, the output with weight w away from the perturbed one; fields `objective` and `round`
/// `[layers, heads]` (0: not chosen), the series `chosen` (objective of the chosen in their order)
/// and `objective_here`, `round_here` of this head. Where queries and keys are different tokens
/// there is no identity: a note says n/a, and nothing else is said. Cost n² d for the map, and for
/// at most 256 rows of every head of the model.
public struct SoftPAG: MapMethod {
  /// u, of 1; what `[` and `]` move.
  static let strength = Knob(
    "u", "0 is softmax, 1 the identity", 0...1, standard: 0.5, isMain: true,
    aliases: ["strength"])
  /// w, without a unit.
  static let weight = Knob("w", "weight of the guidance", 0...64, standard: 3.0, step: .add(1))
  static let count = Knob("k", "heads chosen in a round", 1...1 << 20, standard: 24)
  static let rounds = Knob("rounds", "of choosing", 1...1 << 10, standard: 1, aliases: ["R"])

  /// The scope is the model, as heads are chosen among all. Softmax is u = 0.
  public static let card = MethodCard(
    id: "softpag", title: "SoftPAG (HeadHunter)", family: "reweighting",
    idea: "Move the attention of chosen heads towards the identity, and steer away from that.",
    source: "HeadHunter, 2025, arXiv 2506.10978", scope: .model,
    knobs: [strength.facts, weight.facts, count.facts, rounds.facts],
    fidelity: .proxy("the map is exact; heads are chosen by ‖O - O'‖, which is no image metric"),
    wholeMap: 2048, mainField: "map", mainNumber: "error", denseKnobs: ["u": .number(0)])

  /// Rows of a head that its objective is read from.
  private static let mostRows = 256
  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// The findings of a map and the choice of heads. Throws `Missing(.length)`, `CancellationError`.
  public func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    let head = subject.head
    guard head.visibility.causal || head.queries == head.keys else {
      var findings = Findings()
      findings.number("diagonal_after", nil, .share, title: "diagonal mass, after")
      findings.note("n/a: queries and keys are different tokens, and there is no identity")
      return findings
    }
    var findings = try examineMap(subject, run)
    guard run.wantsNumbers else { return findings }
    try addChoice(subject, run, &findings)
    return findings
  }

  /// W of a head, `[queries, keys]`, a row at a time. Throws `CancellationError`.
  public func map(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> any RowField {
    let rows = DoubleRows(head), u = knobs[Self.strength], sight = head.visibility
    let axes = (Axis(.query, head.queries), Axis(.key, head.keys))
    @Sendable func mixed(_ row: Int) -> [Double] {
      var weights = rows.weights(row).map { (1 - u) * $0 }
      let at = sight.position(row: row)
      if weights.indices.contains(at) { weights[at] += u }
      return weights
    }
    let map = RuleField(rows: axes.0, columns: axes.1) { row, out in
      let weights = mixed(row), limit = sight.limit(row: row)
      for key in 0..<head.keys { out[key] = key < limit ? Float(weights[key]) : .nan }
    }
    aside.findings.field("before", run.pattern(head), .weights, title: "softmax")
    if let value = head.value {
      let w = knobs[Self.weight], width = value.shape[1], values = value.floats()
      aside.findings.field(
        "guided",
        RuleField(rows: axes.0, columns: Axis(.channel, width)) { row, out in
          let weights = zip(rows.weights(row), mixed(row)).map { (1 + w) * $0 - w * $1 }
          let sums = Self.product(weights, values, width)
          for x in 0..<width { out[x] = Float(sums[x]) }
        }, .signed, title: "output, guided with weight w")
    }
    if run.wantsNumbers { try addDiagonal(head, run, &aside) }
    return map
  }

  private static func product(_ weights: [Double], _ values: [Float], _ width: Int) -> [Double] {
    var out = [Double](repeating: 0, count: width)
    for (key, weight) in weights.enumerated() where weight != 0 {
      for x in 0..<width { out[x] += weight * Double(values[key * width + x]) }
    }
    return out
  }

  /// Mass on the diagonal and off it. Throws `CancellationError`.
  private func addDiagonal(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws {
    let pattern = run.pattern(head), sight = head.visibility, u = knobs[Self.strength]
    let rows = try RowPicks.spread(head.queries, by: 16, run) { rows in
      var found: [(diagonal: Double, entropy: Double)] = []
      pattern.withRows(rows) { row, p, _ in
        let at = sight.position(row: row)
        let entropy = p.reduce(0.0) { $1 > 0 ? $0 - Double($1) * logarithm(Double($1)) : $0 }
        found.append((p.indices.contains(at) ? Double(p[at]) : 0, entropy))
      }
      return found
    }
    let n = Double(max(rows.count, 1)), mean = rows.reduce(0) { $0 + $1.diagonal } / n
    aside.findings.number("diagonal_before", mean, .share, title: "diagonal mass of softmax")
    aside.findings.number(
      "diagonal_after", (1 - u) * mean + u, .share, title: "diagonal mass, after")
    aside.findings.number(
      "entropy_before", rows.reduce(0) { $0 + $1.entropy } / n, .nats, title: "entropy of softmax")
    aside.findings.series(
      "off_diagonal", Axis(.query, rows.count), rows.map { Float((1 - u) * (1 - $0.diagonal)) },
      .share, title: "mass off the diagonal, by query")
  }

  /// The objective of every head of the model, and the rounds. Nothing where a head has no V.
  /// Throws `CancellationError`.
  private func addChoice(_ subject: Subject, _ run: MethodRun, _ findings: inout Findings) throws {
    guard subject.layers.allSatisfy({ $0.allSatisfy { $0.value != nil } }) else {
      findings.note("heads are chosen by their outputs, and there is no V")
      return
    }
    let sizes = try subject.layers.map { try $0.map { try guidance($0, run) } }
    let places = sizes.indices.flatMap { layer in sizes[layer].indices.map { (layer, $0) } }
    let order = places.sorted {
      let (a, b) = (sizes[$0.0][$0.1], sizes[$1.0][$1.1])
      return a != b ? a > b : $0 < $1
    }
    let count = knobs[Self.count], most = min(order.count, count * knobs[Self.rounds])
    var rounds = sizes.map { $0.map { _ in Float(0) } }
    for (place, (layer, head)) in order.prefix(most).enumerated() {
      rounds[layer][head] = Float(place / count + 1)
    }
    findings.field(
      "objective", HeadField.make(subject, sizes.map { $0.map { Float($0) } }), .magnitude(.none),
      title: "size of the guidance, by layer and head")
    findings.field(
      "round", HeadField.make(subject, rounds), .magnitude(.count), title: "round it is chosen in")
    let here = (subject.focus.layer.value, subject.focus.head)
    findings.number("objective_here", sizes[here.0][here.1], title: "size of this head's guidance")
    findings.number(
      "round_here", Double(rounds[here.0][here.1]), .count, title: "round it is chosen in; 0: not")
    let names = order.prefix(most).map { "\(subject.numbers[$0.0])/\($0.1)" }
    findings.series(
      "chosen", Axis(.step, most, labels: names),
      order.prefix(most).map { Float(sizes[$0.0][$0.1]) }, title: "chosen heads, layer/head")
    findings.number("chosen_heads", Double(most), .count, title: "heads chosen")
    if subject.head.queries > Self.mostRows {
      findings.note("sizes of guidance from \(Self.mostRows) rows of each head")
    }
    findings.note("surrogate objective ‖O - O'‖: not an image metric")
  }

  /// u ‖O - V‖ of a head, from at most 256 rows. Throws `CancellationError`.
  private func guidance(_ head: Head, _ run: MethodRun) throws -> Double {
    guard let value = head.value else { return 0 }
    let width = value.shape[1], values = value.floats(), sight = head.visibility
    let chosen = MapPass.sample(0..<head.queries, Self.mostRows), pattern = run.pattern(head)
    let squares = try RowPicks.spread(chosen.count, by: 16, run) { part in
      part.map { index -> Double in
        let row = chosen[index], at = sight.position(row: row)
        var sum = 0.0
        pattern.withRows(row..<row + 1) { _, p, _ in
          let out = Self.product(p.map(Double.init), values, width)
          for x in 0..<width {
            let own = at >= 0 && at < head.keys ? Double(values[at * width + x]) : 0
            sum += (out[x] - own) * (out[x] - own)
          }
        }
        return sum
      }
    }
    let share = Double(head.queries) / Double(max(chosen.count, 1))
    return knobs[Self.strength] * (squares.reduce(0, +) * share).squareRoot()
  }
}
