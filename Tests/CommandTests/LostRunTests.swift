import Attention
import Backends
import Foundation
import Sessions
import Testing

extension ProgramTests {
  /// A live run that ended before it was saved is found again, by the next run and by `--recover`.
  @Suite(.serialized, .timeLimit(.minutes(5))) struct LostRunTests {
    /// A folder for the state of one test, with a tiny model in it.
    private static func with(
      _ body: (_ model: String, _ state: [String: String]) async throws -> Void
    ) async throws {
      let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString).path
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      defer { try? FileManager.default.removeItem(atPath: folder) }
      try await body(
        try RecordingTests.tiny(in: folder),
        ["XDG_STATE_HOME": folder + "/state", "SWIFT_BACKTRACE": "enable=no"])
    }

    private static func start(
      _ model: String, _ state: [String: String]
    ) throws -> PseudoTerminal {
      let terminal = try PseudoTerminal(
        [Program.path, "run", "--model", model, "--prompt", "the and in the", "--paused"],
        environment: state)
      terminal.sees("paused")
      return terminal
    }

    /// The files of runs.
    private static func files(_ state: [String: String]) -> [String] {
      let folder = (state["XDG_STATE_HOME"] ?? "") + "/attnscope/runs"
      let names = (try? FileManager.default.contentsOfDirectory(atPath: folder)) ?? []
      return names.filter { $0.hasSuffix(".safetensors") }.sorted().map { folder + "/" + $0 }
    }

    private static func lengths(_ file: String) -> [Int] {
      (try? ReplayBackend(file).describe().live?.lengths) ?? []
    }

    /// Takes one token, then seven, and waits until the disk has them.
    private static func decode(_ terminal: PseudoTerminal, _ state: [String: String]) throws {
      // What could not be written saves nothing.
      terminal.send(":save \(state["XDG_STATE_HOME"] ?? "")/none/x\r")
      var before = 0
      for number in 1...8 {
        terminal.send("\u{1b}OC")
        terminal.redraws("\(number) tokens decoded")
        for _ in 0..<500 {
          if let now = files(state).last.map(lengths)?.first, now > before {
            before = now
            break
          }
          usleep(10_000)
        }
      }
    }

    @Test func aRunThatWasKilledIsFoundAgain() async throws {
      try await Self.with { model, state in
        let saved = (state["XDG_STATE_HOME"] ?? "") + ".saved"
        let terminal = try Self.start(model, state)
        try Self.decode(terminal, state)
        terminal.send(":save \(saved)\r")
        terminal.redraws("Recording saved")
        kill(terminal.child, SIGKILL)
        #expect(terminal.end() == 128 + SIGKILL)

        let file = try #require(Self.files(state).last)
        var status = stat()
        #expect(stat(file, &status) == 0 && status.st_mode & 0o777 == 0o600)
        let found = try ReplayBackend(file), wanted = try ReplayBackend(saved)
        #expect(found.describe().live?.lengths == wanted.describe().live?.lengths)
        let frame = Frame(branch: 0, tokens: Self.lengths(file)[0])
        let row = Question.row(.pattern(HeadID(layer: 1, head: 2)), 9)
        for question in [Question.steps(branch: 0, 0..<99), row] {
          let a = try await found.answer(question, at: frame)
          let b = try await wanted.answer(question, at: frame)
          #expect("\(a)" == "\(b)")
        }

        // The next run says so, and keeps it; a recording of the same model says so, too.
        let next = try Self.start(model, state)
        next.redraws("attnscope open --recover")
        next.send("q")
        #expect(next.end() == 0 && Self.files(state) == [file])
        let other = try Program.run("open", saved, "--plain", environment: state)
        #expect(other.error.contains("8 decoded tokens"), "\(other.error)")
        let plain = try Program.run("open", "--recover", "--plain", environment: state)
        #expect(plain.status == 0 && plain.output.contains("on branch 0"), "\(plain)")
        #expect(plain.error.contains("cp \(file)"), "\(plain.error)")
        // It was opened: nobody asks for it any more.
        let again = try Program.run("open", saved, "--plain", environment: state)
        #expect(!again.error.contains("--recover"), "\(again.error)")
      }
    }

    /// Left with q, after its question, a run leaves nothing; ended by a signal, it stays.
    @Test func whoLeavesLeavesNothing() async throws {
      try await Self.with { model, state in
        let left = try Self.start(model, state)
        try Self.decode(left, state)
        #expect(Self.files(state).count == 1)
        left.send("q")
        left.redraws("8 decoded tokens are not saved")
        left.send("q")
        #expect(left.end() == 0 && Self.files(state).isEmpty)
        for signal in [SIGTERM, SIGHUP] {
          let ended = try Self.start(model, state)
          try Self.decode(ended, state)
          kill(ended.child, signal)
          #expect(ended.end() == 128 + signal)
        }
        #expect(Self.files(state).count == 2)
        #expect(Self.files(state).allSatisfy { Self.lengths($0).first ?? 0 > 8 })
      }
    }

    /// The newest three stay, as far as they are 200 MB.
    @Test func oldRunsAreLetGo() async throws {
      try await Self.with { model, state in
        let terminal = try Self.start(model, state)
        try Self.decode(terminal, state)
        kill(terminal.child, SIGKILL)
        #expect(terminal.end() == 128 + SIGKILL)
        let file = try #require(Self.files(state).last)
        let folder = (file as NSString).deletingLastPathComponent
        for age in 1...4 {
          let path = "\(folder)/old-\(age).safetensors"
          try FileManager.default.copyItem(atPath: file, toPath: path)
          let date = Date(timeIntervalSince1970: 1_700_000_000 - Double(age))
          try FileManager.default.setAttributes([.modificationDate: date], ofItemAtPath: path)
        }
        let large = open("\(folder)/old-1.safetensors", O_WRONLY)
        ftruncate(large, 300_000_000)
        close(large)
        let date = Date(timeIntervalSince1970: 1_700_000_000)
        try FileManager.default.setAttributes(
          [.modificationDate: date], ofItemAtPath: "\(folder)/old-1.safetensors")
        let next = try Self.start(model, state)
        next.send("q")
        #expect(next.end() == 0)
        let names = Self.files(state).map { ($0 as NSString).lastPathComponent }
        #expect(names.count == 2 && names.contains("old-2.safetensors"), "\(names)")
      }
    }

    @Test func withoutALostRunThereIsASentence() async throws {
      try await Self.with { _, state in
        let none = try Program.run("open", "--recover", environment: state)
        #expect(none.status == 1 && none.error.contains("no run was left"), "\(none.error)")
        let both = try Program.run("open", Program.sample, "--recover", environment: state)
        #expect(both.status == 2 && both.error.contains("name no file"), "\(both)")
      }
    }
  }
}
