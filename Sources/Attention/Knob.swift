/// A value that a knob can take, as text and as what it is.
public enum KnobValue: Sendable, Hashable, CustomStringConvertible {
  /// A finite number; whole ones stand for integers.
  case number(Double)
  /// A word: an enumeration's, or `true` and `false`.
  case word(String)

  /// As it is typed: whole numbers without a decimal point.
  public var description: String {
    switch self {
    case .number(let x): x == x.rounded() && abs(x) < 1e9 ? String(Int(x)) : String(x)
    case .word(let text): text
    }
  }

  /// A number where the text is one, else a word.
  public init(_ text: String) {
    self = Double(text).flatMap { $0.isFinite ? .number($0) : nil } ?? .word(text)
  }
}

/// Values of knobs by name; what is left out stands at its standard.
public typealias Knobs = [String: KnobValue]

/// How the keys `[` and `]` move a knob.
public enum KnobStep: Sendable, Hashable {
  /// By so much.
  case add(Double)
  /// By this factor.
  case multiply(Double)
  /// To the next of its words.
  case words
}

/// A setting of a method: its name, help, range, standard and step, whatever type it has.
public struct KnobFacts: Sendable, Hashable {
  /// The values that a knob accepts.
  public enum Range: Sendable, Hashable {
    /// Real numbers, both ends included.
    case number(ClosedRange<Double>)
    /// Whole numbers, both ends included.
    case integer(ClosedRange<Int>)
    /// One of these words, in the order in which `[` and `]` walk them.
    case words([String])
    /// A real number, both ends included, or one of these rules: see `Ruled`.
    case ruled(ClosedRange<Double>, [String])
  }

  /// What users type before the `=`: lower case.
  public let name: String
  /// A clause for help texts.
  public let help: String
  /// The values that are accepted; others make a `KnobError`.
  public let range: Range
  /// The value of a knob that is left out: the paper's, where the paper has one.
  public let standard: KnobValue
  /// How far one key press moves it.
  public let step: KnobStep
  /// `[` and `]` move this one.
  public let isMain: Bool
  /// Other names that are understood: a paper's letter for it.
  public let aliases: [String]
  /// What it does depends on whether other knobs were given: `[` and `]` write down its standard
  /// before they move another.
  public internal(set) var isPinned = false
}

/// A knob with the type its method reads it as.
///
/// Example: `static let strength = Knob("strength", "0 is softmax", 0...1, standard: 1.0, isMain:
/// true)`, then `knobs[Self.strength]` is a `Double`. Kinds: `Double`, `Int`, `Bool`,
/// enumerations of words, and `Ruled`: a number or a rule.
public struct Knob<Value>: Sendable {
  /// The same setting without its type, as cards list it.
  public let facts: KnobFacts
  let read: @Sendable (KnobValue) -> Value

  /// `read` gets values that the range accepts, as the knob spells them.
  init(
    _ name: String, _ help: String, _ range: KnobFacts.Range, _ standard: KnobValue,
    _ step: KnobStep, _ isMain: Bool, _ aliases: [String], isPinned: Bool = false,
    _ read: @escaping @Sendable (KnobValue) -> Value
  ) {
    facts = KnobFacts(
      name: name, help: help, range: range, standard: standard, step: step, isMain: isMain,
      aliases: aliases, isPinned: isPinned)
    self.read = read
  }
}

extension Knob where Value == Double {
  /// A real number within a range.
  public init(
    _ name: String, _ help: String, _ range: ClosedRange<Double>, standard: Double,
    step: KnobStep = .add(0.05), isMain: Bool = false,
    aliases: [String] = []
  ) {
    self.init(name, help, .number(range), .number(standard), step, isMain, aliases) {
      if case .number(let x) = $0 { x } else { standard }
    }
  }
}

extension Knob where Value == Int {
  /// A whole number within a range.
  public init(
    _ name: String, _ help: String, _ range: ClosedRange<Int>, standard: Int,
    step: KnobStep = .add(1), isMain: Bool = false,
    aliases: [String] = []
  ) {
    self.init(name, help, .integer(range), .number(Double(standard)), step, isMain, aliases) {
      if case .number(let x) = $0 { Int(x) } else { standard }
    }
  }
}

extension Knob where Value == Bool {
  /// `true` or `false`.
  public init(
    _ name: String, _ help: String, standard: Bool, isMain: Bool = false, aliases: [String] = []
  ) {
    self.init(
      name, help, .words(["false", "true"]), .word("\(standard)"), .words, isMain, aliases
    ) { if case .word(let text) = $0 { text == "true" } else { standard } }
  }
}

extension Knob
where Value: RawRepresentable & CaseIterable & Sendable, Value.RawValue == String {
  /// One of the words of an enumeration.
  public init(
    _ name: String, _ help: String, standard: Value, isMain: Bool = false,
    aliases: [String] = [], isPinned: Bool = false
  ) {
    self.init(
      name, help, .words(Value.allCases.map(\.rawValue)), .word(standard.rawValue), .words, isMain,
      aliases, isPinned: isPinned
    ) { if case .word(let text) = $0 { Value(rawValue: text) ?? standard } else { standard } }
  }
}

/// Why a setting was not taken: a sentence that names knob, value and range.
public struct KnobError: Error, Sendable, CustomStringConvertible {
  /// The sentence for the user.
  public let description: String

  /// A sentence without a full stop.
  public init(_ description: String) { self.description = description }
}

/// Knob values checked against a card: every knob has a value within its range.
///
/// Example: `let knobs = try CheckedKnobs(["strength": .number(0.5)], for: Self.card)`, then
/// `knobs[Self.strength]`. The catch: asking for a knob of another card is a mistake in the program
/// and traps.
public struct CheckedKnobs: Sendable {
  private let values: Knobs
  /// Names that were given a value, and not left at their standard.
  public let given: Set<String>

  /// Throws `KnobError` for unknown names, values out of range, naming what would be accepted, and
  /// for a knob that is given under two names.
  public init(_ knobs: Knobs, for card: MethodCard) throws(KnobError) {
    var values: Knobs = [:], given: [String: String] = [:]
    for knob in card.knobs { values[knob.name] = knob.standard }
    for (name, value) in knobs.sorted(by: { $0.key < $1.key }) {
      guard let knob = card.knob(name) else {
        let known = card.knobs.map(\.name).joined(separator: ", ")
        throw KnobError(
          "\(card.id) has no knob '\(name)'; it has \(known.isEmpty ? "none" : known)")
      }
      if let complaint = knob.complaint(about: value) {
        throw KnobError("\(card.id): \(complaint)")
      }
      if let other = given[knob.name] {
        throw KnobError(
          "\(card.id): \(other) and \(name) are names of one knob, \(knob.name); give it once")
      }
      values[knob.name] = knob.spelled(value)
      given[knob.name] = name
    }
    (self.values, self.given) = (values, Set(given.keys))
  }

  /// The value of a knob of the card.
  public subscript<Value>(knob: Knob<Value>) -> Value {
    guard let value = values[knob.facts.name] else {
      preconditionFailure("\(knob.facts.name) is no knob of this card")
    }
    return knob.read(value)
  }
}

extension KnobFacts {
  /// What is wrong with a value; nil when nothing is. Words may be spaced as one likes.
  public func complaint(about value: KnobValue) -> String? {
    switch (range, spelled(value)) {
    case (.number(let range), .number(let x)), (.ruled(let range, _), .number(let x)):
      return range.contains(x)
        ? nil : "\(name) = \(x) is outside \(range.lowerBound)...\(range.upperBound)"
    case (.integer(let range), .number(let x)):
      guard x == x.rounded(), abs(x) < 1e15 else {
        return "\(name) must be a whole number and is \(x)"
      }
      return range.contains(Int(x))
        ? nil : "\(name) = \(Int(x)) is outside \(range.lowerBound)...\(range.upperBound)"
    case (.words(let words), .word(let text)):
      return words.contains(text)
        ? nil : "\(name) must be one of \(words.joined(separator: ", ")) and is '\(text)'"
    case (.words(let words), .number):
      return "\(name) must be one of \(words.joined(separator: ", "))"
    case (.ruled(_, let rules), .word(let text)):
      return KnobRule.read(text, rules) != nil
        ? nil
        : "\(name) must be a number or \(rules.joined(separator: ", ")) and is '\(text)'"
    default: return "\(name) must be a number"
    }
  }

  /// The range as help shows it.
  public var rangeText: String {
    switch range {
    case .number(let range): "\(range.lowerBound)...\(range.upperBound)"
    case .integer(let range):
      range.upperBound >= 1 << 30
        ? "\(range.lowerBound)..." : "\(range.lowerBound)...\(range.upperBound)"
    case .words(let words): words.joined(separator: "|")
    case .ruled(let range, let rules):
      "\(range.lowerBound)...\(range.upperBound)|\(rules.joined(separator: "|"))"
    }
  }

  /// The value `steps` steps on, kept within the range.
  public func stepped(_ value: KnobValue, by steps: Int) -> KnobValue {
    switch (range, spelled(value)) {
    case (.ruled(let range, let rules), _): return steppedRule(value, range, rules, steps)
    case (.number(let range), .number(let x)):
      return .number(min(max(moved(x, steps), range.lowerBound), range.upperBound))
    case (.integer(let range), .number(let x)):
      var next = moved(x, steps).rounded()
      if next == x { next += steps > 0 ? 1 : -1 }
      return .number(min(max(next, Double(range.lowerBound)), Double(range.upperBound)))
    case (.words(let words), .word(let text)):
      let at = (words.firstIndex(of: text) ?? 0) + steps
      return .word(words[((at % words.count) + words.count) % words.count])
    default: return standard
    }
  }

  /// The number so many steps on, before it is clamped. A sum is kept a whole multiple of the step,
  /// a product is rounded to three digits, so that what is shown is what is used.
  func moved(_ x: Double, _ steps: Int) -> Double {
    switch step {
    case .add(let size):
      // Whole multiples of the step, so that 0.1 + 0.2 is written 0.3.
      let wanted = ((x / size).rounded() + Double(steps)) * size
      let digits = 1e9
      return (wanted * digits).rounded() / digits
    case .multiply(let factor):
      guard x > 0 else { return steps > 0 ? (range.least ?? 1) : x }
      let next = x * exponential(Double(steps) * logarithm(factor))
      let scale = exponential(
        logarithm(10) * (2 - (logarithm(next) / logarithm(10)).rounded(.down)))
      return (next * scale).rounded() / scale
    case .words: return x
    }
  }
}

extension KnobFacts.Range {
  /// The smallest number above 0 that a multiplying step begins with.
  fileprivate var least: Double? {
    switch self {
    case .number(let range), .ruled(let range, _):
      range.lowerBound > 0 ? range.lowerBound : range.upperBound / 1024
    case .integer: 1
    case .words: nil
    }
  }
}
