import CNCurses
import Canvas
import Glibc

/// What the environment says about the terminal: for starting, and for `attnscope doctor`.
///
/// Nothing here changes the terminal; `usable` and `report` look TERM up in the terminfo data base.
public enum TerminalFacts {
  /// A variable of the environment; nil when it is not set.
  static func variable(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

  /// A TERM that works: the user's, or xterm-256color when its description is not installed here.
  /// Throws `TerminalError` when neither would work; `note` tells the user of a stand-in.
  static func usable() throws -> (name: String, note: String?) {
    let term = variable("TERM") ?? ""
    let info = cn_probe(term)
    if info.known != 0, info.can_position != 0 { return (term, nil) }
    if term.isEmpty || term == "dumb" || info.known != 0 {
      let name = term.isEmpty ? "unset" : term
      throw TerminalError(
        description:
          """
          TERM is \(name), a terminal that cannot place text; set TERM=xterm-256color, or read the \
          summary with | cat
          """
      )
    }
    guard cn_probe("xterm-256color").known != 0 else {
      throw TerminalError(
        description: "TERM=\(term) is unknown here; set TERM=xterm or install ncurses-term")
    }
    return (
      "xterm-256color",
      "TERM=\(Printable.text(term)) is not known on this machine; using xterm-256color"
    )
  }

  /// An explicit C or POSIX locale is respected; no locale at all is not a wish.
  static var mayTryUTF8: Bool {
    for name in ["LC_ALL", "LC_CTYPE", "LANG"] {
      if let value = variable(name), !value.isEmpty { return value != "C" && value != "POSIX" }
    }
    return true
  }

  /// By COLORTERM and the number of colours in terminfo, none when NO_COLOR asks for none
  /// (no-color.org).
  static func colors(_ count: Int) -> Capabilities.Colors {
    if let value = variable("NO_COLOR"), !value.isEmpty { return .mono }
    // COLORTERM is inherited: a description of fewer colours is believed first, and so is GNU
    // screen, which hands it on and takes all but 256 colours for blinking and underlines.
    let claims = variable("COLORTERM").map { $0 == "truecolor" || $0 == "24bit" } ?? false
    if count > 256 || (claims && count == 256 && !isScreen) { return .direct }
    return count == 256 ? .palette : (count >= 8 ? .basic : .mono)
  }

  /// Inside GNU screen, whose name tmux often bears.
  static var isScreen: Bool {
    guard variable("TMUX") == nil else { return false }
    return variable("STY") != nil || (variable("TERM") ?? "").hasPrefix("screen")
  }

  /// Why the screen could not be taken, by what `cn_start` said.
  static func refusal(_ status: Int32, _ name: String) -> TerminalError {
    if Int(status) == Int(CN_IN_BACKGROUND) {
      return TerminalError(
        description: "another program has the terminal; fg brings this one to the front")
    }
    let advice =
      name == "xterm-256color" ? "read the summary with | cat" : "try TERM=xterm-256color"
    return TerminalError(description: "TERM=\(Printable.text(name)) cannot be used; \(advice)")
  }

  /// Refuses a size that no screen has, whoever says it: ncurses would make room for all of it.
  static var tooLarge: TerminalError? {
    var size = winsize()
    _ = ioctl(1, UInt(TIOCGWINSZ), &size)
    let width = variable("COLUMNS").flatMap { Int($0) } ?? Int(size.ws_col)
    let height = variable("LINES").flatMap { Int($0) } ?? Int(size.ws_row)
    guard max(width, height) >= 10_000 || max(width, 1) * max(height, 1) > 1 << 22 else {
      return nil
    }
    return TerminalError(
      description:
        """
        the terminal says that it has \(width) columns and \(height) lines, which no screen has; \
        set its size with stty cols 100 rows 30, and unset COLUMNS and LINES
        """
    )
  }

  /// False of terminals that print a question about their colours instead of answering it.
  static var mayAskColours: Bool {
    let term = variable("TERM") ?? ""
    return !["linux", "vt", "cons", "dumb", "ansi"].contains { term.hasPrefix($0) }
  }

  /// COLORFGBG is `foreground;background`; 7 and 15 are light.
  static var looksLight: Bool {
    guard let last = variable("COLORFGBG")?.split(separator: ";").last, let number = Int(last)
    else { return false }
    return number == 7 || number == 15
  }

  /// Lines of name and verdict.
  /// In the order in which they are printed.
  public static func report() -> [(String, String)] {
    let term = variable("TERM") ?? ""
    let info = cn_probe(term)
    let usable = try? self.usable()
    let utf8 = cn_locale_is_utf8(mayTryUTF8 ? 1 : 0) != 0
    let colors = colors(Int(cn_probe(usable?.name ?? term).colors))
    var size = winsize()
    let hasSize = ioctl(1, UInt(TIOCGWINSZ), &size) == 0
    func yes(_ value: Bool, _ no: String = "no") -> String { value ? "yes" : no }
    return [
      (
        "TERM",
        term.isEmpty ? "unset" : term + (info.known != 0 ? "" : " (no description installed)")
      ),
      (
        "screen",
        usable.map { $0.note ?? "can be used as \($0.name)" }
          ?? "cannot be used: set TERM=xterm-256color"
      ),
      (
        "input and output",
        isatty(0) == 1 && isatty(1) == 1 ? "a terminal" : "not a terminal: open prints the summary"
      ),
      (
        "size",
        hasSize
          ? "\(size.ws_col)x\(size.ws_row)"
            + (size.ws_col < 40 || size.ws_row < 12 ? " (40x12 is the least)" : "") : "unknown"
      ),
      (
        "colours",
        "\(info.colors) of terminfo, COLORTERM \(variable("COLORTERM") ?? "not set"); "
          + "maps use \(colors.words)"
      ),
      ("NO_COLOR", variable("NO_COLOR").map { $0.isEmpty ? "empty, ignored" : "set" } ?? "not set"),
      ("UTF-8", yes(utf8, "no: maps are drawn in ASCII; set LC_ALL=C.UTF-8")),
      (
        "glyphs",
        utf8 ? "half block ▀▄  shade ░▒▓█  braille ⣿⡇  bar ▁▃▅▇  frame ┌┼┘  mark ×╋" : "ASCII only"
      ),
    ] + surroundings()
  }

  /// What lies around the terminal: its page, a multiplexer, a network.
  private static func surroundings() -> [(String, String)] {
    let page =
      looksLight
      ? "light (COLORFGBG)"
      : mayAskColours
        ? "asked of the terminal (OSC 11); else dark, b changes it" : "taken as dark; b changes it"
    return [
      ("background", page),
      (
        "tmux",
        variable("TMUX") == nil
          ? "no" : "yes: set -g mouse on for the mouse, escape-time 10 for a quick Esc"
      ),
      (
        "ssh",
        variable("SSH_CONNECTION") == nil
          ? "no: up to 60 frames a second (--fps)"
          : "yes: up to 10 frames a second (--fps); ssh -C shrinks frames ten times"
      ),
    ]
  }
}
