import Algebra
import Analysis
import Attention
import Tensors

/// One key of one head, looked at as a sink.
struct SinkAnatomy: Sendable {
  /// Whose rows are read.
  private let head: Head
  /// From 0.
  private let key: Int
  /// Logit of an extra key.
  private let bias: Double
  /// Q, K and scores in double precision.
  private let rows: DoubleRows
  /// V as `[keys * width]`; nil without V.
  private let value: (floats: [Float], width: Int)?

  /// Reads Q, K and V, where they are there.
  init(_ head: Head, key: Int, bias: Double) {
    (self.head, self.key, self.bias) = (head, key, bias)
    rows = DoubleRows(head)
    value = head.value.map { ($0.floats(), $0.shape[1]) }
  }

  /// Scores are known, and not just up to a constant a row.
  private var hasLogits: Bool { if case .pattern = head.source { false } else { true } }

  /// What all rows say. Throws `CancellationError`.
  func addNumbers(_ run: MethodRun, to findings: inout Findings) throws {
    let parts = try RowPicks.spread(head.queries, by: 16, run) { $0.map { facts($0) } }
    let seeing = parts.filter(\.sees), n = Double(max(seeing.count, 1))
    /// Over the rows that see the key; nil where none does.
    func mean(_ path: KeyPath<RowFacts, Double>) -> Double? {
      seeing.isEmpty ? nil : seeing.reduce(0) { $0 + $1[keyPath: path] } / n
    }
    findings.number(
      "residual_mass", mean(\.residual), .share, title: "mass that is not on the key, mean")
    findings.series(
      "residual_by_query", Axis(.query, parts.count),
      parts.map { $0.sees ? Float($0.residual) : .nan },
      .share, title: "mass that is not on the key, by query")
    addNorms(&findings)
    findings.number(
      "cosine", rows.dim > 0 ? mean(\.cosine) : nil, title: "cosine of queries with the key")
    findings.number("sink_logit", hasLogits ? mean(\.logit) : nil, .logits, title: "its logit")
    let others = parts.reduce(0) { $0 + $1.others }
    findings.number(
      "mean_logit",
      hasLogits && others > 0 ? parts.reduce(0) { $0 + $1.otherLogits } / Double(others) : nil,
      .logits, title: "logit of the other keys, mean")
    let shrunk = parts.filter { $0.limit > 0 }
    findings.number(
      "key_bias_mass",
      hasLogits && !shrunk.isEmpty
        ? shrunk.reduce(0) { $0 + $1.onBias } / Double(shrunk.count) : nil, .share,
      title: "mass on an extra key of logit \(bias)")
    let size = parts.reduce(0) { $0 + $1.output }, off = parts.reduce(0) { $0 + $1.removed }
    findings.number(
      "k_bias_error", value != nil && size > 0 ? (off / size).squareRoot() : nil,
      title: "output error with the key's value at 0")
  }

  /// What one row says; sums are over what it sees.
  private struct RowFacts: Sendable {
    /// Whether the row sees the key, and how many keys it sees.
    var sees = false, limit = 0
    /// Mass beside the key; cosine of query and key; the key's logit.
    var residual = 0.0, cosine = 0.0, logit = 0.0
    /// Other keys with a finite logit, the sum of these, the mass that an extra key would take, and
    /// squared norms of the output and of what the key adds to it.
    var others = 0, otherLogits = 0.0, onBias = 0.0, output = 0.0, removed = 0.0
  }

  /// One row, in n d steps.
  private func facts(_ row: Int) -> RowFacts {
    let logits = rows.logits(row), limit = head.visibility.limit(row: row)
    let weights = Elementary.softmax(logits, limit: limit)
    var facts = RowFacts()
    facts.limit = limit
    facts.sees = key < limit
    for j in 0..<limit where j != key && logits[j].isFinite {
      facts.others += 1
      facts.otherLogits += logits[j]
    }
    facts.onBias = 1 - kept(logits, limit)
    if let value {
      var out = [Double](repeating: 0, count: value.width)
      for j in 0..<limit {
        for x in out.indices { out[x] += weights[j] * Double(value.floats[j * value.width + x]) }
      }
      facts.output = out.reduce(0) { $0 + $1 * $1 }
    }
    guard facts.sees else { return facts }
    facts.residual = 1 - weights[key]
    facts.logit = logits[key]
    let d = rows.dim
    if d > 0 {
      let q = rows.query[row * d..<(row + 1) * d], k = rows.key[key * d..<(key + 1) * d]
      let size = Self.norm(q) * Self.norm(k)
      facts.cosine = size > 0 ? zip(q, k).reduce(0) { $0 + $1.0 * $1.1 } / size : 0
    }
    if let value {
      for x in 0..<value.width {
        let gone = weights[key] * Double(value.floats[key * value.width + x])
        facts.removed += gone * gone
      }
    }
    return facts
  }

  /// Euclidean.
  private static func norm(_ x: ArraySlice<Double>) -> Double {
    x.reduce(0) { $0 + $1 * $1 }.squareRoot()
  }

  /// Z / (Z + exp b) of a row.
  private func kept(_ logits: [Double], _ limit: Int) -> Double {
    guard limit > 0 else { return 0 }
    let top = logits[..<limit].reduce(bias) { max($0, $1) }
    let z = logits[..<limit].reduce(0) { $0 + exponential($1 - top) }
    return z / (z + exponential(bias - top))
  }

  /// Norms of all keys and values, and how the sink's stand to the mean of the others.
  private func addNorms(_ findings: inout Findings) {
    let d = rows.dim
    let keys = d == 0 ? [] : (0..<head.keys).map { Self.norm(rows.key[$0 * d..<($0 + 1) * d]) }
    let values = value.map { value in
      (0..<head.keys).map {
        Self.norm(
          value.floats[$0 * value.width..<($0 + 1) * value.width].map(Double.init)[...])
      }
    }
    /// The key's norm to the mean of the others; nil for a single key and for zeros.
    func ratio(_ norms: [Double]) -> Double? {
      guard norms.count > 1 else { return nil }
      let others = (norms.reduce(0, +) - norms[key]) / Double(norms.count - 1)
      return others > 0 ? norms[key] / others : nil
    }
    findings.number("key_norm_ratio", ratio(keys), title: "‖k‖ of the key to that of the others")
    findings.number(
      "value_norm_ratio", values.flatMap(ratio), title: "‖v‖ of the key to that of the others")
    if !keys.isEmpty {
      findings.series("key_norms", Axis(.key, keys.count), keys.map { Float($0) }, title: "‖k‖")
    }
    if let values {
      findings.series(
        "value_norms", Axis(.key, values.count), values.map { Float($0) }, title: "‖v‖")
    }
  }

  /// The map without the key, with an extra one, and under a sigmoid.
  func addFields(_ run: MethodRun, to findings: inout Findings) {
    let (key, limits, rows) = (key, head.visibility, rows)
    /// A field over what is seen; `body` gets logits, weights and the limit of a row.
    func field(_ body: @escaping @Sendable ([Double], [Double], Int) -> [Double]) -> RuleField {
      RuleField(rows: Axis(.query, head.queries), columns: Axis(.key, head.keys)) { row, out in
        let limit = limits.limit(row: row), logits = rows.logits(row)
        let values = body(logits, Elementary.softmax(logits, limit: limit), limit)
        for j in 0..<out.count { out[j] = j < limit ? Float(values[j]) : .nan }
      }
    }
    findings.field(
      "without_sink",
      field { _, weights, limit in
        guard key < limit else { return weights }
        var rest = weights
        rest[key] = 0
        let sum = rest.reduce(0, +)
        return sum > 0 ? rest.map { $0 / sum } : rest
      }, .weights, title: "without key \(key + 1), renormalised")
    if hasLogits {
      findings.field(
        "key_bias",
        field { logits, weights, limit in
          let share = self.kept(logits, limit)
          return weights.map { $0 * share }
        }, .signed, title: "with an extra key of value 0")
      findings.field(
        "sigmoid", field { logits, _, _ in logits.map(Elementary.sigmoid) }, .magnitude(.none),
        title: "sigmoid of the scores, not normalised")
    } else {
      findings.note("a stored pattern has no logits: no extra key, no sigmoid")
    }
    guard let value else { return }
    findings.field(
      "output_k_bias",
      RuleField(rows: Axis(.query, head.queries), columns: Axis(.channel, value.width)) {
        row, out in
        let weights = rows.weights(row)
        var sums = [Double](repeating: 0, count: value.width)
        for j in weights.indices where j != key && weights[j] != 0 {
          for x in sums.indices {
            sums[x] += weights[j] * Double(value.floats[j * value.width + x])
          }
        }
        for x in sums.indices { out[x] = Float(sums[x]) }
      }, .signed, title: "output with the key's value at 0")
  }
}
