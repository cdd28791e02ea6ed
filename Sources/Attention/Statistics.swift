import Kernels
public import Tensors

extension TilePass {
  /// Block tables of every tile given, from one pass over Q K^T: `[spec][head]`. Nil when
  /// cancelled.
  ///
  /// For a strip of query rows the pass keeps the row maxima and the exponential sums of every 16
  /// keys; at its end, when each row's log-sum-exp is known, they fold to the margins and masses of
  /// any tile whose sides are multiples of 16 (rows 16, 32, 64 or 128). Other tiles, stored maps,
  /// double precision and the lse criterion take a pass of their own. `lambda` matters to the lse
  /// criterion alone. Memory O(keys) for each thread beside the tables.
  public func tables(
    _ specs: [TileSpec], lambda: Double = 0, threads: ComputeThreads = .shared,
    progress: Progress? = nil,
    isCancelled: @escaping @Sendable () -> Bool = { Task.isCancelled }
  ) -> [[BlockTable]]? {
    let shared = specs.indices.filter { takesStatistics(specs[$0]) }
    var results: [Int: [BlockTable]] = [:]
    if !shared.isEmpty {
      let pass = Statistics(self, shared.map { specs[$0] })
      guard let tables = pass.run(threads, progress, isCancelled) else { return nil }
      for (index, table) in zip(shared, tables) { results[index] = table }
    }
    for (index, spec) in specs.enumerated() where results[index] == nil {
      let own =
        spec.keys == keysPerTile
        ? self
        : TilePass(
          group, keysPerTile: spec.keys, precision: precision,
          isa: InstructionSet(rawValue: plan.isa)!, threads: threads)
      guard
        let tables = own.ownTables(spec, lambda: lambda, threads: threads, isCancelled: isCancelled)
      else { return nil }
      results[index] = tables
    }
    return specs.indices.map { results[$0]! }
  }

  /// The shared way needs panels of floats and a tile whose sides fit the strips and the groups of
  /// 16 keys.
  private func takesStatistics(_ spec: TileSpec) -> Bool {
    isWide(group.queries) && keysPerTile % 16 == 0 && Statistics.fits(spec)
  }
}

/// One pass, many tables.
///
/// All specs share the scores, which are nearly all of the cost; folding a further table is
/// O(queries * keys / 16).
struct Statistics {
  /// Query rows of a work item, and keys of a tile of scores.
  static let rows = 128, keys = 128

  /// True for tiles that fold exactly from groups of 16 keys and lie within a block of 128 rows.
  static func fits(_ spec: TileSpec) -> Bool {
    spec.criterion == .max && spec.rows % 16 == 0 && rows % spec.rows == 0 && spec.keys % 16 == 0
  }

  private let pass: TilePass
  private let builders: [TableBuilder]
  private let units: [[Int]]

  /// If any spec votes as a group, all heads of a block of rows must be there together; otherwise
  /// heads are items of their own, and memory stays small.
  init(_ pass: TilePass, _ specs: [TileSpec]) {
    self.pass = pass
    builders = specs.map { TableBuilder($0, pass) }
    let heads = Array(pass.group.heads.indices)
    units = specs.contains { $0.vote == .group } ? [heads] : heads.map { [$0] }
  }

  /// `[spec][head]`; nil when cancelled. Progress counts keys seen.
  func run(
    _ threads: ComputeThreads, _ progress: Progress?, _ isCancelled: @escaping @Sendable () -> Bool
  ) -> [[BlockTable]]? {
    let queries = pass.group.queries
    let blocks = (queries + Self.rows - 1) / Self.rows
    let counter = progress?.counter(units.count * (0..<blocks).reduce(0) { $0 + work($1) })
    threads.forEach(0..<blocks * units.count, isCancelled: isCancelled) { item in
      // The last rows see most keys: start with them, so that no thread ends with the largest
      // piece.
      let block = blocks - 1 - item / units.count
      let rows = block * Self.rows..<min((block + 1) * Self.rows, queries)
      let parts = units[item % units.count].map { HeadStatistics(pass, head: $0, rows) }
      for builder in builders { builder.add(rows, parts) }
      counter?.add(work(block))
    }
    return isCancelled() ? nil : builders.map { $0.tables() }
  }

  /// Keys that the last row of a block sees, plus one: the weight of an item in the progress.
  private func work(_ block: Int) -> Int {
    let last = min((block + 1) * Self.rows, pass.group.queries) - 1
    return 1 + pass.group.visibility.limit(row: last)
  }
}

/// Row maxima and masses of every 16 keys, for up to 128 rows of one head.
final class HeadStatistics {
  /// Index into the group.
  let head: Int
  /// Query rows, at most `Statistics.rows`.
  let rows: Range<Int>
  /// `[strips][groups][32]`, -infinity where nothing is seen
  let maxima: Floats
  /// `[strips][groups][32]`, softmax mass
  let masses: Floats
  /// Groups of 16 keys that the last row sees.
  let groups: Int
  /// Sum over rows of the entropy of the dense pattern, in nats.
  let entropy: Double
  /// Rows that see at least one key.
  let visibleRows: Int

  /// One sweep over the keys with running maxima, then one correction to the final log-sum-exp:
  /// masses are kept relative to the level of their own tile until then.
  init(_ pass: TilePass, head: Int, _ rows: Range<Int>) {
    (self.head, self.rows) = (head, rows)
    let strips = Strips(pass, TileRows(heads: [head], rows: rows))
    let lanes = Strips.lanes, limit = strips.most.max()!
    let groups = (limit + 15) / 16, tiles = (limit + Statistics.keys - 1) / Statistics.keys
    let per = Statistics.keys / 16
    // Whole blocks: a ragged last one has rows that see nothing.
    let maxima = Floats(Statistics.rows * groups, fill: -.infinity)
    let masses = Floats(Statistics.rows * groups)
    let t = Floats(strips.count * tiles * lanes, fill: -.infinity)
    let weighted = Floats(strips.count * tiles * lanes)
    let scores = Floats(Statistics.keys * lanes)
    for j in 0..<tiles {
      let keys = j * Statistics.keys..<min((j + 1) * Statistics.keys, pass.group.keys)
      for strip in 0..<strips.count {
        let width = strips.width(strip, keys)
        guard width > 0 else { continue }
        let at = (strip * groups + j * per) * lanes, tile = (strip * tiles + j) * lanes
        strips.score(
          pass, strip, keys, pass.panel(key: keys.lowerBound), scores.base, maxima.base + at,
          t.base + tile)
        as_wide_sums(
          pass.isa, scores.base, Int32(width), t.base + tile, masses.base + at,
          weighted.base + tile)
      }
    }
    var lse = [Double](repeating: 0, count: lanes)
    var entropies = [Float](repeating: 0, count: lanes)
    var entropy = 0.0, visible = 0
    for strip in 0..<strips.count {
      let at = strip * tiles * lanes
      as_wide_finish(
        pass.isa, Int32(groups), Int32(per), t.base + at, masses.base + strip * groups * lanes,
        weighted.base + at, &lse, &entropies)
      for lane in 0..<lanes where lse[lane] != -.infinity {
        entropy += Double(entropies[lane])
        visible += 1
      }
    }
    (self.maxima, self.masses, self.groups) = (maxima, masses, groups)
    (self.entropy, visibleRows) = (entropy, visible)
  }

  /// Folds to key tiles of `per` groups and the rows `first..<first + count` (counted from this
  /// block's first, multiples of 16): `[tiles][count]`.
  func fold(
    _ isa: as_isa, _ source: Floats, takeMax: Bool, rows first: Int, _ count: Int, groups seen: Int,
    per: Int, into out: Floats
  ) {
    let lanes = Strips.lanes
    var at = 0
    while at < count {
      let row = first + at, width = min(count - at, lanes - row % lanes)
      as_wide_fold(
        isa, source.base + row / lanes * groups * lanes + row % lanes, Int32(seen), Int32(per),
        Int32(width), takeMax ? 1 : 0, out.base + at, Int64(count))
      at += width
    }
  }
}
