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

  /// The budget of a label is a tenth of what rows see, and shapes are filled by what they cover
  /// of it: with a window of 9 it was a tenth of the whole triangle.
  @Test func labelsCountSeenEntries() throws {
    let n = 90, window = 9
    let map = (0..<n * n).map { at in
      at % n <= at / n && at % n > at / n - window ? 1 / Float(1 + (at * 7) % 11) : 0
    }
    let head = Head(
      pattern: Tensor(map, shape: [n, n]), causal: true,
      firsts: (0..<n).map { max(0, $0 - window + 1) })
    let label = try #require(Summariser(head).summary()).label
    let most = Double(head.visibleEntries / 10)
    #expect(label.candidates.count >= 3)
    for candidate in label.candidates {
      let kept = candidate.density * Double(head.visibleEntries)
      #expect(kept <= most + 1e-6, "\(candidate.name) keeps \(kept) of \(most)")
      #expect(candidate.name == .hybrid || kept > 0.8 * most, "\(candidate.name): \(kept)")
    }
    // 774 entries are seen, so 77 may be kept: neither the diagonal of 90 nor nine columns fit.
    let aShape = try #require(label.candidates.first { $0.name == .aShape })
    #expect(aShape.detail == "first 8 + local 0", "\(aShape.detail)")
  }

  /// Cells are means of seen entries, and a cell without any is NaN: those before the window were
  /// 0, and counted where they shared a cell with seen ones.
  @Test func picturesLeaveOutWhatIsHidden() throws {
    let n = Self.n, window = MapWindow(queries: 0..<n, keys: 0..<n)
    let map = try #require(PooledMap.of(Self.head, window: window, rows: 2, columns: 2))
    #expect(map.max[2].isNaN && map.mean[2].isNaN && map.mean[1].isNaN)
    // The second text alone: 64 rows that sum to 1, over a triangle.
    #expect(abs(map.mean[3] - 64 / Float(64 * 65 / 2)) < 1e-6)
    let wide = try #require(PooledMap.of(Self.head, window: window, rows: 1, columns: 1))
    #expect(abs(wide.mean[0] - Float(n) / Float(Self.seen)) < 1e-6)
  }
}
