import Backends
import Canvas
import Formats
import Foundation
import Interface
import Lessons
import Sessions
import Support
import Tensors
import Testing

/// A file that holds block masks alone: much of a screen stays unknown.
@Suite struct MaskFileTests {
  static func withBackend(_ body: (FileBackend) async throws -> Void) async throws {
    let path = FileManager.default.temporaryDirectory.appending(
      path: "mask-\(UUID()).safetensors"
    ).path
    defer { try? FileManager.default.removeItem(atPath: path) }
    let blocks: [UInt8] = [0, 255, 1, 0]
    try writeSafetensors(
      [ArrayToWrite("layers.0.blocks", bytes: blocks, shape: [1, 2, 2])],
      metadata: ["tile": "16x16", "causal": "true"], to: path, force: false)
    try await body(FileBackend(try Dump.open(path)))
  }

  /// A lesson that asks for the mass of skipped blocks waits; 0 would be an answer.
  @Test func droppedMassIsNoFact() async throws {
    try await Self.withBackend { backend in
      let model = try await Still.model(backend, width: 100, height: 30) { _ in }
      let facts = Facts(model)
      #expect(facts["sparsity"] == .number(1.0 / 3))
      #expect(facts["dropped"] == nil && facts["dropped.worst"] == nil)
      #expect(view(model).lines.joined().contains("needs Q and K"))
    }
  }

  /// Neither a hint nor the footer names keys that move nothing here.
  @Test(arguments: [ViewKind.map, .heads, .blocks]) func lambdaIsNotOffered(_ kind: ViewKind)
    async throws
  {
    try await Self.withBackend { backend in
      var model = try await Still.model(backend, width: 120, height: 30) { $0.view = kind }
      let lines = view(model).lines.suffix(2)
      #expect(!lines.contains { $0.contains("[ ]") }, "\(lines)")
      _ = update(&model, .event(.key(.character("]"))))
      #expect(model.message?.contains("lambda has no effect") ?? false)
      // Nor does a press where other files have a curve.
      let lambda = model.viewpoint.lambda
      for y in 3..<28 { _ = update(&model, .event(.mouse(Mouse(.press, x: 100, y: y)))) }
      #expect(model.viewpoint.lambda == lambda)
    }
  }
}
