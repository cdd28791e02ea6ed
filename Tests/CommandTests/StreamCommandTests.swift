import Foundation
import Support
import Testing

extension ProgramTests {
  /// `serve` at one end and `open` at the other, as users run them.
  @Suite(.serialized, .timeLimit(.minutes(5))) struct StreamCommandTests {
    /// A folder with a recording of 24 tokens, the last four decoded, and what is done with it.
    private static func with(_ body: (_ file: String, _ folder: String) throws -> Void) async throws
    {
      let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString).path
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      defer { try? FileManager.default.removeItem(atPath: folder) }
      let file = folder + "/run.safetensors"
      try await RecordingTests.record(to: file, in: folder)
      try body(file, folder)
    }

    private static func shell(_ line: String, _ environment: [String: String] = [:]) throws
      -> PseudoTerminal
    {
      try PseudoTerminal(["/bin/sh", "-c", line], environment: environment)
    }

    @Test func aPipeIsShownUntilItsEndAndStays() async throws {
      try await Self.with { file, _ in
        let terminal = try Self.shell(
          "'\(Program.path)' serve '\(file)' --stdout --speed 50 | '\(Program.path)' open -",
          ["COLORTERM": "truecolor"])
        terminal.sees("1049h")
        terminal.redraws("ended")
        terminal.send(" ")
        terminal.redraws("Nothing more comes: the process ended")
        terminal.redraws("24")
        // Pictures are drawn of what came, and it can be stepped back through.
        terminal.send("\u{1b}1")
        terminal.redraws("Under the cursor")
        terminal.send("q")
        terminal.send("q")
        #expect(terminal.end() == 0)
        #expect(terminal.screenIsRestored)
        // The terminal's own colours, although standard input is a pipe.
        #expect(terminal.output.firstMatch(of: /\e\[[0-9;]*[34]8;2;\d+;\d+;\d+m/) != nil)
      }
    }

    /// A sender that dies within a frame.
    @Test func aSenderThatDiesIsSaid() async throws {
      try await Self.with { file, folder in
        let saved = folder + "/kept.safetensors", sent = folder + "/sent"
        let made = try Program.run(
          ["-c", "'\(Program.path)' serve '\(file)' --stdout --speed 0 > '\(sent)'"],
          program: "/bin/sh")
        #expect(made.status == 0, "\(made.error)")
        let size = try FileManager.default.attributesOfItem(atPath: sent)[.size] as? Int ?? 0
        let terminal = try Self.shell(
          "'\(Program.path)' serve '\(file)' --stdout --speed 0 | head -c \(size - 900) | "
            + "'\(Program.path)' open -")
        terminal.sees("1049h")
        terminal.redraws("ended")
        terminal.send(" ")
        terminal.redraws("Nothing more comes: the process closed the stream")
        terminal.send(":save \(saved)\r")
        terminal.redraws("Recording saved")
        terminal.send("q")
        #expect(terminal.end() == 0)
        let summary = try Program.run("open", saved)
        #expect(summary.status == 0, "\(summary.error)")
        #expect(summary.output.contains("20 of the prompt"), "\(summary.output)")
      }
    }

    @Test func aSocketIsAskedAndPaused() async throws {
      try await Self.with { file, folder in
        let door = folder + "/run.sock"
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_addopen(&actions, 2, folder + "/log", O_WRONLY | O_CREAT, 0o600)
        let server = try Program.spawn(
          [Program.path, "serve", file, "--socket", door, "--once", "--speed", "1000"],
          environment: [:], actions: &actions, flags: 0)
        while access(door, F_OK) != 0 { usleep(20_000) }
        let mode = try FileManager.default.attributesOfItem(atPath: door)[.posixPermissions]
        #expect(mode as? Int == 0o600)
        let terminal = try Self.shell(
          "'\(Program.path)' open unix:'\(door)' --record '\(folder)/rec.safetensors'")
        terminal.sees("1049h")
        terminal.redraws("24")
        terminal.send("\u{1b}1")
        terminal.redraws("Under the cursor")
        terminal.send(" ")
        terminal.redraws("paused")
        terminal.send("qq")
        #expect(terminal.end() == 0)
        var status: Int32 = 0
        waitpid(server, &status, 0)
        #expect(status == 0)
        #expect(access(door, F_OK) != 0)
        let recorded = try Program.run("open", folder + "/rec.safetensors")
        #expect(recorded.output.contains("24 tokens, 20 of the prompt"), "\(recorded)")
      }
    }

    /// Without a terminal a stream is summed up, whichever way it comes.
    @Test func withoutATerminalTheStreamIsSummedUp() async throws {
      try await Self.with { file, folder in
        let sent = folder + "/sent.safetensors"
        let made = try Program.run(
          ["-c", "'\(Program.path)' serve '\(file)' --stdout --speed 0 > '\(sent)'"],
          program: "/bin/sh")
        #expect(made.status == 0, "\(made.error)")
        for result in [try Program.run("open", sent), try Program.run("open", "-", input: sent)] {
          #expect(result.status == 0, "\(result.error)")
          #expect(result.output.contains("24 tokens, 20 of the prompt"), "\(result.output)")
        }
        let plain = try Program.run("open", sent, "--plain")
        #expect(plain.output.contains("Token 23 of 24"), "\(plain.output)")
        let dump = try Program.run(
          [
            "-c", "'\(Program.path)' serve '\(Program.sample)' --stdout | '\(Program.path)' open -",
          ],
          program: "/bin/sh")
        #expect(dump.output.contains("832 tokens, 832 of the prompt"), "\(dump)")
      }
    }

    @Test(arguments: [
      (["open", "-"], "it ended before its first frame"),
      (["open", "unix:/nowhere/at.all"], "nobody serves a stream there"),
      (["open", "tcp:somewhere:1"], "needs --token"),
      (["open", "tcp:nothing"], "HOST:PORT"), (["open", "--spawn", "true"], "ended before"),
      (["open", "--spawn", "echo nonsense"], "no frame begins here"),
      (["open", "--record", "x"], "go with a stream"),
      (["serve", "x"], "one of --socket"), (["serve", "/nowhere", "--stdout"], "no such file"),
    ]) func whatCannotBeStreamedIsNamed(_ arguments: [String], _ text: String) throws {
      let result = try Program.run(arguments)
      #expect(result.status != 0 && result.error.contains(text), "\(result)")
    }
  }
}
