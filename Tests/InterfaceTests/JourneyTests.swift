import Analysis
import Attention
import Backends
import Canvas
import Interface
import Sessions
import Support
import Testing

/// What a person does, key by key, on a virtual terminal.
@Suite struct JourneyTests {
  @Test func fromTheFirstKeyToTheLast() async {
    let pilot = Pilot()
    await pilot.sees("● exact")
    pilot.press("]]]]")
    await pilot.sees("λ=0.1 ")
    pilot.press("{")
    await pilot.sees("λ=0.01")
    pilot.press(".")
    await pilot.sees("L0 H1")
    pilot.press(">")
    await pilot.sees("L4 H1")
    pilot.press("uu")
    await pilot.sees("L0 H0")
    pilot.press("U")
    await pilot.sees("L0 H1")
    await pilot.quit()
  }

  @Test func viewsByNumberAndTab() async {
    let pilot = Pilot()
    pilot.terminal.press(.alt("2"))
    await pilot.sees("Heads 6")
    pilot.terminal.press(.alt("4"))
    await pilot.sees("Mass on the first token")
    pilot.terminal.press(.backTab, .backTab)
    await pilot.sees("Heads 6")
    pilot.terminal.press(.tab)
    await pilot.sees("Sparsity(λ)")
    pilot.terminal.press(.tab, .tab, .tab)
    await pilot.sees("Left - right")
    pilot.terminal.press(.tab)
    await pilot.sees("┌ Map ")
    pilot.terminal.press(.backTab, .backTab)
    await pilot.sees("┌ Text ")
    pilot.terminal.press(.alt("4"))
    await pilot.sees("Mass on the first token")
    pilot.terminal.press(.alt("5"))
    await pilot.sees("query 255 reads")
    await pilot.quit()
  }

  @Test func countsRepeatAndDoNotLeaveTheView() async {
    let pilot = Pilot()
    await pilot.sees("● exact")
    pilot.press("120g")
    await pilot.sees("k 120")
    pilot.press("20k")
    await pilot.until("the cursor twenty cells up") {
      $0.contains("q 115") || $0.contains("q 95") || !$0.contains("q 255")
    }
    let model = await pilot.model()
    #expect(
      model.viewpoint.view == .map && model.viewpoint.key == 120 && model.viewpoint.query < 235)
    await pilot.quit()
  }

  @Test func searchFindsTokensAndGoesOn() async {
    let pilot = Pilot()
    pilot.press("/word7$")
    pilot.terminal.press(.enter)
    await pilot.sees("match 1 of 1, key 7")
    pilot.press("/word2.$")
    pilot.terminal.press(.enter)
    await pilot.sees("match 1 of 10, key 20")
    pilot.press("n")
    await pilot.sees("match 2 of 10, key 21")
    pilot.press("NN")
    await pilot.sees("match 10 of 10, key 29")
    pilot.press("/(((")
    pilot.terminal.press(.enter)
    await pilot.sees("No token matches")
    pilot.press("/nothing")
    pilot.terminal.press(.enter)
    await pilot.sees("No token matches \"nothing\"")
    await pilot.quit()
  }

  @Test func zoomPanAndFit() async {
    let pilot = Pilot()
    pilot.press("50g+++")
    await pilot.sees("● exact")
    while await pilot.model().viewpoint.window.keys.count > 32 { await pause() }
    var model = await pilot.model()
    #expect(model.viewpoint.window.keys.count == 32 && model.viewpoint.window.keys.contains(50))
    pilot.terminal.press(.end)
    await pilot.sees("k 255")
    model = await pilot.model()
    #expect(model.viewpoint.window.keys.contains(255))
    pilot.press("0")
    pilot.press("0")
    while await pilot.model().viewpoint.window.keys.count != 256 { await pause() }
    pilot.press("-")
    await pilot.sees("The whole map is shown.")
    await pilot.quit()
  }

  @Test func thePaletteRunsAndRefuses() async {
    let pilot = Pilot()
    pilot.press(":lambda 0.5")
    pilot.terminal.press(.enter)
    await pilot.sees("λ=0.5")
    pilot.press(":lambda 2")
    pilot.terminal.press(.enter)
    await pilot.sees("lambda above 1 is refused")
    pilot.press(":tile 64x32")
    pilot.terminal.press(.enter)
    await pilot.sees("64x32 head asc")
    pilot.press(":view 3")
    pilot.terminal.press(.enter)
    await pilot.sees("Sparsity(λ)")
    pilot.press(":zzzz")
    await pilot.sees("no action and no command is like this")
    pilot.terminal.press(.escape)
    await pilot.quit()
  }

  @Test func everythingThatTogglesSaysSo() async {
    let pilot = Pilot()
    for (key, text) in [
      ("s", "Scale: linear."), ("s", "Scale: rank."), ("p", "A cell shows the mean"),
      ("n", "Each row scaled"), ("o", "Overlay: grid."),
      ("c", "Colours: viridis."), ("v", "decide together"), ("r", "local first"), ("t", "(hopper)"),
      ("m", "left out"),
      (" ", "Nothing is live here"), ("%", "% does nothing here"),
    ] {
      pilot.press(key)
      await pilot.sees(text)
    }
    pilot.press("e")
    await pilot.sees("export to (.svg .png .pdf .html .txt .ansi .csv .npy): attnscope-L0-H0-map.")
    pilot.terminal.press(.enter)
    await pilot.sees("Written to attnscope-L0-H0-map.")
    await pilot.quit()
  }

  @Test func helpIsMadeFromTheKeyTable() async {
    let pilot = Pilot(width: 100, height: 140)
    pilot.press("?")
    await pilot.sees("This view")
    let screen = pilot.screen
    for binding in KeyTable.bindings {
      #expect(screen.contains(binding.name), "help lacks \(binding.name)")
      #expect(binding.name.count <= 59, "too long for help at 80 columns: \(binding.name)")
    }
    await pilot.quit()
  }

  @Test func theMousePointsZoomsAndPans() async {
    let pilot = Pilot()
    await pilot.sees("● exact")
    pilot.terminal.send(.mouse(Mouse(.press, x: 20, y: 12)))
    pilot.terminal.send(.mouse(Mouse(.release, x: 20, y: 12)))
    while await pilot.model().viewpoint.key == 0 { await pause() }
    let key = await pilot.model().viewpoint.key
    pilot.terminal.send(.mouse(Mouse(.wheelUp, x: 20, y: 12)))
    while await pilot.model().viewpoint.window.keys.count != 128 { await pause() }
    #expect(abs(await pilot.model().viewpoint.key - key) <= 4)
    let before = await pilot.model().viewpoint.window
    pilot.terminal.send(.mouse(Mouse(.press, x: 30, y: 12)))
    pilot.terminal.send(.mouse(Mouse(.drag, x: 10, y: 12)))
    while await pilot.model().viewpoint.window == before { await pause() }
    await pilot.quit()
  }

  @Test func resizeKeepsTheState() async {
    let pilot = Pilot()
    pilot.press("33g")
    await pilot.sees("k 33")
    pilot.terminal.send(.resize(width: 50, height: 8))
    await pilot.sees("attnscope needs 40x12")
    pilot.terminal.send(.resize(width: 120, height: 40))
    await pilot.sees("k 33")
    await pilot.quit()
  }

  @Test func interruptStopsTheWorkAndNotTheProgram() async {
    let pilot = Pilot(Endless())
    await pilot.sees("computing")
    pilot.terminal.send(.interrupt)
    await pilot.sees("Work stopped.")
    await pilot.sees("■ stopped")
    pilot.press(".")
    await pilot.sees("H1")
    #expect(!(await pilot.model().isStopped))
    pilot.terminal.send(.interrupt)
    await pilot.sees("■ stopped")
    pilot.terminal.send(.interrupt)
    await pilot.ended()
  }

  @Test func aFailedAnswerIsASentence() async {
    let pilot = Pilot(Failing())
    await pilot.sees("the disk is gone")
    pilot.terminal.press(.alt("2"))
    await pilot.sees("no map")
    await pilot.quit()
  }

  @Test func aLostTerminalEndsTheApp() async {
    let pilot = Pilot()
    pilot.terminal.send(.hangup)
    await pilot.ended()
  }

  /// Every action can be reached by a key, and by its name in the palette.
  @Test func everyActionHasAKeyAndAName() {
    for action in Action.allCases {
      let binding = KeyTable.bindings.filter { $0.action == action }
      #expect(binding.count == 1, "\(action) stands \(binding.count) times in the table")
      #expect(binding.allSatisfy { !$0.keys.isEmpty && !$0.name.isEmpty })
    }
    let keys = KeyTable.bindings.flatMap(\.keys)
    #expect(Set(keys).count == keys.count, "a key has two meanings")
    for key in keys { #expect(Keymap().action(for: key) != nil) }
  }

  /// Any key in any order: a sentence or a change, never a trap.
  @Test(arguments: [1, 2, 3]) func aMonkeyBreaksNothing(_ seed: UInt64) {
    let backend = SyntheticBackend(layers: 2, heads: 2, tokens: 40)
    var model = Model(backend.describe(), width: 90, height: 30)
    var random = Seeded(seed)
    let keys =
      KeyTable.bindings.flatMap(\.keys).filter { $0 != .character("q") } + [
        .escape, .enter, .backspace, .character("7"), .delete,
      ]
    for step in 0..<1000 {
      let event: Event
      switch step % 29 {
      case 0:
        event = .resize(
          width: Int.random(in: 0...160, using: &random),
          height: Int.random(in: 0...60, using: &random))
      case 1:
        let action = [Mouse.Action.press, .drag, .wheelUp, .wheelDown, .release].randomElement(
          using: &random)!
        event = .mouse(
          Mouse(
            action, x: Int.random(in: 0...160, using: &random),
            y: Int.random(in: 0...60, using: &random)))
      default: event = .key(keys.randomElement(using: &random)!)
      }
      _ = update(&model, .event(event))
      if step % 7 == 0 { _ = view(model) }
      #expect(
        model.viewpoint.query >= 0 && model.viewpoint.query < 40 && model.viewpoint.key >= 0
          && model.viewpoint.key < 40)
      #expect(
        model.viewpoint.window.keys.upperBound <= 40 && !model.viewpoint.window.queries.isEmpty)
    }
  }
}

/// A moment for the others; conditions are asked again after it.
func pause() async { try? await Task.sleep(for: .milliseconds(2)) }

/// Never answers until cancelled.
struct Endless: Backend {
  private let inner = SyntheticBackend(layers: 1, heads: 2, tokens: 32)
  func describe() -> SourceDescription { inner.describe() }
  var moments: AsyncStream<Moment> { inner.moments }
  func answer(_ question: Question, at frame: Frame) async throws -> Answer {
    try await Task.sleep(for: .seconds(3600))
    return .unavailable("")
  }
}

struct Failing: Backend {
  struct Gone: Error, CustomStringConvertible { let description = "the disk is gone" }
  private let inner = SyntheticBackend(layers: 1, heads: 2, tokens: 32)
  func describe() -> SourceDescription { inner.describe() }
  var moments: AsyncStream<Moment> { inner.moments }
  func answer(_ question: Question, at frame: Frame) async throws -> Answer { throw Gone() }
}
