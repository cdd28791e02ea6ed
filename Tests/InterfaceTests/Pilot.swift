import Backends
import Canvas
import Interface
import Sessions
import Synchronization
import Testing

/// A robot user: an app on a virtual terminal whose keys it presses and whose screen it reads,
/// waiting for text to appear.
final class Pilot: Sendable {
  let terminal: VirtualTerminal
  let app: App
  private let running: Task<Void, Never>
  private let keysTaken: Counter

  init(
    _ backend: any Backend = SyntheticBackend(), width: Int = 100, height: Int = 30,
    capabilities: Capabilities = .init(), surroundings: Surroundings = Pilot.surroundings,
    viewpoint: @Sendable (inout Viewpoint) -> Void = { _ in }
  ) {
    let terminal = VirtualTerminal(width: width, height: height, capabilities: capabilities)
    let keysTaken = Counter()
    var all = surroundings
    all.log = { line in
      if line.hasPrefix("key ") { keysTaken.add() }
      surroundings.log?(line)
    }
    let app = App(backend, terminal: terminal, surroundings: all, viewpoint: viewpoint)
    self.keysTaken = keysTaken
    (self.terminal, self.app) = (terminal, app)
    running = Task { await app.run() }
  }

  /// Exports go nowhere and say so.
  static var surroundings: Surroundings {
    var all = Surroundings()
    // Whoever means a view presses Alt; a digit of a lesson waits so long to be one.
    all.digitPause = .milliseconds(300)
    all.export = { path, _, _ in "Written to \(path)." }
    return all
  }

  var screen: String { terminal.lastGrid?.lines.joined(separator: "\n") ?? "" }

  func press(_ text: String) { terminal.type(text) }

  /// Presses keys and waits until the app has taken them in.
  func pressAndWait(_ keys: [Key]) async {
    let before = keysTaken.value
    for key in keys { terminal.press(key) }
    while keysTaken.value < before + keys.count { await pause() }
  }

  /// A line behind `:`, and Enter.
  func command(_ text: String) {
    press(":" + text)
    terminal.press(.enter)
  }

  /// Waits until the screen holds a text: for a frame, never for a time; the limit only ends a
  /// broken test.
  @discardableResult func sees(_ text: String, sourceLocation: SourceLocation = #_sourceLocation)
    async -> Bool
  {
    await until("\"\(text)\"", sourceLocation) { $0.contains(text) }
  }

  @discardableResult func until(
    _ what: String, _ sourceLocation: SourceLocation = #_sourceLocation,
    _ condition: @escaping @Sendable (String) -> Bool
  ) async -> Bool {
    let terminal = terminal
    let found = await withTaskGroup(of: Bool.self) { group in
      group.addTask {
        while !Task.isCancelled {
          if condition(terminal.lastGrid?.lines.joined(separator: "\n") ?? "") { return true }
          try? await Task.sleep(for: .milliseconds(2))
        }
        return false
      }
      group.addTask {
        try? await Task.sleep(for: .seconds(300))
        return false
      }
      defer { group.cancelAll() }
      return await group.next() ?? false
    }
    if !found { lost("never saw \(what)", sourceLocation) }
    return found
  }

  /// A wait that ended without what it waited for. The screen is printed beside the issue: a
  /// comment as long as a screen does not always reach the console.
  func lost(_ what: String, _ sourceLocation: SourceLocation) {
    print("\(what); the screen:\n\(screen)")
    Issue.record("\(what)", sourceLocation: sourceLocation)
  }

  func model() async -> Model { await app.model }

  /// Presses q and waits for the app to end.
  func quit() async {
    terminal.press(.escape)
    // The second leaves a run whose tokens were not saved.
    press("qq")
    await running.value
    terminal.close()
  }

  func ended() async { await running.value }
}

final class Counter: Sendable {
  private let count = Mutex(0)
  var value: Int { count.withLock { $0 } }
  func add() { count.withLock { $0 += 1 } }
}
