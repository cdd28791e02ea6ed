import Canvas
import Lessons
import Sessions

/// Playing a lesson: its keys, its settings, and the look after every message whether the task is
/// done.
extension Model {
  /// Starts a lesson, or goes on with one.
  public mutating func play(_ play: LessonPlay) -> [Effect] {
    lesson = play
    return beginStep(play.step)
  }

  /// What the lesson's keys do; without a lesson they say so.
  mutating func lessonAction(_ action: Action) -> [Effect] {
    guard let lesson else {
      return say("No lesson is playing; attnscope lesson lists them.")
    }
    switch action {
    case .lessonNext where !lesson.mayGoOn:
      return say(
        "Not done yet. \(keymap.key(.lessonHint)) gives a hint, \(keymap.key(.lessonSkip)) skips.")
    case .lessonNext, .lessonSkip:
      return lesson.isOver ? leaveLesson() : beginStep(lesson.step + 1)
    case .lessonTurn:
      self.lesson?.turn()
      return []
    case .lessonBack: return beginStep(max(-1, lesson.step - 1))
    case .lessonAgain: return beginStep(lesson.step)
    case .lessonHint:
      if self.lesson?.hint() == false {
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
      : """
      Lesson left at step \(max(1, lesson.step + 1)); attnscope lesson \(lesson.lesson.name) goes \
      on there.
      """
    return [.tell("The lesson was left.")]
  }

  /// Sets the step's view, forgets hints, and notes the facts that its check compares with.
  private mutating func beginStep(_ number: Int) -> [Effect] {
    guard lesson != nil else { return [] }
    lesson?.begin(number)
    (prompt.mode, prompt.message, prompt.digits) = (.normal, nil, nil)
    var effects = apply(lesson?.current?.show ?? [])
    let facts = Facts(self)
    lesson?.noteStart(facts)
    if let lesson { effects += [lesson.progress, .tell(lesson.notes)] }
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

  /// Begins the step anew and presses its keys.
  private mutating func showStep() -> [Effect] {
    guard let lesson, lesson.current != nil else { return [] }
    let again = beginStep(lesson.step)
    self.lesson?.show()
    return again + pressNext()
  }

  /// Presses the next keys of a step that is shown, once what they stand on is there.
  private mutating func pressNext() -> [Effect] {
    var effects: [Effect] = []
    while let move = lesson?.moves.first {
      switch move {
      case .wait(let condition):
        guard condition.holds({ Facts(self)[$0] }) == true else { return effects }
        lesson?.moved()
      case .press(let keys):
        let look = look
        guard Needs(look).foreground.allSatisfy(look.isKnown) || live?.phase == .running else {
          return effects
        }
        lesson?.moved()
        for key in keys { effects += takeKey(key) }
        // Nothing follows what a lesson presses: a digit at its end is a view.
        if let run = prompt.digits, let view = prompt.digitIsLate(run.number) {
          effects += performing { $0.viewpoint.view = view }
        }
      }
    }
    return effects
  }

  /// After every message: is the task done?
  mutating func followLesson() -> [Effect] {
    guard let play = lesson, play.current != nil else { return [] }
    var effects = play.moves.isEmpty ? [] : pressNext()
    guard var now = lesson, now.step == play.step else { return effects }
    if now.check(Facts(self)) { effects.append(now.progress) }
    lesson = now
    return effects
  }
}
