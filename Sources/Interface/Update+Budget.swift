import Analysis
import Attention
import Canvas
import Sessions

/// Keys of the overlay of methods at one budget.
extension Model {
  /// Shares that `[` and `]` step through.
  private static let budgets = [0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 0.7]

  /// Opens the overlay, or closes it.
  mutating func toggleBudget() {
    viewpoint.budget = viewpoint.budget == nil ? 0.1 : nil
    viewpoint.budgetRow = 0
  }

  /// True when the overlay is open and took the action: moves through its lines, another budget,
  /// or the chosen method. Everything else goes on as without it, so that another head is one key
  /// away.
  mutating func takeInBudget(_ action: Action, _ count: Int) -> Bool {
    guard let budget = viewpoint.budget else { return false }
    let last = max(look.budgetLines - 1, 0), here = look.budgetChoice
    let page = BudgetBox(look).room
    func move(_ to: Int) -> Int { min(max(to, 0), last) }
    switch action {
    case .up: viewpoint.budgetRow = move(here - count)
    case .down: viewpoint.budgetRow = move(here + count)
    case .pageUp: viewpoint.budgetRow = move(here - page)
    case .pageDown: viewpoint.budgetRow = move(here + page)
    case .home: viewpoint.budgetRow = 0
    case .end: viewpoint.budgetRow = last
    case .left, .right: break
    case .lambdaUp, .lambdaDecadeUp:
      viewpoint.budget = Self.budgets.first { $0 > budget } ?? budget
    case .lambdaDown, .lambdaDecadeDown:
      viewpoint.budget = Self.budgets.last { $0 < budget } ?? budget
    case .open: takeChosenMethod()
    default: return false
    }
    return true
  }

  /// The method under the choice, with the knob that was found, comes in force; the overlay closes.
  private mutating func takeChosenMethod() {
    guard let answer = look.budgetAnswer else { return }
    let choice = look.budgetChoice
    guard answer.rows.indices.contains(choice) else {
      let out = answer.leftOut.dropFirst(choice - answer.rows.count).first
      message = out.map { "\($0.setting.id): \($0.reason)." }
      return
    }
    let setting = answer.rows[choice].setting, card = source.card(setting.id)
    if let tables = card?.blockTables, let found = try? tables.read(setting, source.queries) {
      // Its blocks are read off the screen's own table: tile and lambda say it all.
      (viewpoint.method, viewpoint.field) = (nil, nil)
      (viewpoint.spec, viewpoint.lambda) = (found.spec, found.lambda)
    } else {
      (viewpoint.method, viewpoint.field) = (setting, nil)
    }
    (viewpoint.budget, viewpoint.budgetRow) = (nil, 0)
    message = card.map { "\($0.title), \(BudgetTable.short(setting)): \($0.idea)" }
  }
}
