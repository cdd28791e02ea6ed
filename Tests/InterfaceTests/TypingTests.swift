import Backends
import Canvas
import Lessons
import Sessions
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

    /// From view to view and one step: no count, however fast.
    @Test(arguments: ["21", "5151", "3445566", "12"], [Key.up, .left, .pageUp])
    func anArrowAfterViewsIsAnArrow(_ digits: String, _ key: Key) {
      var model = Self.start(), slow = model
      Self.press(Self.keys(digits) + [key], &model)
      for character in digits { Self.press([.character(character)], &slow) }
      slow.prompt.digits = nil
      Self.press([key], &slow)
      #expect(model.viewpoint == slow.viewpoint, "\(digits)")
      #expect(model.viewpoint.view.rawValue == Int(String(digits.last!)))
    }

    /// Views looked at one after the other are none either, whatever moves.
    @Test func slowViewKeysAreNoCount() {
      var model = Self.start()
      Self.press(Self.keys("21k"), late: [0, 1], &model)
      var one = Self.start()
      Self.press(Self.keys("k"), &one)
      #expect(model.viewpoint.query == one.viewpoint.query && model.viewpoint.view == .map)
      // The head after next, in the view that the second digit shows.
      var heads = Self.start()
      Self.press(Self.keys("12."), late: [0], &heads)
      #expect(heads.viewpoint.view == .heads && heads.viewpoint.head.head == 1)
    }

    @Test(
      arguments: [
        ("120g", [], 120), ("82g", [], 82), ("12g", [], 12), ("200g", [0, 1], 200),
        ("98g", [0], 98),
        ("123g", [], 123),
      ] as [(String, Set<Int>, Int)]) func countsAreCounts(
        _ text: String, _ late: Set<Int>, _ key: Int
      )
    {
      var model = Self.start()
      Self.press(Self.keys(text), late: late, &model)
      #expect(model.viewpoint.view == .map && model.viewpoint.key == key, "\(text)")
    }

    /// With a digit that shows no view arrows count, too.
    @Test func twentyDownIsTwenty() {
      var model = Self.start(), letters = model
      Self.press(Self.keys("20") + [.up], &model)
      Self.press(Self.keys("20k"), &letters)
      #expect(model.viewpoint == letters.viewpoint && model.viewpoint.query < 236)
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
      Self.press(Self.keys("2u"), &model)
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
        seen = view(model).lines.joined().contains("Counts: digits in one go")
      }
      #expect(seen)
      var library = Self.start()
      Self.press(Self.keys("Ldense"), &library)
      let text = view(library).lines.joined(separator: "\n")
      #expect(text.contains("exact: the paper's result"), "\(text)")
      var text5 = Self.start()
      Self.press(Self.keys("5"), &text5)
      let caption = view(text5).lines.joined(separator: "\n")
      #expect(caption.contains("Shaded: what the chosen token reads"), "\(caption)")
      #expect(!caption.contains("Space runs"))
    }
  }
#endif
