import Canvas
import Foundation
import Support
import Testing

#if DEBUG
  @testable import Interface

  /// Patterns of `/`: what Swift's own expressions find, in a time that no pattern can draw out.
  @Suite struct PatternTests {
    private static func finds(_ pattern: String, _ text: String) throws -> Bool {
      var matcher = TokenMatcher(try TokenPattern(pattern))
      return matcher.matches(text)
    }

    /// What Swift's own expression finds, with our rule for ends of words; nil where it is none.
    private static func swift(_ pattern: String, _ text: String) throws -> Bool? {
      guard let regex = try? Regex(pattern).ignoresCase().wordBoundaryKind(.simple) else {
        return nil
      }
      return try regex.firstMatch(in: text) != nil
    }

    /// A pattern of the language, small and random.
    private static func pattern(_ random: inout Seeded, depth: Int) -> String {
      func one(_ list: [String], _ random: inout Seeded) -> String {
        list.randomElement(using: &random)!
      }
      switch Int.random(in: 0..<(depth == 0 ? 6 : 11), using: &random) {
      case 0, 1: return one(["a", "b", "B", "é", "É", "1", "_", "-", "\\.", "🙂", " "], &random)
      case 2: return one([".", "\\w", "\\d", "\\s", "\\W", "\\D", "\\S"], &random)
      case 3:
        return one(["[ab]", "[^a]", "[a-c1]", "[^\\w]", "[\\d_é]", "[A-B-]", "[à-ü]"], &random)
      case 4: return one(["^", "$", "\\b", "\\B"], &random)
      case 5: return one(["ab", "\\n", "a|b", "(?:a|)", "\\x61"], &random)
      case 6, 7: return (0..<3).map { _ in pattern(&random, depth: depth - 1) }.joined()
      case 8: return "(\(pattern(&random, depth: depth - 1))|\(pattern(&random, depth: depth - 1)))"
      default:
        let part = pattern(&random, depth: depth - 1)
        return "(\(part))"
          + one(["*", "+", "?", "{2}", "{1,2}", "{0,1}", "{2,}", "*?", "+?"], &random)
      }
    }

    @Test func thesePatternsFindWhatSwiftFinds() throws {
      var random = Seeded(19), compared = 0, found = 0
      let letters = ["a", "A", "b", "c", "é", "É", "1", "_", "-", ".", " ", "\n", "🙂", "e\u{301}"]
      for _ in 0..<600 {
        let pattern = Self.pattern(&random, depth: 3)
        for _ in 0..<8 {
          let length = Int.random(in: 0..<7, using: &random)
          let text = (0..<length).map { _ in letters.randomElement(using: &random)! }.joined()
          guard let swift = try Self.swift(pattern, text) else { continue }
          let ours = try Self.finds(pattern, text)
          #expect(ours == swift, "\(pattern) in \(text.debugDescription)")
          compared += 1
          found += ours ? 1 : 0
        }
      }
      #expect(compared > 4000 && found > 1000 && found < compared - 1000, "\(compared), \(found)")
    }

    /// The corners of the language, as Swift has them.
    @Test(arguments: [
      ("a$", "a\n"), ("^b", "a\nb"), ("a.b", "a\r\nb"), ("[A-z]", "_"), ("[Z-a]", "m"),
      ("K", "\u{212A}"),
      ("é", "e\u{301}"), ("[à-ü]", "É"), ("\\d", "½"), ("^.$", "e\u{301}"), ("\\n", "\r\n"),
      ("\\r\\n", "\r\n"), ("a{", "a{"), ("a{,3}b", "b"), ("a{1, 2}", "aa"), ("]", "]"), ("}", "}"),
      ("[a-]", "-"), ("[-a]", "-"), ("a|", "b"), ("|", ""), ("()", ""), ("(|a)+", "b"),
      ("x{0}", "y"),
      ("(?i)A", "a"), ("(?<n>a)", "A"), ("\\_", "_"), ("\\x41", "a"), ("\\u{41}", "a"),
      ("x*^a", "a"),
      ("[$^.]", "^"), ("[a\\]b]", "]"), ("[\\b]", "\u{8}"), ("👨", "👨‍👩‍👧"), ("ß", "SS"), ("İ", "i"),
    ])
    func cornersAreSwifts(_ pattern: String, _ text: String) throws {
      let swift = try Self.swift(pattern, text)
      #expect(swift != nil)
      #expect(try Self.finds(pattern, text) == swift, "\(pattern) in \(text.debugDescription)")
    }

    /// What is no pattern in Swift is none here.
    @Test(arguments: [
      "a**", "a+*", "a{2}{3}", "a{2,1}", "[]", "*a", "^*", "(a", "a)", "[a", "\\", "\\q", "[z-a]",
      "[a-\\d]", "[[", "a{99999999999999999999}", "(?<n", "+",
    ])
    func whatIsNoPatternIsPlainText(_ text: String) throws {
      #expect(try Self.swift(text, "a") == nil)
      #expect(throws: TokenPattern.Fault.noPattern) { try TokenPattern(text) }
      #expect(
        TokenSearch(text).refusal == nil && TokenSearch(text).matches(["x\(text)", "x"]) == [0])
    }

    /// What Swift does and this does not is refused, and each refusal says what find knows instead.
    @Test(arguments: [
      ("(a)\\1", "repeat what a group"), ("a(?=b)", "look ahead"), ("(?<!a)b", "look behind"),
      ("(?<=a)b", "look behind"), ("(?>a)", "( ), (?: ) and (?i)"), ("a*+b", "give nothing back"),
      ("\\p{L}", "no \\p"), ("[a&&b]", "class within a class"), ("[[:alpha:]]", "within a class"),
      ("(?-i)a", "( ), (?: ) and (?i)"), ("a{1001}", "more than 1000 steps"),
      ("((a{9}){99}){99}", "more than 1000 steps"), ("((((a{0}){999}){999}){999})*", "1000 steps"),
      (
        String(repeating: "(", count: 60) + String(repeating: ")", count: 60),
        "groups within groups"
      ),
    ])
    func whatIsNotDoneIsRefused(_ pattern: String, _ words: String) throws {
      let refusal = try #require(TokenSearch(pattern).refusal)
      #expect(refusal.contains(words) && refusal.hasSuffix("."), "\(refusal)")
    }

    /// Patterns that make a search by trial and error try for ever, and what each comes to.
    private static let hard: [(pattern: String, simple: String)] = {
      let kinds = [
        ("(a?){40}b", "b"), ("(a|a)*b", "b"), ("(a+)+$", "a$"), ("(.*)*x", "x"),
        ("(\\w|\\d)+!", "\\w!"), ("(a*)*b", "b"), ("((a+)b)*c", "c"), ("(a|b+){2,}!", "[ab]{2}!"),
        ("(a|aa)+$", "a$"), ("(.*.*.*.*)*!", "!"), ("(a?){20}a{20}!", "a{20}!"),
        ("([ab]*)*[^ab]", "[^ab]"), ("(a|b|ab)*c", "c"), ("(\\w+\\s?)*!", "!"), ("(a+a+)+!", "aa!"),
        ("^(([a-z])+)+[A-Z0-9]!", "^[a-z]+[a-z0-9]!"), ("(x+x+)+y", "xxy"), ("(.?){30}!", "!"),
        ("(\\b\\w*)*!", "!"), ("(a|\\w|.)*\\n", "\\n"),
      ]
      return kinds + kinds.map { ("(\($0)|(b+)*!!)", "(\($1)|!!)") }
    }()

    @Test func noPatternTakesForEver() throws {
      #expect(Self.hard.count == 40)
      let texts = ["", "!", "b!"].map { String(repeating: "a", count: 5000) + $0 }
      let begin = ContinuousClock.now
      for (pattern, simple) in Self.hard {
        for text in texts {
          #expect(try Self.finds(pattern, text) == Self.finds(simple, text), "\(pattern)")
        }
      }
      let time = ContinuousClock.now - begin
      #expect(time < (isRelease ? .seconds(1) : .seconds(20)), "\(time)")
    }

    /// As many tokens as the longest files have, of which every fourth is like no other.
    @Test func manyTokensAreSearchedSoon() throws {
      var random = Seeded(131)
      let words = (0..<4000).map { _ in
        let length = Int.random(in: 1..<9, using: &random)
        return String((0..<length).map { _ in "aab !".randomElement(using: &random)! })
      }
      let tokens = (0..<131_072).map { $0 % 4 == 0 ? "ab\($0)" : words[$0 % 4000] }
      var time = Duration.zero
      for (pattern, simple) in Self.hard {
        let begin = ContinuousClock.now
        let found = TokenSearch(pattern).matches(tokens)
        time += ContinuousClock.now - begin
        #expect(found == TokenSearch(simple).matches(tokens), "\(pattern)")
      }
      #expect(time < (isRelease ? .seconds(4) : .seconds(60)), "\(time)")
    }

    /// The file whose tokens made a search by trial and error stop the screen.
    @Test func longTokensOfOneLetter() {
      let tokens = (1...64).map { String(repeating: "a", count: 4 * $0) } + ["aab", "x"]
      for (pattern, simple) in Self.hard {
        #expect(TokenSearch(pattern).matches(tokens) == TokenSearch(simple).matches(tokens))
      }
    }

    /// More states than are kept, and the answer stays right.
    @Test func forgottenStatesChangeNothing() throws {
      var matcher = TokenMatcher(try TokenPattern("a[ab]{14}c")), random = Seeded(14)
      for _ in 0..<40 {
        let text = String((0..<200).map { _ in "ab".randomElement(using: &random)! })
        let (without, with) = (
          matcher.matches(text), matcher.matches("\(text)a\(text.prefix(14))c")
        )
        #expect(with && !without)
      }
    }
  }
#endif
