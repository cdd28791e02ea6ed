import Foundation
import Interface
import Support
import Testing

extension ProgramTests {
  /// Lessons, settings, comparisons, the manual: the commands around the screen.
  @Suite(.serialized) struct ComfortCommandTests {
    private let lessons = checkout() + "/samples/lessons"

    private func write(_ text: String, _ path: String) throws -> String {
      try Data(text.utf8).write(to: URL(filePath: path))
      return path
    }

    // MARK: Lessons

    @Test func lessonsAreListedWithWhatWasDone() throws {
      try Program.scratch { folder in
        let state = ["XDG_STATE_HOME": folder]
        let fresh = try Program.run("lesson", environment: state)
        #expect(fresh.status == 0 && fresh.output.contains("1-reading-a-map\n    Reading a map ("))
        #expect(
          fresh.output.contains("8-live-decoding") && fresh.output.contains("needs the model"))
        #expect(!fresh.output.contains(" of 9 steps"))
        try FileManager.default.createDirectory(
          atPath: folder + "/attnscope", withIntermediateDirectories: true)
        let junk =
          "\u{0}\u{1b}[2J x\n2-online-softmax 99999999999999999999 1\n3-lambda-and-margin\n"
        _ = try write(junk + "1-reading-a-map 3 0,1,77,x\n", folder + "/attnscope/lessons")
        let later = try Program.run("lesson", environment: state)
        #expect(later.status == 0 && later.output.contains("2 of 9 steps"), "\(later.output)")
      }
    }

    @Test func withoutATerminalALessonIsAText() throws {
      for name in ["1", "1-reading-a-map", "reading", lessons + "/1-reading-a-map.md"] {
        let result = try Program.run("lesson", name)
        #expect(result.status == 0 && result.output.contains("1. Rows are queries"), "\(name)")
      }
      let wrong = try Program.run("lesson", "99")
      #expect(wrong.status == 1 && wrong.error.contains("there is no lesson of this name"))
    }

    @Test func checkNamesFileAndLine() throws {
      try Program.scratch { folder in
        let good = try Program.run(["lesson", "check"] + files())
        #expect(good.status == 0, "\(good.output)")
        #expect(good.output.split(separator: "\n").allSatisfy { $0.contains("nothing wrong") })
        let text = try String(contentsOfFile: lessons + "/1-reading-a-map.md", encoding: .utf8)
        let bad = try write(
          text.replacing("check: scale == linear", with: "check: scale == linear and pace > 1"),
          folder + "/bad.md")
        let unread = try Program.run("lesson", "check", bad)
        let line = text.split(separator: "\n", omittingEmptySubsequences: false).firstIndex {
          $0.contains("check: scale == linear")
        }!
        #expect(unread.status == 1 && unread.output.contains("\(bad):\(line + 1): check, column"))
        #expect(unread.output.contains("there is no fact 'pace'"))
        // A setting that the sample does not have is found, too.
        let settings = try write(
          text.replacing("layer=18 head=6", with: "layer=17 head=6"), folder + "/s.md")
        let refused = try Program.run("lesson", "check", settings)
        #expect(refused.status == 1 && refused.output.contains("this file has layers 0, 12, 18"))
        #expect(try Program.run("lesson", bad).status == 1)
        let binary = folder + "/b.md"
        try Data((0..<5000).map { UInt8($0 * 7 & 255) }).write(to: URL(filePath: binary))
        for file in [binary, folder, folder + "/none.md", "/dev/null"] {
          let result = try Program.run("lesson", "check", file)
          #expect(result.status == 1 && result.seconds < 2, "\(file): \(result.output)")
        }
      }
    }

    private func files() throws -> [String] {
      try FileManager.default.contentsOfDirectory(atPath: lessons).sorted().map {
        lessons + "/" + $0
      }
    }

    /// The first lesson in tmux, from the list of lessons to the note that all is done.
    @Test(.enabled(if: Tmux.isThere, "tmux is not installed"))
    func aLessonFromBeginningToEnd() throws {
      try Program.scratch { folder in
        let command = "XDG_STATE_HOME=\(folder) \(Program.path) lesson 1"
        try Tmux.with(command) { tmux in
          try tmux.ask("resize-window", "-t", "s", "-x", "120", "-y", "40")
          try tmux.waitFor("Enter begins")
          try tmux.press("Enter")
          let keys: [[String]] = [
            ["6", "9", "0", "G"], ["End"], ["8", "2", "8", "g"], [".", "."], ["5", "5", "9", "g"],
            ["7", "9", "g"], ["Up", "Left"], ["s"],
            [":", "layer 18", "Enter", ":", "head 8", "Enter"],
          ]
          for (number, keys) in keys.enumerated() {
            try tmux.waitFor("step \(number + 1)/9")
            for key in keys { try tmux.press(key) }
            try tmux.waitFor("Done.")
            try tmux.press("Enter")
          }
          try tmux.waitFor("You have done every step.")
          try tmux.press("X")
          try tmux.waitFor("Lesson done.")
          try tmux.press("q")
          try tmux.waitFor("left with 0")
        }
        let list = try Program.run("lesson", environment: ["XDG_STATE_HOME": folder])
        #expect(list.output.contains(/Reading a map \([^)]*done\)/), "\(list.output)")
      }
    }

    /// The presenter's second terminal hears of each step; with nobody presenting it says so.
    @Test func notesOfALesson() throws {
      try Program.scratch { folder in
        let environment = ["XDG_STATE_HOME": folder, "XDG_RUNTIME_DIR": folder]
        let nobody = try Program.run("notes", "--once", environment: environment)
        #expect(nobody.status == 1 && nobody.error.contains("no lesson is being presented"))
        let terminal = try PseudoTerminal(
          [Program.path, "lesson", "1", "--present"], environment: environment)
        terminal.sees("Enter begins")
        let first = try Program.run("notes", "--once", environment: environment)
        #expect(first.status == 0 && first.output.hasPrefix("Reading a map\n"), "\(first.output)")
        let mark = terminal.mark
        terminal.send("\r")
        terminal.sees("step 1/9", after: mark)
        let second = try Program.run("notes", "--once", environment: environment)
        #expect(second.output.hasPrefix("1/9  Rows are queries"))
        #expect(second.output.contains("Ask first where the newest token stands."))
        #expect(second.output.contains("Keys: 6 9 0 G"))
        let mode = try FileManager.default.attributesOfItem(atPath: folder + "/attnscope-notes")
        #expect((mode[.posixPermissions] as? Int ?? 0o777) & 0o077 == 0)
        terminal.send("q")
        #expect(terminal.end() == 0)
        #expect(!FileManager.default.fileExists(atPath: folder + "/attnscope-notes"))
      }
    }

    // MARK: Settings and state

    @Test func theConfigFile() throws {
      try Program.scratch { folder in
        let home = ["XDG_CONFIG_HOME": folder]
        let path = folder + "/attnscope/config"
        #expect(try Program.run("config", "path", environment: home).output == path + "\n")
        let none = try Program.run("config", "check", environment: home)
        #expect(none.status == 0 && none.output.contains("there is no settings file"))
        #expect(try Program.run("config", "init", environment: home).status == 0)
        let twice = try Program.run("config", "init", environment: home)
        #expect(twice.status == 1 && twice.error.contains("--force"))
        #expect(try Program.run("config", "init", "--force", environment: home).status == 0)
        let fine = try Program.run("config", "check", environment: home)
        #expect(fine.status == 0 && fine.output.contains("nothing wrong"))
        _ = try write("fps = 30\ncolour = red\nkey.tile = T\nscale = linear\n", path)
        let wrong = try Program.run("config", environment: home)
        #expect(wrong.status == 1)
        #expect(wrong.output.hasPrefix("\(path): line 2: there is no setting 'colour'"))
        let terminal = try PseudoTerminal([Program.path, Program.sample], environment: home)
        terminal.sees("The config file, line 2: there is no setting 'colour'")
        terminal.sees("linear max")
        terminal.sees("T tile")
        terminal.send("q")
        #expect(terminal.end() == 0)
        // A relative path is no folder, says the specification.
        let relative = try Program.run(
          "config", "path", environment: ["XDG_CONFIG_HOME": "here", "HOME": folder])
        #expect(relative.output == folder + "/.config/attnscope/config\n")
      }
    }

    /// What cannot be written is said, and nothing else is lost.
    @Test func aStateFolderThatCannotBeWritten() throws {
      try Program.scratch { folder in
        // A file where the folder should be: so even root cannot write.
        let environment = ["XDG_STATE_HOME": try write("", folder + "/file")]
        let terminal = try PseudoTerminal(
          [Program.path, "lesson", "1"], environment: environment, columns: 120, rows: 40)
        terminal.sees("Progress is not kept: ")
        terminal.send("\r")
        terminal.sees("step 1/9")
        terminal.send("q")
        #expect(terminal.end() == 0)
        let open = try PseudoTerminal([Program.path, Program.sample], environment: environment)
        open.sees("exact")
        open.send(":mark x\r")
        open.redraws("Bookmarked for this session only")
        open.send("q")
        #expect(open.end() == 0)
      }
    }

    @Test func aStateIsReopenedAndAHostileOneIsSurvived() throws {
      try Program.scratch { folder in
        let file = folder + "/v.attnscope"
        let terminal = try PseudoTerminal([Program.path, Program.sample])
        terminal.sees("exact")
        terminal.send("\u{1b}3..:state \(file)\r")
        terminal.sees("Written to")
        terminal.send("q")
        #expect(terminal.end() == 0)
        let text = try String(contentsOfFile: file, encoding: .utf8)
        #expect(
          text.contains("source ") && text.contains("\nview blocks\n")
            && text.contains("\nhead 2\n"))
        let again = try Program.run("open", "--state", file, "--plain")
        #expect(again.status == 0 && again.output.contains("Layer 12 head 2"), "\(again.error)")
        let hostile = [
          "layer 99\nhead 8\n", "tile 1x1\n", "cursor 5\u{0}\n",
          String(repeating: "(", count: 90_000),
          "window 0-99999999999999999999,0-1\nother file 9\n", "\r\n\r\nview nowhere\r\n", "",
        ]
        for (number, text) in hostile.enumerated() {
          let file = try write(text, folder + "/h\(number)")
          let result = try Program.run("open", Program.sample, "--state", file, "--plain")
          #expect(result.status == 0 && result.seconds < 5, "\(number): \(result.error)")
        }
        let screen = try PseudoTerminal([Program.path, Program.sample, "--state", folder + "/h0"])
        screen.sees("The state file, line 1: this file has layers 0, 12, 18")
        screen.send("q")
        #expect(screen.end() == 0)
        try Data((0..<5000).map { UInt8($0 * 7 & 255) }).write(to: URL(filePath: folder + "/junk"))
        for bad in [folder + "/junk", folder + "/none", folder] {
          let result = try Program.run("open", Program.sample, "--state", bad, "--plain")
          #expect(result.status == 1 && !result.error.isEmpty, "\(bad)")
        }
        let gone = try write("source /no/such/file.npz\nview map\n", folder + "/gone")
        #expect(try Program.run("open", "--state", gone, "--plain").status == 1)
      }
    }

    @Test func theLogHasALineAnEvent() throws {
      try Program.scratch { folder in
        let log = folder + "/log"
        let terminal = try PseudoTerminal([Program.path, Program.sample, "--log", log])
        terminal.sees("exact")
        terminal.send("]")
        terminal.redraws("0.0178")
        terminal.send("q")
        #expect(terminal.end() == 0)
        let lines = try String(contentsOfFile: log, encoding: .utf8).split(separator: "\n")
        #expect(
          lines.contains { $0.hasSuffix(" key ]") } && lines.contains { $0.hasSuffix(" key q") })
        #expect(lines.contains { $0.contains(" answer map") && $0.contains(" after ") }, "\(lines)")
        let times = lines.compactMap { Double($0.split(separator: " ")[0]) }
        #expect(times.count == lines.count && times == times.sorted())
      }
    }

    // MARK: Comparing and plain text

    @Test func compare() throws {
      try Program.scratch { folder in
        let heads = try Program.run("compare", "12.6", "12.8")
        #expect(heads.status == 0, "\(heads.error)")
        for text in ["L12 H6 128x128", "L12 H8 128x128", "17.9 % of 28", "overlap", "moved"] {
          #expect(heads.output.contains(text), "\(text) in \(heads.output)")
        }
        let method = try Program.run("compare", "12.6", "a-shape", "--json")
        let table = try JSONSerialization.jsonObject(with: Data(method.output.utf8))
        let rows = try #require((table as? [String: Any])?["rows"] as? [[String: Any]])
        #expect(rows.first?["name"] as? String == "pruned" && rows.count >= 9)
        let tile = try Program.run("compare", "12.6", "tile 64x64", "--lambda", "0.03")
        #expect(tile.status == 0 && tile.output.contains("64x64"))
        let short = folder + "/short.safetensors"
        let slice = try Program.run("slice", Program.sample, "--tokens", "0-255", "-o", short)
        if slice.status == 0 {
          let files = try Program.run("compare", Program.sample + "@12.6", short + "@12.6")
          #expect(
            files.status == 0 && files.output.contains("short.safetensors L12 H6"), "\(files.error)"
          )
        } else {
          Issue.record("slice: \(slice.error)")
        }
        for (right, words) in [
          ("12.6", "Both sides are the same"), ("99.1", "this file has layers"),
          ("12.99", "heads are 0 to 8"), ("1.2.3", "nothing to compare with"),
        ] {
          let wrong = try Program.run("compare", "12.6", right)
          #expect(wrong.status == 2 && wrong.error.contains(words), "\(right): \(wrong.error)")
        }
        let first = try Program.run("compare", "a-shape", "12.6")
        #expect(first.status == 0 && first.output.contains("a-shape"), "\(first.error)")
      }
    }

    @Test func plainTakesCommandsFromItsInput() throws {
      try Program.scratch { folder in
        let input = try write(
          "lambda 0.1\nheads\nblocks\nsinks\ntokens\ncompare a-shape\nmap\n]]\n<Down>\n:zz\nhelp\nquit\nheads\n",
          folder + "/in")
        let result = try Program.run("open", Program.sample, "--plain", input: input)
        #expect(result.status == 0, "\(result.error)")
        for text in [
          "Layer 12 head 0", "the map.", "Lambda is 0.1", "27 heads of", "its blocks.",
          "where its attention goes.", "the text.", "right is L12 H0 a-shape",
          "Views: map, heads, blocks", "next tile preset",
        ] { #expect(result.output.contains(text), "\(text)") }
        #expect(!result.output.contains("\u{1b}") && !result.output.contains("│"))
        #expect(
          result.output.components(separatedBy: "27 heads of").count == 2, "nothing after quit")
      }
    }

    /// Nothing is guessed, nothing asks back, and only what has changed is said.
    @Test func plainNeverGuesses() throws {
      try Program.scratch { folder in
        let quiet = try Program.run(
          "open", Program.sample, "--plain", input: write("", folder + "/in"))
        let begin = quiet.output.split(separator: "\n").count
        func after(_ lines: String...) throws -> [String] {
          let input = try write(lines.joined(separator: "\n") + "\n", folder + "/in")
          return try Program.run("open", Program.sample, "--plain", input: input).output
            .split(separator: "\n").map(String.init).dropFirst(begin).map { $0 }
        }
        for wrong in ["foo", "next", "row", "next h", "lam"] {
          #expect(try after(wrong) == ["There is no command \"\(wrong)\"; help lists them."])
        }
        // A key that would ask says how to answer at once, and swallows nothing.
        let slash = try after("/", "lambda 0.1")
        #expect(slash.first?.hasPrefix("Write find TEXT") == true, "\(slash)")
        #expect(slash.contains { $0.contains("lambda = 0.1") }, "\(slash)")
        for (key, hint) in [
          ("e", "Write export NAME"), ("g", "Write key 5"), ("M", "Write mark NAME"),
          ("L", "Write method ID"), (":", "Write a command"), ("?", "Write a command"),
        ] { #expect(try after(key).first?.hasPrefix(hint) == true, "\(key)") }
        let found = try after("find lamp")
        #expect(found.contains { $0.hasPrefix("\"lamp\": match 1 of ") }, "\(found)")
        #expect(try after("find").first == "Give it a text: find lamp.")
        // A move of the cursor says the cursor's sentences, and not the head's once more.
        let moved = try after("query 300")
        #expect(moved.contains { $0.contains("query 300") } && moved.count < begin, "\(moved)")
        #expect(!moved.contains { $0.hasPrefix("It is ") })
        #expect(try after("next head").contains { $0.contains("head 1") })
        #expect(try after("lambda 0.01", "lambda 0.01").last?.contains("lambda = 0.01") == true)
        let compare = try after("compare 12.6")
        #expect(compare.contains { $0.contains("on the left") && $0.contains("on the right") })
      }
    }

    // MARK: Completions and the manual

    @Test(arguments: ["bash", "zsh", "fish"]) func completions(_ shell: String) throws {
      let result = try Program.run("completions", shell)
      #expect(result.status == 0 && result.output.contains("attnscope"))
      for command in ["lesson", "compare", "config"] { #expect(result.output.contains(command)) }
    }

    private static func isInstalled(_ program: String) -> Bool {
      FileManager.default.isExecutableFile(atPath: program)
    }

    private func parse(_ shell: String) throws {
      try Program.scratch { folder in
        let script = try Program.run("completions", shell).output
        let file = try write(script, folder + "/completion")
        let parsed = try Program.run(["-n", file], program: "/bin/\(shell)")
        #expect(parsed.status == 0, "\(parsed.error)")
      }
    }

    @Test(.enabled(if: isInstalled("/bin/bash"), "bash is not installed"))
    func bashReadsItsCompletions() throws { try parse("bash") }

    @Test(.enabled(if: isInstalled("/bin/zsh"), "zsh is not installed"))
    func zshReadsItsCompletions() throws { try parse("zsh") }

    @Test(.enabled(if: isInstalled("/bin/fish"), "fish is not installed"))
    func fishReadsItsCompletions() throws { try parse("fish") }

    @Test func theManualHasEverything() throws {
      let result = try Program.run("man")
      #expect(result.status == 0 && result.output.hasPrefix(".TH ATTNSCOPE 1"))
      for action in Action.allCases {
        #expect(result.output.contains("[\(action.rawValue)]"), "\(action)")
      }
      for command in [
        "open", "report", "info", "render", "slice", "run", "capture", "synth", "calibrate",
        "perplexity", "bench", "tokenize", "methods", "compare", "lesson", "notes", "config",
        "completions", "man", "doctor",
      ] { #expect(result.output.contains(".SS \(command)\n"), "\(command)") }
      for command in KeyTable.commands {
        #expect(result.output.contains(command.what.prefix(20).replacing("-", with: "\\-")))
      }
    }

    @Test(.enabled(if: isInstalled("/usr/bin/groff"), "groff is not installed"))
    func theManualIsSetWithoutAWord() throws {
      try Program.scratch { folder in
        let page = try write(try Program.run("man").output, folder + "/attnscope.1")
        let set = try Program.run(
          ["-Kutf8", "-man", "-Tutf8", "-ww", page], program: "/usr/bin/groff")
        #expect(set.status == 0 && set.error.isEmpty, "\(set.error)")
        #expect(set.output.contains("ATTNSCOPE") && set.output.contains("lambda up by a decade"))
      }
    }
  }
}
