/// Reads the text of a pattern, a character after the other.
struct PatternReader {
  typealias Fault = TokenPattern.Fault
  typealias Node = TokenPattern.Node
  private let text: [Character]
  private var at = 0
  /// Groups that are open.
  private var depth = 0

  /// Groups within groups: more than any pattern has, and few enough to be read one in the other.
  private static let mostDepth = 50

  init(_ text: String) { self.text = Array(text) }

  private var next: Character? { at < text.count ? text[at] : nil }

  /// Takes what comes next if it is this.
  private mutating func take(_ what: String) -> Bool {
    let wanted = Array(what)
    guard text[at...].starts(with: wanted) else { return false }
    at += wanted.count
    return true
  }

  /// All of it. Throws `noPattern` where something is left.
  mutating func read() throws(Fault) -> Node {
    let node = try choice()
    guard at == text.count else { throw .noPattern }
    return node
  }

  /// Up to the end, or the `)` of a group.
  private mutating func choice() throws(Fault) -> Node {
    var branches = [try sequence()]
    while take("|") { branches.append(try sequence()) }
    return branches.count == 1 ? branches[0] : .choice(branches)
  }

  private mutating func sequence() throws(Fault) -> Node {
    var nodes: [Node] = []
    while let character = next, character != "|", character != ")" {
      nodes.append(try repeated(try atom()))
    }
    return .sequence(nodes)
  }

  /// What stands behind an atom: how often it is repeated.
  private mutating func repeated(_ node: Node) throws(Fault) -> Node {
    guard let (least, most) = try counts() else { return node }
    if case .mark = node { throw .noPattern }
    guard most.map({ least <= $0 }) ?? true else { throw .noPattern }
    // In a search for whether there is a match, the shortest is as good as the longest.
    _ = take("?")
    guard next != "+" else {
      throw .refused("Find does not know *+, ++ and ?+, which give nothing back; *, + and ? do.")
    }
    guard try counts() == nil else { throw .noPattern }
    return .repeated(node, least: least, most: most)
  }

  /// `*`, `+`, `?` or `{m,n}`; nil where none of them stands, and for a brace without numbers.
  private mutating func counts() throws(Fault) -> (Int, Int?)? {
    if take("*") { return (0, nil) }
    if take("+") { return (1, nil) }
    if take("?") { return (0, 1) }
    let begin = at
    guard take("{") else { return nil }
    let least = try number(), isPair = take(","), most = isPair ? try number() : least
    guard take("}"), least != nil || most != nil else {
      at = begin
      return nil
    }
    return (least ?? 0, most)
  }

  /// Digits, with blanks round them; nil where there are none.
  private mutating func number() throws(Fault) -> Int? {
    while take(" ") {}
    var digits = ""
    while let digit = next, digit.isASCII, digit.isNumber {
      digits.append(digit)
      at += 1
    }
    while take(" ") {}
    guard !digits.isEmpty else { return nil }
    guard let number = Int(digits) else { throw .noPattern }
    return number
  }

  private mutating func atom() throws(Fault) -> Node {
    guard let character = next else { throw .noPattern }
    if try counts() != nil { throw .noPattern }
    at += 1
    switch character {
    case ".": return .unit(.any)
    case "^": return .mark(.start)
    case "$": return .mark(.end)
    case "[": return .unit(try set())
    case "(": return try group()
    case "\\": return try escaped()
    default: return .unit(.letter(character.lowercased()))
    }
  }

  /// Behind `(`.
  private mutating func group() throws(Fault) -> Node {
    if take("?i)") { return .sequence([]) }
    if take("?<"), next != "=", next != "!" {
      while let letter = next, letter.isLetter || letter.isNumber || letter == "_" { at += 1 }
      guard take(">") else { throw .noPattern }
    } else if text[..<at].last == "<" {
      throw .refused("Find does not look behind: (?<= and (?<! are not known to it.")
    } else if !take("?:"), !take("?i:"), next == "?" {
      throw .refused(
        """
        Find knows the groups ( ), (?: ) and (?i), and none with another sign behind (?: it does \
        not look ahead or behind.
        """)
    }
    depth += 1
    guard depth <= Self.mostDepth else {
      throw .refused("Find takes \(Self.mostDepth) groups within groups, and no more.")
    }
    let node = try choice()
    guard take(")") else { throw .noPattern }
    depth -= 1
    return node
  }

  /// Behind `\`, outside a class.
  private mutating func escaped() throws(Fault) -> Node {
    let marks: [Character: TokenPattern.Mark] = [
      "b": .boundary, "B": .noBoundary, "A": .start, "z": .end,
    ]
    if let letter = next, let mark = marks[letter] {
      at += 1
      return .mark(mark)
    }
    switch try member() {
    case .kind(let kind): return .unit(.kind(kind))
    case .letter("\r") where take("\\n"): return .unit(.letter("\r\n"))
    case .letter(let letter): return .unit(.letter(letter.lowercased()))
    case .range: throw .noPattern
    }
  }

  /// Behind `\`, in a class or outside: a kind, or the character that is meant.
  private mutating func member() throws(Fault) -> TokenPattern.Member {
    guard let letter = next else { throw .noPattern }
    at += 1
    let kinds: [String: TokenPattern.Kind.Name] = ["w": .word, "d": .digit, "s": .space]
    if let kind = kinds[letter.lowercased()] {
      return .kind(TokenPattern.Kind(name: kind, negated: letter.isUppercase))
    }
    let controls: [Character: Character] = [
      "n": "\n", "t": "\t", "r": "\r", "f": "\u{c}", "a": "\u{7}", "e": "\u{1b}",
    ]
    if let control = controls[letter] { return .letter(control) }
    if letter == "x" || letter == "u" { return .letter(try scalar(digits: letter == "x" ? 2 : 4)) }
    guard letter.isASCII, !letter.isLetter, !letter.isNumber else {
      if letter.isASCII, letter.isNumber || "kg".contains(letter) {
        throw .refused(
          "Find cannot repeat what a group has found: \\1 and \\k are not known to it.")
      }
      guard "KGZyYXRNOhHvVpPQEco".contains(letter) else { throw .noPattern }
      throw .refused(
        "Find knows \\w \\d \\s \\W \\D \\S \\b \\B, and no \\\(letter); \\\\ is a backslash."
      )
    }
    return .letter(letter)
  }

  /// Behind `\x` and `\u`: so many hexadecimal digits, or any number of them in braces.
  private mutating func scalar(digits: Int) throws(Fault) -> Character {
    let isBraced = take("{")
    var hex = ""
    while let digit = next, digit.isHexDigit, digit.isASCII, isBraced || hex.count < digits {
      hex.append(digit)
      at += 1
    }
    guard isBraced ? take("}") : (digits == 2 ? !hex.isEmpty : hex.count == digits),
      hex.count <= 8, let scalar = UInt32(hex, radix: 16).flatMap(Unicode.Scalar.init)
    else { throw .noPattern }
    return Character(scalar)
  }

  /// Behind `[`.
  private mutating func set() throws(Fault) -> TokenPattern.Unit {
    let negated = take("^")
    var members: [TokenPattern.Member] = []
    while !take("]") {
      guard text[at...].contains("]") else { throw .noPattern }
      if ["&&", "~~", "--", "["].contains(where: { text[at...].starts(with: $0) }) {
        throw .refused(
          "Find knows no class within a class, and no && -- ~~ between them; \\[ is a bracket.")
      }
      let low = try one()
      guard next == "-", at + 1 < text.count, text[at + 1] != "]", text[at + 1] != "-" else {
        members.append(low)
        continue
      }
      at += 1
      guard case .letter(let first) = low, case .letter(let last) = try one(), first <= last else {
        throw .noPattern
      }
      members.append(.range(first, last))
    }
    guard !members.isEmpty else { throw .noPattern }
    return .oneOf(members, negated: negated)
  }

  /// A character of a class, or a kind.
  private mutating func one() throws(Fault) -> TokenPattern.Member {
    guard let character = next else { throw .noPattern }
    at += 1
    guard character == "\\" else { return .letter(character) }
    if take("b") { return .letter("\u{8}") }
    return try member()
  }
}
