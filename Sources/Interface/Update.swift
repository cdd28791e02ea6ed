import Analysis
import Canvas
import Sessions

/// All change enters here: a message turns one model into the next, and what is to be done comes back as values.
public func update(_ model: inout Model, _ message: Message) -> [Effect] {
  switch message {
  case .answered(let question, let answer):
    model.store(question, answer)
    return []
  case .failed(let question, let reason):
    model.fail(question, reason)
    model.message = reason
    return []
  case .moment: return []
  case .digitIsOver(let number):
    if model.pendingDigit?.number == number { model.pendingDigit = nil }
    return []
  case .said(let text):
    model.message = text
    return []
  case .event(let event): return model.take(event)
  }
}

extension Model {
  mutating func take(_ event: Event) -> [Effect] {
    switch event {
    case .resize(let width, let height):
      (self.width, self.height) = (width, height)
      return []
    case .hangup:
      isQuitting = true
      return [.cancelWork, .quit]
    case .interrupt: return interrupt()
    case .mouse(let mouse):
      takeMouse(mouse)
      return []
    case .key(let key):
      interruptsInARow = 0
      return takeKey(key)
    }
  }

  /// The first Ctrl-C stops the work, the next one, with nothing left to stop, quits.
  private mutating func interrupt() -> [Effect] {
    if case .normal = mode {} else {
      mode = .normal
      return []
    }
    let isWorking = !isStopped && progress.done < progress.total
    interruptsInARow += 1
    if isWorking, interruptsInARow == 1 {
      isStopped = true
      message = "Work stopped. Any key that asks for something new starts it again; Ctrl-C again quits."
      return [.cancelWork]
    }
    guard interruptsInARow > 1 else {
      message = "Nothing to stop. Ctrl-C again, or q, quits."
      return []
    }
    isQuitting = true
    return [.cancelWork, .quit]
  }

  private mutating func takeKey(_ key: Key) -> [Effect] {
    switch mode {
    case .help(let scroll):
      takeHelpKey(key, scroll)
      return []
    case .palette(let text, let choice): return takePaletteKey(key, text, choice)
    case .prompt(let prompt, let text):
      takePromptKey(key, prompt, text)
      return []
    case .normal: break
    }
    message = nil
    let earlier = pendingDigit
    pendingDigit = nil
    if case .character(let c) = key, c.isASCII, let digit = c.wholeNumberValue, takeDigit(digit, after: earlier) {
      return []
    }
    if key == .escape {
      (count, search) = (nil, nil)
      return []
    }
    guard let action = KeyTable.action(for: key) else {
      message = "\(key.name) does nothing here; ? lists the keys."
      count = nil
      return []
    }
    return perform(action) + (pendingDigit.map { [.awaitDigit($0.number)] } ?? [])
  }

  /// 1 to 4 show a view at once; when a second digit follows within half a second, they were the start of a count and the
  /// view goes back. So `2` is the Heads view, `20j` moves by twenty, and `7j` by seven. True when the digit is dealt with.
  private mutating func takeDigit(_ digit: Int, after earlier: PendingDigit?) -> Bool {
    if let count {
      self.count = min(count * 10 + digit, 1 << 24)
    } else if let earlier {
      if selection != earlier.before { undoStack.removeLast() }
      selection = earlier.before
      count = earlier.digit * 10 + digit
    } else if digit >= 5 {
      count = digit
      if digit < 7 { _ = change(digit == 5 ? .viewTokens : .viewCompare, nil) }
    } else {
      if digit > 0 { pendingDigit = wait(for: digit) }
      return false
    }
    return true
  }

  /// Runs an action, remembering the selection before it when it changed.
  mutating func perform(_ action: Action) -> [Effect] {
    let before = selection
    let repeats = count
    count = nil
    let effects = change(action, repeats)
    if selection != before, action != .undo, action != .redo {
      isStopped = false
      if !isMove(action) || undoStack.last.map({ !isSamePlace($0, before) }) ?? true { undoStack.append(before) }
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
