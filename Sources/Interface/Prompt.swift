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
    /// The help, from this line on; `find` is what its lines must hold, nil while none is sought.
    case help(scroll: Int, find: String? = nil)
    /// The palette: what is typed, and the hit that is chosen.
    case palette(text: String, choice: Int)
    /// A question in the footer.
    case ask(Ask, text: String)
    /// Names to choose from: bookmarks, files of before, or methods.
    case list(List, text: String, choice: Int)
  }

  /// What is chosen from; raw values are titles.
  public enum List: String, Sendable, Hashable {
    case marks = "Bookmarks", recent = "Recent files", library = "Library", branches = "Branches"
  }

  /// What the footer asks for; raw values are what it says.
  public enum Ask: String, Sendable, Hashable {
    case goTo = "go to key"
    case goToQuery = "go to query"
    case find = "find"
    case goToStep = "go to token"
    case export = "export to (.svg .png .pdf .html .txt .ansi .csv .npy)"
    case mark = "bookmark as"
    case branch = "branch with (lambda, dense or a method)"
  }

  /// Digits wait for the key behind them: before a move they are its count, as in `20j`, `3k` and
  /// `700G`. A single 1 to 6 behind which no key comes shows the view of that number.
  public struct Digits: Sendable, Equatable {
    /// As typed, without zeros at the start.
    let text: String
    /// Tells this run of digits from a later one.
    let number: Int

    /// The count that they are; held to 2^24.
    var count: Int { min(Int(text) ?? 1 << 24, 1 << 24) }
    /// The view that they show when nothing follows.
    var view: ViewKind? { text.count == 1 ? Int(text).flatMap(ViewKind.init) : nil }
  }

  /// What a mode lists and scrolls through. Each is worked out when a key asks for it: to find what
  /// is like a text takes longer than to type a letter of it, and most keys type.
  struct Offer {
    /// What the palette or the list shows for the text that is typed, best first.
    let hits: () -> [String]
    /// Lines that a page of the help moves by.
    let page: Int
    /// The last line that the help may begin with.
    let lastScroll: () -> Int

    /// Nothing is asked for here.
    init(
      hits: @escaping @autoclosure () -> [String] = [], page: Int = 1,
      lastScroll: @escaping @autoclosure () -> Int = 0
    ) {
      (self.hits, self.page, self.lastScroll) = (hits, page, lastScroll)
    }
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
  private(set) var isProposed = false
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

  /// The run of digits with one more.
  mutating func type(digit: Int) -> Digits {
    digitsSeen += 1
    let run = Digits(text: String((digits?.text ?? "") + "\(digit)"), number: digitsSeen)
    digits = run
    return run
  }

  /// No key came behind a run of digits: the view that it shows, if it is one. A longer number goes
  /// on waiting, and stands in the footer.
  mutating func digitIsLate(_ number: Int) -> ViewKind? {
    guard let run = digits, run.number == number, let view = run.view else { return nil }
    digits = nil
    return view
  }

  /// Text that was pasted while something is typed: its first line, at once. False when nothing
  /// is, and then nothing was done.
  mutating func paste(_ text: String) -> Bool {
    let line = text.split(whereSeparator: \.isNewline).first.map(String.init) ?? ""
    let clean = String(line.filter { !$0.isNewline && $0 != "\t" })
    switch mode {
    case .normal, .help(_, nil): return false
    case .help(_, let find?): mode = .help(scroll: 0, find: String((find + clean).prefix(40)))
    case .ask(let ask, let before):
      mode = .ask(ask, text: String(((isProposed ? "" : before) + clean).prefix(200)))
      isProposed = false
    case .palette(let before, _):
      mode = .palette(text: String((before + clean).prefix(Self.mostTyped)), choice: 0)
    case .list(let list, let before, _):
      mode = .list(list, text: String((before + clean).prefix(Self.mostTyped)), choice: 0)
    }
    return true
  }

  /// Characters that the palette and the lists take; paths are longer than names.
  private static let mostTyped = 200

  /// A key while something is open: types, scrolls, chooses, closes.
  mutating func take(_ key: Key, _ offer: Offer) -> Outcome {
    switch mode {
    case .normal: break
    case .help(let scroll, let find): mode = Self.help(key, scroll, find, offer)
    case .ask(let ask, let text): return take(key, ask, text)
    case .palette(let text, let choice):
      if let next = Self.typed(key, text, choice, offer) {
        mode = .palette(text: next.text, choice: next.choice)
      } else if key == .enter {
        close()
        return .entered(text, choice: choice)
      } else if key == .escape || (key == .backspace && text.isEmpty) {
        mode = .normal
      }
    case .list(let list, let text, let choice):
      if let next = Self.typed(key, text, choice, offer) {
        mode = .list(list, text: next.text, choice: next.choice)
      } else if key == .enter {
        close()
        let hits = offer.hits()
        return hits.indices.contains(choice) ? .chosen(list, hits[choice]) : .open
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

  /// Scrolls the help or types what is sought in it; any other key closes it.
  private static func help(_ key: Key, _ scroll: Int, _ find: String?, _ offer: Offer) -> Mode {
    let wanted: Int
    switch (key, find) {
    case (.up, _), (.character("k"), nil): wanted = scroll - 1
    case (.down, _), (.character("j"), nil): wanted = scroll + 1
    case (.pageUp, _): wanted = scroll - offer.page
    case (.pageDown, _), (.character(" "), nil): wanted = scroll + offer.page
    case (.home, _): wanted = 0
    case (.end, _): wanted = offer.lastScroll()
    case (.character("/"), nil): return .help(scroll: 0, find: "")
    case (.character(let c), let text?) where text.count < 40:
      return .help(scroll: 0, find: text + String(c))
    case (.backspace, let text?):
      return .help(scroll: 0, find: text.isEmpty ? nil : String(text.dropLast()))
    case (.escape, _?): return .help(scroll: 0)
    default: return .normal
    }
    return .help(scroll: min(max(0, wanted), offer.lastScroll()), find: find)
  }

  /// A text and a choice after a key that types or chooses; nil for other keys. 200 characters
  /// at most; a new text begins with its best hit.
  private static func typed(_ key: Key, _ text: String, _ choice: Int, _ offer: Offer) -> (
    text: String, choice: Int
  )? {
    switch key {
    case .up: (text, max(0, choice - 1))
    case .down, .tab: (text, min(max(offer.hits().count - 1, 0), choice + 1))
    case .backspace where !text.isEmpty: (String(text.dropLast()), 0)
    case .character(let c) where text.count < mostTyped: (text + String(c), 0)
    default: nil
    }
  }
}
