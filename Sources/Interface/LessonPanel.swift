import Canvas
import Lessons

/// Beside the screen a lesson is about: what to read, what to do, and what was to be seen.
///
/// The task is never cut before the text, and the keys that leave the lesson never at all; a text
/// too long for its panel gets pages.
struct LessonPanel {
  private let model: Model
  private let paint: Paint

  /// Reads the model.
  init(_ model: Model) {
    self.model = model
    paint = Paint(model.look)
  }

  /// A line before or after it was broken to the panel's width.
  private typealias Line = (text: String, style: Style)

  /// The panel; where there is little room the text gives way to the task.
  func draw(in rect: Rect, on grid: inout Grid) {
    guard let lesson = model.lesson, !rect.isEmpty else { return }
    grid.fill(rect, .blank)
    let count = lesson.lesson.steps.count
    let place =
      lesson.current == nil
      ? "\(lesson.done.count)/\(count) done" : "step \(lesson.step + 1)/\(count)"
    Panel(
      "Lesson", right: place, style: paint.accent, unicode: paint.unicode
    ).draw(in: rect, on: &grid)
    let inner = rect.inset(2, 1)
    // Of few lines none is left blank.
    let isLow = inner.height < 10, gap = isLow ? 0 : 1
    let title = lesson.current?.title ?? lesson.lesson.title
    grid.put(title, inner.x, inner.y, paint.strong, limit: inner.width)
    let below = wrapped(bottom(lesson, isLow), inner.width)
    let keys = wrapped([(keyLine(lesson, isLow: isLow), paint.dim)], inner.width)
    let room = max(0, inner.height - 1 - gap - keys.count)
    // What there is to do stands below what there is to read, and is never cut off first.
    var lower = cut(below, room)
    var free = room - lower.count - (lower.isEmpty ? 0 : gap)
    let text = wrapped(top(lesson), inner.width, spaced: !isLow)
    var number = lesson.page
    // Once it is done there is something to see, and the text has been read.
    if lesson.isDone, text.count > free {
      free = 0
    } else if free < 3, text.count > free, !lower.isEmpty {
      // Too low for both: the text has pages of its own, after the task.
      let pages = (text.count + max(1, room - 1) - 1) / max(1, room - 1)
      if number % (pages + 1) == 0 {
        free = 0
      } else {
        (lower, free) = ([], room)
        number = number % (pages + 1) - 1
      }
    }
    let upper = page(text, free, number)
    var y = inner.y + 1 + gap
    for line in upper {
      grid.put(line.text, inner.x, y, line.style, limit: inner.width)
      y += 1
    }
    if !upper.isEmpty { y += gap }
    for line in lower {
      grid.put(line.text, inner.x, y, line.style, limit: inner.width)
      y += 1
    }
    for (index, line) in keys.enumerated() {
      grid.put(
        line.text, inner.x, inner.maxY - keys.count + index, line.style, limit: inner.width)
    }
  }

  /// What fits of a text, and how to turn to the rest.
  private func page(_ lines: [Line], _ room: Int, _ number: Int) -> [Line] {
    guard room > 0 else { return [] }
    guard lines.count > room else { return lines }
    let each = max(1, room - 1), pages = (lines.count + each - 1) / each, at = number % pages
    let turn = "(\(at + 1)/\(pages), \(model.keymap.key(.lessonTurn)) turns)"
    return Array(lines[at * each..<min(lines.count, (at + 1) * each)]) + [(turn, paint.dim)]
  }

  /// What there is to read: the introduction, the step's text, or the end.
  private func top(_ lesson: LessonPlay) -> [Line] {
    if let step = lesson.current { return step.text.map { ($0, .plain) } }
    if lesson.isOver {
      let missing = lesson.lesson.steps.count - lesson.done.count
      return [
        ("This is the end of the lesson.", .plain),
        (
          missing == 0
            ? "You have done every step."
            : """
            \(missing) step\(missing == 1 ? " was" : "s were") skipped; \
            \(model.keymap.key(.lessonBack)) goes back.
            """,
          .plain
        ),
        ("attnscope lesson lists the lessons and what you have done.", .plain),
      ]
    }
    return lesson.lesson.introduction.map { ($0, Style.plain) }
      + [("About \(lesson.lesson.minutes) minutes, \(lesson.lesson.steps.count) steps.", paint.dim)]
  }

  /// The first lines; when some do not fit, the last one says so.
  private func cut(_ lines: [Line], _ room: Int) -> [Line] {
    guard lines.count > room else { return lines }
    guard room > 0 else { return [] }
    var kept = Array(lines.prefix(room - 1))
    while kept.last?.text.isEmpty == true { kept.removeLast() }
    return kept + [(paint.unicode ? "…" : "..", paint.dim)]
  }

  /// The task with what is so now, the hints that were asked for, or what was to be seen.
  private func bottom(_ lesson: LessonPlay, _ isLow: Bool) -> [Line] {
    guard let step = lesson.current else { return [] }
    var lines: [Line] = []
    let sign = paint.unicode ? (lesson.isDone ? "✓" : "▸") : (lesson.isDone ? "*" : ">")
    // What was to do gives way to what is to be seen.
    if isLow, lesson.isDone {
      let notice = step.notice.isEmpty ? "" : " " + step.notice
      return [("\(sign) \(lesson.wasShown ? "Shown." : "Done.")\(notice)", .plain)]
    }
    lines.append(("\(sign) \(step.task)", lesson.isDone ? paint.dim : paint.accent))
    if !lesson.isDone {
      let facts = Facts(model)
      let names = step.check.names.filter { !$0.hasPrefix(Fact.startPrefix) }
      lines.append(("now: " + names.map(facts.phrase).joined(separator: ", "), paint.dim))
    }
    // Where the panel of the cursor has no room, its line stands here.
    let isNarrow = ScreenLayout(model.look).side.isEmpty
    if model.live == nil, [.map, .blocks].contains(model.viewpoint.view),
      isNarrow && model.display.width < 120
    {
      lines.append((Facts(model).place, paint.dim))
    }
    for hint in step.hints.prefix(lesson.hints) where !lesson.isDone {
      lines.append(("Hint: " + hint, paint.warning))
    }
    if lesson.isDone {
      lines.append((lesson.wasShown ? "Shown." : "Done.", paint.strong))
      if !step.notice.isEmpty { lines.append((step.notice, .plain)) }
    }
    return lines
  }

  /// Keys that do something at this point; spaces within an item do not break.
  private func keyLine(_ lesson: LessonPlay, isLow: Bool) -> String {
    let keys = model.keymap
    let leave = "\(keys.key(.lessonLeave)) leave"
    if lesson.isOver { return "Enter: look around, \(keys.key(.lessonBack)) back" }
    if lesson.current == nil { return "Enter begins, \(leave)" }
    let again = "\(keys.key(.lessonAgain)) again", back = "\(keys.key(.lessonBack)) back"
    if lesson.isDone { return "Enter goes on, \(again), \(back), \(leave)" }
    let hint = "\(keys.key(.lessonHint)) hint", show = "\(keys.key(.lessonShow)) show me"
    let skip = "\(keys.key(.lessonSkip)) skip"
    // A key and its word stay together.
    let text = isLow ? ["\(keys.key(.lessonTurn)) text"] : []
    return (text + [hint, show, again, skip, back, leave]).map {
      $0.replacing(" ", with: "\u{a0}")
    }.joined(separator: ", ")
  }

  /// Backticks mark keys in the file. On the screen a key that is a sign stands in quotes, or it
  /// would read as a full stop.
  private func marked(_ text: String) -> String {
    let (open, close) = paint.unicode ? ("‘", "’") : ("'", "'")
    return text.split(separator: "`", omittingEmptySubsequences: false).enumerated().map {
      index, part in
      let isSign = index % 2 == 1 && !part.isEmpty && !part.contains { $0.isLetter || $0.isNumber }
      return isSign ? open + part + close : String(part)
    }.joined()
  }

  /// Broken between words; a word longer than a line is cut.
  private func wrapped(_ lines: [Line], _ width: Int, spaced: Bool = false) -> [Line] {
    var out: [Line] = []
    for (index, line) in lines.enumerated() {
      if spaced, index > 0 { out.append(("", .plain)) }
      var current = ""
      for word in marked(line.text).split(separator: " ").map(String.init) {
        if !current.isEmpty, Width.of(current) + 1 + Width.of(word) > width {
          out.append((current, line.style))
          current = ""
        }
        current += (current.isEmpty ? "" : " ") + word
      }
      out.append((current, line.style))
    }
    for index in out.indices { out[index].text = out[index].text.replacing("\u{a0}", with: " ") }
    return out
  }
}
