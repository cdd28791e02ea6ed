public import Attention
import Canvas

/// Findings in words: the one place that says how a number of a method is written.
///
/// Example: `FindingText.measured(0.25, .share)` is `25.0 %`. Screens, figures, reports and
/// sentences all ask here, so that a number is never written in two ways.
public enum FindingText {
  /// `12.3 %`, `0.457`, `1.2e-5`, `64`; "-" for what cannot be known.
  public static func number(_ value: Double?, _ unit: Unit) -> String {
    guard let value else { return "-" }
    if unit == .share { return Numbers.percent(value) }
    if unit == .setting { return KnobValue.number(value).description }
    if unit.isWhole, value.isFinite, abs(value) < 1e15 { return Numbers.fixed(value, 0) }
    return Numbers.short(value)
  }

  /// The same with its unit behind it, where the unit is not in the number.
  public static func measured(_ value: Double?, _ unit: Unit) -> String {
    let text = number(value, unit)
    switch unit {
    case .none, .share, .setting, .count: return text
    default: return value == nil ? text : "\(text) \(unit.rawValue)"
    }
  }

  /// One finding in a sentence.
  public static func sentence(_ finding: Finding) -> String {
    switch finding.content {
    case .number(let value, let unit):
      return value == nil
        ? "\(finding.title): not known." : "\(finding.title): \(measured(value, unit))."
    case .series(let axis, let values, let unit):
      let known = values.indices.filter { !values[$0].isNaN }
      guard let top = known.max(by: { values[$0] < values[$1] }) else {
        return "\(finding.title): \(axis.count) values along \(axis.kind.rawValue), none known."
      }
      return
        """
        \(finding.title): \(axis.count) values along \(axis.kind.rawValue), largest \
        \(measured(Double(values[top]), unit)) at \(axis.name(top)).
        """
    case .field(let field, let look):
      return
        """
        \(finding.title): a map of \(field.rows.count) \(field.rows.kind.rawValue) rows by \
        \(field.columns.count) \(field.columns.kind.rawValue) columns, \(words(look)).
        """
    case .curve(let curve):
      let marks = curve.marks.map { "\($0.name) at \(Numbers.short($0.x)), \(Numbers.short($0.y))" }
      return
        "\(finding.title): \(curve.yName) over \(curve.xName), \(curve.points.count) points"
        + (marks.isEmpty ? "." : "; \(marks.joined(separator: "; ")).")
    case .spans(let spans, let lanes, let unit):
      let end = spans.map(\.to).max() ?? 0
      return
        """
        \(finding.title): \(spans.count) spans on \(lanes.count) lanes of \(lanes.kind.rawValue)s, \
        up to \(measured(end, unit)).
        """
    }
  }

  /// How a field is looked at, in words.
  static func words(_ look: FieldLook) -> String {
    switch look {
    case .weights: "weights"
    case .signed: "signed weights"
    case .magnitude(let unit): unit == .none ? "sizes" : "sizes in \(unit.rawValue)"
    case .kept: "1 kept, 0 not"
    case .labels(let names): names.joined(separator: ", ")
    }
  }
}
