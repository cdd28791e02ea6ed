import FoundationEssentials
import Tensors

/// Texts of tokens, as people and tokenizers write them.
enum TokenTexts {
  /// A JSON array of strings, an object that has one under `tokens`, or a list as Python prints it
  /// (`['a', "b"]`); nil for anything else.
  static func parse(_ text: String) -> [String]? { json(text) ?? pythonList(text) }

  /// The first two of these.
  static func json(_ text: String) -> [String]? {
    let data = Data(text.utf8)
    if let list = try? JSONDecoder().decode([String].self, from: data) { return list }
    return (try? JSONDecoder().decode(Holder.self, from: data))?.tokens
  }

  /// `{"tokens": ["a", "b"]}`; other keys are passed over.
  private struct Holder: Decodable {
    let tokens: [String]
  }

  /// `['w0', 'w1']`: quotes of either kind, with the escapes that Python's `repr` writes.
  static func pythonList(_ text: String) -> [String]? {
    var rest = Substring(text).drop { $0.isWhitespace }
    guard rest.popFirst() == "[" else { return nil }
    var list: [String] = []
    while true {
      rest = rest.drop { $0.isWhitespace || $0 == "," }
      guard let quote = rest.popFirst() else { return nil }
      if quote == "]" { return list }
      guard quote == "'" || quote == "\"" else { return nil }
      var word = ""
      while let character = rest.popFirst(), character != quote {
        guard character == "\\" else {
          word.append(character)
          continue
        }
        guard let code = rest.popFirst() else { return nil }
        word.unicodeScalars.append(contentsOf: escaped(code, &rest))
      }
      list.append(word)
    }
  }

  /// What stands for a letter behind a backslash, `\n`, `\x0b`, `\u200b`; itself where nothing
  /// does. Takes the digits from `rest`.
  private static func escaped(_ code: Character, _ rest: inout Substring)
    -> String.UnicodeScalarView
  {
    let letters: [Character: String] = ["n": "\n", "t": "\t", "r": "\r"]
    let widths: [Character: Int] = ["x": 2, "u": 4, "U": 8]
    if let width = widths[code], let number = UInt32(rest.prefix(width), radix: 16),
      let scalar = Unicode.Scalar(number)
    {
      rest = rest.dropFirst(width)
      return String(Character(scalar)).unicodeScalars
    }
    return (letters[code] ?? String(code)).unicodeScalars
  }

  /// Texts of tokens that are spelt as byte-level tokenizers (`Ġkeeper`, `Ċ`) or SentencePiece
  /// (`▁keeper`, `<0x0A>`) spell them; nil where they are text already. Such spellings have no
  /// blanks of their own, which tells them from texts with these letters.
  static func plain(_ tokens: [String]) -> [String]? {
    guard !tokens.contains(where: { $0.contains(" ") || $0.contains("\n") }) else { return nil }
    if tokens.contains(where: { $0.hasPrefix("\u{120}") }) { return tokens.map(fromBytes) }
    guard tokens.contains(where: { $0.hasPrefix("\u{2581}") }) else { return nil }
    return tokens.map { token in
      if token.hasPrefix("<0x"), token.hasSuffix(">"), token.count == 6,
        let byte = UInt8(token.dropFirst(3).dropLast(), radix: 16)
      {
        return String(decoding: [byte], as: UTF8.self)
      }
      return token.replacing("\u{2581}", with: " ")
    }
  }

  /// A token of a byte-level tokenizer: every letter stands for a byte. A word with another
  /// letter (a special token) is as it is.
  private static func fromBytes(_ token: String) -> String {
    var bytes: [UInt8] = []
    for scalar in token.unicodeScalars {
      guard let byte = byte(scalar.value) else { return token }
      bytes.append(byte)
    }
    return String(decoding: bytes, as: UTF8.self)
  }

  /// GPT-2's letters for bytes: printable ones of latin-1 stand for themselves, the other 68 are
  /// U+0100 and on, in their order.
  private static func byte(_ code: UInt32) -> UInt8? {
    func isOwn(_ code: UInt32) -> Bool {
      33...126 ~= code || 161...172 ~= code || 174...255 ~= code
    }
    if isOwn(code) { return UInt8(code) }
    guard code >= 0x100, code < 0x100 + 68 else { return nil }
    var left = code - 0x100
    for byte in UInt32(0)...255 where !isOwn(byte) {
      if left == 0 { return UInt8(byte) }
      left -= 1
    }
    return nil
  }
}

/// Lines that are told apart: a file of empty ones would take many times its size.
private let mostTexts = 1 << 22

/// One text a line, a JSON array of strings, or an object that has one under `tokens`: what is
/// said of tokens in a file of its own.
///
/// Throws `tooLarge` from 256 MiB on, `malformed` when it begins like JSON and has no array of
/// strings, and what opening the file throws. The catch: an empty line is an empty text.
public func readTexts(_ path: String) throws(FormatError) -> [String] {
  let file = try MappedFile(path)
  guard file.bytes.count < 256 << 20 else {
    throw FormatError(.tooLarge, "too large for a list of tokens (256 MiB at most)", file: path)
  }
  let text = file.bytes.text(0..<file.bytes.count)
  if let first = file.bytes.first, first == UInt8(ascii: "[") || first == UInt8(ascii: "{") {
    if let list = TokenTexts.parse(text) { return list }
    // A first token may well be a bracket.
    guard file.bytes.count > 1, [10, 13].contains(file.bytes[1]) else {
      throw FormatError(
        .malformed,
        """
        starts like JSON but is not an array of strings, nor an object with one under "tokens"
        """,
        file: path)
    }
  }
  // What Windows ends a line with is one character of its own.
  return text.split(maxSplits: mostTexts, omittingEmptySubsequences: false) {
    $0 == "\n" || $0 == "\r\n"
  }.map(String.init)
}
