import Attention
public import Canvas
import Sessions

/// The user's settings: a text of lines `name = value`. A line that is wrong is named and passed
/// over.
///
/// Example: `Config("theme = calm\nfps = 30").problems.isEmpty`. Reading never fails: a program
/// must start with a file that another version wrote. Settings of a view are tried on a source of
/// one head, so that they are known to be right before any file is open.
public struct Config: Sendable {
  /// Actions that get other keys, and which.
  public private(set) var keys: [Action: [Key]] = [:]
  /// Colours of text and frames.
  public private(set) var theme = Theme.standard
  /// 1 to 240; nil leaves it to the terminal.
  public private(set) var framesPerSecond: Int?
  /// Nil leaves it as it is.
  public private(set) var mouse: Bool?
  /// Nil finds it out.
  public private(set) var lightBackground: Bool?
  /// Settings of a view to begin with.
  public private(set) var view: [(name: String, value: String)] = []
  /// `line 7: there is no setting 'colour'`
  public private(set) var problems: [String] = []

  /// Names of view settings that make sense before a file is there.
  private static let viewNames = [
    "lambda", "scale", "pooling", "normalise", "overlay", "colormap", "sort",
  ]

  /// Nothing set.
  public init() {}

  /// Reads the text of a file; the first twenty problems are kept.
  public init(_ text: String) {
    var lines: [Action: Int] = [:]
    for (index, line) in text.textLines.enumerated() {
      let line = line.trimmed
      if line.isEmpty || line.hasPrefix("#") { continue }
      let parts = line.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false).map {
        String($0).trimmed
      }
      let why = parts.count == 2 ? take(parts[0], parts[1]) : "a line is 'name = value'"
      if let why, problems.count < 20 { problems.append("line \(index + 1): \(why)") }
      if why == nil, parts[0].hasPrefix("key."),
        let action = Action(rawValue: String(parts[0].dropFirst(4)))
      {
        lines[action] = index + 1
      }
    }
    nameTheKeyless(lines)
  }

  /// Actions whose only key went to another.
  private mutating func nameTheKeyless(_ lines: [Action: Int]) {
    for row in Keymap(keys).bindings where row.keys.isEmpty {
      let lost = KeyTable.bindings.first { $0.action == row.action }?.keys ?? []
      let taker = keys.first { $0.value.contains { lost.contains($0) } }?.key
      guard let taker, let line = lines[taker], problems.count < 20 else { continue }
      problems.append(
        """
        line \(line): \(row.action.rawValue) is left without a key; bind \
        key.\(row.action.rawValue), too
        """
      )
    }
  }

  /// Nil, or what is wrong.
  /// One line, by its name.
  private mutating func take(_ name: String, _ value: String) -> String? {
    switch name {
    case "theme":
      guard let theme = Theme(rawValue: value) else {
        return
          """
          theme is one of \(Theme.allCases.map(\.rawValue).joined(separator: ", ")), not \
          '\(value)'
          """
      }
      self.theme = theme
    case "fps":
      guard let rate = Int(value), (1...240).contains(rate) else {
        return "fps is 1 to 240, not '\(value)'"
      }
      framesPerSecond = rate
    case "mouse":
      guard let isOn = ["on": true, "off": false][value] else {
        return "mouse is on or off, not '\(value)'"
      }
      mouse = isOn
    case "background":
      guard let choice = ["auto": Bool?.none, "dark": false, "light": true][value] else {
        return "background is auto, dark or light, not '\(value)'"
      }
      lightBackground = choice
    case _ where Self.viewNames.contains(name):
      // Checked against a source of one head: these settings depend on none.
      var scratch = Viewpoint(Self.nothing)
      do throws(SettingError) {
        try ViewSetting.take(name, value, into: &scratch, [Self.nothing])
      } catch {
        return error.description
      }
      view.append((name, value))
    case _ where name.hasPrefix("key."): return bind(String(name.dropFirst(4)), value)
    default:
      return "there is no setting '\(name)'; attnscope config init writes a file with all of them"
    }
    return nil
  }

  /// Binds keys to an action, or says why not: digits are taken, and so are keys that the file gave
  /// to another.
  private mutating func bind(_ name: String, _ value: String) -> String? {
    guard let action = Action(rawValue: name) else { return "there is no action '\(name)'" }
    var bound: [Key] = []
    for word in value.split(separator: " ").map(String.init) {
      guard let key = Key(named: word) else {
        return "'\(word)' is no key; keys are like t, Space, PgUp, Ctrl-R"
      }
      if key.digit != nil {
        return "digits stay as they are: they are views and counts"
      }
      if let other = keys.first(where: { $0.key != action && $0.value.contains(key) })?.key {
        return "\(word) is bound to \(other.rawValue) already"
      }
      bound.append(key)
    }
    guard !bound.isEmpty else { return "which key? as in key.tile = T" }
    keys[action] = bound
    return nil
  }

  /// A source that settings can be tried on.
  private static let nothing = SourceDescription(
    name: "", kind: "", model: nil, layers: [0], heads: 1, kvHeads: 1, queries: 1, keys: 1,
    headDim: 1, visibility: .init(causal: true, queries: 1, keys: 1), tokens: [], hasValues: false)

  /// Everything that can be set, commented out, with what it is now.
  /// Made from the tables themselves, so that the file can never lack a setting.
  public static var standardText: String {
    var lines = [
      """
      # attnscope: settings. A line is 'name = value'; lines that begin with # say what is so \
      without them.
      """,
      "# A line that cannot be read is named when the program starts, and passed over.", "",
      "# Colours of text and frames: \(Theme.allCases.map(\.rawValue).joined(separator: ", ")).",
      "#theme = standard", "# Of the terminal: auto, dark or light.", "#background = auto",
      "# Frames a second at most; without it 60, and 10 over SSH.", "#fps = 60", "#mouse = on", "",
    ]
    let view = Viewpoint(nothing)
    for setting in ViewSetting.all where viewNames.contains(setting.name) {
      lines.append("# \(setting.values)")
      lines.append("#\(setting.name) = \(setting.get(view, [nothing]))")
    }
    lines += [
      "", "# Keys: several are separated by spaces; Space, Enter, PgUp, Ctrl-R are written so.",
    ]
    for row in KeyTable.bindings where row.keys.allSatisfy({ $0.digit == nil }) {
      lines.append("# \(row.name)")
      lines.append("#key.\(row.action.rawValue) = \(row.keys.map(\.word).joined(separator: " "))")
    }
    return lines.joined(separator: "\n") + "\n"
  }
}

/// Keys as words of a text file, where arrows have no glyph.
extension Key {
  /// 0 to 9 for a digit key.
  fileprivate var digit: Int? {
    if case .character(let c) = self, c.isASCII { c.wholeNumberValue } else { nil }
  }

  /// As the config file writes it.
  fileprivate var word: String {
    switch self {
    case .up: "Up"
    case .down: "Down"
    case .left: "Left"
    case .right: "Right"
    default: name
    }
  }
}
