import Formats
import Foundation
import Support
import Tensors
import Testing

extension Wrong {
  private static func map(_ from: Int, shape: String = "[1,2,2]", _ to: Int) -> String {
    HostileTests.entry("attention", shape: shape, "\(from)", "\(to)")
  }

  private static func safetensors(_ header: String, _ data: Int) -> [UInt8] {
    Fixture.safetensors("{\(header)}", data: data)
  }

  /// Headers that the reference reader refuses, and headers that cost more than they should.
  static let safetensors: [Wrong] = [
    Wrong("bytes before the first tensor", "8 bytes before it") { safetensors(map(8, 24), 24) },
    Wrong("a hole between two tensors", "8 bytes before it") {
      safetensors(map(0, 16) + "," + HostileTests.entry("b", shape: "[2]", "24", "32"), 32)
    },
    Wrong("bytes behind the last tensor", "3 bytes behind the last tensor") {
      safetensors(map(0, 16), 19)
    },
    Wrong("a tensor of no element inside another", "overlap those of \"attention\"") {
      safetensors(map(0, 16) + "," + HostileTests.entry("b", shape: "[0]", "8", "8"), 16)
    },
    Wrong("a name that stands twice", "\"attention\": stands twice") {
      safetensors(map(0, 16) + "," + map(16, 32), 32)
    },
    Wrong("a name that stands twice, once spelled with an escape", "stands twice") {
      safetensors(
        map(0, 16) + "," + map(16, 32).replacing("attention", with: "att\\u0065ntion"), 32)
    },
    Wrong("metadata that stand twice", "\"__metadata__\": stands twice") {
      safetensors("\"__metadata__\":{},\"__metadata__\":{}," + map(0, 16), 16)
    },
    Wrong("a key of the metadata that stands twice", "\"tile\": stands twice") {
      safetensors("\"__metadata__\":{\"tile\":\"1x1\",\"tile\":\"2x2\"}," + map(0, 16), 16)
    },
    Wrong("a shape that stands twice", "attention.shape\": stands twice") {
      safetensors(map(0, 16).replacing("\"shape\"", with: "\"shape\":[4],\"shape\""), 16)
    },
    Wrong("a shape with a fraction", "a whole number was expected") {
      safetensors(map(0, shape: "[1.0,2,2]", 16), 16)
    },
    Wrong("a shape with an exponent", "a whole number was expected") {
      safetensors(map(0, shape: "[1e0,2,2]", 16), 16)
    },
    Wrong("an offset with a fraction", "a whole number was expected") {
      safetensors(HostileTests.entry("attention", shape: "[1,2,2]", "0", "16.0"), 16)
    },
    Wrong("a shape that begins with 0", "a whole number was expected") {
      safetensors(map(0, shape: "[01,2,2]", 16), 16)
    },
    Wrong("a shape of a text", "a whole number was expected") {
      safetensors(map(0, shape: "[\"1\",2,2]", 16), 16)
    },
    Wrong("a tensor without offsets", "lacks its dtype, shape or data_offsets") {
      safetensors("\"attention\":{\"dtype\":\"F32\",\"shape\":[1,2,2]}", 16)
    },
    Wrong("metadata that are no texts", "'\"' was expected") {
      safetensors("\"__metadata__\":{\"a\":1}," + map(0, 16), 16)
    },
    Wrong("a header with a comma at its end", "'\"' was expected") {
      safetensors(map(0, 16) + ",", 16)
    },
    Wrong("a header that goes on behind its end", "nothing more was expected") {
      Fixture.safetensors("{\(map(0, 16))}x", data: 16)
    },
    Wrong("a name that is no UTF-8", "no UTF-8") {
      var bytes = safetensors(map(0, 16), 16)
      bytes[8 + 2] = 0xff
      return bytes
    },
    Wrong("half of a surrogate pair", "half a character") {
      safetensors(map(0, 16).replacing("attention", with: "\\ud800"), 16)
    },
    Wrong("a control character in a name", "a control character") {
      safetensors(map(0, 16).replacing("attention", with: "a\u{1}"), 16)
    },
    Wrong("facts nested 100,000 deep", "nested too deeply") {
      let deep = String(repeating: "[", count: 100_000)
      return safetensors(map(0, 16).replacing("\"dtype\"", with: "\"x\":\(deep)"), 16)
    },
    Wrong("elements of six bits", "element type F6_E2M3") {
      safetensors(
        HostileTests.entry("attention", dtype: "F6_E2M3", shape: "[1,4,4]", "0", "12"), 12)
    },
    Wrong("ten axes", "absurd") { safetensors(map(0, shape: "[1,1,1,1,1,1,1,1,2,2]", 16), 16) },
    Wrong("100,000 tensors of no element and no attention", "no attention") {
      let all = (0..<100_000).map { HostileTests.entry("t\($0)", shape: "[0]", "0", "0") }
      return safetensors(all.joined(separator: ","), 0)
    },
  ]
}

/// Files that look wrong and are right.
@Suite struct ZooFriendTests {
  private static let header = HostileTests.entry("attention", shape: "[1,2,2]", "0", "16")

  /// A header's length may begin with the bytes of a pickle (80 02 to 80 05), of JSON (7B, 5B), of
  /// gzip (1F 8B), of a zip ("PK"), or of zlib (78 9C).
  @Test(arguments: [
    0x0280, 0x0380, 0x0480, 0x0580, 0x037b, 0x015b, 0x8b1f, 0x4b50, 0x9c78, 0x010a, 0x0220,
  ]) func lengthsThatLookLikeAMagic(_ length: Int) throws {
    var header = "{\(Self.header)}"
    header += String(repeating: " ", count: length - header.utf8.count)
    let bytes = Fixture.safetensors(header, data: 12) + Made.floats([1])
    try Fixture.with(bytes) { path in
      let archive = try openArchive(path)
      #expect(archive.format == "safetensors")
      #expect(try archive.tensor("attention").floats() == [0, 0, 0, 1])
    }
  }

  /// Facts that this reader does not know, blanks anywhere, escapes, and tensors of no element.
  @Test func oddHeaders() throws {
    let header = """
       { "__metadata__" : { "a\\"\\u00e9\\ud83d\\ude00" : "\\n" } ,
        "attention":{"x":[{"y":null},-1.5e3,true,"]"],"dtype":"F32","shape":[1,2,2],
        "data_offsets":[0,16]},"b":{"dtype":"U8","shape":[0,7],"data_offsets":[16,16]},
        "c":{"dtype":"I64","shape":[],"data_offsets":[16,24]}}
      """.trimmingCharacters(in: .whitespaces)
    try Fixture.with(Fixture.safetensors(header, data: 24)) { path in
      let archive = try openArchive(path)
      #expect(archive.metadata == ["a\"é😀": "\n"])
      #expect(archive.entries.map(\.name) == ["attention", "b", "c"])
      #expect(archive.entry("c")?.shape.rank == 0 && archive.entry("d") == nil)
    }
  }

  /// Names are in the order of their numbers, however many they are, and in no time.
  @Test func manyTensors() throws {
    let all = (0..<100_000).map { at in
      HostileTests.entry("t.\(at).x", shape: "[1]", "\(16 + 4 * at)", "\(20 + 4 * at)")
    }
    let header = "{" + (all + [Self.header]).joined(separator: ",") + "}"
    try Fixture.with(Fixture.safetensors(header, data: 400_016)) { path in
      let start = ContinuousClock.now
      let archive = try openArchive(path)
      #expect(archive.entries.prefix(3).map(\.name) == ["attention", "t.0.x", "t.1.x"])
      #expect(archive.entries.last?.name == "t.99999.x")
      #expect(ContinuousClock.now - start < ZooTests.most)
    }
  }

  /// The natural order of names, of numbers beyond any Int too.
  @Test func namesInOrder() throws {
    let long = String(repeating: "9", count: 40)
    let names = ["a.2", "a.02b", "a.10", "a.\(long)", "a.1\(long)", "a.b", "ab", "b.1", "b.1.c"]
    let entries = names.reversed().map { HostileTests.entry($0, shape: "[0]", "0", "0") }
    let bytes = Fixture.safetensors("{" + entries.joined(separator: ",") + "}", data: 0)
    let order = try Fixture.with(bytes) { try openArchive($0).entries.map(\.name) }
    #expect(order == names)
  }
}
