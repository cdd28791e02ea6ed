import Kernels
import Foundation
import Formats
import Support
import Tensors
import Testing

enum Fixture {
  static func path(_ name: String) -> String {
    checkout(from: #filePath) + "/Tests/FormatsTests/Fixtures/" + name
  }

  /// A file of these bytes in a folder of its own, removed with it.
  @discardableResult static func with<T>(
    _ bytes: [UInt8], name: String = "dump.bin", _ body: (String) throws -> T
  ) throws -> T {
    let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString)
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let file = folder.appending(path: name)
    try Data(bytes).write(to: file)
    return try body(file.path)
  }

  static func bytes(_ name: String) throws -> [UInt8] {
    Array(try Data(contentsOf: URL(filePath: path(name))))
  }

  /// A safetensors file with this header text and so many bytes of zeros behind it.
  static func safetensors(_ header: String, data: Int) -> [UInt8] {
    let length = UInt64(header.utf8.count)
    return (0..<8).map { UInt8(truncatingIfNeeded: length >> (8 * UInt64($0))) }
      + Array(header.utf8)
      + [UInt8](repeating: 0, count: data)
  }
}

@Suite struct ReaderTests {
  static let counted = (0..<24).map { Float($0) }

  @Test(arguments: ["f2", "f4", "f8", "i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8"])
  func everyElementTypeOfNumpy(_ type: String) throws {
    let archive = try openArchive(Fixture.path("c_\(type).npy"))
    #expect(try archive.tensor("arr_0").floats() == Self.counted)
    #expect(archive.entries[0].shape.axes == [2, 3, 4])
  }

  @Test(arguments: ["fortran_f4.npy", "version2.npy", "version3.npy", "bf16_void.npy"])
  func ordersVersionsAndBfloat16(_ name: String) throws {
    let archive = try openArchive(Fixture.path(name))
    #expect(try archive.tensor("arr_0").floats() == Self.counted)
    #expect(archive.notes.isEmpty != (name == "bf16_void.npy"))
  }

  @Test func bfloat16InIntegersNeedsTheFlag() throws {
    let path = Fixture.path("bf16_uint16.npy")
    #expect(try openArchive(path).tensor("arr_0").floats() != Self.counted)
    #expect(
      try openArchive(path, options: ArchiveOptions(bfloat16: true)).tensor("arr_0").floats()
        == Self.counted)
  }

  @Test func storedAndDeflatedMembersAreEqual() throws {
    let stored = try openArchive(Fixture.path("attention_stored.npz"))
    let deflated = try openArchive(Fixture.path("attention_deflated.npz"))
    #expect(try stored.tensor("attention").floats() == deflated.tensor("attention").floats())
    let (a, b) = (
      try stored.sample("attention", elements: 72), try deflated.sample("attention", elements: 72)
    )
    #expect(a.count >= 36 && b.count >= 36 && zip(a, b).allSatisfy(==))
    // A stored member is used where it lies: the tensor's storage is the mapped file.
    #expect(try stored.tensor("attention").storage is MappedFile)
  }

  @Test func everyTypeOfSafetensors() throws {
    let arrays = DType.allCases.map { type in
      "\"\(type.rawValue)\":{\"dtype\":\"\(type.rawValue)\",\"shape\":[2],\"data_offsets\":[\(Self.offset(type)),\(Self.offset(type) + 2 * type.byteWidth)]}"
    }
    let total = DType.allCases.reduce(0) { $0 + 2 * $1.byteWidth }
    let header = "{\"__metadata__\":{\"model\":\"m\"}," + arrays.joined(separator: ",") + "}"
    try Fixture.with(Fixture.safetensors(header, data: total)) { path in
      let archive = try openArchive(path)
      #expect(archive.metadata == ["model": "m"] && archive.entries.count == DType.allCases.count)
      for type in DType.allCases { #expect(try archive.tensor(type.rawValue).floats() == [0, 0]) }
    }
  }

  private static func offset(_ type: DType) -> Int {
    DType.allCases.prefix { $0 != type }.reduce(0) { $0 + 2 * $1.byteWidth }
  }

  @Test func writtenFilesAreReadBack() throws {
    try Fixture.with([0]) { path in
      let tensor = Tensor(Self.counted, shape: [2, 3, 4])
      let arrays = [
        ArrayToWrite("layers.0.q", tensor: tensor.permuted([2, 0, 1])),
        ArrayToWrite("half", floats: [1, 0.1], shape: [2], half: true),
        ArrayToWrite("ids", int32: [7, -7], shape: [2]),
        ArrayToWrite("u", bytes: [0, 255], shape: [2]),
      ]
      #expect(throws: FormatError.self) {
        try writeSafetensors(arrays, metadata: [:], to: path, force: false)
      }
      try writeSafetensors(arrays, metadata: ["a\"b": "c\n\u{1}"], to: path, force: true)
      let archive = try openArchive(path)
      #expect(archive.metadata == ["a\"b": "c\n\u{1}"])
      #expect(try archive.tensor("layers.0.q").floats() == tensor.permuted([2, 0, 1]).floats())
      #expect(try archive.tensor("half").floats() == [1, Float(Float16(0.1))])
      #expect(try archive.tensor("ids").floats() == [7, -7])
      try writeNpy(arrays[0], to: path, force: true)
      #expect(
        try openArchive(path).tensor("arr_0").floats() == tensor.permuted([2, 0, 1]).floats())
      #expect(
        try FileManager.default.contentsOfDirectory(
          atPath: (path as NSString).deletingLastPathComponent
        ).count == 1)
    }
  }
}

/// What a file is taken for, and what is said about it.
@Suite struct DumpTests {
  @Test func aStackOfPatterns() throws {
    let dump = try Dump.open(Fixture.path("attention_stored.npz"))
    #expect(dump.kind == .pattern && dump.causal && dump.layers.map(\.layer) == [0, 1])
    #expect(dump.layers[0].positions == (6, 6, 3))
    #expect(dump.guesses.map(\.flag) == ["--kind", "--layout", "--causal/--no-causal"])
  }

  @Test func oneArrayALayer() throws {
    let dump = try Dump.open(Fixture.path("layers.npz"))
    #expect(dump.layers.map(\.layer) == [0, 1] && dump.layers[1].positions.heads == 3)
  }

  @Test func scoresAreNotPatterns() throws {
    let dump = try Dump.open(Fixture.path("scores.npz"))
    #expect(dump.kind == .scores && dump.causal)
  }

  @Test func projectionsWithSharedHeads() throws {
    let dump = try Dump.open(Fixture.path("qkv.npz"))
    #expect(dump.kind == .qkv && dump.layers[0].arrays[.key]!.shape.axes == [2, 5, 8])
    #expect(dump.layers[0].positions == (5, 5, 4))
    #expect(dump.guesses.contains { $0.flag == "--no-causal" })
  }

  /// Heads first wherever that is possible; our own names need no guess at all.
  @Test(arguments: [
    ("q", "[8,4,2]", "k", "[8,4,2]", "8 4", 1), ("q", "[2,9,2]", "k", "[1,9,2]", "2 9", 1),
    ("q", "[200,4,2]", "k", "[200,2,2]", "4 200", 1), ("q", "[9,4,2]", "k", "[7,2,2]", "4 9", 1),
    ("layers.0.q", "[9,2,2]", "layers.0.k", "[3,2,2]", "9 2", 0),
  ]) func axesOfProjections(
    _ q: String, _ qShape: String, _ k: String, _ kShape: String, _ wanted: String, _ guesses: Int
  ) throws {
    func size(_ shape: String) -> Int {
      shape.dropFirst().dropLast().split(separator: ",").reduce(4) { $0 * Int($1)! }
    }
    let (a, b) = (size(qShape), size(kShape))
    let header = [
      "{\"__metadata__\":{\"causal\":\"true\"}", HostileTests.entry(q, shape: qShape, "0", "\(a)"),
      HostileTests.entry(k, shape: kShape, "\(a)", "\(a + b)") + "}",
    ]
    try Fixture.with(Fixture.safetensors(header.joined(separator: ","), data: a + b)) { path in
      let dump = try Dump.open(path)
      let place = dump.layers[0].positions
      #expect("\(place.heads) \(place.queries)" == wanted)
      #expect(dump.guesses.count == guesses)
    }
  }

  @Test func flagsOverrideGuesses() throws {
    var options = DumpOptions()
    (options.layout, options.kind, options.causal, options.scale) = ("hlqk", .scores, false, 0.5)
    let dump = try Dump.open(Fixture.path("attention_stored.npz"), options: options)
    #expect(
      dump.kind == .scores && !dump.causal && dump.layers.count == 3
        && dump.layers[0].positions.heads == 2)
    #expect(dump.scale == 0.5 && dump.guesses.isEmpty)
    options.layout = "xyz"
    #expect(throws: FormatError.self) {
      try Dump.open(Fixture.path("attention_stored.npz"), options: options)
    }
  }

  @Test(arguments: [
    ("blocks.3.attn.hook_pattern", 3, "pattern"), ("blocks.0.attn.hook_attn_scores", 0, "scores"),
    ("kq_soft_max-7", 7, "pattern"),
    ("kq-2", 2, "scores"),
  ]) func namesOfOtherTools(_ name: String, _ layer: Int, _ kind: String) throws {
    let header = "{\"\(name)\":{\"dtype\":\"F32\",\"shape\":[1,2,3,3],\"data_offsets\":[0,72]}}"
    try Fixture.with(Fixture.safetensors(header, data: 72)) { path in
      let dump = try Dump.open(path)
      #expect(
        dump.kind.rawValue == kind && dump.layers[0].layer == layer
          && dump.layers[0].positions.heads == 2)
    }
  }

  /// The most frequent false friends are never taken for attention.
  @Test(arguments: [
    "attention_mask", "input_ids", "labels", "model.layers.0.self_attn.q_proj.weight",
  ])
  func falseFriends(_ name: String) throws {
    let header = "{\"\(name)\":{\"dtype\":\"F32\",\"shape\":[2,2],\"data_offsets\":[0,16]}}"
    try Fixture.with(Fixture.safetensors(header, data: 16)) { path in
      let error = #expect(throws: FormatError.self) { try Dump.open(path) }
      #expect(error?.message.contains("no attention that is recognised") ?? false)
    }
  }

  @Test func aMaskAlone() throws {
    let header =
      "{\"__metadata__\":{\"tile\":\"64x32\"},\"layers.5.blocks\":{\"dtype\":\"U8\",\"shape\":[2,3,6],\"data_offsets\":[0,36]}}"
    try Fixture.with(Fixture.safetensors(header, data: 36)) { path in
      let dump = try Dump.open(path)
      #expect(
        dump.kind == .mask && dump.tile! == (64, 32) && dump.layers[0].layer == 5
          && !dump.onesAreKept)
    }
  }
}

/// Blocks of every quantised type, against what the `gguf` package says they stand for.
@Suite struct QuantisedTests {
  @Test(arguments: WeightType.allCases.filter { $0 != .f32 }) func blocks(_ type: WeightType) throws
  {
    let archive = try openArchive(Fixture.path("quantised.npz"))
    let raw = try archive.tensor("\(type.name)_raw").floats().map { UInt8($0) }
    let expected = try archive.tensor("\(type.name)_values").floats()
    #expect(raw.count == type.bytes(expected.count))
    var values = [Float](repeating: 0, count: expected.count)
    as_dequantise(as_weight(type.rawValue), raw, 0, values.count, &values)
    for (index, (a, b)) in zip(values, expected).enumerated() {
      #expect(abs(a - b) <= 1e-6 * max(1, abs(b)), "\(type.name)[\(index)]: \(a), not \(b)")
    }
  }
}
