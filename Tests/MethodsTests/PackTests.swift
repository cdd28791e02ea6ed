import Attention
import Foundation
import Methods
import Support
import Tensors
import Testing

/// The masks that people expect, each against a second computation in double precision by the words
/// of its paper. Kept sets must be equal wherever no decision lies within a hair of its threshold,
/// which these inputs see to.
@Suite struct PackTests {
  /// A head and its rows in double precision.
  struct Case: Sendable, CustomStringConvertible {
    let seed: UInt64
    let queries: Int
    let keys: Int
    let causal: Bool
    var d: Int { 8 }

    var description: String { "\(queries)x\(keys) \(causal ? "causal" : "bidirectional")" }

    private func draw(_ rows: Int, _ salt: UInt64) -> [[Double]] {
      var random = Seeded(seed &+ salt)
      return (0..<rows).map { _ in
        (0..<d).map { _ in Double(Float(Double.random(in: -1...1, using: &random) * 1.5)) }
      }
    }
    var q: [[Double]] { draw(queries, 1) }
    var k: [[Double]] { draw(keys, 2) }

    var head: Head {
      Head(
        query: Tensor(q.flatMap { $0.map(Float.init) }, shape: [queries, d]),
        key: Tensor(k.flatMap { $0.map(Float.init) }, shape: [keys, d]),
        value: Tensor(draw(keys, 3).flatMap { $0.map(Float.init) }, shape: [keys, d]),
        causal: causal)
    }

    /// How many keys a row sees, and where it stands.
    func limit(_ i: Int) -> Int { causal ? min(keys, i + keys - queries + 1) : keys }
    func position(_ i: Int) -> Int { i + keys - queries }

    var scores: [[Double]] {
      let k = k
      return q.map { a in
        k.map { b in zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } / Double(d).squareRoot() }
      }
    }

    var dense: [[Double]] {
      scores.enumerated().map { i, row in
        let seen = row.prefix(limit(i)), top = seen.max() ?? 0
        let e = seen.map { exp($0 - top) }, sum = e.reduce(0, +)
        return e.map { $0 / sum } + [Double](repeating: 0, count: keys - limit(i))
      }
    }
  }

  static let cases = [
    Case(seed: 1, queries: 64, keys: 64, causal: true),
    Case(seed: 2, queries: 50, keys: 50, causal: false),
    Case(seed: 3, queries: 37, keys: 61, causal: true),
    Case(seed: 4, queries: 1, keys: 53, causal: true),
  ]

  private static func kept(_ setting: String, _ input: Case, _ tokens: TokenFacts = .init()) throws
    -> [[Bool]]
  {
    let method = try Registry.standard.make(MethodSetting(parsing: setting))
    let found = try method.examine(
      Subject(input.head, tokens: tokens), MethodRun(wantsNumbers: false))
    let field = try #require(found.field("kept")).field
    return try (0..<input.queries).map { try field.row($0).map { $0 == 1 } }
  }

  private static func compare(
    _ setting: String, _ input: Case, _ wanted: (Int, Int) -> Bool
  ) throws {
    let got = try kept(setting, input)
    for i in 0..<input.queries {
      for j in 0..<input.keys {
        let should = j < input.limit(i) && wanted(i, j)
        #expect(got[i][j] == should, "\(setting), \(input), query \(i), key \(j)")
      }
    }
  }

  /// Positions of the `count` largest, ties to the lower.
  private static func top(_ count: Int, _ values: [Double]) -> Set<Int> {
    Set(
      values.indices.sorted { (-values[$0], $0) < (-values[$1], $1) }.prefix(count))
  }

  private static func untilMass(_ share: Double, _ values: [Double]) -> Set<Int> {
    let order = values.indices.sorted { (-values[$0], $0) < (-values[$1], $1) }
    let total = values.reduce(0, +)
    var sum = 0.0, chosen: Set<Int> = []
    for index in order where chosen.isEmpty || sum < share * total {
      sum += values[index]
      chosen.insert(index)
    }
    return chosen
  }

  // MARK: Edges

  /// Sides that do not divide each other, more queries than keys, windows shorter than a block:
  /// nothing traps, nothing unseen is kept, and every row that sees a key keeps one.
  @Test(arguments: [(64, 64), (70, 41), (9, 100), (1, 3)], [true, false])
  func everyRowKeepsSomething(_ sides: (Int, Int), _ causal: Bool) throws {
    let input = Case(seed: 77, queries: sides.0, keys: sides.1, causal: causal)
    let settings = [
      "xattention:block=10,stride=4", "xattention:block=24,stride=16", "xattention:threshold=0",
      "hip:window=0,bq=32,mask_k=2,bk=2", "hip:window=5,bq=7,mask_k=3,bk=4",
      "spargeattn:tau=0.1,theta=-1,query_block=16,block=8", "moba:k=1,block=7",
      "quest:pages=1,page=7", "natten:window=1", "natten:window=5,stride=3,dilation=2",
      "window:window=1", "top-k:k=1", "top-p:p=0", "block-top-k:k=1,block=9", "block-top-p:p=0",
      "seer-oracle:threshold=1,block=9", "h2o:cache=1", "tova:cache=1", "key-norm:cache=1",
      "keydiff:cache=1", "snapkv:cache=1,window=1", "still:chunk=8,window=4,ratio=0",
      "sale:bq=16,bk=8,local=8,seg=8,theta=1,fallback=false",
      "duoattention:sinks=0,window=1073741824", "minference-vs-kernel:v=1,s=1,block=7",
    ]
    for setting in settings {
      let rows = try Self.kept(setting, input)
      for i in 0..<input.queries {
        let limit = max(0, input.limit(i)), held = rows[i].indices.filter { rows[i][$0] }
        #expect(held.allSatisfy { $0 < limit }, "\(setting), \(input), query \(i)")
        #expect(limit == 0 || !held.isEmpty, "\(setting), \(input), query \(i) keeps nothing")
      }
    }
  }

  // MARK: Windows

  @Test(arguments: cases) func windows(_ input: Case) throws {
    let p = input.position
    try Self.compare("window:window=7", input) { i, j in
      input.causal ? p(i) - j < 7 : abs(p(i) - j) < 7
    }
    try Self.compare("sink-window:sinks=3,window=5", input) { i, j in
      j < 3 || (input.causal ? p(i) - j < 5 : abs(p(i) - j) < 5)
    }
    try Self.compare("tri-shape:initial=2,local=4,last=6", input) { i, j in
      j < 2 || abs(p(i) - j) < 4 || i >= input.queries - 6
    }
    try Self.compare("dilated:window=4,dilation=3,sinks=1", input) { i, j in
      j < 1 || (abs(p(i) - j) % 3 == 0 && abs(p(i) - j) / 3 < 4)
    }
  }

  // MARK: NATTEN

  /// Ranges of a line of `length`, as the card's checks list them.
  @Test(arguments: [
    (5, "window=3", false, ["0-3", "0-3", "1-4", "2-5", "2-5"]),
    (6, "window=4", false, ["0-4", "0-4", "0-4", "1-5", "2-6", "2-6"]),
    (6, "window=3,stride=3", false, ["0-3", "0-3", "0-3", "3-6", "3-6", "3-6"]),
    (
      8, "window=4,stride=2", false,
      ["0-4", "0-4", "1-5", "1-5", "3-7", "3-7", "4-8", "4-8"]
    ),
    (5, "window=3", true, ["0-1", "0-2", "0-3", "1-4", "2-5"]),
    (6, "window=3,stride=3", true, ["0-1", "0-2", "0-3", "3-4", "3-5", "3-6"]),
  ]) func nattenOfTheCard(_ length: Int, _ knobs: String, _ causal: Bool, _ wanted: [String]) throws
  {
    let input = Case(seed: 9, queries: length, keys: length, causal: causal)
    let rows = try Self.kept("natten:\(knobs)", input)
    let got = rows.map { row -> String in
      let keys = row.indices.filter { row[$0] }
      return "\(keys.first ?? -1)-\((keys.last ?? -1) + 1)"
    }
    #expect(got == wanted)
    // A row is one run.
    for row in rows {
      let keys = row.indices.filter { row[$0] }
      #expect(keys.count == (keys.last ?? -1) - (keys.first ?? 0) + 1)
    }
  }

  @Test func nattenDilated() throws {
    let six = Case(seed: 9, queries: 6, keys: 6, causal: false)
    let dilated = try Self.kept("natten:window=3,dilation=2", six)
    for i in 0..<6 {
      #expect(dilated[i].indices.filter { dilated[i][$0] } == [i % 2, i % 2 + 2, i % 2 + 4])
    }
    #expect(throws: Missing.self) { try Self.kept("natten:window=3,plane=grid", six) }
  }

  /// A plane of 4 x 5 behind a class token, with so many tokens of text behind it: rows times
  /// columns, of constant size.
  @Test(arguments: [0, 3]) func nattenOnAGrid(_ text: Int) throws {
    let plane = Case(seed: 9, queries: 21 + text, keys: 21 + text, causal: false)
    let facts = TokenFacts(grid: .init(rows: 4, columns: 5, first: text == 0 ? nil : 1))
    let grid = try Self.kept("natten:window=3,plane=grid", plane, facts)
    for token in [0] + Array(21..<21 + text) { #expect(grid[token].allSatisfy { $0 }) }
    // A grid that would end behind the last token is none.
    let beyond = TokenFacts(grid: .init(rows: 4, columns: 5, first: text + 2))
    #expect(throws: Missing.self) { try Self.kept("natten:window=3,plane=grid", plane, beyond) }
    func start(_ x: Int, _ length: Int) -> Int { min(max(x - 1, 0), length - 3) }
    for y in 0..<4 {
      for x in 0..<5 {
        let row = grid[1 + y * 5 + x]
        let wanted = (0..<21 + text).map { key -> Bool in
          guard (1..<21).contains(key) else { return true }
          let (v, u) = ((key - 1) / 5, (key - 1) % 5)
          return (start(y, 4)..<start(y, 4) + 3).contains(v)
            && (start(x, 5)..<start(x, 5) + 3).contains(u)
        }
        #expect(row == wanted, "row \(y) column \(x)")
      }
    }
  }

  // MARK: Oracles

  @Test(arguments: cases) func oraclesOfRows(_ input: Case) throws {
    let a = input.dense
    let most = a.enumerated().map { i, row in Self.top(9, Array(row.prefix(input.limit(i)))) }
    try Self.compare("top-k:k=9", input) { most[$0].contains($1) }
    let share = a.enumerated().map { i, row in
      Self.untilMass(0.8, Array(row.prefix(input.limit(i))))
    }
    try Self.compare("top-p:p=0.8", input) { share[$0].contains($1) }
  }

  /// `[query blocks][visible key blocks]` of a square size, pooled by `join`.
  private static func pooled(
    _ input: Case, _ size: Int, _ join: (Double, Double) -> Double
  ) -> [[Double]] {
    let a = input.dense
    return stride(from: 0, to: input.queries, by: size).map { start in
      let rows = start..<min(start + size, input.queries)
      let seen = (input.limit(rows.upperBound - 1) + size - 1) / size
      var sums = [Double](repeating: 0, count: seen)
      for i in rows {
        for j in 0..<input.limit(i) { sums[j / size] = join(sums[j / size], a[i][j]) }
      }
      return sums
    }
  }

  /// Rows that see none of their block's choice keep the last block that they see.
  private static func byBlocks(_ input: Case, _ size: Int, _ chosen: [Set<Int>]) -> (Int, Int) ->
    Bool
  {
    { i, j in
      let last = (input.limit(i) - 1) / size
      let isBlind = !(0...last).contains { chosen[i / size].contains($0) }
      return chosen[i / size].contains(j / size) || (isBlind && j / size == last)
    }
  }

  @Test(arguments: cases) func oraclesOfBlocks(_ input: Case) throws {
    let sums = Self.pooled(input, 8, +)
    try Self.compare(
      "block-top-k:k=3,block=8", input, Self.byBlocks(input, 8, sums.map { Self.top(3, $0) }))
    try Self.compare(
      "block-top-p:p=0.7,block=8", input,
      Self.byBlocks(input, 8, sums.map { Self.untilMass(0.7, $0) }))
    let most = Self.pooled(input, 8, Swift.max)
    try Self.compare(
      "seer-oracle:k=2,block=8", input, Self.byBlocks(input, 8, most.map { Self.top(2, $0) }))
    try Self.compare(
      "seer-oracle:threshold=0.2,block=8", input,
      Self.byBlocks(
        input, 8,
        most.map { row in
          let sum = row.reduce(0, +)
          return Set(row.indices.filter { row[$0] / sum >= 0.2 })
        }))
  }

  // MARK: Pages

  @Test(arguments: cases) func questByItsBounds(_ input: Case) throws {
    let q = input.q, k = input.k
    let chosen = (0..<input.queries).map { i -> Set<Int> in
      let pages = stride(from: 0, to: input.limit(i), by: 4).map { start -> Double in
        let keys = start..<min(start + 4, input.limit(i))
        return (0..<input.d).reduce(0) { sum, c in
          let least = keys.map { k[$0][c] }.min() ?? 0, most = keys.map { k[$0][c] }.max() ?? 0
          return sum + max(q[i][c] * least, q[i][c] * most)
        }
      }
      let own = min(input.position(i), input.limit(i) - 1) / 4
      return Self.top(2, pages.enumerated().filter { $0.offset != own }.map(\.element)).reduce(
        into: [own]) { $0.insert($1 < own ? $1 : $1 + 1) }
    }
    try Self.compare("quest:pages=3,page=4", input) { chosen[$0].contains($1 / 4) }
  }

  /// No key of a page may score more than the page's bound.
  @Test(arguments: cases) func questsBoundIsABound(_ input: Case) throws {
    let method = try Registry.standard.make(MethodSetting(parsing: "quest:pages=3,page=4"))
    let bound = try #require(try method.examine(Subject(input.head), MethodRun()).field("bound"))
    for (i, row) in input.scores.enumerated() {
      let pages = try bound.field.row(i)
      for j in 0..<input.limit(i) {
        #expect(Double(pages[j / 4]) >= row[j] - 1e-5, "query \(i), key \(j)")
      }
    }
  }

  @Test(arguments: cases) func mobaByMeanKeys(_ input: Case) throws {
    let q = input.q, k = input.k
    let means = stride(from: 0, to: input.keys, by: 8).map { start -> [Double] in
      let keys = start..<min(start + 8, input.keys)
      return (0..<input.d).map { c in keys.reduce(0) { $0 + k[$1][c] } / Double(keys.count) }
    }
    let chosen = (0..<input.queries).map { i -> Set<Int> in
      let own = min(input.position(i), input.limit(i) - 1) / 8
      let others = (0..<(input.limit(i) + 7) / 8).filter { $0 != own }
      let gates = others.map { b in zip(q[i], means[b]).reduce(0) { $0 + $1.0 * $1.1 } }
      return Set(Self.top(2, gates).map { others[$0] } + [own])
    }
    try Self.compare("moba:k=3,block=8", input) { chosen[$0].contains($1 / 8) }
  }

  // MARK: Searches

  @Test(arguments: cases) func xattentionByItsAntidiagonals(_ input: Case) throws {
    let s = input.scores, step = 4, size = 8
    var weights = Self.pooled(input, size) { _, _ in 0 }
    for group in 0..<(input.queries + step - 1) / step {
      let last = min((group + 1) * step, input.queries) - 1
      let sums = (0..<(input.limit(last) + step - 1) / step).map { other in
        (0..<step).reduce(0.0) { sum, r in
          let (i, j) = (group * step + step - 1 - r, other * step + r)
          return i < input.queries && j < input.keys ? sum + s[i][j] / Double(step) : sum
        }
      }
      let total = sums.reduce(0) { $0 + exp($1) }
      for (b, sum) in sums.enumerated() {
        weights[group * step / size][b * step / size] += exp(sum) / total
      }
    }
    try Self.compare(
      "xattention:threshold=0.6,stride=4,block=8", input,
      Self.byBlocks(input, size, weights.map { Self.untilMass(0.6, $0) }))
  }

  @Test func spargeTrustsAndSkips() throws {
    let input = Self.cases[0]
    // Nothing is trusted: all is computed. Everything is trusted, and all mass wanted: the same.
    for setting in [
      "spargeattn:theta=1,lambda=0,block=8,query_block=8", "spargeattn:tau=1,lambda=0",
    ] {
      try Self.compare(setting, input) { _, _ in true }
    }
    // Level 2 alone is BLASST's rule with ln lambda = -1.
    let s = input.scores
    var chosen = [Set<Int>](repeating: [], count: 8)
    for a in 0..<8 {
      var top = [Double](repeating: -.infinity, count: 8)
      for b in 0...a {
        var isKept = false
        for r in 0..<8 {
          let keys = b * 8..<min(b * 8 + 8, a * 8 + r + 1)
          guard let local = keys.map({ s[a * 8 + r][$0] }).max() else { continue }
          if local >= top[r] - 1 { isKept = true }
          top[r] = max(top[r], local)
        }
        if isKept { chosen[a].insert(b) }
      }
    }
    try Self.compare("spargeattn:tau=1,lambda=1,block=8,query_block=8", input) {
      chosen[$0 / 8].contains($1 / 8)
    }
    // Level 1 by mean tokens, all of them trusted.
    func means(_ rows: [[Double]]) -> [[Double]] {
      stride(from: 0, to: 64, by: 8).map { start in
        (0..<8).map { c in (start..<start + 8).reduce(0) { $0 + rows[$1][c] } / 8 }
      }
    }
    let q = means(input.q), k = means(input.k)
    let byMass = (0..<8).map { a -> Set<Int> in
      let e = (0...a).map { b in
        exp(zip(q[a], k[b]).reduce(0) { $0 + $1.0 * $1.1 } / 8.0.squareRoot())
      }
      let chosen = Self.untilMass(0.5, e)
      return chosen.isEmpty ? [a] : chosen
    }
    try Self.compare("spargeattn:tau=0.5,theta=-1,lambda=0,block=8,query_block=8", input) {
      byMass[$0 / 8].contains($1 / 8)
    }
  }

  @Test func duoAttentionTellsHeadsApart() throws {
    // A head that looks at one early key is a retrieval head, one that looks at itself streams.
    func head(_ target: @escaping (Int) -> Int) -> Head {
      let n = 64
      let query = (0..<n * n).map { $0 % n == target($0 / n) ? Float(12) : 0 }
      let key = (0..<n * n).map { $0 / n == $0 % n ? Float(1) : 0 }
      return Head(
        query: Tensor(query, shape: [n, n]), key: Tensor(key, shape: [n, n]), value: nil,
        causal: true, scale: 1)
    }
    let setting = try MethodSetting(parsing: "duoattention:sinks=2,window=8,threshold=0.5")
    func examine(_ head: Head) throws -> Findings {
      try Registry.standard.make(setting).examine(Subject(head), MethodRun())
    }
    let far = try examine(head { _ in 5 }), near = try examine(head { $0 })
    #expect(far["retrieval"]?.number == 1 && near["retrieval"]?.number == 0)
    #expect((far["distant_mass"]?.number ?? 0) > 0.9 && (near["distant_mass"]?.number ?? 1) < 0.01)
    #expect(far["density"]?.number == 1)
    let kept = try #require(near.field("kept")).field
    #expect(
      try kept.row(40).indices.filter { try kept.row(40)[$0] == 1 } == [0, 1] + Array(33...40))
  }
}
