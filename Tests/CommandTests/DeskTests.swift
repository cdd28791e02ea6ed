import Foundation
import Support
import Testing

extension ProgramTests {
  /// What is kept of the user, and what else is written beside a screen: two windows at once, files
  /// that are none, signals in the middle of writing.
  @Suite(.serialized) struct DeskTests {
    /// Waits until it is so; the limit only ends a broken test.
    private func waits(_ what: String, seconds: Double = 20, _ isSo: () -> Bool) {
      let limit = ContinuousClock.now + .seconds(seconds)
      while ContinuousClock.now < limit {
        if isSo() { return }
        usleep(5000)
      }
      Issue.record("never: \(what)")
    }

    private func text(_ path: String) -> String {
      (try? String(contentsOfFile: path, encoding: .utf8)) ?? ""
    }

    private func write(_ text: String, _ path: String) throws -> String {
      try Data(text.utf8).write(to: URL(filePath: path))
      return path
    }

    // MARK: Two windows

    @Test func twoWindowsKeepBothBookmarks() throws {
      try Program.scratch { folder in
        let environment = ["XDG_STATE_HOME": folder], file = folder + "/attnscope/bookmarks"
        let windows = try (0..<2).map { _ in
          try PseudoTerminal([Program.path, Program.sample], environment: environment)
        }
        for window in windows { window.sees("exact") }
        windows[0].send(":mark first\r")
        waits("the first bookmark") { text(file).contains("[first] ") }
        windows[1].send(":mark second\r")
        waits("the second bookmark") { text(file).contains("[second] ") }
        #expect(text(file).contains("[first] "), "\(text(file))")
        // One that is made anew under its name is the newer one, once.
        windows[0].send("]:mark first\r")
        waits("the newer bookmark") { text(file).contains("lambda 0.017") }
        #expect(text(file).components(separatedBy: "[first] ").count == 2)
        #expect(text(file).contains("[second] "), "\(text(file))")
        for window in windows {
          window.send("q")
          #expect(window.end() == 0)
        }
      }
    }

    /// Six programs at once remember a file each, and nobody's is lost.
    @Test func recentFilesOfManyWindows() throws {
      try Program.scratch { folder in
        let names = (0..<6).map { "\(folder)/r\($0).safetensors" }
        for name in names {
          try FileManager.default.copyItem(atPath: Program.sample, toPath: name)
        }
        let windows = try names.map {
          try PseudoTerminal([Program.path, $0], environment: ["XDG_STATE_HOME": folder])
        }
        for window in windows { window.sees("Under the cursor") }
        for window in windows {
          window.send("q")
          #expect(window.end() == 0)
        }
        let recent = text(folder + "/attnscope/recent")
        for name in names { #expect(recent.contains("/\((name as NSString).lastPathComponent)\n")) }
      }
    }

    /// A name of two lines would write a bookmark of its own.
    @Test func aNameOfTwoLinesWritesNoLine() throws {
      try Program.scratch { folder in
        let path = folder + "/a\n[fake] b.safetensors"
        try FileManager.default.copyItem(atPath: Program.sample, toPath: path)
        let window = try PseudoTerminal(
          [Program.path, path], environment: ["XDG_STATE_HOME": folder])
        window.sees("exact")
        window.send(":mark x\r")
        window.redraws("for this session only")
        window.send("q")
        #expect(window.end() == 0)
        #expect(!text(folder + "/attnscope/bookmarks").contains("fake"))
      }
    }

    // MARK: Writing

    /// Ends the program while it writes a large file, and expects that nothing is left of it.
    @Test(arguments: [SIGINT, SIGTERM, SIGHUP, SIGKILL]) func nothingIsLeft(_ number: Int32) throws
    {
      try Program.scratch { folder in
        let out = folder + "/large.safetensors"
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        for stream in Int32(0)..<3 {
          posix_spawn_file_actions_addopen(&actions, stream, "/dev/null", O_RDWR, 0)
        }
        let child = try Program.spawn(
          [Program.path, "synth", "--tokens", "16384", "--heads", "16", "-o", out],
          environment: [:], actions: &actions, flags: 0)
        let open = "/proc/\(child)/fd"
        waits("the file is open") {
          ((try? FileManager.default.contentsOfDirectory(atPath: open)) ?? []).contains {
            let place = try? FileManager.default.destinationOfSymbolicLink(atPath: open + "/" + $0)
            return place?.hasPrefix(folder + "/") ?? false
          }
        }
        #expect(kill(child, number) == 0)
        var status: Int32 = 0
        while waitpid(child, &status, 0) < 0, errno == EINTR {}
        #expect(status & 0x7f == number, "it had ended before: \(status)")
        #expect(try FileManager.default.contentsOfDirectory(atPath: folder) == [])
      }
    }

    /// A run whose text nobody takes decodes no more of it.
    @Test func aRunEndsWithItsReader() throws {
      try TinyGGUF.with(TinyModel().bytes) { model in
        try Program.scratch { folder in
          let pipe = folder + "/pipe"
          #expect(mkfifo(pipe, 0o600) == 0)
          let run = [Program.path, "run", "--plain", "--prompt", "in the", "--model", model]
          let closed = "exec 4<>\"$0\"; exec 5>\"$0\"; exec 4>&-; \"$@\" >&5"
          for (script, place) in [(closed, pipe), ("\"$@\" >\"$0\"", "/dev/full")] {
            let result = try Program.run(["-c", script, place] + run, program: "/bin/sh")
            #expect(result.error.contains("standard output takes no more"), "\(place): \(result)")
          }
        }
      }
    }

    /// Help that did not arrive is no success; one that its reader has seen enough of is.
    @Test(arguments: [["--help"], ["--version"], ["render", "--help"]])
    func helpArrivesOrFails(_ arguments: [String]) throws {
      func run(_ script: String) throws -> Program.Result {
        try Program.run(["-c", script, Program.path] + arguments, program: "/bin/bash")
      }
      let full = try run("\"$0\" \"$@\" >/dev/full")
      #expect(full.status == 1 && full.error.contains("standard output failed"), "\(full)")
      let seen = try run("\"$0\" \"$@\" | true; exit ${PIPESTATUS[0]}")
      #expect(seen.status == 0 && seen.error.isEmpty, "\(seen)")
    }

    /// What never ends is read up to a bound, and said.
    @Test func readsHaveAnEnd() throws {
      try TinyGGUF.with(TinyModel().bytes) { model in
        for (arguments, input) in [
          (["tokenize", "--model", model], "/dev/zero"),
          (["run", "--plain", "--model", model, "--prompt-file", "/dev/zero"], "/dev/null"),
          (["perplexity", "--model", model, "--file", "/dev/zero"], "/dev/null"),
          (["calibrate", "--points", "/dev/zero", "--write", "trtllm"], "/dev/null"),
        ] {
          let result = try Program.run(arguments, input: input)
          #expect(result.status == 1 && result.error.contains("is larger than"), "\(result)")
        }
      }
    }

    // MARK: Settings

    /// What lies there and is no file is said, at once.
    @Test func settingsThatAreNoFile() throws {
      try Program.scratch { folder in
        let pipe = folder + "/pipe"
        #expect(mkfifo(pipe, 0o600) == 0)
        let large = try write(String(repeating: "# more\n", count: 160_000), folder + "/large")
        for (path, words) in [
          (folder, "folder"), (pipe, "pipe"), (large, "larger than"),
          ("/proc/self/mem", "cannot be read"),
        ] {
          let check = try Program.run("config", environment: ["ATTNSCOPE_CONFIG": path])
          #expect(check.status == 1 && check.output.contains(words), "\(path): \(check)")
          let doctor = try Program.run("doctor", environment: ["ATTNSCOPE_CONFIG": path])
          #expect(doctor.output.contains(words), "\(path): \(doctor.output)")
        }
        let none = try Program.run("config", environment: ["ATTNSCOPE_CONFIG": "/dev/null"])
        #expect(none.status == 0 && none.output.contains("nothing wrong"), "\(none)")
        let window = try PseudoTerminal(
          [Program.path, Program.sample], environment: ["ATTNSCOPE_CONFIG": folder])
        window.sees("The config file is a folder")
        window.send("q")
        #expect(window.end() == 0)
        for arguments in [
          ["open", Program.sample, "--plain", "--state", pipe], ["lesson", "check", pipe],
          ["open", Program.sample, "--plain", "--log", folder],
          ["open", Program.sample, "--plain", "--log", pipe],
          ["open", Program.sample, "--plain", "--log", "/no/folder/here"],
        ] {
          let result = try Program.run(arguments)
          #expect([1, 2].contains(result.status) && result.seconds < 5, "\(arguments): \(result)")
        }
      }
    }

    /// Without HOME the system knows where home is; the folder one is in is never meant.
    @Test(arguments: ["", ".", "here"]) func withoutHome(_ home: String) throws {
      let variables = ["HOME": home, "XDG_CONFIG_HOME": "", "XDG_STATE_HOME": ""]
      let path = try Program.run("config", "path", environment: variables).output
      #expect(path.hasPrefix("/") && path.hasSuffix("/.config/attnscope/config\n"), "\(path)")
      #expect(!path.hasPrefix("/.config") && !path.contains("here"), "\(path)")
    }

    // MARK: Notes

    private func present(_ folder: String) throws -> PseudoTerminal {
      let terminal = try PseudoTerminal(
        [Program.path, "lesson", "1", "--present"],
        environment: ["XDG_STATE_HOME": folder, "XDG_RUNTIME_DIR": folder])
      terminal.sees("Enter begins")
      return terminal
    }

    /// The first of two presenters leaves, and the second one's notes stay.
    @Test func twoPresenters() throws {
      try Program.scratch { folder in
        let first = try present(folder), second = try present(folder)
        first.send("q")
        #expect(first.end() == 0)
        let notes = try Program.run(
          "notes", "--once", environment: ["XDG_RUNTIME_DIR": folder])
        #expect(notes.status == 0 && notes.output.hasPrefix("Reading a map\n"), "\(notes)")
        second.send("q")
        #expect(second.end() == 0)
        #expect(!FileManager.default.fileExists(atPath: folder + "/attnscope-notes"))
      }
    }

    /// Connects as a reader does, and reads nothing; -1 when nobody listens.
    private func connectTo(_ path: String) -> Int32 {
      let file = socket(AF_UNIX, Int32(SOCK_STREAM.rawValue), 0)
      var address = sockaddr_un()
      address.sun_family = sa_family_t(AF_UNIX)
      guard path.utf8.count < 100 else { return -1 }
      withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: Array(path.utf8)) }
      let result = withUnsafePointer(to: &address) { pointer in
        pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
          connect(file, $0, socklen_t(MemoryLayout<sockaddr_un>.size))
        }
      }
      if result == 0 { return file }
      close(file)
      return -1
    }

    /// Readers that come and go, and those that stay, take nothing from the next one.
    @Test func manyReaders() throws {
      try Program.scratch { folder in
        let terminal = try present(folder), path = folder + "/attnscope-notes"
        for _ in 0..<1500 {
          let reader = connectTo(path)
          if reader >= 0 { close(reader) }
        }
        let notes = try Program.run("notes", "--once", environment: ["XDG_RUNTIME_DIR": folder])
        #expect(notes.status == 0 && notes.output.hasPrefix("Reading a map\n"), "\(notes)")
        terminal.send("q")
        #expect(terminal.end() == 0)
      }
    }

    /// Something else lies where the socket belongs, or the way there is too long: it is said, and
    /// nothing is removed.
    @Test func noPlaceForNotes() throws {
      try Program.scratch { folder in
        let kept = try write("kept", folder + "/attnscope-notes")
        let long = folder + "/" + String(repeating: "l", count: 120)
        for runtime in [folder, long] {
          let terminal = try PseudoTerminal(
            [Program.path, "lesson", "1", "--present"],
            environment: ["XDG_STATE_HOME": folder, "XDG_RUNTIME_DIR": runtime])
          terminal.sees("No notes for a second terminal")
          terminal.send("q")
          #expect(terminal.end() == 0)
        }
        #expect(text(kept) == "kept")
      }
    }

    /// What never ends is no note: a reader does not keep all of it.
    @Test(.enabled(if: Program.canMeasure, "python3 is not installed"))
    func aSpeakerWithoutEnd() throws {
      try Program.scratch { folder in
        let speaker = """
          import os, socket, subprocess, sys
          s = socket.socket(socket.AF_UNIX); s.bind(sys.argv[1] + "/attnscope-notes"); s.listen(1)
          p = subprocess.Popen([sys.argv[2], "notes"], stderr=subprocess.PIPE,
            env=dict(os.environ, XDG_RUNTIME_DIR=sys.argv[1]))
          c, _ = s.accept()
          try:
            for _ in range(64): c.sendall(b"x" * (1 << 20))
          except OSError: print("closed")
          c.close(); print(p.stderr.read().decode()); print("code", p.wait())
          """
        let result = try Program.run(
          ["-c", speaker, folder, Program.path], program: "/usr/bin/python3")
        #expect(result.output.contains("closed") && result.output.contains("code 1"), "\(result)")
        #expect(result.output.contains("no notes of a lesson"), "\(result.output.suffix(300))")
      }
    }
  }
}
