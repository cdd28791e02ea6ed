import Attention
import Foundation
import Kernels
import Methods
import Models
import Support
import Tensors
import Testing

/// The engine against the reference, on tiny models of every architecture and every type of weight.
/// In a release build: the reference is a plain triple loop.
@Suite(.enabled(if: isRelease, "double-precision loops are slow without optimisation"))
struct ForwardTests {
  static let dense = AttentionPlan(
    prefill: try! Dense(knobs: [:]), decode: try! Dense(knobs: [:]))

  static func blasst(_ lambda: Double, keys: Int = 16, vote: String = "group") throws
    -> AttentionPlan
  {
    func make(_ rows: Double, _ vote: String) throws -> BLASST {
      try BLASST(knobs: [
        "lambda": .number(lambda), "rows": .number(rows), "keys": .number(Double(keys)),
        "vote": .word(vote),
      ])
    }
    return AttentionPlan(prefill: try make(16, "head"), decode: try make(1, vote))
  }

  /// The last logits of a prompt read in one go, but for `split` tokens that are fed singly.
  static func logits(
    _ model: LanguageModel, _ tokens: [Int], split: Int, _ plan: AttentionPlan = dense
  ) -> [Float] {
    let state = RunState(model)
    model.prefill(tokens.dropLast(split), state, plan)
    for token in tokens.suffix(split) { model.decode(token, state, plan) }
    return state.logits
  }

  static let tokens = (0..<21).map { 3 + $0 * 37 % 250 }

  @Test(arguments: ["llama", "qwen2", "qwen3"], [false, true])
  func architectures(_ name: String, _ tied: Bool) throws {
    try TinyGGUF.with(TinyModel(name, .f32, tied: tied).bytes) { path in
      let expected = try ReferenceForward(path).logits(Self.tokens).last!
      let model = try LanguageModel(path, precision: .float)
      for split in [0, 1, 20] {
        let error = relativeError(Self.logits(model, Self.tokens, split: split), expected)
        #expect(error < 2e-5, "\(name), tied \(tied), \(split) fed singly: \(error)")
      }
    }
  }

  @Test(arguments: WeightType.allCases) func weightTypes(_ type: WeightType) throws {
    try TinyGGUF.with(TinyModel("llama", type, seed: 5).bytes) { path in
      let expected = try ReferenceForward(path).logits(Self.tokens).last!
      for (precision, limit) in [(LanguageModel.Precision.float, 2e-5), (.int8, 4e-2)] {
        for isa in InstructionSet.allCases where isa.isAvailable {
          let model = try LanguageModel(path, precision: precision, isa: isa)
          for split in [0, 3] {
            let error = relativeError(Self.logits(model, Self.tokens, split: split), expected)
            #expect(
              error < limit, "\(type.name), \(precision.rawValue), \(isa.name), \(split): \(error)")
          }
        }
      }
    }
  }

  @Test func everyPositionOfAPrefillHasItsLogits() throws {
    try TinyGGUF.with(TinyModel().bytes) { path in
      let expected = try ReferenceForward(path).logits(Self.tokens)
      let model = try LanguageModel(path, precision: .float)
      let state = RunState(model)
      var seen = 0
      model.prefill(
        Self.tokens, state, Self.dense,
        everyLogit: { position, logits in
          #expect(position == seen && relativeError(Array(logits), expected[position]) < 2e-5)
          seen += 1
        })
      #expect(seen == Self.tokens.count)
    }
  }

  @Test func lambdaZeroIsDenseBitForBit() throws {
    try TinyGGUF.with(TinyModel("llama", .q4_1).bytes) { path in
      let model = try LanguageModel(path)
      let tokens = (0..<200).map { 3 + $0 * 31 % 250 }
      let zero = AttentionPlan(
        prefill: try BLASST(knobs: ["lambda": .number(0)]),
        decode: try BLASST(knobs: ["lambda": .number(0)]))
      #expect(
        Self.logits(model, tokens, split: 40, zero) == Self.logits(model, tokens, split: 40))
    }
  }

  @Test func pruningCountsBlocksAndChangesLogits() throws {
    try TinyGGUF.with(TinyModel("llama", .f32, seed: 9).bytes) { path in
      let model = try LanguageModel(path, precision: .float)
      let tokens = (0..<120).map { 3 + $0 * 31 % 250 }
      let g = Generator(model, try Self.blasst(1), dense: Self.dense)
      g.prefill(tokens)
      let prefill = g.lastPass.counts
      // 120 tokens in tiles of 16x16: a triangle of 8 rows of blocks, for each of 2 layers and 4
      // heads.
      #expect(prefill.totalVisible == 36 * 8 && prefill.totalSkipped > 0)
      g.feed(5)
      let step = g.lastPass.counts
      #expect(step.totalVisible == 8 * 8 && step.totalSkipped > 0)
      let choice = try #require(g.choose())
      #expect(choice.divergence! > 0 && choice.agrees != nil)
      // A dense run beside a dense run is no distance apart.
      let same = Generator(model, Self.dense, dense: Self.dense)
      same.prefill(tokens)
      #expect(same.choose()!.divergence == 0 && same.choose()!.agrees == true)
    }
  }

  @Test func everyMethodDecodes() throws {
    try TinyGGUF.with(TinyModel("llama", .f32, seed: 3).bytes) { path in
      let model = try LanguageModel(path, precision: .float)
      let tokens = (0..<90).map { 3 + $0 * 31 % 250 }
      for type in Registry.standard.methods {
        guard let type = type as? any EngineMethod.Type else { continue }
        let method = try type.init(knobs: [:])
        guard method.engineRefusal == nil else { continue }
        let logits = Self.logits(
          model, tokens, split: 5, AttentionPlan(prefill: method, decode: method))
        #expect(logits.allSatisfy { $0.isFinite }, "\(type.card.id)")
        let all = try type.init(knobs: try #require(type.card.denseKnobs))
        let whole = Self.logits(model, tokens, split: 5, AttentionPlan(prefill: all, decode: all))
        let expected = Self.logits(model, tokens, split: 5).map(Double.init)
        #expect(relativeError(whole, expected) < 1e-5, "\(type.card.id) keeping everything")
      }
    }
  }

  @Test func aBranchRepeatsItsTrunk() throws {
    try TinyGGUF.with(TinyModel("llama", .q8_0).bytes) { path in
      let model = try LanguageModel(path)
      let sampler = Sampler(SamplerSettings(temperature: 0.8, topK: 40, topP: 0.95, seed: 7))
      let trunk = Generator(model, Self.dense, sampler: sampler)
      trunk.prefill(Self.tokens)
      var said: [Int] = []
      for _ in 0..<12 {
        let choice = trunk.choose()!
        said.append(choice.token)
        trunk.feed(choice.token)
      }
      let fork = Self.tokens.count + 4
      let branch = try Generator(branching: trunk, at: fork - 1, plan: Self.dense)
      branch.feed(said[3])
      for expected in said[4...] {
        let choice = branch.choose()!
        #expect(choice.token == expected)
        branch.feed(choice.token)
      }
      #expect(branch.state.logits == trunk.state.logits)
      #expect(trunk.state.count == Self.tokens.count + 12)
    }
  }

  @Test func aCancelledPrefillKeepsWholeBlocks() throws {
    try TinyGGUF.with(TinyModel().bytes) { path in
      let model = try LanguageModel(path)
      let state = RunState(model)
      let done = model.prefill(Self.tokens, state, Self.dense, isCancelled: { true })
      #expect(!done && state.count == 0 && state.caches[0][0].count == 0)
      // It can be read again.
      model.prefill(Self.tokens, state, Self.dense)
      #expect(state.logits == Self.logits(model, Self.tokens, split: 0))
    }
  }

  @Test func scaledRope() throws {
    func check(_ keys: [(String, TinyGGUF.Value)], _ angle: @escaping (Int, Int) -> Double) throws {
      var tiny = TinyModel()
      for (key, value) in keys { tiny.gguf.set("llama.rope.scaling.\(key)", value) }
      try TinyGGUF.with(tiny.bytes) { path in
        var reference = try ReferenceForward(path)
        reference.angle = angle
        let expected = reference.logits(Self.tokens).last!
        let model = try LanguageModel(path, precision: .float)
        let error = relativeError(Self.logits(model, Self.tokens, split: 4), expected)
        #expect(error < 2e-5, "\(keys[0].1): \(error)")
      }
    }
    func plain(_ p: Int, _ i: Int) -> Double { Double(p) * pow(10_000, -Double(i) / 32) }
    try check([("type", .text("none"))], plain)
    try check([("type", .text("linear")), ("factor", .f32(4))]) { plain($0, $1) / 4 }
    try check([
      ("type", .text("llama3")), ("factor", .f32(8)), ("original_context_length", .u32(128)),
    ]) { p, i in
      let frequency = plain(1, i), turns = 128 * frequency / (2 * .pi)
      if turns < 1 { return Double(p) * frequency / 8 }
      if turns > 4 { return Double(p) * frequency }
      let s = (turns - 1) / 3
      return Double(p) * ((1 - s) * frequency / 8 + s * frequency)
    }
  }

  /// YaRN (arXiv 2309.00071): interpolated where fewer than beta_slow turns fit in the original
  /// context, kept where more than beta_fast do, and both vectors longer by 0.1 ln(factor) + 1.
  @Test func yarn() throws {
    var tiny = TinyModel()
    tiny.gguf.set("llama.rope.scaling.type", .text("yarn"))
    tiny.gguf.set("llama.rope.scaling.factor", .f32(4))
    tiny.gguf.set("llama.rope.scaling.original_context_length", .u32(128))
    try TinyGGUF.with(tiny.bytes) { path in
      var reference = try ReferenceForward(path)
      func pair(_ turns: Double) -> Double { 32 * log(128 / (turns * 2 * .pi)) / log(10_000) }
      let low = max(0, floor(pair(32))), high = min(63, ceil(pair(1)))
      reference.angle = { position, i in
        let plain = Double(position) * pow(10_000, -Double(i) / 32)
        let kept = 1 - min(1, max(0, (Double(i) - low) / (high - low)))
        return plain * kept + plain / 4 * (1 - kept)
      }
      reference.magnitude = 0.1 * log(4) + 1
      let expected = reference.logits(Self.tokens).last!
      let model = try LanguageModel(path, precision: .float)
      let error = relativeError(Self.logits(model, Self.tokens, split: 2), expected)
      #expect(error < 2e-5, "\(error)")
    }
  }

  /// Llama 3 files bring their stretching as a tensor of divisors. Version 2 of the format reads as
  /// version 3 does.
  @Test func ropeFactorsOfTheFile() throws {
    var tiny = TinyModel()
    tiny.gguf.version = 2
    let factors = (0..<32).map { Float(1 + $0 % 8) }
    tiny.gguf.tensors.append(
      ("rope_freqs.weight", 0, [32], factors.flatMap { withUnsafeBytes(of: $0) { Array($0) } }))
    try TinyGGUF.with(tiny.bytes) { path in
      var reference = try ReferenceForward(path)
      reference.angle = { Double($0) * pow(10_000, -Double($1) / 32) / Double(factors[$1]) }
      let expected = reference.logits(Self.tokens).last!
      let model = try LanguageModel(path, precision: .float)
      #expect(relativeError(Self.logits(model, Self.tokens, split: 2), expected) < 2e-5)
    }
  }

  @Test func theRecordOfQueriesKeepsToItsBudget() throws {
    let record = QueryRecord(layers: 1, heads: 1, dim: 8, budget: 0)
    for position in 0..<2500 {
      record.queries(0, position..<position + 1, [Float](repeating: Float(position), count: 8))
      let held = record.positions(0)
      #expect(held.upperBound == position + 1 && held.count <= 64)
    }
    let held = record.positions(0)
    #expect(held.lowerBound > 0 && held.count >= 32)
    let rows = try #require(record.tensor(0, head: 0, held))
    #expect(rows[0].floats()[0] == Float(Float16(held.lowerBound)))
    #expect(rows[held.count - 1].floats()[0] == Float(Float16(2499)))
    #expect(record.tensor(0, head: 0, 0..<1) == nil)
  }
}

/// Sampling from known logits.
@Suite struct SamplerTests {
  private let logits: [Float] = [0, 3, 1, 3, -2]

  @Test func greedyTakesTheFirstOfEquals() {
    #expect(Sampler().choose(logits, position: 0) == 1)
    #expect(top(logits, 3) == [1, 3, 2])
  }

  @Test func topKAndTopPBoundTheChoice() {
    for seed in 0..<40 as Range<UInt64> {
      let two = Sampler(SamplerSettings(temperature: 2, topK: 2, seed: seed))
      #expect([1, 3].contains(two.choose(logits, position: 5)))
      let one = Sampler(SamplerSettings(temperature: 2, topP: 0.1, seed: seed))
      #expect(one.choose(logits, position: 5) == 1)
    }
  }

  @Test func aSeedRepeatsAndSharesAreRight() {
    let sampler = Sampler(SamplerSettings(temperature: 1, seed: 3))
    let counts = (0..<4000).reduce(into: [Int](repeating: 0, count: 5)) {
      $0[sampler.choose(logits, position: $1)] += 1
    }
    let total = logits.reduce(0.0) { $0 + exp(Double($1)) }
    for (count, logit) in zip(counts, logits) {
      #expect(abs(Double(count) / 4000 - exp(Double(logit)) / total) < 0.03)
    }
    #expect(sampler.choose(logits, position: 9) == sampler.choose(logits, position: 9))
  }
}
