import Foundation
import Support
import Testing

extension ProgramTests {
  /// Every command line of the README and of the guide is run as it stands.
  @Suite(.serialized) struct ReadmeTests {
    private static let text = ["/README.md", "/samples/README.md", "/Sources/README.md"].map {
      (try? String(contentsOfFile: checkout() + $0, encoding: .utf8)) ?? ""
    }.joined()

    /// Each once, whichever page it stands on.
    private static let lines: [String] = {
      var seen: Set<String> = []
      return text.split(separator: "\n").filter { $0.hasPrefix("    attnscope ") }.map {
        String($0.dropFirst(4))
      }.filter { seen.insert($0).inserted }
    }()

    /// Words as a shell makes them: blanks part, quotes join.
    private func words(_ line: String) -> [String] {
      var words: [String] = [], word = "", isQuoted = false
      for c in line {
        if c == "\"" {
          isQuoted.toggle()
        } else if c == " ", !isQuoted {
          if !word.isEmpty { words.append(word) }
          word = ""
        } else {
          word.append(c)
        }
      }
      return words + (word.isEmpty ? [] : [word])
    }

    private static func hasModule(_ name: String) -> Bool {
      (try? Program.run(["-c", "python3 -c 'import \(name)'"], program: "/bin/sh").status) == 0
    }

    /// What a line needs beside the program.
    private enum Need: CaseIterable {
      case nothing, model, torch, llama

      /// Baselines are other projects' packages; where they are not installed, there is nothing to
      /// measure against.
      init(_ line: String) {
        let word = line.split(separator: " ").dropFirst().first ?? ""
        if line.contains("--against") {
          self = line.contains("torch") ? .torch : .llama
        } else {
          self = ["run", "capture", "perplexity", "tokenize"].contains(word) ? .model : .nothing
        }
      }
    }

    @Test func everyCommandHasAnExample() throws {
      let help = try Program.run("--help").output
      let list = help[help.range(of: "SUBCOMMANDS:")!.upperBound...]
      let commands = list.split(separator: "\n").compactMap { line -> String? in
        guard line.hasPrefix("  "), let first = line.dropFirst(2).first, first.isLetter else {
          return nil
        }
        return String(line.split(separator: " ")[0])
      }.filter { $0 != "See" }
      #expect(commands.count > 15)
      for command in commands {
        let isShown = Self.lines.contains { $0.hasPrefix("attnscope \(command)") }
        #expect(isShown || Self.text.contains("`attnscope \(command)`"), "no example of \(command)")
      }
    }

    @Test func everyLineThatNeedsNothingRuns() throws { try run(.nothing, atLeast: 10) }

    @Test(
      .enabled(
        if: ProcessInfo.processInfo.environment["ATTNSCOPE_TEST_MODEL"] != nil,
        "ATTNSCOPE_TEST_MODEL names no model; samples/get-model.sh does"))
    func everyLineWithTheModelRuns() throws { try run(.model, atLeast: 4) }

    @Test(.enabled(if: hasModule("torch"), "Python has no torch to measure against"))
    func theBaselineOfTorchRuns() throws { try run(.torch, atLeast: 1) }

    @Test(.enabled(if: hasModule("llama_cpp"), "Python has no llama_cpp to measure against"))
    func theBaselineOfLlamaRuns() throws { try run(.llama, atLeast: 1) }

    private func run(_ need: Need, atLeast least: Int) throws {
      let lines = Self.lines.filter { Need($0) == need }
      #expect(lines.count >= least, "\(need): \(lines.count) lines of the README")
      try Program.scratch { folder in
        try FileManager.default.createSymbolicLink(
          atPath: folder + "/samples", withDestinationPath: checkout() + "/samples")
        for line in lines {
          var words = Array(words(line).dropFirst())
          var input = "/dev/null"
          if let at = words.firstIndex(of: "<") {
            input = folder + "/" + words[at + 1]
            words.removeSubrange(at...at + 1)
          }
          let result = try Program.run(
            ["-c", "cd \"$0\" && exec \"$@\"", folder, Program.path] + words, program: "/bin/sh",
            environment: [
              "XDG_CONFIG_HOME": folder + "/config", "XDG_STATE_HOME": folder + "/state",
            ],
            input: input)
          #expect(result.status == 0, "\(line): \(result.error)")
          #expect(!result.output.isEmpty || !result.error.isEmpty, "\(line) says nothing")
        }
      }
    }
  }
}
