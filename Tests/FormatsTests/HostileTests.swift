import Formats
import Foundation
import Support
import Testing

/// Files that lie. Each must be refused with one sentence that names the file, and none may crash
/// or allocate much.
@Suite struct HostileTests {
  private func refuse(_ bytes: [UInt8], _ words: String, name: String = "dump.bin") throws {
    try Fixture.with(bytes, name: name) { path in
      let error = #expect(throws: FormatError.self, "\(words)") { try Dump.open(path) }
      let text = error.map { "\($0)" } ?? ""
      #expect(text.contains(words), "\(text) lacks \"\(words)\"")
      #expect(text.contains(path) && !text.contains("\n"))
    }
  }

  static func entry(
    _ name: String = "layers.0.q", dtype: String = "F32", shape: String, _ from: String,
    _ to: String
  ) -> String {
    "\"\(name)\":{\"dtype\":\"\(dtype)\",\"shape\":\(shape),\"data_offsets\":[\(from),\(to)]}"
  }

  @Test(arguments: [
    (entry(shape: "[2,2]", "0", "16"), 8, "truncated"),
    (entry(shape: "[2,2]", "0", "12"), 16, "takes 16 bytes"),
    (entry(shape: "[4611686018427387904,4]", "0", "16"), 16, "absurd"),
    (entry(shape: "[-1,4]", "0", "16"), 16, "absurd"),
    (entry(shape: "[99999999999999999999]", "0", "16"), 16, "not the JSON"),
    (entry(shape: "[2,2]", "16", "0"), 16, "not a range"),
    (entry(shape: "[2,2]", "-16", "0"), 16, "not a range"),
    (entry(dtype: "F4", shape: "[2,2]", "0", "16"), 16, "element type F4"),
    (
      entry("a", shape: "[2,2]", "0", "16") + "," + entry("b", shape: "[2,2]", "8", "24"), 24,
      "overlap"
    ),
    ("\"x\":3", 0, "not the JSON"),
    (entry(shape: "[4]", "0", "16"), 16, "no attention"),
    (
      entry(shape: "[1,0,4]", "0", "0") + "," + entry("layers.0.k", shape: "[1,0,4]", "0", "0"), 0,
      "no elements"
    ),
    (
      entry(shape: "[3,4,8]", "0", "384") + ","
        + entry("layers.0.k", shape: "[2,4,8]", "384", "640"), 640, "cannot share"
    ),
    (
      entry(shape: "[2,4,8]", "0", "256") + ","
        + entry("layers.0.k", shape: "[2,4,6]", "256", "448"), 448, "head dim"
    ),
    (entry(shape: "[2,4,8]", "0", "256"), 256, "partner"),
  ]) func lyingSafetensors(_ header: String, _ data: Int, _ words: String) throws {
    try refuse(Fixture.safetensors("{\(header)}", data: data), words)
  }

  /// The widest head that a kernel keeps on its stack: a wider one is refused before anything is
  /// computed.
  @Test(arguments: [(1024, 1024, true), (1025, 4, false), (4, 1025, false)])
  func headsOfAbsurdWidth(_ dim: Int, _ valueDim: Int, _ opens: Bool) throws {
    let q = 2 * 4 * dim, end = 2 * q + 2 * 4 * valueDim
    let header = [
      Self.entry(shape: "[1,2,\(dim)]", "0", "\(q)"),
      Self.entry("layers.0.k", shape: "[1,2,\(dim)]", "\(q)", "\(2 * q)"),
      Self.entry("layers.0.v", shape: "[1,2,\(valueDim)]", "\(2 * q)", "\(end)"),
    ].joined(separator: ",")
    let bytes = Fixture.safetensors("{\(header)}", data: end)
    if opens {
      let kind = try Fixture.with(bytes) { try Dump.open($0).kind }
      #expect(kind == .qkv)
    } else {
      try refuse(bytes, "1024 are the most")
    }
  }

  /// A mask of a few bytes whose tile makes more positions than an index holds.
  @Test func tilesThatMakeAbsurdMaps() throws {
    let blocks = Self.entry("layers.0.blocks", dtype: "U8", shape: "[1,40,1030]", "0", "41200")
    for (tile, opens) in [
      ("128x128", true), ("1048576x1", true), ("1048576x1048576", false), ("1x1048576", false),
    ] {
      let header = "{\"__metadata__\":{\"tile\":\"\(tile)\"},\(blocks)}"
      let bytes = Fixture.safetensors(header, data: 41200)
      if opens {
        let kind = try Fixture.with(bytes) { try Dump.open($0).kind }
        #expect(kind == .mask)
      } else {
        try refuse(bytes, "positions")
      }
    }
  }

  @Test func nestedAndHugeHeaders() throws {
    try refuse(
      Fixture.safetensors("{\"a\":" + String(repeating: "[", count: 200_000), data: 0),
      "not the JSON")
    var absurd = Fixture.safetensors("{}", data: 64)
    absurd[4] = 0xff
    try refuse(absurd, "runs past the end")
    try refuse(Fixture.safetensors("{}", data: 0), "holds no attention")
  }

  @Test(arguments: [
    ("object.npy", "never executed"), ("object.npz", "never executed"),
    ("big_endian.npy", "big-endian"), ("bomb.npz", "zip bomb"),
  ]) func refusedFixtures(_ name: String, _ words: String) throws {
    try refuse(try Fixture.bytes(name), words, name: name)
  }

  /// Metadata and side arrays that would overflow what is computed from them are as if they were
  /// not there.
  @Test func absurdMetadata() throws {
    let metadata =
      "\"__metadata__\":{\"query_offset\":\"9223372036854775807\",\"scale\":\"1e999\",\"tile\":\"9999999999x1\",\"tokens\":\"[1\"}"
    let arrays = [
      Self.entry(shape: "[1,2,4]", "0", "32"),
      Self.entry("layers.0.k", shape: "[1,2,4]", "32", "64"),
      Self.entry("token_ids", dtype: "U64", shape: "[2]", "64", "80"),
      Self.entry("attention", shape: "[0,2]", "80", "80"),
    ]
    var bytes = Fixture.safetensors(
      "{" + ([metadata] + arrays).joined(separator: ",") + "}", data: 80)
    for index in bytes.count - 16..<bytes.count { bytes[index] = 0xff }
    try Fixture.with(bytes) { path in
      let dump = try Dump.open(path)
      #expect(
        dump.queryOffset == nil && dump.scale == nil && dump.tile == nil && dump.tokens == nil)
      #expect(dump.tokenIDs == [0, 0])
    }
    let empty = Self.entry("token_ids", shape: "[0,4611686018427387904,4]", "0", "0")
    try refuse(Fixture.safetensors("{\(empty)}", data: 0), "absurd")
  }

  /// Texts of no length take no bytes, however many they claim to be.
  @Test func countlessTextsOfNoLength() throws {
    try refuse(Made.npy("<U0", [1 << 40, 1 << 40], []), "absurd", name: "x.npy")
  }

  /// Whole numbers that no `Int` holds, in a map and in what is none.
  @Test func numbersBeyondAnInt() throws {
    let most = Made.little(UInt64.max)
    let even: [UInt8] = (0..<16).flatMap { _ in most }
    let kind = try Fixture.with(Made.npy("<u8", [1, 4, 4], even)) { try Dump.open($0).kind }
    #expect(kind == .pattern)
    let odd: [UInt8] = (0..<16).flatMap { $0 < 4 ? most : Made.little(UInt64($0)) }
    try refuse(Made.npy("<u8", [1, 4, 4], odd), "whole numbers from 4 to")
  }

  @Test func aBiasWithoutElements() throws {
    let arrays = [
      Self.entry(shape: "[1,2,4]", "0", "32"),
      Self.entry("layers.0.k", shape: "[1,2,4]", "32", "64"),
      Self.entry("attn_bias", shape: "[0,2,2]", "64", "64"),
    ]
    let bytes = Fixture.safetensors("{" + arrays.joined(separator: ",") + "}", data: 64)
    let biases = try Fixture.with(bytes) { try Dump.open($0).rules.biases.count }
    #expect(biases == 0)
  }

  @Test func otherFormatsAreNamed() throws {
    try refuse([], "empty")
    try refuse([1, 2, 3], "too short")
    try refuse(Array("GGUF".utf8) + [UInt8](repeating: 0, count: 60), "GGUF")
    try refuse([0x89] + Array("HDF\r\n\u{1a}\n".utf8) + [UInt8](repeating: 0, count: 60), "HDF5")
    try refuse([0x80, 2] + [UInt8](repeating: 0, count: 60), "pickle")
    try refuse(Array("{\"tokens\": [], \"layers\": []}        ".utf8), "JSON")
    try refuse([UInt8](repeating: 65, count: 64), "not a safetensors, npy or npz")
  }

  @Test func directoriesPipesAndMissingFiles() throws {
    try Fixture.with([0]) { path in
      let folder = (path as NSString).deletingLastPathComponent
      for (name, words) in [
        (folder, "directory"), (folder + "/none", "no such file"), (folder + "/pipe", "pipe"),
        ("/dev/zero", "device"),
      ] {
        if name.hasSuffix("pipe") { mkfifo(name, 0o600) }
        let error = #expect(throws: FormatError.self) { try Dump.open(name) }
        #expect(error?.message.contains(words) ?? false, "\(name): \(error.map { "\($0)" } ?? "")")
      }
    }
  }

  /// Cut at every byte: either refused, or (padding cut away) the same arrays as before.
  @Test(arguments: ["attention_stored.npz", "attention_deflated.npz", "c_f2.npy", "qkv.npz"])
  func truncatedAnywhere(_ name: String) throws {
    let whole = try Fixture.bytes(name)
    for length in stride(from: 0, to: whole.count, by: max(1, whole.count / 400)) {
      try Fixture.with(Array(whole.prefix(length))) { path in
        #expect(throws: FormatError.self, "\(name) cut to \(length)") { try Dump.open(path) }
      }
    }
  }

  @Test func truncatedSafetensors() throws {
    let header =
      "{\(Self.entry(shape: "[1,2,4]", "0", "32")),\(Self.entry("layers.0.k", shape: "[1,2,4]", "32", "64"))}"
    let whole = Fixture.safetensors(header, data: 64)
    for length in 0..<whole.count {
      try Fixture.with(Array(whole.prefix(length))) { path in
        #expect(throws: FormatError.self, "cut to \(length)") { try Dump.open(path) }
      }
    }
  }

  /// Random bytes changed: a sentence or a dump, never a crash.
  @Test(arguments: ["attention_stored.npz", "attention_deflated.npz", "c_f4.npy", "qkv.npz"])
  func mutated(_ name: String) throws {
    let whole = try Fixture.bytes(name)
    var random = Seeded(9)
    var refused = 0
    for _ in 0..<300 {
      var bytes = whole
      for _ in 0..<Int.random(in: 1...6, using: &random) {
        bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(
          in: 0...255, using: &random)
      }
      try Fixture.with(bytes) { path in
        do throws(FormatError) {
          let dump = try Dump.open(path)
          for layer in dump.layers { for tensor in layer.arrays.values { _ = firstFloats(tensor) } }
        } catch {
          #expect("\(error)".contains(path) && !"\(error)".contains("\n"))
          refused += 1
        }
      }
    }
    #expect(refused > 20, "\(refused) of 300 were refused: nothing was tested")
  }
}

import Tensors

/// Touches what a tensor says it holds.
private func firstFloats(_ tensor: Tensor) -> Float { tensor[0].floats().reduce(0, +) }
