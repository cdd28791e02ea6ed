import Analysis
import Attention
import Canvas
import Sessions

/// Patterns that heads were assigned elsewhere, beside those that are measured here.
extension Look {
  /// The number that says of a head whether both are one: 1 or 0.
  static let agreesNumber = "agrees"

  /// What a head was assigned; nil where nothing was told.
  func assigned(_ head: HeadID) -> AssignedShape? {
    source.assigned[HeadID(layer: head.layer, head: head.head)]
  }

  /// Whether the measured pattern is the assigned one; nil before it is measured, and where nothing
  /// was assigned.
  func agrees(_ head: HeadID) -> Bool? {
    guard let shape = assigned(head), let summary = summary(head) else { return nil }
    return summary.label.name.rawValue == shape.label
  }

  /// `8 of 9 agree`, of the heads that are measured and assigned; nil where none is.
  var agreement: String? {
    guard !source.assigned.isEmpty else { return nil }
    let known = source.allHeads.compactMap { agrees($0) }
    return known.isEmpty ? nil : "\(known.count { $0 }) of \(known.count) as assigned"
  }

  /// The measured pattern of a head with what it was assigned, from long to short; the second is
  /// said only where it is another.
  func patternTexts(_ head: HeadID) -> [String] {
    guard let summary = summary(head) else { return ["…"] }
    let name = summary.label.name
    guard let shape = assigned(head), agrees(head) == false else {
      return [agrees(head) == true ? "\(name.short)=" : name.short]
    }
    let short = PatternLabel.Name(rawValue: shape.label)?.short ?? shape.label
    return [
      "\(name.rawValue) (assigned \(shape.label))", "\(name.short) (assigned \(short))",
      "\(name.short)≠\(short)",
    ]
  }

  /// The same for sentences: ` (assigned a-shape)`, or that it is as assigned.
  func assignedWords(_ head: HeadID) -> String {
    guard let shape = assigned(head) else { return "" }
    return agrees(head) == true ? " (as assigned)" : " (assigned \(shape.label))"
  }
}
