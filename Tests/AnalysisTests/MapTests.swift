import Analysis
import Attention
import Support
import Tensors
import Testing

/// The fast map against the one that goes over whole rows of the pattern.
@Suite struct MapTests {
  @Test(arguments: [nil, 0, 37], [true, false]) func fastAndSlowAgree(_ muted: Int?, _ causal: Bool)
    throws
  {
    let one = Case(
      heads: 1, queries: 300, keys: 310, dim: 24, causal: causal,
      TileSpec(rows: 16, keys: 16), scale: 1.5)
    let head = one.group(seed: 61).heads[0]
    let pass = try #require(MapPass(head))
    for window in [
      MapWindow(queries: 0..<300, keys: 0..<310), MapWindow(queries: 100..<217, keys: 33..<150),
      MapWindow(queries: 299..<300, keys: 309..<310), MapWindow(queries: 5..<8, keys: 200..<310),
    ] {
      let slow = try #require(
        PooledMap.slow(head, window: window, rows: 21, columns: 33, muted: muted))
      // Twice: the second time with the row sums that the first has found.
      for _ in 0..<2 {
        let fast = try #require(
          PooledMap.of(head, pass: pass, window: window, rows: 21, columns: 33, muted: muted))
        for (a, b) in [(fast.max, slow.max), (fast.mean, slow.mean)] {
          let far = zip(a, b).first { abs($0 - $1) > 2e-5 || $0.isNaN != $1.isNaN }
          #expect(far == nil, "\(window) muted \(String(describing: muted)): \(far!)")
        }
      }
    }
  }

  @Test func aSampledMapShowsTheRowsItLookedAt() throws {
    let one = Case(heads: 1, queries: 256, keys: 256, dim: 8, TileSpec(rows: 16, keys: 16))
    let head = one.group(seed: 5).heads[0]
    let window = MapWindow(queries: 0..<256, keys: 0..<256)
    let all = try #require(PooledMap.of(head, window: window, rows: 8, columns: 8))
    let some = try #require(PooledMap.of(head, window: window, rows: 8, columns: 8, sampled: 1))
    let every = try #require(PooledMap.of(head, window: window, rows: 8, columns: 8, sampled: 32))
    #expect(every.max.map(\.bitPattern) == all.max.map(\.bitPattern))
    #expect(zip(some.max, all.max).allSatisfy { !($0 > $1) })
    let row = try #require(
      PooledMap.of(
        head, window: MapWindow(queries: 16..<17, keys: 0..<256), rows: 1, columns: 8))
    #expect(some.max[0..<8].map(\.bitPattern) == row.max.map(\.bitPattern))
  }

  @Test func aBrokenNumberShows() throws {
    var random = Seeded(3)
    var keys = (0..<64 * 16).map { _ in random.normal() }
    keys[40 * 16] = .nan
    let head = Head(
      query: random.tensor([64, 16]), key: Tensor(keys, shape: [64, 16]), value: nil, causal: true)
    let map = try #require(
      PooledMap.of(
        head, window: MapWindow(queries: 0..<64, keys: 0..<64), rows: 4, columns: 4))
    #expect(map.max[0].isFinite && map.max.contains(.infinity))
  }
}
