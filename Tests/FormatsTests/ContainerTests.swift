import Formats
import Foundation
import Support
import Tensors
import Testing

/// Files that hold more than numbers, tables of text, folders, and what is not opened.
@Suite struct ContainerTests {
  /// Texts are tokens; what nobody needs is left out by name and stops nothing.
  @Test func membersOfNpz() throws {
    let map = Made.pattern([1, 2, 3, 3])
    let bytes = Made.zip([
      ("attention.npy", Made.npy(map)), ("tokens.npy", Made.npy(["a", "été", "b"])),
      ("when.npy", Made.npy("<M8[D]", [], [UInt8](repeating: 0, count: 8))),
      ("settings.npy", Made.npy("|O", [], [0x80, 4, 0x4e, 46])),
      ("__MACOSX/._attention.npy", [0, 5, 22, 7]),
    ])
    try Fixture.with(bytes) { path in
      let dump = try Dump.open(path)
      #expect(dump.tokens == ["a", "été", "b"] && dump.layers[0].positions == (3, 3, 2))
      let said = dump.remarks.joined(separator: " ")
      #expect(said.contains("when was left out") && said.contains("settings was left out"))
      #expect(!said.contains("MACOSX"))
    }
  }

  /// Spellings of tokenizers become text; `rawTokens` leaves them.
  @Test(arguments: [
    (["the", "Ġkeeper", "Ċ"], ["the", " keeper", "\n"]), (["▁the", "<0x0A>"], [" the", "\n"]),
    (["a b", "Ġc"], ["a b", "Ġc"]), (["cafÃ©", "Ġx"], ["café", " x"]),
  ]) func spellings(_ tokens: [String], _ wanted: [String]) throws {
    let count = tokens.count
    let text = String(decoding: try JSONEncoder().encode(tokens), as: UTF8.self)
    try Made.safetensors(
      [("layers.0.pattern", Made.pattern([1, count, count]))], metadata: ["tokens": text]
    ) { path in
      let plain = try Dump.open(path).tokens
      var options = DumpOptions()
      options.rawTokens = true
      let raw = try Dump.open(path, options: options).tokens
      #expect(plain == wanted && raw == tokens)
    }
    let python = "['" + tokens.joined(separator: "', '") + "']"
    try Made.safetensors(
      [("layers.0.pattern", Made.pattern([1, count, count]))], metadata: ["tokens": python]
    ) { path in
      let plain = try Dump.open(path).tokens
      #expect(plain == wanted)
    }
  }

  /// Lists as Python prints them, and objects of JSON that have one.
  @Test(arguments: [
    (#"['a\x00', "it's", '\u200b\n']"#, ["a\0", "it's", "\u{200b}\n"], true),
    (#"{"tokens": ["a", "b", "c"], "n": 1}"#, ["a", "b", "c"], false),
  ]) func listsOfTokens(_ text: String, _ wanted: [String], _ isPython: Bool) throws {
    let arrays = [("layers.0.pattern", Made.pattern([1, 3, 3]))]
    try Made.safetensors(arrays, metadata: ["tokens": text]) { path in
      let dump = try Dump.open(path)
      let said = dump.remarks.contains { $0.contains("as Python prints it") }
      #expect(dump.tokens == wanted && said == isPython)
    }
  }

  @Test func linesOfWindows() throws {
    let texts = try Fixture.with(Array("a\r\nb\nc".utf8)) { try readTexts($0) }
    #expect(texts == ["a", "b", "c"])
  }

  @Test(arguments: [
    ("0.5,0.5\n0.1,0.9\n", "2x2"), ("a\tb\n1\t0\n0.5\t0.5\n", "2x2"), ("1 0 0\n.5 .3 .2\n", "2x3"),
    (",x,y\nx,1,0\ny,0.5,0.5\n", "2x2"), ("1;0\r\n0.5;0.5\r\n", "2x2"),
  ]) func tablesOfText(_ text: String, _ size: String) throws {
    try Fixture.with(Array(text.utf8), name: "map.csv") { path in
      let dump = try Dump.open(path)
      let place = dump.layers[0].positions
      #expect("\(place.queries)x\(place.keys)" == size && dump.format == "text")
      #expect((dump.tokens == nil) == !text.contains(where: \.isLetter))
    }
  }

  @Test func aTableWithAHoleIsRefused() throws {
    try Fixture.with(Array("1,0,0\n0.5,0.5\n".utf8)) { path in
      let error = #expect(throws: FormatError.self) { try Dump.open(path) }
      #expect(error?.message.contains("row 2 has 2") ?? false)
    }
  }

  /// A file a layer, in a folder or named one by one.
  @Test func aFolderIsOneDump() throws {
    try Fixture.with([0], name: "README.txt") { path in
      let folder = (path as NSString).deletingLastPathComponent
      let maps = (0..<11).map { Made.pattern([1, 2, 3, 3], seed: $0 + 1) }
      var files: [String] = []
      for (layer, map) in maps.enumerated() {
        files.append(folder + "/attn_layer_\(layer).npy")
        try Data(Made.npy(map)).write(to: URL(filePath: files[layer]))
      }
      try Data("[\"a\",\"b\",\"c\"]".utf8).write(to: URL(filePath: folder + "/tokens.json"))
      // A folder by the name of a file, which leads back to this one.
      try FileManager.default.createSymbolicLink(
        atPath: folder + "/more.npz", withDestinationPath: ".")
      let dump = try Dump.open(folder)
      #expect(dump.layers.count == 11 && dump.tokens == ["a", "b", "c"])
      #expect(dump.layers[10].arrays[.pattern]?.floats() == maps[10].floats())
      #expect(Dump.areParts(files) && !Dump.areParts([files[0]]))
      #expect(!Dump.areParts([folder + "/a.npy", folder + "/b.npy"]))
      #expect(!Dump.areParts([folder + "/run_1.npy", folder + "/run_2.npy"]))
      #expect(try Dump.open(files: files).layers.count == 11)
    }
  }

  /// Of two files by one name the second is left out, and so are tokens that are none: both said.
  @Test func filesByOneName() throws {
    try Fixture.with(Array("1,0\n0.5,0.5\n".utf8), name: "attention.csv") { path in
      let folder = (path as NSString).deletingLastPathComponent
      try Data(Made.npy(Made.pattern([2, 2]))).write(to: URL(filePath: folder + "/attention.npy"))
      try Data("{\"x\": 1}".utf8).write(to: URL(filePath: folder + "/tokens.json"))
      let said = try Dump.open(folder).remarks.joined(separator: "; ")
      #expect(said.contains("attention.npy was left out"), "\(said)")
      #expect(said.contains("tokens.json was left out"), "\(said)")
    }
  }

  /// A call that FlashInfer recorded: arguments by place, positions before heads.
  @Test(arguments: [["arg_0", "arg_1", "arg_2"], ["kwarg_q", "kwarg_k", "kwarg_v"]])
  func aCallOfFlashInfer(_ names: [String]) throws {
    try Fixture.with([0], name: "metadata.jsonl") { path in
      let folder = (path as NSString).deletingLastPathComponent
      let q = Made.numbers([7, 4, 8])
      let arrays = [q, Made.numbers([7, 4, 8], seed: 2), Made.numbers([7, 4, 8], seed: 3)]
      try writeSafetensors(
        zip(names, arrays).map { ArrayToWrite($0, tensor: $1) }, metadata: [:],
        to: folder + "/inputs.safetensors", force: true)
      let dump = try Dump.open(folder)
      #expect(dump.kind == .qkv && dump.layers[0].positions == (7, 7, 4))
      #expect(dump.layers[0].arrays[.query]?[2][5].floats() == q[5][2].floats())
      #expect(dump.layers[0].arrays[.value] != nil)
    }
  }

  /// Whole numbers whose rows have one sum are a quantised pattern.
  @Test func quantisedPatterns() throws {
    let bytes = Made.pattern([2, 3, 8, 8]).floats().map { UInt8(($0 * 255).rounded()) }
    try Fixture.with(Made.npy("|u1", [2, 3, 8, 8], bytes)) { path in
      let dump = try Dump.open(path)
      #expect(dump.kind == .pattern && dump.causal && dump.layers.count == 2)
      #expect(dump.guesses.contains { $0.what.contains("quantised") }, "\(dump.guesses)")
    }
  }

  /// What is not opened is named, with the line that helps.
  @Test(arguments: [
    ("PAR1", "Parquet"), ("\u{1f}\u{8b}", "gunzip"), ("version https://git-lfs.github.com", "lfs"),
    ("<!DOCTYPE html><html>", "HTML"), ("\u{89}HDF\r\n", "h5py"), ("GGUF", "attnscope run"),
  ]) func whatIsNotOpened(_ magic: String, _ words: String) throws {
    let bytes = magic.unicodeScalars.map { UInt8($0.value) } + [UInt8](repeating: 0, count: 64)
    try Fixture.with(bytes) { path in
      let error = #expect(throws: FormatError.self) { try Dump.open(path) }
      #expect(error?.message.contains(words) ?? false, "\(error.map { "\($0)" } ?? "")")
    }
  }

  @Test func rawNumbersAndZarr() throws {
    try Fixture.with(Made.floats([0.123, -4, 1e20, 3.5, 7]), name: "kq.f32") { path in
      let error = #expect(throws: FormatError.self) { try Dump.open(path) }
      #expect(error?.message.contains("reshape") ?? false)
    }
    try Fixture.with([0x7b, 0x7d], name: ".zarray") { path in
      let folder = (path as NSString).deletingLastPathComponent
      let error = #expect(throws: FormatError.self) { try Dump.open(folder) }
      #expect(error?.message.contains("Zarr") ?? false)
    }
  }

  /// FlexAttention's BlockMask: how many blocks a row has, and which.
  @Test func aBlockMask() throws {
    let counts: [Int32] = [1, 2, 2], order: [Int32] = [0, 0, 0, 0, 1, 0, 0, 2, 0]
    try Fixture.with([0]) { path in
      try writeSafetensors(
        [
          ArrayToWrite("kv_num_blocks", int32: counts, shape: [1, 1, 3]),
          ArrayToWrite("kv_indices", int32: order, shape: [1, 1, 3, 3]),
        ], metadata: [:], to: path, force: true)
      let dump = try Dump.open(path)
      #expect(dump.kind == .mask && dump.onesAreKept)
      #expect(dump.layers[0].arrays[.blocks]?.floats() == [1, 0, 0, 1, 1, 0, 1, 0, 1])
    }
  }
}
