// What is internal can be tested in a debug build alone.
#if DEBUG
  import Algebra
  import Analysis
  import Attention
  import Foundation
  import Support
  import Synchronization
  import Tensors
  import Testing

  @testable import Methods

  /// Cards A3 and A4: softmax by orders, and kernels by landmarks. What the cards print to more
  /// digits than a field holds is asked of the rows in double precision.
  @Suite struct KernelTests {
    static func examine(_ setting: String, _ head: Head) throws -> Findings {
      try Registry.standard.make(MethodSetting(parsing: setting)).examine(
        Subject(head), MethodRun())
    }

    static func number(_ findings: Findings, _ name: String) throws -> Double {
      try #require(findings[name]?.number, "\(name)")
    }

    static func rows(_ findings: Findings, _ name: String = "map") throws -> [[Double]] {
      let field = try #require(findings.field(name)).field
      return try (0..<field.rows.count).map { try field.row($0).map(Double.init) }
    }

    static func curve(_ findings: Findings, _ name: String) throws -> [Curve.Point] {
      guard case .curve(let curve)? = findings[name]?.content else { throw Missing(.length) }
      return curve.points
    }

    /// Queries and keys of rows, without values.
    static func head(_ q: [[Float]], _ k: [[Float]], causal: Bool, scale: Double? = nil) -> Head {
      Head(
        query: Tensor(q.flatMap { $0 }, shape: [q.count, q[0].count]),
        key: Tensor(k.flatMap { $0 }, shape: [k.count, k[0].count]), value: nil, causal: causal,
        scale: scale)
    }

    /// Row 4 of W, its sum, and the error of all rows against causal softmax, as the table of the
    /// cards prints them.
    @Test(arguments: [
      ("taylor-1", [0.418570, 0.050781, 0.357272, 0.173377], 1.0, 0.104149),
      ("taylor-2", [0.450408, 0.071619, 0.346051, 0.131921], 1.0, 0.042810),
      ("taylor-4", [0.481187, 0.058705, 0.341363, 0.118745], 1.0, 0.002887),
      ("hedgehog", [0.283547, 0.151418, 0.233651, 0.331383], 1.0, 0.387831),
      ("soft-untied", [0.493069, 0.041503, 0.413175, 0.029143], 0.976890, 0.434733),
      ("soft-tied", [0.170714, 0.316938, 0.037992, 1.0], 1.525644, 1.519612),
      ("nprf-limit:b=0.25", [0.250702, 0.095929, 0.436383, 0.216987], 1.0, 0.226661),
    ]) func tableOfG4(_ setting: String, _ row: [Double], _ sum: Double, _ error: Double) throws {
      let found = try Self.examine(setting, G4.head(causal: setting != "soft-tied"))
      let last = try Self.rows(found)[3]
      for (got, wanted) in zip(last, row) { #expect(abs(got - wanted) < 1e-6, "\(last)") }
      #expect(abs(last.reduce(0, +) - sum) < 1e-6)
      let dense = ReferenceAttention(HeadGroup([G4.head()])).run(
        TileSpec(rows: 64, keys: 64), lambda: 0
      ).outputs[0]
      let output = try Self.rows(found, "output").flatMap { $0 }
      let off = zip(output, dense).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
      let size = dense.reduce(0) { $0 + $1 * $1 }
      #expect(abs((off / size).squareRoot() - error) < 1e-6)
    }

    /// Every variant sees what a query sees, both ways, and nothing else.
    @Test(
      arguments: ["taylor", "soft", "hedgehog", "hedgehog-fit", "nprf"].flatMap { id in
        [id] + (Registry.standard.method(id)?.card.variants.keys.sorted() ?? [])
      }, PackTests.cases) func everyVariant(_ id: String, _ input: PackTests.Case) throws
    {
      guard !id.hasPrefix("soft") || id.contains("untied") || input.queries == input.keys else {
        #expect(throws: Missing.self) { try Self.examine(id, input.head) }
        return
      }
      let found = try Self.examine(id, input.head)
      for (i, row) in try Self.rows(found).enumerated() {
        let isSeen = row.enumerated().allSatisfy { $1.isNaN == ($0 >= input.limit(i)) }
        #expect(isSeen, "\(id) \(input) row \(i)")
      }
      let error = try Self.number(found, "error")
      #expect(error.isFinite)
      for note in found.notes { #expect(!note.isEmpty) }
    }

    /// Above the largest whole map a row is computed as it is asked for.
    @Test(arguments: [
      "taylor-2", "soft-untied", "hedgehog", "nprf-limit", "nprf-64", "soft-nystrom",
    ])
    func rowsOnly(_ id: String) throws {
      let n = 2100
      var random = Seeded(3)
      let head = Head(
        query: random.tensor([n, 4]), key: random.tensor([n, 4]), value: nil, causal: true)
      let found = try Self.examine(id, head)
      let field = try #require(found.field("map")).field
      #expect(field.bytes == 0 && found.notes.contains { $0.hasPrefix("rows only") })
      let row = try field.row(2000)
      #expect(row[2000].isFinite && row[2001].isNaN)
    }

    // MARK: Softmax by orders

    private static func taylor(_ head: Head, _ order: Int) -> TaylorRows {
      TaylorRows(rows: DoubleRows(head), order: order, denominator: .softmax, isCut: false)
    }

    /// |E_P - e^S| ≤ e^s s^{P+1} / (P+1)! for |S| ≤ s; even orders are above zero.
    @Test func remaindersAreBounded() {
      let input = PackTests.cases[0], s = input.scores.joined().reduce(0) { max($0, abs($1)) }
      for order in [0, 1, 2, 4, 8, 16] {
        let bound = exp(s) * pow(s, Double(order + 1)) / tgamma(Double(order + 2))
        for row in [0, 20, 63] {
          let rows = Self.taylor(input.head, order), scores = rows.scores(row)
          for (value, score) in zip(rows.polynomial(scores), scores) {
            #expect(abs(value - exp(score)) <= bound + 1e-12)
            if order % 2 == 0 { #expect(value > 0) }
          }
        }
      }
    }

    @Test func ordersOfTwoLogits() throws {
      for (order, wanted) in [(1, 1.0 / 3), (2, 2.0 / 7), (3, 3.0 / 11), (20, 0.2689414213699951)] {
        let weights = Self.taylor(ReweightingTests.head([[0, 1]]), order).weights(0)
        #expect(abs(weights[0] - wanted) < 1e-14 && abs(weights[1] - 1 + wanted) < 1e-14)
      }
    }

    /// `[1, x, x ⊗ x / √2]` with x = q / d^¼ makes order 2.
    @Test func featuresOfOrderTwo() {
      let input = PackTests.cases[1], root = pow(Double(input.d), 0.25)
      func features(_ row: [Double]) -> [Double] {
        let x = row.map { $0 / root }
        return [1] + x + x.flatMap { a in x.map { a * $0 / 2.0.squareRoot() } }
      }
      let rows = Self.taylor(input.head, 2), keys = input.k.map(features), queries = input.q
      for i in [0, 17, 49] {
        let q = features(queries[i])
        let r = keys.map { zip(q, $0).reduce(0) { $0 + $1.0 * $1.1 } }
        let sum = r.reduce(0, +)
        for (a, b) in zip(rows.weights(i), r) { #expect(abs(a - b / sum) < 1e-14) }
      }
    }

    /// I7: the gap to softmax closes with the order, by the card's figures.
    @Test func ordersBecomeSoftmax() {
      for (order, most, hair) in [
        (1, 0.0662, 5e-5), (2, 0.0338, 5e-5), (4, 3.03e-3, 5e-6), (8, 4.11e-6, 5e-9),
        (16, 0, 1e-12),
      ] {
        let rows = Self.taylor(G4.head(), order)
        let gap = (0..<4).flatMap { i in
          zip(rows.weights(i), rows.rows.weights(i)).map { abs($0 - $1) }
        }.max()!
        #expect(abs(gap - most) < hair, "order \(order): \(gap)")
      }
    }

    /// Shares of orders are a distribution, by its definition; the numbers of orders are those at
    /// which the error of the map itself is small.
    @Test func massAndErrorByOrder() throws {
      for input in PackTests.cases.prefix(3) {
        let found = try Self.examine("taylor-2", input.head), scores = input.scores
        for (i, row) in try Self.rows(found, "mass_by_order").enumerated() {
          let seen = scores[i].prefix(input.limit(i)).map { abs($0) }
          let total = seen.reduce(0) { $0 + exp($1) }
          #expect(abs(row.reduce(0, +) - 1) < 1e-5)
          for p in 0..<6 {
            let sum = seen.reduce(0) { $0 + pow($1, Double(p)) / tgamma(Double(p + 1)) }
            #expect(abs(row[p] - sum / total) < 1e-6)
          }
        }
        let errors = try Self.curve(found, "error_by_order")
        for order in [1, 2, 4, 8] {
          let error = try Self.number(Self.examine("taylor:P=\(order)", input.head), "error")
          #expect(abs(errors[order].y - error) < 1e-6 * max(1, error))
        }
        for (name, most) in [("order_error_2", 1e-2), ("order_error_3", 1e-3)] {
          let order = Int(try Self.number(found, name))
          #expect(errors[order].y < most && errors[..<order].allSatisfy { $0.y >= most })
        }
      }
    }

    /// The bound by which orders are left out is that of the rows whose error it is: here of one
    /// that is among the 128 of the errors and not among the 64 of the means.
    @Test func errorsReachTheLargestScore() throws {
      let n = 2100, few = Set(MapPass.sample(0..<n, 64))
      let row = try #require(MapPass.sample(0..<n, 128).first { !few.contains($0) && $0 > 9 })
      var random = Seeded(5)
      let query = (0..<n).map { Float($0 == row ? 9 : 0.01) }
      let head = Head(
        query: Tensor(query, shape: [n, 1]), key: random.tensor([n, 1], scale: 0.5),
        value: random.tensor([n, 2]), causal: true, scale: 1)
      var found = Findings()
      try TaylorFacts(Self.taylor(head, 2)).add(MethodRun(), whole: 2048, to: &found)
      #expect(try Self.number(found, "max_score") < 0.1)
      let errors = try Self.curve(found, "error_by_order")
      #expect(try #require(errors.last).y < 1e-9, "\(errors.count) orders")
      let order = Int(try Self.number(found, "order_error_3"))
      #expect(order > 2 && errors[order].y < 1e-3 && errors[order - 1].y >= 1e-3)
    }

    /// What divides a row changes its length and not its pattern; scores of 60 need more orders
    /// than there are.
    @Test func denominators() throws {
      let input = PackTests.cases[0], scores = input.scores
      let whole = try Self.rows(Self.examine("taylor-2", input.head))
      for (word, divisor) in [
        ("divS", { (s: Double, c: Int) in Double(c) }),
        ("clamp", { (s: Double, c: Int) in max(s, 1) }), ("none", { (s: Double, c: Int) in 1 }),
      ] {
        let map = try Self.rows(Self.examine("taylor-2:denominator=\(word)", input.head))
        for i in 0..<input.queries {
          let s = scores[i].prefix(i + 1).map { 1 + $0 + $0 * $0 / 2 }, sum = s.reduce(0, +)
          for j in 0...i {
            #expect(abs(map[i][j] * divisor(sum, i + 1) / sum - whole[i][j]) < 1e-6)
          }
        }
      }
      let found = try Self.examine("taylor-2:denominator=L2norm", input.head)
      for row in try Self.rows(found, "output_normalised") {
        #expect(abs(row.reduce(0) { $0 + $1 * $1 } - 1) < 1e-5)
      }
      let cut = try Self.examine("taylor:P=1,cut=true", ReweightingTests.head([[0, 9]]))
      #expect(abs(try Self.rows(cut)[0][0] - 1.0 / 7) < 1e-7)
      let far = try Self.examine("taylor", ReweightingTests.head([[0, 60], [-60, 3]]))
      #expect(far["order_error_3"] != nil && far["order_error_3"]?.number == nil)
      #expect(try Self.number(far, "max_score") == 60)
    }

    /// A sum of an odd order may vanish: the row is zeros, and counted. A stored pattern has no
    /// scores.
    @Test func whatOrdersCannotDo() throws {
      let found = try Self.examine(
        "taylor-1", ReweightingTests.head([[-1, -1], [0, -2], [1, 0]]))
      #expect(try Self.rows(found)[0] == [0, 0] && Self.rows(found)[1] == [0, 0])
      #expect(try Self.number(found, "zero_rows") == 2)
      #expect(try Self.number(Self.examine("taylor-1", Bench.random.head), "negative_mass") > 0)
      #expect(try Self.number(Self.examine("taylor-2", Bench.random.head), "negative_mass") == 0)
      let stored = Head(pattern: Tensor([1, 0, 0.5, 0.5], shape: [2, 2]), causal: true)
      #expect(throws: Missing.self) { try Self.examine("taylor", stored) }
      let states = try Self.curve(Self.examine("taylor-4", Bench.random.head), "state_by_order")
      #expect(abs(pow(10, states[4].y) - (1 + 32 + 1024 + 32768 + 1_048_576)) < 1e-3)
      let huge = try Self.examine("taylor:P=40", Bench.random.head)
      #expect(huge["state_size"] == nil && huge.notes.contains { $0.contains("1e15") })
    }

    // MARK: SOFT

    /// x of a head that is not causal, and landmarks of it.
    private static func soft(
      _ x: Matrix, _ count: Int, _ inverse: LandmarkInverse, isMean: Bool = false
    ) throws -> LandmarkMap {
      try LandmarkMap(
        x, Landmarks(x, count: count, isMean: isMean, grid: nil), inverse, iterations: 20,
        isSymmetric: false, MethodRun())
    }

    private static func points(_ n: Int, _ d: Int, _ seed: UInt64) -> Matrix {
      var random = SplitMix64(seed)
      return random.gaussianMatrix(rows: n, columns: d)
    }

    /// All tokens as landmarks and an exact inverse are the kernel; landmarks that are tokens keep
    /// their rows and columns; Newton's inverse is that of B + 0.01 I.
    @Test func landmarksThatAreTokens() throws {
      let x = Self.points(24, 16, 4), kernel = try GaussianKernel.matrix(x, x, MethodRun())
      let all = try Self.soft(x, 24, .exact)
      for i in 0..<24 {
        for (a, b) in zip(all.row(i), kernel.row(i)) { #expect(abs(a - b) < 1e-12) }
        #expect(kernel[i, i] == 1)
      }
      let some = try Self.soft(x, 6, .exact)
      #expect(some.landmarks.starts == [0, 4, 8, 12, 16, 20])
      for i in 0..<24 {
        for j in some.landmarks.starts { #expect(abs(some.row(i)[j] - kernel[i, j]) < 1e-12) }
      }
      let newton = try Self.soft(x, 24, .newton)
      let wanted = kernel.multiplied(
        by: try Cholesky(kernel, ridge: 0.01).solve(kernel))
      for i in 0..<24 {
        for (a, b) in zip(newton.row(i), wanted.row(i)) { #expect(abs(a - b) < 1e-11) }
      }
      #expect(try Self.soft(x, 7, .exact, isMean: true).landmarks.starts == [0, 4, 8, 12, 16, 20])
    }

    /// The residuals that the card prints, and two points at distance 1.
    @Test func newtonOfG4() throws {
      let x = KernelRows.matrix(G4.query.map(Double.init), dim: 2, times: pow(2, -0.25))
      let residuals = try Self.soft(x, 4, .newton).residuals
      #expect(abs(residuals[0] - 0.4849) < 5e-5 && abs(residuals[5] / 1.148e-5 - 1) < 1e-3)
      #expect(residuals[10] < 1e-14 && residuals.count == 21)
      let two = Matrix(rows: 2, columns: 1, elements: [0, 1])
      let pair = try GaussianKernel.matrix(two, two, MethodRun())
      #expect(abs(pair[0, 1] - exp(-0.5)) < 1e-15)
      let found = try Self.examine("soft-nystrom", G4.head(causal: false))
      #expect(try Self.number(found, "landmark_count") == 4)
      #expect(abs(try Self.number(found, "residual")) < 1e-14)
      // Of every token as a landmark and B + 0.01 I, by another program.
      for (name, wanted) in [
        ("kernel_error", 0.00946098240823), ("spectral_norm", 1.45185199549101),
        ("spectral_norm_symmetric", 0.99411062878907), ("kernel_rank", 4),
      ] {
        #expect(abs(try Self.number(found, name) - wanted) < 1e-10, "\(name)")
      }
      let decline = try #require(found.series("newton_residual"))
      #expect(decline.count == 21 && decline == residuals.map { Float($0) })
      let spectrum = try #require(found.series("landmark_spectrum")).map(Double.init)
      let wanted = [1.461784051, 0.968636820, 0.965330043, 0.604249087]
      #expect(spectrum.count == 4 && zip(spectrum, wanted).allSatisfy { abs($0 - $1) < 1e-7 })
      let symmetric = try Self.examine("soft-nystrom-symmetric", G4.head(causal: false))
      #expect(abs(try Self.number(symmetric, "kernel_error") - 0.3132617315937) < 1e-10)
    }

    /// The same bits on one thread and on three; nothing more is computed once nobody waits.
    @Test(arguments: LandmarkInverse.allCases, [true, false])
    func landmarksOnThreads(_ inverse: LandmarkInverse, _ isMean: Bool) throws {
      let x = Self.points(150, 8, 3), points = Landmarks(x, count: 70, isMean: isMean, grid: nil)
      func map(_ run: MethodRun) throws -> LandmarkMap {
        try LandmarkMap(x, points, inverse, iterations: 30, isSymmetric: false, run)
      }
      let one = try map(MethodRun(threads: .callerOnly))
      let many = try map(MethodRun(threads: ComputeThreads(count: 3)))
      #expect(one.plain == many.plain && one.scaled == many.scaled)
      #expect(one.between == many.between && one.residuals == many.residuals)
      let asked = Atomic<Int>(0), most = inverse == .exact ? 8 : 60
      let run = MethodRun(
        threads: .callerOnly,
        isCancelled: { asked.wrappingAdd(1, ordering: .relaxed).newValue > most })
      #expect(throws: CancellationError.self) { try map(run) }
      #expect(asked.load(ordering: .relaxed) < most + 10)
    }

    /// I2: rows over their sums are softmax(S_ij - ‖k_j‖² / 2√d), softmax itself for keys of one
    /// length.
    @Test(arguments: PackTests.cases) func gaussianRowsAreSoftmax(_ input: PackTests.Case) throws {
      let map = try Self.rows(Self.examine("soft-untied-normalised", input.head))
      let k = input.k, scores = input.scores
      for i in 0..<input.queries {
        let e = (0..<input.limit(i)).map { j in
          let norm = k[j].reduce(0) { $0 + $1 * $1 }
          return exp(scores[i][j] - norm / (2 * Double(input.d).squareRoot()))
        }
        for (j, x) in e.enumerated() { #expect(abs(map[i][j] - x / e.reduce(0, +)) < 1e-6) }
      }
      let angles = (0..<9).map { Float($0) * 0.7 }
      let ring = Self.head(
        angles.map { [$0, -$0] }, angles.map { [3 * cosf($0), 3 * sinf($0)] }, causal: true)
      let found = try Self.examine("soft-untied-normalised", ring)
      #expect(try Self.number(found, "map_gap") < 1e-6)
    }

    /// Means of rectangles on a grid of patches, and what the symmetric form does to the norm.
    @Test func landmarksOfAnImage() throws {
      let x = Self.points(26, 3, 9)
      let found = Landmarks(x, count: 4, isMean: true, grid: .init("4x6"))
      #expect(found.isImage && found.starts == [2, 5, 14, 17])
      let members = [2, 3, 4, 8, 9, 10]
      for c in 0..<3 {
        let mean = members.reduce(0) { $0 + x[$1, c] } / 6
        #expect(abs(found.points[0, c] - mean) < 1e-15)
      }
      let plain = try Self.examine("soft-nystrom", PackTests.cases[1].head)
      let symmetric = try Self.examine("soft-nystrom-symmetric", PackTests.cases[1].head)
      for name in ["spectral_norm", "spectral_norm_symmetric"] {
        #expect(try Self.number(plain, name) == Self.number(symmetric, name))
      }
      #expect(
        try Self.number(plain, "spectral_norm_symmetric") < Self.number(plain, "spectral_norm"))
      #expect(try Self.number(plain, "kernel_rank") <= 8)
      #expect(try #require(plain.series("landmarks")).reduce(0, +) == 8)
      #expect(throws: KnobError.self) {
        try Registry.standard.make(MethodSetting(parsing: "soft-nystrom:tied=false"))
      }
    }
  }
#endif
