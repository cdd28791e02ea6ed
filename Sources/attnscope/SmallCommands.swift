import ArgumentParser
import Attention
import Canvas
import Glibc
import Methods
import NCursesTerminal
import Tensors

struct MethodsCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "methods",
    abstract: "The methods that report can run, their ideas, papers and knobs.")

  @Flag(help: "Print JSON.") var json = false

  func run() {
    let cards = Registry.methods.map { $0.card }
    if json {
      print(JSON.array(cards.map(Self.json)).text(pretty: true))
      return
    }
    for card in cards {
      print("\(card.id)\n  \(card.title): \(card.idea)\n  \(card.citation)")
      for knob in card.knobs {
        print("  --knob \(knob.name)=\(knob.standard)  (\(knob.rangeText)) \(knob.help)")
      }
    }
  }

  private static func json(_ card: MethodCard) -> JSON {
    .object([
      ("id", .string(card.id)), ("title", .string(card.title)), ("family", .string(card.family)),
      ("idea", .string(card.idea)), ("citation", .string(card.citation)),
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

struct DoctorCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor",
    abstract: "What this terminal and this machine can do, with what to change.")

  func run() {
    let facts =
      TerminalFacts.report() + [
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
    let width = facts.map(\.0.count).max() ?? 0
    for (name, verdict) in facts {
      print(name + String(repeating: " ", count: width - name.count + 2) + Printable.text(verdict))
    }
  }
}
