import Analysis
import Attention
import Sessions

/// The numbers of view 6 for programs: shares from 0 to 1, entropy in nats, and nothing rounded.
///
/// Every comparison has the same rows in the same order; what cannot be known of a side is
/// `.unknown` there.
public struct ComparisonNumbers {
  public enum Value: Sendable, Equatable {
    case number(Double)
    case integer(Int)
    case word(String)
    case unknown
  }

  public struct Row: Sendable {
    public let name: String
    public let left: Value
    /// Nil: the value on the left is about both sides.
    public let right: Value?
  }

  public let left: String
  public let right: String
  public private(set) var rows: [Row]
  /// What makes the comparison doubtful, as a sentence; nil where nothing does.
  public let warning: String?

  /// Of a model in view 6 that has its answers.
  public init(_ model: Model) {
    let look = model.look
    let comparison = Comparison(look)
    (left, right) = (comparison.left, comparison.right)
    warning = comparison.warnings.first
    let sides = [look.leftSide, look.rightSide]
    let tables = [sides[0].shownTable(sides[0].viewpoint.head), look.otherTable]
    let lost = sides.map { $0.droppedMass($0.viewpoint.head) }
    let errors = sides.map { $0.number("error", $0.viewpoint.head) }
    let summaries = sides.map { $0.summary($0.viewpoint.head) }
    func row<T>(_ name: String, _ facts: [T?], _ value: (T) -> Value) -> Row {
      Row(
        name: name, left: facts[0].map(value) ?? .unknown,
        right: facts[1].map(value) ?? .unknown)
    }
    func both<T>(_ name: String, _ fact: T?, _ value: (T) -> Value) -> Row {
      Row(name: name, left: fact.map(value) ?? .unknown, right: nil)
    }
    let masks = comparison.agreement.flatMap { $0.total > 0 ? $0 : nil }
    rows = [
      row("pruned", tables) { .number($0.sparsity(look.lambda)) },
      row("visible_blocks", tables) { .integer($0.visibleBlocks) },
      row("dropped_mass_mean", lost) { .number($0.mean) },
      row("dropped_mass_max", lost) { .number($0.max) },
      row("output_error_relative_l2", errors) { .number($0) },
      row("pattern", summaries) { .word($0.label.name.rawValue) },
      row("pattern_recall", summaries.map { $0?.label.winner?.recall }) { .number($0) },
      row("sink_key", summaries) { .integer($0.sink.position) },
      row("sink_mass", summaries) { .number($0.sink.mass) },
      row("entropy", summaries) { .number($0.entropy) },
      row("effective_tokens", summaries) { .number($0.effectiveTokens) },
      both("skipped_by_both", masks) { .integer($0.bothSkipped) },
      both("skipped_by_left", masks) { .integer($0.onlyLeft) },
      both("skipped_by_right", masks) { .integer($0.onlyRight) },
      both("overlap", masks.flatMap { $0.total == $0.bothComputed ? nil : $0 }) {
        .number($0.overlap)
      },
      both("moved_mass", comparison.moved) { .number($0.share) },
      both("moved_mass_rows", comparison.moved) { .integer($0.rows) },
    ]
    rows += comparison.others.map { name, left, right in
      row(name, [left, right]) { .number($0) }
    }
  }
}
