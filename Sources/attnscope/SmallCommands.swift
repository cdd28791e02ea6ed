import ArgumentParser
import Attention
import Backends
import Formats
import Interface
import Sessions
import Canvas
import Glibc
import Methods
import NCursesTerminal
import Tensors

/// `attnscope methods`: every method with its idea, its paper and its knobs, made from the
/// methods' own cards.
struct MethodsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "methods",
    abstract: "The methods that report can run, by family: ideas, papers and knobs.")

  @Flag(help: "Print JSON.") var json = false
  @Flag(help: "Print Markdown: a heading and a table a family.") var markdown = false

  /// Throws `ValidationError` for two formats.
  func validate() throws {
    if json, markdown { throw ValidationError("Choose one of --json, --markdown.") }
  }

  /// By family, within one in the order of the registry; JSON is a list of methods.
  func run() {
    let registry = Registry.standard
    if json {
      print(JSON.array(registry.cards.map(Self.json)).text(pretty: true))
      return
    }
    for family in registry.families {
      let cards = registry.cards.filter { $0.family == family.word }
      print(markdown ? Self.markdown(family, cards) : Self.text(family, cards))
    }
  }

  /// The family's title and paragraph, then its methods with their knobs.
  private static func text(_ family: MethodFamily, _ cards: [MethodCard]) -> String {
    let words = family.paragraph.isEmpty ? [] : Printable.lines(family.paragraph, width: 78)
    var lines = ["\(family.title) (\(family.word))"] + words + [""]
    for card in cards {
      lines += [card.id, "  \(card.title): \(card.idea)", "  \(card.source)"]
      guard !card.knobs.isEmpty else { continue }
      let knobs = card.knobs.map {
        ["--knob \($0.name)=\($0.standard)", "(\($0.rangeText))", $0.help]
      }
      lines.append(Table(listing: knobs, indent: 2).text)
    }
    return lines.joined(separator: "\n") + "\n"
  }

  /// The same for a page: a row a method.
  private static func markdown(_ family: MethodFamily, _ cards: [MethodCard]) -> String {
    let table = Table(
      ["method", "idea", "source", "fidelity"],
      leftAligned: ["method", "idea", "source", "fidelity"],
      rows: cards.map { ["`\($0.id)`", $0.idea, $0.source, $0.fidelity.tag] })
    return "## \(family.title)\n\n\(family.paragraph)\n\n\(table.markdown)\n"
  }

  /// A card as an object. `citation` repeats `source` under the name that older scripts ask
  /// for.
  private static func json(_ card: MethodCard) -> JSON {
    .object([
      ("id", .string(card.id)), ("title", .string(card.title)), ("family", .string(card.family)),
      ("idea", .string(card.idea)), ("source", .string(card.source)),
      ("citation", .string(card.source)),
      ("scope", .string(card.scope.rawValue)), ("fidelity", .string(card.fidelity.tag)),
      ("needs", .array(card.needs.map(\.rawValue).sorted().map(JSON.string))),
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

/// `attnscope doctor`: what to paste into a bug report. It computes nothing and changes
/// nothing; whatever cannot be known is said in its line.
struct DoctorCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor",
    abstract: "What this terminal and this machine can do, with what to change.")

  /// What the screen costs a line: a whole frame of the sample, and at most how many of them
  /// a second. Throws when the sample is not there.
  private static func traffic() async throws -> String {
    let dump = try Dump.open(try Sample.path())
    let backend = FileBackend(dump)
    let grid = try await Still.grid(backend, width: 120, height: 40) {
      $0.head = HeadID(layer: backend.describe().middleLayer, head: Sample.head)
    }
    let rate = NCursesTerminal.standardRate
    let kilobytes = Double(grid.ansi.utf8.count) / 1000
    return
      """
      a whole frame of the sample at 120x40 is \(Numbers.fixed(kilobytes, 1)) kB, at most \
      \(Numbers.fixed(kilobytes * Double(rate), 0)) kB/s at \(rate) frames a second; only rows \
      that change are sent, and :bytes shows how much
      """
  }

  /// Names in a column, verdicts behind.
  func run() async {
    let facts =
      TerminalFacts.report() + [
        ("traffic", (try? await Self.traffic()) ?? "not known: the sample is not here"),
        ("config", Desk.configNote),
        (
          "kernels",
          InstructionSet.best.name + " of "
            + InstructionSet.allCases.filter(\.isAvailable).map(\.name).joined(separator: ", ")
        ),
        ("threads", "\(ComputeThreads.shared.count)"),
        ("sample", (try? Sample.path()) ?? "not found: set ATTNSCOPE_SAMPLES to its folder"),
        (
          "model",
          access(ModelArguments.bundled, R_OK) == 0
            ? ModelArguments.bundled : "not here: samples/get-model.sh brings it"
        ),
      ]
    print(Table(listing: facts.map { [$0.0, $0.1] }).text)
  }
}
