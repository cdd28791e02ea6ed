import Attention
import Backends
import Formats
import Foundation
import Sessions
import Tensors
import Testing

/// Softcap, windows, packed sequences and padding: maps, margins and counts follow them.
@Suite struct ModelRuleTests {
  /// Numbers around 0 `[heads, tokens, dim]`.
  private static func numbers(_ shape: [Int], seed: Int) -> Tensor {
    Tensor(
      (0..<shape.reduce(1, *)).map { Float(($0 * 37 + seed * 11) % 23 - 11) / 8 }, shape: shape)
  }

  private static let tokens = 24

  private func dump(_ rules: AttentionRules, value: Bool = true) -> Dump {
    let shape = [2, Self.tokens, 8]
    var arrays: [ArrayRole: Tensor] = [
      .query: Self.numbers(shape, seed: 1), .key: Self.numbers(shape, seed: 2),
    ]
    if value { arrays[.value] = Self.numbers(shape, seed: 3) }
    var dump = Dump(
      of: nil, path: "made", layers: [LayerArrays(layer: 0, arrays: arrays)], tokens: [], ids: [])
    dump.rules = rules
    return dump
  }

  /// The weights of a row by the words of the rules, in double precision.
  private func weights(_ dump: Dump, _ head: Int, _ row: Int) -> [Double] {
    let arrays = dump.layers[0].arrays, rules = dump.rules
    let q = arrays[.query]![head][row].floats()
    let scores = (0..<Self.tokens).map { key -> Double in
      let k = arrays[.key]![head][key].floats()
      var x = zip(q, k).reduce(0.0) { $0 + Double($1.0 * $1.1) } / 8.0.squareRoot()
      if let c = rules.softcap { x = c * tanh(x / c) }
      let isFar = rules.window.map { key <= row - $0 } ?? false
      let isOther = rules.segments.map { $0[key] != $0[row] } ?? false
      return key > row || isFar || isOther || key < rules.padding ? -.infinity : x
    }
    let top = scores.max() ?? 0, all = scores.map { exp($0 - top) }, sum = all.reduce(0, +)
    return all.map { $0 / sum }
  }

  private static let cases: [AttentionRules] = {
    var window = AttentionRules(), cap = window, packed = window, padded = window
    window.window = 5
    cap.softcap = 1.5
    packed.segments = (0..<tokens).map { $0 < 7 ? 0 : $0 < 16 ? 1 : 2 }
    (padded.padding, padded.window) = (6, 9)
    return [window, cap, packed, padded]
  }()

  @Test(arguments: cases.indices) func rowsFollowTheRules(_ index: Int) throws {
    let dump = dump(Self.cases[index]), heads = DumpHeads(dump)
    for number in 0..<2 {
      let head = try #require(heads.head(0, number))
      let spec = TileSpec(rows: 4, keys: 4)
      let reference = ReferenceAttention(HeadGroup([head])).run(spec, lambda: 0).patterns[0]
      for row in dump.rules.padding..<Self.tokens {
        let wanted = weights(dump, number, row)
        for key in 0..<Self.tokens {
          #expect(abs(reference[row * Self.tokens + key] - wanted[key]) < 1e-5, "\(row), \(key)")
        }
      }
      #expect(head.value != nil)
    }
  }

  /// A block that nobody sees is not counted: neither by the fast path nor by the reference.
  @Test(arguments: [0, 2, 3]) func blocksThatNobodySees(_ index: Int) throws {
    let dump = dump(Self.cases[index])
    let head = try #require(DumpHeads(dump).head(0, 0))
    let spec = TileSpec(rows: 4, keys: 4)
    let table = try #require(TilePass(HeadGroup([head]), keysPerTile: 4).tables(spec))[0]
    for i in 0..<6 {
      for j in 0..<6 {
        let seen = (i * 4..<i * 4 + 4).contains { row in
          row >= dump.rules.padding
            && (head.visibility.first(row: row)..<head.visibility.limit(row: row))
              .overlaps(j * 4..<j * 4 + 4)
        }
        let first = (i * 4..<i * 4 + 4).first { $0 >= dump.rules.padding } ?? 0
        // A tile reaches back to where its first row does.
        let isCounted =
          i * 4 + 4 > dump.rules.padding && j <= i
          && (j + 1) * 4 > head.visibility.first(row: first)
        #expect(!seen || isCounted)
        #expect(table.margins[i * 6 + j].isNaN != isCounted, "block \(i), \(j)")
      }
    }
    let entries = (0..<Self.tokens).reduce(0) { sum, row in
      sum + (row < dump.rules.padding ? 0 : weights(dump, 0, row).count { $0 > 0 })
    }
    #expect(head.visibleEntries == entries)
  }

  /// Methods that take Q and K apart would show another model's attention.
  @Test func whatNeedsQAndKIsNotOffered() {
    let plain = FileBackend(dump(AttentionRules())).describe().holds
    let ruled = FileBackend(dump(Self.cases[0])).describe().holds
    #expect(plain.contains(.queryKey) && !ruled.contains(.queryKey) && ruled.contains(.logits))
  }
}
