import ArgumentParser
import Attention
import Canvas
import Formats
import Glibc
import Tensors

/// `attnscope bench attention --repeats 9`: how fast this machine is, beside what it could
/// be.
///
/// Every speed stands with a ceiling that was measured in the same run, and with the
/// operations that it is counted in, so a figure can be checked by hand. The catch: laptops
/// slow down when warm; medians of turns are what can be trusted.
struct BenchCommand: AsyncParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "bench",
    abstract: "Measure this machine: operation counts first, then medians with their spread.",
    discussion: """
      Suites: attention (forward passes of one head), decode (rows over a long cache), map (131072 \
      tokens on the \
      screen), engine (a model; only when named), ui (key to frame), methods (how the cost of \
      every method's choice grows with the text, beside its card; only when named). Each figure \
      stands beside the ceiling that was measured in the same run. --against starts a program once \
      and takes turns with it, shape by shape: it prints one \
      line {"name": ..}, then answers each line \
      {"suite","case","queries","keys","dim","value_dim","causal","threads"} \
      (engine: {"tokens","context"}) with {"seconds": ..} or {"unsupported": ..}; see samples/bench.
      """)

  /// Groups of figures; `engine` needs a model, `methods` some minutes, and both run only when
  /// named.
  enum Suite: String, ExpressibleByArgument, CaseIterable {
    case attention, decode, map, engine, ui, methods
  }

  /// In the order given; engine and methods only when they are named.
  @Argument(help: "Suites to run (default: all but engine and methods).")
  var suites: [Suite] = [.attention, .decode, .map, .ui]
  @OptionGroup var model: ModelArguments
  @OptionGroup var engine: EngineArguments
  /// 1 to 1000; a median wants an odd number.
  @Option(help: "Repetitions of each figure.") var repeats = 5
  /// A shell command; nil for none.
  @Option(help: ArgumentHelp("A baseline to take turns with.", valueName: "command"))
  var against: String?
  /// A path; nil: the sample.
  @Option(help: "A dump whose heads the int8 bound is tried on (default: the bundled sample).")
  var dump: String?
  @Flag(help: "Print a JSON array.") var json = false

  /// Throws `ValidationError` for fewer than one repetition.
  func validate() throws {
    guard (1...1000).contains(repeats) else { throw ValidationError("--repeats is 1 to 1000.") }
  }

  /// Runs the suites in the order given and prints each when it is done. Throws when a
  /// baseline, a dump or a model cannot be opened.
  func run() async throws {
    engine.apply()
    let baseline = try against.map { try Baseline($0) }
    defer { baseline?.end() }
    var figures: [BenchFigure] = [], growths: [MethodGrowth] = []
    for suite in suites {
      if isatty(2) == 1 { say("\(suite.rawValue)…") }
      guard suite != .methods else {
        growths = MethodsBench(repeats: repeats).growths()
        if !json { print("\(MethodGrowth.heading)\n\(MethodGrowth.table(growths))") }
        continue
      }
      let part = try await self.figures(suite, baseline)
      if !json {
        if figures.isEmpty { print(BenchFigure.heading) }
        print(BenchFigure.table(part))
        fflush(nil)
      }
      figures += part
    }
    if json {
      print(JSON.array(figures.map(\.json) + growths.map(\.json)).text(pretty: true))
    }
  }

  /// One suite. Throws what preparing it throws.
  private func figures(_ suite: Suite, _ baseline: Baseline?) async throws -> [BenchFigure] {
    switch suite {
    case .attention:
      AttentionBench(
        try Dump.open(try dump ?? Sample.path()), repeats: repeats, baseline: baseline
      ).figures()
    case .decode: DecodeBench(repeats: repeats, baseline: baseline).figures()
    case .map: try MapBench(repeats: repeats).figures()
    case .engine:
      EngineBench(try engine.open(try model.path()), repeats: repeats, baseline: baseline).figures()
    case .ui: try await UIBench(repeats: repeats).figures()
    case .methods: []
    }
  }
}
