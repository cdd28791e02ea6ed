import Attention
import Backends
import Foundation
import Models
import Sessions
import Support
import Tensors
import Testing

extension ProgramTests {
  /// A recording of a tiny model, opened as users open it.
  @Suite(.serialized, .timeLimit(.minutes(5))) struct RecordingTests {
    private static func choice(_ lambda: Double) -> AttentionChoice {
      AttentionChoice(
        lambda: lambda, prefill: TileSpec(rows: 16, keys: 16),
        decode: TileSpec(rows: 16, keys: 16, vote: .group))
    }

    /// A random model that never says its end token.
    static func tiny(in folder: String) throws -> String {
      var tiny = TinyModel("llama", .q8_0, seed: 4)
      tiny.gguf.set("tokenizer.ggml.eos_token_id", .u32(.max))
      tiny.gguf.set(
        "tokenizer.ggml.token_type", .i32s([Int32](repeating: 1, count: tiny.vocabulary)))
      try Data(tiny.bytes).write(to: URL(filePath: folder + "/tiny.gguf"))
      return folder + "/tiny.gguf"
    }

    /// 20 tokens of a prompt and four decoded with lambda 0.05; from the second of them on also
    /// with 0.5.
    static func record(to file: String, in folder: String) async throws {
      let backend = try LocalBackend(
        try LanguageModel(try tiny(in: folder)), prompt: (0..<20).map { 20 + $0 * 7 % 90 },
        LocalBackend.Options(attention: choice(0.05), maxTokens: 4))
      var moments = backend.moments.makeAsyncIterator()
      func until(_ isThere: (LiveStatus) -> Bool) async {
        while let moment = await moments.next() {
          if case .live(let status) = moment, isThere(status) { return }
        }
      }
      func isOver(_ status: LiveStatus) -> Bool {
        if case .ended = status.phase { true } else { false }
      }
      backend.start()
      await until(isOver)
      backend.send(.branch(from: Frame(branch: 0, tokens: 22), choice(0.5)))
      await until { $0.branches.count == 2 && isOver($0) }
      backend.send(.save(file))
      await until { $0.note.hasPrefix("Recording saved") }
    }

    @Test func aRecordingTakesTheFlagsAndCommandsOfAFile() async throws {
      let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString).path
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      defer { try? FileManager.default.removeItem(atPath: folder) }
      let file = folder + "/run.safetensors"
      try await Self.record(to: file, in: folder)

      let summary = try Program.run("open", file)
      #expect(summary.status == 0 && summary.output.contains("branch 1  24 tokens"))
      let input = folder + "/commands"
      try "<Left>\nx\nmap\nsave y\n".write(toFile: input, atomically: true, encoding: .utf8)
      let plain = try Program.run(
        "open", file, "--layer", "1", "--head", "3", "--plain", input: input)
      #expect(plain.status == 0, "\(plain.error)")
      for text in [
        "Layer 1 head 3 of run.safetensors, the text.", "Token 23 of 24 on branch 0, lambda 0.05",
        "Token 22 of 24 on branch 0", "Token 22 of 24 on branch 1, lambda 0.5",
        "Layer 1 head 3 of run.safetensors, the map.", "Lambda is 0.5", "This is a recording",
      ] { #expect(plain.output.contains(text), "\(text) is not in\n\(plain.output)") }
      // What the run counted follows from the queries and keys that it kept.
      let check = try Program.run("check", file, "--count", "80")
      #expect(check.status == 0, "\(check.output)\(check.error)")
      for kind in ["recorded rows of the map", "recorded blocks: skipped", "recorded steps"] {
        #expect(check.output.contains(kind), "\(check.output)")
      }
      let map = try Program.run("open", file, "--view", "map", "--plain")
      #expect(map.output.contains("Layer 0 head 0") && map.output.contains("Lambda is 0.05"))
      let told = try Program.run("open", file, "--view", "map", "--plain", "--lambda", "0.25")
      #expect(told.output.contains("Lambda is 0.25"))
      let none = try Program.run("open", file, "--layer", "9")
      #expect(none.status == 1 && none.error.contains("has no layer 9"))
    }

    /// Calibration left out what it could not find, and printed a table of nothing.
    @Test(arguments: ["calibrate", "capture"]) func aLayerThatIsMissingIsNamed(_ verb: String)
      throws
    {
      try Program.scratch { folder in
        let model = try Self.tiny(in: folder)
        func run(_ layers: String) throws -> Program.Result {
          let out = verb == "capture" ? ["-o", folder + "/\(layers).safetensors"] : []
          return try Program.run(
            [verb, "--model", model, "--prompt", "the and in the", "--layers", layers] + out)
        }
        let missing = try run("0,9")
        #expect(
          missing.status == 1 && missing.error.contains("no layer 9; layers are 0 to 1"),
          "\(missing)")
        #expect(try run("5-9").error.contains("no layer 5"))
        // Of a range those that are there.
        let some = try run("1-9")
        #expect(some.status == 0, "\(some.error)")
      }
    }

    /// A state goes with the recording that it names, and with one that is named beside it.
    @Test func aStateIsAppliedToARecording() async throws {
      let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString).path
      try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
      defer { try? FileManager.default.removeItem(atPath: folder) }
      let file = folder + "/run.safetensors", state = folder + "/v.attnscope"
      try await Self.record(to: file, in: folder)
      // The screen writes it where it is looked at, and says how to come back.
      let terminal = try PseudoTerminal([Program.path, file, "--view", "map", "--layer", "1"])
      terminal.sees("Under the cursor")
      terminal.send(":lambda 0.25\r")
      terminal.redraws("λ=0.25")
      terminal.send(":cursor 11,5\r:state \(state)\r")
      terminal.redraws("Written to")
      terminal.send("q")
      #expect(terminal.end() == 0)
      let text = try String(contentsOfFile: state, encoding: .utf8)
      #expect(text.contains("source \(file)\n") && text.contains("cursor 11,5"), "\(text)")
      for arguments in [["--state", state], [file, "--state", state]] {
        let plain = try Program.run(["open"] + arguments + ["--plain"])
        #expect(plain.status == 0, "\(plain.error)")
        for text in [
          "of run.safetensors, the map.", "Layer 1 head", "Lambda is 0.25",
          "The cursor is on query 11",
        ] { #expect(plain.output.contains(text), "\(text) is not in\n\(plain.output)") }
      }
      // What does not fit is named, and the rest holds.
      try "layer 77\nview heads\nlambda 0.5\n".write(
        toFile: state, atomically: true, encoding: .utf8)
      let wrong = try Program.run("open", file, "--state", state, "--plain")
      #expect(wrong.error.contains("The state file, line 1: this file has layers 0, 1"))
      #expect(wrong.output.contains("lambda 0.5"), "\(wrong.output)")
      let missing = try Program.run("open", file, "--state", folder + "/none", "--plain")
      #expect(missing.status == 1 && missing.error.contains("no such file"), "\(missing.error)")
    }

    /// f32 is what was computed: rounded, it is f16, and it is not rounded.
    @Test func captureWritesWhatWasComputed() throws {
      try Program.scratch { folder in
        let model = try Self.tiny(in: folder)
        func capture(_ type: String) throws -> Arrays {
          let file = "\(folder)/\(type).safetensors"
          let result = try Program.run(
            "capture", "--model", model, "--prompt", "the and in the", "--dtype", type, "-o", file)
          #expect(result.status == 0, "\(result.error)")
          return try Arrays(file)
        }
        let exact = try capture("f32"), half = try capture("f16")
        for layer in 0..<TinyModel.layers {
          for name in ["q", "k", "v"] {
            let key = "layers.\(layer).\(name)"
            let numbers = try exact.numbers(key)
            let rounded = numbers.map { Double(Float16($0)) }
            #expect(try half.numbers(key) == rounded && numbers != rounded, "\(key)")
          }
        }
      }
    }
  }
}
