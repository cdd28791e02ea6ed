/// A regular expression as `/` takes it, read and checked: what can be matched in time linear in
/// the text.
///
/// The language: characters, `.`, classes `[a-z]` and `[^a-z]`, `\w \d \s` and `\W \D \S`, groups,
/// `|`, `* + ?` and `{m,n}`, lazy or not, `^ $ \b \B`. Case is ignored. A character is
/// what a person sees as one (a grapheme cluster), as in Swift's own expressions, whose results
/// these are, with one difference: `\b` lies between `\w` and anything else. With repeats written
/// out it has `mostSteps` steps at most.
///
/// Example: `try TokenPattern("(a+)+$")`, then `TokenMatcher(pattern).matches("aab")` is false. The
/// catch: what needs more than a walk over the text (groups that are repeated by number, a look
/// ahead or behind) is refused, with a sentence.
struct TokenPattern {
  /// Why a text is no pattern.
  enum Fault: Error, Equatable {
    /// It cannot be read as one: the signs in it stand for themselves.
    case noPattern
    /// It is one, and is not done here; a sentence.
    case refused(String)
  }

  /// What takes one character.
  enum Unit: Hashable {
    /// One that is written, in lower case.
    case letter(String)
    /// Any but the ends of lines.
    case any
    /// One of a kind.
    case kind(Kind)
    /// One of a class, or none of it.
    case oneOf([Member], negated: Bool)
  }

  /// A part of a class.
  enum Member: Hashable {
    case letter(Character)
    case range(Character, Character)
    case kind(Kind)
  }

  /// `\w`, `\d` and `\s`, or what is none of them.
  struct Kind: Hashable {
    enum Name: Hashable { case word, digit, space }
    let name: Name, negated: Bool
  }

  /// What takes nothing, and holds between two characters.
  enum Mark: Hashable { case start, end, boundary, noBoundary }

  /// A pattern as it is written.
  indirect enum Node {
    case unit(Unit)
    case mark(Mark)
    case sequence([Node])
    case choice([Node])
    /// `most` is nil for as many as there are.
    case repeated(Node, least: Int, most: Int?)
  }

  /// A step of the pattern once it is written out; numbers are those of other steps.
  enum Step {
    /// Takes a character that the unit of this number takes.
    case take(unit: Int, then: Int)
    /// Goes on at both.
    case either(Int, Int)
    /// Goes on where the mark holds.
    case mark(Mark, then: Int)
    case found
  }

  /// Steps that a pattern may have.
  static let mostSteps = 1000

  /// In no order; `first` is where to begin.
  private(set) var steps: [Step] = []
  private(set) var first = 0
  /// What its steps take, each once.
  private(set) var units: [Unit] = []
  private var numbers: [Unit: Int] = [:]
  /// Nodes that may still be written out: repeats of nothing have no steps, and still take time.
  private var nodesLeft = 20 * Self.mostSteps

  /// Reads a pattern. Throws `noPattern` for what is none, `refused` for what is not done here.
  init(_ text: String) throws(Fault) {
    var reader = PatternReader(text)
    let node = try reader.read()
    steps = [.found]
    first = try write(node, then: 0)
  }

  /// Adds the steps of a node in front of those from `then` on; where it begins.
  private mutating func write(_ node: Node, then: Int) throws(Fault) -> Int {
    nodesLeft -= 1
    guard steps.count <= Self.mostSteps, nodesLeft > 0 else {
      throw .refused(
        """
        With its repeats written out this pattern has more than \(Self.mostSteps) steps; \
        {m,n} with smaller numbers, or * and +, are shorter.
        """)
    }
    switch node {
    case .unit(let unit):
      let number = numbers[unit, default: units.count]
      if number == units.count {
        units.append(unit)
        numbers[unit] = number
      }
      return add(.take(unit: number, then: then))
    case .mark(let mark): return add(.mark(mark, then: then))
    case .sequence(let nodes):
      var next = then
      for node in nodes.reversed() { next = try write(node, then: next) }
      return next
    case .choice(let nodes):
      var begin = try write(nodes[nodes.count - 1], then: then)
      for node in nodes.dropLast().reversed() {
        let other = try write(node, then: then)
        begin = add(.either(other, begin))
      }
      return begin
    case .repeated(let node, let least, let most):
      return try write(node, least, most, then: then)
    }
  }

  /// The copies of what is repeated, from the last to the first.
  private mutating func write(_ node: Node, _ least: Int, _ most: Int?, then: Int) throws(Fault)
    -> Int
  {
    var next = then
    if let most {
      for _ in 0..<most - least {
        let begin = try write(node, then: next)
        next = add(.either(begin, then))
      }
    } else {
      let again = add(.either(then, then))
      let begin = try write(node, then: again)
      steps[again] = .either(begin, then)
      next = again
    }
    for _ in 0..<least { next = try write(node, then: next) }
    return next
  }

  private mutating func add(_ step: Step) -> Int {
    steps.append(step)
    return steps.count - 1
  }
}

extension TokenPattern.Unit {
  /// Whether it takes a character; `lower` is the same in lower case.
  func takes(_ character: Character, lower: String) -> Bool {
    switch self {
    case .letter(let own): own == lower
    case .any: !character.isNewline
    case .kind(let kind): kind.holds(character)
    case .oneOf(let members, let negated):
      members.contains { $0.takes(character, lower: lower) } != negated
    }
  }
}

extension TokenPattern.Member {
  fileprivate func takes(_ character: Character, lower: String) -> Bool {
    switch self {
    case .letter(let own):
      (character.isASCII || !own.isASCII) && own.lowercased() == lower
    case .range(let low, let high):
      (character.isASCII || !high.isASCII)
        && [String(character), lower, character.uppercased()].contains {
          guard let one = $0.first, $0.count == 1 else { return false }
          return low <= one && one <= high
        }
    case .kind(let kind): kind.holds(character)
    }
  }
}

extension TokenPattern.Kind {
  func holds(_ character: Character) -> Bool {
    let holds =
      switch name {
      case .word: character.isLetter || character.isNumber || character == "_"
      case .digit: character.isNumber
      case .space: character.isWhitespace
      }
    return holds != negated
  }
}
