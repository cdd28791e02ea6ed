import Analysis
import Attention
import Backends
import Canvas
import Foundation
import Interface
import Sessions
import Testing

/// All views at all sizes: nothing is cut without `…`, no number loses a digit, and one always sees
/// where one is.
@Suite struct WalkTests {
  static let sizes = [(60, 20), (80, 24), (100, 30), (120, 40), (200, 50), (40, 12)]

  /// A file of 2 layers and 9 heads, whose names and tokens have no digits of their own. One for all
  /// tests, since it keeps what it has computed.
  private static let backend: Renamed = {
    let inner = SyntheticBackend(layers: 2, heads: 9, tokens: 160)
    var about = inner.describe()
    about.name = "a-name-that-is-rather-long-for-a-small-screen.safetensors"
    about.tokens = (0..<160).map { [" the", " lamp", "keeper", ",", " on"][$0 % 5] }
    return Renamed(about: about, inner)
  }()

  /// Settings that change what views write.
  static let settings: [(String, @Sendable (inout Viewpoint) -> Void)] = [
    ("plain", { _ in }), ("dense", { $0.lambda = 0 }), ("small", { $0.lambda = 0.000562 }),
    ("lse", { ($0.spec.criterion, $0.spec.order) = (.lse, .descending) }),
    ("linear", { ($0.scale, $0.pooling, $0.normaliseRows) = (.linear, .mean, true) }),
    ("muted", { ($0.scale, $0.mute) = (.rank, true) }),
    ("fine", { $0.spec = TileSpec(rows: 1, keys: 1) }),
    ("zoomed", { $0.window = MapWindow(queries: 140..<156, keys: 30..<42) }),
  ]

  private static func grid(
    _ view: ViewKind, _ size: (Int, Int), _ change: @Sendable (inout Viewpoint) -> Void,
    _ capabilities: Capabilities = .init()
  ) async throws -> Grid {
    try await Still.grid(backend, width: size.0, height: size.1, capabilities: capabilities) {
      $0.view = view
      $0.head = HeadID(layer: 1, head: 7)
      $0.spec = TileSpec(rows: 16, keys: 16)
      ($0.query, $0.key) = (150, 33)
      change(&$0)
    }
  }

  /// A digit behind which the text was cut: one more may have stood there.
  private static func clipped(_ grid: Grid) -> String? {
    grid.lines.first { line in
      zip(line, line.dropFirst()).contains { ($0.isNumber || $0 == ".") && $1 == "…" }
    }
  }

  @Test(arguments: sizes) func noNumberIsCut(_ size: (Int, Int)) async throws {
    for view in ViewKind.allCases {
      for (name, change) in Self.settings {
        let grid = try await Self.grid(view, size, change)
        #expect(Self.clipped(grid) == nil, "\(view) \(name) at \(size.0)x\(size.1)")
        // Whoever knows one view sees that there are others.
        for kind in ViewKind.allCases {
          let word = kind == .compare && size.0 < 60 ? "6Comp" : kind.title
          #expect(grid.lines[1].contains(word), "\(grid.lines[1])")
        }
      }
    }
  }

  /// The share of pruned blocks is the number that people come for: it stands wherever the panel
  /// does, whole, whatever the number of blocks.
  @Test(arguments: [(80, 24), (100, 30), (120, 40), (200, 50)], [1, 2, 16])
  func theMainNumberIsWhole(_ size: (Int, Int), _ tile: Int) async throws {
    let grid = try await Self.grid(.map, size, { $0.spec = TileSpec(rows: tile, keys: tile) })
    let line = try #require(grid.lines.first { $0.contains("pruned  ") })
    #expect(line.contains(/pruned\s+\d+\.\d %/), "\(line)")
  }

  /// Every legend says what the ends of its colours stand for.
  @Test(arguments: [(80, 24), (120, 40)]) func legendsHaveValues(_ size: (Int, Int)) async throws {
    let legends: [(ViewKind, Regex<Substring>)] = [
      (.map, /≤[0-9.e-]+ .* [0-9.]+ log/), (.blocks, /-10\.6 .* -4\.61 .* 1\.4/),
      (.sinks, /0 .* 100 %/),
      (.tokens, /≤[0-9.e-]+ .* [0-9.]+ of/), (.compare, /right .* left,? ±[0-9.]+/),
      (.heads, /≤[0-9.e-]+ .* [0-9.e-]+/),
    ]
    for (view, legend) in legends {
      let lines = try await Self.grid(view, size, { _ in }).lines
      #expect(lines.contains { $0.contains(legend) }, "\(view):\n\(lines.joined(separator: "\n"))")
    }
  }

  /// Signs that terminals show as pictures, or not at all, are not used.
  @Test(arguments: ViewKind.allCases) func everySignIsInCommonFonts(_ view: ViewKind) async throws {
    let grid = try await Self.grid(view, (120, 40), { _ in })
    for cell in grid.cells where cell.glyph != Cell.continuation {
      let value = cell.glyph.value
      #expect(
        !(0x23e9...0x23fa).contains(value) && value != 0x25b6 && value < 0x2c00,
        "U+\(String(value, radix: 16)) in \(view)")
    }
  }

  /// The name on the line of views is a button.
  @Test func viewsAnswerToClicks() {
    for size in Self.sizes {
      for kind in ViewKind.allCases {
        var model = Model(Self.backend.about, width: size.0, height: size.1)
        let line = view(model).lines[1]
        let word = kind == .compare ? "6" : kind.title
        let x = line.distance(
          from: line.startIndex, to: line.firstRange(of: word)!.lowerBound)
        _ = update(&model, .event(.mouse(Mouse(.press, x: x, y: 1))))
        #expect(model.viewpoint.view == kind, "\(kind) at \(size.0)")
      }
    }
  }

  /// Finished screens answer to clicks: Row, curve, footer, the matrix of heads and the margins.
  @Test func panelsAnswerToClicks() async throws {
    func model(_ kind: ViewKind) async throws -> Model {
      try await Still.model(Self.backend, width: 120, height: 40) {
        $0.view = kind
        $0.spec = TileSpec(rows: 16, keys: 16)
        ($0.query, $0.key) = (150, 33)
      }
    }
    func press(_ model: inout Model, _ text: String, _ dx: Int = 0, _ dy: Int = 0) throws {
      let lines = view(model).lines
      let y = try #require(lines.lastIndex { $0.contains(text) }, "no \(text)")
      let range = try #require(lines[y].firstRange(of: text))
      let x = lines[y].distance(from: lines[y].startIndex, to: range.lowerBound)
      _ = update(&model, .event(.mouse(Mouse(.press, x: x + dx, y: y + dy))))
    }
    var map = try await model(.map)
    try press(&map, "[,]", 4)  // the token behind the cursor's
    #expect(map.viewpoint.key == 34 && map.viewpoint.view == .map)
    try press(&map, "[ ] lambda")
    #expect(map.viewpoint.lambda < 0.01, "the left bracket of the footer")
    try press(&map, "[ ] lambda", 2)
    #expect(abs(map.viewpoint.lambda - 0.01) < 1e-9, "and the right one")
    _ = update(&map, .event(.key(.character("2"))))
    try press(&map, "[ ] lambda")
    #expect(abs(map.viewpoint.lambda - 0.00316) < 1e-5, "twice, where it stands behind a digit")
    try press(&map, "e-10")
    #expect(map.viewpoint.lambda < 1e-9, "\(map.viewpoint.lambda)")
    try press(&map, "? help")
    #expect(map.prompt.mode == .help(scroll: 0))
    var sinks = try await model(.sinks)
    let first = sinks.viewpoint.head
    try press(&sinks, "L4 ", 11)
    #expect(sinks.viewpoint.head != first && sinks.viewpoint.view == .sinks)
    try press(&sinks, "L4 ", 11)
    #expect(sinks.viewpoint.view == .map, "a second press opens it")
    var blocks = try await model(.blocks)
    try press(&blocks, "Margins ─", 2, 1)
    #expect(blocks.viewpoint.query == 0 && blocks.viewpoint.key == 0)
  }
}
