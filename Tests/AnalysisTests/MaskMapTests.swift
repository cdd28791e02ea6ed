import Analysis
import Attention
import Testing

/// A mask as a map, against a count of every entry.
@Suite struct MaskMapTests {
  private static let verdicts: [Verdict] = [
    .computed, .invisible, .invisible, .skipped, .computed, .invisible, .computed, .skipped,
    .computed,
  ]

  @Test(arguments: [(9, 9), (3, 3), (4, 5), (1, 1), (2, 9)])
  func cellsAreTheSharesOfTheirEntries(_ rows: Int, _ columns: Int) {
    let mask = BlockMask(
      spec: TileSpec(rows: 3, keys: 3), rowTiles: 3, keyTiles: 3, verdicts: Self.verdicts)
    let map = PooledMap.of(
      mask, window: MapWindow(queries: 0..<9, keys: 0..<9), rows: rows, columns: columns)
    #expect(map.mean.count == rows * columns)
    for r in 0..<rows {
      for c in 0..<columns {
        var computed = 0, all = 0
        for query in map.rowEdges[r]..<map.rowEdges[r + 1] {
          for key in map.keyEdges[c]..<map.keyEdges[c + 1] {
            let verdict = mask[query / 3, key / 3]
            if verdict == .computed { computed += 1 }
            if verdict == .computed || verdict == .skipped { all += 1 }
          }
        }
        let found = map.mean[r * columns + c]
        #expect(all == 0 ? found.isNaN : found == Float(computed) / Float(all), "\(r),\(c)")
      }
    }
  }
}
