public import Formats
import Synchronization

/// Text to tokens and back, as the model in a GGUF file was trained: byte-level BPE, or
/// SentencePiece BPE.
///
/// Example: `tokenizer.encode(Array("The capital".utf8))`. Any bytes may come in; what the
/// vocabulary has no token for becomes its unknown token, or is left out when it has none.
/// Special tokens in the text are parsed unless `special` is false (user-defined ones always
/// are). The catch: decoding gives bytes, which may end in the middle of a character; join
/// them with `UTF8Stream`.
public final class Tokenizer: Sendable {
  /// What the two kinds need: ranked pairs and the tokens of single bytes, or scores.
  private enum Scheme: Sendable {
    case byteLevel(Splitting, merges: [UInt64: (rank: Int32, token: Int32)], bytes: [Int32])
    case sentencePiece(bytes: [Int32], addsSpace: Bool)
  }

  /// How words are cut, and whether one that is a token needs no merging (llama 3's).
  private struct Splitting {
    let rules: PreTokenizer
    let takesWholePieces: Bool
  }

  let vocabulary: Vocabulary
  private let scheme: Scheme
  /// Whether a text begins with the beginning token.
  public let addsBeginning: Bool
  /// Tokens of words seen before, at most 65536 short ones; texts repeat their words, and
  /// merging is what encoding costs.
  private let cache = Mutex<[[UInt8]: [Int32]]>([:])

  /// Reads the file's tokenizer. Throws `missing` or `malformed` when a part is absent or
  /// damaged, `unsupported` for other models and unknown ways of cutting words.
  public init(_ gguf: GGUFFile) throws(ModelError) {
    let place = "\(gguf.path): tokenizer.ggml.model"
    guard case .text(let model) = gguf.metadata["tokenizer.ggml.model"] else {
      throw ModelError(
        .missing, "the file has no tokenizer; convert the model with it", place: place)
    }
    guard ["gpt2", "llama"].contains(model) else {
      throw ModelError(
        .unsupported, "is '\(model)'; gpt2 (byte-level BPE) and llama (SentencePiece BPE) are read",
        place: place)
    }
    let isByteLevel = model == "gpt2"
    vocabulary = try Vocabulary(gguf, isByteLevel: isByteLevel)
    scheme =
      isByteLevel
      ? try Self.byteLevel(gguf, vocabulary) : try Self.sentencePiece(gguf, vocabulary)
    if case .truth(let adds) = gguf.metadata["tokenizer.ggml.add_bos_token"] {
      addsBeginning = adds && vocabulary.beginning != nil
    } else if case .byteLevel(let pre, _, _) = scheme {
      addsBeginning = pre.takesWholePieces && vocabulary.beginning != nil
    } else {
      addsBeginning = vocabulary.beginning != nil
    }
  }

  /// Names that converters give to the same splitting: a family's own, though nothing differs.
  private static let aliases: [String: PreTokenizer] = {
    let names: [PreTokenizer: String] = [
      .llama: "llama3 llama-v3 falcon3 falcon-h1 pixtral midm-2.0 lfm2 smaug-bpe dbrx",
      .qwen2: "deepseek-r1-qwen kormo f2llmv2 megrez stablelm2 hunyuan grok-2",
      .smollm: "starcoder refact command-r codeshell exaone minerva-7b",
      .gpt2: """
      gpt2 phi-2 jina-es jina-de jina-v2-es jina-v2-de gigachat a.x-4.0 mellum exaone4 mpt olmo \
      jais trillion granite-docling
      """,
    ]
    var table: [String: PreTokenizer] = [:]
    for (pre, list) in names {
      for name in list.split(separator: " ") { table[String(name)] = pre }
    }
    return table
  }()

  /// Of those that split as llama does: pieces that are tokens are merged all the same, and no text
  /// begins with a token of its own.
  private static let merging: Set = ["smaug-bpe", "dbrx"]

  /// Ranks of all pairs, by the numbers of their halves: two lookups of text become one of an
  /// integer.
  private static func byteLevel(_ gguf: GGUFFile, _ vocabulary: Vocabulary) throws(ModelError)
    -> Scheme
  {
    var name = "default"
    if case .text(let pre) = gguf.metadata["tokenizer.ggml.pre"] { name = pre }
    guard let pre = aliases[name] ?? PreTokenizer(rawValue: name) else {
      let known = PreTokenizer.allCases.map(\.rawValue).joined(separator: ", ")
      throw ModelError(
        .unsupported, "is '\(name)'; \(known) are known", place: "\(gguf.path): tokenizer.ggml.pre")
    }
    let place = "\(gguf.path): tokenizer.ggml.merges"
    guard case .array(let list) = gguf.metadata["tokenizer.ggml.merges"], list.isText else {
      throw ModelError(.missing, "the file has no merges; convert the model again", place: place)
    }
    var merges: [UInt64: (rank: Int32, token: Int32)] = [:]
    merges.reserveCapacity(list.count)
    for (rank, text) in list.strings().enumerated() {
      guard let space = text.dropFirst().firstIndex(of: 32), space + 1 < text.count else {
        throw ModelError(
          .malformed, "merge \(rank) is not two tokens with a space between; the file is damaged",
          place: place)
      }
      let left = Array(text[..<space]), right = Array(text[(space + 1)...])
      // A pair whose parts or whole are no tokens can never be applied.
      guard let a = vocabulary.id(left), let b = vocabulary.id(right),
        let whole = vocabulary.id(left + right)
      else { continue }
      let key = pair(a, b)
      if merges[key] == nil { merges[key] = (Int32(rank), whole) }
    }
    let bytes = (0...255).map { vocabulary.id(ByteAlphabet.text(UInt8($0))) ?? -1 }
    let whole = pre.takesWholePieces && !merging.contains(name)
    return .byteLevel(
      Splitting(rules: pre, takesWholePieces: whole), merges: merges, bytes: bytes)
  }

  /// Scores decide instead of ranks, and bytes without a character's token are spelled
  /// `<0x..>`.
  private static func sentencePiece(_ gguf: GGUFFile, _ vocabulary: Vocabulary)
    throws(ModelError) -> Scheme
  {
    guard vocabulary.scores.count == vocabulary.count else {
      throw ModelError(
        .missing, "a SentencePiece vocabulary needs scores; convert the model again",
        place: "\(gguf.path): tokenizer.ggml.scores")
    }
    var addsSpace = true
    if case .truth(let adds) = gguf.metadata["tokenizer.ggml.add_space_prefix"] { addsSpace = adds }
    let hex = Array("0123456789ABCDEF".utf8)
    let bytes = (0...255).map { byte -> Int32 in
      let digits = [hex[byte >> 4], hex[byte & 15]]
      return vocabulary.id(Array("<0x".utf8) + digits + Array(">".utf8)) ?? -1
    }
    return .sentencePiece(bytes: bytes, addsSpace: addsSpace)
  }

  /// Both numbers in one key.
  private static func pair(_ a: Int32, _ b: Int32) -> UInt64 {
    UInt64(UInt32(bitPattern: a)) << 32 | UInt64(UInt32(bitPattern: b))
  }

  // MARK: Encoding

  /// Tokens of a text, as numbers of the vocabulary. `beginning` puts the beginning token
  /// first when the model wants one; `special` parses control tokens that the text spells
  /// out.
  public func encode(_ text: [UInt8], special: Bool = true, beginning: Bool = true) -> [Int] {
    var out: [Int32] = beginning && addsBeginning ? [vocabulary.beginning!] : []
    var start = 0, at = 0, isFirst = true
    func plain(_ end: Int) {
      guard start < end else { return }
      out += encodePlain(Array(text[start..<end]), isFirst: isFirst)
      isFirst = false
    }
    while at < text.count {
      guard let id = vocabulary.special(text, at: at, control: special) else {
        at += 1
        continue
      }
      plain(at)
      out.append(id)
      at += vocabulary.texts[Int(id)].count
      // SentencePiece sets its space before what follows a special token, too.
      (start, isFirst) = (at, true)
    }
    plain(text.count)
    return out.map(Int.init)
  }

  /// Tokens of a stretch without special tokens; SentencePiece writes spaces as U+2581 and
  /// may add one in front.
  private func encodePlain(_ text: [UInt8], isFirst: Bool) -> [Int32] {
    switch scheme {
    case .byteLevel(let pre, let merges, let bytes):
      return pre.rules.pieces(text).flatMap { range in
        word(Array(text[range]), pre, merges, bytes)
      }
    case .sentencePiece(let bytes, let addsSpace):
      let spaced = (addsSpace && isFirst ? [0x20] : []) + text
      return sentence(replaced(spaced, [0x20], by: [0xe2, 0x96, 0x81]), bytes)
    }
  }

  /// Tokens of one word, from the cache or by merging. Short words are remembered; the cache
  /// starts anew when it is full.
  private func word(
    _ text: [UInt8], _ pre: Splitting, _ merges: [UInt64: (rank: Int32, token: Int32)],
    _ bytes: [Int32]
  ) -> [Int32] {
    if let known = cache.withLock({ $0[text] }) { return known }
    if pre.takesWholePieces, let whole = vocabulary.id(text.flatMap(ByteAlphabet.text)) {
      return [whole]
    }
    let symbols = text.enumerated().map {
      Symbol(token: bytes[Int($0.element)], bytes: $0.offset..<$0.offset + 1)
    }
    let tokens = merged(symbols) { left, right in
      merges[Self.pair(left.token, right.token)].map { (Float($0.rank), $0.token) }
    }.compactMap { $0.token >= 0 ? $0.token : vocabulary.unknown }
    if text.count < 64 {
      cache.withLock { cache in
        if cache.count > 1 << 16 { cache = [:] }
        cache[text] = tokens
      }
    }
    return tokens
  }

  /// Tokens of a stretch by scores, from characters up. What stays unknown is spelled in byte
  /// tokens.
  private func sentence(_ text: [UInt8], _ bytes: [Int32]) -> [Int32] {
    var symbols: [Symbol] = []
    var at = 0
    while at < text.count {
      let length = UTF8Bytes.scalar(text, at).1
      let range = at..<at + length
      symbols.append(Symbol(token: vocabulary.id(Array(text[range])) ?? -1, bytes: range))
      at += length
    }
    let joined = merged(symbols) { left, right in
      let whole = vocabulary.id(Array(text[left.bytes.lowerBound..<right.bytes.upperBound]))
      return whole.map { (-vocabulary.scores[Int($0)], $0) }
    }
    return joined.flatMap { symbol -> [Int32] in
      if symbol.token >= 0 { return [symbol.token] }
      return text[symbol.bytes].compactMap { byte in
        bytes[Int(byte)] >= 0 ? bytes[Int(byte)] : vocabulary.unknown
      }
    }
  }

  // MARK: Decoding

  /// Tokens of the vocabulary.
  public var count: Int { vocabulary.count }

  /// Whether tokens are made of bytes alone, so that they spell the text exactly.
  public var isByteLevel: Bool {
    if case .byteLevel = scheme { true } else { false }
  }

  /// The bytes of a token; empty for a number that is none. They may be part of a character.
  public func bytes(_ token: Int) -> [UInt8] {
    vocabulary.bytes.indices.contains(token) ? vocabulary.bytes[token] : []
  }

  /// For the screen: bytes that are no text become U+FFFD.
  public func piece(_ token: Int) -> String { String(decoding: bytes(token), as: UTF8.self) }

  /// Whether the model says with this token that it is done.
  public func ends(_ token: Int) -> Bool { vocabulary.endings.contains(Int32(token)) }
}
