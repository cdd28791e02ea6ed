import Analysis
import Attention
import Methods
public import Formats
public import Sessions
import Tensors

/// Answers questions about a dump. Files are mapped and never read whole; every kernel runs on `ComputeThreads`.
public final class FileBackend: Backend {
  public let heads: DumpHeads
  /// Sides used for a mask whose file does not tell its tile.
  private let storedTile: TileSpec?
  private let description: SourceDescription
  private let answers: HeadAnswers
  /// How far long answers are.
  public let moments: AsyncStream<Moment>

  /// Tables of long heads are kept in `tables`.
  public init(_ dump: Dump, tables: TableStore? = nil) {
    let (moments, told) = AsyncStream.makeStream(
      of: Moment.self, bufferingPolicy: .bufferingNewest(16))
    self.moments = moments
    answers = HeadAnswers(stored: tables) { told.yield($0) }
    heads = DumpHeads(dump)
    storedTile =
      dump.kind == .mask
      ? TileSpec(rows: dump.tile?.rows ?? 128, keys: dump.tile?.keys ?? 128) : nil
    description = Self.describe(dump, heads, storedTile, tileIsGuess: dump.tile == nil)
  }

  private static func describe(
    _ dump: Dump, _ heads: DumpHeads, _ tile: TileSpec?, tileIsGuess: Bool
  ) -> SourceDescription {
    var (queries, keys, _) = dump.layers[0].positions
    var guesses = dump.guesses.map(\.description)
    if let tile {
      queries *= tile.rows
      keys *= tile.keys
      if tileIsGuess {
        guesses.append("mask blocks taken as \(tile.rows)x\(tile.keys) (--mask-tile overrides)")
      }
    }
    var about = SourceDescription(
      name: dump.path.split(separator: "/").last.map(String.init) ?? dump.path,
      kind: dump.kind.rawValue,
      model: dump.model, layers: heads.layers,
      heads: dump.layers.indices.map(heads.heads).max() ?? 0,
      kvHeads: heads.kvHeads(0), queries: queries, keys: keys,
      headDim: dump.layers[0].arrays[.query]?.shape[2] ?? 0,
      visibility: Visibility(
        causal: dump.causal, queries: queries, keys: keys, offset: dump.queryOffset),
      tokens: dump.tokens ?? [], hasValues: dump.layers.allSatisfy { $0.arrays[.value] != nil },
      storedTile: tile,
      guesses: guesses)
    about.path = dump.path
    about.methods = Registry.methods.map { $0.card.id }
    return about
  }

  public func describe() -> SourceDescription { description }

  public func answer(_ question: Question, at frame: Frame) async throws -> Answer {
    try await ComputeThreads.shared.value { [self] in try compute(question) }
  }

  private func compute(_ question: Question) throws -> Answer {
    guard let id = question.head else {
      return .unavailable("this is a saved dump: nothing was decoded step by step")
    }
    guard id.layer < heads.layers.count, id.head < heads.heads(id.layer) else {
      return .unavailable("layer \(id.layer) has no head \(id.head)")
    }
    guard let head = heads.head(id.layer, id.head) else { return try computeFromMask(question, id) }
    return try answers.answer(
      question, id, at: .whole, head, group: { heads.group(id.layer, containing: id.head) })
  }

  /// A stored mask has verdicts and nothing else.
  private func computeFromMask(_ question: Question, _ id: HeadID) throws -> Answer {
    guard let tile = storedTile,
      let table = heads.storedTable(id.layer, id.head, tile: (tile.rows, tile.keys))
    else { return .unavailable("this head was not stored") }
    switch question {
    case .table, .keptTable: return .table(table)
    case .map(_, let window, let rows, let columns, _):
      return .map(StoredMask.map(table, window: window, rows: rows, columns: columns))
    case .calibration, .method:
      return .unavailable("needs margins: this file holds block masks alone")
    case .sketch(_, let window, let rows, let columns, _, _):
      return .map(StoredMask.map(table, window: window, rows: rows, columns: columns))
    case .summary, .row, .rowTable, .steps, .detail:
      return .unavailable("needs Q and K, or a stored pattern: this file holds block masks alone")
    case .outputError: return .unavailable("needs V")
    }
  }
}

/// Draws a stored mask as a map: 1 where computed, 0 where skipped.
enum StoredMask {
  static func map(_ table: BlockTable, window: MapWindow, rows: Int, columns: Int) -> PooledMap {
    let rowEdges = PooledMap.edges(window.queries, cells: rows),
      keyEdges = PooledMap.edges(window.keys, cells: columns)
    var values: [Float] = []
    for r in rowEdges.dropLast() {
      for k in keyEdges.dropLast() {
        let margin = table.margins[r / table.spec.rows * table.keyTiles + k / table.spec.keys]
        values.append(margin.isNaN ? .nan : (margin > -.infinity ? 1 : 0))
      }
    }
    return PooledMap(
      window: window, rowEdges: rowEdges, keyEdges: keyEdges, max: values, mean: values, muted: nil)
  }
}
