// The insides of a room can be imported by a debug build alone.
#if DEBUG
  import Analysis
  import Attention
  import Backends
  import Canvas
  import Sessions
  import Testing

  @testable import Interface

  /// Every part of the model changes by itself, without the others and without a screen.
  @Suite struct PartTests {
    private static let head = HeadID(layer: 0, head: 0)
    private static let about = SyntheticBackend(tokens: 64).describe()

    // MARK: Known

    /// An older answer is better than none, but near enough only to who is patient.
    @Test func anAnswerIsTrueOfItsFrame() {
      let question = Question.row(.pattern(Self.head), 3)
      let old = Frame(tokens: 10), new = Frame(tokens: 12)
      var known = Known()
      known.store(question, old, .row([1]), shown: .pattern(Self.head), about: Self.about)
      #expect(known.isKnown(question, at: old) && !known.isKnown(question, at: new))
      #expect(known.isKnown(question, at: new, patience: 3))
      #expect(!known.isKnown(question, at: new, patience: 2))
      #expect(!known.isKnown(question, at: Frame(branch: 1, tokens: 12), patience: 64))
      #expect(!known.isKnown(question, at: Frame(tokens: 12, revision: 1), patience: 64))
      #expect(known.row(.pattern(Self.head), 3) == [1])
    }

    @Test func aRefusalHoldsForItsFrameUntilThereIsAnAnswer() {
      let question = Question.row(.pattern(Self.head), 3)
      let frame = Frame(tokens: 10)
      var known = Known()
      known.fail(question, "no memory", at: frame)
      #expect(known.isKnown(question, at: frame) && known.refusal(question) == "no memory")
      #expect(!known.isKnown(question, at: Frame(tokens: 11)))
      known.store(question, frame, .row([1]), shown: .pattern(Self.head), about: Self.about)
      #expect(known.refusal(question) == nil)
    }

    /// Steps that came twice, or before those they follow on, are not taken.
    @Test func stepsAreALineWithoutGaps() {
      var known = Known()
      func take(_ positions: Range<Int>) {
        known.store(
          .steps(branch: 1, positions), Frame(branch: 1, tokens: positions.upperBound),
          .steps(
            branch: 1,
            positions.map { Step(position: $0, token: $0, text: "\($0)", isPrompt: true) }),
          shown: .pattern(Self.head), about: Self.about)
      }
      take(0..<3)
      take(5..<7)
      take(1..<5)
      #expect(known.steps(of: 1).map(\.position) == [0, 1, 2, 3, 4] && known.steps(of: 0) == [])
      #expect(known.isKnown(.steps(branch: 1, 3..<5), at: Frame()))
      #expect(!known.isKnown(.steps(branch: 1, 3..<6), at: Frame()))
    }

    @Test func onlyTooManyAnswersAreForgotten() {
      var known = Known()
      let questions = (0..<4).map { Question.row(.pattern(Self.head), $0) }
      for question in questions {
        known.store(question, Frame(), .row([]), shown: .pattern(Self.head), about: Self.about)
      }
      known.prune(above: 4) { _ in false }
      #expect(questions.allSatisfy { known.isKnown($0, at: Frame()) })
      known.prune(above: 3) { $0 == questions[2] }
      #expect(questions.map { known.isKnown($0, at: Frame()) } == [false, false, true, false])
    }

    // MARK: Viewpoint, History

    /// A run of moves is undone in one step, and what was undone comes back.
    @Test func undoGoesBackPictureByPicture() {
      var history = History(), view = Viewpoint(Self.about)
      let first = view
      func change(_ isMove: Bool, _ change: (inout Viewpoint) -> Void) {
        let before = view
        change(&view)
        history.note(before, isMove: isMove)
      }
      for _ in 0..<5 { change(true) { $0.key += 1 } }
      #expect(history.depth == 1)
      change(false) { $0.lambda = 0.5 }
      change(true) { $0.key += 1 }
      let last = view
      #expect(history.depth == 3)
      view = history.back(from: view) ?? last
      #expect(view.lambda == 0.5 && view.key == 5)
      view = history.back(from: view) ?? last
      view = history.back(from: view) ?? last
      #expect(view == first && history.back(from: view) == nil)
      for _ in 0..<3 { view = history.forth(from: view) ?? first }
      #expect(view == last && history.forth(from: view) == nil)
    }

    /// Keys of the map and what they say at its edges; the window follows the cursor.
    @Test func aViewpointMovesWithinItsSource() {
      var view = Viewpoint(Self.about)
      #expect(view.move(.left, 1, across: 1, down: 1, in: Self.about) != nil && view.key == 0)
      #expect(view.zoom(by: 0.25, in: Self.about) == nil && view.window.keys == 0..<16)
      #expect(view.move(.right, 5, across: 4, down: 1, in: Self.about) == nil)
      #expect(view.key == 20 && view.window.keys == 5..<21)
      #expect(view.goTo(64, in: Self.about) == "There is no token 64; they are 0 to 63.")
      #expect(view.key == 20)
      #expect(view.zoom(by: 64, in: Self.about) == nil && view.isFit(Self.about))
      #expect(view.zoom(by: 2, in: Self.about) == "The whole map is shown.")
      #expect(view.stepHead(-1, in: Self.about) != nil && view.head.head == 0)
      #expect(view.stepHead(1, in: Self.about) == nil && view.head.head == 1)
    }

    // MARK: Live

    /// A run of twelve tokens, eight of them prompt, looked at from the tenth.
    private static func live(_ phase: LiveStatus.Phase, isReplay: Bool = false) -> Live {
      let status = LiveStatus(
        phase: phase, frame: Frame(tokens: 12), promptTokens: 8,
        branches: [Branch(id: 0, parent: nil, fork: 0, attention: "dense")], lengths: [12],
        isReplay: isReplay)
      var live = Live(status)
      live.frame = Frame(tokens: 10)
      return live
    }

    /// Where a step leads, by position: within, before the first, to the newest, beyond it.
    @Test(arguments: [(3, 4, false), (-2, 1, false), (11, 12, true), (12, 12, true)])
    func steppingLooksAtFrames(_ position: Int, _ tokens: Int, _ isFollowing: Bool) {
      var live = Self.live(.paused)
      let outcome = live.step(to: position)
      #expect(outcome.frame == Frame(tokens: tokens) && outcome.effects.isEmpty)
      #expect(live.isFollowing == isFollowing)
    }

    /// Only a paused run, looked at from its newest token, decodes one more.
    @Test(arguments: [
      (LiveStatus.Phase.paused, 12, false, true), (.paused, 11, false, false),
      (.paused, 12, true, false), (.running, 12, false, false),
      (.prefill(layer: 1, layers: 2), 12, false, false), (.ended("done"), 12, false, false),
    ])
    func aStepBeyondTheNewest(
      _ phase: LiveStatus.Phase, _ tokens: Int, _ isReplay: Bool, _ isTaken: Bool
    ) {
      var live = Self.live(phase, isReplay: isReplay)
      live.frame = Frame(tokens: tokens)
      let outcome = live.step(to: 12)
      #expect(outcome.effects == (isTaken ? [.send(.step(1))] : []))
      #expect((outcome.says == nil) == isTaken)
    }

    /// A new branch is followed, with its lambda; the same status again says nothing.
    @Test func aStatusWithANewBranchIsFollowed() {
      var live = Self.live(.running)
      let stepped = live.step(to: 5)
      #expect(stepped.frame == Frame(tokens: 6) && !live.isFollowing)
      var status = live.status
      status.frame = Frame(tokens: 13)
      #expect(live.take(status).frame == nil)
      status.branches.append(Branch(id: 1, parent: 0, fork: 10, attention: "lambda 0.5"))
      status.attention = AttentionChoice(
        method: nil, lambda: 0.5, prefill: .standard(queries: 2), decode: .standard(queries: 1))
      status.frame = Frame(branch: 1, tokens: 11)
      let outcome = live.take(status)
      #expect(outcome.frame == status.frame && outcome.lambda == 0.5 && live.isFollowing)
      #expect(live.take(status).lambda == nil)
    }

    // MARK: Prompt

    /// What was typed comes out once, at Enter, and the mode is closed.
    @Test func typingComesToAnAnswer() {
      var prompt = Prompt()
      prompt.mode = .ask(.find, text: "")
      func press(_ keys: Key...) -> [Prompt.Outcome] {
        keys.map { prompt.take($0, Prompt.Offer()) }
      }
      #expect(
        press(.character("a"), .character("b"), .backspace, .enter).last == .answered(.find, "a"))
      #expect(prompt.isNormal)
      prompt.mode = .ask(.find, text: "ab")
      #expect(press(.control("u"), .enter) == [.open, .open] && prompt.isNormal)
    }

    /// A choice stays within the hits, and a new text begins with its best one.
    @Test func choosingStaysWithinTheHits() {
      var prompt = Prompt()
      let offer = Prompt.Offer(hits: ["one", "two"])
      prompt.mode = .list(.marks, text: "", choice: 0)
      for _ in 0..<3 { #expect(prompt.take(.down, offer) == .open) }
      #expect(prompt.mode == .list(.marks, text: "", choice: 1))
      var typed = prompt
      #expect(typed.take(.character("o"), offer) == .open)
      #expect(typed.mode == .list(.marks, text: "o", choice: 0))
      #expect(prompt.take(.enter, offer) == .chosen(.marks, "two") && prompt.isNormal)
    }

    /// Digits are one run until a key ends it; a late timer is not its own, and only a single one
    /// from 1 to 6 is a view.
    @Test func digitsAreARun() {
      var prompt = Prompt()
      let first = prompt.type(digit: 2)
      #expect(first.count == 2 && first.view == .heads)
      let second = prompt.type(digit: 0)
      #expect(second.count == 20 && second.view == nil)
      #expect(prompt.digitIsLate(first.number) == nil && prompt.digits == second)
      #expect(prompt.digitIsLate(second.number) == nil && prompt.digits == second)
      prompt.digits = nil
      let view = prompt.type(digit: 5)
      #expect(prompt.digitIsLate(view.number) == .tokens && prompt.digits == nil)
      let none = prompt.type(digit: 9)
      #expect(prompt.digitIsLate(none.number) == nil && prompt.digits == none)
    }

    // MARK: Look

    /// The sides of a comparison are looks: what is drawn of them leaves the model as it was.
    @Test func aSideIsALookWithAnotherHead() {
      var model = Model(Self.about, width: 100, height: 30)
      model.viewpoint.other = Counterpart(
        HeadID(layer: 1, head: 1), spec: TileSpec(rows: 16, keys: 16))
      let before = model.viewpoint, look = model.look
      #expect(look.rightSide.viewpoint.head == HeadID(layer: 1, head: 1))
      #expect(look.rightSide.viewpoint.spec == TileSpec(rows: 16, keys: 16))
      #expect(look.leftSide.viewpoint == before && model.viewpoint == before)
    }
  }
#endif
