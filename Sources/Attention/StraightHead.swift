public import Tensors

/// What lies between a product of Q and K and the softmax, each rule as a sentence would say it.
///
/// Example: `rules.sees(5, 2)` is whether query row 5 may see key 2. Nothing is worked out ahead:
/// this is what fast paths are checked against.
public struct StraightRules: Sendable {
  /// What products are multiplied with.
  public var scale = 1.0
  /// No key behind the query's own position is seen.
  public var causal: Bool
  /// Position of query row 0 among the keys, in tokens.
  public var offset: Int
  /// Scores x become c tanh(x / c).
  public var softcap: Double?
  /// Keys that a query sees at most, its own among them.
  public var window: Int?
  /// The packed sequence of each position `[keys]`.
  public var segments: [Int]?
  /// Positions before the first token.
  public var padding = 0
  /// The first key that each row sees `[queries]`, where that is all that is known of it.
  public var firsts: [Int]?
  /// How many leading keys each row sees at most `[queries]`, likewise.
  public var lasts: [Int]?

  /// Scale 1 and nothing hidden but what causality hides.
  public init(causal: Bool, offset: Int) { (self.causal, self.offset) = (causal, offset) }

  /// Whether a query row may see a key.
  public func sees(_ row: Int, _ key: Int) -> Bool {
    let position = row + offset
    if causal, key > position { return false }
    if let firsts, firsts.indices.contains(row), key < firsts[row] { return false }
    if let lasts, lasts.indices.contains(row), key >= lasts[row] { return false }
    if padding > 0, position < padding || key < padding { return false }
    if let window, key <= position - window || !causal && key >= position + window { return false }
    if let segments, segments.indices.contains(position) {
      return segments.indices.contains(key) && segments[key] == segments[position]
    }
    return true
  }
}

/// One head in double precision, a row at a time, written as the definitions read: what everything
/// that is fast can be checked against, on heads of any length.
///
/// Example: `head.pattern(7)` is row 7 of the map. Nothing is shared with the tile pass; of numbers
/// that a file holds it reads those that float32 holds, as every reader here does. Cost of a row
/// O(keys * d); memory the keys and values as floats.
public struct StraightHead: Sendable {
  /// Where its scores come from.
  public enum Source: Sendable {
    /// query `[queries, d]` and key `[keys, d]`
    case projections(query: Tensor, key: Tensor)
    /// `[queries, keys]`, after softmax
    case pattern(Tensor)
    /// `[queries, keys]`, before softmax
    case scores(Tensor)
  }

  /// The rules between products and softmax.
  public let rules: StraightRules
  /// Query rows and keys, in tokens.
  public let queries, keys: Int
  /// Width of a key and of a value row; 0 without.
  public let dim, valueDim: Int
  private let source: Source
  /// `[queries or 1, keys]`, added to the scores.
  private let bias: Tensor?
  /// `[keys * d]`; empty for maps.
  private let keyRows: [Float]
  /// `[keys * valueDim]`; empty without V.
  private let values: [Float]

  /// A head of some arrays; `value` is `[keys, valueDim]`, `bias` `[queries or 1, keys]`.
  public init(_ source: Source, value: Tensor? = nil, bias: Tensor? = nil, rules: StraightRules) {
    (self.source, self.bias, self.rules) = (source, bias, rules)
    switch source {
    case .projections(let query, let key):
      (queries, keys, dim) = (query.shape[0], key.shape[0], query.shape[1])
      keyRows = key.floats()
    case .pattern(let map), .scores(let map):
      (queries, keys, dim, keyRows) = (map.shape[0], map.shape[1], 0, [])
    }
    (values, valueDim) = (value?.floats() ?? [], value?.shape[1] ?? 0)
  }

  /// Scores of a row `[keys]`, -infinity where the query may not look.
  public func scores(_ row: Int) -> [Double] {
    var out = [Double](repeating: -.infinity, count: keys)
    switch source {
    case .projections(let query, _):
      let q = query[row].floats().map(Double.init)
      let added = bias.map { $0[$0.shape[0] > 1 ? row : 0].floats() }
      for key in 0..<keys where rules.sees(row, key) {
        var x = product(q, key) * rules.scale
        if let c = rules.softcap { x = c * tangent(x / c) }
        if let added, key < added.count { x += Double(added[key]) }
        out[key] = x
      }
    case .pattern(let map):
      let p = map[row].floats()
      for key in 0..<keys where rules.sees(row, key) { out[key] = logarithm(Double(p[key])) }
    case .scores(let map):
      let s = map[row].floats()
      for key in 0..<keys where rules.sees(row, key) { out[key] = Double(s[key]) }
    }
    return out
  }

  /// q · k of one key.
  private func product(_ q: [Double], _ key: Int) -> Double {
    keyRows.withUnsafeBufferPointer { keys in
      q.withUnsafeBufferPointer { q in
        var sum = 0.0
        for c in 0..<dim { sum += q[c] * Double(keys[key * dim + c]) }
        return sum
      }
    }
  }

  /// tanh x, by its definition; beyond 20 it is 1 to the last bit.
  private func tangent(_ x: Double) -> Double {
    guard abs(x) < 20 else { return x.isNaN ? x : (x < 0 ? -1 : 1) }
    let e = exponential(2 * x)
    return (e - 1) / (e + 1)
  }

  /// A row of the map `[keys]` and the log-sum-exp of its scores, in nats. All zero and -infinity
  /// for a row that sees nothing; NaN where a score that counts is none.
  public func pattern(_ row: Int) -> (weights: [Double], logSum: Double) {
    Self.softmax(scores(row))
  }

  /// e^s / Σ e^s, and ln Σ e^s.
  static func softmax(_ scores: [Double]) -> (weights: [Double], logSum: Double) {
    let top = Self.largest(scores)
    if scores.contains(where: \.isNaN) || top == .infinity {
      return (scores.map { $0 == -.infinity ? 0 : .nan }, .nan)
    }
    guard top > -.infinity else { return (scores.map { _ in 0 }, -.infinity) }
    let weights = scores.map { exponential($0 - top) }
    let sum = weights.reduce(0, +)
    return (weights.map { $0 / sum }, top + logarithm(sum))
  }

  /// The largest that is a number; -infinity where none is.
  static func largest(_ values: some Sequence<Double>) -> Double {
    values.reduce(-.infinity) { $1 > $0 ? $1 : $0 }
  }

  /// Σ w v over the keys that `takes` lets through, divided by Σ w over the same: `[valueDim]`.
  /// Zeros where nothing is left.
  public func output(_ weights: [Double], _ takes: (Int) -> Bool) -> [Double] {
    var out = [Double](repeating: 0, count: valueDim), sum = 0.0
    for key in 0..<keys where weights[key] != 0 && takes(key) {
      sum += weights[key]
      for x in 0..<valueDim { out[x] += weights[key] * Double(values[key * valueDim + x]) }
    }
    return sum == 0 ? out : out.map { $0 / sum }
  }

  /// The largest of |V|, for bounds.
  public var largestValue: Double {
    values.reduce(0) { max($0, abs(Double($1))) }
  }

  /// |scale| times the largest norms of a query and a key: what the rounding of a product grows
  /// with. 0 for maps.
  public var norm: Double {
    guard case .projections(let query, _) = source, dim > 0 else { return 0 }
    func most(_ rows: [Float]) -> Double {
      stride(from: 0, to: rows.count, by: dim).reduce(0.0) { most, at in
        max(most, (0..<dim).reduce(0.0) { $0 + Double(rows[at + $1]) * Double(rows[at + $1]) })
      }.squareRoot()
    }
    return abs(rules.scale) * most(query.floats()) * most(keyRows)
  }
}
