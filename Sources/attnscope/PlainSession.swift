import Canvas
import Glibc
import Interface
import Sessions

/// `--plain`: says in sentences what the view shows, then takes a line a command and says
/// what is there now.
///
/// A line is what stands behind `:` on the screen (`lambda 0.1`, `next head`,
/// `compare 12.3`), `find TEXT`, the name of a view, or keys (`]]`, `<Down>`). Names are exact:
/// nothing is guessed, and nothing asks back. What has changed is said; an empty line says
/// everything again; `help` lists the commands; `quit`, or the end of the input, ends. It drives
/// the same model as the screen, so whatever can be done there can be done here, and a screen
/// reader or a script can do it.
struct PlainSession {
  /// Answers what the view needs.
  private let backend: any Backend
  /// That of a screen nobody sees.
  private var model: Model
  /// What was said before.
  private var changes = PlainChanges()

  /// The model of a screen of 120 x 40, which decides how finely maps are pooled.
  init(_ backend: any Backend, begin: (inout Viewpoint) -> Void) {
    self.backend = backend
    model = Model(backend.describe(), width: 120, height: 40)
    begin(&model.viewpoint)
    // A recording is looked at from its end.
    if let live = model.live?.status { _ = update(&model, .moment(.live(live))) }
  }

  /// Talks until the input ends. Throws what computing an answer throws.
  func run() async throws {
    var session = self
    try await session.say()
    if isatty(0) == 1 { print("A line is a command; help lists them, quit ends.") }
    fflush(nil)
    while let line = readLine() {
      let text = line.trimmed
      if text == "quit" || text == "q" { return }
      if text == "help" {
        print(Self.help)
      } else if try await session.take(text) {
        return
      }
      fflush(nil)
    }
  }

  /// Waits for everything the view needs, then prints what is new of its sentences, or `all`.
  private mutating func say(all: Bool = false) async throws {
    try await Still.complete(&model) { [backend, frame = model.frame] in
      try await backend.answer($0, at: frame)
    }
    print(changes.next(model, all: all).joined(separator: "\n"))
  }

  /// Longer than every command, and short enough to be looked up at once.
  private static let mostBytes = 2000

  /// Does what a line says and tells what came of it; true when the session is over.
  private mutating func take(_ text: String) async throws -> Bool {
    guard !text.isEmpty else {
      try await say(all: true)
      return false
    }
    guard text.utf8.count <= Self.mostBytes else {
      print("A line of more than \(Self.mostBytes) bytes is no command; help lists them.")
      return false
    }
    guard let effects = model.obey(text) else {
      print("There is no command \"\(Printable.text(text))\"; help lists them.")
      return false
    }
    var isTold = false
    for effect in effects {
      isTold = true
      switch effect {
      case .quit: return true
      case .export(let path):
        print(
          Printable.text(
            await Exporter.write(path, model) { [backend] in try await backend.answer($0) }))
      case .send: print("This is a recording: it can be stepped through, not run on.")
      case .saveState, .keepMarks, .reopen:
        print(
          "Here no bookmark and no state is kept, and no other file opened; the screen does it.")
      default: isTold = false
      }
    }
    if !isTold { try await say() }
    return false
  }

  /// Made from the key table, as the help of the screen is.
  private static var help: String {
    let actions = KeyTable.bindings.filter { ![.help, .palette].contains($0.action) }
      .map { [$0.keys.first?.name ?? "", $0.name] }
    let commands = KeyTable.commands.map { [$0.text, $0.what] }
    return [
      "Views: map, heads, blocks, sinks, tokens, compare.",
      "find TEXT goes to the next token with this text; an empty line says everything again.",
      "Actions, by key, or by the whole name up to its first sign:",
      Table(listing: actions).text, "Commands:", Table(listing: commands).text,
    ].joined(separator: "\n")
  }
}
