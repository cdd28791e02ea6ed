/// Reads a condition: `or` binds least, then `and`, then `not`, then comparisons.
///
/// By recursive descent, one function for each level of binding. Every error names the column,
/// counted from 1, where the reader would put a finger.
struct ConditionParser {
  /// A piece of the text.
  private enum Token: Equatable {
    case name(String), number(Double), string(String), sign(Condition.Operator), open, close
  }

  private var tokens: [(token: Token, column: Int)] = []
  private var at = 0
  private let end: Int
  private var depth = 0

  /// Cuts the text into tokens. Throws for an open quote, a number that is none and signs that are
  /// no comparison.
  init(_ text: String) throws(ConditionError) {
    let characters = Array(text)
    end = characters.count + 1
    var index = 0
    while index < characters.count {
      let start = index, c = characters[index]
      func take(while condition: (Character) -> Bool) -> String {
        let from = index
        while index < characters.count, condition(characters[index]) { index += 1 }
        return String(characters[from..<index])
      }
      if c == " " || c == "\t" {
        index += 1
      } else if c == "(" || c == ")" {
        index += 1
        tokens.append((c == "(" ? .open : .close, start + 1))
      } else if c == "\"" {
        index += 1
        let content = take { $0 != "\"" }
        guard index < characters.count else { throw Self.error("a quote is not closed", start + 1) }
        index += 1
        tokens.append((.string(content), start + 1))
      } else if c.isLetter {
        tokens.append(
          (.name(take { $0.isLetter || $0.isNumber || "._-".contains($0) }), start + 1))
      } else if "0123456789.-+".contains(c) {
        let digits = take { $0.isNumber || ".-+eE".contains($0) }
        guard var value = Double(digits) else {
          throw Self.error("'\(digits)' is not a number", start + 1)
        }
        if index < characters.count, characters[index] == "%" {
          index += 1
          value /= 100
        }
        tokens.append((.number(value), start + 1))
      } else {
        let sign = take { "=!<>".contains($0) }
        guard let found = Condition.Operator(rawValue: sign) else {
          throw Self.error(
            "'\(sign.isEmpty ? String(c) : sign)' is no comparison: == != < <= > >=", start + 1)
        }
        tokens.append((.sign(found), start + 1))
      }
    }
  }

  /// A chain of comparisons is walked by recursion, so a line of a megabyte must not become one.
  private static let mostTokens = 1000

  /// A complaint about one place.
  private static func error(_ text: String, _ column: Int) -> ConditionError {
    ConditionError(description: "column \(column): \(text)")
  }

  /// Of the next token, or behind the last.
  private var column: Int { at < tokens.count ? tokens[at].column : end }

  /// The whole condition. Throws when there is none, when it is too long, and when something is
  /// left over.
  mutating func whole() throws(ConditionError) -> Condition.Node {
    guard !tokens.isEmpty else { throw Self.error("the condition is empty", 1) }
    guard tokens.count <= Self.mostTokens else {
      throw Self.error("the condition is too long", tokens[Self.mostTokens].column)
    }
    let node = try either()
    guard at == tokens.count else { throw Self.error("'and' or 'or' is missing here", column) }
    return node
  }

  /// Steps over a word if it comes next.
  private mutating func take(_ word: String) -> Bool {
    guard at < tokens.count, tokens[at].token == .name(word) else { return false }
    at += 1
    return true
  }

  /// A chain of `or`.
  private mutating func either() throws(ConditionError) -> Condition.Node {
    var node = try both()
    while take("or") { node = .or(node, try both()) }
    return node
  }

  /// A chain of `and`.
  private mutating func both() throws(ConditionError) -> Condition.Node {
    var node = try single()
    while take("and") { node = .and(node, try single()) }
    return node
  }

  /// A negation, a bracket or a comparison; nesting is bounded, since it is walked by recursion.
  private mutating func single() throws(ConditionError) -> Condition.Node {
    depth += 1
    defer { depth -= 1 }
    guard depth < 100 else { throw Self.error("too deeply nested", column) }
    if take("not") { return .not(try single()) }
    if at < tokens.count, tokens[at].token == .open {
      at += 1
      let node = try either()
      guard at < tokens.count, tokens[at].token == .close else {
        throw Self.error("')' is missing", column)
      }
      at += 1
      return node
    }
    return try comparison()
  }

  /// A fact, and unless it is a truth of its own, what it is compared with.
  private mutating func comparison() throws(ConditionError) -> Condition.Node {
    guard at < tokens.count, case .name(let name) = tokens[at].token else {
      throw Self.error("a fact is missing, such as lambda or view", column)
    }
    let kind = try kind(of: name)
    at += 1
    guard at < tokens.count, case .sign(let sign) = tokens[at].token else {
      guard kind == .truth else {
        throw Self.error("\(name) is a \(kind.rawValue): compare it with something", column)
      }
      return .isTrue(name)
    }
    if kind != .number, sign != .equal, sign != .unequal {
      throw Self.error("\(name) is a \(kind.rawValue): only == and != make sense", column)
    }
    at += 1
    let place = column
    guard at < tokens.count else { throw Self.error("\(name) \(sign.rawValue) what?", place) }
    let token = tokens[at].token
    at += 1
    return .compare(name, sign, try operand(token, kind, name, place))
  }

  /// A word after a text fact is a text, unless it begins with `start.`; after other facts it is
  /// the name of one.
  private func operand(_ token: Token, _ kind: Fact.Kind, _ name: String, _ place: Int)
    throws(ConditionError) -> Condition.Operand
  {
    switch (token, kind) {
    case (.number(let value), .number): return .constant(.number(value))
    case (.string(let text), .text): return .constant(.text(text))
    case (.number(let value), .text):
      guard let whole = Int(exactly: value) else {
        throw Self.error("\(name) is a text: put it in quotes", place)
      }
      return .constant(.text("\(whole)"))
    case (.name("true"), .truth), (.name("on"), .truth): return .constant(.truth(true))
    case (.name("false"), .truth), (.name("off"), .truth): return .constant(.truth(false))
    case (.name(let word), .text):
      return word.hasPrefix(Fact.startPrefix)
        ? .fact(try checked(word, .text)) : .constant(.text(word))
    case (.name(let word), _): return .fact(try checked(word, kind))
    default: throw Self.error("\(name) is a \(kind.rawValue), and this is not", place)
    }
  }

  /// The name again, if it is of the kind that is needed.
  private func checked(_ name: String, _ kind: Fact.Kind) throws(ConditionError) -> String {
    guard try self.kind(of: name) == kind else {
      throw Self.error("\(name) is not a \(kind.rawValue)", column)
    }
    return name
  }

  /// The kind of a fact, with or without `start.`. Throws for a name that is no fact.
  private func kind(of name: String) throws(ConditionError) -> Fact.Kind {
    let plain =
      name.hasPrefix(Fact.startPrefix) ? String(name.dropFirst(Fact.startPrefix.count)) : name
    guard let kind = Fact.kind(plain) else {
      throw Self.error("there is no fact '\(name)'", column)
    }
    return kind
  }
}
