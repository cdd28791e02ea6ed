import Analysis
import Attention
import Backends
import Canvas
import Formats
import Sessions

/// The rows of a report and the forms it can be printed in.
struct Report {
  let dump: Dump
  let about: SourceDescription
  let request: ReportRequest
  var heads: [HeadReport] = []

  /// The tile that the masks have; other methods than BLASST choose their own.
  private var spec: TileSpec { heads.first?.mask.spec ?? request.spec }
  private var isBLASST: Bool { request.method == "blasst" }

  private var phase: String { about.queries == 1 ? "decode" : "prefill" }

  var json: JSON {
    .object([
      ("file", .string(dump.path)), ("model", .optional(dump.model, JSON.string)),
      ("tokens", .integer(about.keys)),
      ("method", .string(request.method)),
      ("lambda", isBLASST ? .number(request.lambda.value) : .null),
      ("tile", .array([.integer(spec.rows), .integer(spec.keys)])),
      ("vote", .string(spec.vote.rawValue)), ("order", .string(spec.order.rawValue)),
      ("criterion", .string(spec.criterion.rawValue)), ("splits", .integer(spec.splits)),
      ("screen", .string(request.screen.rawValue)),
      ("heads", .array(heads.map(json))), ("total", total),
      ("guesses", .array(about.guesses.map(JSON.string))),
    ])
  }

  private func json(_ head: HeadReport) -> JSON {
    .object([
      ("layer", .integer(head.layer)), ("head", .integer(head.head)), ("phase", .string(phase)),
      ("visible_blocks", .integer(head.visibleBlocks)),
      ("skipped_blocks", .integer(head.skippedBlocks)),
      ("decided_by_bound", .optional(head.decidedByBound, JSON.integer)),
      ("sparsity", .number(head.sparsity)), ("dropped_mass", Self.json(dropped: head.droppedMass)),
      ("output_error", Self.json(error: head.outputError)),
      ("entropy", .optional(head.summary?.entropy, JSON.number)),
      ("effective_tokens", .optional(head.summary?.effectiveTokens, JSON.number)),
      ("sink", .optional(head.summary, json)),
      ("pattern", .optional(head.summary?.label, Self.json)),
      ("badges", .array((head.summary?.quality.badges ?? []).map(JSON.string))),
    ])
  }

  private static func json(dropped: (mean: Double, max: Double)?) -> JSON {
    .optional(dropped) { .object([("mean", .number($0.mean)), ("max", .number($0.max))]) }
  }

  private static func json(error: OutputError?) -> JSON {
    .optional(error) {
      .object([("relative_l2", .number($0.relativeL2)), ("max_abs", .number($0.maxAbsolute))])
    }
  }

  private func json(_ summary: HeadSummary) -> JSON {
    .object([
      ("position", .integer(summary.sink.position)),
      ("token", .optional(token(summary.sink.position), JSON.string)),
      ("mass", .number(summary.sink.mass)),
    ])
  }

  private static func json(_ label: PatternLabel) -> JSON {
    .object([
      ("label", .string(label.name.rawValue)),
      ("scores", .object(label.candidates.map { ($0.name.rawValue, .number($0.recall)) })),
      ("densities", .object(label.candidates.map { ($0.name.rawValue, .number($0.density)) })),
      ("budget", .number(label.budget)),
      ("sampled_rows", .optional(label.sampledRows, JSON.integer)),
    ])
  }

  func token(_ position: Int) -> String? {
    about.tokens.indices.contains(position) ? about.tokens[position] : nil
  }

  private var visible: Int { heads.reduce(0) { $0 + $1.visibleBlocks } }
  private var skipped: Int { heads.reduce(0) { $0 + $1.skippedBlocks } }
  private var sparsity: Double { visible == 0 ? 0 : Double(skipped) / Double(visible) }

  /// Sink rate over the heads reported: α_1 over all rows, and over the first 64 as published numbers are.
  private var sinkRates: (all: SinkRate, published: SinkRate?)? {
    let summaries = heads.compactMap(\.summary)
    guard !summaries.isEmpty else { return nil }
    let published = summaries.compactMap(\.truncatedImportance)
    return (
      SinkRate(importances: summaries.map { $0.importance.first ?? 0 }),
      published.count == summaries.count ? SinkRate(importances: published) : nil
    )
  }

  private var total: JSON {
    let dropped = heads.compactMap(\.droppedMass), errors = heads.compactMap(\.outputError)
    let mean = dropped.isEmpty ? nil : dropped.reduce(0) { $0 + $1.mean } / Double(dropped.count)
    return .object([
      ("visible_blocks", .integer(visible)), ("skipped_blocks", .integer(skipped)),
      ("sparsity", .number(sparsity)),
      ("dropped_mass", Self.json(dropped: mean.map { ($0, dropped.map(\.max).max() ?? 0) })),
      (
        "output_error",
        errors.isEmpty
          ? .null
          : .object([
            (
              "relative_l2", .number(errors.reduce(0) { $0 + $1.relativeL2 } / Double(errors.count))
            ),
            ("max_abs", .number(errors.map(\.maxAbsolute).max() ?? 0)),
          ])
      ),
      (
        "sink_rate",
        .optional(sinkRates) {
          .object([
            ("threshold", .number($0.all.threshold)), ("all_rows", .number($0.all.rate)),
            ("first_64_rows", .optional($0.published?.rate, JSON.number)),
          ])
        }
      ),
    ])
  }
}

extension Report {
  private static let columns = [
    "layer", "head", "visible", "skipped", "sparsity", "dropped", "worst", "error", "entropy",
    "eff.keys", "sink", "on",
    "pattern", "recall",
  ]

  private func cells(_ head: HeadReport) -> [String] {
    var cells: [String] = [
      "\(head.layer)", "\(head.head)\(head.summary?.quality.isClean ?? true ? "" : "!")",
      "\(head.visibleBlocks)", "\(head.skippedBlocks)",
    ]
    cells.append(Numbers.percent(head.sparsity))
    cells.append(head.droppedMass.map { Numbers.short($0.mean) } ?? "-")
    cells.append(head.droppedMass.map { Numbers.short($0.max) } ?? "-")
    cells.append(
      head.outputError.map { Numbers.short($0.relativeL2) }
        ?? (about.hasValues || dump.kind == .mask ? "-" : "needs V"))
    guard let summary = head.summary else { return cells + [String](repeating: "-", count: 6) }
    cells.append(Numbers.fixed(summary.entropy, 2))
    cells.append(Numbers.fixed(summary.effectiveTokens, 1))
    cells.append(Numbers.percent(summary.sink.mass))
    let sink = token(summary.sink.position).map { " \"\($0)\"" } ?? ""
    cells.append("\(summary.sink.position)\(sink)")
    cells.append(summary.label.name.rawValue)
    cells.append(summary.label.winner.map { Numbers.fixed($0.recall, 3) } ?? "-")
    return cells.map(Printable.text)
  }

  private var heading: String {
    "\(dump.path): \(request.method)\(request.method == "blasst" ? " lambda \(request.lambda.value)" : "") tile \(spec) (\(phase))"
  }

  private var footer: String {
    var line =
      "total: \(skipped) of \(visible) visible blocks skipped, \(Numbers.percent(sparsity))"
    let decided = heads.compactMap(\.decidedByBound)
    if !decided.isEmpty {
      line += "; the int8 bound decided \(decided.reduce(0, +)) of them without their scores"
    }
    if let rates = sinkRates {
      line += "; sink rate (first token takes > 0.3) \(Numbers.percent(rates.all.rate)) of heads"
      if let published = rates.published {
        line += ", \(Numbers.percent(published.rate)) over the first 64 rows"
      }
    }
    return line
  }

  /// Aligned columns, for a person.
  var text: String {
    let rows: [[String]] = [Self.columns] + heads.map(cells)
    let widths: [Int] = Self.columns.indices.map { column in
      rows.map { $0[column].count }.max() ?? 0
    }
    let lines = rows.map { Self.aligned($0, widths) }
    let badges = heads.flatMap { head in
      (head.summary?.quality.badges ?? []).map { "! layer \(head.layer) head \(head.head): \($0)" }
    }
    return ([Printable.text(heading)] + lines + badges.map(Printable.text) + [footer]).joined(
      separator: "\n")
  }

  private static func aligned(_ cells: [String], _ widths: [Int]) -> String {
    let leftAligned: Set = [11, 12]
    let padded = cells.indices.map { index -> String in
      let pad = String(repeating: " ", count: widths[index] - cells[index].count)
      return leftAligned.contains(index) ? cells[index] + pad : pad + cells[index]
    }
    return padded.joined(separator: "  ")
  }

  var markdown: String {
    let row = { (cells: [String]) -> String in
      let safe: [String] = cells.map {
        $0.split(separator: "|", omittingEmptySubsequences: false).joined(separator: "\\|")
      }
      return "| " + safe.joined(separator: " | ") + " |"
    }
    let rule = row(Self.columns.map { _ in "---" })
    return
      ([Printable.text(heading), "", row(Self.columns), rule] + heads.map { row(cells($0)) } + [
        "", footer,
      ])
      .joined(separator: "\n")
  }

  /// Full precision, one row a head.
  var csv: String {
    heads.map { csvCells($0).joined(separator: ",") }.joined(separator: "\n")
  }

  static let csvHeading =
    "file,layer,head,phase,method,lambda,tile_q,tile_k,vote,order,visible_blocks,skipped_blocks,sparsity,dropped_mean,"
    + "dropped_max,error_relative_l2,error_max_abs,entropy,effective_tokens,sink_position,sink_mass,pattern,criterion,splits,decided_by_bound"
  private func csvCells(_ head: HeadReport) -> [String] {
    let summary = head.summary
    let quoted = Printable.text(dump.path).split(separator: "\"", omittingEmptySubsequences: false)
      .joined(separator: "\"\"")
    func number(_ x: Double?) -> String { x.map { "\($0)" } ?? "" }
    var cells: [String] = ["\"" + quoted + "\"", "\(head.layer)", "\(head.head)", phase]
    cells += [
      request.method, isBLASST ? "\(request.lambda.value)" : "", "\(spec.rows)", "\(spec.keys)",
      spec.vote.rawValue, spec.order.rawValue,
    ]
    cells += ["\(head.visibleBlocks)", "\(head.skippedBlocks)", "\(head.sparsity)"]
    cells += [number(head.droppedMass?.mean), number(head.droppedMass?.max)]
    cells += [number(head.outputError?.relativeL2), number(head.outputError?.maxAbsolute)]
    cells += [number(summary?.entropy), number(summary?.effectiveTokens)]
    cells += [
      summary.map { "\($0.sink.position)" } ?? "", number(summary?.sink.mass),
      summary?.label.name.rawValue ?? "", spec.criterion.rawValue, "\(spec.splits)",
      head.decidedByBound.map(String.init) ?? "",
    ]
    return cells
  }
}
