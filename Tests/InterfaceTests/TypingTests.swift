import Analysis
import Attention
import Backends
import Canvas
import Foundation
import Lessons
import Sessions
import Support
import Testing

#if DEBUG
  @testable import Interface

  /// Keys that are typed one after the other: counts, proposed names, undo.
  @Suite struct TypingTests {
    private static func start() -> Model {
      Model(SyntheticBackend(tokens: 256).describe(), width: 120, height: 40)
    }

    /// Presses keys; `late` lets the time pass, behind a key, in which a number is typed in one go.
    private static func press(_ keys: [Key], late: Set<Int> = [], _ model: inout Model) {
      for (index, key) in keys.enumerated() {
        for effect in update(&model, .event(.key(key))) where late.contains(index) {
          if case .awaitDigit(let number) = effect { _ = update(&model, .digitIsLate(number)) }
        }
      }
    }

    private static func keys(_ text: String) -> [Key] { text.map { Key.character($0) } }

    /// Digits before a move are its count, single ones too, and no view is shown.
    @Test(arguments: ["2", "3", "5", "21", "20", "7"], [Key.up, .left, .character("k")])
    func digitsBeforeAMoveAreItsCount(_ digits: String, _ key: Key) {
      var model = Self.start(), slow = model
      Self.press(Self.keys(digits) + [key], &model)
      for _ in 0..<Int(digits)! { Self.press([key], &slow) }
      #expect(model.viewpoint == slow.viewpoint, "\(digits)")
      #expect(model.viewpoint.view == .map)
    }

    /// What a counted move passed over is said in the units of its view.
    @Test func theUnitOfAMoveIsSaid() {
      var model = Self.start()
      Self.press(Self.keys("3h") + Self.keys("20k"), &model)
      let said = model.message ?? "-"
      #expect(said.contains(/20 cells up: \d+ queries, \d+ a step\./), "\(said)")
      // Where the edge is nearer, what was passed and not what was asked for.
      let rest = model.viewpoint.query
      Self.press([.alt("3")] + Self.keys("2k"), &model)
      #expect(rest < 256 && model.message == "\(rest) queries up, to the edge.")
      Self.press(Self.keys("1j"), &model)
      #expect(model.message == "1 blocks down: 128 queries, 128 a step.")
      Self.press([.alt("4")] + Self.keys("9j"), &model)
      #expect(model.message == "1 layers down.")
    }

    /// A digit alone is a view after the pause; Alt and the function keys do not wait.
    @Test func aDigitAloneIsAView() {
      var model = Self.start()
      Self.press(Self.keys("2"), &model)
      #expect(model.viewpoint.view == .map && view(model).lines.joined().contains("2: then a move"))
      Self.press(Self.keys("1"), &model)
      Self.press(Self.keys("2"), late: [0], &model)
      #expect(model.viewpoint.view == .map, "212 is no view")
      Self.press([.escape] + Self.keys("2"), late: [1], &model)
      #expect(model.viewpoint.view == .heads)
      for kind in ViewKind.allCases {
        Self.press([.alt(Character("\(kind.rawValue)"))], &model)
        #expect(model.viewpoint.view == kind)
        Self.press([.tab, .function(kind.rawValue)], &model)
        #expect(model.viewpoint.view == kind)
      }
    }

    /// A key that counts nothing leaves a digit to be a view, and does its own.
    @Test func aDigitBeforeAnotherKeyIsAView() {
      var model = Self.start()
      Self.press(Self.keys("2S"), &model)
      #expect(model.viewpoint.view == .heads && model.viewpoint.sort == .sparsity)
      Self.press(Self.keys("7"), late: [0], &model)
      #expect(model.prompt.digits?.count == 7)
      Self.press([.escape], &model)
      #expect(model.prompt.digits == nil)
      // As the footer says, Esc forgets the digit, and not the search as well.
      Self.press(Self.keys("/word25") + [.enter] + Self.keys("7") + [.escape], &model)
      #expect(model.prompt.digits == nil && model.prompt.search == "word25")
    }

    /// A digit behind Esc in one packet closes what is open and shows its view.
    @Test func altClosesWhatIsOpen() {
      var model = Self.start()
      Self.press(Self.keys(":lam") + [.alt("5")], &model)
      #expect(model.prompt.isNormal && model.viewpoint.view == .tokens)
    }

    /// Pasted text is typed where something is typed, its first line; it presses no keys.
    @Test func pastedTextIsNoKeys() {
      var model = Self.start()
      let before = model.viewpoint
      _ = update(&model, .event(.paste("q]]]2\u{1a}")))
      #expect(model.viewpoint == before && !model.isQuitting)
      #expect(model.message?.contains("presses no keys") ?? false)
      Self.press(Self.keys("/"), &model)
      _ = update(&model, .event(.paste("word7\nq\n")))
      #expect(model.prompt.mode == .ask(.find, text: "word7"))
      Self.press([.enter] + Self.keys(":"), &model)
      let long = String(repeating: "x", count: 100_000)
      _ = update(&model, .event(.paste(long)))
      #expect(model.prompt.mode == .palette(text: String(long.prefix(200)), choice: 0))
    }

    /// A search counts and marks while it is typed, and Esc takes the marks away.
    @Test func searchIsIncremental() {
      var model = Self.start()
      Self.press(Self.keys("/word25"), &model)
      #expect(model.found == [25, 250, 251, 252, 253, 254, 255])
      #expect(view(model).lines.last?.contains("7 matches, the first at 25") ?? false)
      // The first key stands on the axis as a dot.
      #expect(view(model).lines[3].contains("•"))
      Self.press([.enter], &model)
      #expect(model.viewpoint.key == 255 || model.viewpoint.key == 25, "\(model.viewpoint.key)")
      Self.press(Self.keys("/zz"), &model)
      #expect(view(model).lines.last?.contains("no match") ?? false)
      // What was searched for before is what is marked again.
      Self.press([.escape], &model)
      #expect(model.found == [25, 250, 251, 252, 253, 254, 255])
      Self.press([.escape], &model)
      #expect(model.found.isEmpty && !view(model).lines[3].contains("•"))
      // However the question is closed.
      for close in [Event.key(.alt("1")), .mouse(Mouse(.press, x: 1, y: 5)), .interrupt] {
        Self.press(Self.keys("/word25"), &model)
        _ = update(&model, .event(close))
        #expect(model.prompt.isNormal && model.found.isEmpty, "\(close)")
      }
    }

    /// Many matches are no reason to mark none.
    @Test func manyMatchesAreMarkedToo() {
      var about = SyntheticBackend(tokens: 256).describe()
      (about.queries, about.keys) = (1000, 1000)
      about.visibility = Visibility(causal: true, queries: 1000, keys: 1000)
      about.tokens = Array(repeating: " the", count: 1000)
      var model = Model(about, width: 120, height: 40)
      Self.press(Self.keys("/the") + [.enter], &model)
      #expect(model.found.count == 1000 && view(model).lines[3].contains("•"))
    }

    /// Marks are of the file that is looked at.
    @Test func marksFollowTheFile() {
      let files = SeveralBackends([SyntheticBackend(tokens: 256), SyntheticBackend(tokens: 30)])
      var model = Model(files.describe(), width: 120, height: 40)
      Self.press(Self.keys("/word25") + [.enter], &model)
      #expect(model.found == [25, 250, 251, 252, 253, 254, 255])
      Self.press(Self.keys("f"), &model)
      #expect(model.viewpoint.head.source == 1 && model.found == [25])
    }

    /// A pattern that is not done says so, and nothing is marked; what is none is plain text.
    @Test func aPatternThatIsNotDoneSaysSo() {
      var model = Self.start()
      Self.press(Self.keys("/(word)\\1") + [.enter], &model)
      #expect(model.message?.hasPrefix("Find cannot repeat what a group has found") == true)
      #expect(model.found.isEmpty && model.prompt.isNormal)
      Self.press(Self.keys("n"), &model)
      #expect(model.message?.hasPrefix("Find cannot repeat") == true)
      Self.press(Self.keys("/^ ?word2[0-4]?$") + [.enter], &model)
      #expect(model.found == [2, 20, 21, 22, 23, 24], "\(model.found)")
      Self.press(Self.keys("n"), &model)
      #expect(model.message?.contains("match 2 of 6") == true, "\(model.message ?? "")")
      #expect(TokenSearch("f(").matches(["f(x)", "f"]) == [0])
    }

    /// Letters that are pasted as keys cost what typing costs: nothing is looked up for them.
    @Test func aRawPasteBehindAColonIsTaken() {
      var model = Self.start()
      Self.press(Self.keys(":"), &model)
      let begin = ContinuousClock.now
      Self.press(Self.keys(String(repeating: "some letters of a text. ", count: 4200)), &model)
      let time = ContinuousClock.now - begin
      #expect(time < (isRelease ? .seconds(1) : .seconds(10)), "\(time)")
      guard case .palette(let text, _) = model.prompt.mode else {
        Issue.record("the palette is closed")
        return
      }
      #expect(text.count == 200 && view(model).lines.joined().contains("no action and no command"))
    }

    /// The palette lists commands with what they take, and takes its own examples.
    @Test func thePaletteTakesItsExamples() {
      for command in KeyTable.commands {
        var model = Self.start()
        Self.press(Self.keys(":" + command.text) + [.enter], &model)
        #expect(!(model.message ?? "").hasPrefix("There is no command"), "\(command.text)")
      }
      var model = Self.start()
      Self.press(Self.keys(":zoom 64, cursor 100,5") + [.enter], &model)
      #expect(model.viewpoint.window.keys.count == 64 && model.viewpoint.query == 100)
      Self.press(Self.keys(":L4H2") + [.enter], &model)
      #expect(model.viewpoint.head.head == 2 && model.viewpoint.head.layer.value == 1)
      Self.press(Self.keys(":L0H9") + [.enter], &model)
      #expect(model.viewpoint.head.layer.value == 1, "no such head: nor its layer")
      Self.press(Self.keys(":0.1") + [.enter], &model)
      #expect(model.viewpoint.head.head == 1 && model.viewpoint.head.layer.value == 0)
      Self.press(Self.keys(":compare L4H0 tile 32x32") + [.enter], &model)
      #expect(model.viewpoint.other?.head.layer.value == 1)
      Self.press(Self.keys(":"), &model)
      #expect(view(model).lines.joined().contains("lambda 0.01"), "useful ones first")
      Self.press(Self.keys("lamb") + [.enter], &model)
      #expect(model.prompt.mode == .palette(text: "lambda ", choice: 0))
      Self.press(Self.keys("0.5") + [.enter], &model)
      #expect(model.viewpoint.lambda == 0.5 && model.prompt.isNormal)
    }

    /// Help searches, and says where it stands.
    @Test func helpSearches() {
      var model = Self.start()
      Self.press(Self.keys("?"), &model)
      #expect(view(model).lines.joined().contains(/1-36 of \d+/))
      Self.press(Self.keys("/bookmark"), &model)
      let lines = view(model).lines
      #expect(lines[1].contains("Help: bookmark_") && lines[2].contains("ookmark"))
      #expect(!lines.joined().contains("zoom in at the cursor"))
      Self.press([.escape], &model)
      #expect(model.prompt.mode == .help(scroll: 0))
      Self.press([.escape], &model)
      #expect(model.prompt.isNormal)
    }

    /// From 0 the first step of lambda is the lowest that skips anything.
    @Test(arguments: [Float(-3.2), -8, -0.01, -200, 2, .infinity])
    func lambdaStepsToTheLowestMargin(_ lowest: Float) {
      let lambda = LambdaScale.step(0, decades: 0.25, lowest: lowest)
      #expect(lambda <= 1 && lambda >= 1e-10)
      let below = LambdaScale.step(lambda, decades: -0.25)
      if lowest < -0.01, lowest > -20 {
        #expect(log(lambda) > Double(lowest) && log(below) <= Double(lowest), "\(lambda)")
      }
      #expect(LambdaScale.step(0, decades: -1, lowest: lowest) == 0)
    }

    /// The first letter takes the place of a proposed name; backspace edits it.
    @Test func aProposedNameGivesWay() {
      var model = Self.start()
      Self.press(Self.keys("Mab"), &model)
      #expect(model.prompt.mode == .ask(.mark, text: "ab"))
      Self.press([.escape] + Self.keys("M") + [.backspace] + Self.keys("x"), &model)
      #expect(model.prompt.mode == .ask(.mark, text: "L0-H0-max"))
      Self.press([.escape] + Self.keys("M") + [.enter], &model)
      #expect(model.marks.map(\.name) == ["L0-H0-map"])
      Self.press(Self.keys("ea.png"), &model)
      #expect(model.prompt.mode == .ask(.export, text: "a.png"))
    }

    @Test func undoSaysWhatItUndid() {
      var model = Self.start()
      Self.press(Self.keys("]"), &model)
      let lambda = Numbers.threshold(model.viewpoint.lambda)
      Self.press(Self.keys("u"), &model)
      #expect(model.message == "Undone: lambda \(lambda) → 0.01.")
      Self.press(Self.keys("U"), &model)
      #expect(model.message == "Redone: lambda 0.01 → \(lambda).")
      Self.press([.alt("2")] + Self.keys("u"), &model)
      #expect(model.message == "Undone: view heads → map.")
      Self.press(Self.keys("uuu"), &model)
      #expect(model.message == "Nothing to undo.")
    }

    /// Help and the library explain their own words.
    @Test func whatIsExplained() {
      var model = Self.start()
      Self.press(Self.keys("?"), &model)
      var seen = false
      for _ in 0..<120 where !seen {
        Self.press([.down], &model)
        seen = view(model).lines.joined().contains("digits before a move or g are its count")
      }
      #expect(seen)
      var library = Self.start()
      Self.press(Self.keys("Ldense"), &library)
      let text = view(library).lines.joined(separator: "\n")
      #expect(text.contains("exact: the paper's result"), "\(text)")
      var text5 = Self.start()
      Self.press([.alt("5")], &text5)
      let caption = view(text5).lines.joined(separator: "\n")
      #expect(caption.contains("Shaded: what the chosen token reads"), "\(caption)")
      #expect(!caption.contains("Space runs"))
    }
  }
#endif
