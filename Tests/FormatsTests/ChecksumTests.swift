import Formats
import Foundation
import Testing

/// The checksums of a zip are believed: an array that was damaged on its way is refused, not shown.
@Suite struct ChecksumTests {
  /// Where the central directory's entry of the first member begins.
  private func directory(_ bytes: [UInt8]) throws -> Int {
    try #require(
      bytes.indices.dropLast(46).first {
        bytes[$0] == 0x50 && bytes[$0 + 1] == 0x4b && bytes[$0 + 2] == 1 && bytes[$0 + 3] == 2
      })
  }

  private func expectRefused(_ bytes: [UInt8], _ what: String) throws {
    try Fixture.with(bytes, name: "a.npz") { path in
      let error = #expect(throws: FormatError.self, "\(what)") { try Dump.open(path) }
      let text = error.map { "\($0)" } ?? ""
      #expect(
        text.contains("member \"attention.npy\"") && text.contains("CRC-32"), "\(what): \(text)")
    }
  }

  @Test(arguments: ["attention_stored.npz", "attention_deflated.npz"])
  func aWrongChecksumIsRefused(_ name: String) throws {
    var bytes = try Fixture.bytes(name)
    let at = try directory(bytes) + 16
    for bit in [0, 13, 31] {
      bytes[at + bit / 8] ^= 1 << UInt8(bit % 8)
      try expectRefused(bytes, "\(name), bit \(bit) of the sum")
      bytes[at + bit / 8] ^= 1 << UInt8(bit % 8)
    }
    let kind = try Fixture.with(bytes, name: "a.npz") { try Dump.open($0).kind }
    #expect(kind == .pattern)
  }

  @Test func aFlippedBitOfTheDataIsRefused() throws {
    let bytes = try Fixture.bytes("attention_stored.npz")
    let name = Array("attention.npy".utf8)
    let start = try #require(
      bytes.indices.dropLast(200).first { bytes[$0..<$0 + name.count] == name[...] })
    // Behind the name and 20 bytes of sizes: the padding of the array's header, and its data.
    for offset in [140, 150, 180, 900] {
      var damaged = bytes
      damaged[start + name.count + offset] ^= 1
      try expectRefused(damaged, "byte \(offset) behind the name")
    }
  }

  /// A stored array of zeros, most of them a hole in the file, with a wrong checksum.
  private func write(rows: Int, keys: Int, to path: String) throws {
    var header = Array("\u{93}NUMPY".unicodeScalars.map { UInt8($0.value) })
    var literal = "{'descr': '|u1', 'fortran_order': False, 'shape': (1, \(rows), \(keys)), }"
    literal += String(repeating: " ", count: 117 - literal.utf8.count) + "\n"
    header += [1, 0, 118, 0] + Array(literal.utf8)
    let name = Array("mask.npy".utf8), size = header.count + rows * keys
    func number(_ x: Int, _ width: Int) -> [UInt8] {
      (0..<width).map { UInt8(truncatingIfNeeded: x >> (8 * $0)) }
    }
    let shared =
      number(0, 2) + number(0, 2) + number(0, 4) + number(0x1234_5678, 4) + number(size, 4)
      + number(size, 4) + number(name.count, 2) + number(0, 2)
    let local = number(0x0403_4b50, 4) + number(20, 2) + shared + name
    let entry =
      number(0x0201_4b50, 4) + number(20, 2) + number(20, 2) + shared + number(0, 10)
      + number(0, 4) + name
    let start = local.count + size
    let end =
      number(0x0605_4b50, 4) + number(0, 4) + number(1, 2) + number(1, 2)
      + number(entry.count, 4) + number(start, 4) + number(0, 2)
    try Data(local + header).write(to: URL(filePath: path))
    try #require(truncate(path, start) == 0)
    let file = try FileHandle(forWritingTo: URL(filePath: path))
    try file.seekToEnd()
    try file.write(contentsOf: Data(entry + end))
    try file.close()
  }

  @Test func aLargeFileIsNotReadThroughAndSaysSo() throws {
    try Fixture.with([0]) { path in
      try write(rows: 4096, keys: 1024, to: path)
      #expect(throws: FormatError.self) { try Dump.open(path) }
      try write(rows: 1 << 15, keys: (1 << 13) + 1, to: path)
      let start = ContinuousClock.now
      let dump = try Dump.open(path)
      #expect(dump.remarks.contains { $0.contains("CRC-32") && $0.contains("not checked") })
      #expect(ContinuousClock.now - start < .seconds(5))
    }
    #expect(try Dump.open(Fixture.path("attention_stored.npz")).remarks.isEmpty)
  }
}
