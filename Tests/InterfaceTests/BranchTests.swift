import Attention
import Backends
import Canvas
import Sessions
import Testing

#if DEBUG
  @testable import Interface

  /// Branches, breakpoints and leaving: a run as values, without an engine.
  @Suite struct BranchTests {
    /// A paused run: eight tokens of prompt, twelve decoded, and two branches that left it at 12; the
    /// first of them says another token from 14 on.
    private static func run(
      replay: Bool = false, shadow: Bool = false, _ change: (inout Step) -> Void = { _ in }
    ) -> Model {
      let branches = [
        Branch(id: 0, parent: nil, fork: 0, attention: "lambda 0.01"),
        Branch(id: 1, parent: 0, fork: 12, attention: "dense"),
        Branch(id: 2, parent: 0, fork: 12, attention: "lambda 0.5"),
      ]
      let status = LiveStatus(
        phase: replay ? .ended("it is a recording") : .paused, frame: Frame(branch: 0, tokens: 20),
        promptTokens: 8, branches: branches, lengths: [20, 20, 20], isReplay: replay,
        hasShadow: shadow)
      var about = SyntheticBackend(tokens: 20).describe()
      (about.live, about.tokens) = (status, [])
      var model = Model(about, width: 100, height: 30)
      _ = update(&model, .moment(.live(status)))
      for branch in branches {
        let steps = (0..<20).map { at in
          var step = Step(
            position: at, token: at >= 14 && branch.id == 1 ? 100 + at : at,
            text: at >= 14 && branch.id == 1 ? " b" : " a", isPrompt: at < 8)
          change(&step)
          return step
        }
        let frame = Frame(branch: branch.id, tokens: 20)
        _ = update(
          &model,
          .answered(.steps(branch: branch.id, 0..<20), frame, .steps(branch: branch.id, steps)))
      }
      _ = update(&model, .event(.key(.alt("5"))))
      return model
    }

    @discardableResult
    private static func press(_ text: String, _ model: inout Model) -> [Effect] {
      Key.sequence(text).keys.flatMap { update(&model, .event(.key($0))) }
    }

    /// `x` goes where the label says, from every branch, and back again.
    @Test(arguments: [0, 1, 2]) func xGoesWhereItsLabelSays(_ start: Int) throws {
      var model = Self.run()
      if start > 0 { Self.press("V<Down><Enter>", &model) }
      if start == 2 { Self.press("V<Down><Down><Enter>", &model) }
      #expect(model.frame.branch == start)
      let label = try #require(
        view(model).lines.compactMap { $0.firstMatch(of: /Branch (\d) \(x goes there\)/) }.first)
      Self.press("x", &model)
      #expect(model.frame.branch == Int(label.1))
    }

    /// The cursor of the timeline stands on its frame and leaves its bars as they are: an empty one
    /// stays empty, a full one full.
    @Test(arguments: [Capabilities.Colors.palette, .direct, .basic, .mono])
    func theTimelinesCursorLeavesItsBars(_ colors: Capabilities.Colors) throws {
      var model = Self.run { step in
        guard !step.isPrompt else { return }
        (step.logProbability, step.visibleBlocks, step.skippedBlocks) = (0, 4, 4)
      }
      model.display.capabilities.colors = colors
      let grid = view(model), lines = grid.lines
      let top = try #require(lines.firstIndex { $0.contains("┌ Timeline") })
      let x = try #require((0..<grid.width).first { grid[$0, top].glyph == "▼" })
      let pruned = try #require(lines.indices.first { $0 > top && lines[$0].contains("pruned") })
      let bottom = try #require(lines.indices.first { $0 > top && lines[$0].hasPrefix("└") })
      #expect(grid[x, bottom].glyph == "▲")
      #expect(grid[x, pruned].glyph == "█" && grid[x, pruned].glyph == grid[x - 1, pruned].glyph)
      #expect(grid[x, pruned + 1].glyph == " ", "an empty bar: \(grid[x, pruned + 1])")
      for y in top...bottom { #expect(!grid[x, y].style.reverse, "line \(y) is inverted") }
      let isGrey = grid[x, pruned + 1].style.background != .standard
      #expect(isGrey == (colors == .palette || colors == .direct))
    }

    /// Marks are of the branch that is looked at.
    @Test func marksFollowTheBranch() {
      var model = Self.run()
      Self.press("/b<Enter>", &model)
      #expect(model.found.isEmpty)
      Self.press("V<Down><Enter>", &model)
      #expect(model.frame.branch == 1 && model.found == Array(14..<20))
    }

    @Test(arguments: ["V", ":branches<Enter>"]) func theListSaysWhereBranchesPart(_ keys: String) {
      var model = Self.run()
      Self.press(keys, &model)
      let screen = view(model).lines.joined(separator: "\n")
      #expect(screen.contains("0  lambda 0.01  (here)"), "\(screen)")
      #expect(screen.contains("1  dense, from token 12 of branch 0, ≠ 14"), "\(screen)")
      #expect(screen.contains("2  lambda 0.5, from token 12 of branch 0"), "\(screen)")
    }

    /// `d` goes to the first token that differs, and says so where there is none.
    @Test func toTheFirstDifference() {
      var model = Self.run()
      Self.press("d", &model)
      #expect(model.message?.contains("same tokens so far") ?? false, "branch 2 is the same")
      Self.press("V<Down><Enter>d", &model)
      #expect(model.frame == Frame(branch: 1, tokens: 15))
      #expect(model.message == "Token 14 is the first that branches 1 and 0 differ in.")
      // At 80 columns the title keeps where they part before all else.
      _ = update(&model, .event(.resize(width: 80, height: 24)))
      #expect(
        view(model).lines.contains { $0.contains("≠ 14") || $0.contains("differs from token 14") })
    }

    /// A new branch is asked for; what is in force is proposed, and Enter takes it.
    @Test func bAsksWithWhat() {
      var model = Self.run()
      #expect(Self.press("B", &model).isEmpty)
      #expect(model.prompt.mode == .ask(.branch, text: "0.01"))
      #expect(view(model).lines.last?.contains("typing replaces it") ?? false)
      let taken = Self.press("<Enter>", &model)
      #expect(taken == [.send(.branch(from: Frame(branch: 0, tokens: 20), model.attention()))])
      let dense = Self.press("Bdense<Enter>", &model)
      guard case .send(.branch(_, let choice))? = dense.first else {
        Issue.record("\(dense)")
        return
      }
      #expect(choice.lambda == 0)
      #expect(Self.press("Bnonsense<Enter>", &model).isEmpty && model.message != nil)
    }

    @Test func breakpointsAreListedAndTakenAway() {
      var model = Self.run()
      #expect(Self.press(":break kl>0.5<Enter>", &model).isEmpty)
      #expect(model.message?.contains("--shadow dense") ?? false)
      Self.press(":break sparsity<lt>0.3<Enter>:break divergence<Enter>:break<Enter>", &model)
      #expect(
        model.message?.contains("1 sparsity<0.3, 2 divergence") ?? false, "\(model.message ?? "-")")
      let gone = Self.press(":break off 1<Enter>", &model)
      #expect(gone == [.send(.clearBreakpoints), .send(.breakAt(.divergence))])
      Self.press(":break<Enter>", &model)
      #expect(model.message?.contains("Stops at: 1 divergence.") ?? false)
      #expect(Self.press(":break off<Enter>", &model) == [.send(.clearBreakpoints)])
      var shadowed = Self.run(shadow: true)
      #expect(
        Self.press(":break kl>0.5<Enter>", &shadowed) == [.send(.breakAt(.divergenceAbove(0.5)))])
    }

    /// A run is left first, since it would be lost; a recording is a file as others are.
    @Test func anotherFileIsOpenedFromARecording() {
      var recording = Self.run(replay: true), live = Self.run()
      for command in [":open a.npz", ":recent"] {
        for key in command.map(Key.character) + [.enter] {
          _ = update(&recording, .event(.key(key)))
          _ = update(&live, .event(.key(key)))
        }
        #expect(live.message?.hasPrefix("A live run is left first") == true)
        #expect(recording.message?.contains("live run") != true, "\(command)")
      }
      #expect(recording.message == "No file was opened before this one.")
    }

    /// What nobody saved is not thrown away by one key; what is saved, or a recording, is left at
    /// once.
    @Test func qAsksOnce() throws {
      var model = Self.run()
      #expect(Self.press("q", &model).isEmpty && !model.isQuitting)
      #expect(
        model.message?.contains("28 decoded tokens are not saved") ?? false,
        "\(model.message ?? "-")")
      #expect(Self.press("q", &model) == [.cancelWork, .quit])
      // A run that goes on meanwhile can be left; who does something else is asked again.
      for (keys, isLeft) in [("", true), (":quit<Enter>", true), (".", false)] {
        var running = Self.run()
        #expect(Self.press("q", &running).isEmpty)
        var status = try #require(running.live).status
        status.lengths[0] += 1
        _ = update(&running, .moment(.live(status)))
        if !keys.isEmpty { _ = Self.press(keys, &running) }
        let left = running.isQuitting || !Self.press("q", &running).isEmpty
        #expect(left == isLeft, "\(keys)")
      }
      // A file that could not be written keeps nothing.
      for (note, isKept) in [("It is kept in a", true), ("a exists", false)] {
        var saved = Self.run()
        #expect(Self.press(":save a<Enter>", &saved) == [.send(.save("a"))])
        var status = try #require(saved.live).status
        (status.note, status.noteNumber) = (note, status.noteNumber + 1)
        if isKept { status.savedLengths = status.lengths }
        _ = update(&saved, .moment(.live(status)))
        let effects: [Effect] = isKept ? [.cancelWork, .quit] : []
        #expect(Self.press("q", &saved) == effects, "\(note)")
      }
      var recording = Self.run(replay: true)
      #expect(Self.press("q", &recording) == [.cancelWork, .quit])
    }

    /// Why a run ends by itself is said when it ends; what the person has stopped was said before.
    @Test(arguments: ["the context of 64 tokens is full", "stopped"]) func anEndIsSaid(
      _ why: String
    )
      throws
    {
      var model = Self.run()
      let before = model.message
      var status = try #require(model.live).status
      status.phase = .ended(why)
      _ = update(&model, .moment(.live(status)))
      #expect(model.message == (why == "stopped" ? before : "Nothing more comes: \(why)."))
      // Once: what is said afterwards stays.
      model.message = nil
      status.frame.revision += 1
      _ = update(&model, .moment(.live(status)))
      #expect(model.message == nil)
    }

    /// Hints name only what can be done: a dump does not run, a recording does not branch.
    @Test func hintsNameWhatCanBeDone() {
      let live = Self.run(), recording = Self.run(replay: true)
      var dump = Model(SyntheticBackend(tokens: 20).describe(), width: 100, height: 30)
      for kind in ViewKind.allCases {
        for model in [dump, recording] {
          var look = model.look
          look.viewpoint.view = kind
          for hint in look.hints {
            #expect(!hint.contains("Space") && !hint.contains("B branches"), "\(kind): \(hint)")
          }
        }
      }
      let footer = view(recording).lines.last ?? ""
      #expect(!footer.contains("Space run") && !footer.contains("B branch"), "\(footer)")
      #expect(footer.contains("x other"), "\(footer)")
      dump.viewpoint.view = .tokens
      #expect(!dump.look.hints[0].contains("unlikely") && live.look.hints[0].contains("Space runs"))
      #expect(recording.look.hints[0].contains("recorded"))
    }
  }
#endif
