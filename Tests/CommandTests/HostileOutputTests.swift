import Foundation
import Support
import Testing

extension ProgramTests {
  /// Token texts and names that mean harm, through every form in which something is written.
  @Suite(.serialized) struct HostileOutputTests {
    /// Acts on a terminal, on a spreadsheet, on a page, on a table, or on the eye.
    private static let tokens = [
      "=cmd|' /C calc'!A0", "\u{1b}]0;X\u{7}", "\u{9b}31m\u{85}", "a\u{202e}b\u{2066}",
      "<script>alert(1)</script>", "l\r\nsecond: fake", "@SUM(A1)", "x|y\\|z", "\"><b>&amp;",
      "-2+3", "+1+1", "\t=1+1",
    ]
    private static let name = "m<script>\u{1b}[2J\u{202e}\nsecond: fake"

    /// Controls but for the ends of lines, and what turns the direction of writing.
    private static func acts(_ scalar: Unicode.Scalar) -> Bool {
      switch scalar.value {
      case 10: false
      case 0..<32, 0x7f..<0xa0, 0x61c, 0x200e, 0x200f, 0x202a...0x202e, 0x2066...0x2069: true
      default: false
      }
    }

    /// The fields of CSV, by RFC 4180.
    private static func fields(_ csv: String) -> [String] {
      var out: [String] = [], field = "", isQuoted = false
      for c in csv {
        if c == "\"" {
          isQuoted.toggle()
        } else if !isQuoted, c == "," || c == "\n" {
          out.append(field)
          field = ""
        } else {
          field.append(c)
        }
      }
      return out + [field]
    }

    private func expectHarmless(_ text: String, _ format: String, _ what: String) {
      // A figure drawn for a terminal has escapes of its own: colours, and nothing else.
      let text = format == "ansi" ? text.replacing(/\e\[[0-9;]*m/, with: "") : text
      let found = text.unicodeScalars.first(where: Self.acts)
      #expect(found == nil, "\(what): U+\(found.map { String($0.value, radix: 16) } ?? "")")
      let lines = text.split(separator: "\n")
      #expect(!lines.contains { $0.hasPrefix("second") }, "\(what): a text begins a line")
      if ["svg", "html", "md"].contains(format) {
        #expect(!text.contains("<script") && !text.contains("<b>"), "\(what): a tag")
      }
      if format == "csv" {
        for field in Self.fields(text) where field.count > 1 && Double(field) == nil {
          #expect(!"=+-@".contains(field.first ?? " "), "\(what): the formula \(field)")
        }
      }
      if format == "json" {
        let json = try? JSONSerialization.jsonObject(with: Data(text.utf8))
        #expect(json != nil, "\(what): no JSON")
      }
    }

    /// Q, K and V of two heads, so that every figure has something to show.
    private func dump(_ path: String) throws {
      let count = Self.tokens.count
      var header: [String: Any] = [:], data = Data(), random = UInt32(7)
      for array in ["q", "k", "v"] {
        let start = data.count
        for _ in 0..<2 * count * 4 {
          random = random &* 1_664_525 &+ 1_013_904_223
          let value = Float(random >> 8) / Float(1 << 23) - 1
          withUnsafeBytes(of: value.bitPattern.littleEndian) { data.append(contentsOf: $0) }
        }
        header["layers.0.\(array)"] = [
          "dtype": "F32", "shape": [2, count, 4], "data_offsets": [start, data.count],
        ]
      }
      let tokens = try JSONEncoder().encode(Self.tokens)
      header["__metadata__"] = [
        "model": Self.name, "tokens": String(decoding: tokens, as: UTF8.self), "causal": "true",
      ]
      let text = try JSONSerialization.data(withJSONObject: header)
      let size = withUnsafeBytes(of: UInt64(text.count).littleEndian) { Data($0) }
      try (size + text + data).write(to: URL(filePath: path))
    }

    private func with(_ body: (_ path: String, _ folder: String) throws -> Void) throws {
      try Program.scratch { folder in
        let path = folder + "/" + Self.name.replacing("/", with: "") + ".safetensors"
        try dump(path)
        try body(path, folder)
      }
    }

    private static let views = [
      "map", "heads", "blocks", "sinks", "row", "curve", "compare", "gallery", "budget",
    ]

    /// A figure of every view in every format, and the numbers behind it. PNG, PDF and npy hold no
    /// text that a program reads as such; those of PDF are drawn.
    @Test(arguments: views) func figures(_ view: String) throws {
      try with { path, folder in
        // Text is the screen, whatever is drawn on it.
        let formats = ["map", "row"].contains(view) ? ["html", "txt", "ansi"] : ["html"]
        for format in formats {
          let out = "\(folder)/out.\(format)"
          let result = try Program.run("render", path, "--view", view, "-o", out)
          expectHarmless(result.output + result.error, "plain", "\(view).\(format)")
          let mayFail = ["compare", "gallery", "budget", "curve", "blocks"].contains(view)
          #expect(result.status == 0 || mayFail, "\(view).\(format): \(result.error)")
          guard let text = try? String(contentsOfFile: out, encoding: .utf8) else { continue }
          expectHarmless(text, format, "\(view).\(format)")
        }
        let data = folder + "/data.csv", figure = folder + "/figure.svg"
        let result = try Program.run("render", path, "--view", view, "-o", figure, "--data", data)
        expectHarmless(result.output + result.error, "plain", view)
        for (file, format) in [(figure, "svg"), (data, "csv")] {
          if let text = try? String(contentsOfFile: file, encoding: .utf8) {
            expectHarmless(text, format, "\(view).\(format)")
          } else {
            #expect(!["row", "sinks", "map"].contains(view), "\(view).\(format): \(result.error)")
          }
        }
      }
    }

    /// What commands print, in all their forms.
    @Test func texts() throws {
      try with { path, folder in
        for (format, arguments) in [
          ("plain", ["open", path]), ("plain", ["open", path, "--plain"]),
          ("plain", ["open", path, path]), ("plain", ["info", path]),
          ("json", ["info", path, "--json"]), ("plain", ["report", path]),
          ("csv", ["report", path, "--csv"]), ("md", ["report", path, "--markdown"]),
          ("json", ["report", path, "--json"]), ("plain", ["compare", path, "a-shape"]),
          ("json", ["compare", path, "a-shape", "--json"]),
          ("csv", ["compare", path, "--methods", "all", "--csv"]),
          ("csv", ["report", path, "--overlap", "a-shape,vertical-slash", "--csv"]),
          ("plain", ["calibrate", path]), ("ansi", ["render", path, "--format", "ansi"]),
          ("plain", ["slice", path, "-o", folder + "/slice.safetensors"]),
        ] {
          let result = try Program.run(arguments)
          #expect(result.status <= 2, "\(arguments): \(result)")
          expectHarmless(result.error, "plain", "\(arguments)")
          if result.status == 0 { expectHarmless(result.output, format, "\(arguments)") }
        }
      }
    }

    /// Tables keep what they hold: a token that was made harmless is still the token, and a number
    /// is a number.
    @Test func aTableKeepsItsNumbers() throws {
      try with { path, folder in
        let data = folder + "/row.csv"
        let result = try Program.run(
          "render", path, "--view", "row", "--set", "cursor=11,0", "-o", folder + "/row.svg",
          "--data", data)
        #expect(result.status == 0, "\(result.error)")
        let fields = Self.fields(try String(contentsOfFile: data, encoding: .utf8))
        for wanted in ["'=cmd|' /C calc'!A0", "'@SUM(A1)", "'-2+3", "'+1+1"] {
          #expect(fields.contains(wanted), "\(wanted) in \(fields)")
        }
      }
    }

    /// A message is for reading: it shows both ends of a name that fills screens.
    @Test func messagesAreShort() throws {
      let long = "begin" + String(repeating: "n", count: 70_000) + "end"
      for arguments in [
        [long], ["report", long], ["compare", Program.sample, long], ["lesson", long],
        ["report", Program.sample, "--method", long], ["render", Program.sample, "--set", long],
      ] {
        let result = try Program.run(arguments)
        #expect(result.status == 1 || result.status == 2, "\(arguments[0].prefix(9))")
        let lines = result.error.split(separator: "\n")
        #expect(lines.allSatisfy { $0.utf8.count < 5000 }, "\(lines.map(\.utf8.count))")
      }
      try Program.scratch { folder in
        let input = folder + "/in"
        try Data((long + "\nlambda 0.1\n").utf8).write(to: URL(filePath: input))
        let result = try Program.run("open", Program.sample, "--plain", input: input)
        #expect(result.output.contains("is no command") && result.seconds < 5, "\(result.seconds)")
        #expect(result.output.contains("lambda = 0.1"), "\(result.output.suffix(300))")
      }
    }

    /// The screen shows them too, and the terminal gets none of it.
    @Test func theScreen() throws {
      try with { path, _ in
        let terminal = try PseudoTerminal([Program.path, path])
        terminal.sees("Under the cursor")
        for view in ["2", "3", "4", "5", "1"] {
          terminal.send("\u{1b}\(view)")
          terminal.redraws("attnscope")
        }
        terminal.send("q")
        #expect(terminal.end() == 0)
        #expect(!terminal.output.contains("\u{1b}]0;X"))
        #expect(!terminal.output.unicodeScalars.contains { (0x80..<0xa0).contains($0.value) })
        #expect(!terminal.output.unicodeScalars.contains { $0.value == 0x202e })
      }
    }
  }
}
