import ArgumentParser
import Attention
import Canvas
import Methods

/// `attnscope methods`: every method with its idea, its paper, its knobs, and whether an engine can
/// run it, made from the methods' own cards.
struct MethodsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "methods",
    abstract: "The methods of the library: ideas, papers, knobs, and which run in the engine.")

  /// Ids of cards or of their variants; empty: all.
  @Argument(help: "Methods to show (default: all).") var ids: [String] = []
  @Flag(help: "Print JSON.") var json = false
  @Flag(help: "Print Markdown: a heading and a table a family.") var markdown = false

  /// Throws `ValidationError` for two formats.
  func validate() throws {
    if json, markdown { throw ValidationError("Choose one of --json, --markdown.") }
  }

  /// By family, within one in the order of the registry; JSON is a list of methods. With ids those
  /// alone. Throws `KnobError` for an id that is not there.
  func run() throws {
    let registry = Registry.standard
    let chosen = try ids.map { type(of: try registry.make(MethodSetting($0))).card.id }
    let methods = registry.methods.filter { chosen.isEmpty || chosen.contains($0.card.id) }
    if json {
      print(JSON.array(methods.map(Self.json)).text(pretty: true))
      return
    }
    for family in registry.families {
      let shown = methods.filter { $0.card.family == family.word }
      guard !shown.isEmpty else { continue }
      print(markdown ? Self.markdown(family, shown) : Self.text(family, shown))
    }
  }

  /// `yes`, or why not.
  private static func engine(_ method: any AttentionMethod.Type) -> String {
    Registry.engineRefusal(method).map { "no: \($0)" } ?? "yes"
  }

  /// The family's title and paragraph, then its methods with their knobs.
  private static func text(_ family: MethodFamily, _ methods: [any AttentionMethod.Type]) -> String
  {
    let words = family.paragraph.isEmpty ? [] : Printable.lines(family.paragraph, width: 78)
    var lines = ["\(family.title) (\(family.word))"] + words + [""]
    for method in methods {
      let card = method.card
      lines += [card.id, "  \(card.title): \(card.idea)", "  \(card.source)"]
      lines.append("  engine: \(engine(method))")
      guard !card.knobs.isEmpty else { continue }
      let knobs = card.knobs.map {
        ["--knob \($0.name)=\($0.standard)", "(\($0.rangeText))", $0.help]
      }
      lines.append(Table(listing: knobs, indent: 2).text)
    }
    return lines.joined(separator: "\n") + "\n"
  }

  /// The same for a page: a row a method.
  private static func markdown(
    _ family: MethodFamily, _ methods: [any AttentionMethod.Type]
  ) -> String {
    let columns = [
      "method", "idea", "source", "needs", "fidelity", "engine", "growth of the choice",
    ]
    let rows = methods.map { method -> [String] in
      let card = method.card
      return [
        "`\(card.id)`", card.idea, card.source,
        card.needs.map(\.rawValue).sorted().joined(separator: ", "), card.fidelity.tag,
        engine(method), card.growth?.text ?? "",
      ]
    }
    let table = Table(columns, leftAligned: Set(columns), rows: rows)
    return "## \(family.title)\n\n\(family.paragraph)\n\n\(table.markdown)\n"
  }

  /// A card as an object. `citation` repeats `source` under the name that older scripts ask
  /// for.
  private static func json(_ method: any AttentionMethod.Type) -> JSON {
    let card = method.card, refusal = Registry.engineRefusal(method)
    return .object([
      ("id", .string(card.id)), ("title", .string(card.title)), ("family", .string(card.family)),
      ("idea", .string(card.idea)), ("source", .string(card.source)),
      ("citation", .string(card.source)),
      ("scope", .string(card.scope.rawValue)), ("fidelity", .string(card.fidelity.tag)),
      ("needs", .array(card.needs.map(\.rawValue).sorted().map(JSON.string))),
      ("growth", .optional(card.growth?.text, JSON.string)),
      ("engine", .bool(refusal == nil)), ("engine_refusal", .optional(refusal, JSON.string)),
      (
        "knobs",
        .array(
          card.knobs.map {
            .object([
              ("name", .string($0.name)), ("help", .string($0.help)),
              ("range", .string($0.rangeText)),
              ("default", .string("\($0.standard)")),
            ])
          })
      ),
    ])
  }
}
