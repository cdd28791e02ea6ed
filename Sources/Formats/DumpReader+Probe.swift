import Tensors

extension DumpReader {
  /// Reads the probe of a deployed kernel and its blocks `[heads, row tiles, key tiles]` into
  /// layers of Q and K. What does not fit is passed over with a remark: Q and K beside it are as
  /// good as without. Throws what reading throws.
  mutating func addProbe(
    _ layers: inout [LayerArrays], _ metadata: [String: String]
  ) throws(FormatError) -> ProbeRecord? {
    let items = found[.probed] ?? []
    guard let text = metadata["probe"] else {
      if !items.isEmpty { remarks.append("probed blocks without metadata probe were passed over") }
      return nil
    }
    let record: ProbeRecord
    do { record = try ProbeRecord(text, tile: metadata["probe_tile"]) } catch {
      remarks.append("\(error.why): the probe was passed over")
      return nil
    }
    var taken = 0
    for item in items {
      guard let at = layers.firstIndex(where: { $0.layer == item.layer ?? layers[0].layer }) else {
        continue
      }
      let (queries, keys, heads) = layers[at].positions
      let wanted = [
        heads, (queries + record.tile.rows - 1) / record.tile.rows,
        (keys + record.tile.keys - 1) / record.tile.keys,
      ]
      guard item.entry.shape.axes == wanted, item.entry.dtype == .uint8 else {
        remarks.append(
          """
          \(item.entry.name) is \(item.entry.shape) of \(item.entry.dtype.rawValue), and \
          \(queries) queries and \(keys) keys of \(heads) heads in tiles of \
          \(record.tile.rows)x\(record.tile.keys) are \(wanted) of U8: it was passed over
          """)
        continue
      }
      layers[at].arrays[.probed] = try item.archive.tensor(item.entry.name)
      taken += 1
    }
    guard taken == 0 else { return record }
    remarks.append("metadata probe has no blocks that fit, layers.L.probed: it was passed over")
    return nil
  }
}
