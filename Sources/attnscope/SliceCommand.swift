import Sessions
import Attention
import ArgumentParser
import Backends
import Canvas
import FoundationEssentials
import Formats
import Tensors

/// `attnscope slice big.npz --layers 12 --tokens 0-511 -o small.safetensors`: a dump small
/// enough to mail.
///
/// Cutting layers, heads and the end of the text changes no number of what is left; cutting
/// the beginning does, and is said. The file says how it was made, without the folders of the
/// machine it was made on.
struct SliceCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "slice", abstract: "Cut a smaller dump to share: some layers, heads and tokens.",
    discussion:
      """
      Heads are query heads; the KV heads they share come along whole, so a cut through a group is \
      refused.
      """
  )

  @OptionGroup var dump: DumpArguments
  /// As the file calls them; nil: all.
  @Option(help: "Layer numbers, e.g. 0,12.") var layers: NumberList?
  /// Whole groups; nil: all.
  @Option(help: "Query heads, e.g. 0-2.") var heads: NumberList?
  /// One range of keys; nil: all.
  @Option(help: "Tokens a-b, both kept, e.g. 0-511.") var tokens: NumberList?
  @Option(name: [.customShort("o"), .long], help: "File to write, .safetensors.") var output: String
  @Flag(help: "Store float16.") var half = false
  @Flag(help: "Replace an existing file.") var force = false

  /// Throws `ValidationError` for another ending than .safetensors.
  func validate() throws {
    guard output.hasSuffix(".safetensors") else {
      throw ValidationError("-o names a .safetensors file.")
    }
  }

  /// Cuts and writes. Throws `unsupported` for block masks, `mismatch` for layers, heads or
  /// tokens that do not exist or cut through a group.
  func run() throws {
    try self.dump.refuse(writingTo: [output])
    let dump = try opened()
    let about = self.dump.backend(dump).describe()
    guard dump.kind != .mask else {
      throw FormatError(
        .unsupported, "holds block masks alone, which slice does not cut", file: dump.path)
    }
    let chosen =
      try layers.map { try about.layerIndices($0, file: dump.path) }
      ?? about.layers.layerIndices
    let heads = try self.heads.map {
      Set(try $0.numbers.map { try about.headIndex($0, file: dump.path) }).sorted()
    }
    let keys = try keyRange(about.keys, dump.path)
    // Query row r stands at position r + offset; those whose position is kept stay.
    let offset = dump.causal ? about.visibility.offset : about.keys - about.queries
    let low = max(0, keys.lowerBound - offset)
    let queries = low..<max(low, min(about.queries, keys.upperBound - offset))
    guard !queries.isEmpty else {
      throw FormatError(
        .mismatch, "no query stands at tokens \(keys.lowerBound)-\(keys.upperBound - 1)",
        file: dump.path)
    }
    var arrays: [ArrayToWrite] = []
    for index in chosen {
      let cut = LayerCut(
        dump.layers[index.value], queries: queries, keys: keys, heads: heads, file: dump.path)
      arrays += try cut.arrays(half: half)
    }
    arrays += facts(dump, keys) + sinks(dump, chosen, heads: heads)
    if keys.lowerBound > 0 {
      say(
        """
        tokens before \(keys.lowerBound) are cut away: rows are softmaxed over what is left, so \
        sinks and masks change
        """
      )
    }
    let newOffset = queries.lowerBound + offset - keys.lowerBound
    try writeSafetensors(
      arrays, metadata: try metadata(dump, keys, offset: newOffset, heads: heads), to: output,
      force: force)
    let size =
      "\(Numbers.count(chosen.count, "layer")), "
      + "\(Numbers.count(queries.count, "query", "queries")) by "
      + Numbers.count(keys.count, "key")
    say("written to \(Printable.text(output)): \(size)")
  }

  /// The dump, or of one whose layers do not fit together the layers asked for. Throws what opening
  /// throws.
  private func opened() throws -> Dump {
    var options = dump.options(tokens: nil)
    do { return try dump.one(options) } catch let error as FormatError {
      guard error.code == .mismatch, let layers else { throw error }
      options.onlyLayers = layers.numbers
      return try dump.one(options)
    }
  }

  /// Ids of the tokens that stay, and which of the positions are padding.
  private func facts(_ dump: Dump, _ keys: Range<Int>) -> [ArrayToWrite] {
    var arrays: [ArrayToWrite] = []
    if let ids = dump.tokenIDs, ids.count >= keys.upperBound {
      let part = ids[keys].map { Int32(truncatingIfNeeded: $0) }
      arrays.append(ArrayToWrite("token_ids", int32: part, shape: [part.count]))
    }
    let padding = min(dump.rules.padding - keys.lowerBound, keys.count)
    if padding > 0 {
      let mask = (0..<keys.count).map { Int32($0 < padding ? 0 : 1) }
      arrays.append(ArrayToWrite("attention_mask", int32: mask, shape: [keys.count]))
    }
    return arrays
  }

  /// The tokens to keep: one unbroken range. Throws `mismatch` otherwise.
  private func keyRange(_ count: Int, _ file: String) throws -> Range<Int> {
    guard let tokens else { return 0..<count }
    guard let range = tokens.range(below: count) else {
      throw FormatError(.mismatch, "--tokens is one range within 0-\(count - 1)", file: file)
    }
    return range
  }

  /// What the dump was, with the new offset of its first query, the texts that are left, and
  /// the command. Throws when the texts cannot be encoded.
  private func metadata(
    _ dump: Dump, _ keys: Range<Int>, offset: Int, heads: [Int]?
  ) throws -> [String: String] {
    var metadata = [
      "causal": "\(dump.causal)", "query_offset": "\(offset)", "rope_applied": "true",
    ]
    metadata["model"] = dump.model
    metadata["scale"] = dump.scale.map { "\($0)" }
    let tokens = dump.tokens ?? []
    if tokens.count >= keys.upperBound {
      metadata["tokens"] = String(
        decoding: try JSONEncoder().encode(Array(tokens[keys])), as: UTF8.self)
    }
    let numbers = dump.headNumbers ?? []
    if let heads = heads ?? dump.headNumbers.map({ Array($0.indices) }) {
      // As the model calls them, whatever has been cut before.
      metadata["head_numbers"] =
        "\(heads.map { numbers.indices.contains($0) ? numbers[$0] : $0 })"
    }
    let command = CommandWords.all.map {
      $0.split(separator: "/").last.map(String.init) ?? $0
    }
    metadata.merge(try rules(dump, keys)) { own, _ in own }
    metadata["made_by"] = "attnscope " + command.joined(separator: " ")
    return metadata
  }
}

/// Cuts one layer's arrays. Queries are cut by row, keys and values by position, maps by both;
/// chosen keys are counted from the first that stays, and those cut away become -1, none.
private struct LayerCut {
  /// Views of the mapped file.
  let layer: LayerArrays
  /// Rows that stay.
  let queries: Range<Int>
  /// Positions that stay.
  let keys: Range<Int>
  /// Query heads that stay; nil: all.
  let heads: [Int]?
  /// For errors.
  let file: String

  /// Cuts nothing yet.
  init(_ layer: LayerArrays, queries: Range<Int>, keys: Range<Int>, heads: [Int]?, file: String) {
    (self.layer, self.queries, self.keys, self.heads, self.file) = (
      layer, queries, keys, heads, file
    )
  }

  /// The arrays under our own names. All heads together keep the element type they had unless
  /// `half`; of some heads float16 stays and all else becomes float32. Throws `mismatch` when heads
  /// cut through a group.
  func arrays(half: Bool) throws(FormatError) -> [ArrayToWrite] {
    let names: [(ArrayRole, String)] = [
      (.query, "q"), (.key, "k"), (.value, "v"), (.pattern, "pattern"), (.scores, "scores"),
    ]
    var out: [ArrayToWrite] = []
    for (role, name) in names {
      guard let tensor = layer.arrays[role] else { continue }
      let cut: Tensor
      switch role {
      case .key, .value: cut = tensor.slice(axis: 1, keys)
      case .pattern, .scores: cut = tensor.slice(axis: 1, queries).slice(axis: 2, keys)
      default: cut = tensor.slice(axis: 1, queries)
      }
      let chosen = try units(role, count: tensor.shape[0])
      let label = "layers.\(layer.layer).\(name)"
      if chosen == Array(0..<tensor.shape[0]), !half {
        out.append(ArrayToWrite(label, tensor: cut))
      } else {
        let floats = chosen.flatMap { cut[$0].floats() }
        let shape = [chosen.count, cut.shape[1], cut.shape[2]]
        out.append(
          ArrayToWrite(label, floats: floats, shape: shape, half: half || tensor.dtype == .float16))
      }
    }
    return try out + selections(half: half) + weights(half: half)
  }

  /// Projections `w_q` to `w_o`, `[heads or KV heads, ...]`: those of the heads that stay, whole,
  /// as no axis of theirs is tokens. Without Q and K nobody knows which heads share a KV head: what
  /// has fewer than the heads that stay is left out. Throws `mismatch` when heads cut through a
  /// group.
  private func weights(half: Bool) throws(FormatError) -> [ArrayToWrite] {
    let names: [(ArrayRole, String, ArrayRole)] = [
      (.queryWeights, "w_q", .query), (.keyWeights, "w_k", .key), (.valueWeights, "w_v", .value),
      (.outputWeights, "w_o", .query),
    ]
    var out: [ArrayToWrite] = []
    for (role, name, heads) in names {
      guard let tensor = layer.arrays[role] else { continue }
      let chosen = try units(heads, count: tensor.shape[0])
      guard chosen.allSatisfy({ $0 < tensor.shape[0] }) else { continue }
      let label = "layers.\(layer.layer).\(name)"
      if chosen == Array(0..<tensor.shape[0]), !half {
        out.append(ArrayToWrite(label, tensor: tensor))
      } else {
        out.append(
          ArrayToWrite(
            label, floats: chosen.flatMap { tensor[$0].floats() },
            shape: [chosen.count, tensor.shape[1], tensor.shape[2]],
            half: half || tensor.dtype == .float16))
      }
    }
    return out
  }

  /// What a selector left behind: `selected` `[sets, queries, chosen]` and `index_scores`
  /// `[sets, queries, keys]`; and write strengths `beta` `[sets, keys]`. Throws `mismatch` when
  /// heads cut through a set.
  private func selections(half: Bool) throws(FormatError) -> [ArrayToWrite] {
    var out: [ArrayToWrite] = []
    let label = "layers.\(layer.layer)"
    if let tensor = layer.arrays[.selected] {
      let cut = tensor.slice(axis: 1, queries), sets = try sets(of: tensor.shape[0])
      // What was no key before is none after, as it was.
      let known = 0..<layer.positions.keys
      let chosen = sets.flatMap { cut[$0].integers() }.map { key -> Int32 in
        guard known.contains(key) else { return Int32(clamping: key) }
        return keys.contains(key) ? Int32(key - keys.lowerBound) : -1
      }
      out.append(
        ArrayToWrite(
          "\(label).selected", int32: chosen, shape: [sets.count, queries.count, cut.shape[2]]))
    }
    if let tensor = layer.arrays[.indexScores] {
      let cut = tensor.slice(axis: 1, queries).slice(axis: 2, keys)
      let sets = try sets(of: tensor.shape[0])
      out.append(
        ArrayToWrite(
          "\(label).index_scores", floats: sets.flatMap { cut[$0].floats() },
          shape: [sets.count, queries.count, keys.count],
          half: half || tensor.dtype == .float16))
    }
    if let tensor = layer.arrays[.beta] {
      let cut = tensor.slice(axis: 1, keys), sets = try sets(of: tensor.shape[0])
      out.append(
        ArrayToWrite(
          "\(label).beta", floats: sets.flatMap { cut[$0].floats() },
          shape: [sets.count, keys.count], half: half || tensor.dtype == .float16))
    }
    return out
  }

  /// Which of a selector's sets stay: each is of as many query heads, one after another. Throws
  /// `mismatch` where only some heads of a set stay and others go.
  private func sets(of count: Int) throws(FormatError) -> [Int] {
    let all = layer.positions.heads
    guard let heads, count > 1 else { return Array(0..<count) }
    let size = max(all / count, 1), wanted = Set(heads)
    let sets = Set(wanted.map { $0 / size }).sorted()
    guard sets.count * size == wanted.count else {
      throw FormatError(
        .mismatch,
        "heads cut through a set of \(size) that chose its keys together; take whole sets",
        file: file)
    }
    return sets
  }

  /// The heads of an array to keep: whole KV groups, so that sharing stays even. Throws
  /// `mismatch` with the size of a group otherwise.
  private func units(_ role: ArrayRole, count: Int) throws(FormatError) -> [Int] {
    guard let heads else { return Array(0..<count) }
    let wanted = Set(heads).sorted()
    guard let kv = layer.arrays[.key]?.shape[0], let query = layer.arrays[.query]?.shape[0] else {
      return wanted
    }
    let size = query / max(kv, 1)
    let groups = Set(wanted.map { $0 / size }).sorted()
    guard wanted.count == groups.count * size else {
      throw FormatError(
        .mismatch,
        """
        heads \(wanted.map(String.init).joined(separator: ",")) cut through a group of \(size) \
        that shares a KV head; take whole groups
        """,
        file: file)
    }
    return role == .query ? wanted : groups
  }
}
