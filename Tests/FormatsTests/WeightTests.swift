import Formats
import Support
import Tensors
import Testing

/// Projections beside the activations: names, shapes, and those that fit no head.
@Suite struct WeightTests {
  private static func dump(_ name: String, _ shape: [Int]) throws -> Dump {
    let count = shape.reduce(1, *)
    let array = ArrayToWrite(name, floats: (0..<count).map { Float($0 % 3) }, shape: shape)
    return try Fixture.with(try SelectionTests.file("", [1], array)) { try Dump.open($0) }
  }

  /// Four query heads over two: W_Q and W_O have four parts, W_K and W_V two.
  @Test(arguments: [
    ("layers.3.w_q", [4, 5, 4], ArrayRole.queryWeights),
    ("layers.3.w_k", [2, 5, 4], .keyWeights), ("blocks.3.attn.W_V", [2, 5, 4], .valueWeights),
    ("layers.3.w_o", [4, 4, 5], .outputWeights),
  ]) func namesAndShapes(_ name: String, _ shape: [Int], _ role: ArrayRole) throws {
    let dump = try Self.dump(name, shape)
    #expect(dump.kind == .qkv && dump.layers.count == 1 && dump.remarks.isEmpty)
    #expect(dump.layers[0].arrays[role]?.shape.axes == shape)
    #expect(dump.layers[0].arrays[.query]?.shape.axes == [4, 6, 4])
    #expect(dump.layers[0].arrays[.value] == nil)
  }

  /// What is no projection of these heads is passed over, with a remark.
  @Test(arguments: [
    ("layers.3.w_q", [2, 5, 4]), ("layers.3.w_k", [4, 5, 4]), ("layers.3.w_o", [20, 5]),
    ("layers.9.w_q", [4, 5, 4]),
  ]) func othersArePassedOver(_ name: String, _ shape: [Int]) throws {
    let dump = try Self.dump(name, shape)
    #expect(dump.layers.map(\.layer) == [3] && dump.layers[0].arrays.count == 2)
    #expect(dump.remarks.contains { $0.contains("passed over") }, "\(dump.remarks)")
  }
}
