import Analysis
import Attention
import Sessions

/// The method in force, what it found, and the field on the map.
extension Look {
  /// The method that the screen is about, with its knobs.
  var methodInForce: MethodSetting? {
    viewpoint.method
      ?? source.tableCard?.blockTables?.setting(viewpoint.spec, viewpoint.lambda)
  }

  /// The facts of the method in force.
  var card: MethodCard? { methodInForce.flatMap { source.card($0.id) } }

  /// The method in force reads its blocks off the table of the screen's lambda and tile.
  var isByTable: Bool { viewpoint.method == nil }

  /// What is asked to know what a method says of a head; nil where no library is known.
  func findingsQuestion(_ head: HeadID, _ setting: MethodSetting? = nil) -> Question? {
    (setting ?? methodInForce).map { setting in
      // Only maps are looked at beside blocks: others need not be asked again when lambda moves.
      let isMap = source.card(setting.id)?.mainField == "map"
      return .findings(
        head, setting,
        beside: isMap
          ? source.tableCard?.blockTables?.setting(viewpoint.spec, viewpoint.lambda) : nil)
    }
  }

  /// What the method in force, or another, says of a head.
  func findings(_ head: HeadID, _ setting: MethodSetting? = nil) -> Findings? {
    findingsQuestion(head, setting).flatMap(known.findings)
  }

  /// A number that the method in force says of a head.
  func number(_ name: String, _ head: HeadID) -> Double? {
    findings(head)?[name]?.number
  }

  /// Lost mass of the method in force: off the table, or as the method says it.
  func droppedMass(_ head: HeadID) -> DroppedMass? {
    isByTable ? table(head)?.droppedMass(lambda) : findings(head)?.droppedMass
  }

  /// What `[` and `]` move; nil where there is nothing to move.
  var knobInForce: String? {
    if viewpoint.budget != nil { return "budget" }
    return isByTable ? (hasLambda ? "lambda" : nil) : card?.mainKnob?.name
  }

  /// Lambda decides here; a mask that is stored without margins has no use for it.
  var hasLambda: Bool { source.storedTile == nil || table(viewpoint.head)?.isFixed == false }

  /// The field on the map.
  var mapField: FieldID {
    guard let name = viewpoint.field, let setting = methodInForce else { return patternOnMap }
    return FieldID(viewpoint.head, method: setting, name: name)
  }

  /// How the field on the map is to be looked at: as under the last setting until this one's
  /// findings are known, and weights before any are.
  var mapLook: FieldLook { mapSketch?.look ?? .weights }

  /// The field on the map as its method found it; under another setting, until this one's findings
  /// are known.
  private var mapSketch: (field: any RowField, look: FieldLook)? {
    guard let name = viewpoint.field else { return nil }
    if let findings = findings(viewpoint.head) { return findings.field(name) }
    guard let id = methodInForce?.id,
      case .field(let field, let look)? = known.sketch(id, name)?.content
    else { return nil }
    return (field, look)
  }

  /// The field whose row a query reads: that on the map, or the pattern where that has no row a
  /// query.
  var rowField: FieldID {
    guard viewpoint.field != nil else { return patternOnMap }
    let sketch = mapSketch?.field
    let isByToken = sketch.map { $0.rows.kind == .query && $0.columns.kind == .key } ?? false
    return isByToken ? mapField : .pattern(viewpoint.head)
  }

  /// What is asked for that row.
  func rowOfMap(_ query: Int) -> Question { .row(rowField, query) }

  /// What a card needs that this source has not got.
  func unmet(_ card: MethodCard) -> Need? {
    guard !source.holds.isEmpty else { return nil }
    return card.needs.sorted { $0.rawValue < $1.rawValue }.first { !source.holds.contains($0) }
  }

  /// Fields of the method in force that the map can show: those over queries and keys, or blocks of
  /// them.
  var mapFields: [Finding] {
    (findings(viewpoint.head)?.all ?? []).filter { finding in
      guard case .field(let field, _) = finding.content else { return false }
      return field.rows.isText && field.columns.isText
    }
  }

  /// What the method in force says of every token: drawn under the text, and under the map.
  var tokenStrip: Finding? {
    guard !isByTable else { return nil }
    return findings(viewpoint.head)?.all.first { finding in
      guard case .series(let axis, let values, _) = finding.content else { return false }
      return axis.isText && axis.tokens == source.keys && !values.isEmpty
    }
  }

  // MARK: Numbers of heads

  /// The number that heads are shown by; nil: what the view is for.
  var scoreName: String? { viewpoint.score ?? (isByTable ? nil : card?.mainNumber) }

  /// A number of a head by its name: of the method in force, or of the head itself.
  func headNumber(_ name: String, _ head: HeadID) -> (value: Double?, unit: Unit)? {
    if name == Self.selectedNumber, viewpoint.selection != nil {
      return selectedMass(head).map { ($0.mean, .share) }
    }
    if case .number(let value, let unit) = findings(head)?[name]?.content { return (value, unit) }
    switch name {
    case "layer": return (Double(source.number(of: head.layer).value), .none)
    case "head": return (Double(source.headNumber(head.head)), .none)
    default: break
    }
    guard let summary = summary(head) else { return nil }
    switch name {
    case Self.agreesNumber where !source.assigned.isEmpty:
      return (agrees(head).map { $0 ? 1 : 0 }, .none)
    case "entropy": return (summary.entropy, .nats)
    case "effective_tokens": return (summary.effectiveTokens, .keys)
    case "sink_mass": return (summary.sink.mass, .share)
    case "recall": return (summary.label.winner?.recall, .share)
    default: return nil
    }
  }

  /// Whether the head's findings have come and hold no value of this name: nothing more comes.
  func lacks(_ name: String, _ head: HeadID) -> Bool {
    let ofTheHead = ["entropy", "effective_tokens", "sink_mass", "recall"]
    return findings(head) != nil && headNumber(name, head)?.value == nil
      && (findings(head)?[name] != nil || !ofTheHead.contains(name))
  }

  /// Names of all numbers that can be shown by, as far as they are known.
  var numberNames: [String] {
    let found = (findings(viewpoint.head)?.all ?? []).compactMap { finding -> String? in
      if case .number = finding.content { finding.name } else { nil }
    }
    let selected =
      (viewpoint.selection == nil ? [] : [Self.selectedNumber])
      + (source.assigned.isEmpty ? [] : [Self.agreesNumber])
    return found
      + (selected + ["entropy", "effective_tokens", "sink_mass"]).filter { !found.contains($0) }
  }

  /// What is asked of every head for sorting, filtering and showing by a number.
  var scoreQuestions: [Question] {
    let sort = viewpoint.sort
    let selected = wantsSelected ? source.allHeads.compactMap { selectionQuestion($0) } : []
    guard
      scoreName != nil || viewpoint.filter != nil || sort == .number
        || (sort == .sparsity && !isByTable)
        || (viewpoint.view == .heads && viewpoint.costs != .off
          && (source.hasValues || !isByTable))
    else { return selected }
    return selected + source.allHeads.compactMap { findingsQuestion($0) }
  }

  // MARK: Blocks of any method

  /// The blocks of the method in force: of the table, or those that another method found.
  func shownTable(_ head: HeadID) -> BlockTable? {
    isByTable ? table(head) : blocks(head, methodInForce)
  }

  /// A picture of a method's blocks, a cell a block; nil where the method has none, or before it is
  /// known.
  func blocksQuestion(_ head: HeadID, _ setting: MethodSetting?) -> Question? {
    guard let setting, let (field, _) = findings(head, setting)?.field("blocks") else {
      return nil
    }
    let about = sources[head.source]
    return .picture(
      FieldID(head, method: setting, name: "blocks"),
      PictureRequest(
        MapWindow(queries: 0..<about.queries, keys: 0..<about.keys), rows: field.rows.count,
        columns: field.columns.count))
  }

  /// The blocks that a method found, as a table without margins.
  func blocks(_ head: HeadID, _ setting: MethodSetting?) -> BlockTable? {
    guard let question = blocksQuestion(head, setting), let map = map(question),
      let (field, _) = findings(head, setting)?.field("blocks"),
      map.rows == field.rows.count, map.columns == field.columns.count
    else { return nil }
    let verdicts = map.max.map { value -> UInt8 in
      (value.isNaN ? Verdict.invisible : (value > 0 ? .skipped : .computed)).rawValue
    }
    return BlockTable(
      storedMask: verdicts, margins: nil,
      spec: TileSpec(rows: field.rows.span, keys: field.columns.span),
      queries: field.rows.tokens, keys: field.columns.tokens)
  }

  /// What is asked for to draw the blocks of the method in force.
  func shownTableQuestions(_ head: HeadID) -> [Question] {
    guard !isByTable else { return [tableQuestion(head)] }
    return [findingsQuestion(head), blocksQuestion(head, methodInForce)].compactMap { $0 }
  }
}
