import Formats
import Foundation
import Tensors
import Testing

/// Folders as FlashInfer's flight recorder writes them, built by code: a folder a call, tensors by
/// the place or the name of their argument, the rest in `metadata.jsonl`.
@Suite struct FlashInferTests {
  private static let heads = 4, kvHeads = 2, dim = 8, page = 4
  /// Tokens of two requests, and their rows of queries.
  private static let lengths = [10, 7], rows = [10, 3]
  /// Pages of each, out of order; the rest of the table is filling.
  private static let table: [[Int32]] = [[5, 0, 3, 0], [2, 6, 0, 0]]

  /// What was put in: `[kvHeads, n, dim]` of each request, and queries `[tokens, heads, dim]`.
  private struct Inputs {
    var keys: [[Float]] = [], values: [[Float]] = []
    var query: [Float] = []
    /// `[7 pages, 2, ..]`.
    var cache: [Float] = []
    var cacheShape: [Int] = []
  }

  private static func numbers(_ count: Int, _ seed: Int) -> [Float] {
    (0..<count).map { Float((($0 + seed) * 7919) % 1009) / 500 - 1 }
  }

  /// A cache with other requests' numbers wherever these two have none.
  private static func inputs(_ layout: String, seed: Int) -> Inputs {
    var out = Inputs()
    let isHND = layout == "HND"
    out.cacheShape = isHND ? [7, 2, kvHeads, page, dim] : [7, 2, page, kvHeads, dim]
    out.cache = numbers(7 * 2 * page * kvHeads * dim, seed + 500)
    out.query = numbers(13 * heads * dim, seed)
    for request in 0..<2 {
      let n = lengths[request]
      out.keys.append(numbers(kvHeads * n * dim, seed + 11 * request + 1))
      out.values.append(numbers(kvHeads * n * dim, seed + 11 * request + 2))
      for h in 0..<kvHeads {
        for t in 0..<n {
          let p = Int(table[request][t / page]), slot = t % page
          for (which, all) in [out.keys[request], out.values[request]].enumerated() {
            let block = (p * 2 + which) * page * kvHeads * dim
            let at = block + (isHND ? h * page + slot : slot * kvHeads + h) * dim
            for d in 0..<dim { out.cache[at + d] = all[(h * n + t) * dim + d] }
          }
        }
      }
    }
    return out
  }

  /// Writes a folder of one call. `values` are JSON texts.
  private static func write(
    _ folder: String, _ number: Int, _ function: String, signature: String,
    _ tensors: [ArrayToWrite], _ values: [String: String], object: Int? = nil
  ) throws {
    let name = "20261130_2116\(10 + number)_000_pid7_\(function)_call000\(number)"
    let own = "\(folder)/\(name)"
    try FileManager.default.createDirectory(atPath: own, withIntermediateDirectories: true)
    if !tensors.isEmpty {
      try writeSafetensors(
        tensors, metadata: [:], to: own + "/inputs.safetensors", force: true)
    }
    let keys = tensors.map { "\"\($0.name)\"" }.joined(separator: ",")
    let rest = values.sorted { $0.key < $1.key }.map { "\"\($0)\": \($1)" }.joined(separator: ", ")
    let line = """
      {"function_name": "\(function)", "module": "flashinfer", "call_sequence": \(number), \
      "timestamp": "20261130_2116\(10 + number)_000", "input_metadata": {\(rest)}, \
      \(object.map { "\"self_id\": \($0), " } ?? "")"output_metadata": {}, \
      "tensor_info": {"input_tensor_keys": [\(keys)]}, "function_signature": "\(signature)"}

      """
    // The first line is the one before the call; the last one counts.
    try (line + line).write(toFile: own + "/metadata.jsonl", atomically: true, encoding: .utf8)
  }

  private static let context = """
    (query: torch.Tensor, kv_cache: Union[torch.Tensor, Tuple[torch.Tensor, torch.Tensor]], \
    workspace_buffer: torch.Tensor, block_tables: torch.Tensor, seq_lens: torch.Tensor, \
    max_q_len: int, bmm1_scale: float, window_left: int = -1, \
    out: Union[torch.Tensor, FP4Tensor, NoneType] = None, kv_layout: str = 'HND', \
    sinks: Optional[List[torch.Tensor]] = None) -> torch.Tensor
    """

  private static func int32(_ name: String, _ values: [Int32], _ shape: [Int]) -> ArrayToWrite {
    ArrayToWrite(name, int32: values, shape: shape)
  }

  /// A call of a batch with a block table; `byPlace` as people call it without names.
  private static func batch(
    _ inputs: Inputs, _ folder: String, _ number: Int, layout: String, byPlace: Bool,
    tables: [[Int32]] = table, extra: [String: String] = [:], sinks: [Float] = []
  ) throws {
    func name(_ place: Int, _ word: String) -> String { byPlace ? "arg_\(place)" : "kwarg_\(word)" }
    var tensors = [
      ArrayToWrite(name(0, "query"), floats: inputs.query, shape: [13, heads, dim], half: false),
      ArrayToWrite(name(1, "kv_cache"), floats: inputs.cache, shape: inputs.cacheShape),
      ArrayToWrite(name(2, "workspace_buffer"), bytes: [0, 0], shape: [2]),
      int32(name(3, "block_tables"), tables.flatMap { $0 }, [2, 4]),
      int32(name(4, "seq_lens"), lengths.map(Int32.init), [2]),
      int32("kwarg_cum_seq_lens_q", [0, 10, 13], [3]),
    ]
    if !sinks.isEmpty {
      tensors.append(ArrayToWrite("kwarg_sinks", floats: sinks, shape: [sinks.count]))
    }
    var values = [name(5, "max_q_len"): "10", name(6, "bmm1_scale"): "0.25"]
    if layout != "HND" { values["kwarg_kv_layout"] = "\"\(layout)\"" }
    values.merge(extra) { $1 }
    try write(
      folder, number, "trtllm_batch_context_with_kv_cache", signature: context, tensors, values)
  }

  private static func withFolder(_ body: (String) throws -> Void) throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: "fi-\(UUID())").path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    try body(folder)
  }

  private static func expect(_ dump: Dump, layer: Int, _ inputs: Inputs, request: Int) {
    let arrays = dump.layers[layer].arrays, start = request == 0 ? 0 : rows[0]
    for head in 0..<heads {
      for row in 0..<rows[request] {
        let at = ((start + row) * heads + head) * dim
        #expect(arrays[.query]?[head][row].floats() == Array(inputs.query[at..<at + dim]))
      }
    }
    #expect(arrays[.key]?.floats() == inputs.keys[request])
    #expect(arrays[.value]?.floats() == inputs.values[request])
  }

  /// What the second call is told beside.
  private static let second = [
    "kwarg_window_left": "3", "kwarg_skip_softmax_threshold_scale_factor": "900.0",
  ]

  @Test(arguments: [("HND", true), ("HND", false), ("NHD", true), ("NHD", false)])
  func aPagedCacheIsJoined(_ layout: String, _ byPlace: Bool) throws {
    try Self.withFolder { folder in
      let inputs = (0..<3).map { Self.inputs(layout, seed: 100 * $0) }
      for (number, one) in inputs.enumerated() {
        try Self.batch(
          one, folder, number, layout: layout, byPlace: byPlace,
          extra: number == 1 ? Self.second : [:],
          sinks: number == 2 ? [0, 1, 2, 3] : [])
      }
      try Self.write(
        folder, 5, "rmsnorm", signature: "(input: torch.Tensor)",
        [ArrayToWrite("arg_0", floats: [1, 2], shape: [1, 2])], [:])
      try "{}\n".write(toFile: folder + "/session.jsonl", atomically: true, encoding: .utf8)
      for request in 0..<2 {
        var options = DumpOptions()
        options.batch = request
        let dump = try Dump.open(folder, options: options)
        #expect(dump.kind == .qkv && dump.causal && dump.layers.map(\.layer) == [0, 1, 2])
        #expect(dump.scale == 0.25)
        #expect(dump.layers[0].positions == (Self.rows[request], Self.lengths[request], 4))
        for layer in 0..<3 { Self.expect(dump, layer: layer, inputs[layer], request: request) }
        let windows = (0..<3).map { dump.layerRules.rules(dump.rules, layer: $0).window }
        #expect(windows == [nil, 4, nil])
        #expect(dump.layerRules.sinks(layer: 2, heads: 4) == [0, 1, 2, 3])
        let said = dump.remarks.joined(separator: "; ")
        #expect(said.contains("layers are numbered in their order"), "\(said)")
        #expect(said.contains("scale_factor 900.0") && said.contains("rmsnorm"), "\(said)")
      }
      #expect(try Dump.open(folder).remarks.contains { $0.contains("request 0 of 2") })
      var beyond = DumpOptions()
      beyond.batch = 2
      let error = #expect(throws: FormatError.self) { try Dump.open(folder, options: beyond) }
      #expect(error?.message.contains("2 requests") ?? false)
    }
  }

  /// Wrappers are told of the pages once, by `plan`, and called once a layer.
  @Test(arguments: ["NHD", "HND"]) func aWrapperIsReadWithItsPlan(_ layout: String) throws {
    try Self.withFolder { folder in
      let wrapper = "BatchPrefillWithPagedKVCacheWrapper"
      let inputs = (0..<2).map { Self.inputs(layout, seed: 31 * $0) }
      try Self.write(
        folder, 0, wrapper + ".__init__", signature: "(self, buffer: torch.Tensor, kv_layout: str)",
        [], ["arg_0": "{\"type\": \"Wrapper\", \"repr\": \"<>\"}", "arg_2": "\"\(layout)\""],
        object: 77)
      try Self.write(
        folder, 1, wrapper + ".plan",
        signature: """
          (self, qo_indptr: torch.Tensor, paged_kv_indptr: torch.Tensor, paged_kv_indices: \
          torch.Tensor, paged_kv_last_page_len: torch.Tensor, causal: bool = False)
          """,
        [
          Self.int32("arg_1", [0, 10, 13], [3]), Self.int32("arg_2", [0, 3, 5], [3]),
          Self.int32("arg_3", [5, 0, 3, 2, 6], [5]), Self.int32("arg_4", [2, 3], [2]),
        ], ["kwarg_causal": "true", "kwarg_logits_soft_cap": "30.0"], object: 77)
      for (number, one) in inputs.enumerated() {
        try Self.write(
          folder, 2 + number, wrapper + ".run",
          signature: "(self, q: torch.Tensor, paged_kv_cache: torch.Tensor, *args)",
          [
            ArrayToWrite("arg_1", floats: one.query, shape: [13, Self.heads, Self.dim]),
            ArrayToWrite("arg_2", floats: one.cache, shape: one.cacheShape),
          ], [:], object: 77)
      }
      for request in 0..<2 {
        var options = DumpOptions()
        options.batch = request
        let dump = try Dump.open(folder, options: options)
        #expect(dump.causal && dump.layers.count == 2)
        for layer in 0..<2 { Self.expect(dump, layer: layer, inputs[layer], request: request) }
        #expect(dump.layerRules.rules(dump.rules, layer: 1).softcap == 30)
      }
    }
  }

  /// Numbers that lie, and a cache that was not recorded: a sentence each, and nothing is read.
  @Test(
    arguments: [
      ([[5, 0, 9, 0], [2, 6, 0, 0]], "page twice, or one that the cache of 7 has not"),
      ([[5, 0, 5, 0], [2, 6, 0, 0]], "page twice"), ([[-1, 0, 3, 0], [2, 6, 0, 0]], "has not"),
    ] as [([[Int32]], String)]) func tablesThatLie(_ table: [[Int32]], _ words: String) throws
  {
    try Self.withFolder { folder in
      try Self.batch(
        Self.inputs("HND", seed: 1), folder, 0, layout: "HND", byPlace: true, tables: table)
      let error = #expect(throws: FormatError.self) { try Dump.open(folder) }
      #expect(error?.message.contains(words) ?? false, "\(error.map { "\($0)" } ?? "")")
    }
  }

  @Test func aPairThatWasNotRecorded() throws {
    try Self.withFolder { folder in
      try Self.write(
        folder, 0, "trtllm_batch_decode_with_kv_cache", signature: Self.context,
        [ArrayToWrite("arg_0", floats: [1, 2, 3, 4], shape: [1, 2, 2])],
        ["arg_1": "{\"type\": \"tuple\", \"value\": \"(tensor..\"}"])
      let error = #expect(throws: FormatError.self) { try Dump.open(folder) }
      #expect(error?.message.contains("pair of tensors") ?? false)
    }
  }
}
