import Analysis
import Canvas
import Sessions

/// All change enters here: a message turns one model into the next, and what is to be done comes
/// back as values.
/// It reads no clock, no file and no terminal, and so the same messages give the same model. A
/// lesson looks at the model after every message.
public func update(_ model: inout Model, _ message: Message) -> [Effect] {
  let searched = model.searched
  var effects = model.take(message)
  if model.lesson != nil { effects += model.followLesson() }
  if model.searched != searched { model.followSearch() }
  return effects
}

/// The entrance of every change: messages by kind, events by device, keys by mode.
extension Model {
  /// By kind of message; only events have effects of their own.
  fileprivate mutating func take(_ message: Message) -> [Effect] {
    switch message {
    case .answered(let question, let frame, let answer): store(question, frame, answer)
    case .failed(let question, let reason):
      fail(question, reason)
      self.message = reason
    case .moment(.live(let status)): return take(status)
    case .moment(.progress(let question, let share, let seconds)):
      take(progress: question, Working(share: share, seconds: seconds))
    case .digitIsLate(let number):
      guard let view = prompt.digitIsLate(number) else { return [] }
      self.message = nil
      return performing { $0.viewpoint.view = view }
    case .said(let text): self.message = text
    case .canOpen(let path):
      isQuitting = true
      return [.cancelWork, .leave(for: path)]
    case .sent(let bytes, let seconds): meter?.take(bytes, at: seconds)
    case .event(let event): return take(event)
    }
    return []
  }

  /// Keeps how far a wanted question is; what nobody waits for is not shown.
  mutating func take(progress question: Question, _ working: Working) {
    let isWanted = !isKnown(question) && Needs(look).foreground.contains(question)
    known.working = isWanted ? (question, working) : nil
  }

  /// What the person or the terminal did.
  mutating func take(_ event: Event) -> [Effect] {
    switch event {
    case .resize(let width, let height):
      (display.width, display.height) = (width, height)
      return []
    case .hangup:
      isQuitting = true
      return [.cancelWork, .quit]
    case .interrupt: return interrupt()
    case .mouse(let mouse): return takeMouse(mouse)
    case .paste(let text): return takePaste(text)
    case .background(let isLight):
      // Whoever has chosen the other one keeps it.
      guard viewpoint.light == display.capabilities.lightBackground else { return [] }
      (display.capabilities.lightBackground, viewpoint.light) = (isLight, isLight)
      return []
    case .key(let key):
      prompt.note(key, isShown: display.presents)
      return takeKey(key)
    }
  }

  /// The first Ctrl-C stops the work, the next one, with nothing left to stop, quits.
  private mutating func interrupt() -> [Effect] {
    guard prompt.interrupt() else { return [] }
    let isFirst = prompt.interruptsInARow == 1
    let look = look, needs = Needs(look)
    let isWorking =
      !isStopped && (needs.foreground + needs.background).contains { !look.isKnown($0) }
    if let live, live.phase == .running {
      message = "Generation stopped; what was recorded stays. Space goes on, :save FILE keeps it."
      return [.send(.pause)]
    }
    if let live, case .prefill = live.phase, isFirst {
      message =
        "Reading the prompt was stopped: there is nothing to go on from. Ctrl-C again quits."
      return [.send(.stop)]
    }
    if isWorking, isFirst {
      isStopped = true
      message =
        "Work stopped. Any key that asks for something new starts it again; Ctrl-C again quits."
      return [.cancelWork]
    }
    guard !isFirst else {
      message = "Nothing to stop. Ctrl-C again, or q, quits."
      return []
    }
    isQuitting = true
    return [.cancelWork, .quit]
  }

  /// A key goes to whoever has the mode; in the normal one it is a digit, Enter of a lesson, Esc,
  /// or an action.
  mutating func takeKey(_ key: Key) -> [Effect] {
    if case .alt = key, let action = keymap.action(for: key), !prompt.isNormal {
      // Esc and a digit that came in one packet: the one closes, the other shows a view.
      prompt.mode = .normal
      return perform(action)
    }
    guard prompt.isNormal else { return finish(prompt.take(key, offer)) }
    message = nil
    if case .character(let c) = key, c.isASCII, let digit = c.wholeNumberValue,
      digit > 0 || prompt.digits != nil
    {
      return [.awaitDigit(prompt.type(digit: digit).number)]
    }
    if key == .enter, lesson?.mayGoOn ?? false { return lessonAction(.lessonNext) }
    if key == .escape { return takeEscape() }
    let typed = prompt.digits
    prompt.digits = nil
    return act(on: key, after: typed)
  }

  /// The action of a key, with the digits before it for a count; before an action that counts
  /// nothing a single one shows its view first.
  private mutating func act(on key: Key, after typed: Prompt.Digits?) -> [Effect] {
    guard let action = keymap.action(for: key) else {
      message = "\(key.name) does nothing here; \(keymap.key(.help)) lists the keys."
      return []
    }
    guard let typed else { return perform(action) }
    if keymap.counts(action) { return perform(action, typed.count) }
    if let view = typed.view {
      return performing { $0.viewpoint.view = view } + perform(action)
    }
    let effects = perform(action)
    if message == nil { message = "\(typed.text) counts nothing before \(key.name)." }
    return effects
  }

  /// Forgets digits that wait, and then nothing else; without them what was sought, leaves the
  /// gallery and the costs in view 2, and closes the budget.
  private mutating func takeEscape() -> [Effect] {
    guard prompt.digits == nil else {
      prompt.digits = nil
      return []
    }
    prompt.search = nil
    return performing { model in
      if model.viewpoint.budget == nil, model.viewpoint.view == .heads {
        (model.viewpoint.gallery, model.viewpoint.costs) = (nil, .off)
      }
      model.viewpoint.budget = nil
    }
  }

  /// Pasted text is typed where something is typed, and never presses keys.
  private mutating func takePaste(_ text: String) -> [Effect] {
    if prompt.paste(text) { return [] }
    return say("Pasted text presses no keys; \(keymap.key(.palette)) or / takes it.")
  }

  /// Runs an action, remembering the viewpoint before it when it changed.
  mutating func perform(_ action: Action, _ repeats: Int? = nil) -> [Effect] {
    let before = viewpoint
    if action != .quit, action != .palette { live?.mayLeave = false }
    var effects = change(action, repeats)
    if let order = attentionOrder(before) { effects.append(.send(order)) }
    if viewpoint != before, action != .undo, action != .redo {
      isStopped = false
      history.note(before, isMove: [.up, .down, .left, .right].contains(action))
    }
    return effects
  }

  /// Runs a change that is no single action, with undo.
  mutating func performing(_ change: (inout Model) -> Void) -> [Effect] {
    let before = viewpoint
    change(&self)
    if viewpoint != before {
      history.note(before, isMove: false)
      isStopped = false
    }
    return attentionOrder(before).map { [.send($0)] } ?? []
  }
}
