public import Attention
import Tensors

/// A method that mixes values by another matrix W than softmax: `map` is all it has to say.
///
/// It gets a field `map`, the outputs W V, the shared numbers, and for long heads rows on demand.
///
/// The catch: `map` must give rows that can be computed alone and in any order; several threads ask
/// for them at once. Cost: every row once up to `wholeMap` tokens, 64 rows above.
public protocol MapMethod: AttentionMethod {
  /// W of a head, a row at a time; NaN where a query may not see. What else there is to say goes
  /// into `aside`. Throws `Missing`, `CancellationError`.
  func map(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> any RowField
}

extension MapMethod {
  /// The map, outputs and shared numbers. Above `wholeMap` tokens rows are computed as they are
  /// looked at, and the numbers come from some of them. Throws `Missing`, `CancellationError`.
  public func examine(_ subject: Subject, _ run: MethodRun) throws -> Findings {
    try examineMap(subject, run)
  }

  /// The same, for methods whose `examine` adds what it reads in the surroundings of a head, or in
  /// the map: `add` gets it with its numbers, where numbers are wanted. Throws `Missing`,
  /// `CancellationError`, and what `add` throws.
  public func examineMap(
    _ subject: Subject, _ run: MethodRun,
    _ add: (any RowField, MapNumbers, inout Findings) throws -> Void = { _, _, _ in }
  ) throws -> Findings {
    var run = run
    run.tokens = subject.tokens
    let head = subject.head, card = type(of: self).card
    // A row of a mixing matrix may cost as much as a map: of long heads not even some are computed.
    guard !head.isLong else {
      throw Missing(
        .length, hint: "a mixing matrix is computed up to \(Head.longEntries) entries; `slice` cuts"
      )
    }
    var aside = Aside(), findings = Findings()
    let lazy = try map(head, run, &aside)
    let isWhole = max(head.queries, head.keys) <= card.wholeMap
    let map = isWhole ? try WholeField(lazy, run) : lazy
    findings.field("map", map, .signed, title: card.title)
    guard run.wantsNumbers else { return findings }
    let rows = isWhole ? Array(0..<head.queries) : MapPass.sample(0..<head.queries, 64)
    if !isWhole {
      findings.note(
        """
        rows only: \(max(head.queries, head.keys)) tokens are more than \(card.wholeMap); numbers \
        from \(rows.count) rows
        """
      )
    }
    let numbers = try MapNumbers(head, map, rows: rows, run)
    numbers.add(to: &findings)
    if let value = head.value {
      findings.field("output", ProductField(map, value), .signed, title: "output W V")
    }
    findings.merge(aside.findings)
    try add(map, numbers, &findings)
    return findings
  }
}

extension WholeField {
  /// Every row of a field, computed on all threads. Throws what its rows throw, and
  /// `CancellationError`.
  init(_ field: any RowField, _ run: MethodRun) throws {
    let chunk = max(1, min(16, (field.rows.count + 31) / 32))
    let parts = Gathered<Result<[Float], any Error>>()
    run.threads.forEach(
      0..<(field.rows.count + chunk - 1) / chunk, isCancelled: run.isCancelled
    ) { item in
      parts.add(
        item,
        Result {
          var values: [Float] = []
          try field.withRows(item * chunk..<min((item + 1) * chunk, field.rows.count)) {
            values += $1
          }
          return values
        })
    }
    try run.checkCancellation()
    self.init(
      rows: field.rows, columns: field.columns,
      values: try parts.inOrder.flatMap { try $0.get() })
  }
}

/// W V, a row at a time.
struct ProductField: RowField {
  /// The queries of the map.
  let rows: Axis
  /// Channels of V.
  let columns: Axis
  private let map: any RowField
  private let values: [Float]

  /// `map` `[queries, keys]` and `value` `[keys, width]`.
  init(_ map: any RowField, _ value: Tensor) {
    self.map = map
    (rows, columns) = (map.rows, Axis(.channel, value.shape[1]))
    values = value.floats()
  }

  /// V as floats, which this field made for itself.
  var bytes: Int { 4 * values.count }

  /// One row of the map at a time, summed in double. NaN, which marks keys that may not be seen,
  /// counts as nothing. Throws what the map's rows and `body` throw.
  func withRows(
    _ range: Range<Int>, _ body: (Int, UnsafeBufferPointer<Float>) throws -> Void
  ) throws {
    let width = columns.count
    try map.withRows(range) { row, weights in
      var out = [Double](repeating: 0, count: width)
      for (key, weight) in weights.enumerated() where weight != 0 && !weight.isNaN {
        for x in 0..<width { out[x] += Double(weight) * Double(values[key * width + x]) }
      }
      try out.map(Float.init).withUnsafeBufferPointer { try body(row, $0) }
    }
  }
}
