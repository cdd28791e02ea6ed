import FoundationEssentials
import Tensors

/// The metadata of our own files; anything unreadable counts as absent.
///
/// Values are texts in the safetensors header, so each is parsed with limits: a file of
/// somebody else may use the same keys for other things.
struct DumpMetadata {
  /// The model the arrays came from, for titles.
  let model: String?
  /// What scores were multiplied by; positive and finite.
  let scale: Double?
  let causal: Bool?
  /// Position of the first query among the keys.
  let queryOffset: Int?
  /// Texts of the keys, one each, from a JSON array or a list as Python prints it.
  let tokens: [String]?
  /// Its tokens are no JSON, and a list all the same.
  let isPythonList: Bool
  /// It has tokens, and they are no list of texts.
  let hasOtherTokens: Bool
  /// What the model calls the heads, of a slice of them.
  let headNumbers: [Int]?
  /// A query sees this many keys at most, its own among them.
  let window: Int?
  /// Scores are bent: c tanh(score / c).
  let softcap: Double?
  /// Where packed sequences begin, and where the last one ends.
  let boundaries: [Int]?
  /// Query rows and keys of a block.
  let tile: (rows: Int, keys: Int)?

  /// Takes what it understands from `map`; never fails.
  init(_ map: [String: String], path: String) {
    model = map["model"]
    scale = map["scale"].flatMap(Double.init).flatMap { $0.isFinite && $0 > 0 ? $0 : nil }
    causal = map["causal"].flatMap { Bool($0.lowercased()) }
    queryOffset = map["query_offset"].flatMap { Int($0) }.flatMap {
      (-(1 << 30)...1 << 30).contains($0) ? $0 : nil
    }
    let text = map["tokens"], json = text.flatMap(TokenTexts.json)
    tokens = json ?? text.flatMap(TokenTexts.pythonList)
    hasOtherTokens = text != nil && tokens == nil
    isPythonList = tokens != nil && json == nil
    func number(_ names: String...) -> Double? {
      names.lazy.compactMap { map[$0].flatMap(Double.init) }.first { $0.isFinite && $0 > 0 }
    }
    window = number("sliding_window", "window").flatMap { Int(exactly: $0) }
    headNumbers = map["head_numbers"].flatMap {
      try? JSONDecoder().decode([Int].self, from: Data($0.utf8))
    }
    softcap = number("softcap", "attn_logit_softcapping", "attention_softcap", "logit_softcap")
    boundaries = (map["cu_seqlens"] ?? map["cu_seq_lens"]).flatMap {
      try? JSONDecoder().decode([Int].self, from: Data($0.utf8))
    }
    let sides = (map["tile"] ?? "").split(separator: "x").compactMap { Int($0) }
    let isTile = sides.count == 2 && sides.allSatisfy { (1...1 << 20).contains($0) }
    tile = isTile ? (sides[0], sides[1]) : nil
  }
}

extension DumpReader {
  /// The flag, else the file's word, else the values above the diagonal of the first head below its
  /// padding, else yes: most models are. More queries than keys are cross attention. What was not
  /// said becomes a guess.
  mutating func chooseCausal(
    _ layers: [LayerArrays], kind: DumpKind, _ metadata: DumpMetadata, padding: Int
  ) throws(FormatError) -> Bool {
    if let causal = options.causal ?? metadata.causal { return causal }
    let (queries, keys, _) = layers[0].positions
    if kind == .pattern || kind == .scores,
      let map = layers[0].arrays[kind == .pattern ? .pattern : .scores]
    {
      // The last query stands at the last key: where there are fewer, padding has fewer rows.
      let first = min(max(padding - (keys - queries), 0), queries)
      let values = map[0].slice(axis: 0, first..<min(first + 64, queries)).floats()
      if let causal = MapContent(
        values, keys: keys, queries: queries, integer: false, from: first
      ).causal {
        guesses.append(
          Guess(
            causal ? "causal, nothing above the diagonal" : "not causal",
            flag: "--causal/--no-causal"))
        return causal
      }
    }
    if kind != .mask, queries > keys, options.queryOffset ?? metadata.queryOffset == nil {
      guesses.append(
        Guess("not causal: \(queries) queries are more than \(keys) keys", flag: "--causal"))
      return false
    }
    guesses.append(Guess("causal attention assumed", flag: "--no-causal"))
    return true
  }

  /// Names that lists of token texts go by, the keys' before the queries'.
  private static let tokenNames = [
    "tokens", "key_tokens", "tokens_list", "str_tokens", "input_tokens", "token_texts",
    "src_tokens", "tgt_tokens", "query_tokens", "words",
  ]

  /// Token texts from the flag's file, the file's metadata or its arrays of texts; a list of the
  /// wrong length is kept and noted. Spellings of tokenizers become text. Throws what reading the
  /// flag's file throws.
  mutating func chooseTokens(
    _ archive: any TensorArchive, _ metadata: DumpMetadata, keys: Int
  ) throws(FormatError) -> [String]? {
    var tokens = metadata.tokens ?? texts(archive, keys: keys)
    var source = path
    if metadata.hasOtherTokens {
      remarks.append("the metadata's tokens are no list of texts and were not read (--tokens)")
    }
    if metadata.isPythonList {
      remarks.append("the metadata's tokens are a list as Python prints it, and read as one")
    }
    if let file = options.tokens {
      tokens = try readTexts(file)
      source = file
    }
    guard var tokens else { return nil }
    if !options.rawTokens, let plain = TokenTexts.plain(tokens) {
      tokens = plain
      remarks.append("a tokenizer's spellings are written as text (--raw-tokens leaves them)")
    }
    if let trimmed, tokens.count == trimmed { return Array(tokens.prefix(keys)) }
    if tokens.count != keys, found[.blocks] == nil || found[.query] != nil {
      guesses.append(
        Guess(
          """
          \(tokens.count) token texts for \(keys) keys in \(lastComponent(source)): matched from \
          the start
          """,
          flag: "--tokens"))
    }
    return tokens
  }

  /// A list of texts in the file itself: one that goes by a name of tokens, best of the right
  /// length.
  private func texts(_ archive: any TensorArchive, keys: Int) -> [String]? {
    let named = Self.tokenNames.filter(archive.textNames.contains)
    let lists = named.compactMap { archive.texts($0) }.filter { $0.count > 1 || keys == 1 }
    if let fitting = lists.first(where: { $0.count == keys }) ?? lists.first { return fitting }
    let others = archive.textNames.compactMap { archive.texts($0) }.filter { $0.count == keys }
    return others.count == 1 && keys > 1 ? others[0] : nil
  }
}

/// The file's name without its folders: messages have no room for more.
func lastComponent(_ path: String) -> String {
  path.split(separator: "/").last.map(String.init) ?? path
}
