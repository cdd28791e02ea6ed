public import Canvas

/// Who gets the keys, and what is said and typed at the edge of the screen.
///
/// Example: in `Mode.ask(.find, text: "the")` a letter makes the text longer, and Enter gives
/// `.answered(.find, "the")`. Typing is all that is decided here; what comes of it is for the model
/// to do.
public struct Prompt: Sendable {
  /// Who gets the keys.
  public enum Mode: Sendable, Hashable {
    /// The view.
    case normal
    /// The help, from this line on.
    case help(scroll: Int)
    /// The palette: what is typed, and the hit that is chosen.
    case palette(text: String, choice: Int)
    /// A question in the footer.
    case ask(Ask, text: String)
    /// Names to choose from: bookmarks, files of before, or methods.
    case list(List, text: String, choice: Int)
  }

  /// What is chosen from; raw values are titles.
  public enum List: String, Sendable, Hashable {
    case marks = "Bookmarks", recent = "Recent files", library = "Library"
  }

  /// What the footer asks for; raw values are what it says.
  public enum Ask: String, Sendable, Hashable {
    case goTo = "go to key"
    case goToQuery = "go to query"
    case find = "find"
    case goToStep = "go to token"
    case export = "export to (.svg .png .html .txt .ansi .csv .npy)"
    case mark = "bookmark as"
  }

  /// Keys 0 to 6 do something at once, and yet 20j moves by twenty: when a move follows two digits
  /// or more, they were a count, and what they did is taken back.
  ///
  /// Who goes from view to view presses digits too. So 1 to 6 are one number only when they come
  /// within 0.4 seconds of each other, and an arrow behind them is an arrow; a number with a digit
  /// that is no view in it (20, 828) is never mistaken.
  public struct Digits: Sendable {
    var text: String
    /// The view before the first of them.
    let before: Viewpoint
    /// Undo steps before the first of them.
    let undoDepth: Int
    /// Tells this run of digits from a later one.
    let number: Int

    /// A view key comes too late to be of the same number.
    var isClosed = false

    /// All are keys of views.
    var isViews: Bool { text.allSatisfy(Self.isView) }
    /// The key shows a view.
    static func isView(_ digit: Character) -> Bool { ("1"..."6").contains(digit) }

    /// Whether a key that moves has them for its count: an arrow has not, when all are views.
    func isCount(before key: Key) -> Bool {
      if case .character = key { return true }
      return !isViews
    }

    /// The count they would be; nil for a view key alone.
    var count: Int? { text.count > 1 || text > "6" ? min(Int(text) ?? 1 << 24, 1 << 24) : nil }
  }

  /// What a mode lists and scrolls through.
  struct Offer {
    /// What the palette or the list shows for the text that is typed, best first.
    var hits: [String] = []
    /// Lines that a page of the help moves by.
    var page = 1
    /// The last line that the help may begin with.
    var lastScroll = 0
  }

  /// What came of a key.
  enum Outcome: Equatable {
    /// Nothing is done yet, or nothing at all.
    case open
    /// The footer's question has its answer.
    case answered(Ask, String)
    /// Enter in the palette.
    case entered(String, choice: Int)
    /// A name of a list.
    case chosen(List, String)
  }

  /// Who gets the keys.
  public internal(set) var mode = Mode.normal
  /// Digits typed in a row, while they may yet turn out to be a count.
  public internal(set) var digits: Digits?
  /// Said once on the caption line; the next key clears it.
  public internal(set) var message: String?
  /// What `n` goes on to look for; nil when nothing is.
  public internal(set) var search: String?
  /// The last six keys, for the projector.
  public private(set) var pressed: [Key] = []
  /// Ctrl-C pressed with no other key between.
  private(set) var interruptsInARow = 0
  /// The text of a question was proposed and not typed: the first letter takes its place.
  private var isProposed = false
  /// Numbers runs of digits.
  private var digitsSeen = 0

  /// The view gets the keys.
  var isNormal: Bool { mode == .normal }

  // MARK: Update

  /// A key was pressed, whoever gets it; `isShown` keeps it for the projector.
  mutating func note(_ key: Key, isShown: Bool) {
    interruptsInARow = 0
    if isShown { pressed = Array((pressed + [key]).suffix(6)) }
  }

  /// Ctrl-C was pressed. False when it closed a mode and is spent with that.
  mutating func interrupt() -> Bool {
    guard isNormal else {
      mode = .normal
      return false
    }
    interruptsInARow += 1
    return true
  }

  /// The run of digits with one more; `before` and `undoDepth` are kept of its first.
  mutating func typing(_ digit: Int, before: Viewpoint, undoDepth: Int) -> Digits {
    digitsSeen += 1
    let isNew = digits?.isClosed ?? true && Digits.isView(Character("\(digit)"))
    let run = isNew ? nil : digits
    return Digits(
      text: (run?.text ?? "") + String(digit), before: run?.before ?? before,
      undoDepth: run?.undoDepth ?? undoDepth, number: digitsSeen)
  }

  /// The time is over in which a view key would be of the same number.
  mutating func digitIsLate(_ number: Int) {
    guard var run = digits, run.number == number else { return }
    run.isClosed = run.isViews
    digits = run
  }

  /// The time in which a run of digits may go on is over.
  mutating func digitIsOver(_ number: Int) { if digits?.number == number { digits = nil } }

  /// A key while something is open: types, scrolls, chooses, closes.
  mutating func take(_ key: Key, _ offer: Offer) -> Outcome {
    switch mode {
    case .normal: break
    case .help(let scroll): mode = Self.help(key, scroll, offer)
    case .ask(let ask, let text): return take(key, ask, text)
    case .palette(let text, let choice):
      if let next = Self.typed(key, text, choice, offer.hits.count) {
        mode = .palette(text: next.text, choice: next.choice)
      } else if key == .enter {
        close()
        return .entered(text, choice: choice)
      } else if key == .escape || (key == .backspace && text.isEmpty) {
        mode = .normal
      }
    case .list(let list, let text, let choice):
      if let next = Self.typed(key, text, choice, offer.hits.count) {
        mode = .list(list, text: next.text, choice: next.choice)
      } else if key == .enter {
        close()
        return offer.hits.indices.contains(choice) ? .chosen(list, offer.hits[choice]) : .open
      } else if key == .escape || (key == .backspace && text.isEmpty) {
        mode = .normal
      }
    }
    return .open
  }

  /// Back to the view, with nothing said.
  private mutating func close() { (mode, message) = (.normal, nil) }

  /// Asks with an answer proposed: Enter takes it, a letter begins another, backspace edits it.
  mutating func propose(_ ask: Ask, _ text: String) {
    (mode, isProposed) = (.ask(ask, text: text), true)
  }

  /// Types into the footer; 200 characters at most.
  private mutating func take(_ key: Key, _ ask: Ask, _ proposed: String) -> Outcome {
    var text = proposed
    if isProposed, case .character = key { text = "" }
    isProposed = false
    switch key {
    case .escape: mode = .normal
    case .backspace: mode = .ask(ask, text: String(text.dropLast()))
    case .control("u"): mode = .ask(ask, text: "")
    case .character(let c) where text.count < 200: mode = .ask(ask, text: text + String(c))
    case .enter:
      mode = .normal
      return text.isEmpty ? .open : .answered(ask, text)
    default: break
    }
    return .open
  }

  /// Scrolls the help; any other key closes it.
  private static func help(_ key: Key, _ scroll: Int, _ offer: Offer) -> Mode {
    let wanted: Int
    switch key {
    case .up, .character("k"): wanted = scroll - 1
    case .down, .character("j"): wanted = scroll + 1
    case .pageUp: wanted = scroll - offer.page
    case .pageDown, .character(" "): wanted = scroll + offer.page
    case .home: wanted = 0
    default: return .normal
    }
    return .help(scroll: min(max(0, wanted), offer.lastScroll))
  }

  /// A text and a choice after a key that types or chooses; nil for other keys. 80 characters at
  /// most; a new text begins with its best hit.
  private static func typed(_ key: Key, _ text: String, _ choice: Int, _ hits: Int) -> (
    text: String, choice: Int
  )? {
    switch key {
    case .up: (text, max(0, choice - 1))
    case .down, .tab: (text, min(max(hits - 1, 0), choice + 1))
    case .backspace where !text.isEmpty: (String(text.dropLast()), 0)
    case .character(let c) where text.count < 80: (text + String(c), 0)
    default: nil
    }
  }
}
