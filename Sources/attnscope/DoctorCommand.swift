import ArgumentParser
import Attention
import Backends
import Canvas
import Formats
import Glibc
import Interface
import NCursesTerminal
import Sessions
import Tensors

/// `attnscope doctor`: what to paste into a bug report. It computes nothing and changes
/// nothing; whatever cannot be known is said in its line. With `--numbers` it runs fixed inputs
/// through the kernels of every instruction set instead, beside double precision.
struct DoctorCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "doctor",
    abstract: "What this terminal and this machine can do, with what to change.",
    discussion: """
      --numbers runs fixed inputs through the kernels of every instruction set that this processor \
      has, and compares margins, masses, rows and outputs with the definitions in double \
      precision: exit code 1 when one is beyond its bound. `attnscope check FILE` does the same \
      for the numbers of a file.
      """)

  @Flag(help: "Check the kernels of every instruction set against double precision.")
  var numbers = false

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

  /// Names in a column, verdicts behind. Throws exit code 1 for numbers that are off.
  func run() async throws {
    if numbers { return try Self.checkNumbers() }
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

  /// A line for each instruction set and case. Throws exit code 1 when one is off.
  private static func checkNumbers() throws {
    var rows: [[String]] = [], wrong: [String] = []
    ProcessorCheck().run { set, line in
      rows.append([
        set.name, line.what, "\(line.compared)", Numbers.short(line.largest),
        line.place.isEmpty ? "-" : Numbers.short(line.bound), line.isWithin ? "ok" : "WRONG",
      ])
      if !line.isWithin { wrong.append("\(set.name), \(line.what): \(line.place)") }
    }
    let columns = ["kernels", "what", "compared", "largest error", "bound there", ""]
    print(Table(columns, leftAligned: ["kernels", "what", ""], rows: rows).text)
    guard !wrong.isEmpty else {
      return print("all within their bounds; \(InstructionSet.best.name) is used here")
    }
    for place in wrong { print("beyond its bound: \(place)") }
    print(
      """
      numbers of such kernels cannot be trusted on this machine: please report this text; \
      ATTNSCOPE_ISA=plain does without them
      """)
    throw ExitCode(1)
  }
}
