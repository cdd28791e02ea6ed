public import Analysis
public import Attention
import Canvas
public import Sessions

/// Methods at one budget as texts: what `compare --methods` prints and the overlay shows.
///
/// Example: `BudgetTable(rows: rows, leftOut: leftOut).text`. A `~` before a method says that the
/// budget is not reached; a note below says why, and another why a method has no row.
public struct BudgetTable: Sendable {
  /// Headings, the method first.
  public static let columns = [
    "method", "tiles", "entries", "recall", "worst", "error", "gap", "selection",
  ]
  /// `[rows][columns]`, by recall, the best first; numbers of a column have one number of digits.
  public let rows: [[String]]
  /// A line each, without a full stop.
  public let notes: [String]

  /// Of what was found, in its order; stopped before its end, knobs may yet come nearer.
  public init(
    rows: [EqualBudget.Row], leftOut: [(setting: MethodSetting, reason: String)],
    isStopped: Bool = false
  ) {
    let tiles = Numbers.column(rows.map { Optional($0.tileDensity) })
    let numbers = EqualBudget.names.map { name in Numbers.column(rows.map { $0.numbers[name] }) }
    self.rows = rows.indices.map { row in
      [Self.name(rows[row]), tiles[row]] + numbers.map { $0[row] }
    }
    let far = rows.count { !$0.isReached }
    notes =
      (far > 0 && !isStopped
        ? ["~: not within \(Numbers.percent(EqualBudget.reach)) of the budget, so apart"] : [])
      + rows.compactMap { Self.distance($0, isStopped: isStopped) }.map { "~ \($0)" }
      + leftOut.map { "left out: \($0.setting.id): \($0.reason)" }
  }

  /// The same of an answer.
  public init(_ answer: BudgetAnswer) { self.init(rows: answer.rows, leftOut: answer.leftOut) }

  /// Aligned columns under their headings, a line a row.
  public var text: String {
    Table(Self.columns, leftAligned: ["method"], rows: rows).text
  }

  /// Headings of the numbers in full, as files hold them.
  public static let dataColumns =
    ["method", "setting", "knob", "reached", "tile_density"] + EqualBudget.names

  /// A row in full; empty is what cannot be known.
  public static func data(_ row: EqualBudget.Row) -> [String] {
    [row.setting.id, "\(row.setting)", row.knob ?? "", "\(row.isReached)", "\(row.tileDensity)"]
      + EqualBudget.names.map { name in row.numbers[name].map { "\($0)" } ?? "" }
  }

  /// The setting with its numbers short, after a `~` where the budget is not reached.
  static func name(_ row: EqualBudget.Row) -> String {
    (row.isReached ? "" : "~") + short(row.setting)
  }

  /// The method and the knob that was tuned alone: what is fixed of a setting would fill the line.
  static func tuned(_ row: EqualBudget.Row) -> String {
    var setting = row.setting
    setting.knobs = row.setting.knobs.filter { row.knob == nil || $0.key == row.knob }
    return (row.isReached ? "" : "~") + short(setting)
  }

  /// Numbers with three digits; JSON and CSV have them in full.
  static func short(_ setting: MethodSetting) -> String {
    guard !setting.knobs.isEmpty else { return setting.id }
    let knobs = setting.knobs.sorted { $0.key < $1.key }.map { name, value in
      guard case .number(let x) = value, x != x.rounded() else { return "\(name)=\(value)" }
      return "\(name)=\(Numbers.threshold(x))"
    }
    return "\(setting.id):\(knobs.joined(separator: ","))"
  }

  /// How near a row came; nil for those that are there.
  static func distance(_ row: EqualBudget.Row, isStopped: Bool = false) -> String? {
    guard !row.isReached else { return nil }
    let share = Numbers.percent(row.share)
    guard let knob = row.knob else { return "\(row.setting.id): as given it is at \(share)" }
    guard !isStopped else { return "\(row.setting.id): so far at \(share)" }
    return "\(row.setting.id): the nearest that \(knob) reaches is \(share)"
  }
}

/// The overlay of methods at one budget, as far as it is asked for and known.
extension Look {
  /// What the overlay wants to know; nil while it is closed.
  var budgetQuestion: Question? { viewpoint.budget.map { .budget(viewpoint.head, $0) } }

  /// The methods at the budget in force, on the head that is looked at.
  var budgetAnswer: BudgetAnswer? {
    guard let question = budgetQuestion, case .budget(let answer) = known.answer(question) else {
      return nil
    }
    return answer
  }

  /// Lines of the overlay that can be chosen: rows, then methods that have none.
  var budgetLines: Int { budgetAnswer.map { $0.rows.count + $0.leftOut.count } ?? 0 }

  /// The line that is chosen; 0 without any.
  var budgetChoice: Int { min(max(viewpoint.budgetRow, 0), max(budgetLines - 1, 0)) }

  /// Why there are no lines: what went wrong, or how far it is.
  var budgetWaiting: String {
    budgetQuestion.map { refusal($0) ?? waiting($0) } ?? ""
  }
}
