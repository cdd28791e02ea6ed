import Lessons
import ArgumentParser
import Attention
import Backends
import Canvas
import Formats
import Glibc
import Interface
import NCursesTerminal
import Sessions

/// The flags about the terminal itself. They go before the config file, and the config file
/// before what the terminal says of itself.
struct TerminalArguments: ParsableArguments {
  /// `auto` asks the terminal; the others are for when it lies.
  enum ColorChoice: String, ExpressibleByArgument, CaseIterable {
    case auto, truecolor, palette = "256", basic = "16", never
  }

  /// Which of the two sets of colours; terminals rarely tell.
  enum Background: String, ExpressibleByArgument, CaseIterable { case light, dark }

  @Option(help: "Colours: auto, truecolor, 256, 16 or never.") var color: ColorChoice = .auto
  /// Nil: the config file, else what the terminal says.
  @Option(help: "Colours for a light or a dark background.") var background: Background?
  /// Nil: the config file's.
  @Option(help: "Frames and signs: standard, calm or contrast.") var theme: Theme?
  @Flag(help: "Draw with ASCII characters only.") var ascii = false
  @Flag(inversion: .prefixedNo, help: "Let the mouse move the cursor, zoom and pan.")
  var mouse: Bool?
  /// 1 to 240; nil: the config file's, else by the connection.
  @Option(help: "Frames a second at most (default: 60; 10 over SSH).") var fps: Int?
  @Option(help: ArgumentHelp("Append what happens to a file, a line an event.", valueName: "file"))
  var log: String?
  @Flag(help: "For the projector: a large cursor, and the keys that are pressed.")
  var present = false

  /// Throws `ValidationError` for frame rates that no screen has.
  func validate() throws {
    if let fps, !(1...240).contains(fps) { throw ValidationError("--fps is 1 to 240.") }
    if let log, let why = Log.refusal(log) {
      throw ValidationError("--log \(log): cannot be written: \(why).")
    }
  }

  /// Flags first, then the config file.
  func options(_ config: Config) -> TerminalOptions {
    var options = TerminalOptions()
    options.colors =
      switch color {
      case .auto: nil
      case .truecolor: .direct
      case .palette: .palette
      case .basic: .basic
      case .never: .mono
      }
    options.unicode = ascii ? false : nil
    options.mouse = mouse ?? config.mouse ?? true
    options.lightBackground = background.map { $0 == .light } ?? config.lightBackground
    options.framesPerSecond = fps ?? config.framesPerSecond
    return options
  }
}

/// `attnscope FILE`: the screen. What most people use, hence the default command.
///
/// Without a terminal it prints a summary, and with `--plain` it talks in sentences; a
/// recording is replayed. Opening another file from the screen ends the app and begins it
/// again with that file, so that nothing of the old one stays in memory.
struct OpenCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "open",
    abstract: "Explore dumps on the screen; without a terminal, print a summary.")

  @OptionGroup var dump: DumpArguments
  @OptionGroup var texts: TokenArguments
  @OptionGroup var tiles: TileArguments
  @OptionGroup var terminal: TerminalArguments
  @OptionGroup var streams: StreamArguments
  /// As the file calls it; nil: the middle one.
  @Option(help: "Layer number to begin with.") var layer: LayerNumber?
  /// Nil: 0, or the sample's own choice.
  @Option(help: "Head number to begin with.") var head: Int?
  @Option(help: "The view to begin with: map, heads, blocks, sinks, tokens or compare.")
  var view: String?
  @Option(help: ArgumentHelp("Reopen a view that :state FILE wrote.", valueName: "file"))
  var state: String?
  @Flag(help: "Say in sentences what each view shows; with standard input, a line a command.")
  var plain = false
  @Flag(help: "Play the first lesson that is not done yet.") var tutor = false
  @Flag(help: "Open the newest live run that ended before it was saved.") var recover = false

  /// Throws `ValidationError` for a view that does not exist, and for a command that was mistyped:
  /// it is read as a file.
  func validate() throws {
    if let word = dump.files.first, access(word, F_OK) != 0,
      let name = AttnScope.command(near: word)
    {
      throw ValidationError("There is no file and no command \(word). Did you mean \(name)?")
    }
    if recover, !dump.files.isEmpty || dump.query != nil {
      throw ValidationError("--recover opens the run itself; name no file beside it.")
    }
    if let view, ViewKind(word: view) == nil {
      throw ValidationError("--view is map, heads, blocks, sinks, tokens or compare.")
    }
  }

  /// Shows one set of files after another until the user leaves. A saved state brings its own
  /// files and holds for the first only.
  func run() async throws {
    if tutor { return try await Tutor.run(terminal) }
    let saved = try state.map(SavedState.init)
    var files = dump.files.isEmpty && dump.query == nil ? (saved?.files ?? []) : dump.files
    if recover { files = [try Desk.recover()] }
    var isFirst = true
    repeat {
      guard let next = try await show(files, saved: isFirst ? saved : nil, isFirst: isFirst) else {
        return
      }
      (files, isFirst) = ([next], false)
    } while true
  }

  /// What was asked for on another screen, a lesson's for instance. Throws as `run` does.
  static func show(_ file: String, _ terminal: TerminalArguments) async throws {
    var command = try parse([])
    (command.dump.files, command.terminal) = ([file], terminal)
    try await command.run()
  }

  /// Opens files and shows them in the way the surroundings allow. Returns the file that is
  /// to be opened next, nil when the user left. Throws what opening throws.
  private func show(_ files: [String], saved: SavedState?, isFirst: Bool) async throws -> String? {
    let address = isFirst ? try streams.address(files) : nil
    if isFirst, address != nil || streams.spawn != nil { return try await listen(address, saved) }
    if let file = files.first, files.count == 1, SafetensorsStream.isWire(file) {
      return try await reopen(file, saved)
    }
    if let file = files.first, files.count == 1, SafetensorsStream.isRecording(file) {
      guard !isFirst || texts.areNone else {
        throw ValidationError(
          "--tokens, --grid, --roles and --patterns are of dumps; this is a recording.")
      }
      return try await replay(file, saved)
    }
    var named = dump
    named.files = files
    if !isFirst { (named.query, named.key, named.value) = (nil, nil, nil) }
    // What was said of the tokens is about the files that were named beside it.
    let dumps = try opened(named, isFirst: isFirst)
    let parts = try dumps.map(isFirst ? texts.backend : named.backend)
    let start = try Start(
      dumps[0], parts[0].describe(), self, isSample: named.isSample && saved == nil)
    let wrong =
      (saved?.problems(parts.map { $0.describe() }) ?? [])
      + [Desk.lostRunNote(model: parts[0].describe().model)].compactMap { $0 }
    guard isatty(0) == 1, isatty(1) == 1 else {
      for text in wrong { say(Printable.text(text)) }
      guard !plain else {
        try await PlainSession(SeveralBackends(parts), begin: { begin(&$0, start, saved, parts) })
          .run()
        return nil
      }
      for (dump, backend) in zip(dumps, parts) {
        let spec = backend.describe().storedTile ?? tiles.spec(queries: backend.describe().queries)
        print(PlainSummary(dump, backend, lambda: try Lambda(tiles.lambda), spec: spec).text)
      }
      return nil
    }
    let backend: any Backend = parts.count == 1 ? parts[0] : SeveralBackends(parts)
    if plain {
      for text in wrong { say(Printable.text(text)) }
      try await PlainSession(backend, begin: { begin(&$0, start, saved, parts) }).run()
      return nil
    }
    if !named.isSample { for dump in dumps { Desk.remember(dump.path) } }
    let surroundings = Surroundings.standard(terminal, source: dumps[0].path)
    return try await Screen.run(
      backend, terminal, surroundings, begin: { begin(&$0, start, saved, parts) },
      note: Self.note(wrong) ?? dumps[0].probe.map { $0.sentence { Numbers.percent($0) } })
  }

  /// The dumps of files; where a state file names one that has moved, the message says what opens
  /// it elsewhere. Throws what opening throws.
  private func opened(_ named: DumpArguments, isFirst: Bool) throws -> [Dump] {
    do { return try named.open(isFirst ? texts : nil) } catch let error as FormatError {
      guard error.code == .missing, isFirst, let state, dump.files.isEmpty else { throw error }
      throw FormatError(
        .missing,
        "\(error.message). The state file names it: attnscope --state \(state) FILE opens another",
        file: error.file)
    }
  }

  /// The first view: the start's head, the config file, flags of tile and lambda, the saved
  /// state and `--view`, each over what came before.
  private func begin(
    _ selection: inout Viewpoint, _ start: Start, _ saved: SavedState?, _ parts: [FileBackend]
  ) {
    selection.head = start.head
    Desk.config().apply(to: &selection, sources: parts.map { $0.describe() })
    start.apply(to: &selection)
    saved?.apply(to: &selection, SeveralBackends(parts).describe())
    if let kind = view.flatMap({ ViewKind(word: $0) }) {
      selection.view = kind
    }
  }

  /// The first of what is wrong with a state file, for a line of the screen.
  static func note(_ wrong: [String]) -> String? {
    wrong.count > 1 ? "\(wrong[0]) (and \(wrong.count - 1) more)" : wrong.first
  }
}

/// `--tutor`: the first lesson that is not done, or the first of all when everything is.
enum Tutor {
  /// Throws `Problem` when there are no lessons beside the program.
  static func run(_ terminal: TerminalArguments) async throws {
    let progress = Desk.progress()
    let lessons = LessonFiles.names().compactMap { try? LessonFiles.lesson($0) }
    guard let first = lessons.first else {
      throw Problem(
        "no lessons are beside the program; set ATTNSCOPE_SAMPLES to the folder samples")
    }
    let next = lessons.first { (progress[$0.name]?.done.count ?? 0) < $0.steps.count } ?? first
    let model = try ModelArguments.parse([])
    try await LessonRun(next, model, terminal).run()
  }
}

/// An app on the real terminal, from first frame to the way out. The only place where the
/// real terminal is made.
enum Screen {
  /// Runs the app until the user leaves, and returns the file that was asked for in its
  /// place. `begin` sets the first view; `whenReady` is called when there is a screen for
  /// what a model then says, `whenOver` with its last state; `note` is shown first. Throws when
  /// the terminal cannot be taken.
  static func run(
    _ backend: any Backend, _ arguments: TerminalArguments, _ surroundings: Surroundings,
    begin: @escaping @Sendable (inout Viewpoint) -> Void, whenReady: () -> Void = {},
    whenOver: (Model) -> Void = { _ in }, note: String? = nil
  ) async throws -> String? {
    let config = Desk.config(), settings = Desk.configProblem
    let terminal = try NCursesTerminal(options: arguments.options(config))
    MappedFile.watchAgain()
    Crash.ifAsked()
    var all = surroundings
    all.bytesSent = { terminal.bytesSent }
    let changes = Changes()
    all.doubts = { MappedFile.takeCut() + changes.take() }
    let app = App(backend, terminal: terminal, surroundings: all, viewpoint: begin)
    let wrong =
      settings.map { "The config file \($0)" }
      ?? config.problems.first.map { "The config file, \($0)" }
    if let note = note ?? wrong ?? terminal.note { await app.say(note) }
    whenReady()
    await app.run()
    terminal.close()
    whenOver(await app.model)
    return await app.next
  }
}

/// Where the screen begins: the flags, or the middle layer. Checked before the screen is
/// taken, so that a wrong number is a message and not a flicker. Throws `mismatch` for a
/// layer or a head that does not exist.
private struct Start: Sendable {
  /// By indices.
  let head: HeadID
  /// The stored tile of a mask, else what the flags say.
  let spec: TileSpec
  /// Nil where no flag said it.
  let lambda: Double?
  /// The method that shows a kernel that was probed; nil: none was, or nothing is expected of it.
  private let probed: MethodSetting?

  /// Looks at the source alone. Throws `mismatch`.
  init(_ dump: Dump, _ about: SourceDescription, _ command: OpenCommand, isSample: Bool) throws {
    let probe = dump.probe.map(Probe.init)
    let card = about.methods.first { $0.needs.contains(.probe) }
    probed = probe?.rule == nil ? nil : card.map { MethodSetting($0.id) }
    let rule = command.tiles.tile == nil ? probe?.rule : nil
    spec = about.storedTile ?? rule ?? command.tiles.spec(queries: about.queries)
    lambda = command.tiles.chosenLambda.map { max(0, $0) } ?? probe?.lambda
    var layer = about.middleLayer
    if let number = command.layer { layer = try about.layerIndex(number, file: dump.path) }
    // The sample opens on a head of which BLASST prunes a good part.
    head = HeadID(
      layer: layer,
      head: try command.head.map { try about.headIndex($0, file: dump.path) }
        ?? (isSample ? Sample.head : 0))
  }

  /// Lambda only when it was given: otherwise the config file's holds.
  func apply(to selection: inout Viewpoint) {
    selection.spec = spec
    if let lambda { selection.lambda = lambda }
    guard let probed else { return }
    (selection.view, selection.method) = (.compare, probed)
    selection.other = Counterpart(selection.head, spec: spec)
  }
}

/// A file that `:state` wrote: the files it was about, and the lines of its view. A text that
/// people may edit; lines that are wrong are named and the others hold.
///
///     source samples/smollm2-log-832.safetensors
///     view map
///     lambda 0.01
///
/// Settings are those of `ViewSetting`, by the same names as in the palette, in lessons and in
/// `render --set`.
struct SavedState: Sendable {
  /// Paths as they were written.
  let files: [String]
  /// The view, with a comment in place of every line that named a file.
  private let lines: String

  /// Reads a state file of at most 1 MiB. Throws `malformed` for what is no UTF-8, and what
  /// reading throws.
  init(_ path: String) throws {
    let bytes = try Desk.whole(path)
    guard let text = String(validating: bytes, as: UTF8.self) else {
      throw FormatError(.malformed, "is no state file: a short text in UTF-8", file: path)
    }
    var files: [String] = []
    // A line that names a file stays as a comment, so that numbers of lines are those of the file.
    lines = text.textLines.map { line in
      guard line.hasPrefix("source ") else { return line }
      files.append(String(line.dropFirst(7)))
      return "#"
    }.joined(separator: "\n")
    self.files = files
  }

  /// Sets what can be set; `problems` tells of the rest.
  func apply(to selection: inout Viewpoint, _ about: SourceDescription) {
    _ = ViewState.read(lines, into: &selection, [about] + about.others)
  }

  /// What is wrong with it for these sources, a sentence a line of the file.
  func problems(_ sources: [SourceDescription]) -> [String] {
    var scratch = Viewpoint(sources[0])
    let problems = ViewState.read(lines, into: &scratch, sources)
    let isEmpty = !lines.split(separator: "\n").contains { !$0.hasPrefix("#") }
    return (problems + (isEmpty ? ["it says nothing about a view"] : [])).map {
      "The state file, \($0)"
    }
  }
}

extension Config {
  /// Sets the view settings of the config file. One that does not fit this source is passed
  /// over: the file was written for all of them.
  func apply(to selection: inout Viewpoint, sources: [SourceDescription]) {
    for (name, value) in view {
      try? ViewSetting.take(name, value, into: &selection, sources)
    }
  }
}

/// For the tests of the ways out: ATTNSCOPE_CRASH=segv, trap, abort or exit, once the screen
/// is taken.
private enum Crash {
  /// Returns when the variable is not set.
  static func ifAsked() {
    guard let how = getenv("ATTNSCOPE_CRASH") else { return }
    NCursesTerminal.die(String(cString: how))
  }
}
