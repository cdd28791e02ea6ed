import ArgumentParser
import Attention
import Backends
import Canvas
import Formats
import Glibc
import Sessions
import Synchronization
import Tensors

/// `attnscope check FILE`: whether the numbers of a dump come out the same when they are computed
/// another way.
///
/// A sample of tiles, rows and figures is recomputed in double precision, straight from the
/// definitions, and held against what every screen and report says; so are the tables of the file
/// that are kept on disk, and what a recording says of its run. The catch: it checks how numbers
/// are computed from a file, not whether the file is what its model did.
struct CheckCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "check",
    abstract: "Recompute a sample of a file's numbers another way, and say how far they are off.",
    discussion: """
      Tiles (margins, verdicts, masses), rows and pictures of the map, entropy, sink, sparsity, \
      dropped mass and output error, kept tables, and recordings. Each line says how many numbers \
      were compared, the largest difference, and its share of the bound that holds there. Exit \
      code 1 when one is beyond its bound. `attnscope doctor --numbers` checks the \
      processor likewise.
      """)

  @OptionGroup var dump: DumpArguments
  @OptionGroup var texts: TokenArguments
  @OptionGroup var blocks: BlockArguments
  /// 1 to 2^20.
  @Option(help: "Tiles and rows that are drawn, each; figures of heads a sixteenth of it.")
  var count = 64
  /// Equal seeds, equal samples.
  @Option(help: "Seed of the sample.") var seed: UInt64 = 1
  /// In (0, 1].
  @Option(help: "Threshold of sparsity, dropped mass and error (default: 0.01).")
  var lambda = 0.01
  /// As the file calls them; nil: all.
  @Option(help: "Layer numbers, e.g. 0-3,12.") var layers: NumberList?
  /// Query heads; nil: all.
  @Option(help: "Head numbers, e.g. 0,4-8.") var heads: NumberList?
  @Flag(help: "Print JSON.") var json = false

  /// Throws `ValidationError` for an empty sample and a threshold that skips nothing.
  func validate() throws {
    guard (1...1 << 20).contains(count) else {
      throw ValidationError("--count is 1 to \(1 << 20).")
    }
    guard lambda > 0, lambda <= 1 else {
      throw ValidationError("--lambda is above 0 and at most 1.")
    }
  }

  /// Every file named. Throws exit code 1 when a number is beyond its bound, 130 after Ctrl-C.
  func run() throws {
    do {
      Interrupt.watch()
      let found = try files()
      if json {
        let all = found.map { Self.json($0.name, $0.tally, seed) }
        print((all.count == 1 ? all[0] : .array(all)).text(pretty: true))
      } else {
        for (name, tally) in found { print(text(name, tally)) }
      }
      if !found.allSatisfy(\.tally.isWithin) { throw ExitCode(1) }
    } catch is CancellationError {
      say("stopped by Ctrl-C: nothing is reported")
      throw ExitCode(130)
    }
  }

  private var isRecording: Bool {
    dump.files.count == 1 && SafetensorsStream.isRecording(dump.files[0])
  }

  /// What each file came to.
  private func files() throws -> [(name: String, tally: CheckTally)] {
    var request = CheckRequest()
    (request.count, request.seed, request.lambda) = (count, seed, lambda)
    if isRecording {
      let meter = Meter(dump.files[0])
      let check = try RecordingCheck(
        dump.files[0], request, tell: meter.hear, isCancelled: { Interrupt.wasAsked })
      return [(dump.files[0], try check.run())]
    }
    request.tables = .standard
    return try dump.open(texts).map { dump in
      // What is kept on disk is looked at apart: here everything is computed.
      let backend = FileBackend(dump, facts: try texts.facts())
      let about = backend.describe()
      for guess in about.guesses where !json { say(Printable.text("\(dump.path): \(guess)")) }
      var own = request
      own.layers = try layers.map { try about.layerIndices($0, file: dump.path) }
      own.heads = try heads.map {
        try $0.numbers.map { try about.headIndex($0, file: dump.path) }
      }
      if isTold { own.spec = blocks.spec(queries: about.queries) }
      let check = DumpCheck(
        backend, own, tell: Meter(dump.path).hear, isCancelled: { Interrupt.wasAsked })
      return (dump.path, try check.run())
    }
  }

  /// A tile was asked for, or a rule of it.
  private var isTold: Bool {
    blocks.tile != nil || blocks.vote != nil || blocks.order != nil || blocks.splits > 1
      || blocks.criterion != .max
  }

  // MARK: Output

  /// A line a kind, and what it comes to.
  private func text(_ name: String, _ tally: CheckTally) -> String {
    let columns = ["what", "compared", "largest difference", "of its bound", "where", ""]
    let rows = tally.lines.map { line in
      [
        line.what, "\(line.compared)", Numbers.short(line.largest), Self.share(line),
        line.place.isEmpty ? "-" : line.place, line.isWithin ? "ok" : "WRONG",
      ]
    }
    let table = Table(columns, leftAligned: ["what", "where", ""], rows: rows)
    let wrong = tally.lines.filter { !$0.isWithin }
    let end =
      wrong.isEmpty
      ? "\(tally.compared) numbers compared (seed \(seed)), all within their bounds"
      : """
      beyond its bound: \(wrong.map { "\($0.what) at \($0.place)" }.joined(separator: "; "))
      a wrong number is a fault of this program or of what it kept: please report it with this \
      text and `attnscope doctor --numbers`; a kept table is made anew once its file is deleted
      """
    let notes = tally.notes.map { "note: \($0)" }
    return ([Printable.text(name), table.text] + notes + [end]).joined(separator: "\n")
  }

  /// The worst difference over the bound at its place.
  private static func share(_ line: CheckLine) -> String {
    line.share.isFinite ? Numbers.percent(line.share) : "beyond"
  }

  private static func json(_ name: String, _ tally: CheckTally, _ seed: UInt64) -> JSON {
    .object([
      ("file", .string(name)), ("seed", .integer(Int(clamping: seed))),
      ("within", .bool(tally.isWithin)), ("compared", .integer(tally.compared)),
      (
        "lines",
        .array(
          tally.lines.map { line in
            .object([
              ("what", .string(line.what)), ("compared", .integer(line.compared)),
              ("largest", .number(line.largest)), ("bound", .number(line.bound)),
              ("share", .number(line.share)),
              ("where", line.place.isEmpty ? .null : .string(line.place)),
              ("within", .bool(line.isWithin)),
            ])
          })
      ), ("notes", .array(tally.notes.map(JSON.string))),
    ])
  }

  /// Says how far a check is, every two seconds, from the second on.
  private final class Meter: Sendable {
    private let name: String
    private let start = ContinuousClock.now
    private let last = Mutex(0.0)

    init(_ name: String) { self.name = Printable.text(name) }

    /// Takes the share that is done.
    @Sendable func hear(_ share: Double) {
      let seconds = (ContinuousClock.now - start).seconds
      let isDue = last.withLock { last in
        guard seconds - last >= 2, share < 1 else { return false }
        last = seconds
        return true
      }
      guard isDue, share > 0 else { return }
      let left = seconds / share * (1 - share)
      say("\(name): \(Numbers.percent(share)) checked, about \(Numbers.fixed(left, 0)) s left")
    }
  }
}
