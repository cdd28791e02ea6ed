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
  public internal(set) var step: Int
  /// The step's check was met; it stays so even when the view moves on.
  public internal(set) var isDone = false
  /// Steps whose check was met, now or in an earlier session.
  public internal(set) var done: Set<Int>
  /// How many hints are shown.
  var hints = 0
  /// Of a text too long for its panel.
  var page = 0
  /// The step was shown, not done.
  var wasShown = false
  /// Facts as they were when the step began.
  var start: [String: Fact] = [:]
  /// What "do it for me" has still to press.
  var moves: [LessonStep.Move] = []

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
}

/// Playing a lesson: its keys, its steps, and the look after every message whether the task is
/// done.
extension Model {
  /// Starts a lesson, or goes on with one.
  public mutating func play(_ play: LessonPlay) -> [Effect] {
    lesson = play
    return beginStep(play.step)
  }

  /// Enter goes on where there is nothing left to do.
  var mayGoOn: Bool {
    guard let lesson else { return false }
    return lesson.current == nil || lesson.isDone
  }

  /// What the lesson's keys do; without a lesson they say so.
  mutating func lessonAction(_ action: Action) -> [Effect] {
    guard let lesson else {
      message = "No lesson is playing; attnscope lesson lists them."
      return []
    }
    switch action {
    case .lessonNext:
      guard mayGoOn else {
        message =
          "Not done yet. \(keymap.key(.lessonHint)) gives a hint, \(keymap.key(.lessonSkip)) skips."
        return []
      }
      return lesson.isOver ? leaveLesson() : beginStep(lesson.step + 1)
    case .lessonSkip:
      return lesson.isOver ? leaveLesson() : beginStep(lesson.step + 1)
    case .lessonTurn:
      self.lesson?.page += 1
      return []
    case .lessonBack: return beginStep(max(-1, lesson.step - 1))
    case .lessonAgain: return beginStep(lesson.step)
    case .lessonHint:
      guard let step = lesson.current else { return [] }
      self.lesson?.hints = min(lesson.hints + 1, step.hints.count)
      if lesson.hints >= step.hints.count {
        message = "That was the last hint; \(keymap.key(.lessonShow)) does it for you."
      }
      return []
    case .lessonShow: return showStep()
    default: return leaveLesson()
    }
  }

  /// Ends the lesson and says how to go on with it.
  private mutating func leaveLesson() -> [Effect] {
    guard let lesson else { return [] }
    self.lesson = nil
    message =
      lesson.isOver
      ? "Lesson done. Look around; attnscope lesson lists the others."
      : "Lesson left at step \(max(1, lesson.step + 1)); attnscope lesson \(lesson.lesson.name) goes on there."
    return [.tell("The lesson was left.")]
  }

  /// Sets the step's view, forgets hints, and notes the facts that its check compares with.
  private mutating func beginStep(_ number: Int) -> [Effect] {
    guard var play = lesson else { return [] }
    play.step = min(max(number, -1), play.lesson.steps.count)
    (play.isDone, play.hints, play.page, play.wasShown) = (false, 0, 0, false)
    (play.start, play.moves) = ([:], [])
    lesson = play
    (prompt.mode, prompt.message, prompt.digits) = (.normal, nil, nil)
    var effects = apply(play.current?.show ?? [])
    if let step = play.current {
      for name in step.check.names where name.hasPrefix(Fact.startPrefix) { noteStart(name) }
    }
    effects.append(.progress(lesson: play.lesson.name, step: play.step, done: play.done.sorted()))
    effects.append(.tell(notes))
    return effects
  }

  /// A step's settings, with undo; one that fails names its line in the lesson.
  private mutating func apply(_ settings: [LessonStep.Setting]) -> [Effect] {
    performing { model in
      for setting in settings {
        do throws(SettingError) {
          try ViewSetting.take(
            setting.name, setting.value, into: &model.viewpoint, model.sources)
        } catch {
          model.message = "The lesson, line \(setting.line): \(error)"
        }
      }
      model.viewpoint.clampCursor(in: model.source)
    }
  }

  /// A fact as the step begins, or as soon as it is known: the first value stays.
  private mutating func noteStart(_ name: String) {
    let fact = Facts(self)[String(name.dropFirst(Fact.startPrefix.count))]
    if let fact, lesson?.start[name] == nil { lesson?.start[name] = fact }
  }

  /// Begins the step anew and presses its keys.
  private mutating func showStep() -> [Effect] {
    guard let step = lesson?.current else { return [] }
    let again = beginStep(lesson?.step ?? 0)
    lesson?.wasShown = true
    lesson?.moves = step.moves
    return again + pressNext()
  }

  /// Presses the next keys of a step that is shown, once what they stand on is there.
  private mutating func pressNext() -> [Effect] {
    var effects: [Effect] = []
    while let move = lesson?.moves.first {
      switch move {
      case .wait(let condition):
        guard condition.holds({ Facts(self)[$0] }) == true else { return effects }
        lesson?.moves.removeFirst()
      case .press(let keys):
        guard Needs(look).foreground.allSatisfy(look.isKnown) || live?.phase == .running else {
          return effects
        }
        lesson?.moves.removeFirst()
        for key in keys { effects += takeKey(key) }
      }
    }
    return effects
  }

  /// After every message: is the task done?
  mutating func followLesson() -> [Effect] {
    guard let play = lesson, let step = play.current else { return [] }
    let effects = play.moves.isEmpty ? [] : pressNext()
    guard let lesson, lesson.step == play.step, !lesson.isDone else { return effects }
    for name in step.check.names where name.hasPrefix(Fact.startPrefix) { noteStart(name) }
    let start = self.lesson?.start ?? [:]
    let facts = Facts(self)
    guard step.check.holds({ $0.hasPrefix(Fact.startPrefix) ? start[$0] : facts[$0] }) == true
    else { return effects }
    self.lesson?.isDone = true
    self.lesson?.done.insert(lesson.step)
    return effects + [
      .progress(
        lesson: lesson.lesson.name, step: lesson.step,
        done: (self.lesson?.done ?? []).sorted())
    ]
  }

  /// What the presenter's second terminal shows.
  var notes: String {
    guard let lesson else { return "" }
    guard let step = lesson.current else {
      return lesson.isOver
        ? "\(lesson.lesson.title): the end"
        : ([lesson.lesson.title] + lesson.lesson.introduction).joined(separator: "\n\n")
    }
    var parts = ["\(lesson.step + 1)/\(lesson.lesson.steps.count)  \(step.title)"]
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
