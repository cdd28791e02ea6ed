import Pictures
import Testing

@Suite struct FontTests {
  static let ascii = (33...126).map { String(Character(Unicode.Scalar($0)!)) }
  static let signs = "λ×·→≤≥∪±µ–—…“”‘’°²τ−≈éÄñç".map { String($0) }

  /// The pixels of one text, with its anchor at (20, 30).
  static func raster(_ text: String, bold: Bool = false, rotation: Double = 0) throws -> Raster {
    try Picture(
      width: 60, height: 50, background: RGB(255, 255, 255), title: "", summary: "",
      shapes: [
        .text(
          text, x: 20, y: 30, size: 11, anchor: .start, color: RGB(0, 0, 0), bold: bold,
          rotation: rotation)
      ]
    ).pixels(scale: 2)
  }

  @Test func everySignHasInkAndWidth() throws {
    let box = try Self.raster("\u{e000}")
    for sign in Self.ascii + Self.signs {
      for bold in [false, true] {
        #expect(Strokes.width(sign, size: 1, bold: bold) > 0.15, "\(sign)")
        let raster = try Self.raster(sign, bold: bold)
        #expect(raster.ink > 1, "\(sign)")
        #expect(raster.rgba != box.rgba, "\(sign) is an unknown box")
      }
    }
    #expect(Strokes.width(" ", size: 1, bold: false) > 0.2)
    #expect(try Self.raster(" ").ink == 0)
  }

  @Test func signsOfASCIIAreDistinct() throws {
    var seen: [[UInt8]: String] = [:]
    for sign in Self.ascii {
      let rgba = try Self.raster(sign).rgba
      #expect(seen[rgba] == nil, "\(sign) looks like \(seen[rgba] ?? "")")
      seen[rgba] = sign
    }
  }

  @Test func inkStaysInItsBox() throws {
    for sign in Self.ascii + Self.signs {
      for bold in [false, true] {
        let width = 2 * Strokes.width(sign, size: 11, bold: bold)
        let raster = try Self.raster(sign, bold: bold)
        // Descent 0.3 em, ascent 0.8 em (1 em with an accent), a pixel for smooth edges.
        let ascent = Self.ascii.contains(sign) ? 19 : 23
        let outside = raster.inked { x, y in
          Double(x) < 39 || Double(x) > 41 + width || y < 60 - ascent || y > 60 + 8
        }
        #expect(outside == 0, "\(sign) bold \(bold)")
      }
    }
  }

  @Test func capitalsAndSmallLettersHaveTheirHeights() throws {
    func rows(_ text: String) throws -> ClosedRange<Int> {
      let raster = try Self.raster(text)
      let rows = (0..<raster.height).filter { row in raster.inked { _, y in y == row } > 0 }
      return try #require(rows.first)...(try #require(rows.last))
    }
    for sign in "ABCDEFGHIKLMNOPRSTUVWXYZ0123456789" {
      let span = try rows(String(sign))
      #expect((43...45).contains(span.lowerBound) && (59...60).contains(span.upperBound), "\(sign)")
    }
    for sign in "acemnorsuvwxz" {
      let span = try rows(String(sign))
      #expect((47...49).contains(span.lowerBound) && (59...60).contains(span.upperBound), "\(sign)")
    }
  }

  @Test func widthsAreThoseOfAText() {
    let text = "The quick brown fox jumps over the lazy dog."
    let mean = Strokes.width(text, size: 1, bold: false) / Double(text.count)
    // Helvetica: 0.456.
    #expect((0.43...0.48).contains(mean), "\(mean)")
    #expect(
      abs(Strokes.width(text, size: 12, bold: false) - 12 * mean * Double(text.count)) < 1e-9)
    #expect(Strokes.width("", size: 11, bold: true) == 0)
    let digits = Set((0...9).map { Strokes.width("\($0)", size: 1, bold: false) })
    #expect(digits.count == 1)
  }

  @Test func turnedTextReadsUpwards() throws {
    let raster = try Self.raster("abcd", rotation: -90)
    #expect(raster.ink > 10)
    #expect(raster.inked { x, y in x > 40 + 8 || x < 40 - 19 || y > 61 } == 0)
  }
}

extension Raster {
  /// How many pixels where `picked` holds are not white.
  func inked(_ picked: (Int, Int) -> Bool) -> Int {
    var count = 0
    for y in 0..<height {
      for x in 0..<width where rgba[4 * (y * width + x)] < 250 && picked(x, y) { count += 1 }
    }
    return count
  }

  var ink: Int { inked { _, _ in true } }
}
