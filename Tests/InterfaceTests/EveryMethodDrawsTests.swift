import Analysis
import Attention
import Backends
import Canvas
import Formats
import Foundation
import Methods
import Sessions
import Support
import Tensors
import Testing

#if DEBUG
  @testable import Interface

  /// Every method of the library on a small head: on the screen without colour, and in sentences.
  @Suite struct EveryMethodDrawsTests {
    private static let tokens = 96, dim = 16

    private static func withBackend(_ body: (FileBackend) async throws -> Void) async throws {
      let path = FileManager.default.temporaryDirectory.appending(
        path: "attnscope-draws-\(UUID().uuidString).safetensors"
      ).path
      defer { try? FileManager.default.removeItem(atPath: path) }
      var random = Seeded(23)
      let arrays = ["q", "k", "v"].map { name in
        ArrayToWrite(
          "layers.0.\(name)", floats: random.tensor([2, tokens, dim]).floats(),
          shape: [2, tokens, dim])
      }
      try writeSafetensors(arrays, metadata: ["causal": "true"], to: path, force: false)
      try await body(FileBackend(try Dump.open(path)))
    }

    /// A method says who it is in its view and in its sentences; what it lacks on this head, it
    /// says, too.
    @Test(arguments: [(80, 24), (200, 50)]) func inMonoAndInWords(_ width: Int, _ height: Int)
      async throws
    {
      try await Self.withBackend { backend in
        let about = backend.describe()
        for card in Registry.standard.cards where card.blockTables == nil {
          var model = try await Still.model(backend, width: width, height: height) {
            try? ViewSetting.take("method", card.id, into: &$0, [about])
            $0.view = .blocks
          }
          #expect(model.viewpoint.method?.id == card.id, "\(card.id) is not taken")
          model.display.capabilities.colors = .mono
          let grid = view(model), text = grid.lines.joined(separator: "\n")
          #expect(text.contains(card.title) || text.contains(card.id), "\(card.id):\n\(text)")
          let said = PlainText(model).sentences.joined(separator: "\n")
          #expect(said.contains(card.title) || said.contains(card.id), "\(card.id): \(said)")
        }
      }
    }
  }
#endif
