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

  /// Cards A13 and A20: features that are learnt, and features that are drawn.
  @Suite struct FeatureMapTests {
    private static func examine(_ setting: String, _ head: Head) throws -> Findings {
      try KernelTests.examine(setting, head)
    }

    private static func number(_ findings: Findings, _ name: String) throws -> Double {
      try KernelTests.number(findings, name)
    }

    // MARK: Hedgehog

    /// The figures of the card: features, self-score 1.25 and its opposite 0.75; a query of zeros
    /// is fair to all; every row is a distribution.
    @Test func featuresOfHedgehog() throws {
      let u = Matrix(rows: 2, columns: 2, elements: [log(3), 0, -log(3), 0])
      let features = HedgehogMap.features(u)
      let wanted = [0.75, 0.25, 0.25, 0.75, 0.25, 0.75, 0.75, 0.25]
      for (a, b) in zip(features.elements, wanted) { #expect(abs(a - b) < 1e-15) }
      let x: [[Float]] = [[logf(3), 0], [-logf(3), 0]]
      let map = try KernelTests.rows(
        Self.examine("hedgehog", KernelTests.head(x, x, causal: false)))
      #expect(abs(map[0][0] - 0.625) < 1e-6 && abs(map[0][1] - 0.375) < 1e-6)
      let zero = KernelTests.head([[0, 0], [0, 0]], x, causal: false)
      #expect(try KernelTests.rows(Self.examine("hedgehog", zero)) == [[0.5, 0.5], [0.5, 0.5]])
      for input in PackTests.cases {
        for setting in ["hedgehog", "hedgehog:features=exp", "hedgehog:s=0.3"] {
          for (i, row) in try KernelTests.rows(Self.examine(setting, input.head)).enumerated() {
            let seen = row.prefix(input.limit(i))
            #expect(abs(seen.reduce(0, +) - 1) < 1e-5 && seen.allSatisfy { $0 > 0 })
          }
        }
      }
    }

    /// Numbers of closeness by their definitions.
    @Test func closenessOfHedgehog() throws {
      let input = PackTests.cases[0], found = try Self.examine("hedgehog", input.head)
      let map = try KernelTests.rows(found), dense = input.dense, scores = input.scores
      var divergence = 0.0, gap = 0.0, correlation = 0.0
      for i in 0..<64 {
        for j in 0...i {
          divergence += dense[i][j] * log(dense[i][j] / map[i][j])
          gap += dense[i][j] * log(dense[i][j]) - map[i][j] * log(map[i][j])
        }
        guard i >= 2 else { continue }
        correlation += try #require(
          Correlation.ofRanks(Array(map[i][...i]), Array(scores[i][...i])))
      }
      #expect(abs(try Self.number(found, "kl_softmax") - divergence / 64) < 1e-6)
      #expect(abs(try Self.number(found, "entropy_gap") - gap / 64) < 1e-5)
      #expect(abs(try Self.number(found, "rank_correlation") - correlation / 62) < 1e-4)
      #expect(try Self.number(found, "state_size") == 2 * 8 * 9)
    }

    /// The losses that the card prints, never below the mean entropy of softmax.
    @Test func fitOfG4() throws {
      let found = try Self.examine("hedgehog-fit", G4.head())
      for (name, wanted) in [
        ("loss_start", 0.727333), ("loss_end", 0.661069), ("loss_bound", 0.650186),
      ] {
        #expect(abs(try Self.number(found, name) - wanted) < 1e-6, "\(name)")
      }
      let losses = try KernelTests.curve(found, "loss")
      #expect(losses.count == 201 && losses.allSatisfy { $0.y >= 0.650186 })
      #expect(zip(losses, losses.dropFirst()).allSatisfy { $1.y < $0.y })
      let gap = try Self.number(found, "loss_end") - Self.number(found, "loss_bound")
      #expect(abs(try Self.number(found, "kl_softmax") - gap) < 1e-9)
      let start = try Self.number(found, "loss_start") - Self.number(found, "loss_bound")
      #expect(abs(try Self.number(found, "kl_identity") - start) < 1e-9)
    }

    /// L of feature maps `[d * d]`, by the definition.
    private static func loss(
      _ input: PackTests.Case, _ x: (q: [[Double]], k: [[Double]], dense: [[Double]]),
      _ h: [[Double]]
    ) -> Double {
      func features(_ x: [Double], _ h: [Double]) -> [Double] {
        let u = x.indices.map { o in x.indices.reduce(0) { $0 + h[o * x.count + $1] * x[$1] } }
        return [1.0, -1].flatMap { sign in
          let e = u.map { exp(sign * $0) }
          return e.map { $0 / e.reduce(0, +) }
        }
      }
      let q = x.q.map { features($0, h[0]) }, k = x.k.map { features($0, h[1]) }
      var sum = 0.0
      for (i, a) in x.dense.enumerated() {
        let r = k.prefix(input.limit(i)).map { zip(q[i], $0).reduce(0) { $0 + $1.0 * $1.1 } }
        for (j, x) in r.enumerated() { sum -= a[j] * log(x / r.reduce(0, +)) }
      }
      return sum / Double(input.queries)
    }

    /// Three steps are those of Adam along slopes that differences of the loss give.
    @Test(arguments: [
      PackTests.Case(seed: 21, queries: 9, keys: 9, causal: true),
      PackTests.Case(seed: 22, queries: 7, keys: 11, causal: true),
      PackTests.Case(seed: 23, queries: 6, keys: 6, causal: false),
    ]) func slopesAreThoseOfTheLoss(_ input: PackTests.Case) throws {
      let given = (q: input.q, k: input.k, dense: input.dense)
      let d = input.d, eye = (0..<d * d).map { $0 / d == $0 % d ? 1.0 : 0 }
      var h = [eye, eye], losses: [Double] = []
      var m = [[Double]](repeating: [Double](repeating: 0, count: d * d), count: 2), v = m
      for step in 1...3 {
        losses.append(Self.loss(input, given, h))
        let before = h
        for side in 0..<2 {
          for x in 0..<d * d {
            var up = before, down = before
            up[side][x] += 1e-5
            down[side][x] -= 1e-5
            let g = (Self.loss(input, given, up) - Self.loss(input, given, down)) / 2e-5
            m[side][x] = 0.9 * m[side][x] + 0.1 * g
            v[side][x] = 0.999 * v[side][x] + 0.001 * g * g
            let mean = m[side][x] / (1 - pow(0.9, Double(step)))
            let square = v[side][x] / (1 - pow(0.999, Double(step)))
            h[side][x] -= 0.01 * mean / (square.squareRoot() + 1e-8)
          }
        }
      }
      losses.append(Self.loss(input, given, h))
      let inputs = try HedgehogInputs(input.head, scale: 1)
      var descent = try HedgehogDescent(inputs, Array(0..<input.queries), MethodRun())
      let found = try descent.run(steps: 3, rate: 0.01, MethodRun())
      for (a, b) in zip(found, losses) { #expect(abs(a - b) < 1e-9) }
      for (a, b) in zip(descent.queryMap.elements, h[0]) { #expect(abs(a - b) < 1e-5) }
      for (a, b) in zip(descent.keyMap.elements, h[1]) { #expect(abs(a - b) < 1e-5) }
    }

    /// The same bits on one thread and on several; other rows by another seed; it stops when nobody
    /// waits.
    @Test func fitsAreSteady() throws {
      let head = Bench.random.head
      func fit(_ setting: String, _ run: MethodRun) throws -> Findings {
        try Registry.standard.make(MethodSetting(parsing: setting)).examine(Subject(head), run)
      }
      let setting = "hedgehog-fit:steps=20,rows=40"
      let one = try fit(setting, MethodRun(threads: .callerOnly))
      let many = try fit(setting, MethodRun(threads: ComputeThreads(count: 3)))
      #expect(try KernelTests.rows(one, "h_query") == KernelTests.rows(many, "h_query"))
      #expect(try KernelTests.curve(one, "loss") == KernelTests.curve(many, "loss"))
      #expect(try Self.number(one, "fitted_rows") == 40 && Self.number(one, "seed") == 1)
      let other = try fit(setting + ",seed=2", MethodRun())
      #expect(try KernelTests.curve(one, "loss") != KernelTests.curve(other, "loss"))
      let asked = Atomic<Int>(0)
      let run = MethodRun(isCancelled: { asked.wrappingAdd(1, ordering: .relaxed).newValue > 9 })
      #expect(throws: CancellationError.self) { try fit("hedgehog-fit:steps=5000", run) }
    }

    // MARK: NPRF

    /// The draws of seed 1 that the card prints; orthogonal blocks keep their lengths.
    @Test func draws() {
      let draw = RandomFeatures(count: 20, dim: 8, seed: 1)
      for (a, b) in zip(draw.draws.elements, [-0.034267, -1.292609, -2.500067]) {
        #expect(abs(a - b) < 1e-6)
      }
      let blocks = RandomFeatures(count: 20, dim: 8, seed: 1, isOrthogonal: true).draws
      for i in 0..<20 {
        func dot(_ m: Matrix, _ j: Int) -> Double {
          zip(m.row(i), m.row(j)).reduce(0) { $0 + $1.0 * $1.1 }
        }
        #expect(abs(dot(blocks, i) - dot(draw.draws, i)) < 1e-12)
        for j in 0..<i where i / 8 == j / 8 { #expect(abs(dot(blocks, j)) < 1e-12) }
      }
    }

    /// Features are the same bits on one thread and on three, and are given up when nobody waits.
    @Test func featuresOnThreads() throws {
      let head = PackTests.cases[0].head, rows = DoubleRows(head)
      let draw = RandomFeatures(count: 40, dim: 8, seed: 1)
      let limit = NPRFLimit(
        rows: rows, unit: UnitVectors(rows, gain: 2), bias: ToeplitzBias(head) { _ in 0 })
      let one = try NPRFMap(limit: limit, draw: draw, MethodRun(threads: .callerOnly))
      let many = try NPRFMap(
        limit: limit, draw: draw, MethodRun(threads: ComputeThreads(count: 3)))
      #expect(one.query == many.query && one.key == many.key)
      #expect(one.query == draw.features(limit.unit.query) && one.query.rows == 64)
      let stopped = MethodRun(isCancelled: { true })
      #expect(throws: CancellationError.self) {
        try NPRFMap(limit: limit, draw: draw, stopped)
      }
      let inputs = try HedgehogInputs(head, scale: 1)
      #expect(throws: CancellationError.self) { try HedgehogDescent(inputs, [3, 5], stopped) }
      #expect(throws: CancellationError.self) {
        try HedgehogMap(inputs, query: inputs.query, key: inputs.key, kind: .exp, stopped)
      }
    }

    /// Curves over many draws are given up too.
    @Test func curvesOfDrawsStop() throws {
      let head = PackTests.cases[0].head
      let whole = Atomic<Int>(0)
      let counting = MethodRun(
        threads: .callerOnly,
        isCancelled: {
          whole.add(1, ordering: .relaxed)
          return false
        })
      let method = try Registry.standard.make(MethodSetting(parsing: "nprf:m=4"))
      _ = try method.examine(Subject(head), counting)
      let count = whole.load(ordering: .relaxed)
      // Twenty draws by number and three by length, asked about one by one.
      #expect(count > 23)
      for most in [count / 4, count / 2, 3 * count / 4] {
        let asked = Atomic<Int>(0)
        let run = MethodRun(
          threads: .callerOnly,
          isCancelled: { asked.wrappingAdd(1, ordering: .relaxed).newValue > most })
        #expect(throws: CancellationError.self) { try method.examine(Subject(head), run) }
        #expect(asked.load(ordering: .relaxed) < most + 30)
      }
    }

    /// The outputs by FFT are those of the rows, with every bias and every shape.
    @Test(
      arguments: ["", ",b=0.3", ",bias=heads", ",bias=fit", ",orthogonal=true"], PackTests.cases)
    func transformsGiveTheSame(_ knobs: String, _ input: PackTests.Case) throws {
      let found = try Self.examine("nprf:m=24\(knobs)", input.head)
      #expect(try Self.number(found, "fft_difference") < 1e-13)
      let map = try KernelTests.rows(found)
      for (i, row) in map.enumerated() {
        let seen = row.prefix(input.limit(i))
        #expect(abs(seen.reduce(0, +) - 1) < 1e-5 && seen.allSatisfy { $0 >= 0 })
      }
    }

    /// Unit vectors of 16 channels.
    private static func units(_ count: Int, _ length: Double, _ seed: UInt64) -> Matrix {
      var random = SplitMix64(seed)
      return KernelRows.unit(random.gaussians(count * 16), dim: 16, length: length)
    }

    /// Relative errors of the kernel over all pairs.
    private static func errors(_ q: Matrix, _ k: Matrix, _ count: Int, _ seed: UInt64) -> [Double] {
      let draw = RandomFeatures(count: count, dim: 16, seed: seed)
      let got = draw.features(q).multiplied(by: draw.features(k).transposed())
      let wanted = q.multiplied(by: k.transposed())
      return zip(got.elements, wanted.elements).map { abs($0 / exp($1) - 1) }
    }

    /// The mean over seeds is the kernel; errors fall as m^-½, and grow with length, by the card's
    /// figures.
    @Test func featuresTendToTheKernel() {
      let q = Self.units(40, 1, 101), k = Self.units(40, 1, 102)
      for (count, wanted) in [(16, 0.40), (64, 0.23), (256, 0.12), (1024, 0.064), (4096, 0.032)] {
        let all = (1...5).flatMap { Self.errors(q, k, count, UInt64($0)) }
        let mean = all.reduce(0, +) / Double(all.count)
        #expect(abs(mean / wanted - 1) < 0.34, "\(count): \(mean)")
      }
      for (length, wanted) in [(1.0, 0.10), (2, 0.44), (4, 0.99)] {
        let found = Self.errors(
          Self.units(40, length, 101), Self.units(40, length, 102), 256, 1
        ).sorted()
        #expect(abs(found[found.count / 2] / wanted - 1) < 0.34, "\(length)")
      }
      let one = Self.units(1, 1, 7), two = Self.units(1, 1, 8), seeds = 4000
      let values = (1...seeds).map { seed -> Double in
        let draw = RandomFeatures(count: 4, dim: 16, seed: UInt64(seed))
        return zip(draw.features(one).elements, draw.features(two).elements).reduce(0) {
          $0 + $1.0 * $1.1
        }
      }
      let mean = values.reduce(0, +) / Double(seeds)
      let spread = values.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(seeds)
      let cosine = zip(one.elements, two.elements).reduce(0) { $0 + $1.0 * $1.1 }
      #expect(abs(mean - exp(cosine)) < 4 * (spread / Double(seeds)).squareRoot())
    }

    /// b = -|δ| ln 2 with equal cosines: row 3 is ¼, ½, 1 over its sum; without a bias and with one
    /// gain the limit is softmax of cosines.
    @Test func theLimit() throws {
      let same = [[Float]](repeating: [2, 0], count: 3)
      let head = KernelTests.head(same, same, causal: true)
      for setting in ["nprf-limit", "nprf-64"] {
        let map = try KernelTests.rows(Self.examine("\(setting):b=\(log(2.0))", head))
        for (a, b) in zip(map[2], [1.0 / 7, 2.0 / 7, 4.0 / 7]) { #expect(abs(a - b) < 1e-6) }
      }
      for input in PackTests.cases {
        let map = try KernelTests.rows(Self.examine("nprf-limit:gain=3", input.head))
        let (q, k) = (input.q, input.k)
        for i in 0..<input.queries {
          let e = (0..<input.limit(i)).map { j -> Double in
            let (a, b) = (q[i], k[j])
            func dot(_ x: [Double], _ y: [Double]) -> Double {
              zip(x, y).reduce(0) { $0 + $1.0 * $1.1 }
            }
            return exp(3 * dot(a, b) / (dot(a, a) * dot(b, b)).squareRoot())
          }
          for (j, x) in e.enumerated() { #expect(abs(map[i][j] - x / e.reduce(0, +)) < 1e-6) }
        }
      }
    }

    /// The fit is the mean along each diagonal, and what it explains.
    @Test(arguments: PackTests.cases.prefix(3)) func theFit(_ input: PackTests.Case) throws {
      let found = try Self.examine("nprf-limit-fit", input.head)
      let (q, k, scores) = (input.q, input.k, input.scores)
      var sums: [Int: (sum: Double, count: Int)] = [:], all: [(Int, Double)] = []
      for i in 0..<input.queries {
        for j in 0..<input.limit(i) {
          let size = [q[i], k[j]].map { $0.reduce(0) { $0 + $1 * $1 } }
          let cosine =
            scores[i][j] * Double(input.d).squareRoot() / (size[0] * size[1]).squareRoot()
          let off = scores[i][j] - cosine, distance = j - input.position(i)
          all.append((distance, off))
          sums[distance, default: (0, 0)].sum += off
          sums[distance]!.count += 1
        }
      }
      for point in try KernelTests.curve(found, "bias_by_distance") {
        guard let sum = sums[Int(point.x)] else { continue }
        #expect(abs(point.y - sum.sum / Double(sum.count)) < 1e-9)
      }
      let mean = all.reduce(0) { $0 + $1.1 } / Double(all.count)
      let total = all.reduce(0) { $0 + ($1.1 - mean) * ($1.1 - mean) }
      let left = all.reduce(0.0) {
        let sum = sums[$1.0]!, off = $1.1 - sum.sum / Double(sum.count)
        return $0 + off * off
      }
      #expect(abs(try Self.number(found, "bias_explained") - 1 + left / total) < 1e-9)
      let stored = Head(pattern: Tensor([1, 0, 0.5, 0.5], shape: [2, 2]), causal: true)
      for id in ["nprf", "hedgehog", "hedgehog-fit", "soft"] {
        #expect(throws: Missing.self) { try Self.examine(id, stored) }
      }
    }
  }
#endif
