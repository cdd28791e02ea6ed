import Attention
import Glibc
import Support
import Synchronization
import Tensors
import Testing

/// Screening must not be seen: the same masks and the same outputs, to the bit, whatever the
/// numbers are.
@Suite struct ScreenTests {
  enum Numbers: String, CaseIterable {
    case plain, sink, outlierChannel, centred, tiny, huge, zeroRows, brokenKey, constant

    /// Keys that all share one large part, channels that dwarf the rest, rows of nothing, NaN.
    func group(_ random: inout Seeded, dim: Int) -> HeadGroup {
      let (queries, keys) = (100, 150)
      var q = (0..<queries * dim).map { _ in random.normal() }
      var k = (0..<keys * dim).map { _ in random.normal() }
      switch self {
      case .plain: break
      case .sink: for c in 0..<dim { k[c] = 4 * q[c] }
      case .outlierChannel:
        for i in 0..<queries { q[i * dim + 3] *= 40 }
        for j in 0..<keys { k[j * dim + 5] = 60 + random.normal() }
      case .centred: for j in 0..<keys { for c in 0..<dim { k[j * dim + c] += 9 } }
      case .tiny: k = k.map { $0 * 1e-20 }
      case .huge: k = k.map { $0 * 1e4 }
      case .zeroRows:
        for c in 0..<dim { (q[7 * dim + c], k[20 * dim + c], k[149 * dim + c]) = (0, 0, 0) }
      case .brokenKey: (k[60 * dim], k[90 * dim + 1]) = (.nan, .infinity)
      case .constant: k = k.map { _ in 0.25 }
      }
      // One direction that some keys share makes margins spread, so that much can be skipped.
      for j in 0..<keys where j % 16 < 2 { for c in 0..<dim { k[j * dim + c] *= 2 } }
      return HeadGroup([
        Head(
          query: Tensor(q, shape: [queries, dim]), key: Tensor(k, shape: [keys, dim]),
          value: random.tensor([keys, dim]), causal: true)
      ])
    }
  }

  private static let dims = [20, 64, 80, 96]

  @Test(arguments: Numbers.allCases, dims) func masksAndOutputsAreTheSameBits(
    _ numbers: Numbers, _ dim: Int
  ) throws {
    var random = Seeded(UInt64(dim) + 7)
    let group = numbers.group(&random, dim: dim)
    var decided = 0
    for isa in InstructionSet.allCases where isa.isAvailable {
      let pass = TilePass(group, keysPerTile: 16, withValues: true, precision: .float, isa: isa)
      let spec = TileSpec(rows: 16, keys: 16)
      // Thresholds right at margins that occur: the closest call there is.
      let table = try #require(pass.tables(spec))[0]
      let margins = table.margins.filter { $0 < 0 && $0 > -80 }.sorted()
      let close = [0.2, 0.5, 0.8].compactMap { share in
        margins.isEmpty ? nil : Double(margins[Int(Double(margins.count - 1) * share)])
      }
      for threshold in close + [-1e-3, -0.5, -3, -12] {
        let lambda = Double(exactly: threshold).map { exp($0) } ?? 1
        let selection = Selection.blasst(lambda: min(lambda, 1))
        let plain = try #require(pass.forward(spec, selection))[0]
        let screened = try #require(pass.forward(spec, selection, screen: .int8))[0]
        #expect(plain.mask == screened.mask, "\(isa.name), lambda \(lambda)")
        #expect(
          plain.values.map(\.bitPattern) == screened.values.map(\.bitPattern),
          "\(isa.name), lambda \(lambda)")
        decided += screened.decidedByBound
      }
    }
    if [.plain, .sink].contains(numbers) {
      #expect(decided > 0, "the bound never decided: nothing was tested")
    }
  }

  /// Decode rows over a growing cache: one row, and as many as vote together.
  @Test(arguments: [1, 3, 5, 8]) func decodeRowsAreTheSameBits(_ heads: Int) throws {
    let dim = 32
    var random = Seeded(77)
    let cache = KeyCache(dim: dim, valueDim: dim)
    let row = DecodeRow(heads: heads, dim: dim)
    var (plain, screened) = ([Float](repeating: 0, count: heads * dim), [Float]())
    screened = plain
    var decided = 0
    for step in 0..<300 {
      let scale: Float = step % 40 == 0 ? 2 : 0.6
      let key = (0..<dim).map { _ in random.normal() * scale }
      let value = (0..<dim).map { _ in random.normal() }
      cache.append(key: key, value: value)
      guard step % 7 == 0 else { continue }
      let query = (0..<heads * dim).map { _ in random.normal() * 2 }
      for vote in Vote.allCases {
        let spec = TileSpec(rows: 1, keys: 16, vote: vote)
        for lambda in [0.9, 0.1, 1e-3] {
          #expect(row.blasst(query, cache.snapshot, spec, lambda: lambda, into: &plain))
          let skipped = row.skipped
          #expect(
            row.blasst(
              query, cache.snapshot, spec, lambda: lambda, screen: .int8, into: &screened))
          #expect(row.skipped == skipped)
          #expect(plain.map(\.bitPattern) == screened.map(\.bitPattern))
          decided += Int(row.decidedByBound.reduce(0, +))
        }
      }
    }
    #expect(decided > 0, "the bound never decided: nothing was tested")
  }

  /// Readers attend to what they were given while the cache goes on growing under them, by keys
  /// that are ever larger: the bits are those of a cache of their own.
  @Test func decodingWhileTheCacheGrows() throws {
    let dim = 32, most = 400
    var random = Seeded(5)
    let keys = (0..<most).map { step -> [Float] in
      let size: Float = step % 50 == 0 ? 8 : Float(1 + step / 100)
      return (0..<dim).map { _ -> Float in random.normal() * size }
    }
    let query = (0..<2 * dim).map { _ -> Float in random.normal() }
    let shown = Mutex<CachedKeys?>(nil), wrong = Mutex<[Int]>([])
    let looks = Atomic<Int>(0), decided = Atomic<Int>(0)
    let begin = ContinuousClock.now
    ComputeThreads(count: 3).forEach(0..<3, isCancelled: { false }) { item in
      guard item > 0 else {
        let cache = KeyCache(dim: dim, valueDim: dim, capacity: 64)
        for key in keys {
          cache.append(key: key, value: key)
          let snapshot = cache.snapshot
          shown.withLock { $0 = snapshot }
          // The rest grows under a reader, not before one.
          while snapshot.count == 100, looks.load(ordering: .relaxed) == 0,
            ContinuousClock.now < begin + .seconds(30)
          {}
        }
        return
      }
      let own = KeyCache(dim: dim, valueDim: dim, capacity: 64)
      let row = DecodeRow(heads: 2, dim: dim), spec = TileSpec(rows: 1, keys: 16, vote: .group)
      var (one, other) = ([Float](repeating: 0, count: 2 * dim), [Float]())
      other = one
      let end = ContinuousClock.now + .seconds(60)
      var seen = 0
      while seen < most, ContinuousClock.now < end {
        guard let snapshot = shown.withLock({ $0 }) else { continue }
        seen = snapshot.count
        while own.count < seen { own.append(key: keys[own.count], value: keys[own.count]) }
        _ = row.blasst(query, snapshot, spec, lambda: 0.1, screen: .int8, into: &one)
        let skipped = row.skipped
        decided.add(Int(row.decidedByBound.reduce(0, +)), ordering: .relaxed)
        _ = row.blasst(query, own.snapshot, spec, lambda: 0.1, into: &other)
        if one.map(\.bitPattern) != other.map(\.bitPattern) || skipped != row.skipped {
          wrong.withLock { [seen] in $0.append(seen) }
        }
        if seen < most { looks.add(1, ordering: .relaxed) }
      }
    }
    #expect(wrong.withLock { $0 }.isEmpty)
    #expect(looks.load(ordering: .relaxed) > 0, "nobody looked while the cache grew")
    #expect(decided.load(ordering: .relaxed) > 0, "the bound never decided: nothing was tested")
  }

  /// Wider heads than the bound's kernels hold are decided by their scores alone, with the same
  /// results.
  @Test(arguments: [(1024, true), (1025, false), (1100, false)])
  func headsTooWideForTheBoundAreComputed(_ dim: Int, _ isScreened: Bool) throws {
    var random = Seeded(4)
    // Every query looks at the first key: the other blocks can be skipped.
    let q = (0..<32 * dim).map { _ in 1 + 0.1 * random.normal() }
    let k = (0..<64 * dim).map { $0 < dim ? 4 : 0.1 * random.normal() }
    let head = Head(
      query: Tensor(q, shape: [32, dim]), key: Tensor(k, shape: [64, dim]),
      value: random.tensor([64, 16]), causal: true, offset: 32)
    let pass = TilePass(HeadGroup([head]), keysPerTile: 16, withValues: true, precision: .float)
    let spec = TileSpec(rows: 16, keys: 16)
    let plain = try #require(pass.forward(spec, .blasst(lambda: 0.5)))[0]
    let screened = try #require(pass.forward(spec, .blasst(lambda: 0.5), screen: .int8))[0]
    #expect(plain.mask.verdicts.contains(.skipped))
    #expect(plain.mask == screened.mask)
    #expect(plain.values.map(\.bitPattern) == screened.values.map(\.bitPattern))
    #expect((screened.decidedByBound > 0) == isScreened, "\(screened.decidedByBound)")
  }
}
