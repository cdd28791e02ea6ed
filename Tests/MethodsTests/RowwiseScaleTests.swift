import Algebra
import Attention
import Foundation
import Methods
import Support
import Tensors
import Testing

/// Card A11: rows that are scaled over a floor.
@Suite struct AffineTests {
  /// A row sums to α_ma, whatever α is, causal or not.
  @Test(arguments: Bench.allCases, ["affine", "affine-fixed", "affine:alpha=U0", "affine:alpha=1"])
  func rowsSumToTheMean(_ input: Bench, _ setting: String) throws {
    for head in [input.head, RowwiseTests.drawn(30, 6, seed: 4, causal: false)] {
      let found = try RowwiseTests.examine(setting, head)
      let mean = try RowwiseTests.number(found, "alpha_ma")
      for row in try RowwiseTests.map(found) {
        #expect(abs(row.reduce(0, +) - mean) < 2e-6, "\(input)")
      }
      for sum in try RowwiseTests.series(found, "row_sums") { #expect(abs(sum - mean) < 2e-6) }
    }
  }

  /// With N the whole length row i sums to α + c_i (α_ma - α) / n.
  @Test func sumsOfTheWholeLength() throws {
    let found = try RowwiseTests.examine(
      "affine:alpha=0.8,alpha_ma=0.4,count=full", Bench.random.head)
    for (i, row) in try RowwiseTests.map(found).enumerated() {
      let sum = row.reduce(0, +), wanted: Double = 0.8 - 0.4 * Double(i + 1) / 64
      #expect(abs(sum - wanted) < 2e-6)
    }
  }

  /// A = (.1, .9): (-.12, .52); α = 0 is uniform; where training begins all is halved.
  @Test func figuresOfTheCard() throws {
    let two = ReweightingTests.head([[log(0.1 as Double), log(0.9 as Double)]])
    let row = try RowwiseTests.map(try RowwiseTests.examine("affine-fixed", two))[0]
    #expect(RowwiseTests.close(row, [-0.12, 0.52], 1e-6), "\(row)")
    let head = Bench.random.head
    let flat = try RowwiseTests.map(
      try RowwiseTests.examine("affine:alpha=0,alpha_ma=0.6", head))
    for (i, row) in flat.enumerated() {
      let share: Double = 0.6 / Double(i + 1)
      #expect(row.prefix(i + 1).allSatisfy { abs($0 - share) < 1e-6 })
    }
    let half = try RowwiseTests.map(try RowwiseTests.examine("affine:alpha=U0", head))
    let dense = try RowwiseTests.map(try RowwiseTests.examine("clipped:alpha=0", head))
    for (w, a) in zip(half, dense) { #expect(RowwiseTests.close(w, a.map { $0 / 2 }, 1e-6)) }
  }

  /// Mean 0, deviation of the population 1.
  static func standardised(_ values: [Double]) -> [Double] {
    let n = Double(values.count), mean = values.reduce(0, +) / n
    var squares = 0.0
    for x in values { squares += (x - mean) * (x - mean) }
    let spread = (squares / n).squareRoot()
    return values.map { ($0 - mean) / spread }
  }

  /// α by the standardised length of queries, and what is counted of the map.
  @Test func alphaFollowsTheQuery() throws {
    let head = Bench.random.head, query = try #require(head.queryAndKey).query
    let found = try RowwiseTests.examine("affine:alpha=U3,alpha_ma=mean", head)
    let norms = (0..<64).map { (row: Int) -> Double in
      RowwiseTests.dot(query[row].floats(), query[row].floats()).squareRoot()
    }
    let wanted = Self.standardised(norms).map { (z: Double) -> Double in
      min(1, max(0, 0.5 + 0.1 * z))
    }
    #expect(RowwiseTests.close(try RowwiseTests.series(found, "alpha"), wanted, 1e-6))
    let ma = wanted.reduce(0, +) / 64, map = try RowwiseTests.map(found)
    #expect(abs(try RowwiseTests.number(found, "alpha_ma") - ma) < 1e-9)
    let dense = try RowwiseTests.map(try RowwiseTests.examine("clipped:alpha=0", head))
    var below = 0.0
    for i in 0..<64 {
      for j in 0...i {
        let floor: Double = (ma - wanted[i]) / Double(i + 1)
        let w = wanted[i] * dense[i][j] + floor
        #expect(abs(map[i][j] - w) < 1e-6)
        below += w < 0 ? 1 : 0
      }
    }
    #expect(abs(try RowwiseTests.number(found, "negative_share") - below / 2080) < 1e-12)
    let sink = dense[4...].map { $0[0] }.reduce(0, +) / 60
    let change = try RowwiseTests.number(found, "sink_mass_change")
    #expect(abs(try RowwiseTests.number(found, "sink_mass_dense") - sink) < 1e-6)
    let after = try RowwiseTests.number(found, "sink_mass")
    #expect(abs(after - sink - change) < 1e-6)
    #expect(found.notes.contains { $0.hasPrefix("U3") })
    let column = try RowwiseTests.series(found, "sink_column")
    #expect(RowwiseTests.close(column, map.map { $0[0] }, 1e-7))
  }

  /// Equal queries have z = 0; stored maps have no queries, and numbers do without.
  @Test func withoutQueries() throws {
    let even = try RowwiseTests.examine("affine", Bench.uniform.head)
    #expect(try RowwiseTests.series(even, "alpha").allSatisfy { $0 == 0.5 })
    let map = Head(pattern: Tensor([1, 0, 0.5, 0.5], shape: [2, 2]), causal: true)
    #expect(throws: Missing.self) { try RowwiseTests.examine("affine", map) }
    let fixed = try RowwiseTests.map(try RowwiseTests.examine("affine-fixed", map))
    #expect(RowwiseTests.close(fixed[1], [0.2, 0.2], 1e-6), "\(fixed)")
  }

  /// A drawn w reads what its layer reads: all that was added to the stream before it.
  @Test func drawnWeights() throws {
    let head = RowwiseTests.drawn(6, 4, seed: 8)
    var random = SplitMix64(77)
    let stream = random.gaussians(5 * 6 * 10)
    func subject(_ sources: Int) -> Subject {
      let values = stream.prefix(sources * 60).map { Float($0) }
      return Subject(layers: [[head]], numbers: [1]) { need, _ in
        guard need == .residuals else { throw Missing(need) }
        return Tensor(values, shape: [sources, 6, 10])
      }
    }
    let found = try ReweightingTests.examine("affine:alpha=U1,seed=3", subject(5))
    var draws = SplitMix64(3)
    let w = draws.gaussians(10).map { 0.02 * $0 }
    let wanted = (0..<6).map { token -> Double in
      var squares = 0.0, product = 0.0
      for i in 0..<10 {
        var x = 0.0
        for source in 0..<3 { x += Double(Float(stream[source * 60 + token * 10 + i])) }
        squares += x * x
        product += x * w[i]
      }
      return 0.5 + 0.1 * product / (squares / 10).squareRoot()
    }
    #expect(RowwiseTests.close(try RowwiseTests.series(found, "alpha"), wanted, 1e-6))
    #expect(throws: Missing.self) { try RowwiseTests.examine("affine:alpha=U1", head) }
    #expect(throws: Missing.self) { try ReweightingTests.examine("affine:alpha=U1", subject(2)) }
  }

  /// Tokens that the residuals do not hold are missing: queries from before the first key, and more
  /// of them than there are keys.
  @Test(arguments: [(6, 4, Int?.none), (4, 4, -2), (4, 4, 2), (6, 6, 0)])
  func drawnWeightsOfOddSides(_ queries: Int, _ keys: Int, _ offset: Int?) throws {
    var random = Seeded(9)
    let head = Head(
      query: random.tensor([queries, 3]), key: random.tensor([keys, 3]),
      value: random.tensor([keys, 3]), causal: true, offset: offset)
    let stream = random.tensor([3, 6, 5])
    let subject = Subject(layers: [[head]], numbers: [1]) { need, _ in
      guard need == .residuals else { throw Missing(need) }
      return stream
    }
    // Rows stand at their offset: 4 queries from the third token on end at the sixth.
    let first = offset ?? keys - queries
    guard first >= 0, first + queries <= 6 else {
      #expect(throws: Missing.self) {
        try ReweightingTests.examine("affine:alpha=U1", subject)
      }
      return
    }
    let found = try ReweightingTests.examine("affine:alpha=U1", subject)
    #expect(try RowwiseTests.series(found, "alpha").count == queries)
  }
}

/// Card A15: rows under a temperature of their own.
@Suite struct SelectiveTests {
  /// S = (0, 1) at τ = 2; τ = 0 is uniform; τ without end is the largest score.
  @Test func temperatures() throws {
    let plain = "ssa:kappa=0,token=None,"
    let row = try RowwiseTests.map(
      try RowwiseTests.examine(plain + "factor=2", ReweightingTests.head([[0, 1]])))[0]
    #expect(RowwiseTests.close(row, [0.1192, 0.8808], 5e-5), "\(row)")
    let flat = try RowwiseTests.examine(plain + "factor=0", Bench.random.head)
    for (i, row) in try RowwiseTests.map(flat).enumerated() {
      let share: Double = 1 / Double(i + 1)
      #expect(row.prefix(i + 1).allSatisfy { abs($0 - share) < 1e-6 })
    }
    #expect(abs(try RowwiseTests.number(flat, "flatness") - 1) < 1e-9)
    let sharp = try RowwiseTests.examine(plain + "factor=1000000", Bench.random.head)
    let dense = try RowwiseTests.map(
      try RowwiseTests.examine("clipped:alpha=0", Bench.random.head))
    for (row, all) in zip(try RowwiseTests.map(sharp), dense) {
      let top = all.indices.max { all[$0] < all[$1] } ?? 0
      #expect(row[top] > 0.999)
    }
    var wanted = 0.0
    for i in 1...64 { wanted += 1 / Double(i) / 64 }
    #expect(abs(try RowwiseTests.number(sharp, "flatness") - wanted) < 1e-2)
  }

  /// The released β changes almost nothing: 1.0043 and 1.0784 at the 1024th row.
  @Test func releasedTemperatures() throws {
    let head = RowwiseTests.drawn(1024, 2, seed: 2)
    for (beta, wanted) in [(2.0, 1.0043), (1.5, 1.0784)] {
      let found = try RowwiseTests.examine("ssa:beta=\(beta),token=None", head)
      #expect(abs(try RowwiseTests.series(found, "tau")[1023] - wanted) < 5e-5)
    }
    let both = RowwiseTests.drawn(64, 4, seed: 2, causal: false)
    let tau = try RowwiseTests.series(try RowwiseTests.examine("ssa-position", both), "tau")
    let all: Double = 1 + 0.5 * log(64.0)
    #expect(tau.allSatisfy { abs($0 - all) < 1e-6 })
  }

  /// -Σ p ln p in nats.
  static func entropy(_ p: [Double]) -> Double {
    var sum = 0.0
    for x in p where x > 0 { sum -= x * log(x) }
    return sum
  }

  /// The map by its definition: entropies of softmax standardised, scores times τ, columns times
  /// τ_v. Rows sum to 1 where τ_v is 1, else to Σ A' τ_v.
  @Test(arguments: ["one", "position"], [true, false])
  func byItsFormula(_ value: String, _ causal: Bool) throws {
    let n = 40, head = RowwiseTests.drawn(n, 8, seed: 12, causal: causal)
    let found = try RowwiseTests.examine(
      "ssa:kappa=0.5,token=tanh(z of row entropy),value=\(value)", head)
    let dense = try RowwiseTests.map(try RowwiseTests.examine("clipped:alpha=0", head))
    let entropies = dense.map(Self.entropy), z = AffineTests.standardised(entropies)
    let both = try #require(head.queryAndKey), map = try RowwiseTests.map(found)
    let tau = try RowwiseTests.series(found, "tau")
    var after: [Double] = []
    for i in 0..<n {
      let limit = causal ? i + 1 : n, q = both.query[i].floats()
      let t: Double = 1 + 0.5 * log(Double(limit)) + tanh(z[i])
      #expect(abs(tau[i] - t) < 1e-5)
      let s = (0..<limit).map { (j: Int) -> Double in
        t * RowwiseTests.dot(q, both.key[j].floats()) / 8.0.squareRoot()
      }
      let top = s.max() ?? 0
      let e = s.map { (x: Double) -> Double in exp(x - top) }
      let sum = e.reduce(0, +)
      let w = e.indices.map { (j: Int) -> Double in
        let scale: Double = value == "one" ? 1 : 1 + 0.5 * log(Double(j + 1))
        return e[j] / sum * scale
      }
      #expect(RowwiseTests.close(Array(map[i].prefix(limit)), w, 1e-5))
      let size = w.reduce(0, +)
      after.append(Self.entropy(w.map { $0 / size }))
      if value == "one" { #expect(abs(map[i].reduce(0, +) - 1) < 1e-6) }
    }
    #expect(RowwiseTests.close(try RowwiseTests.series(found, "entropies"), after, 1e-4))
    #expect(RowwiseTests.close(try RowwiseTests.series(found, "entropies_dense"), entropies, 1e-5))
  }

  /// Uniform rows gain one nat of entropy per ln i, the slope of dilution.
  @Test func slopeOfDilution() throws {
    let found = try RowwiseTests.examine("ssa-position", Bench.uniform.head)
    #expect(abs(try RowwiseTests.number(found, "entropy_slope_dense") - 1) < 1e-5)
    #expect(abs(try RowwiseTests.number(found, "flatness_dense") - 1) < 1e-9)
    let random = try RowwiseTests.examine("ssa-position", Bench.random.head)
    let slope = try RowwiseTests.number(random, "entropy_slope")
    let dense = try RowwiseTests.number(random, "entropy_slope_dense")
    #expect(slope < dense)
  }

  /// A pattern after softmax tells its scores up to a constant of the row, which is enough here.
  @Test func storedPatterns() throws {
    let head = RowwiseTests.drawn(20, 4, seed: 6)
    let dense = try RowwiseTests.map(try RowwiseTests.examine("clipped:alpha=0", head))
    let stored = Head(
      pattern: Tensor(dense.flatMap { $0.map { Float($0) } }, shape: [20, 20]), causal: true)
    let a = try RowwiseTests.map(try RowwiseTests.examine("ssa", head))
    let b = try RowwiseTests.map(try RowwiseTests.examine("ssa", stored))
    for (x, y) in zip(a, b) { #expect(RowwiseTests.close(x, y, 2e-5)) }
  }
}
