import Algebra
import Analysis
import Attention
import Tensors

/// The maps of the Dynamical Systems Framework over one causal head, a row at a time in double
/// precision: `[queries, keys]` each, 0 where a query does not see.
///
/// Example: `DynamicalMap(head, .init()).weights(.ssd, 5)` is row 5 of SSD's map. Memory 8 d bytes
/// for each query and key, up to six times. `DynamicalSystems` has the formulas.
///
/// The catch: the products of a state-space model span hundreds of orders; what falls below the
/// smallest normal number is 0. Positions of queries count from the visibility's offset, so that
/// rows of a prompt read in parts are those of the whole.
struct DynamicalMap: Sendable {
  /// The recurrences that have a state of bounded size.
  enum Member: String, Sendable, CaseIterable {
    case linear, normalised, ssd, s6, qlstm

    /// As its paper writes it.
    var title: String {
      switch self {
      case .linear: "linear attention"
      case .normalised: "normalised attention"
      case .ssd: "SSD (Mamba-2)"
      case .s6: "S6 (Mamba)"
      case .qlstm: "qLSTM"
      }
    }
  }

  /// Decay rates of S6's channels.
  enum Rates: String, Sendable, CaseIterable { case s, a }
  /// Where Δ comes from.
  enum Steps: String, Sendable, CaseIterable { case norm, one, seeded }
  /// φ of linear attention.
  enum Feature: String, Sendable, CaseIterable { case elu1, relu }
  /// ln η of normalised attention.
  enum Eta: String, Sendable, CaseIterable { case count = "ln c_i", zero }

  /// The knobs, as values.
  struct Options: Sendable {
    /// φ and ln η.
    var feature = Feature.elu1, eta = Eta.count
    /// a, and which rates S6 takes.
    var rate = 1.0, rates = Rates.s
    /// Where Δ comes from, and H in tokens.
    var steps = Steps.norm, halfLife = 32.0
    /// f = σ(-k); the seed of a projection.
    var isReversed = false, seed = 1
  }

  /// Scores, Q and K in double precision.
  let rows: DoubleRows
  /// V `[keys * width]`; nil without.
  let values: (elements: [Double], width: Int)?
  /// What was asked for.
  let options: Options
  /// φ(Q) `[queries * d]` and φ(K) `[keys * d]`.
  private let featureQuery, featureKey: [Double]
  /// Δ `[keys]`, and the sums of those before each key, `[keys + 1]`.
  let delta, sums: [Double]
  /// exp(-a_s Δ_j), `[keys * d]`.
  private let decays: [Double]
  /// Forget and input gates `[keys * d]`, output gates `[queries * d]`; empty without V.
  private let forget, input, output: [Double]

  /// Prepares what every row needs: features, step sizes, gates. Cost n d exponentials.
  init(_ head: Head, _ options: Options) {
    (rows, self.options, values) = (DoubleRows(head), options, LensRows.values(head))
    let rows = rows, d = rows.dim
    func feature(_ x: Double) -> Double {
      options.feature == .elu1 ? Elementary.elu1(x) : max(x, 0)
    }
    (featureQuery, featureKey) = (rows.query.map(feature), rows.key.map(feature))
    delta = Self.steps(rows, options)
    sums = delta.reduce(into: [0]) { $0.append($0[$0.count - 1] + $1) }
    var decays = [Double](repeating: 1, count: head.keys * d)
    for j in 0..<head.keys {
      for s in 0..<d {
        let rate = options.rates == .s ? Double(s + 1) : options.rate
        decays[j * d + s] = exponential(-rate * delta[j])
      }
    }
    self.decays = decays
    if let values, values.width == d {
      let sign = options.isReversed ? -1.0 : 1.0
      forget = rows.key.map { Elementary.sigmoid(sign * $0) }
      input = values.elements.map(Elementary.sigmoid)
      output = rows.query.map(Elementary.sigmoid)
    } else {
      (forget, input, output) = ([], [], [])
    }
  }

  /// The head that the rows are of.
  var head: Head { rows.head }
  /// d.
  var dim: Int { rows.dim }
  /// V is as wide as K, so that there are gates.
  var hasGates: Bool { !output.isEmpty }
  /// The members that there are maps of.
  var members: [Member] { Member.allCases.filter { $0 != .qlstm || hasGates } }
  /// Keys that a query sees.
  func limit(_ row: Int) -> Int { head.visibility.limit(row: row) }

  /// Δ `[keys]`, of the mean ln 2 / H by norms: a token of H of them has forgotten half.
  ///
  /// Norms are standardised by their population deviation over all keys. The projection is drawn as
  /// Mamba initialises it: softplus of a bias that lies log-uniformly in 0.001 to 0.1, and weights
  /// of deviation 1/√d; Gu and Dao, "Mamba", 2023, arXiv 2312.00752.
  private static func steps(_ rows: DoubleRows, _ options: Options) -> [Double] {
    let n = rows.head.keys, d = rows.dim
    switch options.steps {
    case .one: return [Double](repeating: 1, count: n)
    case .norm:
      let norms = (0..<n).map { LensRows.dot(rows.key, $0, rows.key, $0, d).squareRoot() }
      let mean = norms.reduce(0, +) / Double(max(n, 1))
      let variance = norms.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(max(n, 1))
      let spread = variance.squareRoot(), base = logarithm(2) / options.halfLife
      // Equal norms differ by rounding alone, which is no statistic.
      guard spread > 1e-12 * mean else { return [Double](repeating: base, count: n) }
      return norms.map { norm in
        // 1 + tanh z = 2 σ(2 z).
        base * 2 * Elementary.sigmoid(2 * (norm - mean) / spread)
      }
    case .seeded:
      var random = SplitMix64(UInt64(options.seed))
      let (low, high) = (logarithm(0.001), logarithm(0.1))
      let start = exponential(low + random.uniform() * (high - low))
      // softplus of the bias is `start`.
      let bias = start + logarithm(1 - exponential(-start))
      let weights = random.gaussians(d).map { $0 / Double(max(d, 1)).squareRoot() }
      return (0..<n).map { j in
        let x = LensRows.dot(weights, 0, rows.key, j, d) + bias
        return min(0.1, max(0.001, Elementary.softplus(x)))
      }
    }
  }

  /// W of a member for a query, `[keys]`, 0 where it does not see.
  ///
  /// A row of linear attention whose η is 0 (relu features that never meet) is a row of zeros. Cost
  /// n d.
  func weights(_ member: Member, _ row: Int) -> [Double] {
    let limit = limit(row), d = dim
    var out = [Double](repeating: 0, count: head.keys)
    switch member {
    case .linear:
      var sum = 0.0
      for j in 0..<limit {
        out[j] = LensRows.dot(featureQuery, row, featureKey, j, d)
        sum += out[j]
      }
      for j in 0..<limit { out[j] = sum != 0 ? out[j] / sum : 0 }
    case .normalised:
      let eta = eta(seeing: limit)
      for j in 0..<limit { out[j] = LensRows.dot(rows.query, row, rows.key, j, d) / eta }
    case .ssd:
      for j in 0..<limit {
        let decay = exponential(-options.rate * (sums[limit] - sums[j + 1]))
        out[j] = LensRows.dot(rows.query, row, rows.key, j, d) * delta[j] * decay
      }
    case .s6:
      backwards(rows.query, row, rows.key, decays) { j, sum in out[j] = delta[j] * sum }
    case .qlstm:
      backwards(output, row, input, forget) { j, sum in out[j] = sum / Double(max(d, 1)) }
    }
    return out
  }

  /// η of normalised attention.
  func eta(seeing limit: Int) -> Double { options.eta == .count ? Double(max(limit, 1)) : 1 }

  /// Σ_c read_ic (Π_{t=j+1..i} keep_tc) write_jc for every key j, from the query's own back: one
  /// product for each channel is carried along, and is 0 once it is below the smallest normal
  /// number.
  private func backwards(
    _ read: [Double], _ row: Int, _ write: [Double], _ keep: [Double],
    _ body: (_ key: Int, _ sum: Double) -> Void
  ) {
    let d = dim, limit = limit(row)
    var carried = Array(read[row * d..<(row + 1) * d])
    carried.withUnsafeMutableBufferPointer { carried in
      write.withUnsafeBufferPointer { write in
        keep.withUnsafeBufferPointer { keep in
          guard let c = carried.baseAddress, let w = write.baseAddress else { return }
          for j in stride(from: limit - 1, through: 0, by: -1) {
            body(j, Vectors.dot(c, w + j * d, d))
            for s in 0..<d {
              let next = c[s] * keep[j * d + s]
              c[s] = next.magnitude < .leastNormalMagnitude ? 0 : next
            }
          }
        }
      }
    }
  }

  /// A member's map as a field.
  func field(_ member: Member) -> RuleField {
    RuleField(rows: Axis(.query, head.queries), columns: Axis(.key, head.keys)) { row, out in
      LensRows.fill(out, weights(member, row), limit(row))
    }
  }

  /// Softmax and every member side by side, `[queries, maps * keys]`: W_ij / Σ_j |W_ij|, so that
  /// one scale serves all.
  var sideBySide: RuleField {
    let members = members, keys = head.keys
    let columns = Axis(.column, (1 + members.count) * keys)
    return RuleField(rows: Axis(.query, head.queries), columns: columns) { row, out in
      let maps = [rows.weights(row)] + members.map { weights($0, row) }
      for (place, weights) in maps.enumerated() {
        let size = weights.reduce(0) { $0 + $1.magnitude }
        for key in 0..<keys {
          let share = size > 0 ? weights[key] / size : 0
          out[place * keys + key] = key < limit(row) ? Float(share) : .nan
        }
      }
    }
  }

  /// What the channels of the qLSTM give, `[queries, d]`: Σ_j o_ic Π f_tc i_jc v_jc.
  var channelOutput: RuleField {
    let d = dim
    return RuleField(rows: Axis(.query, head.queries), columns: Axis(.channel, d)) { row, out in
      let sums = channels(row)
      for c in 0..<d { out[c] = Float(sums[c]) }
    }
  }

  /// One row of that, `[d]`; zeros without gates. Cost n d.
  func channels(_ row: Int) -> [Double] {
    let d = dim, values = values?.elements ?? []
    var sums = [Double](repeating: 0, count: d)
    guard hasGates else { return sums }
    var carried = Array(output[row * d..<(row + 1) * d])
    for j in stride(from: limit(row) - 1, through: 0, by: -1) {
      for c in 0..<d {
        sums[c] += carried[c] * input[j * d + c] * values[j * d + c]
        carried[c] *= forget[j * d + c]
      }
    }
    return sums
  }

  /// Π A from each key to a query, `[keys]`: how much of what was written there is left. The mean
  /// over channels where each has its own; NaN where a query that η needs is not there.
  func decay(_ member: Member, _ row: Int) -> [Double] {
    let limit = limit(row), d = dim, n = Double(max(d, 1)), sight = head.visibility
    var out = [Double](repeating: .nan, count: head.keys)
    switch member {
    case .linear:
      let eta = etas()
      for j in 0..<limit where j >= sight.offset && j - sight.offset < eta.count && eta[row] != 0 {
        out[j] = eta[j - sight.offset] / eta[row]
      }
    case .normalised:
      for j in 0..<limit { out[j] = eta(seeing: j + 1) / eta(seeing: limit) }
    case .ssd:
      for j in 0..<limit { out[j] = exponential(-options.rate * (sums[limit] - sums[j + 1])) }
    case .s6, .qlstm:
      let keep = member == .s6 ? decays : forget
      var left = [Double](repeating: 1, count: d)
      for j in stride(from: limit - 1, through: 0, by: -1) {
        out[j] = left.reduce(0, +) / n
        for s in 0..<d { left[s] *= keep[j * d + s] }
      }
    }
    return out
  }

  /// η of linear attention for every query, `[queries]`, by running sums of φ(k): n d in all, where
  /// one sum a row would take n² d.
  private func etas() -> [Double] {
    let d = dim
    var sum = [Double](repeating: 0, count: d), seen = 0
    return (0..<head.queries).map { row in
      while seen < limit(row) {
        for s in 0..<d { sum[s] += featureKey[seen * d + s] }
        seen += 1
      }
      return LensRows.dot(featureQuery, row, sum, 0, d)
    }
  }

  /// The outputs by the recurrence itself, `[queries * width]`: nil without V, where queries and
  /// keys are not the same tokens, and where an η is 0. Cost n times the state.
  func recurrence(_ member: Member) -> [Double]? {
    guard let values, head.queries == head.keys, head.visibility.offset == 0 else { return nil }
    let d = dim, width = values.width, eta = member == .linear ? etas() : []
    guard !eta.contains(0), member != .qlstm || hasGates else { return nil }
    var state = [Double](repeating: 0, count: member == .qlstm ? d : d * width)
    var result: [Double] = []
    for i in 0..<head.queries {
      let v = Array(values.elements[i * width..<(i + 1) * width])
      if member == .qlstm {
        for c in 0..<d { state[c] = forget[i * d + c] * state[c] + input[i * d + c] * v[c] }
        result += (0..<d).map { output[i * d + $0] * state[$0] }
        continue
      }
      var out = [Double](repeating: 0, count: width)
      for s in 0..<d {
        let (keep, write, read) = step(member, i, s, eta)
        for x in 0..<width {
          let next = keep * state[s * width + x] + write * v[x]
          state[s * width + x] = next
          out[x] += read * next
        }
      }
      result += out
    }
    return result
  }

  /// A_i, B_i / v_i and C_i, as the framework names them, in channel s of the members with a state
  /// `[d, width of V]`.
  private func step(_ member: Member, _ i: Int, _ s: Int, _ eta: [Double])
    -> (keep: Double, write: Double, read: Double)
  {
    let at = i * dim + s, q = rows.query[at], k = rows.key[at]
    switch member {
    case .linear:
      return (i > 0 ? eta[i - 1] / eta[i] : 0, featureKey[at] / eta[i], featureQuery[at])
    case .normalised:
      let now = self.eta(seeing: i + 1)
      return (self.eta(seeing: i) / now, k / now, q)
    case .ssd: return (exponential(-options.rate * delta[i]), delta[i] * k, q)
    case .s6, .qlstm: return (decays[at], delta[i] * k, q)
    }
  }
}
