import Analysis
import Attention
import Support
import Tensors
import Testing

/// Patterns written by hand, whose scores are known without computing.
@Suite struct ReachTests {
  private static let n = 16
  /// "a b c d" four times.
  private static let tokens = (0..<n).map { ["a", "b", "c", "d"][$0 % 4] }

  /// A causal pattern, `[n, n]`: the whole of a row lies on one key.
  private func head(_ key: (Int) -> Int) -> Head {
    var values = [Float](repeating: 0, count: Self.n * Self.n)
    for row in 0..<Self.n { values[row * Self.n + max(0, min(row, key(row)))] = 1 }
    return Head(pattern: Tensor(values, shape: [Self.n, Self.n]), causal: true)
  }

  private func reach(_ key: @escaping (Int) -> Int, _ tokens: [String] = tokens) throws -> HeadReach
  {
    let summary = try #require(Summariser(head(key), tokens: tokens).summary())
    return try #require(summary.reach)
  }

  @Test func aHeadOfThePreviousToken() throws {
    let found = try reach { $0 - 1 }
    #expect(found.previousToken == 1)
    // Row 0 has no token before: its distance is 0.
    #expect(abs(found.meanDistance - 15.0 / 16) < 1e-9)
    #expect(abs(found.profile[0] - 1.0 / 16) < 1e-9 && abs(found.profile[1] - 15.0 / 16) < 1e-9)
    #expect(found.induction == 0 && found.inductionRows == 12)
  }

  @Test func anInductionHead() throws {
    // What followed the copy four tokens ago stands three tokens back.
    let found = try reach { $0 < 4 ? 0 : $0 - 3 }
    #expect(found.induction == 1 && found.inductionRows == 12)
    #expect(try reach({ $0 < 4 ? 0 : $0 - 3 }, []).induction == nil, "nobody knows the tokens")
    #expect(try reach({ _ in 0 }).induction == 0)
  }

  @Test func distancesAreSummedInPowersOfTwo() throws {
    for away in 0..<Self.n {
      let found = try reach { $0 - away }
      #expect(abs(found.profile.reduce(0, +) - 1) < 1e-9)
      let element = found.profile.indices.filter { HeadReach.distances($0).contains(away) }
      #expect(element.count == 1, "\(away)")
      // The rows that can look so far do.
      let share = Double(Self.n - away) / Double(Self.n)
      #expect(found.profile[element[0]] >= share - 1e-9, "\(away): \(found.profile)")
    }
  }

  /// The same numbers from rows that are read one by one.
  @Test func sumsAreThoseOfTheRows() throws {
    var random = Seeded(5)
    let head = Head(scores: random.tensor([Self.n, Self.n], scale: 2), causal: true)
    let reach = try #require(Summariser(head, tokens: Self.tokens).summary()?.reach)
    var distance = 0.0, previous = 0.0, induction = 0.0, rows = 0
    PatternRows(head).withRows(0..<Self.n) { row, p, _ in
      for key in 0...row { distance += Double(p[key]) * Double(row - key) }
      if row > 0 { previous += Double(p[row - 1]) }
      let copies = (0..<row).filter { Self.tokens[$0] == Self.tokens[row] }.map { $0 + 1 }
        .filter { $0 < row }
      if !copies.isEmpty { rows += 1 }
      for key in copies { induction += Double(p[key]) }
    }
    #expect(abs(reach.meanDistance - distance / Double(Self.n)) < 1e-5)
    #expect(abs((reach.previousToken ?? -1) - previous / Double(Self.n - 1)) < 1e-5)
    #expect(abs((reach.induction ?? -1) - induction / Double(rows)) < 1e-5)
  }
}
