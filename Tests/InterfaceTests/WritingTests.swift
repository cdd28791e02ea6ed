import Attention
import Backends
import Canvas
import Interface
import Sessions
import Synchronization
import Testing

/// Files are touched beside the screen: keys are answered meanwhile, and leaving waits.
@Suite struct WritingTests {
  /// A disk that takes as long as the test wants, and what happened in which order.
  private final class Disk: Sendable {
    private struct State {
      var isFree = false
      var arrived = 0
      var waiting: [CheckedContinuation<Void, Never>] = []
      var told: [String] = []
    }

    private let state = Mutex(State())
    var arrived: Int { state.withLock { $0.arrived } }
    var told: [String] { state.withLock { $0.told } }

    func tell(_ text: String) { state.withLock { $0.told.append(text) } }

    /// Comes back once the disk is free.
    func pass() async {
      await withCheckedContinuation { (go: CheckedContinuation<Void, Never>) in
        let isFree = state.withLock { state in
          state.arrived += 1
          if !state.isFree { state.waiting.append(go) }
          return state.isFree
        }
        if isFree { go.resume() }
      }
    }

    func free() {
      let waiting = state.withLock { state in
        state.isFree = true
        defer { state.waiting = [] }
        return state.waiting
      }
      for one in waiting { one.resume() }
    }
  }

  private static func pilot(_ disk: Disk) -> Pilot {
    var surroundings = Pilot.surroundings
    surroundings.carry = { effect in
      await disk.pass()
      switch effect {
      case .keepMarks(let marks): disk.tell("\(marks.count) marks")
      case .reopen(let path): disk.tell("seen \(path)")
      default: disk.tell("written")
      }
      return if case .saveState = effect { "The state is written." } else { nil }
    }
    surroundings.export = { path, _, _ in
      await disk.pass()
      disk.tell("exported")
      return "Exported to \(path)."
    }
    return Pilot(surroundings: surroundings)
  }

  @Test func keysAreAnsweredWhileAStateIsWritten() async {
    let disk = Disk(), pilot = Self.pilot(disk)
    await pilot.sees("Under the cursor")
    pilot.command("state /x/v.attnscope")
    await pilot.until("the write begun") { _ in disk.arrived == 1 }
    pilot.terminal.press(.alt("4"))
    await pilot.sees("Mass on the first token")
    #expect(disk.told.isEmpty)
    disk.free()
    await pilot.sees("The state is written.")
    await pilot.quit()
  }

  @Test func keysAreAnsweredWhileAFileIsLookedAt() async {
    let disk = Disk(), pilot = Self.pilot(disk)
    await pilot.sees("Under the cursor")
    pilot.command("open /x/other.npz")
    await pilot.sees("Opening /x/other.npz…")
    pilot.terminal.press(.alt("4"))
    await pilot.sees("Mass on the first token")
    #expect(await pilot.app.next == nil)
    disk.free()
    await pilot.ended()
    #expect(await pilot.app.next == "/x/other.npz")
  }

  /// Bookmarks that are written whole must not pass each other.
  @Test func writesKeepTheirOrder() async {
    let disk = Disk(), pilot = Self.pilot(disk)
    for name in ["a", "b", "c"] { pilot.command("mark \(name)") }
    await pilot.sees("Bookmarked as c")
    await pilot.until("the first write begun") { _ in disk.arrived == 1 }
    disk.free()
    await pilot.quit()
    #expect(disk.told == ["1 marks", "2 marks", "3 marks"])
  }

  @Test(arguments: ["state /x/v.attnscope", "export /x/map.svg"])
  func leavingWaitsForAWrite(_ command: String) async {
    let disk = Disk(), pilot = Self.pilot(disk)
    pilot.command(command)
    await pilot.until("the write begun") { _ in disk.arrived == 1 }
    pilot.press("q")
    let leaving = Task {
      await pilot.ended()
      disk.tell("left")
    }
    await pilot.model("the app to quit") { $0.isQuitting }
    // An app that does not wait has ended by then.
    try? await Task.sleep(for: .milliseconds(200))
    disk.free()
    await leaving.value
    #expect(disk.told.last == "left" && disk.told.count == 2, "\(disk.told)")
    pilot.terminal.close()
  }

  /// A source that never answers.
  private struct Deaf: Backend {
    func describe() -> SourceDescription { SyntheticBackend().describe() }
    var moments: AsyncStream<Moment> { AsyncStream { $0.finish() } }
    func answer(_ question: Question, at frame: Frame) async throws -> Answer {
      try await Task.sleep(for: .seconds(3600))
      return .unavailable("never")
    }
  }

  @Test(.timeLimit(.minutes(2))) func leavingGivesUpAnExportThatStillAsks() async {
    let disk = Disk()
    var surroundings = Pilot.surroundings
    surroundings.export = { _, _, ask in
      disk.tell("asks")
      do { _ = try await ask(.summary(HeadID(layer: 0, head: 0))) } catch {
        disk.tell(error is CancellationError ? "given up" : "\(error)")
      }
      return ""
    }
    let pilot = Pilot(Deaf(), surroundings: surroundings)
    pilot.command("export /x/map.svg")
    await pilot.until("the export begun") { _ in disk.told == ["asks"] }
    await pilot.quit()
    #expect(disk.told == ["asks", "given up"])
  }

  @Test func whatCanBeOpenedEndsTheApp() {
    var model = Model(SyntheticBackend().describe(), width: 80, height: 24)
    #expect(update(&model, .canOpen(path: "/x")) == [.cancelWork, .leave(for: "/x")])
    #expect(model.isQuitting)
  }
}
