import Analysis
import Attention
import Canvas
import Sessions

/// Keys that are marked, and how much attention lies on them.
extension Look {
  /// The name under which the mass on marked keys is a number of a head.
  static let selectedNumber = "selected"

  /// What is asked of a head about the marked keys; nil where none are marked.
  func selectionQuestion(_ head: HeadID) -> Question? {
    viewpoint.selection.map { .selected(head, $0) }
  }

  /// What a head puts on the marked keys; nil before it is known.
  func selectedMass(_ head: HeadID) -> SelectedMass? {
    guard let question = selectionQuestion(head),
      case .selected(let mass) = known.answer(question)
    else { return nil }
    return mass
  }

  /// What the query under the cursor puts there, as its row is shown.
  var selectedOfRow: Double? {
    guard let selection = viewpoint.selection, let row = row(viewpoint.query) else { return nil }
    return selection.runs.reduce(0.0) { sum, run in
      run.clamped(to: row.indices).reduce(sum) { $0 + Double(row[$1]) }
    }
  }

  /// Every head's number is wanted.
  var wantsSelected: Bool {
    viewpoint.selection != nil
      && (viewpoint.score == Self.selectedNumber
        || viewpoint.filter?.asks(Self.selectedNumber) ?? false)
  }

  /// Whether a key is marked.
  func isSelected(_ key: Int) -> Bool { viewpoint.selection?.contains(key) ?? false }

  /// For the panel, from long to short: of the row, of the mean query, of the one that gives most.
  var selectedTexts: [String] {
    let row = selectedOfRow.map(Numbers.percent) ?? "…"
    guard let mass = selectedMass(viewpoint.head) else {
      let why = selectionQuestion(viewpoint.head).flatMap(refusal)
      return ["row \(row), mean \(why == nil ? "…" : "-")", row]
    }
    let sign = mass.sampledRows == nil ? "" : "~"
    let (mean, most) = (sign + Numbers.percent(mass.mean), sign + Numbers.percent(mass.most))
    return [
      "row \(row), mean \(mean), most \(most)", "row \(row) mean \(mean)",
      "\(row) mean \(mean)", row,
    ]
  }

  /// The marked runs with what the mean query puts on each, from the panel's left to its right.
  var selectedRuns: [(name: String, share: String)] {
    guard let runs = viewpoint.selection?.runs else { return [] }
    let parts = selectedMass(viewpoint.head)?.parts
    return runs.enumerated().map { index, run in
      let share = parts.flatMap { $0.indices.contains(index) ? Numbers.percent($0[index]) : nil }
      return (KeySelection.text(run), share ?? "…")
    }
  }

  /// All of it in a sentence or two; empty where nothing is marked.
  var selectionSentence: String {
    guard let selection = viewpoint.selection else { return "" }
    let noun = selection.count == 1 ? "key is" : "keys are"
    let names = Self.few(selection.runs.map(KeySelection.text))
    var text = "\(selection.count) \(noun) selected, \(names)"
    if let share = selectedOfRow {
      text +=
        ": query \(viewpoint.query)\(pool == .one ? "" : " of the pooled heads") gives them "
        + Numbers.percent(share)
    }
    text += "."
    guard let mass = selectedMass(viewpoint.head) else {
      return text + (selectionQuestion(viewpoint.head).flatMap(refusal).map { " \($0)." } ?? "")
    }
    text +=
      """
       The mean query gives them \(Numbers.percent(mass.mean)), and query \(mass.mostRow) the \
      most, \(Numbers.percent(mass.most)).
      """
    if let rows = mass.sampledRows { text += " This was read from \(rows) rows." }
    guard selection.runs.count > 1 else { return text }
    let parts = selectedRuns.map { "keys \($0.name) \($0.share)" }
    return text + " Of the mean query: \(Self.few(parts))."
  }

  /// The first six of a list, and how many more there are.
  private static func few(_ parts: [String]) -> String {
    let rest = parts.count - 6
    return parts.prefix(6).joined(separator: ", ") + (rest > 0 ? " and \(rest) more" : "")
  }
}

extension Viewpoint {
  /// The key that a mark is set on: that under the cursor, in the text the query's own token.
  func markedKey(in source: SourceDescription) -> Int {
    let at = view == .tokens ? source.visibility.position(row: query) : key
    return min(max(at, 0), max(source.keys - 1, 0))
  }

  /// Marks the key under the cursor, or takes its mark away; `run` marks all from the nearest
  /// marked one to it.
  mutating func mark(run: Bool, in source: SourceDescription) {
    let key = markedKey(in: source)
    guard let old = selection else {
      selection = KeySelection(keys: [key])
      return
    }
    selection = run ? old.reaching(key) : old.toggling(key)
  }
}

extension Model {
  /// Marks by a key press, and what is marked now.
  mutating func markKeys(run: Bool) {
    viewpoint.mark(run: run, in: source)
    message = selectedMessage
  }

  /// What is marked, for the caption.
  var selectedMessage: String {
    guard viewpoint.selection != nil else { return "No key is selected." }
    let sentence = look.selectionSentence
    return sentence + " :select off ends it."
  }
}

extension KeySelection {
  /// Keys as they are typed: `3-9,14`, or those of the tokens that match a text in quotes. Throws
  /// `SettingError` for anything else, and for keys that the source has not got.
  static func read(_ text: String, _ about: SourceDescription) throws(SettingError) -> KeySelection
  {
    if text.first == "\"" {
      let wanted = text.dropFirst().last == "\"" ? text.dropFirst().dropLast() : text.dropFirst()
      guard !about.tokens.isEmpty else {
        throw SettingError("this file has no token texts; --tokens FILE gives them")
      }
      let keys = wanted.isEmpty ? [] : TokenSearch(String(wanted)).matches(about.tokens)
      guard let found = KeySelection(keys: keys.filter { $0 < about.keys }) else {
        throw SettingError("no token matches \(text)")
      }
      return found
    }
    guard let selection = KeySelection(text) else {
      throw SettingError("select takes keys like 3-9,14, a text like \"lamp\", or off")
    }
    guard selection.last < about.keys else {
      throw SettingError("keys are 0 to \(about.keys - 1), not \(selection.last)")
    }
    return selection
  }
}
