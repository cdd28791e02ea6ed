import Attention
import Glibc
import Support
import Tensors
import Testing

/// The path that checks everything against the definitions, against the plain reference: two
/// implementations of one text.
@Suite struct StraightTests {
  private func straight(_ head: Head) throws -> StraightHead {
    let (query, key) = try #require(head.queryAndKey)
    var rules = StraightRules(causal: head.visibility.causal, offset: head.visibility.offset)
    rules.scale = head.scale
    return StraightHead(.projections(query: query, key: key), value: head.value, rules: rules)
  }

  @Test(arguments: Case.all) func tilesAgreeWithTheReference(_ one: Case) throws {
    let group = one.group(seed: 19), heads = try group.heads.map(straight)
    let reference = ReferenceAttention(group).run(one.spec, lambda: one.lambda)
    let units = one.spec.vote == .group ? [heads] : heads.map { [$0] }
    let high = one.spec.rows
    for (unit, members) in units.enumerated() {
      for tile in 0..<(one.queries + high - 1) / high {
        let found = StraightTile(members, one.spec, tile: tile, lambda: one.lambda)
        for (block, margin) in found.margins.enumerated() {
          let wanted = reference.margins[unit][tile * found.margins.count + block]
          #expect(
            margin == wanted || margin.isNaN && wanted.isNaN || abs(margin - wanted) < 1e-11,
            "\(margin) for \(wanted) at \(tile),\(block): \(one)")
        }
      }
    }
  }

  @Test(arguments: Case.all) func mapsAndOutputsAgreeWithTheReference(_ one: Case) throws {
    let group = one.group(seed: 23)
    let reference = ReferenceAttention(group).run(one.spec, lambda: one.lambda)
    for (index, head) in group.heads.enumerated() {
      let own = try straight(head), unit = one.spec.vote == .group ? 0 : index
      let tiles = (one.keys + one.spec.keys - 1) / one.spec.keys
      for row in 0..<one.queries {
        let (weights, _) = own.pattern(row)
        let wanted = reference.patterns[index][row * one.keys..<(row + 1) * one.keys]
        #expect(zip(weights, wanted).allSatisfy { abs($0 - $1) < 1e-12 }, "row \(row): \(one)")
        let output = own.output(weights) { key in
          let at = row / one.spec.rows * tiles + key / one.spec.keys
          return reference.verdicts[unit][at] == .computed
        }
        let dv = one.valueDim
        let sums = reference.outputs[index][row * dv..<(row + 1) * dv]
        #expect(zip(output, sums).allSatisfy { abs($0 - $1) < 1e-11 }, "row \(row): \(one)")
      }
    }
  }

  /// Every rule by hand: six positions, two of padding, a window of two, and two texts.
  @Test func rulesAreWhatTheySay() {
    var rules = StraightRules(causal: true, offset: 0)
    func seen(_ row: Int) -> [Int] { (0..<6).filter { rules.sees(row, $0) } }
    #expect(seen(3) == [0, 1, 2, 3])
    rules.window = 2
    #expect(seen(0) == [0] && seen(3) == [2, 3])
    rules.padding = 3
    #expect(seen(2) == [] && seen(3) == [3] && seen(4) == [3, 4])
    (rules.padding, rules.window, rules.segments) = (0, nil, [0, 0, 1, 1, 1, 2])
    #expect(seen(4) == [2, 3, 4] && seen(5) == [5])
    (rules.causal, rules.segments, rules.window) = (false, nil, 2)
    #expect(seen(3) == [2, 3, 4])
    (rules.window, rules.firsts, rules.lasts) = (nil, [1], [3])
    #expect(seen(0) == [1, 2])
  }

  /// A softcap, a bias and a sink, on one row of two keys.
  @Test func softcapAndBias() {
    var rules = StraightRules(causal: false, offset: 0)
    (rules.scale, rules.softcap) = (0.5, 2)
    let head = StraightHead(
      .projections(
        query: Tensor([4, 0], shape: [1, 2]), key: Tensor([1, 0, -1, 7], shape: [2, 2])),
      bias: Tensor([0, 3], shape: [1, 2]), rules: rules)
    // 2 tanh(2 / 2) and 2 tanh(-2 / 2) + 3
    let tanh = 0.761_594_155_955_764_9
    let scores = head.scores(0)
    #expect(abs(scores[0] - 2 * tanh) < 1e-14 && abs(scores[1] - (3 - 2 * tanh)) < 1e-14)
    let weights = head.pattern(0).weights
    #expect(abs(weights[0] / weights[1] - exp(4 * tanh - 3)) < 1e-12)
  }

  /// A sink and 131071 weights of 4e-8 of it: added to it one by one as floats each was rounded
  /// away, and rows and pictures were off by what they are together.
  @Test func longRowsAddUp() throws {
    var random = Seeded(31)
    let queries = 32, keys = 1 << 17, dim = 4
    let query = random.tensor([queries, dim], scale: 0.01).floats().map { 1 + $0 }
    let key = (0..<keys * dim).map { $0 < dim ? 8.5 : 0.01 * random.normal() }
    let head = Head(
      query: Tensor(query, shape: [queries, dim]), key: Tensor(key, shape: [keys, dim]),
      value: nil, causal: false)
    let own = try straight(head)
    let pass = try #require(MapPass(head))
    let pooled = try #require(
      pass.pool(rowEdges: Array(0...queries), keyEdges: [100, 101], muted: nil))
    for row in [0, 13, 31] {
      let wanted = own.pattern(row).weights
      // 128 sums within a tile and one for each of 1024 tiles.
      #expect(abs(Double(pooled.max[row]) / wanted[100] - 1) < 1152 * 0x1p-24, "row \(row)")
      PatternRows(head).withRows(row..<row + 1) { _, found, _ in
        let most = wanted.indices.map { abs(Double(found[$0]) / wanted[$0] - 1) }.max() ?? 1
        #expect(most < 2e-5, "row \(row) is off by \(most)")
      }
    }
  }
}
