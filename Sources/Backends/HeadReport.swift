public import Analysis
public import Attention
import Methods
import Sessions
import Synchronization
import Tensors

/// What one method does to one head: a row of `attnscope report`.
///
/// Numbers are looked up by the names of findings; nil means that it cannot be known here, and is
/// printed so.
public struct HeadReport: Sendable {
  /// Layer number, as the file calls it.
  public let layer: LayerNumber
  /// Query head within its layer, by its place.
  public let head: Int
  /// What the model calls it: its place, but for slices.
  public let number: Int
  /// Everything the method said; without fields unless they were asked for.
  public let findings: Findings
  /// Nil for a source that stored only masks, or when it was not asked for.
  public let summary: HeadSummary?
  /// The tile of the method's blocks; nil for methods without blocks.
  public let tile: TileSpec?
  /// A single query row, as in a decode step.
  public let isDecode: Bool

  /// The same numbers without the values of fields.
  public var withoutFields: HeadReport {
    HeadReport(
      layer: layer, head: head, number: number, findings: findings.sketched, summary: summary,
      tile: tile,
      isDecode: isDecode)
  }

  /// A number that the method said; nil when it cannot be known.
  public func number(_ name: String) -> Double? { findings[name]?.number }

  /// The same for numbers that count.
  public func count(_ name: String) -> Int? { number(name).map { Int($0) } }

  /// Softmax mass that is not on kept entries; nil where the pattern is not known.
  public var droppedMass: DroppedMass? { findings.droppedMass }
}

/// What to report on.
public struct ReportRequest: Sendable {
  /// Methods with their knobs, in the order of the reports.
  public var settings: [MethodSetting]
  /// Those of the dump to report on; nil means all.
  public var layers: [LayerIndex]?
  /// Head numbers within a layer, each reported once; nil means all, and those that a layer has not
  /// got are passed over.
  public var heads: [Int]?
  /// Entropy, sink and label of every head, which cost another sweep over its rows.
  public var wantsSummary = true
  /// The method of block tables that maps are looked at beside.
  public var beside: MethodSetting?
  /// Keys whose mass is a number of each head; nil: none.
  public var selection: KeySelection?
  /// Masks, margins, outputs and other fields of every head, of long heads whole.
  public var wantsFields = false

  /// A method that lacks something here is left out, and the reason is said; otherwise it ends the
  /// report.
  public var leavesOut = false

  /// Of all heads.
  public init(_ settings: [MethodSetting]) { self.settings = settings }

  /// Of all heads, for one method.
  public init(_ setting: MethodSetting) { self.init([setting]) }
}

extension FileBackend {
  /// Reports on every chosen head, calling `each` as heads are done. Call it from a command, not
  /// from an actor.
  ///
  /// Throws `KnobError` for a setting that is not there, `Missing` for what the file has not got,
  /// and what `each` throws.
  /// Example: `try backend.report(ReportRequest(setting)) { print($0.number("density") ?? .nan) }`.
  /// Heads come in the order of the file; memory holds one at a time beside the budgets of the
  /// store.
  public func report(_ request: ReportRequest, each: (HeadReport) throws -> Void) throws {
    try reports(request) { try each($1) }
  }

  /// The same for several methods: of each head, `each` gets every method's report and its place
  /// among the settings. What methods have in common of a head is made once for all of them.
  ///
  /// Returns the settings that were left out, with the reason; what `each` got of them before is of
  /// no use. Throws as above.
  @discardableResult
  public func reports(
    _ request: ReportRequest, each: (_ setting: Int, HeadReport) throws -> Void
  ) throws -> [(setting: MethodSetting, reason: String)] {
    // A wrong setting is said before anything is computed.
    for setting in request.settings { _ = try store.registry.make(setting) }
    var reasons: [Int: String] = [:]
    for layer in request.layers ?? heads.layers.layerIndices {
      let chosen =
        request.heads.map { $0.filter { $0 < heads.heads(layer) } } ?? Array(0..<heads.heads(layer))
      for head in Set(chosen).sorted() {
        let asked = request.settings.indices.filter { reasons[$0] == nil }
        let found = try found(HeadID(layer: layer, head: head), request, asked)
        for (index, report) in zip(asked, found) {
          do { try each(index, try report.get()) } catch let missing as Missing {
            guard request.leavesOut else { throw missing }
            reasons[index] = missing.description
          }
        }
      }
    }
    return reasons.sorted { $0.key < $1.key }.map { (request.settings[$0.key], $0.value) }
  }

  /// One head under some of the settings: side by side, but for fields, of which one method's are
  /// held at a time, and for models, which run one pass at a time. Throws `CancellationError`.
  private func found(_ id: HeadID, _ request: ReportRequest, _ asked: [Int]) throws
    -> AnySequence<Result<HeadReport, any Error>>
  {
    guard let place = place(id, at: .whole) else {
      return AnySequence(
        asked.lazy.map { index in
          Result { try self.storedReport(id, request, request.settings[index]) }
        })
    }
    let shared = asked.count > 1 ? store.shared(place) : nil
    let summary =
      request.wantsSummary && !asked.isEmpty ? try store.summary(place, shared: shared) : nil
    let work = { @Sendable [self] (index: Int) -> Result<HeadReport, any Error> in
      Result { try report(place, request, request.settings[index], summary, shared) }
    }
    guard let shared, !request.wantsFields, place.reader == nil else {
      return AnySequence(asked.lazy.map(work))
    }
    let parts = Mutex<[Int: Result<HeadReport, any Error>]>([:])
    shared.threads.forEach(0..<asked.count) { index in
      let part = work(asked[index])
      parts.withLock { $0[index] = part }
    }
    try shared.checkCancellation()
    return AnySequence(parts.withLock { parts in asked.indices.map { parts[$0]! } })
  }

  /// One head under one setting.
  private func report(
    _ place: FindingStore.Place, _ request: ReportRequest, _ setting: MethodSetting,
    _ summary: HeadSummary?, _ shared: MethodRun?
  ) throws -> HeadReport {
    var findings = try store.findings(
      setting, place, isWhole: request.wantsFields && place.head.isLong, shared: shared)
    try store.addMass(of: &findings, request.beside, place)
    addKnown(to: &findings, place.id)
    if let keys = request.selection {
      findings.addSelected(
        SelectedMass.of(
          place.head, store.pass(place)?.rows, keys, sink: place.sink))
    }
    let card = store.registry.method(setting.id)!.card
    return HeadReport(
      layer: heads.layers[place.id.layer], head: place.id.head,
      number: describe().headNumber(place.id.head),
      findings: request.wantsFields ? findings : findings.sketched, summary: summary,
      tile: try card.blockTables?.read(setting, place.head.queries).spec ?? findings.tile,
      isDecode: place.head.queries == 1)
  }

  /// The row of a head of which only a mask is there.
  private func storedReport(_ id: HeadID, _ request: ReportRequest, _ setting: MethodSetting) throws
    -> HeadReport
  {
    let spec = describe().storedTile!
    guard let table = heads.storedTable(id.layer, id.head, tile: (spec.rows, spec.keys)) else {
      let number = describe().headNumber(id.head)
      throw KnobError("layer \(heads.layers[id.layer]) has no mask of head \(number)")
    }
    return HeadReport(
      layer: heads.layers[id.layer], head: id.head, number: describe().headNumber(id.head),
      findings: try storedFindings(table, setting), summary: nil, tile: spec,
      isDecode: describe().queries == 1)
  }

  /// What a stored mask says at a threshold, where it has margins. Throws `Missing` for methods
  /// that need more.
  func storedFindings(_ table: BlockTable, _ setting: MethodSetting) throws -> Findings {
    guard let capability = store.registry.method(setting.id)?.card.blockTables else {
      throw Missing(.queryKey, hint: "this file holds block masks alone")
    }
    let lambda = try Lambda(try capability.read(setting, table.queries).lambda)
    let mask = table.mask(lambda)
    var findings = Findings()
    findings.blockNumbers(table, lambda)
    findings.dropped(table.droppedMass(lambda))
    for name in ["error", "error_max"] { findings.number(name, nil) }
    findings.field(
      "blocks", BlockField(mask, queries: table.queries, keys: table.keys),
      .labels(["computed", "skipped"]))
    if !table.isFixed {
      findings.field(
        "margins",
        BlockField(table.margins, table.spec, queries: table.queries, keys: table.keys),
        .magnitude(.nats))
    }
    return findings
  }
}

extension Findings {
  /// The tile of the field `blocks`.
  var tile: TileSpec? {
    guard let (field, _) = field("blocks") else { return nil }
    return TileSpec(rows: field.rows.span, keys: field.columns.span)
  }
}
