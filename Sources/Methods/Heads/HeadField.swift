import Attention

/// One value a head, over all layers of a subject: `[layers, heads]`.
enum HeadField {
  /// `values` `[layers][heads]`; layers with fewer heads end in NaN.
  static func make(_ subject: Subject, _ values: [[Float]]) -> WholeField {
    let wide = values.map(\.count).max() ?? 0
    return WholeField(
      rows: Axis(.layer, values.count, labels: subject.numbers.map { "\($0)" }),
      columns: Axis(.head, wide),
      values: values.flatMap { $0 + [Float](repeating: .nan, count: wide - $0.count) })
  }

  /// Throws `Missing(.length)` where a head of the subject is long.
  static func checkLength(_ subject: Subject) throws {
    guard subject.layers.contains(where: { $0.contains { $0.isLong } }) else { return }
    throw Missing(
      .length, hint: "maps of all heads are read whole, up to \(Head.longEntries) entries each")
  }
}
