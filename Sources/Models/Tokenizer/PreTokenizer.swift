/// How a text is cut into words before byte-pair merging; no merge crosses a cut.
///
/// Each case is a list of rules. A rule walks over a piece and cuts out its matches; what
/// lies between two matches is a piece too. The rules are those of the models' tokenizer
/// files (the regular expressions are given beside each), written as scanners: linear, and
/// indifferent to what the bytes are. Bytes that are not UTF-8 count as "other", one each.
public enum PreTokenizer: String, Sendable, CaseIterable {
  /// What files without a name for it get: punctuation, then gpt2, then digits by threes.
  case standard = "default"
  case gpt2 = "gpt-2"
  /// Every digit stands alone, then gpt2.
  case smollm
  /// Words with one leading symbol, digits by threes.
  case llama = "llama-bpe"
  /// The same with single digits.
  case qwen2

  /// Applied one after another, each to the pieces the one before left.
  var rules: [SplitRule] {
    switch self {
    case .gpt2: [.gpt2]
    case .standard: [.punctuation, .gpt2, .numbers, .threeDigits]
    case .smollm: [.eachNumber, .gpt2]
    case .llama: [.words(digits: 3)]
    case .qwen2: [.words(digits: 1)]
    }
  }

  /// A piece that is a token as it stands needs no merging.
  var takesWholePieces: Bool { self == .llama }

  /// Cuts a text; the ranges are of its bytes, in order, and leave nothing out.
  package func pieces(_ bytes: [UInt8]) -> [Range<Int>] {
    let text = Characters(bytes)
    var pieces = [0..<text.count]
    for rule in rules { pieces = pieces.flatMap { rule.split(text, $0) } }
    return pieces.map { text.bytes($0) }
  }
}

/// A text as characters with their classes, computed once: rules look at each character
/// several times.
struct Characters {
  /// What the rules tell apart; `other` is symbols, marks, controls and bytes that are no
  /// UTF-8.
  enum Class: UInt8 { case letter, number, space, punctuation, other }

  /// Code points; 0xFFFFFFFF for a byte that is none.
  private(set) var scalars: [UInt32] = []
  /// One for each scalar.
  private(set) var classes: [Class] = []
  private var starts: [Int] = []

  /// Characters, not bytes.
  var count: Int { scalars.count }

  init(_ bytes: [UInt8]) {
    scalars.reserveCapacity(bytes.count)
    classes.reserveCapacity(bytes.count)
    starts.reserveCapacity(bytes.count + 1)
    var at = 0
    while at < bytes.count {
      let (scalar, length) = UTF8Bytes.scalar(bytes, at)
      starts.append(at)
      scalars.append(scalar?.value ?? 0xFFFF_FFFF)
      classes.append(scalar.map(Self.classify) ?? .other)
      at += length
    }
    starts.append(at)
  }

  /// Where characters lie in the text.
  func bytes(_ range: Range<Int>) -> Range<Int> {
    starts[range.lowerBound]..<starts[range.upperBound]
  }

  /// Carriage return counts as well as line feed.
  func isNewline(_ i: Int) -> Bool { scalars[i] == 10 || scalars[i] == 13 }

  /// ASCII by table, for speed; the rest by Unicode's general category.
  private static func classify(_ scalar: Unicode.Scalar) -> Class {
    switch scalar.value {
    case 65...90, 97...122: return .letter
    case 48...57: return .number
    case 9...13, 32: return .space
    case 36, 43, 60...62, 94, 96, 124, 126: return .other
    case 33...126: return .punctuation
    default: break
    }
    if scalar.properties.isWhitespace { return .space }
    switch scalar.properties.generalCategory {
    case .uppercaseLetter, .lowercaseLetter, .titlecaseLetter, .modifierLetter, .otherLetter:
      return .letter
    case .decimalNumber, .letterNumber, .otherNumber: return .number
    case .connectorPunctuation, .dashPunctuation, .openPunctuation, .closePunctuation,
      .initialPunctuation, .finalPunctuation, .otherPunctuation:
      return .punctuation
    default: return .other
    }
  }
}

/// One rule: where a match that starts at a character ends.
enum SplitRule {
  /// `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)`
  case gpt2
  /// `(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,digits}` and then
  /// `| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
  case words(digits: Int)
  /// `[\p{P}$+<=>^~|]+`
  case punctuation
  /// `\p{N}+`
  case numbers
  /// `\p{N}`
  case eachNumber
  /// `[0-9][0-9][0-9]`
  case threeDigits

  /// Cuts a piece into matches and the gaps between them, in order and without loss.
  func split(_ text: Characters, _ piece: Range<Int>) -> [Range<Int>] {
    var out: [Range<Int>] = []
    var gap = piece.lowerBound, at = gap
    while at < piece.upperBound {
      let end = match(text, at, piece.upperBound)
      guard end > at else {
        at += 1
        continue
      }
      if gap < at { out.append(gap..<at) }
      out.append(at..<end)
      (at, gap) = (end, end)
    }
    if gap < piece.upperBound { out.append(gap..<piece.upperBound) }
    return out
  }

  /// The end of a match from `at`, or `at` when there is none.
  private func match(_ text: Characters, _ at: Int, _ end: Int) -> Int {
    switch self {
    case .gpt2: Self.gpt2(text, at, end)
    case .words(let digits): Self.word(text, at, end, digits)
    case .punctuation:
      Self.run(text, at, end) {
        text.classes[$0] == .punctuation
          || [36, 43, 60, 61, 62, 94, 126, 124].contains(text.scalars[$0])
      }
    case .numbers: Self.run(text, at, end) { text.classes[$0] == .number }
    case .eachNumber: text.classes[at] == .number ? at + 1 : at
    case .threeDigits:
      at + 3 <= end && (at..<at + 3).allSatisfy { (48...57).contains(text.scalars[$0]) }
        ? at + 3 : at
    }
  }

  /// The end of the run of characters for which `holds` is true.
  private static func run(_ text: Characters, _ at: Int, _ end: Int, _ holds: (Int) -> Bool) -> Int
  {
    var i = at
    while i < end, holds(i) { i += 1 }
    return i
  }

  /// `[^\s\p{L}\p{N}]`, one character.
  private static func isSymbol(_ text: Characters, _ i: Int) -> Bool {
    text.classes[i] == .other || text.classes[i] == .punctuation
  }

  /// `'s`, `'re` and the like: the end of one that begins at `at`, or `at`.
  private static func contraction(_ text: Characters, _ at: Int, _ end: Int, anyCase: Bool) -> Int {
    guard text.scalars[at] == 39, at + 1 < end else { return at }
    func letter(_ i: Int) -> UInt32 {
      guard i < end else { return 0 }
      let value = text.scalars[i]
      return anyCase && (65...90).contains(value) ? value + 32 : value
    }
    let first = letter(at + 1), second = letter(at + 2)
    switch (Character(Unicode.Scalar(first) ?? " "), Character(Unicode.Scalar(second) ?? " ")) {
    case ("s", _), ("t", _), ("m", _), ("d", _): return at + 2
    case ("r", "e"), ("v", "e"), ("l", "l"): return at + 3
    default: return at
    }
  }

  /// The alternatives of `gpt2` in order; the first that matches wins, as in the expression.
  private static func gpt2(_ text: Characters, _ at: Int, _ end: Int) -> Int {
    let short = contraction(text, at, end, anyCase: false)
    if short > at { return short }
    let start = text.scalars[at] == 32 && at + 1 < end ? at + 1 : at
    for begin in start == at ? [at] : [start, at] {
      let letters = run(text, begin, end) { text.classes[$0] == .letter }
      if letters > begin { return letters }
      let numbers = run(text, begin, end) { text.classes[$0] == .number }
      if numbers > begin { return numbers }
      let symbols = run(text, begin, end) { isSymbol(text, $0) }
      if symbols > begin { return symbols }
    }
    return spaces(text, at, end)
  }

  /// `\s+(?!\S)`: all of a run of spaces at the end of the piece, else all but its last.
  private static func spaces(_ text: Characters, _ at: Int, _ end: Int) -> Int {
    let stop = run(text, at, end) { text.classes[$0] == .space }
    return stop == end || stop == at ? stop : max(at, stop - 1)
  }

  /// The alternatives of `words` in order. Letters may follow one symbol, which is how a
  /// leading space or bracket joins its word.
  private static func word(_ text: Characters, _ at: Int, _ end: Int, _ digits: Int) -> Int {
    let short = contraction(text, at, end, anyCase: true)
    if short > at { return short }
    let isLetter = text.classes[at] == .letter, isNumber = text.classes[at] == .number
    let begin = isLetter || isNumber || text.isNewline(at) ? at : at + 1
    let letters = run(text, begin, end) { text.classes[$0] == .letter }
    if letters > begin { return letters }
    let numbers = run(text, at, min(end, at + digits)) { text.classes[$0] == .number }
    if numbers > at { return numbers }
    let start = text.scalars[at] == 32 && at + 1 < end ? at + 1 : at
    let symbols = run(text, start, end) { isSymbol(text, $0) }
    if symbols > start { return run(text, symbols, end) { text.isNewline($0) } }
    let stop = run(text, at, end) { text.classes[$0] == .space }
    if let newline = (at..<stop).last(where: { text.isNewline($0) }) { return newline + 1 }
    let most = spaces(text, at, end)
    return most > at ? most : stop
  }
}
