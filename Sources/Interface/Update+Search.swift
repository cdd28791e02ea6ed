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
    if let refusal = TokenSearch(search).refusal {
      found = []
      return say(refusal)
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

/// Finds tokens by a pattern (`TokenPattern`), or by plain text when the text is none; case is
/// ignored.
///
/// Only a text with a sign of patterns in it is tried as one; when it cannot be read, the signs
/// stand for themselves. Time is linear in the text of the tokens, whatever the pattern.
struct TokenSearch {
  private let pattern: TokenPattern?
  private let plain: String
  /// Why a pattern is not searched for, in a sentence: nothing matches it.
  let refusal: String?

  /// Never fails: what is no pattern is plain text.
  init(_ text: String) {
    plain = text.lowercased()
    guard !Self.isPlain(text) else {
      (pattern, refusal) = (nil, nil)
      return
    }
    do throws(TokenPattern.Fault) {
      (pattern, refusal) = (try TokenPattern(text), nil)
    } catch {
      pattern = nil
      if case .refused(let why) = error { refusal = why } else { refusal = nil }
    }
  }

  /// Without any sign of patterns.
  static func isPlain(_ text: String) -> Bool { !text.contains { "\\[](){}.*+?^$|".contains($0) } }

  /// Indices of the tokens that match, ascending.
  func matches(_ tokens: [String]) -> [Int] {
    guard refusal == nil else { return [] }
    guard let pattern else {
      return tokens.indices.filter { tokens[$0].lowercased().contains(plain) }
    }
    var matcher = TokenMatcher(pattern)
    // A text repeats its tokens: each is looked at once.
    var known: [String: Bool] = [:]
    return tokens.indices.filter { index in
      if let holds = known[tokens[index]] { return holds }
      let holds = matcher.matches(tokens[index])
      known[tokens[index]] = holds
      return holds
    }
  }
}
