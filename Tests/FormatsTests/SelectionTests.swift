import Formats
import Foundation
import Support
import Tensors
import Testing

/// Chosen key indices of a file: the names that they go by, their orders, and those that lie.
@Suite struct SelectionTests {
  /// A file of Q and K of four query heads over two, 6 tokens, and one more array.
  static func file(_ name: String, _ shape: [Int], _ array: ArrayToWrite? = nil) throws -> [UInt8] {
    let path = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString).path
    defer { try? FileManager.default.removeItem(atPath: path) }
    let count = shape.reduce(1, *)
    try writeSafetensors(
      [
        ArrayToWrite("layers.3.q", floats: (0..<96).map { Float($0 % 7) }, shape: [4, 6, 4]),
        ArrayToWrite("layers.3.k", floats: (0..<48).map { Float($0 % 5) }, shape: [2, 6, 4]),
        array ?? ArrayToWrite(name, int32: (0..<count).map { Int32($0 % 6) }, shape: shape),
      ], metadata: ["causal": "true"], to: path, force: true)
    return Array(try Data(contentsOf: URL(filePath: path)))
  }

  @Test(arguments: [
    ("layers.3.selected", [6, 2], [1, 6, 2]), ("layers.3.selected", [4, 6, 2], [4, 6, 2]),
    ("layers.3.selected", [2, 6, 2], [2, 6, 2]), ("layers.3.topk_indices", [1, 6, 5], [1, 6, 5]),
    ("model.layers.3.self_attn.indexer.topk_indices", [6, 1, 3], [1, 6, 3]),
    ("layers.3.selected_indices", [3, 2, 6, 2], [2, 6, 2]),
    ("layers.3.indices", [3, 6, 2], [1, 6, 2]), ("layer_3.top_k_indices", [6, 2], [1, 6, 2]),
    ("selected", [6, 1], [1, 6, 1]),
  ]) func namesAndOrders(_ name: String, _ shape: [Int], _ wanted: [Int]) throws {
    try Fixture.with(try Self.file(name, shape)) { path in
      let dump = try Dump.open(path)
      #expect(dump.kind == .qkv && dump.layers.count == 1)
      let found = try #require(dump.layers[0].arrays[.selected])
      #expect(found.shape.axes == wanted && found.dtype == .int32)
      #expect(dump.elementTypes == [.float32])
    }
  }

  /// What is no selection of these heads does not stand in the way of Q and K.
  @Test(arguments: [
    ("layers.3.selected", [5, 2]), ("layers.3.selected", [3, 5, 2]),
    ("layers.3.selected", [2, 3, 6, 2, 1]), ("layers.3.selected", [6]),
    ("layers.9.selected", [6, 2]), ("layers.3.mlp.experts.topk_indices", [6, 2]),
  ]) func othersArePassedOver(_ name: String, _ shape: [Int]) throws {
    try Fixture.with(try Self.file(name, shape)) { path in
      let dump = try Dump.open(path)
      #expect(dump.layers.map(\.layer) == [3] && dump.layers[0].arrays[.selected] == nil)
      let isSaid = dump.remarks.contains { $0.contains("passed over") }
      #expect(isSaid == (shape.count > 1 && !name.contains("mlp")), "\(dump.remarks)")
    }
  }

  /// Floats are no indices; scores of an indexer are no map.
  @Test func whatIsNoIndex() throws {
    let floats = ArrayToWrite(
      "layers.3.selected", floats: .init(repeating: 1, count: 12), shape: [6, 2])
    try Fixture.with(try Self.file("", [1], floats)) { path in
      let dump = try Dump.open(path)
      #expect(dump.layers[0].arrays[.selected] == nil)
    }
    let scores = ArrayToWrite(
      "layers.3.index_scores", floats: .init(repeating: 1, count: 36), shape: [6, 6])
    try Fixture.with(try Self.file("", [1], scores)) { path in
      let dump = try Dump.open(path)
      #expect(dump.kind == .qkv && dump.layers[0].arrays[.scores] == nil)
      #expect(dump.layers[0].arrays[.indexScores]?.shape.axes == [1, 6, 6])
    }
  }

  /// β of a delta rule, by head and token in either order; the beta of a norm is none, and what
  /// fits no head is passed over.
  @Test(arguments: [
    ("layers.3.beta", [2, 6], true), ("blocks.3.attn.beta", [6, 4], true),
    ("layers.3.beta", [1, 4, 6], true), ("layers.3.beta", [3, 6], false),
    ("layers.3.ln_1.beta", [2, 6], false), ("layers.3.beta", [6], false),
  ]) func writeStrengths(_ name: String, _ shape: [Int], _ isThere: Bool) throws {
    let count = shape.reduce(1, *)
    let array = ArrayToWrite(name, floats: (0..<count).map(Float.init), shape: shape)
    try Fixture.with(try Self.file("", [1], array)) { path in
      let dump = try Dump.open(path), beta = dump.layers[0].arrays[.beta]
      #expect((beta != nil) == isThere, "\(name) \(shape)")
      guard let beta else { return }
      #expect(beta.shape.axes == [count / 6, 6])
      #expect(beta[0].floats()[1] == (shape == [6, 4] ? 4 : 1))
    }
  }

  /// Chosen keys alone are refused in words that say what is missing.
  @Test func indicesAlone() throws {
    let header = HostileTests.entry("layers.0.selected", dtype: "I64", shape: "[4,2]", "0", "64")
    try Fixture.with(Fixture.safetensors("{\(header)}", data: 64)) { path in
      let error = #expect(throws: FormatError.self) { try Dump.open(path) }
      let text = error.map { "\($0)" } ?? ""
      #expect(text.contains("save Q and K"), "\(text)")
    }
  }

  /// Indices are read exactly, beyond what float32 and even an index can hold.
  @Test func integersAreExact() throws {
    let values: [Int64] = [.min, -1, 16_777_217, .max]
    let storage = OwnedStorage(byteCount: 32) { out in
      values.withUnsafeBytes { out.copyMemory(from: $0) }
    }
    let signed = Tensor(storage: storage, dtype: .int64, shape: Shape([2, 2]))
    #expect(signed.integers() == [.min, -1, 16_777_217, .max])
    #expect(signed.permuted([1, 0]).integers() == [.min, 16_777_217, -1, .max])
    let unsigned = Tensor(storage: storage, dtype: .uint64, shape: Shape([4]))
    #expect(unsigned.integers() == [.max, .max, 16_777_217, .max])
    let odd = Tensor([.nan, .infinity, -.infinity, 2.4], shape: [4])
    #expect(odd.integers() == [-1, .max, .min, 2])
  }
}
