import Analysis
import Attention
import Canvas
package import Lessons
import Sessions

/// What a lesson's check may ask of the model; nil while it is not known.
///
/// Example: `Facts(model)["sparsity"]`. Every name of `Fact.kinds` has its answer here, and nothing
/// else reads the model for lessons.
package struct Facts {
  private let look: Look
  private let search: String?

  /// Reads the model as it is now.
  package init(_ model: Model) { (look, search) = (model.look, model.prompt.search) }

  /// The fact of a name; nil for one that is not known yet, or that is no fact.
  package subscript(name: String) -> Fact? {
    switch Fact.kind(name) {
    case .truth: return truth(name).map(Fact.truth)
    case .text: return text(name).map(Fact.text)
    case .number:
      if let setting = setting(name) { return .number(setting) }
      return (measure(name) ?? place(name) ?? live(name)).map(Fact.number)
    case nil: return nil
    }
  }

  /// In a few words, for the line "now:".
  package func phrase(_ name: String) -> String {
    switch self[name] {
    case .number(let value):
      let shares = ["sparsity", "sink.mass", "step.sparsity", "other.sparsity"]
      if shares.contains(name) { return "\(name) \(Numbers.percent(value))" }
      if name.hasSuffix("lambda") { return "\(name) \(Numbers.threshold(value))" }
      return value.rounded() == value && abs(value) < 1e6
        ? "\(name) \(Int(value))" : "\(name) \(Numbers.short(value))"
    case .text(let value): return "\(name) \(value.isEmpty ? "none" : value)"
    case .truth(let value): return "\(name) \(value ? "yes" : "no")"
    case nil: return "\(name) …"
    }
  }

  /// What the panel beside the map would say of the cursor, in a line.
  var place: String {
    let viewpoint = look.viewpoint
    var text = "at q \(viewpoint.query), k \(viewpoint.key)"
    if case .number(let p) = self["cursor.p"], viewpoint.view == .map {
      text += ": p \(Numbers.short(p))"
    }
    guard look.isByTable, let margin, case .number(let i) = self["block.row"],
      case .number(let j) = self["block.key"]
    else { return text }
    if margin.isNaN { return text + ", not visible" }
    let verdict =
      margin == .infinity
      ? "first, computed"
      : """
      margin \(Numbers.fixed(Double(margin), 2)), \
      \(self["block.skipped"] == .truth(true) ? "skipped" : "computed")
      """
    text += "; block (\(Int(i)),\(Int(j))) \(verdict)"
    if let table = look.table(viewpoint.head), viewpoint.lambda > 0 {
      text +=
        """
        ; λ \(Numbers.threshold(viewpoint.lambda)) skips \
        \(Numbers.percent(table.sparsity(look.lambda)))
        """
    }
    return text
  }

  // MARK: Texts and truths

  /// Words of the view, of the head, and of every setting that has one.
  private func text(_ name: String) -> String? {
    let viewpoint = look.viewpoint
    switch name {
    case "label": return look.summary(viewpoint.head)?.label.name.rawValue
    case "cursor.token": return look.token(viewpoint.key)
    case "search": return search ?? ""
    case "other.method": return look.counterpart.method?.id ?? look.source.tableCard?.id ?? ""
    default:
      return ViewSetting.all.first { $0.name == name }?.get(viewpoint, look.sources)
    }
  }

  /// What is so or not; of blocks nil before the table is there.
  private func truth(_ name: String) -> Bool? {
    let viewpoint = look.viewpoint
    switch name {
    case "mute": return viewpoint.mute
    case "running": return look.live?.phase == .running
    case "cursor.visible":
      return viewpoint.key < look.source.visibility.limit(row: viewpoint.query)
    default:
      guard let margin else { return nil }
      switch name {
      case "block.visible": return !margin.isNaN
      case "block.first": return margin == .infinity
      default: return margin < look.lambda.threshold && viewpoint.lambda > 0
      }
    }
  }

  // MARK: Numbers

  /// Numbers that are chosen, known at all times.
  private func setting(_ name: String) -> Double? {
    let viewpoint = look.viewpoint
    switch name {
    case "layer": return Double(look.layerNumber.value)
    case "head": return Double(viewpoint.head.head)
    case "file": return Double(viewpoint.head.source + 1)
    case "lambda": return viewpoint.lambda
    case "tile.rows": return Double(viewpoint.spec.rows)
    case "tile.keys": return Double(viewpoint.spec.keys)
    case "splits": return Double(viewpoint.spec.splits)
    case "other.layer":
      let other = look.counterpart.head
      return Double(look.sources[other.source].number(of: other.layer).value)
    case "other.head": return Double(look.counterpart.head.head)
    default: return nil
    }
  }

  /// Numbers of the cursor and of the block under it.
  private func place(_ name: String) -> Double? {
    let viewpoint = look.viewpoint
    switch name {
    case "cursor.query": return Double(viewpoint.query)
    case "cursor.key": return Double(viewpoint.key)
    case "cursor.p":
      guard let row = look.row(viewpoint.query), viewpoint.key < row.count else { return nil }
      return Double(row[viewpoint.key])
    case "block.row": return Double(viewpoint.query / viewpoint.spec.rows)
    case "block.key": return Double(viewpoint.key / viewpoint.spec.keys)
    case "block.margin": return margin.map(Double.init)
    case "zoom": return Double(look.source.keys) / Double(max(1, viewpoint.window.keys.count))
    default: return nil
    }
  }

  /// Numbers that are computed: of the table, the summary, the method.
  private func measure(_ name: String) -> Double? {
    let head = look.viewpoint.head
    switch name {
    case "sparsity": return look.table(head)?.sparsity(look.lambda)
    case "dropped": return look.table(head)?.droppedMass(look.lambda)?.mean
    case "dropped.worst": return look.table(head)?.droppedMass(look.lambda)?.max
    case "error": return look.number("error", head)
    case "label.recall": return look.summary(head)?.label.winner?.recall
    case "entropy": return look.summary(head)?.entropy
    case "keys": return look.summary(head)?.effectiveTokens
    case "sink.key": return look.summary(head).map { Double($0.sink.position) }
    case "sink.mass": return look.summary(head)?.sink.mass
    case "other.sparsity": return look.otherTable?.sparsity(look.lambda)
    default:
      guard name.hasPrefix(Fact.findingPrefix) else { return nil }
      return look.number(String(name.dropFirst(Fact.findingPrefix.count)), head)
    }
  }

  /// Numbers of a run; nil while its prompt is read.
  private func live(_ name: String) -> Double? {
    guard let live = look.live else { return nil }
    // A prompt that is being read grows by itself; a step begins when it is there.
    if live.isReading { return nil }
    switch name {
    case "tokens": return Double(look.frame.tokens)
    case "length": return Double(look.length)
    case "prompt": return Double(live.promptTokens)
    case "decoded": return Double(max(0, look.length - live.promptTokens))
    case "branches": return Double(live.branches.count)
    case "branch": return Double(look.frame.branch)
    case "divergence":
      guard let other = look.otherBranch else { return -1 }
      return Double(look.divergence(look.frame.branch, other) ?? -1)
    case "step.sparsity": return look.step?.sparsity
    case "kl": return look.step?.divergence
    default: return nil
    }
  }

  /// Of the block under the cursor, in nats; NaN where nobody may see it.
  private var margin: Float? {
    guard let table = look.table(look.viewpoint.head) else { return nil }
    let i = look.viewpoint.query / table.spec.rows, j = look.viewpoint.key / table.spec.keys
    guard i < table.rowTiles, j < table.keyTiles else { return nil }
    return table.margins[i * table.keyTiles + j]
  }
}
