import Formats
import Foundation
import Support
import Tensors
import Testing

extension Wrong {
  private static func numbers(
    _ name: String, _ words: String, _ array: String, _ shape: [Int], _ values: [Int32]
  ) -> Wrong {
    Wrong(name, words, file: "a.npz") {
      Made.zip([("\(array).npy", Made.npy("<i4", shape, values.flatMap(Made.little)))])
    }
  }

  /// Whole numbers that are no mask, whatever they are called.
  static let masks: [Wrong] = [
    numbers(
      "counts of FlexAttention", "BlockMask", "kv_num_blocks", [1, 2, 3], [1, 1, 1, 1, 0, 1]),
    numbers(
      "counts of whole blocks", "BlockMask", "full_kv_num_blocks", [1, 2, 3], [1, 1, 1, 1, 0, 1]),
    numbers(
      "counts that a mask has", "BlockMask", "mask.kv_num_blocks", [1, 2, 3], [1, 1, 1, 1, 0, 1]),
    numbers("counts of blocks", "BlockMask", "num_blocks", [1, 2, 3], [1, 1, 1, 1, 0, 1]),
    numbers("counts by query", "BlockMask", "q_num_blocks", [1, 2, 3], [1, 1, 1, 1, 0, 1]),
    numbers("a mask of three numbers", "the number 2", "block_mask", [1, 2, 2], [0, 1, 2, 1]),
    numbers("a mask below 0", "the number -1", "block_mask", [1, 2, 2], [0, 1, -1, 1]),
    numbers("a mask that counts", "the number 2", "mask", [1, 3, 3], Array(0..<9)),
    numbers(
      "a mask that is none at its end", "the number 5", "block_mask", [1, 200, 8],
      (0..<1600).map { $0 < 1592 ? 1 : 5 }),
    numbers(
      "blocks of our own that count", "the number 3", "layers.0.blocks", [1, 2, 2], [0, 3, 1, 1]),
  ]
}

/// Masks that are masks.
@Suite struct ZooMaskFriendTests {
  @Test(arguments: [
    ("<i4", "block_mask", [0, 1, 0, 1]), ("<i8", "mask_id", [1, 1, 1, 1]),
    ("|u1", "layers.0.blocks", [0, 1, 255, 1]), ("|b1", "block_mask", [0, 1, 1, 1]),
  ]) func ofEveryType(_ type: String, _ name: String, _ values: [Int]) throws {
    let data = values.flatMap { value -> [UInt8] in
      type == "<i4"
        ? Made.little(Int32(value)) : type == "<i8" ? Made.little(Int64(value)) : [UInt8(value)]
    }
    let bytes = Made.zip([("\(name).npy", Made.npy(type, [1, 2, 2], data))])
    let dump = try Fixture.with(bytes, name: "a.npz") { try Dump.open($0) }
    #expect(
      dump.kind == .mask && dump.layers[0].arrays[.blocks]?.floats() == values.map(Float.init))
  }
}
