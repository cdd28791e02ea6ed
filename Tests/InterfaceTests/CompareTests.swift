import Analysis
import Attention
import Backends
import Canvas
import Interface
import Lessons
import Sessions
import Support
import Testing

/// View 6: the numbers against loops that say what they mean, and the screen as it is used.
@Suite struct CompareTests {
  // MARK: Masks

  static func mask(_ random: inout Seeded, queries: Int, keys: Int, _ spec: TileSpec) -> BlockMask {
    let scores = random.tensor([queries, keys], scale: 3)
    let head = Head(scores: scores, causal: true)
    return TilePass(HeadGroup([head]), keysPerTile: spec.keys).tables(spec)![0].mask(
      try! Lambda(Double.random(in: 0.01...1, using: &random)))
  }

  /// Cell by cell of the finest tile: one token by one token, then divided by the size of a counted
  /// cell.
  @Test func agreementIsThatOfTheNaiveLoop() {
    var random = Seeded(5)
    let sides = [(4, 8), (8, 4), (8, 8), (12, 8), (6, 10), (1, 3), (16, 16)]
    for round in 0..<60 {
      let a = sides.randomElement(using: &random)!, b = sides.randomElement(using: &random)!
      let (n, m) = (Int.random(in: 1...50, using: &random), Int.random(in: 1...50, using: &random))
      let keys = max(n, m)
      let left = Self.mask(&random, queries: n, keys: keys, TileSpec(rows: a.0, keys: a.1))
      let right = Self.mask(&random, queries: n, keys: keys, TileSpec(rows: b.0, keys: b.1))
      let found = MaskAgreement(left, right)
      func divisor(_ a: Int, _ b: Int) -> Int {
        (1...min(a, b)).last { a % $0 == 0 && b % $0 == 0 }!
      }
      let cell = divisor(a.0, b.0) * divisor(a.1, b.1)
      var counts: [String: Int] = [:]
      // Tiles that stick out over the edge count whole, as far as both have them.
      let height = min(left.rowTiles * a.0, right.rowTiles * b.0)
      let width = min(left.keyTiles * a.1, right.keyTiles * b.1)
      for i in 0..<height {
        for j in 0..<width {
          counts["\(left[i / a.0, j / a.1]) \(right[i / b.0, j / b.1])", default: 0] += 1
        }
      }
      let what = "round \(round): \(n)x\(keys), \(a), \(b)"
      #expect(found.bothSkipped * cell == counts["skipped skipped", default: 0], "\(what)")
      #expect(found.onlyLeft * cell == counts["skipped computed", default: 0], "\(what)")
      #expect(found.onlyRight * cell == counts["computed skipped", default: 0], "\(what)")
      #expect(found.bothComputed * cell == counts["computed computed", default: 0], "\(what)")
      let turned = MaskAgreement(right, left)
      #expect(turned.onlyLeft == found.onlyRight && turned.overlap == found.overlap)
      #expect(MaskAgreement(left, left).overlap == 1)
    }
  }

  // MARK: Maps

  /// From the whole pattern, entry by entry.
  @Test func differenceIsThatOfTheNaiveLoop() throws {
    var random = Seeded(6)
    for (queries, keys, rows, columns) in [(24, 24, 6, 8), (24, 24, 24, 24), (7, 30, 3, 30)] {
      let heads = (0..<2).map { _ in
        Head(scores: random.tensor([queries, keys], scale: 2), causal: true)
      }
      let window = MapWindow(queries: 0..<queries, keys: 0..<keys)
      func map(_ head: Head, _ rows: Int, _ columns: Int) -> PooledMap {
        PooledMap.of(head, window: window, rows: rows, columns: columns)!
      }
      let (a, b) = (map(heads[0], rows, columns), map(heads[1], rows, columns))
      // Every entry by itself.
      let (p, q) = (map(heads[0], queries, keys), map(heads[1], queries, keys))
      let visibility = heads[0].visibility
      for usesMean in [false, true] {
        let found = try #require(MapDifference(a, b, usesMean: usesMean, visibility))
        var moved = 0.0
        for r in 0..<rows {
          for c in 0..<columns {
            var (left, right): ([Double], [Double]) = ([], [])
            for i in a.rowEdges[r]..<a.rowEdges[r + 1] {
              for j in a.keyEdges[c]..<a.keyEdges[c + 1] where j < visibility.limit(row: i) {
                left.append(Double(p.max[i * keys + j]))
                right.append(Double(q.max[i * keys + j]))
              }
            }
            let value = found.values[r * columns + c]
            guard !left.isEmpty else {
              #expect(value.isNaN)
              continue
            }
            let mean = (left.reduce(0, +) - right.reduce(0, +)) / Double(left.count)
            let expected = usesMean ? mean : left.max()! - right.max()!
            #expect(abs(Double(value) - expected) < 1e-5, "\(r),\(c): \(value) and \(expected)")
            moved += abs(mean) * Double(left.count)
          }
        }
        #expect(abs(found.movedMass - moved / 2 / Double(queries)) < 1e-5)
        // Every entry a cell: half the L1 distance of the rows, exactly; coarser cells say less.
        let whole = try #require(MapDifference(p, q, usesMean: usesMean, visibility))
        #expect(found.movedMass <= whole.movedMass + 1e-6)
      }
      let same = try #require(MapDifference(a, a, usesMean: true, visibility))
      #expect(same.movedMass == 0 && same.values.allSatisfy { $0 == 0 || $0.isNaN })
      #expect(
        MapDifference(a, p, usesMean: true, visibility) == nil || (rows, columns) == (queries, keys)
      )
    }
  }

  // MARK: The screen

  private func fly(_ backend: any Backend = SyntheticBackend()) -> Pilot {
    let pilot = Pilot(backend, width: 120, height: 40)
    pilot.terminal.press(.alt("6"))
    return pilot
  }

  @Test func otherHeadSwapAndUndo() async {
    let pilot = fly()
    await pilot.sees("L0 H1 128x128 head asc")
    pilot.press(")")
    await pilot.sees("L0 H2 128x128 head asc")
    pilot.press(")")
    await pilot.sees("Heads are 0 to 2; :compare 18.0 takes another layer.")
    pilot.press("x")
    var model = await pilot.model("the sides swapped") { $0.viewpoint.head.head == 2 }
    #expect(model?.viewpoint.other == Counterpart(HeadID(layer: 0, head: 0)))
    pilot.press("u")
    model = await pilot.model("the swap undone") { $0.viewpoint.head.head == 0 }
    #expect(model?.viewpoint.other?.head == HeadID(layer: 0, head: 2))
    pilot.press("((((")
    await pilot.sees("Heads are 0 to 2")
    pilot.command("compare 4.1 tile 32x32")
    await pilot.sees("L4 H1 32x32 head asc")
    pilot.press("x")
    model = await pilot.model("head and tile swapped") {
      $0.viewpoint.head == HeadID(layer: 1, head: 1)
    }
    #expect(model?.viewpoint.spec.rows == 32)
    #expect(model?.viewpoint.other?.spec?.rows == 128)
    for wrong in ["compare 9.0", "compare 4.9", "compare 1.2.3", "compare file 2"] {
      pilot.command(wrong)
      await pilot.until("a sentence for \(wrong)") {
        ["this file has layers", "heads are 0 to 2", "nothing to compare with", "file is 1 to 1"]
          .contains(where: $0.contains)
      }
      pilot.terminal.press(.escape)
    }
    await pilot.quit()
  }

  /// One cursor and one window for both; lambda moves both masks.
  @Test func zoomAndCursorAreLinked() async {
    let pilot = fly()
    await pilot.sees("Left - right")
    pilot.press("100G50g+++")
    let model = await pilot.model("a smaller window") { $0.viewpoint.window.keys.count == 32 }
    let window = model?.viewpoint.window
    #expect(window?.keys.contains(50) == true && window?.queries.contains(100) == true)
    _ = await pilot.settled("both maps")
    let screen = pilot.screen
    #expect(
      screen.split(separator: "\n").contains { $0.split(separator: "100►").count >= 3 }, "\(screen)"
    )
    pilot.terminal.send(.mouse(Mouse(.press, x: 100, y: 12)))
    await pilot.model("the cursor where the mouse is on the right map") { $0.viewpoint.key > 50 }
    pilot.command("compare 4.0 tile 32x32")
    _ = await pilot.model("the right side") { $0.otherSparsity > 0.5 }
    let before = await pilot.model().otherSparsity
    pilot.press("}")
    await pilot.model("another share on the right") { $0.otherSparsity > before }
    await pilot.quit()
  }

  /// The right side is a method: its mask, its price, and no swapping.
  @Test func aMethodStandsOnTheRight() async throws {
    let pilot = Pilot(try LessonPlayTests.sample(), width: 120, height: 40)
    pilot.command("compare a-shape")
    await pilot.sees("L0 H0 a-shape")
    await pilot.sees("overlap")
    pilot.press("x")
    await pilot.model("the method on the left") {
      $0.viewpoint.method?.id == "a-shape" && $0.viewpoint.other?.method == nil
    }
    pilot.command("compare no-such-method")
    await pilot.sees("no-such-method")
    await pilot.quit()
  }

  /// Files of different sizes: what both have is shown, and the cursor stays in both.
  @Test func twoFilesOfDifferentSizes() async {
    let backend = SeveralBackends([
      SyntheticBackend(tokens: 200, name: "long"),
      SyntheticBackend(layers: 3, heads: 5, tokens: 72, name: "short"),
    ])
    let pilot = Pilot(backend, width: 120, height: 40)
    pilot.command("compare file 2 8.4")
    await pilot.sees("short L8 H4")
    _ = await pilot.settled("both files")
    await pilot.sees("long L0 H0")
    await pilot.sees("moved")
    pilot.press("150G140g")
    await pilot.model("a cursor outside of the short file") { $0.viewpoint.query == 150 }
    pilot.press("x")
    let model = await pilot.model("the short file on the left") { $0.viewpoint.head.source == 1 }
    #expect(model?.viewpoint.head == HeadID(layer: 2, head: 4, source: 1))
    #expect(model?.viewpoint.query == 71 && model?.viewpoint.window.keys == 0..<72)
    #expect(model?.viewpoint.other?.head == HeadID(layer: 0, head: 0, source: 0))
    _ = await pilot.settled("both files swapped")
    pilot.press("f")
    await pilot.sees("File 1 of 2: long.")
    for key in "12345" {
      pilot.terminal.press(.alt(key))
      await pilot.model("view \(key)") { "\($0.viewpoint.view.rawValue)" == "\(key)" }
      _ = await pilot.settled("view \(key) of one of several")
    }
    await pilot.quit()
  }

  /// Any key in any order in view 6 of two files: a sentence or a change, never a trap.
  @Test func aMonkeyComparesAndBreaksNothing() async throws {
    let backend = SeveralBackends([
      SyntheticBackend(layers: 2, heads: 2, tokens: 40),
      SyntheticBackend(layers: 1, heads: 3, tokens: 9),
    ])
    var model = Model(backend.describe(), width: 90, height: 30)
    var random = Seeded(8)
    let keys =
      KeyTable.bindings.flatMap(\.keys).filter { $0 != .character("q") } + [
        .escape, .character("6"),
      ]
    let words = ["file 1", "file 2", "4.1", "a-shape", "tile 4x4", "desc", "file 2 0.2", "next"]
    for step in 0..<500 {
      if step % 5 == 0 {
        let word = words.randomElement(using: &random)!
        _ = update(&model, .event(.key(.escape)))
        for c in ":compare \(word)" { _ = update(&model, .event(.key(.character(c)))) }
        _ = update(&model, .event(.key(.enter)))
      }
      _ = update(&model, .event(.key(keys.randomElement(using: &random)!)))
      if step % 100 == 0 { try await Still.complete(&model) { try await backend.answer($0) } }
      _ = view(model)
      let about = ([backend.describe()] + backend.describe().others)[model.viewpoint.head.source]
      #expect(model.viewpoint.window.keys.upperBound <= about.keys, "step \(step)")
      #expect(model.viewpoint.query < about.queries && model.viewpoint.key < about.keys)
    }
  }

  // MARK: Pictures

  @Test func inSmallAndOddPlaces() async throws {
    for width in [40, 80, 119, 150] {
      for height in [12, 20, 28, 60] {
        _ = try await ScreenTests.still(.compare, (width, height), tokens: 24)
      }
    }
  }

  @Test func severalFilesAsAPicture() async throws {
    let backend = SeveralBackends([
      SyntheticBackend(tokens: 200, name: "long.npz"),
      SyntheticBackend(tokens: 72, name: "short.npz"),
    ])
    let grid = try await Still.grid(backend, width: 160, height: 48) { viewpoint in
      viewpoint.view = .compare
      viewpoint.spec = TileSpec(rows: 16, keys: 16)
      viewpoint.other = Counterpart(
        HeadID(layer: 1, head: 2, source: 1), spec: TileSpec(rows: 32, keys: 16))
      (viewpoint.query, viewpoint.key) = (60, 20)
    }
    try Snapshot.check(grid, "compare-files-160x48")
  }

  /// Where the same cell is another word on the other side, the screen says so at every size; of
  /// files with the same text it says nothing.
  @Test(arguments: [(160, 48), (80, 24), (60, 20), (40, 12)])
  func otherTokensAreSaidOnTheScreen(_ size: (Int, Int)) async throws {
    let inner = SyntheticBackend(tokens: 64, name: "two.npz")
    func screen(_ change: (inout SourceDescription) -> Void) async throws -> String {
      var about = inner.describe()
      change(&about)
      let backend = SeveralBackends([
        SyntheticBackend(tokens: 64, name: "one.npz"), Renamed(about: about, inner),
      ])
      let grid = try await Still.grid(backend, width: size.0, height: size.1) {
        $0.view = .compare
        $0.other = Counterpart(HeadID(layer: 0, head: 0, source: 1))
      }
      return grid.lines.joined(separator: "\n")
    }
    let same = try await screen { _ in }
    #expect(!same.contains("! ") && !same.contains("other tokens"), "\(same)")
    let other = try await screen { $0.tokens[12] = " another" }
    #expect(other.contains("other tokens from 12 on"), "\(other)")
    let shorter = try await screen { $0.tokens.removeLast(4) }
    #expect(shorter.contains("64 and 60 tokens"), "\(shorter)")
  }

  @Test(arguments: [(80, 24), (120, 40), (60, 20)]) func aLessonAsAPicture(_ size: (Int, Int))
    async throws
  {
    let lesson = try LessonPlayTests.lesson("3-lambda-and-margin")
    for (name, step, keys) in [
      ("begin", -1, ""), ("task", 3, "HH"), ("done", 3, "]"), ("end", 8, ""),
    ] {
      let backend = try LessonPlayTests.sample()
      var model = Model(backend.describe(), width: size.0, height: size.1)
      _ = model.play(LessonPlay(lesson, step: step, done: [0, 1, 2]))
      try await Still.complete(&model) { try await backend.answer($0) }
      for key in keys { _ = update(&model, .event(.key(.character(key)))) }
      try await Still.complete(&model) { try await backend.answer($0) }
      try Snapshot.check(view(model), "lesson-\(name)-\(size.0)x\(size.1)")
    }
  }
}

extension Model {
  fileprivate var otherSparsity: Double {
    if case .number(let share) = Facts(self)["other.sparsity"] { share } else { -1 }
  }
}
