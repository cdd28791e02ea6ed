import Foundation
import FoundationXML
import Pictures
import Testing

/// An SVG file as a list of elements, as an XML parser of others reads it.
final class Elements: NSObject, XMLParserDelegate {
  private(set) var all: [(name: String, attributes: [String: String], text: String)] = []
  private(set) var failure: String?
  private var open: [Int] = []

  init(_ svg: String) {
    super.init()
    let parser = XMLParser(data: Data(svg.utf8))
    parser.delegate = self
    if !parser.parse() { failure = "\(parser.parserError.map { "\($0)" } ?? "?") in \(svg)" }
  }

  func named(_ name: String) -> [(name: String, attributes: [String: String], text: String)] {
    all.filter { $0.name == name }
  }

  func parser(
    _ parser: XMLParser, didStartElement name: String, namespaceURI: String?,
    qualifiedName: String?, attributes: [String: String]
  ) {
    open.append(all.count)
    all.append((name, attributes, ""))
  }

  func parser(
    _ parser: XMLParser, didEndElement: String, namespaceURI: String?, qualifiedName: String?
  ) {
    open.removeLast()
  }

  func parser(_ parser: XMLParser, foundCharacters string: String) {
    if let last = open.last { all[last].text += string }
  }
}

@Suite struct SVGTests {
  static let black = RGB(0, 0, 0)

  static func picture(_ shapes: Shape..., title: String = "t", summary: String = "s") -> Picture {
    Picture(
      width: 200, height: 100, background: RGB(hex: 0xffffff), title: title, summary: summary,
      shapes: shapes)
  }

  static func text(_ text: String, rotation: Double = 0) -> Shape {
    .text(
      text, x: 10, y: 20, size: 11, anchor: .middle, color: black, bold: true, rotation: rotation)
  }

  @Test func aColourIsSixDigits() {
    #expect(RGB(hex: 0x1a_2b3c).hex == "#1a2b3c" && RGB(0, 5, 255).hex == "#0005ff")
    #expect(RGB(hex: 0xff01_0203) == RGB(1, 2, 3))
  }

  @Test func everyShapeIsWellFormed() {
    let picture = Self.picture(
      .rect(x: 0, y: 0, width: 10, height: 5.5, fill: nil, stroke: Self.black, strokeWidth: 0.5),
      .cells(x: 0, y: 0, width: 9, height: 9, columns: 1, rows: 1, colors: [Self.black], id: "m"),
      .crosses(
        [Mark(row: 1, column: 2, x: 0, y: 0, width: 4, height: 4)], color: Self.black,
        halo: RGB(255, 255, 255), id: "x"),
      .line(x1: 0, y1: 0, x2: 1.0 / 3, y2: 1e-7, color: Self.black, width: 1, dash: 2),
      .polyline([(0, 0), (1, 1)], color: Self.black, width: 1), Self.text("a", rotation: -90))
    let elements = Elements(picture.svg)
    #expect(elements.failure == nil)
    #expect(
      elements.all.map(\.name) == [
        "svg", "title", "desc", "rect", "rect", "svg", "path", "path", "g", "path", "line",
        "polyline", "text",
      ])
    #expect(elements.named("line")[0].attributes["x2"] == "0.33")
    #expect(elements.named("line")[0].attributes["y2"] == "0")
    #expect(elements.named("text")[0].attributes["transform"] == "rotate(-90 10 20)")
    #expect(picture.svg == picture.svg)
  }

  @Test(arguments: [
    ("a<b>&\"c'", "a<b>&\"c'"), ("\0\u{1b}[31m\n\t", "\u{fffd}\u{fffd}[31m\u{fffd}\u{fffd}"),
    ("\u{fffe}\u{ffff}\u{202e}", "\u{fffd}\u{fffd}\u{fffd}"), ("λ × 日本 🙂", "λ × 日本 🙂"),
    ("]]><!--", "]]><!--"), ("  two  ", "  two  "), ("", ""),
  ])
  func textComesBackAsItWas(_ text: String, _ read: String) {
    let elements = Elements(Self.picture(Self.text(text), title: text, summary: text).svg)
    #expect(elements.failure == nil)
    for name in ["title", "desc", "text"] { #expect(elements.named(name)[0].text == read) }
  }

  @Test func idsAreNames() {
    for (id, read) in [("mask", "mask"), ("a\"><b", "a---b"), ("3 x", "_3-x"), ("", nil)] {
      let svg = Self.picture(.crosses([], color: Self.black, halo: nil, id: id)).svg
      #expect(Elements(svg).named("g")[0].attributes["id"] == read)
    }
  }

  @Test func runsOfCellsAreTheNaiveColours() throws {
    let colors = RGB.dice(13 * 9, choices: 3)
    let elements = Elements(
      Self.picture(
        .cells(
          x: 3.3, y: 7.7, width: 100, height: 50, columns: 13, rows: 9, colors: colors,
          id: "m")
      ).svg)
    var read = [RGB?](repeating: nil, count: colors.count)
    var boxes = 0
    for path in elements.named("path") {
      let fill = path.attributes["fill"] ?? ""
      let value = try #require(UInt32(fill.dropFirst(), radix: 16))
      for run in (path.attributes["d"] ?? "").split(separator: "z") {
        let numbers = run.split { "Mhv ".contains($0) }.compactMap { Int($0) }
        #expect(numbers.count == 5 && numbers[3] == 1 && numbers[4] == -numbers[2])
        for column in numbers[0]..<numbers[0] + numbers[2] {
          #expect(read[numbers[1] * 13 + column] == nil)
          read[numbers[1] * 13 + column] = RGB(hex: value)
        }
        boxes += 1
      }
    }
    let inner = elements.named("svg")[1].attributes
    #expect(inner["viewBox"] == "0 0 13 9" && inner["preserveAspectRatio"] == "none")
    #expect(inner["x"] == "3.3" && inner["y"] == "7.7")
    #expect(inner["width"] == "100" && inner["height"] == "50")
    #expect(read == colors)
    #expect(boxes < colors.compactMap { $0 }.count)
  }

  @Test func crossesSayTheirBlocks() {
    let marks = [(0, 0), (3, 1), (3, 2)].map {
      Mark(
        row: $0.0, column: $0.1, x: 10 * Double($0.1), y: 10 * Double($0.0), width: 10, height: 10)
    }
    let elements = Elements(
      Self.picture(.crosses(marks, color: Self.black, halo: RGB(9, 9, 9), id: "mask")).svg)
    let read = elements.named("path").compactMap { path in
      path.attributes["data-row"].map { $0 + "," + path.attributes["data-column"]! }
    }
    #expect(read == ["0,0", "3,1", "3,2"])
    #expect(elements.named("g")[0].attributes["id"] == "mask")
  }

  @Test func whatIsNoNumberIsLeftOut() {
    let bad = Double.nan
    let picture = Self.picture(
      .rect(x: bad, y: 0, width: 1, height: 1, fill: nil, stroke: nil, strokeWidth: 1),
      .rect(x: 0, y: 0, width: -1, height: 1, fill: nil, stroke: nil, strokeWidth: 1),
      .cells(x: 0, y: 0, width: 9, height: 9, columns: 0, rows: 3, colors: [], id: "m"),
      .cells(x: 0, y: .infinity, width: 9, height: 9, columns: 1, rows: 1, colors: [nil], id: "m"),
      .line(x1: 0, y1: 0, x2: bad, y2: 0, color: Self.black, width: 1, dash: nil),
      .polyline([(bad, 1)], color: Self.black, width: 1))
    let elements = Elements(picture.svg)
    #expect(elements.failure == nil)
    #expect(elements.all.map(\.name) == ["svg", "title", "desc", "rect"])
  }

  @Test func numbersAreShort() {
    let cases = [
      (1e-9, "0"), (-0.001, "0"), (-0.5, "-0.5"), (2.675, "2.68"), (1e300, "1000000000"),
    ]
    for (value, read) in cases {
      let svg = Self.picture(
        .line(x1: value, y1: 0, x2: 0, y2: 0, color: Self.black, width: 1, dash: nil)
      ).svg
      #expect(Elements(svg).named("line")[0].attributes["x1"] == read, "\(value)")
    }
  }
}

extension RGB {
  /// Colours thrown with a fixed seed, some of them nil.
  static func dice(_ count: Int, choices: UInt64) -> [RGB?] {
    var state: UInt64 = 7
    return (0..<count).map { _ in
      state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
      let roll = (state >> 33) % (choices + 1)
      return roll == choices ? nil : RGB(UInt8(roll), 100, 200)
    }
  }
}
