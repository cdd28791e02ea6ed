/// Whether texts hold a match of a pattern, in one walk over each.
///
/// All ways through the pattern are followed at once: a state is the set of steps that the text so
/// far can have led to, and each character leads from one state to the next (Thompson, Regular
/// Expression Search Algorithm, 1968). Which state follows on which is worked out once and kept, so
/// that a character costs a look into a table; where more than `mostStates` come up they are
/// forgotten, and a character costs as much as the pattern has steps. No text takes longer.
///
/// Example: `var matcher = TokenMatcher(pattern); tokens.filter { matcher.matches($0) }`. The
/// catch: it is a value that remembers, so hold it in a `var` while many texts are asked.
struct TokenMatcher {
  /// What stands before a place in the text; marks look at it.
  private enum Before: Hashable { case start, word, other }

  /// The steps that a text can have led to, ascending, and what came last.
  private struct State: Hashable {
    let steps: [Int32]
    let before: Before
  }

  /// Characters that no step tells apart.
  private struct Symbol: Hashable {
    /// Whether each unit takes them.
    let taken: [Bool]
    let isWord: Bool
    /// The end of the text, which nothing takes.
    var isEnd = false
  }

  private let pattern: TokenPattern
  private var states: [State] = []
  private var stateNumbers: [State: Int] = [:]
  private var symbols: [Symbol] = []
  private var symbolNumbers: [Symbol: Int] = [:]
  private var ofCharacter: [Character: Int] = [:]
  private var ofASCII = [Int](repeating: -1, count: 128)
  /// `[state][symbol]`: the next state, `unknown` or `found`.
  private var next: [[Int32]] = []
  /// Which steps `reach` has seen, by the number of its call.
  private var seen: [Int]
  private var calls = 0

  private static let unknown: Int32 = -1, found: Int32 = -2
  /// What is kept at most, of states and of characters.
  private static let mostStates = 1000, mostCharacters = 1 << 16

  /// Nothing is matched yet.
  init(_ pattern: TokenPattern) {
    self.pattern = pattern
    seen = [Int](repeating: 0, count: pattern.steps.count)
    let none = [Bool](repeating: false, count: pattern.units.count)
    _ = number(of: Symbol(taken: none, isWord: false, isEnd: true))
    _ = number(of: State(steps: [], before: .start))
  }

  /// Whether a match lies anywhere in the text.
  mutating func matches(_ text: String) -> Bool {
    var state = 0
    for character in text {
      let symbol = symbol(of: character)
      let after = step(state, symbol)
      if after == Self.found { return true }
      state = Int(after)
    }
    return step(state, 0) == Self.found
  }

  /// Where a symbol leads to.
  private mutating func step(_ state: Int, _ symbol: Int) -> Int32 {
    if symbol < next[state].count, next[state][symbol] != Self.unknown {
      return next[state][symbol]
    }
    let (reached, isFound) = reach(states[state], symbols[symbol])
    guard !isFound else { return keep(Self.found, state, symbol) }
    let isWord = symbols[symbol].isWord
    let after = State(steps: reached, before: isWord ? .word : .other)
    if let known = stateNumbers[after] { return keep(Int32(known), state, symbol) }
    guard states.count < Self.mostStates else {
      (states, stateNumbers, next) = ([], [:], [])
      _ = number(of: State(steps: [], before: .start))
      return Int32(number(of: after))
    }
    return keep(Int32(number(of: after)), state, symbol)
  }

  private mutating func keep(_ after: Int32, _ state: Int, _ symbol: Int) -> Int32 {
    while next[state].count <= symbol { next[state].append(Self.unknown) }
    next[state][symbol] = after
    return after
  }

  /// The steps behind a symbol, ascending, and whether the pattern has been found before it. A
  /// match may begin anywhere: its first step is reached at every place.
  private mutating func reach(_ state: State, _ symbol: Symbol) -> ([Int32], found: Bool) {
    calls += 1
    var open = state.steps.map(Int.init) + [pattern.first], after: Set<Int32> = []
    while let step = open.popLast() {
      guard seen[step] != calls else { continue }
      seen[step] = calls
      switch pattern.steps[step] {
      case .found: return ([], true)
      case .either(let one, let other): open += [other, one]
      case .mark(let mark, let then): if holds(mark, state.before, symbol) { open.append(then) }
      case .take(let unit, let then): if symbol.taken[unit] { after.insert(Int32(then)) }
      }
    }
    return (after.sorted(), false)
  }

  /// Whether a mark holds between what came before and the symbol.
  private func holds(_ mark: TokenPattern.Mark, _ before: Before, _ symbol: Symbol) -> Bool {
    switch mark {
    case .start: before == .start
    case .end: symbol.isEnd
    case .boundary: (before == .word) != symbol.isWord
    case .noBoundary: (before == .word) == symbol.isWord
    }
  }

  /// The symbol of a character.
  private mutating func symbol(of character: Character) -> Int {
    if let ascii = character.asciiValue, ascii != 10 || character != "\r\n" {
      if ofASCII[Int(ascii)] < 0 { ofASCII[Int(ascii)] = newSymbol(character) }
      return ofASCII[Int(ascii)]
    }
    if let known = ofCharacter[character] { return known }
    if ofCharacter.count >= Self.mostCharacters { ofCharacter = [:] }
    let symbol = newSymbol(character)
    ofCharacter[character] = symbol
    return symbol
  }

  private mutating func newSymbol(_ character: Character) -> Int {
    let lower = character.lowercased()
    let isWord = TokenPattern.Kind(name: .word, negated: false).holds(character)
    return number(
      of: Symbol(
        taken: pattern.units.map { $0.takes(character, lower: lower) }, isWord: isWord))
  }

  private mutating func number(of symbol: Symbol) -> Int {
    if let known = symbolNumbers[symbol] { return known }
    symbols.append(symbol)
    symbolNumbers[symbol] = symbols.count - 1
    return symbols.count - 1
  }

  private mutating func number(of state: State) -> Int {
    if let known = stateNumbers[state] { return known }
    states.append(state)
    next.append([])
    stateNumbers[state] = states.count - 1
    return states.count - 1
  }
}
