/// A method of the library with its knobs: what a palette, a state file, a command line and a
/// lesson write.
///
/// One text form everywhere: `lucid`, `lucid:strength=0.5`, `a-shape:initial=16,local=64`. Knobs
/// stand in the order of their names, so that equal settings have equal texts. A value may hold
/// spaces and `=`, and commas within brackets; one with a comma of its own stands in quotes:
/// `gated:pi=1 - A_i1`, `x:y='a, b'`.
public struct MethodSetting: Sendable, Hashable, Codable, CustomStringConvertible {
  /// Id of a card, or of one of its variants; not checked here.
  public var id: String
  /// Values that were given, by the names they were given under; not checked here.
  public var knobs: Knobs

  /// Knobs left out stand at their standard.
  public init(_ id: String, _ knobs: Knobs = [:]) { (self.id, self.knobs) = (id, knobs) }

  /// Reads the text form. Throws `KnobError` when a knob has no value; names and ranges are checked
  /// later, by the card.
  public init(parsing text: String) throws(KnobError) {
    let parts = text.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
    self.init(String(parts[0]))
    guard parts.count == 2 else { return }
    for item in Self.pieces(of: parts[1]) {
      let sides = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
        .map { $0.stripped }
      guard sides.count == 2, !sides[0].isEmpty, !sides[1].isEmpty else {
        throw KnobError(
          "'\(item)' is not knob=value; a setting is written \(id):knob=value,knob=value")
      }
      guard knobs[sides[0]] == nil else {
        throw KnobError("\(id) is given \(sides[0]) twice")
      }
      knobs[sides[0]] = KnobValue(Self.unquoted(sides[1]))
    }
  }

  /// The parts of a list between commas that stand neither in brackets nor in the quotes of a
  /// value; empty parts are left out.
  public static func pieces(of list: some StringProtocol) -> [String] {
    var pieces: [String] = [], piece = "", depth = 0, quote: Character?, last: Character = ","
    for character in list {
      if let open = quote {
        if character == open { quote = nil }
      } else {
        switch character {
        case "'", "\"": if last == "=" { quote = character }
        case "(", "[", "{": depth += 1
        case ")", "]", "}": depth = max(0, depth - 1)
        default: break
        }
      }
      if character == ",", depth == 0, quote == nil {
        pieces.append(piece)
        piece = ""
      } else {
        piece.append(character)
      }
      if character != " " { last = character }
    }
    return (pieces + [piece]).filter { !$0.isEmpty }
  }

  /// The settings of a list with commas between, as texts: a piece that is a further knob stays
  /// with the setting before it. `a,b:x=1,y=2,c` are three.
  public static func texts(of list: some StringProtocol) -> [String] {
    pieces(of: list).reduce(into: []) { texts, piece in
      if piece.contains("="), !piece.contains(":"), let last = texts.last {
        texts[texts.count - 1] = "\(last),\(piece)"
      } else {
        texts.append(piece.stripped)
      }
    }
  }

  /// A value without the quotes around it.
  private static func unquoted(_ text: String) -> String {
    guard text.count > 2, let quote = text.first, quote == "'" || quote == "\"", text.last == quote
    else { return text }
    return String(text.dropFirst().dropLast())
  }

  /// A value as it is parsed again: in quotes where a comma or spaces would be lost.
  private static func quoted(_ value: KnobValue) -> String {
    let text = "\(value)"
    // Whether another knob behind it would be read as one.
    let isPlain = pieces(of: "=\(text),x") == ["=\(text)", "x"] && unquoted(text.stripped) == text
    guard case .word = value, !isPlain else { return text }
    return text.contains("'") ? "\"\(text)\"" : "'\(text)'"
  }

  /// The text form; parsing it gives an equal setting.
  public var description: String {
    guard !knobs.isEmpty else { return id }
    let all = knobs.sorted { $0.key < $1.key }.map { "\($0.key)=\(Self.quoted($0.value))" }
    return "\(id):\(all.joined(separator: ","))"
  }

  /// Decodes the text form. Throws `KnobError` for text that is no setting, and what the decoder
  /// throws.
  public init(from decoder: any Decoder) throws {
    try self.init(parsing: try decoder.singleValueContainer().decode(String.self))
  }

  /// Encodes the text form. Throws what the encoder throws.
  public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}
