import Attention
import Foundation
import Methods
import Support
import Tensors
import Testing

/// The checks of card S24.
@Suite struct ChunkRouterTests {
  private static func head(_ n: Int = 60) -> Head {
    var random = Seeded(8)
    return Head(
      query: random.tensor([n, 8], scale: 2), key: random.tensor([n, 8]),
      value: random.tensor([n, 5]), causal: true)
  }

  private static func examine(_ knobs: String, _ head: Head) throws -> Findings {
    try Registry.standard.make(MethodSetting(parsing: "natsl-softmax:\(knobs)")).examine(
      Subject(head), MethodRun())
  }

  /// Check 1: with every chunk in softmax the branch is dense.
  @Test func allChunksInSoftmaxAreDense() throws {
    let found = try Self.examine("chunk=16,share=1", Self.head())
    #expect(found["density"]?.number == 1 && found["error"]?.number ?? 1 < 1e-6)
    #expect(found["softmax_share"]?.number == 1 && found["rows_left_out"]?.number == 0)
  }

  /// Check 2: every chunk has a branch, the last one both, and half of the others are in softmax.
  @Test func everyChunkHasABranch() throws {
    let found = try Self.examine("chunk=8,share=0.5", Self.head())
    let branches = try #require(found.series("softmax_chunk"))
    #expect(branches.count == 8 && branches.last == 2)
    #expect(branches.dropLast().allSatisfy { $0 == 0 || $0 == 1 })
    #expect(branches.filter { $0 == 1 }.count == 4)
    #expect(found["cache"]?.number == 5.0 / 8)
    let importance = try #require(found.series("importance"))
    // The last two chunks have no rows more than a chunk behind them.
    #expect(importance.suffix(2) == [0, 0] && importance[0] > 0)
  }

  /// Check 3: a state that is written whole gives back the value of each orthonormal key.
  @Test func orthonormalKeysAreReadBack() {
    let s = 0.5.squareRoot()
    let keys = [[s, s, 0], [s, -s, 0], [0, 0, 1]], values = [[1.0, 2], [-3, 0.5], [0.25, 7]]
    var state = GatedDelta(keyDim: 3, valueDim: 2)
    for (key, value) in zip(keys, values) { state.step(key, value, decay: 1, write: 1) }
    for (key, value) in zip(keys, values) {
      for (a, b) in zip(state.read(key), value) { #expect(abs(a - b) < 1e-12) }
    }
    // A second write of a key replaces the first.
    state.step(keys[0], [9, 9], decay: 1, write: 1)
    for (a, b) in zip(state.read(keys[0]), [9.0, 9.0]) { #expect(abs(a - b) < 1e-12) }
    #expect(GatedDelta.normalised([3, 4]) == [0.6, 0.8])
    #expect(GatedDelta.normalised([0, 0]) == [0, 0])
  }

  /// Check 4: without writing the state only decays.
  @Test func aStateThatIsNotWrittenDecays() {
    var state = GatedDelta(keyDim: 2, valueDim: 1)
    state.step([1, 0], [8], decay: 1, write: 1)
    for power in 1...3 {
      state.step([0, 1], [5], decay: 0.5, write: 0)
      #expect(state.norm == 8 / Double(1 << power))
      #expect(state.read([0, 1]) == [0])
    }
  }

  /// Check 5: with every chunk in the state only the last chunk's columns are left, and rows that
  /// see none of them are no part of the numbers.
  @Test func allChunksInTheStateLeaveTheLast() throws {
    let head = Self.head(), found = try Self.examine("chunk=16,share=0", head)
    let kept = try #require(found.field("kept")).field
    for row in 0..<60 {
      let flags = try kept.row(row)
      #expect((0...row).allSatisfy { flags[$0] == ($0 >= 48 ? 1 : 0) })
    }
    #expect(found["rows_left_out"]?.number == 48)
    let dense = ReferenceAttention(HeadGroup([head])).run(TileSpec(rows: 16, keys: 16), lambda: 0)
    let recalls = (48..<60).map { dense.patterns[0][$0 * 60 + 48..<($0 + 1) * 60].reduce(0, +) }
    let mean = recalls.reduce(0, +) / 12
    #expect(abs((found["recall_mean"]?.number ?? 0) - mean) < 1e-5)
    #expect(abs((found["recall_min"]?.number ?? 0) - (recalls.min() ?? 0)) < 1e-5)
    let output = try #require(found.field("output")).field
    let (left, computed) = (try output.row(47), try output.row(48))
    #expect(left.allSatisfy(\.isNaN) && computed.allSatisfy(\.isFinite))
    #expect(abs((found["state_mass"]?.number ?? 0) - (1 - mean * 12 / 60)) < 1e-5)
    #expect(try #require(found.series("state_norm")).allSatisfy { $0 > 0 })
  }
}
