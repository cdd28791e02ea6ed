import Analysis
import Attention
import Methods
import Sessions
import Synchronization
import Tensors

/// One road to every number: the screen, `report`, `compare`, `render`, lessons and sentences all
/// ask here.
///
/// It keeps block tables, packed keys and findings within byte budgets. Call it from a compute
/// thread; a cancelled task gets `CancellationError`. What cannot be known comes back as
/// `.unavailable` with the reason.
///
/// Example: `try store.answer(.row(.pattern(id), 5), place)`. Nothing here knows a method by name:
/// a card's capabilities decide which way is taken. The catch: two threads that miss the same thing
/// at the same time both compute it; `Session` keeps that from happening.
final class FindingStore: Sendable {
  /// Where settings become methods.
  let registry: Registry
  /// Tables that a pass gave beside the one that was asked for.
  private let tables = Kept<TableKey, BlockTable>(budget: 64 << 20) { 20 * $0.margins.count + 256 }
  /// Heads with their keys packed, for the next window, row or tile.
  private let passes = Kept<PassKey, MapPass>(budget: 96 << 20) { $0.bytes }
  /// What methods said, with fields that may be lazy.
  private let found = Kept<FoundKey, Findings>(budget: 64 << 20) { $0.bytes }
  /// Tables on disk; nil keeps none.
  private let stored: TableStore?
  /// Hears how far long answers are, from any thread.
  private let tell: @Sendable (Moment) -> Void

  /// Everything that a table depends on.
  private struct TableKey: Hashable {
    /// Up to where the source is looked at.
    let frame: Frame
    /// Whose blocks, of which tile, made with which lambda.
    let id: HeadID, spec: TileSpec, lambda: Double
  }

  /// Packed keys depend on the head alone.
  private struct PassKey: Hashable {
    /// Up to where the source is looked at.
    let frame: Frame
    /// Whose keys.
    let id: HeadID
  }

  /// Findings with and without numbers are kept apart: the former answer for the latter.
  private struct FoundKey: Hashable {
    /// Up to where the source is looked at.
    let frame: Frame
    /// Which head, under which method and knobs.
    let id: HeadID, setting: MethodSetting
    /// All was computed, not the fields alone.
    let hasNumbers: Bool
  }

  /// What a question is about: the head, its place, and how to come by its surroundings. A backend
  /// makes one for each question; nothing is read until a method asks.
  struct Place: Sendable {
    /// The head by its indices.
    let id: HeadID
    /// Answers are kept by it; files have one.
    let frame: Frame
    /// The head itself.
    let head: Head
    /// The head in so much of its surroundings as a scope asks for. Throws `Missing`.
    let subject: @Sendable (Subject.Scope) throws -> Subject
    /// `[heads]` of the layer, logits of learned sinks; nil: there are none.
    var sinks: [Float]?
    /// The model behind the source, where one can be read again.
    var reader: (any ModelReader)?
    /// What holds for every head of the source at this frame.
    var memo = Memo()

    /// Of a source without a model.
    init(
      id: HeadID, frame: Frame, head: Head,
      subject: @escaping @Sendable (Subject.Scope) throws -> Subject
    ) {
      (self.id, self.frame, self.head, self.subject) = (id, frame, head, subject)
    }

    /// The voting group; nil where the source cannot give it whole.
    var group: (heads: HeadGroup, slot: Int)? {
      (try? subject(.group)).flatMap { subject in
        subject.groupSize == 1 || subject.layer.count >= subject.groupSize ? subject.group : nil
      }
    }
  }

  /// `tell` hears how far long answers are; `stored` keeps their tables on disk.
  init(
    _ registry: Registry = .standard, stored: TableStore? = nil,
    tell: @escaping @Sendable (Moment) -> Void = { _ in }
  ) {
    (self.registry, self.stored, self.tell) = (registry, stored, tell)
  }

  /// Throws `CancellationError` and what reading throws; `Missing` and `KnobError` become
  /// `.unavailable`.
  func answer(_ question: Question, _ place: Place) throws -> Answer {
    do {
      switch question {
      case .picture(let id, let request):
        return .picture(try picture(question, id, request, place))
      case .row(let id, let query): return try row(id, query, place)
      case .findings(_, let setting, let beside):
        var findings = try findings(setting, place, asked: question)
        try addMass(of: &findings, beside, place)
        return .findings(findings.sketched)
      case .table(_, let request): return try table(question, request, place)
      case .summary:
        return .summary(try summary(place))
      case .budget, .overlap: return .unavailable("this is not about one mask")
      case .selected(_, let keys): return try selected(keys, place)
      case .moved: return .unavailable("this is about two fields")
      case .steps, .detail: return .unavailable("this is not about one head")
      }
    } catch let missing as Missing {
      return .unavailable(missing.description)
    } catch let error as KnobError {
      return .unavailable(error.description)
    }
  }

  /// Sink, entropy and label of a head. Throws `CancellationError`.
  func summary(_ place: Place, shared: MethodRun? = nil) throws -> HeadSummary {
    let rows = shared?.pattern(place.head) ?? pass(place)?.rows
    let tokens = (try? place.subject(.head))?.tokens.texts ?? []
    guard let summary = Summariser(place.head, rows, tokens: tokens).summary() else {
      throw CancellationError()
    }
    return summary
  }

  // MARK: Fields

  /// The dense pattern has a pass of its own, which pools without a row ever being whole; fields of
  /// methods are pooled row by row.
  private func picture(
    _ question: Question, _ id: FieldID, _ request: PictureRequest, _ place: Place
  ) throws -> PooledMap {
    if id.isOwn, place.sink == nil {
      guard
        let map = PooledMap.of(
          place.head, pass: pass(place), window: request.window, rows: request.rows,
          columns: request.columns, muted: request.muted, sampled: request.perCell,
          progress: request.perCell == nil ? progress(question, place.head) : nil)
      else { throw CancellationError() }
      return map
    }
    return try FieldPool.picture(
      try field(id, place), window: request.window, rows: request.rows, columns: request.columns,
      muted: request.muted, perCell: request.perCell)
  }

  /// A row by its query; of fields over blocks, the row of blocks that holds it.
  private func row(_ id: FieldID, _ query: Int, _ place: Place) throws -> Answer {
    guard id.method != nil else {
      guard query >= 0, query < place.head.queries else {
        return .unavailable("there is no query \(query)")
      }
      guard id.isOwn, place.sink == nil else { return try ownRow(id, query, place) }
      var values: [Float] = []
      (pass(place)?.rows ?? PatternRows(place.head)).withRows(query..<query + 1) { _, p, _ in
        values = Array(p)
      }
      return .row(values)
    }
    let field = try field(id, place)
    let entry = field.rows.isText ? query / field.rows.span : query
    guard entry >= 0, entry < field.rows.count else {
      return .unavailable("\(id.name) has no row \(query)")
    }
    return .row(try field.row(entry))
  }

  /// A field that a method found, among those that come without numbers or else among all.
  /// Throws `Missing`, `KnobError`, `CancellationError`.
  func field(_ id: FieldID, _ place: Place) throws -> any RowField {
    guard let setting = id.method else { return try own(id, place) }
    let light = try findings(setting, place, needsNumbers: false).field(id.name)
    guard let found = try light ?? findings(setting, place).field(id.name) else {
      throw KnobError("\(setting.id) has no field '\(id.name)' here")
    }
    return found.field
  }

  // MARK: Findings

  /// Everything a method has to say. Throws `Missing`, `KnobError`, `CancellationError`.
  /// `isWhole` reads long heads without sampling and keeps nothing, for files. Without
  /// `needsNumbers` a method may leave out what its fields do not need. `shared` is what methods of
  /// the same place have in common.
  func findings(
    _ setting: MethodSetting, _ place: Place, needsNumbers: Bool = true, isWhole: Bool = false,
    asked question: Question? = nil, shared: MethodRun? = nil
  ) throws -> Findings {
    let method = try registry.make(setting)
    func key(_ hasNumbers: Bool) -> FoundKey {
      FoundKey(frame: place.frame, id: place.id, setting: setting, hasNumbers: hasNumbers)
    }
    if !isWhole, let known = found[key(true)] ?? (needsNumbers ? nil : found[key(false)]) {
      return known
    }
    var run = shared ?? self.run(place, asked: question)
    (run.wantsNumbers, run.isWhole) = (needsNumbers, isWhole)
    let findings = try method.examine(try place.subject(type(of: method).card.scope), run)
    // Fields of a shared run may hold what dies with it.
    if !isWhole, shared == nil { found[key(needsNumbers)] = findings }
    return findings
  }

  /// A run that finds here what is known of a place: its tables, its model, its packed keys.
  private func run(
    _ place: Place, asked question: Question?,
    isCancelled: @escaping @Sendable () -> Bool = { Task.isCancelled }
  ) -> MethodRun {
    var run = MethodRun(
      progress: question.flatMap { progress($0, place.head) },
      table: { [self] spec, lambda in try wholeTable(question, place, spec, lambda) },
      isCancelled: isCancelled)
    (run.model, run.memo) = (place.reader, place.memo)
    // Keys that are packed already serve the rows, too.
    run.pattern = { [self] head in
      head.isSame(as: place.head) ? pass(place)?.rows ?? PatternRows(head) : PatternRows(head)
    }
    return run
  }

  /// Heads of no more entries have their dense pattern kept while several methods look at it:
  /// 128 MB, and as much again (twice without a causal mask) for sums of its largest entries.
  private static let heldEntries = 1 << 25

  /// One run for all methods of a place: the dense pattern, packed keys and dense outputs are made
  /// once. They live as long as the run.
  func shared(
    _ place: Place, isCancelled: @escaping @Sendable () -> Bool = { Task.isCancelled }
  ) -> MethodRun {
    let head = place.head
    var run = run(place, asked: nil, isCancelled: isCancelled)
    var rows = pass(place)?.rows ?? PatternRows(head)
    if head.queries * head.keys <= Self.heldEntries { rows = rows.held(isCancelled: isCancelled) }
    let shared = rows
    run.pattern = { $0.isSame(as: head) ? shared : PatternRows($0) }
    run.passes = SharedPasses(head)
    return run
  }

  /// How much of a whole map lies on the blocks that another method, one of block tables, computes:
  /// a number `on_ID_mass`, a share.
  ///
  /// Only for maps over all queries and keys whose values are there: computing a lazy one for this
  /// number would cost more than it says. Throws `CancellationError`, and what reading the setting
  /// throws.
  func addMass(of findings: inout Findings, _ beside: MethodSetting?, _ place: Place) throws {
    guard let beside, let (map, look) = findings.field("map"), look == .signed || look == .weights,
      map.rows == Axis(.query, place.head.queries), map.columns == Axis(.key, place.head.keys),
      map.bytes > 0, let tables = registry.method(beside.id)?.card.blockTables
    else { return }
    let (spec, value) = try tables.read(beside, place.head.queries)
    guard let lambda = try? Lambda(value) else { return }
    let table = try wholeTable(nil, place, spec, spec.criterion == .lse ? value : 0)
    findings.number(
      "on_\(beside.id)_mass", try MapNumbers.mass(map, on: table.mask(lambda)), .share,
      title: "mass on blocks that \(beside.id) computes")
  }

  // MARK: Tables

  /// The three extents: what is kept, one row, or all. Throws `CancellationError`.
  private func table(_ question: Question, _ request: TableRequest, _ place: Place) throws
    -> Answer
  {
    switch request.extent {
    case .kept:
      return keptTable(place, request.spec, request.lambda).map(Answer.table)
        ?? .unavailable("not kept")
    case .row(let query): return try rowTable(request, query, place)
    case .whole:
      return .table(try wholeTable(question, place, request.spec, request.lambda))
    }
  }

  /// Nil where the slower way over whole rows must go. Of a live source every frame is another
  /// head: nothing is kept.
  func pass(_ place: Place) -> MapPass? {
    guard case .projections = place.head.source else { return MapPass(place.head) }
    let key = PassKey(frame: place.frame, id: place.id)
    if let pass = passes[key] { return pass }
    let pass = MapPass(place.head)
    passes[key] = pass
    return pass
  }

  /// Nil for heads that are not long.
  private func progress(_ question: Question, _ head: Head) -> Progress? {
    head.isLong ? Progress(meter(question)) : nil
  }

  /// Takes the share of a question that is done, and tells it at most twenty times a second, and
  /// at the end; from any thread.
  func meter(_ question: Question) -> @Sendable (Double) -> Void {
    let start = ContinuousClock.now, last = Mutex(0.0), tell = tell
    return { share in
      let seconds = (ContinuousClock.now - start).seconds
      let isDue = last.withLock { last in
        guard seconds - last >= 0.05 || share >= 1 else { return false }
        last = seconds
        return true
      }
      if isDue { tell(.progress(question, share: share, seconds: seconds)) }
    }
  }

  /// From memory, from the group's pass, from disk, or by a pass of the head: in the order of their
  /// cost. A pass over a long head gives the tables of other presets too. Throws
  /// `CancellationError`.
  func wholeTable(
    _ question: Question?, _ place: Place, _ spec: TileSpec, _ lambda: Double
  ) throws -> BlockTable {
    let (id, head) = (place.id, place.head)
    func key(_ head: Int, _ spec: TileSpec) -> TableKey {
      TableKey(
        frame: place.frame, id: HeadID(layer: id.layer, head: head, source: id.source), spec: spec,
        lambda: lambda)
    }
    let told = question.flatMap { progress($0, head) }
    if let table = tables[key(id.head, spec)] { return table }
    if spec.vote == .group, let (group, slot) = place.group {
      let pass = TilePass(group, keysPerTile: spec.keys)
      guard let all = pass.tables(spec, lambda: lambda, progress: told) else {
        throw CancellationError()
      }
      for (other, table) in all.enumerated() { tables[key(id.head - slot + other, spec)] = table }
      return all[slot]
    }
    if let table = keptTable(place, spec, lambda) { return table }
    guard let pass = pass(place) else {
      guard
        let table = TilePass(HeadGroup([head]), keysPerTile: spec.keys)
          .tables(spec, lambda: lambda, progress: told)?[0]
      else { throw CancellationError() }
      tables[key(id.head, spec)] = table
      return table
    }
    let specs = head.isLong ? Self.beside(spec, head) : [spec]
    guard let made = pass.tables(specs, lambda: lambda, progress: told) else {
      throw CancellationError()
    }
    for (spec, table) in zip(specs, made) {
      tables[key(id.head, spec)] = table
      if head.isLong { stored?.keep(table, head, spec, lambda: lambda) }
    }
    return made[0]
  }

  /// In memory or on disk; tables of voting groups are not kept on disk.
  private func keptTable(_ place: Place, _ spec: TileSpec, _ lambda: Double) -> BlockTable? {
    let key = TableKey(frame: place.frame, id: place.id, spec: spec, lambda: lambda)
    if let table = tables[key] { return table }
    guard place.head.isLong, spec.vote == .head,
      let table = stored?.table(place.head, spec, lambda: lambda)
    else { return nil }
    tables[key] = table
    return table
  }

  /// The presets that a long pass gives at no great cost, so that the next key finds them.
  private static func beside(_ spec: TileSpec, _ head: Head) -> [TileSpec] {
    var specs = [spec]
    guard spec.criterion == .max else { return specs }
    for preset in TilePreset.all {
      var other = preset.prefill
      (other.order, other.splits) = (spec.order, spec.splits)
      let blocks = (head.queries / other.rows + 1) * (head.keys / other.keys + 1)
      if other.vote == spec.vote, blocks <= 1 << 20, !specs.contains(other) { specs.append(other) }
    }
    return specs
  }

  /// The table `[1, keyTiles]` of a single row: what a decode step decided about its blocks.
  private func rowTable(_ request: TableRequest, _ query: Int, _ place: Place) throws -> Answer {
    guard query >= 0, query < place.head.queries else {
      return .unavailable("there is no query \(query)")
    }
    let (all, slot) =
      (request.spec.vote == .group ? place.group : nil) ?? (HeadGroup([place.head]), 0)
    let rows = all.heads.compactMap { $0.row(query) }
    guard rows.count == all.heads.count else { return .unavailable("needs Q and K") }
    let pass = TilePass(HeadGroup(rows), keysPerTile: request.spec.keys)
    guard let made = pass.tables(request.spec, lambda: request.lambda) else {
      throw CancellationError()
    }
    return .table(made[slot])
  }
}
