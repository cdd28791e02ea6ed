import Canvas
import Foundation
import Lessons
import Support
import Testing

/// Lesson files as people write them, with and without mistakes.
@Suite struct ReaderTests {
  static let good = """
    ---
    title: A title: with a colon
    minutes: 12
    needs: model
    ---
    # A title

    First paragraph,
    in two lines.

    Second.

    ## One
    Text of
    the step.

    More.

    - show: view=map layer=12 other="file 2 12.3"
      zoom=all
    - task: Do it, and
      then look.
    - check: lambda > start.lambda and view == map
    - keys: `]]` then `?not running` and `<Home>`
    - hint: One.
    - hint: Two.
    - notice: See: there.
    - notes: Say so.

    ## Two
    - task: Again.
    - check: running
    - keys: `x`
    """

  @Test(arguments: ["\n", "\r\n"]) func aGoodFile(_ end: String) throws {
    for mark in ["", "\u{feff}"] {
      let reader = LessonReader(mark + Self.good.replacing("\n", with: end), name: "9-x")
      #expect(reader.problems == [])
      let lesson = try #require(reader.lesson)
      #expect(lesson.name == "9-x" && lesson.title == "A title: with a colon")
      #expect(lesson.minutes == 12 && lesson.needs == .model)
      #expect(lesson.introduction == ["First paragraph, in two lines.", "Second."])
      #expect(lesson.steps.map(\.title) == ["One", "Two"])
      let step = lesson.steps[0]
      #expect(step.text == ["Text of the step.", "More."] && step.line == 13)
      #expect(step.show.map(\.name) == ["view", "layer", "other", "zoom"])
      #expect(step.show.map(\.value) == ["map", "12", "file 2 12.3", "all"])
      #expect(step.show.allSatisfy { $0.line == 19 })
      #expect(step.task == "Do it, and then look.")
      #expect(step.check.text == "lambda > start.lambda and view == map")
      #expect(step.hints == ["One.", "Two."] && step.notice == "See: there.")
      #expect(step.notes == "Say so.")
      let moves = step.moves.map { move in
        switch move {
        case .press(let keys): keys.map(\.name).joined()
        case .wait(let condition): "wait \(condition.text)"
        }
      }
      #expect(moves == ["]]", "wait not running", "Home"])
    }
  }

  /// The good file with one line changed (or left out), and what is said about it.
  @Test(arguments: [
    ("---\ntitle", "title", 1, "a lesson begins with '---'"),
    ("needs: model\n---", "needs: model", 1, "the front matter is not closed"),
    ("title: A title: with a colon", "", 1, "there is no title"),
    ("title: A title: with a colon", "titel: x", 2, "here stand title, minutes, needs and files"),
    ("minutes: 12", "minutes: soon", 3, "minutes is a number from 1 to 60, not 'soon'"),
    ("minutes: 12", "minutes: 61", 3, "minutes is a number from 1 to 60"),
    ("needs: model", "needs: gpu", 4, "needs is sample or model, not 'gpu'"),
    ("- task: Again.", "", 30, "the step 'Two' has no task"),
    ("- check: running", "", 30, "the step 'Two' has no check"),
    ("- keys: `x`", "", 30, "the step 'Two' has no keys"),
    ("- task: Again.", "- taks: Again.", 31, "an item is one of show, task"),
    ("- task: Again.", "- task:", 31, "an item is one of show, task"),
    ("- task: Again.", "- task: A\n- task: B", 32, "this step has task twice"),
    ("- task: Again.", "- task: Again\nand on", 32, "text stands before the list"),
    ("- check: running", "- check: runing", 32, "check, column 1: there is no fact 'runing'"),
    ("- check: running", "- check: (running", 32, "check, column 9: ')' is missing"),
    ("- keys: `x`", "- keys: x", 33, "keys stand in backticks"),
    ("- keys: `x`", "- keys: `x", 33, "keys stand in backticks"),
    ("- keys: `x`", "- keys: `<Hom>`", 33, "<Hom> is no key"),
    ("- keys: `x`", "- keys: `?speed`", 33, "keys, column 1: there is no fact 'speed'"),
    ("view=map layer=12", "view=map layer", 19, "show is written like view=map layer=12"),
    ("view=map", "=map", 19, "'' has no value"),
    ("## Two", "##  ", 30, "a step has a title"),
  ]) func everyMistakeHasItsLine(_ old: String, _ new: String, _ line: Int, _ text: String) {
    #expect(Self.good.contains(old))
    let reader = LessonReader(Self.good.replacing(old, with: new, maxReplacements: 1), name: "x")
    #expect(reader.lesson == nil, "\(new)")
    #expect(
      reader.problems.contains { $0.line == line && $0.text.contains(text) },
      "\(new): \(reader.problems)")
    #expect(reader.problems.first?.description.hasPrefix("line ") == true)
  }

  @Test func severalMistakesAreNamedTogether() {
    let text = Self.good.replacing("minutes: 12", with: "minutes: 0").replacing("`x`", with: "x")
      .replacing("check: running", with: "check: no")
    #expect(LessonReader(text, name: "x").problems.map(\.line) == [3, 32, 33])
  }

  // MARK: Files that are none

  @Test(arguments: [
    ("", "a lesson begins with '---'"), ("\n\n\n", "a lesson begins with '---'"),
    ("---", "not closed"), ("---\ntitle: x\n", "not closed"),
    ("---\ntitle: x\n---", "at least one step"), ("---\ntitle: x\n---\ntext", "at least one step"),
  ]) func hardlyAFile(_ text: String, _ expected: String) {
    let reader = LessonReader(text, name: "x")
    #expect(reader.lesson == nil)
    #expect(reader.problems.contains { $0.text.contains(expected) }, "\(reader.problems)")
  }

  @Test func twoMegabytesAreRefusedAndOneIsRead() {
    let long = LessonReader(Self.good + String(repeating: "x", count: 2 << 20), name: "x")
    #expect(long.problems.map(\.text) == ["a lesson is a text of at most 1 MB"])
    let step = "## S\n- task: t\n- check: mute\n- keys: `m`\n"
    let many = LessonReader(
      "---\ntitle: x\n---\n" + String(repeating: step, count: 10_000), name: "x")
    #expect(many.lesson?.steps.count == 10_000)
    // However much is wrong, the list of it ends.
    let wrong = LessonReader(
      "---\ntitle: x\n---\n" + String(repeating: "## S\n- a\n", count: 50_000), name: "x")
    #expect(wrong.lesson == nil && (1...100).contains(wrong.problems.count))
  }

  @Test func deepConditionsAreAProblemOfTheirLine() {
    for deep in [String(repeating: "(", count: 50_000), String(repeating: "not ", count: 50_000)] {
      let reader = LessonReader(
        Self.good.replacing("- check: running", with: "- check: \(deep)running"), name: "x")
      #expect(reader.problems.map(\.line) == [32])
    }
  }

  @Test func junkIsNoLesson() {
    var random = Seeded(7)
    for _ in 0..<200 {
      let bytes = (0..<Int.random(in: 1...4000, using: &random)).map { _ in
        UInt8.random(in: 0...255, using: &random)
      }
      for start in ["", "---\n", "---\ntitle: x\n---\n## S\n- check: "] {
        let reader = LessonReader(start + String(decoding: bytes, as: UTF8.self), name: "x")
        #expect(reader.lesson == nil && !reader.problems.isEmpty)
      }
    }
  }

  static let files = try! FileManager.default.contentsOfDirectory(
    atPath: checkout() + "/samples/lessons"
  ).sorted()

  @Test(arguments: files) func ourOwnLessonsAreGood(_ file: String) throws {
    let text = try String(
      contentsOfFile: checkout() + "/samples/lessons/" + file, encoding: .utf8)
    let reader = LessonReader(text, name: String(file.dropLast(3)))
    #expect(reader.problems == [])
    let lesson = try #require(reader.lesson)
    #expect(lesson.steps.count >= 5 && !lesson.introduction.isEmpty)
    for step in lesson.steps {
      #expect(!step.hints.isEmpty && !step.notice.isEmpty, "\(step.title)")
    }
  }

  /// A real lesson with pieces cut, doubled, swapped and overwritten: read or refused, never a
  /// trap, and every problem points into the file.
  @Test(arguments: files) func mutatedLessonsNeverTrap(_ file: String) throws {
    let text = try String(
      contentsOfFile: checkout() + "/samples/lessons/" + file, encoding: .utf8)
    let bytes = Array(text.utf8)
    let spice = Array("\n-#`<>?():=\"%&\0\u{7f}---##  ".utf8)
    var random = Seeded(UInt64(file.utf8.reduce(0) { Int($0) + Int($1) }))
    for round in 0..<60 {
      var bytes = bytes
      for _ in 0..<Int.random(in: 1...12, using: &random) {
        let from = Int.random(in: 0..<bytes.count, using: &random)
        let to = min(bytes.count, from + Int.random(in: 1...80, using: &random))
        switch Int.random(in: 0..<4, using: &random) {
        case 0: bytes.removeSubrange(from..<to)
        case 1: bytes.insert(contentsOf: bytes[from..<to], at: from)
        case 2: bytes[from] = spice.randomElement(using: &random)!
        default: bytes[from..<to].shuffle(using: &random)
        }
      }
      let mutated = String(decoding: bytes, as: UTF8.self)
      let reader = LessonReader(mutated, name: "x")
      let lines = mutated.utf8.count { $0 == 10 } + 1
      #expect((reader.lesson == nil) == !reader.problems.isEmpty, "round \(round)")
      #expect(reader.problems.allSatisfy { (1...lines).contains($0.line) }, "round \(round)")
    }
  }
}
