import Attention
import Foundation
import Methods
import Support
import Tensors
import Testing

/// Searches of cards S3, S4 and S23: their checks, and each against a second computation.
@Suite struct SearchTests {
  private static func examine(_ setting: String, _ head: Head) throws -> Findings {
    try Registry.standard.make(MethodSetting(parsing: setting)).examine(Subject(head), MethodRun())
  }

  private static func kept(_ findings: Findings, _ row: Int) throws -> [Int] {
    let flags = try #require(findings.field("kept")).field.row(row)
    return flags.indices.filter { flags[$0] == 1 }
  }

  private static func dot(_ a: [Double], _ b: [Double]) -> Double {
    zip(a, b).reduce(0) { $0 + $1.0 * $1.1 }
  }

  // MARK: MInference

  /// Check 3 of card S1: a planted column and a planted diagonal are what the online search adds to
  /// the forced ones.
  @Test func plantedLinesAreTheOnesChosen() throws {
    let n = 512
    var logits = [Float](repeating: 0, count: n * n)
    for i in 0..<n {
      if i >= 200 { logits[i * n + 200] = 8 }
      if i >= 150 { logits[i * n + i - 150] = 8 }
    }
    let head = Head(scores: Tensor(logits, shape: [n, n]), causal: true)
    let found = try Self.examine("minference-vs:v=31,s=101", head)
    for i in [20, 300, 511] {
      let wanted = (0...i).filter { $0 < 30 || $0 == 200 || i - $0 < 100 || i - $0 == 150 }
      #expect(try Self.kept(found, i) == wanted, "query \(i)")
    }
    #expect(abs((found["density"]?.number ?? 0) - 0.447) < 5e-4)
    #expect(abs((found["recall_mean"]?.number ?? 0) - 0.974) < 5e-4)
    #expect(found["columns_kept"]?.number == 31 && found["offsets_kept"]?.number == 101)
    guard
      case .series(_, let slashes, _)? = found.all.first(where: { $0.name == "offsets" })?.content
    else { throw Missing(.queryKey) }
    #expect(abs(slashes[150] - 29.6) < 0.05 && abs(slashes.reduce(0, +) - 64) < 1e-3)
    let origin = try #require(found.field("origin")).field.row(350)
    #expect(origin[200] == 3 && origin[10] == 1 && origin[300] == 2 && origin[120] == 0)
    #expect(origin[351].isNaN)
  }

  /// Check 4: a column that the last 64 rows do not look at is missed.
  @Test func aColumnThatIsNotSeenAtTheEndIsMissed() throws {
    let n = 512
    var logits = [Float](repeating: 0, count: n * n)
    for i in 200..<400 { logits[i * n + 200] = 8 }
    let head = Head(scores: Tensor(logits, shape: [n, n]), causal: true)
    let found = try Self.examine("minference-vs:v=31,s=101", head)
    #expect(try !Self.kept(found, 390).contains(200))
  }

  /// The kernel's cover, walked key by key.
  @Test(arguments: PackTests.cases.filter(\.causal)) func theKernelsCover(_ input: PackTests.Case)
    throws
  {
    let knobs = "v=6,s=9,forced_v=2,forced_s=3,floor_v=1,floor_s=1,L=16"
    let entries = try Self.examine("minference-vs:\(knobs)", input.head)
    let kernel = try Self.examine("minference-vs-kernel:\(knobs),block=8", input.head)
    // Columns and diagonals, read off what each entry was chosen by in the row that sees most.
    let origin = try #require(entries.field("origin")).field.row(input.queries - 1)
    let columns = origin.indices.filter { Int(origin[$0]) & 1 == 1 }
    let offsets = origin.indices.filter { Int(origin[$0]) & 2 == 2 }.map { input.keys - 1 - $0 }
    for start in stride(from: 0, to: input.queries, by: 8) {
      let m0 = input.position(start)
      var covered = Set(columns), from = -1, to = -1
      for offset in offsets.sorted(by: >) where offset < m0 + 8 {
        let end = max(m0 + 8 - offset, 8)
        if to < 0 || end > to + 8 {
          covered.formUnion(max(from, 0)..<max(to, 0))
          (from, to) = (end - 8, end)
        } else if end > to {
          to += 8
        }
      }
      covered.formUnion(max(from, 0)..<max(to, 0))
      for i in start..<min(start + 8, input.queries) {
        let wanted = covered.filter { $0 < input.limit(i) }.sorted()
        #expect(try Self.kept(kernel, i) == wanted, "\(input), query \(i)")
        #expect(Set(wanted).isSuperset(of: try Self.kept(entries, i)))
      }
    }
  }

  // MARK: HiP

  /// Sixteen keys of width 1, of which some are 1, and queries of 1: checks 3 and 4 of the card.
  @Test(arguments: [
    (Array(8...11), [8, 9, 10, 11]), ([8], [0, 1, 2, 8]), ([11], [0, 1, 2, 3]),
  ]) func hipFindsWhatStandsInFront(_ needles: [Int], _ wanted: [Int]) throws {
    let head = Head(
      query: Tensor([Float](repeating: 1, count: 16), shape: [16, 1]),
      key: Tensor((0..<16).map { needles.contains($0) ? 1 : 0 }, shape: [16, 1]), value: nil,
      causal: true)
    let found = try Self.examine("hip:mask_k=4,bq=1,bk=1,window=0", head)
    #expect(try Self.kept(found, 15) == wanted)
    #expect(found["rounds"]?.number == 2)
    guard
      case .spans(let spans, let lanes, _)? = found.all.first(where: { $0.name == "search" })?
        .content
    else { throw Missing(.queryKey) }
    // Four of eight halves stay in every round, and they do not overlap.
    for lane in 0..<lanes.count {
      let staying = spans.filter { $0.lane == lane && $0.key == 1 }
      #expect(staying.count == 4 && spans.filter { $0.lane == lane }.count == 8)
      #expect(
        Set(staying.flatMap { Int($0.from)..<Int($0.to) }).count
          == staying.reduce(0) { $0 + Int($1.to - $1.from) })
    }
  }

  /// The same search with lists of keys instead of ranges of blocks.
  @Test(arguments: PackTests.cases.filter(\.causal)) func hipAgain(_ input: PackTests.Case) throws {
    let (budget, tall, wide, window) = (8, 4, 2, 3)
    let found = try Self.examine("hip:mask_k=8,bq=4,bk=2,window=3", input.head)
    let q = input.q, k = input.k
    for start in stride(from: 0, to: input.queries, by: tall) {
      let rows = Array(start..<min(start + tall, input.queries))
      let end = input.position(rows.last ?? 0) + 1, prefix = max(0, end - window)
      var chosen = Set(prefix..<end)
      if prefix <= budget {
        chosen.formUnion(0..<prefix)
      } else {
        let blocks = (prefix + wide - 1) / wide, groups = budget / wide
        var parts = (0..<groups).map { Array($0 * blocks / groups..<($0 + 1) * blocks / groups) }
        while parts.contains(where: { $0.count > 1 }) {
          let halves = parts.flatMap { part in
            part.count > 1
              ? [Array(part[..<(part.count / 2)]), Array(part[(part.count / 2)...])] : [part]
          }
          let scores = halves.map { half in
            rows.flatMap { i in
              (half[0] * wide..<min(half[0] * wide + wide, prefix)).map { Self.dot(q[i], k[$0]) }
            }.max() ?? 0
          }
          let best = halves.indices.sorted { (-scores[$0], $0) < (-scores[$1], $1) }.prefix(groups)
          parts = best.sorted().map { halves[$0] }
        }
        for block in parts.flatMap({ $0 }) {
          chosen.formUnion(block * wide..<min(block * wide + wide, prefix))
        }
      }
      for i in rows {
        #expect(
          try Self.kept(found, i) == chosen.filter { $0 < input.limit(i) }.sorted(),
          "\(input), query \(i)")
      }
    }
  }

  // MARK: STILL

  /// Numbers of the card's checks 2 and 3.
  @Test func stillsSaliencyIsTheCards() {
    for (p, wanted) in [(0.1, 1.5170), (0.5, 8.5172), (0.9, 16.2535)] {
      #expect(abs(STILL.saliency(of: p, window: 64, isPaper: true) - wanted) < 1e-3)
    }
    #expect(abs(STILL.saliency(of: 0.5, window: 64, isPaper: false) - 1.4018) < 1e-4)
    #expect(abs(STILL.saliency(of: 1 / 65, window: 64, isPaper: false)) < 1e-4)
    #expect(abs(STILL.saliency(of: 1, window: 64, isPaper: false) - log(65)) < 1e-9)
    #expect(abs(STILL.saliency(of: 1, window: 64, isPaper: true) - 18.42) < 1e-2)
  }

  @Test func stillRoutesByTheCard() throws {
    let input = PackTests.cases[0], s = input.scores
    let found = try Self.examine("still:W=8,chunk=8,ratio=0.25,variant=paper", input.head)
    let saliency = (0..<64).map { t -> Double in
      let row = (max(0, t - 7)...t).map { s[t][$0] }, top = row.max() ?? 0
      let p = exp(s[t][t] - top) / row.reduce(0) { $0 + exp($1 - top) }
      // From the definition: what the window's weights are worth with and without the token itself.
      let others = row.dropLast().map { exp($0 - top) }, rest = others.reduce(0, +)
      let e = 1e-8
      var sum = p * log((p + e) / e)
      for x in others { sum += x * (1 - p) / rest * log((x * (1 - p) / rest + e) / (x / rest + e)) }
      return sum
    }
    for i in 0..<64 {
      let c = i / 8
      let salient = (0..<max(0, c - 1)).flatMap { chunk in
        (chunk * 8..<chunk * 8 + 8).sorted { (-saliency[$0], $0) < (-saliency[$1], $1) }.prefix(2)
      }
      #expect(try Self.kept(found, i) == (salient + Array(max(0, (c - 1) * 8)...i)).sorted())
    }
    #expect(abs((found["salient_share"]?.number ?? 0) - 0.25) < 1e-9)
  }

  // MARK: SALE

  /// The card's theorem: with true scores nothing of weight theta or more is dropped, on many
  /// heads.
  @Test(arguments: [0.02, 0.6], [UInt64(21), 22, 23]) func saleIsSafeWhenExact(
    _ theta: Double, _ seed: UInt64
  ) throws {
    let input = PackTests.Case(seed: seed, queries: 200, keys: 200, causal: true)
    let found = try Self.examine(
      "sale-exact:theta=\(theta),bq=16,bk=8,local=16,seg=16,fallback=false", input.head)
    let a = input.dense
    var dropped = 0
    for i in 0..<200 {
      let kept = Set(try Self.kept(found, i))
      for j in 0...i where !kept.contains(j) {
        dropped += 1
        #expect(a[i][j] < theta, "query \(i), key \(j): \(a[i][j])")
      }
    }
    // The theorem would hold for a mask that keeps all.
    if theta == 0.6 { #expect(dropped > 1000) }
    #expect(found["false_drops"]?.number == 0)
    #expect(abs((found["correlation"]?.number ?? 0) - 1) < 1e-9)
  }

  /// Every tile again, from the words of the card, with 4 bits a token and a warp.
  @Test(arguments: ["token", "warp"]) func saleByItsRounding(_ mode: String) throws {
    let input = PackTests.Case(seed: 31, queries: 96, keys: 96, causal: true)
    let n = 96, d = input.d, theta = 0.4, scale = 1 / Double(d).squareRoot()
    let found = try Self.examine(
      "sale-\(mode):theta=0.4,bq=16,bk=8,local=16,seg=16,fallback=false", input.head)
    func mean(_ x: [[Double]]) -> [Double] {
      (0..<d).map { c in x.reduce(0) { $0 + $1[c] } / Double(n) }
    }
    let q = input.q, k = input.k, meanQ = mean(q), meanK = mean(k)
    func less(_ x: [[Double]], _ m: [Double]) -> [[Double]] { x.map { zip($0, m).map { $0 - $1 } } }
    let q0 = less(q, meanQ), k0 = less(k, meanK)
    func step(_ x: [[Double]], _ rows: [Int]) -> Double {
      (rows.flatMap { x[$0].map(abs) }.max() ?? 0) / 7
    }
    func steps(_ x: [[Double]], _ mates: (Int) -> [Int]) -> [Double] {
      (0..<n).map { step(x, mode == "token" ? [$0] : mates($0)) }
    }
    let stepQ = steps(q0) { i in [i / 16 * 16 + i % 8, i / 16 * 16 + i % 8 + 8] }
    let stepK = steps(k0) { j in
      (0..<n).filter { $0 / 32 == j / 32 && $0 % 8 / 2 == j % 8 / 2 }
    }
    func whole(_ x: Double) -> Double { x.rounded(.toNearestOrEven) }
    func estimate(_ i: Int, _ j: Int) -> Double {
      var sum = 0.0
      for c in 0..<d {
        let x: Double = whole(q0[i][c] / stepQ[i])
        let y: Double = whole(k0[j][c] / stepK[j])
        sum += x * y
      }
      let unit: Double = stepQ[i] * stepK[j]
      let more: Double = Self.dot(meanQ, k0[j])
      if mode == "token" { return (unit * sum + more) * scale }
      return unit * (sum + whole(more / unit)) * scale
    }
    var dropped = 0
    for a in 0..<6 {
      let seen = min(n, (a + 1) * 16) / 8
      var local = min(2, seen)
      while seen - 1 - local > 0, (seen - 1 - local) % 2 != 0 { local += 1 }
      let first = seen - local
      var kept = Set([0] + Array(first..<seen))
      for i in a * 16..<a * 16 + 16 {
        let near = Array(0..<8) + Array(min(first * 8, i + 1)...i)
        // Both sides without q . mean(k), which the estimate lacks.
        let scores: [Double] = near.map { Self.dot(q[i], k0[$0]) * scale }
        let top: Double = scores.max() ?? 0
        var sum = 0.0
        for score in scores { sum += exp(score - top) }
        let bound: Double = top + log(theta * sum)
        for j in 0..<max(0, first * 8) where estimate(i, j) >= bound { kept.insert(j / 8) }
      }
      for i in a * 16..<a * 16 + 16 {
        #expect(
          try Self.kept(found, i) == (0...i).filter { kept.contains($0 / 8) }, "\(mode), query \(i)"
        )
      }
      dropped += seen - kept.count
    }
    #expect(dropped > 5)
  }

  /// The local part of the standard setting: query blocks of 64, key blocks of 32, four at least.
  @Test func saleCountsLocalBlocks() throws {
    let n = 512
    let head = Head(
      query: Tensor([Float](repeating: 0, count: n), shape: [n, 1]),
      key: Tensor((0..<n).map { $0 == 0 ? 1 : 0 }, shape: [n, 1]), value: nil, causal: true)
    // Equal scores: with theta = 1 nothing between sink and local is kept, and what is kept counts
    // the local part.
    let found = try Self.examine(
      "sale-exact:theta=1,bq=64,bk=32,local=128,seg=128,fallback=false", head)
    let counts = try (0..<8).map { a -> Int in
      let kept = try Self.kept(found, a * 64 + 63), blocks = Set(kept.map { $0 / 32 })
      return blocks.count - (blocks.count == (a + 1) * 2 ? 0 : 1)
    }
    // Where nothing is left between, the sink is counted with the local part: 5 and 7 of the card
    // are 6 and 8 here.
    #expect(counts == [2, 4, 6, 8, 5, 7, 5, 7])
  }
}
