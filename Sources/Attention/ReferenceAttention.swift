import Tensors

/// Dense attention and BLASST in double precision, written as blasst.md reads. The specification of
/// every fast path.
///
/// Slow on purpose: one row, one key, one number at a time. Cost O(queries * keys * d).
///
/// Example: `ReferenceAttention(group).run(spec, lambda: 0.01).margins[0]` are the margins of the
/// first voting unit. Memory O(queries * keys) doubles a head: for tests and small maps only.
/// Paper: BLASST, 2025, arXiv 2512.12087.
public struct ReferenceAttention {
  /// Everything that one run decided and computed; a unit is a head, or the whole group when it
  /// votes together.
  public struct Result {
    /// `[unit][rowTile * keyTiles + keyTile]`; NaN where not visited.
    public var margins: [[Double]]
    /// `[unit][rowTile * keyTiles + keyTile]`.
    public var verdicts: [[Verdict]]
    /// `[head][query * dv + x]`; empty without V.
    public var outputs: [[Double]]
    /// `[head][query * keys + key]`: the dense pattern.
    public var patterns: [[Double]]
  }

  /// The heads that are computed.
  public let group: HeadGroup
  private let scores: [[Double]]
  private let values: [Float]
  private let valueDim: Int

  /// Computes all scores at once: O(heads * queries * keys * d).
  public init(_ group: HeadGroup) {
    self.group = group
    scores = group.heads.map(Self.scores)
    values = group.heads[0].value?.floats() ?? []
    valueDim = group.heads[0].valueDim
  }

  /// S = scale * Q K^T, with -infinity where a query may not look. `[queries * keys]`
  static func scores(_ head: Head) -> [Double] {
    var scores = [Double](repeating: -.infinity, count: head.queries * head.keys)
    let stored: [Float]
    var query: [Float] = [], key: [Float] = []
    switch head.source {
    case .projections, .cached:
      stored = []
      if let both = head.queryAndKey { (query, key) = (both.query.floats(), both.key.floats()) }
    case .pattern(let map), .scores(let map): stored = map.floats()
    }
    for i in 0..<head.queries {
      for j in 0..<head.visibility.limit(row: i) {
        switch head.source {
        case .projections, .cached:
          var dot = 0.0
          for c in 0..<head.dim {
            dot += Double(query[i * head.dim + c]) * Double(key[j * head.dim + c])
          }
          scores[i * head.keys + j] = dot * head.scale
        case .pattern: scores[i * head.keys + j] = logarithm(Double(stored[i * head.keys + j]))
        case .scores: scores[i * head.keys + j] = Double(stored[i * head.keys + j])
        }
      }
    }
    return scores
  }

  /// Margins, verdicts and outputs at one tile and lambda; lambda <= 0 is dense. Nothing is checked
  /// for lambda > 1.
  public func run(_ spec: TileSpec, lambda: Double) -> Result {
    let units = spec.vote == .head ? group.heads.indices.map { [$0] } : [Array(group.heads.indices)]
    let rowTiles = (group.queries + spec.rows - 1) / spec.rows
    let keyTiles = (group.keys + spec.keys - 1) / spec.keys
    var result = Result(
      margins: units.map { _ in [Double](repeating: .nan, count: rowTiles * keyTiles) },
      verdicts: units.map { _ in [Verdict](repeating: .invisible, count: rowTiles * keyTiles) },
      outputs: group.heads.map { _ in [Double](repeating: 0, count: group.queries * valueDim) },
      patterns: group.heads.indices.map(densePattern))
    for (unit, heads) in units.enumerated() {
      for i in 0..<rowTiles {
        runTile(i, keyTiles, unit, heads, spec, lambda, &result)
      }
    }
    return result
  }

  /// Whether a row may see something of key tile `j`.
  private func sees(_ row: Int, _ j: Int, _ width: Int) -> Bool {
    group.visibility.limit(row: row) > j * width
      && group.visibility.first(row: row) < (j + 1) * width
  }

  /// The published loop over key blocks for one tile of rows. Splits keep m, l and O of their own
  /// and are merged at the end by their log-sum-exps.
  private func runTile(
    _ i: Int, _ keyTiles: Int, _ unit: Int, _ heads: [Int], _ spec: TileSpec, _ lambda: Double,
    _ result: inout Result
  ) {
    let rows = heads.flatMap { head in
      (i * spec.rows..<min((i + 1) * spec.rows, group.queries)).map { (head: head, row: $0) }
    }
    let visible = (0..<keyTiles).filter { j in rows.contains { sees($0.row, j, spec.keys) } }
    let visit = spec.order == .ascending ? visible : visible.reversed()
    var splits: [Split] = []
    for (step, j) in visit.enumerated() {
      let isFirst = step % spec.run(visit.count) == 0
      if isFirst { splits.append(Split(rows: rows.count, valueDim: valueDim)) }
      var (m, l, o) = (splits.last!.m, splits.last!.l, splits.last!.o)
      defer { splits[splits.count - 1] = Split(m: m, l: l, o: o) }
      let block = j * spec.keys..<min((j + 1) * spec.keys, group.keys)
      let t = rows.map { r in
        block.map { score(r.head, r.row, $0) }.reduce(-.infinity) { $1 > $0 ? $1 : $0 }
      }
      let level = spec.criterion == .max ? m : zip(m, l).map { $0 + logarithm($1) }
      let rises = zip(t, level).map { $0 == -.infinity ? -.infinity : $0 - $1 }
      let margin = isFirst ? .infinity : rises.reduce(-.infinity) { $1 > $0 ? $1 : $0 }
      let skip = lambda > 0 && margin < logarithm(lambda)
      result.margins[unit][i * keyTiles + j] = margin
      result.verdicts[unit][i * keyTiles + j] = skip ? .skipped : .computed
      if skip { continue }
      for (r, row) in rows.enumerated() {
        let top = t[r] > m[r] ? t[r] : m[r]
        if top == -.infinity { continue }
        let fade = exponential(m[r] - top)
        l[r] *= fade
        for x in 0..<valueDim { o[r][x] *= fade }
        for key in block where key < group.visibility.limit(row: row.row) {
          let p = exponential(score(row.head, row.row, key) - top)
          l[r] += p
          for x in 0..<valueDim { o[r][x] += p * Double(values[key * valueDim + x]) }
        }
        m[r] = top
      }
    }
    for (r, row) in rows.enumerated() {
      let top = splits.map { $0.m[r] }.max() ?? -.infinity
      guard top > -.infinity else { continue }
      let l = splits.map { exponential($0.m[r] - top) * $0.l[r] }.reduce(0, +)
      for x in 0..<valueDim {
        let o = splits.map { exponential($0.m[r] - top) * $0.o[r][x] }.reduce(0, +)
        result.outputs[row.head][row.row * valueDim + x] = o / l
      }
    }
  }

  /// m, l and O of the rows of a tile, over the key tiles of one split.
  private struct Split {
    var m: [Double]
    var l: [Double]
    var o: [[Double]]

    init(rows: Int, valueDim: Int) {
      m = [Double](repeating: -.infinity, count: rows)
      l = [Double](repeating: 0, count: rows)
      o = (0..<rows).map { _ in [Double](repeating: 0, count: valueDim) }
    }

    init(m: [Double], l: [Double], o: [[Double]]) { (self.m, self.l, self.o) = (m, l, o) }
  }

  /// The score of an entry, out of the array that `init` filled.
  private func score(_ head: Int, _ row: Int, _ key: Int) -> Double {
    scores[head][row * group.keys + key]
  }

  /// The softmax over a whole row at once, `[queries * keys]`: no tiles, nothing to skip.
  private func densePattern(_ head: Int) -> [Double] {
    var pattern = [Double](repeating: 0, count: group.queries * group.keys)
    for i in 0..<group.queries {
      let row = scores[head][i * group.keys..<(i + 1) * group.keys]
      guard let top = row.max(), top > -.infinity else { continue }
      let weights = row.map { exponential($0 - top) }
      let sum = weights.reduce(0, +)
      for j in 0..<group.keys { pattern[i * group.keys + j] = weights[j] / sum }
    }
    return pattern
  }
}
