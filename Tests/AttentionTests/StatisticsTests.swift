import Attention
import Kernels
import Support
import Synchronization
import Tensors
import Testing

/// The pass that serves every tile preset at once, and the kernels with rows in lanes below it.
@Suite struct StatisticsTests {
  private static let specs: [TileSpec] =
    TilePreset.all.map(\.prefill)
    + [
      TileSpec(rows: 16, keys: 48, vote: .group), TileSpec(rows: 64, keys: 16, order: .descending),
      TileSpec(rows: 32, keys: 32, vote: .group, order: .descending, splits: 3),
      TileSpec(rows: 128, keys: 16, splits: 2),
    ]

  /// Each table is the one that a pass of its own gives: margins to the bit, masses within
  /// rounding.
  @Test(arguments: InstructionSet.allCases.filter(\.isAvailable)) func manyTablesFromOnePass(
    _ isa: InstructionSet
  ) throws {
    let one = Case(
      heads: 2, queries: 150, keys: 170, dim: 24, TileSpec(rows: 16, keys: 16), scale: 1.5)
    let group = one.group(seed: 51)
    let pass = TilePass(group, keysPerTile: 128, precision: .float, isa: isa)
    let together = try #require(pass.tables(Self.specs))
    for (spec, tables) in zip(Self.specs, together) {
      let alone = try #require(
        TilePass(group, keysPerTile: spec.keys, precision: .float, isa: isa).ownTables(spec))
      for (a, b) in zip(tables, alone) {
        #expect(a.margins.map(\.bitPattern) == b.margins.map(\.bitPattern), "\(spec)")
        #expect(a.visibleRows == b.visibleRows && abs(a.entropy - b.entropy) < 1e-5, "\(spec)")
        for (x, y) in [
          (a.massSum, b.massSum), (a.massMax, b.massMax), (a.worstDropped, b.worstDropped),
        ] {
          let worst = zip(x, y).map { abs($0 - $1) }.max()!
          #expect(worst < 2e-5, "\(spec): off by \(worst)")
        }
      }
    }
  }

  @Test func progressReachesTheEnd() throws {
    let one = Case(heads: 1, queries: 600, keys: 600, dim: 8, TileSpec(rows: 128, keys: 128))
    let last = Last()
    _ = TilePass(one.group(seed: 2), keysPerTile: 128).tables(
      [one.spec], progress: Progress { last.raise($0) })
    #expect(last.value == 1)
  }

  @Test func ordersAreThoseOfAStableSort() {
    var random = Seeded(9)
    for count in [1, 2, 47, 48, 49, 300] {
      var margins = (0..<count).map { _ in (random.normal() * 4).rounded() }
      if count > 2 { (margins[1], margins[2]) = (.infinity, -.infinity) }
      var order = [Int32](repeating: 0, count: count)
      var scratch = [UInt32](repeating: 0, count: 4 * count)
      as_order(margins, Int32(count), &order, &scratch)
      let expected = margins.indices.sorted { (margins[$0], $0) < (margins[$1], $1) }
      #expect(order.map(Int.init) == expected, "\(count)")
    }
  }
}

/// The largest value that any thread told.
private final class Last: Sendable {
  private let most = Mutex(0.0)
  var value: Double { most.withLock { $0 } }
  func raise(_ x: Double) { most.withLock { $0 = max($0, x) } }
}
