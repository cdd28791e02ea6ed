import Analysis
import Attention
import Backends
import Canvas
import Sessions
import Support
import Testing

#if DEBUG
  @testable import Interface

  /// View 1 zoomed in: where the window lies in the whole map.
  @Suite struct MinimapTests {
    private static func model(
      _ size: (Int, Int), _ capabilities: Capabilities = .init(), _ window: MapWindow?
    ) async throws -> Model {
      try await Still.model(
        SyntheticBackend(tokens: 256), width: size.0, height: size.1, capabilities: capabilities
      ) {
        $0.head = HeadID(layer: 1, head: 0)
        $0.spec = TileSpec(rows: 32, keys: 32)
        if let window {
          ($0.window, $0.query, $0.key) = (
            window, window.queries.lowerBound, window.keys.lowerBound
          )
        }
      }
    }

    private static let window = MapWindow(queries: 128..<192, keys: 0..<64)

    /// The thumbs begin and end where the window does, within a cell; a whole map has none.
    @Test(arguments: [(120, 40), (80, 24), (60, 20), (40, 12)], [true, false])
    func thumbsLieWhereTheWindowDoes(_ size: (Int, Int), _ unicode: Bool) async throws {
      let kind = Capabilities(colors: unicode ? .palette : .mono, unicode: unicode)
      let model = try await Self.model(size, kind, Self.window)
      let grid = view(model), layout = MapLayout(model.look)
      let (plot, panel) = (layout.plot, layout.panel)
      let heavy: (Unicode.Scalar, Unicode.Scalar) = unicode ? ("┃", "━") : ("#", "=")
      let rows = (plot.y..<plot.maxY).filter { grid[panel.maxX - 1, $0].glyph == heavy.0 }
      let columns = (plot.x..<plot.maxX).filter { grid[$0, panel.maxY - 1].glyph == heavy.1 }
      #expect(rows.first == plot.y + plot.height / 2)
      #expect(abs((rows.last ?? 0) + 1 - plot.y - plot.height * 3 / 4) <= 1)
      #expect(columns.first == plot.x)
      #expect(abs((columns.last ?? 0) + 1 - plot.x - plot.width / 4) <= 1)
      let whole = view(try await Self.model(size, kind, nil))
      #expect(!whole.cells.contains { $0.glyph == "┃" || $0.glyph == "━" })
    }

    /// Every window has at least one cell of its own, and none beyond the frame.
    @Test func everyWindowHasACell() {
      var random = Seeded(11)
      for _ in 0..<2000 {
        let total = Int.random(in: 1...200_000, using: &random)
        let low = Int.random(in: 0..<total, using: &random)
        let range = low..<Int.random(in: low + 1...total, using: &random)
        let count = Int.random(in: 1...200, using: &random)
        let cells = Minimap.cells(range, of: total, count)
        #expect(!cells.isEmpty && cells.lowerBound >= 0 && cells.upperBound <= count)
        #expect(range.count < total || cells == 0..<count, "\(range) of \(total) in \(count)")
      }
      #expect(Minimap.cells(0..<1, of: 0, 4).isEmpty && Minimap.cells(0..<1, of: 4, 0).isEmpty)
    }

    /// The panel has the picture and the window in numbers where there is room, and neither where
    /// everything is shown.
    @Test func thePanelShowsTheWhole() async throws {
      let zoomed = view(try await Self.model((120, 44), .init(), Self.window)).lines
      for text in ["In the whole map", "queries 128-191", "keys 0-63", "of 256, 25.0 %"] {
        #expect(
          zoomed.contains { $0.contains(text) }, "\(text):\n\(zoomed.joined(separator: "\n"))")
      }
      let whole = view(try await Self.model((120, 44), .init(), nil)).lines
      #expect(!whole.contains { $0.contains("In the whole map") })
    }
  }
#endif
