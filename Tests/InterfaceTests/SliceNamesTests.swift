import Attention
import Backends
import Canvas
import Formats
import Foundation
import Interface
import Sessions
import Testing

/// Heads of a slice go by the numbers of the model, and beside them stands what they were assigned.
@Suite struct SliceNamesTests {
  private static let tokens = 64

  /// A layer with heads 6, 7 and 8 over one KV head, layer 12 of its model.
  private static func backend(_ patterns: String? = nil) throws -> FileBackend {
    let folder = FileManager.default.temporaryDirectory.appending(path: "slice-\(UUID())")
    try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
    defer { try? FileManager.default.removeItem(at: folder) }
    let path = folder.appending(path: "slice.safetensors").path
    let arrays = [("q", 3, 1), ("k", 1, 2), ("v", 1, 5)].map { name, heads, seed in
      let shape = [heads, tokens, 8]
      let numbers = (0..<shape.reduce(1, *)).map { Float(($0 * 37 + seed * 11) % 23 - 11) / 8 }
      return ArrayToWrite("layers.12.\(name)", floats: numbers, shape: shape)
    }
    try writeSafetensors(
      arrays, metadata: ["causal": "true", "head_numbers": "[6,7,8]"], to: path, force: true)
    guard let patterns else { return FileBackend(try Dump.open(path)) }
    let table = folder.appending(path: "table.json").path
    try patterns.write(toFile: table, atomically: true, encoding: .utf8)
    return FileBackend(try Dump.open(path), patterns: try AssignedPatterns(table))
  }

  private static func model(
    _ backend: any Backend, _ size: (Int, Int) = (120, 40),
    _ change: (inout Viewpoint) -> Void = { _ in }
  ) async throws -> Model {
    try await Still.model(backend, width: size.0, height: size.1, capabilities: .init()) {
      $0.spec = TileSpec(rows: 16, keys: 16)
      change(&$0)
    }
  }

  private static func text(_ model: Model) -> String { view(model).lines.joined(separator: "\n") }

  @Test func noHeadGoesByItsPlace() async throws {
    let backend = try Self.backend()
    #expect(backend.describe().headNumbers == [6, 7, 8])
    let map = Self.text(try await Self.model(backend) { $0.head.head = 1 })
    #expect(map.contains("L12 H7/3 (kv of H6-8)"), "\(map)")
    let group = Self.text(try await Self.model(backend) { $0.heads = .group })
    #expect(group.contains("mean of the KV group H6 H7 H8"), "\(group)")
    let overlap = try await Self.model(backend) {
      ($0.view, $0.overlap) = (.sinks, .heads)
      $0.method = MethodSetting("top-k", ["k": .number(16)])
    }
    let said = PlainText(overlap).sentences.joined(separator: "\n")
    #expect(said.contains("most alike: 6 and") || said.contains("most alike: 7 and"), "\(said)")
    var moved = overlap
    _ = moved.obey("head 9")
    #expect(moved.message == "heads are 6, 7, 8, not '9'.")
  }

  // MARK: Assigned patterns

  /// Layers 0 to 12, of the last one heads 6 to 8.
  private static let table =
    "[" + Array(repeating: "{}", count: 12).joined(separator: ", ")
      + """
      , {"6": ["vertical_and_slash", 10, 60, 0.9], "7": ["stream_llm", 10, 60, 0.9], \
      "8": ["block_sparse", 10, 60, 0.9]}]
      """

  @Test func theAssignedPatternStandsBeside() async throws {
    let backend = try Self.backend(Self.table)
    let model = try await Self.model(backend) { ($0.view, $0.sort) = (.heads, .pattern) }
    let text = Self.text(model)
    #expect(text.contains(" of 3 as assigned"), "\(text)")
    #expect(text.contains("(assigned ") && text.contains("≠"), "\(text)")
    let said = PlainText(model).sentences.joined(separator: "\n")
    #expect(said.contains(" of 3 as assigned") && said.contains("(assigned "), "\(said)")
    let map = Self.text(try await Self.model(backend))
    #expect(map.contains("assigned") && map.contains("vertical-slash"), "\(map)")
    for size in [(60, 20), (80, 24), (100, 30), (200, 50)] {
      let text = Self.text(
        try await Self.model(backend, size) { ($0.view, $0.sort) = (.heads, .pattern) })
      #expect(text.contains("Heads 3"), "\(text)")
    }
  }

  @Test func agreementIsANumber() async throws {
    var model = try await Self.model(try Self.backend(Self.table)) { $0.view = .heads }
    let all = Self.text(model)
    _ = model.obey("where agrees<1")
    let differ = try #require(
      all.firstMatch(of: #/(\d) of 3 as assigned/#).flatMap { Int($0.output.1) }.map { 3 - $0 })
    #expect(Self.text(model).contains("Heads \(differ) of 3 with agrees<1"), "\(Self.text(model))")
    var plain = try await Self.model(try Self.backend()) { $0.view = .heads }
    #expect(!Self.text(plain).contains("assigned"))
    _ = plain.obey("where agrees<1")
    #expect(plain.viewpoint.filter == nil && plain.message?.contains("--patterns") ?? false)
  }
}

/// Conditions that heads are filtered by.
@Suite struct HeadFilterTests {
  private static func model() async throws -> Model {
    let backend = SyntheticBackend(layers: 3, heads: 3, tokens: 128)
    return try await Still.model(backend, width: 100, height: 30, capabilities: .init()) {
      ($0.view, $0.spec) = (.heads, TileSpec(rows: 16, keys: 16))
    }
  }

  /// Layers are 0, 4 and 8, by their numbers.
  @Test(arguments: [
    ("layer<8", 6), ("layer=4", 3), ("layer!=4", 6), ("head>=1", 6), ("layer<8,head=2", 2),
    ("layer<8, head=2", 2), ("layer>8", 0),
  ]) func layersAndHeads(_ condition: String, _ count: Int) async throws {
    var model = try await Self.model()
    _ = model.obey("where \(condition)")
    let text = view(model).lines.joined(separator: "\n")
    let typed = condition.filter { $0 != " " }
    #expect(text.contains("Heads \(count) of 9 with \(typed)"), "\(text)")
    #expect(ViewState.text(model.viewpoint, model.sources).contains("where \(typed)\n"))
  }

  @Test func patternsAreWords() async throws {
    var model = try await Self.model()
    var sum = 0
    for name in ["a-shape", "vertical-slash", "block-sparse", "hybrid", "diffuse"] {
      _ = model.obey("where pattern=\(name)")
      let said = PlainText(model).sentences
      let count = said.count { $0.hasPrefix("Layer ") }
      #expect(said.allSatisfy { !$0.hasPrefix("Layer ") || $0.contains(", \(name)") }, "\(said)")
      sum += count
    }
    #expect(sum == 9)
    _ = model.obey("where pattern!=a-shape")
    #expect(model.viewpoint.filter?.description == "pattern!=a-shape")
    for wrong in ["pattern=nonsense", "pattern<a-shape", "layer", "layer<x", "layer<8,"] {
      _ = model.obey("where \(wrong)")
      #expect(model.viewpoint.filter?.description == "pattern!=a-shape", "\(wrong)")
      #expect(model.message?.contains("where is like") ?? false, "\(model.message ?? "")")
    }
  }
}
