import Analysis
import Attention
import Backends
import Canvas
import Formats
import Interface
import Pictures
import Sessions
import Support
import Testing

/// View 1 of several heads: the mean or the maximum of a layer, the mean of a KV group.
@Suite struct PooledHeadsTests {
  static func still(
    _ pool: HeadPool, _ size: (Int, Int) = (100, 30), backend: any Backend = SyntheticBackend(),
    _ change: (inout Viewpoint) -> Void = { _ in }
  ) async throws -> Model {
    try await Still.model(backend, width: size.0, height: size.1, capabilities: .init()) {
      $0.head = HeadID(layer: 1, head: 1)
      $0.spec = TileSpec(rows: 32, keys: 32)
      ($0.query, $0.key, $0.heads) = (200, 40, pool)
      change(&$0)
    }
  }

  private static func row(_ pool: HeadPool, _ head: Int, of backend: any Backend) async throws
    -> [Float]
  {
    let field = FieldID.pattern(HeadID(layer: 0, head: head), pool: pool)
    guard case .row(let row) = try await backend.answer(.row(field, 100)) else {
      Issue.record("no row of \(pool)")
      return []
    }
    return row
  }

  /// Entry by entry, against the rows of the heads themselves.
  @Test func rowsAreExact() async throws {
    let backend = SyntheticBackend(layers: 1, heads: 3, tokens: 128)
    let one = try await (0..<3).asyncMap { try await Self.row(.one, $0, of: backend) }
    let mean = try await Self.row(.mean, 0, of: backend)
    let most = try await Self.row(.max, 2, of: backend)
    for key in 0..<128 {
      let values = one.map { $0[key] }
      #expect(abs(mean[key] - values.reduce(0, +) / 3) < 1e-6)
      #expect(most[key] == values.max())
    }
    #expect(abs(mean.reduce(0, +) - 1) < 1e-5)
  }

  /// The heads of a KV group, in a file with three of them.
  @Test func aGroupIsItsOwnHeads() async throws {
    let backend = FileBackend(try Dump.open(checkout() + "/samples/smollm2-log-832.safetensors"))
    let group = try await Self.row(.group, 4, of: backend)
    let heads = try await (3..<6).asyncMap { try await Self.row(.one, $0, of: backend) }
    for key in 0...100 {
      #expect(abs(group[key] - heads.map { $0[key] }.reduce(0, +) / 3) < 1e-6)
    }
    let model = try await Self.still(.group, (120, 40), backend: backend)
    let text = view(model).lines.joined(separator: "\n")
    #expect(text.contains("mean of the KV group H0 H1 H2"), "\(text)")
    #expect(text.contains("no blocks") || text.contains("blocks are drawn of one head"))
  }

  @Test(arguments: [HeadPool.mean, .max]) func theMapSaysWhoseItIs(_ pool: HeadPool) async throws {
    for size in [(60, 20), (80, 24), (100, 30), (120, 40), (200, 50)] {
      let text = view(try await Self.still(pool, size)).lines.joined(separator: "\n")
      #expect(text.contains("Map: \(pool) of 3 heads"), "\(text)")
      // Each head has blocks of its own: none is drawn.
      #expect(!text.contains("×"), "\(text)")
    }
    let model = try await Self.still(pool)
    let said = PlainText(model).sentences.joined(separator: "\n")
    let sentence = "The map is the \(pool) of 3 heads of layer 4, entry by entry."
    #expect(said.contains(sentence), "\(said)")
    #expect(said.contains("\(pool) probability "), "\(said)")
  }

  /// The next head of the layer is in the same picture: nothing is asked again.
  @Test func anotherHeadAsksForNoOtherPicture() async throws {
    var model = try await Self.still(.mean)
    let before = Needs(model).foreground.filter { $0.field != nil }
    _ = update(&model, .event(.key(.character("."))))
    #expect(Needs(model).foreground.filter { $0.field != nil } == before)
  }

  @Test func theKeyTurnsAndUndoTurnsBack() async throws {
    var model = try await Self.still(.one)
    for pool in [HeadPool.mean, .max, .one, .mean] {
      _ = update(&model, .event(.key(.character("P"))))
      #expect(model.viewpoint.heads == pool)
    }
    _ = update(&model, .event(.key(.character("u"))))
    #expect(model.viewpoint.heads == .one)
    _ = model.obey("heads max")
    #expect(model.viewpoint.heads == .max)
    #expect(ViewState.text(model.viewpoint, model.sources).contains("heads max"))
    _ = model.obey("heads")
    #expect(model.viewpoint.view == .heads, "the word alone is the view")
  }

  /// A file of one head a layer has nothing to pool, and says so.
  @Test func oneHeadIsToldSo() async throws {
    let lone = SyntheticBackend(layers: 1, heads: 1, tokens: 64)
    var model = try await Still.model(lone, width: 80, height: 24, capabilities: .init()) { _ in }
    _ = update(&model, .event(.key(.character("P"))))
    #expect(model.viewpoint.heads == .one)
    #expect(model.message == "There is one head a layer: nothing to pool.")
    _ = model.obey("heads mean")
    #expect(model.viewpoint.heads == .one)
  }

  /// A figure says it too, and draws no blocks.
  @Test func aFigureIsOfAllHeads() async throws {
    let backend = SyntheticBackend()
    var figure = Figure(try await Self.still(.mean, backend: backend), .map)
    try await figure.complete { try await backend.answer($0) }
    #expect(figure.picture.svg.contains("layer 4, mean of 3 heads"))
    #expect(!figure.picture.svg.contains("skipped-blocks"))
  }
}

extension Sequence {
  /// One after the other.
  func asyncMap<T>(_ body: (Element) async throws -> T) async rethrows -> [T] {
    var all: [T] = []
    for element in self { all.append(try await body(element)) }
    return all
  }
}
