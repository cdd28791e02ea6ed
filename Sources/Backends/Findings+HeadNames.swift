import Attention

extension Findings {
  /// Gives places along heads the numbers that the model calls them by, where a slice keeps those
  /// `[heads]`; axes of other heads, and those that have names, stay as they are.
  mutating func nameHeads(_ numbers: [Int]) {
    guard !numbers.isEmpty else { return }
    func named(_ axis: Axis) -> Axis {
      guard axis.kind == .head, axis.labels.isEmpty, axis.count == numbers.count else {
        return axis
      }
      return Axis(
        .head, axis.count, span: axis.span, tokens: axis.tokens, labels: numbers.map(String.init))
    }
    for finding in all {
      switch finding.content {
      case .series(let axis, let values, let unit):
        series(finding.name, named(axis), values, unit, title: finding.title)
      case .field(let field, let look):
        let (rows, columns) = (named(field.rows), named(field.columns))
        guard (rows, columns) != (field.rows, field.columns) else { continue }
        self.field(
          finding.name, NamedField(rows: rows, columns: columns, field: field), look,
          title: finding.title)
      case .spans(let spans, let lanes, let unit):
        self.spans(finding.name, spans, lanes: named(lanes), unit, title: finding.title)
      case .number, .curve: continue
      }
    }
  }
}

/// A field under other names of its places.
private struct NamedField: RowField {
  let rows: Axis
  let columns: Axis
  let field: any RowField

  var bytes: Int { field.bytes }

  func withRows(
    _ range: Range<Int>, _ body: (Int, UnsafeBufferPointer<Float>) throws -> Void
  ) throws { try field.withRows(range, body) }
}
