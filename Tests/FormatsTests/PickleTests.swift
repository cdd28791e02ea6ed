import Formats
import Foundation
import Support
import Tensors
import Testing

/// Files of torch.save and pickles: what they hold is read, and nothing of them is run.
@Suite struct PickleTests {
  private func values(_ dump: Dump, _ layer: Int) -> [Float] {
    dump.layers[layer].arrays[.pattern]?.floats() ?? []
  }

  /// `torch.save(outputs.attentions, ...)`.
  @Test func aTupleWithATensorALayer() throws {
    let maps = (0..<3).map { Made.pattern([1, 2, 5, 5], seed: $0 + 1) }
    var pickle = PickleWriter()
    pickle.op("(")
    for map in maps { pickle.tensor(map) }
    pickle.op("t")
    try Fixture.with(pickle.torch(), name: "attentions.pt") { path in
      let dump = try Dump.open(path)
      #expect(dump.format == "pt" && dump.kind == .pattern && dump.causal)
      #expect(dump.layers.map(\.layer) == [0, 1, 2])
      for layer in 0..<3 { #expect(values(dump, layer) == maps[layer].floats()) }
    }
  }

  /// `generate(..., return_dict_in_generate=True).attentions`: the prompt, then a row a step.
  @Test func stepsOfLayersAreJoined() throws {
    let steps = [[1, 2, 3, 3], [1, 2, 1, 4], [1, 2, 1, 5]]
    let maps = steps.map { shape in (0..<2).map { Made.pattern(shape, seed: $0 + shape[3]) } }
    var pickle = PickleWriter()
    pickle.op("(")
    for step in maps {
      pickle.op("(")
      for map in step { pickle.tensor(map) }
      pickle.op("t")
    }
    pickle.op("t")
    try Fixture.with(pickle.torch()) { path in
      let dump = try Dump.open(path)
      #expect(dump.layers.count == 2 && dump.layers[0].positions == (5, 5, 2))
      #expect(dump.guesses.contains { $0.what.contains("steps 0 to 2") }, "\(dump.guesses)")
      let joined = try #require(dump.layers[1].arrays[.pattern])
      #expect(joined[1][4].floats() == maps[2][1][0][1][0].floats())
      #expect(joined[0][3].floats() == maps[1][1][0][0][0].floats() + [0])
      #expect(joined[1][2].floats() == maps[0][1][0][1][2].floats() + [0, 0])
    }
  }

  /// Names of a dictionary are names of arrays; texts in it are the tokens.
  @Test func aDictionary() throws {
    let names = ["encoder_attentions", "decoder_attentions"]
    var pickle = PickleWriter()
    pickle.global("collections", "OrderedDict")
    pickle.op(")")
    pickle.op("R")
    pickle.op("(")
    for (index, name) in names.enumerated() {
      pickle.text(name)
      pickle.op("(")
      pickle.tensor(Made.pattern([1, 2, 4 + index, 4 + index]))
      pickle.op("t")
    }
    pickle.text("tokens_list")
    pickle.op("]")
    pickle.op("(")
    for index in 0..<5 { pickle.text("w\(index)") }
    pickle.op("e")
    pickle.op("u")
    try Fixture.with(pickle.torch()) { path in
      let dump = try Dump.open(path)
      #expect(dump.layers[0].positions == (5, 5, 2) && dump.tokens?.count == 5)
      #expect(dump.choices.map(\.name).sorted() == names.map { $0 + ".layer_0" }.sorted())
      var options = DumpOptions()
      options.array = "encoder"
      #expect(try Dump.open(path, options: options).layers[0].positions == (4, 4, 2))
    }
  }

  /// The form before torch 1.6: pickles and storages one after another.
  @Test func theOldForm() throws {
    let map = Made.pattern([1, 2, 4, 4])
    var object = PickleWriter()
    object.tensor(map)
    let magic: [UInt8] = [
      0x80, 2, 0x8a, 10, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 46,
    ]
    var keys = PickleWriter()
    keys.op("]")
    keys.text("0")
    keys.op("a")
    let parts = [magic, [0x80, 2, 0x4d, 0xe9, 3, 46], [0x80, 2, 0x7d, 46]]
    let bytes =
      parts.flatMap { $0 } + object.bytes + [46] + keys.bytes + [46]
      + Made.little(Int64(map.count)) + Made.floats(map.floats())
    let read = try Fixture.with(bytes) { try values(Dump.open($0), 0) }
    #expect(read == map.floats())
    try Fixture.with(Array(bytes.dropLast(4))) { path in
      let error = #expect(throws: FormatError.self) { try Dump.open(path) }
      #expect(error?.message.contains("past the end") ?? false)
    }
  }

  /// Arrays of numpy, as bytes and as the text that protocol 2 makes of bytes.
  @Test func arraysOfNumpy() throws {
    let maps = (0..<2).map { Made.pattern([3, 4, 4], seed: $0 + 1) }
    var pickle = PickleWriter(protocol: 4)
    pickle.op("]")
    pickle.op("(")
    for map in maps { pickle.array(map) }
    pickle.op("e")
    try Fixture.with(pickle.bytes + [46]) { path in
      let dump = try Dump.open(path)
      #expect(dump.format == "pickle" && dump.layers.map(\.layer) == [0, 1])
      #expect(values(dump, 1) == maps[1].floats())
    }
  }

  /// Every protocol as Python itself writes it, where Python and numpy are here.
  @Test(.enabled(if: Python.hasNumpy, "python3 with numpy is not here"), arguments: 0...5)
  func everyProtocolOfPython(_ version: Int) throws {
    try Fixture.with([0]) { path in
      let made = Python.run(
        """
        import numpy, pickle
        a = numpy.tril(1 + numpy.arange(50, dtype="f4").reshape(2, 5, 5) % 7)
        a /= a.sum(-1, keepdims=True)
        things = {"attentions": [x for x in a], "tokens": list("abcde"), "note": {"n": 3}}
        pickle.dump(things, open("\(path)", "wb"), protocol=\(version))
        """)
      try #require(made)
      let dump = try Dump.open(path)
      #expect(dump.layers.map(\.layer) == [0, 1] && dump.tokens == ["a", "b", "c", "d", "e"])
      let first = try #require(dump.layers[0].arrays[.pattern])
      #expect(first.shape.axes == [1, 5, 5])
      let wanted: [Float] = [1, 0, 0, 0, 0, 6.0 / 13, 7.0 / 13, 0, 0, 0]
      #expect(zip(first.floats(), wanted).allSatisfy { abs($0 - $1) < 1e-6 }, "\(first.floats())")
    }
  }

  /// What a pickle would call is never called, and an array beside it is read.
  @Test func nothingIsRun() throws {
    try Fixture.with([0]) { path in
      let victim = path + ".made"
      func evil(_ pickle: inout PickleWriter) {
        pickle.global("os", "system")
        pickle.op("(")
        pickle.text("touch \(victim)")
        pickle.op("t")
        pickle.op("R")
      }
      var pickle = PickleWriter()
      pickle.op("(")
      evil(&pickle)
      pickle.array(Made.pattern([2, 4, 4]))
      pickle.op("t")
      try Data(pickle.bytes + [46]).write(to: URL(filePath: path))
      #expect(try Dump.open(path).layers[0].positions == (4, 4, 2))
      var alone = PickleWriter()
      evil(&alone)
      try Data(alone.bytes + [46]).write(to: URL(filePath: path))
      let error = #expect(throws: FormatError.self) { try Dump.open(path) }
      #expect(error?.message.contains("no array") ?? false)
      #expect(!FileManager.default.fileExists(atPath: victim))
    }
  }

  /// Shapes, strides and offsets that reach out of their storage.
  @Test(arguments: [
    ([2, 4], [4, 1], 1), ([2, 5], [4, 1], 0), ([1 << 40, 4], [0, 1], 0),
    ([2, 4], [1 << 62, 1], 0),
    ([2, 4], [-4, 1], 4), ([3, 3], [3], 0), ([2, 4], [4, 1], -1), ([2, 4], [4, 1], 1 << 30),
  ]) func tensorsThatLie(_ shape: [Int], _ strides: [Int], _ offset: Int) throws {
    var pickle = PickleWriter()
    let values = [Float](repeating: 0.25, count: 8)
    pickle.bytes += Array("(".utf8)
    pickle.tensor(values, [2, 4])
    pickle.bytes += Array("t".utf8)
    #expect(try Fixture.with(pickle.torch()) { try Dump.open($0).layers.count } == 1)
    var lie = PickleWriter()
    lie.tensor(
      values, shape.map { min($0, 1 << 30) }, strides: strides.map { min($0, 1 << 30) },
      offset: offset)
    try Fixture.with(lie.torch()) { path in
      let error = #expect(throws: FormatError.self, "\(shape) \(strides)") { try Dump.open(path) }
      #expect(error.map { "\($0)".contains(path) } ?? false)
    }
  }

  /// Nested a million deep, holding itself, and the same thing doubled thirty times.
  @Test func nestedPickles() throws {
    let deep =
      [0x80, 2] + [UInt8](repeating: 0x5d, count: 400_000)
      + [UInt8](repeating: 0x61, count: 399_999) + [46]
    let itself: [UInt8] = [0x80, 2, 0x5d, 0x71, 0, 0x68, 0, 0x61, 46]
    var laughs: [UInt8] = [0x80, 2, 0x4e]
    for _ in 0..<60 { laughs += [0x32, 0x86] }
    for bytes in [deep, itself, laughs + [46]] {
      try Fixture.with(bytes) { path in
        let start = ContinuousClock.now
        #expect(throws: FormatError.self) { try Dump.open(path) }
        #expect(ContinuousClock.now - start < .seconds(20))
      }
    }
  }

  /// A few bytes that copy a large thing once more, over and over.
  @Test func copiesWithoutEnd() throws {
    var text = PickleWriter()
    text.text(String(repeating: "a", count: 1 << 16))
    text.bytes += [0x71, 0]
    text.global("_codecs", "encode")
    var pairs = PickleWriter()
    pairs.ints([1, 2])
    pairs.bytes += [0x71, 2, 0x5d, 0x71, 0, 0x28]
    for _ in 0..<10_000 { pairs.bytes += [0x68, 2] }
    pairs.op("e")
    pairs.global("collections", "OrderedDict")
    for pickle in [text, pairs] {
      let call: [UInt8] = [0x68, 1, 0x68, 0, 0x85, 0x52]
      let calls = [[UInt8]](repeating: call, count: 2000).flatMap { $0 }
      try Fixture.with(pickle.bytes + [0x71, 1] + calls + [46]) { path in
        let error = #expect(throws: FormatError.self) { try Dump.open(path) }
        #expect(error?.code == .tooLarge, "\(error.map { "\($0)" } ?? "")")
      }
    }
  }

  /// An array that repeats its bytes without end is left out; one beside it is read.
  @Test func arraysThatRepeatWithoutEnd() throws {
    var pickle = PickleWriter()
    pickle.op("(")
    pickle.tensor([0.5], [1 << 12, 1 << 12], strides: [0, 0])
    pickle.tensor(Made.pattern([1, 2, 4, 4]))
    pickle.op("t")
    try Fixture.with(pickle.torch()) { path in
      let dump = try Dump.open(path)
      #expect(dump.layers[0].positions == (4, 4, 2))
      #expect(dump.remarks.contains { $0.contains("repeats its bytes") }, "\(dump.remarks)")
    }
  }

  /// Cut anywhere, and changed at random: a sentence or a dump, never a crash.
  @Test func damaged() throws {
    var torch = PickleWriter()
    torch.op("(")
    for _ in 0..<2 { torch.tensor(Made.pattern([1, 2, 4, 4])) }
    torch.op("t")
    var plain = PickleWriter(protocol: 4)
    plain.array(Made.pattern([2, 4, 4]))
    var random = Seeded(4)
    for whole in [torch.torch(), plain.bytes + [46]] {
      for length in stride(from: 0, to: whole.count, by: 5) {
        try Fixture.with(Array(whole.prefix(length))) { path in
          #expect(throws: FormatError.self, "cut to \(length)") { try Dump.open(path) }
        }
      }
      var refused = 0
      for _ in 0..<400 {
        var bytes = whole
        for _ in 0..<Int.random(in: 1...4, using: &random) {
          bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(
            in: 0...255, using: &random)
        }
        try Fixture.with(bytes) { path in
          do throws(FormatError) {
            let dump = try Dump.open(path)
            for layer in dump.layers { for map in layer.arrays.values { _ = map.floats() } }
          } catch {
            #expect("\(error)".contains(path) && !"\(error)".contains("\n"))
            refused += 1
          }
        }
      }
      #expect(refused > 20, "\(refused) of 400 were refused")
    }
  }
}

/// Python beside the tests, where it is.
enum Python {
  static let hasNumpy = run("import numpy")

  /// Whether a script ran to its end.
  static func run(_ script: String) -> Bool {
    let process = Process()
    process.executableURL = URL(filePath: "/usr/bin/env")
    process.arguments = ["python3", "-c", script]
    (process.standardOutput, process.standardError) = (nil, nil)
    do { try process.run() } catch { return false }
    process.waitUntilExit()
    return process.terminationStatus == 0
  }
}
