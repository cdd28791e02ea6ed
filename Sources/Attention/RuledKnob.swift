/// What a knob holds that takes a number, or a rule by which a method finds one.
///
/// A rule is a case of an enumeration whose raw value is its text. One that begins with `x` takes a
/// number in the place of x: under `case overLength = "x/n"` the text `-3.2/n` is
/// `.rule(.overLength, -3.2)`.
///
/// Example: `static let b = Knob("b", "added to scores", -16...16, standard: .rule(Bias.length))`.
/// The catch: only the number itself is held to the knob's range; what a rule gives is the method's
/// to judge.
public enum Ruled<Rule: Sendable>: Sendable {
  /// The number itself.
  case number(Double)
  /// The rule, and the number in the place of x: 1 for rules without one.
  case rule(Rule, Double)

  /// A rule that takes no number.
  public static func rule(_ rule: Rule) -> Ruled { .rule(rule, 1) }
}

extension Knob {
  /// A real number within a range, or one of the rules of an enumeration.
  public init<Rule>(
    _ name: String, _ help: String, _ range: ClosedRange<Double>, standard: Ruled<Rule>,
    step: KnobStep = .add(0.05), isMain: Bool = false, aliases: [String] = []
  )
  where
    Value == Ruled<Rule>, Rule: RawRepresentable & CaseIterable & Sendable, Rule.RawValue == String
  {
    let rules = Rule.allCases.map(\.rawValue)
    let value: KnobValue =
      switch standard {
      case .number(let x): .number(x)
      case .rule(let rule, let x): .word(KnobRule(rule.rawValue).text(x))
      }
    self.init(name, help, .ruled(range, rules), value, step, isMain, aliases) {
      switch $0 {
      case .number(let x): .number(x)
      case .word(let text):
        KnobRule.read(text, rules).flatMap { found in
          Rule(rawValue: found.rule.raw).map { .rule($0, found.x) }
        } ?? standard
      }
    }
  }
}

/// The text of a rule: as it stands, or with a number in the place of its leading x.
struct KnobRule: Sendable, Hashable {
  /// As the enumeration writes it: `-ln n`, `x/n`.
  let raw: String

  /// Any text.
  init(_ raw: String) { self.raw = raw }

  /// What follows the number; nil for rules without one.
  private var tail: Substring? {
    let rest = raw.dropFirst()
    return raw.hasPrefix("x") && rest.first?.isLetter == false ? rest : nil
  }

  /// A number may stand in the place of x.
  var takesNumber: Bool { tail != nil }

  /// The text with a number in the place of x; the text itself where there is no x.
  func text(_ x: Double) -> String { tail.map { "\(KnobValue.number(x))\($0)" } ?? raw }

  /// The number in the place of x that makes this rule of a text; 1 where it has no x, nil for
  /// another text. Spaces, case and the kind of minus do not count.
  func number(in text: String) -> Double? {
    guard let tail else { return raw.isSpelled(text) ? 1 : nil }
    let given = text.squeezed, end = String(tail).squeezed
    guard given.hasSuffix(end) else { return nil }
    switch given.dropLast(end.count) {
    case "", "x": return 1
    case "-": return -1
    case let digits: return Double(digits).flatMap { $0.isFinite ? $0 : nil }
    }
  }

  /// The rule that a text means, with its number; nil where it means none.
  static func read(_ text: String, _ rules: [String]) -> (rule: KnobRule, x: Double)? {
    for rule in rules.map(KnobRule.init) {
      if let x = rule.number(in: text) { return (rule, x) }
    }
    return nil
  }
}

extension String {
  /// In lower case without spaces, every minus a hyphen: what spellings of one word have in common.
  var squeezed: String {
    String(lowercased().map { $0 == "\u{2212}" ? "-" : $0 }.filter { !$0.isWhitespace })
  }

  /// Both are the same word, however it is spaced.
  func isSpelled(_ other: String) -> Bool { self == other || squeezed == other.squeezed }
}

extension StringProtocol {
  /// Without spaces at either end.
  var stripped: String {
    guard let first = firstIndex(where: { !$0.isWhitespace }),
      let last = lastIndex(where: { !$0.isWhitespace })
    else { return "" }
    return String(self[first...last])
  }
}

extension KnobFacts {
  /// A value as the knob itself writes it: `None` for `none`, `1 - A_i1` for `1-A_i1`. What is none
  /// of its words is left as it is, for `complaint` to name.
  public func spelled(_ value: KnobValue) -> KnobValue {
    guard case .word(let text) = value else { return value }
    switch range {
    case .number, .integer: return value
    case .words(let words):
      let same = words.contains(text) ? text : words.first { $0.isSpelled(text) }
      return same.map { .word($0) } ?? value
    case .ruled(_, let rules):
      return KnobRule.read(text, rules).map { .word($0.rule.text($0.x)) } ?? value
    }
  }

  /// Rules without a number stand before the numbers: a step beyond the last of them is the lowest
  /// number, and back. The number of a rule that has one moves by the step.
  func steppedRule(
    _ value: KnobValue, _ range: ClosedRange<Double>, _ rules: [String], _ steps: Int
  ) -> KnobValue {
    let plain = rules.filter { !KnobRule($0).takesNumber }
    switch spelled(value) {
    case .number(let x):
      if steps < 0, x <= range.lowerBound, !plain.isEmpty {
        return .word(plain[max(0, plain.count + steps)])
      }
      return .number(min(max(moved(x, steps), range.lowerBound), range.upperBound))
    case .word(let text):
      guard let (rule, x) = KnobRule.read(text, rules) else { return standard }
      guard let at = plain.firstIndex(of: rule.raw) else {
        return .word(rule.text(moved(x, steps)))
      }
      return at + steps < plain.count
        ? .word(plain[max(0, at + steps)]) : .number(range.lowerBound)
    }
  }
}
