import Analysis
public import Attention
public import Methods
public import Formats
public import Sessions
import Tensors

/// Answers questions about a dump. Files are mapped and never read whole; every kernel runs on
/// `ComputeThreads`.
///
/// Example: `try await FileBackend(dump).answer(.summary(HeadID(layer: 0, head: 0)))`. A dump of
/// masks alone has no heads; its tables are what was stored, and most questions are `.unavailable`.
public final class FileBackend: Backend {
  /// The heads of the file.
  public let heads: DumpHeads
  /// Sides used for a mask whose file does not tell its tile.
  private let storedTile: TileSpec?
  /// Said once, so that every caller hears the same.
  let description: SourceDescription
  /// Answers about heads, and what is kept of them.
  let store: FindingStore
  /// How far long answers are.
  public let moments: AsyncStream<Moment>
  /// The model that the dump was taken from, where it still runs.
  private let reader: (any ModelReader)?
  /// What its heads were assigned elsewhere, where that was told.
  let patterns: AssignedPatterns?
  /// What methods worked out once for every head: a file does not change.
  private let memo = Memo()

  /// Tables of long heads are kept in `tables`; `facts` are what is known of the tokens beside the
  /// file's own texts, and `reader` reads them again; `patterns` is laid beside what heads show.
  public init(
    _ dump: Dump, tables: TableStore? = nil, facts: TokenFacts = TokenFacts(),
    reader: (any ModelReader)? = nil, patterns: AssignedPatterns? = nil,
    registry: Registry = .standard
  ) {
    (self.reader, self.patterns) = (reader, patterns)
    let (moments, told) = AsyncStream.makeStream(
      of: Moment.self, bufferingPolicy: .bufferingNewest(16))
    self.moments = moments
    store = FindingStore(registry, stored: tables) { told.yield($0) }
    heads = DumpHeads(dump)
    storedTile =
      dump.kind == .mask
      ? TileSpec(rows: dump.tile?.rows ?? 128, keys: dump.tile?.keys ?? 128) : nil
    var about = Self.describe(heads, storedTile, tileIsGuess: dump.tile == nil)
    (about.methods, about.families) = (registry.cards, registry.families)
    about.holds = Self.holds(heads, facts)
    if reader != nil { about.holds.formUnion([.model, .probabilities, .weights]) }
    about.facts = facts
    if about.facts.texts.isEmpty { about.facts.texts = about.tokens }
    if let patterns { about.assigned = Self.assigned(patterns, about) }
    description = about
  }

  /// What the screen needs to lay itself out. Sides of a mask are in blocks and become tokens by
  /// the tile.
  private static func describe(
    _ heads: DumpHeads, _ tile: TileSpec?, tileIsGuess: Bool
  ) -> SourceDescription {
    let dump = heads.dump
    var (queries, keys, _) = dump.layers[0].positions
    var guesses = dump.guesses.map(\.description)
    if let tile {
      queries *= tile.rows
      keys *= tile.keys
      if tileIsGuess {
        guesses.append("mask blocks taken as \(tile.rows)x\(tile.keys) (--mask-tile overrides)")
      }
    }
    if heads.followsRules(0) {
      guesses += heads.ruleRemarks
    } else if heads.hasRules {
      guesses.append(
        """
        \(queries) x \(keys) is too large a map for windows, softcaps, packed sequences, biases \
        and padding: none of them is followed
        """)
    }
    var about = SourceDescription(
      name: dump.path.split(separator: "/").last.map(String.init) ?? dump.path,
      kind: dump.kind.rawValue,
      model: dump.model, layers: heads.layers,
      heads: heads.layers.layerIndices.map(heads.heads).max() ?? 0,
      kvHeads: heads.kvHeads(0), queries: queries, keys: keys,
      headDim: dump.layers[0].arrays[.query]?.shape[2] ?? 0,
      visibility: tile.map { heads.storedVisibility(0, tile: ($0.rows, $0.keys)) }
        ?? Visibility(
          causal: dump.causal, queries: queries, keys: keys, offset: dump.queryOffset,
          firsts: heads.firstsOfAll(), lasts: heads.lastsOfAll()),
      tokens: dump.tokens ?? [], hasValues: dump.layers.allSatisfy { $0.arrays[.value] != nil },
      storedTile: tile,
      guesses: guesses)
    about.path = dump.path
    about.headNumbers = dump.headNumbers ?? []
    about.sunkLayers = Set(heads.layers.layerIndices.filter { heads.sinksOnRows($0) != nil })
    return about
  }

  /// What methods may ask of the file: by its kind, its arrays and what was told beside it.
  private static func holds(_ heads: DumpHeads, _ facts: TokenFacts) -> Set<Need> {
    let dump = heads.dump
    var holds: Set<Need> = [.layer]
    // Where more than a scale lies between Q K and the scores, methods that take Q and K apart
    // would show another model's attention.
    if dump.kind == .qkv { holds.formUnion(!heads.hasRules ? [.queryKey, .logits] : [.logits]) }
    if dump.kind == .scores { holds.insert(.logits) }
    if dump.layers.allSatisfy({ $0.arrays[.value] != nil }) { holds.insert(.values) }
    holds.formUnion(Need.allCases.filter { $0.array.map { dump.extras[$0] != nil } ?? false })
    if dump.layers.contains(where: { $0.arrays[.selected] != nil }) { holds.insert(.selection) }
    if dump.probe != nil { holds.insert(.probe) }
    if dump.layers.contains(where: { $0.arrays[.indexScores] != nil }) {
      holds.insert(.indexScores)
    }
    if dump.layers.contains(where: { $0.arrays[.beta] != nil }) { holds.insert(.writeStrengths) }
    if dump.layers.contains(where: { $0.arrays[.queryWeights] != nil }) { holds.insert(.weights) }
    if facts.grid != nil { holds.insert(.imageGrid) }
    // A grid says which tokens are an image's, too.
    if !facts.roles.isEmpty || facts.grid != nil { holds.insert(.roles) }
    return holds
  }

  /// Said once at the start and unchanged since.
  public func describe() -> SourceDescription { description }

  /// Computes on `ComputeThreads`. Throws `CancellationError`, and what reading the file throws.
  public func answer(_ question: Question, at frame: Frame) async throws -> Answer {
    if let moved = try await moved(question, at: frame) { return moved }
    if question.isOfMasks { return try await masks.answer(question) }
    return try await ComputeThreads.shared.value { [self] in try compute(question) }
  }

  /// The heads of this file, for questions about many masks.
  var masks: MaskSource {
    let about = description
    var masks = MaskSource(
      store: store, layers: heads.layers, keys: about.keys, heads: { [heads] in heads.heads($0) },
      place: { [self] in place($0, at: .whole) })
    masks.headNumber = { about.headNumber($0) }
    return masks
  }

  /// Checks that the head is there; files have one frame, and no steps.
  private func compute(_ question: Question) throws -> Answer {
    guard let id = question.head else {
      return .unavailable("this is a saved dump: nothing was decoded step by step")
    }
    guard heads.layers.has(id.layer) else { return .unavailable("there is no such layer") }
    guard (0..<heads.heads(id.layer)).contains(id.head) else {
      let number = description.headNumber(id.head)
      return .unavailable("layer \(heads.layers[id.layer]) has no head \(number)")
    }
    guard let place = place(id, at: .whole) else { return try computeFromMask(question, id) }
    let answer = try store.answer(question, place)
    guard case .findings(var findings) = answer else { return answer }
    addKnown(to: &findings, id)
    return .findings(findings)
  }

  /// A head and the way to its surroundings, for the store. Nil for a head that the file has not
  /// got, or of which it holds masks alone.
  func place(_ id: HeadID, at frame: Frame) -> FindingStore.Place? {
    guard let head = heads.head(id.layer, id.head) else { return nil }
    var place = FindingStore.Place(id: id, frame: frame, head: head) { [self] scope in
      try subject(id, scope)
    }
    (place.reader, place.memo, place.sinks) = (reader, memo, heads.sinksOnRows(id.layer))
    return place
  }

  /// A head in its surroundings. Throws `Missing` where the file has only a part of them.
  private func subject(_ id: HeadID, _ scope: Subject.Scope) throws -> Subject {
    func all(_ layer: LayerIndex) throws -> [Head] {
      let list = (0..<heads.heads(layer)).compactMap { heads.head(layer, $0) }
      guard list.count == heads.heads(layer) else { throw Missing(.layer) }
      return list
    }
    let size = heads.groupSize(id.layer)
    let (layers, numbers, focus): ([[Head]], [LayerNumber], (LayerIndex, Int))
    switch scope {
    case .head:
      guard let head = heads.head(id.layer, id.head) else { throw Missing(.queryKey) }
      (layers, numbers, focus) = ([[head]], [heads.layers[id.layer]], (0, 0))
    case .group:
      guard let (group, slot) = heads.group(id.layer, containing: id.head) else {
        let number = description.headNumber(id.head)
        throw Missing(.layer, hint: "the group of head \(number) is incomplete")
      }
      (layers, numbers, focus) = ([group.heads], [heads.layers[id.layer]], (0, slot))
    case .layer:
      (layers, numbers, focus) = (
        [try all(id.layer)], [heads.layers[id.layer]], (0, id.head)
      )
    case .model:
      (layers, numbers, focus) = (
        try heads.layers.layerIndices.map(all), heads.layers, (id.layer, id.head)
      )
    }
    var subject = Subject(
      layers: layers, numbers: numbers, focus: focus, groupSize: scope == .head ? 1 : size,
      tokens: description.facts
    ) { [heads] need, layer in
      try heads.array(need, layer: scope == .model ? layer : id.layer)
    } projections: { [heads, reader] layer in
      let layer = scope == .model ? layer : id.layer
      return try reader?.projections(heads.layers[layer]) ?? heads.projections(layer)
    }
    subject.probe = heads.dump.probe.map(Probe.init)
    return subject
  }

  /// A field of a head, through the same store as its pictures. Throws `Missing`, `KnobError`,
  /// `CancellationError`.
  public func field(_ id: FieldID) throws -> any RowField {
    guard let place = place(id.head, at: .whole) else { throw Missing(.queryKey) }
    return try store.field(id, place)
  }

  /// A stored mask has verdicts and nothing else.
  private func computeFromMask(_ question: Question, _ id: HeadID) throws -> Answer {
    guard let tile = storedTile,
      let table = heads.storedTable(id.layer, id.head, tile: (tile.rows, tile.keys))
    else { return .unavailable("this head was not stored") }
    switch question {
    case .table(_, let request):
      if case .row = request.extent { break }
      return .table(table)
    case .picture(let field, let request) where field.isOwn:
      return .picture(
        StoredMask.map(
          table, window: request.window, rows: request.rows, columns: request.columns))
    case .findings(_, let setting, _):
      do {
        return .findings(try storedFindings(table, setting).sketched)
      } catch let missing as Missing { return .unavailable(missing.description) }
    case .picture, .row, .summary, .budget, .overlap, .moved, .selected, .steps, .detail:
      break
    }
    return .unavailable("needs Q and K, or a stored pattern: this file holds block masks alone")
  }
}

/// Draws a stored mask as a map: 1 where computed, 0 where skipped.
///
/// A cell shows the block at its first token: a mask has no values to pool.
enum StoredMask {
  /// Both maxima and means are the verdicts; NaN where nobody may see.
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
