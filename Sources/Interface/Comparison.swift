import Analysis
import Attention
import Canvas
import Sessions

/// The numbers of view 6 and of `attnscope compare`, and the difference of the two maps.
struct Comparison {
  struct Row {
    let name: String
    let left: String
    /// Nil: the left text is about both sides.
    let right: String?
  }

  let left: String
  let right: String
  let rows: [Row]
  let heat: SignedScale?
  let difference: MapDifference?
  let agreement: MaskAgreement?
  /// Why there is no difference yet, or none at all.
  let waiting: String

  init(_ model: Model) {
    let (one, other) = (model.leftSide, model.rightSide)
    let (rowCount, columns) = CompareLayout(model).cells
    let maps = [one, other].map { side in
      Needs.map(side, rows: rowCount, columns: columns).flatMap(side.bestMap)
    }
    var found: MapDifference?
    if let a = maps[0], let b = maps[1] {
      found = MapDifference(
        a, b, usesMean: model.selection.pooling == .mean, model.source.visibility)
    }
    difference = found
    heat = found.map { SignedScale($0, model.selection.scale) }
    let refusals = [one, other].compactMap { side in
      Needs.map(side, rows: rowCount, columns: columns).flatMap(side.refusal)
    }
    waiting = refusals.first ?? (model.isStopped ? "stopped" : "computing…")
    left = Self.name(
      one, method: nil, files: model.counterpart.head.source != model.selection.head.source)
    right = Self.name(
      other, method: model.counterpart.method,
      files: model.counterpart.head.source != model.selection.head.source)
    let table = one.table(one.selection.head), otherTable = model.otherTable
    agreement = table.flatMap { a in
      otherTable.map { MaskAgreement(a.mask(model.lambda), $0.mask(model.lambda)) }
    }
    rows = Self.rows(model, one, other, table, otherTable, agreement, found)
  }

  private static func name(_ side: Model, method: MethodSetting?, files: Bool) -> String {
    var text = "L\(side.layerNumber) H\(side.selection.head.head)"
    if files { text = "\(side.source.name) \(text)" }
    return "\(text) \(method?.description ?? side.selection.spec.description)"
  }

  private static func rows(
    _ model: Model, _ one: Model, _ other: Model, _ table: BlockTable?, _ otherTable: BlockTable?,
    _ agreement: MaskAgreement?, _ difference: MapDifference?
  ) -> [Row] {
    let effect = model.counterpart.method.flatMap { model.findings(model.counterpart.head, $0) }
    func pruned(_ table: BlockTable?, _ side: Model, _ question: Question? = nil) -> String {
      table.map { "\(Numbers.percent($0.sparsity(model.lambda))) of \($0.visibleBlocks)" }
        ?? side.refusal(question ?? side.tableQuestion(side.selection.head)).map { _ in "-" } ?? "…"
    }
    func dropped(_ table: BlockTable?) -> (mean: Double, max: Double)? {
      table.flatMap { $0.visibleRows > 0 ? $0.droppedMass(model.lambda) : nil }
    }
    let a = dropped(table)
    let found = effect.flatMap { findings in
      findings["dropped_mean"]?.number.flatMap { mean in
        findings["dropped_max"]?.number.map { (mean: mean, max: $0) }
      }
    }
    let b = model.counterpart.method == nil ? dropped(otherTable) : found
    func error(_ side: Model) -> String {
      guard let findings = side.findings(side.selection.head) else {
        return side.findingsQuestion(side.selection.head).flatMap(side.refusal) ?? "…"
      }
      return findings["error"]?.number.map(Numbers.short) ?? "needs V"
    }
    let otherError = error(other)
    func summary(_ text: (HeadSummary, Model) -> String) -> (String, String) {
      func of(_ side: Model) -> String {
        side.summary(side.selection.head).map { text($0, side) }
          ?? side.refusal(.summary(side.selection.head)).map { _ in "-" } ?? "…"
      }
      return (of(one), of(other))
    }
    var rows = [
      Row(
        name: "pruned", left: pruned(table, one),
        right: pruned(otherTable, other, model.methodQuestion)),
      Row(
        name: "dropped", left: a.map { Numbers.short($0.mean) } ?? "-",
        right: b.map { Numbers.short($0.mean) } ?? "-"),
      Row(
        name: "worst", left: a.map { Numbers.short($0.max) } ?? "-",
        right: b.map { Numbers.short($0.max) } ?? "-"),
      Row(name: "error", left: error(one), right: otherError),
    ]
    let label = summary { summary, _ in
      "\(summary.label.name.rawValue) \(Numbers.fixed(summary.label.winner?.recall ?? 0, 2))"
    }
    let sink = summary {
      "\(Numbers.percent($0.sink.mass)) on \($0.sink.position)\($1.token($0.sink.position).map { " \"\($0)\"" } ?? "")"
    }
    let entropy = summary { summary, _ in
      "\(Numbers.fixed(summary.entropy, 2)) ~\(Numbers.short(summary.effectiveTokens)) keys"
    }
    rows += [
      Row(name: "pattern", left: label.0, right: label.1),
      Row(name: "sink", left: sink.0, right: sink.1),
      Row(name: "entropy", left: entropy.0, right: entropy.1),
    ]
    if let agreement, agreement.total > 0 {
      rows.append(
        Row(
          name: "skipped",
          left:
            "both \(agreement.bothSkipped), left \(agreement.onlyLeft), right \(agreement.onlyRight)",
          right: nil))
      rows.append(
        Row(
          name: "overlap", left: Numbers.percent(agreement.overlap) + " of what is skipped",
          right: nil))
    }
    if let difference {
      rows.append(
        Row(
          name: "moved", left: "≥ \(Numbers.percent(difference.movedMass)) of the attention",
          right: nil))
    }
    return rows
  }
}

/// The numbers of a comparison as lines of text.
public struct ComparisonTable {
  public struct Row {
    public let name: String
    public let left: String
    /// Nil: the left text is about both sides.
    public let right: String?
  }

  public let left: String
  public let right: String
  public let rows: [Row]

  /// Of a model in view 6 that has its answers.
  public init(_ model: Model) {
    let comparison = Comparison(model)
    (left, right) = (comparison.left, comparison.right)
    rows = comparison.rows.map { Row(name: $0.name, left: $0.left, right: $0.right) }
  }

  public var text: String {
    let lines = [Row(name: "", left: left, right: right)] + rows
    let names = lines.map { Width.of($0.name) }.max() ?? 0
    let lefts = lines.filter { $0.right != nil }.map { Width.of($0.left) }.max() ?? 0
    func padded(_ text: String, _ width: Int) -> String {
      text + String(repeating: " ", count: max(0, width - Width.of(text)))
    }
    return lines.map { row in
      let text = Printable.text(padded(row.name, names) + "  " + padded(row.left, lefts))
      return text + (row.right.map { "  " + Printable.text($0) } ?? "") + "\n"
    }.joined()
  }
}
