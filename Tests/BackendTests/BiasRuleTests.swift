import Attention
import Backends
import Formats
import Foundation
import Sessions
import Tensors
import Testing

/// Attention biases beside Q and K: added where heads and positions fit, else passed over; what is
/// said of them is what was done.
@Suite struct BiasRuleTests {
  private static let heads = 4, tokens = 8, dim = 4

  private static func numbers(_ shape: [Int], seed: Int) -> [Float] {
    (0..<shape.reduce(1, *)).map { Float(($0 * 37 + seed * 11) % 23 - 11) / 8 }
  }

  private struct Opened {
    let heads: DumpHeads
    let said: String
  }

  /// Q and K of one layer with other arrays beside them.
  private func open(
    _ more: [(name: String, shape: [Int])], mask: [Int32]? = nil, queries: Int = tokens
  ) throws -> Opened {
    let path = FileManager.default.temporaryDirectory.appending(
      path: "bias-\(UUID()).safetensors"
    ).path
    defer { try? FileManager.default.removeItem(atPath: path) }
    var arrays = more.enumerated().map {
      ArrayToWrite(
        $1.name, floats: Self.numbers($1.shape, seed: 5 + $0), shape: $1.shape)
    }
    for (name, count) in [("q", queries), ("k", Self.tokens)] {
      let shape = [Self.heads, count, Self.dim]
      arrays.append(
        ArrayToWrite(
          "layers.0.\(name)", floats: Self.numbers(shape, seed: name == "q" ? 1 : 2), shape: shape))
    }
    if let mask { arrays.append(ArrayToWrite("attention_mask", int32: mask, shape: [mask.count])) }
    try writeSafetensors(arrays, metadata: ["causal": "true"], to: path, force: true)
    let backend = FileBackend(try Dump.open(path))
    return Opened(
      heads: backend.heads, said: backend.describe().guesses.joined(separator: "; "))
  }

  /// How far the scores of a head are from the scaled products, where they are seen: what was
  /// added `[queries, keys]`.
  private func added(_ heads: DumpHeads, _ head: Int) throws -> [[Float]]? {
    let arrays = heads.dump.layers[0].arrays
    let q = arrays[.query]![head], k = arrays[.key]![head]
    guard case .scores(let scores) = try #require(heads.head(0, head)).source else { return nil }
    return (0..<scores.shape[0]).map { row in
      let query = q[row].floats(), seen = row + scores.shape[1] - scores.shape[0] + 1
      return (0..<seen).map { key in
        let product = zip(query, k[key].floats()).reduce(Float(0)) { $0 + $1.0 * $1.1 }
        return scores[row].floats()[key] - product / Float(Self.dim).squareRoot()
      }
    }
  }

  private func expect(
    _ added: [[Float]]?, _ bias: (_ row: Int, _ key: Int) -> Float, _ what: String
  ) throws {
    for (row, line) in try #require(added, "\(what)").enumerated() {
      for (key, value) in line.enumerated() {
        #expect(abs(value - bias(row, key)) < 1e-5, "\(what): \(row), \(key)")
      }
    }
  }

  /// One head's bias for all heads, and each head's own.
  @Test(arguments: [1, 4]) func everyHeadGetsItsOwn(_ count: Int) throws {
    let shape = [count, 8, 8], wanted = Self.numbers(shape, seed: 5)
    let file = try open([("layers.0.attention_bias", shape)])
    for head in 0..<Self.heads {
      let at = count == 1 ? 0 : head
      try expect(added(file.heads, head), { wanted[(at * 8 + $0) * 8 + $1] }, "head \(head)")
    }
    #expect(file.said.contains("layers.0.attention_bias is added to the scores"), "\(file.said)")
  }

  /// Whose bias is whose is open then: none is added, and that is said.
  @Test(arguments: [2, 3, 5]) func otherNumbersOfHeadsAreNotAdded(_ count: Int) throws {
    let file = try open([("layers.0.attention_bias", [count, 8, 8])])
    for head in 0..<Self.heads { #expect(try added(file.heads, head) == nil, "head \(head)") }
    #expect(
      file.said.contains(
        "layers.0.attention_bias is passed over: it has \(count) heads where the model has 4"),
      "\(file.said)")
    #expect(!file.said.contains("added"), "\(file.said)")
  }

  /// Padding at the end is cut from the bias as from Q and K.
  @Test func paddingIsCutFromABias() throws {
    let wanted = Self.numbers([4, 8, 8], seed: 5)
    let file = try open(
      [("layers.0.attention_bias", [4, 8, 8])], mask: [1, 1, 1, 1, 1, 1, 0, 0])
    #expect(file.heads.dump.layers[0].positions.keys == 6)
    for head in 0..<Self.heads {
      try expect(added(file.heads, head), { wanted[(head * 8 + $0) * 8 + $1] }, "head \(head)")
    }
    #expect(
      file.said.contains("is added to the scores: of its 8 keys the first 6"), "\(file.said)")
  }

  /// A bias over more positions than there are, or the same for every query.
  @Test func positionsAreTheSameOnBothSides() throws {
    let wide = Self.numbers([1, 8, 8], seed: 5)
    let decode = try open([("attention_bias", [8, 8])], queries: 2)
    try expect(added(decode.heads, 3), { wide[(6 + $0) * 8 + $1] }, "the last two rows")
    let line = Self.numbers([4, 1, 8], seed: 5)
    let slopes = try open([("alibi", [4, 1, 8])])
    try expect(added(slopes.heads, 2), { line[2 * 8 + $1] }, "one row for all")
  }

  /// Shapes that lie on nothing, a layer that is not here, a second bias of the same layer.
  @Test func everyBiasOfTheFileIsSpokenOf() throws {
    let file = try open([
      ("alibi", [4, 1, 8]), ("attention_bias", [4, 8, 8]), ("layers.7.attention_bias", [4, 8, 8]),
      ("layers.0.score_bias", [3, 8, 8, 8]),
    ])
    for words in [
      "alibi is added", "attention_bias is passed over: alibi is added already",
      "layers.7.attention_bias is passed over: there is no layer 7 here",
      "layers.0.score_bias is passed over: it is of several sequences",
    ] {
      #expect(file.said.contains(words), "\(words): \(file.said)")
    }
    let table = try open([("relative_attention_bias", [32, 4])])
    #expect(
      table.said.contains("it is of 32 x 4 positions, and there are 8 x 8"), "\(table.said)")
    let holds = FileBackend(table.heads.dump).describe().holds
    #expect(holds.contains(.queryKey), "nothing lies between Q K and the scores")
  }
}
