import Analysis
public import ArgumentParser
import Attention
import Backends
import Canvas
import Formats
import Models
import Tensors

/// `attnscope calibrate FILE --target 0.5 --write trtllm -o skip.yaml`: the lambda for a
/// sparsity, and its price.
///
/// No search: margins of all blocks give sparsity as a function of lambda, exactly. The fits
/// extend it to other lengths (BLASST's a / L, ModelOpt's a exp(b S) / L); warnings say where
/// they should not be trusted. The cost is one dense pass over all heads for each phase, and
/// one more with values for the prices.
struct CalibrateCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "calibrate",
    abstract: "Find the threshold for a target sparsity, and what it costs.",
    discussion: """
      One dense pass keeps every block's margin, and with them sparsity(lambda) is known exactly, \
      at several lengths, for \
      prefill and for decode. Two models are fitted: lambda = a / L for each target (the paper), \
      and \
      lambda = a exp(b S) / L over all of them (ModelOpt, TensorRT-LLM: a exp(b S) is their \
      threshold_scale_factor). \
      Calibrate with the tile and the vote of the kernel that will run.
      """)

  @OptionGroup var dump: DumpArguments
  /// A path; nil: the files.
  @Option(help: ArgumentHelp("Calibrate on a model instead of files.", valueName: "m.gguf"))
  var model: String?
  @OptionGroup var prompt: PromptArguments
  @OptionGroup var engine: EngineArguments
  @Option(
    parsing: .upToNextOption, help: "Shares of blocks to skip, e.g. 0.3 0.5 0.7.")
  var target: [Double] = [0.3, 0.5, 0.7]
  /// Nil: both, one after the other.
  @Option(help: "prefill or decode (default: both).") var phase: Phase?
  @Option(
    parsing: .upToNextOption,
    help: "Context lengths (default: a quarter, a half and all of the shortest source).")
  var lengths: [Int] = []
  @Option(
    parsing: .unconditional, help: "Query rows before each length that count as decode steps.")
  var decodeRows = 64
  /// Nil: ModelOpt's tile of each phase.
  @Option(help: "Query rows that vote x keys, or a preset.") var tile: TileSides?
  /// Nil: by the phase.
  @Option(help: "Who decides: head or group (default: head in prefill, group in decode).")
  var vote: Vote?
  @Option(help: "Order of key blocks: ascending or descending.") var order: Order?
  @Option(
    parsing: .unconditional,
    help: "Split-K: runs of key blocks with a running maximum of their own.")
  var splits = 1
  /// As the file calls them; nil: all.
  @Option(help: "Layer numbers, e.g. 0,12,18-20 (default: all).") var layers: NumberList?
  /// Of ModelOpt's two ways to fit, the one that weighs all points alike.
  @Flag(help: "Fit logarithms instead of factors.") var logSpace = false
  @Option(
    help: ArgumentHelp(
      """
      Fit a table instead: lines of target sparsity, prefill factor, decode factor; the first may \
      name them.
      """,
      valueName: "file.csv"))
  var points: String?
  @Option(
    help: ArgumentHelp(
      """
      Print a configuration: trtllm (YAML, for the first target that both phases reach) or \
      modelopt (JSON, for any).
      """))
  var write: ConfigFormat?
  @Option(
    name: [.customShort("o"), .long],
    help: ArgumentHelp("Where --write writes (default: standard output).", valueName: "file"))
  var output: String?
  @Flag(help: "Replace an existing file.") var force = false
  @Flag(help: "Print JSON.") var json = false

  /// Programs whose configurations can be written.
  enum ConfigFormat: String, ExpressibleByArgument, CaseIterable { case trtllm, modelopt }

  /// Refuses what contradicts itself. Throws `ValidationError`.
  func validate() throws {
    guard target.allSatisfy({ $0 > 0 && $0 < 1 }), !target.isEmpty else {
      throw ValidationError("--target is a share between 0 and 1, e.g. 0.5.")
    }
    guard lengths.allSatisfy({ $0 > 0 }), (1...65536).contains(decodeRows) else {
      throw ValidationError("--lengths and --decode-rows are positive, --decode-rows up to 65536.")
    }
    guard (1...1 << 20).contains(splits) else {
      throw ValidationError("--splits is 1 to \(1 << 20).")
    }
    if output != nil, write == nil { throw ValidationError("-o goes with --write.") }
    if json, write != nil, output == nil {
      throw ValidationError("--json and --write share standard output; give -o FILE.")
    }
    if points != nil, !dump.isSample || model != nil {
      throw ValidationError("--points is a table of its own: give no FILE and no --model with it.")
    }
    if model != nil, !dump.isSample {
      throw ValidationError("Calibrate on files or on --model, not both.")
    }
  }

  /// Phases one after another over the same sources; a model is also asked what its
  /// predictions lose. Throws what sources and files throw.
  func run() throws {
    engine.apply()
    if let output { try checkWritable(output, force: force) }
    if let points { return try finish(try FactorTable(points).report(target, logSpace)) }
    let sources = try model.map { [try modelSource($0)] } ?? dumpSources()
    let phases = phase.map { [$0] } ?? Phase.allCases
    let work = CalibrationWork(
      sources: sources, targets: target, lengths: try contextLengths(sources),
      decodeRows: decodeRows, logarithmic: logSpace)
    var report = CalibrationReport(name: sources.map(\.name).joined(separator: ", "), phases: [])
    for phase in phases {
      say("\(phase.rawValue): \(sources.reduce(0) { $0 + $1.count }) head groups")
      report.phases.append(try work.run(phase, spec(phase)))
    }
    if let source = sources.first as? ModelSource, phases.contains(.prefill) {
      report.prices = try source.prices(report.phases[0], spec(.prefill))
    }
    try finish(report)
  }

  /// The tile of a phase. Decode votes with one row, whatever the tile of prefill is.
  private func spec(_ phase: Phase) throws -> TileSpec {
    var tiles = try TileArguments.parse([])
    (tiles.tile, tiles.vote, tiles.order, tiles.splits) = (tile, vote, order, splits)
    var spec = tiles.spec(queries: phase == .decode ? 1 : 2)
    if phase == .decode { spec.rows = 1 }
    return spec
  }

  /// One source for each dump. Throws `mismatch` for block masks, from which no margin can be
  /// computed.
  private func dumpSources() throws -> [any CalibrationSource] {
    try dump.open().map { dump in
      let source = DumpSource(
        dump,
        layers: try layers.map {
          try FileBackend(dump).describe().layerIndices($0, file: dump.path)
        })
      guard dump.kind != .mask else {
        throw FormatError(
          .mismatch, "holds block masks alone; calibration needs Q and K, or a stored map",
          file: dump.path)
      }
      return source
    }
  }

  /// A model that has read the prompt, or the bundled text, up to the longest length wanted.
  /// Throws `ModelError` when the text is too short.
  private func modelSource(_ path: String) throws -> ModelSource {
    let model = try engine.open(path)
    let standard = try readWhole(try Sample.path(Sample.text))
    let tokens = try prompt.tokens(model, standard: standard)
    if try prompt.bytes() == nil { say("on the bundled text; give yours with --prompt-file") }
    let wanted = lengths.max() ?? min(tokens.count, 2048)
    guard wanted <= tokens.count else {
      throw ModelError(
        .badSetting, "the text has \(tokens.count) tokens, and a length of \(wanted) is wanted",
        place: "--lengths")
    }
    let used = Array(tokens.prefix(wanted))
    try model.check(prompt: used)
    return ModelSource(model, tokens: used, layers: try model.layers(layers))
  }

  /// Lengths in ascending order, each once; by default a quarter, a half and all of the
  /// shortest source. Throws `mismatch` for a length that some source does not have.
  private func contextLengths(_ sources: [any CalibrationSource]) throws -> [Int] {
    let shortest = sources.map(\.tokens).min() ?? 0
    guard lengths.allSatisfy({ $0 <= shortest }) else {
      throw FormatError(
        .mismatch, "has \(shortest) tokens, fewer than --lengths \(lengths.max() ?? 0)",
        file: sources.min { $0.tokens < $1.tokens }?.name ?? "")
    }
    return lengths.isEmpty
      ? Array(Set([shortest / 4, shortest / 2, shortest])).sorted().filter { $0 > 0 }
      : Array(Set(lengths)).sorted()
  }

  /// Warnings, then the report or the configuration, each to where it belongs: with `--write`
  /// to standard output the report goes to standard error.
  private func finish(_ report: CalibrationReport) throws {
    for warning in report.warnings { say(warning) }
    guard let write else {
      print(json ? report.json.text(pretty: true) : report.text)
      return
    }
    let config = try report.config(write, targets: target)
    for remark in config.remarks { say("--write \(write.rawValue): \(remark)") }
    if let output {
      try writeText(config.text, to: output, force: force)
      print(json ? report.json.text(pretty: true) : report.text)
      say("written to \(Printable.text(output))")
    } else {
      say(report.text)
      print(config.text, terminator: "")
    }
  }
}

extension Phase: ExpressibleByArgument {}
