import Formats
import Foundation
import Support
import Testing

/// Files that are nearly what they seem: what is said of them is true, and says what to do.
extension ProgramTests {
  @Suite struct DoubtfulFileTests {
    /// Floats row by row in a file of their own.
    private func npy(
      _ values: [Float], _ shape: [Int], _ body: (String) throws -> Void
    ) throws {
      try Program.scratch { folder in
        try writeNpy(
          ArrayToWrite("x", floats: values, shape: shape), to: folder + "/x.npy", force: false)
        try body(folder + "/x.npy")
      }
    }

    /// A mistyped command is read as a file; what no command is near to is a file that is missing.
    @Test(arguments: [("opne", "open"), ("reprot", "report"), ("lesons", "lesson")])
    func aMistypedCommandIsNamed(_ word: String, _ meant: String) throws {
      let result = try Program.run(word, Program.sample)
      #expect(result.status == 2 && result.error.contains("Did you mean \(meant)?"), "\(result)")
      let missing = try Program.run("nofile")
      #expect(missing.status == 1 && missing.error.contains("there is no such file"))
    }

    /// Whole numbers are a mask only when they are those of a mask.
    @Test func countsAreNoMask() throws {
      try Program.scratch { folder in
        let path = folder + "/count.npy"
        try writeNpy(
          ArrayToWrite("x", int32: Array(0..<16), shape: [4, 4]), to: path, force: false)
        let result = try Program.run("info", path)
        #expect(result.status == 1, "\(result.output)")
        #expect(
          result.error.contains("whole numbers from 0 to 15") && result.error.contains("--kind"),
          "\(result.error)")
        #expect(try Program.run("info", path, "--kind", "scores").status == 0)
        let mask = folder + "/mask.npy"
        try writeNpy(
          ArrayToWrite("x", int32: [1, 0, 1, 1], shape: [2, 2]), to: mask, force: false)
        #expect(try Program.run("info", mask).output.contains("block masks"))
      }
      // Floats above 1 cannot be shares of a row.
      try npy((0..<16).map { Float($0) + 0.5 }, [4, 4]) { path in
        let said = try Program.run("info", path).output
        #expect(said.contains("attention scores"), "\(said)")
      }
    }

    /// A name that a .npy cannot have is not asked for.
    @Test func aVectorIsCalledOne() throws {
      try npy([1, 2, 3], [3]) { path in
        let result = try Program.run("info", path)
        #expect(result.status == 1 && result.error.contains("vectors"), "\(result.error)")
        #expect(!result.error.contains("layers.0.q"), "\(result.error)")
      }
    }

    /// A row of NaN is counted once, for what it is; the others still have a pattern.
    @Test func aRowThatIsNoNumberIsSaidOnce() throws {
      var values = [Float](repeating: 0, count: 64)
      for row in 0..<8 { for key in 0...row { values[8 * row + key] = 1 / Float(row + 1) } }
      for key in 0...5 { values[8 * 5 + key] = .nan }
      try npy(values, [8, 8]) { path in
        let info = try Program.run("info", path, "--kind", "pattern").output
        #expect(info.contains("6 NaN or infinite values, first at pattern[5][0]"), "\(info)")
        let report = try Program.run("report", path, "--kind", "pattern").output
        #expect(report.contains("6 NaN"), "\(report)")
        #expect(!report.contains("do not sum to 1") && !report.contains("nan"), "\(report)")
        let table = try Program.run("info", path, "--kind", "pattern", "--json").output
        #expect(table.contains("\"doubts\""))
      }
      try npy([Float](repeating: .nan, count: 16), [4, 4]) { path in
        let text = try Program.run("open", path, "--kind", "pattern", "--plain").output
        #expect(text.contains("not known: no row adds up"), "\(text)")
      }
    }

    /// Masks without margins are what they are, whatever the threshold.
    @Test func aStoredMaskHasNoLambda() throws {
      try Program.scratch { folder in
        let path = folder + "/mask.npy"
        try writeNpy(
          ArrayToWrite("x", int32: [1, 0, 1, 1], shape: [2, 2]), to: path, force: false)
        let text = try Program.run("report", path, "--lambda", "0.1").output
        #expect(text.contains("the file's own masks, tile 128x128"), "\(text)")
        #expect(!text.contains("lambda"), "\(text)")
      }
    }

    /// What a method lacks is said with its name and the file's.
    @Test func whatIsMissingIsNamed() throws {
      let result = try Program.run("report", Program.sample, "--method", "adaptinfer")
      #expect(result.status == 1)
      #expect(
        result.error.contains("adaptinfer needs token roles")
          && result.error.contains("smollm2-log-832"), "\(result.error)")
    }

    /// Two recalls in one row have two names, and a share that is written as one says so.
    @Test func columnsHaveNamesOfTheirOwn() throws {
      let text = try Program.run(
        "report", Program.sample, "--layers", "12", "--heads", "6", "--method", "a-shape"
      ).output
      let head = try #require(text.split(separator: "\n").first { $0.hasPrefix("layer") })
      let names = head.split(separator: " ").map(String.init)
      #expect(names.count == Set(names).count && !names.contains("recall"), "\(head)")
      #expect(names.contains("its_recall") && names.contains("dropped(0-1)"), "\(head)")
      #expect(text.contains("99.0 %"), "\(text)")
    }

    /// The histogram of a figure: what is skipped is coloured so, within a bin as well.
    @Test func barsOfSkippedBlocksAreAllInTheirColour() throws {
      try Program.scratch { folder in
        let path = folder + "/blocks.svg"
        let flags = ["--layer", "12", "--head", "6", "--lambda", "0.1", "-o", path]
        #expect(
          try Program.run(["render", Program.sample, "--view", "blocks"] + flags).status == 0)
        let svg = try String(contentsOfFile: path, encoding: .utf8)
        // ln 0.1 lies within the bin -3...-2, which holds three skipped blocks.
        let bars = svg.split(separator: "\n").filter {
          // Bars alone are so narrow, and not square.
          $0.hasPrefix("<rect") && !$0.contains("stroke=") && $0.contains(#/ width="8\.9/#)
        }
        func height(_ line: Substring) -> Double? {
          line.firstMatch(of: #/ height="([0-9.]+)"/#).flatMap { Double($0.output.1) }
        }
        let colours = Dictionary(grouping: bars) { line in
          line.firstMatch(of: #/fill="(#[0-9a-f]+)"/#).map { String($0.output.1) } ?? ""
        }
        #expect(svg.contains("11 of 28 blocks are skipped"), "\(svg.suffix(900))")
        let pruned = try #require(
          svg.firstMatch(of: #/fill="(#[0-9a-f]+)"[^>]*>ln λ/#).map { String($0.output.1) })
        let heights = (colours[pruned] ?? []).compactMap(height)
        let least = try #require(heights.min())
        #expect((heights.reduce(0, +) / least).rounded() == 11, "\(heights)")
      }
    }
  }
}
