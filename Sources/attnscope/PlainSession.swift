import Canvas
import Glibc
import Interface
import Sessions

/// `--plain`: says in sentences what the view shows, then takes a line a command and says
/// what is there now.
///
/// A line is what stands behind `:` on the screen (`lambda 0.1`, `next head`,
/// `compare 12.3`), the name of a view, or keys (`]]`, `<Down>`). An empty line says it
/// again; `help` lists the commands; `quit`, or the end of the input, ends. It drives the
/// same model as the screen, key by key, so whatever can be done there can be done here, and
/// a screen reader or a script can do it.
struct PlainSession {
  /// Answers what the view needs.
  private let backend: any Backend
  /// That of a screen nobody sees.
  private var model: Model

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
      } else {
        try await session.say()
      }
      fflush(nil)
    }
  }

  /// Waits for everything the view needs, then prints its sentences.
  private mutating func say() async throws {
    try await Still.complete(&model) { [backend, frame = model.frame] in
      try await backend.answer($0, at: frame)
    }
    print(PlainText(model).sentences.joined(separator: "\n"))
  }

  /// Does what a line says; true when the session is over. One or two characters are keys,
  /// longer words a command.
  private mutating func take(_ text: String) async throws -> Bool {
    guard !text.isEmpty else { return false }
    var effects: [Effect] = []
    let isView = ViewKind(word: text.lowercased()) != nil
    if !isView, !text.contains(" "), text.count <= 2 || text.hasPrefix("<") {
      for key in Key.sequence(text).keys { effects += update(&model, .event(.key(key))) }
      // A line is whole: no key comes behind a digit at its end.
      for case .awaitDigit(let number) in effects {
        effects += update(&model, .digitIsLate(number))
      }
    } else {
      let command = ":" + (isView ? "view " : "") + text.lowercased(ifView: isView)
      for character in command {
        effects += update(&model, .event(.key(.character(character))))
      }
      effects += update(&model, .event(.key(.enter)))
    }
    for effect in effects {
      switch effect {
      case .quit: return true
      case .export(let path):
        print(
          Printable.text(
            await Exporter.write(path, model) { [backend] in try await backend.answer($0) }))
      case .send: print("This is a recording: it can be stepped through, not run on.")
      default: break
      }
    }
    return false
  }

  /// Made from the key table, as the help of the screen is.
  private static var help: String {
    let actions = KeyTable.bindings.map { [$0.keys.first?.name ?? "", $0.name] }
    let commands = KeyTable.commands.map { [$0.text, $0.what] }
    return [
      "Views: map, heads, blocks, sinks, tokens, compare.", "Actions, by key or by name:",
      Table(listing: actions).text, "Commands:", Table(listing: commands).text,
    ].joined(separator: "\n")
  }
}

extension String {
  /// Names of views may be written as titles; other words are taken as they are.
  fileprivate func lowercased(ifView: Bool) -> String { ifView ? lowercased() : self }
}
