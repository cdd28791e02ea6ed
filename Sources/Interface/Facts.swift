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
  private let model: Model

  /// Reads the model as it is now.
  package init(_ model: Model) { self.model = model }

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
      return value.rounded() == value && abs(value) < 1e6
        ? "\(name) \(Int(value))" : "\(name) \(Numbers.short(value))"
    case .text(let value): return "\(name) \(value.isEmpty ? "none" : value)"
    case .truth(let value): return "\(name) \(value ? "yes" : "no")"
    case nil: return "\(name) …"
    }
  }

  /// What the panel beside the map would say of the cursor, in a line.
  var place: String {
    let viewpoint = model.viewpoint
    var text = "at q \(viewpoint.query), k \(viewpoint.key)"
    if case .number(let p) = self["cursor.p"], viewpoint.view == .map {
      text += ": p \(Numbers.short(p))"
    }
    guard let margin, case .number(let i) = self["block.row"],
      case .number(let j) = self["block.key"]
    else { return text }
    if margin.isNaN { return text + ", not visible" }
    let verdict =
      margin == .infinity
      ? "first, computed"
      : "margin \(Numbers.fixed(Double(margin), 2)), \(self["block.skipped"] == .truth(true) ? "skipped" : "computed")"
    text += "; block (\(Int(i)),\(Int(j))) \(verdict)"
    if let table = model.table(viewpoint.head), viewpoint.lambda > 0 {
      text +=
        "; λ \(Numbers.threshold(viewpoint.lambda)) skips \(Numbers.percent(table.sparsity(model.lambda)))"
    }
    return text
  }

  // MARK: Texts and truths

  /// Words of the view, of the head, and of every setting that has one.
  private func text(_ name: String) -> String? {
    let viewpoint = model.viewpoint
    switch name {
    case "label": return model.summary(viewpoint.head)?.label.name.rawValue
    case "cursor.token": return model.token(viewpoint.key)
    case "search": return model.search ?? ""
    case "other.method": return model.counterpart.method?.id ?? model.source.tableCard?.id ?? ""
    default:
      return ViewSetting.all.first { $0.name == name }?.get(viewpoint, model.sources)
    }
  }

  /// What is so or not; of blocks nil before the table is there.
  private func truth(_ name: String) -> Bool? {
    let viewpoint = model.viewpoint
    switch name {
    case "mute": return viewpoint.mute
    case "running": return model.live?.phase == .running
    case "cursor.visible":
      return viewpoint.key < model.source.visibility.limit(row: viewpoint.query)
    default:
      guard let margin else { return nil }
      switch name {
      case "block.visible": return !margin.isNaN
      case "block.first": return margin == .infinity
      default: return margin < model.lambda.threshold && viewpoint.lambda > 0
      }
    }
  }

  // MARK: Numbers

  /// Numbers that are chosen, known at all times.
  private func setting(_ name: String) -> Double? {
    let viewpoint = model.viewpoint
    switch name {
    case "layer": return Double(model.layerNumber)
    case "head": return Double(viewpoint.head.head)
    case "file": return Double(viewpoint.head.source + 1)
    case "lambda": return viewpoint.lambda
    case "tile.rows": return Double(viewpoint.spec.rows)
    case "tile.keys": return Double(viewpoint.spec.keys)
    case "splits": return Double(viewpoint.spec.splits)
    case "other.layer":
      return Double(
        model.sources[model.counterpart.head.source].layers[model.counterpart.head.layer])
    case "other.head": return Double(model.counterpart.head.head)
    default: return nil
    }
  }

  /// Numbers of the cursor and of the block under it.
  private func place(_ name: String) -> Double? {
    let viewpoint = model.viewpoint
    switch name {
    case "cursor.query": return Double(viewpoint.query)
    case "cursor.key": return Double(viewpoint.key)
    case "cursor.p":
      guard let row = model.row(viewpoint.query), viewpoint.key < row.count else { return nil }
      return Double(row[viewpoint.key])
    case "block.row": return Double(viewpoint.query / viewpoint.spec.rows)
    case "block.key": return Double(viewpoint.key / viewpoint.spec.keys)
    case "block.margin": return margin.map(Double.init)
    case "zoom": return Double(model.source.keys) / Double(max(1, viewpoint.window.keys.count))
    default: return nil
    }
  }

  /// Numbers that are computed: of the table, the summary, the method.
  private func measure(_ name: String) -> Double? {
    let head = model.viewpoint.head
    switch name {
    case "sparsity": return model.table(head)?.sparsity(model.lambda)
    case "dropped": return model.table(head)?.droppedMass(model.lambda).mean
    case "dropped.worst": return model.table(head)?.droppedMass(model.lambda).max
    case "error": return model.number("error", head)
    case "label.recall": return model.summary(head)?.label.winner?.recall
    case "entropy": return model.summary(head)?.entropy
    case "keys": return model.summary(head)?.effectiveTokens
    case "sink.key": return model.summary(head).map { Double($0.sink.position) }
    case "sink.mass": return model.summary(head)?.sink.mass
    case "other.sparsity": return model.otherTable?.sparsity(model.lambda)
    default:
      guard name.hasPrefix(Fact.findingPrefix) else { return nil }
      return model.number(String(name.dropFirst(Fact.findingPrefix.count)), head)
    }
  }

  /// Numbers of a run; nil while its prompt is read.
  private func live(_ name: String) -> Double? {
    guard let live = model.live else { return nil }
    // A prompt that is being read grows by itself; a step begins when it is there.
    if case .prefill = live.phase { return nil }
    switch name {
    case "tokens": return Double(model.frame.tokens)
    case "length": return Double(model.length)
    case "prompt": return Double(live.promptTokens)
    case "decoded": return Double(max(0, model.length - live.promptTokens))
    case "branches": return Double(live.branches.count)
    case "branch": return Double(model.frame.branch)
    case "divergence":
      guard let other = model.otherBranch else { return -1 }
      return Double(model.divergence(model.frame.branch, other) ?? -1)
    case "step.sparsity": return model.step?.sparsity
    case "kl": return model.step?.divergence
    default: return nil
    }
  }

  /// Of the block under the cursor, in nats; NaN where nobody may see it.
  private var margin: Float? {
    guard let table = model.table(model.viewpoint.head) else { return nil }
    let i = model.viewpoint.query / table.spec.rows, j = model.viewpoint.key / table.spec.keys
    guard i < table.rowTiles, j < table.keyTiles else { return nil }
    return table.margins[i * table.keyTiles + j]
  }
}
