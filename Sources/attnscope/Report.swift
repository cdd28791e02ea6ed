import Analysis
import Attention
import Backends
import Canvas
import Formats
import Interface
import Methods
import Sessions

/// The rows of a report on one file and one method, and the forms it can be printed in: text,
/// Markdown, CSV and JSON.
///
/// Text is for reading and rounds; CSV and JSON have full precision and every number. What has no
/// value is `-` in text, empty in CSV and null in JSON: never 0. Columns are the numbers that every
/// method has under their old names, then the union of what the method said of any head.
///
/// Example: `attnscope report x.npz --method a-shape --json | jq '.heads[0].numbers.recall_mean'`.
/// The catch: a total is over the heads that were asked for, and shares are means over them, not
/// over blocks, but for sparsity.
struct Report {
  /// The file.
  let dump: Dump
  /// The file as its backend describes it.
  let about: SourceDescription
  /// The method with its knobs.
  let setting: MethodSetting
  /// One row for each head, in the order they were computed.
  var heads: [HeadReport] = []

  /// No rows yet.
  init(dump: Dump, about: SourceDescription, setting: MethodSetting) {
    (self.dump, self.about, self.setting) = (dump, about, setting)
  }

  /// What is known of the method; nil for one that the source does not list.
  var card: MethodCard? { about.card(setting.id) }

  /// Tile and lambda where the method's blocks are read off a table.
  private var byTable: (spec: TileSpec, lambda: Double)? {
    try? card?.blockTables?.read(setting, about.queries)
  }

  /// The tile of the method's blocks; nil for methods without.
  var spec: TileSpec? { about.storedTile ?? byTable?.spec ?? heads.first?.tile }
  /// Nil for methods without a lambda.
  var lambda: Double? { byTable?.lambda }

  /// A single query row is a decode step.
  private var phase: String { about.queries == 1 ? "decode" : "prefill" }

  /// The text of a key, where there is one.
  func token(_ position: Int) -> String? {
    about.tokens.indices.contains(position) ? about.tokens[position] : nil
  }

  // MARK: Totals

  /// Adds up a count over all heads; nil where it is not known of one of them.
  private func sum(_ name: String) -> Int? {
    let counts = heads.compactMap { $0.count(name) }
    return counts.isEmpty || counts.count < heads.count ? nil : counts.reduce(0, +)
  }
  /// Blocks that some row sees, of all heads.
  private var visible: Int? { sum("visible_blocks") }
  /// Of them, those that were skipped.
  private var skipped: Int? { sum("skipped_blocks") }
  /// Skipped over visible blocks of all heads together; where a share of a sample stands for one,
  /// the shares by their visible blocks. Nil when no block is visible.
  private var sparsity: Double? {
    guard let visible, visible > 0 else { return nil }
    if let skipped { return Double(skipped) / Double(visible) }
    let shares = heads.compactMap { head in
      head.number("sparsity").flatMap { share in
        head.number("visible_blocks").map { share * $0 }
      }
    }
    return shares.count < heads.count ? nil : shares.reduce(0, +) / Double(visible)
  }

  /// Rows that entropies and sinks were read from, where not from all.
  private var sampledRows: Int? { heads.compactMap { $0.summary?.sampledRows }.min() }

  /// Sink rate over the heads reported: α_1 over all rows, and over the first 64 as published
  /// numbers are.
  private var sinkRates: (all: SinkRate, published: SinkRate?)? {
    let summaries = heads.compactMap(\.summary)
    guard !summaries.isEmpty else { return nil }
    let published = summaries.compactMap(\.truncatedImportance)
    return (
      SinkRate(importances: summaries.map { $0.importance.first ?? 0 }),
      published.count == summaries.count ? SinkRate(importances: published) : nil
    )
  }
}

// MARK: JSON

extension Report {
  /// The report as an object. Names of keys are an interface: scripts read them.
  var json: JSON {
    .object([
      ("file", .string(dump.path)), ("model", .optional(dump.model, JSON.string)),
      ("tokens", .integer(about.keys)), ("method", .string(setting.id)),
      ("setting", .string(setting.description)),
      ("fidelity", .optional(card?.fidelity(of: setting).tag, JSON.string)),
      ("lambda", .optional(lambda, JSON.number)),
      ("tile", .optional(spec) { .array([.integer($0.rows), .integer($0.keys)]) }),
      ("vote", .optional(spec) { .string($0.vote.rawValue) }),
      ("order", .optional(spec) { .string($0.order.rawValue) }),
      ("criterion", .optional(spec) { .string($0.criterion.rawValue) }),
      ("splits", .optional(spec) { .integer($0.splits) }),
      ("screen", .string(setting.knobs["screen"]?.description ?? "none")),
      ("heads", .array(heads.map(json))), ("total", total),
      ("guesses", .array(about.guesses.map(JSON.string))),
    ])
  }

  /// One head: the numbers every report has under fixed names, then all of the method's own
  /// under `numbers`.
  private func json(_ head: HeadReport) -> JSON {
    let numbers = head.findings.all.compactMap { finding -> (String, JSON)? in
      guard case .number(let value, _) = finding.content else { return nil }
      return (finding.name, .optional(value.flatMap { $0.isFinite ? $0 : nil }, JSON.number))
    }
    return .object([
      ("layer", .integer(head.layer.value)), ("head", .integer(head.head)),
      ("phase", .string(phase)),
      ("visible_blocks", .optional(head.count("visible_blocks"), JSON.integer)),
      ("skipped_blocks", .optional(head.count("skipped_blocks"), JSON.integer)),
      ("decided_by_bound", .optional(head.count("decided_by_bound"), JSON.integer)),
      ("sparsity", .optional(head.number("sparsity"), JSON.number)),
      ("dropped_mass", Self.json(dropped: head.droppedMass)),
      ("output_error", Self.json(error: head)),
      ("sampled_rows", .optional(head.summary?.sampledRows, JSON.integer)),
      ("entropy", .optional(head.summary?.entropy, JSON.number)),
      ("effective_tokens", .optional(head.summary?.effectiveTokens, JSON.number)),
      ("sink", .optional(head.summary, json)),
      ("pattern", .optional(head.summary?.label, Self.json)),
      ("badges", .array((head.summary?.quality.badges ?? []).map(JSON.string))),
      ("numbers", .object(numbers)), ("notes", .array(head.findings.notes.map(JSON.string))),
    ])
  }

  /// Share of the softmax's mass that lay in skipped blocks, mean and maximum over rows.
  private static func json(dropped: DroppedMass?) -> JSON {
    .optional(dropped) { .object([("mean", .number($0.mean)), ("max", .number($0.max))]) }
  }

  /// Relative error of the attention output; null without values.
  private static func json(error head: HeadReport) -> JSON {
    .optional(head.number("error")) { error in
      .object([
        ("relative_l2", .number(error)),
        ("max_abs", .optional(head.number("error_max"), JSON.number)),
      ])
    }
  }

  /// The key that takes most of the mass.
  private func json(_ summary: HeadSummary) -> JSON {
    .object([
      ("position", .integer(summary.sink.position)),
      ("token", .optional(token(summary.sink.position), JSON.string)),
      ("mass", .number(summary.sink.mass)),
    ])
  }

  /// How well each shape of pattern covers the head within the same budget of entries.
  private static func json(_ label: PatternLabel) -> JSON {
    .object([
      ("label", .string(label.name.rawValue)),
      ("scores", .object(label.candidates.map { ($0.name.rawValue, .number($0.recall)) })),
      ("densities", .object(label.candidates.map { ($0.name.rawValue, .number($0.density)) })),
      ("budget", .number(label.budget)),
      ("sampled_rows", .optional(label.sampledRows, JSON.integer)),
    ])
  }

  /// Totals of blocks, and means over heads of what is a share.
  private var total: JSON {
    let dropped = heads.compactMap(\.droppedMass)
    let errors = heads.compactMap { $0.number("error") }
    let lost = dropped.map(\.max).max().map {
      DroppedMass(mean: dropped.reduce(0) { $0 + $1.mean } / Double(dropped.count), max: $0)
    }
    let error: JSON =
      errors.isEmpty
      ? .null
      : .object([
        ("relative_l2", .number(errors.reduce(0, +) / Double(errors.count))),
        ("max_abs", .number(heads.compactMap { $0.number("error_max") }.max() ?? 0)),
      ])
    let rates = JSON.optional(sinkRates) {
      .object([
        ("threshold", .number($0.all.threshold)), ("all_rows", .number($0.all.rate)),
        ("first_64_rows", .optional($0.published?.rate, JSON.number)),
        ("sampled_rows", .optional(sampledRows, JSON.integer)),
      ])
    }
    return .object([
      ("visible_blocks", .optional(visible, JSON.integer)),
      ("skipped_blocks", .optional(skipped, JSON.integer)),
      ("sparsity", .optional(sparsity, JSON.number)),
      ("dropped_mass", Self.json(dropped: lost)),
      ("output_error", error), ("sink_rate", rates),
    ])
  }
}

// MARK: Columns

extension Report {
  /// Numbers that have columns of their own, short names for them, and what they are written as.
  private static let known: [(name: String, column: String, unit: Unit)] = [
    ("visible_blocks", "visible", .blocks), ("skipped_blocks", "skipped", .blocks),
    ("sparsity", "sparsity", .share), ("dropped_mean", "dropped(0-1)", .none),
    ("dropped_max", "worst(0-1)", .none), ("error", "error", .none),
  ]
  /// Numbers beside those above, in the order they appear. A table of the block-table method
  /// leaves them out: --json has them.
  private var extras: [(name: String, unit: Unit)] {
    guard card?.blockTables == nil else { return [] }
    var seen: Set<String> = Set(Self.known.map(\.name)), list: [(String, Unit)] = []
    for head in heads {
      for finding in head.findings.all {
        guard case .number(_, let unit) = finding.content, seen.insert(finding.name).inserted
        else { continue }
        list.append((finding.name, unit))
      }
    }
    return list
  }

  /// Columns that at least one head fills.
  private var shown: [(name: String, column: String, unit: Unit)] {
    Self.known.filter { item in heads.contains { $0.findings[item.name] != nil } }
  }

  /// Columns about the head itself, whatever the method did to it.
  private static let summaryColumns = [
    "entropy", "eff.keys", "sink", "on", "pattern", "its_recall",
  ]

  /// Rounded cells, one row a head; the numbers of a column have one number of digits.
  private var table: Table {
    let (shown, extras) = (shown, extras)
    let columns =
      shown.map { cells($0.name, $0.unit) } + extras.map { cells($0.name, $0.unit) }
    return Table(
      ["layer", "head"] + shown.map(\.column) + extras.map(\.name) + Self.summaryColumns,
      leftAligned: ["on", "pattern"],
      rows: heads.indices.map { row in
        place(heads[row]) + columns.map { $0[row] } + summaryCells(heads[row])
      })
  }

  /// The numbers of a name, a cell a head; an error that cannot be known for want of V says so.
  private func cells(_ name: String, _ unit: Unit) -> [String] {
    let isForValues = name == "error" && !about.hasValues && dump.kind != .mask
    let cells = Numbers.column(heads.map { $0.number(name) }) { FindingText.number($0, unit) }
    return zip(heads, cells).map { head, cell in
      isForValues && head.number(name) == nil ? "needs V" : cell
    }
  }

  /// Where a row is. `!` behind the head's number says that something is odd about its values; the
  /// badges below tell what.
  private func place(_ head: HeadReport) -> [String] {
    ["\(head.layer)", "\(head.head)\(head.summary?.quality.isClean ?? true ? "" : "!")"]
  }

  /// What is known of the head itself.
  private func summaryCells(_ head: HeadReport) -> [String] {
    guard let summary = head.summary else { return Self.summaryColumns.map { _ in "-" } }
    let sink = token(summary.sink.position).map { " \"\($0)\"" } ?? ""
    return [
      summary.sign + Numbers.fixed(summary.entropy, 2),
      summary.sign + Numbers.fixed(summary.effectiveTokens, 1),
      summary.sign + Numbers.percent(summary.sink.mass), "\(summary.sink.position)\(sink)",
      summary.label.name.rawValue,
      summary.label.winner.map { $0.recall.isFinite ? Numbers.percent($0.recall) : "-" } ?? "-",
    ]
  }

  /// The method with what it was set to; in brackets, how faithful it is to its paper when it
  /// is not exact.
  private var heading: String {
    var text = "\(dump.path): \(card?.blockTables == nil ? setting.description : setting.id)"
    // Masks without margins are what they are, whatever the threshold.
    let isGiven = about.storedTile != nil && heads.allSatisfy { $0.findings["margins"] == nil }
    if isGiven { text = "\(dump.path): the file's own masks," }
    if let lambda, !isGiven { text += " lambda \(lambda)" }
    if let spec { text += " tile \(spec)" }
    if let fidelity = card?.fidelity(of: setting), fidelity != .exact {
      text += " [\(fidelity.tag): \(fidelity.sentence)]"
    }
    return Printable.text("\(text) (\(phase))")
  }

  /// Totals in a sentence, then what the method remarked.
  private var footer: String {
    guard let sparsity, let visible else {
      return notes.map { "note: \($0)" }.joined(separator: "\n")
    }
    let share = Numbers.percent(sparsity)
    // Of a sample of rows the share is known and the number is not.
    var line =
      skipped.map { "total: \($0) of \(visible) visible blocks skipped, \(share)" }
      ?? "total: about \(share) of \(visible) visible blocks skipped"
    let decided = heads.compactMap { $0.count("decided_by_bound") }
    if !decided.isEmpty {
      line += "; the int8 bound decided \(decided.reduce(0, +)) of them without their scores"
    }
    if let rates = sinkRates {
      line += "; sink rate (first token takes > 0.3) \(Numbers.percent(rates.all.rate)) of heads"
      if let published = rates.published {
        line += ", \(Numbers.percent(published.rate)) over the first 64 rows"
      }
    }
    if let sampledRows {
      line +=
        "; entropy, keys and sink (~) are read from \(sampledRows) of \(about.queries) rows"
    }
    return ([line] + notes.map { "note: \($0)" }).joined(separator: "\n")
  }

  /// What the method said in sentences, each once.
  private var notes: [String] {
    var seen: Set<String> = []
    return heads.flatMap(\.findings.notes).filter { seen.insert($0).inserted }.map(Printable.text)
  }

  /// Aligned columns, for a person.
  var text: String {
    let badges = heads.flatMap { head in
      (head.summary?.quality.badges ?? []).map { "! layer \(head.layer) head \(head.head): \($0)" }
    }
    return ([heading, table.text] + badges.map(Printable.text) + [footer])
      .filter { !$0.isEmpty }.joined(separator: "\n")
  }

  /// For a page or an issue; wide tables stay tables.
  var markdown: String { [heading, "", table.markdown, "", footer].joined(separator: "\n") }

  // MARK: CSV

  /// Full precision, one row a head: the columns that every report has, then the union of the
  /// methods' other numbers.
  private var full: Table {
    let extras = extras
    return Table(
      Self.csvColumns + extras.map(\.name), rows: heads.map { csvCells($0, extras.map(\.name)) })
  }

  /// All rows as CSV, without the heading.
  var csv: String { full.csv }
  /// The heading of `csv`, to be printed once for several files.
  var csvHeading: String { full.csvHeading }

  /// Columns that every report has, in an order that is never changed: new ones go to the
  /// end.
  private static let csvColumns = [
    "file", "layer", "head", "phase", "method", "lambda", "tile_q", "tile_k", "vote", "order",
    "visible_blocks", "skipped_blocks", "sparsity", "dropped_mean", "dropped_max",
    "error_relative_l2", "error_max_abs", "entropy", "effective_tokens", "sink_position",
    "sink_mass", "pattern", "criterion", "splits", "decided_by_bound", "sampled_rows",
  ]

  /// A row at full precision; the file's path stands in every row, so that reports can be
  /// joined.
  private func csvCells(_ head: HeadReport, _ extras: [String]) -> [String] {
    let summary = head.summary
    func number(_ x: Double?) -> String { x.map { "\($0)" } ?? "" }
    func count(_ name: String) -> String { head.count(name).map(String.init) ?? "" }
    var cells: [String] = [dump.path, "\(head.layer)", "\(head.head)", phase, setting.id]
    cells += [
      number(lambda), spec.map { "\($0.rows)" } ?? "", spec.map { "\($0.keys)" } ?? "",
      spec?.vote.rawValue ?? "", spec?.order.rawValue ?? "", count("visible_blocks"),
      count("skipped_blocks"), number(head.number("sparsity")),
    ]
    cells += ["dropped_mean", "dropped_max", "error", "error_max"].map { number(head.number($0)) }
    cells += [number(summary?.entropy), number(summary?.effectiveTokens)]
    cells += [
      summary.map { "\($0.sink.position)" } ?? "", number(summary?.sink.mass),
      summary?.label.name.rawValue ?? "", spec?.criterion.rawValue ?? "",
      spec.map { "\($0.splits)" } ?? "", count("decided_by_bound"),
      summary?.sampledRows.map(String.init) ?? "",
    ]
    return cells + extras.map { number(head.number($0)) }
  }
}
