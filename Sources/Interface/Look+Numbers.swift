import Attention
import Analysis
import Canvas
import Sessions

/// Numbers of heads by their names, and what stands under the cursor: what several screens word in
/// one way.
extension Look {
  // MARK: Heads

  /// Share of blocks that the method in force skips of a head: off the table, or as it says.
  func sparsity(_ head: HeadID) -> Double? {
    isByTable ? table(head)?.sparsity(lambda) : number("sparsity", head)
  }

  /// A number's name for a person: its title where a method says it, the words of the name
  /// otherwise.
  func numberTitle(_ name: String) -> String {
    let heads = [viewpoint.head] + source.allHeads
    for head in heads { if let finding = findings(head)?[name] { return finding.title } }
    let own = [
      "effective_tokens": "tokens a row reads", "sink_mass": "mass on the sink",
      "recall": "recall of the head's best shape",
      Self.selectedNumber: "mass on the selected keys",
      Self.agreesNumber: "the pattern is the one assigned",
    ]
    return own[name] ?? name.split(separator: "_").joined(separator: " ")
  }

  /// Whether a head is shown under a filter: all its parts hold. What may yet be known passes; a
  /// number that the head has not got holds nothing.
  func passes(_ filter: NumberFilter, _ head: HeadID) -> Bool {
    filter.parts.allSatisfy { passes($0, head) }
  }

  /// One condition of a head.
  private func passes(_ part: NumberFilter.Part, _ head: HeadID) -> Bool {
    func isOpen(_ question: Question?) -> Bool {
      question.map { known.answer($0) == nil && refusal($0) == nil } ?? false
    }
    switch part.name {
    case "pattern":
      return summary(head).map { part.holds($0.label.name.rawValue) } ?? isOpen(.summary(head))
    case "assigned": return assigned(head).map { part.holds($0.label) } ?? false
    default: break
    }
    if let (value, _) = headNumber(part.name, head) {
      return value.map { part.holds($0) } ?? false
    }
    if part.name == Self.selectedNumber { return isOpen(selectionQuestion(head)) }
    return isOpen(findingsQuestion(head))
      || (Self.ownNumbers.contains(part.name) && isOpen(.summary(head)))
  }

  /// Heads that the filter in force lets through, in the order of the file.
  var filteredHeads: [HeadID] {
    guard let filter = viewpoint.filter else { return source.allHeads }
    return source.allHeads.filter { passes(filter, $0) }
  }

  /// Numbers that every head has, whatever the method.
  static let ownNumbers: Set<String> = [
    selectedNumber, agreesNumber, "layer", "head", "entropy", "effective_tokens", "sink_mass",
    "recall",
  ]

  /// Names of numbers that a setting asks for.
  private static func named(by setting: String, _ viewpoint: Viewpoint) -> [String] {
    switch setting {
    case "where": viewpoint.filter?.parts.map(\.name) ?? []
    case "score": viewpoint.score.map { [$0] } ?? []
    default: []
    }
  }

  /// Why a name that a setting was given is none: no number of a head, no map of the method. Nil
  /// while that cannot be told.
  func complaint(about setting: String) -> String? {
    if setting == "heads" { return viewpoint.heads == .one ? nil : whyOneHead }
    let names = Self.named(by: setting, viewpoint)
    if names.contains(Self.selectedNumber), viewpoint.selection == nil {
      return "No key is selected: :select 3-9 selects some."
    }
    if names.contains(Self.agreesNumber) || names.contains("assigned"), source.assigned.isEmpty {
      return "No pattern was assigned: attnscope FILE --patterns TABLE lays them beside."
    }
    guard let id = methodInForce?.id, findings(viewpoint.head) != nil else { return nil }
    switch setting {
    case "where", "score":
      let wrong = names.first { name in
        !Self.ownNumbers.contains(name) && !numberNames.contains(name)
          && !NumberFilter.words.contains(name)
          && !source.allHeads.contains { findings($0)?[name] != nil }
      }
      guard let wrong else { return nil }
      return "\(id) says no number \"\(wrong)\" of a head; \(setting) knows "
        + numberNames.joined(separator: ", ") + "."
    case "field":
      let names = mapFields.map(\.name)
      guard let name = viewpoint.field, !names.contains(name) else { return nil }
      return "\(id) has no map \"\(name)\" here; there are "
        + (["pattern"] + names).joined(separator: ", ") + "."
    default: return nil
    }
  }

  /// Why no head is shown, in a sentence.
  var noHeads: String {
    guard let filter = viewpoint.filter else { return "There are no heads." }
    return complaint(about: "where")
      ?? "No head has \(filter) under \(methodInForce?.id ?? "the pattern"). :where all shows all."
  }

  // MARK: Cursor

  /// The row of the field on the map that holds the query under the cursor, where that is no row a
  /// query; nil where `rowOfMap` is of that very field.
  var cellQuestion: Question? {
    viewpoint.field == nil || rowField == mapField ? nil : .row(mapField, viewpoint.query)
  }

  /// What the field on the map holds under the cursor, with its title; nil of the pattern, and
  /// before it is known.
  var cell: (title: String, value: String)? {
    guard let name = viewpoint.field, let finding = findings(viewpoint.head)?[name],
      case .field(let field, let style) = finding.content,
      let row = known.row(mapField, viewpoint.query)
    else { return nil }
    let at = viewpoint.key / max(field.columns.span, 1)
    guard row.indices.contains(at) else { return nil }
    return (finding.title, Self.words(row[at], style))
  }

  /// A value of a field in words: a label, kept or not, else the number.
  private static func words(_ value: Float, _ style: FieldLook) -> String {
    guard !value.isNaN else { return "not visible" }
    switch style {
    case .labels(let names):
      let index = Int(max(0, min(value.rounded(), Float(names.count - 1))))
      return names.isEmpty ? Numbers.short(Double(value)) : names[index]
    case .kept: return value > 0 ? "kept" : "not kept"
    default: return Numbers.short(Double(value))
    }
  }
}
