import Sessions
import Analysis
import Attention
import Backends
import Canvas
import Formats
import Methods

/// What `open` prints without a terminal: sentences, one head a line, no boxes and no
/// colours.
///
/// Computes every head with the block-table method; for long maps progress goes to standard
/// error. A fault half-way stands as the last sentence, after the heads that were done.
struct PlainSummary {
  /// The lines, made printable.
  let text: String

  /// Computes at once, head after head; nothing is thrown.
  init(_ dump: Dump, _ backend: FileBackend, lambda: Lambda, spec: TileSpec) {
    let about = backend.describe()
    var lines = [
      "\(dump.path): \(dump.kind.words) of "
        + "\(Numbers.count(about.heads, "head")) in \(Numbers.count(about.layers.count, "layer")), "
        + "\(Numbers.count(about.queries, "query", "queries")) by "
        + Numbers.count(about.keys, "key")
        + (dump.model.map { ", model \($0)" } ?? "") + "."
    ]
    lines += about.guesses.map { "Guessed: \($0)." }
    lines.append(
      """
      BLASST with lambda \(lambda.value), tile \(spec.rows)x\(spec.keys), vote \
      \(spec.vote.rawValue), \(spec.order.rawValue):
      """
    )
    let isLong = about.queries * about.keys >= Head.longEntries
    var done = 0
    do {
      let table = Registry.standard.tableCard?.blockTables
      let setting = table?.setting(spec, lambda.value) ?? MethodSetting("")
      try backend.report(ReportRequest(setting)) { head in
        done += 1
        if isLong { say("\(done) of \(about.allHeads.count) heads") }
        lines.append(Self.sentence(head, about.tokens))
      }
    } catch {
      lines.append("\(error)")
    }
    lines.append(
      "With a terminal, the same command shows the maps; report --help prints more numbers.")
    text = lines.map(Printable.text).joined(separator: "\n")
  }

  /// What one head loses, and what its pattern is like.
  private static func sentence(_ head: HeadReport, _ tokens: [String]) -> String {
    var line = "Layer \(head.layer) head \(head.number): "
    if let share = head.number("sparsity"), let visible = head.count("visible_blocks") {
      line += "\(Numbers.percent(share)) of \(visible) blocks pruned"
    } else {
      line += "pruned blocks are not known"
    }
    if let dropped = head.droppedMass {
      line += ", \(Numbers.short(dropped.mean)) of the mass dropped on average"
    }
    if let summary = head.summary {
      let token =
        tokens.indices.contains(summary.sink.position)
        ? " \"\(tokens[summary.sink.position])\"" : ""
      line +=
        """
        ; \(summary.label.name.rawValue), the sink is key \(summary.sink.position)\(token) \
        with \(summary.sign)\(Numbers.percent(summary.sink.mass)), \
        \(summary.sign)\(Numbers.fixed(summary.effectiveTokens, 1)) effective tokens
        """
      if let rows = summary.sampledRows { line += " (read from \(rows) rows)" }
      for badge in summary.quality.badges { line += "; \(badge)" }
    }
    return line + "."
  }
}

/// A recording in words, for where there is no terminal.
struct ReplaySummary {
  /// What the recording says of itself.
  private let about: SourceDescription

  /// Computes nothing.
  init(_ about: SourceDescription) { self.about = about }

  /// A line for the recording and one for each of its branches.
  var text: String {
    let heading =
      "recording of \(about.model ?? "a model"), \(about.layers.count) layers, \(about.heads) heads"
    guard let live = about.live else { return Printable.text(heading) }
    let branches = live.branches.map { branch in
      let origin = branch.parent.map { ", left branch \($0) at token \(branch.fork)" } ?? ""
      return [
        "branch \(branch.id)",
        """
        \(live.lengths[branch.id]) tokens, \(live.promptTokens) of the prompt, \
        \(branch.attention)\(origin)
        """,
      ]
    }
    return [Printable.text(heading), Table(listing: branches).text, Printable.text(live.note)]
      .filter { !$0.isEmpty }.joined(separator: "\n")
  }
}
