import Analysis
import Attention
import Backends
import Canvas
import Formats
import Foundation
import Interface
import Sessions
import Testing

/// Numbers of single rows beside the map: what a learned sink takes, and what a query reads.
@Suite struct RowNumbersTests {
  private static let tokens = 48

  /// Two layers of two heads; in the first a learned sink stands beside the keys.
  private static func backend() throws -> FileBackend {
    let path = FileManager.default.temporaryDirectory.appending(
      path: "sinks-\(UUID()).safetensors"
    ).path
    defer { try? FileManager.default.removeItem(atPath: path) }
    let shape = [2, tokens, 8]
    var arrays = [ArrayToWrite("layers.0.sinks", floats: [4, -2], shape: [2])]
    for layer in 0..<2 {
      for (seed, name) in ["q", "k"].enumerated() {
        let numbers = (0..<shape.reduce(1, *)).map { index in
          Float((index * 37 + (seed + 3 * layer) * 11) % 23 - 11) / 8
        }
        arrays.append(ArrayToWrite("layers.\(layer).\(name)", floats: numbers, shape: shape))
      }
    }
    try writeSafetensors(arrays, metadata: ["causal": "true"], to: path, force: true)
    return FileBackend(try Dump.open(path))
  }

  private static func model(
    _ size: (Int, Int) = (120, 40), _ backend: any Backend,
    _ change: (inout Viewpoint) -> Void = { _ in }
  ) async throws -> Model {
    try await Still.model(backend, width: size.0, height: size.1, capabilities: .init()) {
      $0.spec = TileSpec(rows: 16, keys: 16)
      ($0.query, $0.key) = (40, 3)
      change(&$0)
    }
  }

  private static func text(_ model: Model) -> String { view(model).lines.joined(separator: "\n") }

  private static func row(_ field: FieldID, of backend: FileBackend) async throws -> [Float] {
    guard case .row(let row) = try await backend.answer(.row(field, 40)) else { return [] }
    return row
  }

  /// A row and its sink sum to 1; keys share the rest as before, and pictures show the same.
  @Test func rowsSumToOneWithTheirSink() async throws {
    let backend = try Self.backend(), id = HeadID(layer: 0, head: 0)
    let row = try await Self.row(.pattern(id), of: backend)
    let sink = try #require(try await Self.row(.fact(.learnedSink, id), of: backend).first)
    #expect(abs(row.reduce(0, +) + sink - 1) < 1e-5 && sink > 0.1 && sink < 0.99, "\(sink)")
    let head = try #require(backend.heads.head(0, 0))
    PatternRows(head).withRows(40..<41) { _, p, lse in
      for key in 0..<Self.tokens { #expect(abs(row[key] - p[key] * (1 - sink)) < 1e-6) }
      #expect(abs(Double(sink) - 1 / (1 + exp(lse - 4))) < 1e-6)
    }
    let whole = MapWindow(queries: 0..<Self.tokens, keys: 0..<Self.tokens)
    let asked = PictureRequest(whole, rows: Self.tokens, columns: Self.tokens)
    guard case .picture(let map) = try await backend.answer(.picture(.pattern(id), asked)) else {
      Issue.record("no picture")
      return
    }
    for key in 0...40 { #expect(abs(map.max[40 * Self.tokens + key] - row[key]) < 1e-6) }
    // The mean of heads counts their sinks, and a layer without one is as ever.
    let mean = try await Self.row(.pattern(id, pool: .mean), of: backend)
    let other = try await Self.row(.pattern(HeadID(layer: 0, head: 1)), of: backend)
    for key in 0...40 { #expect(abs(mean[key] - (row[key] + other[key]) / 2) < 1e-6) }
    let plain = try await Self.row(.pattern(HeadID(layer: 1, head: 0)), of: backend)
    #expect(abs(plain.reduce(0, +) - 1) < 1e-5)
  }

  @Test(arguments: [(60, 20), (80, 24), (100, 30), (120, 40), (200, 50)])
  func theSinkHasAColumn(_ size: (Int, Int)) async throws {
    let backend = try Self.backend()
    let model = try await Self.model(size, backend), text = Self.text(model)
    let axis = try #require(view(model).lines.first { $0.contains("▼") })
    #expect(axis.contains("│sink"), "\(text)")
    if size.1 >= 22 { #expect(text.contains("learned sink 0."), "\(text)") }
    if size.0 >= 76 { #expect(text.contains("learned "), "\(text)") }
    let plain = Self.text(try await Self.model(size, backend) { $0.head.layer = 1 })
    #expect(!plain.contains("learned") && !plain.contains("│sink"), "\(plain)")
  }

  @Test func sentencesNameTheSink() async throws {
    let backend = try Self.backend()
    let said = PlainText(try await Self.model((120, 40), backend)).sentences
      .joined(separator: "\n")
    #expect(said.contains("This head has a learned sink, which belongs to no key: it takes "))
    #expect(said.contains("; of the mean row it takes "), "\(said)")
    let plain = PlainText(try await Self.model((120, 40), backend) { $0.head.layer = 1 })
    #expect(!plain.sentences.joined().contains("learned sink"))
  }

  // MARK: Strip by query

  @Test(arguments: [(60, 20), (80, 24), (100, 30), (120, 40), (200, 50)])
  func theStripStandsBesideTheMap(_ size: (Int, Int)) async throws {
    let names: [(Viewpoint.Strip, String)] = [
      (.keys, "keys"), (.distance, "away"), (.kept, "kept"),
    ]
    for (strip, name) in names {
      let model = try await Self.model(size, SyntheticBackend()) { $0.strip = strip }
      let lines = view(model).lines, text = lines.joined(separator: "\n")
      let axis = try #require(lines.first { $0.contains("▼") })
      #expect(axis.contains(" \(name)"), "\(text)")
      #expect(lines.contains { $0.contains("█") }, "no bar:\n\(text)")
    }
    let bare = Self.text(try await Self.model(size, SyntheticBackend()) { _ in })
    #expect(!bare.contains(" away"))
  }

  /// The numbers of a row, against the row itself.
  @Test func factsAreThoseOfTheRow() async throws {
    let backend = try Self.backend(), id = HeadID(layer: 1, head: 0)
    let row = try await Self.row(.pattern(id), of: backend).map(Double.init)
    let entropy = row.reduce(0) { $1 > 0 ? $0 - $1 * log($1) : $0 }
    let away = row.indices.reduce(0.0) { $0 + row[$1] * Double(abs(40 - $1)) }
    let keys = try await Self.row(.fact(.effectiveKeys, id), of: backend)
    let distance = try await Self.row(.fact(.distance, id), of: backend)
    #expect(abs(Double(keys[0]) - exp(entropy)) < 1e-4 && keys.count == 1)
    #expect(abs(Double(distance[0]) - away) < 1e-4)
    let model = try await Self.model((120, 40), backend) {
      ($0.head.layer, $0.strip) = (1, .keys)
    }
    let said = PlainText(model).sentences.joined(separator: "\n")
    let words = "Query 40 reads about \(Numbers.fixed(exp(entropy), 1)) keys, "
    #expect(said.contains(words), "\(said)")
    #expect(said.contains("in a row of blocks that keeps "), "\(said)")
  }

  /// Dense attention keeps all of every row.
  @Test func denseKeepsAll() async throws {
    let model = try await Self.model((120, 40), SyntheticBackend()) {
      ($0.strip, $0.lambda) = (.kept, 0)
    }
    let said = PlainText(model).sentences.joined(separator: "\n")
    #expect(said.contains("keeps 100.0 % of its mass"), "\(said)")
  }

  @Test func theKeyTurnsTheStrip() async throws {
    var model = try await Self.model((100, 30), SyntheticBackend())
    for strip in [Viewpoint.Strip.keys, .distance, .kept, .off] {
      _ = update(&model, .event(.key(.character("W"))))
      #expect(model.viewpoint.strip == strip)
    }
    _ = model.obey("strip distance")
    let state = ViewState.text(model.viewpoint, model.sources)
    #expect(model.viewpoint.strip == .distance && state.contains("strip distance"))
  }
}
