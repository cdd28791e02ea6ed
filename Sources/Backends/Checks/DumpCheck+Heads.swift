import Algebra
import Analysis
import Attention
import Formats
import Glibc
import Methods
import Sessions
import Synchronization
import Tensors

extension DumpCheck {
  static let facts = "cached tables: sums and ranges"

  /// Margins, verdicts and masses of the row tiles that were drawn of a head.
  func tiles(
    _ id: HeadID, _ drawn: Drawn, _ straight: (own: [StraightHead], slot: Int),
    _ work: inout WorkLimit
  ) throws -> CheckTally {
    guard let place = backend.place(id, at: .whole) else { return CheckTally() }
    let bound = bound(id, straight.own[straight.slot])
    var items: [Item] = []
    for (spec, tile) in drawn.tiles {
      let unit = spec.vote == .group ? straight.own : [straight.own[straight.slot]]
      let rows = min((tile + 1) * spec.rows, place.head.queries) - tile * spec.rows
      guard work.take(unit.count * rows * place.head.keys * max(unit[0].dim, 8)) else { continue }
      let lambda = spec.criterion == .lse ? request.lambda : 0
      let slot = spec.vote == .group ? straight.slot : 0
      let (table, row) = try table(place, spec, tile, lambda, &work)
      items.append(
        Item(
          table: table, row: row, tile: tile, unit: unit, slot: slot,
          check: check(id, TileCheck.own, bound, spec, lambda)))
    }
    return try compare(items)
  }

  /// How the tiles of a table of a head are compared; `lambda` is that of a table of log-sum-exps,
  /// which says nothing of others.
  func check(
    _ id: HeadID, _ names: TileCheck.Names, _ bound: CheckBound, _ spec: TileSpec,
    _ lambda: Double
  ) -> TileCheck {
    TileCheck(
      names: names, bound: bound, place: "\(name(id)) \(spec)",
      lambdas: spec.criterion == .lse ? [lambda] : [0.1, request.lambda, 0.001])
  }

  /// How far numbers of a head may be off.
  func bound(_ id: HeadID, _ straight: StraightHead) -> CheckBound {
    let isRuled = backend.heads.dump.kind == .qkv && !backend.heads.rules(id.layer).areNone
    return CheckBound(straight, isRuled: isRuled)
  }

  /// A row of tiles that is to be compared.
  struct Item: Sendable {
    let table: BlockTable
    /// The row of tiles in the table, and in the head.
    let row: Int, tile: Int
    /// Those that vote, and which of them the table is of.
    let unit: [StraightHead]
    let slot: Int
    let check: TileCheck
  }

  /// All of them, side by side. Throws `CancellationError`.
  func compare(_ items: [Item]) throws -> CheckTally {
    let found = Mutex<[Int: CheckTally]>([:])
    ComputeThreads.shared.forEach(0..<items.count, isCancelled: isCancelled) { index in
      let item = items[index], spec = item.table.spec
      let straight = StraightTile(
        item.unit, spec, tile: item.tile, lambda: item.table.madeFor ?? 0)
      // What is computed near the threshold decides what the log-sum-exp is behind it.
      if let lambda = item.table.madeFor, lambda > 0,
        straight.margins.contains(where: {
          abs($0 - log(lambda)) <= item.check.bound.margin($0)
        })
      {
        return
      }
      let rows = straight.votes.count / item.unit.count
      let part = item.check.compare(
        item.table, row: item.row, straight, rows: item.slot * rows..<(item.slot + 1) * rows,
        tile: item.tile)
      found.withLock { $0[index] = part }
    }
    if isCancelled() { throw CancellationError() }
    let parts = found.withLock { $0 }
    return items.indices.reduce(into: CheckTally()) { tally, index in
      if let part = parts[index] { tally.add(part) }
    }
  }

  /// The table as the screens have it, or of the rows of one tile alone; and the row of it that is
  /// tile `tile` of the head.
  private func table(
    _ place: FindingStore.Place, _ spec: TileSpec, _ tile: Int, _ lambda: Double,
    _ work: inout WorkLimit
  ) throws -> (BlockTable, row: Int) {
    let head = place.head
    if !head.isLong, work.takeTable(head.queries * head.keys) {
      return (try backend.store.wholeTable(nil, place, spec, lambda), tile)
    }
    let rows = tile * spec.rows..<min((tile + 1) * spec.rows, head.queries)
    let (group, slot) =
      (spec.vote == .group ? place.group : nil) ?? (HeadGroup([head]), 0)
    let part = HeadGroup(group.heads.map { $0.slice(rows, keys: $0.keys) })
    guard
      let tables = TilePass(part, keysPerTile: spec.keys).tables(
        spec, lambda: lambda, isCancelled: isCancelled)
    else { throw CancellationError() }
    return (tables[slot], 0)
  }

  /// Layer and head, as people write them.
  func name(_ id: HeadID) -> String {
    "\(backend.heads.layers[id.layer].value).\(backend.description.headNumber(id.head))"
  }

  // MARK: Maps

  /// Rows, rises and pooled pictures of a head.
  func maps(
    _ id: HeadID, _ drawn: Drawn, _ straight: (own: [StraightHead], slot: Int),
    _ work: inout WorkLimit
  ) throws -> CheckTally {
    guard let place = backend.place(id, at: .whole) else { return CheckTally() }
    let head = straight.own[straight.slot]
    let bound = bound(id, head)
    var tally = CheckTally()
    for row in drawn.rows where work.take(head.keys * max(head.dim, 8)) {
      if isCancelled() { throw CancellationError() }
      guard case .row(let found) = try backend.store.answer(.row(.pattern(id), row), place) else {
        continue
      }
      var line = CheckLine(Self.rows)
      let wanted = Self.shown(head, row, place.sink)
      let isBroken = wanted.contains(where: \.isNaN)
      for key in found.indices where !isBroken {
        line.add(
          Double(found[key]), wanted[key], within: bound.mass(wanted[key]),
          at: "\(name(id)) row \(row) key \(key)")
      }
      if isBroken { line.add(found.contains { !$0.isFinite }, at: "\(name(id)) row \(row)") }
      tally.add(line)
    }
    for row in drawn.votes where work.take(head.keys * max(head.dim, 8)) {
      tally.add(try votes(id, place, head, bound, row))
    }
    for window in drawn.windows
    where work.take(window.queries.count * head.keys * max(head.dim, 8)) {
      tally.add(try cells(id, place, head, bound, window))
    }
    return tally
  }

  /// A row as screens show it `[keys]`: beside a learned sink of logit b the keys have
  /// e^lse / (e^b + e^lse) of it.
  private static func shown(_ head: StraightHead, _ row: Int, _ sink: Float?) -> [Double] {
    let pattern = head.pattern(row)
    guard let sink else { return pattern.weights }
    let rest = 1 / (1 + exp(Double(sink) - pattern.logSum))
    return pattern.weights.map { $0 * rest }
  }

  /// What a single row says of every block, as a decode step asks it. Nothing for stored maps.
  private func votes(
    _ id: HeadID, _ place: FindingStore.Place, _ head: StraightHead, _ bound: CheckBound,
    _ row: Int
  ) throws -> CheckLine {
    var line = CheckLine(Self.votes)
    let spec = TileSpec(rows: 1, keys: 64)
    let question = Question.table(id, TableRequest(spec, .row(row)))
    guard case .table(let table) = try backend.store.answer(question, place) else { return line }
    let wanted = StraightTile([head], spec, tile: row)
    for block in table.margins.indices {
      line.add(
        Double(table.margins[block]), wanted.margins[block],
        within: bound.margin(wanted.margins[block]), at: "\(name(id)) row \(row) block \(block)")
    }
    return line
  }

  /// A part of the map pooled to cells, by maximum and by mean.
  private func cells(
    _ id: HeadID, _ place: FindingStore.Place, _ head: StraightHead, _ bound: CheckBound,
    _ window: MapWindow
  ) throws -> CheckLine {
    var line = CheckLine(Self.cells)
    if isCancelled() { throw CancellationError() }
    let request = PictureRequest(window, rows: 6, columns: 24)
    guard case .picture(let map) = try backend.store.answer(.picture(.pattern(id), request), place)
    else { return line }
    let rows = window.queries.map { Self.shown(head, $0, place.sink) }
    for r in 0..<map.rows {
      for c in 0..<map.columns {
        let keys = map.keyEdges[c]..<map.keyEdges[c + 1]
        var most = 0.0, sum = 0.0, seen = 0
        for row in map.rowEdges[r]..<map.rowEdges[r + 1] {
          for key in keys where head.rules.sees(row, key) {
            let weight = rows[row - window.queries.lowerBound][key]
            (most, sum, seen) = (max(most, weight), sum + weight, seen + 1)
          }
        }
        guard !sum.isNaN else { continue }
        let at = r * map.columns + c, mean = seen == 0 ? .nan : sum / Double(seen)
        let text = "\(name(id)) rows \(map.rowEdges[r]).. keys \(keys.lowerBound).."
        line.add(
          Double(map.max[at]), seen == 0 ? .nan : most, within: bound.mass(most),
          at: "\(text) largest")
        line.add(Double(map.mean[at]), mean, within: bound.mass(mean), at: "\(text) mean")
      }
    }
    return line
  }

  // MARK: Cached tables

  /// Every table of a head that is kept on disk: all of it for what must hold of any, and a sample
  /// of its rows of tiles.
  func kept(
    _ id: HeadID, _ random: inout SplitMix64, _ work: inout WorkLimit
  ) throws -> CheckTally {
    var tally = CheckTally()
    guard let place = backend.place(id, at: .whole), place.head.isLong,
      let found = request.tables?.tables(of: place.head), !found.isEmpty,
      let straight = backend.heads.straight(id.layer, id.head)
    else { return tally }
    let bound = bound(id, straight)
    var items: [Item] = []
    for (spec, lambda, table) in found {
      guard let table else {
        tally.note(
          "the kept table \(name(id)) \(spec) is damaged: it counts as missing and is made anew")
        continue
      }
      tally.add(table.facts(Self.facts, at: "\(name(id)) \(spec)"))
      let check = check(id, TileCheck.cached, bound, spec, lambda)
      let most = max(1, min(8, request.count / 8))
      for _ in 0..<most {
        let tile = Int.random(in: 0..<table.rowTiles, using: &random)
        guard work.take(spec.rows * place.head.keys * max(straight.dim, 8)) else { continue }
        items.append(
          Item(table: table, row: tile, tile: tile, unit: [straight], slot: 0, check: check))
      }
    }
    tally.add(try compare(items))
    return tally
  }
}

extension DumpHeads {
  /// A head straight from its arrays, under the rules that this file is read with. Nil for a
  /// source that stored only masks.
  func straight(_ layer: LayerIndex, _ head: Int, withValues: Bool = false) -> StraightHead? {
    let arrays = dump.layers[layer.value].arrays
    let (queries, keys, _) = dump.layers[layer.value].positions
    var rules = StraightRules(causal: dump.causal, offset: dump.queryOffset ?? keys - queries)
    switch dump.kind {
    case .qkv:
      guard let q = arrays[.query], let k = arrays[.key] else { return nil }
      rules.scale = dump.scale ?? 1 / Double(max(q.shape[2], 1)).squareRoot()
      let kv = head / groupSize(layer), own = followsRules(layer) ? self.rules(layer) : .init()
      (rules.softcap, rules.window) = (own.softcap, own.window)
      (rules.segments, rules.padding) = (own.segments, own.padding)
      let bias = own.biases[layers[layer].value].map { $0[$0.shape[0] > 1 ? head : 0] }
      return StraightHead(
        .projections(query: q[head], key: k[kv]),
        value: withValues ? arrays[.value]?[kv] : nil, bias: bias, rules: rules)
    case .pattern, .scores:
      (rules.firsts, rules.lasts) = (firsts(layer), lasts(layer))
      let map = arrays[dump.kind == .pattern ? .pattern : .scores]
      return map.map {
        StraightHead(dump.kind == .pattern ? .pattern($0[head]) : .scores($0[head]), rules: rules)
      }
    case .mask: return nil
    }
  }
}
