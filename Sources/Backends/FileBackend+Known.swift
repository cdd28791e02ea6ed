import Attention
public import Formats
public import Sessions

extension FileBackend {
  /// What a head was assigned by the table that was given; nil without one, and where it does not
  /// speak of the head.
  public func assigned(_ id: HeadID) -> AssignedPatterns.Pattern? {
    guard let patterns, heads.layers.has(id.layer) else { return nil }
    return patterns[heads.layers[id.layer].value, describe().headNumber(id.head)]
  }

  /// The same of the head of a row of a report.
  public func assigned(_ report: HeadReport) -> AssignedPatterns.Pattern? {
    heads.layers.index(of: report.layer).flatMap {
      assigned(HeadID(layer: $0, head: report.head))
    }
  }

  /// Every head that a table speaks of, for the screen.
  static func assigned(_ patterns: AssignedPatterns, _ about: SourceDescription)
    -> [HeadID: AssignedShape]
  {
    var shapes: [HeadID: AssignedShape] = [:]
    for id in about.allHeads {
      guard let found = patterns[about.number(of: id.layer).value, about.headNumber(id.head)]
      else { continue }
      let key = HeadID(layer: id.layer, head: id.head)
      shapes[key] = AssignedShape(label: found.label, words: found.words)
    }
    return shapes
  }

  /// The table that was given.
  public var patternTable: AssignedPatterns? { patterns }

  /// Whether the table speaks of any head of this file.
  public var hasAssigned: Bool { describe().allHeads.contains { assigned($0) != nil } }

  /// Adds to what a method says what the source knows of the head beside it: what a learned sink
  /// takes, and the pattern that it was assigned.
  func addKnown(to findings: inout Findings, _ id: HeadID) {
    findings.addSink(heads, id)
    findings.nameHeads(description.headNumbers)
    guard let pattern = assigned(id) else { return }
    findings.number(
      Self.assignedScore, pattern.score, title: "score of the assigned pattern")
    findings.note("assigned \(pattern.words) (\(pattern.name))")
  }

  /// The number under which reports and the screen say what the search thought of a pattern.
  static let assignedScore = "assigned_score"
}
