import Sessions
import ArgumentParser
import Attention
import Backends
import Canvas
import Formats
import Methods

struct ReportCommand: ParsableCommand {
  static let configuration = CommandConfiguration(
    commandName: "report",
    abstract: "Pruned blocks, dropped mass, error, sinks and patterns, per head.")

  @OptionGroup var dump: DumpArguments
  @OptionGroup var texts: TokenArguments
  @OptionGroup var tiles: TileArguments
  @OptionGroup var screening: ScreenArguments
  @Option(help: "A method; `attnscope methods` lists them.") var method = "blasst"
  @Option(
    help: ArgumentHelp(
      "A setting of the method, e.g. initial=64; may be repeated.", valueName: "name=value"))
  var knob: [String] = []
  @Option(help: "Layer numbers, e.g. 0-3,12.") var layers: NumberList?
  @Option(help: "Head numbers, e.g. 0,4-8.") var heads: NumberList?
  @Flag(help: "Print JSON.") var json = false
  @Flag(help: "Print CSV.") var csv = false
  @Flag(help: "Print a Markdown table.") var markdown = false
  @Option(help: ArgumentHelp("Write masks, margins and outputs.", valueName: "out.safetensors"))
  var masks: String?
  @Flag(help: "Replace an existing file.") var force = false

  func validate() throws {
    if [json, csv, markdown].filter({ $0 }).count > 1 {
      throw ValidationError("Choose one of --json, --csv, --markdown.")
    }
    if method == "blasst", !knob.isEmpty,
      tiles.tile != nil || tiles.vote != nil || tiles.order != nil
    {
      throw ValidationError(
        "Give blasst its settings either by --tile, --vote and --order or by --knob.")
    }
    if method != "blasst", tiles.tile != nil || tiles.vote != nil || tiles.order != nil {
      throw ValidationError(
        "--tile, --vote and --order are settings of blasst; \(method) has --knob.")
    }
    if masks != nil, dump.files.count > 1 { throw ValidationError("--masks takes one FILE.") }
  }

  func run() throws {
    var all: [Report] = []
    for dump in try self.dump.open(texts) { all.append(try report(dump)) }
    if json {
      print((all.count == 1 ? all[0].json : .array(all.map(\.json))).text(pretty: true))
    } else {
      if csv { print(Report.csvHeading) }
      for report in all { print(csv ? report.csv : (markdown ? report.markdown : report.text)) }
    }
  }

  private func report(_ dump: Dump) throws -> Report {
    let backend = self.dump.backend(dump)
    let about = backend.describe()
    let spec = about.storedTile ?? tiles.spec(queries: about.queries)
    if about.storedTile != nil {
      say("\(Printable.text(dump.path)): holds masks alone; tile, vote and order are the file's")
    }
    var request = ReportRequest(
      lambda: try Lambda(tiles.lambda), spec: spec, method: method, knobs: try parsedKnobs(knob))
    if screening.screen != .none, method != BLASST.card.id {
      throw ValidationError("--screen is of blasst; \(method) has no bound to skip by.")
    }
    request.screen = screening.screen
    if method == BLASST.card.id, !request.knobs.isEmpty {
      let blasst = try BLASST(knobs: request.knobs)
      request.lambda = try Lambda(blasst.lambda)
      if about.storedTile == nil { request.spec = blasst.spec(queries: about.queries) }
    }
    request.layers = try layers.map { try about.layerIndices($0, file: dump.path) }
    request.heads = try heads.map {
      try $0.numbers.map { try about.checkedHead($0, file: dump.path) }
    }
    var report = Report(dump: dump, about: about, request: request)
    var writer = masks.map { MaskFile(path: $0, report: report) }
    try backend.report(request) { head in
      report.heads.append(head.withoutArrays)
      writer?.add(
        head, valueDim: backend.heads.head(0, 0)?.valueDim ?? 0,
        groupSize: backend.heads.groupSize(0))
    }
    for guess in about.guesses where !json { say(Printable.text("\(dump.path): \(guess)")) }
    try writer?.write(force: force)
    return report
  }
}
