import Attention
import Models
import Synchronization
import Tensors
import Testing

/// What one thread goes on writing while others read: every position that a count tells of is
/// there, whole. (Under ThreadSanitizer these also say that the count itself is what makes it
/// visible.)
@Suite struct GrowingStorageTests {
  private static let dim = 8, most = 700

  /// What stands in a channel of a position.
  private static func value(_ position: Int, _ channel: Int) -> Float {
    Float(position % 1000) + Float(channel) / 16
  }

  private static func row(_ position: Int) -> [Float] {
    (0..<dim).map { value(position, $0) }
  }

  /// One thread writes; two look at the last positions of what they are told of, until they have
  /// seen the end.
  private func race(
    write: @escaping @Sendable (_ tell: (Int) -> Void) -> Void,
    read: @escaping @Sendable (Int) -> Bool
  ) {
    let told = Atomic<Int>(0), wrong = Atomic<Int>(0), looks = Atomic<Int>(0)
    let end = ContinuousClock.now + .seconds(60)
    ComputeThreads(count: 3).forEach(0..<3, isCancelled: { false }) { item in
      if item == 0 {
        write { told.store($0, ordering: .relaxed) }
        return
      }
      var count = 0
      while count < Self.most, ContinuousClock.now < end {
        count = told.load(ordering: .relaxed)
        if count > 0, !read(count) { wrong.add(1, ordering: .relaxed) }
        looks.add(1, ordering: .relaxed)
      }
    }
    #expect(told.load(ordering: .relaxed) == Self.most)
    #expect(wrong.load(ordering: .relaxed) == 0 && looks.load(ordering: .relaxed) >= 2)
  }

  @Test func keysAreReadWhileTheyGrow() {
    let shown = Mutex<CachedKeys?>(nil)
    race { tell in
      let cache = KeyCache(dim: Self.dim, valueDim: Self.dim, capacity: 64)
      for position in 0..<Self.most {
        let row = Self.row(position)
        cache.append(key: row, value: row)
        let snapshot = cache.snapshot
        shown.withLock { $0 = snapshot }
        tell(position + 1)
      }
    } read: { _ in
      guard let keys = shown.withLock({ $0 }) else { return true }
      let positions = max(0, keys.count - 20)..<keys.count
      let expected = positions.flatMap(Self.row)
      return keys.keyRows(positions).floats() == expected
        && keys.valueRows.slice(axis: 0, positions).floats() == expected
    }
  }

  @Test func queriesAreReadWhileTheyGrow() {
    let record = QueryRecord(layers: 1, heads: 1, dim: Self.dim)
    race { tell in
      for position in 0..<Self.most {
        record.queries(0, position..<position + 1, Self.row(position))
        tell(position + 1)
      }
    } read: { count in
      let positions = max(0, count - 20)..<count
      guard let rows = record.tensor(0, head: 0, positions) else { return false }
      return rows.floats() == positions.flatMap(Self.row).map { Float(Float16($0)) }
    }
  }

  /// A position that comes again takes another place than the one that somebody may be reading.
  @Test func rowsThatWereHandedOutStayAsTheyWere() throws {
    let record = QueryRecord(layers: 1, heads: 1, dim: Self.dim, exact: true)
    record.queries(0, 0..<10, (0..<10).flatMap(Self.row))
    let before = try #require(record.tensor(0, head: 0, 0..<10))
    record.queries(0, 5..<7, (105..<107).flatMap(Self.row))
    #expect(before.floats() == (0..<10).flatMap(Self.row))
    #expect(record.positions(0) == 0..<7)
    let after = try #require(record.tensor(0, head: 0, 0..<7))
    #expect(after.floats() == (Array(0..<5) + [105, 106]).flatMap(Self.row))
  }

  /// A branch may begin before the first position whose queries were kept.
  @Test func positionsBeforeThoseThatWereKeptBeginAnew() throws {
    let record = QueryRecord(layers: 1, heads: 1, dim: Self.dim, budget: 0, exact: true)
    for position in 0..<100 { record.queries(0, position..<position + 1, Self.row(position)) }
    #expect(record.positions(0).lowerBound > 10)
    let branch = QueryRecord(copying: record, count: 10)
    branch.queries(0, 9..<10, Self.row(9))
    branch.queries(0, 10..<11, Self.row(10))
    #expect(branch.positions(0) == 9..<11)
    let rows = try #require(branch.tensor(0, head: 0, 9..<11))
    #expect(rows.floats() == [9, 10].flatMap(Self.row))
  }
}
