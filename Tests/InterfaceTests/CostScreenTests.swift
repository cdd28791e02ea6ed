import Attention
import Backends
import Canvas
import Sessions
import Testing

#if DEBUG
  @testable import Interface

  /// View 2 as numbers: what lambda skips and what that costs.
  @Suite struct CostScreenTests {
    private static func model(
      _ costs: Viewpoint.Costs, _ size: (Int, Int), _ backend: any Backend
    ) async throws -> Model {
      try await Still.model(backend, width: size.0, height: size.1) {
        $0.view = .heads
        $0.head = HeadID(layer: 1, head: 0)
        $0.spec = TileSpec(rows: 32, keys: 32)
        $0.costs = costs
      }
    }

    @Test(arguments: [Viewpoint.Costs.list, .map], [(120, 40), (80, 24), (60, 20), (40, 12)])
    func asAPicture(_ costs: Viewpoint.Costs, _ size: (Int, Int)) async throws {
      let model = try await Self.model(costs, size, SyntheticBackend(tokens: 256))
      let grid = view(model)
      try Snapshot.check(grid, "costs-\(costs.rawValue)-\(size.0)x\(size.1)")
      guard size.0 >= 60 else { return }
      let main = grid.lines.dropFirst(2).dropLast(2)
      #expect(!main.contains { $0.contains("…") }, "\(main.joined(separator: "\n"))")
    }

    /// By error from the least on where there are values, each with its numbers; heads of which
    /// nothing is skipped come last, and layers have the means of their heads.
    @Test func theCheapestComesFirst() async throws {
      let model = try await Self.model(.list, (120, 60), try LessonPlayTests.sample())
      let look = model.look, costs = HeadCosts(look), order = HeadsLayout(look).order
      #expect(order.count == look.source.allHeads.count)
      let skipped = order.filter { look.sparsity($0) ?? 0 > 0 }
      #expect(Array(order.prefix(skipped.count)) == skipped && !skipped.isEmpty)
      let errors = skipped.compactMap(costs.error)
      #expect(errors.count == skipped.count && errors == errors.sorted())
      let lines = view(model).lines
      for head in order {
        let name = "│ \(look.source.layers[head.layer]).\(look.source.headNumber(head.head)) "
        let line = try #require(lines.first { $0.hasPrefix(name) }, "no line of \(name)")
        #expect(line.contains(Numbers.percent(try #require(look.sparsity(head)))))
        #expect(line.contains(Numbers.short(try #require(costs.error(head)))))
      }
      for layer in look.source.layers.indices {
        let sum = costs.sum(order.filter { $0.layer.value == layer })
        let words = ["L\(look.source.layers[layer])", Numbers.percent(try #require(sum.share))]
        let isThere = lines.contains { line in
          words.allSatisfy { line.suffix(37).contains($0) }
            && line.contains("≤\(Numbers.short(sum.error ?? 0))")
        }
        #expect(isThere, "\(words) in \(lines.joined(separator: "\n"))")
      }
    }

    /// Without values the price is the mass that is lost.
    @Test func withoutValuesTheMassIsThePrice() async throws {
      let model = try await Self.model(.list, (100, 30), SyntheticBackend(tokens: 256))
      let lines = view(model).lines
      #expect(lines.contains { $0.contains("least dropped first") })
      #expect(lines.contains { $0.contains("4.0") && $0.contains("61.1 %") }, "\(lines)")
    }

    /// A key turns through list, maps and pictures; Esc and undo go back; arrows follow the order.
    @Test func keysTurnAndArrowsMove() async throws {
      var model = try await Self.model(.off, (100, 30), SyntheticBackend(tokens: 256))
      func press(_ key: Key) { _ = update(&model, .event(.key(key))) }
      press(.character("C"))
      #expect(model.viewpoint.costs == .list)
      model.viewpoint.head = HeadsLayout(model.look).order[0]
      press(.down)
      #expect(model.viewpoint.head == HeadsLayout(model.look).order[1])
      press(.character("C"))
      let before = model.viewpoint.head
      press(.up)
      #expect(model.viewpoint.costs == .map && model.viewpoint.head.layer <= before.layer)
      press(.escape)
      #expect(model.viewpoint.costs == .off)
      for c in ":costs map" { press(.character(c)) }
      press(.enter)
      #expect(model.viewpoint.costs == .map)
      press(.character("u"))
      #expect(model.viewpoint.costs == .off)
    }

    /// What is pressed on a map is what is seen there; the maps stay in their frames.
    @Test(arguments: [(120, 40), (80, 24), (60, 20), (40, 12)], [1, 3, 9, 40])
    func aPressFindsItsHead(_ size: (Int, Int), _ heads: Int) async throws {
      let backend = SyntheticBackend(layers: 4, heads: heads, tokens: 32)
      var model = Model(backend.describe(), width: size.0, height: size.1)
      (model.viewpoint.view, model.viewpoint.costs) = (.heads, .map)
      model.viewpoint.head = HeadID(layer: 3, head: heads - 1)
      let screen = CostScreen(model.look), main = ScreenLayout(model.look).main
      var seen: Set<HeadID> = []
      for y in main.y..<main.maxY {
        for x in main.x..<main.maxX {
          if let head = screen.head(x: x, y: y, in: main) { seen.insert(head) }
        }
      }
      #expect(seen.contains(model.viewpoint.head) && !view(model).lines.isEmpty)
      let other = try #require(seen.min())
      let place = (main.y..<main.maxY).flatMap { y in (main.x..<main.maxX).map { ($0, y) } }
        .first { screen.head(x: $0.0, y: $0.1, in: main) == other }
      let (x, y) = try #require(place)
      _ = update(&model, .event(.mouse(Mouse(.press, x: x, y: y))))
      #expect(model.viewpoint.head == other)
    }

    /// The export has the order of the list and the errors.
    @Test func theDataHaveTheErrors() async throws {
      let backend = try LessonPlayTests.sample()
      let model = try await Self.model(.list, (100, 30), backend)
      var figure = Figure(model, .heads)
      try await figure.complete { try await backend.answer($0) }
      let data = figure.data, at = try #require(data.columns.firstIndex(of: "output_error"))
      let errors = data.rows.filter { $0[3] != "0" }.map { Double($0[at]) ?? -1 }
      #expect(!errors.isEmpty && errors == errors.sorted() && errors[0] >= 0, "\(errors)")
    }
  }
#endif
