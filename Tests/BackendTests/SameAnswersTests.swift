import Analysis
import Attention
import Backends
import Formats
import Foundation
import Models
import Sessions
import Testing

/// One body of questions for every backend that can have the same run: as the run itself answers.
@Suite(.serialized, .timeLimit(.minutes(5))) struct SameAnswersTests {
  enum Kind: String, CaseIterable { case file, replay, recordedStream, stream }

  private static let tokens = 20

  private static func open(_ kind: Kind, _ file: String) async throws -> any Backend {
    switch kind {
    case .file: return FileBackend(try Dump.open(file))
    case .replay: return try ReplayBackend(file)
    case .recordedStream:
      var options = StreamBackend.Options()
      options.isFile = true
      return try StreamBackend(
        DescriptorLink(input: Foundation.open(file, O_RDONLY)), name: file, options)
    case .stream:
      let peer = StreamPeer()
      let bytes = try Data(contentsOf: URL(filePath: file))
      // More than a socket holds: it is taken as fast as it is sent.
      Thread.detachNewThread { peer.send(Array(bytes)) }
      let backend = try StreamBackend(peer.link, name: "a test")
      backend.start()
      _ = await backend.status { $0.lengths == [tokens + 4] }
      return backend
    }
  }

  private static var questions: [Question] {
    let head = HeadID(layer: 1, head: 2), all = MapWindow(queries: 0..<tokens, keys: 0..<tokens)
    return [
      .picture(.pattern(head), PictureRequest(all, rows: 10, columns: 7)),
      .row(.pattern(head), tokens - 1), .summary(head),
      .table(head, TableRequest(TileSpec(rows: 4, keys: 4))),
      .findings(head, MethodSetting("top-k", ["k": .number(4)])),
    ]
  }

  @Test(arguments: Kind.allCases) func answersAreThoseOfTheRun(_ kind: Kind) async throws {
    let file = FileManager.default.temporaryDirectory.appending(path: "same-\(UUID()).safetensors")
      .path
    defer { try? FileManager.default.removeItem(atPath: file) }
    try await SmallModel.with { model in
      let local = try LocalBackend(
        model, prompt: SmallModel.prompt,
        RunOptions(attention: RunControlTests.dense, maxTokens: 4))
      local.start()
      for await moment in local.moments {
        if case .live(let status) = moment, case .ended = status.phase { break }
      }
      local.send(.save(file))
      await local.finish()
      let other = try await Self.open(kind, file)
      let frame = Frame(tokens: Self.tokens)
      for question in Self.questions {
        try expectEqual(
          try await other.answer(question, at: kind == .file ? .whole : frame),
          try await local.answer(question, at: frame), "\(kind) \(question)", within: 0.05)
      }
      guard kind != .file else { return }
      guard case .steps(_, let there) = try await other.answer(.steps(branch: 0, 0..<99)),
        case .steps(_, let here) = try await local.answer(.steps(branch: 0, 0..<99))
      else { return }
      #expect(there.map(\.text) == here.map(\.text) && there.map(\.token) == here.map(\.token))
      #expect(there.last?.skippedBlocks == here.last?.skippedBlocks)
    }
  }
}
