import Foundation
import Support
import Testing

extension ProgramTests {
  /// All methods at one budget, and what masks have in common.
  @Suite(.serialized) struct BudgetCommandTests {
    private func object(_ result: Program.Result) throws -> [String: Any] {
      try #require(
        try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [String: Any],
        "\(result.error)")
    }

    /// What is said of a setting is what the report says of it.
    @Test func aRowIsTheReportOfItsSetting() throws {
      let result = try Program.run(
        "compare", Program.sample + "@12.6", "--methods", "top-k,a-shape,dense,hip:mask_k=64",
        "--budget", "0.5", "--json")
      #expect(result.status == 0, "\(result.error)")
      let found = try object(result)
      let rows = try #require(found["methods"] as? [[String: Any]])
      #expect(rows.count == 3)
      let out = try #require(found["left_out"] as? [[String: Any]])
      #expect(out.count == 1 && out[0]["method"] as? String == "dense")
      // By recall; what does not reach the budget stands behind.
      let places = rows.compactMap { row -> Double? in
        guard let recall = row["recall_mean"] as? Double else { return nil }
        return (row["reached"] as? Bool == true ? 1 : 0) + recall / 2
      }
      #expect(places.count == 3 && places == places.sorted(by: >))
      for row in rows {
        let setting = try #require(row["setting"] as? String)
        let report = try Program.run(
          "report", Program.sample, "--layers", "12", "--heads", "6", "--method", setting, "--json")
        let heads = try #require(try object(report)["heads"] as? [[String: Any]])
        let numbers = try #require(heads[0]["numbers"] as? [String: Any])
        for name in ["tile_density", "density", "recall_mean", "recall_min", "error", "oracle_gap"]
        {
          let (a, b) = (row[name] as? Double, numbers[name] as? Double)
          #expect(
            a != nil && a == b,
            "\(setting) \(name): \(String(describing: a)) \(String(describing: b))")
        }
        if setting.hasPrefix("hip") {
          #expect(row["knob"] is NSNull && setting == "hip:mask_k=64")
        } else {
          let density = try #require(row["tile_density"] as? Double)
          #expect(row["reached"] as? Bool == true && abs(density - 0.5) <= 0.025, "\(row)")
        }
      }
    }

    @Test func everyMethodHasARowOrAReason() throws {
      let result = try Program.run("compare", "12.6", "--methods", "all", "--budget", "0.05")
      #expect(result.status == 0, "\(result.error)")
      // A causal map of 832 tokens has a diagonal of 13 tiles in 91.
      #expect(result.output.contains("reaches is 14.3 %") && result.output.contains("recall"))
      let csv = try Program.run(
        "compare", Program.sample, "--layer", "12", "--heads", "0,6", "--methods", "top-k,top-p",
        "--budget", "0.4", "--csv")
      let lines = csv.output.split(separator: "\n")
      #expect(lines.count == 3 && lines[0].hasPrefix("file,heads,budget,per,method,setting"))
    }

    /// The figure's numbers are the command's.
    @Test func theFigureHasTheCommandsRows() throws {
      try Program.scratch { folder in
        let paths = ["svg", "csv", "html"].map { folder + "/budget." + $0 }
        let small = folder + "/small.safetensors"
        let cut = try Program.run(
          "slice", Program.sample, "--layers", "12", "--tokens", "0-255", "-o", small)
        #expect(cut.status == 0, "\(cut.error)")
        let drawn = try Program.run(
          "render", small, "--layer", "12", "--head", "6", "--view", "budget", "--set",
          "budget=0.5", "-o", paths[0], "--data", paths[1])
        #expect(drawn.status == 0, "\(drawn.error)")
        let svg = try String(contentsOfFile: paths[0], encoding: .utf8)
        #expect(svg.contains("Methods at 50.0 % of 64x64 tiles"))
        let compared = try Program.run(
          "compare", small + "@12.6", "--methods", "all", "--budget", "0.5", "--csv")
        let data = try String(contentsOfFile: paths[1], encoding: .utf8)
        let rows = data.split(separator: "\n"), said = compared.output.split(separator: "\n")
        #expect(rows.count == said.count && rows.count > 20)
        for (row, line) in zip(rows, said) { #expect(line.hasSuffix(row), "\(row)") }
      }
    }

    @Test(arguments: [
      (["compare", "12.6"], "Give two sides"), (["compare", "12.6", "12.7", "--csv"], "go with"),
      (["compare", "--methods", "all", "--budget", "0"], "share above 0"),
      (["compare", "--methods", "nothing"], "there is no method"),
      (["report", "--overlap", "methods", "--method", "top-k"], "two --method"),
      (["report", "--overlap", "heads", "--recall", "0.5"], "goes with --overlap layers"),
    ]) func whatDoesNotGoTogetherIsRefused(_ arguments: [String], _ words: String) throws {
      let result = try Program.run(arguments)
      #expect(result.status != 0 && result.error.contains(words), "\(result.error)")
    }

    @Test func overlapsAreSymmetricAndOneOnTheDiagonal() throws {
      for along in ["layers", "heads"] {
        let result = try Program.run(
          "report", Program.sample, "--heads", "3,6", "--overlap", along, "--method", "top-k:k=32",
          "--json")
        #expect(result.status == 0, "\(result.error)")
        let name = along == "layers" ? "overlap" : "overlap_12"
        let field = try #require(try object(result)[name] as? [String: Any])
        let values = try #require(field["values"] as? [[Double]])
        for (a, row) in values.enumerated() {
          for (b, value) in row.enumerated() {
            #expect(value == values[b][a] && (0...1).contains(value) && (a != b || value == 1))
          }
        }
      }
    }

    @Test func stepsComeWithABufferAndAField() throws {
      try Program.scratch { folder in
        let path = folder + "/overlap.safetensors"
        let result = try Program.run(
          "report", Program.sample, "--layers", "12", "--heads", "6", "--overlap", "steps",
          "--method", "top-k:k=32", "--json", "--fields", path)
        #expect(result.status == 0, "\(result.error)")
        let curve = try #require(try object(result)["working_set"] as? [[Double]])
        #expect(curve.last?[0] == 832 && curve.last?[1] == 1)
        #expect(zip(curve, curve.dropFirst()).allSatisfy { $0[1] <= $1[1] })
        let bytes = try Data(contentsOf: URL(filePath: path))
        #expect(bytes.count > 832 * 832 * 4)
        #expect(bytes.prefix(2000).range(of: Data("overlap.top-k.overlap".utf8)) != nil)
      }
    }
  }
}
