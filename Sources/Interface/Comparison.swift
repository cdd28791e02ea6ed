import Analysis
import Attention
import Canvas
import Sessions

/// The numbers of view 6 and of `attnscope compare`, and the difference of the two maps.
///
/// Texts and numbers stand side by side, so that the screen prints one and `--json` the other. What
/// only one side can know is `-` on the other.
struct Comparison {
  /// One number of both sides.
  struct Row {
    /// What it is, in a word.
    let name: String
    /// Of the left side, as it is shown.
    let left: String
    /// Nil: the left text is about both sides.
    let right: String?
  }

  /// What is on the left, in words.
  let left: String
  /// What is on the right, in words.
  let right: String
  /// In the order in which they are shown.
  let rows: [Row]
  /// Numbers of methods by name, on the left and on the right; nil where one cannot be known.
  let others: [(name: String, left: Double?, right: Double?)]
  /// The difference ready for colouring; nil before both pictures are there.
  let heat: SignedScale?
  /// Left minus right; nil while a picture is missing, or when the two cannot be subtracted.
  let difference: MapDifference?
  /// Attention that lies elsewhere on the other side, over all rows; nil before it is there, and
  /// where kept entries or masks are compared.
  let moved: MovedMass?
  /// Where the masks agree; nil without two of them.
  let agreement: MaskAgreement?
  /// What makes the comparison doubtful, a sentence from long to short; empty where nothing does.
  let warnings: [String]
  /// Why there is no difference yet, or none at all.
  let waiting: String

  /// Of view 6, with the answers that are there.
  init(_ look: Look) {
    let (one, other) = (look.leftSide, look.rightSide)
    let (rowCount, columns) = CompareLayout(look).cells
    let table = one.shownTable(one.viewpoint.head), otherTable = look.otherTable
    let maps =
      look.comparesMasks
      ? [table, otherTable].map { table in
        table.map {
          PooledMap.of(
            $0.mask(look.lambda), window: look.sharedWindow, rows: rowCount, columns: columns)
        }
      }
      : [one, other].map { side in
        Needs.map(side, rows: rowCount, columns: columns).flatMap(side.bestMap)
      }
    var found: MapDifference?
    if let a = maps[0], let b = maps[1] {
      // A cell of kept entries says how many of them, and not whether there is one.
      let usesMean = look.viewpoint.pooling == .mean || look.comparesKept
      found = MapDifference(a, b, usesMean: usesMean, look.source.visibility)
    }
    difference = found
    moved = look.moved
    heat = found.map { SignedScale($0, look.viewpoint.scale) }
    let refusals = [one, other].compactMap { side in
      Needs.map(side, rows: rowCount, columns: columns).flatMap(side.refusal)
    }
    waiting = refusals.first ?? (look.isStopped ? "stopped" : "computing…")
    left = Self.name(
      one, method: one.viewpoint.method,
      files: look.counterpart.head.source != look.viewpoint.head.source)
    right = Self.name(
      other, method: look.counterpart.method,
      files: look.counterpart.head.source != look.viewpoint.head.source)
    agreement = table.flatMap { a in
      otherTable.map { MaskAgreement(a.mask(look.lambda), $0.mask(look.lambda)) }
    }
    let extra = Self.others(one, other)
    others = extra.map { ($0.name, $0.left.value, $0.right.value) }
    warnings = look.tokensDiffer
    rows = Self.rows(one, other, extra, agreement, moved)
  }

  /// Head, method or tile of a side; the file where there are two.
  private static func name(_ side: Look, method: MethodSetting?, files: Bool) -> String {
    var text = "L\(side.layerNumber) H\(side.chosenHeadNumber)"
    if files { text = "\(side.source.name) \(text)" }
    return "\(text) \(method?.description ?? side.viewpoint.spec.description)"
  }

  /// First the numbers that every comparison has, then what is about both, then those of methods.
  private static func rows(
    _ one: Look, _ other: Look, _ others: [MethodRow], _ agreement: MaskAgreement?,
    _ moved: MovedMass?
  ) -> [Row] {
    let left = SideNumbers(one), right = SideNumbers(other)
    var rows = SideNumbers.names.map { name -> Row in
      let (a, b) = (left[name], right[name])
      return Row(name: name, left: a.text, right: b.text)
    }
    if let agreement, agreement.total > 0 {
      let skipped = agreement.total - agreement.bothComputed
      rows.append(
        Row(
          name: "skipped",
          left:
            """
            both \(agreement.bothSkipped), left \(agreement.onlyLeft), right \
            \(agreement.onlyRight)
            """,
          right: nil))
      rows.append(
        Row(
          name: "overlap",
          left: skipped == 0
            ? "nothing is skipped" : Numbers.percent(agreement.overlap) + " of what is skipped",
          right: nil))
    }
    if let moved {
      rows.append(
        Row(
          name: "moved",
          left: (moved.isSampled ? "about " : "") + Numbers.percent(moved.share)
            + " of the attention" + (moved.isSampled ? ", from \(moved.rows) rows" : ""),
          right: nil))
    }
    return rows + others.map { Row(name: $0.title, left: $0.left.text, right: $0.right.text) }
  }

  private typealias Cell = (text: String, value: Double?)
  private typealias MethodRow = (name: String, title: String, left: Cell, right: Cell)

  /// Numbers of methods beside those that every comparison has.
  private static func others(_ one: Look, _ other: Look) -> [MethodRow] {
    guard !one.isByTable || !other.isByTable else { return [] }
    let sides = [one, other].map { $0.findings($0.viewpoint.head) }
    var seen: Set<String> = [
      "sparsity", "visible_blocks", "skipped_blocks", "dropped_mean", "dropped_max", "error",
    ]
    let names = zip([one, other], sides).filter { !$0.0.isByTable }.flatMap { side in
      (side.1?.all ?? []).filter { finding in
        if case .number = finding.content { return seen.insert(finding.name).inserted }
        return false
      }
    }
    return names.map { finding in
      let cells = sides.map { side -> Cell in
        guard case .number(let value, let unit) = side?[finding.name]?.content else {
          return ("-", nil)
        }
        return (FindingText.number(value, unit), value)
      }
      return (finding.name, finding.title, cells[0], cells[1])
    }
  }
}

/// The numbers that every comparison has, of one side.
private struct SideNumbers {
  /// In the order in which they are shown.
  static let names = ["pruned", "dropped", "worst", "error", "pattern", "sink", "entropy"]

  private let side: Look
  private let head: HeadID

  /// Reads one side's own look.
  init(_ side: Look) { (self.side, head) = (side, side.viewpoint.head) }

  /// A number of the side by its name, as text and, where there is one, as a value.
  subscript(name: String) -> (text: String, value: Double?) {
    switch name {
    case "pruned": pruned
    case "dropped": dropped(\.mean)
    case "worst": dropped(\.max)
    case "error": error
    default: summary(name)
    }
  }

  /// The share of skipped blocks; `…` while it may still come, `-` when it will not.
  private var pruned: (String, Double?) {
    guard let table = side.shownTable(head) else {
      let asked = side.shownTableQuestions(head)
      let isRefused = asked.contains { side.refusal($0) != nil }
      let hasNone = !side.isByTable && side.findings(head) != nil && asked.count == 1
      return (isRefused || hasNone ? "-" : "…", nil)
    }
    let share = table.sparsity(side.lambda)
    return ("\(Numbers.percent(share)) of \(table.visibleBlocks)", share)
  }

  /// Lost mass: off the table, or as the method says it.
  private func dropped(_ part: KeyPath<DroppedMass, Double>) -> (String, Double?) {
    let value = side.droppedMass(head)?[keyPath: part]
    return (value.map(Numbers.short) ?? "-", value)
  }

  /// The relative output error, or what it needs.
  private var error: (String, Double?) {
    guard let question = side.findingsQuestion(head) else { return ("-", nil) }
    guard let findings = side.findings(head) else { return (side.refusal(question) ?? "…", nil) }
    let value = findings["error"]?.number
    return (value.map(Numbers.short) ?? (side.source.hasValues ? "-" : "needs V"), value)
  }

  /// Pattern, sink or entropy of the head.
  private func summary(_ name: String) -> (String, Double?) {
    guard let summary = side.summary(head) else {
      return (side.refusal(.summary(head)).map { _ in "-" } ?? "…", nil)
    }
    switch name {
    case "pattern":
      return (summary.label.text { Numbers.fixed($0, 2) }, nil)
    case "sink":
      let token = side.token(summary.sink.position).map { " \"\($0)\"" } ?? ""
      return (
        "\(summary.sign)\(Numbers.percent(summary.sink.mass)) on \(summary.sink.position)\(token)",
        summary.sink.mass
      )
    default:
      return (
        """
        \(summary.sign)\(Numbers.fixed(summary.entropy, 2)) \
        ~\(Numbers.short(summary.effectiveTokens)) keys
        """,
        summary.entropy
      )
    }
  }
}

/// The numbers of a comparison as lines of text.
///
/// Example: `ComparisonTable(model).text` for a terminal or a pipe.
public struct ComparisonTable {
  /// One number of both sides.
  public struct Row {
    /// What it is, in a word.
    public let name: String
    /// Of the left side, as it is shown.
    public let left: String
    /// Nil: the left text is about both sides.
    public let right: String?
  }

  /// What is on the left, in words.
  public let left: String
  /// What is on the right, in words.
  public let right: String
  /// In the order in which they are shown.
  public let rows: [Row]

  /// Of a model in view 6 that has its answers.
  public init(_ model: Model) {
    let comparison = Comparison(model.look)
    (left, right) = (comparison.left, comparison.right)
    rows = comparison.rows.map { Row(name: $0.name, left: $0.left, right: $0.right) }
  }

  /// Aligned columns, a line a row.
  public var text: String {
    let cells = rows.map { [$0.name, $0.left] + ($0.right.map { [$0] } ?? []) }
    return Table(listing: [["", left, right]] + cells).text + "\n"
  }
}
