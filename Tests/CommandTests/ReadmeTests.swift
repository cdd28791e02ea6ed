import Foundation
import Support
import Testing

extension ProgramTests {
  /// Every command line of the README is run as it stands.
  @Suite(.serialized) struct ReadmeTests {
    private static let lines: [String] = {
      let text = (try? String(contentsOfFile: checkout() + "/README.md", encoding: .utf8)) ?? ""
      return text.split(separator: "\n").filter { $0.hasPrefix("    attnscope ") }.map {
        String($0.dropFirst(4))
      }
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

    private func hasModule(_ name: String) -> Bool {
      (try? Program.run(["-c", "python3 -c 'import \(name)'"], program: "/bin/sh").status) == 0
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
      let text = try String(contentsOfFile: checkout() + "/README.md", encoding: .utf8)
      for command in commands {
        let isShown = Self.lines.contains { $0.hasPrefix("attnscope \(command)") }
        #expect(isShown || text.contains("`attnscope \(command)`"), "no example of \(command)")
      }
    }

    @Test(.enabled(if: Program.isRelease, "in release, where the model is fast"))
    func everyLineRuns() throws {
      #expect(Self.lines.count > 20)
      let hasModel = ProcessInfo.processInfo.environment["ATTNSCOPE_TEST_MODEL"] != nil
      try Program.scratch { folder in
        try FileManager.default.createSymbolicLink(
          atPath: folder + "/samples", withDestinationPath: checkout() + "/samples")
        for line in Self.lines {
          var words = Array(words(line).dropFirst())
          // Baselines are other projects' packages; where they are not installed, there is nothing to measure against.
          if line.contains("--against"), !hasModule(line.contains("torch") ? "torch" : "llama_cpp")
          {
            continue
          }
          if !hasModel, ["run", "capture", "perplexity", "tokenize"].contains(words[0]) {
            continue
          }
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
