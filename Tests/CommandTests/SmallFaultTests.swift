import Foundation
import Support
import Testing

extension ProgramTests {
  /// Small things that people stumbled over, each once.
  @Suite struct SmallFaultTests {
    /// A state file whose dump has moved says how to open the one that is there.
    @Test func aStateWhoseDumpHasMovedSaysWhatHelps() throws {
      try Program.scratch { folder in
        let state = folder + "/view"
        try "source \(folder)/gone.safetensors\nview map\n".write(
          toFile: state, atomically: true, encoding: .utf8)
        let gone = try Program.run("--state", state, "--plain")
        let help = "attnscope --state \(state) FILE"
        #expect(gone.status == 1 && gone.error.contains(help), "\(gone.error)")
        let here = try Program.run("--state", state, Program.sample, "--plain")
        #expect(here.status == 0 && here.output.contains("the map."), "\(here.error)")
        // A file that was typed is the person's own mistake.
        let typed = try Program.run(folder + "/typed", "--plain")
        #expect(!typed.error.contains("--state"), "\(typed.error)")
      }
    }

    /// One is not many.
    @Test func oneOfAThingIsCalledOne() throws {
      try Program.scratch { folder in
        let one = folder + "/one.safetensors"
        let cut = try Program.run(
          "slice", Program.sample, "--layers", "12", "--heads", "6-8", "--tokens", "1", "-o", one)
        #expect(cut.error.contains("1 layer, 1 query by 1 key\n"), "\(cut.error)")
        let info = try Program.run("info", one)
        #expect(info.output.contains("1 query x 1 key,"), "\(info.output)")
        #expect(info.output.contains("3 query heads over 1 KV head,"), "\(info.output)")
        let summary = try Program.run("open", one)
        #expect(summary.output.contains("of 3 heads in 1 layer, 1 query by 1 key"), "\(summary)")
      }
    }

    /// Whoever stands before a projector chooses a theme for one session; its frames are not dim.
    @Test func aThemeIsChosenForASession() throws {
      let wrong = try Program.run("open", Program.sample, "--theme", "loud")
      #expect(wrong.status == 2 && wrong.error.contains("contrast"), "\(wrong.error)")
      func frame(_ arguments: String...) throws -> String {
        let terminal = try PseudoTerminal([Program.path, Program.sample] + arguments)
        terminal.sees("Under the cursor")
        terminal.send("q")
        #expect(terminal.end() == 0)
        return terminal.output
      }
      // The accents of both, as colours of the palette.
      #expect(try frame().contains("38;5;75"))
      #expect(try frame("--theme", "contrast").contains("38;5;229"))
    }

    /// Behind --method, --tile and lesson a shell offers what there is.
    @Test func shellsOfferValues() throws {
      let script = try Program.run("completions", "bash").output
      #expect(script.contains("modelopt'$'\\n''hopper"), "no tiles")
      #expect(script.contains("---completion report -- --method"), "no methods")
      #expect(script.contains("---completion lesson play -- positional@0"), "no lessons")
      let methods = try Program.run("---completion", "report", "--", "--method", "0", "0", "")
      #expect(methods.output.contains("a-shape\n"), "\(methods)")
    }
  }
}
