import Analysis
import Attention

/// Gathers the margins of all head groups at several lengths, then the price of each target at the
/// longest.
///
///     margins of every visible block, per length   ->  sparsity(lambda), exactly
///     its inverse at each target                    ->  lambda, and the fits over all lengths
///     tables and outputs at that lambda             ->  dropped mass, relative error of the output
///
/// Memory: one float for each block of each head at each length. Time: a dense pass a group, and
/// for prices another with values and one for each target.
struct CalibrationWork {
  /// Files, or one model that has read a text.
  let sources: [any CalibrationSource]
  /// Shares of blocks to skip, 0 to 1.
  let targets: [Double]
  /// Context lengths in tokens, ascending.
  let lengths: [Int]
  /// Query rows before each length that count as decode steps.
  let decodeRows: Int
  /// Fit logarithms of factors instead of factors.
  let logarithmic: Bool

  /// One phase: curves, fits, and prices. Throws what reading a group throws.
  func run(_ phase: Phase, _ spec: TileSpec) throws -> PhaseReport {
    var margins = lengths.map { _ in [Float]() }
    try forEachGroup { group in
      for (index, part) in try parts(group, phase, spec).enumerated() { margins[index] += part }
    }
    let curves = zip(lengths, margins).map {
      SparsityCurve(phase: phase, length: $0, margins: $1)
    }
    let calibration = Calibration(curves, logarithmic: logarithmic)
    var report = PhaseReport(spec: spec, calibration: calibration, targets: [])
    for target in targets {
      report.targets.append(
        TargetReport(
          target: target, lambda: curves.last?.lambda(for: target),
          inverse: calibration.inverse(target)))
    }
    try addPrices(&report, phase, spec)
    return report
  }

  /// Every group of every source, one at a time.
  private func forEachGroup(_ body: (HeadGroup) throws -> Void) throws {
    for source in sources {
      for index in 0..<source.count { try body(try source.group(index)) }
    }
  }

  /// The margins of one group at every length: exactly those of the prompt cut off there.
  private func parts(_ group: HeadGroup, _ phase: Phase, _ spec: TileSpec) throws -> [[Float]] {
    switch phase {
    case .prefill:
      guard let longest = cut(group, lengths.last ?? 0) else { return lengths.map { _ in [] } }
      let tables = Self.tables(longest, spec)
      return lengths.map { prefill($0, of: longest, tables, spec) }
    case .decode:
      return lengths.map { length in
        decodeGroup(group, length).map { Self.tables($0, spec).flatMap(\.margins) } ?? []
      }
    }
  }

  /// `[heads]` tables of a group; all threads.
  private static func tables(_ group: HeadGroup, _ spec: TileSpec) -> [BlockTable] {
    TilePass(group, keysPerTile: spec.keys).tables(spec)!
  }

  /// The margins of a shorter prompt, from the tables of the longest.
  ///
  /// A causal row does not see what comes after it, so whole row tiles of a shorter prompt are the
  /// first ones of the longest; the ragged last one, which fewer rows vote in, takes a pass of its
  /// own, as everything does where rows see all keys.
  private func prefill(
    _ length: Int, of longest: HeadGroup, _ tables: [BlockTable], _ spec: TileSpec
  ) -> [Float] {
    guard let part = cut(longest, length) else { return [] }
    guard part.queries < longest.queries || part.keys < longest.keys else {
      return tables.flatMap(\.margins)
    }
    guard part.visibility.causal else { return Self.tables(part, spec).flatMap(\.margins) }
    let whole = part.queries / spec.rows
    let rest = part.heads.map { $0.slice(whole * spec.rows..<part.queries, keys: part.keys) }
    return tables.flatMap { $0.margins[0..<whole * $0.keyTiles] }
      + (rest[0].queries > 0 ? Self.tables(HeadGroup(rest), spec).flatMap(\.margins) : [])
  }

  /// The prompt cut off at a length: the queries that stand before it against the keys before it;
  /// nil where no query was saved there.
  private func cut(_ group: HeadGroup, _ length: Int) -> HeadGroup? {
    let keys = min(length, group.keys)
    let queries = min(length - group.visibility.offset, group.queries)
    guard queries > 0, keys > 0 else { return nil }
    if (queries, keys) == (group.queries, group.keys) { return group }
    return HeadGroup(group.heads.map { $0.slice(0..<queries, keys: keys) })
  }

  /// The last rows before a length, each as a decode step that looks back; nil where no query was
  /// saved there.
  private func decodeGroup(_ group: HeadGroup, _ length: Int) -> HeadGroup? {
    let end = min(length - group.visibility.offset, group.queries)
    let start = max(0, end - decodeRows)
    guard end > start else { return nil }
    return HeadGroup(group.heads.map { $0.slice(start..<end, keys: min(length, group.keys)) })
  }

  /// Dropped mass and output error of every reachable target, at the longest length: one dense pass
  /// a group, and one for each target. Errors need V.
  private func addPrices(_ report: inout PhaseReport, _ phase: Phase, _ spec: TileSpec) throws {
    let length = lengths.last ?? 0
    try forEachGroup { whole in
      let part = phase == .decode ? decodeGroup(whole, length) : cut(whole, length)
      guard let group = part else { return }
      let hasValues = group.heads[0].value != nil
      let pass = TilePass(group, keysPerTile: spec.keys, withValues: hasValues)
      let tables = pass.tables(spec)!
      let dense = hasValues ? pass.forward(spec, .blasst(lambda: 0)) : nil
      for index in report.targets.indices {
        guard let lambda = report.targets[index].lambda else { continue }
        let sparse = hasValues ? pass.forward(spec, .blasst(lambda: lambda)) : nil
        for head in group.heads.indices {
          let dropped = tables[head].droppedMass(try Lambda(lambda))
          report.targets[index].add(
            dropped: dropped,
            error: dense.flatMap { dense in
              sparse.map {
                OutputError(dense: dense[head].values, sparse: $0[head].values).relativeL2
              }
            })
        }
      }
    }
  }
}

/// What a target sparsity takes and costs, averaged over heads as they come.
struct TargetReport {
  /// The sparsity that was asked for, a share.
  let target: Double
  /// Exact, at the longest length; nil when lambda = 1 does not reach it.
  let lambda: Double?
  /// lambda = a / L over the lengths; nil where too few reach the target.
  let inverse: InverseFit?
  /// Mass in skipped blocks: mean over heads of their rows' means, and the worst row of the worst
  /// head; nil before a head came whose masses are known.
  private(set) var dropped: DroppedMass?
  /// Relative L2 errors of the attention output, one a head.
  private(set) var errors: [Double] = []
  /// Heads taken in so far.
  private var heads = 0

  /// Nothing taken in yet.
  init(target: Double, lambda: Double?, inverse: InverseFit?) {
    (self.target, self.lambda, self.inverse) = (target, lambda, inverse)
  }

  /// Takes in one head; `lost` is nil where no row sees anything, `error` without values.
  mutating func add(dropped lost: DroppedMass?, error: Double?) {
    if let lost {
      heads += 1
      let mean = dropped?.mean ?? 0
      dropped = DroppedMass(
        mean: mean + (lost.mean - mean) / Double(heads), max: max(dropped?.max ?? 0, lost.max))
    }
    if let error { errors.append(error) }
  }

  /// The mean over heads; nil without values.
  var errorMean: Double? {
    errors.isEmpty ? nil : errors.reduce(0, +) / Double(errors.count)
  }
}

/// One phase: its curves and fits for a tile, and its targets with their prices.
struct PhaseReport {
  /// The tile whose blocks were counted.
  let spec: TileSpec
  /// Curves at every length, and the fits through them.
  let calibration: Calibration
  /// In the order asked for.
  var targets: [TargetReport]
}
