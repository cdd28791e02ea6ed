import Analysis
import Attention
import Canvas
import Sessions

/// What a view shows, in sentences: for screen readers, logs and pipes. No boxes, no colours,
/// nothing that only a place on the screen would tell.
///
/// Example: `PlainText(model).sentences.joined(separator: "\n")` for a model that `Still` has
/// completed. It asks nothing: what is not known is said to be so.
public struct PlainText {
  private let model: Model

  /// Reads the model.
  public init(_ model: Model) { self.model = model }

  /// A line each, made safe for a terminal.
  public var sentences: [String] {
    let head =
      "Layer \(model.layerNumber) head \(model.viewpoint.head.head) of \(model.source.name)"
    var lines: [String] = []
    switch model.viewpoint.view {
    case .map: lines = [head + ", the map."] + map
    case .heads: lines = heads
    case .blocks where !model.isByTable: lines = [head + "."] + method
    case .blocks: lines = [head + ", its blocks."] + blocks
    case .sinks where model.scoreName != nil: lines = [head + "."] + scores
    case .sinks: lines = [head + ", where its attention goes."] + sinks
    case .tokens: lines = [head + ", the text."] + tokens
    case .compare: lines = compare
    }
    if let message = model.message { lines.append(message) }
    return lines.map(Printable.text)
  }

  // MARK: Methods

  /// Everything the method in force found, a sentence each.
  private var method: [String] {
    guard let setting = model.methodInForce, let card = model.card else { return [] }
    guard let findings = model.findings(model.viewpoint.head) else {
      let why = model.findingsQuestion(model.viewpoint.head).flatMap(model.refusal)
      return ["\(card.title): \(why ?? "not known yet")."]
    }
    let fidelity = card.fidelity == .exact ? "" : " (\(card.fidelity.tag))"
    return ["\(card.title)\(fidelity), \(setting): \(card.idea)"]
      + findings.all.map(FindingText.sentence) + findings.notes.map { "Note: \($0)." }
  }

  /// The number in force, a sentence a head.
  private var scores: [String] {
    guard let name = model.scoreName else { return [] }
    return model.source.allHeads.map { head in
      let text = model.headNumber(name, head).map { FindingText.measured($0.value, $0.unit) }
      return
        "Layer \(model.source.layers[head.layer]) head \(head.head): \(name) \(text ?? "not known yet")."
    }
  }

  // MARK: Parts

  /// A key by number and text.
  private func named(_ key: Int) -> String {
    "key \(key)" + (model.token(key).map { " \"\($0)\"" } ?? "")
  }

  /// The head's shape, sink and reach.
  private var pattern: String {
    guard let summary = model.summary(model.viewpoint.head) else {
      return model.refusal(.summary(model.viewpoint.head)) ?? "Its pattern is not known yet."
    }
    let recall = Numbers.percent(summary.label.winner?.recall ?? 0)
    return
      "It is \(summary.label.name.rawValue): \(recall) of its attention lies on \(Int(summary.label.budget * 100)) % of the entries. "
      + "The sink is \(named(summary.sink.position)) with \(Numbers.percent(summary.sink.mass)). "
      + "A row attends to about \(Numbers.fixed(summary.effectiveTokens, 1)) tokens."
      + (summary.sampledRows.map { " This was read from \($0) of \(model.source.queries) rows." }
        ?? "")
  }

  /// Setting and effect of the block table.
  private var pruning: String {
    guard let effect else {
      return model.refusal(model.tableQuestion(model.viewpoint.head)) ?? "Blocks are not known yet."
    }
    return
      "Lambda is \(MapScreen.lambdaText(model.viewpoint.lambda)), the tile \(model.viewpoint.spec.description). "
      + effect
  }

  /// Skipped blocks, dropped mass and error; nil before the table is there.
  private var effect: String? {
    guard let table = model.table(model.viewpoint.head) else { return nil }
    var text =
      "\(table.skippedBlocks(model.lambda)) of \(table.visibleBlocks) blocks are skipped, \(Numbers.percent(table.sparsity(model.lambda)))."
    if table.visibleRows > 0 {
      let dropped = table.droppedMass(model.lambda)
      text +=
        " That drops \(Numbers.short(dropped.mean)) of the attention on average, \(Numbers.short(dropped.max)) in the worst row."
    }
    if let error = model.number("error", model.viewpoint.head) {
      text += " The output is off by \(Numbers.short(error)) (relative L2)."
    }
    return text
  }

  /// What BLASST does to the chosen head and what shape it has, for captions.
  var outcome: String {
    guard model.isByTable else { return methodOutcome + " " + pattern }
    return effect.map { $0 + " " + pattern } ?? pattern
  }

  /// The numbers of the method in force that heads are ranked and judged by.
  private var methodOutcome: String {
    guard let card = model.card, let findings = model.findings(model.viewpoint.head) else {
      return ""
    }
    let names = [card.mainNumber, "density", "recall_mean", "error", "map_gap"].compactMap { $0 }
    var seen: Set<String> = []
    let parts = names.filter { seen.insert($0).inserted }.compactMap { name -> String? in
      guard let finding = findings[name], case .number(let value?, let unit) = finding.content
      else { return nil }
      return "\(finding.title) \(FindingText.measured(value, unit))"
    }
    return "\(card.title) on this head: \(parts.joined(separator: ", "))."
  }

  /// Where the cursor is, what stands there, and why its block is computed or skipped.
  private var cursor: String {
    let viewpoint = model.viewpoint
    var text = "The cursor is on query \(viewpoint.query)"
    if let token = model.queryToken(viewpoint.query) { text += " \"\(token)\"" }
    text += " and \(named(viewpoint.key))"
    if viewpoint.key >= model.source.visibility.limit(row: viewpoint.query) {
      return text + ", which comes later and is not visible."
    }
    if let row = model.row(viewpoint.query), viewpoint.key < row.count {
      text += ": probability \(Numbers.short(Double(row[viewpoint.key])))"
    }
    let reason = Reason(model).lines.map(\.text).joined(separator: ", ")
    return text + "." + (reason.isEmpty ? "" : " The \(reason).")
  }

  /// The six keys that the query attends to most.
  private var heaviest: String {
    guard let row = model.row(model.viewpoint.query) else { return "" }
    let best = row.indices.filter { row[$0] > 0 }.sorted { row[$0] > row[$1] }.prefix(6)
    let items = best.map { "\(named($0)) \(Numbers.short(Double(row[$0])))" }
    return "Query \(model.viewpoint.query) attends most to \(items.joined(separator: ", "))."
  }

  // MARK: Views

  /// The window, the head, its blocks, the cursor and its row.
  private var map: [String] {
    let window = model.viewpoint.window
    let shown =
      "Queries \(window.queries.lowerBound) to \(window.queries.upperBound - 1) by keys "
      + "\(window.keys.lowerBound) to \(window.keys.upperBound - 1) are looked at."
    return [shown, pattern, pruning, cursor, heaviest].filter { !$0.isEmpty }
  }

  /// A sentence a head, in the order of the view.
  private var heads: [String] {
    let layout = HeadsLayout(model)
    var lines = [
      "\(layout.order.count) heads of \(model.source.name), by \(model.viewpoint.sort.rawValue), lambda \(MapScreen.lambdaText(model.viewpoint.lambda))."
    ]
    for head in layout.order {
      var text = "Layer \(model.source.layers[head.layer]) head \(head.head)"
      if head == model.viewpoint.head { text += " (chosen)" }
      if let table = model.table(head) {
        text += ": \(Numbers.percent(table.sparsity(model.lambda))) skipped"
      }
      if let summary = model.summary(head) {
        text +=
          ", \(summary.label.name.rawValue), \(summary.sign)\(Numbers.percent(summary.sink.mass)) on key \(summary.sink.position), about \(Numbers.fixed(summary.effectiveTokens, 1)) tokens a row"
      }
      lines.append(text + ".")
    }
    return lines
  }

  /// The row of blocks under the cursor, one sentence each.
  private var blocks: [String] {
    guard let table = model.table(model.viewpoint.head), !table.isFixed else { return [pruning] }
    let i = min(model.viewpoint.query / table.spec.rows, table.rowTiles - 1)
    var lines = [pruning]
    let targets = [0.3, 0.5, 0.7].compactMap { target in
      table.lambda(forSparsity: target).map {
        "\(Int(100 * target)) % at lambda \(Numbers.threshold($0))"
      }
    }
    if !targets.isEmpty { lines.append("Sparsity: \(targets.joined(separator: ", ")).") }
    lines.append("Query tile \(i), block by block:")
    for tile in 0..<table.keyTiles {
      let margin = table.margins[i * table.keyTiles + tile]
      guard !margin.isNaN else { continue }
      let end = min(table.keys, (tile + 1) * table.spec.keys) - 1
      let verdict =
        margin == .infinity
        ? "visited first, computed"
        : "margin \(Numbers.fixed(Double(margin), 2)), \(margin < model.lambda.threshold ? "skipped" : "computed")"
      lines.append("Keys \(tile * table.spec.keys) to \(end): \(verdict).")
    }
    return lines
  }

  /// The heaviest keys, and the first token's share in every head.
  private var sinks: [String] {
    guard let summary = model.summary(model.viewpoint.head) else { return [pattern] }
    let order = summary.columnMass.indices.sorted {
      summary.columnMass[$0] > summary.columnMass[$1]
    }
    let keys = order.prefix(8).map {
      "\(named($0)) \(Numbers.percent(Double(summary.columnMass[$0])))"
    }
    let heads = model.source.allHeads.compactMap { head in
      model.summary(head)?.importance.first.map {
        "\(model.source.layers[head.layer]).\(head.head) \(Numbers.percent(Double($0)))"
      }
    }
    return [
      "Most attention goes to \(keys.joined(separator: ", ")).",
      "On the first token, by layer and head: \(heads.joined(separator: ", ")).",
    ]
  }

  /// The last forty tokens up to the query, as running text.
  private var tokens: [String] {
    let query = model.viewpoint.query
    let position = model.source.visibility.position(row: query)
    let around = max(0, position - 40)..<max(0, min(model.source.tokens.count, position + 1))
    let text = around.isEmpty ? "" : model.source.tokens[around].joined()
    return ["Up to query \(query) the text reads: \(text)", step, heaviest, cursor]
      .filter { !$0.isEmpty }
  }

  /// Of a live source: the token that is looked at, and what its pass did.
  private var step: String {
    guard model.live != nil, let step = model.step else { return "" }
    var text = "Token \(step.position) of \(model.length) on branch \(model.frame.branch), "
    text += step.isPrompt ? "of the prompt" : step.attention
    if let chance = step.logProbability {
      text += ", chosen with chance \(Numbers.percent(Scale.exp(chance)))"
    }
    if let sparsity = step.sparsity {
      text +=
        ", \(step.skippedBlocks) of \(step.visibleBlocks) blocks skipped, \(Numbers.percent(sparsity))"
    }
    return text + "."
  }

  /// Both sides' names, then their numbers.
  private var compare: [String] {
    let comparison = Comparison(model)
    return ["Left is \(comparison.left), right is \(comparison.right)."]
      + comparison.rows.map { row in
        row.right.map { "\(row.name): left \(row.left), right \($0)." }
          ?? "\(row.name): \(row.left)."
      }
  }
}
