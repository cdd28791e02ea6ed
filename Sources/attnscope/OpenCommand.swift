import ArgumentParser
import Attention
import Backends
import Canvas
import Formats
import Glibc
import Interface
import NCursesTerminal
import Sessions

/// The flags about the terminal itself.
struct TerminalArguments: ParsableArguments {
  enum ColorChoice: String, ExpressibleByArgument, CaseIterable {
    case auto, palette = "256", basic = "16", never
  }

  enum Background: String, ExpressibleByArgument, CaseIterable { case light, dark }

  @Option(help: "Colours: auto, 256, 16 or never.") var color: ColorChoice = .auto
  @Option(help: "Colours for a light or a dark background.") var background: Background?
  @Flag(help: "Draw with ASCII characters only.") var ascii = false
  @Flag(inversion: .prefixedNo, help: "Let the mouse move the cursor, zoom and pan.") var mouse =
    true

  var options: TerminalOptions {
    var options = TerminalOptions()
    options.colors =
      switch color {
      case .auto: nil
      case .palette: .palette
      case .basic: .basic
      case .never: .mono
      }
    options.unicode = ascii ? false : nil
    options.mouse = mouse
    options.lightBackground = background.map { $0 == .light }
    return options
  }
}

struct OpenCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "open",
    abstract: "Explore a dump on the screen; without a terminal, print its summary.")

  @OptionGroup var dump: DumpArguments
  @OptionGroup var texts: TokenArguments
  @OptionGroup var tiles: TileArguments
  @OptionGroup var terminal: TerminalArguments
  @Option(help: "Layer number to begin with.") var layer: Int?
  @Option(help: "Head number to begin with.") var head: Int?

  func run() async throws {
    if let file = dump.files.first, dump.files.count == 1, SafetensorsStream.isRecording(file) {
      return try await replay(file)
    }
    let dump = try self.dump.one(texts)
    let backend = self.dump.backend(dump)
    let start = try Start(dump, backend.describe(), self)
    guard isatty(0) == 1, isatty(1) == 1 else {
      print(PlainSummary(dump, backend, lambda: try Lambda(tiles.lambda), spec: start.spec).text)
      return
    }
    try await Screen.run(backend, terminal, begin: { start.apply(to: &$0) })
  }

  private func replay(_ file: String) async throws {
    if isatty(2) == 1 { say("reading \(Printable.text(file))…") }
    let backend = try ReplayBackend(file)
    guard isatty(0) == 1, isatty(1) == 1 else {
      print(ReplaySummary(backend).text)
      return
    }
    let (lambda, spec) = (max(0, tiles.lambda), tiles.spec(queries: 2))
    try await Screen.run(
      backend, terminal,
      begin: { selection in
        selection.view = .tokens
        selection.lambda = lambda
        selection.spec = spec
      })
  }
}

/// An app on the real terminal, from first frame to the way out.
enum Screen {
  static func run(
    _ backend: any Backend, _ arguments: TerminalArguments,
    begin: @escaping @Sendable (inout Viewpoint) -> Void, whenReady: () -> Void = {}
  ) async throws {
    let terminal = try NCursesTerminal(options: arguments.options)
    Crash.ifAsked()
    let app = App(backend, terminal: terminal, selection: begin, export: Exporter.write)
    if let note = terminal.note { await app.say(note) }
    whenReady()
    await app.run()
    terminal.close()
  }
}

/// Where the screen begins: the flags, or the head with most to see.
private struct Start: Sendable {
  let head: HeadID
  let spec: TileSpec
  let lambda: Double

  init(_ dump: Dump, _ about: SourceDescription, _ command: OpenCommand) throws {
    spec = about.storedTile ?? command.tiles.spec(queries: about.queries)
    lambda = max(0, command.tiles.lambda)
    var layer = about.layers.count > 1 ? about.layers.count / 2 : 0
    // The sample opens on a head of which BLASST prunes a good part.
    let isSample = command.dump.isSample
    if let number = command.layer { layer = try about.layerIndex(number, file: dump.path) }
    head = HeadID(
      layer: layer,
      head: try about.checkedHead(command.head ?? (isSample ? Sample.head : 0), file: dump.path))
  }

  func apply(to selection: inout Viewpoint) {
    selection.head = head
    selection.spec = spec
    selection.lambda = lambda
  }
}

/// Writes an exported screen beside the user, under a name that is free.
enum Exporter {
  @Sendable static func write(_ name: String, _ text: String) -> String {
    for number in 1...999 {
      let path = number == 1 ? "\(name).ansi" : "\(name)-\(number).ansi"
      do throws(FormatError) {
        try writeText(text, to: path, force: false)
        return "Written to \(path); cat shows it."
      } catch {
        if error.code != .exists { return "\(error)" }
      }
    }
    return "There are 999 exports of this name already."
  }
}

/// For the tests of the ways out: ATTNSCOPE_CRASH=segv, trap, abort or exit, once the screen is taken.
private enum Crash {
  static func ifAsked() {
    guard let how = getenv("ATTNSCOPE_CRASH") else { return }
    NCursesTerminal.die(String(cString: how))
  }
}
