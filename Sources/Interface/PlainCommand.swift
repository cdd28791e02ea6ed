import Canvas
import Sessions

/// A line of `--plain`: done by exact names alone, since nobody sees a list of what was guessed.
extension Model {
  /// Does what a line says: a view, an action by its name, `find TEXT`, a command with its value,
  /// or one or two keys. Nil when there is nothing of this name; nothing is done then.
  ///
  /// Example: `model.obey("lambda 0.1")`. What would open a prompt says instead how its answer is
  /// written in one line.
  public mutating func obey(_ line: String) -> [Effect]? {
    var text = line.trimmed
    if text.count > 1, text.first == ":" { text.removeFirst() }
    let words = text.split(separator: " ").map(String.init)
    guard let name = words.first else { return [] }
    message = nil
    if let view = ViewKind(word: text.lowercased()) { return command("view \(view.word)") }
    if name == "find" {
      guard words.count > 1 else { return say("Give it a text: find lamp.") }
      return finish(.answered(.find, words.dropFirst().joined(separator: " ")))
    }
    if let action = Self.action(exactly: text) { return withoutPrompt { $0.perform(action) } }
    if text.count <= 2 || text.hasPrefix("<") {
      let keys = Key.sequence(text).keys
      guard !keys.isEmpty else { return nil }
      return withoutPrompt { model in
        let effects = keys.flatMap { Interface.update(&model, .event(.key($0))) }
        // A line is whole: no key comes behind a digit at its end.
        return effects.flatMap { effect -> [Effect] in
          guard case .awaitDigit(let number) = effect else { return [effect] }
          return Interface.update(&model, .digitIsLate(number))
        }
      }
    }
    var done: [Effect]?
    let effects = withoutPrompt { model in
      done = model.command(text)
      return done ?? []
    }
    return done == nil ? nil : effects
  }

  /// The action of a name: as the help writes it, up to its first sign, or as the settings do.
  private static func action(exactly text: String) -> Action? {
    let wanted = text.lowercased()
    let found = KeyTable.bindings.first { binding in
      let short = binding.name.prefix { !":;,(".contains($0) }
      return [binding.name, String(short), binding.action.rawValue].contains {
        $0.trimmed.lowercased() == wanted
      }
    }
    return found?.action
  }

  /// Does something; a prompt that it opened is closed, and what to write in its place is said.
  private mutating func withoutPrompt(_ body: (inout Model) -> [Effect]) -> [Effect] {
    let effects = body(&self)
    let hint: String
    switch prompt.mode {
    case .normal: return effects
    case .ask(.goTo, _): hint = "Write key 5, with the number of a key."
    case .ask(.goToQuery, _): hint = "Write query 100, with the number of a query."
    case .ask(.goToStep, _): hint = "Write key 5, with the number of a token."
    case .ask(.find, _): hint = "Write find TEXT; n is the next match, N the one before."
    case .ask(.export, _): hint = "Write export NAME.svg; .png .pdf .html .txt .csv .npy as well."
    case .ask(.mark, _): hint = "Write mark NAME; go NAME comes back."
    case .ask(.branch, _): hint = "Branches are made of a live run, on the screen."
    case .help, .palette: hint = "Write a command by its name; help lists them."
    case .list(.library, _, _): hint = "Write method ID; attnscope methods lists them."
    case .list(.branches, _, _):
      hint = "Branches: \(names(.branches).joined(separator: "; ")). x goes to the one beside this."
    case .list(let list, _, _):
      let verb = list == .marks ? "go" : "open"
      let names = names(list).prefix(20).joined(separator: ", ")
      hint = "\(list.rawValue): \(names.isEmpty ? "none" : names). Write \(verb) NAME."
    }
    prompt.mode = .normal
    message = hint
    return effects
  }
}

/// What `--plain` says after a line: all of a view that has just come, else what differs from what
/// was said before.
public struct PlainChanges {
  private var view: ViewKind?
  private var said: Set<String> = []

  /// Nothing was said yet.
  public init() {}

  /// The sentences to say now. `all` says everything again.
  public mutating func next(_ model: Model, all: Bool = false) -> [String] {
    let sentences = PlainText(model).sentences
    let isNew = all || view != model.viewpoint.view
    let known = said
    (view, said) = (model.viewpoint.view, Set(sentences))
    let message = model.message.map { Printable.text($0) }
    let news = isNew ? sentences : sentences.filter { !known.contains($0) || $0 == message }
    return news.isEmpty ? ["Nothing has changed."] : news
  }
}
