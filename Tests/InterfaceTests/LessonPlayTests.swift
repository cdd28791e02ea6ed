import Attention
import Backends
import Canvas
import Formats
import Foundation
import Interface
import Lessons
import Models
import Sessions
import Support
import Synchronization
import Testing

/// Every lesson, played to the end on the real screens by somebody who presses what the lesson
/// says.
@Suite(.serialized) struct LessonPlayTests {
  static func lesson(_ name: String) throws -> Lesson {
    let text = try String(
      contentsOfFile: checkout() + "/samples/lessons/\(name).md", encoding: .utf8)
    let reader = LessonReader(text, name: name)
    return try #require(reader.lesson, "\(reader.problems)")
  }

  static let all = try! FileManager.default.contentsOfDirectory(
    atPath: checkout() + "/samples/lessons"
  ).sorted().map { try! lesson(String($0.dropLast(3))) }

  static let onTheSample = all.filter { $0.needs == .sample }.map(\.name)

  static func sample() throws -> FileBackend {
    FileBackend(try Dump.open(checkout() + "/samples/smollm2-log-832.safetensors"))
  }

  /// What the app wanted kept.
  final class Carried: Sendable {
    private let effects = Mutex<[Effect]>([])
    var all: [Effect] { effects.withLock { $0 } }
    func add(_ effect: Effect) { effects.withLock { $0.append(effect) } }

    /// Effects are carried out beside the screen: true once this one was, false after a minute.
    func sees(_ effect: Effect) async -> Bool {
      let limit = ContinuousClock.now + .seconds(60)
      while ContinuousClock.now < limit {
        if all.contains(effect) { return true }
        try? await Task.sleep(for: .milliseconds(2))
      }
      return false
    }
  }

  static func fly(
    _ lesson: Lesson, _ backend: any Backend, step: Int = -1, done: Set<Int> = [],
    width: Int = 120, height: Int = 40
  ) -> (pilot: Pilot, carried: Carried) {
    let carried = Carried()
    var surroundings = Pilot.surroundings
    surroundings.lesson = LessonPlay(lesson, step: step, done: done)
    surroundings.carry = { effect in
      carried.add(effect)
      return nil
    }
    let pilot = Pilot(
      backend, width: width, height: height, surroundings: surroundings,
      viewpoint: { $0.head.head = min(6, $0.head.head + 6) })
    return (pilot, carried)
  }

  /// Plays every step as its author would: what is asked is answered, the check is not met; the
  /// keys are pressed, it is.
  static func play(_ lesson: Lesson, _ pilot: Pilot, _ carried: Carried) async {
    await pilot.sees("Enter begins")
    #expect(pilot.screen.contains(lesson.title) || lesson.title.count > 38)
    pilot.terminal.press(.enter)
    for (number, step) in lesson.steps.enumerated() {
      let name = "\(lesson.name), line \(step.line): \(step.title)"
      await pilot.model("\(name) to begin") { $0.lesson?.step == number }
      let before = await pilot.settled("\(name): answers")
      #expect(before.lesson?.isDone == false, "\(name): its check is met before anything is done")
      #expect(before.message == nil, "\(name): \(before.message ?? "")")
      await pilot.take(step.moves, name)
      let after = await pilot.model("\(name) to be done") { $0.lesson?.isDone == true }
      guard after != nil else { return await pilot.quit() }
      await pilot.sees("Done.")
      #expect(after?.lesson?.done.contains(number) == true)
      #expect(
        await carried.sees(
          .progress(lesson: lesson.name, step: number, done: Array(0...number))), "\(name)")
      pilot.terminal.press(.enter)
    }
    await pilot.sees("This is the end of the lesson.")
    #expect(pilot.screen.contains("You have done every step."))
    let all = Array(lesson.steps.indices)
    #expect(await carried.sees(.progress(lesson: lesson.name, step: all.count, done: all)))
    pilot.terminal.press(.enter)
    await pilot.sees("Lesson done.")
    #expect(await pilot.model().lesson == nil)
    await pilot.quit()
  }

  @Test(arguments: onTheSample) func everyStepIsDoneByItsOwnKeys(_ name: String) async throws {
    let lesson = try Self.lesson(name)
    let (pilot, carried) = Self.fly(lesson, try Self.sample())
    await Self.play(lesson, pilot, carried)
  }

  /// D does each step; nothing is pressed by hand but it and Enter.
  @Test(arguments: onTheSample) func everyStepCanBeShown(_ name: String) async throws {
    let lesson = try Self.lesson(name)
    let (pilot, _) = Self.fly(lesson, try Self.sample())
    await pilot.sees("Enter begins")
    pilot.terminal.press(.enter)
    for (number, step) in lesson.steps.enumerated() {
      await pilot.model("step \(number)") { $0.lesson?.step == number }
      pilot.press("D")
      await pilot.model("\(name), \(step.title), shown") {
        $0.lesson?.step == number && $0.lesson?.isDone == true
      }
      await pilot.sees("Shown.")
      pilot.terminal.press(.enter)
    }
    await pilot.sees("You have done every step.")
    await pilot.quit()
  }

  @Test func skipBackHintAgainAndLeave() async throws {
    let lesson = try Self.lesson("3-lambda-and-margin")
    let (pilot, carried) = Self.fly(lesson, try Self.sample())
    await pilot.sees("Enter begins")
    pilot.press("H")  // Nothing to hint at yet.
    pilot.terminal.press(.enter)
    await pilot.sees("step 1/8")
    // Enter does not go on before the task is done.
    pilot.press("a")
    await pilot.sees("Not done yet. H gives a hint, K skips.")
    pilot.press("H")
    await pilot.sees("Hint: Move right along the bottom")
    pilot.press("H")
    await pilot.sees("Hint: Type 200g")
    pilot.press("H")
    await pilot.sees("That was the last hint; D does it for you.")
    // Done by hand; again takes it back to its start.
    pilot.press("200g")
    await pilot.sees("Done.")
    pilot.press("R")
    await pilot.until("the step anew") { !$0.contains("Done.") && $0.contains("step 1/8") }
    #expect(await pilot.model().viewpoint.key == 0)
    pilot.press("K")
    await pilot.sees("step 2/8")
    pilot.press("F")
    await pilot.sees("step 1/8")
    pilot.press("FF")
    await pilot.sees("Enter begins")
    for _ in lesson.steps.indices { pilot.press("K") }
    pilot.press("K")
    await pilot.sees("7 steps were skipped; F goes back.")
    pilot.press("F")
    await pilot.sees("step 8/8")
    pilot.press("X")
    await pilot.sees("Lesson left at step 8; attnscope lesson 3-lambda-and-margin goes on there.")
    #expect(await carried.sees(.tell("The lesson was left.")))
    #expect(carried.all.last == .tell("The lesson was left."))
    #expect(carried.all.contains(.progress(lesson: lesson.name, step: 7, done: [0])))
    pilot.press("H")
    await pilot.sees("No lesson is playing")
    await pilot.quit()
  }

  /// What a later session finds: the step and what was done, as far as the lesson still has it.
  @Test func aLessonGoesOnWhereItWasLeft() async throws {
    let lesson = try Self.lesson("1-reading-a-map")
    let (pilot, _) = Self.fly(lesson, try Self.sample(), step: 2, done: [0, 1, 77])
    await pilot.sees("step 3/9")
    #expect(await pilot.model().lesson?.done == [0, 1])
    await pilot.quit()
    let (late, _) = Self.fly(lesson, try Self.sample(), step: 500)
    await late.sees("9 steps were skipped")
    await late.quit()
  }

  /// Undo goes back behind what the lesson set.
  @Test func undoTakesBackWhatALessonShows() async throws {
    let lesson = try Self.lesson("6-naming-a-head")
    let (pilot, _) = Self.fly(lesson, try Self.sample())
    await pilot.sees("Enter begins")
    let before = await pilot.model().viewpoint
    pilot.terminal.press(.enter)
    await pilot.sees("Heads 27")
    pilot.press("u")
    await pilot.model("the view of before") { $0.viewpoint == before }
    pilot.press("U")
    await pilot.sees("Heads 27")
    pilot.press("D")
    await pilot.sees("Shown.")
    pilot.press("uuuu")
    await pilot.model("four changes taken back") { $0.viewpoint.sort == .layer }
    await pilot.quit()
  }

  /// Without the file that a lesson was written for, its settings are refused with their line.
  @Test func aLessonOnAnotherFileSaysWhatDoesNotFit() async throws {
    let lesson = try Self.lesson("1-reading-a-map")
    let (pilot, _) = Self.fly(lesson, SyntheticBackend())
    await pilot.sees("Enter begins")
    pilot.terminal.press(.enter)
    await pilot.sees("The lesson, line ")
    await pilot.quit()
  }

  /// Every name that a check may use is answered; of a dump, what only a run has is not known.
  @Test func everyFactHasAnAnswer() async throws {
    var model = try await Still.model(try Self.sample(), width: 160, height: 50) {
      $0.view = .compare
      $0.head.layer = 1
    }
    let ask = try Self.sample()
    for view in [ViewKind.map, .compare] {
      _ = update(&model, .event(.key(.function(view.rawValue))))
      try await Still.complete(&model) { try await ask.answer($0) }
    }
    let live: Set = [
      "tokens", "length", "prompt", "decoded", "branches", "branch", "divergence",
      "step.sparsity", "kl",
    ]
    let facts = Facts(model)
    for (name, kind) in Fact.kinds {
      switch (facts[name], kind) {
      case (.number, .number), (.text, .text), (.truth, .truth):
        #expect(!live.contains(name), "\(name)")
      case (nil, _): #expect(live.contains(name), "\(name) falls through")
      case (let fact?, _): Issue.record("\(name) is \(fact) and not a \(kind)")
      }
      #expect(facts.phrase(name).contains(name))
    }
    #expect(facts["nothing"] == nil)
    #expect(facts["layer"] == .number(12) && facts["view"] == .text("compare"))
    #expect(facts["cursor.token"] == .text("The") && facts["zoom"] == .number(1))
  }

  @Test func everyLiveFactHasAnAnswer() async throws {
    try await LiveTests.withBackend(shadow: true) { backend in
      let pilot = Pilot(backend, width: 100, height: 30)
      backend.start()
      pilot.terminal.press(.alt("5"))
      await pilot.sees("paused")
      pilot.terminal.press(.right)
      await pilot.sees("1 tokens decoded")
      let model = await pilot.settled("the first step")
      for name in Fact.kinds.keys {
        let needsMap = [
          "sparsity", "dropped", "dropped.worst", "error", "label", "label.recall", "entropy",
          "keys", "sink.key", "sink.mass", "cursor.p", "block.margin", "block.skipped",
          "block.first", "block.visible", "other.sparsity",
        ]
        if !needsMap.contains(name) { #expect(Facts(model)[name] != nil, "\(name)") }
      }
      #expect(Facts(model)["decoded"] == .number(1) && Facts(model)["running"] == .truth(false))
      await pilot.quit()
    }
  }
}

enum TheModel {
  static let path = ProcessInfo.processInfo.environment["ATTNSCOPE_TEST_MODEL"]
  static var isThere: Bool { path.map(FileManager.default.isReadableFile(atPath:)) ?? false }
}

/// The lesson on live decoding: its numbers are those of the model that samples/get-model.sh
/// brings.
@Suite(
  .enabled(if: TheModel.isThere, "ATTNSCOPE_TEST_MODEL names no model; samples/get-model.sh does"),
  .enabled(if: isRelease, "an engine without optimisation is too slow: swift test -c release"))
struct LiveLessonTests {
  @Test(arguments: LessonPlayTests.all.filter { $0.needs == .model }.map(\.name))
  func everyStepIsDoneByItsOwnKeys(_ name: String) async throws {
    let lesson = try LessonPlayTests.lesson(name)
    let model = try LanguageModel(try #require(TheModel.path), precision: .int8)
    let text = try Data(contentsOf: URL(filePath: checkout() + "/samples/tarn-point-log.txt"))
    let tokens = model.tokenizer.encode(Array(text), special: true)
    let choice = AttentionChoice(
      lambda: 0.01, prefill: .standard(queries: 2), decode: .standard(queries: 1))
    let backend = try LocalBackend(
      model, prompt: tokens,
      LocalBackend.Options(
        attention: choice, sampler: .init(temperature: 0, topK: 0, topP: 1, seed: 0),
        maxTokens: .max, hasShadow: true, startsPaused: true))
    let (pilot, carried) = LessonPlayTests.fly(lesson, backend)
    backend.start()
    await LessonPlayTests.play(lesson, pilot, carried)
    await backend.finish()
  }
}

extension Pilot {
  /// Waits until the model is so.
  @discardableResult func model(
    _ what: String, sourceLocation: SourceLocation = #_sourceLocation,
    _ condition: @escaping @Sendable (Model) -> Bool
  ) async -> Model? {
    let limit = ContinuousClock.now + .seconds(120)
    while ContinuousClock.now < limit {
      let model = await model()
      if condition(model) { return model }
      await pause()
    }
    lost("never came \(what)", sourceLocation)
    return nil
  }

  /// Waits until everything that the screen asked for is there.
  func settled(_ what: String, sourceLocation: SourceLocation = #_sourceLocation) async -> Model {
    let found = await model(what, sourceLocation: sourceLocation) { model in
      if case .prefill = model.live?.phase { return false }
      return Needs(model).foreground.allSatisfy(model.isKnown) && model.live?.phase != .running
    }
    if let found { return found }
    return await model()
  }

  /// Presses the keys of a step one by one, each when what the one before asked for is there.
  func take(_ moves: [LessonStep.Move], _ what: String) async {
    for move in moves {
      switch move {
      case .wait(let condition):
        await model("\(what): \(condition.text)") { model in
          condition.holds { Facts(model)[$0] } == true
        }
      case .press(let keys):
        // Digits and what they count are typed without a pause: after a second a digit is a view.
        var run: [Key] = []
        for key in keys {
          if run.isEmpty, case .normal = await model().prompt.mode {
            _ = await settled("\(what): before \(key.name)")
          }
          run.append(key)
          if case .character(let c) = key, c.isNumber { continue }
          await pressAndWait(run)
          run = []
        }
        await pressAndWait(run)
      }
    }
  }
}
