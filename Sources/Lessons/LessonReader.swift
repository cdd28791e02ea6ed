import Canvas

/// Reads a lesson file: front matter, an introduction, then steps under `##` with a list of named
/// items each.
///
/// Everything wrong is listed with its line; a lesson comes out only when nothing is.
///
/// Example: `LessonReader(text, name: "1-reading-a-map").problems`. Reading never throws: whoever
/// writes a lesson wants all complaints at once.
public struct LessonReader {
  /// By line, a hundred at most.
  public private(set) var problems: [LessonProblem] = []
  /// Nil when there is any problem.
  public private(set) var lesson: Lesson?

  /// A named value and where it stands.
  private struct Item {
    let name: String
    var value: String
    let line: Int
  }

  /// A step while it is read: its heading, paragraphs and items.
  private struct Draft {
    let title: String
    let line: Int
    var text: [String] = []
    var items: [Item] = []
  }

  private static let mostBytes = 1 << 20
  private static let itemNames = [
    "show", "task", "check", "keys", "hint", "notice", "notes",
  ]

  /// Reads the whole text, at most 1 MB of it; `name` comes from the file's name.
  public init(_ text: String, name: String) {
    guard text.utf8.count <= Self.mostBytes else {
      problems.append(LessonProblem(line: 1, text: "a lesson is a text of at most 1 MB"))
      return
    }
    var lines = text.textLines
    if let first = lines.first, first.hasPrefix("\u{feff}") { lines[0] = String(first.dropFirst()) }
    guard let (front, after) = frontMatter(lines) else { return }
    let (introduction, drafts) = body(lines, from: after)
    let steps = drafts.compactMap { step($0) }
    if drafts.isEmpty { problem(lines.count, "a lesson has at least one step: a line '## Title'") }
    problems.sort { $0.line < $1.line }
    guard problems.isEmpty, let title = front["title"]?.value, !title.isEmpty else { return }
    lesson = Lesson(
      name: name, title: title, minutes: Int(front["minutes"]?.value ?? "") ?? 10,
      needs: Lesson.Need(rawValue: front["needs"]?.value ?? "sample") ?? .sample,
      files: (front["files"]?.value ?? "").split(separator: ",").map { String($0).trimmed },
      introduction: introduction, steps: steps)
  }

  /// Notes a complaint; beyond a hundred they would only repeat the first.
  private mutating func problem(_ line: Int, _ text: String) {
    if problems.count < 100 { problems.append(LessonProblem(line: line, text: text)) }
  }

  // MARK: Parts

  /// The named values between the two `---`, and the index of the line after them.
  private mutating func frontMatter(_ lines: [String]) -> ([String: Item], Int)? {
    guard lines.first?.trimmed == "---" else {
      problem(1, "a lesson begins with '---', then title, minutes and needs, then '---'")
      return nil
    }
    guard let end = lines.dropFirst().firstIndex(where: { $0.trimmed == "---" }) else {
      problem(1, "the front matter is not closed by a line '---'")
      return nil
    }
    var front: [String: Item] = [:]
    for (index, line) in lines[..<end].enumerated().dropFirst() where !line.trimmed.isEmpty {
      let parts = line.split(separator: ":", maxSplits: 1).map { String($0).trimmed }
      guard parts.count == 2, ["title", "minutes", "needs", "files"].contains(parts[0]) else {
        problem(
          index + 1, "here stand title, minutes, needs and files, as in 'title: Reading a map'")
        continue
      }
      front[parts[0]] = Item(name: parts[0], value: parts[1], line: index + 1)
    }
    if front["title"] == nil { problem(1, "there is no title") }
    if let minutes = front["minutes"], !(1...60).contains(Int(minutes.value) ?? 0) {
      problem(minutes.line, "minutes is a number from 1 to 60, not '\(minutes.value)'")
    }
    if let needs = front["needs"], Lesson.Need(rawValue: needs.value) == nil {
      problem(needs.line, "needs is sample or model, not '\(needs.value)'")
    }
    return (front, end + 1)
  }

  /// Paragraphs before the first `##` are the introduction; under it, those before the list are the
  /// step's text. Indented lines go on with the item above them.
  private mutating func body(_ lines: [String], from start: Int) -> ([String], [Draft]) {
    var introduction = Paragraphs(), drafts: [Draft] = []
    var text = Paragraphs()
    func close() { if !drafts.isEmpty { drafts[drafts.count - 1].text = text.all } }
    for index in start..<max(start, lines.count) {
      let line = lines[index]
      if line.hasPrefix("## ") {
        close()
        drafts.append(Draft(title: String(line.dropFirst(3)).trimmed, line: index + 1))
        text = Paragraphs()
      } else if line.hasPrefix("# ") {
        continue  // The title again, for readers of the file.
      } else if drafts.isEmpty {
        introduction.add(line)
      } else if line.hasPrefix("- ") {
        addItem(String(line.dropFirst(2)), index + 1, &drafts[drafts.count - 1])
      } else if line.hasPrefix(" "), !line.trimmed.isEmpty,
        !drafts[drafts.count - 1].items.isEmpty
      {
        let last = drafts[drafts.count - 1].items.count - 1
        drafts[drafts.count - 1].items[last].value += " " + line.trimmed
      } else if !line.trimmed.isEmpty, !drafts[drafts.count - 1].items.isEmpty {
        problem(index + 1, "text stands before the list; a longer item is indented by two spaces")
      } else {
        text.add(line)
      }
    }
    close()
    return (introduction.all, drafts)
  }

  /// One `- name: value`; hints may come several times, everything else once.
  private mutating func addItem(_ text: String, _ line: Int, _ draft: inout Draft) {
    let parts = text.split(separator: ":", maxSplits: 1).map { String($0).trimmed }
    guard parts.count == 2, Self.itemNames.contains(parts[0]) else {
      problem(
        line, "an item is one of \(Self.itemNames.joined(separator: ", ")), as in '- task: ..'")
      return
    }
    if parts[0] != "hint", draft.items.contains(where: { $0.name == parts[0] }) {
      problem(line, "this step has \(parts[0]) twice")
    }
    draft.items.append(Item(name: parts[0], value: parts[1], line: line))
  }

  // MARK: A step

  /// A step from its draft; nil when its check is missing or cannot be read.
  private mutating func step(_ draft: Draft) -> LessonStep? {
    func item(_ name: String) -> Item? { draft.items.first { $0.name == name } }
    if draft.title.isEmpty { problem(draft.line, "a step has a title") }
    for name in ["task", "check", "keys"] where item(name) == nil {
      problem(draft.line, "the step '\(draft.title)' has no \(name)")
    }
    let show = item("show").map { self.settings($0) } ?? []
    let moves = item("keys").map { self.moves($0) } ?? []
    guard let check = item("check") else { return nil }
    do throws(ConditionError) {
      let condition = try Condition(check.value)
      return LessonStep(
        title: draft.title, text: draft.text, show: show, task: item("task")?.value ?? "",
        check: condition, moves: moves,
        hints: draft.items.filter { $0.name == "hint" }.map(\.value),
        notice: item("notice")?.value ?? "", notes: item("notes")?.value ?? "", line: draft.line)
    } catch {
      problem(check.line, "check, \(error)")
      return nil
    }
  }

  /// `view=map cursor=831,0 other="file 2 12.3"`
  private mutating func settings(_ item: Item) -> [LessonStep.Setting] {
    var found: [LessonStep.Setting] = []
    var rest = Substring(item.value).drop { $0 == " " }
    while !rest.isEmpty {
      let name = rest.prefix { $0 != "=" && $0 != " " }
      rest = rest.dropFirst(name.count)
      guard rest.first == "=", !name.isEmpty else {
        problem(item.line, "show is written like view=map layer=12; '\(name)' has no value")
        return found
      }
      rest = rest.dropFirst()
      var value = rest.prefix { $0 != " " }
      if rest.first == "\"" {
        value = rest.dropFirst().prefix { $0 != "\"" }
        rest = rest.dropFirst(value.count + 2)
      } else {
        rest = rest.dropFirst(value.count)
      }
      found.append(LessonStep.Setting(name: String(name), value: String(value), line: item.line))
      rest = rest.drop { $0 == " " }
    }
    return found
  }

  /// Keys in backticks; `?condition` in backticks waits.
  private mutating func moves(_ item: Item) -> [LessonStep.Move] {
    let parts = item.value.split(separator: "`", omittingEmptySubsequences: false).map(String.init)
    guard parts.count >= 3, parts.count % 2 == 1 else {
      problem(item.line, "keys stand in backticks, as in `]]<Home>`")
      return []
    }
    var moves: [LessonStep.Move] = []
    for (index, part) in parts.enumerated() where index % 2 == 1 {
      if part.hasPrefix("?") {
        do throws(ConditionError) {
          moves.append(.wait(try Condition(String(part.dropFirst()))))
        } catch {
          problem(item.line, "keys, \(error)")
        }
        continue
      }
      let (keys, unknown) = Key.sequence(part)
      if let unknown { problem(item.line, "\(unknown) is no key; <Home>, <Enter>, <Space> are") }
      moves.append(.press(keys))
    }
    return moves
  }
}

/// Lines gathered into paragraphs.
private struct Paragraphs {
  private var done: [String] = []
  private var open = ""

  /// A line more; an empty one ends the paragraph.
  mutating func add(_ line: String) {
    let text = line.trimmed
    if text.isEmpty {
      if !open.isEmpty { done.append(open) }
      open = ""
    } else {
      open += (open.isEmpty ? "" : " ") + text
    }
  }

  /// The paragraphs, the last one as far as it is there.
  var all: [String] { done + (open.isEmpty ? [] : [open]) }
}
