import Attention
import Formats
import Sessions
import Wire

/// What frames do to what is known.
extension StreamBackend.State {
  /// Where the stream is, for sentences.
  var place: String {
    store.count == 0 ? "its beginning" : "token \(store.count - 1)"
  }

  /// Takes a frame in; an answer comes back with the one who waits for it.
  mutating func take(_ frame: WireFrame) -> StreamBackend.Reply? {
    if awaitsHello || frame.kind == .hello {
      greet(frame)
      return nil
    }
    let before = (lost: store.lostFrames + store.lostSteps, refused: store.refused)
    let length = store.count
    guard store.take(frame) else { return nil }
    switch frame.kind {
    case .answer: return answer(frame)
    case .moment: take(moment: frame)
    case .error: say("The other side says: \(frame.metadata["message"]?.prefix(200) ?? "error").")
    case .bye: bye = frame.metadata["why"].map { String($0.prefix(200)) } ?? "it said bye"
    case .hello, .prefill, .step, .table, .picture, .findings: break
    }
    if store.count != length { advance(isStep: frame.kind == .step) }
    sayTroubles(before)
    return nil
  }

  /// Another hello: of a connection that was made again it must be that of the same model.
  private mutating func greet(_ frame: WireFrame) {
    guard awaitsHello else { return }
    awaitsHello = false
    let old = store.hello
    guard let new = try? Hello(frame), new.layers == old.layers, new.heads == old.heads,
      new.kvHeads == old.kvHeads, new.headDim == old.headDim, new.valueDim == old.valueDim,
      new.firstHead == old.firstHead, new.request == old.request
    else {
      // Its frames are of something else: none of them is taken.
      isForeign = true
      return
    }
  }

  /// New tokens are there.
  private mutating func advance(isStep: Bool) {
    status.frame = Frame(tokens: store.count)
    status.lengths = [store.count]
    status.promptTokens = store.promptTokens
    if case .prefill = status.phase,
      isStep || store.promptTokens >= store.hello.promptTokens ?? 0
    {
      status.phase = .running
    }
    guard isStep, !tellsSpeed else { return }
    times.append(.now)
    if times.count > 32 { times.removeFirst() }
    let time = (times[times.count - 1] - times[0]).components
    let seconds = Double(time.seconds) + Double(time.attoseconds) * 1e-18
    if seconds > 0 { status.tokensPerSecond = Double(times.count - 1) / seconds }
  }

  private mutating func take(moment frame: WireFrame) {
    guard let moment = try? MomentFrame(frame) else { return }
    if let speed = moment.speed { (status.tokensPerSecond, tellsSpeed) = (speed, true) }
    if let lambda = moment.lambda { status.attention?.lambda = max(0, lambda) }
    switch (status.phase, moment.isPaused) {
    case (.running, true?): status.phase = .paused
    case (.paused, false?): status.phase = .running
    default: break
    }
    if let note = moment.note { say(note) }
  }

  /// Says how much is missing when that has changed, and why a frame was refused the first time.
  private mutating func sayTroubles(_ before: (lost: Int, refused: Int)) {
    let lost = store.lostFrames + store.lostSteps
    if lost != before.lost {
      say(
        """
        \(lost) \(lost == 1 ? "frame is" : "frames are") missing: the sender's ring let them go; \
        \(store.missing) of \(store.count) tokens are not known.
        """)
    }
    if before.refused == 0, store.refused > 0, let why = store.firstRefusal {
      say("A frame was refused: \(why)")
    }
  }

  private mutating func answer(_ frame: WireFrame) -> StreamBackend.Reply? {
    guard let to = frame.metadata["to"].flatMap({ Int($0) }),
      let asker = waiting.removeValue(forKey: to)
    else { return nil }
    do throws(FormatError) { return (asker, try AnswerFrame(frame, store.hello).content) } catch {
      return (asker, .refused("\(error)"))
    }
  }

  /// Everybody who waits, once, with nothing.
  mutating func takeWaiting() -> [StreamBackend.Reply] {
    defer { waiting = [:] }
    return waiting.values.map { ($0, nil) }
  }

  /// Nothing more comes: those who wait are let go.
  mutating func end(_ why: String) -> [StreamBackend.Reply] {
    guard isOpen else { return [] }
    isOpen = false
    status.phase = .ended(why)
    return takeWaiting()
  }
}
