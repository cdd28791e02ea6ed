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
  /// Texts of the keys, one each, from a JSON array.
  let tokens: [String]?
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
    tokens = map["tokens"].flatMap { try? JSONDecoder().decode([String].self, from: Data($0.utf8)) }
    let sides = (map["tile"] ?? "").split(separator: "x").compactMap { Int($0) }
    let isTile = sides.count == 2 && sides.allSatisfy { (1...1 << 20).contains($0) }
    tile = isTile ? (sides[0], sides[1]) : nil
  }
}

/// What a look at a few rows of a map says.
///
/// Rows that sum to one are a pattern, zeros and ones a mask (255 marks what nobody sees), values
/// below 0 or above 1 scores. Whole numbers beyond a mask's are none of them. The catch: scores
/// that happen to lie between 0 and 1 read as a pattern; `--kind` decides then.
struct MapContent {
  /// Nil: whole numbers that are no mask.
  let kind: DumpKind?
  /// The least and the largest finite value that was seen.
  let range: ClosedRange<Float>
  /// Nothing above the diagonal of the first rows; nil when they cannot tell.
  let causal: Bool?

  /// Looks at up to 64 rows from the start of the array, and a quarter of a million elements
  /// at most. Throws what reading the array throws.
  init(_ archive: any TensorArchive, _ entry: ArrayEntry) throws(FormatError) {
    let keys = max(entry.shape[-1], 1)
    let values = try archive.sample(entry.name, elements: keys * min(64, max(1, (1 << 18) / keys)))
    self.init(
      values, keys: keys, queries: entry.shape.rank > 1 ? entry.shape[-2] : 1,
      integer: !entry.dtype.isFloat)
  }

  /// Judges `values`, rows of `keys` elements that begin at query 0 of `queries` aligned
  /// bottom-right. -1e4 and below count as masked, since half-precision code writes that for
  /// minus infinity.
  init(_ values: [Float], keys: Int, queries: Int, integer: Bool) {
    let rows = values.count / keys
    var onesAndZeros = true, sumsToOne = 0, above = false
    for r in 0..<rows {
      let row = values[r * keys..<(r + 1) * keys]
      var sum: Float = 0
      for value in row where value.isFinite { sum += value }
      if abs(sum - 1) < 1e-2 { sumsToOne += 1 }
      onesAndZeros = onesAndZeros && row.allSatisfy { $0 == 0 || $0 == 1 || $0 == 255 }
      let visible = r % max(queries, 1) + keys - queries + 1
      if queries > 1, visible > 0, visible < keys {
        above = above || row.dropFirst(visible).contains { $0 != 0 && $0 > -1e4 }
      }
    }
    let known = values.prefix(rows * keys).filter(\.isFinite)
    let (least, most) = (known.min() ?? 0, known.max() ?? 0)
    range = least...most
    if onesAndZeros, integer || sumsToOne * 2 < rows {
      kind = .mask
    } else if integer {
      kind = nil
    } else {
      kind = least < 0 || most > 1.01 ? .scores : .pattern
    }
    causal = queries > 1 && rows > 1 ? !above : nil
  }
}

extension DumpReader {
  /// The flag, else the file's word, else the values above the diagonal of the first head,
  /// else yes: most models are. What was not said becomes a guess.
  mutating func chooseCausal(
    _ layers: [LayerArrays], kind: DumpKind, _ metadata: DumpMetadata
  ) throws(FormatError) -> Bool {
    if let causal = options.causal ?? metadata.causal { return causal }
    if kind == .pattern || kind == .scores,
      let map = layers[0].arrays[kind == .pattern ? .pattern : .scores]
    {
      let rows = min(64, map.shape[1])
      let values = map[0].slice(axis: 0, 0..<rows).floats()
      if let causal = MapContent(values, keys: map.shape[2], queries: map.shape[1], integer: false)
        .causal
      {
        guesses.append(
          Guess(
            causal ? "causal, nothing above the diagonal" : "not causal",
            flag: "--causal/--no-causal"))
        return causal
      }
    }
    guesses.append(Guess("causal attention assumed", flag: "--no-causal"))
    return true
  }

  /// Token texts from the flag's file or the file's own metadata; a list of the wrong length
  /// is kept and noted. Throws what reading the flag's file throws.
  mutating func chooseTokens(
    _ archive: any TensorArchive, _ metadata: DumpMetadata, keys: Int
  ) throws(FormatError) -> [String]? {
    var tokens = metadata.tokens
    var source = path
    if let file = options.tokens {
      tokens = try readTexts(file)
      source = file
    }
    guard let tokens else { return nil }
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
}

/// One text a line, or a JSON array of strings: what is said of tokens in a file of its own.
///
/// Throws `tooLarge` from 256 MiB on, `malformed` when it begins like JSON and is no array of
/// strings, and what opening the file throws. The catch: an empty line is an empty text.
public func readTexts(_ path: String) throws(FormatError) -> [String] {
  let file = try MappedFile(path)
  guard file.bytes.count < 256 << 20 else {
    throw FormatError(.tooLarge, "too large for a list of tokens (256 MiB at most)", file: path)
  }
  if file.bytes.first == UInt8(ascii: "[") {
    guard let list = try? JSONDecoder().decode([String].self, from: Data(file.bytes)) else {
      throw FormatError(.malformed, "starts like JSON but is not an array of strings", file: path)
    }
    return list
  }
  return file.bytes.text(0..<file.bytes.count).split(
    separator: "\n", omittingEmptySubsequences: false
  ).map(String.init)
}

/// The file's name without its folders: messages have no room for more.
func lastComponent(_ path: String) -> String {
  path.split(separator: "/").last.map(String.init) ?? path
}
