import Foundation
import Support
import Testing

extension ProgramTests {
  /// `--grid` and `--roles`: what a dump does not say of its tokens.
  @Suite(.serialized) struct TokenFactsTests {
    private let one = ["--layer", "12", "--head", "6"]
    private let fiqa = ["--method", "attn-fiqa"]

    private func render(_ more: [String]) throws -> Program.Result {
      try Program.run(
        ["render", Program.sample, "--view", "method", "--format", "txt", "--width", "160"] + one
          + fiqa + more)
    }

    /// The sample's 832 tokens as 26 rows of 32 patches: a map of the image, on the page and in
    /// files.
    @Test func theImageIsDrawnWithItsGrid() throws {
      let plain = try render([])
      #expect(plain.status == 0 && !plain.output.contains("on the image"), "\(plain.error)")
      let drawn = try render(["--grid", "26x32"])
      #expect(drawn.status == 0, "\(drawn.error)")
      #expect(
        drawn.output.contains("received, on the image") && drawn.output.contains("row x column"))
      try Program.scratch { folder in
        let report = ["report", Program.sample, "--layers", "12", "--heads", "6"] + fiqa
        for (name, more) in [("without", []), ("with", ["--grid", "26x30@12"])] {
          let fields = folder + "/\(name).safetensors"
          let result = try Program.run(report + ["--fields", fields] + more)
          #expect(result.status == 0, "\(result.error)")
          let bytes = try Data(contentsOf: URL(filePath: fields))
          let header = String(decoding: bytes.dropFirst(8).prefix(4000), as: UTF8.self)
          #expect(header.contains("patches") == (name == "with"), "\(header)")
          #expect(header.contains("[26,30]") || header.contains("[1,26,30]") || name == "without")
        }
      }
    }

    /// The first visual token is the first patch, and `info` says so.
    @Test func rolesPlaceTheGrid() throws {
      try Program.scratch { folder in
        func roles(_ name: String, _ list: [String]) throws -> String {
          let path = folder + "/" + name
          try Data(list.joined(separator: "\n").utf8).write(to: URL(filePath: path))
          return path
        }
        let words =
          Array(repeating: "text", count: 5) + Array(repeating: "Visual", count: 800)
          + Array(repeating: "padding", count: 27)
        let lines = try roles("roles.txt", words + [""])
        let json = try roles(
          "roles.json", ["[" + words.map { "\"\($0)\"" }.joined(separator: ",") + "]"])
        for path in [lines, json] {
          let info = try Program.run("info", Program.sample, "--roles", path, "--grid", "25x32")
          #expect(info.status == 0, "\(info.error)")
          #expect(
            info.output.contains("image     25x32 patches, tokens 5 to 804"), "\(info.output)")
          #expect(info.output.contains("roles     5 text, 800 visual, 27 padding"))
        }
        let about = try #require(
          try JSONSerialization.jsonObject(
            with: Data(
              try Program.run("info", Program.sample, "--json", "--roles", lines, "--grid", "25x32")
                .output.utf8)) as? [String: Any])
        #expect(
          about["image_grid"] as? [Int] == [25, 32] && about["image_first_token"] as? Int == 5)
        #expect((about["roles"] as? [String: Int])?["padding"] == 27)
        let few = try roles("few.txt", ["text", "visual"])
        let wrong = try roles("wrong.txt", ["text", "pixel"])
        let none = try roles("none.txt", Array(repeating: "text", count: 832))
        for (flags, words) in [
          (["--roles", few], "has 2 roles for the 832 tokens"),
          (["--roles", wrong], "token 1 is 'pixel'; a role is text, visual or padding"),
          (["--roles", none, "--grid", "2x2"], "calls no token visual"),
          (["--roles", lines, "--grid", "25x32@4"], "calls token 4 text"),
          (["--grid", "30x30"], "has 832 tokens, and --grid 30x30 covers 900"),
          (["--grid", "8x8@800"], "covers 64 from token 800 on"),
          (["--roles", folder + "/no"], "no such file"),
        ] {
          for command in [
            ["open", Program.sample], ["info", Program.sample], ["report", Program.sample],
            ["render", Program.sample], ["compare", "12.3", "12.6"],
          ] {
            let result = try Program.run(command + flags)
            #expect(
              result.status == 1 && result.error.contains(words) && result.output.isEmpty,
              "\(command) \(flags): \(result)")
            #expect(result.error.split(separator: "\n").count == 1, "\(result.error)")
          }
        }
      }
    }

    @Test(arguments: ["24", "0x4", "4x4@", "4x4@-1", "4x4@1@2", "x", "4x4@x"])
    func aGridIsRowsByColumns(_ text: String) throws {
      let result = try Program.run("info", Program.sample, "--grid", text)
      #expect(result.status == 2 && result.error.contains("--grid"), "\(result)")
    }
  }
}
