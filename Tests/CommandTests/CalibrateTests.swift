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
