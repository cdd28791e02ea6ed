import Attention
import Foundation
import Methods
import Support
import Tensors
import Testing

/// The checks of card S5, and its masks against a second computation.
@Suite struct DHSATests {
  private static func examine(_ setting: String, _ heads: [Head], focus: Int = 0) throws -> Findings
  {
    try Registry.standard.make(MethodSetting(parsing: setting)).examine(
      Subject(layers: [heads], focus: (0, focus)), MethodRun())
  }

  private static func kept(_ findings: Findings) throws -> [[Bool]] {
    let field = try #require(findings.field("kept")).field
    return try (0..<field.rows.count).map { try field.row($0).map { $0 == 1 } }
  }

  private static func chunks(_ findings: Findings) throws -> [Range<Int>] {
    guard case .spans(let spans, _, _)? = findings["chunks"]?.content else {
      throw Missing(.queryKey)
    }
    return spans.map { Int($0.from)..<Int($0.to) }
  }

  /// A causal head whose logits a rule gives: keys are unit vectors.
  private static func head(_ n: Int, _ logit: (Int, Int) -> Float) -> Head {
    Head(
      query: Tensor((0..<n * n).map { logit($0 / n, $0 % n) }, shape: [n, n]),
      key: Tensor((0..<n * n).map { $0 / n == $0 % n ? 1 : 0 }, shape: [n, n]), value: nil,
      causal: true, scale: 1)
  }

  private static func dot(_ a: [Double], _ b: [Double]) -> Double {
    zip(a, b).reduce(0) { $0 + $1.0 * $1.1 }
  }

  private static func mean(_ rows: [[[Double]]]) -> [[Double]] {
    rows[0].indices.map { i in
      rows[0][i].indices.map { c in
        rows.reduce(0) { $0 + $1[i][c] } / Double(rows.count)
      }
    }
  }

  /// √l mean of some rows.
  private static func pooled(_ rows: [[Double]], _ range: Range<Int>) -> [Double] {
    rows[0].indices.map { c in
      range.reduce(0) { $0 + rows[$1][c] } / Double(range.count) * Double(range.count).squareRoot()
    }
  }

  // MARK: Checks

  @Test(arguments: [true, false]) func aBudgetOfAllIsDense(_ causal: Bool) throws {
    let input = PackTests.Case(seed: 5, queries: 70, keys: 70, causal: causal)
    let found = try Self.examine("dhsa:budget=70,block=16,local=16", [input.head])
    #expect(found["density"]?.number == 1)
    #expect((found["error"]?.number ?? 1) < 1e-5)
    #expect(found["agreement_fixed"]?.number == 1 && found["recall_gain"]?.number == 0)
  }

  @Test func chunksOfOneTokenAreTheBestTokens() throws {
    let input = PackTests.Case(seed: 6, queries: 64, keys: 64, causal: true)
    let got = try Self.kept(
      try Self.examine("dhsa:budget=12,block=8,local=8,fixed=1", [input.head]))
    let q = input.q, k = input.k
    for a in 0..<8 {
      let mean = Self.pooled(q, a * 8..<a * 8 + 8)
      let best = (0..<a * 8).sorted { (-Self.dot(mean, k[$0]), $0) < (-Self.dot(mean, k[$1]), $1) }
        .prefix(4)
      for i in a * 8..<a * 8 + 8 {
        for j in 0..<64 {
          let wanted = j <= i && (j >= a * 8 || best.contains(j))
          #expect(got[i][j] == wanted, "query \(i), key \(j)")
        }
      }
    }
  }

  /// Check 3: four keys (1, 2) are one of (2, 4), as the score of a query of (1, 0) and of (0, 1)
  /// says.
  @Test(arguments: [0, 1]) func lengthCountsByItsRoot(_ channel: Int) throws {
    let query: [Float] = channel == 0 ? [1, 0] : [0, 1], wanted: Float = channel == 0 ? 2 : 4
    let head = Head(
      query: Tensor(query, shape: [1, 2]), key: Tensor([1, 2, 1, 2, 1, 2, 1, 2], shape: [4, 2]),
      value: nil, causal: true)
    let found = try Self.examine("dhsa:budget=4,block=2,local=2,fixed=4", [head])
    let scores = try #require(found.field("chunk_scores")).field.row(0)
    #expect(scores == [wanted, wanted, wanted, wanted])
  }

  @Test func twoBlocksHaveOneBoundary() throws {
    let two = Self.head(128) { $0 / 64 == $1 / 64 ? 10 : 0 }
    let found = try Self.examine("dhsa:budget=32,block=16,local=16", [two])
    #expect(try Self.chunks(found) == [0..<64, 64..<128])
    #expect(found["chunk_count"]?.number == 2 && found["chunk_median"]?.number == 64)
    let ratios = try #require(found.series("rho"))
    #expect(ratios.indices.filter { ratios[$0] > 1.1 }.contains(63))
    #expect(ratios.indices.max { ratios[$0] < ratios[$1] || ratios[$0].isNaN } == 63)
    #expect(ratios[6].isNaN && !ratios[7].isNaN && !ratios[119].isNaN && ratios[120].isNaN)
  }

  @Test func uniformMapsHaveNone() throws {
    let found = try Self.examine("dhsa:budget=32,block=16,local=16", [Self.head(128) { _, _ in 0 }])
    #expect(try Self.chunks(found) == [0..<128])
    for ratio in try #require(found.series("rho")) where !ratio.isNaN {
      #expect(abs(ratio - 1) < 1e-5)
    }
  }

  @Test func allHeadsOfALayerShareTheMask() throws {
    let heads = (0..<3).map {
      PackTests.Case(seed: 40 + UInt64($0), queries: 64, keys: 64, causal: true).head
    }
    let all = try (0..<3).map {
      try Self.kept(try Self.examine("dhsa:budget=24,block=8,local=8", heads, focus: $0))
    }
    #expect(all[0] == all[1] && all[1] == all[2])
    let alone = try Self.kept(try Self.examine("dhsa:budget=24,block=8,local=8", [heads[1]]))
    #expect(alone != all[1])
  }

  @Test func rowsThatWouldKeepNothingKeepThemselves() throws {
    let input = PackTests.Case(seed: 8, queries: 32, keys: 32, causal: true)
    let got = try Self.kept(try Self.examine("dhsa:budget=2,block=8,local=2", [input.head]))
    for i in 0..<32 {
      let wanted = i % 8 < 6 ? [i] : Array(i / 8 * 8 + 6...i)
      #expect(got[i].indices.filter { got[i][$0] } == wanted, "query \(i)")
    }
  }

  // MARK: Again

  /// Boundaries and choices by the words of the card, token by token, over two heads.
  @Test(
    arguments: [(64, 64, true), (77, 77, true), (50, 50, false), (37, 61, true)], [24, 40]
  ) func byTheCard(_ sides: (Int, Int, Bool), _ budget: Int) throws {
    let inputs = [UInt64(61), 62].map {
      PackTests.Case(seed: $0, queries: sides.0, keys: sides.1, causal: sides.2)
    }
    let n = sides.1, w = 4, block = 16, local = 16, offset = n - sides.0
    let found = try Self.examine(
      "dhsa:budget=\(budget),block=16,local=16", inputs.map(\.head), focus: 1)
    let a = Self.mean(inputs.map(\.dense))
    var ratios: [Int: Double] = [:]
    for c in 2 * w - 1..<n - 2 * w {
      var past = 0.0, future = 0.0
      for i in a.indices where i + offset >= c + w {
        past += a[i][c - w + 1...c].reduce(0, +)
        future += a[i][c + 1...c + w].reduce(0, +)
      }
      ratios[c] = (max(past, future) + 1e-6) / (min(past, future) + 1e-6)
    }
    var taken: [Int] = []
    for (c, ratio) in ratios.sorted(by: { ($1.value, $0.key) < ($0.value, $1.key) })
    where ratio > 1.1 && taken.count < n / block {
      if taken.allSatisfy({ abs($0 - c) > 8 }) { taken.append(c) }
    }
    let starts = [0] + taken.sorted().map { $0 + 1 }, ends = starts.dropFirst() + [n]
    let chunks = zip(starts, ends).map { $0..<$1 }
    #expect(try Self.chunks(found) == chunks)
    let q = Self.mean(inputs.map(\.q)), k = Self.mean(inputs.map(\.k)), got = try Self.kept(found)
    for start in stride(from: 0, to: sides.0, by: block) {
      let rows = start..<min(start + block, sides.0), e = rows.upperBound + offset
      let mean = Self.pooled(q, rows)
      let scores = chunks.flatMap { chunk in
        [Double](repeating: Self.dot(mean, Self.pooled(k, chunk)), count: chunk.count)
      }
      let others = (0..<(sides.2 ? e : n)).filter { $0 < e - local || $0 >= e }
      let best = Set(
        others.sorted { (-scores[$0], $0) < (-scores[$1], $1) }.prefix(budget - local))
      for i in rows {
        for j in 0..<n {
          let wanted = j < inputs[0].limit(i) && ((e - local..<e).contains(j) || best.contains(j))
          #expect(got[i][j] == wanted, "query \(i), key \(j)")
        }
      }
    }
  }
}
