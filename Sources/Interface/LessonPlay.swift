import Canvas
public import Lessons
import Sessions

/// A lesson as it is played: which step, what has been asked for, and whether its task is done.
///
/// A value within the model, so that undo, tests and replays treat it like everything else. What
/// was done is remembered by step number, across sessions.
public struct LessonPlay: Sendable {
  /// What is played.
  public let lesson: Lesson
  /// -1 is the introduction; `steps.count` is the end.
  public private(set) var step: Int
  /// The step's check was met; it stays so even when the view moves on.
  public private(set) var isDone = false
  /// Steps whose check was met, now or in an earlier session.
  public private(set) var done: Set<Int>
  /// How many hints are shown.
  private(set) var hints = 0
  /// Of a text too long for its panel.
  private(set) var page = 0
  /// The step was shown, not done.
  private(set) var wasShown = false
  /// Facts as they were when the step began.
  private var start: [String: Fact] = [:]
  /// What "do it for me" has still to press.
  private(set) var moves: [LessonStep.Move] = []

  /// Numbers out of range, from an older version of the lesson, are moved into it.
  public init(_ lesson: Lesson, step: Int = -1, done: Set<Int> = []) {
    self.lesson = lesson
    self.done = done.filter { lesson.steps.indices.contains($0) }
    self.step = min(max(step, -1), lesson.steps.count)
  }

  /// The step that is played; nil at the introduction and at the end.
  var current: LessonStep? { lesson.steps.indices.contains(step) ? lesson.steps[step] : nil }
  /// The last step is behind.
  var isOver: Bool { step >= lesson.steps.count }
  /// Enter goes on where there is nothing left to do.
  var mayGoOn: Bool { current == nil || isDone }
  /// Keeps where the lesson stands.
  var progress: Effect { .progress(lesson: lesson.name, step: step, done: done.sorted()) }

  // MARK: Update

  /// Begins a step, the introduction or the end; hints and what was done of a step are forgotten.
  mutating func begin(_ number: Int) {
    self = LessonPlay(lesson, step: number, done: done)
  }

  /// One more hint; false when there was none left before.
  mutating func hint() -> Bool {
    guard let current else { return true }
    defer { hints = min(hints + 1, current.hints.count) }
    return hints < current.hints.count
  }

  /// The next page of the text.
  mutating func turn() { page += 1 }

  /// The step is shown and not done: its keys are to be pressed.
  mutating func show() { (wasShown, moves) = (true, current?.moves ?? []) }

  /// A move of a step that is shown has been made.
  mutating func moved() { moves.removeFirst() }

  /// Notes the facts that the step's check compares with, as soon as they are known: the first
  /// value stays.
  mutating func noteStart(_ facts: Facts) {
    for name in current?.check.names ?? [] where name.hasPrefix(Fact.startPrefix) {
      if start[name] == nil { start[name] = facts[String(name.dropFirst(Fact.startPrefix.count))] }
    }
  }

  /// Is the task done? True when it was found done just now.
  mutating func check(_ facts: Facts) -> Bool {
    guard let current, !isDone else { return false }
    noteStart(facts)
    let start = start
    guard
      current.check.holds({ $0.hasPrefix(Fact.startPrefix) ? start[$0] : facts[$0] }) == true
    else { return false }
    isDone = true
    done.insert(step)
    return true
  }

  /// What the presenter's second terminal shows.
  var notes: String {
    guard let step = current else {
      return isOver
        ? "\(lesson.title): the end"
        : ([lesson.title] + lesson.introduction).joined(separator: "\n\n")
    }
    var parts = ["\(self.step + 1)/\(lesson.steps.count)  \(step.title)"]
    if !step.notes.isEmpty { parts.append(step.notes) }
    parts.append("Task: \(step.task)")
    let keys = step.moves.compactMap { move in
      if case .press(let keys) = move { keys.map(\.name).joined(separator: " ") } else { nil }
    }
    parts.append("Keys: \(keys.joined(separator: "  "))")
    if !step.notice.isEmpty { parts.append("Then: \(step.notice)") }
    return parts.joined(separator: "\n\n")
  }
}
