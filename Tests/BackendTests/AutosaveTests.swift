import Attention
import Backends
import Formats
import Foundation
import Sessions
import Testing

/// The file that grows with a run: what a crash would leave of it.
@Suite(.timeLimit(.minutes(5))) struct AutosaveTests {
  private static func with(
    pause: Duration = .seconds(2), mostBytes: Int = 200_000_000,
    _ body: (LocalBackend, _ file: String) async throws -> Void
  ) async throws {
    let file = FileManager.default.temporaryDirectory.appending(path: "auto-\(UUID()).safetensors")
      .path
    defer { try? FileManager.default.removeItem(atPath: file) }
    try await SmallModel.with { model in
      let plan = AutosavePlan(path: file, source: "/m.gguf", mostBytes: mostBytes, pause: pause)
      let backend = try LocalBackend(
        model, prompt: SmallModel.prompt,
        RunOptions(
          attention: RunControlTests.dense, maxTokens: 200, startsPaused: true, autosave: plan))
      try await body(backend, file)
    }
  }

  /// The newest status that a condition holds for.
  @discardableResult private static func status(
    _ backend: LocalBackend, _ isSo: (LiveStatus) -> Bool
  ) async -> LiveStatus? {
    for await moment in backend.moments {
      if case .live(let status) = moment, isSo(status) { return status }
    }
    return nil
  }

  private static func steps(_ backend: any Backend, _ branch: Int) async throws -> [Step] {
    let answer = try await backend.answer(.steps(branch: branch, 0..<400), at: .whole)
    guard case .steps(_, let steps) = answer else { return [] }
    return steps
  }

  /// Reads what a run at rest has on the disk, while it is still open.
  private static func left(_ file: String, lengths: [Int]) async throws -> ReplayBackend {
    for _ in 0..<1000 {
      if let there = try? ReplayBackend(file), there.describe().live?.lengths == lengths {
        return there
      }
      try await Task.sleep(for: .milliseconds(20))
    }
    return try ReplayBackend(file)
  }

  /// At rest the file holds what the run holds, branches and all, equal to what `:save` writes; and
  /// it is nobody else's to read.
  @Test func atRestNothingIsMissing() async throws {
    try await Self.with { backend, file in
      backend.start()
      backend.send(.step(70))
      await Self.status(backend) { $0.lengths == [90] }
      var other = RunControlTests.dense
      other.lambda = 0.3
      backend.send(.branch(from: Frame(branch: 0, tokens: 40), other))
      await Self.status(backend) { $0.lengths == [90, 90] && $0.phase == .paused }
      backend.send(.select(0))
      backend.send(.step(3))
      await Self.status(backend) { $0.lengths == [93, 90] && $0.phase == .paused }
      let left = try await Self.left(file, lengths: [93, 90])
      #expect(left.describe().live?.lengths == [93, 90])
      let branches = [
        Branch(id: 0, parent: nil, fork: 0, attention: "dense"),
        Branch(id: 1, parent: 0, fork: 39, attention: "lambda 0.3"),
      ]
      #expect(left.describe().live?.branches == branches)
      var status = stat()
      #expect(stat(file, &status) == 0 && status.st_mode & 0o777 == 0o600)

      let saved = file + ".saved"
      defer { try? FileManager.default.removeItem(atPath: saved) }
      backend.send(.save(saved))
      let told = await Self.status(backend) { !$0.savedLengths.isEmpty }
      #expect(told?.savedLengths == [93, 90])
      await backend.finish()
      let whole = try ReplayBackend(saved)
      for branch in 0..<2 {
        let wanted = try await Self.steps(whole, branch)
        let found = try await Self.steps(left, branch)
        #expect(wanted.count > 80 && found == wanted)
        for head in [HeadID(layer: 0, head: 0), HeadID(layer: 1, head: 3)] {
          let frame = Frame(branch: branch, tokens: wanted.count)
          let question = Question.row(FieldID.pattern(head), 60)
          let (a, b) = (
            try await left.answer(question, at: frame), try await whole.answer(question, at: frame)
          )
          #expect("\(a)" == "\(b)")
        }
        let frame = Frame(branch: branch, tokens: 80)
        let (a, b) = (
          try await left.answer(.detail, at: frame), try await whole.answer(.detail, at: frame)
        )
        #expect("\(a)" == "\(b)" && "\(a)".count > 100)
      }
    }
  }

  /// Cut at any place behind the prompt, it opens with the tokens before.
  @Test func cutAnywhereItOpens() async throws {
    try await Self.with(pause: .zero) { backend, file in
      backend.start()
      for (more, length) in [(3, 23), (7, 30), (1, 31)] {
        backend.send(.step(more))
        await Self.status(backend) { $0.lengths == [length] }
        _ = try await Self.left(file, lengths: [length])
      }
      await backend.finish()
      let bytes = try Data(contentsOf: URL(filePath: file))
      let parts = try SafetensorsStream(file).parts.count
      #expect(parts >= 4)
      let cut = file + ".cut"
      defer { try? FileManager.default.removeItem(atPath: cut) }
      var lengths: Set<Int> = []
      for count in stride(from: bytes.count, to: bytes.count / 2, by: -997) {
        try bytes.prefix(count).write(to: URL(filePath: cut))
        guard let stream = try? SafetensorsStream(cut), !stream.parts.isEmpty else { continue }
        lengths.formUnion(try ReplayBackend(cut).describe().live?.lengths ?? [])
      }
      #expect(lengths.isSubset(of: Set(20...31)) && lengths.count >= 2, "\(lengths)")
      #expect(lengths.contains(31))
    }
  }

  /// What outgrows its bound is kept as far as that, and said once; the run goes on.
  @Test func aBoundIsKept() async throws {
    try await Self.with(mostBytes: 60_000) { backend, file in
      backend.start()
      backend.send(.step(100))
      let told = await Self.status(backend) { $0.note.contains("copy for a crash") }
      #expect(told?.note.contains(":save FILE keeps the run") ?? false)
      // The same moment may say both: a moment that was read does not come again.
      if told?.lengths != [120] { await Self.status(backend) { $0.lengths == [120] } }
      await backend.finish()
      let size = try FileManager.default.attributesOfItem(atPath: file)[.size] as? Int
      #expect((size ?? .max) < 120_000)
    }
  }

  /// Without a decoded token there is no file; dropped, there is none any more.
  @Test func nothingIsLeftBehind() async throws {
    for tokens in [0, 2] {
      try await Self.with { backend, file in
        backend.start()
        await Self.status(backend) { $0.phase == .paused }
        if tokens > 0 {
          backend.send(.step(tokens))
          await Self.status(backend) { $0.lengths == [20 + tokens] }
        }
        await backend.finish()
        #expect(FileManager.default.fileExists(atPath: file) == (tokens > 0))
        backend.dropAutosave()
        #expect(!FileManager.default.fileExists(atPath: file))
      }
    }
  }

  /// The share of the time that writing may take is kept however fast the tokens come: a run that
  /// never rests is written seldom, and whole at its end.
  @Test func writingTakesItsShareAlone() async throws {
    try await Self.with(pause: .zero) { backend, file in
      backend.start()
      backend.send(.run)
      await Self.status(backend) { if case .ended = $0.phase { true } else { false } }
      await backend.finish()
      // Part by part every token would be one of 200.
      let parts = try SafetensorsStream(file).parts.count
      #expect(parts < 40)
      let whole = try ReplayBackend(file)
      #expect(whole.describe().live?.lengths == [220])
    }
  }
}
