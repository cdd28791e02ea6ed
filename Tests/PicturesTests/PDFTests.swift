import Foundation
import Pictures
import Testing

/// The file is read here as a reader of PDF would: from its end, by the table of places.
@Suite struct PDFTests {
  private static func all() -> [Shape] {
    let ink = RGB(10, 20, 30)
    return [
      .rect(x: 1, y: 2, width: 30, height: 20, fill: ink, stroke: ink, strokeWidth: 1),
      .cells(
        x: 5, y: 5, width: 60, height: 40, columns: 6, rows: 4,
        colors: RGB.dice(6 * 4, choices: 3), id: "m"),
      .crosses(
        [Mark(row: 0, column: 0, x: 3, y: 3, width: 9, height: 9)], color: ink, halo: nil, id: ""),
      .line(x1: 0, y1: 0, x2: 9, y2: 9, color: ink, width: 1, dash: 3),
      .polyline([(1, 1), (2, 5), (9, 3)], color: ink, width: 1),
      .text(
        "(a\\b)", x: 5, y: 50, size: 11, anchor: .middle, color: ink, bold: true, rotation: -90),
      .line(x1: .nan, y1: 0, x2: 9, y2: 9, color: ink, width: 1, dash: nil),
    ]
  }

  private static func file(_ shapes: [Shape]) throws -> [UInt8] {
    try Picture(
      width: 100, height: 60, background: RGB(255, 255, 255), title: "Über ⏎ (map)", summary: "s",
      shapes: shapes
    ).pdf()
  }

  /// Objects by number, from the table at the end.
  private func objects(_ bytes: [UInt8]) throws -> [String] {
    let text = String(bytes.map { Character(Unicode.Scalar($0)) })
    #expect(text.hasPrefix("%PDF-1.4\n") && text.hasSuffix("%%EOF\n"))
    let tail = text.components(separatedBy: "startxref\n")
    let start = try #require(Int(tail[1].split(separator: "\n")[0]))
    func from(_ place: Int) -> String {
      String(bytes[place...].map { Character(Unicode.Scalar($0)) })
    }
    let table = from(start).split(separator: "\n", omittingEmptySubsequences: false)
    #expect(table[0] == "xref")
    let count = try #require(Int(table[1].split(separator: " ")[1]))
    return try (1..<count).map { number in
      let line = table[2 + number]
      #expect(line.utf8.count == 19 && line.hasSuffix(" 00000 n "), "twenty bytes with its end")
      let place = try #require(Int(line.split(separator: " ")[0]))
      let object = from(place)
      #expect(object.hasPrefix("\(number) 0 obj\n"), "object \(number) at \(place)")
      return object.components(separatedBy: "\nendobj\n")[0]
    }
  }

  @Test func theTableFindsEveryObjectAndLengthsAreTrue() throws {
    let objects = try objects(try Self.file(Self.all()))
    #expect(objects.count == 6)
    #expect(objects[2].contains("/MediaBox [0 0 75 45]") && objects[2].contains("/Im1 6 0 R"))
    for object in [objects[3], objects[5]] {
      let length = try #require(
        Int(object.components(separatedBy: "/Length ")[1].split(separator: " ")[0]))
      let data = object.components(separatedBy: "stream\n")[1]
        .components(separatedBy: "\nendstream")[0]
      #expect(data.count == length)
    }
    #expect(objects[5].contains("/Width 6 /Height 4 ") && objects[5].contains("/Columns 6 "))
    // U+00DC first, then the rest; nothing of it can close the text early.
    #expect(objects[4].contains("/Title <FEFF00DC"))
  }

  @Test func theContentIsBalancedAndWhole() throws {
    let content = try objects(try Self.file(Self.all()))[3].components(separatedBy: "stream\n")[1]
    let words = content.split { $0 == " " || $0 == "\n" }
    #expect(words.count { $0 == "q" } == words.count { $0 == "Q" })
    #expect(words.contains("Do") && words.contains("re") && !content.contains("nan"))
    let known: Set<Substring> = [
      "q", "Q", "cm", "rg", "RG", "re", "f", "S", "w", "J", "j", "d", "m", "l", "Do", "/Im1",
      "endstream", "[]", "[300]",
    ]
    for word in words where Double(word) == nil {
      #expect(known.contains(word), "\(word)")
    }
  }

  @Test func theSamePictureIsTheSameFile() throws {
    #expect(try Self.file(Self.all()) == Self.file(Self.all()))
    #expect(try objects(try Self.file([])).count == 5, "no image, no object for one")
  }
}
