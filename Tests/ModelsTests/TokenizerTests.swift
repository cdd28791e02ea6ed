import Formats
import Foundation
import Models
import Support
import Testing

/// Words, merges, special tokens, and bytes that are none.
@Suite struct TokenizerTests {
  private static let base = TinyModel().gguf

  private static func tiny(_ change: (inout TinyGGUF) -> Void = { _ in }) throws -> Tokenizer {
    var gguf = Self.base
    change(&gguf)
    return try TinyGGUF.with(gguf.bytes) { try Tokenizer(try GGUFFile($0)) }
  }

  private func words(_ pre: PreTokenizer, _ text: String) -> [String] {
    let bytes = Array(text.utf8)
    return pre.pieces(bytes).map { String(decoding: bytes[$0], as: UTF8.self) }
  }

  /// The cuts that the models' own regular expressions make.
  @Test(arguments: [
    (PreTokenizer.gpt2, "I'll go  now", ["I", "'ll", " go", " ", " now"]),
    (.gpt2, "a\n\nb  ", ["a", "\n", "\n", "b", "  "]),
    (.gpt2, "x=12345!", ["x", "=", "12345", "!"]),
    (.gpt2, "été 中文", ["été", " 中文"]),
    (.smollm, "in 2024, ok", ["in", " ", "2", "0", "2", "4", ",", " ok"]),
    (
      .llama, "It'S 12345 o'clock\n\n x",
      ["It", "'S", " ", "123", "45", " o", "'clock", "\n\n", " x"]
    ),
    (.llama, "foo();\n  bar", ["foo", "();\n", " ", " bar"]),
    (.qwen2, "a 12", ["a", " ", "1", "2"]),
    (.qwen2, "  \n x", ["  \n", " x"]),
    (.standard, "a 1234 b!?", ["a", " ", "123", "4", " b", "!?"]),
  ])
  func preTokenizers(_ pre: PreTokenizer, _ text: String, _ expected: [String]) {
    #expect(words(pre, text) == expected)
  }

  /// The same against the expressions themselves, on 400 texts of awkward parts (Fixtures/make.py).
  @Test(arguments: PreTokenizer.allCases) func cutsAreThoseOfTheExpressions(_ pre: PreTokenizer)
    throws
  {
    let path = checkout(from: #filePath) + "/Tests/ModelsTests/Fixtures/pieces.json"
    let object = try JSONSerialization.jsonObject(with: Data(contentsOf: URL(filePath: path)))
    let cases = try #require(object as? [[String: Any]])
    #expect(cases.count == 400)
    for one in cases {
      let text = try #require(one["text"] as? String)
      let expected = try #require(one[pre.rawValue] as? [String])
      #expect(words(pre, text) == expected, "\(text.debugDescription)")
    }
  }

  @Test(arguments: PreTokenizer.allCases) func cutsLoseNothing(_ pre: PreTokenizer) {
    var random = Seeded(11)
    for _ in 0..<200 {
      let bytes = (0..<Int.random(in: 0...40, using: &random)).map { _ in
        UInt8.random(in: 0...255, using: &random)
      }
      #expect(pre.pieces(bytes).flatMap { bytes[$0] } == bytes)
    }
  }

  @Test func mergesByRank() throws {
    let tokenizer = try Self.tiny()
    func pieces(_ text: String) -> [String] {
      tokenizer.encode(Array(text.utf8)).map(tokenizer.piece)
    }
    #expect(pieces("in the and then") == ["in", " the", " and", " the", "n"])
    #expect(pieces("") == [])
  }

  @Test func specialTokensAreParsedUnlessNot() throws {
    let tokenizer = try Self.tiny()
    let text = Array("<|im_start|>the<|im_end|>".utf8)
    #expect(tokenizer.encode(text).first == 1 && tokenizer.encode(text).last == 2)
    let plain = tokenizer.encode(text, special: false)
    #expect(!plain.contains(1) && !plain.contains(2))
    #expect(plain.flatMap(tokenizer.bytes) == text)
    #expect(tokenizer.ends(2) && !tokenizer.ends(5))
  }

  @Test func bytesWithoutATokenAreUnknown() throws {
    let tokenizer = try Self.tiny()
    #expect(tokenizer.encode([0x61, 0xf5, 0x62]).map(tokenizer.piece) == ["a", "b"])
    var random = Seeded(3)
    for _ in 0..<300 {
      let bytes = (0..<60).map { _ in UInt8.random(in: 1...0xf4, using: &random) }
      #expect(tokenizer.encode(bytes, special: false).flatMap(tokenizer.bytes) == bytes)
    }
  }

  @Test func aLongWordIsQuick() throws {
    let tokenizer = try Self.tiny()
    let start = ContinuousClock.now
    #expect(tokenizer.encode([UInt8](repeating: 0x61, count: 20_000)).count == 20_000)
    #expect(ContinuousClock.now - start < .seconds(5))
  }

  @Test func sentencePieceMergesByScoreAndFallsBackToBytes() throws {
    let words = ["▁", "a", "b", "▁a", "ab", "▁ab", "é"]
    let texts =
      ["<unk>", "<s>", "</s>"].map { Array($0.utf8) }
      + (0..<256).map { byte -> [UInt8] in
        let hex = String(byte, radix: 16, uppercase: true)
        return Array("<0x\(hex.count == 1 ? "0" : "")\(hex)>".utf8)
      } + words.map { Array($0.utf8) }
    let tokenizer = try Self.tiny { gguf in
      gguf.set("tokenizer.ggml.model", .text("llama"))
      gguf.set("tokenizer.ggml.tokens", .texts(texts))
      gguf.set(
        "tokenizer.ggml.token_type",
        .i32s(texts.indices.map { $0 == 0 ? 2 : $0 < 3 ? 3 : $0 < 259 ? 6 : 1 }))
      gguf.set("tokenizer.ggml.scores", .f32s(texts.indices.map { Float($0 < 259 ? 0 : $0 - 300) }))
      gguf.set("tokenizer.ggml.add_bos_token", .bool(true))
    }
    func pieces(_ text: String) -> [String] {
      tokenizer.encode(Array(text.utf8)).map {
        String(decoding: tokenizer.bytes($0), as: UTF8.self)
      }
    }
    #expect(pieces("ab") == ["<unk>", "<s>"].suffix(1) + [" ab"])
    #expect(pieces("é ab") == ["<s>", " ", "é", " ab"])
    let ids = tokenizer.encode(Array("c".utf8), beginning: false)
    #expect(ids.flatMap(tokenizer.bytes) == Array(" c".utf8) && ids.last == 3 + 0x63)
  }

  @Test func streamedTextNeverSplitsACharacter() {
    var stream = UTF8Stream()
    let bytes = Array("aé中🙂".utf8)
    var out: [String] = []
    for byte in bytes { out.append(stream.add([byte])) }
    #expect(out.joined() == "aé中🙂" && !out.joined().contains("\u{fffd}"))
    #expect(out.filter { !$0.isEmpty } == ["a", "é", "中", "🙂"])
    #expect(stream.add([0xe4, 0xb8]) == "" && stream.finish() == "\u{fffd}")
    #expect(stream.add([0xff, 0x61]) == "\u{fffd}a")
  }

  @Test func chatTemplates() throws {
    let tokenizer = try Self.tiny()
    func said(_ template: String, _ system: String? = nil) throws -> String {
      let chat = try #require(ChatTemplate(template: template))
      let ids = chat.tokens(
        Array("the <|im_end|>".utf8), system: system.map { Array($0.utf8) }, tokenizer,
        special: false)
      return String(decoding: ids.flatMap(tokenizer.bytes), as: UTF8.self)
    }
    try #expect(
      said("{{'<|im_start|>' + role}}", "s")
        == "<|im_start|>system\ns<|im_end|>\n<|im_start|>user\nthe <|im_end|><|im_end|>\n<|im_start|>assistant\n"
    )
    try #expect(
      said("<|im_start|>system\nBe kind<|im_end|>").hasPrefix("<|im_start|>system\nBe kind"))
    try #expect(said("[INST] {{x}}") == "[INST] the <|im_end|> [/INST]")
    try #expect(said("<|start_header_id|>").hasSuffix("assistant<|end_header_id|>\n\n"))
    try #expect(said("<|user|>").hasPrefix("<|user|>\nthe"))
    #expect(ChatTemplate(template: "{{ x }}") == nil)
  }
}
