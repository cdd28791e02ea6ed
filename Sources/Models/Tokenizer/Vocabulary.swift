import Formats

/// The tokens of a model: their bytes, kinds and scores, from a GGUF file's metadata. All
/// arrays are `[count]`, by token number; a few megabytes for a hundred thousand tokens.
struct Vocabulary: Sendable {
  /// The format's kinds by number; unknown numbers count as normal.
  enum Kind: Int, Sendable { case normal = 1, unknown, control, userDefined, unused, byte }

  /// Each token's bytes, as decoding gives them.
  let bytes: [[UInt8]]
  /// Each token as the file writes it.
  let texts: [[UInt8]]
  /// Decides whether a token may be found in a text and how it is written out.
  let kinds: [Kind]
  /// Log probabilities of SentencePiece, larger is better; empty when the file has none.
  let scores: [Float]
  /// For what no token spells; nil when there is none that may stand in a text.
  let unknown: Int32?
  /// The token a text begins with.
  let beginning: Int32?
  /// Tokens that end a text or a turn.
  let endings: Set<Int32>
  /// The first token of each text: damaged files hold some twice.
  private let byText: [[UInt8]: Int32]
  /// Control and user-defined tokens by their first byte, longest first.
  private let special: [UInt8: [Int32]]

  /// Reads and checks the vocabulary. Throws `missing` without tokens and `malformed` when an
  /// array beside them has another length.
  init(_ gguf: GGUFFile, isByteLevel: Bool) throws(ModelError) {
    guard case .array(let tokens) = gguf.metadata["tokenizer.ggml.tokens"], tokens.isText,
      tokens.count > 0
    else {
      throw ModelError(
        .missing, "the file holds no tokens; convert the model with its tokenizer",
        place: "\(gguf.path): tokenizer.ggml.tokens")
    }
    let texts = tokens.strings()
    self.texts = texts
    kinds = try Self.kinds(gguf, texts.count)
    scores = try Self.scores(gguf, texts.count)
    let kinds = kinds
    bytes = texts.indices.map { Self.decoded(texts[$0], kinds[$0], isByteLevel: isByteLevel) }
    var byText: [[UInt8]: Int32] = [:]
    byText.reserveCapacity(texts.count)
    for (id, text) in texts.enumerated() where byText[text] == nil { byText[text] = Int32(id) }
    self.byText = byText
    var special: [UInt8: [Int32]] = [:]
    for (id, text) in texts.enumerated() where [.control, .userDefined].contains(kinds[id]) {
      if let first = text.first { special[first, default: []].append(Int32(id)) }
    }
    self.special = special.mapValues { $0.sorted { texts[Int($0)].count > texts[Int($1)].count } }
    // An unknown token that is a control token (an end of text, say) must not slip into a text.
    unknown = try Self.id(gguf, "unknown", texts.count).flatMap {
      kinds[Int($0)] == .control ? nil : $0
    }
    beginning = try Self.id(gguf, "bos", texts.count)
    let turns = ["<|im_end|>", "<|eot_id|>", "<|end_of_text|>", "<|endoftext|>", "<|end|>", "</s>"]
    var endings: Set<Int32> = []
    for name in ["eos", "eot", "eom"] {
      if let id = try Self.id(gguf, name, texts.count) { endings.insert(id) }
    }
    for turn in turns {
      if let id = byText[Array(turn.utf8)], kinds[Int(id)] == .control { endings.insert(id) }
    }
    self.endings = endings
  }

  /// A special token by its role; nil when the file has none, which some write as -1, of 32 bits
  /// or of 64. Throws `malformed` for a number that is no token.
  private static func id(_ gguf: GGUFFile, _ role: String, _ count: Int) throws(ModelError)
    -> Int32?
  {
    let key = "tokenizer.ggml.\(role)_token_id"
    guard let value = gguf.metadata[key] else { return nil }
    if case .integer(let id) = value {
      if [-1, Int(UInt32.max), Int.max].contains(id) { return nil }
      if (0..<count).contains(id) { return Int32(id) }
    }
    throw ModelError(
      .malformed,
      "must be a token, 0 to \(count - 1), or -1 for none; convert the model again",
      place: "\(gguf.path): \(key)")
  }

  /// Empty when the file has none. Throws `malformed` for a score that is no number, by which
  /// nothing could be put in order.
  private static func scores(_ gguf: GGUFFile, _ count: Int) throws(ModelError) -> [Float] {
    let key = "tokenizer.ggml.scores"
    let scores = try numbers(gguf, key, count, of: ["FLOAT32"]) ?? []
    if let token = scores.firstIndex(where: \.isNaN) {
      throw ModelError(
        .malformed, "the score of token \(token) is no number; the file is damaged",
        place: "\(gguf.path): \(key)")
    }
    return scores.map { Float($0) }
  }

  /// One number a token; nil when the file has no such array. Throws `malformed` for another
  /// length or other elements than `types`: other readers take the bytes for those.
  private static func numbers(
    _ gguf: GGUFFile, _ key: String, _ count: Int, of types: [String]
  ) throws(ModelError) -> [Double]? {
    guard let value = gguf.metadata[key] else { return nil }
    guard case .array(let array) = value, types.contains(array.typeName) else {
      var what = "no array"
      if case .array(let array) = value { what = "an array of \(array.typeName)" }
      throw ModelError(
        .malformed,
        """
        is \(what), and must be one of \(types.joined(separator: " or ")); convert the model \
        again
        """,
        place: "\(gguf.path): \(key)")
    }
    guard array.count == count else {
      throw ModelError(
        .malformed, "has \(array.count) entries for \(count) tokens; the file is damaged",
        place: "\(gguf.path): \(key)")
    }
    return array.numbers()
  }

  /// All are normal when the file does not say; so is a kind that is not known here.
  private static func kinds(_ gguf: GGUFFile, _ count: Int) throws(ModelError) -> [Kind] {
    let key = "tokenizer.ggml.token_type"
    guard let numbers = try numbers(gguf, key, count, of: ["INT32", "UINT32"]) else {
      return [Kind](repeating: .normal, count: count)
    }
    var kinds: [Kind] = []
    kinds.reserveCapacity(count)
    for number in numbers {
      guard let whole = Int32(exactly: number) else {
        throw ModelError(
          .malformed,
          """
          token \(kinds.count) is of kind \(number), which is no small whole number; the file is \
          damaged
          """,
          place: "\(gguf.path): \(key)")
      }
      kinds.append(Kind(rawValue: Int(whole)) ?? .normal)
    }
    return kinds
  }

  /// A token's text as the bytes it stands for.
  private static func decoded(_ text: [UInt8], _ kind: Kind, isByteLevel: Bool) -> [UInt8] {
    if kind == .control || kind == .userDefined { return text }
    if isByteLevel { return ByteAlphabet.bytes(text) ?? text }
    if kind == .byte, let byte = byteFallback(text) { return [byte] }
    return replaced(text, [0xe2, 0x96, 0x81], by: [0x20])
  }

  /// `<0x0A>` is byte 10.
  private static func byteFallback(_ text: [UInt8]) -> UInt8? {
    guard text.count == 6, text.starts(with: Array("<0x".utf8)) else { return nil }
    return UInt8(String(decoding: text[3..<5], as: UTF8.self), radix: 16)
  }

  /// Tokens.
  var count: Int { texts.count }

  /// By the text in the file.
  func id(_ text: [UInt8]) -> Int32? { byText[text] }

  /// The special token that begins at `at`, if one does; the longest of several. `control`
  /// allows control tokens too.
  func special(_ text: [UInt8], at: Int, control: Bool) -> Int32? {
    special[text[at]]?.first { id in
      let token = texts[Int(id)]
      return (control || kinds[Int(id)] == .userDefined) && at + token.count <= text.count
        && token.indices.allSatisfy { text[at + $0] == token[$0] }
    }
  }
}

/// `text` with every `old` replaced, from left to right.
func replaced(_ text: [UInt8], _ old: [UInt8], by new: [UInt8]) -> [UInt8] {
  var out: [UInt8] = []
  out.reserveCapacity(text.count)
  var at = 0
  while at < text.count {
    if at + old.count <= text.count, old.indices.allSatisfy({ text[at + $0] == old[$0] }) {
      out += new
      at += old.count
    } else {
      out.append(text[at])
      at += 1
    }
  }
  return out
}

/// The printable alphabet in which byte-level vocabularies write bytes (GPT-2, 2019).
enum ByteAlphabet {
  /// The character of each byte: itself where it prints, else the next free one from U+0100 on.
  static let characters: [Unicode.Scalar] = {
    var next: UInt32 = 256
    return (0..<256).map { byte in
      let prints = (33...126).contains(byte) || (161...172).contains(byte) || byte >= 174
      if prints { return Unicode.Scalar(UInt32(byte))! }
      defer { next += 1 }
      return Unicode.Scalar(next)!
    }
  }()

  /// The way back; 256 entries.
  private static let byScalar = Dictionary(
    uniqueKeysWithValues: characters.enumerated().map { ($0.element.value, UInt8($0.offset)) })

  /// The token text of one byte.
  static func text(_ byte: UInt8) -> [UInt8] { Array(String(characters[Int(byte)]).utf8) }

  /// Nil when the text has characters outside the alphabet.
  static func bytes(_ text: [UInt8]) -> [UInt8]? {
    var out: [UInt8] = []
    var at = 0
    while at < text.count {
      let (scalar, length) = UTF8Bytes.scalar(text, at)
      guard let scalar, let byte = byScalar[scalar.value] else { return nil }
      out.append(byte)
      at += length
    }
    return out
  }
}
