import Foundation
import Support
import Testing

/// The program against files, names and arguments that mean it harm. Everything here is small, so
/// it runs in a debug build as well.
@Suite(.serialized) struct HostileInputTests {
  /// Sets a title, clears the screen, turns a line round, begins a line of its own.
  private static let poison =
    "h\u{1b}]0;X\u{7}\u{9b}31m\u{85}\u{90}q\u{202e}\u{2066}\u{7f}\r\nsecond: fake"

  /// What would act on a terminal: C0 but for newlines and tabs, DEL, C1, and what turns the
  /// direction of writing.
  private static func acts(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.value {
    case 9, 10: false
    case 0..<32, 0x7f..<0xa0, 0x61c, 0x200e, 0x200f, 0x202a...0x202e, 0x2066...0x2069: true
    default: false
    }
  }

  private func expectHarmless(_ result: Program.Result, _ what: String) {
    for (stream, text) in [("output", result.output), ("error", result.error)] {
      let found = text.unicodeScalars.first(where: Self.acts)
      let name = found.map { String($0.value, radix: 16) } ?? ""
      #expect(found == nil, "\(what): \(stream) holds U+\(name)")
      let lines = text.split(whereSeparator: \.isNewline)
      #expect(
        !lines.contains { $0.hasPrefix("second") }, "\(what): a name begins a line of \(stream)")
    }
    #expect(result.status <= 2, "\(what): ended with \(result.status)")
  }

  /// A safetensors file: a header, then the data, zeros.
  private func safetensors(
    _ arrays: [(name: String, dtype: String, shape: [Int])], _ metadata: [String: String]
  ) throws -> Data {
    var header: [String: Any] = ["__metadata__": metadata]
    var at = 0
    for array in arrays {
      let width = array.dtype == "F16" ? 2 : array.dtype == "U8" ? 1 : 4
      let end = at + array.shape.reduce(width, *)
      header[array.name] = [
        "dtype": array.dtype, "shape": array.shape, "data_offsets": [at, end],
      ]
      at = end
    }
    let text = try JSONSerialization.data(withJSONObject: header)
    return withUnsafeBytes(of: UInt64(text.count).littleEndian) { Data($0) } + text
      + Data(count: at)
  }

  /// Q, K and V of one head, with a model and tokens of this text; that it is causal is guessed.
  private func dump(_ text: String, tokens: Int = 8) throws -> Data {
    let arrays = ["q", "k", "v"].map { ("layers.0.\($0)", "F32", [1, tokens, 4]) }
    let texts = try JSONEncoder().encode([String](repeating: text, count: tokens))
    return try safetensors(
      arrays, ["model": text, "tokens": String(decoding: texts, as: UTF8.self)])
  }

  // MARK: What reaches a terminal

  @Test func namesAndTextsOfFilesNeverActOnTheTerminal() throws {
    try Program.scratch { folder in
      let path = folder + "/" + Self.poison.replacing("/", with: "") + ".safetensors"
      try dump(Self.poison).write(to: URL(filePath: path))
      let out = folder + "/out.safetensors"
      for arguments in [
        [path], ["open", path, "--plain"], ["open", path, path], ["info", path],
        ["info", path, "--json"], ["report", path], ["report", path, "--csv"],
        ["report", path, "--markdown"], ["report", path, "--json"], ["compare", path, "a-shape"],
        ["compare", path, "a-shape", "--json"], ["compare", path, Self.poison],
        ["slice", path, "-o", out], ["slice", path, "-o", path], ["calibrate", path],
        ["render", path, "--format", "txt"], ["render", path, "--format", "svg"],
        ["render", path, "--format", "html"], ["render", path, "-o", path + ".svg"],
        ["render", path, "-o", path + ".svg"], ["lesson", path], ["lesson", "check", path],
        ["open", path, "--plain", "--state", path], ["tokenize", "--model", path],
        ["run", "--plain", "--prompt", "x", "--model", path], ["report", "--method", Self.poison],
        ["report", "--layers", Self.poison], ["render", path, "--set", "layer=" + Self.poison],
        [Self.poison], ["report", path, "--tokens", path],
      ] {
        expectHarmless(try Program.run(arguments), "\(arguments)")
      }
    }
  }

  /// The settings file, the folders of the system, and the terminal itself are named by others,
  /// too.
  @Test func variablesNeverActOnTheTerminal() throws {
    try Program.scratch { folder in
      let place = folder + "/" + Self.poison
      try FileManager.default.createDirectory(
        atPath: place + "/attnscope", withIntermediateDirectories: true)
      try Data("\(Self.poison) = \(Self.poison)\n".utf8).write(
        to: URL(filePath: place + "/attnscope/config"))
      let environment = [
        "XDG_CONFIG_HOME": place, "XDG_STATE_HOME": place, "XDG_RUNTIME_DIR": place,
        "TERM": Self.poison, "XDG_CACHE_HOME": place,
      ]
      for arguments in [
        ["config", "check"], ["config", "init"], ["doctor"], ["notes", "--once"], ["lesson"],
        ["run", "--plain", "--prompt", "x"],
      ] {
        expectHarmless(try Program.run(arguments, environment: environment), "\(arguments)")
      }
    }
  }

  @Test func aRecordingNeverActsOnTheTerminal() throws {
    try Program.scratch { folder in
      let branch: [String: Any] = ["id": 0, "fork": 0, "attention": Self.poison]
      let branches = try JSONSerialization.data(withJSONObject: [branch])
      let tokens = try JSONEncoder().encode([String](repeating: Self.poison, count: 6))
      let recording = try safetensors(
        [
          ("layers.0.q", "F16", [4, 6, 8]), ("layers.0.k", "F16", [2, 6, 8]),
          ("layers.0.v", "F16", [2, 6, 8]), ("token_ids", "I32", [6]),
        ],
        [
          "kind": "prefill", "model": Self.poison, "layers": "1", "heads": "4", "kv_heads": "2",
          "head_dim": "8", "position": "0", "causal": "true",
          "branches": String(decoding: branches, as: UTF8.self),
          "tokens": String(decoding: tokens, as: UTF8.self),
        ])
      let path = folder + "/" + Self.poison
      try recording.write(to: URL(filePath: path))
      let summary = try Program.run("open", path)
      #expect(summary.status == 0 && summary.output.contains("branch 0"), "\(summary)")
      expectHarmless(summary, "open")
      for command in ["report", "info", "calibrate"] {
        expectHarmless(try Program.run(command, path), command)
      }
    }
  }

  // MARK: Numbers that no size could be

  @Test func aTileThatMakesAnAbsurdMapIsRefused() throws {
    try Program.scratch { folder in
      let path = folder + "/mask.safetensors"
      let wide = [("layers.0.blocks", "U8", [1, 2900, 2900])]
      try safetensors(wide, [:]).write(to: URL(filePath: path))
      let flag = try Program.run("open", path, "--mask-tile", "1048576x1048576")
      #expect(flag.status == 1 && flag.error.contains("--mask-tile"), "\(flag)")
      try safetensors(wide, ["tile": "1048576x1048576"]).write(to: URL(filePath: path))
      for command in ["open", "report", "info"] {
        let result = try Program.run(command, path)
        #expect(result.status == 1 && result.error.contains("positions"), "\(result)")
      }
    }
  }

  @Test func aRangeUpToTheLargestNumberIsRefused() throws {
    try Program.scratch { folder in
      let path = folder + "/d.safetensors", out = folder + "/o.safetensors"
      try dump("a").write(to: URL(filePath: path))
      let most = String(Int.max)
      let slice = try Program.run("slice", path, "--tokens", most, "-o", out)
      #expect(slice.status == 1 && slice.error.contains("one range within 0-7"), "\(slice)")
      try TinyGGUF.with(TinyModel().bytes) { model in
        let capture = try Program.run(
          "capture", "--model", model, "--prompt", "in the", "--positions", most, "-o", out)
        #expect(capture.status == 1 && capture.error.contains("one range within"), "\(capture)")
      }
      let splits = try Program.run("calibrate", path, "--splits", most)
      #expect(splits.status == 2 && splits.error.contains("--splits"), "\(splits)")
      for arguments in [
        ["report", path, "--layers", most], ["report", path, "--heads", most],
        ["open", path, "--layer", most], ["open", path, "--head", most],
        ["render", path, "--set", "zoom=\(most)", "--format", "txt"],
        ["render", path, "--set", "cursor=\(most),\(most)"],
        ["render", path, "--set", "window=0-\(most),0-\(most)"],
        ["render", path, "--tile", "\(most)x\(most)"], ["report", path, "--splits", most],
        ["report", path, "--batch", most], ["report", path, "--query-offset", most],
        ["calibrate", path, "--lengths", most], ["calibrate", path, "--decode-rows", most],
        ["report", path, "--knob", "keys=\(most)"], ["report", path, "--knob", "splits=1e300"],
        ["report", path, "--method", "block-sparse", "--knob", "count=1073741824"],
        ["compare", path + "@0.\(most)", "a-shape"], ["synth", "--tokens", most, "-o", out],
        ["synth", "--heads", most, "-o", out], ["capture", "--threads", most, "-o", out],
      ] {
        expectHarmless(try Program.run(arguments), "\(arguments)")
      }
    }
  }

  @Test(arguments: ["1e19", "1e200", "1e300", "-1e300"]) func aFactorThatIsNoLengthIsRefused(
    _ factor: String
  ) throws {
    try Program.scratch { folder in
      let path = folder + "/points.csv"
      let text = ["0.2", "0.5", "0.8"].map { "\($0), \(factor), 1\n" }.joined()
      try Data(text.utf8).write(to: URL(filePath: path))
      for format in ["trtllm", "modelopt"] {
        let result = try Program.run("calibrate", "--points", path, "--write", format)
        #expect(result.status == 1 && result.error.contains("line 1: a factor is"), "\(result)")
      }
    }
  }

  @Test func threadsAreCountedEverywhereAlike() throws {
    for command in [
      ["capture", "--prompt", "x", "-o", "x.safetensors"], ["run", "--plain", "--prompt", "x"],
      ["perplexity", "--file", "x"], ["bench", "ui"], ["calibrate"],
    ] {
      for count in ["0", "-1", "257", String(Int.max)] {
        let result = try Program.run(command + ["--threads", count])
        #expect(result.status == 2 && result.error.contains("--threads"), "\(command): \(result)")
      }
    }
  }

  // MARK: Variables

  @Test func anInstructionSetThatIsNoneIsRefused() throws {
    for word in ["avx1024", "AVX2", "plain ", "1"] {
      let result = try Program.run("methods", environment: ["ATTNSCOPE_ISA": word])
      #expect(result.status == 2 && result.output.isEmpty, "\(word): \(result)")
      for known in ["ATTNSCOPE_ISA", "plain", "baseline", "avx2", "avx512"] {
        #expect(result.error.contains(known), "\(result.error)")
      }
      #expect(result.error.split(separator: "\n").count == 1)
    }
    for word in ["", "plain", "baseline"] {
      #expect(try Program.run("methods", environment: ["ATTNSCOPE_ISA": word]).status == 0)
    }
    #expect(try Program.run("--help", environment: ["ATTNSCOPE_ISA": "x"]).status == 0)
    for count in ["many", "0", "-3", "257"] {
      let result = try Program.run("methods", environment: ["ATTNSCOPE_THREADS": count])
      #expect(result.status == 2 && result.error.contains("it is 1 to 256"), "\(result)")
    }
    #expect(try Program.run("methods", environment: ["ATTNSCOPE_THREADS": "3"]).status == 0)
  }

  // MARK: JSON

  /// Numbers are numbers, and what is not known is null: a program reads this, no person.
  @Test func aComparisonInJSONHoldsNumbers() throws {
    try Program.scratch { folder in
      let path = folder + "/d.safetensors"
      try dump("a", tokens: 300).write(to: URL(filePath: path))
      for other in ["a-shape", "tile 64x64"] {
        let result = try Program.run("compare", path, other, "--json")
        let object = try JSONSerialization.jsonObject(with: Data(result.output.utf8))
        let table = try #require(object as? [String: Any])
        #expect(table["left"] is String && table["right"] is String)
        let rows = try #require(table["rows"] as? [[String: Any]])
        let names = rows.compactMap { $0["name"] as? String }
        for name in [
          "pruned", "visible_blocks", "dropped_mass_mean", "dropped_mass_max",
          "output_error_relative_l2", "sink_mass", "sink_key", "entropy", "effective_tokens",
        ] { #expect(names.contains(name), "\(name)") }
        for row in rows where row["name"] as? String != "pattern" {
          for side in ["left", "right", "both"] {
            let value = row[side]
            #expect(value == nil || value is NSNumber || value is NSNull, "\(row)")
          }
        }
        let pruned = rows.first { $0["name"] as? String == "pruned" }
        #expect((pruned?["left"] as? Double).map { (0...1).contains($0) } ?? false, "\(other)")
      }
    }
  }
}
