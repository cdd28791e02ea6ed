import Foundation
import Support
import Testing

/// The model that samples/get-model.sh brings.
enum RealModel {
  static let path: String =
    ProcessInfo.processInfo.environment["ATTNSCOPE_TEST_MODEL"]
    ?? (ProcessInfo.processInfo.environment["XDG_CACHE_HOME"]
      ?? NSHomeDirectory() + "/.cache") + "/attnscope/SmolLM2-135M-Instruct.Q4_1.gguf"

  static var isThere: Bool { FileManager.default.isReadableFile(atPath: path) }
  static var text: String { checkout() + "/samples/tarn-point-log.txt" }
}

/// What float32 arithmetic on dequantised weights says, made with another program.
struct Goldens: Decodable {
  struct Case: Decodable {
    let prompt: String
    let token_ids: [Int]
    let greedy_token_ids: [Int]
    let steps: [Step]
  }

  struct Step: Decodable {
    /// [[token, logit]]
    let top: [[Double]]
  }

  let cases: [Case]

  static func read() throws -> Goldens {
    let path = checkout() + "/Tests/CommandTests/Fixtures/engine-goldens.json"
    return try JSONDecoder().decode(Goldens.self, from: Data(contentsOf: URL(filePath: path)))
  }
}

extension ProgramTests {
  /// The real model, run as users run it.
  @Suite(.serialized, .enabled(if: RealModel.isThere, "samples/get-model.sh brings the model"))
  struct EngineTests {
    private struct Line: Decodable {
      let step: Int
      let token: Int
      let piece: String
      let logprob: Double
      let top: [[Double]]
      let visible_blocks: Int
      let skipped_blocks: Int
      let kl: Double?
      let ms: Double
    }

    private func lines(_ arguments: [String]) throws -> [Line] {
      let result = try Program.run(
        ["run", "--plain", "--json", "--model", RealModel.path] + arguments)
      #expect(result.status == 0, "\(result.error)")
      return try result.output.split(separator: "\n").map {
        try JSONDecoder().decode(Line.self, from: Data($0.utf8))
      }
    }

    @Test func promptsTokeniseAsTheyShould() throws {
      for one in try Goldens.read().cases {
        try Program.scratch { folder in
          try Data(one.prompt.utf8).write(to: URL(filePath: folder + "/prompt"))
          let result = try Program.run(
            ["tokenize", "--model", RealModel.path], input: folder + "/prompt")
          let object = try JSONSerialization.jsonObject(with: Data(result.output.utf8))
          let ids = (object as? [String: Any])?["ids"] as? [Int]
          #expect(ids == one.token_ids, "\(one.prompt)")
        }
      }
    }

    @Test func theFloatPathGivesTheLogits() throws {
      var worst = 0.0
      for one in try Goldens.read().cases {
        let lines = try lines([
          "--prompt", one.prompt, "--max-tokens", "12", "--lambda", "0", "--precision", "float",
        ])
        #expect(lines.map(\.token) == one.greedy_token_ids)
        for (line, step) in zip(lines, one.steps) {
          let mine = Dictionary(uniqueKeysWithValues: line.top.map { (Int($0[0]), $0[1]) })
          for pair in step.top {
            let logit = try #require(mine[Int(pair[0])], "step \(line.step): token \(pair[0])")
            worst = max(worst, abs(logit - pair[1]))
            #expect(abs(logit - pair[1]) < 2e-3, "step \(line.step)")
          }
        }
      }
      print("float path: at most \(worst) from the golden logits")
    }

    @Test func theInt8PathIsNear() throws {
      var worst = 0.0
      for one in try Goldens.read().cases {
        let lines = try lines(["--prompt", one.prompt, "--max-tokens", "12", "--lambda", "0"])
        let first = Dictionary(uniqueKeysWithValues: lines[0].top.map { (Int($0[0]), $0[1]) })
        for pair in one.steps[0].top {
          if let logit = first[Int(pair[0])] {
            worst = max(worst, abs(logit - pair[1]))
            #expect(abs(logit - pair[1]) < 0.6)
          } else {
            // Pushed off the list of five: then it cannot be far below the fifth.
            #expect(pair[1] - lines[0].top[4][1] < 0.6)
          }
        }
        for (line, (id, step)) in zip(lines, zip(one.greedy_token_ids, one.steps)) {
          if step.top[0][1] - step.top[1][1] < 0.5 { break }
          #expect(line.token == id, "\(one.prompt), step \(line.step)")
        }
      }
      print("int8 path: at most \(worst) from the golden logits of a first step")
    }

    @Test func bothPathsReadATextAlike() throws {
      func likelihood(_ precision: String) throws -> [Double] {
        let result = try Program.run(
          "perplexity", "--model", RealModel.path, "--file", RealModel.text, "--max-tokens", "512",
          "--precision", precision, "--json", "--lambda", "0.1")
        let object = try JSONSerialization.jsonObject(with: Data(result.output.utf8))
        let rows = (object as? [String: Any])?["rows"] as? [[String: Any]] ?? []
        #expect(rows.count == 2 && rows[0]["sparsity"] as? Double == 0)
        #expect((rows[1]["skipped_blocks"] as? Int ?? 0) > 0)
        return rows.compactMap { $0["nll"] as? Double }
      }
      let (float, int8) = (try likelihood("float"), try likelihood("int8"))
      print("mean negative log-likelihood, dense: float \(float[0]), int8 \(int8[0])")
      #expect(abs(float[0] - int8[0]) < 0.03 && float[0] > 1 && float[0] < 4)
    }

    @Test func lambdaZeroIsDenseAndTheShadowAgrees() throws {
      let common = ["--prompt-file", RealModel.text, "--max-tokens", "6"]
      let zero = try lines(common + ["--lambda", "0", "--shadow", "dense"])
      let dense = try lines(common + ["--method", "dense"])
      #expect(zero.map(\.top) == dense.map(\.top) && zero.allSatisfy { $0.kl == 0 })
      let sparse = try lines(common + ["--lambda", "0.1", "--shadow", "dense"])
      #expect(sparse.allSatisfy { ($0.kl ?? -1) > 0 })
      // 832 positions and what is decoded: seven blocks of 128 keys for each of 270 heads.
      #expect(sparse[1].visible_blocks == 7 * 270 && sparse[1].skipped_blocks > 0)
      #expect(zero.allSatisfy { $0.skipped_blocks == 0 })
    }

    @Test func captureIsWhatTheModelComputed() throws {
      try capture(RealModel.text, tokens: 832, Program.sample)
    }

    @Test(
      .enabled(
        if: sharedData("smollm2-log-2k.safetensors") != nil,
        "the dump of 2048 tokens is not beside the checkout"))
    func captureOfALongTextIsWhatTheModelComputed() throws {
      try capture(
        try #require(sharedData("tarn-point-log.txt")), tokens: 2048,
        try #require(sharedData("smollm2-log-2k.safetensors")))
    }

    private func capture(_ text: String, tokens: Int, _ reference: String) throws {
      try Program.scratch { folder in
        let out = folder + "/capture.safetensors"
        let result = try Program.run(
          "capture", "--model", RealModel.path, "--prompt-file", text, "--max-tokens",
          "\(tokens)", "--layers", "0,12,18", "-o", out)
        #expect(result.status == 0, "\(result.error)")
        let made = try Arrays(out), expected = try Arrays(reference)
        for layer in [0, 12, 18] {
          for name in ["q", "k", "v"] {
            let key = "layers.\(layer).\(name)"
            let error = try made.relativeError(expected, key)
            #expect(error < 1e-2, "\(key): \(error)")
          }
        }
        let again = try Program.run(
          "capture", "--model", RealModel.path, "--prompt", "x", "-o", out)
        #expect(again.status == 1 && again.error.contains("--force"))
      }
    }

    @Test(.enabled(if: Program.canMeasure, "python3 is not installed"))
    func memoryIsWhatTheReadmeSays() throws {
      let (result, megabytes) = try Program.measured([
        "run", "--plain", "--model", RealModel.path, "--prompt", "The capital of France is",
        "--max-tokens", "40",
      ])
      print("run of 45 tokens: \(megabytes) MB resident\n\(result.error)")
      #expect(result.output.hasPrefix(" Paris") && result.error.contains("tokens/s"))
      #expect(megabytes > 50 && megabytes < 260)
    }

    @Test func controlCEndsAPlainRun() throws {
      try Program.scratch { folder in
        let script = """
          \(Program.path) run --plain --model \(RealModel.path) --prompt Once --max-tokens 8000 \
          > \(folder)/out 2> \(folder)/err & pid=$!
          until [ "$(wc -c < \(folder)/out)" -gt 40 ]; do :; done
          kill -INT $pid; wait $pid; echo "left with $?"
          """
        let result = try Program.run(["-m", "-c", script], program: "/bin/bash")
        #expect(result.output.contains("left with 0"), "\(result.output)\(result.error)")
        let error = try String(contentsOfFile: folder + "/err", encoding: .utf8)
        #expect(error.contains("stopped by Ctrl-C") && error.contains("decode"))
      }
    }

    @Test func whatCannotBeRunSaysWhy() throws {
      let none = try Program.run(
        "run", "--plain", "--prompt", "x", environment: ["XDG_CACHE_HOME": "/nowhere"])
      #expect(none.status == 1 && none.error.contains("samples/get-model.sh"))
      let empty = try Program.run("run", "--plain", "--model", RealModel.path, "--prompt", "")
      #expect(empty.status == 1 && empty.error.contains("no tokens"))
      let dump = try Program.run("run", "--plain", "--model", Program.sample, "--prompt", "x")
      #expect(dump.status == 1 && dump.error.contains("does not begin with GGUF"))
      let lambda = try Program.run(
        "run", "--plain", "--model", RealModel.path, "--prompt", "x", "--lambda", "2")
      #expect(lambda.status == 2 && lambda.error.contains("refused"))
      let screen = try Program.run("run", "--model", RealModel.path, "--prompt", "x")
      #expect(screen.status == 2 && screen.error.contains("--plain"))
      try Program.scratch { folder in
        let long = folder + "/long.txt"
        try Data(String(repeating: "word ", count: 9000).utf8).write(to: URL(filePath: long))
        let result = try Program.run(
          "run", "--plain", "--model", RealModel.path, "--prompt-file", long)
        #expect(result.status == 1 && result.error.contains("context is 8192"))
      }
    }
  }
}

/// Arrays of a safetensors file, half floats or floats, read without the code under test.
struct Arrays {
  private let header: [String: Any]
  private let data: Data

  init(_ path: String) throws {
    let all = try Data(contentsOf: URL(filePath: path))
    let length = all.prefix(8).enumerated().reduce(0) { $0 | Int($1.element) << (8 * $1.offset) }
    let object = try JSONSerialization.jsonObject(with: all[8..<8 + length])
    header = try #require(object as? [String: Any])
    data = all[(8 + length)...]
  }

  func numbers(_ name: String) throws -> [Double] {
    let entry = try #require(header[name] as? [String: Any], "\(name)")
    let range = try #require(entry["data_offsets"] as? [Int])
    let bytes = [UInt8](data[data.startIndex + range[0]..<data.startIndex + range[1]])
    if entry["dtype"] as? String == "F32" {
      return stride(from: 0, to: bytes.count, by: 4).map { at in
        let bits = (0..<4).reduce(UInt32(0)) { $0 | UInt32(bytes[at + $1]) << (8 * $1) }
        return Double(Float(bitPattern: bits))
      }
    }
    return stride(from: 0, to: bytes.count, by: 2).map {
      Double(Float16(bitPattern: UInt16(bytes[$0]) | UInt16(bytes[$0 + 1]) << 8))
    }
  }

  func relativeError(_ other: Arrays, _ name: String) throws -> Double {
    let a = try numbers(name), b = try other.numbers(name)
    try #require(a.count == b.count)
    var difference = 0.0, norm = 0.0
    for i in a.indices {
      difference += (a[i] - b[i]) * (a[i] - b[i])
      norm += b[i] * b[i]
    }
    return (difference / norm).squareRoot()
  }
}
