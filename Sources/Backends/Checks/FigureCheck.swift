import Analysis
import Attention
import Glibc
import Methods
import Sessions
import Synchronization
import Tensors

/// The figures of one head, which are sums over all of its rows: entropy and sink, and at a
/// threshold sparsity, dropped mass and output error.
///
/// Which blocks are skipped is taken from the program's own table once its margins have been
/// compared: near the threshold rounding decides, and every other figure follows from it.
struct FigureCheck {
  private let check: DumpCheck
  private let id: HeadID

  static let sparsity = "sparsity", dropped = "dropped mass", error = "output error"
  static let entropy = "entropy", sink = "sink", learned = "learned sink"
  /// In the order of a report.
  static let names = [sparsity, dropped, error, entropy, sink, learned]

  init(_ check: DumpCheck, _ id: HeadID) { (self.check, self.id) = (check, id) }

  /// Throws `CancellationError` and what computing throws. A head that is long, or holds what is
  /// no number, is passed over with a note.
  func run(_ work: inout WorkLimit) throws -> CheckTally {
    var tally = CheckTally()
    let backend = check.backend
    guard let place = backend.place(id, at: .whole),
      let head = backend.heads.straight(id.layer, id.head, withValues: true)
    else { return tally }
    guard !place.head.isLong else {
      tally.note(
        "\(check.name(id)): figures are of a sample of rows there, and are not checked whole")
      return tally
    }
    guard Quality.scan(place.head).nonFinite == 0 else {
      tally.note("\(check.name(id)) holds NaN or infinity: its figures are not checked")
      return tally
    }
    let spec = check.request.spec ?? TileSpec.standard(queries: head.queries)
    let width = max(head.dim, 8) + 2 * head.valueDim
    guard work.take(2 * head.queries * head.keys * width),
      let setting = backend.store.registry.tableCard?.blockTables?.setting(
        spec, check.request.lambda)
    else { return tally }
    let asked = spec.criterion == .lse ? check.request.lambda : 0
    let table = try backend.store.wholeTable(nil, place, spec, asked)
    let findings = try backend.store.findings(setting, place)
    let summary = try backend.store.summary(place)
    let logit = backend.heads.sinks(id.layer).map { Double($0[id.head]) }
    let sums = try self.sums(head, table.mask(try Lambda(check.request.lambda)), logit)
    let bound = check.bound(id, head)
    tally.add(try sparsity(table, findings, spec, bound))
    tally.add(dropped(findings, sums, bound))
    tally.add(error(findings, sums, head, bound))
    tally.add(entropy(summary, sums, bound))
    tally.add(sink(summary, sums, bound))
    if let logit, logit.isFinite, let found = backend.heads.sinkMass(id.layer, id.head) {
      var line = CheckLine(Self.learned)
      let wanted = sums.sink / Double(max(sums.rows, 1))
      line.add(found, wanted, within: bound.mass(wanted), at: check.name(id))
      tally.add(line)
    }
    return tally
  }

  /// All rows of the head, a row of tiles an item. Throws `CancellationError`.
  private func sums(_ head: StraightHead, _ mask: BlockMask, _ logit: Double?) throws
    -> StraightSums
  {
    let parts = Mutex<[Int: StraightSums]>([:])
    ComputeThreads.shared.forEach(0..<mask.rowTiles, isCancelled: check.isCancelled) { tile in
      let part = StraightSums(head, mask, tile: tile, sink: logit)
      parts.withLock { $0[tile] = part }
    }
    if check.isCancelled() { throw CancellationError() }
    let found = parts.withLock { $0 }
    return (0..<mask.rowTiles).reduce(into: StraightSums(keys: head.keys)) { sums, tile in
      if let part = found[tile] { sums.add(part) }
    }
  }

  /// Blocks counted once more by straight margins; those within rounding of the threshold may go
  /// either way.
  private func sparsity(
    _ table: BlockTable, _ findings: Findings, _ spec: TileSpec, _ bound: CheckBound
  ) throws -> CheckLine {
    var line = CheckLine(Self.sparsity)
    let heads = check.backend.heads, size = heads.groupSize(id.layer)
    let first = spec.vote == .group ? id.head / size * size : id.head
    let count = spec.vote == .group ? size : 1
    let unit = (first..<first + count).compactMap { heads.straight(id.layer, $0) }
    guard unit.count == count else { return line }
    let lambda = check.request.lambda, level = log(lambda)
    let tiles = Mutex<(visible: Int, skipped: Int, near: Int)>((0, 0, 0))
    ComputeThreads.shared.forEach(0..<table.rowTiles, isCancelled: check.isCancelled) { tile in
      let straight = StraightTile(unit, spec, tile: tile, lambda: table.madeFor ?? 0)
      let margins = straight.margins.filter { !$0.isNaN }
      tiles.withLock { sum in
        sum.visible += margins.count
        sum.skipped += margins.count { $0 < level }
        sum.near += margins.count { abs($0 - level) <= bound.margin($0) }
      }
    }
    if check.isCancelled() { throw CancellationError() }
    let (visible, skipped, near) = tiles.withLock { $0 }
    guard visible > 0, spec.criterion == .max || near == 0 else { return line }
    line.add(
      findings["sparsity"]?.number ?? .nan, Double(skipped) / Double(visible),
      within: Double(near) / Double(visible) + 1e-12, at: "\(check.name(id)) lambda \(lambda)")
    line.add(
      findings["visible_blocks"]?.number ?? .nan, Double(visible), within: 0,
      at: "\(check.name(id)) visible blocks")
    return line
  }

  private func dropped(_ findings: Findings, _ sums: StraightSums, _ bound: CheckBound)
    -> CheckLine
  {
    var line = CheckLine(Self.dropped)
    guard sums.rows > 0 else { return line }
    for (name, wanted) in [
      ("dropped_mean", sums.dropped / Double(sums.rows)), ("dropped_max", sums.worst),
    ] {
      line.add(
        findings[name]?.number ?? .nan, wanted, within: bound.mass(wanted, rows: 10),
        at: "\(check.name(id)) \(name)")
    }
    return line
  }

  /// Nothing without V.
  private func error(
    _ findings: Findings, _ sums: StraightSums, _ head: StraightHead, _ bound: CheckBound
  ) -> CheckLine {
    var line = CheckLine(Self.error)
    guard head.valueDim > 0, sums.norm > 0 else { return line }
    let off = 2 * bound.score * head.largestValue
    let all = off * Double(sums.rows * head.valueDim).squareRoot() / sums.norm.squareRoot()
    let wanted = (sums.moved / sums.norm).squareRoot()
    line.add(
      findings["error"]?.number ?? .nan, wanted, within: all + 1e-4 * wanted,
      at: "\(check.name(id)) relative L2")
    line.add(
      findings["error_max"]?.number ?? .nan, sums.mostMoved, within: off + 1e-4 * sums.mostMoved,
      at: "\(check.name(id)) largest")
    return line
  }

  private func entropy(_ summary: HeadSummary, _ sums: StraightSums, _ bound: CheckBound)
    -> CheckLine
  {
    var line = CheckLine(Self.entropy)
    guard sums.rows > 0 else { return line }
    let wanted = sums.entropy / Double(sums.rows)
    line.add(summary.entropy, wanted, within: bound.entropy(wanted), at: check.name(id))
    return line
  }

  /// The mass of the key that was found, against the heaviest of all: of equals any may be named.
  private func sink(_ summary: HeadSummary, _ sums: StraightSums, _ bound: CheckBound)
    -> CheckLine
  {
    var line = CheckLine(Self.sink)
    guard sums.rows > 0, sums.columns.indices.contains(summary.sink.position) else { return line }
    let rows = Double(sums.rows), most = (sums.columns.max() ?? 0) / rows
    let own = sums.columns[summary.sink.position] / rows
    line.add(
      summary.sink.mass, own, within: bound.mass(own),
      at: "\(check.name(id)) key \(summary.sink.position)")
    line.add(own, most, within: bound.mass(most), at: "\(check.name(id)) heaviest key")
    return line
  }
}
