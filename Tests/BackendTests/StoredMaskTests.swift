import Attention
import Backends
import Formats
import Foundation
import Sessions
import Support
import Tensors
import Testing

/// Masks of ragged tiles, stored by others, against what double precision decided.
@Suite struct StoredMaskTests {
  struct Shape: Sendable {
    let queries, keys, rows, width, visible: Int
  }

  /// By hand: tiles of 7 rows end at rows 6, 13, 20, 27, 34, 41, 48 and 50, which see 1, 2, 2, 3,
  /// 3, 4, 4 and 4 tiles of 13 keys. Tiles of 16 rows of 20 that stand at positions 70 to 89 see 6
  /// tiles of 16 keys each.
  private static let shapes = [
    Shape(queries: 51, keys: 51, rows: 7, width: 13, visible: 23),
    Shape(queries: 48, keys: 48, rows: 16, width: 16, visible: 6),
    Shape(queries: 20, keys: 90, rows: 16, width: 16, visible: 12),
    Shape(queries: 1, keys: 50, rows: 1, width: 16, visible: 4),
  ]

  private func table(_ values: [UInt8], _ shape: Shape, _ more: [String: String]) throws
    -> BlockTable
  {
    let path = FileManager.default.temporaryDirectory.appending(
      path: "mask-\(UUID()).safetensors"
    ).path
    defer { try? FileManager.default.removeItem(atPath: path) }
    let high = (shape.queries + shape.rows - 1) / shape.rows
    let metadata = ["tile": "\(shape.rows)x\(shape.width)", "causal": "true"]
    try writeSafetensors(
      [ArrayToWrite("layers.0.blocks", bytes: values, shape: [1, high, values.count / high])],
      metadata: metadata.merging(more) { $1 }, to: path, force: true)
    let heads = DumpHeads(try Dump.open(path))
    return try #require(heads.storedTable(0, 0, tile: (shape.rows, shape.width)))
  }

  @Test(arguments: shapes.indices, [true, false])
  func noComputedBlockIsLost(_ index: Int, _ isMarked: Bool) throws {
    let shape = Self.shapes[index]
    let one = Case(
      heads: 1, queries: shape.queries, keys: shape.keys,
      TileSpec(rows: shape.rows, keys: shape.width), lambda: 0.5, scale: 2)
    let verdicts = ReferenceAttention(one.group(seed: 11)).run(one.spec, lambda: one.lambda)
      .verdicts[0]
    #expect(verdicts.filter { $0 != .invisible }.count == shape.visible)
    // Others write nothing where nothing is seen.
    let values = verdicts.map { $0 == .invisible && !isMarked ? 0 : $0.rawValue }
    let told = ["query_offset": "\(shape.keys - shape.queries)"]
    let isSquare = shape.queries == shape.keys
    for metadata in isMarked || isSquare ? [[:], told] : [told] {
      let table = try table(values, shape, metadata)
      #expect(table.mask(try Lambda(0)).verdicts == verdicts, "\(metadata)")
    }
  }

  /// The cursor's words about what a query sees go by the same diagonal.
  @Test func theDescriptionHasTheSameDiagonal() throws {
    let path = FileManager.default.temporaryDirectory.appending(
      path: "mask-\(UUID()).safetensors"
    ).path
    defer { try? FileManager.default.removeItem(atPath: path) }
    try writeSafetensors(
      [
        ArrayToWrite(
          "layers.0.blocks", bytes: [UInt8](repeating: 0, count: 32), shape: [1, 8, 4])
      ], metadata: ["tile": "7x13", "causal": "true"], to: path, force: true)
    let about = FileBackend(try Dump.open(path)).describe()
    #expect(about.visibility.offset == 0 && (about.queries, about.keys) == (56, 52))
  }
}
