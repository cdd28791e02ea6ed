import Foundation
import Testing

extension ProgramTests {
  /// Files that change, are large once inflated, or take another's place on the screen.
  @Suite(.serialized, .timeLimit(.minutes(5))) struct ChangedFileTests {
    /// A copy of the sample that a test may change.
    private static func copy(_ folder: String, _ name: String) throws -> String {
      try FileManager.default.copyItem(atPath: Program.sample, toPath: folder + "/" + name)
      return folder + "/" + name
    }

    /// The same bytes, written in place a second later.
    private static func writeAnew(_ path: String) throws {
      let bytes = try Data(contentsOf: URL(filePath: path))
      let file = try FileHandle(forWritingTo: URL(filePath: path))
      try file.write(contentsOf: bytes.prefix(100))
      try file.close()
      let later = Date(timeIntervalSinceNow: 2)
      try FileManager.default.setAttributes([.modificationDate: later], ofItemAtPath: path)
    }

    @Test func theScreenSaysThatItsFileWasWrittenAnew() throws {
      try Program.scratch { folder in
        let path = try Self.copy(folder, "a.safetensors")
        let terminal = try PseudoTerminal([Program.path, path], columns: 200)
        terminal.sees("exact")
        try Self.writeAnew(path)
        terminal.redraws("was written anew while it was open")
        // Said once: the end does not say it again, and is no failure.
        terminal.send("q")
        #expect(terminal.end() == 0)
        #expect(!terminal.output.contains("attnscope: \(path)"))
      }
    }

    /// A command that reads a mixture says so, and fails.
    @Test func aCommandSaysThatItsFileWasWrittenAnew() throws {
      try Program.scratch { folder in
        for isReplaced in [false, true] {
          let path = try Self.copy(folder, "\(isReplaced).safetensors")
          let terminal = try PseudoTerminal([Program.path, "open", path, "--plain"], columns: 200)
          terminal.sees("A line is a command")
          if isReplaced {
            let other = try Self.copy(folder, "other.safetensors")
            #expect(rename(other, path) == 0)
          } else {
            try Self.writeAnew(path)
          }
          terminal.send("quit\n")
          #expect(terminal.end() == (isReplaced ? 0 : 1))
          let words = isReplaced ? "was replaced while it was open" : "was written anew while"
          #expect(terminal.output.contains(words), "\(terminal.output.suffix(400))")
        }
      }
    }

    /// Another file is opened in a lesson's place.
    @Test func aLessonLeavesForAFile() throws {
      try Program.scratch { folder in
        let path = try Self.copy(folder, "other.safetensors")
        let terminal = try PseudoTerminal([Program.path, "lesson", "1"], columns: 120, rows: 40)
        terminal.redraws("Reading a map")
        let mark = terminal.mark
        terminal.send(":open \(path)\r")
        // The lesson looks at head 6, a file at its first one. Between two screens the terminal
        // echoes keys: nothing is typed until the second is there.
        terminal.sees("L12 H0/9", after: mark)
        terminal.send("q")
        #expect(terminal.end() == 0)
        WaysOutTests.expectWhole(terminal, "a file in a lesson's place")
      }
    }

    /// 100 KB of letters behind a colon, as a terminal without brackets pastes them: the first 200
    /// are the text, and the screen answers.
    @Test func aRawPasteBehindAColon() throws {
      let terminal = try PseudoTerminal([Program.path, Program.sample])
      terminal.sees("exact")
      terminal.send(":")
      terminal.redraws("Enter runs, Esc closes")
      let begin = ContinuousClock.now
      for _ in 0..<50 { terminal.send(String(repeating: "some words of ", count: 145)) }
      terminal.send("\u{1b}")
      terminal.redraws("Under the cursor")
      let time = ContinuousClock.now - begin
      #expect(time < (Program.isRelease ? .seconds(3) : .seconds(25)), "\(time)")
      terminal.send("q")
      #expect(terminal.end() == 0)
    }

    /// 192 MiB of Q and K in 48 layers, deflated: what is looked at is one layer.
    @Test(.enabled(if: Program.canMeasure, "python3 is not installed"))
    func aCompressedDumpTakesWhatIsLookedAt() throws {
      try Program.scratch { folder in
        let make = """
          import random, struct, sys, zipfile
          r = random.Random(1)
          heads, tokens, dim = 8, 1024, 64
          some = struct.pack("<32768f", *[r.gauss(0, 1) for _ in range(32768)])
          data = some + some[:16384] * (heads * tokens * dim * 4 // 16384 - 8)
          text = "{'descr': '<f4', 'fortran_order': False, 'shape': (%d, %d, %d), }" % (
              heads, tokens, dim)
          text = text.encode().ljust(117) + b"\\n"
          head = b"\\x93NUMPY\\x01\\x00" + struct.pack("<H", len(text)) + text
          for name, layers in ("one.npz", 1), ("all.npz", 48):
              with zipfile.ZipFile(sys.argv[1] + "/" + name, "w", zipfile.ZIP_DEFLATED,
                                   compresslevel=1) as out:
                  for layer in range(layers):
                      for part in "qk":
                          out.writestr("layers.%d.%s.npy" % (layer, part), head + data)
          """
        let made = try Program.run(["-c", make, folder], program: "/usr/bin/python3")
        #expect(made.status == 0, "\(made.error)")
        for (words, most) in [(["info"], 24), (["open", "--plain"], 80)] {
          let one = try Program.measured(words + [folder + "/one.npz"])
          let all = try Program.measured(words + [folder + "/all.npz"])
          #expect(one.result.status == 0 && all.result.status == 0, "\(all.result.error)")
          #expect(all.megabytes - one.megabytes < most, "\(words): \(one.1), \(all.1) MB")
        }
      }
    }
  }
}
