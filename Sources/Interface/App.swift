public import Canvas
public import Sessions
import Synchronization

/// Runs a model against a terminal and a backend: messages in, `update`, effects out, a grid on the
/// glass.
///
/// Key to screen: terminal -> inbox -> update (pure) -> view (pure) -> terminal. Messages that
/// arrive together are taken in together and drawn once. Nothing here computes: questions go to the
/// backend's own threads.
///
/// Example: `await App(backend, terminal: terminal).run()`, then `terminal.close()`. The catch: the
/// model is drawn after every batch of messages, however little has changed; the terminal sends
/// only rows that differ. Memory is that of the model and of the session's answers.
public actor App {
  /// The state of the screen, as of the last message.
  public private(set) var model: Model
  private let terminal: any Terminal
  private let backend: any Backend
  private let session: Session
  private let inbox = Inbox()
  private let surroundings: Surroundings
  private var metering: Task<Void, Never>?
  /// A file to open once this app has ended.
  public private(set) var next: String?
  private var running: [Question: Task<Void, Never>] = [:]
  /// The last of the effects that touch files; each waits for the one before it.
  private var carrying: Task<Void, Never>?
  private var exports: [Int: Task<Void, Never>] = [:]
  private var exportsBegun = 0

  /// What is on the screen may be asked side by side; the rest one at a time.
  private static let mostForeground = 3

  /// `viewpoint` changes the view that the app begins with, before anything is asked.
  public init(
    _ backend: any Backend, terminal: any Terminal, surroundings: Surroundings = Surroundings(),
    viewpoint: (inout Viewpoint) -> Void = { _ in }
  ) {
    let size = terminal.size
    var model = Model(
      backend.describe(), width: size.width, height: size.height,
      capabilities: terminal.capabilities, keymap: surroundings.keymap)
    viewpoint(&model.viewpoint)
    (model.marks, model.recent) = (surroundings.marks, surroundings.recent)
    (model.display.presents, model.display.theme) = (surroundings.presents, surroundings.theme)
    self.model = model
    self.terminal = terminal
    self.surroundings = surroundings
    self.backend = backend
    session = Session(backend)
  }

  /// Shows a sentence as soon as there is a screen.
  /// From anywhere, before `run` as well.
  public func say(_ text: String) { inbox.add(.said(text)) }

  /// Until the user quits or the terminal goes away, and what is being written is written. The
  /// terminal stays open: close it after this.
  public func run() async {
    let events = terminal.events, inbox = inbox
    let listener = Task {
      for await event in events { inbox.add(.event(event)) }
      inbox.add(.event(.hangup))
    }
    let moments = backend.moments
    let follower = Task { for await moment in moments { inbox.add(.moment(moment)) } }
    if let lesson = surroundings.lesson { handle(model.play(lesson)) }
    schedule()
    terminal.present(view(model))
    for await _ in inbox.signal {
      for message in inbox.take() where !model.isQuitting {
        surroundings.log?(message.logLine)
        handle(update(&model, message))
      }
      for doubt in surroundings.doubts() { handle(update(&model, .said(doubt))) }
      if model.isQuitting { break }
      schedule()
      terminal.present(view(model))
    }
    listener.cancel()
    follower.cancel()
    metering?.cancel()
    for task in Array(running.values) + Array(exports.values) { task.cancel() }
    await session.cancelAll()
    await carrying?.value
    // An export that still asks is given up; one that writes is waited for.
    for task in exports.values { await task.value }
  }

  /// Carries out effects in their order. What takes time becomes a task that reports back as a
  /// message.
  private func handle(_ effects: [Effect]) {
    for effect in effects {
      switch effect {
      case .quit: break
      case .awaitDigit(let number):
        Task { [inbox, surroundings] in
          try? await Task.sleep(for: surroundings.digitPause)
          inbox.add(.digitIsLate(number))
        }
      case .cancelWork:
        for task in running.values { task.cancel() }
        running = [:]
      case .export(let path): export(path)
      case .send(let command): backend.send(command)
      case .leave(let path): next = path
      case .reopen, .progress, .keepMarks, .saveState, .tell: carry(effect)
      }
    }
    meter()
  }

  /// Files are touched while the screen goes on, one after the other in the order of their effects;
  /// what came of it is a message.
  private func carry(_ effect: Effect) {
    carrying = Task { [before = carrying, inbox, surroundings] in
      await before?.value
      if let said = await surroundings.carry(effect) {
        inbox.add(.said(said))
      } else if case .reopen(let path) = effect {
        inbox.add(.canOpen(path: path))
      }
    }
  }

  /// Draws the model of this moment, whatever is looked at while the answers come.
  private func export(_ path: String) {
    let model = model, frame = model.frame
    exportsBegun += 1
    exports[exportsBegun] = Task { [session, inbox, surroundings, number = exportsBegun] in
      let said = await surroundings.export(path, model) { try await session.ask($0, at: frame) }
      inbox.add(.said(said))
      exports[number] = nil
    }
  }

  /// While bytes are shown they are read every second.
  /// The task exists only while the meter is shown; it counts time from its own start.
  private func meter() {
    guard model.meter != nil, let sent = surroundings.bytesSent else {
      metering?.cancel()
      metering = nil
      return
    }
    guard metering == nil else { return }
    let start = ContinuousClock.now
    metering = Task { [inbox] in
      while !Task.isCancelled {
        let time = (ContinuousClock.now - start).components
        inbox.add(
          .sent(bytes: sent(), at: 1 + Double(time.seconds) + Double(time.attoseconds) * 1e-18))
        try? await Task.sleep(for: .seconds(1))
      }
    }
  }

  /// Asks what is missing, ends what is no longer wanted.
  /// Called after every batch of messages. Foreground questions run side by side, background ones
  /// one at a time and only when nothing in front is missing: a key that moves the view makes what
  /// was begun for the old one stop.
  private func schedule() {
    let look = model.look, needs = Needs(look)
    let wanted = Set(needs.foreground).union(needs.background)
    // The picture goes first: what computes for later makes room for what is missing now.
    let isUrgent = needs.foreground.contains { !look.isKnown($0) }
    let now = Set(needs.foreground)
    for (question, task) in running
    where !wanted.contains(question) || (isUrgent && !now.contains(question)) {
      task.cancel()
      running[question] = nil
    }
    model.prune(keeping: wanted)
    let most = look.isLong ? 2 : Self.mostForeground
    for question in needs.foreground where running.count < most { ask(question) }
    guard running.isEmpty, let next = needs.background.first(where: { !look.isKnown($0) }) else {
      return
    }
    ask(next)
  }

  /// Begins a question unless it runs already or is known. Its answer is a message, with the frame
  /// that it was asked at.
  private func ask(_ question: Question) {
    guard running[question] == nil, !model.isKnown(question) else { return }
    let frame = model.frame
    running[question] = Task { [session] in
      do {
        let start = ContinuousClock.now
        let answer = try await session.ask(question, at: frame)
        surroundings.log?("answer \(question.name) after \(ContinuousClock.now - start)")
        finish(question, .answered(question, frame, answer))
      } catch is CancellationError {
        // Asked again when it is wanted again.
      } catch {
        finish(question, .failed(question, "\(error)"))
      }
    }
  }

  /// A task that was cancelled has been taken out already, and another may stand in its place.
  /// So a late answer of an old task cannot take the place of a newer one.
  private func finish(_ question: Question, _ message: Message) {
    guard !Task.isCancelled else { return }
    running[question] = nil
    inbox.add(message)
  }
}

/// Messages waiting to be taken in. Bounded by what is waited for: one per question asked and per
/// key pressed.
///
/// Messages are kept in their order and taken all at once; the signal is a bell that rings once,
/// however many came.
final class Inbox: Sendable {
  private let messages = Mutex<[Message]>([])
  /// Yields when there is something to take; several messages may share one ring.
  let signal: AsyncStream<Void>
  private let ring: AsyncStream<Void>.Continuation

  /// Empty; nobody rings.
  init() { (signal, ring) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1)) }

  /// From any thread.
  func add(_ message: Message) {
    messages.withLock { $0.append(message) }
    ring.yield()
  }

  /// Everything that has come, in order; nothing is left.
  func take() -> [Message] {
    messages.withLock { messages in
      defer { messages = [] }
      return messages
    }
  }
}
