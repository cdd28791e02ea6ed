import Analysis
import Attention
import Canvas
import Sessions

/// Numbers of single rows: what a learned sink takes, how many keys a row reads, how far back, and
/// what it keeps.
extension Look {
  // MARK: Learned sink

  /// The chosen head has a learned sink, and its rows are shown with the sink's part taken off.
  var hasLearnedSink: Bool { source.sunkLayers.contains(viewpoint.head.layer) }

  /// A column of its own for the sink, left of the map: of one head's pattern.
  var hasSinkColumn: Bool {
    hasLearnedSink && viewpoint.view == .map && viewpoint.field == nil && pool == .one
  }

  /// What the sink takes of the row under the cursor: what its keys leave of 1. Nil without a sink,
  /// and of rows that are no pattern.
  var learnedSinkOfRow: Double? {
    guard hasLearnedSink, rowField.isPattern, pool != .max, let row = row(viewpoint.query) else {
      return nil
    }
    let sum = row.reduce(0.0) { $0 + Double($1) }
    return sum.isFinite ? max(0, 1 - sum) : nil
  }

  /// For the panel, from long to short; nil without a sink.
  var learnedSinkTexts: [String]? {
    guard hasLearnedSink else { return nil }
    let row = learnedSinkOfRow.map(Numbers.percent) ?? "…"
    guard let mean = number("learned_sink", viewpoint.head) else { return ["\(row) of row"] }
    return ["\(row) of row, mean \(Numbers.percent(mean))", "\(row) of row", row]
  }

  /// The same in a sentence; empty without a sink.
  var learnedSinkSentence: String {
    guard hasLearnedSink else { return "" }
    var text = "This head has a learned sink, which belongs to no key"
    if let share = learnedSinkOfRow {
      text +=
        """
        : it takes \(Numbers.percent(share)) of query \(viewpoint.query)'s row, the keys \
        \(Numbers.percent(1 - share))
        """
    }
    if let mean = number("learned_sink", viewpoint.head) {
      text += "; of the mean row it takes \(Numbers.percent(mean))"
    }
    return text + ". Blocks, dropped mass, entropy and the heaviest key are of what goes to keys."
  }

  // MARK: Strip beside the map

  /// The number that stands beside each line of the map and is read off rows; nil for another.
  var stripFact: RowFact? {
    guard viewpoint.view == .map else { return nil }
    switch viewpoint.strip {
    case .keys: return .effectiveKeys
    case .distance: return .distance
    case .off, .kept: return nil
    }
  }

  /// What is asked for a number of every line: the mean over the rows of a line.
  func factQuestion(_ fact: RowFact, lines: Int) -> Question? {
    guard lines > 0 else { return nil }
    let window = MapWindow(queries: viewpoint.window.queries, keys: 0..<1)
    return .picture(
      .fact(fact, viewpoint.head),
      PictureRequest(window, rows: lines, columns: 1, perCell: isLong ? 4 : nil))
  }

  /// Both columns that may stand beside the map.
  var factQuestions: [Question] {
    let layout = MapLayout(self)
    return [
      layout.sink > 0 ? factQuestion(.learnedSink, lines: layout.pixelRows) : nil,
      layout.strip > 0
        ? stripFact.flatMap { factQuestion($0, lines: layout.plot.height) } : nil,
    ].compactMap { $0 }
  }

  /// The share of the mass of these rows' tiles that lies in computed blocks; nil where masses are
  /// not known.
  func keptShare(_ queries: Range<Int>) -> Double? {
    guard isByTable, let table = mapTable, !table.isFixed, !queries.isEmpty else { return nil }
    let mask = table.mask(lambda)
    return Self.keptShare(queries, table, mask)
  }

  /// The same with a mask that is made once for all lines.
  static func keptShare(_ queries: Range<Int>, _ table: BlockTable, _ mask: BlockMask) -> Double? {
    var kept = 0.0, all = 0.0
    let tiles = queries.lowerBound / table.spec.rows...(queries.upperBound - 1) / table.spec.rows
    for i in tiles where i < table.rowTiles {
      for j in 0..<table.keyTiles where mask[i, j] != .invisible {
        let mass = Double(table.massSum[i * table.keyTiles + j])
        all += mass
        if mask[i, j] == .computed { kept += mass }
      }
    }
    return all > 0 && kept.isFinite ? kept / all : nil
  }

  /// How many keys the row under the cursor reads and how far back, of what goes to keys.
  var rowReach: (keys: Double, distance: Double)? {
    guard rowField.isPattern, let row = row(viewpoint.query) else { return nil }
    let sum = row.reduce(0.0) { $0 + Double($1) }
    guard sum > 0, sum.isFinite else { return nil }
    let position = source.visibility.position(row: viewpoint.query)
    var entropy = 0.0, distance = 0.0
    for (key, value) in row.enumerated() where value > 0 {
      let p = Double(value) / sum
      entropy -= p * Scale.ln(p)
      distance += p * Double(abs(position - key))
    }
    return (Scale.exp(entropy), distance)
  }

  /// The row's numbers in a sentence, while the strip is shown.
  var stripSentence: String {
    guard viewpoint.strip != .off, viewpoint.view == .map else { return "" }
    var parts: [String] = []
    if let (keys, distance) = rowReach {
      parts = [
        "reads about \(Numbers.fixed(keys, 1)) keys", "\(Numbers.fixed(distance, 1)) tokens away",
      ]
    }
    if let kept = keptShare(viewpoint.query..<viewpoint.query + 1) {
      parts.append("in a row of blocks that keeps \(Numbers.percent(kept)) of its mass")
    }
    guard !parts.isEmpty else { return "" }
    let who = poolNames.first.map { ", in the \($0)," } ?? ""
    return "Query \(viewpoint.query)\(who) \(parts.joined(separator: ", "))."
  }

  /// The same for the panel.
  var stripTexts: [String] {
    guard viewpoint.strip != .off, let (keys, distance) = rowReach else { return [] }
    let reach = "~\(Numbers.short(keys)) keys, \(Numbers.short(distance)) away"
    guard let kept = keptShare(viewpoint.query..<viewpoint.query + 1) else { return [reach] }
    return ["\(reach), \(Numbers.percent(kept)) kept", reach]
  }
}
