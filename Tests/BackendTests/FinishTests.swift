import Backends
import Foundation
import Sessions
import Testing

/// The end of a run: whoever waits for it goes on when what is under way is done.
@Suite(.timeLimit(.minutes(5))) struct FinishTests {
  private static let inPart = "stopped while the prompt was read"

  private static func with(
    startsPaused: Bool = true, _ body: (LocalBackend, _ file: String) async throws -> Void
  ) async throws {
    let file = FileManager.default.temporaryDirectory.appending(path: "end-\(UUID()).safetensors")
      .path
    defer { try? FileManager.default.removeItem(atPath: file) }
    try await SmallModel.with { model in
      let backend = try LocalBackend(
        model, prompt: SmallModel.prompt,
        RunOptions(attention: RunControlTests.dense, maxTokens: 400, startsPaused: startsPaused))
      try await body(backend, file)
    }
  }

  /// The newest status that a condition holds for.
  private static func status(
    _ backend: LocalBackend, _ isSo: (LiveStatus) -> Bool
  ) async -> LiveStatus? {
    for await moment in backend.moments {
      if case .live(let status) = moment, isSo(status) { return status }
    }
    return nil
  }

  @Test func aSaveUnderWayIsWrittenToItsEnd() async throws {
    try await Self.with { backend, file in
      backend.start()
      backend.send(.step(5))
      let stepped = await Self.status(backend) { $0.lengths == [25] }
      #expect(stepped?.phase == .paused)
      backend.send(.save(file))
      await backend.finish()
      let kept = try ReplayBackend(file).describe()
      #expect(kept.live?.lengths == [25])
      let last = await Self.status(backend) { _ in true }
      #expect(last?.phase == .ended("stopped"))
    }
  }

  /// A task that was cancelled waits like any other: what it asked to be saved is still being
  /// written.
  @Test func aCancelledTaskWaitsToo() async throws {
    try await Self.with { backend, file in
      backend.start()
      backend.send(.step(5))
      let stepped = await Self.status(backend) { $0.lengths == [25] }
      #expect(stepped != nil)
      let waiting = Task {
        withUnsafeCurrentTask { $0?.cancel() }
        backend.send(.save(file))
        await backend.finish()
      }
      await waiting.value
      let kept = try ReplayBackend(file).describe()
      #expect(kept.live?.lengths == [25])
    }
  }

  @Test func manyMayWait() async throws {
    try await Self.with(startsPaused: false) { backend, _ in
      backend.start()
      await withTaskGroup(of: Void.self) { group in
        for _ in 0..<20 { group.addTask { await backend.finish() } }
      }
      await backend.finish()
      // Where those who wait get no core for long, the run comes to its own end before.
      let last = await Self.status(backend) { _ in true }
      var isOver = false
      if case .ended = last?.phase { isOver = true }
      #expect(isOver, "\(String(describing: last?.phase))")
    }
  }

  /// A run that was never begun has an end as well.
  @Test func whatNeverBeganEnds() async throws {
    try await Self.with { backend, _ in
      await backend.finish()
      let last = await Self.status(backend) { _ in true }
      #expect(last?.phase == .ended(Self.inPart))
    }
  }

  /// A command that comes as a turn ends is neither lost nor kept back.
  @Test func stepsThatFollowEachOther() async throws {
    try await Self.with { backend, _ in
      backend.start()
      for count in 1...100 {
        backend.send(.step(1))
        let stepped = await Self.status(backend) { $0.lengths == [20 + count] }
        #expect(stepped?.phase == .paused)
      }
      await backend.finish()
    }
  }
}
