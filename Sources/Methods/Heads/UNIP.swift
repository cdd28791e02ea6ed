public import Attention
import Analysis
import Tensors

/// UNIP: how much the attention of a layer depends on who asks.
///
/// With N queries, p(q) = 1 / N, p(k|q) = A_qk and p(k) = Σ_q A_qk / N:
///
///     MI = Σ_q Σ_k (1/N) A_qk ln(A_qk / p(k)),   NMI = MI / √(ln N · H(k)),   0 where H(k) = 0
///
/// High is local, low is global (every query looks at the same place), the middle is hybrid; the
/// layer to distil is the one nearest to `s`. Paper: "UNIP", ICLR 2025, arXiv 2502.02257. Exact; it
/// gives no edges of bands, so that 0.06 and 0.12 are ours. NMI does not see where keys lie, only
/// that they differ: the distance of attention stands beside it.
///
/// With an image grid rows and keys are its patches alone, and rows are renormalised over them.
/// Findings: fields `nmi` and `band` (global, hybrid, local) `[layers, heads]`, `over_key_mass`
/// `[queries, keys]`, A_qk - p(k) of the head; series `key_mass` p(k), `nmi_by_layer`,
/// `distance_by_layer`, `nmi_by_head` of the layer; the curve `nmi_curve` with band and choice;
/// numbers `nmi`, `mutual_information`, `key_entropy`, `layer_nmi`, `chosen_layer`, `chosen_nmi`,
/// `distance` in grid units (nil without a grid) and `token_distance`. Causal maps get no bands,
/// and a note. Cost n² d for every head of the model; throws `Missing(.length)` for long heads.
public struct UNIP: AttentionMethod {
  /// s, an NMI.
  static let target = Knob(
    "s", "NMI of the layer that is chosen", 0...1, standard: 0.09, step: .add(0.01), isMain: true)
  static let low = Knob("low", "below it a head is global", 0...1, standard: 0.06, step: .add(0.01))
  static let high = Knob(
    "high", "above it a head is local", 0...1, standard: 0.12, step: .add(0.01))

  /// The scope is the model: layers are compared.
  public static let card = MethodCard(
    id: "unip", title: "UNIP (NMI of attention)", family: "heads",
    idea: "How much attention depends on the query: local, hybrid or global.",
    source: "UNIP, ICLR 2025, arXiv 2502.02257", scope: .model,
    knobs: [target.facts, low.facts, high.facts], wholeMap: .max, mainField: "nmi_by_place",
    mainNumber: "nmi")

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// NMI of every head. Throws `Missing(.length)`, `CancellationError`.
  public func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    try HeadField.checkLength(subject)
    let grid = subject.tokens.grid
    let parts = try subject.layers.map { try $0.map { try QueryDependence($0, grid, run) } }
    let mine = parts[subject.focus.layer.value][subject.focus.head]
    let isBanded = parts.allSatisfy { $0.allSatisfy { !$0.causal } }
    var findings = Findings()
    findings.number("nmi", mine.nmi, title: "NMI of this head")
    findings.number("mutual_information", mine.information, .nats, title: "MI")
    findings.number("key_entropy", mine.keyEntropy, .nats, title: "H(k)")
    findings.number("distance", mine.distance, title: "mean attention distance, in patches")
    findings.number(
      "token_distance", mine.tokenDistance, .tokens, title: "mean attention distance, in tokens")
    addLayers(parts, subject, isBanded, &findings)
    findings.field(
      "nmi_by_place", HeadField.make(subject, parts.map { $0.map { Float($0.nmi) } }),
      .magnitude(.none), title: "NMI by layer and head")
    if isBanded {
      findings.field(
        "band", HeadField.make(subject, parts.map { $0.map { band($0.nmi) } }),
        .labels(["global", "hybrid", "local"]), title: "kind of head")
    }
    let keys = subject.head.keys
    findings.series("key_mass", Axis(.key, keys), mine.mass(keys), .share, title: "p(k)")
    findings.field(
      "over_key_mass", mine.field(subject.head, run), .signed, title: "A(k|q) - p(k)")
    findings.note(
      isBanded
        ? "edges of the bands are ours, \(knobs[Self.low]) and \(knobs[Self.high])"
        : "bands do not apply: a causal row depends on its query for what it may see")
    if let grid, mine.tokens.count < keys || mine.distance == nil {
      findings.note(
        mine.distance == nil
          ? "the grid \(grid) does not lie within the \(keys) tokens"
          : "patches alone, rows renormalised over them")
    }
    return findings
  }

  private func band(_ nmi: Double) -> Float {
    nmi < knobs[Self.low] ? 0 : (nmi > knobs[Self.high] ? 2 : 1)
  }

  /// Means over heads, and the layer nearest to s.
  private func addLayers(
    _ parts: [[QueryDependence]], _ subject: Subject, _ isBanded: Bool,
    _ findings: inout Findings
  ) {
    func mean(_ values: [Double]) -> Double { values.reduce(0, +) / Double(max(values.count, 1)) }
    let layers = parts.map { mean($0.map(\.nmi)) }, focus = subject.focus.layer.value
    let axis = Axis(.layer, layers.count, labels: subject.numbers.map { "\($0)" })
    let target = knobs[Self.target]
    let chosen = layers.indices.min { abs(layers[$0] - target) < abs(layers[$1] - target) } ?? 0
    findings.number("layer_nmi", layers[focus], title: "NMI of this layer, mean of its heads")
    findings.number(
      "chosen_layer", Double(subject.numbers[chosen].value), .count,
      title: "layer nearest to s = \(target)")
    findings.number("chosen_nmi", layers[chosen], title: "its NMI")
    findings.series("nmi_by_layer", axis, layers.map { Float($0) }, title: "NMI by layer")
    findings.series(
      "distance_by_layer", axis,
      parts.map { Float(mean($0.map { $0.distance ?? $0.tokenDistance })) },
      title: "attention distance by layer")
    findings.series(
      "nmi_by_head", Axis(.head, parts[focus].count), parts[focus].map { Float($0.nmi) },
      title: "NMI by head of this layer")
    let numbers = subject.numbers.map { Double($0.value) }
    var marks = [Curve.Mark("chosen", x: numbers[chosen], y: layers[chosen])]
    if isBanded, let first = numbers.first {
      marks += [
        .init("global below", x: first, y: knobs[Self.low]),
        .init("local above", x: first, y: knobs[Self.high]),
      ]
    }
    findings.curve(
      "nmi_curve",
      Curve(
        x: "layer", y: "NMI", points: zip(numbers, layers).map { .init($0, $1) }, marks: marks),
      title: "NMI by layer, with the choice")
  }
}

/// How much one head's rows differ from their mean.
struct QueryDependence: Sendable {
  /// MI and H(k), in nats; NMI of 1.
  let information: Double, keyEntropy: Double, nmi: Double
  /// Mean of A-weighted distances, in patches and in tokens.
  let distance: Double?, tokenDistance: Double
  /// Tokens that count, and whether the head is causal.
  let tokens: Range<Int>, causal: Bool
  /// `[tokens]`, p(k).
  private let keyMass: [Double]

  /// Sums of some rows.
  private struct Part: Sendable {
    var mass: [Double], rows = 0.0, inner = 0.0, distance = 0.0, tokens = 0.0
  }

  /// One sweep over the pattern. Throws `CancellationError`.
  init(_ head: Head, _ grid: TokenFacts.Grid?, _ run: MethodRun) throws {
    let patches = head.queries == head.keys ? grid?.tokens(of: head.keys) : nil
    let tokens = patches ?? 0..<head.keys, columns = patches == nil ? 0 : grid?.columns ?? 0
    let rows = patches ?? 0..<head.queries, pattern = run.pattern(head), sight = head.visibility
    let parts = try RowPicks.spread(rows.count, by: 16, run) { chunk in
      var sum = Part(mass: [Double](repeating: 0, count: tokens.count))
      let some = rows.lowerBound + chunk.lowerBound..<rows.lowerBound + chunk.upperBound
      pattern.withRows(some) { row, p, _ in
        let total = tokens.reduce(0.0) { $0 + Double(p[$1]) }, at = sight.position(row: row)
        guard total > 0 else { return }
        sum.rows += 1
        for key in tokens where p[key] > 0 {
          let weight = Double(p[key]) / total
          sum.mass[key - tokens.lowerBound] += weight
          sum.inner += weight * logarithm(weight)
          sum.tokens += weight * Double(abs(at - key))
          guard columns > 0 else { continue }
          let a = at - tokens.lowerBound, b = key - tokens.lowerBound
          let down = Double(a / columns - b / columns), across = Double(a % columns - b % columns)
          sum.distance += weight * (down * down + across * across).squareRoot()
        }
      }
      return [sum]
    }
    var sum = Part(mass: [Double](repeating: 0, count: tokens.count))
    for part in parts {
      for key in sum.mass.indices { sum.mass[key] += part.mass[key] }
      sum.rows += part.rows
      sum.inner += part.inner
      sum.distance += part.distance
      sum.tokens += part.tokens
    }
    let n = max(sum.rows, 1)
    keyMass = sum.mass.map { $0 / n }
    keyEntropy = max(0, keyMass.reduce(0) { $1 > 0 ? $0 - $1 * logarithm($1) : $0 })
    information = min(max(0, keyEntropy + sum.inner / n), keyEntropy, logarithm(n))
    let size = (logarithm(n) * keyEntropy).squareRoot()
    nmi = size > 1e-12 ? information / size : 0
    distance = columns > 0 ? sum.distance / n : nil
    tokenDistance = sum.tokens / n
    (self.tokens, causal) = (tokens, head.visibility.causal)
  }

  /// p(k) over all keys, NaN where a key does not count: `[count]`.
  func mass(_ count: Int) -> [Float] {
    (0..<count).map { tokens.contains($0) ? Float(keyMass[$0 - tokens.lowerBound]) : .nan }
  }

  /// A(k|q) - p(k) of what counts, NaN elsewhere.
  func field(_ head: Head, _ run: MethodRun) -> RuleField {
    let pattern = run.pattern(head), limits = head.visibility
    let isPart = tokens.count < head.keys, tokens = tokens, keyMass = keyMass
    return RuleField(rows: Axis(.query, head.queries), columns: Axis(.key, head.keys)) { row, out in
      out.update(repeating: .nan)
      guard !isPart || tokens.contains(row) else { return }
      pattern.withRows(row..<row + 1) { _, p, _ in
        let total = tokens.reduce(0.0) { $0 + Double(p[$1]) }
        for key in tokens where key < limits.limit(row: row) && total > 0 {
          out[key] = Float(Double(p[key]) / total - keyMass[key - tokens.lowerBound])
        }
      }
    }
  }
}
