import Analysis
import Attention
import Backends
import Formats
import Foundation
import Sessions
import Support
import Synchronization
import Tensors
import Testing

/// Synthetic heads, and what a backend says about long ones.
@Suite struct LongHeadTests {
  @Test(arguments: SyntheticHeads.Pattern.allCases) func partsAreThoseOfTheWhole(
    _ pattern: SyntheticHeads.Pattern
  ) {
    let made = SyntheticHeads(tokens: 200, dim: 16, pattern: pattern, seed: 9)
    for head in 0..<5 {
      for make in [made.queries, made.keys, made.values] {
        let whole = make(head, 0..<200)
        #expect(Array(whole[50 * 16..<120 * 16]) == make(head, 50..<120))
        #expect(whole.allSatisfy { $0.isFinite })
      }
    }
    let again = SyntheticHeads(tokens: 200, dim: 16, pattern: pattern, seed: 9)
    let other = SyntheticHeads(tokens: 200, dim: 16, pattern: pattern, seed: 10)
    #expect(again.keys(1, 0..<200) == made.keys(1, 0..<200))
    #expect(other.keys(1, 0..<200) != made.keys(1, 0..<200))
  }

  /// They show what they are named for.
  @Test func syntheticHeadsHaveTheirPatterns() throws {
    func head(_ pattern: SyntheticHeads.Pattern) -> Head {
      let made = SyntheticHeads(tokens: 512, dim: 64, pattern: pattern)
      return Head(
        query: made.tensor(made.queries, 0), key: made.tensor(made.keys, 0), value: nil,
        causal: true)
    }
    let sink = try #require(Summariser(head(.sink)).summary())
    #expect(sink.sink.position == 0 && sink.sink.mass > 0.5)
    let local = try #require(Summariser(head(.local)).summary())
    #expect(local.sink.mass < 0.5 && local.effectiveTokens < 100)
  }

  /// A head of 16384 tokens is long: its map says how far it is, a sketch comes first, and its
  /// tables reach the disk.
  @Test(.enabled(if: isRelease, "a long head is slow without optimisation"))
  func aLongHeadTellsItsProgress() async throws {
    let folder = FileManager.default.temporaryDirectory.appending(path: UUID().uuidString).path
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(atPath: folder) }
    let n = 16384, made = SyntheticHeads(tokens: n, dim: 32, pattern: .mix)
    let path = folder + "/long.safetensors"
    try writeSafetensors(
      [
        ArrayToWrite("layers.0.q", floats: made.queries(0, 0..<n), shape: [1, n, 32], half: true),
        ArrayToWrite("layers.0.k", floats: made.keys(0, 0..<n), shape: [1, n, 32], half: true),
      ], metadata: ["causal": "true"], to: path, force: true)
    func backend() throws -> FileBackend {
      FileBackend(try Dump.open(path), tables: TableStore(folder: folder + "/tables"))
    }
    let first = try backend(), shares = Mutex<[Double]>([])
    let listener = Task {
      for await moment in first.moments {
        if case .progress(_, let share, let seconds) = moment, seconds >= 0 {
          shares.withLock { $0.append(share) }
        }
      }
    }
    let id = HeadID(layer: 0, head: 0), window = MapWindow(queries: 0..<n, keys: 0..<n)
    guard
      case .picture(let sketch) = try await first.answer(
        .picture(.pattern(id), PictureRequest(window, rows: 20, columns: 30, perCell: 1))),
      case .picture(let map) = try await first.answer(
        .picture(.pattern(id), PictureRequest(window, rows: 20, columns: 30))),
      case .table(let table) = try await first.answer(
        .table(id, TableRequest(TileSpec(rows: 128, keys: 128))))
    else {
      Issue.record("not the answers that were asked for")
      return
    }
    #expect(sketch.sampled == 1 && map.sampled == nil)
    #expect(zip(sketch.max, map.max).allSatisfy { !($0 > $1) })
    listener.cancel()
    #expect(shares.withLock { $0.contains(1) }, "no progress was told to its end")
    // Another session finds the table, and those of the other presets beside it.
    let names = try FileManager.default.contentsOfDirectory(atPath: folder + "/tables")
    #expect(names.count > 1)
    guard
      case .table(let found) = try await backend().answer(
        .table(id, TableRequest(TileSpec(rows: 128, keys: 128))))
    else {
      Issue.record("the table was not found")
      return
    }
    #expect(found.margins.map(\.bitPattern) == table.margins.map(\.bitPattern))
  }
}
