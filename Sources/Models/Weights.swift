import Formats
import Tensors

/// A weight matrix as the file holds it: `rows` outputs, each a row of `columns` inputs.
///
/// `@unchecked Sendable`: points into a mapped file that the owner keeps mapped, and is never
/// written.
struct Matrix: @unchecked Sendable {
  /// How its elements are stored.
  let type: WeightType
  /// Outputs.
  let rows: Int
  /// Inputs; a whole number of the type's blocks.
  let columns: Int
  /// The first row in the mapping.
  let base: UnsafeRawPointer

  /// Bytes from one row to the next.
  var rowBytes: Int { type.bytes(columns) }

  /// The stored form of a row, unchecked.
  func row(_ index: Int) -> UnsafeRawPointer { base + index * rowBytes }
}

/// The weights of one layer. Shapes as outputs x inputs; biases and norms are empty where the
/// model has none.
final class LayerWeights: Sendable {
  /// `[width]`, of the norm before attention.
  let attentionNorm: [Float]
  /// `[heads * headDim, width]`, `[kvHeads * headDim, width]` twice.
  let query: Matrix, key: Matrix, value: Matrix
  /// `[rows]` of the matrices above (qwen2).
  let queryBias: [Float], keyBias: [Float], valueBias: [Float]
  /// `[headDim]`: norms of each query and key head (qwen3).
  let queryNorm: [Float], keyNorm: [Float]
  /// `[width, heads * headDim]`.
  let output: Matrix
  /// `[width]`.
  let outputBias: [Float]
  /// `[width]`, of the norm before the feed-forward net.
  let hiddenNorm: [Float]
  /// `[hidden, width]` twice, `[width, hidden]`.
  let gate: Matrix, up: Matrix, down: Matrix

  /// Takes the tensors of layer `index`. Throws `missing` or `malformed` with the tensor's
  /// name.
  fileprivate init(_ index: Int, _ config: ModelConfig, _ reader: inout WeightReader)
    throws(ModelError)
  {
    let at = "blk.\(index)."
    let width = config.width, queries = config.heads * config.headDim
    let keys = config.kvHeads * config.headDim
    // qwen3 norms every query and key head; the others have no such tensors.
    let isNormed = config.architecture == .qwen3
    attentionNorm = try reader.vector(at + "attn_norm.weight", width)
    query = try reader.matrix(at + "attn_q.weight", queries, width)
    key = try reader.matrix(at + "attn_k.weight", keys, width)
    value = try reader.matrix(at + "attn_v.weight", keys, width)
    queryBias = try reader.optional(at + "attn_q.bias", queries)
    keyBias = try reader.optional(at + "attn_k.bias", keys)
    valueBias = try reader.optional(at + "attn_v.bias", keys)
    queryNorm = isNormed ? try reader.vector(at + "attn_q_norm.weight", config.headDim) : []
    keyNorm = isNormed ? try reader.vector(at + "attn_k_norm.weight", config.headDim) : []
    output = try reader.matrix(at + "attn_output.weight", width, queries)
    outputBias = try reader.optional(at + "attn_output.bias", width)
    hiddenNorm = try reader.vector(at + "ffn_norm.weight", width)
    gate = try reader.matrix(at + "ffn_gate.weight", config.hidden, width)
    up = try reader.matrix(at + "ffn_up.weight", config.hidden, width)
    down = try reader.matrix(at + "ffn_down.weight", width, config.hidden)
  }
}

/// All weights of a model, mapped once; only norms and biases are copied.
///
/// Checked against the config tensor by tensor, so the forward pass never asks how large a
/// thing is. The operating system reads pages as they are used and may drop them again.
struct Weights: Sendable {
  /// Keeps the mapping alive for every `Matrix`.
  let file: MappedFile
  /// `[vocabulary, width]`.
  let embedding: Matrix
  let layers: [LayerWeights]
  /// `[width]`, of the last norm.
  let norm: [Float]
  /// `[vocabulary, width]`; the embedding again when the model ties them.
  let head: Matrix
  /// `[rope dimensions / 2]`, when the file has them.
  let ropeFactors: [Float]?

  /// Throws `missing` for an absent tensor, `malformed` for one of another shape,
  /// `unsupported` for one that is left over.
  init(_ gguf: GGUFFile, _ config: ModelConfig) throws(ModelError) {
    var reader = WeightReader(gguf)
    file = gguf.file
    embedding = try reader.matrix("token_embd.weight", config.vocabulary, config.width)
    norm = try reader.vector("output_norm.weight", config.width)
    head =
      gguf.tensors["output.weight"] == nil
      ? embedding : try reader.matrix("output.weight", config.vocabulary, config.width)
    let half = config.rope.dimensions / 2
    ropeFactors =
      gguf.tensors["rope_freqs.weight"] == nil ? nil : try reader.vector("rope_freqs.weight", half)
    if let factors = ropeFactors, !factors.allSatisfy({ $0.isFinite && $0 > 0 }) {
      throw ModelError(
        .malformed, "must be positive; the file is damaged",
        place: "\(gguf.path): rope_freqs.weight")
    }
    var layers: [LayerWeights] = []
    for index in 0..<config.layers { layers.append(try LayerWeights(index, config, &reader)) }
    self.layers = layers
    try reader.nothingIsLeft(config)
  }
}

/// Takes tensors by name, checks their shapes, and remembers what was taken.
private struct WeightReader {
  let gguf: GGUFFile
  var taken: Set<String> = []

  init(_ gguf: GGUFFile) { self.gguf = gguf }

  /// What to say of a file that is one part of a model in several; nil for a whole one.
  private var splitPart: ModelError? {
    guard case .integer(let count) = gguf.metadata["split.count"], count > 1,
      case .integer(let number) = gguf.metadata["split.no"], (0..<count).contains(number)
    else { return nil }
    return ModelError(
      .missing,
      """
      this is part \(number + 1) of \(count) of a split model; llama-gguf-split --merge FIRST-PART \
      whole.gguf makes one file of them
      """,
      place: gguf.path)
  }

  /// A tensor of a known shape. Throws `missing` or `malformed`.
  private mutating func take(_ name: String, _ rows: Int, _ columns: Int) throws(ModelError)
    -> GGUFTensor
  {
    guard let tensor = gguf.tensors[name] else {
      if let part = splitPart { throw part }
      throw ModelError(
        .missing, "is not in the file; the model is incomplete, download it again",
        place: "\(gguf.path): \(name)")
    }
    guard tensor.columns == columns, tensor.rows == rows else {
      throw ModelError(
        .malformed,
        """
        is \(tensor.columns)x\(tensor.rows) and the model's sizes ask for \(columns)x\(rows); \
        convert it again
        """,
        place: "\(gguf.path): \(name)")
    }
    taken.insert(name)
    return tensor
  }

  /// A matrix in place; throws as `take` does.
  mutating func matrix(_ name: String, _ rows: Int, _ columns: Int) throws(ModelError) -> Matrix {
    let tensor = try take(name, rows, columns)
    return Matrix(
      type: tensor.type, rows: rows, columns: columns, base: gguf.bytes(tensor).baseAddress!)
  }

  /// A vector converted to floats `[count]`; throws as `take` does, and `malformed` for NaN and
  /// infinity, which would be in every number that comes out.
  mutating func vector(_ name: String, _ count: Int) throws(ModelError) -> [Float] {
    let tensor = try take(name, 1, count)
    let values = Matrix(
      type: tensor.type, rows: 1, columns: count, base: gguf.bytes(tensor).baseAddress!
    ).floats(row: 0)
    guard values.allSatisfy(\.isFinite) else {
      throw ModelError(
        .malformed, "has elements that are no numbers; the file is damaged, download it again",
        place: "\(gguf.path): \(name)")
    }
    return values
  }

  /// Empty when the file has none.
  mutating func optional(_ name: String, _ count: Int) throws(ModelError) -> [Float] {
    gguf.tensors[name] == nil ? [] : try vector(name, count)
  }

  /// A tensor that nobody asked for would be left out of the computation in silence. Throws
  /// `unsupported` with the first of them by name.
  func nothingIsLeft(_ config: ModelConfig) throws(ModelError) {
    // Older files store what is computed from the metadata anyway.
    let known = { (name: String) in
      name.hasSuffix("attn_rot_embd") || name.hasSuffix("rope_freqs.weight")
    }
    guard let other = gguf.tensors.keys.filter({ !taken.contains($0) && !known($0) }).min() else {
      return
    }
    throw ModelError(
      .unsupported,
      """
      is a part that the \(config.architecture.rawValue) forward pass does not know; the result \
      would be wrong without it
      """,
      place: "\(gguf.path): \(other)")
  }
}
