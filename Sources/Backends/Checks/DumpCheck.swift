import Algebra
public import Attention
import Analysis
import Formats
import Methods
import Sessions
import Synchronization
import Tensors

/// What is checked of a dump, and how much of it.
public struct CheckRequest: Sendable {
  /// Row tiles and rows that are drawn, each; figures of heads a sixteenth of it.
  public var count = 64
  /// What the draw begins with: one seed, one sample.
  public var seed: UInt64 = 1
  /// The tiles that are taken by turns; nil: the standard one, and others of every kind.
  public var spec: TileSpec?
  /// The threshold of figures, in (0, 1].
  public var lambda = 0.01
  /// What is looked at; nil: all.
  public var layers: [LayerIndex]?
  /// Query heads by their places within a layer; nil: all.
  public var heads: [Int]?
  /// Where tables are kept; nil: none are looked for.
  public var tables: TableStore?

  /// The standard sample.
  public init() {}
}

/// Recomputes a sample of what the program says of a dump straight from the definitions in double
/// precision, and says how far the two are apart.
///
/// What is compared is what every screen and report asks for: tables, rows, pictures and figures
/// come from the same `FindingStore`. Heads too long for that have their tiles computed from the
/// rows of a tile alone, and no figures. The work is bounded by multiply-adds and not by time, so
/// that one seed means one sample.
public struct DumpCheck: Sendable {
  let backend: FileBackend
  let request: CheckRequest
  /// Hears how far it is, a share.
  let tell: @Sendable (Double) -> Void
  let isCancelled: @Sendable () -> Bool

  /// Nothing is computed yet; `tell` hears the share that is done, from any thread.
  public init(
    _ backend: FileBackend, _ request: CheckRequest, tell: @escaping @Sendable (Double) -> Void,
    isCancelled: @escaping @Sendable () -> Bool
  ) {
    (self.backend, self.request, self.tell) = (backend, request, tell)
    self.isCancelled = isCancelled
  }

  static let rows = "rows of the map", cells = "cells of pictures", votes = "votes of single rows"

  /// Names of all kinds, in the order of a report.
  private static let order =
    [TileCheck.own.margins, votes, TileCheck.own.verdicts, TileCheck.own.masses, rows, cells]
    + FigureCheck.names + [TileCheck.cached.margins, TileCheck.cached.verdicts]
    + [TileCheck.cached.masses, Self.facts, ProbeCheck.blocks]

  /// Everything that can be checked here. Throws `CancellationError`, and what computing throws.
  public func run() throws -> CheckTally {
    guard backend.heads.dump.kind != .mask else { return StoredMaskCheck(backend).run() }
    var random = SplitMix64(request.seed), tally = CheckTally()
    var work = WorkLimit()
    let drawn = draw(&random), ids = drawn.keys.sorted()
    let figured = Set(figures(&random))
    let all = all
    // Rows cost little, tiles of long heads much: what is cheap is looked at first.
    for isTiles in [false, true] {
      for (index, id) in ids.enumerated() {
        if isCancelled() { throw CancellationError() }
        guard let own = drawn[id], let straight = heads(id, own) else { continue }
        tally.add(
          try isTiles ? tiles(id, own, straight, &work) : maps(id, own, straight, &work))
        tell((isTiles ? 0.2 : 0) + (isTiles ? 0.4 : 0.2) * Double(index + 1) / Double(ids.count))
      }
    }
    for (index, id) in all.enumerated() {
      if figured.contains(id) { tally.add(try FigureCheck(self, id).run(&work)) }
      tally.add(try kept(id, &random, &work))
      tell(0.6 + 0.4 * Double(index + 1) / Double(all.count))
    }
    if let probe = backend.heads.dump.probe {
      for id in all { tally.add(ProbeCheck(probe, backend.heads, id).line()) }
    }
    if work.leftOut > 0 {
      tally.note(
        """
        \(work.leftOut) of what was drawn is left out, as it would take long: --layers, --heads or \
        another --seed look elsewhere
        """)
    }
    tally.order(Self.order)
    return tally
  }

  // MARK: What is drawn

  /// What is looked at of one head.
  struct Drawn {
    /// Row tiles, each under a spec.
    var tiles: [(spec: TileSpec, tile: Int)] = []
    /// Query rows of the map, and of those that vote alone.
    var rows: [Int] = [], votes: [Int] = []
    /// Parts of the map that are pooled to cells.
    var windows: [MapWindow] = []
  }

  /// Every head that the file has, of those that were asked for.
  private var all: [HeadID] {
    backend.description.allHeads.filter { id in
      id.head < backend.heads.heads(id.layer) && request.layers?.contains(id.layer) != false
        && request.heads?.contains(id.head) != false
    }
  }

  /// Heads, tiles and rows, each as likely as any other.
  private func draw(_ random: inout SplitMix64) -> [HeadID: Drawn] {
    let all = all
    var drawn: [HeadID: Drawn] = [:]
    guard !all.isEmpty else { return drawn }
    for turn in 0..<request.count {
      let id = all[Int.random(in: 0..<all.count, using: &random)]
      let (queries, keys, _) = backend.heads.dump.layers[id.layer.value].positions
      guard queries > 0, keys > 0 else { continue }
      let specs = specs(id, queries), spec = specs[turn % specs.count]
      func any(_ count: Int) -> Int { Int.random(in: 0..<count, using: &random) }
      var own = drawn[id] ?? Drawn()
      own.tiles.append((spec, any((queries + spec.rows - 1) / spec.rows)))
      own.rows.append(any(queries))
      if turn % 4 == 0 { own.votes.append(any(queries)) }
      if turn % 8 == 0 {
        let row = any(queries), key = any(keys)
        own.windows.append(
          MapWindow(
            queries: row..<min(row + 24, queries), keys: key..<min(key + 1 + any(keys), keys)))
      }
      drawn[id] = own
    }
    return drawn
  }

  /// The tile that was asked for, or the standard one and then others: both orders, both votes,
  /// sides that are no multiples of 16, splits, and the log-sum-exp.
  private func specs(_ id: HeadID, _ queries: Int) -> [TileSpec] {
    if let spec = request.spec { return [spec] }
    let standard = TileSpec.standard(queries: queries)
    let rows = queries == 1 ? 1 : 16
    var specs = [
      standard, TileSpec(rows: standard.rows, keys: 64, order: .descending),
      TileSpec(rows: rows, keys: 16), TileSpec(rows: queries == 1 ? 1 : 24, keys: 40),
      TileSpec(rows: rows, keys: 32, splits: 3),
      TileSpec(rows: rows, keys: 64, criterion: .lse),
    ]
    if backend.heads.groupSize(id.layer) > 1 {
      specs.append(TileSpec(rows: rows, keys: 64, vote: .group))
    }
    return specs
  }

  /// Heads whose figures are looked at.
  private func figures(_ random: inout SplitMix64) -> ArraySlice<HeadID> {
    all.shuffled(using: &random).prefix(max(1, request.count / 16))
  }

  /// The head itself, and all of its group where some tile of it votes together; nil where the
  /// file has not got it.
  private func heads(_ id: HeadID, _ drawn: Drawn) -> (own: [StraightHead], slot: Int)? {
    let size = backend.heads.groupSize(id.layer)
    guard drawn.tiles.contains(where: { $0.spec.vote == .group }), size > 1 else {
      return backend.heads.straight(id.layer, id.head).map { ([$0], 0) }
    }
    let first = id.head / size * size
    let own = (first..<first + size).compactMap { backend.heads.straight(id.layer, $0) }
    return own.count == size ? (own, id.head - first) : nil
  }
}

/// Bounds the work of a check: multiply-adds of the straight path, and entries of maps that whole
/// tables are made of.
struct WorkLimit {
  private var products = 6_000_000_000
  private var entries = 1 << 28
  /// What was not done for its sake.
  private(set) var leftOut = 0

  /// Whether so many multiply-adds are left; takes them.
  mutating func take(_ count: Int) -> Bool {
    guard count <= products else {
      leftOut += 1
      return false
    }
    products -= count
    return true
  }

  /// Whether a whole table of so many entries may be made; takes them.
  mutating func takeTable(_ count: Int) -> Bool {
    guard count <= entries else { return false }
    entries -= count
    return true
  }
}
