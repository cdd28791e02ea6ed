import Attention
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
}
