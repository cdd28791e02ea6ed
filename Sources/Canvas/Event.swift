/// What a person does.
public enum Event: Sendable, Hashable {
  /// A key, as the terminal reports it.
  case key(Key)
  /// A button or the wheel, over a cell.
  case mouse(Mouse)
  /// The terminal answered what colour its page has.
  case background(isLight: Bool)
  /// Text that was pasted: never keys, whatever it says.
  case paste(String)
  /// The screen has another size now, in cells.
  case resize(width: Int, height: Int)
  /// Ctrl-C, or SIGINT from elsewhere.
  case interrupt
  /// The terminal is gone or the program is asked to end.
  case hangup
}

/// A key press; what the terminal cannot tell apart is one key (Tab and Ctrl-I, say).
public enum Key: Sendable, Hashable {
  /// A printable character as typed, shift included.
  case character(Character)
  /// With Ctrl held, in lower case.
  case control(Character)
  /// A digit with Alt held; also Esc and a digit that came at once. With anything else Alt is Esc.
  case alt(Character)
  /// F1 and on.
  case function(Int)
  case up, down, left, right, pageUp, pageDown, home, end
  case enter, escape, tab, backTab, backspace, delete

  /// As help shows it.
  public var name: String {
    switch self {
    case .character(" "): "Space"
    case .character(let c): String(c)
    case .control(let c): "Ctrl-" + c.uppercased()
    case .alt(let c): "Alt-" + String(c)
    case .function(let number): "F\(number)"
    case .up: "↑"
    case .down: "↓"
    case .left: "←"
    case .right: "→"
    case .pageUp: "PgUp"
    case .pageDown: "PgDn"
    case .home: "Home"
    case .end: "End"
    case .enter: "Enter"
    case .escape: "Esc"
    case .tab: "Tab"
    case .backTab: "Shift-Tab"
    case .backspace: "Backspace"
    case .delete: "Del"
    }
  }
}

/// A mouse event over a cell.
public struct Mouse: Sendable, Hashable {
  /// What the mouse did; buttons are not told apart.
  public enum Action: Sendable, Hashable { case press, drag, release, wheelUp, wheelDown }

  /// What it did.
  public var action: Action
  /// Column, from 0.
  public var x: Int
  /// Row, from 0.
  public var y: Int

  /// A cell of the screen; nothing is checked.
  public init(_ action: Action, x: Int, y: Int) { (self.action, self.x, self.y) = (action, x, y) }
}

extension Key {
  /// Words in lower case; `lt` and `gt` stand for the brackets of the notation itself.
  private static let names: [(String, Key)] = [
    ("space", .character(" ")), ("up", .up), ("down", .down), ("left", .left), ("right", .right),
    ("pgup", .pageUp), ("pgdn", .pageDown), ("home", .home), ("end", .end), ("enter", .enter),
    ("esc", .escape), ("tab", .tab), ("shift-tab", .backTab), ("backspace", .backspace),
    ("del", .delete), ("lt", .character("<")), ("gt", .character(">")),
  ]

  /// `Space`, `PgUp`, `Ctrl-R`, `Alt-5`, `F5`, or the character itself.
  /// Nil for anything else. Case does not matter in names.
  public init?(named text: String) {
    if let only = text.first, text.count == 1, only != " ", !only.isNewline {
      self = .character(only)
      return
    }
    let name = text.lowercased()
    if let known = Self.names.first(where: { $0.0 == name }) {
      self = known.1
    } else if name.hasPrefix("ctrl-"), name.count == 6, let letter = name.last, letter.isLetter {
      self = .control(letter)
    } else if name.hasPrefix("alt-"), name.count == 5, let digit = name.last,
      ("0"..."9").contains(digit)
    {
      self = .alt(digit)
    } else if name.first == "f", let number = Int(name.dropFirst()), (1...12).contains(number) {
      self = .function(number)
    } else {
      return nil
    }
  }

  /// `<Home>]]:lambda 0.1<Enter>`: names in angle brackets, everything else as it is typed. Nil
  /// names what is no key.
  public static func sequence(_ text: String) -> (keys: [Key], unknown: String?) {
    var keys: [Key] = []
    var rest = Substring(text)
    while let first = rest.first {
      if first == "<", let end = rest.firstIndex(of: ">"), rest.index(after: rest.startIndex) < end
      {
        let name = String(rest[rest.index(after: rest.startIndex)..<end])
        guard name.count > 1, let key = Key(named: name) else { return (keys, "<\(name)>") }
        keys.append(key)
        rest = rest[rest.index(after: end)...]
      } else {
        keys.append(.character(first))
        rest.removeFirst()
      }
    }
    return (keys, nil)
  }
}
