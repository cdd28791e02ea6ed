import Attention
import ArgumentParser
import Backends
import Canvas
import Formats
import Glibc
import Interface
import Lessons
import Models
import Sessions

/// `attnscope lesson 1` plays, `attnscope lesson` lists, `attnscope lesson check x.md` is for
/// who writes them.
struct LessonCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "lesson",
    abstract:
      "Lessons on the real screens: without a name they are listed, with what you have done.",
    discussion:
      """
      A lesson goes on where it was left. attnscope lesson check FILE says what is wrong with a \
      lesson of your own.
      """,
    subcommands: [Play.self, Check.self, Facts.self], defaultSubcommand: Play.self)

  /// Plays a lesson on the real screens, from where it was left.
  struct Play: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "play", abstract: "List the lessons, or play one.")

    /// Nil: list them.
    @Argument(
      help: "A lesson's name, number or file.",
      completion: .custom { _, _, _ in LessonFiles.names() })
    var name: String?
    @Flag(help: "Begin with the first step, whatever was done before.") var restart = false
    @OptionGroup var model: ModelArguments
    @OptionGroup var terminal: TerminalArguments

    /// Throws `missing` for a lesson that is not there, and what playing throws.
    func run() async throws {
      guard let name else { return Self.list() }
      let lesson = try LessonFiles.lesson(name)
      try await LessonRun(lesson, restart: restart, model, terminal).run()
    }

    /// Every lesson with its length, what it needs and how far the user is; one that cannot
    /// be read is named all the same.
    static func list() {
      let progress = Desk.progress()
      let names = LessonFiles.names()
      if names.isEmpty {
        print("No lessons are beside the program; set ATTNSCOPE_SAMPLES to the folder samples.")
      }
      for name in names {
        guard let lesson = try? LessonFiles.lesson(name) else {
          print("\(Printable.text(name))  cannot be read; attnscope lesson check tells why")
          continue
        }
        let done = progress[name]?.done.filter { $0 < lesson.steps.count }.count ?? 0
        let state =
          done == lesson.steps.count
          ? "done" : (done > 0 ? "\(done) of \(lesson.steps.count) steps" : "")
        let needs = lesson.needs == .model ? "needs the model" : ""
        let parts = ["\(lesson.minutes) minutes", needs, state].filter { !$0.isEmpty }
        print(Printable.text(name))
        print("    \(Printable.text(lesson.title)) (\(parts.joined(separator: ", ")))")
      }
      if !names.isEmpty { print("\nPlay one with: attnscope lesson 1") }
    }
  }

  /// The vocabulary of lessons, made from the tables that the player itself uses.
  struct Facts: ParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "facts", abstract: "List what a check may ask, and what show may set.")

    /// Facts with their kinds, then settings with their values.
    func run() {
      print("Facts of a check; start.NAME is the value when the step began:")
      let facts = Fact.kinds.sorted { $0.key < $1.key }.map { [$0.key, $0.value.rawValue] }
      print(Table(listing: facts, indent: 2).text)
      print("Settings of show:")
      print(Table(listing: ViewSetting.all.map { [$0.name, $0.values] }, indent: 2).text)
      print("needs: \(Lesson.Need.allCases.map(\.rawValue).joined(separator: " or "))")
    }
  }

  /// Finds faults by reading and, when there are none, by playing; exit code 1 when there is
  /// one. Lines are `file:line: sentence`, as compilers print them.
  struct Check: AsyncParsableCommand {
    static let configuration = CommandConfiguration(
      commandName: "check", abstract: "Say what is wrong with lesson files, with line numbers.")

    @Argument(help: "Lesson files.") var files: [String]

    /// Reads, then plays; throws exit code 1 when any file has a fault, and what opening a source
    /// throws.
    func run() async throws {
      var isFine = true
      for file in files {
        let reader = try LessonFiles.read(file)
        var problems = reader.problems
        if let lesson = reader.lesson {
          problems += LessonCheck.problems(lesson)
          if problems.isEmpty { problems += try await LessonCheck.played(lesson) }
        }
        for problem in problems {
          print("\(Printable.text(file)):\(problem.line): \(Printable.text(problem.text))")
        }
        if let lesson = reader.lesson, problems.isEmpty {
          let count = lesson.steps.count
          print("\(Printable.text(file)): \(count) step\(count == 1 ? "" : "s"), nothing wrong")
        }
        isFine = isFine && problems.isEmpty
      }
      if !isFine { throw ExitCode(1) }
    }
  }
}

/// What reading alone cannot find: settings that the lesson's source does not have, checks that are
/// met too early, keys that do not meet them.
///
/// Lessons are played on the model of the screen, without a terminal: the same `update`, the same
/// answers. So a lesson that passes here can be done, by the keys it names. Lessons about a running
/// model are read and not played, as their tokens are the learner's.
enum LessonCheck {
  /// Tries every `show` on the lesson's own source. For a lesson about a model nothing is
  /// known of layers and positions, so only the other settings are tried.
  static func problems(_ lesson: Lesson) -> [LessonProblem] {
    var sources: [SourceDescription] = []
    if lesson.needs == .sample {
      do {
        let backend = SeveralBackends(try LessonFiles.dumps(lesson).map { FileBackend($0) })
        sources = [backend.describe()] + backend.describe().others
      } catch {
        return [LessonProblem(line: 1, text: "\(error)")]
      }
    }
    if sources.isEmpty { sources = [anything] }
    let isKnown = lesson.needs == .sample
    var problems: [LessonProblem] = []
    for step in lesson.steps {
      var view = Viewpoint(sources[0])
      for setting in step.show
      where isKnown || !["layer", "head", "cursor", "zoom", "window"].contains(setting.name) {
        do throws(SettingError) {
          try ViewSetting.take(setting.name, setting.value, into: &view, sources)
        } catch {
          problems.append(LessonProblem(line: setting.line, text: "show, \(error)"))
        }
      }
    }
    return problems
  }

  /// Plays the lesson without a screen: a check must not be met when its step begins, and
  /// must be by its keys. Lessons that need a model are not played. Throws what opening and
  /// computing throw.
  static func played(_ lesson: Lesson) async throws -> [LessonProblem] {
    guard lesson.needs == .sample else { return [] }
    let backend = SeveralBackends(try LessonFiles.dumps(lesson).map { FileBackend($0) })
    var model = Model(backend.describe(), width: 120, height: 40)
    _ = model.play(LessonPlay(lesson))
    var problems: [LessonProblem] = []
    for (number, step) in lesson.steps.enumerated() {
      _ = model.play(LessonPlay(lesson, step: number))
      try await Still.complete(&model) { try await backend.answer($0) }
      // A message makes the model look whether its task is done.
      _ = update(&model, .said(""))
      if model.lesson?.isDone ?? false {
        problems.append(
          LessonProblem(
            line: step.line, text: "the check of '\(step.title)' is met before anything is done"))
        continue
      }
      for case .press(let keys) in step.moves {
        for key in keys { _ = update(&model, .event(.key(key))) }
        try await Still.complete(&model) { try await backend.answer($0) }
        _ = update(&model, .said(""))
      }
      if !(model.lesson?.isDone ?? false) {
        problems.append(
          LessonProblem(line: step.line, text: "the keys of '\(step.title)' do not meet its check"))
      }
    }
    return problems
  }

  /// Stands in where there is no source to ask.
  private static let anything = SourceDescription(
    name: "", kind: "", model: nil, layers: [0], heads: 1, kvHeads: 1, queries: 1, keys: 1,
    headDim: 1, visibility: .init(causal: true, queries: 1, keys: 1), tokens: [], hasValues: false)
}

/// A lesson on the screen; without a terminal, the lesson as a text. Progress is kept by the
/// surroundings, step by step, so a lesson that is left at any moment goes on there.
struct LessonRun {
  /// What is played.
  private let lesson: Lesson
  /// Passes over what was done before.
  private let restart: Bool
  /// Notes go to a second terminal.
  private let present: Bool
  /// For lessons about a run.
  private let model: ModelArguments
  /// How the screen is made.
  private let terminal: TerminalArguments

  /// What to play, from which step, and on what.
  init(
    _ lesson: Lesson, restart: Bool = false, _ model: ModelArguments,
    _ terminal: TerminalArguments
  ) {
    (self.lesson, self.restart, self.present) = (lesson, restart, terminal.present)
    (self.model, self.terminal) = (model, terminal)
  }

  /// Throws `Problem` when the lesson does not fit its source, and what opening the source or
  /// the terminal throws.
  func run() async throws {
    let problems = LessonCheck.problems(lesson)
    guard problems.isEmpty else {
      throw Problem(
        "\(lesson.name) does not fit: \(problems.map(\.description).joined(separator: "\n  "))")
    }
    guard isatty(0) == 1, isatty(1) == 1 else { return print(text) }
    var surroundings = Surroundings.standard(terminal, source: lesson.name)
    let kept = restart ? nil : Desk.progress()[lesson.name]
    let isOver = (kept?.done.count ?? 0) >= lesson.steps.count
    // What was decoded is gone with the run that decoded it: a live lesson begins anew.
    let again = isOver || lesson.needs == .model
    surroundings.lesson = LessonPlay(
      lesson, step: again ? -1 : (kept?.step ?? -1), done: kept?.done ?? [])
    // The texts name the standard keys.
    surroundings.keymap = Keymap()
    guard let next = try await play(surroundings) else { return }
    try await OpenCommand.show(next, terminal)
  }

  /// On the screen, with notes where they are wanted; returns the file to be opened in its place.
  private func play(_ given: Surroundings) async throws -> String? {
    var surroundings = given
    let notes = present ? NotesServer() : nil
    if let notes { surroundings.tell(to: notes) }
    let said = notes?.problem
    defer { notes?.close() }
    if lesson.needs == .model {
      try await live(surroundings, said)
      return nil
    }
    let parts = try LessonFiles.dumps(lesson).map { FileBackend($0, tables: .standard) }
    let backend = SeveralBackends(parts)
    return try await Screen.run(
      backend, terminal, surroundings,
      begin: { selection in
        if lesson.files.isEmpty { selection.head.head = Sample.head }
      }, note: said)
  }

  /// Reads the sample's text and waits: every token is the learner's. The most likely one is taken
  /// each time, so that every learner sees the same.
  /// `said` is shown first.
  private func live(_ surroundings: Surroundings, _ said: String?) async throws {
    let model = try LanguageModel(try self.model.path(), precision: .int8)
    let tokens = model.tokenizer.encode(try readWhole(try Sample.path(Sample.text)), special: true)
    let spec = { TileSpec.standard(queries: $0) }
    let choice = AttentionChoice(
      lambda: 0.01, prefill: spec(2), decode: spec(1))
    let backend = try LocalBackend(
      model, prompt: tokens,
      LocalBackend.Options(
        attention: choice, sampler: .init(temperature: 0, topK: 0, topP: 1, seed: 0),
        maxTokens: .max, hasShadow: true, startsPaused: true))
    _ = try await Screen.run(
      backend, terminal, surroundings,
      begin: { selection in
        selection.view = .tokens
        selection.lambda = choice.lambda
        selection.spec = choice.prefill
        selection.head.layer = backend.describe().middleLayer
      }, whenReady: { backend.start() }, note: said)
    await backend.finish()
  }

  /// Without a terminal: the lesson as a text.
  private var text: String {
    var lines = [lesson.title] + lesson.introduction
    for (number, step) in lesson.steps.enumerated() {
      lines += ["", "\(number + 1). \(step.title)"] + step.text + ["Task: \(step.task)"]
    }
    return (lines + ["", "With a terminal, the same command plays it."]).joined(separator: "\n")
  }
}
