import Foundation
import Support
import Testing

extension ProgramTests {
  /// synth, calibrate and bench, as scripts use them.
  @Suite(.serialized) struct ScaleTests {
    private func object(_ text: String) throws -> [String: Any] {
      try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
    }

    @Test func synthWritesTheSameBytesTwice() throws {
      try Program.scratch { folder in
        func write(_ name: String, _ more: String...) throws -> Data {
          let path = "\(folder)/\(name).safetensors"
          let result = try Program.run(
            ["synth", "--tokens", "9000", "--heads", "4", "--kv-heads", "2", "-o", path] + more)
          #expect(result.status == 0, "\(result.error)")
          return try Data(contentsOf: URL(filePath: path))
        }
        let (a, b, c) = (try write("a"), try write("b"), try write("c", "--seed", "2"))
        #expect(a == b && a != c)
        let info = try Program.run("info", folder + "/a.safetensors", "--json")
        #expect(info.status == 0 && info.output.contains("9000"))
        let again = try Program.run("synth", "-o", folder + "/a.safetensors")
        #expect(again.status == 1 && again.error.contains("--force"))
        #expect(try Program.run("synth", "--tokens", "0", "-o", "x.safetensors").status == 2)
        #expect(
          try Program.run("synth", "--heads", "4", "--kv-heads", "3", "-o", "x.safetensors").status
            == 2)
      }
    }

    /// What is read from part of a long head's rows says so, and from how many; the rest is exact.
    @Test func longHeadsSayWhatIsSampled() throws {
      try Program.scratch { folder in
        let long = folder + "/long.safetensors"
        #expect(
          try Program.run(
            "synth", "--tokens", "11600", "--heads", "1", "--dim", "16", "-o", long
          ).status == 0)
        let json = try object(try Program.run("report", long, "--json").output)
        let head = try #require((json["heads"] as? [[String: Any]])?.first)
        let rows = try #require(head["sampled_rows"] as? Int)
        #expect(rows > 1000 && rows < 11600)
        let total = try #require(json["total"] as? [String: Any])
        #expect((total["sink_rate"] as? [String: Any])?["sampled_rows"] as? Int == rows)
        let text = try Program.run("report", long).output
        #expect(text.contains("(~) are read from \(rows) of 11600 rows"))
        #expect(text.split(separator: "~").count == 7)
        let table = try Program.run("report", long, "--csv").output.split(separator: "\n")
        let place = try #require(
          table[0].split(separator: ",").firstIndex(of: "sampled_rows"))
        let cells = table[1].split(separator: ",", omittingEmptySubsequences: false)
        #expect(cells[place] == "\(rows)")
        #expect(try Program.run("open", long).output.contains("(read from \(rows) rows)"))
      }
      let short = try Program.run("report", Program.sample, "--layers", "12", "--heads", "0")
      #expect(!short.output.contains("~"))
    }

    @Test func thePublishedTableIsFittedAsPublished() throws {
      let table = checkout() + "/samples/skip-softmax-qwen3-30b-a3b.csv"
      let result = try Program.run("calibrate", "--points", table, "--json")
      #expect(result.status == 0, "\(result.error)")
      let fits = try #require(try object(result.output)["fits"] as? [String: [String: Any]])
      for (phase, a, b) in [("prefill", 7.88, 8.62), ("decode", 0.1195, 9.86)] {
        let fit = try #require(fits[phase])
        #expect(abs((fit["a"] as? Double ?? 0) / a - 1) < 0.01)
        #expect(abs((fit["b"] as? Double ?? 0) / b - 1) < 0.01)
      }
    }

    /// However a table's lines end, and with its columns named, it is the same table.
    @Test func tablesComeFromSpreadsheetsToo() throws {
      let path = checkout() + "/samples/skip-softmax-qwen3-30b-a3b.csv"
      let table = try String(contentsOfFile: path, encoding: .utf8)
      let fits = try Program.run("calibrate", "--points", path, "--json").output
      let heading = "Target sparsity;Prefill factor;Decode factor\n"
      try Program.scratch { folder in
        let file = folder + "/skip-softmax-qwen3-30b-a3b.csv"
        func read(_ text: String) throws -> Program.Result {
          try text.write(toFile: file, atomically: true, encoding: .utf8)
          return try Program.run("calibrate", "--points", file, "--json")
        }
        let rows = table.split(separator: "\n").filter { !$0.hasPrefix("#") }
        for end in ["\n", "\r\n", "\r"] {
          for start in ["", heading, "\u{FEFF}", "\u{FEFF}# a remark\n\n" + heading] {
            let text = (start + rows.joined(separator: "\n")).split(
              separator: "\n", omittingEmptySubsequences: false
            ).joined(separator: end)
            let result = try read(text)
            #expect(result.status == 0, "\(result.error)")
            #expect(result.output == fits)
          }
        }
        for (text, what) in [
          ("sparsity,decode,prefill\n" + rows.joined(separator: "\n"), "line 1 names decode"),
          (rows.joined(separator: "\r\n") + "\r\nsparsity,prefill\r\n", "line 10 is not"),
          ("{\"sparse_attention_config\": 1}", "is JSON"),
        ] {
          let result = try read(text)
          #expect(result.status == 1 && result.error.contains(what), "\(result.error)")
        }
      }
    }

    @Test func calibrationOfADumpAndItsConfigurations() throws {
      try Program.scratch { folder in
        let dump = folder + "/d.safetensors"
        #expect(
          try Program.run(
            "synth", "--tokens", "4096", "--heads", "2", "--pattern", "sink", "-o", dump
          ).status == 0)
        let result = try Program.run(
          "calibrate", dump, "--target", "0.5", "0.7", "--lengths", "1024", "4096", "--json")
        #expect(result.status == 0, "\(result.error)")
        let phases = try #require(try object(result.output)["phases"] as? [[String: Any]])
        #expect(phases.count == 2)
        // The report at the lambda that calibration found must skip what was asked for.
        let targets = try #require(phases[0]["targets"] as? [[String: Any]])
        let lambda = try #require(targets[0]["lambda"] as? Double)
        let report = try object(
          try Program.run("report", dump, "--lambda", "\(lambda)", "--json").output)
        let total = try #require(report["total"] as? [String: Any])
        #expect(abs((total["sparsity"] as? Double ?? 0) - 0.5) < 0.01)
        let dropped = try #require(
          (total["dropped_mass"] as? [String: Any])?["mean"] as? Double)
        #expect(abs(dropped - (targets[0]["dropped_mass_mean"] as? Double ?? 0)) < 1e-6)
        let yaml = folder + "/c.yaml"
        #expect(
          try Program.run("calibrate", dump, "--target", "0.5", "--write", "trtllm", "-o", yaml)
            .status == 0)
        let text = try String(contentsOfFile: yaml, encoding: .utf8)
        #expect(
          text.contains("sparse_attention_config:\n  algorithm: skip_softmax\n")
            && text.contains("    prefill: ") && text.contains("    decode: "))
        let modelopt = try Program.run("calibrate", dump, "--write", "modelopt")
        let config = try #require(
          try object(modelopt.output)["sparse_attention_config"] as? [String: Any])
        let factors = try #require(config["threshold_scale_factor"] as? [String: Any])
        #expect(factors["formula"] as? String == "a * exp(b * target_sparsity)")
        #expect((factors["prefill"] as? [String: Any])?["b"] as? Double != nil)
      }
    }

    /// A configuration holds one target: the first that both phases reach, and it is said what is
    /// not in it.
    @Test func whatIsWrittenIsSaid() throws {
      let flags = ["--write", "trtllm", "--lengths", "416", "832"]
      func written(_ targets: String...) throws -> Program.Result {
        try Program.run(["calibrate", Program.sample, "--target"] + targets + flags)
      }
      let both = try written("0.9", "0.1")
      #expect(both.status == 0 && both.output.contains("factors for 10.0 % of blocks"))
      #expect(both.output.contains("    prefill: ") && both.output.contains("    decode: "))
      #expect(
        both.error.contains("holds one target: 10.0 % is written, which both phases reach"),
        "\(both.error)")
      #expect(both.error.contains("90.0 % is not written: out of reach in prefill"))
      let one = try written("0.1")
      #expect(one.status == 0 && !one.error.contains("is not written"), "\(one.error)")
    }

    /// A length is the prompt cut off there, its ragged last row tile included, and it is what is
    /// paid for: `report` on a file that ends there says the same. The lambdas were found in double
    /// precision by another program.
    @Test(arguments: [
      (832, 0.2, "--causal", 756, 0.41666), (416, 0.05, "--causal", 270, 0.031524),
      (384, 0.05, "--causal", 162, 0.84018), (416, 0.2, "--no-causal", 432, 0.87533),
    ]) func everyLengthIsThePromptCutOffThere(
      _ length: Int, _ target: Double, _ causal: String, _ blocks: Int, _ expected: Double
    ) throws {
      try Program.scratch { folder in
        let result = try Program.run(
          "calibrate", Program.sample, causal, "--phase", "prefill", "--target", "\(target)",
          "--lengths", "\(length)", "208", "--json")
        let phase = try #require((try object(result.output)["phases"] as? [[String: Any]])?.first)
        let lengths = try #require(phase["lengths"] as? [[String: Any]])
        #expect(lengths[0]["length"] as? Int == 208 && lengths[1]["length"] as? Int == length)
        #expect(lengths[1]["blocks"] as? Int == blocks)
        // 208 rows are a tile of 128, which sees one block, and one of 80, which sees two.
        #expect(lengths[0]["blocks"] as? Int == (causal == "--causal" ? 27 * 3 : 27 * 4))
        let price = try #require((phase["targets"] as? [[String: Any]])?.first)
        let lambda = try #require(price["lambda"] as? Double)
        #expect(abs(lambda / expected - 1) < 1e-4, "\(lambda)")

        let cut = folder + "/cut.safetensors"
        let slice = try Program.run(
          "slice", Program.sample, causal, "--tokens", "0-\(length - 1)", "-o", cut)
        #expect(slice.status == 0, "\(slice.error)")
        let report = try Program.run("report", cut, "--lambda", "\(lambda)", "--json")
        let total = try #require(try object(report.output)["total"] as? [String: Any])
        let wanted = Int((target * Double(blocks)).rounded(.up))
        #expect(total["visible_blocks"] as? Int == blocks)
        #expect(total["skipped_blocks"] as? Int == wanted)
        for (mine, (key, part)) in [
          ("dropped_mass_mean", ("dropped_mass", "mean")),
          ("dropped_mass_max", ("dropped_mass", "max")),
          ("output_error_relative_l2", ("output_error", "relative_l2")),
        ] {
          let paid = try #require(price[mine] as? Double)
          let real = try #require((total[key] as? [String: Any])?[part] as? Double)
          #expect(abs(paid - real) < 1e-6, "\(mine): \(paid), \(real)")
        }
      }
    }

    @Test func whatCannotBeReachedIsSaid() throws {
      let result = try Program.run(
        "calibrate", Program.sample, "--target", "0.9", "--phase", "prefill")
      #expect(result.status == 0 && result.error.contains("out of reach"))
      let config = try Program.run(
        "calibrate", Program.sample, "--target", "0.9", "--phase", "prefill", "--write", "trtllm")
      #expect(config.status == 1 && config.output.isEmpty && config.error.contains("out of reach"))
      #expect(try Program.run("calibrate", "--points", "x.csv", Program.sample).status == 2)
      #expect(try Program.run("calibrate", "--target", "1.5").status == 2)
      #expect(try Program.run("calibrate", Program.sample, "--lengths", "99999").status == 1)
      let table = try Program.run("calibrate", "--points", Program.sample)
      #expect(table.status == 1 && table.error.contains("line"))
    }

    /// A baseline in a few lines of shell: it greets, answers every turn, and is ended.
    @Test func benchTakesTurnsWithABaseline() throws {
      try Program.scratch { folder in
        let script = folder + "/baseline.sh"
        try """
        echo '{"name": "a stone"}'
        while read -r line; do
          echo "$line" >> \(folder)/asked
          case "$line" in
            *'"dim":64'*) echo '{"seconds": 100.0}' ;;
            *) echo '{"unsupported": "only 64"}' ;;
          esac
        done
        """.write(toFile: script, atomically: true, encoding: .utf8)
        let result = try Program.run(
          "bench", "decode", "--repeats", "1", "--json", "--against", "sh \(script)")
        #expect(result.status == 0, "\(result.error)")
        let figures = try #require(
          try JSONSerialization.jsonObject(with: Data(result.output.utf8)) as? [[String: Any]])
        for key in [
          "suite", "case", "isa", "threads", "metric", "value", "unit", "ceiling_share", "against",
          "ratio",
        ] { #expect(figures.allSatisfy { $0[key] != nil }, "\(key)") }
        let beside = figures.filter { $0["against"] as? String == "a stone" }
        #expect(beside.count == 2 && beside.allSatisfy { ($0["ratio"] as? Double ?? 0) > 1 })
        let asked = try String(contentsOfFile: folder + "/asked", encoding: .utf8)
        #expect(asked.contains("\"keys\":32768") && asked.contains("\"threads\":1"))
        let broken = try Program.run("bench", "decode", "--against", "echo hello")
        #expect(broken.status == 1 && broken.error.contains("first line"))
      }
    }
  }
}
