import Algebra
public import Analysis
public import Attention
import Tensors

/// A member of test-time regression: values are regressed on keys, and the fit is read at a query.
///
/// What a row of the map is follows from any query at any place, so that the recall test (queries
/// that are keys) and the degrees of freedom (Q = K) ask the same function as the map.
protocol Regression: Sendable {
  /// `[place.limit]`: how much of each value the answer to a query `[d]` holds. Throws
  /// `AlgebraError` where a system has no solution.
  func weights(_ query: [Double], _ place: RowPlace) throws -> [Double]
}

/// Where a row stands.
struct RowPlace: Sendable {
  /// How many leading keys it sees.
  let limit: Int
  /// Its position among the keys, from which decay counts back.
  let position: Int
}

/// Q and K of a head as the members read them: in double precision, raw or brought to one length.
struct RegressionRows: Sendable {
  /// The head itself.
  let head: Head
  /// d.
  let dim: Int
  /// `[queries * dim]`
  let query: [Double]
  /// `[keys * dim]`
  let key: [Double]
  /// `[dim * keys]`: products with all keys run along keys.
  private let across: [Double]

  /// `length` is what every query and key is brought to (QK-norm); nil leaves them as they are, and
  /// vectors of zeros stay. Throws `Missing(.queryKey)` for stored maps.
  init(_ head: Head, length: Double? = nil) throws {
    guard let both = head.queryAndKey else { throw Missing(.queryKey) }
    self.head = head
    let dim = head.dim
    func read(_ tensor: Tensor) -> [Double] {
      let values = tensor.floats().map(Double.init)
      return length.map { KernelRows.unit(values, dim: dim, length: $0).elements } ?? values
    }
    (self.dim, query, key) = (dim, read(both.query), read(both.key))
    let keys = Matrix(rows: head.keys, columns: dim, elements: key)
    across = keys.transposed().elements
  }

  /// The same by the knobs of `QKNorm`; what stands in for a learned gain is noted. Throws
  /// `Missing(.queryKey)` for stored maps.
  init(_ head: Head, _ knobs: CheckedKnobs, _ findings: inout Findings) throws {
    try self.init(head, length: QKNorm.length(knobs, head, &findings))
  }

  /// Softmax weights of a query `[dim]` over what it sees, `[limit]`.
  func softmax(_ query: [Double], _ place: RowPlace) -> [Double] {
    Elementary.softmax(products(query, place.limit).map { $0 * head.scale })
  }

  /// A query, `[dim]`.
  func query(_ row: Int) -> [Double] { Array(query[row * dim..<(row + 1) * dim]) }

  /// A key, `[dim]`.
  func key(_ index: Int) -> [Double] { Array(key[index * dim..<(index + 1) * dim]) }

  /// What a query row sees.
  func place(row: Int) -> RowPlace {
    RowPlace(
      limit: head.visibility.limit(row: row), position: head.visibility.position(row: row))
  }

  /// What a query would see that stood at a key.
  func place(key: Int) -> RowPlace {
    RowPlace(limit: head.visibility.causal ? key + 1 : head.keys, position: key)
  }

  /// ‖K‖²_F, over every key there is.
  var keySquares: Double { key.reduce(0) { $0 + $1 * $1 } }

  /// k_j · x of the first `limit` keys, for x `[dim]`.
  func products(_ x: [Double], _ limit: Int) -> [Double] {
    var out = [Double](repeating: 0, count: limit)
    let keys = head.keys
    out.withUnsafeMutableBufferPointer { out in
      across.withUnsafeBufferPointer { all in
        for channel in 0..<dim {
          let factor = x[channel], start = channel * keys
          for j in 0..<limit { out[j] += factor * all[start + j] }
        }
      }
    }
    return out
  }
}

extension Missing {
  /// Nothing, for causal heads. Throws `Missing` with a reason (a clause) for all others: what
  /// counts tokens back has no meaning where a query sees what comes after it.
  static func unlessCausal(_ head: Head, _ why: String) throws {
    guard !head.visibility.causal else { return }
    throw Missing(.queryKey, hint: "of a causal head, as \(why)")
  }
}

/// A weight as fields hold it: what is no number in the data is +infinity, since NaN says unseen.
func shown(_ weight: Double) -> Float { weight.isNaN ? .infinity : Float(weight) }

extension Regression {
  /// The map, `[queries, keys]`, NaN where a query may not see.
  func map(_ rows: RegressionRows) -> RuleField {
    let head = rows.head
    return RuleField(rows: Axis(.query, head.queries), columns: Axis(.key, head.keys)) {
      row, out in
      let weights = try self.weights(rows.query(row), rows.place(row: row))
      for key in 0..<head.keys {
        let isSeen = key < weights.count
        out[key] = isSeen ? shown(weights[key]) : .nan
      }
    }
  }

  /// The recall test: mean over j of ‖out - v_j‖ when the last query is replaced by k_j, for every
  /// key j that it sees, or for `sample` of them, evenly spread; nil without V, and where the data
  /// holds a NaN. Throws `AlgebraError`, `CancellationError`.
  func recall(_ rows: RegressionRows, _ run: MethodRun, sample: Int = .max) throws -> Double? {
    guard let value = rows.head.value, rows.head.queries > 0 else { return nil }
    let place = rows.place(row: rows.head.queries - 1), width = value.shape[1]
    guard place.limit > 0 else { return nil }
    let values = value.floats().map(Double.init), chosen = MapPass.sample(0..<place.limit, sample)
    let errors = try RowPicks.spread(chosen.count, by: 8, run) { part in
      part.map { index in
        Result { () throws -> Double in
          let j = chosen[index]
          let weights = try self.weights(rows.key(j), place)
          var off = [Double](repeating: 0, count: width)
          for (key, weight) in weights.enumerated() where weight != 0 {
            for x in 0..<width { off[x] += weight * values[key * width + x] }
          }
          for x in 0..<width { off[x] -= values[j * width + x] }
          return off.reduce(0) { $0 + $1 * $1 }.squareRoot()
        }
      }
    }
    let mean = try errors.reduce(0) { $0 + (try $1.get()) } / Double(errors.count)
    return mean.isFinite ? mean : nil
  }

  /// Effective degrees of freedom: the trace of the map that the keys as queries would have.
  /// Throws `AlgebraError`, `CancellationError`.
  func freedom(_ rows: RegressionRows, _ run: MethodRun) throws -> Double? {
    let parts = try RowPicks.spread(rows.head.keys, by: 8, run) { part in
      part.map { key in
        Result { try self.weights(rows.key(key), rows.place(key: key))[key] }
      }
    }
    let trace = try parts.reduce(0) { $0 + (try $1.get()) }
    return trace.isFinite ? trace : nil
  }

  /// Recall and degrees of freedom, as every member says them of itself. Above `most` tokens recall
  /// is a mean over fewer keys and its name says so; degrees of freedom are a sum over all of them,
  /// which no sample gives. Throws `AlgebraError`, `CancellationError`.
  func addFacts(
    _ rows: RegressionRows, _ run: MethodRun, upTo most: Int, to findings: inout Findings
  ) throws {
    guard run.wantsNumbers else { return }
    let title = "recall test, mean |out - v|"
    guard max(rows.head.queries, rows.head.keys) <= most else {
      let sample = SampledRecall.keys
      findings.number(
        "recall_error\(SampledRecall.suffix)", try recall(rows, run, sample: sample),
        title: "\(title), \(sample) keys")
      return findings.note(
        "rows only: recall is of \(sample) keys; degrees of freedom up to \(most) tokens")
    }
    findings.number("recall_error", try recall(rows, run), title: title)
    findings.number(
      "degrees_of_freedom", try freedom(rows, run), title: "degrees of freedom, Q = K")
  }
}

/// The recall test of long heads.
enum SampledRecall {
  /// Keys that stand for all, and what the names of such numbers end in.
  static let keys = 64, suffix = "_sampled"
}

/// A method whose map is a smoother's hat matrix, and says so of itself: `leverage`, `spectrum`.
public protocol Smoother: MapMethod {}

extension Smoother {
  /// The findings of a map, and what a smoother says of itself. Throws `Missing`, `AlgebraError`,
  /// `CancellationError`.
  public func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    try examineHat(subject, run)
  }

  /// The same, for methods whose `examine` reads the surroundings of a head first. Throws
  /// `Missing`, `AlgebraError`, `CancellationError`.
  public func examineHat(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    try examineMap(subject, run) { map, numbers, findings in
      try findings.addHat(subject.head, map, numbers)
    }
  }
}

extension Findings {
  /// What a smoother's matrix says of itself: the series `leverage`, W_ii by query, and `spectrum`,
  /// the singular values of W. Only of a map that is there whole. Throws what its rows throw.
  mutating func addHat(_ head: Head, _ map: any RowField, _ numbers: MapNumbers) throws {
    guard map.bytes > 0 else {
      return note("rows only: leverage and spectrum take the whole map")
    }
    var leverage = [Float](repeating: .nan, count: head.queries)
    try map.withRows(0..<head.queries) { row, weights in
      let own = head.visibility.position(row: row)
      if weights.indices.contains(own) { leverage[row] = weights[own] }
    }
    series("leverage", Axis(.query, head.queries), leverage, title: "leverage W_ii, by query")
    guard let values = numbers.spectrum else { return }
    series(
      "spectrum", Axis(.rank, values.count), values.map { Float($0) },
      title: "singular values of the map")
  }
}

/// QK-norm, as members of the family take it: two knobs that they share.
enum QKNorm {
  /// Whether it is in force.
  static let isOn = Knob("qk_norm", "queries and keys brought to one length", standard: false)
  /// The length.
  static let gain = Knob(
    "gain", "that length; 0: √d, so that scores are √d cos θ", 0...1e6, standard: 0.0,
    step: .multiply(2))

  /// The length that a head's queries and keys are brought to; nil where they stay. A gain that
  /// stands in for a learned one is said in a note.
  static func length(_ knobs: CheckedKnobs, _ head: Head, _ findings: inout Findings) -> Double? {
    guard knobs[isOn] else { return nil }
    let isGiven = knobs[gain] > 0
    if !isGiven { findings.note("U0: QK-norm with gain √d in place of a learned one") }
    return isGiven ? knobs[gain] : Double(head.dim).squareRoot()
  }
}
