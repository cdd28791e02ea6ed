import Analysis
import Attention
import Backends
import Canvas
import Interface
import Methods
import Pictures
import Sessions
import Testing

/// All methods at one budget, over any view.
@Suite struct BudgetOverlayTests {
  static let registry = Registry([
    BLASST.self, AShape.self, TopK.self, BlockTopK.self, PatternSearch.self,
  ])

  static var backend: SyntheticBackend { SyntheticBackend(tokens: 256, registry: registry) }

  private static func answer(_ budget: Double) async throws -> BudgetAnswer? {
    guard
      case .budget(let answer) = try await backend.answer(
        .budget(HeadID(layer: 0, head: 0), budget))
    else { return nil }
    return answer
  }

  private static func grid(
    _ width: Int, _ height: Int, _ colors: Capabilities.Colors = .palette
  ) async throws -> Grid {
    try await Still.grid(
      backend, width: width, height: height, capabilities: Capabilities(colors: colors)
    ) {
      $0.view = .sinks
      $0.budget = 0.7
    }
  }

  /// Rows stand by recall, each method once, and what has none says why.
  @Test func theTableIsSortedAndWhole() async throws {
    let answer = try #require(try await Self.answer(0.7))
    #expect(answer.rows.count == 4 && answer.leftOut.map(\.setting.id) == ["minference-search"])
    // What does not reach the budget stands behind.
    let ranks = answer.rows.compactMap { row in
      row.numbers["recall_mean"].map { (row.isReached ? 1 : 0) + $0 / 2 }
    }
    #expect(ranks == ranks.sorted(by: >) && ranks.count == 4)
    let lines = try await Self.grid(120, 40).lines
    let places = answer.rows.compactMap { row in
      lines.firstIndex { $0.contains(" \(row.setting.id)") || $0.contains("~\(row.setting.id)") }
    }
    #expect(places.count == 4 && places == places.sorted())
    let text = lines.joined(separator: "\n")
    for word in ["Methods at 70.0 %", "recall", "error", "gap", "selection", "no knob to tune"] {
      #expect(text.contains(word), "\(word) is missing:\n\(text)")
    }
  }

  /// Narrow screens keep the method and its recall, and a tiny one stays whole.
  @Test func narrowScreensLeaveColumnsOut() async throws {
    let narrow = try await Self.grid(50, 24).lines.joined(separator: "\n")
    #expect(narrow.contains("recall") && !narrow.contains("entries"))
    for (width, height) in [(40, 12), (41, 13), (60, 14), (200, 60)] {
      _ = try await Self.grid(width, height)
    }
  }

  /// E opens, arrows choose, Enter takes the method with the knob that was found.
  @Test func aMethodIsTakenByKeys() async throws {
    let answer = try #require(try await Self.answer(0.7))
    let at = try #require(answer.rows.firstIndex { $0.setting.id == "a-shape" })
    let pilot = Pilot(Self.backend, width: 120, height: 40)
    pilot.press("E")
    await pilot.sees("Methods at 10.0 %")
    pilot.press("]]]]")
    await pilot.sees("Methods at 70.0 %")
    await pilot.sees("a-shape")
    await pilot.pressAndWait(Array(repeating: .down, count: at) + [.enter])
    await pilot.until("the overlay to close") { !$0.contains("Methods at") }
    let model = await pilot.model()
    #expect(model.viewpoint.method == answer.rows[at].setting && model.viewpoint.budget == nil)
    #expect(model.message?.contains("A-shape") ?? false)
    await pilot.quit()
  }

  /// What is read off the screen's own table comes in force as lambda and tile.
  @Test func aThresholdBecomesLambda() async throws {
    let answer = try #require(try await Self.answer(0.7))
    let at = try #require(answer.rows.firstIndex { $0.setting.id == "blasst" })
    var model = try await Still.model(Self.backend, width: 100, height: 30) {
      $0.budget = 0.7
      $0.method = MethodSetting("top-k")
    }
    for _ in 0..<at { _ = update(&model, .event(.key(.down))) }
    _ = update(&model, .event(.key(.enter)))
    #expect(model.viewpoint.method == nil && model.viewpoint.budget == nil)
    guard case .number(let lambda) = answer.rows[at].setting.knobs["lambda"] else {
      Issue.record("no lambda in \(answer.rows[at].setting)")
      return
    }
    #expect(model.viewpoint.lambda == lambda)
    _ = update(&model, .event(.key(.character("u"))))
    #expect(model.viewpoint.method == MethodSetting("top-k"))
  }

  /// While it is open only other heads go on as before: arrows and the budget are its own.
  @Test func keysGoToTheOverlayOrThrough() async throws {
    var model = try await Still.model(Self.backend, width: 100, height: 30) { $0.budget = 0.7 }
    let before = model.viewpoint
    for key in [Key.left, .right, .up] { _ = update(&model, .event(.key(key))) }
    #expect(model.viewpoint.key == before.key && model.viewpoint.query == before.query)
    _ = update(&model, .event(.key(.character("["))))
    #expect(model.viewpoint.budget == 0.5 && model.viewpoint.lambda == before.lambda)
    _ = update(&model, .event(.key(.character("."))))
    #expect(model.viewpoint.head.head == 1)
    #expect(Needs(model).foreground.first == .budget(HeadID(layer: 0, head: 1), 0.5))
    _ = update(&model, .event(.key(.end)))
    _ = update(&model, .event(.key(.escape)))
    #expect(model.viewpoint.budget == nil)
    #expect(
      !Needs(model).foreground.contains {
        if case .budget = $0 { true } else { false }
      })
  }

  /// A share out of range is refused in words; the setting goes into states and comes back.
  @Test func theSettingIsRead() throws {
    let about = Self.backend.describe()
    var view = Viewpoint(about)
    try ViewSetting.take("budget", "0.25", into: &view, [about])
    #expect(view.budget == 0.25 && ViewState.text(view, [about]).contains("budget 0.25\n"))
    for wrong in ["0", "1.5", "-1", "nan", "much"] {
      #expect(throws: SettingError.self) {
        try ViewSetting.take("budget", wrong, into: &view, [about])
      }
    }
    try ViewSetting.take("budget", "off", into: &view, [about])
    #expect(view.budget == nil)
  }

  @Test func inSentences() async throws {
    let model = try await Still.model(Self.backend, width: 120, height: 40) { $0.budget = 0.7 }
    let lines = PlainText(model).sentences
    let answer = try #require(try await Self.answer(0.7))
    #expect(lines.contains { $0.hasPrefix("1. \(answer.rows[0].setting.id)") })
    #expect(lines.contains { $0.hasPrefix("left out: minference-search") })
    #expect(!lines.contains { $0.contains("The cursor is on") })
  }

  /// The page holds every method and its numbers; data are those of the answer in full.
  @Test func asAFigure() async throws {
    let model = Model(Self.backend.describe(), width: 120, height: 40)
    for isDark in [true, false] {
      var figure = Figure(model, .budget, isDark: isDark)
      figure = try await Self.done(figure)
      let answer = try #require(try await Self.answer(0.1))
      for row in answer.rows { #expect(figure.picture.svg.contains(row.setting.id)) }
      #expect(figure.picture.svg.contains("recall over the cost of selecting"))
      #expect(figure.data.rows.map { $0[1] } == answer.rows.map { "\($0.setting)" })
      #expect(figure.data.csv.hasPrefix("method,setting,knob,reached,tile_density,density,"))
    }
    var open = model
    open.viewpoint.budget = 0.7
    #expect(Figure(open).kind == .budget && Figure(open, .map).kind == .map)
  }

  private static func done(_ figure: Figure) async throws -> Figure {
    var figure = figure
    try await figure.complete { try await backend.answer($0) }
    return figure
  }

  @Test func snapshots() async throws {
    try Snapshot.check(try await Self.grid(80, 24, .mono), "budget-80x24-mono")
    try Snapshot.check(try await Self.grid(120, 40), "budget-120x40")
  }
}
