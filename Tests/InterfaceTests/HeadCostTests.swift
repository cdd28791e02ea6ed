import Attention
import Backends
import Canvas
import Sessions
import Testing

#if DEBUG
  @testable import Interface

  /// What skipping saves and costs, in the view of all heads.
  @Suite struct HeadCostTests {
    private static func model(
      _ width: Int, _ height: Int, _ change: (inout Viewpoint) -> Void = { _ in }
    ) async throws -> Model {
      try await Still.model(SyntheticBackend(tokens: 256), width: width, height: height) {
        $0.view = .heads
        $0.head = HeadID(layer: 1, head: 0)
        $0.spec = TileSpec(rows: 32, keys: 32)
        change(&$0)
      }
    }

    /// The strip says of the chosen head what the table says, and of its layer the mean.
    @Test func theStripHasTheNumbersOfHeadAndLayer() async throws {
      let model = try await Self.model(120, 40), look = model.look
      let heads = look.source.allHeads
      func mean(_ heads: [HeadID]) -> Double {
        heads.compactMap(look.sparsity).reduce(0, +) / Double(heads.count)
      }
      let lines = view(model).lines
      let mine = Numbers.percent(try #require(look.sparsity(look.viewpoint.head)))
      #expect(lines.contains { $0.contains("L4 H0: skipped \(mine), dropped ") }, "\(lines)")
      let layer = Numbers.percent(mean(heads.filter { $0.layer.value == 1 }))
      let all = Numbers.percent(mean(heads))
      #expect(lines.contains { $0.contains("layer 4: \(layer) skipped") && $0.contains(all) })
      // Where something is skipped, what it costs stands beside the head.
      let dropped = Numbers.short(try #require(look.droppedMass(look.viewpoint.head)).mean)
      #expect(lines.contains { $0.contains("61% drop \(dropped)") }, "\(lines)")
    }

    /// Pictures fill the view, whatever their number, and stay within it.
    @Test(arguments: [1, 3, 6, 27, 144, 900], [(78, 18), (118, 34), (198, 44), (38, 7)])
    func picturesFillTheView(_ count: Int, _ size: (Int, Int)) {
      let area = Rect(x: 1, y: 3, width: size.0, height: size.1)
      for columns in [nil, 9] as [Int?] where columns.map({ size.0 / $0 > 10 }) ?? true {
        let grid = ThumbGrid(count, chosen: count - 1, columns: columns, in: area)
        #expect(grid.visible.contains(count - 1), "\(count) in \(size)")
        for index in grid.visible {
          let rect = grid.rect(index)
          #expect(rect.x >= area.x && rect.maxX <= area.maxX && rect.maxY <= area.maxY)
          #expect(rect.width >= 9 && rect.height >= 4)
        }
        let last = grid.rect(grid.visible.upperBound - 1)
        #expect(last.maxY + grid.thumbHeight >= area.maxY, "\(count) in \(size): room below")
      }
    }

    /// By any number that the method says, and only heads of which a condition holds.
    @Test func sortAndFilterByAnyNumber() async throws {
      var model = try await Self.model(120, 40)
      for key in ":sort effective_tokens".map(Key.character) + [.enter] {
        _ = update(&model, .event(.key(key)))
      }
      #expect(model.viewpoint.sort == .number && model.viewpoint.score == "effective_tokens")
      let order = HeadsLayout(model.look).order.compactMap {
        model.look.headNumber("effective_tokens", $0)?.value
      }
      #expect(order.count == 6 && order == order.sorted(by: >))
      for key in ":sort no_such_number".map(Key.character) + [.enter] {
        _ = update(&model, .event(.key(key)))
      }
      #expect(model.viewpoint.score == "effective_tokens", "\(model.message ?? "-")")
      for key in ":where entropy<2".map(Key.character) + [.enter] {
        _ = update(&model, .event(.key(key)))
      }
      let shown = HeadsLayout(model.look).order
      #expect(!shown.isEmpty && shown.count < 6)
      for key in ":sort layer".map(Key.character) + [.enter] {
        _ = update(&model, .event(.key(key)))
      }
      #expect(model.viewpoint.sort == .layer)
    }
  }
#endif
