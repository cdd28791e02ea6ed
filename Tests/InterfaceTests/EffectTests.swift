import Backends
import Canvas
import Interface
import Sessions
import Testing

/// What keys want done to a live source comes out of `update`, whichever way the keys took.
@Suite struct EffectTests {
  /// The Tokens view of a paused run of twelve tokens, eight of them prompt, at its newest one.
  static func paused() -> Model {
    let frame = Frame(branch: 0, tokens: 12)
    let status = LiveStatus(
      phase: .paused, frame: frame, promptTokens: 8,
      branches: [Branch(id: 0, parent: nil, fork: 0, attention: "dense")], lengths: [12])
    var about = SyntheticBackend(tokens: 12).describe()
    (about.live, about.tokens) = (status, [])
    var model = Model(about, width: 100, height: 30)
    let steps = (0..<12).map { Step(position: $0, token: $0, text: " a", isPrompt: $0 < 8) }
    let messages: [Message] = [
      .answered(.steps(branch: 0, 0..<12), frame, .steps(branch: 0, steps)),
      .moment(.live(status)), .event(.key(.alt("5"))), .event(.key(.escape)),
    ]
    for message in messages {
      let effects = update(&model, message)
      #expect(!effects.contains { if case .send = $0 { true } else { false } })
    }
    return model
  }

  /// `/12` and its kin at the end of twelve tokens ask for the thirteenth, as the arrow does.
  @Test(arguments: [
    ("arrow", [Key.right]),
    ("12g", [.character("1"), .character("2"), .character("g")]),
    ("g12", [.character("g"), .character("1"), .character("2"), .enter]),
    ("/12", [.character("/"), .character("1"), .character("2"), .enter]),
  ]) func theTokenAfterTheNewestIsDecoded(_ name: String, _ keys: [Key]) {
    var model = Self.paused()
    #expect(model.frame.tokens == 12 && model.viewpoint.view == .tokens)
    var effects: [Effect] = []
    for key in keys { effects += update(&model, .event(.key(key))) }
    #expect(effects.filter { $0 == .send(.step(1)) }.count == 1, "\(name): \(effects)")
    #expect(model.message == nil, "\(name)")
  }

  /// A search for a number that is no token's text, again with n.
  @Test func searchingAgainStepsAgain() {
    var model = Self.paused()
    let keys: [Key] = [.character("/"), .character("1"), .character("2"), .enter]
    for key in keys { _ = update(&model, .event(.key(key))) }
    #expect(update(&model, .event(.key(.character("n")))) == [.send(.step(1))])
    #expect(update(&model, .event(.key(.character("N")))) == [.send(.step(1))])
  }

  @Test func aRunTakesTheStepThatASearchAsksFor() async throws {
    try await LiveTests.withBackend { backend in
      let pilot = Pilot(backend, width: 100, height: 30)
      backend.start()
      pilot.terminal.press(.alt("5"))
      await pilot.sees("19 of 20")
      await pilot.sees("paused")
      // No token is called 20, so it is a place: the one that comes next.
      pilot.press("/20")
      pilot.terminal.press(.enter)
      await pilot.sees("1 tokens decoded")
      await pilot.sees("20 of 21")
      await pilot.quit()
    }
  }
}
