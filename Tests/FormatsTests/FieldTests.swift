import Formats
import Foundation
import Support
import Tensors
import Testing

/// Names, axes and neighbours of arrays as people save them: what opens, and what is said of it.
@Suite struct FieldTests {
  private static func size(_ dump: Dump) -> String {
    let place = dump.layers[0].positions
    let layers = dump.layers.map { "\($0.layer)" }.joined(separator: ",")
    return "\(layers): \(place.heads) of \(place.queries)x\(place.keys)"
  }

  private static func said(_ dump: Dump) -> String {
    (dump.guesses.map(\.description) + dump.remarks).joined(separator: "; ")
  }

  private func open(
    _ arrays: [(String, Tensor)], metadata: [String: String] = [:],
    options: DumpOptions = DumpOptions(), _ body: (Dump) throws -> Void
  ) throws {
    try Made.safetensors(arrays, metadata: metadata) { try body(Dump.open($0, options: options)) }
  }

  /// Maps under the names that people give them: `[names]`, the shape of each, what comes out.
  @Test(arguments: [
    (["0", "1", "2"], [2, 5, 5], "0,1,2: 2 of 5x5", "layers by their names"),
    (
      ["layer_0_head_0", "layer_0_head_1", "layer_3_head_0", "layer_3_head_1"], [5, 5],
      "0,3: 2 of 5x5", "causal"
    ),
    (["layer0/head0/attention", "layer0/head1/attention"], [5, 5], "0: 2 of 5x5", "causal"),
    (["L0H0", "L0H1", "L1H0", "L1H1"], [5, 5], "0,1: 2 of 5x5", "causal"),
    (["attn_mat"], [3, 2, 5, 5], "0,1,2: 2 of 5x5", "only array"),
    (["A"], [2, 5, 5], "0: 2 of 5x5", "only array"),
    (
      ["encoder.layer.0.attention.self", "encoder.layer.1.attention.self"], [1, 2, 5, 5],
      "0,1: 2 of 5x5", "causal"
    ),
    (["attn.output.1", "attn.output.2"], [2, 5, 5], "1,2: 2 of 5x5", "causal"),
    (
      [
        "down_blocks.0.attentions.0.transformer_blocks.0.attn2",
        "down_blocks.0.attentions.1.transformer_blocks.0.attn2",
        "down_blocks.1.attentions.0.transformer_blocks.0.attn2",
      ], [1, 2, 5, 5], "0,1,2: 2 of 5x5", "3 modules"
    ),
    (["sample_0_attn", "sample_1_attn"], [2, 3, 5, 5], "0,1: 3 of 5x5", "sample_1_attn"),
    (
      ["encoder_attentions", "decoder_attentions", "cross_attentions"], [2, 3, 5, 5],
      "0,1: 3 of 5x5", "decoder_attentions is shown"
    ),
    (["step_0_layer_0", "step_1_layer_0"], [1, 2, 1, 5], "0: 2 of 2x5", "steps 0 to 1"),
  ]) func mapsByName(_ names: [String], _ shape: [Int], _ wanted: String, _ words: String) throws {
    let arrays = names.enumerated().map { ($1, Made.pattern(shape, seed: $0 + 1)) }
    try open(arrays) { dump in
      #expect(dump.kind == .pattern && Self.size(dump) == wanted, "\(Self.size(dump))")
      #expect(Self.said(dump).contains(words), "\(Self.said(dump))")
    }
  }

  /// Each head and layer is the array that was saved for it.
  @Test func headsOfTheirOwnAreInTheirPlaces() throws {
    let arrays = (0..<2).flatMap { layer in
      (0..<3).map { ("layer_\(layer)_head_\($0)", Made.pattern([4, 4], seed: 3 * layer + $0)) }
    }
    try open(arrays) { dump in
      for (index, array) in arrays.enumerated() {
        let map = dump.layers[index / 3].arrays[.pattern]
        #expect(map?[index % 3].floats() == array.1.floats())
      }
    }
  }

  /// No name silently replaces another: all are named, and each can be chosen.
  @Test func whatIsNotShownIsNamedAndCanBeChosen() throws {
    let names = ["cross_attentions", "decoder_attentions", "encoder_attentions"]
    let arrays = names.enumerated().map { ($1, Made.pattern([1, 2, 3 + $0, 3 + $0])) }
    for (index, name) in names.enumerated() {
      var options = DumpOptions()
      options.array = name
      try open(arrays, options: options) { dump in
        #expect(dump.layers[0].positions.keys == 3 + index)
        #expect(dump.choices.filter(\.isShown).map(\.name) == [name])
        #expect(dump.arrays.map(\.use) == names.map { $0 == name ? "pattern" : nil })
      }
    }
    var options = DumpOptions()
    options.array = "nothing"
    #expect(throws: FormatError.self) { try open(arrays, options: options) { _ in } }
  }

  /// Q, K and V under other names, and axes told by where q and k differ.
  @Test(arguments: [
    (["layer_0_query_states", "layer_0_key_states"], [1, 8, 7, 4], [1, 2, 7, 4], "0: 8 of 7x7"),
    (["query_layer", "key_layer"], [1, 4, 7, 8], [1, 2, 7, 8], "0: 4 of 7x7"),
    (["q", "k"], [37, 8, 16], [37, 2, 16], "0: 8 of 37x37"),
    (["q", "k"], [1, 37, 8, 16], [1, 37, 2, 16], "0: 8 of 37x37"),
    (["Qcur-1", "Kcur-1"], [37, 8, 16], [37, 2, 16], "1: 8 of 37x37"),
    (["layers.0.q", "layers.0.k"], [2, 8, 7, 4], [2, 2, 7, 4], "0: 8 of 7x7"),
    (["xq", "xk"], [4, 7, 8], [4, 7, 8], "0: 4 of 7x7"),
    (["q_l3", "k_l3"], [4, 7, 8], [4, 7, 8], "3: 4 of 7x7"),
    (
      ["blocks.0.attn.q.hook_out", "blocks.0.attn.k.hook_out"], [1, 7, 4, 8], [1, 7, 4, 8],
      "0: 4 of 7x7"
    ),
  ]) func projectionsByName(
    _ names: [String], _ query: [Int], _ key: [Int], _ wanted: String
  ) throws {
    let arrays = [(names[0], Made.numbers(query)), (names[1], Made.numbers(key, seed: 2))]
    try open(arrays) { dump in
      #expect(dump.kind == .qkv && Self.size(dump) == wanted, "\(Self.size(dump))")
    }
  }

  /// Heads side by side: asked for, with what the numbers allow.
  @Test func headsSideBySide() throws {
    let arrays = [("q", Made.numbers([7, 512])), ("k", Made.numbers([7, 128], seed: 2))]
    let error = #expect(throws: FormatError.self) { try open(arrays) { _ in } }
    let text = error?.message ?? ""
    #expect(text.contains("8 of 64 over 2") && text.contains("--query-heads"), "\(text)")
    var options = DumpOptions()
    options.heads = 8
    try open(arrays, options: options) { dump in
      #expect(Self.size(dump) == "0: 8 of 7x7")
      let q = arrays[0].1
      #expect(dump.layers[0].arrays[.query]?[3][2].floats() == Array(q[2].floats()[192..<256]))
    }
    options.heads = 7
    #expect(throws: FormatError.self) { try open(arrays, options: options) { _ in } }
    let flat = [("q", Made.numbers([7, 128])), ("k", Made.numbers([7, 128], seed: 2))]
    try open(flat) { dump in
      #expect(Self.size(dump) == "0: 1 of 7x7" && Self.said(dump).contains("2 of 64"))
    }
  }

  /// Outputs of projections, fused ones, weights: refused, with what to save instead.
  @Test(arguments: [
    ("model.layers.0.self_attn.q_proj", "model.layers.0.self_attn.k_proj", [1, 7, 64], "rotary"),
    ("transformer.h.0.attn.c_attn", "x", [1, 7, 144], "c_attn"),
    ("a.q_proj.weight", "a.k_proj.weight", [64, 64], "weights of a model"),
    ("mlp.out", "mlp.in", [9, 64], "--array NAME"),
    ("layers.0.output", "layers.1.output", [9, 64], "--array NAME"),
  ]) func whatIsNoAttention(_ one: String, _ two: String, _ shape: [Int], _ words: String) throws {
    let arrays = [(one, Made.numbers(shape)), (two, Made.numbers(shape, seed: 2))]
    let error = #expect(throws: FormatError.self) { try open(arrays) { _ in } }
    #expect(error?.message.contains(words) ?? false, "\(error.map { "\($0)" } ?? "")")
  }

  /// A pattern that Q and K do not make is shown; one that they make leaves them alone.
  @Test func aStoredPatternWins() throws {
    let q = Made.numbers([2, 5, 4]), k = Made.numbers([2, 5, 4], seed: 2)
    let other = Made.pattern([1, 2, 5, 5])
    let names = ["blocks.0.attn.hook_rot_q", "blocks.0.attn.hook_rot_k"]
    func nhd(_ tensor: Tensor) -> Tensor {
      Tensor(tensor.permuted([1, 0, 2]).floats(), shape: [1, 5, 2, 4])
    }
    let pair = [(names[0], nhd(q)), (names[1], nhd(k))]
    try open(pair + [("blocks.0.attn.hook_pattern", other)]) { dump in
      #expect(dump.kind == .pattern && Self.said(dump).contains("stored pattern"))
    }
    let true_ = (0..<2).flatMap { head in
      (0..<5).flatMap { row -> [Float] in
        let scores = (0..<5).map { key -> Double in
          guard key <= row else { return -.infinity }
          let a = q[head][row].floats(), b = k[head][key].floats()
          return zip(a, b).reduce(0.0) { $0 + Double($1.0 * $1.1) } / 2
        }
        let weights = scores.map { exp($0) }, sum = weights.reduce(0, +)
        return weights.map { Float($0 / sum) }
      }
    }
    try open(pair + [("blocks.0.attn.hook_pattern", Tensor(true_, shape: [1, 2, 5, 5]))]) { dump in
      #expect(dump.kind == .qkv, "\(Self.said(dump))")
    }
  }

  /// Keys before queries, heads last, a static cache, padding left and right.
  @Test func axesAndPadding() throws {
    let map = Made.pattern([2, 3, 6, 6])
    let turned = Tensor(map.permuted([0, 1, 3, 2]).floats(), shape: [2, 3, 6, 6])
    try open([("attention", turned)]) { dump in
      #expect(dump.causal && Self.said(dump).contains("lhkq"))
      #expect(dump.layers[1].arrays[.pattern]?[2].floats() == map[1][2].floats())
    }
    let last = Tensor(map[0].permuted([1, 2, 0]).floats(), shape: [6, 6, 3])
    try open([("attention", last)]) { dump in
      #expect(Self.size(dump) == "0: 3 of 6x6" && Self.said(dump).contains("qkh"))
    }
    var wide = [Float](repeating: 0, count: 2 * 3 * 6 * 20)
    for row in 0..<36 {
      wide.replaceSubrange(row * 20..<row * 20 + 6, with: map.floats()[row * 6..<row * 6 + 6])
    }
    try open([("attention", Tensor(wide, shape: [2, 3, 6, 20]))]) { dump in
      #expect(Self.size(dump) == "0,1: 3 of 6x6" && dump.causal, "\(Self.said(dump))")
    }
    var padded = [Float](repeating: 0, count: 3 * 8 * 8)
    for head in 0..<3 {
      for row in 0..<8 {
        for key in 0..<8 where row < 2 || key >= 2 && key <= row {
          padded[(head * 8 + row) * 8 + key] = 1 / Float(row < 2 ? 8 : row - 1)
        }
      }
    }
    try open([("attention", Tensor(padded, shape: [3, 8, 8]))]) { dump in
      #expect(dump.causal && dump.rules.padding == 2 && Self.said(dump).contains("on the left"))
    }
    var options = DumpOptions()
    options.padding = false
    try open([("attention", Tensor(padded, shape: [3, 8, 8]))], options: options) { dump in
      #expect(dump.rules.padding == 0 && !dump.causal)
    }
  }

  /// Windows and sinks look like padding and are none.
  @Test func aWindowIsNoPadding() throws {
    var values = [Float](repeating: 0, count: 100)
    for row in 0..<10 {
      for key in max(0, row - 2)...row { values[row * 10 + key] = 1 / Float(min(row, 2) + 1) }
    }
    try open([("attention", Tensor(values, shape: [1, 10, 10]))]) { dump in
      #expect(Self.size(dump) == "0: 1 of 10x10" && dump.rules.padding == 0, "\(Self.said(dump))")
    }
    let sink = (0..<16).map { Float($0 % 4 == 0 ? 1 : 0) }
    try open([("attention", Tensor(sink, shape: [1, 4, 4]))]) { dump in
      #expect(dump.layers[0].positions.keys == 4)
    }
  }

  /// Two packed sequences, in every row of which something is seen, are no padding either.
  @Test func packedSequencesAreNoPadding() throws {
    var values = [Float](repeating: 0, count: 64)
    for row in 0..<8 {
      for key in row / 4 * 4...row { values[row * 8 + key] = 1 / Float(row % 4 + 1) }
    }
    try open([("layers.0.pattern", Tensor(values, shape: [1, 8, 8]))]) { dump in
      #expect(dump.rules.padding == 0 && dump.guesses.count == 1, "\(Self.said(dump))")
      #expect(Self.said(dump).contains("causal"))
    }
  }

  /// As many heads as keys: our own layout is head, query, key by its name.
  @Test func ourOwnLayoutNeedsNoGuess() throws {
    let steps = Made.pattern([4, 2, 4])
    try open([("layers.0.pattern", steps)]) { dump in
      // Of its two positions only causality is guessed.
      #expect(Self.size(dump) == "0: 4 of 2x4" && dump.guesses.count == 1, "\(Self.said(dump))")
      #expect(dump.layers[0].arrays[.pattern]?[3].floats() == steps[3].floats())
    }
  }

  /// What the model does between the products and the softmax, from metadata and arrays.
  @Test func rulesOfTheModel() throws {
    let pair = [("layers.0.q", Made.numbers([2, 6, 4])), ("layers.0.k", Made.numbers([2, 6, 4]))]
    let told = [
      "causal": "true", "sliding_window": "3", "softcap": "50.0", "cu_seqlens": "[0,2,6]",
    ]
    try open(pair, metadata: told) { dump in
      #expect(dump.rules.window == 3 && dump.rules.softcap == 50)
      #expect(dump.rules.segments == [0, 0, 1, 1, 1, 1])
      var row = [Float](repeating: 1, count: 6)
      dump.rules.apply(to: &row, position: 5, causal: true)
      #expect(row.map(\.isFinite) == [false, false, false, true, true, true])
      row = [Float](repeating: 1, count: 6)
      dump.rules.apply(to: &row, position: 1, causal: true)
      #expect(row.map(\.isFinite) == [true, true, false, false, false, false])
      #expect(row[0] < 1 && abs(Double(row[0]) - 50 * tanh(0.02)) < 1e-4)
    }
    // Sequences of fewer positions than there are keys, and the widest window of an Int.
    let short = ["causal": "false", "window": "9223372036854774784", "cu_seqlens": "[0,2]"]
    try open(pair, metadata: short) { dump in
      for (position, seen) in [(1, 2), (5000, 6)] {
        var row = [Float](repeating: 1, count: 6)
        dump.rules.apply(to: &row, position: position, causal: false)
        #expect(row.map(\.isFinite) == (0..<6).map { $0 < seen })
      }
    }
  }

  /// What an `attention_mask` says of the keys holds for all that is counted by keys, and of a
  /// decode step with fewer rows than there is padding.
  @Test func masksOfPadding() throws {
    let arrays = [
      ("layers.0.q", Made.numbers([2, 6, 4])), ("layers.0.k", Made.numbers([2, 6, 4])),
      ("layers.0.beta", Made.numbers([2, 6])),
      ("attention_mask", Tensor([1, 1, 1, 1, 0, 0], shape: [6])),
    ]
    try open(arrays) { dump in
      #expect(Self.size(dump) == "0: 2 of 4x4")
      #expect(dump.layers[0].arrays[.beta]?.shape.axes == [2, 4])
      #expect(dump.arrays.first { $0.name == "attention_mask" }?.use == "padding")
    }
    let step = [
      ("attention", Made.pattern([1, 2, 3, 9])),
      ("attention_mask", Tensor([0, 0, 0, 0, 0, 0, 1, 1, 1], shape: [9])),
    ]
    try open(step) { dump in
      #expect(dump.rules.padding == 6 && dump.causal && Self.size(dump) == "0: 2 of 3x9")
    }
  }

  /// Two steps whose one map would be far larger than they are.
  @Test func stepsThatMakeAbsurdMaps() throws {
    let arrays = [
      ("step_0_attn", Made.pattern([1, 1, 1, 1000])),
      ("step_1_attn", Made.pattern([1, 1, 1000, 1], causal: false)),
    ]
    let error = #expect(throws: FormatError.self) { try open(arrays) { _ in } }
    #expect(error?.code == .tooLarge, "\(error.map { "\($0)" } ?? "")")
  }

  /// Layers of a decode step that keep their last keys alone beside those that keep all.
  @Test func layersOfDifferentLengths() throws {
    let arrays = [
      ("layer_0", Made.pattern([1, 2, 1, 3])), ("layer_1", Made.pattern([1, 2, 1, 7])),
    ]
    try open(arrays) { dump in
      #expect(Self.size(dump) == "0,1: 2 of 1x7")
      #expect(
        dump.layers[0].arrays[.pattern]?[1].floats()
          == [0, 0, 0, 0] + arrays[0].1[0][1].floats())
    }
    let odd = [("layer_0", Made.pattern([1, 2, 3, 3])), ("layer_1", Made.pattern([1, 2, 7, 7]))]
    let error = #expect(throws: FormatError.self) { try open(odd) { _ in } }
    #expect(error?.message.contains("slice FILE --layers 0") ?? false)
    var options = DumpOptions()
    options.onlyLayers = [1]
    try open(odd, options: options) { #expect(Self.size($0) == "1: 2 of 7x7") }
  }
}
