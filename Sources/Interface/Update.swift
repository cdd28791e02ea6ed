import Analysis
import Canvas
import Sessions

/// All change enters here: a message turns one model into the next, and what is to be done comes
/// back as values.
/// It reads no clock, no file and no terminal, and so the same messages give the same model. A
/// lesson looks at the model after every message.
public func update(_ model: inout Model, _ message: Message) -> [Effect] {
  let effects = model.take(message)
  return model.lesson == nil ? effects : effects + model.followLesson()
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
    case .digitIsOver(let number): if digits?.number == number { digits = nil }
    case .said(let text): self.message = text
    case .sent(let bytes, let seconds): take(bytes, seconds)
    case .event(let event): return take(event)
    }
    return []
  }

  /// Keeps how far a wanted question is; what nobody waits for is not shown.
  mutating func take(progress question: Question, _ working: Working) {
    let isWanted = !isKnown(question) && Needs(look).foreground.contains(question)
    known.working = isWanted ? (question, working) : nil
  }

  /// The meter's speed over at least half a second.
  private mutating func take(_ bytes: Int, _ seconds: Double) {
    guard let last = meter else { return }
    let time = seconds - last.seconds
    guard time >= 0.5 else { return }
    meter = Meter(
      bytes: bytes, seconds: seconds,
      perSecond: last.seconds == 0 ? 0 : Double(bytes - last.bytes) / time)
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
    case .key(let key):
      interruptsInARow = 0
      if display.presents { pressed = Array((pressed + [key]).suffix(6)) }
      return takeKey(key)
    }
  }

  /// The first Ctrl-C stops the work, the next one, with nothing left to stop, quits.
  private mutating func interrupt() -> [Effect] {
    if case .normal = mode {
    } else {
      mode = .normal
      return []
    }
    let look = look, needs = Needs(look)
    let isWorking =
      !isStopped && (needs.foreground + needs.background).contains { !look.isKnown($0) }
    interruptsInARow += 1
    if let live, live.phase == .running {
      message = "Generation stopped; what was recorded stays. Space goes on, :save FILE keeps it."
      return [.send(.pause)]
    }
    if let live, case .prefill = live.phase, interruptsInARow == 1 {
      message =
        "Reading the prompt was stopped: there is nothing to go on from. Ctrl-C again quits."
      return [.send(.stop)]
    }
    if isWorking, interruptsInARow == 1 {
      isStopped = true
      message =
        "Work stopped. Any key that asks for something new starts it again; Ctrl-C again quits."
      return [.cancelWork]
    }
    guard interruptsInARow > 1 else {
      message = "Nothing to stop. Ctrl-C again, or q, quits."
      return []
    }
    isQuitting = true
    return [.cancelWork, .quit]
  }

  /// A key goes to whoever has the mode; in the normal one it is a digit, Enter of a lesson, Esc,
  /// or an action.
  mutating func takeKey(_ key: Key) -> [Effect] {
    switch mode {
    case .help(let scroll):
      takeHelpKey(key, scroll)
      return []
    case .palette(let text, let choice): return takePaletteKey(key, text, choice)
    case .prompt(let prompt, let text):
      return takePromptKey(key, prompt, text)
    case .list(let list, let text, let choice): return takeListKey(key, list, text, choice)
    case .normal: break
    }
    message = nil
    if case .character(let c) = key, c.isASCII, let digit = c.wholeNumberValue {
      return takeDigit(digit, key)
    }
    if key == .enter, mayGoOn { return lessonAction(.lessonNext) }
    if key == .escape {
      (digits, search) = (nil, nil)
      return []
    }
    guard let action = keymap.action(for: key) else {
      message = "\(key.name) does nothing here; \(keymap.key(.help)) lists the keys."
      digits = nil
      return []
    }
    let typed = digits
    digits = nil
    guard let typed, let count = typed.count, keymap.counts(action) else {
      return perform(action)
    }
    viewpoint = typed.before
    undoStack = Array(undoStack.prefix(typed.undoDepth))
    message = nil
    return perform(action, count)
  }

  /// Does what the digit's own key does, and remembers it for a second as the possible start of a
  /// count.
  private mutating func takeDigit(_ digit: Int, _ key: Key) -> [Effect] {
    digitsSeen += 1
    var typed = Digits(text: "", before: viewpoint, undoDepth: undoStack.count, number: digitsSeen)
    if let digits {
      typed = Digits(
        text: digits.text, before: digits.before, undoDepth: digits.undoDepth, number: digitsSeen)
    }
    typed.text.append(String(digit))
    var effects: [Effect] = []
    if let action = keymap.action(for: key) { effects = perform(action) }
    digits = typed
    return effects + [.awaitDigit(digitsSeen)]
  }

  /// Runs an action, remembering the viewpoint before it when it changed.
  mutating func perform(_ action: Action, _ repeats: Int? = nil) -> [Effect] {
    let before = viewpoint
    var effects = change(action, repeats)
    if let order = attentionOrder(before) { effects.append(.send(order)) }
    if viewpoint != before, action != .undo, action != .redo {
      isStopped = false
      if !isMove(action) || undoStack.last.map({ !isSamePlace($0, before) }) ?? true {
        undoStack.append(before)
      }
      if undoStack.count > 500 { undoStack.removeFirst() }
      redoStack = []
    }
    return effects
  }

  /// Runs of cursor moves are one step of undo.
  private func isMove(_ action: Action) -> Bool { [.up, .down, .left, .right].contains(action) }

  private func isSamePlace(_ a: Viewpoint, _ b: Viewpoint) -> Bool {
    var a = a
    (a.query, a.key, a.window) = (b.query, b.key, b.window)
    return a == b
  }
}
