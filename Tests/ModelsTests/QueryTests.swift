import Attention
import Foundation
import Methods
import Models
import Support
import Tensors
import Testing

/// Queries as they are recorded and turned, against double precision.
@Suite struct QueryTests {
  private static let tokens = (0..<24).map { 3 + $0 * 37 % 250 }

  /// Relative error of the first layer's queries.
  private func error(
    _ tiny: TinyModel, exact: Bool = true, _ change: (inout ReferenceForward) -> Void = { _ in }
  ) throws -> Double {
    try TinyGGUF.with(tiny.bytes) { path in
      var reference = try ReferenceForward(path)
      change(&reference)
      let expected = reference.firstQueries(Self.tokens)
      let model = try LanguageModel(path, precision: .float)
      let record = QueryRecord(model.config, layers: [0], budget: .max, exact: exact)
      let dense = try Dense(knobs: [:])
      model.prefill(
        Self.tokens, RunState(model), AttentionPlan(prefill: dense, decode: dense),
        observer: record)
      var found: [Float] = [], wanted: [Double] = []
      let dim = TinyModel.dim
      for head in 0..<TinyModel.heads {
        found += try #require(record.tensor(0, head: head, 0..<Self.tokens.count)).floats()
        wanted += expected.flatMap { $0[head * dim..<(head + 1) * dim] }
      }
      return relativeError(found, wanted)
    }
  }

  /// Half floats keep eleven bits; exact ones what was computed.
  @Test func exactQueriesAreNotRounded() throws {
    #expect(try error(TinyModel()) < 2e-6)
    let half = try error(TinyModel(), exact: false)
    #expect(half > 1e-4 && half < 5e-4)
  }

  @Test(arguments: [false, true]) func aRecordGrowsAndIsCopied(_ exact: Bool) throws {
    let record = QueryRecord(layers: 2, heads: 2, dim: 4, only: [1], exact: exact)
    func value(_ position: Int, _ x: Int) -> Float { Float(position) + Float(x) / 3 }
    for position in 0..<700 {
      record.queries(1, position..<position + 1, (0..<8).map { value(position, $0) })
    }
    let copy = QueryRecord(copying: record, count: 600)
    #expect(record.positions(1) == 0..<700 && copy.positions(1) == 0..<600)
    #expect(copy.positions(0).isEmpty && copy.tensor(1, head: 0, 0..<601) == nil)
    for (one, position) in [(record, 699), (copy, 599), (copy, 3)] {
      let row = try #require(one.tensor(1, head: 1, position..<position + 1)).floats()
      let expected = (4..<8).map { value(position, $0) }
      #expect(row == (exact ? expected : expected.map { Float(Float16($0)) }))
    }
  }

  /// YaRN, 2023, arXiv 2309.00071, with what a file may say about it beside the factor: the factor
  /// on cosines and sines, or how it follows from the logarithm, and how much of the fast
  /// frequencies is kept.
  @Test(
    arguments: [
      ([:], 0.1 * log(4) + 1, 1),
      (["yarn_attn_factor": 1], 1, 1), (["yarn_attn_factor": 1.25], 1.25, 1),
      (["attn_factor": 2], 2 * (0.1 * log(4) + 1), 1),
      (["yarn_attn_factor": 0.5, "attn_factor": 3], 1.5, 1),
      (["yarn_log_multiplier": 0.5], (0.1 * log(4) + 1) / (0.05 * log(4) + 1), 1),
      (["yarn_ext_factor": 0.25], 0.1 * log(4) + 1, 0.25),
      (["yarn_ext_factor": 0, "yarn_attn_factor": 1], 1, 0),
    ] as [([String: Float], Double, Double)]) func yarn(
      _ keys: [String: Float], _ magnitude: Double, _ extrapolation: Double
    ) throws
  {
    let error = try error(yarnModel(keys)) { reference in
      func pair(_ turns: Double) -> Double { 32 * log(32 / (turns * 2 * .pi)) / log(10_000) }
      let low = max(0, floor(pair(32))), high = min(63, ceil(pair(1)))
      reference.angle = { position, i in
        let plain = Double(position) * pow(10_000, -Double(i) / 32)
        let kept = extrapolation * (1 - min(1, max(0, (Double(i) - low) / (high - low))))
        return plain / 4 * (1 - kept) + plain * kept
      }
      reference.magnitude = magnitude
    }
    #expect(error < 2e-6, "\(keys): \(error)")
  }

  private func yarnModel(_ keys: [String: Float]) -> TinyModel {
    var tiny = TinyModel("qwen2")
    tiny.gguf.set("qwen2.rope.scaling.type", .text("yarn"))
    tiny.gguf.set("qwen2.rope.scaling.factor", .f32(4))
    tiny.gguf.set("qwen2.rope.scaling.original_context_length", .u32(32))
    for (key, value) in keys { tiny.gguf.set("qwen2.rope.scaling.\(key)", .f32(value)) }
    return tiny
  }

  @Test func whatYarnCannotDoIsRefused() throws {
    for (key, value) in [
      ("yarn_ext_factor", -1), ("yarn_ext_factor", 1.5), ("yarn_attn_factor", 0),
      ("yarn_attn_factor", .nan), ("yarn_log_multiplier", -0.5), ("yarn_beta_fast", 0),
    ] as [(String, Float)] {
      try TinyGGUF.with(yarnModel([key: value]).bytes) { path in
        let error = #expect(throws: ModelError.self) { try LanguageModel(path) }
        #expect("\(error!)".contains(key) && "\(error!)".contains("is computed"), "\(error!)")
      }
    }
  }
}
