// What is internal can be tested in a debug build alone.
#if DEBUG
  import Algebra
  import Attention
  import Foundation
  @testable import Methods
  import Support
  import Synchronization
  import Tensors
  import Testing

  /// Cards A24 and A5: a step of a row as a shift, and regression in context.
  @Suite struct LensStepTests {
    private static func number(_ findings: Findings, _ name: String) throws -> Double {
      try ReweightingTests.number(findings, name)
    }

    // MARK: Weight shifting

    /// The gradient by finite differences.
    @Test(arguments: PackTests.cases) func gradientByDifferences(_ input: PackTests.Case) {
      let shift = RowShift(input.head), row = input.queries - 1
      let x = shift.query(row), limit = input.limit(row)
      let b = (0..<input.keys).map { $0 < limit ? 1 / Double(limit) : 0 }
      let gradient = shift.gradient(row, x, b), h = 1e-5
      for c in x.indices {
        var (up, down) = (x, x)
        up[c] += h
        down[c] -= h
        let slope =
          (shift.loss(shift.weights(row, up), b) - shift.loss(shift.weights(row, down), b))
          / (2 * h)
        #expect(abs(slope - gradient[c]) < 1e-9, "channel \(c)")
      }
    }

    /// Both identities, and the bound, for every target and step.
    @Test(
      arguments: PackTests.cases,
      ["target=uniform", "target=key,key=0", "target=skip,lambda=0.3", "target=head,other=1"])
    func identitiesAndBound(_ input: PackTests.Case, _ target: String) throws {
      let other = PackTests.Case(
        seed: 77, queries: input.queries, keys: input.keys, causal: input.causal)
      let subject = Subject(layers: [[input.head, other.head]])
      for eta in [0.1, 1, 20] {
        let found = try LensTests.examine("weight-shifting:\(target),eta=\(eta)", subject)
        #expect(try Self.number(found, "data_gap") < 1e-14)
        #expect(try Self.number(found, "weight_gap") < 1e-13)
        let ratio = found["bound_ratio"]?.number, slope = try Self.number(found, "gradient_norm")
        // Where nothing is skipped the target is met but for rounding, and no step is left.
        #expect(ratio.map { $0 <= 1 } ?? (slope < 1e-14))
        let after = try #require(found.series("row_after")).filter { !$0.isNaN }
        let row = try ReweightingTests.rows(found, "map")[input.queries - 1].filter { !$0.isNaN }
        #expect(zip(after, row).allSatisfy { abs(Double($0) - $1) < 1e-6 })
      }
    }

    /// A = I, x = 0, b = (1, 0): f = (½, ½), gradient (-¼, ¼), and no weight moves a query of 0.
    @Test func stepByHand() throws {
      let head = LensTests.head([[0, 0]], [[1, 0], [0, 1]], scale: 1)
      let found = try LensTests.examine("weight-shifting:target=key,key=0", Subject(head))
      #expect(RowShift(head).gradient(0, [0, 0], [1, 0]) == [-0.25, 0.25])
      #expect(abs(try Self.number(found, "gradient_norm") - 0.125.squareRoot()) < 1e-15)
      #expect(abs(try Self.number(found, "loss_before") - 0.25) < 1e-15)
      let row = try ReweightingTests.rows(found, "map")[0]
      #expect(abs(row[0] - 1 / (1 + exp(-0.5))) < 1e-7)
      #expect(found["weight_shift"]?.number == nil && found["weight_gap"]?.number == nil)
      #expect(try Self.number(found, "bound_ratio") <= 1)
    }

    /// A target that is met moves nothing; nor does a step of 0.
    @Test(arguments: PackTests.cases) func metTargets(_ input: PackTests.Case) throws {
      for setting in ["weight-shifting:target=head", "weight-shifting:eta=0"] {
        let map = try LensTests.map(setting, input.head)
        #expect(LensTests.isNear(map, input.dense, 1e-6), "\(setting)")
      }
      let found = try LensTests.examine("weight-shifting:target=head", Subject(input.head))
      #expect(try Self.number(found, "loss_before") < 1e-28)
      #expect(try Self.number(found, "gradient_norm") < 1e-14)
      let far = "weight-shifting:target=key,key=\(input.keys)"
      #expect(throws: Missing.self) { try LensTests.examine(far, Subject(input.head)) }
    }

    /// Small steps lower the loss, on the query and on the weights; halving is where it says.
    @Test func descentDescends() throws {
      let input = PackTests.cases[0]
      let found = try LensTests.examine(
        "weight-shifting:target=key,key=3,eta=5", Subject(input.head))
      for name in ["loss_by_step", "loss_by_step_weights"] {
        guard case .curve(let curve)? = found[name]?.content else { throw Missing(.values) }
        let losses = curve.points.map(\.y)
        #expect(losses.count == 51 && zip(losses, losses.dropFirst()).allSatisfy { $0 > $1 })
        let half = losses.firstIndex { $0 <= losses[0] / 2 }.map(Double.init)
        let said = name == "loss_by_step" ? "steps_to_half" : "steps_to_half_weights"
        #expect(found[said]?.number == half)
      }
    }

    // MARK: Regression in context

    private typealias Heads = RegressionSandbox.Heads

    /// x of G4's values, y = (1, 2, -1, ½) and x_q = (1, -1), as the card has it.
    private static let prompt = RegressionSandbox.Prompt(
      x: G4.value.map(Double.init), y: [1, 2, -1, 0.5], query: [1, -1], truth: 0)

    /// The gap to debiased gradient descent falls as ω².
    @Test(arguments: [(1.0, 0.1339), (0.1, 2.539e-3), (0.01, 2.560e-5), (0.001, 2.561e-7)])
    func pairsAreDebiasedDescent(_ omega: Double, _ wanted: Double) {
      let heads = Heads(2, omega: omega, eta: 0.9)
      let gap = abs(Self.prompt.prediction(heads) - Self.prompt.debiased(0.9))
      #expect(abs(gap - wanted) < 6e-4 * wanted, "\(gap)")
    }

    /// A constant on every y moves one head by its μ, and heads that cancel not at all.
    @Test(arguments: [2, 3, 8]) func constantsCancel(_ count: Int) throws {
      let found = try LensTests.examine(
        "icl-regression:H=\(count),L=20", Subject(Bench.random.head))
      #expect(abs(try Self.number(found, "shift_heads")) < 1e-12)
      #expect(abs(try Self.number(found, "shift_single") - 9) < 1e-12)
      let heads = Heads(count, omega: 0.1, eta: 0.9)
      #expect(abs(heads.mus.reduce(0, +)) < 1e-12)
      #expect(zip(heads.mus, heads.omegas).allSatisfy { $0 * $1 > 0 })
      #expect(abs(zip(heads.mus, heads.omegas).reduce(0) { $0 + $1.0 * $1.1 } - 0.9) < 1e-12)
      #expect(abs(heads.omegas.map(abs).reduce(0, +) - 0.1 * Double(count)) < 1e-12)
      #expect(found.notes.contains { $0.contains("needs weights of the model") })
    }

    /// Without noise least squares has the answer; pairs come near descent, one head does not.
    @Test func errorsOfTheSandbox() throws {
      let found = try LensTests.examine("icl-regression", Subject(Bench.random.head))
      func mse(_ name: String) throws -> Double { try Self.number(found, "mse_\(name)") }
      #expect(try mse("ridge") < 1e-18 && mse("zero") > 0.3)
      #expect(try mse("debiased_fit") <= mse("debiased"))
      #expect(try mse("debiased") < mse("zero") && mse("heads") < mse("zero"))
      #expect(try mse("single") > 2 * mse("heads"))
      let small = try LensTests.examine("icl-regression:omega=0.01", Subject(Bench.random.head))
      #expect(abs(try Self.number(small, "gap_ratio") - 100) < 3)
      #expect(try Self.number(small, "gap_debiased") < 0.02 * Self.number(found, "gap_debiased"))
      let noisy = try LensTests.examine("icl-regression:sigma=0.5", Subject(Bench.random.head))
      #expect(try Self.number(noisy, "mse_ridge") > 1e-3)
    }

    /// More prompts than are worth waiting for are refused in words; the largest are taken.
    @Test func sandboxesAreBounded() throws {
      let most = "icl-regression:context=4096,dim=64,prompts=64"
      _ = try Registry.standard.make(MethodSetting(parsing: most + ",heads=1"))
      let error = #expect(throws: KnobError.self) {
        try Registry.standard.make(MethodSetting(parsing: most + ",heads=2"))
      }
      #expect("\(try #require(error))".contains("33554432, more than 16777216"))
    }

    /// What a lens reads of a layer is read once for all its heads.
    @Test func weightsAreUnpackedOnce() throws {
      let one = Tensor((0..<16).map { Float($0 % 5 == 0 ? 1 : 0) }, shape: [1, 4, 4])
      let two = Tensor(one.floats() + one.floats(), shape: [2, 4, 4])
      let weights = try #require(
        Projections(query: two, key: two, value: two, output: two))
      let asked = Atomic<Int>(0), run = MethodRun(), head = Bench.random.head
      for focus in 0..<2 {
        let subject = Subject(
          layers: [[head, head]], focus: (0, focus),
          projections: { _ in
            asked.add(1, ordering: .relaxed)
            return weights
          })
        let method = try Registry.standard.make(MethodSetting("icl-regression"))
        let found = try method.examine(subject, run)
        #expect(abs(try Self.number(found, "copying") - 1) < 1e-12)
      }
      #expect(asked.load(ordering: .relaxed) == 1)
    }

    /// A product on several threads has the bits of one on its own, and ends when nobody waits.
    @Test func spreadProducts() throws {
      var random = SplitMix64(4)
      func draw(_ rows: Int, _ columns: Int) -> Matrix {
        Matrix(rows: rows, columns: columns, elements: random.gaussians(rows * columns))
      }
      let (a, b) = (draw(70, 33), draw(33, 41))
      let product = try KernelRows.product(a, b, MethodRun(threads: ComputeThreads(count: 3)))
      #expect(product == a.multiplied(by: b))
      #expect(throws: CancellationError.self) {
        try KernelRows.product(a, b, MethodRun(isCancelled: { true }))
      }
    }

    /// Two heads, W_Q W_Kᵀ = ±½ I, OV = ±I: the emergent solution.
    @Test func theEmergentWeights() throws {
      let width = 4, one = (0..<16).map { Float($0 % 5 == 0 ? 1 : 0) }
      func stack(_ factors: [Float]) -> Tensor {
        Tensor(factors.flatMap { f in one.map { $0 * f } }, shape: [factors.count, width, width])
      }
      let weights = try #require(
        Projections(
          query: stack([1, 1]), key: stack([0.5, -0.5]), value: stack([1, 1]),
          output: stack([1, -1])))
      let found = try Self.lens("icl-regression:label=last", weights)
      #expect(abs(try Self.number(found, "diagonality") - 1) < 1e-12)
      #expect(try Self.number(found, "diagonal_mean") == -0.5)
      #expect(try Self.number(found, "diagonal_cv") == 0 && Self.number(found, "zero_sum") == 0)
      #expect(abs(try Self.number(found, "copying") + 1) < 1e-12)
      #expect(try Self.number(found, "mu_sum") == 0)
      #expect(abs(try Self.number(found, "last_entry") - 0.5) < 1e-12)
      #expect(found.series("omegas") == [0.5, -0.5] && found.series("mus") == [1, -1])
      #expect(try Self.lens("icl-regression", weights)["last_entry"]?.number == nil)
    }

    /// The second of two heads.
    private static func lens(_ setting: String, _ weights: Projections) throws -> Findings {
      let head = Bench.random.head
      let subject = Subject(
        layers: [[head, head]], focus: (0, 1), projections: { _ in weights })
      return try LensTests.examine(setting, subject)
    }

    /// Sizes by traces are those of the whole products, with shared keys and values.
    @Test func tracesAreTheWhole() throws {
      var random = SplitMix64(5)
      func draw(_ shape: [Int]) -> Tensor {
        Tensor(random.gaussians(shape.reduce(1, *)).map { Float($0) }, shape: shape)
      }
      let weights = try #require(
        Projections(
          query: draw([2, 9, 3]), key: draw([1, 9, 3]), value: draw([1, 9, 2]),
          output: draw([2, 2, 9])))
      let found = try Self.lens("icl-regression", weights)
      func rows(_ x: Tensor) -> [[Double]] {
        (0..<x.shape[0]).map { x[$0].floats().map(Double.init) }
      }
      func norm(_ x: [[Double]]) -> Double { x.joined().reduce(0) { $0 + $1 * $1 }.squareRoot() }
      let q = rows(weights.query[1]), k = rows(weights.key[0])
      let kq = q.map { a in k.map { LensTests.dot(a, $0) } }
      let diagonal = (0..<9).map { kq[$0][$0] }
      let share = diagonal.reduce(0) { $0 + $1 * $1 }.squareRoot() / norm(kq)
      #expect(abs(try Self.number(found, "diagonality") - share) < 1e-12)
      #expect(LensTests.isNear(try ReweightingTests.rows(found, "kq"), kq, 1e-6))
      let v = rows(weights.value[0])
      let ov = (0..<2).map { h -> [[Double]] in
        let o = rows(weights.output[h])
        return v.map { a in (0..<9).map { y in a[0] * o[0][y] + a[1] * o[1][y] } }
      }
      #expect(LensTests.isNear(try ReweightingTests.rows(found, "ov"), ov[1], 1e-6))
      let sum = zip(ov[0], ov[1]).map { zip($0, $1).map { $0 + $1 } }
      let wanted = norm(sum) / (norm(ov[0]) + norm(ov[1]))
      #expect(abs(try Self.number(found, "zero_sum") - wanted) < 1e-12)
      // The nuclear norm of V O is √(tr + 2 √det) of the 2x2 product of their Gram matrices.
      let o = rows(weights.output[1])
      func gram(_ x: [[Double]]) -> [[Double]] {
        (0..<2).map { a in (0..<2).map { b in x.reduce(0.0) { $0 + $1[a] * $1[b] } } }
      }
      let columns = (0..<9).map { y in [o[0][y], o[1][y]] }
      let g = gram(v), h = gram(columns)
      var trace = 0.0
      for a in 0..<2 { trace += LensTests.dot(g[a], h[a]) }
      func determinant(_ x: [[Double]]) -> Double { x[0][0] * x[1][1] - x[0][1] * x[1][0] }
      let root = (determinant(g) * determinant(h)).squareRoot()
      let nuclear = (trace + 2 * root).squareRoot()
      let copied = (0..<9).reduce(0.0) { $0 + ov[1][$1][$1] }
      #expect(abs(try Self.number(found, "copying") - copied / nuclear) < 1e-10)
      #expect(
        Projections(
          query: weights.query, key: weights.key, value: weights.value, output: weights.query)
          == nil)
    }
  }
#endif
