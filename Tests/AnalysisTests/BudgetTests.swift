import Analysis
import Attention
import Support
import Tensors
import Testing

/// Searches over a knob, overlaps of masks and buffers of keys, held to what can be counted by
/// hand.
@Suite struct BudgetTests {
  private static func head(_ n: Int, seed: UInt64 = 3) -> Head {
    var random = Seeded(seed)
    return Head(
      query: random.tensor([n, 8]), key: random.tensor([n, 8], scale: 2),
      value: random.tensor([n, 8]), causal: true)
  }

  @Test(arguments: [0.03, 0.1, 0.5, 0.9], [true, false])
  func aSearchFindsTheCrossing(_ target: Double, _ rises: Bool) throws {
    let knob = Knob("x", "", 0...1, standard: 0.25).facts
    var search = try #require(KnobSearch(knob, target: target, keys: 100))
    while let x = search.next { search.take(rises ? x : 1 - x) }
    let best = try #require(search.best)
    #expect(abs(best.density - target) <= 0.01 * target && search.tries <= 23)
  }

  @Test func countsAreSearchedToTheLastOne() throws {
    let knob = Knob("k", "", 1...1 << 30, standard: 64, step: .multiply(2)).facts
    // A step at 37: the nearest to 0.5 is 0.45 below it, 0.6 above.
    var search = try #require(KnobSearch(knob, target: 0.5, keys: 1000))
    var tried: [Double] = []
    while let k = search.next {
      tried.append(k)
      search.take(k < 37 ? 0.45 : 0.6)
    }
    #expect(search.best?.density == 0.45)
    #expect(tried.allSatisfy { $0 == $0.rounded() && $0 <= 4096 } && tried.contains(36))
    #expect(Set(tried).count == tried.count, "nothing is tried twice: \(tried)")
  }

  /// Of knobs that touch the same tiles the one with most entries: the end of the step, wherever the
  /// search first set foot on it.
  @Test(arguments: [0.215, 0.4, 0.43]) func aStepIsTakenToItsEnd(_ target: Double) throws {
    let head = Self.head(512)
    func kept(_ window: Double) throws -> KeptTiles {
      try KeptTiles(head, Shapes.aShape(head, initial: 0, local: Int(window)), MethodRun())
    }
    let knob = Knob("local", "", 1...1 << 30, standard: 64, step: .multiply(2)).facts
    var search = try #require(KnobSearch(knob, target: target, keys: 512))
    while let x = search.next {
      let tiles = try kept(x)
      search.take(tiles.density, tiles)
    }
    let best = try #require(search.best)
    #expect(try kept(best.value + 1).density > best.density, "\(best.value) is not the end")
  }

  @Test func entriesCanBeTheBudget() throws {
    let head = Self.head(256)
    func kept(_ count: Double) throws -> KeptTiles {
      try KeptTiles(head, Shapes.aShape(head, initial: 0, local: Int(count)), MethodRun())
    }
    let knob = Knob("local", "", 1...1 << 30, standard: 64, step: .multiply(2)).facts
    var search = try #require(KnobSearch(knob, target: 0.1, keys: 256))
    while let x = search.next {
      let tiles = try kept(x)
      search.take(tiles.entryDensity, tiles)
    }
    let best = try #require(search.best)
    #expect(abs(best.kept.entryDensity - 0.1) < 0.005 && best.kept.density > 0.3)
  }

  @Test func whatIsOutOfReachGivesTheNearest() throws {
    let knob = Knob("k", "", 1...100, standard: 10).facts
    var search = try #require(KnobSearch(knob, target: 0.05, keys: 50))
    while let k = search.next { search.take(0.2 + k / 1000) }
    #expect(search.best?.value == 1 && search.tries == 3)
    #expect(KnobSearch(Knob("w", "", standard: true).facts, target: 0.1, keys: 9) == nil)
  }

  @Test(arguments: [64, 150, 200]) func tilesAreThoseOfTheNumbers(_ n: Int) throws {
    let head = Self.head(n)
    for set in [
      Shapes.aShape(head, initial: 3, local: 9), Shapes.blockSparse(head, size: 16, count: 2),
    ] {
      let tiles = try KeptTiles(head, set, MethodRun())
      let numbers = try MaskNumbers(head, set, MethodRun())
      #expect(tiles.density == numbers.tileDensity)
    }
  }

  @Test func aHeldPatternHasTheSameBits() {
    let head = Self.head(150)
    let rows = PatternRows(head), held = PatternRows(head).held()
    var one: [[Float]] = [], two: [[Float]] = []
    rows.withRows(3..<150) { _, p, lse in one.append(Array(p) + [Float(lse)]) }
    held.withRows(3..<150) { _, p, lse in two.append(Array(p) + [Float(lse)]) }
    #expect(one == two)
    #expect(rows.bestMasses(row: 3) == nil)
    // The best choice of any number of keys, against a sort.
    for row in [0, 3, 149] {
      let best = held.bestMasses(row: row).map { Array($0) }
      var sum = 0.0
      let sums =
        one.indices.contains(row - 3)
        ? one[row - 3].prefix(row + 1).sorted(by: >).map { value -> Double in
          sum += Double(value)
          return sum
        } : nil
      #expect(best?.count == row + 1)
      if let sums { #expect(best == sums) }
    }
  }

  /// Numbers of a mask are the same whether the pattern is held for many methods or not.
  @Test func aHeldPatternGivesTheSameNumbers() throws {
    let head = Self.head(150), set = Shapes.blockSparse(head, size: 16, count: 2)
    var shared = MethodRun()
    let held = PatternRows(head).held()
    shared.pattern = { _ in held }
    let one = try MaskNumbers(head, set, MethodRun()), two = try MaskNumbers(head, set, shared)
    #expect(one.recallMean == two.recallMean && one.density == two.density)
    #expect(one.oracleGap > 0.01 && one.oracleGap == two.oracleGap)
  }

  @Test func overlapIsIntersectionOverUnion() {
    let head = Self.head(70)
    func bits(_ local: Int) -> KeptBits {
      KeptBits(
        KeptField(Shapes.aShape(head, initial: 0, local: local), head.visibility), isLong: false)
    }
    // Rows keep min(i + 1, w) keys: windows of 2 and 5 share the smaller one.
    let small = (0..<70).reduce(0) { $0 + min($1 + 1, 2) }
    let large = (0..<70).reduce(0) { $0 + min($1 + 1, 5) }
    let values = Overlap.masks([bits(2), bits(5)])
    #expect(values == [1, Float(Double(small) / Double(large)), values[1], 1])
    // A window of 5: of the keys that both rows see, neighbours share 4 of 5, and from 5 on none.
    let steps = Overlap.steps(bits(5))
    #expect(abs(steps[40 * 70 + 41] - 0.8) < 1e-6 && steps[41 * 70 + 40] == steps[40 * 70 + 41])
    #expect(steps[40 * 70 + 45] == 0 && steps[40 * 70 + 40] == 1)
  }

  @Test func aWindowNeedsItsOwnKeysAlone() throws {
    let head = Self.head(60)
    let field = KeptField(Shapes.aShape(head, initial: 0, local: 4), head.visibility)
    let set = try WorkingSet(field)
    #expect(set.reads == (0..<60).reduce(0) { $0 + min($1 + 1, 4) })
    // Every key was made in the buffer before it is read, and three others come between.
    #expect(set.hitRate(60) == 1 && set.hitRate(4) == 1 && set.hitRate(0) == 0)
    #expect(try #require(set.hitRate(2)) < 0.6 && set.size(for: 1) == 4)
  }

  /// The stack distances against a buffer that is kept as a list.
  @Test(arguments: [1, 3, 8, 20, 50]) func hitsAreThoseOfABuffer(_ size: Int) throws {
    let head = Self.head(90, seed: 11)
    let field = KeptField(Shapes.blockSparse(head, size: 8, count: 3), head.visibility)
    var buffer: [Int] = [], hits = 0, reads = 0
    func touch(_ key: Int) -> Bool {
      let at = buffer.firstIndex(of: key)
      if let at { buffer.remove(at: at) }
      buffer.append(key)
      if buffer.count > size { buffer.removeFirst() }
      return at != nil
    }
    for row in 0..<90 {
      _ = touch(row)
      for (key, flag) in field.set.row(row, field.visibility).enumerated() where flag != 0 {
        reads += 1
        if touch(key) { hits += 1 }
      }
    }
    let set = try WorkingSet(field)
    #expect(set.reads == reads && set.hitRate(size) == Double(hits) / Double(reads))
  }

  @Test func layersTakeTheBestEarlierDonor() throws {
    let recall: [Float] = [1, 0.96, 0.5, 0.4, 0, 1, 0.99, 0.2, 0, 0, 0.9, 0.97, 0, 0, 0, 1]
    // 1 takes 0's; 2 may not take 1's, which is no donor, and makes its own; 3 takes that.
    #expect(DonorLayers(recall: recall, target: 0.95).donors == [0, 0, 2, 2])
    #expect(DonorLayers(recall: recall, target: 0.999).donors == [0, 1, 2, 3])
    let head = Self.head(80)
    let all = Shapes.aShape(head, initial: 80, local: 1),
      few = Shapes.aShape(head, initial: 1, local: 5)
    let found = try DonorLayers.recall(of: head, on: [all, few], MethodRun())
    let numbers = try MaskNumbers(head, few, MethodRun())
    #expect(abs(found[0] - 1) < 1e-6 && abs(found[1] - numbers.recallMean) < 1e-9)
  }
}
