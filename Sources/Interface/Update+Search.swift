import Attention
import Canvas
import Sessions

/// Finding tokens by their text: while it is typed, and from match to match.
extension Model {
  /// The next token that matches, round the end; a number that no token matches is taken for a
  /// place.
  mutating func findAgain(forward: Bool, includingHere: Bool = false) -> [Effect] {
    guard let search = prompt.search else {
      return say("Nothing was searched for yet; / finds a token.")
    }
    guard !source.tokens.isEmpty else {
      return say("This file has no token texts; --tokens FILE gives them.")
    }
    let isText = viewpoint.view == .tokens, isLive = isText && live != nil
    found = matches(search)
    let matches = found
    guard !matches.isEmpty else {
      guard let number = Int(search) else { return say("No token matches \"\(search)\".") }
      return isLive ? stepTo(number) : performing { $0.goTo(number) }
    }
    let here = isText ? viewpoint.query : viewpoint.key
    let next: Int
    if forward {
      next = matches.first { includingHere ? $0 >= here : $0 > here } ?? matches[0]
    } else {
      next = matches.last { $0 < here } ?? matches[matches.count - 1]
    }
    let effects =
      isLive ? stepTo(next) : performing { isText ? $0.goTo(query: next) : $0.goTo(next) }
    let place = matches.firstIndex(of: next)! + 1
    message =
      "\"\(search)\": match \(place) of \(matches.count), key \(next)\(unseen(next)). "
      + "n next, N previous."
    return effects
  }

  /// Behind a match that the row under the cursor cannot read: why the map shows nothing there.
  private func unseen(_ key: Int) -> String {
    guard viewpoint.view == .map, key >= source.visibility.limit(row: viewpoint.query) else {
      return ""
    }
    return ", later than query \(viewpoint.query)"
  }

  /// Tokens that match, ascending. In the text of a run what comes after the token that is looked
  /// at can be found too.
  private func matches(_ text: String) -> [Int] {
    let end = viewpoint.view == .tokens ? look.length : source.keys
    return TokenSearch(text).matches(source.tokens).filter { $0 < end }
  }

  /// Tokens above which a search waits for Enter: each key must stay quick.
  private static let mostWhileTyping = 1 << 15

  /// A text that each key may search for anew; of others only Enter does.
  private func isQuick(_ text: String) -> Bool {
    source.tokens.count <= Self.mostWhileTyping && TokenSearch.isPlain(text)
  }

  /// What marks are of: they are found anew when it changes.
  struct Searched: Equatable {
    /// What is typed, else what was searched for; empty where it waits for Enter.
    let text: String
    /// The file and the branch whose tokens are searched.
    let source: Int, branch: Int
    /// How many there are; while a run decodes, marks wait for its end.
    let tokens: Int
  }

  /// As the model stands.
  var searched: Searched {
    var text = prompt.search ?? ""
    if case .ask(.find, let typed) = prompt.mode { text = isQuick(typed) ? typed : "" }
    return Searched(
      text: text, source: viewpoint.head.source, branch: frame.branch,
      tokens: live?.phase == .running ? 0 : source.tokens.count)
  }

  /// Marks what matches while it is typed; when typing has ended, what was searched for.
  mutating func followSearch() {
    let text = searched.text
    found = text.isEmpty ? [] : matches(text)
  }

  /// How many tokens match what is being typed, and where the first is.
  var foundSoFar: String {
    guard case .ask(.find, let text) = prompt.mode, !text.isEmpty else { return "" }
    guard isQuick(text) else { return "Enter searches" }
    guard let first = found.first else { return "no match" }
    return "\(found.count) match\(found.count == 1 ? "" : "es"), the first at \(first)"
  }
}

/// `L12H3` and `12.3`: how screens and lists name a head.
enum HeadName {
  /// Layer and head as they are written; nil for anything else.
  static func read(_ text: String) -> (layer: String, head: String)? {
    let word = text.trimmed.lowercased().filter { $0 != " " }
    let isNamed = word.hasPrefix("l")
    let parts =
      isNamed
      ? word.dropFirst().split(separator: "h", omittingEmptySubsequences: false)
      : word.split(separator: ".", omittingEmptySubsequences: false)
    guard parts.count == 2, parts.allSatisfy({ Int($0) != nil }) else { return nil }
    return (String(parts[0]), String(parts[1]))
  }
}

/// Finds tokens by regular expression, or by plain text when the expression is not one; case is
/// ignored.
///
/// Only a text with a sign of regular expressions in it is tried as one; when it cannot be read,
/// the signs stand for themselves.
struct TokenSearch {
  private let expression: Regex<AnyRegexOutput>?
  private let plain: String

  /// Never fails: what is no expression is plain text, and so is one that repeats what repeats, as
  /// `(a+)+` does: it could take for ever.
  init(_ text: String) {
    plain = text.lowercased()
    let isExpression = !Self.isPlain(text) && !Self.repeatsRepeats(text)
    expression = isExpression ? (try? Regex(text))?.ignoresCase() : nil
  }

  /// Without any sign of regular expressions.
  static func isPlain(_ text: String) -> Bool { !text.contains { "\\[](){}.*+?^$|".contains($0) } }

  /// A group with a repetition inside it is repeated itself.
  private static func repeatsRepeats(_ text: String) -> Bool {
    var open: [Bool] = [], closed = false
    for character in text {
      let isRepeat = "*+{".contains(character)
      if closed, isRepeat { return true }
      closed = false
      switch character {
      case "(": open.append(false)
      case ")":
        closed = open.popLast() ?? false
        if closed, !open.isEmpty { open[open.count - 1] = true }
      case _ where isRepeat: for index in open.indices { open[index] = true }
      default: break
      }
    }
    return false
  }

  /// Indices of the tokens that match, ascending.
  func matches(_ tokens: [String]) -> [Int] {
    tokens.indices.filter { index in
      if let expression { return (try? expression.firstMatch(in: tokens[index])) ?? nil != nil }
      return tokens[index].lowercased().contains(plain)
    }
  }
}
