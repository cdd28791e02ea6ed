import Sessions
import Analysis
import ArgumentParser
import Attention
import Backends
import Canvas
import Formats
import Methods

/// `attnscope report FILE --method blasst --json`: every number about every head, for one or
/// several methods.
///
/// Heads are computed one after another and only their numbers are kept, so a file of any
/// size fits. `--masks` and `--fields` write what lies behind the numbers. With `--prompt` a model
/// reads a text here, and can be asked again by methods that need one. The catch: methods that need
/// V or residuals say so for files without.
struct ReportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "report",
    abstract: "Pruned blocks, dropped mass, error, sinks and patterns, per head.",
    discussion: """
      With --overlap it says instead how far masks are the same, as intersection over union of \
      kept entries: those of layers (with the layers that could take another's mask at --recall), \
      of heads within a layer, of steps (rows; with the hit rate of a buffer of keys that drops \
      what was read longest ago), or of several --method.

      --sort, --where and --expect take any number of the report by its name, the method's own \
      included: 'error<0.01', 'sparsity>20%'. --expect asks the total where there is one \
      (sparsity, skipped_blocks, dropped_mean, dropped_max, error, sink_rate) and every head \
      otherwise; 'each error<0.05' asks the heads, 'total error<0.05' the total. The command fails \
      with code 1 where one does not hold.
      """)

  @OptionGroup var dump: DumpArguments
  @OptionGroup var texts: TokenArguments
  @Option(
    name: .customLong("lambda"), parsing: .upToNextOption,
    help: ArgumentHelp(
      """
      Skip blocks more than ln(1/lambda) below the running maximum, a report each; 0 is dense, \
      above 1 is refused (default: 0.01).
      """,
      valueName: "lambda"))
  var lambdaWords: [String] = []
  @OptionGroup var blocks: BlockArguments
  @OptionGroup var screening: ScreenArguments
  @OptionGroup var reading: ReadingArguments
  @Option(
    help: ArgumentHelp(
      """
      A method, ID[:knob=value,..], or several: all, masks, family:NAME; may be repeated; \
      `attnscope methods` lists them.
      """,
      valueName: "method"),
    completion: MethodWord.completion)
  var method: [String] = []
  @Option(
    help: ArgumentHelp(
      "A setting of the method, e.g. initial=64; may be repeated.", valueName: "name=value"))
  var knob: [String] = []
  /// As the file calls them; nil: all.
  @Option(help: "Layer numbers, e.g. 0-3,12.") var layers: NumberList?
  /// Query heads; nil: all.
  @Option(help: "Head numbers, e.g. 0,4-8.") var heads: NumberList?
  /// See `NumberOrder`.
  @Option(
    help: ArgumentHelp(
      "Sort heads by a number, the largest first; NUMBER:up for the smallest.",
      valueName: "number"))
  var sort: NumberOrder?
  /// All must hold of a head that is shown; totals are of the heads shown.
  @Option(
    name: .customLong("where"),
    help: ArgumentHelp(
      "Show heads of which it is so, e.g. 'error<0.01'; may be repeated.",
      valueName: "number<value"))
  var conditions: [NumberTest] = []
  /// See `Report.verdicts`.
  @Option(
    name: .customLong("expect"),
    help: ArgumentHelp(
      "Fail with code 1 unless it is so, e.g. 'sparsity>0.2'; may be repeated.",
      valueName: "number>value"))
  var expectations: [NumberTest] = []
  /// Nil: no number about them.
  @Option(
    help: ArgumentHelp(
      "How much attention lies on these keys, as the numbers selected and selected_most: 3-9,14.",
      valueName: "keys"))
  var select: String?
  /// Nil: the report.
  @Option(
    help: ArgumentHelp(
      "How far masks are the same: of layers, heads, steps or methods.", valueName: "what"))
  var overlap: ReuseRequest.Along?
  @Option(
    help: "With --overlap layers: the recall at which a mask may be shared (default: 0.95).")
  var recall: Double?
  @Flag(help: "Print JSON.") var json = false
  @Flag(help: "Print CSV.") var csv = false
  @Flag(help: "Print a Markdown table.") var markdown = false
  /// See `MaskFile`; one method and one file.
  @Option(help: ArgumentHelp("Write masks, margins and outputs.", valueName: "out.safetensors"))
  var masks: String?
  @Option(
    help: ArgumentHelp(
      "Write every field, series and curve that the methods found.",
      valueName: "out.safetensors"))
  var fields: String?
  @Flag(help: "Replace an existing file.") var force = false

  /// Throws `ValidationError` for combinations that would leave it open what is meant.
  func validate() throws {
    if [json, csv, markdown].filter({ $0 }).count > 1 {
      throw ValidationError("Choose one of --json, --csv, --markdown.")
    }
    let isSeveral = method.count > 1 || method.contains(where: MethodWord.isWord)
    if isSeveral, !knob.isEmpty {
      throw ValidationError("With several --method, give knobs as ID:knob=value.")
    }
    if !knob.isEmpty || method.contains(where: { $0.contains(":") }),
      blocks.tile != nil || blocks.vote != nil || blocks.order != nil
    {
      throw ValidationError(
        "Give a method its settings either by --tile, --vote and --order or by knobs.")
    }
    for (name, path) in [("--masks", masks), ("--fields", fields)] where path != nil {
      if inputs.areSeveral { throw ValidationError("\(name) takes one FILE.") }
    }
    if reading.isAsked, !inputs.isSample {
      throw ValidationError("Give FILE, or --prompt for a model to read; not both.")
    }
    try inputs.validate()
    try validateOverlap()
    if masks != nil, isSeveral { throw ValidationError("--masks takes one --method.") }
    if masks != nil || fields != nil, try lambdas.count > 1 {
      throw ValidationError("--masks and --fields take one --lambda.")
    }
    if masks != nil || fields != nil, !conditions.isEmpty {
      throw ValidationError(
        "--masks and --fields write every head; choose them by --heads and not by --where.")
    }
    _ = try lambdas
    if let select, KeySelection(select) == nil {
      throw ValidationError("--select takes key positions like 3-9,14, not '\(select)'.")
    }
    if select != nil, overlap != nil {
      throw ValidationError("--select is of the report; --overlap has no such number.")
    }
  }

  /// The keys of `--select`. Throws `Refusal` for keys that a file has not got.
  private func selection(_ about: SourceDescription, _ file: String) throws -> KeySelection? {
    guard let keys = select.flatMap({ KeySelection($0) }) else { return nil }
    guard about.storedTile == nil else {
      throw Refusal("\(file): --select needs Q and K, or a stored pattern")
    }
    guard keys.last < about.keys else {
      throw Refusal("\(file): its keys are 0 to \(about.keys - 1), not \(keys.last)")
    }
    return keys
  }

  /// The files that are named, those behind the numbers of `--lambda` included.
  var inputs: DumpArguments {
    var inputs = dump
    inputs.files += lambdaWords.filter { Double($0) == nil }
    return inputs
  }

  /// Every lambda that was given, or 0.01. Throws `ValidationError` for what is none.
  var lambdas: [Double] {
    get throws {
      let numbers = lambdaWords.compactMap(Double.init)
      for number in numbers {
        do { _ = try Lambda(number) } catch { throw ValidationError("\(error)") }
      }
      if !lambdaWords.isEmpty, numbers.isEmpty || Double(lambdaWords[0]) == nil {
        throw ValidationError("--lambda takes numbers from 0 to 1, e.g. 0.01 0.1.")
      }
      return numbers.isEmpty ? [0.01] : numbers
    }
  }

  /// The flags of tiles with one of the lambdas. Throws what parsing nothing throws.
  func tiles(_ lambda: Double) throws -> TileArguments {
    var tiles = try TileArguments.parse([])
    (tiles.blocks, tiles.chosenLambda) = (blocks, lambda)
    return tiles
  }

  /// Files in the order given, methods within each. Guesses go to standard error, except with
  /// `--json`, which holds them.
  func run() throws {
    do { try reportAll() } catch is CancellationError {
      say("stopped by Ctrl-C: nothing is reported")
      throw ExitCode(130)
    }
  }

  /// Throws `CancellationError` after Ctrl-C where a model reads.
  private func reportAll() throws {
    if let overlap { return try reportOverlap(overlap) }
    var all: [Report] = []
    try inputs.refuse(writingTo: [masks, fields])
    for path in [masks, fields].compactMap({ $0 }) { try checkWritable(path, force: force) }
    var file = fields.map { FieldFile(path: $0) }
    for (dump, backend) in try sources() {
      for guess in backend.describe().guesses where !json {
        say(Printable.text("\(dump.path): \(guess)"))
      }
      for remark in dump.remarks where !json { say(Printable.text("\(dump.path): \(remark)")) }
      all += try reports(dump, backend, &file)
    }
    try file?.write(force: force)
    if json {
      print((all.count == 1 ? all[0].json : .array(all.map(\.json))).text(pretty: true))
    } else {
      if csv, let first = all.first { print(first.csvHeading) }
      for report in all where !csv || !report.heads.isEmpty {
        print(csv ? report.csv : (markdown ? report.markdown : report.text))
      }
    }
    try judge(all)
  }

  /// Says on standard error what was expected and does not hold. Throws exit code 1 then.
  private func judge(_ reports: [Report]) throws {
    let failed = reports.flatMap { report in
      report.verdicts.filter { !$0.holds }.map { "\(report.title): \(report.sentence($0))" }
    }
    for sentence in failed { say(Printable.text(sentence)) }
    if !failed.isEmpty { throw ExitCode(1) }
  }

  /// Every file, or what a model has just read.
  private func sources() throws -> [(dump: Dump, backend: FileBackend)] {
    if reading.isAsked { return [try reading.source(texts)] }
    return try inputs.open(texts).map { (dump: $0, backend: try texts.backend($0)) }
  }

  /// The settings in their order, each once. Throws what reading them throws, and `ValidationError`
  /// for several lambdas where no method has one.
  private func settings(_ about: SourceDescription) throws -> [MethodSetting] {
    let texts = try method.flatMap { try Registry.standard.texts(of: $0) }
    let lambdas = try lambdas
    var settings: [MethodSetting] = []
    for text in method.isEmpty ? [nil] : texts.map(Optional.some) {
      for lambda in lambdas {
        let setting = try Registry.standard.setting(
          text, knobs: knob, try tiles(lambda), queries: about.queries, spec: about.storedTile,
          screen: screening.screen)
        if !settings.contains(setting) { settings.append(setting) }
      }
    }
    if Set(lambdas).count > 1, settings.count <= max(Set(texts).count, 1) {
      throw ValidationError("Several --lambda are for methods that have one; none of these has.")
    }
    return settings
  }

  /// One file under every method. Each head is written and forgotten before the next. Methods that
  /// a word stands for and that lack something here are left out, and it is said which. Throws
  /// what a method throws, and `mismatch` for layers and heads that do not exist.
  private func reports(
    _ dump: Dump, _ backend: FileBackend, _ file: inout FieldFile?
  ) throws -> [Report] {
    let about = backend.describe()
    if about.storedTile != nil {
      say("\(Printable.text(dump.path)): holds masks alone; tile, vote and order are the file's")
    }
    var request = ReportRequest(try settings(about))
    request.layers = try layers.map { try about.layerIndices($0, file: dump.path) }
    request.heads = try heads.map {
      try $0.numbers.map { try about.headIndex($0, file: dump.path) }
    }
    request.selection = try selection(about, dump.path)
    let table = Registry.standard.tableCard?.blockTables
    request.beside = table?.setting(blocks.spec(queries: about.queries), try lambdas[0])
    request.wantsFields = masks != nil || fields != nil
    // Of several methods those that lack something are named, and the others go on.
    request.leavesOut = request.settings.count > 1 || method.contains(where: MethodWord.isWord)
    var all = request.settings.map { Report(dump: dump, about: about, setting: $0) }
    if backend.patternTable != nil {
      for index in all.indices { all[index].assigned = backend.assigned }
    }
    let choice = ReportChoice(order: sort, conditions: conditions, expectations: expectations)
    var writer = masks.map { MaskFile(path: $0, report: all[0]) }
    let out: [(setting: MethodSetting, reason: String)]
    do {
      out = try backend.reports(request) { index, head in
        if Interrupt.wasAsked { throw CancellationError() }
        // A wrong name is said after the first head and not after the last.
        if index == 0, all[0].heads.count == 1 { try choice.check(all) }
        try writer?.add(head, groupSize: backend.heads.groupSize(0))
        try file?.add(head, request.settings[index])
        all[index].heads.append(head.withoutFields)
      }
    } catch let missing as Missing {
      throw Refusal("\(dump.path): \(request.settings[0].id) \(missing)")
    }
    try writer?.write(force: force)
    for (setting, reason) in out {
      say(Printable.text("\(dump.path): left out: \(setting): \(reason)"))
      all.removeAll { $0.setting == setting }
    }
    guard !all.isEmpty else {
      throw Refusal("\(dump.path): none of the methods asked for can say anything of this file")
    }
    try choice.check(all)
    for index in all.indices { all[index].choose(choice) }
    return all
  }
}

/// Why a method has nothing to say about a file, with the names of both.
struct Refusal: Error, CustomStringConvertible {
  /// The sentence, without a full stop.
  let description: String

  /// Names from files are made printable.
  init(_ text: String) { description = Printable.text(text) }
}
