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
  private let look: Look
  /// Said after the view's own sentences.
  private let message: String?

  /// Reads the look.
  public init(_ model: Model) { (look, message) = (model.look, model.message) }

  /// Reads a look, which has no message.
  init(_ look: Look) { (self.look, message) = (look, nil) }

  /// A line each, made safe for a terminal.
  public var sentences: [String] {
    let head =
      "Layer \(look.layerNumber) head \(look.chosenHeadNumber) of \(look.source.name)"
    var lines: [String] = []
    switch look.viewpoint.view {
    case .map: lines = [head + ", the map."] + map
    case .heads: lines = heads
    case .blocks where !look.isByTable: lines = [head + "."] + method
    case .blocks: lines = [head + ", its blocks."] + blocks
    case .sinks where look.scoreName != nil: lines = [head + "."] + scores
    case .sinks: lines = [head + ", where its attention goes."] + sinks
    case .tokens: lines = [head + ", the text."] + tokens
    case .compare: lines = compare
    }
    lines += OverlapText.sentences(look)
    if look.viewpoint.budget != nil { lines = [head + "."] + budget }
    if let message { lines.append(message) }
    return lines.map(Printable.text)
  }

  // MARK: Methods

  /// Everything the method in force found, a sentence each.
  private var method: [String] {
    guard let setting = look.methodInForce, let card = look.card else { return [] }
    guard let findings = look.findings(look.viewpoint.head) else {
      let why = look.findingsQuestion(look.viewpoint.head).flatMap(look.refusal)
      return ["\(card.title): \(why ?? "not known yet")."]
    }
    let fidelity = card.fidelity(of: setting)
    let tag = fidelity == .exact ? "" : " (\(fidelity.tag): \(fidelity.sentence))"
    return ["\(card.title)\(tag), \(setting): \(card.idea)"]
      + findings.all.map(FindingText.sentence) + findings.notes.map { "Note: \($0)." }
  }

  /// The number in force, a sentence a head.
  private var scores: [String] {
    guard let name = look.scoreName else { return [] }
    return look.source.allHeads.map { head in
      let text = look.headNumber(name, head).map { FindingText.measured($0.value, $0.unit) }
      return
        """
        Layer \(look.source.layers[head.layer]) head \(look.source.headNumber(head.head)): \(name) \
        \(text ?? (look.lacks(name, head) ? "is no number of this method" : "not known yet")).
        """
    }
  }

  /// Every method at the budget in force, a sentence each, the best first.
  private var budget: [String] {
    guard let share = look.viewpoint.budget else { return [] }
    guard let answer = look.budgetAnswer else { return ["\(look.budgetWaiting)."] }
    let names = Array(BudgetTable.columns.dropFirst(2)), table = BudgetTable(answer)
    let rows = zip(answer.rows, table.rows).enumerated().map { place, item -> String in
      let (row, cells) = item
      let numbers = zip(names, cells.dropFirst(2)).map { "\($0) \($1)" }
      return
        """
        \(place + 1). \(BudgetTable.short(row.setting)): \(Numbers.percent(row.tileDensity)) of \
        tiles, \(numbers.joined(separator: ", ")).
        """
    }
    return [
      "Methods at \(Numbers.percent(share)) of 64x64 tiles, by recall, the best first."
    ] + rows + table.notes.map { $0 + "." }
  }

  // MARK: Parts

  /// A key by number and text.
  private func named(_ key: Int) -> String {
    "key \(key)" + (look.token(key).map { " \"\($0)\"" } ?? "")
  }

  /// The head's shape, sink and reach.
  private var pattern: String {
    guard let summary = look.summary(look.viewpoint.head) else {
      return look.refusal(.summary(look.viewpoint.head)) ?? "Its pattern is not known yet."
    }
    let label = summary.label
    guard let recall = label.winner?.recall, recall.isFinite else {
      return "Its pattern is \(label.text(Numbers.percent))."
    }
    return
      """
      It is \(label.name.rawValue): \(Numbers.percent(recall)) of its attention lies on \
      \(Int(label.budget * 100)) % of the entries.
      """
        + " "
        + "The sink is \(named(summary.sink.position)) with \(Numbers.percent(summary.sink.mass)). "
        + "A row attends to about \(Numbers.fixed(summary.effectiveTokens, 1)) tokens."
        + (summary.sampledRows.map { " This was read from \($0) of \(look.source.queries) rows." }
          ?? "")
  }

  /// Setting and effect of the block table, or what another method in force says.
  private var pruning: String {
    guard look.isByTable else {
      return methodOutcome.isEmpty ? method.joined(separator: " ") : methodOutcome
    }
    guard let effect else {
      return look.refusal(look.tableQuestion(look.viewpoint.head)) ?? "Blocks are not known yet."
    }
    return
      """
      Lambda is \(MapScreen.lambdaText(look.viewpoint.lambda)), the tile \
      \(look.viewpoint.spec.description).
      """
        + " " + effect
  }

  /// Skipped blocks, dropped mass and error; nil before the table is there.
  private var effect: String? {
    guard let table = look.table(look.viewpoint.head) else { return nil }
    var text =
      """
      \(table.skippedBlocks(look.lambda)) of \(table.visibleBlocks) blocks are skipped, \
      \(Numbers.percent(table.sparsity(look.lambda))).
      """
    if let dropped = table.droppedMass(look.lambda) {
      text +=
        """
         That drops \(Numbers.short(dropped.mean)) of the attention on average, \
        \(Numbers.short(dropped.max)) in the worst row.
        """
    }
    if let error = look.number("error", look.viewpoint.head) {
      text += " The output is off by \(Numbers.short(error)) (relative L2)."
    }
    return text
  }

  /// What BLASST does to the chosen head and what shape it has, for captions.
  var outcome: String {
    guard look.isByTable else { return methodOutcome + " " + pattern }
    return effect.map { $0 + " " + pattern } ?? pattern
  }

  /// The numbers of the method in force that heads are ranked and judged by.
  private var methodOutcome: String {
    guard let card = look.card, let findings = look.findings(look.viewpoint.head) else {
      return ""
    }
    let names = [
      card.mainNumber, "sparsity", "density", "recall_mean", "dropped_max", "error", "map_gap",
    ].compactMap { $0 }
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
    let viewpoint = look.viewpoint
    var text = "The cursor is on query \(viewpoint.query)"
    if let token = look.queryToken(viewpoint.query) { text += " \"\(token)\"" }
    text += " and \(named(viewpoint.key))"
    if viewpoint.key >= look.source.visibility.limit(row: viewpoint.query) {
      return text + ", which comes later and is not visible."
    }
    if look.rowField.method == nil, let row = look.row(viewpoint.query), viewpoint.key < row.count {
      text +=
        viewpoint.key == look.mutedKey
        ? ", which is muted: left out of the row"
        : ": \(look.poolWord)probability \(Numbers.short(Double(row[viewpoint.key])))"
    }
    if let (title, value) = look.cell { text += "; \(title): \(value)" }
    guard look.isByTable, look.hasBlocksOnMap else { return text + "." }
    let reason = Reason(look).lines.map(\.text).joined(separator: ", ")
    return text + "." + (reason.isEmpty ? "" : " The \(reason).")
  }

  /// The six keys that the query attends to most.
  private var heaviest: String {
    guard let row = look.row(look.viewpoint.query) else { return "" }
    let best = row.indices.filter { row[$0] > 0 }.sorted { row[$0] > row[$1] }.prefix(6)
    let items = best.map { "\(named($0)) \(Numbers.short(Double(row[$0])))" }
    let who = look.poolNames.first.map { ", in the \($0)," } ?? ""
    return "Query \(look.viewpoint.query)\(who) attends most to \(items.joined(separator: ", "))."
  }

  // MARK: Views

  /// The window, the head, its blocks, the cursor and its row.
  private var map: [String] {
    let window = look.viewpoint.window
    let shown =
      "Queries \(window.queries.lowerBound) to \(window.queries.upperBound - 1) by keys "
      + "\(window.keys.lowerBound) to \(window.keys.upperBound - 1) are looked at."
    return [
      shown, look.poolSentence, pattern, pruning, cursor, heaviest,
      look.learnedSinkSentence, look.stripSentence, look.selectionSentence,
    ]
    .filter { !$0.isEmpty }
  }

  /// A sentence a method of the gallery.
  private var gallery: [String] {
    let gallery = GalleryLook(look)
    let start =
      "Gallery \(look.viewpoint.gallery ?? ""): one head under \(gallery.items.count - 1) methods."
    return [start]
      + gallery.items.enumerated().compactMap { index, item in
        guard let item, let card = look.source.card(item.id) else { return nil }
        let fidelity = card.fidelity(of: item)
        var text = "\(card.title)" + (index == gallery.chosen ? " (chosen)" : "")
        if fidelity != .exact { text += " (\(fidelity.tag): \(fidelity.sentence))" }
        if let why = look.findingsQuestion(look.viewpoint.head, item).flatMap(look.refusal) {
          return "\(text): \(why)."
        }
        return "\(text): output error \(gallery.errorText(item))."
      }
  }

  /// A sentence a head, in the order of the view.
  private var heads: [String] {
    guard look.viewpoint.gallery == nil else { return gallery }
    let layout = HeadsLayout(look)
    let decided =
      look.isByTable
      ? "lambda \(MapScreen.lambdaText(look.viewpoint.lambda))"
      : "method \(look.methodInForce?.description ?? "")"
    let order =
      look.viewpoint.costs == .list
      ? "the cheapest to skip first" : "by \(look.viewpoint.sort.rawValue)"
    var lines = [
      """
      \(layout.order.count) heads of \(look.source.name), \(order), \
      \(decided)\(look.agreement.map { "; patterns: \($0)" } ?? "").
      """
    ]
    if layout.order.isEmpty { lines.append(look.noHeads) }
    for head in layout.order {
      var text = "Layer \(look.source.layers[head.layer]) head \(look.source.headNumber(head.head))"
      if head == look.viewpoint.head { text += " (chosen)" }
      if let share = look.sparsity(head) { text += ": \(Numbers.percent(share)) skipped" }
      if look.viewpoint.costs != .off { text += HeadCosts(look).priceText(head) }
      if let name = look.scoreName, name != "sparsity", let number = look.headNumber(name, head) {
        text += ", \(look.numberTitle(name)) \(FindingText.measured(number.value, number.unit))"
      }
      if let summary = look.summary(head) {
        text +=
          """
          , \(summary.label.name.rawValue)\(look.assignedWords(head)), \
          \(summary.sign)\(Numbers.percent(summary.sink.mass)) \
          on key \(summary.sink.position), about \(Numbers.fixed(summary.effectiveTokens, 1)) \
          tokens a row
          """
      }
      lines.append(text + ".")
    }
    return lines
  }

  /// The row of blocks under the cursor, one sentence each.
  private var blocks: [String] {
    guard let table = look.table(look.viewpoint.head), !table.isFixed else { return [pruning] }
    let i = min(look.viewpoint.query / table.spec.rows, table.rowTiles - 1)
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
        : """
        margin \(Numbers.fixed(Double(margin), 2)), \
        \(margin < look.lambda.threshold ? "skipped" : "computed")
        """
      lines.append("Keys \(tile * table.spec.keys) to \(end): \(verdict).")
    }
    return lines
  }

  /// The heaviest keys, and the first token's share in every head.
  private var sinks: [String] {
    guard let summary = look.summary(look.viewpoint.head) else { return [pattern] }
    let keys = summary.heaviest.prefix(8).map {
      "\(named($0)) \(Numbers.percent(Double(summary.columnMass[$0])))"
    }
    let heads = look.source.allHeads.compactMap { head in
      look.summary(head)?.importance.first.map { share in
        let place = "\(look.source.layers[head.layer]).\(look.source.headNumber(head.head))"
        return "\(place) \(Numbers.percent(Double(share)))"
      }
    }
    return [
      "Most attention goes to \(keys.joined(separator: ", ")).",
      "On the first token, by layer and head: \(heads.joined(separator: ", ")).",
    ]
  }

  /// The last forty tokens up to the query, as running text.
  private var tokens: [String] {
    let query = look.viewpoint.query
    let position = look.source.visibility.position(row: query)
    let around = max(0, position - 40)..<max(0, min(look.source.tokens.count, position + 1))
    let text = around.isEmpty ? "" : look.source.tokens[around].joined()
    return [
      "Up to query \(query) the text reads: \(text)", step, heaviest, cursor,
      look.learnedSinkSentence, look.selectionSentence,
    ]
    .filter { !$0.isEmpty }
  }

  /// Of a live source: the token that is looked at, and what its pass did.
  private var step: String {
    guard look.live != nil, let step = look.step else { return "" }
    var text = "Token \(step.position) of \(look.length) on branch \(look.frame.branch), "
    text += step.isPrompt ? "of the prompt" : step.attention
    if let chance = step.logProbability {
      text += ", chosen with chance \(Numbers.percent(Scale.exp(chance)))"
    }
    if let sparsity = step.sparsity {
      text +=
        """
        , \(step.skippedBlocks) of \(step.visibleBlocks) blocks skipped, \
        \(Numbers.percent(sparsity))
        """
    }
    return text + "."
  }

  /// Both sides' names, then what they have in common and what not, a sentence a number.
  private var compare: [String] {
    let comparison = Comparison(look)
    var names = ["Left is \(comparison.left), right is \(comparison.right)."]
    if let warning = comparison.warnings.first { names.append("Note that \(warning).") }
    return names
      + comparison.rows.map { row in
        guard let right = row.right else { return Self.aboutBoth(row.name, row.left) }
        let words =
          Self.compared[row.name] ?? "\(row.name): it is # on the left and # on the right."
        return Self.filled(words, [row.left, right])
      }
  }

  /// What is said of a number of both sides; `#` stands for the left one, then for the right.
  private static let compared = [
    "pruned": "Blocks skipped: # on the left, # on the right.",
    "dropped": "Attention dropped in the mean row: # on the left, # on the right.",
    "worst": "Attention dropped in the worst row: # on the left, # on the right.",
    "error": "Relative error of the output: # on the left, # on the right.",
    "pattern": "The pattern is # on the left and # on the right.",
    "sink": "Most attention lies on one key: # on the left, # on the right.",
    "entropy": "The entropy of a row is # on the left and # on the right.",
  ]

  /// The numbers of a sentence in the places of its signs.
  private static func filled(_ words: String, _ numbers: [String]) -> String {
    var rest = numbers[...]
    return words.map { $0 == "#" ? rest.popFirst() ?? "" : String($0) }.joined()
  }

  /// A number about both sides as a sentence.
  private static func aboutBoth(_ name: String, _ value: String) -> String {
    switch name {
    case "skipped": "Blocks skipped, by both, by one side alone: \(value)."
    case "overlap":
      value.hasPrefix("nothing") ? "On both sides \(value)." : "The sides share \(value)."
    case "moved": "On the other side \(value) lies elsewhere."
    default: "\(name): \(value)."
    }
  }
}
