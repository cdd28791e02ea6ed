import Algebra
public import Analysis
public import Attention
import Tensors

/// DeltaLLM, a reconstruction: keys as a cache holds them that stores only changes above Θ.
///
/// Per channel c of a head, with the reference κ = k_0 and t = 1, 2, ...:
///
///     δ_tc = k_tc - κ_c;   |δ_tc| > Θ: sent, κ_c = k_tc;   else δ_tc = 0 and κ_c stays
///     k̃_t = κ,     s̃_it = s̃_i,t-1 + q_i δ_t / √d = q_i k̃_t / √d
///     Ã_i = softmax of s_ij where i - j < W, of s̃_ij elsewhere
///
/// An element that is not sent saves one product in every row that is beyond its window. What was
/// sent last is compared with, not the key before: so no key is ever further off than Θ. Paper:
/// "DeltaLLM", 2025, arXiv 2507.19608 (card S6), of which no equations are known to us: this is our
/// reading. `of=queries` does the same to the queries, `level=vector` sends a whole vector or
/// nothing of it. Ours: Θ is found so that `sparsity` of the elements are not sent, W is a quarter
/// of the keys; where nothing is causal the window is |i - j| < W.
///
/// Findings: those of every map; fields `delta` `[tokens, channels]`, 1 where it is sent, and
/// `difference` `[queries, keys]`, |A - Ã|; curve `trade_off`, sparsity against output error;
/// `theta`, `window`, `element_sparsity`, `vector_sparsity`, `macs_saved` (of the products of all
/// visible pairs), `key_error_max`, `kl`. Needs Q and K; V for the curve. Cost n d for the keys and
/// n² d for the map: a constant factor is saved, and no more.
public struct DeltaLLM: MapMethod {
  /// What is sent as changes.
  enum Stream: String, Sendable, CaseIterable { case keys, queries }
  /// What is sent or not as one.
  enum Level: String, Sendable, CaseIterable { case element, vector }

  static let sparsity = Knob(
    "sparsity", "share of elements that are not sent, by choice of theta", 0...1, standard: 0.6,
    isMain: true)
  static let theta = Knob(
    "theta", "largest change that is not sent; below 0 it is found from `sparsity`", -1...1e9,
    standard: -1.0, step: .multiply(2), aliases: ["threshold"])
  static let window = Knob(
    "window", "recent keys that are exact; -1 is a quarter of all", -1...1 << 30, standard: -1,
    step: .multiply(2), aliases: ["W"])
  static let stream = Knob("of", "what is sent as changes", standard: Stream.keys)
  static let level = Knob("level", "what is sent or not as one", standard: Level.element)

  public static let card = MethodCard(
    id: "delta", title: "DeltaLLM", family: "reuse",
    idea: "Send only changes of keys above a threshold, and keep a window exact.",
    source: "DeltaLLM, 2025, arXiv 2507.19608", needs: [.queryKey],
    knobs: [sparsity.facts, theta.facts, window.facts, stream.facts, level.facts],
    fidelity: .proxy("a reconstruction: the paper's equations are not known"), wholeMap: 4096,
    mainField: "map", mainNumber: "error", denseKnobs: ["theta": .number(0)],
    growth: Growth("n² (1 - sparsity)") { $0 * $0 })

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for an unknown knob or a value outside its range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// Ã of a head, `[queries, keys]`, a row at a time. Throws `Missing(.queryKey)`,
  /// `CancellationError`.
  public func map(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> any RowField {
    guard let (query, key) = head.queryAndKey else { throw Missing(.queryKey) }
    let isKeys = knobs[Self.stream] == .keys
    let rows = DoubleRows(head), source = isKeys ? key : query
    let vectors = DeltaSource(
      isKeys ? rows.key : rows.query, dim: source.shape[1],
      isWhole: knobs[Self.level] == .vector)
    let given = knobs[Self.theta], window = knobs[Self.window]
    let theta = given < 0 ? vectors.theta(sparsity: knobs[Self.sparsity]) : given
    let width = window < 0 ? head.keys / 4 : window
    let sent = vectors.sent(theta)
    let hybrid = DeltaMap(rows, sent, isKeys: isKeys, window: width)
    aside.findings.note(Self.card.fidelity.sentence)
    let tokens = Axis(isKeys ? .key : .query, vectors.count)
    aside.findings.field(
      "delta",
      WholeField(
        rows: tokens, columns: Axis(.channel, vectors.dim), values: sent.flags.map(Float.init)),
      .kept, title: "changes that are sent")
    let axes = (Axis(.query, head.queries), Axis(.key, head.keys))
    aside.findings.field(
      "difference",
      RuleField(rows: axes.0, columns: axes.1) { row, out in
        let limit = head.visibility.limit(row: row), a = rows.weights(row), b = hybrid.weights(row)
        for j in 0..<head.keys { out[j] = j < limit ? Float(abs(a[j] - b[j])) : .nan }
      }, .magnitude(.share), title: "|A - Ã|")
    if run.wantsNumbers {
      say(sent, theta, hybrid, &aside)
      aside.findings.number(
        "kl", try hybrid.divergence(run), .nats, title: "KL from dense")
      try trade(vectors, rows, hybrid, sent, run, &aside)
    }
    return RuleField(rows: axes.0, columns: axes.1) { row, out in
      let limit = head.visibility.limit(row: row), weights = hybrid.weights(row)
      for j in 0..<head.keys { out[j] = j < limit ? Float(weights[j]) : .nan }
    }
  }

  /// What the setting saves, and how far off its keys are.
  private func say(_ sent: DeltaSent, _ theta: Double, _ hybrid: DeltaMap, _ aside: inout Aside) {
    aside.findings.number("theta", theta, title: "threshold in force")
    aside.findings.number("window", Double(hybrid.window), .keys, title: "exact window")
    aside.findings.number(
      "element_sparsity", sent.elementSparsity, .share, title: "elements not sent")
    aside.findings.number(
      "vector_sparsity", sent.vectorSparsity, .share, title: "vectors of which nothing is sent")
    aside.findings.number(
      "macs_saved", hybrid.saved, .share, title: "multiply-accumulates saved")
    aside.findings.number("key_error_max", sent.largestError, title: "largest error of an element")
  }

  /// Sparsity against output error, of at most 64 rows; nothing without V. Throws
  /// `CancellationError`.
  private func trade(
    _ vectors: DeltaSource, _ rows: DoubleRows, _ hybrid: DeltaMap, _ sent: DeltaSent,
    _ run: MethodRun, _ aside: inout Aside
  ) throws {
    guard let value = rows.head.value, let here = sent.elementSparsity else { return }
    let values = value.floats().map(Double.init), width = value.shape[1]
    let queries = rows.head.queries, step = max(1, (queries + 63) / 64)
    let chosen = Array(stride(from: queries - 1, through: 0, by: -step))
    let isKeys = knobs[Self.stream] == .keys
    var points: [Curve.Point] = []
    for tenth in 0...10 {
      let theta = vectors.theta(sparsity: Double(tenth) / 10), one = vectors.sent(theta)
      guard let x = one.elementSparsity, x > points.last?.x ?? -1 else { continue }
      let map = DeltaMap(rows, one, isKeys: isKeys, window: hybrid.window)
      guard let y = try map.error(chosen, values, width, run) else { return }
      points.append(Curve.Point(x, y))
    }
    guard let y = try hybrid.error(chosen, values, width, run), !points.isEmpty else { return }
    aside.findings.curve(
      "trade_off",
      Curve(
        x: "elements not sent", y: "output error", points: points,
        marks: [.init("here", x: here, y: y)]), title: "sparsity and output error")
    if step > 1 { aside.findings.note("trade-off from \(chosen.count) rows, evenly spread") }
  }
}

/// Vectors in the order of tokens, from which changes are taken.
struct DeltaSource: Sendable {
  /// `[count * dim]`
  let values: [Double]
  /// Vectors.
  let count: Int
  /// Width of a vector.
  let dim: Int
  /// A vector is sent whole, or not at all.
  let isWhole: Bool

  /// `values` `[count * dim]`.
  init(_ values: [Double], dim: Int, isWhole: Bool) {
    (self.values, self.dim, self.isWhole) = (values, dim, isWhole)
    count = dim > 0 ? values.count / dim : 0
  }

  /// What is sent at a threshold.
  func sent(_ theta: Double) -> DeltaSent {
    var held = values, flags = [UInt8](repeating: 0, count: values.count)
    for c in 0..<min(dim, values.count) { flags[c] = 1 }
    for t in stride(from: dim, to: values.count, by: max(dim, 1)) {
      let isSent =
        isWhole && (0..<dim).contains { abs(values[t + $0] - held[t - dim + $0]) > theta }
      for c in t..<t + dim {
        let change = values[c] - held[c - dim]
        if isSent || (!isWhole && abs(change) > theta) {
          // A change of 0 costs nothing, whether it is sent or not.
          flags[c] = change == 0 ? 0 : 1
        } else {
          held[c] = held[c - dim]
        }
      }
    }
    return DeltaSent(held: held, flags: flags, source: self)
  }

  /// A threshold at which at least `sparsity` of the elements are not sent, and hardly below it
  /// they are; by halving, as if sparsity rose with the threshold everywhere.
  func theta(sparsity: Double) -> Double {
    guard count > 1 else { return 0 }
    func holds(_ theta: Double) -> Bool { (sent(theta).elementSparsity ?? 1) >= sparsity }
    guard !holds(0) else { return 0 }
    var low = 0.0, high = 0.0
    for c in dim..<values.count { high = max(high, abs(values[c] - values[c % dim])) }
    for _ in 0..<40 {
      let middle = (low + high) / 2
      if holds(middle) { high = middle } else { low = middle }
    }
    return high
  }
}

/// What was sent of vectors, and what is held of them.
struct DeltaSent: Sendable {
  /// k̃, `[count * dim]`.
  let held: [Double]
  /// 1 where a change was sent, `[count * dim]`; all of the first vector.
  let flags: [UInt8]
  fileprivate let source: DeltaSource

  /// Elements of the first vector's successors that are not sent; nil without any.
  var elementSparsity: Double? {
    guard source.count > 1 else { return nil }
    let sent = flags[source.dim...].reduce(0) { $0 + Int($1) }
    return 1 - Double(sent) / Double(flags.count - source.dim)
  }

  /// Changes of each vector that are not sent, `[count]`; 0 for the first.
  var zeros: [Int] {
    (0..<source.count).map { t in
      source.dim - flags[t * source.dim..<(t + 1) * source.dim].reduce(0) { $0 + Int($1) }
    }
  }

  /// Vectors of which nothing is sent, of all but the first; nil without any.
  var vectorSparsity: Double? {
    guard source.count > 1 else { return nil }
    return Double(zeros.filter { $0 == source.dim }.count) / Double(source.count - 1)
  }

  /// max |k̃ - k|.
  var largestError: Double {
    zip(held, source.values).reduce(0) { max($0, abs($1.0 - $1.1)) }
  }
}

/// Softmax over exact scores in a window and those of what is held beyond it.
struct DeltaMap: Sendable {
  /// W, in tokens.
  let window: Int
  private let rows: DoubleRows
  private let sent: DeltaSent
  private let isKeys: Bool

  /// `sent` are keys, or queries.
  init(_ rows: DoubleRows, _ sent: DeltaSent, isKeys: Bool, window: Int) {
    (self.rows, self.sent, self.isKeys, self.window) = (rows, sent, isKeys, window)
  }

  /// Keys that a row has exactly.
  private func exact(_ row: Int) -> Range<Int> {
    let visibility = rows.head.visibility, limit = visibility.limit(row: row)
    let own = visibility.position(row: row)
    let low = min(max(0, own - window + 1), limit)
    let high = visibility.causal ? limit : min(max(low, own + window), limit)
    return window > 0 ? low..<max(low, high) : limit..<limit
  }

  /// Ã of one row, `[keys]`, 0 where it may not see.
  func weights(_ row: Int) -> [Double] {
    let head = rows.head, dim = rows.dim, limit = head.visibility.limit(row: row)
    let near = exact(row)
    let query = isKeys ? rows.query : sent.held, key = isKeys ? sent.held : rows.key
    var scores = [Double](repeating: 0, count: head.keys)
    rows.query.withUnsafeBufferPointer { q in
      rows.key.withUnsafeBufferPointer { k in
        query.withUnsafeBufferPointer { qHeld in
          key.withUnsafeBufferPointer { kHeld in
            for j in 0..<limit {
              let (a, b) = near.contains(j) ? (q, k) : (qHeld, kHeld)
              var sum = 0.0
              for x in 0..<dim { sum += a[row * dim + x] * b[j * dim + x] }
              scores[j] = sum * head.scale
            }
          }
        }
      }
    }
    return Elementary.softmax(scores, limit: limit)
  }

  /// Zeros of the changes over pairs beyond the window, of the products of all visible pairs; nil
  /// where none is visible.
  var saved: Double? {
    let head = rows.head, visible = head.visibleEntries, zeros = sent.zeros
    guard visible > 0, rows.dim > 0 else { return nil }
    var before = [0]
    for count in zeros { before.append(before[before.count - 1] + count) }
    var sum = 0
    for row in 0..<head.queries {
      let limit = head.visibility.limit(row: row), near = exact(row)
      sum +=
        isKeys
        ? before[limit] - before[near.upperBound] + before[near.lowerBound]
        : zeros[row] * (limit - near.count)
    }
    return Double(sum) / (Double(visible) * Double(rows.dim))
  }

  /// Mean over rows of KL(Ã || A), in nats; of long heads from a sample. Nil where no row sees
  /// anything, or Ã has mass where A has none. Throws `CancellationError`.
  func divergence(_ run: MethodRun) throws -> Double? {
    let head = rows.head, step = run.sampling(head, tiles: head.queries, rows: 1)
    let sums = try RowPicks.spread((head.queries + step - 1) / step, by: 16, run) { chunk in
      chunk.compactMap { index -> Double? in
        let row = index * step
        guard head.visibility.limit(row: row) > 0 else { return nil }
        let a = rows.weights(row)
        return zip(weights(row), a).reduce(0) { sum, pair in
          pair.0 > 0 ? sum + pair.0 * logarithm(pair.0 / pair.1) : sum
        }
      }
    }
    let mean = sums.reduce(0, +) / Double(max(sums.count, 1))
    return sums.isEmpty || !mean.isFinite ? nil : mean
  }

  /// ‖ÃV - AV‖ / ‖AV‖ over some rows; nil where AV is zero. `values` `[keys * width]`. Throws
  /// `CancellationError`.
  func error(_ chosen: [Int], _ values: [Double], _ width: Int, _ run: MethodRun) throws -> Double?
  {
    let parts = try RowPicks.spread(chosen.count, by: 4, run) { chunk in
      chunk.map { place -> (Double, Double) in
        let a = rows.weights(chosen[place]), b = weights(chosen[place])
        var off = [Double](repeating: 0, count: width), dense = off
        for j in a.indices where a[j] != 0 || b[j] != 0 {
          for x in 0..<width {
            off[x] += (b[j] - a[j]) * values[j * width + x]
            dense[x] += a[j] * values[j * width + x]
          }
        }
        return (off.reduce(0) { $0 + $1 * $1 }, dense.reduce(0) { $0 + $1 * $1 })
      }
    }
    let norm = parts.reduce(0) { $0 + $1.1 }
    return norm > 0 ? (parts.reduce(0) { $0 + $1.0 } / norm).squareRoot() : nil
  }
}
