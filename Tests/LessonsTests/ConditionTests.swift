import Lessons
import Testing

/// Checks of lessons as people write them: what they mean, and what is said about those that mean
/// nothing.
@Suite struct ConditionTests {
  /// What is so; names that are missing are not known yet.
  static let facts: [String: Fact] = [
    "lambda": .number(0.01), "sparsity": .number(0.5), "layer": .number(12), "kl": .number(1e-9),
    "block.margin": .number(.infinity),
    "view": .text("blocks"), "cursor.token": .text(" at"), "search": .text("29"),
    "running": .truth(true), "mute": .truth(false),
    "start.lambda": .number(0.1), "start.view": .text("map"), "start.mute": .truth(false),
  ]

  static func holds(_ text: String) throws -> Bool? { try Condition(text).holds { facts[$0] } }

  @Test(arguments: [
    // Every operator, on both sides of equality.
    ("layer == 12", true), ("layer == 13", false), ("layer != 12", false), ("layer != 13", true),
    ("layer < 12", false), ("layer < 13", true), ("layer <= 12", true), ("layer <= 11", false),
    ("layer > 12", false), ("layer > 11", true), ("layer >= 12", true), ("layer >= 13", false),
    // Numbers: per cent, exponents, signs, and equality to about six digits.
    ("sparsity == 50%", true), ("sparsity >= 50.1%", false), ("lambda == 1e-2", true),
    ("lambda == 1E-2", true), ("lambda > -3", true), ("lambda == +0.01", true),
    ("lambda == .01", true), ("lambda == 0.010000001", true), ("lambda < 0.010000001", false),
    ("lambda == 0.01001", false), ("kl < 1e400", true),
    // The margin of a first block is infinite.
    ("block.margin > 0", true), ("block.margin == 0", false), ("block.margin <= 1e9", false),
    ("block.margin != 3", true), ("block.margin == block.margin", true),
    // Words bare, quoted, in capitals, and numbers that are texts.
    ("view == blocks", true), ("view == Blocks", true), ("view == \"blocks\"", true),
    ("view != map", true), ("cursor.token == \" at\"", true), ("cursor.token == at", false),
    ("search == 29", true), ("view == \"\"", false),
    // Truths by themselves and compared.
    ("running", true), ("not running", false), ("not not running", true), ("mute == off", true),
    ("mute == false", true), ("running == on", true), ("running != true", false),
    ("mute != running", true), ("running == running", true),
    // What was so when the step began.
    ("lambda < start.lambda", true), ("view == start.view", false), ("mute == start.mute", true),
    ("start.lambda > 0.05", true),
    // `or` binds least, then `and`, then `not`.
    ("running or mute and mute", true), ("(running or mute) and mute", false),
    ("not mute and running", true), ("not (mute and running)", true),
    ("mute and mute or running", true), ("not mute or mute and mute", true),
    ("layer==12and mute or running", true), ("\t( ( layer == 12 ) )  ", true),
  ]) func whatItMeans(_ text: String, _ expected: Bool) throws {
    #expect(try Self.holds(text) == expected, "\(text)")
  }

  /// `entropy` and `block.first` are not known.
  @Test(
    arguments: [
      ("entropy > 1", nil), ("block.first", nil), ("not block.first", nil),
      ("entropy > 1 and running", nil), ("entropy > 1 and mute", false),
      ("mute and entropy > 1", false), ("entropy > 1 or running", true),
      ("running or entropy > 1", true), ("entropy > 1 or mute", nil),
      ("not (entropy > 1 and mute)", true), ("entropy == entropy", nil), ("keys < lambda", nil),
      ("lambda < keys", nil), ("start.entropy == 1", nil),
    ] as [(String, Bool?)]) func whatIsNotKnown(_ text: String, _ expected: Bool?) throws
  {
    #expect(try Self.holds(text) == expected, "\(text)")
  }

  @Test(arguments: [
    ("", "column 1: the condition is empty"),
    ("  ", "column 1: the condition is empty"),
    ("speed > 3", "column 1: there is no fact 'speed'"),
    ("start.speed > 3", "column 1: there is no fact 'start.speed'"),
    ("lambda", "column 7: lambda is a number: compare it with something"),
    ("view", "column 5: view is a text: compare it with something"),
    ("lambda >", "column 9: lambda > what?"),
    ("lambda > fast", "there is no fact 'fast'"),
    ("lambda > view", "view is not a number"),
    ("lambda > \"1\"", "column 10: lambda is a number, and this is not"),
    ("view < map", "only == and != make sense"),
    ("running >= true", "only == and != make sense"),
    ("running == 1", "column 12: running is a truth, and this is not"),
    ("view == 2.5", "column 9: view is a text: put it in quotes"),
    ("lambda = 1", "column 8: '=' is no comparison"),
    ("lambda => 1", "column 8: '=>' is no comparison"),
    ("lambda ~ 1", "column 8: '~' is no comparison"),
    ("lambda == 1.2.3", "column 11: '1.2.3' is not a number"),
    ("lambda == --1", "column 11: '--1' is not a number"),
    ("view == \"map", "column 9: a quote is not closed"),
    ("(running", "column 9: ')' is missing"),
    ("running)", "column 8: 'and' or 'or' is missing here"),
    ("running mute", "column 9: 'and' or 'or' is missing here"),
    ("running and", "column 12: a fact is missing"),
    ("and running", "column 1: there is no fact 'and'"),
    ("> 3", "column 1: a fact is missing"),
    ("not", "column 4: a fact is missing"),
  ]) func whatIsWrongIsSaidWithItsColumn(_ text: String, _ expected: String) {
    let error = #expect(throws: ConditionError.self, "\(text)") { try Condition(text) }
    #expect(error?.description.contains(expected) == true, "\(text): \(error?.description ?? "")")
  }

  @Test func namesAreListedOnce() throws {
    let condition = try Condition(
      "lambda > start.lambda and (view == map or not mute) or lambda < 1")
    #expect(condition.names == ["lambda", "start.lambda", "view", "mute"])
    // A bare word behind a text is a word, not a fact.
    #expect(try Condition("view == label").names == ["view"])
  }

  /// Nothing that stands in a file may take the stack.
  @Test(arguments: ["(", "not ", "running and ", "running or ", "((((running) and "])
  func endlessConditionsAreRefused(_ piece: String) {
    for count in [200, 100_000] {
      let text = String(repeating: piece, count: count) + "running"
      if let condition = try? Condition(text) {
        _ = (condition.names, condition.holds { _ in nil })
      }
    }
    #expect(throws: ConditionError.self) {
      try Condition(String(repeating: piece, count: 100_000) + "running")
    }
  }
}
