import Tensors
import Formats
import Foundation
import Models
import Support
import Testing

/// Models that lie: one sentence, soon, and never a crash.
@Suite struct LyingModelTests {
  private static let base = TinyModel().gguf
  private static let tokens: Int = {
    for case ("tokenizer.ggml.tokens", .texts(let all)) in base.metadata { return all.count }
    return 0
  }()

  private func refuse(_ bytes: [UInt8], _ words: String) throws {
    try TinyGGUF.with(bytes) { path in
      let start = ContinuousClock.now
      let error = #expect(throws: (any Error).self, "\(words)") { try LanguageModel(path) }
      let text = error.map { "\($0)" } ?? ""
      #expect(text.contains(words) && text.contains(path) && !text.contains("\n"), "\(text)")
      #expect(ContinuousClock.now - start < .seconds(2))
    }
  }

  private func change(_ words: String, _ change: (inout TinyGGUF) -> Void) throws {
    var gguf = Self.base
    change(&gguf)
    try refuse(gguf.bytes, words)
  }

  @Test func metadata() throws {
    try change("'mamba', which is not computed") { $0.set("general.architecture", .text("mamba")) }
    try change("mixture of experts") { $0.set("llama.expert_count", .u32(8)) }
    try change("block_count") { $0.set("llama.block_count", .u32(4_000_000_000)) }
    try change("do not share") { $0.set("llama.attention.head_count_kv", .u32(3)) }
    try change("equal and even") { $0.set("llama.attention.value_length", .u32(32)) }
    try change("convert the model again") { gguf in
      gguf.metadata.removeAll { $0.0 == "llama.embedding_length" }
    }
    try change("'longrope'") { $0.set("llama.rope.scaling.type", .text("longrope")) }
    try change("'unigram'") { $0.set("tokenizer.ggml.model", .text("unigram")) }
    try change("'gemma'") { $0.set("tokenizer.ggml.pre", .text("gemma")) }
    try change("entries for") { $0.set("tokenizer.ggml.token_type", .i32s([1, 2])) }
    try change("merge 0 is not two tokens") { gguf in
      gguf.set("tokenizer.ggml.merges", .texts([Array("ab".utf8)]))
    }
    try change("power of two") { $0.set("general.alignment", .u32(12)) }
    try change("stands twice") { $0.metadata.append(("general.name", .text("x"))) }
  }

  /// A part of a split model says which part it is; a split of one part is a whole model.
  @Test func partsOfASplitModel() throws {
    func parts(_ count: UInt32, _ gguf: inout TinyGGUF) {
      gguf.set("split.no", .u32(0))
      gguf.set("split.count", .u32(count))
      gguf.tensors.removeAll { $0.name.hasPrefix("blk.1.") }
    }
    try change("part 1 of 2") { parts(2, &$0) }
    try change("the model is incomplete") { parts(1, &$0) }
  }

  /// A name that converters give to a splitting of another name is that splitting.
  @Test func namesOfTheSameSplitting() throws {
    let text = Array("The keeper's log: 1234 nights, and rain".utf8)
    func tokens(_ name: String) throws -> [Int] {
      var gguf = Self.base
      gguf.set("tokenizer.ggml.pre", .text(name))
      return try TinyGGUF.with(gguf.bytes) { try LanguageModel($0).tokenizer.encode(text) }
    }
    for (own, others) in [
      ("qwen2", ["deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "stablelm2", "hunyuan"]),
      ("llama-bpe", ["llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"]),
      ("smollm", ["starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b"]),
      ("gpt-2", ["gpt2", "phi-2", "olmo", "mpt", "jais", "gigachat", "exaone4", "mellum"]),
    ] {
      let wanted = try tokens(own)
      for other in others { #expect(try tokens(other) == wanted, "\(other)") }
    }
  }

  /// Merges can only make longer tokens, so a table that goes in circles ends all the same.
  @Test func cyclicMerges() throws {
    var gguf = Self.base
    gguf.set(
      "tokenizer.ggml.merges",
      .texts(["h e", "he h", "a n", "n a", "an a", "e h"].map { Array($0.utf8) }))
    try TinyGGUF.with(gguf.bytes) { path in
      let tokenizer = try Tokenizer(try GGUFFile(path))
      let text = Array("hehehanananehe".utf8)
      #expect(tokenizer.encode(text).flatMap(tokenizer.bytes) == text)
    }
  }

  @Test func tensors() throws {
    try change("is not in the file") { gguf in
      gguf.tensors.removeAll { $0.name == "blk.1.ffn_up.weight" }
    }
    try change("ask for") { gguf in
      let at = gguf.tensors.firstIndex { $0.name == "blk.0.attn_k.weight" }!
      gguf.tensors[at].extents = [128, 256]
    }
    try change("type Q2_K") { $0.tensors[0].type = 10 }
    try change("type number 77") { $0.tensors[0].type = 77 }
    try change("absurd shape") { $0.tensors[0].extents = [1 << 40, 1 << 40] }
    try change("axes") { $0.tensors[0].extents = [2, 2, 2, 2, 2] }
    try change("does not know") { gguf in
      gguf.tensors.append(("blk.0.attn_gate.weight", 0, [4], [UInt8](repeating: 0, count: 16)))
    }
    try change("multiple of 32") { gguf in
      gguf.tensors[0].type = 8
      gguf.tensors[0].extents[0] = 250
    }
  }

  @Test func heads() throws {
    let whole = Self.base.bytes
    try refuse(Array(whole.prefix(whole.count - 4096)), "truncated")
    try refuse(Array(whole.prefix(900)), "do not fit")
    try refuse(Array(whole.prefix(14)), "past the end")
    try refuse(Array("GGUF".utf8) + [9, 0, 0, 0], "version 9")
    try refuse(Array("GGUF".utf8) + [0, 0, 0, 3] + [UInt8](repeating: 0, count: 32), "big-endian")
    try refuse([1, 2, 3, 4], "does not begin with GGUF")
    var absurd = whole
    absurd.replaceSubrange(8..<16, with: [UInt8](repeating: 0xff, count: 8))
    try refuse(absurd, "do not fit")
    absurd = whole
    absurd.replaceSubrange(16..<24, with: [0, 0, 0, 0, 0, 1, 0, 0])
    try refuse(absurd, "do not fit")
  }

  /// Bytes of the head changed at random: refused or read, within two seconds, and what is read
  /// also runs.
  @Test func mutations() throws {
    let whole = TinyModel("qwen3", .q4_1).bytes
    let head = 11_000
    var random = Seeded(2026)
    var refused = 0, read = 0
    for round in 0..<(isRelease ? 400 : 12) {
      var bytes = whole
      for _ in 0..<Int.random(in: 1...4, using: &random) {
        let at = Int.random(in: 4..<head, using: &random)
        switch Int.random(in: 0...3, using: &random) {
        case 0: bytes[at] = UInt8.random(in: 0...255, using: &random)
        case 1: bytes[at] ^= 1 << UInt8.random(in: 0...7, using: &random)
        case 2: bytes[at] = [0, 0xff, 0x7f, 0x80].randomElement(using: &random)!
        default: bytes = Array(bytes.prefix(max(at, 8)))
        }
        if bytes.count < whole.count { break }
      }
      try TinyGGUF.with(bytes) { path in
        let start = ContinuousClock.now
        do {
          let model = try LanguageModel(path)
          _ = model.tokenizer.encode(Array("in the and <|im_start|>".utf8))
          if read < 8 {
            _ = ForwardTests.logits(model, [3, 4, 5], split: 1)
          }
          read += 1
        } catch {
          #expect(!"\(error)".contains("\n"), "round \(round)")
          refused += 1
        }
        #expect(ContinuousClock.now - start < .seconds(2), "round \(round)")
      }
    }
    #expect(refused > 2 && read > 0, "\(refused) refused, \(read) read")
  }
}
