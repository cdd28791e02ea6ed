public import Attention
public import Sessions

/// The right side of view 6: another head, layer, file, method or tile; what is not named is as on
/// the left.
///
/// Example: `head 4`, `a-shape`, `file 2 tile 64x64`: only differences are said and stored, so that
/// moving the left side takes the right one along in everything else.
public struct Counterpart: Sendable, Hashable {
  /// The head, in whichever file.
  public var head: HeadID
  /// A method of the library; nil is the one of block tables, with the lambda of the left.
  public var method: MethodSetting?
  /// Nil is the tile of the left.
  public var spec: TileSpec?

  /// The same method and tile as on the left, unless given.
  public init(_ head: HeadID, method: MethodSetting? = nil, spec: TileSpec? = nil) {
    (self.head, self.method, self.spec) = (head, method, spec)
  }

  /// Reads `12.3`, `head 4`, `layer 18`, `file 2`, `a-shape`, `tile 64x64`, `desc`, and several of
  /// them: `file 2 12.3`.
  /// Throws `SettingError` with what could stand there. Words are taken in order: a file before its
  /// layers.
  package init(_ text: String, beside view: Viewpoint, _ sources: [SourceDescription])
    throws(SettingError)
  {
    self.init(view.head)
    var spec = view.spec
    var words = text.split(separator: " ").map(String.init)[...]
    while let word = words.popFirst() {
      switch word {
      case "file":
        var place = view
        try ViewSetting.take("file", words.popFirst() ?? "", into: &place, sources)
        head = place.head
      case "layer", "head":
        try setHead(word, words.popFirst() ?? "", sources)
      case "tile", "vote", "order", "criterion", "splits":
        var place = view
        place.spec = spec
        try ViewSetting.take(word, words.popFirst() ?? "", into: &place, sources)
        spec = place.spec
      case "asc", "ascending": spec.order = .ascending
      case "desc", "descending": spec.order = .descending
      default:
        if let (layer, number) = HeadName.read(word) {
          try setHead("layer", layer, sources)
          try setHead("head", number, sources)
        } else if word.first?.isLetter ?? false {
          var setting = word
          // The words of a knob may hold spaces: up to what means something here.
          while setting.contains("="), let next = words.first, !Self.isPlace(next) {
            setting += " " + next
            words = words.dropFirst()
          }
          method = try MethodChoice.read(
            setting, sources[head.source], orElse: "; or 12.3, file 2, tile 64x64, desc")
        } else {
          throw SettingError(
            """
            '\(word)' is nothing to compare with: 12.3, head 4, layer 18, file 2, a-shape, tile \
            64x64, desc
            """
          )
        }
      }
    }
    if spec != view.spec { self.spec = spec }
  }

  /// A word that `init` reads as something else than a part of a method's setting.
  private static func isPlace(_ word: String) -> Bool {
    [
      "file", "layer", "head", "tile", "vote", "order", "criterion", "splits", "asc", "ascending",
      "desc", "descending",
    ].contains(word) || HeadName.read(word) != nil
  }

  /// By the rules of the setting of that name, for the file that was chosen.
  private mutating func setHead(_ name: String, _ value: String, _ sources: [SourceDescription])
    throws(SettingError)
  {
    var place = Viewpoint(sources[head.source])
    place.head = head
    try ViewSetting.take(name, value, into: &place, sources)
    head = place.head
  }

  /// What `init` reads.
  /// The tile is written out in full, so that the text means the same beside any left side.
  package func text(_ sources: [SourceDescription]) -> String {
    let about = sources[head.source]
    var words: [String] = []
    if sources.count > 1 { words.append("file \(head.source + 1)") }
    words.append("\(about.layers[head.layer]).\(about.headNumber(head.head))")
    if let method { words.append(method.description) }
    if let spec {
      words.append(
        "tile \(spec.rows)x\(spec.keys) vote \(spec.vote.rawValue) order \(spec.order.rawValue) "
          + "criterion \(spec.criterion.rawValue) splits \(spec.splits)")
    }
    return words.joined(separator: " ")
  }
}
