import Canvas
import Tensors
import Analysis
import Attention
import Backends
import Foundation
import Interface
import Models
import Sessions
import Support
import Testing

/// A model that runs while a robot user looks at it: the real engine on a tiny model, the real
/// screens, no terminal.
@Suite(.serialized) struct LiveTests {
  static let choice = AttentionChoice(
    lambda: 0.01, prefill: TileSpec(rows: 128, keys: 128),
    decode: TileSpec(rows: 1, keys: 128, vote: .group))

  static func withBackend<R>(
    prompt: Int = 20, most: Int = 60, shadow: Bool = false, paused: Bool = true,
    budget: Int = QueryRecord.standardBudget,
    choice: AttentionChoice = choice, _ body: (LocalBackend) async throws -> R
  ) async throws -> R {
    let path = FileManager.default.temporaryDirectory.appending(path: "live-\(UUID()).gguf").path
    defer { try? FileManager.default.removeItem(atPath: path) }
    // A random model would soon say its end token: this one has none.
    var tiny = TinyModel("llama", .q8_0, seed: 4)
    tiny.gguf.set("tokenizer.ggml.eos_token_id", .u32(.max))
    tiny.gguf.set(
      "tokenizer.ggml.token_type", .i32s([Int32](repeating: 1, count: tiny.vocabulary)))
    try Data(tiny.bytes).write(to: URL(filePath: path))
    let model = try LanguageModel(path)
    let tokens = (0..<prompt).map { 20 + $0 * 7 % 90 }
    let backend = try LocalBackend(
      model, prompt: tokens,
      LocalBackend.Options(
        attention: choice, maxTokens: most, hasShadow: shadow, startsPaused: paused,
        queryBudget: budget))
    let result = try await body(backend)
    backend.send(.stop)
    return result
  }

  /// A pilot on the Tokens view of a backend that has begun.
  private func fly(_ backend: any Backend, width: Int = 100, height: Int = 30) -> Pilot {
    let pilot = Pilot(backend, width: width, height: height)
    (backend as? LocalBackend)?.start()
    pilot.terminal.press(.alt("5"))
    return pilot
  }

  @Test func runPauseStepBranchAndCompare() async throws {
    try await Self.withBackend(shadow: true) { backend in
      let pilot = fly(backend)
      await pilot.sees("paused")
      await pilot.sees("of the prompt")
      // One step with the arrow.
      pilot.terminal.press(.right)
      await pilot.sees("1 tokens decoded")
      await pilot.sees("20 of 21")
      await pilot.sees("KL")
      // On to the end.
      pilot.press(" ")
      await pilot.sees("ended")
      await pilot.sees("60 tokens decoded")
      await pilot.sees("79 of 80")
      // Back, and branch with another lambda from there.
      for _ in 0..<4 { pilot.terminal.press(.left) }
      await pilot.sees("at 76/80")
      pilot.press("}}")
      pilot.press("B")
      pilot.terminal.press(.enter)
      await pilot.sees("Branch 1")
      await pilot.sees("Branch 0 (x goes there)")
      await pilot.until("a comparison") {
        $0.contains("the same for") || $0.contains("differs from token")
      }
      pilot.press("x")
      await pilot.sees("Branch 0: lambda 0.01")
      let model = await pilot.model()
      #expect(model.live?.branches.count == 2 && model.frame.branch == 0)
      #expect(model.live?.branches[1].fork == 75)
      await pilot.quit()
    }
  }

  @Test func everyViewShowsTheFrameThatIsLookedAt() async throws {
    try await Self.withBackend { backend in
      let pilot = fly(backend)
      await pilot.sees("paused")
      for _ in 0..<3 { pilot.terminal.press(.right) }
      await pilot.sees("3 tokens decoded")
      pilot.terminal.press(.left)
      await pilot.sees("at 22/23")
      pilot.terminal.press(.alt("1"))
      await pilot.sees("22x22")
      await pilot.sees("pattern")
      pilot.terminal.press(.alt("2"))
      await pilot.sees("Heads 8")
      pilot.terminal.press(.alt("3"))
      await pilot.sees("Margins")
      pilot.terminal.press(.alt("4"))
      await pilot.sees("sink rate")
      pilot.terminal.press(.alt("5"))
      await pilot.sees("21 of 23")
      await pilot.quit()
    }
  }

  /// Undo takes a view back and not a frame: at an earlier one the view is made to fit what is
  /// there.
  @Test func undoAtAnEarlierFrameFits() async throws {
    try await Self.withBackend { backend in
      let pilot = fly(backend)
      await pilot.sees("paused")
      pilot.press(" ")
      await pilot.sees("79 of 80")
      await pilot.pressAndWait([.alt("1"), .alt("5")])
      await pilot.pressAndWait([Key](repeating: .left, count: 30))
      await pilot.model("thirty tokens back") { $0.source.queries == 50 }
      await pilot.pressAndWait([.character("u"), .character("u")])
      let model = await pilot.settled("the view of before")
      #expect(model.source.queries == 50)
      #expect(model.viewpoint.window.queries.upperBound <= 50)
      #expect(model.viewpoint.window.keys.upperBound <= 50 && model.viewpoint.query < 50)
      await pilot.quit()
    }
  }

  @Test func whatIsAskedLaterIsWhatWasComputed() async throws {
    try await Self.withBackend(prompt: 150, most: 10, paused: false) { backend in
      let pilot = fly(backend)
      await pilot.sees("10 tokens decoded")
      await pilot.sees("ended")
      // The row of the newest token, from half-float queries and the cache, is a distribution over
      // all it saw.
      let frame = Frame(branch: 0, tokens: 160)
      guard
        case .row(let row) = try await backend.answer(
          .row(.pattern(HeadID(layer: 1, head: 2)), 159), at: frame)
      else {
        Issue.record("no row")
        return
      }
      #expect(row.count == 160 && abs(row.reduce(0, +) - 1) < 1e-4)
      // The blocks that the run skipped are those that its rows say.
      guard
        case .steps(_, let steps) = try await backend.answer(
          .steps(branch: 0, 155..<156), at: frame),
        case .detail(let detail) = try await backend.answer(.detail, at: Frame(tokens: 156))
      else {
        Issue.record("no steps")
        return
      }
      #expect(detail.visible.reduce(0, +) == Int32(steps[0].visibleBlocks))
      #expect(steps[0].visibleBlocks == 2 * 2 * 4 && detail.sink.allSatisfy { $0 > 0 && $0 < 1 })
      var skipped = 0
      for layer: LayerIndex in [0, 1] {
        for head in 0..<4 {
          let question = Question.table(
            HeadID(layer: layer, head: head), TableRequest(Self.choice.decode, .row(155)))
          guard case .table(let table) = try await backend.answer(question, at: Frame(tokens: 156))
          else {
            Issue.record("no table of layer \(layer.value), head \(head)")
            continue
          }
          skipped += table.skippedBlocks(try Lambda(0.01))
        }
      }
      #expect(skipped == steps[0].skippedBlocks)
      await pilot.quit()
    }
  }

  /// Beyond the budget the oldest queries go: what is left is still told by position, and what is
  /// gone is said.
  @Test func queriesThatWereLetGo() async throws {
    func rows(_ budget: Int) async throws -> (early: Answer, late: Answer, map: Answer) {
      try await Self.withBackend(prompt: 150, most: 10, paused: false, budget: budget) { backend in
        let pilot = fly(backend)
        await pilot.sees("10 tokens decoded")
        await pilot.sees("ended")
        let head = HeadID(layer: 1, head: 3), frame = Frame(branch: 0, tokens: 160)
        let whole = MapWindow(queries: 0..<160, keys: 0..<160)
        let answers = (
          early: try await backend.answer(.row(.pattern(head), 3), at: frame),
          late: try await backend.answer(.row(.pattern(head), 158), at: frame),
          map: try await backend.answer(
            .picture(.pattern(head), PictureRequest(whole, rows: 16, columns: 16)), at: frame)
        )
        pilot.press(":save /nowhere/x.safetensors")
        pilot.terminal.press(.enter)
        await pilot.sees(budget == 0 ? "cannot be saved whole" : "cannot be written")
        await pilot.quit()
        return answers
      }
    }
    let all = try await rows(QueryRecord.standardBudget), some = try await rows(0)
    guard case .row(let whole) = all.late, case .row(let left) = some.late,
      case .picture(let full) = all.map, case .picture(let open) = some.map
    else {
      Issue.record("\(some)")
      return
    }
    #expect(whole == left)
    guard case .unavailable(let why) = some.early else {
      Issue.record("row 3 is still there")
      return
    }
    #expect(why.contains("let go"))
    #expect(full.max[0] == 1 && open.max[0].isNaN)
    #expect(
      open.max[15 * 16] == full.max[15 * 16] && open.max[15 * 16 + 15] == full.max[15 * 16 + 15])
  }

  @Test func breakpointsStopTheRun() async throws {
    try await Self.withBackend(shadow: true) { backend in
      let pilot = fly(backend)
      await pilot.sees("paused")
      pilot.press(":break sparsity<0.5")
      pilot.terminal.press(.enter)
      await pilot.sees("Stops at sparsity<0.5")
      pilot.press(" ")
      await pilot.sees("break sparsity<0.5")
      await pilot.sees("1 tokens decoded")
      pilot.press(":break nonsense")
      pilot.terminal.press(.enter)
      await pilot.sees("Breakpoints: break")
      pilot.press(":break off")
      pilot.terminal.press(.enter)
      await pilot.sees("No breakpoints.")
      await pilot.quit()
    }
  }

  @Test func methodsChangeBetweenTokensAndBadOnesAreNamed() async throws {
    try await Self.withBackend { backend in
      let pilot = fly(backend)
      await pilot.sees("paused")
      pilot.terminal.press(.right)
      await pilot.sees("1 tokens decoded")
      pilot.press(":method nonsense")
      pilot.terminal.press(.enter)
      await pilot.sees("There is no method 'nonsense'")
      pilot.press(":method a-shape")
      pilot.terminal.press(.enter)
      await pilot.sees("From the next token on: a-shape")
      pilot.terminal.press(.right)
      await pilot.sees("decided without")
      pilot.press("]")
      await pilot.sees("lambda and tile belong to BLASST")
      pilot.press(":branch 0.5")
      pilot.terminal.press(.enter)
      await pilot.sees("Branch 1")
      await pilot.sees("lambda 0.5")
      // A branch takes a new lambda like the trunk.
      await pilot.sees("paused")
      pilot.press(":lambda 0.25")
      pilot.terminal.press(.enter)
      await pilot.sees("lambda = ")
      pilot.terminal.press(.right)
      await pilot.sees("lambda 0.25")
      await pilot.quit()
    }
  }

  /// What decides about single tokens is what the run was begun with, before and after lambda
  /// changes and on a branch; and the branch's lambda is the one on the screen.
  @Test(arguments: [
    (TileSpec(rows: 16, keys: 16), TileSpec(rows: 16, keys: 16, vote: .group)),
    (TileSpec(rows: 128, keys: 128), TileSpec(rows: 1, keys: 128)),
    (TileSpec(rows: 32, keys: 16, vote: .group), TileSpec(rows: 32, keys: 16)),
  ]) func tokensAreDecidedAsTheRunWasBegun(_ prefill: TileSpec, _ decode: TileSpec) async throws {
    let choice = AttentionChoice(lambda: 0.5, prefill: prefill, decode: decode)
    try await Self.withBackend(prompt: 90, choice: choice) { backend in
      let pilot = Pilot(backend) {
        $0.lambda = 0.5; $0.spec = prefill; $0.view = .tokens
      }
      backend.start()
      await pilot.sees("paused")
      pilot.terminal.press(.right)
      await pilot.sees("1 tokens decoded")
      pilot.press("]")
      pilot.terminal.press(.right)
      await pilot.sees("2 tokens decoded")
      pilot.command("branch 0.25")
      await pilot.sees("Branch 1")
      await pilot.sees("paused")
      await pilot.sees("lambda 0.25")
      // "paused" still stands there from before: what is waited for is a token of the branch.
      let found = await pilot.model("a token of the branch") {
        $0.known.timelines[1, default: []].count > 91 && $0.live?.phase == .paused
      }
      let model = try #require(found)
      #expect(model.viewpoint.lambda == 0.25)
      let trunk = model.known.timelines[0, default: []].dropFirst(90)
      let branch = model.known.timelines[1, default: []].dropFirst(91)
      #expect(trunk.map(\.lambda).first == 0.5 && (trunk.last?.lambda ?? 0) > 0.5)
      #expect(!branch.isEmpty && branch.allSatisfy { $0.lambda == 0.25 && $0.tile == decode })
      #expect(trunk.count == 2 && trunk.allSatisfy { $0.tile == decode })
      // By the definition, from the queries and keys of the step after lambda was changed.
      let step = try #require(trunk.last)
      var skipped = 0, visible = 0
      for layer: LayerIndex in [0, 1] {
        for head in 0..<4 {
          let question = Question.table(
            HeadID(layer: layer, head: head), TableRequest(decode, .row(step.position)))
          guard
            case .table(let table) = try await backend.answer(
              question, at: Frame(tokens: step.position + 1))
          else {
            Issue.record("no table")
            return
          }
          skipped += table.skippedBlocks(try Lambda(step.lambda!))
          visible += table.visibleBlocks
        }
      }
      #expect(step.skippedBlocks == skipped && step.visibleBlocks == visible)
      await pilot.quit()
    }
  }

  @Test func aSearchFindsWhatComesLater() async throws {
    try await Self.withBackend(most: 10, paused: false) { backend in
      let pilot = fly(backend)
      await pilot.sees("ended")
      pilot.terminal.press(.home)
      await pilot.sees("at 21/30")
      // No token is called 29, so it is a place: one that lies ahead.
      pilot.press("/29")
      pilot.terminal.press(.enter)
      await pilot.sees("29 of 30")
      await pilot.quit()
    }
  }

  @Test func controlCStopsAndKeeps() async throws {
    try await Self.withBackend(most: 400, paused: false) { backend in
      let pilot = fly(backend)
      await pilot.sees("tokens/s")
      pilot.terminal.send(.interrupt)
      await pilot.sees("paused")
      let model = await pilot.model()
      #expect(model.known.timelines[0, default: []].count >= 20)
      await pilot.quit()
    }
  }

  @Test func theContextEndsClearly() async throws {
    try await Self.withBackend(prompt: 500, most: .max, paused: false) { backend in
      let pilot = fly(backend)
      await pilot.sees("ended")
      pilot.press(" ")
      await pilot.sees("the context of 512 tokens is full")
      let model = await pilot.model()
      #expect(model.live?.lengths == [512])
      await pilot.quit()
    }
  }

  @Test func savedAndOpenedAgain() async throws {
    let file = FileManager.default.temporaryDirectory.appending(path: "run-\(UUID()).safetensors")
      .path
    defer { try? FileManager.default.removeItem(atPath: file) }
    var before = ""
    try await Self.withBackend(shadow: true) { backend in
      let pilot = fly(backend)
      await pilot.sees("paused")
      for count in 1...6 {
        pilot.terminal.press(.right)
        await pilot.sees("\(count) tokens decoded")
      }
      for _ in 0..<3 { pilot.terminal.press(.left) }
      await pilot.sees("at 23/26")
      pilot.press("}B")
      pilot.terminal.press(.enter)
      await pilot.sees("Branch 1")
      await pilot.sees("paused")
      await pilot.sees("45 of 46")
      pilot.press(":save \(file)")
      pilot.terminal.press(.enter)
      await pilot.sees("Recording saved")
      pilot.press("x")
      await pilot.sees("Branch 0: lambda")
      pilot.terminal.press(.end)
      await pilot.sees("25 of 26")
      await pilot.until("every panel") { !$0.contains("…") }
      before = pilot.screen
      await pilot.quit()
    }
    let replay = try ReplayBackend(file)
    let pilot = Pilot(replay, width: 100, height: 30)
    pilot.terminal.press(.alt("5"))
    await pilot.sees("recording")
    // The same text, branch, step and rows; only names and states differ.
    let same = before.split(separator: "\n").dropFirst().dropLast(2)
    await pilot.until("the screen as it was before:\n\(before)") {
      $0.split(separator: "\n").dropFirst().dropLast(2) == same
    }
    pilot.press("B")
    await pilot.sees("This is a recording")
    pilot.press("x")
    await pilot.sees("Branch 1: lambda 0.1")
    await pilot.quit()
    // A recording that is cut off shows what is whole; one that lies is refused.
    let bytes = try Data(contentsOf: URL(filePath: file))
    try bytes.prefix(bytes.count - 100).write(to: URL(filePath: file))
    let cut = try ReplayBackend(file)
    #expect(cut.describe().live?.note.contains("cut off") == true)
    // A head that claims more than the file holds is refused before anything of that size is made.
    for (old, new) in [
      ("\"kv_heads\":\"2\"", "\"kv_heads\":\"1\""), ("\"layers\":\"2\"", "\"layers\":\"9\""),
      ("\"head_dim\":\"64\"", "\"head_dim\":\"32\""),
    ] {
      var absurd = bytes
      let at = try #require(absurd.firstRange(of: Data(old.utf8)), "\(old)")
      absurd.replaceSubrange(at, with: Data(new.utf8))
      try absurd.write(to: URL(filePath: file))
      #expect(throws: (any Error).self, "\(new)") { try ReplayBackend(file) }
    }
    var lying = bytes
    let at = lying.firstRange(of: Data("\"position\":\"20\"".utf8))!
    lying.replaceSubrange(at, with: Data("\"position\":\"99\"".utf8))
    try lying.write(to: URL(filePath: file))
    #expect(throws: (any Error).self) { try ReplayBackend(file) }
  }

  @Test func aDumpHasATokensViewToo() async throws {
    let pilot = Pilot()
    pilot.terminal.press(.alt("5"))
    await pilot.sees("Text")
    pilot.terminal.press(.left)
    pilot.press(" ")
    await pilot.sees("Nothing is live here")
    await pilot.quit()
  }

  /// Lines stay what they are while the cursor walks, however long the text, and a page is all that
  /// is laid out.
  @Test func aLongTextIsLaidOutNearTheCursor() async throws {
    try await Self.withBackend(prompt: 480, most: 5, paused: false) { backend in
      let pilot = fly(backend)
      await pilot.sees("484 of 485")
      await pilot.sees("ended")
      let end = pilot.screen.split(separator: "\n")[2].prefix(60)
      pilot.terminal.press(.left)
      await pilot.sees("483 of 485")
      #expect(pilot.screen.split(separator: "\n")[2].prefix(60) == end)
      pilot.terminal.press(.pageUp)
      await pilot.until("an earlier token") { !$0.contains("483 of 485") && $0.contains("of 485") }
      await pilot.quit()
    }
  }

  @Test func breakpointTexts() {
    let cases: [(String, Breakpoint?)] = [
      ("sparsity<0.3", .sparsityBelow(0.3)), ("sparsity > 0.3", .sparsityAbove(0.3)),
      ("divergence", .divergence), ("kl>0.5", .divergenceAbove(0.5)),
      ("token \"x y\"", .token("x y")), ("token x", .token("x")), ("token", nil),
      ("sparsity<x", nil), ("sparsity=1", nil), ("", nil),
    ]
    for (text, expected) in cases { #expect(Breakpoint(text) == expected, "\(text)") }
  }
}
