import Foundation
import Testing

extension ProgramTests {
  /// Every way out of the screen, and every way to leave it for a while, on real
  /// pseudo-terminals: afterwards the terminal is whole.
  @Suite(.serialized) struct WaysOutTests {
    static func expectWhole(_ terminal: PseudoTerminal, _ way: String) {
      #expect(terminal.output.contains("\u{1b}[?1049h"), "\(way): the screen was never taken")
      for (on, off) in [
        ("[?1049h", "[?1049l"), ("[?25l", "[?25h"), ("[?1000h", "[?1000l"),
        ("[?1002h", "[?1002l"), ("[?1006h", "[?1006l"), ("[?2004h", "[?2004l"),
      ] {
        let last = terminal.output.range(of: "\u{1b}" + on, options: .backwards)
        let end = terminal.output.range(of: "\u{1b}" + off, options: .backwards)
        guard let last else { continue }
        #expect(end.map { $0.lowerBound > last.lowerBound } ?? false, "\(way): left with \(on)")
      }
      #expect(terminal.modesAreRestored, "\(way): the modes are not restored")
    }

    /// Whether the program ends within so many seconds although nobody reads what it writes.
    static func endsUnread(_ terminal: PseudoTerminal, seconds: Double) -> Bool {
      let limit = ContinuousClock.now + .seconds(seconds)
      while ContinuousClock.now < limit {
        var info = siginfo_t()
        // It is left to be waited for by whoever asks how it ended.
        let found = waitid(P_PID, id_t(terminal.child), &info, WEXITED | WNOHANG | WNOWAIT)
        if found == 0, info.si_signo != 0 { return true }
        usleep(10_000)
      }
      return false
    }

    private func start(
      _ environment: [String: String] = ["SWIFT_BACKTRACE": "enable=no"],
      sees: String = "Under the cursor"
    ) throws -> PseudoTerminal {
      let terminal = try PseudoTerminal([Program.path, Program.sample], environment: environment)
      terminal.sees(sees)
      return terminal
    }

    /// What is done, and with which code the program then ends.
    enum Way: CustomTestStringConvertible {
      case keys([(send: String, sees: String)], Int32)
      case signal(Int32)
      case twice(Int32)
      case hook(String, Int32)
      case toolchain(Int32)

      var testDescription: String {
        switch self {
        case .keys(let keys, _): "\(keys.map(\.send))"
        case .signal(let number): "signal \(number)"
        case .twice(let number): "signal \(number), twice"
        case .hook(let how, _): how
        case .toolchain(let number): "signal \(number), with crash reports"
        }
      }
    }

    private static let ways: [Way] = [
      .keys([("q", "")], 0), .keys([("\u{3}", "Nothing to stop"), ("\u{3}", "")], 0),
      .keys([("\u{1b}q", "")], 0), .twice(SIGINT), .signal(SIGTERM), .signal(SIGHUP),
      .signal(SIGQUIT), .signal(SIGSEGV), .hook("segv", 128 + SIGSEGV),
      .hook("trap", 128 + SIGILL), .hook("abort", 128 + SIGABRT), .hook("exit", 3),
      .toolchain(SIGQUIT), .toolchain(SIGSEGV),
    ]

    /// Signals that few programs think of, of those that `guard.c` lists; 34 and 64 have no name.
    private static let others: [Way] = [
      SIGUSR1, SIGALRM, SIGXCPU, SIGPROF, SIGIO, SIGSYS, 34, 64,
    ].map(Way.signal)

    @Test(arguments: ways + others) func theTerminalIsWhole(_ way: Way) throws {
      var code: Int32 = 0
      let terminal: PseudoTerminal
      switch way {
      case .keys(let keys, let expected):
        terminal = try start(sees: "exact")
        for key in keys {
          terminal.send(key.send)
          if !key.sees.isEmpty { terminal.sees(key.sees) }
        }
        code = expected
      case .signal(let number):
        terminal = try start()
        kill(terminal.child, number)
        code = 128 + number
      case .twice(let number):
        terminal = try start(sees: "exact")
        kill(terminal.child, number)
        terminal.sees("Nothing to stop")
        kill(terminal.child, number)
      case .hook(let how, let expected):
        terminal = try PseudoTerminal(
          [Program.path, Program.sample],
          environment: ["ATTNSCOPE_CRASH": how, "SWIFT_BACKTRACE": "enable=no"])
        code = expected
      case .toolchain(let number):
        terminal = try start(["SWIFT_BACKTRACE": "enable=yes,interactive=yes,timeout=30s"])
        kill(terminal.child, number)
        #expect(Self.endsUnread(terminal, seconds: 10), "\(way): it lives on")
        code = 128 + number
      }
      #expect(terminal.end() == code, "\(way)")
      Self.expectWhole(terminal, way.testDescription)
    }

    /// Fills what lies between the program and a terminal that nobody reads any more.
    private func stopReading(_ terminal: PseudoTerminal) {
      for _ in 0..<25 {
        terminal.send("\u{c}")
        usleep(40_000)
      }
    }

    /// Nobody reads: a slow line that has died, a terminal that was stopped. Two seconds are enough
    /// for a second of waiting whether somebody reads after all.
    @Test(arguments: [nil, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1]) func nobodyReads(_ number: Int32?)
      throws
    {
      let terminal = try start()
      stopReading(terminal)
      if let number { kill(terminal.child, number) } else { terminal.send("q") }
      #expect(Self.endsUnread(terminal, seconds: Program.isRelease ? 2 : 4), "it waits")
      #expect(terminal.end() == (number.map { 128 + $0 } ?? 0))
      Self.expectWhole(terminal, "nobody reads")
    }

    /// Whoever reads again finds a whole screen, and the keys that were pressed meanwhile.
    @Test func aReaderThatComesBackSeesTheScreen() throws {
      let terminal = try start()
      stopReading(terminal)
      terminal.send("]")
      usleep(1_500_000)  // nobody reads, and a key waits
      terminal.redraws("0.0178")
      terminal.redraws("Under the cursor")
      terminal.send("q")
      #expect(terminal.end() == 0)
      Self.expectWhole(terminal, "read again")
    }

    // MARK: Job control

    private func shell() throws -> PseudoTerminal {
      let terminal = try PseudoTerminal(
        ["/bin/bash", "--norc", "--noprofile", "-i"],
        environment: ["PS1": "ready> ", "PROMPT_COMMAND": ""])
      terminal.sees("ready> ")
      // A job that stops is told at once.
      terminal.send("set -b\n")
      return terminal
    }

    private func after(_ mark: Int, _ terminal: PseudoTerminal) -> String {
      String(decoding: terminal.output.utf8.dropFirst(mark), as: UTF8.self)
    }

    /// Does it, waits until the shell says that the job has stopped, and expects that nothing of
    /// the screen was drawn.
    private func stops(_ command: String, _ terminal: PseudoTerminal) {
      let mark = terminal.mark
      terminal.send(command + "\n")
      terminal.sees("topped", after: mark)
      // Whatever is drawn after it was told that it stopped is here by the next answer.
      terminal.send("echo a''nswer\n")
      terminal.sees("answer", after: mark)
      let drawn = after(mark, terminal)
      for sign in ["\u{1b}[?1049h", "\u{1b}[?1000h", "\u{1b}]11;", "attnscope  "] {
        #expect(!drawn.contains(sign), "\(command) draws \(sign.debugDescription)")
      }
    }

    private func comesBack(_ terminal: PseudoTerminal) {
      let mark = terminal.mark
      terminal.send("fg\n")
      terminal.sees("Under the cursor", after: mark)
    }

    /// In the background it waits, as vi, less and top do; in front its keys work at once.
    @Test func inTheBackgroundItStops() throws {
      let terminal = try shell()
      stops("\(Program.path) \(Program.sample) &", terminal)
      comesBack(terminal)
      terminal.sees("exact")
      terminal.send("]")
      terminal.redraws("0.0178")
      let suspended = terminal.mark
      terminal.send("\u{1a}")
      terminal.sees("topped", after: suspended)
      for _ in 0..<2 { stops("bg", terminal) }
      comesBack(terminal)
      terminal.send("[")
      terminal.redraws("λ=0.01")
      terminal.leavesToTheShell()
      Self.expectWhole(terminal, "job control")
    }

    /// A stop that nobody announced: the shell takes the modes, and what is told to go on in the
    /// background waits for the front.
    @Test func aStopFromElsewhere() throws {
      let terminal = try shell()
      stops("\(Program.path) \(Program.sample) & echo number $!.", terminal)
      let number = try #require(
        terminal.output.firstMatch(of: /number (\d+)\./).flatMap { pid_t($0.1) })
      comesBack(terminal)
      terminal.sees("exact")
      let mark = terminal.mark
      kill(number, SIGSTOP)
      terminal.sees("topped", after: mark)
      stops("bg", terminal)
      comesBack(terminal)
      terminal.send("]")
      terminal.redraws("0.0178")
      terminal.leavesToTheShell()
      Self.expectWhole(terminal, "a stop from elsewhere")
    }
  }
}
