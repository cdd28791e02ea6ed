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
  /// What heads were assigned elsewhere, where that was told.
  var assigned: ((HeadReport) -> AssignedPatterns.Pattern?)?
  /// Which of them are shown, and what is expected.
  var choice = ReportChoice()
  /// Heads that were computed, shown or not.
  var inAll = 0

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

  /// What the dump's probe says, for the method that shows it.
  private var probe: ProbeRecord? { card?.needs.contains(.probe) == true ? dump.probe : nil }

  /// The tile of the method's blocks; nil for methods without.
  var spec: TileSpec? {
    about.storedTile ?? byTable?.spec ?? probe?.fingerprint.map(TileSpec.init) ?? heads.first?.tile
  }
  /// Nil for methods without a lambda.
  var lambda: Double? { byTable?.lambda ?? probe?.threshold }

  /// A single query row is a decode step.
  var phase: String { about.queries == 1 ? "decode" : "prefill" }

  /// The text of a key, where there is one.
  func token(_ position: Int) -> String? {
    about.tokens.indices.contains(position) ? about.tokens[position] : nil
  }

  // MARK: Totals

  /// What is known of all heads shown together, by the names of its numbers; nil within where it
  /// cannot be known.
  var totals: [String: Double?] {
    func mean(_ numbers: [Double]) -> Double? {
      numbers.isEmpty ? nil : numbers.reduce(0, +) / Double(numbers.count)
    }
    let dropped = heads.compactMap(\.droppedMass)
    var totals: [String: Double?] = [:]
    totals["visible_blocks"] = .some(visible.map(Double.init))
    totals["skipped_blocks"] = .some(skipped.map(Double.init))
    totals["sparsity"] = .some(sparsity)
    totals["dropped_mean"] = .some(mean(dropped.map(\.mean)))
    totals["dropped_max"] = .some(dropped.map(\.max).max())
    totals["error"] = .some(mean(heads.compactMap { $0.number("error") }))
    totals["error_max"] = .some(heads.compactMap { $0.number("error_max") }.max())
    totals["sink_rate"] = .some(sinkRates?.all.rate)
    return totals
  }

  /// Adds up a count over all heads; nil where it is not known of one of them.
  func sum(_ name: String) -> Int? {
    let counts = heads.compactMap { $0.count(name) }
    return counts.isEmpty || counts.count < heads.count ? nil : counts.reduce(0, +)
  }
  /// Blocks that some row sees, of all heads.
  var visible: Int? { sum("visible_blocks") }
  /// Of them, those that were skipped.
  var skipped: Int? { sum("skipped_blocks") }
  /// Skipped over visible blocks of all heads together; where a share of a sample stands for one,
  /// the shares by their visible blocks. Nil when no block is visible.
  var sparsity: Double? {
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
  var sampledRows: Int? { heads.compactMap { $0.summary?.sampledRows }.min() }

  /// Sink rate over the heads reported: α_1 over all rows, and over the first 64 as published
  /// numbers are.
  var sinkRates: (all: SinkRate, published: SinkRate?)? {
    let summaries = heads.compactMap(\.summary)
    guard !summaries.isEmpty else { return nil }
    let published = summaries.compactMap(\.truncatedImportance)
    return (
      SinkRate(importances: summaries.map { $0.importance.first ?? 0 }),
      published.count == summaries.count ? SinkRate(importances: published) : nil
    )
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
  /// leaves out those that nobody asked for: --json has them.
  private var extras: [(name: String, unit: Unit)] {
    let isShort = card?.blockTables != nil
    let asked = Set(choice.names.map(HeadReport.fullName)).union([
      Findings.sinkNumber, "selected", "selected_most",
    ])
    var seen: Set<String> = Set(Self.known.map(\.name)), list: [(String, Unit)] = []
    for head in heads {
      for finding in head.findings.all {
        guard case .number(_, let unit) = finding.content,
          !isShort || asked.contains(finding.name), seen.insert(finding.name).inserted
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
    "entropy", "eff.keys", "sink", "on", "pattern", "its_recall", "distance", "prev.token",
    "induction",
  ]

  /// Rounded cells, one row a head; the numbers of a column have one number of digits.
  private var table: Table {
    let (shown, extras) = (shown, extras)
    let columns =
      shown.map { cells($0.name, $0.unit) } + extras.map { cells($0.name, $0.unit) }
    let headings =
      ["layer", "head"] + shown.map(\.column) + extras.map(\.name) + Self.summaryColumns
    return Table(
      headings + assignedColumns, leftAligned: ["on", "pattern", "assigned"],
      rows: heads.indices.map { row in
        place(heads[row]) + columns.map { $0[row] } + summaryCells(heads[row])
          + assignedCells(heads[row], \.words)
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
    ["\(head.layer)", "\(head.number)\(head.summary?.quality.isClean ?? true ? "" : "!")"]
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
    ] + reachCells(summary)
  }

  /// The column of what heads were assigned; none where nothing was told.
  private var assignedColumns: [String] { assigned == nil ? [] : ["assigned"] }

  /// Its cell, in some words.
  private func assignedCells(
    _ head: HeadReport, _ words: KeyPath<AssignedPatterns.Pattern, String>
  ) -> [String] {
    guard let assigned else { return [] }
    return [assigned(head)?[keyPath: words] ?? "-"]
  }

  /// How far the head looks, and how much goes to the token before and to what followed a copy.
  private func reachCells(_ summary: HeadSummary) -> [String] {
    guard let reach = summary.reach else { return ["-", "-", "-"] }
    return [summary.sign + Numbers.fixed(reach.meanDistance, 1)]
      + [reach.previousToken, reach.induction].map { share in
        share.map { summary.sign + Numbers.percent($0) } ?? "-"
      }
  }

  /// The method with what it was set to; in brackets, how faithful it is to its paper when it
  /// is not exact.
  private var heading: String { Printable.text("\(title) (\(phase))") }

  /// The same as it is, without the phase.
  var title: String {
    var text = "\(dump.path): \(card?.blockTables == nil ? setting.description : setting.id)"
    // Masks without margins are what they are, whatever the threshold.
    let isGiven = about.storedTile != nil && heads.allSatisfy { $0.findings["margins"] == nil }
    if isGiven { text = "\(dump.path): the file's own masks," }
    if let lambda, !isGiven { text += " lambda \(lambda)" }
    if let spec { text += " tile \(spec)" }
    if let fidelity = card?.fidelity(of: setting), fidelity != .exact {
      text += " [\(fidelity.tag): \(fidelity.sentence)]"
    }
    return text
  }

  /// Totals in a sentence, then what the method remarked.
  private var footer: String {
    let ends =
      notes.map { "note: \($0)" }
      + verdicts.filter(\.holds).map { Printable.text(sentence($0)) }
    let starts = [choiceLine].compactMap { $0 }.map(Printable.text)
    guard let sparsity, let visible else { return (starts + ends).joined(separator: "\n") }
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
    return (starts + [line] + ends).joined(separator: "\n")
  }

  /// What the method said in sentences, each once.
  private var notes: [String] {
    var seen: Set<String> = []
    return heads.flatMap(\.findings.notes).filter { seen.insert($0).inserted }.map(Printable.text)
  }

  /// Aligned columns, for a person.
  var text: String {
    let badges = heads.flatMap { head in
      (head.summary?.quality.badges ?? []).map {
        "! layer \(head.layer) head \(head.number): \($0)"
      }
    }
    return ([heading, table.text] + badges.map(Printable.text) + [footer])
      .filter { !$0.isEmpty }.joined(separator: "\n")
  }

  /// For a page or an issue; wide tables stay tables.
  var markdown: String {
    [Table.untagged(heading), "", table.markdown, "", Table.untagged(footer)]
      .joined(separator: "\n")
  }

  // MARK: CSV

  /// Full precision, one row a head: the columns that every report has, then the union of the
  /// methods' other numbers.
  private var full: Table {
    let extras = extras
    return Table(
      Self.csvColumns + assignedColumns + extras.map(\.name),
      rows: heads.map { csvCells($0, extras.map(\.name)) })
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
    "mean_distance", "previous_token", "induction",
  ]

  /// A row at full precision; the file's path stands in every row, so that reports can be
  /// joined.
  private func csvCells(_ head: HeadReport, _ extras: [String]) -> [String] {
    let summary = head.summary
    func number(_ x: Double?) -> String { x.map { "\($0)" } ?? "" }
    func count(_ name: String) -> String { head.count(name).map(String.init) ?? "" }
    var cells: [String] = [dump.path, "\(head.layer)", "\(head.number)", phase, setting.id]
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
      summary?.sampledRows.map(String.init) ?? "", number(summary?.reach?.meanDistance),
      number(summary?.reach?.previousToken), number(summary?.reach?.induction),
    ]
    cells += assignedCells(head, \.label).map { $0 == "-" ? "" : $0 }
    return cells + extras.map { number(head.number($0)) }
  }
}
