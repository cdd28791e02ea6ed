import Attention
import Formats
import Sessions
import Tensors

/// What can be checked of a file that holds masks alone: that its verdicts, its margins and
/// causality do not contradict one another. Nothing can be recomputed.
struct StoredMaskCheck {
  private let backend: FileBackend

  static let verdicts = "stored masks: verdicts", margins = "stored masks: margins"

  init(_ backend: FileBackend) { self.backend = backend }

  /// Every head of the file.
  func run() -> CheckTally {
    var tally = CheckTally()
    let heads = backend.heads, spec = backend.description.storedTile ?? TileSpec(rows: 1, keys: 1)
    var hasMargins = true
    for id in backend.description.allHeads where id.head < heads.heads(id.layer) {
      guard let table = heads.storedTable(id.layer, id.head, tile: (spec.rows, spec.keys)),
        let blocks = heads.dump.layers[id.layer.value].arrays[.blocks]
      else { continue }
      let name =
        "\(heads.layers[id.layer].value).\(backend.description.headNumber(id.head))"
      let visibility = heads.storedVisibility(id.layer, tile: (spec.rows, spec.keys))
      tally.add(verdicts(table, blocks[id.head].floats(), visibility, name))
      if table.isFixed {
        hasMargins = false
      } else {
        tally.add(margins(table, blocks[id.head].floats(), heads.dump.onesAreKept, name))
      }
    }
    tally.note(
      """
      this file holds masks alone: rows of the map, masses, entropy, sinks and output errors are \
      not there to be checked\(hasMargins ? "" : ", and neither are margins")
      """)
    return tally
  }

  /// Nothing is anything but kept, skipped or invisible, and nothing is seen that causality hides.
  private func verdicts(
    _ table: BlockTable, _ stored: [Float], _ visibility: Visibility, _ name: String
  ) -> CheckLine {
    var line = CheckLine(Self.verdicts)
    for (at, value) in stored.enumerated() {
      let (row, key) = (at / table.keyTiles, at % table.keyTiles)
      let last = min((row + 1) * table.spec.rows, table.queries) - 1
      let isHidden = visibility.limit(row: last) <= key * table.spec.keys
      line.add(
        [0, 1, 255].contains(value), at: "\(name) block \(row),\(key) is \(value), no verdict")
      line.add(
        !isHidden || value == 255 || !stored.contains(255),
        at: "\(name) block \(row),\(key) has a verdict, and causality hides it")
    }
    return line
  }

  /// Some threshold parts skipped from computed blocks, every row of blocks has a first one, and
  /// margins are missing just where nobody looks.
  private func margins(
    _ table: BlockTable, _ stored: [Float], _ onesAreKept: Bool, _ name: String
  ) -> CheckLine {
    var line = CheckLine(Self.margins)
    let isKept = stored.map { ($0 != 0) == onesAreKept }
    let visible = stored.indices.filter { stored[$0] != 255 }
    let least = visible.filter { isKept[$0] }.map { table.margins[$0] }.min() ?? .infinity
    for at in stored.indices {
      let place = "\(name) block \(at / table.keyTiles),\(at % table.keyTiles)"
      let margin = table.margins[at], isSeen = stored[at] != 255
      line.add(
        margin.isNaN != isSeen, at: "\(place) has \(isSeen ? "no margin" : "a margin unseen")")
      guard isSeen, !isKept[at] else { continue }
      line.add(
        margin < least,
        at: "\(place) is skipped at margin \(margin), and one of \(least) is computed")
    }
    for row in 0..<table.rowTiles {
      let own = table.margins[row * table.keyTiles..<(row + 1) * table.keyTiles]
      line.add(
        own.allSatisfy(\.isNaN) || own.contains(.infinity),
        at: "\(name) row of blocks \(row): no block was the first")
    }
    return line
  }
}
