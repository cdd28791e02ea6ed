import Analysis
import Canvas

/// Conditions on a head, all of which must hold: `error>0.1`, `layer<8,pattern=a-shape`.
///
/// Example: `NumberFilter("error>0.1")?.parts[0].holds(0.2)`. Which numbers there are is the affair
/// of the method; the filter knows names only. A pattern is a word, and can be equal or not.
public struct NumberFilter: Sendable, Hashable, CustomStringConvertible {
  /// The comparisons, the longer signs first so that they are found first.
  public enum Sign: String, Sendable, Hashable, CaseIterable {
    case atMost = "<=", atLeast = ">=", unequal = "!=", below = "<", above = ">", equal = "="
  }

  /// What a part compares with.
  public enum Value: Sendable, Hashable {
    /// In the number's own unit; shares in 0...1.
    case number(Double)
    /// The name of a pattern.
    case word(String)
  }

  /// One condition.
  public struct Part: Sendable, Hashable, CustomStringConvertible {
    /// Name of a finding: lower case, digits and `_`; `pattern` and `assigned` are words.
    public let name: String
    /// How the head's own is compared.
    public let sign: Sign
    /// With what.
    public let value: Value

    /// Whether a number lies on the side that is asked for; NaN never does.
    func holds(_ number: Double) -> Bool {
      guard case .number(let limit) = value, !number.isNaN else { return false }
      return switch sign {
      case .atMost: number <= limit
      case .atLeast: number >= limit
      case .unequal: number != limit
      case .below: number < limit
      case .above: number > limit
      case .equal: number == limit
      }
    }

    /// Whether a word is the one that is asked for, or another one.
    func holds(_ word: String) -> Bool {
      guard case .word(let wanted) = value else { return false }
      return (word == wanted) == (sign == .equal)
    }

    /// As it is typed.
    public var description: String {
      switch value {
      case .word(let word): return "\(name)\(sign.rawValue)\(word)"
      case .number(let limit):
        let isWhole = limit == limit.rounded() && abs(limit) < 1e9
        return "\(name)\(sign.rawValue)" + (isWhole ? "\(Int(limit))" : "\(limit)")
      }
    }
  }

  /// One at least.
  public let parts: [Part]

  /// Names whose values are words.
  static let words: Set<String> = ["pattern", "assigned"]
  /// The words that a pattern can be.
  static var patterns: [String] { PatternLabel.Name.allCases.map(\.rawValue) }

  /// Reads conditions with commas between them; nil for anything else.
  init?(_ text: String) {
    let texts = text.filter { $0 != " " }.split(separator: ",", omittingEmptySubsequences: false)
    let read = texts.compactMap { Self.part(String($0)) }
    guard !read.isEmpty, read.count == texts.count else { return nil }
    parts = read
  }

  /// One condition: a name, a sign and a value.
  private static func part(_ text: String) -> Part? {
    guard let start = text.firstIndex(where: { "<>=!".contains($0) }),
      let sign = Sign.allCases.first(where: { text[start...].hasPrefix($0.rawValue) })
    else { return nil }
    let name = String(text[..<start])
    let value = String(text[start...].dropFirst(sign.rawValue.count))
    guard let first = name.first, first.isLetter,
      name.allSatisfy({ $0 == "_" || ($0.isASCII && ($0.isLowercase || $0.isNumber)) })
    else { return nil }
    if words.contains(name) {
      guard [.equal, .unequal].contains(sign), patterns.contains(value) else { return nil }
      return Part(name: name, sign: sign, value: .word(value))
    }
    guard let limit = Double(value), limit.isFinite else { return nil }
    return Part(name: name, sign: sign, value: .number(limit))
  }

  /// Whether a number of some name is asked about.
  func asks(_ name: String) -> Bool { parts.contains { $0.name == name } }

  /// As it is typed.
  public var description: String { parts.map(\.description).joined(separator: ",") }
}
