public import Attention

extension PooledMap {
  /// A mask as a map: of each cell's entries in blocks that somebody sees, the share in computed
  /// ones, so 1 is computed and 0 skipped; NaN where nobody sees a block.
  ///
  /// Example: two of them subtracted show where masks differ. Maxima are the same shares. Cost: the
  /// blocks that each cell touches.
  public static func of(_ mask: BlockMask, window: MapWindow, rows: Int, columns: Int) -> PooledMap
  {
    let rowEdges = edges(window.queries, cells: rows), keyEdges = edges(window.keys, cells: columns)
    var values: [Float] = []
    for r in 0..<rowEdges.count - 1 {
      for k in 0..<keyEdges.count - 1 {
        let cell = share(
          mask, rowEdges[r]..<rowEdges[r + 1], keyEdges[k]..<keyEdges[k + 1])
        values.append(cell)
      }
    }
    return PooledMap(
      window: window, rowEdges: rowEdges, keyEdges: keyEdges, max: values, mean: values, muted: nil)
  }

  /// Of the entries in blocks that somebody sees, the share in computed ones.
  private static func share(_ mask: BlockMask, _ queries: Range<Int>, _ keys: Range<Int>) -> Float {
    let (tall, wide) = (mask.spec.rows, mask.spec.keys)
    var computed = 0, all = 0
    for i in queries.lowerBound / tall...Swift.max(queries.upperBound - 1, queries.lowerBound)
      / tall
    where i < mask.rowTiles {
      let high = queries.clamped(to: i * tall..<(i + 1) * tall).count
      for j in keys.lowerBound / wide...Swift.max(keys.upperBound - 1, keys.lowerBound) / wide
      where j < mask.keyTiles {
        let entries = high * keys.clamped(to: j * wide..<(j + 1) * wide).count
        switch mask[i, j] {
        case .computed: (computed, all) = (computed + entries, all + entries)
        case .skipped: all += entries
        default: break
        }
      }
    }
    return all == 0 ? .nan : Float(computed) / Float(all)
  }
}
