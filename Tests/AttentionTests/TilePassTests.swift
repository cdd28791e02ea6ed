import Attention
import Support
import Tensors
import Testing

/// The fast path against the double-precision reference.
@Suite struct TilePassTests {
  @Test(arguments: Case.all) func tablesAgreeWithTheReference(_ one: Case) throws {
    let group = one.group(seed: 7)
    let reference = ReferenceAttention(group).run(one.spec, lambda: one.lambda)
    let tables = try #require(
      TilePass(group, keysPerTile: one.spec.keys).tables(one.spec, lambda: one.lambda))
    for head in group.heads.indices {
      let unit = one.spec.vote == .head ? head : 0
      Compare.margins(tables[head], reference.margins[unit], one)
      let mask = tables[head].mask(try Lambda(one.lambda))
      for (block, verdict) in reference.verdicts[unit].enumerated() {
        let isClose = abs(reference.margins[unit][block] - Compare.ln(one.lambda)) <= 1e-4
        #expect(isClose || mask.verdicts[block] == verdict, "head \(head) block \(block): \(one)")
      }
    }
  }

  @Test(arguments: Case.all) func outputsAgreeWithTheReference(_ one: Case) throws {
    let group = one.group(seed: 11)
    let reference = ReferenceAttention(group).run(one.spec, lambda: one.lambda)
    let pass = TilePass(group, keysPerTile: one.spec.keys, withValues: true)
    let outputs = try #require(pass.forward(one.spec, .blasst(lambda: one.lambda)))
    for head in group.heads.indices {
      let worst =
        zip(outputs[head].values, reference.outputs[head]).map { abs(Double($0) - $1) }.max() ?? 0
      #expect(worst <= 2e-5, "output of head \(head) is off by \(worst): \(one)")
    }
  }

  /// The table's mask and what the forward pass decided on its way are the same bits.
  @Test(arguments: Case.all) func tableAndForwardDecideAlike(_ one: Case) throws {
    let group = one.group(seed: 13)
    let pass = TilePass(group, keysPerTile: one.spec.keys, withValues: true)
    for lambda in [1, 0.3, 0.01, 1e-6] {
      let tables = try #require(pass.tables(one.spec, lambda: lambda))
      let outputs = try #require(pass.forward(one.spec, .blasst(lambda: lambda)))
      for head in group.heads.indices {
        #expect(tables[head].mask(try Lambda(lambda)) == outputs[head].mask, "\(one)")
      }
    }
  }

  @Test(arguments: [0.0, -1, -0.0]) func lambdaOfZeroAndBelowIsDenseBitForBit(_ lambda: Double)
    throws
  {
    let one = Case(
      heads: 3, queries: 50, keys: 50, TileSpec(rows: 16, keys: 16, vote: .group), scale: 4)
    let pass = TilePass(one.group(seed: 3), keysPerTile: 16, withValues: true)
    let dense = try #require(pass.forward(one.spec, .blasst(lambda: 0)))
    let sparse = try #require(pass.forward(one.spec, .blasst(lambda: lambda)))
    for (a, b) in zip(dense, sparse) {
      #expect(a.values.map(\.bitPattern) == b.values.map(\.bitPattern))
      #expect(!b.mask.verdicts.contains(.skipped))
    }
  }

  @Test func lambdaAboveOneIsRefusedWithTheReason() {
    #expect(throws: LambdaError.self) { try Lambda(1.5) }
    #expect("\(LambdaError(value: 1.5))".contains("running maximum"))
    #expect(throws: LambdaError.self) { try Lambda(.nan) }
  }

  /// A stored pattern or stored scores of the same head: the same margins, within rounding.
  @Test(
    arguments:
      Case.all.filter { $0.spec.vote == .head && $0.spec.criterion == .max && $0.spec.splits == 1 })
  func storedMapsGiveTheSameMargins(
    _ one: Case
  ) throws {
    let head = one.group(seed: 17).heads[0]
    let reference = ReferenceAttention(HeadGroup([head])).run(one.spec, lambda: 0)
    let pattern = Tensor(reference.patterns[0].map { Float($0) }, shape: [one.queries, one.keys])
    let stored = Head(pattern: pattern, causal: one.causal, offset: one.offset)
    let table = try #require(
      TilePass(HeadGroup([stored]), keysPerTile: one.spec.keys).tables(one.spec))[0]
    let direct = try #require(
      TilePass(HeadGroup([head]), keysPerTile: one.spec.keys).tables(one.spec))[0]
    for (a, b) in zip(table.margins, direct.margins) where b.isFinite && b > -60 {
      #expect(abs(a - b) < 2e-4 * max(1, abs(b)), "\(a) for \(b): \(one)")
    }
    #expect(table.margins.map(\.isNaN) == direct.margins.map(\.isNaN))
    #expect(abs(table.entropy - direct.entropy) < 1e-4)
  }

  @Test func massesAddUpAndDroppedMassIsWhatIsLost() throws {
    let one = Case(heads: 1, queries: 60, keys: 60, TileSpec(rows: 8, keys: 8), scale: 3)
    let head = one.group(seed: 23).heads[0]
    let pattern = ReferenceAttention(HeadGroup([head])).run(one.spec, lambda: 0).patterns[0]
    let table = try #require(TilePass(HeadGroup([head]), keysPerTile: 8).tables(one.spec))[0]
    #expect(abs(table.massSum.reduce(0, +) - 60) < 1e-3)
    for value in [1, 0.2, 0.05] {
      let lambda = try Lambda(value), mask = table.mask(lambda)
      var lost = [Double](repeating: 0, count: 60)
      for i in 0..<60 {
        for j in 0..<60 where mask[i / 8, j / 8] == .skipped { lost[i] += pattern[i * 60 + j] }
      }
      let dropped = try #require(table.droppedMass(lambda))
      #expect(abs(dropped.mean - lost.reduce(0, +) / 60) < 1e-5, "lambda \(value)")
      #expect(abs(dropped.max - lost.max()!) < 1e-5, "lambda \(value)")
    }
  }

  /// blasst.md: masks are nested, sparsity grows with lambda, the first visited block is never
  /// skipped.
  @Test(arguments: Case.all.filter { $0.spec.criterion == .max && $0.spec.splits == 1 })
  func masksAreNested(_ one: Case) throws {
    let tables = try #require(
      TilePass(one.group(seed: 29), keysPerTile: one.spec.keys).tables(one.spec))
    for table in tables {
      var last = table.mask(try Lambda(0))
      for lambda in [1e-6, 1e-3, 0.1, 0.7, 1] {
        let next = table.mask(try Lambda(lambda))
        for (a, b) in zip(last.verdicts, next.verdicts) where a == .skipped {
          #expect(b == .skipped)
        }
        for i in 0..<table.rowTiles {
          let visited = (0..<table.keyTiles).filter { next[i, $0] != .invisible }
          guard let first = one.spec.order == .ascending ? visited.first : visited.last else {
            continue
          }
          #expect(next[i, first] == .computed)
        }
        last = next
      }
    }
  }

  @Test func everyInstructionSetGivesTheSameMasks() throws {
    let one = Case(
      heads: 2, queries: 70, keys: 70, dim: 24, TileSpec(rows: 16, keys: 32, vote: .group), scale: 2
    )
    let group = one.group(seed: 31)
    let oracle = try #require(
      TilePass(group, keysPerTile: 32, withValues: true, isa: .plain).tables(one.spec))[0]
    let outputs = try #require(
      TilePass(group, keysPerTile: 32, withValues: true, isa: .plain).forward(
        one.spec, .blasst(lambda: 0.1)))
    for isa in InstructionSet.allCases where isa.isAvailable {
      for precision in [TilePass.Precision.float, .double] {
        let pass = TilePass(
          group, keysPerTile: 32, withValues: true, precision: precision, isa: isa)
        let table = try #require(pass.tables(one.spec))[0]
        for (a, b) in zip(table.margins, oracle.margins) where b.isFinite {
          #expect(abs(a - b) < 2e-5, "\(isa.name) \(precision)")
        }
        for (a, b) in zip(table.massSum, oracle.massSum) {
          #expect(abs(a - b) < 1e-4, "\(isa.name) \(precision)")
        }
        let forward = try #require(pass.forward(one.spec, .blasst(lambda: 0.1)))
        for (a, b) in zip(forward[0].values, outputs[0].values) {
          #expect(abs(a - b) < 1e-5, "\(isa.name) \(precision)")
        }
      }
    }
  }

  /// NaN and infinity stay where they are: rows that cannot see them are as if they were not there.
  @Test func brokenValuesReachOnlyTheRowsThatSeeThem() throws {
    var random = Seeded(41)
    let query = random.tensor([40, 16]), key = random.tensor([40, 16])
    var values = (0..<40 * 16).map { _ in random.normal() }
    let clean = Tensor(values, shape: [40, 16])
    values[30 * 16 + 2] = .nan
    let broken = Tensor(values, shape: [40, 16])
    let spec = TileSpec(rows: 16, keys: 16)
    let a = TilePass(
      HeadGroup([Head(query: query, key: key, value: clean, causal: true)]), keysPerTile: 16,
      withValues: true)
    let b = TilePass(
      HeadGroup([Head(query: query, key: key, value: broken, causal: true)]), keysPerTile: 16,
      withValues: true)
    let x = try #require(a.forward(spec, .blasst(lambda: 0)))[0].values
    let y = try #require(b.forward(spec, .blasst(lambda: 0)))[0].values
    #expect(Array(x[0..<30 * 16]) == Array(y[0..<30 * 16]))
    #expect((30..<40).allSatisfy { y[$0 * 16 + 2].isNaN && y[$0 * 16 + 1] == x[$0 * 16 + 1] })
  }

  @Test func aCancelledPassGivesNothing() {
    let one = Case(heads: 1, queries: 64, keys: 64, TileSpec(rows: 16, keys: 16))
    #expect(
      TilePass(one.group(seed: 1), keysPerTile: 16).tables(one.spec, isCancelled: { true }) == nil)
  }

  @Test func lambdaForASparsityTargetReachesIt() throws {
    let one = Case(heads: 1, queries: 80, keys: 80, TileSpec(rows: 8, keys: 8), scale: 3)
    let table = try #require(TilePass(one.group(seed: 5), keysPerTile: 8).tables(one.spec))[0]
    for target in [0.02, 0.1] {
      let lambda = try #require(table.lambda(forSparsity: target))
      #expect(table.sparsity(try Lambda(lambda)) >= target)
      #expect(table.sparsity(try Lambda(lambda * 0.999)) < target)
    }
  }
}

enum Compare {
  static func ln(_ x: Double) -> Double { x > 0 ? Double(try! Lambda(x).threshold) : -.infinity }

  static func margins(_ table: BlockTable, _ reference: [Double], _ one: Case) {
    for (block, expected) in reference.enumerated() {
      let margin = Double(table.margins[block])
      if expected.isFinite {
        #expect(
          abs(margin - expected) <= 2e-5 * max(1, abs(expected)),
          "block \(block): \(margin) for \(expected), \(one)")
      } else {
        #expect(
          margin.isNaN == expected.isNaN && (margin == expected || expected.isNaN),
          "block \(block): \(margin) for \(expected), \(one)")
      }
    }
  }
}
