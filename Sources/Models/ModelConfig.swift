public import Attention
import Formats

/// The shape of a transformer, from a GGUF file's metadata.
///
/// Widths in elements: `width` of the residual stream, `headDim` of a query, key and value,
/// `hidden` of the feed-forward net. Throws `ModelError` for every architecture and option
/// that the forward pass does not compute: a model that runs is computed whole, never almost.
public struct ModelConfig: Sendable {
  /// The families whose forward pass is known, by their name in the file. They differ in
  /// rotary pairing, biases and norms of heads.
  public enum Architecture: String, Sendable, CaseIterable { case llama, qwen2, qwen3 }

  /// Decides the prefix of every other key.
  public let architecture: Architecture
  /// For titles; what the file calls itself.
  public let name: String
  /// Transformer blocks.
  public let layers: Int
  /// The numbers of its layers: from 0, none left out.
  public var layerNumbers: [LayerNumber] { .counted(layers) }
  /// Elements of the residual stream.
  public let width: Int
  /// Query heads of a layer.
  public let heads: Int
  /// Key and value heads of a layer; divides `heads`.
  public let kvHeads: Int
  /// Elements of a query, key or value; even.
  public let headDim: Int
  /// Elements of the feed-forward net's middle.
  public let hidden: Int
  /// Tokens the model knows.
  public let vocabulary: Int
  /// Positions the model was trained for, or its sliding window when that is shorter.
  public let context: Int
  /// Added to the mean square before the root of a norm.
  public let epsilon: Float
  /// How positions turn queries and keys.
  public let rope: RopeConfig
  /// The template of a chat, when the model has one.
  public let chatTemplate: String?

  /// Query heads that share a KV head.
  public var groupSize: Int { heads / kvHeads }

  /// Reads and checks every size. Throws `missing`, `malformed` or `unsupported` with the key
  /// at fault.
  init(_ gguf: GGUFFile, vocabulary: Int) throws(ModelError) {
    let facts = Facts(gguf)
    architecture = try Self.architecture(gguf)
    let prefix = architecture.rawValue
    name = facts.text("general.name") ?? "a \(prefix) model"
    layers = try facts.size("\(prefix).block_count", most: 1024)
    width = try facts.size("\(prefix).embedding_length", most: 1 << 17)
    heads = try facts.size("\(prefix).attention.head_count", most: 1024)
    kvHeads = try facts.size("\(prefix).attention.head_count_kv", most: 1024, standard: heads)
    guard heads % kvHeads == 0 else {
      throw facts.wrong(
        "\(prefix).attention.head_count_kv", "\(heads) query heads do not share \(kvHeads) evenly")
    }
    let dim = try facts.size(
      "\(prefix).attention.key_length", most: 1024, standard: max(1, width / heads))
    let valueDim = try facts.size("\(prefix).attention.value_length", most: 1024, standard: dim)
    guard valueDim == dim, dim % 2 == 0 else {
      throw ModelError(
        .unsupported,
        "keys of \(dim) and values of \(valueDim) elements; they must be equal and even",
        place: gguf.path)
    }
    headDim = dim
    hidden = try facts.size("\(prefix).feed_forward_length", most: 1 << 20)
    let trained = try facts.size("\(prefix).context_length", most: 1 << 24)
    // A window only matters beyond its length: within it, it hides nothing.
    let window = try facts.size(
      "\(prefix).attention.sliding_window", most: 1 << 24, standard: trained)
    context = min(trained, window)
    guard let epsilon = facts.number("\(prefix).attention.layer_norm_rms_epsilon"), epsilon > 0,
      epsilon < 1
    else {
      throw facts.wrong("\(prefix).attention.layer_norm_rms_epsilon", "is missing or absurd")
    }
    self.epsilon = Float(epsilon)
    if try facts.size("\(prefix).expert_count", most: 1 << 16, least: 0, standard: 0) > 0 {
      throw ModelError(
        .unsupported, "a mixture of experts, which is not computed; dense models are",
        place: gguf.path)
    }
    self.vocabulary = vocabulary
    rope = try RopeConfig(facts, prefix, headDim: dim, isInterleaved: architecture == .llama)
    chatTemplate = facts.text("tokenizer.chat_template")
  }

  /// Throws `missing` when the file names none and `unsupported` for a family that is not
  /// computed.
  private static func architecture(_ gguf: GGUFFile) throws(ModelError) -> Architecture {
    guard case .text(let name) = gguf.metadata["general.architecture"] else {
      throw ModelError(
        .missing, "does not say what architecture it is; it may not be a language model",
        place: "\(gguf.path): general.architecture")
    }
    guard let known = Architecture(rawValue: name) else {
      let all = Architecture.allCases.map(\.rawValue).joined(separator: ", ")
      throw ModelError(
        .unsupported, "is '\(name)', which is not computed; supported are \(all)",
        place: "\(gguf.path): general.architecture")
    }
    return known
  }
}

/// Reads single facts with sentences for what is missing or absurd.
struct Facts {
  let gguf: GGUFFile

  init(_ gguf: GGUFFile) { self.gguf = gguf }

  /// A key whose value cannot be.
  func wrong(_ key: String, _ what: String) -> ModelError {
    ModelError(
      .malformed, "\(what); convert the model again", place: "\(gguf.path): \(key)")
  }

  /// Nil when the key is absent or no text.
  func text(_ key: String) -> String? {
    if case .text(let text) = gguf.metadata[key] { text } else { nil }
  }

  /// Integers count as numbers; nil when absent, infinite or of another type.
  func number(_ key: String) -> Double? {
    switch gguf.metadata[key] {
    case .number(let x): x.isFinite ? x : nil
    case .integer(let x): Double(x)
    default: nil
    }
  }

  /// A number that is computed with; nil when the file does not say. Throws for anything outside
  /// `range`.
  func number(_ key: String, in range: ClosedRange<Double>) throws(ModelError) -> Double? {
    guard gguf.metadata[key] != nil else { return nil }
    if let x = number(key), range.contains(x) { return x }
    throw ModelError(
      .unsupported,
      """
      \(number(key).map { "is \($0)" } ?? "is not a number"); \(range.lowerBound) to \
      \(range.upperBound) is computed
      """,
      place: "\(gguf.path): \(key)")
  }

  /// A number of things.
  func size(_ key: String, most: Int, least: Int = 1, standard: Int? = nil) throws(ModelError)
    -> Int
  {
    guard let value = gguf.metadata[key] else {
      if let standard { return standard }
      throw ModelError(
        .missing, "is not in the file; convert the model again", place: "\(gguf.path): \(key)")
    }
    if case .array(let array) = value, let first = array.numbers().first,
      array.numbers().allSatisfy({ $0 == first }), first >= Double(least), first <= Double(most)
    {
      return Int(first)
    }
    if case .array = value {
      throw ModelError(
        .unsupported, "differs from layer to layer, which is not computed",
        place: "\(gguf.path): \(key)")
    }
    guard case .integer(let number) = value, (least...most).contains(number) else {
      throw wrong(key, "must be a whole number of \(least) to \(most)")
    }
    return number
  }
}
