import Foundation
import Testing

extension ProgramTests {
  /// The terminal is whole after every way out, on a real pseudo-terminal.
  @Suite(.serialized) struct TerminalTests {
    private func start(_ environment: [String: String] = [:], _ extra: [String] = []) throws
      -> PseudoTerminal
    {
      let terminal = try PseudoTerminal(
        [Program.path, Program.sample] + extra, environment: environment)
      terminal.sees("Under the cursor")
      return terminal
    }

    private func expectWhole(_ terminal: PseudoTerminal, _ way: String) {
      #expect(terminal.output.contains("\u{1b}[?1049h"), "\(way): the screen was never taken")
      #expect(terminal.screenIsRestored, "\(way): the screen is not restored")
      let marks = terminal.output.range(of: "\u{1b}[?2004", options: .backwards)
      #expect(
        marks.flatMap { terminal.output[$0.upperBound...].first } == "l",
        "\(way): pastes are still marked")
      #expect(terminal.modesAreRestored, "\(way): the modes are not restored")
    }

    @Test func quit() throws {
      let terminal = try start()
      terminal.send("q")
      #expect(terminal.end() == 0)
      expectWhole(terminal, "q")
    }

    @Test func controlCTwice() throws {
      let terminal = try start()
      terminal.sees("exact")
      terminal.send("\u{3}")
      terminal.sees("Nothing to stop")
      terminal.send("\u{3}")
      #expect(terminal.end() == 0)
      expectWhole(terminal, "Ctrl-C")
    }

    /// A signal from elsewhere is a Ctrl-C: one says how to leave, two leave.
    @Test func twoInterruptsFromElsewhere() throws {
      let terminal = try start()
      terminal.sees("exact")
      kill(terminal.child, SIGINT)
      terminal.sees("Nothing to stop")
      kill(terminal.child, SIGINT)
      #expect(terminal.end() == 0)
      expectWhole(terminal, "two signals")
    }

    /// Two that come while the screen is busy are two, though it hears of them at once.
    @Test func twoInterruptsAtOnce() throws {
      let terminal = try start()
      terminal.sees("exact")
      // Nobody reads what it draws: sooner or later it waits in the middle of a frame.
      for _ in 0..<40 {
        terminal.send("\u{c}")
        usleep(50_000)
      }
      usleep(300_000)
      for _ in 0..<2 {
        kill(terminal.child, SIGINT)
        usleep(200_000)
      }
      #expect(terminal.end() == 0)
      expectWhole(terminal, "two signals at once")
    }

    @Test(arguments: [SIGTERM, SIGHUP, SIGSEGV, SIGQUIT, SIGABRT, SIGBUS]) func signals(
      _ signal: Int32
    ) throws {
      let terminal = try start(["SWIFT_BACKTRACE": "enable=no"])
      kill(terminal.child, signal)
      #expect(terminal.end() == 128 + signal)
      expectWhole(terminal, "signal \(signal)")
    }

    @Test(arguments: [
      ("segv", 128 + SIGSEGV), ("trap", 128 + SIGILL), ("abort", 128 + SIGABRT), ("exit", 3),
    ])
    func crashes(_ how: String, _ code: Int32) throws {
      let terminal = try PseudoTerminal(
        [Program.path, Program.sample],
        environment: ["ATTNSCOPE_CRASH": how, "SWIFT_BACKTRACE": "enable=no"])
      #expect(terminal.end() == code)
      expectWhole(terminal, how)
    }

    @Test func controlZAndForeground() throws {
      let terminal = try PseudoTerminal(
        ["/bin/bash", "--norc", "--noprofile", "-i"], environment: ["PS1": "ready> "])
      terminal.sees("ready> ")
      terminal.send("\(Program.path) \(Program.sample)\n")
      terminal.sees("exact")
      terminal.send("\u{1a}")
      terminal.sees("Stopped")
      #expect(terminal.screenIsRestored)
      let mark = terminal.mark
      terminal.send("fg\n")
      terminal.sees("Under the cursor", after: mark)
      #expect(!terminal.screenIsRestored)
      terminal.send("]")
      terminal.redraws("0.0178")
      terminal.leavesToTheShell()
      #expect(terminal.screenIsRestored)
    }

    @Test func aLostTerminalEndsIt() throws {
      let terminal = try start()
      kill(terminal.child, SIGHUP)
      #expect(terminal.end() == 128 + SIGHUP)
    }

    @Test func resizeRedraws() throws {
      let terminal = try start()
      terminal.sees("exact")
      let mark = terminal.mark
      terminal.resize(columns: 50, rows: 8)
      terminal.sees("attnscope needs", after: mark)
      let next = terminal.mark
      terminal.resize(columns: 120, rows: 40)
      terminal.sees("Under the cursor", after: next)
      terminal.send("q")
      #expect(terminal.end() == 0)
    }

    @Test func theMouseMovesTheCursor() throws {
      let terminal = try start()
      terminal.sees("exact")
      terminal.send("\u{1b}[<0;31;15M\u{1b}[<0;31;15m")
      terminal.redraws("block (4,2)")
      terminal.send("q")
      #expect(terminal.end() == 0)
    }

    @Test func unknownSequencesAreNoKeys() throws {
      let terminal = try start()
      terminal.sees("exact")
      terminal.send("\u{1b}[25~\u{1b}[1;9Z")
      terminal.send("\u{1b}[4~")  // End
      terminal.redraws("k 831")
      terminal.redraws("λ=0.01")
      terminal.send("q")
      #expect(terminal.end() == 0)
    }

    /// What is pasted presses nothing, not even Ctrl-Z; a paste without its end is over soon.
    @Test func pastesAreNoKeys() throws {
      let terminal = try start()
      terminal.sees("exact")
      terminal.send("\u{1b}[200~q]]]\u{1a}\u{1c}2\u{1b}[201~")
      terminal.redraws("presses no keys")
      terminal.redraws("λ=0.01")
      terminal.send("/")
      // Nothing is sent until it is there: every key would be pasted, too, and keep it open.
      terminal.send("\u{1b}[200~zyzzyva")
      terminal.sees("zyzzyva")
      terminal.redraws("find: zyzzyva")
      terminal.send("\r")
      terminal.redraws("No token matches")
      terminal.send("q")
      #expect(terminal.end() == 0)
      expectWhole(terminal, "a paste")
    }

    /// Esc and a key in one packet, as a slow line sends them: Esc acts, then the key.
    @Test func escapeAndAKeyInOnePacket() throws {
      let terminal = try start()
      terminal.sees("exact")
      terminal.send(":")
      terminal.redraws("Command")
      terminal.send("\u{1b}4")  // Alt-4
      terminal.redraws("Mass on the first token")
      terminal.send("\u{1b}OR")  // F3
      terminal.redraws("Sparsity")
      terminal.send("?")
      terminal.redraws("Help")
      terminal.send("\u{1b}\u{1b}OS")  // Esc, then F4
      terminal.redraws("Mass on the first token")
      terminal.send("?")
      terminal.redraws("Help")
      terminal.send("\u{1b}q")
      #expect(terminal.end() == 0)
      expectWhole(terminal, "Esc and q")
    }

    @Test func unknownAndDumbTerminals() throws {
      let unknown = try start(["TERM": "xterm-kitty-of-tomorrow"])
      unknown.sees("using xterm-256color")
      unknown.send("q")
      #expect(unknown.end() == 0)
      for term in ["dumb", ""] {
        let dumb = try PseudoTerminal([Program.path, Program.sample], environment: ["TERM": term])
        #expect(dumb.end() == 1)
        #expect(
          dumb.output.contains("cannot place text") && !dumb.output.contains("\u{1b}"),
          "\(dumb.output)")
      }
    }

    /// All colours where the terminal says so by COLORTERM, or the user; else 256, or none.
    @Test(arguments: [
      (["COLORTERM": "truecolor"], [String](), true), (["COLORTERM": "24bit"], [], true),
      ([:], ["--color", "truecolor"], true), (["COLORTERM": "no"], [], false), ([:], [], false),
      (["COLORTERM": "truecolor"], ["--color", "256"], false),
      (["COLORTERM": "truecolor", "NO_COLOR": "1"], [], false),
      (["COLORTERM": "truecolor", "TERM": "xterm-kitty-of-tomorrow"], [], true),
    ]) func trueColours(_ environment: [String: String], _ flags: [String], _ expected: Bool) throws
    {
      let terminal = try start(environment, flags)
      terminal.sees("exact")
      terminal.send("q")
      #expect(terminal.end() == 0)
      expectWhole(terminal, "colours")
      let isDirect = terminal.output.firstMatch(of: /\e\[[0-9;]*[34]8;2;\d+;\d+;\d+m/) != nil
      #expect(isDirect == expected, "\(environment) \(flags)")
      let isIndexed = terminal.output.firstMatch(of: /\e\[[0-9;]*[34]8;5;/) != nil
      #expect(isIndexed == (!expected && environment["NO_COLOR"] == nil))
    }

    /// The page's colour is asked for; the answer turns the ramps, and nothing of it is a key.
    @Test func aLightPageIsFoundOut() throws {
      let terminal = try start()
      #expect(terminal.output.contains("\u{1b}]11;?"))
      terminal.sees("exact")
      terminal.send("\u{1b}]11;rgb:ffff/fdfd/f0f0\u{1b}\\")
      terminal.redraws("Dark: more attention")
      terminal.send("\u{1b}]11;rgb:10/10/20\u{7}")
      terminal.redraws("Bright: more attention")
      terminal.send("\u{1b}]4;1;rgb:10/10/20\u{7}q")
      #expect(terminal.end() == 0)
      let told = try start([:], ["--background", "dark"])
      told.sees("exact")
      told.send("q")
      #expect(told.end() == 0 && !told.output.contains("\u{1b}]11;?"))
    }

    @Test func noColorAndNoUTF8() throws {
      let mono = try start(["NO_COLOR": "1"])
      mono.sees("exact")
      mono.send("q")
      #expect(mono.end() == 0)
      #expect(
        mono.output.firstMatch(of: /\e\[[0-9;]*(?:3|4)8;5;/) == nil, "colours in spite of NO_COLOR")
      let plain = try start(["LC_ALL": "C"])
      plain.sees("exact")
      plain.send("q")
      #expect(plain.end() == 0)
      #expect(plain.output.unicodeScalars.allSatisfy(\.isASCII) && plain.output.contains("@"))
    }

    @Test func aBadFileNeverTakesTheScreen() throws {
      let terminal = try PseudoTerminal([Program.path, "/no/such/file"])
      #expect(terminal.end() == 1)
      #expect(terminal.output.contains("no such file") && !terminal.output.contains("\u{1b}"))
    }

    /// Start to first frame, process start included. The quickest of five, since others may keep
    /// the machine busy; three times as long in a debug build, whose screens are not optimised.
    @Test func theFirstFrameIsSoon() throws {
      var times: [Double] = []
      for _ in 0..<5 {
        let terminal = try PseudoTerminal([Program.path, Program.sample])
        terminal.sees("Under the cursor")
        times.append(terminal.seconds)
        terminal.send("q")
        #expect(terminal.end() == 0)
      }
      let quickest = times.min() ?? .infinity
      print("start to first frame: \(quickest * 1000) ms, quickest of 5")
      #if DEBUG
        #expect(quickest < 0.45)
      #else
        #expect(quickest < 0.15)
      #endif
    }

    /// The real program in tmux, on a socket of its own.
    @Test(.enabled(if: Tmux.isThere, "tmux is not installed")) func insideTmux() throws {
      try Tmux.with("\(Program.path) \(Program.sample)") { tmux in
        try tmux.waitFor("exact")
        for (key, text) in [
          ("2", "Heads 27"), ("Enter", "Under the cursor"), ("M-3", "Sparsity"),
          ("F4", "Mass on the first"), ("?", "Help"), ("Escape", "Keys"),
        ] {
          try tmux.press(key)
          try tmux.waitFor(text)
        }
        try tmux.ask("resize-window", "-t", "s", "-x", "120", "-y", "40")
        try tmux.press("1")
        try tmux.waitFor("rel L2")
        try tmux.press("q")
        try tmux.waitFor("left with 0")
      }
    }

    /// The whole story of a live run with the real model.
    @Test(
      .enabled(if: Tmux.isThere, "tmux is not installed"),
      .enabled(if: RealModel.isThere, "samples/get-model.sh brings the model"))
    func aLiveRunInTmux() throws {
      try Program.scratch { folder in
        let file = folder + "/run.safetensors"
        let run =
          "\(Program.path) run --model \(RealModel.path) --prompt-file \(RealModel.text)"
          + " --lambda 0.01 --shadow dense --paused"
        try Tmux.with(run) { tmux in
          try tmux.waitFor("paused")
          try tmux.press("Space")
          try tmux.waitFor("tokens/s")
          try tmux.waitFor { tmux.decoded($0) >= 12 }
          try tmux.press("Space")
          try tmux.waitFor("paused")
          // Back by six, to the Map of that moment, and on to a branch that prunes all it may. How
          // far the run came is read off the place itself: what the list of decoded tokens says may
          // be behind.
          for back in 1...6 {
            try tmux.press("Left")
            try tmux.waitFor("the place \(back) tokens back") { screen in
              tmux.place(screen).map { $0.of - $0.at == back && $0.of >= 832 + 12 } ?? false
            }
          }
          try tmux.press("1")
          try tmux.waitFor("Under the cursor")
          try tmux.press("M-5")
          for _ in 0..<2 { try tmux.press("}") }
          try tmux.press("B")
          try tmux.waitFor("branch with")
          try tmux.press("Enter")
          try tmux.waitFor("Branch 1")
          try tmux.waitFor { $0.contains("the same for") || $0.contains("differs from token") }
          try tmux.waitFor("KL")
          try tmux.waitFor("paused")
          try tmux.press(":")
          try tmux.press("save \(file)")
          try tmux.press("Enter")
          try tmux.waitFor("Recording saved")
          try tmux.press("q")
          try tmux.waitFor("left with 0")
        }
        let summary = try Program.run("open", file)
        #expect(summary.status == 0 && summary.output.contains("branch 1"), "\(summary.error)")
        try Tmux.with("\(Program.path) \(file)") { tmux in
          try tmux.waitFor("recording")
          try tmux.press("x")
          try tmux.waitFor("Branch 1: lambda 1")
          try tmux.press("Left")
          try tmux.waitFor("recording at")
          try tmux.press("q")
          try tmux.waitFor("left with 0")
        }
      }
    }
  }
}
