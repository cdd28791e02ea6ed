import Analysis
import Attention
import Tensors
import Testing

/// Rows that do not see key 0: two texts in one map, of which neither sees the other.
@Suite struct HiddenKeysTests {
  private static let n = 128, half = 64
  /// Entries that rows see: two triangles.
  private static let seen = half * (half + 1)

  /// Every row looks evenly at what it sees.
  private static let head: Head = {
    var map = [Float](repeating: 0, count: n * n)
    for row in 0..<n {
      let first = row / half * half
      for key in first...row { map[row * n + key] = 1 / Float(row - first + 1) }
    }
    return Head(
      pattern: Tensor(map, shape: [n, n]), causal: true, firsts: (0..<n).map { $0 / half * half })
  }()

  private static func columns(_ range: Range<Int>) -> KeptSet {
    var set = KeptSet(queries: n, keys: n, visibility: head.visibility)
    set.keep(columns: range)
    return set
  }

  /// All is kept: no share is above 1, and the tile that nobody sees is none.
  @Test func keptEntriesAreSeenOnes() throws {
    let head = Self.head, all = Self.columns(0..<Self.n)
    #expect(head.visibleEntries == Self.seen)
    #expect(all.count(0..<Self.n, head.visibility) == Self.seen)
    let numbers = try MaskNumbers(head, all, MethodRun())
    #expect(numbers.density == 1 && numbers.tileDensity == 1 && numbers.visibleBlocks == 2)
    let tiles = try KeptTiles(head, all, MethodRun())
    #expect(tiles.entryDensity == 1 && tiles.density == 1 && tiles.visible == 2)
    // The first key is seen by the first text alone.
    let first = try MaskNumbers(head, Self.columns(0..<1), MethodRun())
    #expect(first.density == 64 / Double(Self.seen) && first.tileDensity == 0.5)
  }

  /// Means of a key are over the rows that see it, and no token of the other text is a copy.
  @Test func meansAreOverRowsThatSee() throws {
    let tokens = (0..<Self.n).map { "\($0 % 2)" }
    let summary = try #require(Summariser(Self.head, tokens: tokens).summary())
    let ofFirst = (1...64).reduce(0.0) { $0 + 1 / Double($1) } / 64
    for key in [0, 64] {
      #expect(abs(Double(summary.importance[key]) - ofFirst) < 1e-6, "key \(key)")
    }
    let reach = try #require(summary.reach)
    #expect(reach.inductionRows == 2 * 62)
    let ofPrevious = (2...64).reduce(0.0) { $0 + 1 / Double($1) } / 63
    #expect(abs((reach.previousToken ?? 0) - ofPrevious) < 1e-6)
  }
}
