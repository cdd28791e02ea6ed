import Foundation
public import Tensors

/// A GGUF file in the making, as bytes: for models small enough to be checked by hand.
public struct TinyGGUF: Sendable {
  public enum Value: Sendable {
    case u32(UInt32)
    case f32(Float)
    case bool(Bool)
    case text(String)
    case texts([[UInt8]])
    case i32s([Int32])
    case f32s([Float])
    /// An array of elements of any type, by the format's number of it.
    case elements(UInt32, count: Int, [UInt8])
  }

  public var version: UInt32 = 3
  public var metadata: [(String, Value)] = []
  public var tensors: [(name: String, type: UInt32, extents: [Int], bytes: [UInt8])] = []

  public init() {}

  public mutating func set(_ key: String, _ value: Value) {
    metadata.removeAll { $0.0 == key }
    metadata.append((key, value))
  }

  public var bytes: [UInt8] {
    var out = Array("GGUF".utf8)
    func put<T: FixedWidthInteger>(_ x: T) {
      withUnsafeBytes(of: x.littleEndian) { out += Array($0) }
    }
    func put(text: [UInt8]) {
      put(UInt64(text.count))
      out += text
    }
    put(version)
    put(UInt64(tensors.count))
    put(UInt64(metadata.count))
    for (key, value) in metadata {
      put(text: Array(key.utf8))
      switch value {
      case .u32(let x):
        put(UInt32(4))
        put(x)
      case .f32(let x):
        put(UInt32(6))
        put(x.bitPattern)
      case .bool(let x):
        put(UInt32(7))
        out.append(x ? 1 : 0)
      case .text(let x):
        put(UInt32(8))
        put(text: Array(x.utf8))
      case .texts(let all):
        put(UInt32(9))
        put(UInt32(8))
        put(UInt64(all.count))
        for text in all { put(text: text) }
      case .i32s(let all):
        put(UInt32(9))
        put(UInt32(5))
        put(UInt64(all.count))
        for x in all { put(x) }
      case .f32s(let all):
        put(UInt32(9))
        put(UInt32(6))
        put(UInt64(all.count))
        for x in all { put(x.bitPattern) }
      case .elements(let type, let count, let bytes):
        put(UInt32(9))
        put(type)
        put(UInt64(count))
        out += bytes
      }
    }
    var offset = 0
    for tensor in tensors {
      put(text: Array(tensor.name.utf8))
      put(UInt32(tensor.extents.count))
      for extent in tensor.extents { put(UInt64(extent)) }
      put(tensor.type)
      put(UInt64(offset))
      offset += (tensor.bytes.count + 31) / 32 * 32
    }
    out += [UInt8](repeating: 0, count: (32 - out.count % 32) % 32)
    for tensor in tensors {
      out += tensor.bytes
      out += [UInt8](repeating: 0, count: (32 - tensor.bytes.count % 32) % 32)
    }
    return out
  }

  /// Writes the file, runs `body`, removes it.
  public static func with<R>(_ bytes: [UInt8], _ body: (String) throws -> R) throws -> R {
    let path = FileManager.default.temporaryDirectory.appending(
      path: "tiny-\(UUID().uuidString).gguf"
    ).path
    defer { try? FileManager.default.removeItem(atPath: path) }
    try Data(bytes).write(to: URL(filePath: path))
    return try body(path)
  }
}

/// Random models of two layers: every architecture, every type of weight.
public struct TinyModel {
  public static let width = 256
  public static let hidden = 256
  public static let heads = 4
  public static let kvHeads = 2
  public static let dim = 64
  public static let layers = 2
  public static let context = 512

  public var gguf = TinyGGUF()
  private var random: Seeded
  public let vocabulary: Int

  /// `tied` leaves the output matrix out; `biases` gives Q, K and V biases.
  public init(
    _ architecture: String = "llama", _ type: WeightType = .f32, tied: Bool = false,
    seed: UInt64 = 1
  ) {
    random = Seeded(seed)
    let texts = Self.texts()
    vocabulary = texts.count
    describe(architecture, texts)
    matrix("token_embd.weight", type, Self.width, vocabulary)
    vector("output_norm.weight", Self.width, around: 1)
    if !tied { matrix("output.weight", type, Self.width, vocabulary) }
    let queries = Self.heads * Self.dim, keys = Self.kvHeads * Self.dim
    for layer in 0..<Self.layers {
      let at = "blk.\(layer)."
      vector(at + "attn_norm.weight", Self.width, around: 1)
      matrix(at + "attn_q.weight", type, Self.width, queries)
      matrix(at + "attn_k.weight", type, Self.width, keys)
      matrix(at + "attn_v.weight", type, Self.width, keys)
      matrix(at + "attn_output.weight", type, queries, Self.width)
      if architecture == "qwen2" {
        vector(at + "attn_q.bias", queries, around: 0)
        vector(at + "attn_k.bias", keys, around: 0)
        vector(at + "attn_v.bias", keys, around: 0)
      }
      if architecture == "qwen3" {
        vector(at + "attn_q_norm.weight", Self.dim, around: 1)
        vector(at + "attn_k_norm.weight", Self.dim, around: 1)
      }
      vector(at + "ffn_norm.weight", Self.width, around: 1)
      matrix(at + "ffn_gate.weight", type, Self.width, Self.hidden)
      matrix(at + "ffn_up.weight", type, Self.width, Self.hidden)
      matrix(at + "ffn_down.weight", type, Self.hidden, Self.width)
    }
  }

  public var bytes: [UInt8] { gguf.bytes }

  private mutating func describe(_ name: String, _ texts: [[UInt8]]) {
    gguf.set("general.architecture", .text(name))
    gguf.set("general.name", .text("tiny \(name)"))
    let sizes: [(String, Int)] = [
      ("block_count", Self.layers), ("context_length", Self.context),
      ("embedding_length", Self.width), ("feed_forward_length", Self.hidden),
      ("attention.head_count", Self.heads), ("attention.head_count_kv", Self.kvHeads),
      ("attention.key_length", Self.dim), ("attention.value_length", Self.dim),
    ]
    for (key, value) in sizes { gguf.set("\(name).\(key)", .u32(UInt32(value))) }
    gguf.set("\(name).attention.layer_norm_rms_epsilon", .f32(1e-5))
    gguf.set("\(name).rope.freq_base", .f32(10_000))
    gguf.set("tokenizer.ggml.model", .text("gpt2"))
    gguf.set("tokenizer.ggml.pre", .text("smollm"))
    gguf.set("tokenizer.ggml.tokens", .texts(texts))
    gguf.set(
      "tokenizer.ggml.token_type",
      .i32s(texts.indices.map { $0 < 3 ? 3 : 1 }))
    gguf.set("tokenizer.ggml.merges", .texts(Self.merges.map { Array($0.utf8) }))
    gguf.set("tokenizer.ggml.bos_token_id", .u32(1))
    gguf.set("tokenizer.ggml.eos_token_id", .u32(2))
    gguf.set("tokenizer.ggml.unknown_token_id", .u32(0))
    gguf.set("tokenizer.ggml.add_bos_token", .bool(false))
    gguf.set(
      "tokenizer.chat_template",
      .text("{% for m in messages %}<|im_start|>{{m.role}}\n{{m.content}}<|im_end|>{% endfor %}"))
  }

  static let merges = ["Ġ t", "h e", "Ġt he", "i n", "a n", "an d", "Ġ and"]

  /// Special tokens, all bytes but two (0xF5 and 0x00 have none), then what the merges make.
  static func texts() -> [[UInt8]] {
    var next: UInt32 = 256
    var out = ["<unk>", "<|im_start|>", "<|im_end|>"].map { Array($0.utf8) }
    for byte in 0..<256 {
      let prints = (33...126).contains(byte) || (161...172).contains(byte) || byte >= 174
      let scalar = prints ? UInt32(byte) : next
      if !prints { next += 1 }
      if byte != 0xf5, byte != 0 { out.append(Array(String(Unicode.Scalar(scalar)!).utf8)) }
    }
    for merge in merges { out.append(Array(merge.filter { $0 != " " }.utf8)) }
    return out
  }

  private mutating func vector(_ name: String, _ count: Int, around middle: Float) {
    let values = (0..<count).map { _ in middle + 0.1 * random.normal() }
    gguf.tensors.append((name, 0, [count], values.flatMap { Self.littleEndian($0.bitPattern) }))
  }

  private mutating func matrix(_ name: String, _ type: WeightType, _ columns: Int, _ rows: Int) {
    gguf.tensors.append((name, type.rawValue, [columns, rows], values(type, columns * rows)))
  }

  private static func littleEndian(_ x: UInt32) -> [UInt8] {
    [UInt8(x & 255), UInt8(x >> 8 & 255), UInt8(x >> 16 & 255), UInt8(x >> 24)]
  }

  private static func half(_ x: Float) -> [UInt8] {
    let bits = Float16(x).bitPattern
    return [UInt8(bits & 255), UInt8(bits >> 8)]
  }

  /// Even over ±1.7 size: as spread out as a normal of that size, and quick in a debug build.
  private mutating func uniform(_ size: Float) -> Float {
    Float(Int32(truncatingIfNeeded: random.next() >> 32)) * (1.7 * size * 0x1p-31)
  }

  /// Weights of about 0.06: floats as they are, blocks of random codes with scales to fit.
  private mutating func values(_ type: WeightType, _ count: Int) -> [UInt8] {
    let size: Float = 0.06
    switch type {
    case .f32:
      return (0..<count).flatMap { _ in Self.littleEndian((uniform(size)).bitPattern) }
    case .f16: return (0..<count).flatMap { _ in Self.half(uniform(size)) }
    case .bf16:
      return (0..<count).flatMap { _ -> [UInt8] in
        let bits = (uniform(size)).bitPattern
        return [UInt8(bits >> 16 & 255), UInt8(bits >> 24)]
      }
    default: break
    }
    var out: [UInt8] = []
    for _ in 0..<count / type.block {
      var block = (0..<type.bytes(type.block)).map { _ in UInt8.random(in: 0...255, using: &random)
      }
      func put(_ at: Int, _ x: Float) {
        let bytes = Self.half(x)
        (block[at], block[at + 1]) = (bytes[0], bytes[1])
      }
      switch type {
      case .q4_0: put(0, size / 5)
      case .q4_1:
        put(0, size / 5)
        put(2, -size * 1.5)
      case .q5_0: put(0, size / 9)
      case .q5_1:
        put(0, size / 9)
        put(2, -size * 1.7)
      case .q8_0: put(0, size / 74)
      case .q4_K:
        put(0, size / 150)
        put(2, size / 20)
      case .q5_K:
        put(0, size / 300)
        put(2, size / 20)
      case .q6_K: put(208, size / 1400)
      default: break
      }
      out += block
    }
    return out
  }
}
