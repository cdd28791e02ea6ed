public import Analysis
public import Attention

/// A field of a head: the source's own pattern, or one that a method found.
///
/// Example: `FieldID(head, method: MethodSetting("a-shape"), name: "map")`.
public struct FieldID: Sendable, Hashable {
  /// The head it belongs to.
  public var head: HeadID
  /// Nil: what the source itself holds.
  public var method: MethodSetting?
  /// Name of the finding, `pattern` for the source's own.
  public var name: String
  /// Of the source's own pattern: of the head alone, or of several pooled.
  public var pool = HeadPool.one

  /// `name` is that of a finding.
  public init(_ head: HeadID, method: MethodSetting? = nil, name: String) {
    (self.head, self.method, self.name) = (head, method, name)
  }

  /// The dense pattern of a head, or of several heads of its layer.
  public static func pattern(_ head: HeadID, pool: HeadPool = .one) -> FieldID {
    var id = FieldID(head, name: "pattern")
    id.pool = pool
    return id
  }

  /// It is the source's own pattern, of one head or of several.
  public var isPattern: Bool { method == nil && name == "pattern" }
  /// It is the dense pattern of this one head.
  public var isOwn: Bool { isPattern && pool == .one }

  /// A number of every row of a head, as a field of one column.
  public static func fact(_ fact: RowFact, _ head: HeadID) -> FieldID {
    FieldID(head, name: fact.rawValue)
  }
}

/// How a picture of a field is wanted.
public struct PictureRequest: Sendable, Hashable {
  /// Tokens of the map; of fields over other things, entries.
  public var window: MapWindow
  /// Cells from top to bottom, at most.
  public var rows: Int
  /// Cells from left to right, at most.
  public var columns: Int
  /// A key whose column is left out, rows renormalised.
  public var muted: Int?
  /// So many rows of each row of cells stand for all: a picture at once, and labelled for what it
  /// is. Nil: all rows.
  public var perCell: Int?

  /// Exact and with nothing muted, unless told otherwise.
  public init(
    _ window: MapWindow, rows: Int, columns: Int, muted: Int? = nil, perCell: Int? = nil
  ) {
    (self.window, self.rows, self.columns) = (window, rows, columns)
    (self.muted, self.perCell) = (muted, perCell)
  }
}

/// Which block table is wanted.
///
/// Example: `TableRequest(TileSpec(rows: 128, keys: 128), .kept)` costs nothing when the table is
/// not there.
public struct TableRequest: Sendable, Hashable {
  /// How much of the table, and whether it may be computed for it.
  public enum Extent: Sendable, Hashable {
    case whole
    /// The whole table if it is there already, from another session or another question; else
    /// `.unavailable` at once.
    case kept
    /// The blocks of one row alone, as a decode step decides them.
    case row(Int)
  }

  /// Tile, vote, order and criterion.
  public var spec: TileSpec
  /// Matters to the lse criterion alone; 0 for the other, whose tables serve every lambda.
  public var lambda: Double
  /// How much of it.
  public var extent: Extent

  /// A whole table that serves every lambda, unless told otherwise.
  public init(_ spec: TileSpec, lambda: Double = 0, _ extent: Extent = .whole) {
    (self.spec, self.lambda, self.extent) = (spec, lambda, extent)
  }
}

/// What a screen wants to know. Equal questions have equal answers, so answers can be kept.
///
/// The catch: equality is that of all parts, so that a window moved by one token is another
/// question. Ask for what is shown, at the size at which it is shown.
public enum Question: Sendable, Hashable {
  /// A window of a field pooled to cells.
  case picture(FieldID, PictureRequest)
  /// One row of a field.
  case row(FieldID, Int)
  /// Everything a method has to say of a head; fields come as their axes alone. With `beside`, a
  /// method of block tables, also how much of a map lies on the blocks that one computes.
  case findings(HeadID, MethodSetting, beside: MethodSetting? = nil)
  /// Margins and masses of a head's blocks.
  case table(HeadID, TableRequest)
  /// Where a head's mass goes and how it is shaped.
  case summary(HeadID)
  /// Every method that keeps entries, tuned on a head to one share of 64x64 tiles, in 0...1.
  case budget(HeadID, Double)
  /// What masks have in common, as seen from a head; fields come whole, they are small.
  case overlap(HeadID, OverlapRequest)
  /// How much of the attention two fields differ by, over so many rows of both.
  case moved(FieldID, FieldID, rows: Int)
  /// How much of a head's attention lies on keys that were marked.
  case selected(HeadID, KeySelection)
  /// Tokens of a live source's branch.
  case steps(branch: Int, Range<Int>)
  /// What the pass that gave the newest token of the frame did.
  case detail
}

/// What a source says to a question.
public enum Answer: Sendable {
  case picture(PooledMap)
  case row([Float])
  /// Fields in it are `FieldSketch`es: pictures and rows are asked for.
  case findings(Findings)
  case table(BlockTable)
  case summary(HeadSummary)
  case budget(BudgetAnswer)
  case moved(MovedMass)
  case selected(SelectedMass)
  case steps(branch: Int, [Step])
  case detail(StepDetail)
  /// Why the source cannot tell.
  case unavailable(String)
}

/// A field as a screen knows it: what its axes count. Its values stay where they were found.
public struct FieldSketch: RowField {
  public let rows: Axis
  public let columns: Axis

  /// The axes of a field.
  public init(_ field: any RowField) { (rows, columns) = (field.rows, field.columns) }

  /// Always throws: ask for a picture or a row.
  public func withRows(
    _ range: Range<Int>, _ body: (Int, UnsafeBufferPointer<Float>) throws -> Void
  ) throws {
    throw Absent()
  }

  private struct Absent: Error, CustomStringConvertible {
    var description: String { "the values of this field are asked for as pictures and rows" }
  }
}

extension Findings {
  /// The same without the values of fields.
  public var sketched: Findings {
    var copy = Findings()
    for finding in all {
      if case .field(let field, let look) = finding.content {
        copy.field(finding.name, FieldSketch(field), look, title: finding.title)
      } else {
        copy.add(finding)
      }
    }
    for note in notes { copy.note(note) }
    for (knob, value) in applied { copy.apply(knob, value) }
    return copy
  }
}

extension Question {
  /// Nil for questions about the source as a whole.
  public var head: HeadID? {
    switch self {
    case .picture(let field, _), .row(let field, _), .moved(let field, _, _): field.head
    case .findings(let id, _, _), .table(let id, _), .summary(let id), .budget(let id, _),
      .overlap(let id, _), .selected(let id, _):
      id
    case .steps, .detail: nil
    }
  }

  /// It is about masks of many methods, heads or steps at once, and takes long.
  public var isOfMasks: Bool {
    switch self {
    case .budget, .overlap: true
    case .picture, .row, .findings, .table, .summary, .moved, .selected, .steps, .detail:
      false
    }
  }

  /// The field it is about.
  public var field: FieldID? {
    switch self {
    case .picture(let field, _), .row(let field, _): field
    case .findings, .table, .summary, .budget, .overlap, .moved, .selected, .steps, .detail:
      nil
    }
  }
}
