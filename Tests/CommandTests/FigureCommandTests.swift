import Foundation
import FoundationXML
import Support
import Testing

extension ProgramTests {
  /// Figures as files: what is in them is what the report says.
  @Suite(.serialized) struct FigureCommandTests {
    private static let views = ["map", "heads", "blocks", "sinks", "row", "curve", "compare"]

    @Test(arguments: views) func everyFigureIsXML(_ view: String) throws {
      for theme in ["light", "dark"] {
        let result = try Program.run(
          "render", Program.sample, "--layer", "12", "--head", "6", "--view", view, "--format",
          "svg",
          "--theme", theme)
        #expect(result.status == 0, "\(result.error)")
        let parser = XMLParser(data: Data(result.output.utf8))
        #expect(parser.parse(), "\(view) \(theme): \(String(describing: parser.parserError))")
        #expect(result.output.contains("smollm2-log-832"))
        // What a caption owes its reader.
        for word in ["tile 128x128", "vote head", "order ascending", "λ = 0.01"] {
          #expect(result.output.contains(word), "\(view): no \(word)")
        }
      }
    }

    /// Rows and columns of the crosses of an SVG.
    private func crosses(_ svg: String) -> Set<[Int]> {
      guard let start = svg.range(of: "id=\"skipped-blocks\""),
        let end = svg.range(of: "</g>", range: start.upperBound..<svg.endIndex)
      else {
        Issue.record("the figure has no group of skipped blocks")
        return []
      }
      let group = svg[start.upperBound..<end.lowerBound]
      return Set(
        group.matches(of: #/data-row="(\d+)" data-column="(\d+)"/#).map {
          [Int($0.output.1)!, Int($0.output.2)!]
        })
    }

    /// Skipped blocks of layer 12 head 6 in the file that `report --masks` writes.
    private func reported(_ path: String, head: Int) throws -> Set<[Int]> {
      let data = try Data(contentsOf: URL(filePath: path))
      let size = data.prefix(8).enumerated().reduce(0) { $0 + Int($1.element) << (8 * $1.offset) }
      let header = try #require(
        try JSONSerialization.jsonObject(with: data.subdata(in: 8..<8 + size)) as? [String: Any])
      let entry = try #require(header["layers.12.blocks"] as? [String: Any])
      let shape = try #require(entry["shape"] as? [Int])
      let offsets = try #require(entry["data_offsets"] as? [Int])
      let start = 8 + size + offsets[0] + head * shape[1] * shape[2]
      var found: Set<[Int]> = []
      for i in 0..<shape[1] {
        for j in 0..<shape[2] where data[start + i * shape[2] + j] == 1 { found.insert([i, j]) }
      }
      return found
    }

    @Test(arguments: [
      ["--lambda", "0.03"], ["--lambda", "0.3", "--tile", "64x64"],
      ["--lambda", "0.1", "--order", "descending", "--vote", "group"],
    ]) func theMaskIsThatOfTheReport(_ flags: [String]) throws {
      try Program.scratch { folder in
        let masks = folder + "/m.safetensors"
        let report = try Program.run(
          ["report", Program.sample, "--layers", "12", "--masks", masks] + flags)
        #expect(report.status == 0, "\(report.error)")
        let isGroup = flags.contains("group")
        let wanted = try reported(masks, head: isGroup ? 2 : 6)
        #expect(!wanted.isEmpty)
        for view in ["map", "blocks"] {
          let svg = try Program.run(
            [
              "render", Program.sample, "--layer", "12", "--head", "6", "--view", view, "--format",
              "svg",
            ]
              + flags)
          #expect(crosses(svg.output) == wanted, "\(view) \(flags)")
        }
        // The numbers behind the figure say the same.
        let csv = folder + "/b.csv"
        let data = try Program.run(
          [
            "render", Program.sample, "--layer", "12", "--head", "6", "--view", "blocks", "-o",
            folder + "/b.svg", "--data", csv,
          ] + flags)
        #expect(data.status == 0, "\(data.error)")
        let lines = try String(contentsOfFile: csv, encoding: .utf8).split(separator: "\n")
        let skipped = lines.filter { $0.hasSuffix(",skipped") }.map { line in
          line.split(separator: ",").prefix(2).map { Int($0)! }
        }
        #expect(Set(skipped) == wanted)
      }
    }

    /// A few lines of Python that decode a PNG with nothing of ours.
    private static let decoder = """
      import sys, zlib, struct
      data = open(sys.argv[1], 'rb').read()
      assert data[:8] == bytes([137, 80, 78, 71, 13, 10, 26, 10])
      at, idat = 8, b''
      while at < len(data):
          n, kind = struct.unpack('>I4s', data[at:at + 8]); body = data[at + 8:at + 8 + n]
          assert zlib.crc32(kind + body) == struct.unpack('>I', data[at + 8 + n:at + 12 + n])[0]
          if kind == b'IHDR': w, h, depth, color = struct.unpack('>IIBB', body[:10])
          if kind == b'IDAT': idat += body
          at += 12 + n
      raw = zlib.decompress(idat); bpp = {2: 3, 6: 4}[color]; stride = w * bpp
      assert depth == 8 and len(raw) == h * (stride + 1)
      before = bytearray(stride); pink = 0
      for y in range(h):
          f = raw[y * (stride + 1)]; line = bytearray(raw[y * (stride + 1) + 1:(y + 1) * (stride + 1)])
          for x in range(stride):
              a = line[x - bpp] if x >= bpp else 0; b = before[x]; c = before[x - bpp] if x >= bpp else 0
              if f == 1: p = a
              elif f == 2: p = b
              elif f == 3: p = (a + b) // 2
              elif f == 4:
                  q = a + b - c; da, db, dc = abs(q - a), abs(q - b), abs(q - c)
                  p = a if da <= db and da <= dc else (b if db <= dc else c)
              else: p = 0
              line[x] = (line[x] + p) & 255
          for x in range(0, stride, bpp):
              r, g, b = line[x:x + 3]
              if abs(r - 176) < 8 and abs(g - 48) < 8 and abs(b - 122) < 8: pink += 1
          before = line
      print(w, h, pink)
      """

    @Test(.enabled(if: python != nil, "there is no python3 to read the PNG with"))
    func aPNGIsDecodedElsewhere() throws {
      try Program.scratch { folder in
        let script = folder + "/decode.py"
        try Self.decoder.write(toFile: script, atomically: true, encoding: .utf8)
        func decoded(_ lambda: String, _ scale: String) throws -> [Int] {
          let png = "\(folder)/\(lambda)-\(scale).png"
          let made = try Program.run(
            "render", Program.sample, "--layer", "12", "--head", "6", "--lambda", lambda, "-o", png,
            "--png-scale", scale)
          #expect(made.status == 0, "\(made.error)")
          let result = try Program.run([script, png], program: try #require(Self.python))
          #expect(result.status == 0, "\(result.error)")
          return result.output.split(separator: " ").compactMap { Int($0.filter(\.isNumber)) }
        }
        let few = try decoded("0", "1"), many = try decoded("0.3", "1"),
          large = try decoded("0.3", "2")
        #expect(few[0] == 760 && large[0] == 1520 && abs(large[1] - 2 * many[1]) <= 2)
        // With lambda 0 only the cross of the legend is drawn; with more the crosses of the blocks,
        // too.
        #expect(many[2] > few[2] + 100 && large[2] > 2 * many[2])
      }
    }

    private static let python: String? = {
      let paths = (ProcessInfo.processInfo.environment["PATH"] ?? "/usr/bin").split(separator: ":")
      return paths.map { "\($0)/python3" }.first {
        FileManager.default.isExecutableFile(atPath: $0)
      }
    }()

    private static let chromium = [
      "/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome",
    ].first { FileManager.default.isExecutableFile(atPath: $0) }

    @Test(.enabled(if: chromium != nil, "no Chromium is installed here"))
    func aBrowserDrawsTheFigure() throws {
      try Program.scratch { folder in
        for name in ["map.svg", "map.html"] {
          let file = "\(folder)/\(name)", shot = "\(folder)/\(name).png"
          #expect(try Program.run("render", Program.sample, "-o", file).status == 0)
          let result = try Program.run(
            [
              "--headless", "--no-sandbox", "--disable-gpu", "--window-size=800,900",
              "--screenshot=\(shot)", "file://\(file)",
            ],
            program: Self.chromium!, environment: ["HOME": folder])
          #expect(result.status == 0, "\(result.error)")
          let bytes = try Data(contentsOf: URL(filePath: shot))
          // A blank page compresses to a few kilobytes; a map does not.
          #expect(bytes.count > 20_000, "\(name): \(bytes.count) bytes")
        }
      }
    }

    @Test func nothingIsReplacedUnasked() throws {
      try Program.scratch { folder in
        for name in ["a.svg", "a.png", "a.html", "a.txt", "a.ansi"] {
          let file = folder + "/" + name
          #expect(try Program.run("render", Program.sample, "-o", file).status == 0)
          let again = try Program.run("render", Program.sample, "-o", file)
          #expect(again.status == 1 && again.error.contains("--force"), "\(name): \(again.error)")
          #expect(try Program.run("render", Program.sample, "-o", file, "--force").status == 0)
        }
        let npy = folder + "/a.npy"
        #expect(
          try Program.run("render", Program.sample, "-o", folder + "/b.svg", "--data", npy).status
            == 0)
        let head = try Data(contentsOf: URL(filePath: npy)).prefix(100)
        #expect(String(decoding: head, as: UTF8.self).contains("(512, 512)"))
      }
    }

    @Test(arguments: [
      (["-o", "x.gif"], "svg"), (["--set", "zoom"], "name=value"), (["--set", "zoom=3"], "from 8"),
      (["--set", "colour=red"], "no setting"), (["--data", "x.txt"], ".csv"),
      (["--points", "3"], "--points"), (["--set", "other=99.0", "--view", "compare"], "layers"),
    ]) func wrongWishesAreNamed(_ arguments: [String], _ word: String) throws {
      let result = try Program.run(["render", Program.sample] + arguments)
      #expect(result.status == 2 && result.error.contains(word), "\(result.error)")
    }

    /// A map says whose blocks are crossed out, and nothing of a lambda that had no part in it.
    @Test func aMapNamesTheMethodInForce() throws {
      let result = try Program.run(
        "render", Program.sample, "--layer", "12", "--head", "6", "--method", "quest:pages=4",
        "--format", "svg")
      #expect(result.status == 0, "\(result.error)")
      for word in ["block skipped by Quest", "method quest:pages=4"] {
        #expect(result.output.contains(word), "no \(word)")
      }
      for word in ["BLASST", "λ =", "tile 128x128"] {
        #expect(!result.output.contains(word), "\(word)")
      }
    }

    /// The same text as behind `report --method`, and the same picture as by `--set method=`.
    @Test func renderTakesAMethod() throws {
      let common = [
        "render", Program.sample, "--view", "method", "--format", "txt", "--layer", "12", "--head",
        "6",
      ]
      let flag = try Program.run(common + ["--method", "lucid:strength=0.5"])
      let set = try Program.run(common + ["--set", "method=lucid:strength=0.5"])
      #expect(flag.status == 0 && flag.output == set.output, "\(flag.error)")
      let standard = try Program.run(common + ["--method", "lucid"])
      #expect(standard.output != flag.output)
      for (more, status, words) in [
        (["--method", "magic"], Int32(1), "no method"),
        (["--method", "lucid:strength=9"], 1, "outside"),
        (["--method", "lucid:strength"], 1, "knob=value"),
        (["--method", "lucid", "--tile", "64x64"], 2, "--tile, --vote and --order"),
        (["--method", "lucid", "--set", "method=dense"], 2, "not by both"),
      ] {
        let result = try Program.run(common + more)
        let reported = try Program.run(["report", Program.sample, "--layers", "12"] + more)
        #expect(
          result.status == status && result.error.contains(words) && result.output.isEmpty,
          "\(more): \(result)")
        if !more.contains("--set") { #expect(result.error.prefix(60) == reported.error.prefix(60)) }
      }
    }
  }
}
