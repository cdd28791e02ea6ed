import Analysis
import ArgumentParser
import Attention
import Backends
import Canvas
import Formats
import Interface
import Sessions
import Tensors

/// `attnscope compare FILE --methods all --budget 0.1`: the methods at one budget, a row each.
extension CompareCommand {
  /// Tunes, and prints what came of it. The first Ctrl-C stops it between two pieces of work, and
  /// what is known by then is printed.
  func atOneBudget(_ methods: String) throws {
    let side = Side(left ?? "")
    var options = DumpOptions()
    options.tokens = texts.tokens
    let dump = try Dump.open(try side.file ?? Sample.path(), options: options)
    let backend = try texts.backend(dump), about = backend.describe()
    var request = BudgetRequest(
      budget ?? 0.1, heads: try chosen(side.words, backend, about, dump.path),
      methods: methods == "all" ? nil : try Self.settings(methods))
    request.measure = per ?? .tiles
    request.isCancelled = { Interrupt.wasAsked }
    Interrupt.watch()
    let meter = BudgetMeter(heads: request.heads.count)
    do {
      let found = try backend.equalBudget(request) { meter.tell($0) }
      let report = BudgetReport(
        path: dump.path, about: about, heads: request.heads, budget: request.budget,
        measure: request.measure, rows: found.rows, leftOut: found.leftOut,
        stoppedAfter: found.stoppedAfter)
      print(json ? report.json.text(pretty: true) : (csv ? report.csv : report.text))
      guard let stopped = report.stopped else { return }
      if json || csv { say(stopped) }
      throw ExitCode(130)
    } catch is CancellationError {
      say("stopped; no method was done")
      throw ExitCode(130)
    } catch let error as KnobError {
      throw ValidationError("\(error)")
    }
  }

  /// The heads that one setting shall serve: the one that a comparison takes, those of a list in
  /// its layer, or all of the file, or of `--layer`.
  private func chosen(
    _ words: String, _ backend: FileBackend, _ about: SourceDescription, _ path: String
  ) throws -> [HeadID] {
    var view = Viewpoint(about)
    view.head.layer = try layer.map { try about.layerIndex($0, file: path) } ?? about.middleLayer
    view.head.head = try head.map { try about.headIndex($0, file: path) } ?? 0
    if !words.isEmpty {
      do {
        view.head = try Counterpart(words, beside: view, [about]).head
      } catch { throw ValidationError("\(error)") }
    }
    guard let heads else { return [view.head] }
    func all(_ layer: LayerIndex) -> [HeadID] {
      (0..<backend.heads.heads(layer)).map { HeadID(layer: layer, head: $0) }
    }
    if heads == "all" {
      return layer == nil && words.isEmpty
        ? about.layers.layerIndices.flatMap(all) : all(view.head.layer)
    }
    guard let list = NumberList(argument: heads) else {
      throw ValidationError("--heads is all, or head numbers such as 0,4-8.")
    }
    return try Set(list.numbers).sorted().map {
      HeadID(layer: view.head.layer, head: try about.headIndex($0, file: path))
    }
  }

  /// The settings of a list with commas between. Throws `ValidationError`.
  static func settings(_ list: String) throws -> [MethodSetting] {
    let texts = MethodSetting.texts(of: list)
    guard !texts.isEmpty else { throw ValidationError("--methods names no method.") }
    do {
      return try texts.map { try MethodSetting(parsing: $0) }
    } catch let error as KnobError { throw ValidationError("\(error)") }
  }
}

/// How far a search is, on standard error: a line every few seconds, with an estimate.
final class BudgetMeter {
  private let start = ContinuousClock.now
  private var last = 0.0
  private let heads: Int

  /// `heads` are looked at in every turn.
  init(heads: Int) { self.heads = heads }

  /// The share that is done; nothing is said of what takes less than two seconds.
  func tell(_ share: Double) {
    let seconds = (ContinuousClock.now - start).seconds
    guard seconds - last >= 2, share > 0, share < 1 else { return }
    last = seconds
    let left = seconds / share * (1 - share)
    say(
      """
      \(Numbers.percent(share)) after \(Numbers.fixed(seconds, 0)) s, about \
      \(Numbers.fixed(left, 0)) s left
      """
        + " (\(heads) \(heads == 1 ? "head" : "heads"); Ctrl-C stops)")
  }
}

/// The rows of `compare --methods`, in three forms.
///
/// What has no value is `-` in text, empty in CSV and null in JSON.
struct BudgetReport {
  /// The file.
  let path: String
  /// The file as its backend describes it.
  let about: SourceDescription
  /// Heads that each setting serves.
  let heads: [HeadID]
  /// The share that was asked for.
  let budget: Double
  /// What it is a share of.
  let measure: EqualBudget.Measure
  /// Those that reach it first, each part by recall, the best first.
  let rows: [EqualBudget.Row]
  /// Methods without a row, and why.
  let leftOut: [(setting: MethodSetting, reason: String)]
  /// Heads whose numbers are in the rows where it was stopped; nil where it was not.
  var stoppedAfter: Int?

  /// How far it came, as a sentence; nil when it came to its end.
  var stopped: String? {
    stoppedAfter.map { done in
      done == 0
        ? "stopped by Ctrl-C while knobs were tuned: rows are the nearest so far, without numbers"
        : "stopped by Ctrl-C: numbers are of \(done) of \(heads.count) heads"
    }
  }

  /// What is compared at which budget.
  private var heading: String {
    let place =
      heads.count == 1
      ? "layer \(about.layers[heads[0].layer]) head \(about.headNumber(heads[0].head))"
      : "\(heads.count) heads"
    return Printable.text(
      """
      \(path): \(place) at \(Numbers.percent(budget)) of \
      \(measure == .tiles ? "64x64 tiles" : "entries"), by recall
      """)
  }

  /// Aligned columns, for a person; then what did not reach the budget, and what is left out.
  var text: String {
    let table = BudgetTable(rows: rows, leftOut: leftOut, isStopped: stoppedAfter != nil)
    let notes = table.notes.map(Printable.text) + [stopped].compactMap { $0 }
    return ([heading, table.text] + notes).joined(separator: "\n")
  }

  /// Full precision. Names of keys are an interface.
  var json: JSON {
    let places = heads.map { head -> JSON in
      .object([
        ("layer", .integer(about.layers[head.layer].value)),
        ("head", .integer(about.headNumber(head.head))),
      ])
    }
    let missing = leftOut.map { out -> JSON in
      .object([("method", .string(out.setting.id)), ("reason", .string(out.reason))])
    }
    return .object([
      ("file", .string(path)), ("budget", .number(budget)),
      ("per", .string(measure.rawValue)), ("heads", .array(places)),
      ("methods", .array(rows.map(Self.json))), ("left_out", .array(missing)),
      ("stopped_after_heads", .optional(stoppedAfter, JSON.integer)),
    ])
  }

  /// A method; null is what cannot be known.
  private static func json(_ row: EqualBudget.Row) -> JSON {
    var pairs: [(String, JSON)] = [
      ("method", .string(row.setting.id)), ("setting", .string("\(row.setting)")),
      ("knob", .optional(row.knob, JSON.string)), ("reached", .bool(row.isReached)),
      ("tile_density", .number(row.tileDensity)),
    ]
    for name in EqualBudget.names {
      pairs.append((name, .optional(row.numbers[name], JSON.number)))
    }
    return .object(pairs)
  }

  /// Full precision, with a heading; what is left out has no row.
  var csv: String {
    let table = Table(
      ["file", "heads", "budget", "per"] + BudgetTable.dataColumns,
      rows: rows.map {
        [path, "\(heads.count)", "\(budget)", measure.rawValue] + BudgetTable.data($0)
      })
    return [table.csvHeading, table.csv].filter { !$0.isEmpty }.joined(separator: "\n")
  }
}
