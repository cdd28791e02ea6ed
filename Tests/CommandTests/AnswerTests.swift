import Foundation
import Testing

extension ProgramTests {
  /// What a terminal says of itself: answers in pieces, names that promise colours, descriptions
  /// of the user's own.
  @Suite(.serialized) struct AnswerTests {
    private func start(_ environment: [String: String] = [:]) throws -> PseudoTerminal {
      let terminal = try PseudoTerminal([Program.path, Program.sample], environment: environment)
      terminal.sees("exact")
      return terminal
    }

    /// An answer about the page that is cut anywhere turns the ramps, and none of it is typed: a
    /// `/` would ask for a text to find, an `f` and a digit would show something else.
    @Test(arguments: [
      ["\u{1b}]11;rgb:ffff/fd", "fd/f0f0\u{1b}\\"], ["\u{1b}]11;rgb:ffff/fdfd/f0f0", "\u{7}"],
      ["\u{1b}", "]11;rgb:ffff/fdfd/f0f0\u{7}"],
      ["\u{1b}]", "11;rgb:ffff/fdfd/f0f0\u{7}"], ["\u{1b}]11;r", "gb:ffff/fd", "fd/f0f0\u{7}"],
    ]) func anAnswerInPieces(_ pieces: [String]) throws {
      let terminal = try start()
      for (number, piece) in pieces.enumerated() {
        if number > 0 { usleep(90_000) }  // the gap is what is tested
        terminal.send(piece)
      }
      terminal.redraws("Dark: more attention")
      let mark = terminal.mark
      terminal.redraws("λ=0.01")
      terminal.redraws("Under the cursor")
      let screen = String(decoding: terminal.output.utf8.dropFirst(mark), as: UTF8.self)
      #expect(!screen.contains("find:"), "\(pieces)")
      terminal.send("q")
      #expect(terminal.end() == 0)
    }

    /// Half a second between Esc and the rest: Esc is a key by then, and the rest still an answer.
    @Test func anAnswerWhoseEscCameLongBefore() throws {
      let terminal = try start()
      terminal.send("\u{1b}")
      usleep(500_000)
      terminal.send("]11;rgb:ffff/fdfd/f0f0\u{7}")
      terminal.redraws("Dark: more attention")
      // Keys behind it are keys, and so are those behind an answer that never ends.
      terminal.send("\u{1b}]11;rgb:10/10")
      usleep(1_300_000)
      terminal.send("]")
      terminal.redraws("0.0178")
      terminal.send("q")
      #expect(terminal.end() == 0)
    }

    /// Esc and `]` in one packet are two keys.
    @Test func escapeAndABracketAreKeys() throws {
      let terminal = try start()
      terminal.send("?")
      terminal.redraws("Help")
      terminal.send("\u{1b}]")
      terminal.redraws("0.0178")
      terminal.send("q")
      #expect(terminal.end() == 0)
    }

    /// COLORTERM goes through GNU screen as it goes through all programs; screen shows 256.
    @Test(arguments: [
      (["TERM": "screen-256color"], "palette"),
      (["TERM": "screen-256color", "TMUX": "/tmp/tmux,1,0"], "truecolor"),
      (["TERM": "xterm-256color", "STY": "1.pts.here"], "palette"),
      (["TERM": "tmux-256color", "TMUX": "/tmp/tmux,1,0"], "truecolor"),
      (["TERM": "xterm-256color"], "truecolor"),
    ]) func gnuScreenHas256Colours(_ environment: [String: String], _ expected: String) throws {
      let all = environment.merging(["COLORTERM": "truecolor"]) { $1 }
      let result = try Program.run("doctor", environment: all)
      let line = result.output.split(separator: "\n").first { $0.contains("maps use") } ?? ""
      #expect(line.contains("maps use \(expected)"), "\(environment): \(line)")
    }

    private static let tools = ["/usr/bin/infocmp", "/usr/bin/tic"]
    private static let haveTools = tools.allSatisfy(FileManager.default.isExecutableFile(atPath:))

    /// A description in TERMINFO itself, as kitty gives it: of a terminal that nobody else knows,
    /// and with all colours.
    @Test(
      .enabled(if: haveTools, "infocmp and tic are not installed"),
      arguments: [("1", true), ("2", true), ("2", false)])
    func aDescriptionOfTheUsersOwn(_ form: String, _ isDirect: Bool) throws {
      try Program.scratch { folder in
        let source = try Program.run(["-1", "xterm-256color"], program: Self.tools[0]).output
        let named = source.replacing("xterm-256color|", with: "house-of-mine|")
        try Data(named.utf8).write(to: URL(filePath: folder + "/source"))
        let made = try Program.run(
          ["-o", folder + "/base", folder + "/source"], program: Self.tools[1])
        #expect(made.status == 0, "\(made.error)")
        let packed = try Program.run(
          ["-A", folder + "/base", "-Q" + form, "house-of-mine"], program: Self.tools[0])
        let entry = packed.output.split(separator: "\n").filter { !$0.hasPrefix("#") }.joined()
        try #require(entry.hasPrefix(form == "1" ? "hex:" : "b64:"), "\(packed)")
        let more = isDirect ? ["COLORTERM": "truecolor"] : [:]
        let terminal = try start(["TERM": "house-of-mine", "TERMINFO": entry].merging(more) { $1 })
        terminal.send("q")
        #expect(terminal.end() == 0)
        #expect(!terminal.output.contains("using xterm-256color"), "it was not found")
        let found = terminal.output.firstMatch(of: /\e\[[0-9;]*[34]8;2;\d+;\d+;\d+m/) != nil
        #expect(found == isDirect, "\(more)")
        WaysOutTests.expectWhole(terminal, "a description of one's own")
      }
    }

    /// A size that no screen has is said to be one, and the terminal stays as it was.
    @Test func aSizeThatIsNone() throws {
      for environment in [["COLUMNS": "100000"], ["COLUMNS": "32767", "LINES": "32767"]] {
        let terminal = try PseudoTerminal(
          [Program.path, Program.sample], environment: environment)
        #expect(terminal.end() == 1, "\(environment)")
        #expect(terminal.output.contains("which no screen has"), "\(terminal.output.suffix(300))")
        #expect(!terminal.output.contains("\u{1b}[?1049h") && terminal.modesAreRestored)
      }
    }

    /// 100 KB between the marks of a paste press no key; of 100 KB behind `/` the beginning is the
    /// text.
    @Test func aLongPasteIsText() throws {
      let terminal = try start()
      let junk = String(repeating: "q]2\u{1a}\u{1c}\u{3}:/\r", count: 11_000)
      // The line discipline holds 4 KB: in pieces, and read on meanwhile.
      func paste(_ text: String) {
        terminal.send("\u{1b}[200~")
        var rest = Substring(text)
        while !rest.isEmpty {
          terminal.send(String(rest.prefix(2000)))
          rest = rest.dropFirst(2000)
        }
        terminal.send("\u{1b}[201~")
      }
      paste(junk)
      terminal.redraws("presses no keys")
      terminal.redraws("λ=0.01")
      terminal.send("q")
      #expect(terminal.end() == 0)
      WaysOutTests.expectWhole(terminal, "a long paste")
    }
  }
}
