import Attention
import Backends
import Canvas
import Sessions
import Testing

#if DEBUG
  @testable import Interface

  /// View 3: what the colours of margins mean, and the numbers in the blocks.
  @Suite struct MarginTests {
    private static func model(
      _ width: Int, _ height: Int, _ colors: Capabilities.Colors = .palette,
      lambda: Double = 0.01
    ) async throws -> Model {
      try await Still.model(
        SyntheticBackend(tokens: 256), width: width, height: height,
        capabilities: Capabilities(colors: colors)
      ) {
        $0.view = .blocks
        $0.head = HeadID(layer: 1, head: 0)
        $0.spec = TileSpec(rows: 32, keys: 32)
        ($0.query, $0.key, $0.lambda) = (204, 42, lambda)
      }
    }

    /// Where blocks are large each says its margin, the first of a row that it is one; and no two
    /// numbers touch.
    @Test(arguments: [Capabilities.Colors.palette, .direct, .basic, .mono])
    func largeBlocksSayTheirMargins(_ colors: Capabilities.Colors) async throws {
      let model = try await Self.model(120, 40, colors)
      let table = try #require(model.look.table(model.viewpoint.head))
      let left = view(model).lines.map { String($0.prefix(60)) }
      for i in 0..<table.rowTiles {
        let row = table.margins[i * table.keyTiles..<(i + 1) * table.keyTiles]
        let words = row.filter { !$0.isNaN }.map {
          $0 == .infinity ? "first" : Numbers.fixed(Double($0), 1)
        }
        let line = left.first { line in
          line.split { " ×╱│╋+-▒█▓░·".contains($0) }.map(String.init)
            == words.map { $0.replacing("-", with: "") }
        }
        #expect(line != nil, "row tile \(i): \(words) in \(left.joined(separator: "\n"))")
        if let line { for word in words { #expect(line.contains(word)) } }
      }
      let small = try await Self.model(80, 24, colors)
      #expect(!view(small).lines.contains { $0.prefix(40).contains("first ") })
    }

    /// Below ln lambda is one side of the scale and above it the other, for every lambda; a first
    /// block and one that nobody sees are neither.
    @Test(arguments: [1e-4, 0.01, 0.5, 1]) func theScaleTurnsWhereTheVerdictDoes(_ lambda: Double)
      async throws
    {
      let model = try await Self.model(120, 40, lambda: lambda)
      let table = try #require(model.look.table(model.viewpoint.head))
      let scale = MarginScale(table, model.look.lambda)
      for margin in table.margins {
        switch scale.tone(margin) {
        case .unseen: #expect(margin.isNaN)
        case .first: #expect(margin == .infinity)
        case .signed(let t):
          #expect((t < 0) == (margin < model.look.lambda.threshold) && abs(t) <= 1, "\(margin)")
        case .shade: Issue.record("\(margin) has a shade though lambda decides")
        }
      }
    }

    /// The legend has the values of both ends and of the middle, at every size that has a legend.
    @Test(arguments: [(120, 40), (80, 24), (60, 20), (40, 12)])
    func theLegendHasItsValues(_ size: (Int, Int)) async throws {
      let model = try await Self.model(size.0, size.1)
      let lines = view(model).lines
      let centre = Double(model.look.lambda.threshold)
      let values = [
        Numbers.fixed(centre - MarginScale.span, 1), Numbers.fixed(centre, 2),
        Numbers.fixed(centre + MarginScale.span, 1),
      ]
      let legend = lines.first { line in values.allSatisfy { line.contains($0) } }
      #expect(legend != nil, "\(values) in \(lines.joined(separator: "\n"))")
      #expect(size.0 < 60 || legend?.contains("× skipped") ?? false)
      let dense = try await Self.model(size.0, size.1, lambda: 0)
      #expect(view(dense).lines.contains { $0.contains("-12") && $0.contains("dense") })
    }

    /// Bars left of ln lambda have the colour that means skipped.
    @Test func theHistogramIsColouredByVerdict() async throws {
      let model = try await Self.model(120, 40)
      let grid = view(model), paint = Paint(model.look)
      let title = try #require(grid.lines.firstIndex { $0.contains("Margins, blocks per nat") })
      let tones = Set(
        (61..<118).map { grid[$0, title + 4] }.filter { $0.glyph != " " && $0.glyph != "┊" }
          .map(\.style.foreground))
      #expect(tones == [paint.pruned.foreground, paint.accent.foreground], "\(tones)")
    }
  }
#endif
