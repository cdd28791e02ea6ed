import Attention
import Backends
import Formats
import Foundation
import Models
import Support
import Tensors
import Testing

/// A text that is read again under changes.
@Suite(.timeLimit(.minutes(5))) struct EngineReaderTests {
  private static func reader(_ model: LanguageModel) throws -> EngineReader {
    EngineReader(model, tokens: SmallModel.prompt, try RunControlTests.dense.plan())
  }

  /// Losses are those of token by token decoding; no change is no change, to the bit.
  @Test func nothingChangedCostsNothing() async throws {
    try await SmallModel.with { model in
      let reader = try Self.reader(model), tokens = SmallModel.prompt
      let dump = try reader.dump()
      let base = try reader.losses([ModelChange()])[0]
      let again = try Self.reader(model).losses([ModelChange()])[0]
      #expect(base[0].isNaN && base.dropFirst() == again.dropFirst())
      let plan = try RunControlTests.dense.plan(), state = RunState(model)
      for (t, token) in tokens.enumerated() where t + 1 < tokens.count {
        model.decode(token, state, plan)
        let total = state.logits.withUnsafeBufferPointer(logSumExp)
        let wanted = total - Double(state.logits[tokens[t + 1]])
        #expect(abs(Double(base[t + 1]) - wanted) < 0.02 * max(1, wanted), "\(t)")
      }
      let p = try #require(dump.extras["token_probabilities"]).floats()
      for t in 1..<tokens.count { #expect(abs(p[t] - exp(-base[t])) < 1e-6) }
      #expect(dump.layers.count == 2 && dump.layers[0].arrays[.query]?.shape.axes == [4, 20, 64])
    }
  }

  /// Every change changes something, and none that names what is not there.
  @Test func changesChange() async throws {
    try await SmallModel.with { model in
      let reader = try Self.reader(model)
      let place = ModelChange.Place(1, 2)
      let changes = [
        ModelChange(), ModelChange(skipped: [0]), ModelChange(heads: [place]),
        ModelChange(heads: [place], mask: .literal), ModelChange(heads: [place], mask: .zero),
        ModelChange(windows: [1: 4]), ModelChange(skipped: [9]),
        ModelChange(heads: [ModelChange.Place(7, 0)]),
      ]
      let all = try reader.losses(changes).map { $0.dropFirst().map(\.bitPattern) }
      #expect(Set(all.prefix(6)).count == 6)
      #expect(all[6] == all[0] && all[7] == all[0])
    }
  }

  /// Where a layer's attention adds nothing, skipping it costs nothing: all its heads at zero.
  @Test func aLayerThatAddsNothingIsNotMissed() async throws {
    try await SmallModel.with { model in
      let heads = Set((0..<4).map { ModelChange.Place(1, $0) })
      let all = try Self.reader(model).losses([
        ModelChange(heads: heads, mask: .zero), ModelChange(skipped: [1]),
        ModelChange(heads: heads, mask: .zero, skipped: [1]),
      ]).map { Array($0.dropFirst()) }
      #expect(all[0] == all[1] && all[1] == all[2])
    }
  }

  /// The first token is not turned and sees itself alone: its queries, keys and values are its
  /// embedding times the projections, and attention adds its values times W_O.
  @Test(arguments: ["llama", "qwen3"]) func projections(_ architecture: String) throws {
    var tiny = TinyModel(architecture, .f32, seed: 6)
    for (index, tensor) in tiny.gguf.tensors.enumerated()
    where tensor.name == "blk.0.attn_norm.weight" {
      let one: [UInt8] = [0, 0, 0x80, 0x3f]
      tiny.gguf.tensors[index].bytes = (0..<tensor.bytes.count / 4).flatMap { _ in one }
    }
    try TinyGGUF.with(tiny.bytes) { path in
      let reader = try Self.reader(try LanguageModel(path, precision: .float))
      let dump = try reader.dump(), weights = try reader.projections(0)
      let residuals = try #require(dump.extras["residuals"])
      let x = residuals[0][0].floats().map(Double.init)
      let rms = (x.reduce(0) { $0 + $1 * $1 } / Double(x.count) + 1e-5).squareRoot()
      func isNear(_ row: [Double], _ matrix: Tensor, _ wanted: [Float]) -> Bool {
        let w = matrix.floats(), n = matrix.shape[1]
        return (0..<n).allSatisfy { c in
          let sum = row.indices.reduce(0) { $0 + row[$1] * Double(w[$1 * n + c]) }
          return abs(sum - Double(wanted[c])) < 2e-3 * max(1, abs(sum))
        }
      }
      let row = x.map { $0 / rms }, arrays = dump.layers[0].arrays
      let value = try #require(arrays[.value])
      for kv in 0..<2 { #expect(isNear(row, weights.value[kv], value[kv][0].floats())) }
      if architecture == "llama" {
        let (query, key) = (try #require(arrays[.query]), try #require(arrays[.key]))
        for head in 0..<4 { #expect(isNear(row, weights.query[head], query[head][0].floats())) }
        for kv in 0..<2 { #expect(isNear(row, weights.key[kv], key[kv][0].floats())) }
      }
      let added = residuals[1][0].floats()
      var sum = [Double](repeating: 0, count: added.count)
      for head in 0..<4 {
        let v = value[weights.shared(head)][0].floats(), o = weights.output[head].floats()
        for c in v.indices {
          for y in sum.indices { sum[y] += Double(v[c]) * Double(o[c * sum.count + y]) }
        }
      }
      #expect(zip(sum, added).allSatisfy { abs($0 - Double($1)) < 2e-3 * max(1, abs($0)) })
      #expect(throws: Missing.self) { try reader.projections(9) }
    }
  }

  /// Queries of zero attend evenly: the mask puts the same in their place.
  @Test func maskingAnEvenHeadChangesNothing() throws {
    var tiny = TinyModel("llama", .f32, seed: 4)
    for (index, tensor) in tiny.gguf.tensors.enumerated()
    where tensor.name == "blk.0.attn_q.weight" {
      tiny.gguf.tensors[index].bytes = [UInt8](repeating: 0, count: tensor.bytes.count)
    }
    try TinyGGUF.with(tiny.bytes) { path in
      let model = try LanguageModel(path, precision: .float)
      let heads = Set((0..<4).map { ModelChange.Place(0, $0) })
      let all = try Self.reader(model).losses([
        ModelChange(), ModelChange(heads: heads), ModelChange(heads: heads, mask: .zero),
      ])
      for t in 1..<SmallModel.prompt.count { #expect(abs(all[0][t] - all[1][t]) < 2e-5) }
      #expect(abs(all[0][9] - all[2][9]) > 1e-3)
    }
  }
}
