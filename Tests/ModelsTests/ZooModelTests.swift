import Formats
import Foundation
import Models
import Support
import Testing

/// Models that other readers have tripped over, built by code: one sentence, within two seconds.
@Suite struct ZooModelTests {
  private static let base = TinyModel().gguf
  private static let tokens = count(base)

  private static func count(_ gguf: TinyGGUF) -> Int {
    for case ("tokenizer.ggml.tokens", .texts(let all)) in gguf.metadata { return all.count }
    return 0
  }

  private func refuse(_ words: String, _ change: (inout TinyGGUF) -> Void) throws {
    var gguf = Self.base
    change(&gguf)
    try TinyGGUF.with(gguf.bytes) { path in
      let start = ContinuousClock.now
      let error = #expect(throws: (any Error).self, "\(words)") { try LanguageModel(path) }
      let text = error.map { "\($0)" } ?? ""
      #expect(text.contains(words) && text.contains(path) && !text.contains("\n"), "\(text)")
      #expect(ContinuousClock.now - start < .seconds(2))
    }
  }

  /// Kinds and scores of tokens are of one element type each: others read the bytes as that.
  @Test(arguments: [
    ("token_type", 0, 1, "UINT8"), ("token_type", 6, 4, "FLOAT32"), ("token_type", 10, 8, "UINT64"),
    ("token_type", 7, 1, "BOOL"), ("scores", 0, 1, "UINT8"), ("scores", 5, 4, "INT32"),
    ("scores", 12, 8, "FLOAT64"),
  ]) func elementsOfAnotherType(_ key: String, _ type: UInt32, _ width: Int, _ name: String) throws
  {
    let bytes = [UInt8](repeating: 0, count: width * Self.tokens)
    try refuse("tokenizer.ggml.\(key): is an array of \(name)") {
      $0.set("tokenizer.ggml.\(key)", .elements(type, count: Self.tokens, bytes))
    }
  }

  @Test func listsThatAreNone() throws {
    try refuse("is no array") { $0.set("tokenizer.ggml.scores", .f32(1)) }
    try refuse("is an array of STRING") { gguf in
      gguf.set("tokenizer.ggml.token_type", .texts((0..<Self.tokens).map { _ in [49] }))
    }
    let most = [UInt8](repeating: 0xff, count: 4 * Self.tokens)
    try refuse("token 0 is of kind 4294967295") {
      $0.set("tokenizer.ggml.token_type", .elements(4, count: Self.tokens, most))
    }
    var scores = [Float](repeating: 0, count: Self.tokens)
    scores[7] = .nan
    let wrong = scores
    try refuse("the score of token 7 is no number") { gguf in
      gguf.set("tokenizer.ggml.model", .text("llama"))
      gguf.set("tokenizer.ggml.scores", .f32s(wrong))
    }
  }

  /// Special tokens that the vocabulary does not have; -1 says that there is none.
  @Test(arguments: ["bos", "eos", "unknown", "eot", "eom"]) func tokensBeyond(_ role: String) throws
  {
    let key = "tokenizer.ggml.\(role)_token_id"
    for id in [UInt32(Self.tokens), 1 << 31] {
      try refuse("\(key): must be a token, 0 to \(Self.tokens - 1)") { $0.set(key, .u32(id)) }
    }
    try refuse("\(key): must be a token") { $0.set(key, .f32(1)) }
    var gguf = Self.base
    gguf.set(key, .u32(.max))
    let count = try TinyGGUF.with(gguf.bytes) { try LanguageModel($0).tokenizer.count }
    #expect(count == Self.tokens)
  }

  @Test(arguments: [Float.nan, .infinity, 0, -1, 1, 1e30]) func basesOfRope(_ base: Float) throws {
    try refuse("llama.rope.freq_base: is") { $0.set("llama.rope.freq_base", .f32(base)) }
  }

  @Test func factorsOfRope() throws {
    for factor in [Float.nan, 0, -2, .infinity] {
      try refuse("llama.rope.scaling.factor: is") { gguf in
        gguf.set("llama.rope.scaling.type", .text("linear"))
        gguf.set("llama.rope.scaling.factor", .f32(factor))
      }
      try refuse("llama.rope.scaling.low_freq_factor: is") { gguf in
        gguf.set("llama.rope.scaling.type", .text("llama3"))
        gguf.set("llama.rope.scaling.factor", .f32(8))
        gguf.set("llama.rope.scaling.low_freq_factor", .f32(factor))
      }
    }
  }

  @Test func namesOfNothing() throws {
    try refuse("a metadata key is empty") { $0.metadata.append(("", .u32(1))) }
    try refuse("a tensor's name is empty") {
      $0.tensors.append(("", 0, [1], [UInt8](repeating: 0, count: 4)))
    }
  }

  @Test func normsThatAreNoNumbers() throws {
    for value in [Float.nan, .infinity] {
      try refuse("blk.1.ffn_norm.weight: has elements that are no numbers") { gguf in
        let at = gguf.tensors.firstIndex { $0.name == "blk.1.ffn_norm.weight" }!
        withUnsafeBytes(of: value.bitPattern.littleEndian) {
          gguf.tensors[at].bytes.replaceSubrange(40..<44, with: $0)
        }
      }
    }
  }

  /// Two tensors of the same bytes: the second one's place is the first one's.
  @Test func tensorsThatOverlap() throws {
    let bytes = Self.base.bytes
    let name = Array("blk.0.attn_k.weight".utf8)
    let at = try #require(
      (0..<20_000).first { bytes[$0..<$0 + name.count].elementsEqual(name) })
    // Behind the name: the rank, two extents, the type, the offset.
    let place = at + name.count + 4 + 16 + 4
    var changed = bytes
    changed.replaceSubrange(place..<place + 8, with: [32, 0, 0, 0, 0, 0, 0, 0])
    try TinyGGUF.with(changed) { path in
      let error = #expect(throws: FormatError.self) { try GGUFFile(path) }
      #expect(error.map { "\($0)" }?.contains("its bytes overlap those of") ?? false)
    }
  }

  /// A piece longer than any buffer, and prompts longer than a model's places: counted, not copied.
  @Test func aPieceOfAMegabyte() throws {
    var gguf = Self.base
    guard case .texts(var texts)? = gguf.metadata.first(where: { $0.0.hasSuffix("ggml.tokens") })?.1
    else {
      Issue.record("no tokens")
      return
    }
    texts[texts.count - 1] = [UInt8](repeating: 97, count: 1 << 20)
    gguf.set("tokenizer.ggml.tokens", .texts(texts))
    try TinyGGUF.with(gguf.bytes) { path in
      let tokenizer = try Tokenizer(try GGUFFile(path))
      #expect(tokenizer.bytes(texts.count - 1).count == 1 << 20)
      #expect(tokenizer.bytes(-1).isEmpty && tokenizer.bytes(texts.count).isEmpty)
    }
  }
}
