import Formats
import Foundation
import Sessions
import Support
import Testing
import Wire

/// Frames of a small model, as a sender makes them.
enum Sent {
  static let shape = ["layers": "2", "heads": "2", "kv_heads": "1", "head_dim": "4"]

  static func hello(_ more: [String: String] = [:], seq: Int = 0) -> [UInt8] {
    WireFrame.bytes(.hello, seq: seq, shape.merging(more) { $1 })
  }

  /// Q, K and V of some positions of both layers.
  static func rows(_ positions: Int, seed: UInt64 = 1) -> [ArrayToWrite] {
    var random = Seeded(seed)
    return [0, 1].flatMap { layer in
      [("q", 2), ("k", 1), ("v", 1)].map { name, heads in
        ArrayToWrite(
          "layers.\(layer).\(name)",
          floats: (0..<heads * positions * 4).map { _ in Float.random(in: -2...2, using: &random) },
          shape: [heads, positions, 4], half: true)
      }
    }
  }

  static func prefill(_ ids: [Int32], at position: Int = 0, seq: Int = 1) -> [UInt8] {
    WireFrame.bytes(
      .prefill, seq: seq,
      ["position": "\(position)", "tokens": "[\"a\",\"b\"]"],
      rows(ids.count) + [ArrayToWrite("token_ids", int32: ids, shape: [ids.count])])
  }

  static func step(_ position: Int, seq: Int, _ more: [String: String] = [:]) -> [UInt8] {
    WireFrame.bytes(
      .step, seq: seq,
      ["position": "\(position)", "token": "7", "step": "{\"text\":\" t\(position)\"}"]
        .merging(more) { $1 }, rows(1, seed: UInt64(position + 2)))
  }

  static func frame(_ bytes: [UInt8]) throws -> WireFrame {
    try #require(try WireFrame(bytes, path: "a test"))
  }
}

/// The framing: bytes in, frames out, and what lies is refused before room is made for it.
@Suite struct FrameTests {
  private static let stream = [
    Sent.hello(), Sent.prefill([1, 2, 3]), Sent.step(3, seq: 2),
    WireFrame.bytes(.bye, seq: nil, ["why": "done"]),
  ]

  /// The bytes of the document are those that are made and read here.
  @Test func theDocumentShowsTheSmallestStream() throws {
    let text = try String(contentsOfFile: checkout() + "/samples/python/WIRE.md", encoding: .utf8)
    let end = try #require(text.range(of: "## The smallest stream"))
    let blocks = text[end.lowerBound...].split(separator: "\n\n").filter { $0.hasPrefix("    ") }
    let shown = blocks.map { block in
      block.split(whereSeparator: \.isWhitespace).compactMap { UInt8($0, radix: 16) }
    }
    try #require(shown.count == 2)
    #expect(
      shown[0]
        == WireFrame.bytes(
          .hello, seq: 0, ["layers": "1", "heads": "1", "kv_heads": "1", "head_dim": "2"]))
    #expect(shown[1] == WireFrame.bytes(.step, seq: 1, ["position": "0", "token": "5"]))
    let hello = try Hello(Sent.frame(shown[0]))
    #expect(hello.layers.count == 1 && hello.heads == 1 && hello.headDim == 2)
    let step = try StepFrame(Sent.frame(shown[1]), hello)
    #expect(step.position == 0 && step.step.token == 5 && step.rows.isEmpty)
  }

  @Test func anyTwoCutsGiveTheSameFrames() throws {
    let bytes = Self.stream.flatMap { $0 }
    for cut in 0...bytes.count {
      var reader = FrameReader(path: "a test")
      var kinds: [WireKind] = []
      for part in [bytes[..<cut], bytes[cut...]] {
        reader.add(Array(part))
        while let frame = try reader.next() { kinds.append(frame.kind) }
      }
      try #require(kinds == [.hello, .prefill, .step, .bye], "cut at \(cut)")
      #expect(reader.waiting == 0)
    }
    var reader = FrameReader(path: "a test"), count = 0
    for byte in bytes {
      reader.add([byte])
      if try reader.next() != nil { count += 1 }
    }
    #expect(count == 4 && reader.frames == 4)
  }

  /// Frames of a kind that a newer sender has are passed over.
  @Test func anUnknownKindIsPassedOver() throws {
    var reader = FrameReader(path: "a test")
    reader.add(safetensorsBytes([], metadata: ["kind": "weather"]) + Self.stream[0])
    #expect(try reader.next()?.kind == .hello)
    #expect(reader.passedOver == 1)
  }

  private static func header(_ text: String, data: Int = 0) -> [UInt8] {
    withUnsafeBytes(of: UInt64(text.utf8.count).littleEndian) { Array($0) } + Array(text.utf8)
      + [UInt8](repeating: 0, count: data)
  }

  private static let lies: [(String, [UInt8])] = [
    ("a length beyond 32 MiB", [UInt8](repeating: 255, count: 8)),
    ("no length at all", Array("GET / HTTP/1.1\r\n".utf8)),
    ("no JSON", Self.header("[1,2,3]  ")),
    ("no object of arrays", Self.header("{\"a\":1}")),
    (
      "data beyond the budget",
      Self.header(
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[9000000000],\"data_offsets\":[0,9000000000]}}")
    ),
    (
      "a shape that overflows",
      Self.header(
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[4611686018427387904,4],\"data_offsets\":[0,16]}}")
    ),
    (
      "more bytes than its shape",
      Self.header(
        "{\"a\":{\"dtype\":\"F32\",\"shape\":[2],\"data_offsets\":[0,900]}}")
    ),
    ("a gap", Self.header("{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[4,5]}}")),
    (
      "a name twice",
      Self.header(
        "{\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]},"
          + "\"a\":{\"dtype\":\"U8\",\"shape\":[1],\"data_offsets\":[0,1]}}")
    ),
    ("no kind", Self.header("{}") + [0]),
  ]

  /// Each is refused at its header, whatever comes behind it, and the refusal stays.
  @Test(arguments: lies) func whatLiesIsRefused(_ what: String, _ bytes: [UInt8]) throws {
    var reader = FrameReader(path: "a test")
    reader.add(Self.stream[0])
    _ = try reader.next()
    reader.add(bytes)
    for _ in 0..<2 {
      let error = #expect(throws: FormatError.self, "\(what)") { try reader.next() }
      #expect(error?.place?.hasPrefix("frame 1") == true || what == "no kind", "\(what)")
    }
    #expect(reader.waiting == 0)
  }
}
