import Analysis
public import Attention
public import Sessions

/// The method in force, what it found, and the field on the map.
extension Model {
  /// The method that the screen is about, with its knobs.
  public var methodInForce: MethodSetting? {
    selection.method
      ?? source.tableCard?.blockTables?.setting(selection.spec, selection.lambda)
  }

  /// The facts of the method in force.
  public var card: MethodCard? { methodInForce.flatMap { source.card($0.id) } }

  /// The method in force reads its blocks off the table of the screen's lambda and tile.
  var isByTable: Bool { selection.method == nil }

  /// What is asked to know what a method says of a head; nil where no library is known.
  func findingsQuestion(_ head: HeadID, _ setting: MethodSetting? = nil) -> Question? {
    (setting ?? methodInForce).map { setting in
      // Only maps are looked at beside blocks: others need not be asked again when lambda moves.
      let isMap = source.card(setting.id)?.mainField == "map"
      return .findings(
        head, setting,
        beside: isMap
          ? source.tableCard?.blockTables?.setting(selection.spec, selection.lambda) : nil)
    }
  }

  /// What the method in force, or another, says of a head.
  public func findings(_ head: HeadID, _ setting: MethodSetting? = nil) -> Findings? {
    guard let question = findingsQuestion(head, setting),
      case .findings(let findings) = answer(question)
    else { return nil }
    return findings
  }

  /// A number that the method in force says of a head.
  public func number(_ name: String, _ head: HeadID) -> Double? {
    findings(head)?[name]?.number
  }

  /// The field on the map.
  var mapField: FieldID {
    guard let name = selection.field, let setting = methodInForce else {
      return .pattern(selection.head)
    }
    return FieldID(selection.head, method: setting, name: name)
  }

  /// How the field on the map is to be looked at; weights until it is known.
  var mapLook: Look {
    guard let name = selection.field else { return .weights }
    return findings(selection.head)?.field(name)?.look ?? .weights
  }

  // MARK: Blocks of any method

  /// The blocks of the method in force: of the table, or those that another method found.
  func shownTable(_ head: HeadID) -> BlockTable? {
    isByTable ? table(head) : blocks(head, methodInForce)
  }

  /// A picture of a method's blocks, a cell a block; nil where the method has none, or before it is known.
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
