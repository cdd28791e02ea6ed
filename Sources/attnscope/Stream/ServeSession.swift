import Backends
import Formats
import Glibc
import Synchronization
import Wire

/// One viewer: frames go down at their pace, lines come up.
///
/// Frames and answers are written whole, one after another, whoever writes them. A viewer that
/// does not read holds up its own frames alone.
final class ServeSession: Sendable {
  private let served: ServedStream
  /// -1 where nobody is heard.
  private let input: Int32
  private let output: Int32
  private let speed: Double
  private let token: String?
  private let state = Mutex(State())
  /// Held while a frame is written.
  private let writing = Mutex(())

  /// What the viewer has said.
  private struct State {
    var isPaused = false
    /// Tokens that are wanted although it is paused.
    var steps = 0
    var isGone = false
    /// The thread that listens has ended.
    var isUnheard = false
    /// Questions that are being answered, and the work on them.
    var asked: Set<Int> = []
    var answers: [Int: Task<Void, Never>] = [:]
  }

  /// `speed` in tokens a second, 0 for as fast as they are taken.
  init(_ served: ServedStream, input: Int32, output: Int32, speed: Double, token: String?) {
    (self.served, self.input, self.output) = (served, input, output)
    (self.speed, self.token) = (speed, token)
  }

  /// Until everything was sent and the viewer has left.
  func run() {
    var next = 1
    if input >= 0 {
      guard let joined = waitForJoin() else { return }
      next = joined
      listen()
    }
    write(served.hello(isHeard: input >= 0))
    while next <= served.frames.count, !state.withLock({ $0.isGone }) {
      let isStep = served.isStep[next - 1]
      if isStep, !mayStep() {
        usleep(10_000)
        continue
      }
      guard write(served.frames[next - 1]) else { break }
      next += 1
      if isStep, speed > 0 { usleep(UInt32(min(1e6 / speed, 1e7))) }
    }
    guard input >= 0 else {
      _ = write(WireFrame.bytes(.bye, seq: nil, ["why": "the file was sent to its end"]))
      return
    }
    // Questions may still come.
    while !state.withLock({ $0.isGone }) { usleep(20_000) }
    for task in state.withLock({ Array($0.answers.values) }) { task.cancel() }
    shutdown(input, Int32(SHUT_RDWR))
    while !state.withLock({ $0.isUnheard }) { usleep(1000) }
  }

  /// Whether a token may go now; takes one of those that were asked for singly.
  private func mayStep() -> Bool {
    state.withLock { state in
      guard state.isPaused else { return true }
      guard state.steps > 0 else { return false }
      state.steps -= 1
      return true
    }
  }

  /// False when the viewer is gone.
  @discardableResult private func write(_ frame: [UInt8]) -> Bool {
    let isSent = writing.withLock { _ -> Bool in
      var rest = frame[...]
      while !rest.isEmpty {
        let count = rest.withUnsafeBytes { Glibc.write(output, $0.baseAddress, $0.count) }
        if count < 0, errno == EINTR { continue }
        guard count > 0 else { return false }
        rest = rest.dropFirst(count)
      }
      return true
    }
    if !isSent { state.withLock { $0.isGone = true } }
    return isSent
  }

  // MARK: Listening

  /// The first line: the number of the first frame that is wanted. Nil for a viewer that is not let
  /// in.
  private func waitForJoin() -> Int? {
    var lines = LineReader(input)
    guard let line = lines.next(), case .join(let seq, let word)? = try? Upstream(line) else {
      return nil
    }
    guard token == nil || word == token else {
      write(served.hello(isHeard: false))
      write(WireFrame.bytes(.error, seq: nil, ["message": "the token is another one"]))
      return nil
    }
    let rest = lines
    pending.withLock { $0 = rest }
    return max(1, seq)
  }

  /// Lines that came with the first one.
  private let pending = Mutex<LineReader?>(nil)

  /// Obeys lines on a thread of its own until the viewer leaves; garbage is passed over, and too
  /// much of it shows a viewer the door.
  private func listen() {
    var thread = pthread_t()
    pthread_create(
      &thread, nil,
      { raw in
        Unmanaged<ServeSession>.fromOpaque(raw!).takeRetainedValue().obeyLines()
        return nil
      }, Unmanaged.passRetained(self).toOpaque())
    pthread_detach(thread)
  }

  private static let mostGarbage = 1000

  private func obeyLines() {
    defer {
      state.withLock { state in
        state.isGone = true
        state.isUnheard = true
      }
    }
    guard var lines = pending.withLock({ $0 }) else { return }
    var garbage = 0
    while garbage < Self.mostGarbage, let line = lines.next() {
      do throws(FormatError) {
        if let said = try Upstream(line) { obey(said) }
      } catch { garbage += 1 }
    }
  }

  private func obey(_ said: Upstream) {
    switch said {
    case .pause: turn(true)
    case .run: turn(false)
    case .step(let count): state.withLock { $0.steps = min($0.steps + count, 1 << 20) }
    case .stop: state.withLock { $0.isGone = true }
    case .cancel(let number): state.withLock { $0.answers.removeValue(forKey: number) }?.cancel()
    case .ask(let number, let ask): answer(number, ask)
    case .join, .lambda, .tile: break
    }
  }

  private func turn(_ isPaused: Bool) {
    state.withLock { $0.isPaused = isPaused }
    write(WireFrame.bytes(.moment, seq: nil, ["phase": isPaused ? "paused" : "running"]))
  }

  /// Questions at once at most; beyond them a viewer hears so.
  private static let mostQuestions = 64

  private func answer(_ number: Int, _ ask: Ask) {
    let isTaken = state.withLock { state in
      state.asked.count < Self.mostQuestions && state.asked.insert(number).inserted
    }
    guard isTaken else {
      write(
        WireFrame.bytes(
          .answer, seq: nil,
          ["to": "\(number)", "what": "refused", "why": "too many questions at once"]))
      return
    }
    let task = Task { [self] in
      if let frame = try? await served.answer(number, ask), !Task.isCancelled { write(frame) }
      state.withLock { state in
        state.asked.remove(number)
        state.answers[number] = nil
      }
    }
    state.withLock { state in
      if state.asked.contains(number) { state.answers[number] = task }
    }
  }
}

/// Lines of a descriptor, none longer than a viewer may send.
struct LineReader {
  private let input: Int32
  private var buffer: [UInt8] = []

  init(_ input: Int32) { self.input = input }

  /// The next line without its end; nil at the end and beyond 64 KiB.
  mutating func next() -> [UInt8]? {
    while true {
      if let end = buffer.firstIndex(of: 10) {
        let line = Array(buffer[..<end])
        buffer.removeFirst(end + 1)
        return line
      }
      guard buffer.count <= Upstream.mostBytes else { return nil }
      var more = [UInt8](repeating: 0, count: 4096)
      let count = read(input, &more, more.count)
      if count < 0, errno == EINTR { continue }
      guard count > 0 else { return nil }
      buffer += more[..<count]
    }
  }
}
