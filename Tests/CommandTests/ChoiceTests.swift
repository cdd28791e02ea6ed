import Formats
import Foundation
import Support
import Tensors
import Testing

/// Flags that choose among arrays, and what `info` and `slice` say of them.
extension ProgramTests {
  @Suite struct ChoiceTests {
    /// Uniform causal patterns `[1, heads, n, n]`.
    private func pattern(_ heads: Int, _ n: Int) -> Tensor {
      let map = (0..<n * n).map { $0 % n <= $0 / n ? 1 / Float($0 / n + 1) : 0 }
      return Tensor((0..<heads).flatMap { _ in map }, shape: [1, heads, n, n])
    }

    private func file(
      _ arrays: [(String, Tensor)], metadata: [String: String] = [:],
      _ body: (String, String) throws -> Void
    ) throws {
      try Program.scratch { folder in
        let path = folder + "/dump.safetensors"
        try writeSafetensors(
          arrays.map { ArrayToWrite($0.0, tensor: $0.1) }, metadata: metadata, to: path,
          force: false)
        try body(path, folder)
      }
    }

    @Test func infoListsEveryArray() throws {
      let arrays = [
        ("encoder_attentions.0", pattern(2, 5)), ("decoder_attentions.0", pattern(2, 4)),
        ("hidden_states", pattern(1, 3)),
      ]
      try file(arrays) { path, _ in
        let text = try Program.run("info", path).output
        for line in [
          "shown", "also here", "decoder_attentions.0 1x2x4x4 F32, pattern",
          "encoder_attentions.0 1x2x5x5 F32, not used", "hidden_states 1x1x3x3 F32, not used",
        ] { #expect(text.contains(line), "\(line) is not in \(text)") }
        let other = try Program.run("info", path, "--array", "encoder").output
        #expect(other.contains("5 queries x 5 keys"), "\(other)")
        let wrong = try Program.run("info", path, "--array", "x")
        #expect(wrong.status == 1 && wrong.error.contains("encoder_attentions.0"))
      }
    }

    /// A layer of a file whose layers do not fit together can be cut out, as the refusal says.
    @Test func aLayerIsCutOutOfLayersThatDoNotFit() throws {
      try file([("layer_0", pattern(2, 3)), ("layer_1", pattern(2, 6))]) { path, folder in
        let refused = try Program.run("info", path)
        #expect(refused.status == 1 && refused.error.contains("slice FILE --layers"))
        let out = folder + "/cut.safetensors"
        #expect(try Program.run("slice", path, "--layers", "1", "-o", out).status == 0)
        #expect(try Program.run("info", out).output.contains("6 queries x 6 keys"))
      }
    }

    /// A slice says what the model calls its heads, and a slice of a slice too.
    @Test func slicesKeepTheNumbersOfHeads() throws {
      try file([("layers.0.pattern", Tensor(pattern(6, 4).floats(), shape: [6, 4, 4]))]) {
        path, folder in
        let (one, two) = (folder + "/one.safetensors", folder + "/two.safetensors")
        #expect(try Program.run("slice", path, "--heads", "2,4-5", "-o", one).status == 0)
        #expect(try Program.run("info", one).output.contains("2, 4, 5"))
        #expect(try Program.run("slice", one, "--heads", "4", "-o", two).status == 0)
        let text = try Program.run("info", two, "--json").output
        #expect(text.contains(#/"head_numbers"\s*:\s*\[\s*4\s*\]/#), "\(text)")
      }
    }

    /// Windows are kept by slice, and change what report says.
    @Test func windowsAreFollowed() throws {
      let q = Tensor((0..<512).map { Float($0 % 7) / 4 }, shape: [1, 64, 8])
      try file([("layers.0.q", q), ("layers.0.k", q)], metadata: ["causal": "true"]) {
        path, folder in
        let out = folder + "/cut.safetensors"
        let flags = ["--window", "16"]
        #expect(try Program.run(["slice", path, "-o", out] + flags).status == 0)
        #expect(try Program.run("info", out).output.contains("window of 16"))
        let report = ["--tile", "16x16", "--json", "--lambda", "0"]
        let told = try Program.run(["report", path] + flags + report).output
        let kept = try Program.run(["report", out] + report).output
        let whole = try Program.run(["report", path] + report).output
        func entropy(_ text: String) -> Substring? {
          text.firstMatch(of: #/"entropy[a-z_]*"\s*:\s*[0-9.]+/#)?.output
        }
        #expect(entropy(told) != nil && entropy(told) == entropy(kept))
        #expect(entropy(told) != entropy(whole))
      }
    }

    /// Files of one layer each are one dump; any two files are two.
    @Test func aFileALayer() throws {
      try Program.scratch { folder in
        let files = (0..<3).map { folder + "/attn_layer_\($0).npy" }
        for file in files {
          try writeNpy(ArrayToWrite("x", tensor: pattern(2, 4)), to: file, force: false)
        }
        for arguments in [files, [folder]] {
          let text = try Program.run(["info"] + arguments).output
          #expect(text.contains("0, 1, 2") && text.contains("3 files"), "\(text)")
        }
        let pair = [folder + "/a.npy", folder + "/b.npy"]
        for file in pair {
          try writeNpy(ArrayToWrite("x", tensor: pattern(2, 4)), to: file, force: false)
        }
        let two = try Program.run(["info", "--json"] + pair).output
        #expect(two.split(separator: "\"kind\"").count == 3)
      }
    }
  }
}
