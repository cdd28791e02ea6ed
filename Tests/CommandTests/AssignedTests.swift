import Foundation
import Testing

extension ProgramTests {
  /// MInference's table beside a dump: `--patterns`.
  @Suite struct AssignedTests {
    /// Layers 0 to 12; of layer 12 all heads but the last.
    private static func table(_ names: [String]) -> String {
      let heads = (0..<8).map { head in
        "\"\(head)\": [\"\(names[head % names.count])\", \(100 * head), 6096, 0.\(90 + head)]"
      }
      let layers = Array(repeating: "{}", count: 12) + ["{\(heads.joined(separator: ", "))}"]
      return "[\(layers.joined(separator: ", "))]"
    }

    private func with(_ text: String, _ body: (String) throws -> Void) throws {
      try Program.scratch { folder in
        let path = folder + "/table.json"
        try text.write(toFile: path, atomically: true, encoding: .utf8)
        try body(path)
      }
    }

    private func object(_ text: String) throws -> [String: Any] {
      try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
    }

    @Test func reportsSayBothPatterns() throws {
      try with(Self.table(["vertical_and_slash", "stream_llm"])) { path in
        let report = ["report", Program.sample, "--layers", "12", "--patterns", path]
        let text = try Program.run(report)
        #expect(text.status == 0, "\(text.error)")
        let lines = text.output.split(separator: "\n").map(String.init)
        let heading = try #require(lines.first { $0.contains("its_recall") })
        #expect(heading.contains("assigned"))
        let first = try #require(lines.first { $0.contains("vertical-slash 0+6096") })
        #expect(first.contains("12"), "\(text.output)")
        #expect(text.output.contains("a-shape 100+6096"))
        let json = try object(try Program.run(report + ["--json"]).output)
        let heads = try #require(json["heads"] as? [[String: Any]])
        let one = try #require(heads[1]["assigned"] as? [String: Any])
        #expect(one["label"] as? String == "a-shape" && one["pattern"] as? String == "stream_llm")
        #expect(one["score"] as? Double == 0.91)
        #expect(heads[8]["assigned"] is NSNull, "the table does not speak of head 8")
        #expect((heads[1]["numbers"] as? [String: Any])?["assigned_score"] as? Double == 0.91)
        let csv = try Program.run(report + ["--csv"]).output.split(separator: "\n")
        #expect(csv[0].hasSuffix(",assigned") && csv[2].hasSuffix(",a-shape"), "\(csv[2])")
        let plain = try Program.run("report", Program.sample, "--layers", "12")
        #expect(!plain.output.contains("assigned"))
      }
    }

    @Test func infoAndSentencesNameThem() throws {
      try with(Self.table(["block_sparse"])) { path in
        let info = try Program.run("info", Program.sample, "--patterns", path)
        #expect(info.output.contains("layer 12: 8 of 9 heads: 8 block-sparse"), "\(info.output)")
        let json = try object(
          try Program.run("info", Program.sample, "--patterns", path, "--json").output)
        #expect((json["assigned"] as? [Any])?.count == 8)
      }
    }

    /// A slice's heads are those of the model.
    @Test func slicesKeepTheirNumbers() throws {
      try with(Self.table(["vertical_and_slash"])) { path in
        try Program.scratch { folder in
          let slice = folder + "/slice.safetensors"
          _ = try Program.run(
            "slice", Program.sample, "--layers", "12", "--heads", "6-8", "-o", slice)
          let text = try Program.run("report", slice, "--patterns", path).output
          #expect(text.contains("vertical-slash 600+6096"), "\(text)")
          #expect(!text.contains("vertical-slash 0+6096"), "\(text)")
        }
      }
    }

    /// What is no table, and one of other heads, is refused with what to do.
    @Test(arguments: [
      ("[]", "no table of patterns"), ("{\"0\": 3}", "no table of patterns"),
      ("[{\"x\": [\"stream_llm\", 1]}]", "layer 0 has 'x'"),
      ("[{\"0\": [3]}]", "layer 0 has '0'"), ("[{}, {}]", "of 2 layers"),
    ]) func otherFilesAreRefused(_ text: String, _ words: String) throws {
      try with(text) { path in
        let result = try Program.run("report", Program.sample, "--patterns", path)
        #expect(result.status == 1 && result.error.contains(words), "\(result.error)")
      }
    }
  }
}
