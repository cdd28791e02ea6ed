public import Canvas
public import Sessions
import Synchronization

/// Runs a model against a terminal and a backend: messages in, `update`, effects out, a grid on the glass.
///
/// Key to screen: terminal -> inbox -> update (pure) -> view (pure) -> terminal. Messages that arrive together are taken in
/// together and drawn once. Nothing here computes: questions go to the backend's own threads.
public actor App {
  public private(set) var model: Model
  private let terminal: any Terminal
  private let backend: any Backend
  private let session: Session
  private let inbox = Inbox()
  private let export: @Sendable (String, String) -> String
  private var running: [Question: Task<Void, Never>] = [:]

  /// What is on the screen may be asked side by side; the rest one at a time.
  private static let mostForeground = 3

  /// `export` writes a text under a name that is free and says where, or why not.
  public init(
    _ backend: any Backend, terminal: any Terminal, selection: (inout Viewpoint) -> Void = { _ in },
    export: @escaping @Sendable (_ name: String, _ text: String) -> String = { _, _ in
      "Export is off."
    }
  ) {
    let size = terminal.size
    var model = Model(
      backend.describe(), width: size.width, height: size.height,
      capabilities: terminal.capabilities)
    selection(&model.selection)
    self.model = model
    self.terminal = terminal
    self.export = export
    self.backend = backend
    session = Session(backend)
  }

  /// Shows a sentence as soon as there is a screen.
  public func say(_ text: String) { inbox.add(.said(text)) }

  /// Until the user quits or the terminal goes away. The terminal stays open: close it after this.
  public func run() async {
    let events = terminal.events, inbox = inbox
    let listener = Task {
      for await event in events { inbox.add(.event(event)) }
      inbox.add(.event(.hangup))
    }
    let moments = backend.moments
    let follower = Task { for await moment in moments { inbox.add(.moment(moment)) } }
    schedule()
    terminal.present(view(model))
    for await _ in inbox.signal {
      for message in inbox.take() { handle(update(&model, message)) }
      if model.isQuitting { break }
      schedule()
      terminal.present(view(model))
    }
    listener.cancel()
    follower.cancel()
    for task in running.values { task.cancel() }
    await session.cancelAll()
  }

  private func handle(_ effects: [Effect]) {
    for effect in effects {
      switch effect {
      case .quit: break
      case .awaitDigit(let number):
        Task { [inbox] in
          try? await Task.sleep(for: .seconds(1))
          inbox.add(.digitIsOver(number))
        }
      case .cancelWork:
        for task in running.values { task.cancel() }
        running = [:]
      case .export(let name, let text): model.message = export(name, text)
      case .send(let command): backend.send(command)
      }
    }
  }

  /// Asks what is missing, ends what is no longer wanted.
  private func schedule() {
    let needs = Needs(model)
    let wanted = Set(needs.foreground).union(needs.background)
    // The picture goes first: what computes for later makes room for what is missing now.
    let isUrgent = needs.foreground.contains { !model.isKnown($0) }
    let now = Set(needs.foreground)
    for (question, task) in running
    where !wanted.contains(question) || (isUrgent && !now.contains(question)) {
      task.cancel()
      running[question] = nil
    }
    model.prune(keeping: wanted)
    let most = model.isLong ? 2 : Self.mostForeground
    for question in needs.foreground where running.count < most { ask(question) }
    guard running.isEmpty, let next = needs.background.first(where: { !model.isKnown($0) }) else {
      return
    }
    ask(next)
  }

  private func ask(_ question: Question) {
    guard running[question] == nil, !model.isKnown(question) else { return }
    let frame = model.frame
    running[question] = Task { [session] in
      do {
        let answer = try await session.ask(question, at: frame)
        finish(question, .answered(question, frame, answer))
      } catch is CancellationError {
        // Asked again when it is wanted again.
      } catch {
        finish(question, .failed(question, "\(error)"))
      }
    }
  }

  /// A task that was cancelled has been taken out already, and another may stand in its place.
  private func finish(_ question: Question, _ message: Message) {
    guard !Task.isCancelled else { return }
    running[question] = nil
    inbox.add(message)
  }
}

/// Messages waiting to be taken in. Bounded by what is waited for: one per question asked and per key pressed.
final class Inbox: Sendable {
  private let messages = Mutex<[Message]>([])
  let signal: AsyncStream<Void>
  private let ring: AsyncStream<Void>.Continuation

  init() { (signal, ring) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1)) }

  func add(_ message: Message) {
    messages.withLock { $0.append(message) }
    ring.yield()
  }

  func take() -> [Message] {
    messages.withLock { messages in
      defer { messages = [] }
      return messages
    }
  }
}
