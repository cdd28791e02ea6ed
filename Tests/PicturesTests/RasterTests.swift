import Foundation
import Pictures
import Testing

@Suite struct RasterTests {
  static let white = RGB(255, 255, 255)

  static func picture(
    _ width: Double, _ height: Double, _ background: RGB? = white, _ shapes: Shape...
  ) -> Picture {
    Picture(
      width: width, height: height, background: background, title: "", summary: "", shapes: shapes)
  }

  static func pixel(_ raster: Raster, _ x: Int, _ y: Int) -> [UInt8] {
    Array(raster.rgba[4 * (y * raster.width + x)..<4 * (y * raster.width + x) + 4])
  }

  /// No seam: between the edges of a full grid, wherever it lies, no pixel shows the background.
  @Test(arguments: [0.5, 1, 1.3, 2, 3.7])
  func aFullGridHidesTheBackground(_ scale: Double) throws {
    for (at, columns, rows) in [(3.3, 7, 5), (0.0, 64, 64), (2.71, 1, 1), (5.55, 13, 90)] {
      let cells = Shape.cells(
        x: at, y: at / 2, width: 50.3, height: 41.7, columns: columns, rows: rows,
        colors: Array(repeating: RGB(200, 0, 0), count: columns * rows), id: "")
      let raster = try Self.picture(60, 50, RGB(0, 255, 0), cells).pixels(scale: scale)
      func edge(_ value: Double) -> Int { Int((value * scale).rounded()) }
      for y in 0..<raster.height {
        for x in 0..<raster.width {
          let inside =
            (edge(at)..<edge(at + 50.3)).contains(x)
            && (edge(at / 2)..<edge(at / 2 + 41.7)).contains(y)
          let read = Self.pixel(raster, x, y)
          guard read == (inside ? [200, 0, 0, 255] : [0, 255, 0, 255]) else {
            Issue.record("\(read) at \(x),\(y) of \(columns)×\(rows) at \(at), scale \(scale)")
            return
          }
        }
      }
    }
  }

  @Test func cellsHaveTheirColours() throws {
    let colors = RGB.dice(6 * 4, choices: 3)
    let raster = try Self.picture(
      60, 40, nil,
      .cells(x: 0, y: 0, width: 60, height: 40, columns: 6, rows: 4, colors: colors, id: "")
    ).pixels(scale: 1)
    for (at, color) in colors.enumerated() {
      let read = Self.pixel(raster, 10 * (at % 6) + 5, 10 * (at / 6) + 5)
      #expect(read == (color.map { [$0.r, $0.g, $0.b, 255] } ?? [0, 0, 0, 0]))
    }
  }

  @Test func strokesBlend() throws {
    let line = Shape.line(x1: 0, y1: 0, x2: 10, y2: 10, color: RGB(0, 0, 0), width: 2, dash: nil)
    let raster = try Self.picture(10, 10, Self.white, line).pixels(scale: 1)
    #expect(Self.pixel(raster, 5, 5) == [0, 0, 0, 255])
    #expect(Self.pixel(raster, 0, 9) == [255, 255, 255, 255])
    #expect(raster.rgba.contains { $0 > 20 && $0 < 235 })
    // On nothing, colour stays and alpha is the coverage.
    let clear = try Self.picture(
      10, 10, nil, .polyline([(2, 2), (8, 5)], color: RGB(10, 20, 30), width: 1)
    ).pixels(scale: 1)
    for at in stride(from: 0, to: clear.rgba.count, by: 4) where clear.rgba[at + 3] > 0 {
      #expect(Array(clear.rgba[at..<at + 3]) == [10, 20, 30])
    }
  }

  @Test func uprightLinesAreCrisp() throws {
    for x in [3.0, 3.2, 3.5] {
      let line = Shape.line(x1: x, y1: 0, x2: x, y2: 10, color: RGB(0, 0, 0), width: 1, dash: nil)
      let raster = try Self.picture(10, 10, Self.white, line).pixels(scale: 1)
      #expect((0..<10).map { Self.pixel(raster, $0, 5)[0] }.filter { $0 != 255 } == [0], "\(x)")
    }
  }

  @Test func sizesWithoutPixelsOrWithTooManyAreRefused() {
    for (width, height, scale) in [
      (0.0, 10.0, 1.0), (10, -1, 1), (10, 10, 0), (10, 10, -2), (.nan, 10, 1), (10, 10, .nan),
      (.infinity, 10, 1), (10, 10, .infinity), (1000, 700, 1000), (1e300, 1e300, 1),
    ] {
      #expect(throws: PictureError.self, "\(width) × \(height), \(scale)") {
        try Self.picture(width, height).pixels(scale: scale)
      }
    }
    let error = PictureError.size(width: 1000, height: 700, scale: 50)
    #expect("\(error)".contains("1000 × 700 points at scale 50"))
  }

  @Test func oddShapesAreHarmless() throws {
    let black = RGB(0, 0, 0)
    let marks = [0, -5, .nan, 1e200].map {
      Mark(row: 0, column: 0, x: $0, y: 0, width: $0, height: 4)
    }
    let picture = Self.picture(
      1, 1, nil,
      .cells(x: 0, y: 0, width: 1, height: 1, columns: 0, rows: 0, colors: [], id: ""),
      .cells(x: 0, y: 0, width: 1, height: 1, columns: .max, rows: .max, colors: [nil], id: ""),
      .cells(x: 0, y: 0, width: 1, height: 1, columns: 3, rows: 3, colors: [black], id: ""),
      .cells(x: 0, y: 0, width: -1, height: 1, columns: 1, rows: 1, colors: [black], id: ""),
      .rect(
        x: -1e300, y: 0, width: 1e301, height: 9, fill: black, stroke: black, strokeWidth: 1e99),
      .crosses(marks, color: black, halo: black, id: ""),
      .line(x1: -1e200, y1: 0, x2: 1e200, y2: 1, color: black, width: 1, dash: 1e-9),
      .line(x1: 0, y1: 0, x2: 0, y2: 0, color: black, width: 0, dash: 0),
      .polyline([], color: black, width: 1), .polyline([(0, 0)], color: black, width: -1),
      .text(
        "far", x: 1e300, y: -1e300, size: 1e30, anchor: .end, color: black, bold: true,
        rotation: 1e18),
      .text("", x: 0, y: 0, size: 0, anchor: .middle, color: black, bold: false, rotation: 33))
    #expect(try picture.pixels(scale: 1).rgba.count == 4)
    #expect(picture.svg.hasSuffix("</svg>\n"))
  }

  private static func line(on background: RGB?) throws -> Raster {
    try picture(
      31, 17, background,
      .polyline([(1, 1), (20, 12), (30, 3)], color: RGB(200, 30, 60), width: 3)
    ).pixels(scale: 2)
  }

  @Test(arguments: [RGB(250, 251, 252), nil])
  func theFileIsTheSameEachTime(_ background: RGB?) throws {
    let raster = try Self.line(on: background)
    let png = try raster.png(dpi: 192, title: "λ = 0.01")
    #expect(png.starts(with: [137, 80, 78, 71, 13, 10, 26, 10]))
    #expect(try raster.png(dpi: 192, title: "λ = 0.01") == png)
  }

  /// Python reads the file with its own zlib and undoes the filters: the pixels come back.
  @Test(
    .enabled(if: Python.isThere, "there is no python3 to read the PNG with"),
    arguments: [RGB(250, 251, 252), nil])
  func theFileIsReadBack(_ background: RGB?) throws {
    let raster = try Self.line(on: background)
    let read = try Python.run(Self.decoder, input: try raster.png(dpi: 192, title: "λ = 0.01"))
    let header = "62 34 7559 λ = 0.01\n"
    #expect(read.prefix(header.utf8.count) == Array(header.utf8)[...])
    #expect(read.dropFirst(header.utf8.count) == raster.rgba[...])
  }

  static let decoder = """
    import struct, sys, zlib
    data = sys.stdin.buffer.read()
    at, packed, title, dpi = 8, b"", "", 0
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at:at + 8])
        body = data[at + 8:at + 8 + size]
        assert zlib.crc32(kind + body) == struct.unpack(">I", data[at + 8 + size:at + 12 + size])[0]
        if kind == b"IHDR": width, height, depth, color = struct.unpack(">IIBB", body[:10])
        if kind == b"IDAT": packed += body
        if kind == b"pHYs": dpi = struct.unpack(">I", body[:4])[0]
        if kind == b"iTXt": title = body.split(b"\\0")[-1].decode()
        at += 12 + size
    n = {2: 3, 6: 4}[color]
    raw, last, out = zlib.decompress(packed), bytearray(n * width), bytearray()
    for y in range(height):
        kind, line = raw[y * (n * width + 1)], bytearray(raw[y * (n * width + 1) + 1:(y + 1) * (n * width + 1)])
        for i in range(n * width):
            a, b, c = (line[i - n] if i >= n else 0), last[i], (last[i - n] if i >= n else 0)
            near = min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))[2]
            line[i] = (line[i] + (0, a, b, (a + b) // 2, near)[kind]) % 256
        for x in range(width): out += line[n * x:n * x + n] + b"\\xff" * (4 - n)
        last = line
    sys.stdout.buffer.write(f"{width} {height} {dpi} {title}\\n".encode() + out)
    """
}

/// The python3 of the machine, as a second opinion.
enum Python {
  static let isThere: Bool = {
    let folders = (ProcessInfo.processInfo.environment["PATH"] ?? "").split(separator: ":")
    return folders.contains { FileManager.default.isExecutableFile(atPath: $0 + "/python3") }
  }()

  /// What the script prints.
  static func run(_ script: String, input: [UInt8]) throws -> [UInt8] {
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = ["python3", "-X", "utf8", "-c", script]
    let (stdin, stdout) = (Pipe(), Pipe())
    process.standardInput = stdin
    process.standardOutput = stdout
    try process.run()
    try stdin.fileHandleForWriting.write(contentsOf: Data(input))
    try stdin.fileHandleForWriting.close()
    let out = try stdout.fileHandleForReading.readToEnd() ?? Data()
    process.waitUntilExit()
    #expect(process.terminationStatus == 0)
    return Array(out)
  }
}
