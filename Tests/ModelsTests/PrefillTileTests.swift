import Attention
import Methods
import Models
import Support
import Tensors
import Testing

/// A prompt longer than a block is decided tile by tile as if it were read at once.
@Suite struct PrefillTileTests {
  /// Row tiles that divide a block of 512 and such that do not, one of them larger than it. By
  /// hand, for 64 keys and 640 tokens: 96 rows see 2, 3, 5, 6, 8, 9 and 10 blocks; 600 rows see 10,
  /// and the last 40 also 10.
  @Test(arguments: [(96, 64, 43), (128, 64, 2 + 4 + 6 + 8 + 10), (600, 64, 20), (5, 160, 320)])
  func tilesDoNotRestart(_ rows: Int, _ keys: Int, _ expected: Int) throws {
    var tiny = TinyModel("llama", .f32, seed: 9)
    tiny.gguf.set("llama.context_length", .u32(1024))
    try TinyGGUF.with(tiny.bytes) { path in
      let model = try LanguageModel(path, precision: .float)
      let spec = TileSpec(rows: rows, keys: keys), lambda = 0.9
      let record = QueryRecord(model.config, budget: .max, exact: true)
      let state = RunState(model), tokens = (0..<640).map { 3 + $0 * 31 % 250 }
      let dense = try Dense(knobs: [:])
      let blasst = try BLASST(knobs: BLASST.knobs(spec, lambda: lambda))
      model.prefill(
        tokens, state, AttentionPlan(prefill: blasst, decode: dense), observer: record)
      #expect(state.counts.totalVisible == expected * TinyModel.layers * TinyModel.heads)
      // What the run's own queries and keys say in one pass over all of them, in double precision.
      for layer in 0..<TinyModel.layers {
        for head in 0..<TinyModel.heads {
          let cache = state.caches[layer][head * TinyModel.kvHeads / TinyModel.heads].snapshot
          let query = try #require(record.tensor(LayerIndex(layer), head: head, 0..<640))
          let whole = HeadGroup([Head(query: query, key: cache.keyRows, value: nil, causal: true)])
          let pass = TilePass(whole, keysPerTile: keys, precision: .double)
          let table = try #require(pass.tables(spec))[0]
          let at = layer * TinyModel.heads + head
          #expect(Int(state.counts.visible[at]) == table.visibleBlocks)
          #expect(Int(state.counts.skipped[at]) == table.skippedBlocks(try Lambda(lambda)))
        }
      }
      #expect(state.counts.totalSkipped > 0)
    }
  }
}
