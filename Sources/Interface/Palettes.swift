import Canvas

/// The palette's list: every action by name and every command with what it takes, fuzzy, the best
/// hit first.
///
/// Example: `Palettes.best("nh", names) { $0 }` puts "next head" first. With nothing typed the
/// commands come first, then actions, and moves last: nobody opens a list to press an arrow.
enum Palettes {
  /// A line of the list.
  enum Item {
    /// Runs as it stands.
    case action(Binding)
    /// A command as one would write it, and what it does.
    case command(String, String)

    /// What is shown and matched.
    var text: String {
      switch self {
      case .action(let binding): binding.name
      case .command(let text, _): text
      }
    }

    /// What stands on the right: a key, or what the command does.
    var note: String {
      switch self {
      case .action(let binding): binding.keys.first?.name ?? ""
      case .command(_, let what): what
      }
    }
  }

  /// Actions and commands for what is typed.
  static func hits(_ text: String, _ bindings: [Binding]) -> [Item] {
    let commands = KeyTable.commands.map { Item.command($0.text, $0.what) }
    let actions = bindings.map(Item.action)
    guard !text.isEmpty else {
      func isMove(_ binding: Binding) -> Bool { binding.group == "Move" }
      return commands + bindings.filter { !isMove($0) }.map(Item.action)
        + bindings.filter(isMove).map(Item.action)
    }
    let word = text.lowercased().split(separator: " ").first.map(String.init) ?? ""
    let hasValue = text.contains(" ")
    // A command whose name is typed in full comes before what is merely like it.
    let named = commands.filter { names($0.text).contains(word) }
    let like = best(text, (hasValue ? [] : commands) + actions, \.text)
    return named + like.filter { item in !named.contains { $0.text == item.text } }
  }

  /// First words of the commands that a line shows: `layer 12, head 3` has two.
  private static func names(_ example: String) -> [String] {
    example.split(separator: ",").compactMap { $0.split(separator: " ").first.map(String.init) }
  }

  /// Items whose name matches, best first; an empty text matches all, in order.
  static func best<Item>(_ text: String, _ items: [Item], _ name: (Item) -> String) -> [Item] {
    let wanted = text.lowercased().filter { $0 != " " }
    let scored = items.compactMap { item in
      score(wanted, name(item).lowercased()).map { (item, $0) }
    }
    return scored.sorted { $0.1 < $1.1 }.map(\.0)
  }

  /// 0 for a prefix, 1 for a part, then the words that were jumped; nil when it does not match. A
  /// letter must follow the one before it or begin a word: `nh` finds "next head", and `blah` finds
  /// nothing.
  private static func score(_ wanted: String, _ name: String) -> Int? {
    // Every letter of it must be found: a text that was pasted is longer than any name.
    guard wanted.count <= name.count else { return nil }
    let squeezed = name.filter { $0 != " " }
    if squeezed.hasPrefix(wanted) { return 0 }
    if squeezed.contains(wanted) { return 1 }
    var words = name.split { !$0.isLetter && !$0.isNumber }.map { Substring($0) }
    var rest = Substring(wanted), jumps = 1
    while !rest.isEmpty {
      guard let word = words.first else { return nil }
      words.removeFirst()
      let common = zip(word, rest).prefix { $0 == $1 }.count
      rest = rest.dropFirst(common)
      jumps += 1
    }
    return jumps
  }
}
