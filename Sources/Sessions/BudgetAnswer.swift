public import Analysis
public import Attention

/// Methods at one budget: those that were tuned, and those that could not be.
///
/// Small: a row a method, whatever the length of the head.
public struct BudgetAnswer: Sendable {
  /// By recall, the best first.
  public let rows: [EqualBudget.Row]
  /// Methods without a row, and why, in a sentence without a full stop.
  public let leftOut: [(setting: MethodSetting, reason: String)]

  /// As `EqualBudget` gives them.
  public init(
    rows: [EqualBudget.Row], leftOut: [(setting: MethodSetting, reason: String)]
  ) { (self.rows, self.leftOut) = (rows, leftOut) }
}
