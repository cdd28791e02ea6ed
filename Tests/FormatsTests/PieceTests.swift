import Foundation
import Formats
import Support
import Tensors
import Testing

@Suite struct PieceTests {
  /// An array written in pieces is the array written at once.
  @Test(arguments: [true, false]) func piecesMakeTheWhole(_ half: Bool) throws {
    let path = FileManager.default.temporaryDirectory.appending(
      path: "\(UUID().uuidString).safetensors"
    ).path
    defer { try? FileManager.default.removeItem(atPath: path) }
    var random = Seeded(3)
    let values = (0..<6 * 5).map { _ in random.normal() }
    try writeSafetensors(
      [
        ArrayToWrite("a", floats: values, shape: [6, 5], half: half),
        ArrayToWrite("b", shape: [6, 5], half: half, parts: 4) { part in
          Array(values[[0, 5, 10, 25][part]..<[5, 10, 25, 30][part]])
        },
      ], metadata: [:], to: path, force: false)
    let file = try openArchive(path)
    let (a, b) = (try file.tensor("a"), try file.tensor("b"))
    #expect(a.floats() == b.floats() && a.dtype == b.dtype && a.shape.axes == [6, 5])
  }
}
