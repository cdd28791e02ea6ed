import Attention
import Formats
import Sessions
import Tensors

/// What can be checked of a probe's blocks: that each is a verdict, and that no row sees just those
/// which causality hides.
struct ProbeCheck {
  static let blocks = "probed blocks"

  private let probe: ProbeRecord
  private let heads: DumpHeads
  private let id: HeadID

  init(_ probe: ProbeRecord, _ heads: DumpHeads, _ id: HeadID) {
    (self.probe, self.heads, self.id) = (probe, heads, id)
  }

  /// Every block of one head; nothing where it was not probed.
  func line() -> CheckLine {
    var line = CheckLine(Self.blocks)
    let arrays = heads.dump.layers[id.layer.value].arrays
    guard let map = arrays[.probed]?.held[id.head], let head = heads.head(id.layer, id.head) else {
      return line
    }
    let name = "\(heads.layers[id.layer].value).\(id.head)", wide = map.shape[1]
    for (at, value) in map.integers().enumerated() {
      let (row, key) = (at / wide, at % wide)
      let rows = row * probe.tile.rows..<min((row + 1) * probe.tile.rows, head.queries)
      let isSeen = rows.contains { head.visibility.limit(row: $0) > key * probe.tile.keys }
      line.add(
        [0, 1, 2, 255].contains(value), at: "\(name) block \(row),\(key) is \(value), no verdict")
      line.add(
        isSeen == (value != 255),
        at: "\(name) block \(row),\(key) is \(value) and \(isSeen ? "" : "not ")seen")
    }
    return line
  }
}
