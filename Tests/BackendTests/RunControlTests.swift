import Attention
import Backends
import Sessions
import Support
import Testing

/// Plays the loop's part: does what a control says is next, without a model.
private struct Player {
  var control: RunControl
  /// Tokens of each branch; the prompt has eight.
  var lengths = [8]
  /// Where each branch ends.
  var most = Int.max
  var current = 0
  var said: [String] = []

  init(startsPaused: Bool = true, isRead: Bool = true) {
    control = RunControl(
      attention: RunControlTests.dense, layers: 4, startsPaused: startsPaused)
    if isRead { once() }
  }

  mutating func send(_ commands: Command...) {
    for command in commands { said += [control.take(command)].compactMap { $0 } }
  }

  mutating func hear(_ event: RunControl.Event) {
    said += [control.hear(event)].compactMap { $0 }
  }

  /// Does one order, and decodes one token at most.
  @discardableResult mutating func once(_ token: RunControl.Taken? = nil) -> RunControl.Order? {
    let order = control.next()
    switch order {
    case .readPrompt: hear(.read(isWhole: true))
    case .decode where lengths[current] >= most: hear(.ended("the text ended"))
    case .decode:
      hear(.took(token ?? RunControlTests.token(lengths[current])))
      lengths[current] += 1
    case .branch(let frame, let choice):
      current = lengths.count
      lengths.append(frame.tokens - 1)
      hear(
        .branched(
          id: current, tokens: frame.tokens - 1, goal: lengths[frame.branch], choice))
    case .select(let id):
      current = id
      hear(.selected(id: id, tokens: lengths[id], RunControlTests.dense))
    case .save, nil: break
    }
    return order
  }

  /// What is said to be next, so many times.
  mutating func orders(_ count: Int) -> [RunControl.Order?] {
    (0..<count).map { _ in control.next() }
  }

  /// Goes on until nothing is to be done, or for so many orders.
  mutating func play(_ count: Int = 1000) {
    for _ in 0..<count {
      if once() == nil { return }
    }
  }
}

/// The state machine of a run, without an engine.
@Suite struct RunControlTests {
  static let dense = attention(0), sparse = attention(0.1)

  static func attention(_ lambda: Double) -> AttentionChoice {
    AttentionChoice(
      lambda: lambda, prefill: TileSpec(rows: 128, keys: 128), decode: TileSpec(rows: 1, keys: 128))
  }

  static func token(
    _ position: Int, piece: String = "a", skipped: Int = 1, divergence: Double? = nil,
    agrees: Bool? = nil, parts: Bool = false
  ) -> RunControl.Taken {
    RunControl.Taken(
      step: Step(
        position: position, token: 0, text: "", isPrompt: false, visibleBlocks: 4,
        skippedBlocks: skipped, divergence: divergence, agrees: agrees), piece: piece, parts: parts)
  }

  @Test func thePromptComesFirst() {
    var player = Player(startsPaused: false, isRead: false)
    player.send(.save("x"), .select(0), .step(2))
    #expect(player.control.phase == .prefill(layer: 0, layers: 4))
    #expect(player.control.upcoming == .readPrompt && player.control.stands(.readPrompt))
    player.hear(.reading(layer: 3))
    #expect(player.control.phase == .prefill(layer: 3, layers: 4))
    #expect(player.control.stands(.readPrompt))
    player.hear(.read(isWhole: true))
    #expect(player.control.phase == .running)
    let orders = player.orders(3)
    #expect(orders == [.save("x"), .select(0), .decode(Self.dense)])
  }

  @Test func runAndPause() {
    var player = Player()
    #expect(player.control.phase == .paused && player.control.upcoming == nil)
    player.send(.run)
    #expect(player.control.phase == .running)
    player.play(3)
    #expect(player.lengths == [11] && player.control.upcoming == .decode(Self.dense))
    player.send(.pause)
    #expect(player.control.phase == .paused && player.control.upcoming == nil)
    #expect(player.said.isEmpty)
  }

  @Test(arguments: [(-3, 0), (0, 0), (1, 1), (5, 5)]) func stepsAreCounted(
    _ asked: Int, _ taken: Int
  ) {
    var player = Player()
    player.send(.step(asked))
    player.play()
    #expect(player.lengths == [8 + taken] && player.control.phase == .paused)
    // They add up, and a pause forgets them.
    player.send(.step(2), .step(asked))
    player.play(1)
    player.send(.pause)
    player.play()
    #expect(player.lengths == [8 + taken + 1])
    player.send(.step(.max), .step(.max))
    player.play(4)
    #expect(player.lengths == [8 + taken + 5])
  }

  /// The next press of the key comes while the last one is being decoded.
  @Test func whoStepsIsPaused() {
    var player = Player()
    player.send(.step(2))
    #expect(player.control.phase == .paused)
    player.once()
    #expect(player.control.phase == .paused && player.control.upcoming == .decode(Self.dense))
  }

  static let before: [(String, @Sendable () -> RunControl, LiveStatus.Phase)] = {
    func after(_ change: @escaping @Sendable (inout Player) -> Void) -> @Sendable () -> RunControl {
      {
        var player = Player()
        change(&player)
        return player.control
      }
    }
    return [
      ("paused", after { _ in }, .ended("stopped")),
      ("running", after { $0.send(.run) }, .ended("stopped")),
      ("stepping", after { $0.send(.step(9)) }, .ended("stopped")),
      (
        "catching up",
        after {
          $0.send(.step(4))
          $0.play()
          $0.send(.branch(from: Frame(tokens: 10), sparse))
          $0.play(1)
        }, .ended("stopped")
      ),
      (
        "ended",
        after {
          $0.most = 10
          $0.send(.run)
          $0.play()
        }, .ended("the text ended")
      ),
      (
        "read in part",
        {
          var control = Player(startsPaused: false, isRead: false).control
          _ = control.hear(.reading(layer: 1))
          return control
        }, .ended("stopped while the prompt was read")
      ),
      (
        "not begun", { Player(startsPaused: false, isRead: false).control },
        .ended("stopped while the prompt was read")
      ),
    ]
  }()

  @Test(arguments: before.indices) func stopInEveryPhase(_ index: Int) {
    let (name, make, expected) = Self.before[index]
    var player = Player()
    player.control = make()
    let order = player.control.upcoming
    player.send(.save("kept"), .stop)
    #expect(order.map(player.control.stands) != true, "\(name)")
    if order == .readPrompt {
      // The loop says how much it has got.
      let first = player.orders(1)
      #expect(first == [.readPrompt], "\(name)")
      player.hear(.read(isWhole: false))
    }
    #expect(player.control.phase == expected && player.said.isEmpty, "\(name)")
    let rest = player.orders(2)
    #expect(rest == [.save("kept"), nil], "\(name)")
    player.send(.run, .step(1), .branch(from: Frame(tokens: 9), Self.sparse))
    #expect(player.said.count == 3 && player.said.allSatisfy { $0.contains("was stopped") })
    // Looking at another branch wakes nothing.
    player.send(.select(0))
    player.play()
    #expect(player.control.upcoming == nil && player.control.phase == expected, "\(name)")
  }

  @Test func aStopAfterTheWholePrompt() {
    var player = Player(startsPaused: false, isRead: false)
    player.send(.stop)
    player.hear(.read(isWhole: true))
    #expect(player.control.phase == .ended("stopped") && player.control.upcoming == nil)
  }

  @Test func aBranchCatchesUp() {
    var player = Player()
    player.send(.step(6))
    player.play()
    player.send(.branch(from: Frame(branch: 0, tokens: 11), Self.sparse))
    let order = player.once()
    #expect(order == .branch(from: Frame(branch: 0, tokens: 11), Self.sparse))
    #expect(player.control.phase == .running && player.lengths == [14, 10])
    #expect(player.control.upcoming == .decode(Self.sparse))
    player.play(2)
    // While another branch is looked at it waits; back on it, it goes on.
    player.send(.select(0))
    player.play()
    #expect(player.lengths == [14, 12] && player.control.phase == .paused)
    player.send(.select(1))
    player.play()
    #expect(player.lengths == [14, 14] && player.control.phase == .paused)
  }

  @Test func aBranchOfARunGoesOn() {
    var player = Player()
    player.send(.run)
    player.play(4)
    player.send(.branch(from: Frame(branch: 0, tokens: 11), Self.sparse))
    player.play(10)
    #expect(player.lengths == [12, 19] && player.control.phase == .running)
    player.send(.pause)
    player.play()
    #expect(player.lengths == [12, 19])
  }

  @Test func aPauseEndsCatchingUp() {
    var player = Player()
    player.send(.step(6))
    player.play()
    player.send(.branch(from: Frame(branch: 0, tokens: 11), Self.sparse))
    player.play(2)
    player.send(.pause)
    player.play()
    #expect(player.lengths == [14, 11] && player.control.phase == .paused)
  }

  static let points: [(Breakpoint, RunControl.Taken, hits: Bool)] = [
    (.sparsityBelow(0.3), token(9, skipped: 1), true),
    (.sparsityBelow(0.25), token(9, skipped: 1), false),
    (.sparsityAbove(0.3), token(9, skipped: 2), true),
    (.sparsityAbove(0.5), token(9, skipped: 2), false),
    (.divergenceAbove(0.1), token(9, divergence: 0.2), true),
    (.divergenceAbove(0.1), token(9, divergence: 0.1), false),
    (.divergenceAbove(0.1), token(9), false),
    (.divergence, token(9, agrees: false), true), (.divergence, token(9, agrees: true), false),
    (.divergence, token(9), false), (.divergence, token(9, parts: true), true),
    (.token("b"), token(9, piece: " abc"), true), (.token("d"), token(9, piece: " abc"), false),
  ]

  @Test(arguments: points) func breakpoints(
    _ point: Breakpoint, _ taken: RunControl.Taken, _ hits: Bool
  ) {
    var player = Player()
    player.send(.breakAt(point), .run, .step(3))
    player.once(taken)
    #expect(player.said == (hits ? ["Stopped at token 9: break \(point)."] : []))
    #expect(player.control.phase == (hits ? .paused : .running))
    #expect((player.control.upcoming == nil) == hits)
    // Told to run again, it goes past; without breakpoints it does not stop.
    player.send(.run)
    let order = player.once()
    #expect(order == .decode(Self.dense))
    player.send(.clearBreakpoints, .run)
    player.said = []
    player.once(taken)
    #expect(player.said.isEmpty && player.control.phase == .running)
  }

  @Test func aBreakpointEndsCatchingUp() {
    var player = Player()
    player.send(.step(6), .breakAt(.divergence))
    player.play()
    player.send(.branch(from: Frame(branch: 0, tokens: 11), Self.sparse))
    player.play(1)
    player.once(Self.token(10, parts: true))
    player.play()
    #expect(player.lengths == [14, 11] && player.control.phase == .paused)
    #expect(player.said == ["Stopped at token 10: break divergence."])
  }

  @Test func theEndOfTheText() {
    var player = Player()
    player.most = 10
    player.send(.run)
    player.play()
    #expect(player.lengths == [10] && player.control.phase == .ended("the text ended"))
    #expect(player.control.upcoming == nil && player.said.isEmpty)
    player.send(.run, .step(1))
    #expect(player.said == Array(repeating: "Nothing more comes: the text ended.", count: 2))
    #expect(player.control.upcoming == nil)
    // A branch of it goes as far, and no further by itself: the run that was asked for has ended.
    player.most = 100
    player.send(.branch(from: Frame(branch: 0, tokens: 9), Self.sparse))
    player.play()
    #expect(player.lengths == [10, 10] && player.control.phase == .paused)
  }

  @Test func selectWhileEnded() {
    var player = Player()
    player.send(.step(2))
    player.play()
    player.send(.branch(from: Frame(branch: 0, tokens: 9), Self.sparse))
    player.most = 12
    player.send(.run)
    player.play()
    #expect(player.lengths == [10, 12] && player.control.phase == .ended("the text ended"))
    player.send(.select(0))
    player.play()
    #expect(player.lengths == [10, 12] && player.control.phase == .paused)
    player.send(.run)
    player.play()
    #expect(player.lengths == [12, 12] && player.control.phase == .ended("the text ended"))
    // Told both at once, it need not have turned yet.
    player.most = 14
    player.send(.select(1), .run)
    player.play()
    #expect(player.lengths == [12, 14] && player.said.isEmpty)
  }

  @Test func attentionOfTheNextToken() {
    var player = Player()
    player.send(.run)
    let order = RunControl.Order.decode(Self.dense)
    #expect(player.control.stands(order))
    player.send(.attend(Self.sparse))
    #expect(!player.control.stands(order))
    let orders = player.orders(1)
    #expect(orders == [.decode(Self.sparse)])
    player.hear(.kept(Self.dense))
    #expect(player.control.stands(order))
    player.send(.attend(Self.sparse), .select(0))
    player.play(1)
    #expect(player.control.attention == Self.dense, "a branch brings its own")
  }

  /// An order that waits, a pause and a stop each end a turn between two tokens.
  @Test(arguments: [Command.pause, .stop, .save("x"), .select(0)])
  func whatEndsATurn(_ command: Command) {
    var player = Player()
    player.send(.run)
    #expect(player.control.stands(.decode(Self.dense)))
    player.send(command)
    #expect(!player.control.stands(.decode(Self.dense)))
  }

  /// Whatever it is told in whatever order, what it says and what it does agree.
  @Test(arguments: 1...20) func anyOrder(_ seed: UInt64) {
    var random = Seeded(seed), player = Player(isRead: false)
    for _ in 0..<400 {
      player.most = Int.random(in: 8...60, using: &random)
      let branch = Int.random(in: 0..<player.lengths.count, using: &random)
      switch Int.random(in: 0..<24, using: &random) {
      case 0: player.send(.run)
      case 1: player.send(.pause)
      case 2: player.send(.step(Int.random(in: 0...3, using: &random)))
      case 3 where player.lengths.count < 8 && player.lengths[branch] > 8:
        player.send(.branch(from: Frame(branch: branch, tokens: 9), Self.sparse))
      case 4: player.send(.select(branch))
      case 5: player.send(.breakAt(.sparsityBelow(0.2)))
      case 6: player.send(.clearBreakpoints)
      case 7: player.once(Self.token(player.lengths[player.current], skipped: 0))
      case 8 where seed % 4 == 0: player.send(.stop)
      default: player.once()
      }
      let control = player.control
      let decodes = if case .decode = control.upcoming { true } else { false }
      switch control.phase {
      case .running: #expect(control.upcoming != nil)
      case .ended: #expect(!decodes)
      case .paused: #expect(!control.isStopped)
      case .prefill: #expect(control.upcoming == .readPrompt)
      }
    }
  }
}
