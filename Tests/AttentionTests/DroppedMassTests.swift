import Attention
import Support
import Tensors
import Testing

/// What is left out is a mean and a worst row, or unknown; never 0 for want of better.
@Suite struct DroppedMassTests {
  @Test func findingsSayBothOrNeither() {
    var findings = Findings()
    #expect(findings.droppedMass == nil)
    findings.dropped(DroppedMass(mean: 0.25, max: 0.5))
    #expect(findings.droppedMass == DroppedMass(mean: 0.25, max: 0.5))
    #expect(findings["dropped_mean"]?.number == 0.25 && findings["dropped_max"]?.number == 0.5)
    findings.dropped(nil)
    #expect(findings.droppedMass == nil && findings.all.count == 2)
  }

  /// A mask has no masses, with margins or without.
  @Test(arguments: [nil, [-1, .nan, -2, .infinity] as [Float]?])
  func aStoredMaskKnowsNone(_ margins: [Float]?) throws {
    let table = BlockTable(
      storedMask: [1, 255, 1, 0], margins: margins, spec: TileSpec(rows: 4, keys: 4), queries: 8,
      keys: 8)
    let lambda = try Lambda(0.5)
    #expect(table.skippedBlocks(lambda) == 2 && table.droppedMass(lambda) == nil)
  }

  /// Without a row that sees anything there is no mean.
  @Test func aHeadThatSeesNothingHasNone() throws {
    let blind = Head(
      scores: Tensor([Float](repeating: -.infinity, count: 64), shape: [8, 8]), causal: true)
    let spec = TileSpec(rows: 4, keys: 4)
    let table = try #require(TilePass(HeadGroup([blind]), keysPerTile: 4).tables(spec))[0]
    let lambda = try Lambda(1)
    #expect(table.visibleRows == 0 && table.droppedMass(lambda) == nil)
  }

  /// A table of random numbers, with margins that are equal, infinite and none.
  private static func table(_ random: inout Seeded, _ rowTiles: Int, _ keyTiles: Int) throws
    -> BlockTable
  {
    let count = rowTiles * keyTiles
    let margins = (0..<count).map { _ -> Float in
      switch Int.random(in: 0..<8, using: &random) {
      case 0: .nan
      case 1: .infinity
      case 2: [-2, 0, -0.0, -1].randomElement(using: &random)!
      default: random.normal() * 3
      }
    }
    let masses = (0..<3 * count).map { _ in Float.random(in: 0..<1, using: &random) }
    let bytes =
      (margins + masses).withUnsafeBytes { Array($0) }
      + [1.5, Double(bitPattern: UInt64(rowTiles * 4)), .nan].withUnsafeBytes { Array($0) }
    return try #require(
      bytes.withUnsafeBytes {
        BlockTable(
          spec: TileSpec(rows: 4, keys: 4), queries: rowTiles * 4, keys: keyTiles * 4, packed: $0)
      })
  }

  /// What a walk over all blocks gives, and a lambda costs a search: a hundred thousand of them
  /// over 90,000 blocks would take a walk an hour.
  @Test func aLambdaIsASearch() throws {
    var random = Seeded(46)
    for (rowTiles, keyTiles) in [(1, 1), (3, 7), (20, 20), (64, 3)] {
      let table = try Self.table(&random, rowTiles, keyTiles)
      #expect(table.visibleRows == rowTiles * 4)
      for value in [0, 1e-6, 0.01, 0.1353352832366127, 0.3, 0.36787944117144233, 1] {
        let lambda = try Lambda(value)
        let skipped = table.margins.indices.filter { table.margins[$0] < lambda.threshold }
        let mean = skipped.reduce(0.0) { $0 + Double(table.massSum[$1]) } / Double(rowTiles * 4)
        let most = skipped.map { Double(table.worstDropped[$0]) }.max() ?? 0
        let dropped = try #require(table.droppedMass(lambda))
        #expect(abs(dropped.mean - mean) <= 1e-12 * mean, "\(value) of \(rowTiles)x\(keyTiles)")
        #expect(dropped.max == most, "\(value) of \(rowTiles)x\(keyTiles)")
        #expect(table.skippedBlocks(lambda) == skipped.count)
      }
    }
    let large = try Self.table(&random, 300, 300), begin = ContinuousClock.now
    for step in 1...100_000 {
      let lambda = try Lambda(Double(step) / 100_000)
      #expect(try #require(large.droppedMass(lambda)).mean >= 0)
    }
    #expect(ContinuousClock.now - begin < .seconds(20))
  }
}
