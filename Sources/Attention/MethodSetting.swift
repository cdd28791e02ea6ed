/// A method of the library with its knobs: what a palette, a state file, a command line and a
/// lesson write.
///
/// One text form everywhere: `lucid`, `lucid:strength=0.5`, `a-shape:initial=16,local=64`. Knobs
/// stand in the order of their names, so that equal settings have equal texts.
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
    for item in parts[1].split(separator: ",") {
      let sides = item.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
      guard sides.count == 2, !sides[0].isEmpty, !sides[1].isEmpty else {
        throw KnobError(
          "'\(item)' is not knob=value; a setting is written \(id):knob=value,knob=value")
      }
      knobs[String(sides[0])] = KnobValue(String(sides[1]))
    }
  }

  /// The text form; parsing it gives an equal setting.
  public var description: String {
    guard !knobs.isEmpty else { return id }
    let all = knobs.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }
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
