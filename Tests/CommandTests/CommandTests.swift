import Foundation
import Testing

/// Everything that runs the built program, as users get it: in release. One after the other: each
/// blocks a thread while it waits, and Swift's pool has only as many as there are cores.
@Suite(
  .serialized,
  .enabled(if: true))
struct ProgramTests {}

extension ProgramTests {
  /// The commands as scripts use them: output, exit codes, errors.
  @Suite(.serialized) struct CommandTests {
    private func json(_ text: String) throws -> [String: Any] {
      try #require(try JSONSerialization.jsonObject(with: Data(text.utf8)) as? [String: Any])
    }

    @Test func reportHasTheKeysThatToolsRelyOn() throws {
      let result = try Program.run(
        "report", Program.sample, "--layers", "12", "--heads", "6-8", "--lambda", "0.01", "--tile",
        "64x64", "--json")
      #expect(result.status == 0)
      let report = try json(result.output)
      for key in [
        "file", "model", "tokens", "method", "lambda", "tile", "vote", "order", "heads", "total",
      ] { #expect(report[key] != nil, "\(key)") }
      #expect(
        report["tile"] as? [Int] == [64, 64] && report["tokens"] as? Int == 832
          && report["lambda"] as? Double == 0.01)
      let heads = try #require(report["heads"] as? [[String: Any]])
      #expect(heads.count == 3)
      for head in heads {
        for key in [
          "layer", "head", "phase", "visible_blocks", "skipped_blocks", "sparsity", "dropped_mass",
          "output_error", "entropy", "effective_tokens", "sink", "pattern",
        ] {
          #expect(head[key] != nil, "\(key)")
        }
        let (visible, skipped) = (
          head["visible_blocks"] as? Int ?? 0, head["skipped_blocks"] as? Int ?? -1
        )
        #expect(
          visible == 13 * 14 / 2
            && abs((head["sparsity"] as? Double ?? -1) - Double(skipped) / Double(visible)) < 1e-12)
        let scores = (head["pattern"] as? [String: Any])?["scores"] as? [String: Double] ?? [:]
        for name in ["a-shape", "vertical-slash", "block-sparse"] { #expect(scores[name] != nil) }
      }
    }

    /// Wider numbers than float32 are rounded when they are read, and `info` says so.
    @Test func infoNamesTheElementType() throws {
      try Program.scratch { folder in
        let file = folder + "/wide.safetensors"
        let header =
          #"{"layers.0.q":{"dtype":"F64","shape":[1,4,2],"data_offsets":[0,64]},"#
          + #""layers.0.k":{"dtype":"F64","shape":[1,4,2],"data_offsets":[64,128]}}"#
        var bytes = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Data($0) }
        bytes += Data(header.utf8)
        for i in 0..<16 { withUnsafeBytes(of: Double(i) / 3) { bytes += Data($0) } }
        try bytes.write(to: URL(filePath: file))
        let wide = try json(try Program.run("info", file, "--json").output)
        #expect(wide["elements"] as? [String] == ["F64"] && wide["rounded_to"] as? String == "F32")
        #expect(try Program.run("info", file).output.contains("numbers   F64, read as F32"))
        let sample = try json(try Program.run("info", Program.sample, "--json").output)
        #expect(sample["elements"] as? [String] == ["F16"] && sample["rounded_to"] is NSNull)
      }
    }

    /// Twice asked for is reported once; a file of masks had more heads than the dump.
    @Test func aLayerThatIsTypedTwiceIsOne() throws {
      try Program.scratch { folder in
        let path = folder + "/m.safetensors"
        func report(_ layers: String, _ heads: String) throws -> String {
          try Program.run(
            "report", Program.sample, "--layers", layers, "--heads", heads, "--tile", "128x64",
            "--masks", path, "--force"
          ).output
        }
        #expect(try report("12,0-12", "1,0-1") == report("12,0", "0,1"))
        let about = try json(Program.run("info", path, "--json").output)
        #expect(about["heads"] as? Int == 2 && about["layers"] as? [Int] == [0, 12])
      }
    }

    @Test func masksAndOutputsAreWritten() throws {
      try Program.scratch { folder in
        let path = folder + "/m.safetensors"
        let arguments = [
          "report", Program.sample, "--layers", "12", "--lambda", "0.03", "--tile", "128x64",
          "--vote", "group", "--json", "--masks", path,
        ]
        #expect(try Program.run(arguments).status == 0)
        let again = try Program.run(arguments)
        #expect(again.status == 1 && again.error.contains("--force"))
        let info = try Program.run("info", path, "--json")
        let about = try json(info.output)
        #expect(
          about["kind"] as? String == "mask" && about["heads"] as? Int == 3
            && about["layers"] as? [Int] == [12])
        let shown = try Program.run("report", path, "--json")
        let heads = try #require(try json(shown.output)["heads"] as? [[String: Any]])
        let first = try #require(
          try json(Program.run(arguments + ["--force"]).output)["heads"] as? [[String: Any]])
        #expect(
          heads[0]["skipped_blocks"] as? Int != nil
            && first[0]["visible_blocks"] as? Int == heads[0]["visible_blocks"] as? Int)
      }
    }

    @Test func infoTellsWhatAFileHolds() throws {
      let about = try json(try Program.run("info", Program.sample, "--json").output)
      #expect(
        about["format"] as? String == "safetensors" && about["kind"] as? String == "qkv"
          && about["head_dim"] as? Int == 64)
      #expect(
        about["layers"] as? [Int] == [0, 12, 18] && about["heads"] as? Int == 9
          && about["kv_heads"] as? Int == 3)
      #expect(
        about["q"] as? Int == 832 && about["k"] as? Int == 832 && about["causal"] as? Bool == true
          && about["guesses"] as? [String] == [])
    }

    @Test func withoutATerminalThereIsASummary() throws {
      for arguments in [[Program.sample], ["open", Program.sample], []] {
        let result = try Program.run(arguments)
        #expect(
          result.status == 0 && result.output.contains("blocks pruned")
            && !result.output.contains("\u{1b}"), "\(arguments)")
      }
    }

    @Test func theSampleIsFoundFromAnywhere() throws {
      try Program.scratch { folder in
        let link = folder + "/bin"
        try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: Program.path)
        let result = try Program.run(["-c", "cd / && exec '\(link)'"], program: "/bin/sh")
        #expect(result.status == 0 && result.output.contains("Smollm2"), "\(result)")
      }
    }

    @Test(arguments: ["map", "blocks", "heads", "sinks"]) func renderDrawsEveryView(_ view: String)
      throws
    {
      let text = try Program.run(
        "render", Program.sample, "--layer", "12", "--head", "6", "--view", view, "--format", "txt",
        "--width", "100", "--height", "30")
      #expect(
        text.status == 0 && text.output.split(separator: "\n").count >= 29
          && !text.output.contains("\u{1b}"))
      let ansi = try Program.run("render", Program.sample, "--view", view, "--format", "ansi")
      #expect(ansi.status == 0 && ansi.output.contains("\u{1b}[0;"))
      // Into a pipe nobody wants escape codes.
      let piped = try Program.run("render", Program.sample, "--view", view)
      #expect(piped.status == 0 && !piped.output.isEmpty && !piped.output.contains("\u{1b}"))
    }

    /// A head so long that row tiles are sampled: outputs of some rows are compared, and no field
    /// of all is promised.
    @Test(arguments: [
      [], ["--method", "lean"], ["--method", "a-shape"], ["--method", "flexprefill"],
    ]) func aLongHeadIsReported(_ more: [String])
      throws
    {
      try Program.scratch { folder in
        let path = folder + "/long.safetensors"
        let made = try Program.run("synth", "--tokens", "20000", "--heads", "1", "-o", path)
        #expect(made.status == 0, "\(made.error)")
        let report = try Program.run(["report", path, "--json"] + more)
        #expect(report.status == 0, "\(report.error.prefix(400))")
        let heads =
          (try JSONSerialization.jsonObject(with: Data(report.output.utf8))
          as? [String: Any])?["heads"] as? [[String: Any]]
        #expect(heads?.count == 1)
        let total = try json(report.output)["total"] as? [String: Any] ?? [:]
        for part in [try #require(heads?.first), total] {
          switch more.last {
          case nil:
            #expect(
              part["visible_blocks"] as? Int == 157 * 158 / 2 && part["skipped_blocks"] is Int)
          case "lean": #expect(part["visible_blocks"] is NSNull && part["sparsity"] is NSNull)
          default:
            // Of a sample of rows the share is known; how many blocks are skipped is not.
            #expect(part["visible_blocks"] as? Int == 313 * 314 / 2)
            #expect(part["skipped_blocks"] is NSNull && part["sparsity"] is Double)
          }
        }
        let refused = try Program.run("report", path, "--method", "lucid")
        #expect(
          refused.status == 1 && refused.error.contains("needs a shorter text"), "\(refused.error)")
      }
    }

    /// A colleague who is told of 12.7 looks at the same head in the slice, and in a slice of it.
    @Test func sliceKeepsTheNumbersOfHeads() throws {
      try Program.scratch { folder in
        let (cut, again) = (folder + "/cut.safetensors", folder + "/again.safetensors")
        let whole = ["--layers", "12", "--heads", "6-8"]
        #expect(try Program.run(["slice", Program.sample, "-o", cut] + whole).status == 0)
        func heads(_ arguments: [String]) throws -> [[String: Any]] {
          let report = try json(try Program.run(["report"] + arguments + ["--json"]).output)
          return try #require(report["heads"] as? [[String: Any]])
        }
        let before = try heads([Program.sample] + whole), after = try heads([cut])
        #expect(after.map { $0["head"] as? Int } == [6, 7, 8])
        #expect((after as NSArray) == (before as NSArray), "the same numbers under the same names")
        #expect(try heads([cut, "--heads", "7"]).map { $0["head"] as? Int } == [7])
        let missing = try Program.run("report", cut, "--heads", "0")
        #expect(missing.status == 1 && missing.error.contains("heads are 6, 7, 8"))
        let compare = try Program.run("compare", cut + "@12.6", "12.8")
        #expect(compare.output.contains("L12 H6") && compare.output.contains("L12 H8"))
        let plain = try Program.run("open", cut, "--plain")
        #expect(plain.output.contains("Layer 12 head 6 of cut.safetensors"), "\(plain.output)")
        let head = try Program.run("render", cut, "--head", "8", "--format", "txt")
        #expect(head.output.contains("L12 H8"), "\(head.error)")
        #expect(
          try Program.run("slice", cut, "--heads", "6-8", "--tokens", "0-99", "-o", again).status
            == 0)
        #expect(try heads([again]).map { $0["head"] as? Int } == [6, 7, 8])
      }
    }

    /// What metadata says and cannot mean is passed over, and that is said.
    @Test func nonsenseInMetadataIsSaid() throws {
      try Program.scratch { folder in
        let file = folder + "/odd.safetensors"
        let header =
          #"{"__metadata__":{"scale":"nan","query_offset":"99999999999","causal":"perhaps"},"#
          + #""layers.0.q":{"dtype":"F32","shape":[1,4,2],"data_offsets":[0,32]},"#
          + #""layers.0.k":{"dtype":"F32","shape":[1,4,2],"data_offsets":[32,64]}}"#
        var bytes = withUnsafeBytes(of: UInt64(header.utf8.count).littleEndian) { Data($0) }
        bytes += Data(header.utf8) + Data(repeating: 0, count: 64)
        try bytes.write(to: URL(filePath: file))
        let result = try Program.run("report", file)
        #expect(result.status == 0, "\(result.error)")
        for words in [
          "metadata scale is 'nan', not a positive number, and was passed over (--scale gives it)",
          "metadata query_offset is '99999999999'", "metadata causal is 'perhaps'",
        ] {
          #expect(result.error.contains(words), "\(result.error)")
          #expect(try Program.run("info", file).output.contains(words.prefix(30)))
        }
      }
    }

    @Test func sliceCutsADumpThatOpens() throws {
      try Program.scratch { folder in
        let path = folder + "/cut.safetensors"
        let result = try Program.run(
          "slice", Program.sample, "--layers", "12", "--heads", "3-5", "--tokens", "100-299", "-o",
          path)
        #expect(result.status == 0, "\(result.error)")
        let about = try json(try Program.run("info", path, "--json").output)
        #expect(
          about["q"] as? Int == 200 && about["k"] as? Int == 200 && about["heads"] as? Int == 3
            && about["kv_heads"] as? Int == 1)
        let cut = try Program.run(
          "slice", Program.sample, "--heads", "2-3", "-o", folder + "/x.safetensors")
        #expect(cut.status == 1 && cut.error.contains("whole groups"))
      }
    }

    @Test func methodsAndDoctorSpeak() throws {
      let methods = try Program.run("methods")
      for id in ["dense", "blasst", "a-shape", "vertical-slash", "block-sparse"] {
        #expect(methods.output.contains("\(id)\n"))
      }
      let page = try Program.run("methods", "--markdown")
      let json = try Program.run("methods", "--json")
      let cards = try #require(
        try JSONSerialization.jsonObject(with: Data(json.output.utf8)) as? [[String: Any]])
      let words = Set(cards.compactMap { $0["family"] as? String })
      #expect(page.output.matches(of: #/(?m)^## /#).count == words.count && words.count > 10)
      #expect(page.output.matches(of: #/(?m)^\| `/#).count == cards.count)
      for word in words { #expect(methods.output.contains(" (\(word))\n"), "\(word)") }
      #expect(try Program.run("methods", "--markdown", "--json").status != 0)
      let doctor = try Program.run("doctor")
      for word in ["TERM", "colours", "UTF-8", "kernels", "threads", "sample"] {
        #expect(doctor.output.contains(word))
      }
    }

    @Test(arguments: ["dense", "a-shape", "vertical-slash", "block-sparse"])
    func reportRunsEveryMethod(_ method: String) throws {
      let result = try Program.run(
        "report", Program.sample, "--layers", "12", "--heads", "6-8", "--method", method, "--json")
      #expect(
        result.status == 0 && result.output.contains("\"method\": \"\(method)\""), "\(result.error)"
      )
    }

    @Test(arguments: [
      (["report", "--lambda", "2"], Int32(2), "running maximum"),
      (["report", "--lambda", "nan"], 2, "refused"),
      (["report", "--tile", "0x4"], 2, "tile"), (["--no-such-flag"], 2, "no-such-flag"),
      (["report", "/no/such"], 1, "no such file"),
      (["/"], 1, "directory"), (["report", "--q", "a"], 2, "go together"),
      (["report", "--method", "magic"], 1, "no method"),
      (["report", "--layers", "5"], 1, "no layer 5"), (["open", "--head", "99"], 1, "no head 99"),
      (["render", "--width", "3"], 2, "--width"),
      (["report", "--method", "a-shape", "--knob", "initial=-3"], 1, "outside"),
    ]) func mistakesGetOneSentence(_ arguments: [String], _ status: Int32, _ words: String) throws {
      let result = try Program.run(arguments)
      #expect(
        result.status == status && result.error.contains(words) && result.output.isEmpty,
        "\(arguments): \(result)")
      if status == 1 { #expect(result.error.split(separator: "\n").count == 1, "\(result.error)") }
    }

    @Test(.enabled(if: Program.canMeasure, "python3 is not installed"))
    func badFilesAreRefusedQuicklyAndSmall() throws {
      try Program.scratch { folder in
        let bomb =
          (#filePath as NSString).deletingLastPathComponent + "/../FormatsTests/Fixtures/bomb.npz"
        let huge = folder + "/huge.safetensors"
        _ = FileManager.default.createFile(
          atPath: huge, contents: Data([0xff, 0xff, 0xff, 0, 0, 0, 0, 0]) + Data("{".utf8))
        truncate(huge, 4 << 30)
        let pipe = folder + "/pipe"
        mkfifo(pipe, 0o600)
        let hidden = folder + "/\u{1b}[31mred\u{202e}.npz"
        _ = FileManager.default.createFile(
          atPath: hidden, contents: Data("nonsense, but long enough".utf8))
        for path in [bomb, huge, pipe, folder, hidden, folder + "/none"] {
          let (result, megabytes) = try Program.measured(["info", path])
          #expect(
            result.status == 1 && result.seconds < 2 && megabytes < 100,
            "\(path): \(result), \(megabytes) MB")
          #expect(
            result.error.split(separator: "\n").count == 1 && !result.error.contains("\u{1b}")
              && !result.error.contains("\u{202e}"))
        }
      }
    }

    @Test func helpIsThereForEveryCommand() throws {
      for command in ["open", "report", "info", "slice", "render", "methods", "doctor"] {
        let result = try Program.run(command, "--help")
        #expect(
          result.status == 0 && result.output.contains("USAGE: attnscope \(command)"), "\(command)")
      }
    }
  }
}
