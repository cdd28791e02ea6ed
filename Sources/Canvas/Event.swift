/// What a person does.
public enum Event: Sendable, Hashable {
  case key(Key)
  case mouse(Mouse)
  case resize(width: Int, height: Int)
  /// Ctrl-C, or SIGINT from elsewhere.
  case interrupt
  /// The terminal is gone or the program is asked to end.
  case hangup
}

public enum Key: Sendable, Hashable {
  case character(Character)
  case control(Character)
  case up, down, left, right, pageUp, pageDown, home, end
  case enter, escape, tab, backTab, backspace, delete

  /// As help shows it.
  public var name: String {
    switch self {
    case .character(" "): "Space"
    case .character(let c): String(c)
    case .control(let c): "Ctrl-" + c.uppercased()
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

public struct Mouse: Sendable, Hashable {
  public enum Action: Sendable, Hashable { case press, drag, release, wheelUp, wheelDown }

  public var action: Action
  public var x: Int
  public var y: Int

  public init(_ action: Action, x: Int, y: Int) { (self.action, self.x, self.y) = (action, x, y) }
}
