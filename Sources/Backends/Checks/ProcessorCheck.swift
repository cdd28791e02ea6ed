public import Attention
import Tensors

/// Fixed inputs through the kernels of every instruction set that this processor has, against the
/// definitions in double precision.
///
/// Example: `ProcessorCheck().run { set, line in ... }` gives a line for each case: margins,
/// masses, rows of the map and outputs together. The catch: the instruction set is given
/// to each pass and not forced by the environment, so that one process can try them all; the
/// forward pass of a model is not looked at.
public struct ProcessorCheck {
  /// The same inputs every time.
  private static let seed: UInt64 = 11

  private struct Ready {
    let one: ProcessorCase
    let group: HeadGroup
    let straight: [StraightHead]
    /// `[unit][row tile]`
    let tiles: [[StraightTile]]
    let bound: CheckBound
  }

  /// Nothing is computed yet.
  public init() {}

  /// Every case under every instruction set that is there, in this order.
  public func run(_ each: (InstructionSet, CheckLine) -> Void) {
    let cases = ProcessorCase.all.enumerated().map { index, one -> Ready in
      let (group, straight) = one.made(seed: Self.seed + UInt64(index))
      let units = one.spec.vote == .group ? [straight] : straight.map { [$0] }
      let count = (one.queries + one.spec.rows - 1) / one.spec.rows
      return Ready(
        one: one, group: group, straight: straight,
        tiles: units.map { unit in
          (0..<count).map { StraightTile(unit, one.spec, tile: $0, lambda: one.lambda) }
        },
        bound: CheckBound(straight[0], isRuled: false))
    }
    for set in InstructionSet.allCases where set.isAvailable {
      for ready in cases { each(set, check(ready, set)) }
      for line in screened(cases, set) { each(set, line) }
    }
  }

  /// One case under one instruction set.
  private func check(_ ready: Ready, _ set: InstructionSet) -> CheckLine {
    let one = ready.one
    var line = CheckLine(one.name)
    let pass = TilePass(
      ready.group, keysPerTile: one.spec.keys, withValues: true, isa: set)
    guard let tables = pass.tables(one.spec, lambda: one.lambda),
      let outputs = pass.forward(one.spec, .blasst(lambda: one.lambda))
    else { return line }
    // Rows are whole, so that their keys lie side by side: the tile is one of sixteens.
    let rowPass = TilePass(ready.group, keysPerTile: 128, isa: set)
    for head in ready.straight.indices {
      let unit = one.spec.vote == .group ? 0 : head
      let slot = one.spec.vote == .group ? head : 0
      for (tile, straight) in ready.tiles[unit].enumerated() {
        let rows = min((tile + 1) * one.spec.rows, one.queries) - tile * one.spec.rows
        let names = TileCheck.Names(margins: one.name, verdicts: one.name, masses: one.name)
        let part = TileCheck(
          names: names, bound: ready.bound, place: "head \(head)",
          lambdas: one.spec.criterion == .lse ? [one.lambda] : [0.2, 0.01]
        ).compare(
          tables[head], row: tile, straight, rows: slot * rows..<(slot + 1) * rows, tile: tile)
        for part in part.lines { line.add(part) }
      }
      addRows(&line, ready, head, rowPass)
      add(outputs[head], &line, ready, head, "output")
    }
    if one.queries == 1 { addDecoded(&line, ready, set) }
    return line
  }

  /// Rows of the map.
  private func addRows(_ line: inout CheckLine, _ ready: Ready, _ head: Int, _ pass: TilePass) {
    PatternRows(pass, head: head).withRows(0..<ready.one.queries) { row, found, _ in
      let wanted = ready.straight[head].pattern(row).weights
      guard !wanted.contains(where: \.isNaN) else {
        line.add(found.contains { !$0.isFinite }, at: "head \(head) row \(row) hides a NaN")
        return
      }
      for key in found.indices {
        line.add(
          Double(found[key]), wanted[key], within: ready.bound.mass(wanted[key]),
          at: "head \(head) row \(row) key \(key)")
      }
    }
  }

  /// Rows of an output, under the verdicts that it was made with.
  private func add(
    _ output: HeadOutput, _ line: inout CheckLine, _ ready: Ready, _ head: Int, _ what: String
  ) {
    let one = ready.one, straight = ready.straight[head]
    let off = 2 * ready.bound.score * straight.largestValue + 1e-6
    for row in 0..<one.queries {
      let weights = straight.pattern(row).weights
      guard !weights.contains(where: \.isNaN), weights.contains(where: { $0 > 0 }) else { continue }
      let wanted = straight.output(weights) {
        output.mask[row / one.spec.rows, $0 / one.spec.keys] == .computed
      }
      for (x, value) in wanted.enumerated() {
        line.add(
          Double(output.values[row * one.valueDim + x]), value, within: off,
          at: "head \(head) row \(row) \(what) \(x)")
      }
    }
  }

  /// The shortcut of one new row against a cache, under the verdicts of the general way.
  private func addDecoded(_ line: inout CheckLine, _ ready: Ready, _ set: InstructionSet) {
    let one = ready.one
    let cache = KeyCache(dim: one.dim, valueDim: one.valueDim, capacity: one.keys)
    guard let key = ready.group.heads[0].queryAndKey?.key.floats(),
      let value = ready.group.heads[0].value?.floats(),
      let wanted = TilePass(
        ready.group, keysPerTile: one.spec.keys, withValues: true, isa: set
      ).forward(one.spec, .blasst(lambda: one.lambda))
    else { return }
    for at in 0..<one.keys {
      let own = Array(key[at * one.dim..<(at + 1) * one.dim])
      cache.append(key: own, value: Array(value[at * one.valueDim..<(at + 1) * one.valueDim]))
    }
    let query = ready.group.heads.flatMap { $0.queryAndKey?.query.floats() ?? [] }
    for screen in Screening.allCases {
      var out = [Float](repeating: 0, count: one.heads * one.valueDim)
      let row = DecodeRow(heads: one.heads, dim: one.dim, isa: set)
      guard
        row.blasst(
          query, cache.snapshot, one.spec, lambda: one.lambda, screen: screen, into: &out)
      else { continue }
      for head in 0..<one.heads {
        var part = wanted[head]
        part.values = Array(out[head * one.valueDim..<(head + 1) * one.valueDim])
        add(part, &line, ready, head, "decoded")
      }
    }
  }

  /// The int8 bound changes no bit of an output, and no verdict.
  private func screened(_ cases: [Ready], _ set: InstructionSet) -> [CheckLine] {
    var line = CheckLine("int8 screen, bits")
    for ready in cases where ready.one.queries > 1 && ready.one.spec.keys % 16 == 0 {
      let one = ready.one, spec = one.spec
      let pass = TilePass(ready.group, keysPerTile: spec.keys, withValues: true, isa: set)
      guard let plain = pass.forward(spec, .blasst(lambda: one.lambda)),
        let quick = pass.forward(spec, .blasst(lambda: one.lambda), screen: .int8)
      else { continue }
      for (head, (a, b)) in zip(plain, quick).enumerated() {
        let place = "\(one.name) head \(head)"
        line.add(a.mask == b.mask, at: "\(place): verdicts differ")
        for (x, y) in zip(a.values, b.values) {
          line.add(
            x.bitPattern == y.bitPattern || x.isNaN && y.isNaN, at: "\(place): \(x) became \(y)")
        }
      }
    }
    return [line]
  }
}
