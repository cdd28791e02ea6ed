import Attention
import Backends
import Formats
import Foundation
import Sessions
import Support
import Tensors
import Testing

/// What a row may see where keys ahead are seen too: windows on both sides, and texts side by side.
@Suite struct SightTests {
  private static let tokens = 48, dim = 8

  private func open(_ metadata: [String: String]) throws -> FileBackend {
    let path = FileManager.default.temporaryDirectory.appending(
      path: "sight-\(UUID()).safetensors"
    ).path
    defer { try? FileManager.default.removeItem(atPath: path) }
    var random = Seeded(5)
    let shape = [1, Self.tokens, Self.dim]
    try writeSafetensors(
      ["q", "k", "v"].map { name in
        ArrayToWrite("layers.0.\(name)", floats: random.tensor(shape).floats(), shape: shape)
      }, metadata: metadata.merging(["causal": "false"]) { $1 }, to: path, force: true)
    return FileBackend(try Dump.open(path))
  }

  /// Blocks that lie wholly outside of the window were visited, counted and skipped; the first
  /// block of a row of tiles was one that none of its rows sees.
  @Test func aWindowEndsOnBothSides() async throws {
    let backend = try open(["sliding_window": "6"]), head = try #require(backend.heads.head(0, 0))
    for row in 0..<Self.tokens {
      let seen = max(0, row - 5)..<min(Self.tokens, row + 6)
      #expect(head.visibility.first(row: row) == seen.lowerBound, "row \(row)")
      #expect(head.visibility.limit(row: row) == seen.upperBound, "row \(row)")
      #expect(backend.describe().visibility.count(row: row) == seen.count)
      PatternRows(head).withRows(row..<row + 1) { _, p, _ in
        #expect(p.indices.filter { p[$0] > 0 } == Array(seen))
      }
    }
    let tile = TileSpec(rows: 8, keys: 8)
    guard
      case .table(let table) = try await backend.answer(
        .table(HeadID(layer: 0, head: 0), TableRequest(tile)))
    else {
      Issue.record("no table")
      return
    }
    // Three blocks of each row of tiles, two at both ends.
    #expect(table.visibleBlocks == 6 * 3 - 2)
    for row in 0..<6 {
      let first = max(0, row - 1)
      #expect(table.margins[row * 6 + first] == .infinity, "row of tiles \(row)")
    }
  }

  @Test func textsSideBySideDoNotSeeOneAnother() throws {
    let backend = try open(["cu_seqlens": "[0, 20, 48]"])
    let head = try #require(backend.heads.head(0, 0))
    #expect(head.visibility.limit(row: 3) == 20 && head.visibility.first(row: 3) == 0)
    #expect(head.visibility.limit(row: 30) == 48 && head.visibility.first(row: 30) == 20)
    // Rows of a part see what they saw in the whole.
    let part = head.slice(10..<30, keys: 48)
    #expect(part.visibility.limit(row: 0) == 20 && part.visibility.first(row: 15) == 20)
  }
}
