import Algebra
import Analysis
import Attention
import Foundation
import Methods
import Support
import Tensors
import Testing

/// The checks of the five cards, and each against a second computation in double precision that
/// shares no code with it.
@Suite struct CardTests {
  private static func head(
    _ seed: UInt64, n: Int = 40, d: Int = 8, causal: Bool = true, scale: Float = 1.5
  ) -> Head {
    var random = Seeded(seed)
    func draw(_ count: Int) -> [Float] {
      (0..<count).map { _ in Float(Double.random(in: -1...1, using: &random)) * scale }
    }
    return Head(
      query: Tensor(draw(n * d), shape: [n, d]), key: Tensor(draw(n * d), shape: [n, d]),
      value: Tensor(draw(n * 4), shape: [n, 4]), causal: causal)
  }

  private static func examine(_ setting: String, _ subject: Subject) throws -> Findings {
    try Registry.standard.make(MethodSetting(parsing: setting)).examine(subject, MethodRun())
  }

  private static func rows(_ tensor: Tensor) -> [[Double]] {
    (0..<tensor.shape[0]).map { tensor[$0].floats().map(Double.init) }
  }

  /// Dense weights by the definition.
  private static func softmax(_ head: Head) throws -> [[Double]] {
    let (query, key) = try #require(head.queryAndKey)
    let q = rows(query), k = rows(key)
    return q.indices.map { i in
      let limit = head.visibility.limit(row: i)
      let s = k.indices.map { j in
        j < limit ? zip(q[i], k[j]).reduce(0) { $0 + $1.0 * $1.1 } * head.scale : -.infinity
      }
      let top = s.max() ?? 0, e = s.map { exp($0 - top) }, sum = e.reduce(0, +)
      return e.map { $0 / sum }
    }
  }

  // MARK: LUCID

  /// W G = A by an inverse found by elimination.
  @Test(arguments: [(true, 1.0), (true, 0.5), (false, 1.0)])
  func lucidIsTheInverse(_ causal: Bool, _ t: Double) throws {
    let head = Self.head(3, causal: causal), n = 40, d = 8.0
    let k = Self.rows(try #require(head.queryAndKey).key)
    let unit = k.map { row -> [Double] in
      let norm = row.reduce(0) { $0 + $1 * $1 }.squareRoot()
      return row.map { $0 * d.squareRoot() / norm }
    }
    var g = [[Double]](repeating: [Double](repeating: 0, count: n), count: n)
    for i in 0..<n {
      for j in 0..<n where !causal || j <= i {
        let dot = zip(unit[i], unit[j]).reduce(0) { $0 + $1.0 * $1.1 }
        let value = exp(dot / d.squareRoot() - d.squareRoot())
        g[i][j] = i == j ? 1 + (causal ? 0 : 1e-6) : t * value
      }
    }
    let a = try Self.softmax(head)
    let map = try #require(try Self.examine("lucid:strength=\(t)", Subject(head)).field("map"))
    for i in 0..<n {
      let w = try map.field.row(i).map { $0.isNaN ? 0 : Double($0) }
      for j in 0..<n {
        let product = (0..<n).reduce(0) { $0 + w[$1] * g[$1][j] }
        #expect(abs(product - a[i][j]) < 2e-5, "row \(i) key \(j)")
      }
    }
  }

  @Test func lucidOfTwoEqualKeysErasesTheOlder() throws {
    let head = Head(
      query: Tensor([0, 0, 0, 0], shape: [2, 2]), key: Tensor([1, 1, 1, 1], shape: [2, 2]),
      value: Tensor([1, 0, 0, 1], shape: [2, 2]), causal: true)
    let findings = try Self.examine("lucid", Subject(head))
    let map = try #require(findings.field("map"))
    #expect(try map.field.row(0)[0] == 1)
    let second = try map.field.row(1)
    #expect(abs(second[0]) < 1e-7 && abs(second[1] - 0.5) < 1e-7)
    #expect(findings["duplicates"]?.number == 1)
  }

  /// Check (b): orthogonal keys and no queries leave 0.0884 between W and A at d = 4.
  @Test func lucidOfOrthogonalKeys() throws {
    for (d, wanted) in [(4, 0.0884), (64, 3.27e-4)] {
      let eye = (0..<d * d).map { $0 / d == $0 % d ? Float(1) : 0 }
      let head = Head(
        query: Tensor([Float](repeating: 0, count: d * d), shape: [d, d]),
        key: Tensor(eye, shape: [d, d]), value: nil, causal: true)
      let map = try #require(try Self.examine("lucid", Subject(head)).field("map"))
      var most = 0.0
      for i in 0..<d {
        for (j, w) in try map.field.row(i).enumerated() where j <= i {
          most = max(most, abs(Double(w) - 1 / Double(i + 1)))
        }
      }
      #expect(abs(most / wanted - 1) < 0.01, "\(most) at d = \(d)")
    }
  }

  // MARK: FlexPrefill

  @Test func flexDistanceAndNeed() {
    #expect(
      abs(
        Distributions.jensenShannonDistance([0.5, 0.5, 0, 0], [0.25, 0.25, 0.25, 0.25]) - 0.46450)
        < 1e-5)
    #expect(Distributions.jensenShannonDistance([0.2, 0.8], [0.2, 0.8]) == 0)
    let four = [0.4, 0.3, 0.2, 0.1]
    #expect([0.69, 0.71, 0.95].map { Distributions.needed(four, for: $0) } == [2, 3, 4])
    #expect(Distributions.needed([Double](repeating: 0.01, count: 100), for: 0.905) == 91)
  }

  @Test func flexAtTheEndsOfItsKnobs() throws {
    let head = Self.head(5, n: 64)
    func kept(_ setting: String) throws -> Findings {
      try Self.examine(
        "flexprefill:block=8,min_budget=8,fallback=false,\(setting)", Subject(head))
    }
    #expect(try kept("gamma=1")["density"]?.number == 1)
    #expect(try kept("tau=0")["query_aware"]?.number == 0)
    #expect(try kept("tau=0.8326")["query_aware"]?.number == 1)
    var last = 0.0
    for gamma in stride(from: 0.1, through: 0.9, by: 0.2) {
      let now = try #require(try kept("tau=0,gamma=\(gamma)")["density"]?.number)
      #expect(now >= last, "gamma \(gamma)")
      last = now
    }
    let alias = try Self.examine(
      "flexprefill-qa:B=8,min_budget=8,fallback=false", Subject(head))
    #expect(alias["query_aware"]?.number == 1)
  }

  /// The vertical-slash mask by loops over every pair, with n that B does not divide.
  @Test(arguments: [(48, 8), (45, 8), (64, 16)]) func flexIsWhatTheCardSays(_ n: Int, _ b: Int)
    throws
  {
    let head = Self.head(9, n: n, scale: 3), gamma = 0.6
    let a = try Self.softmax(head), rep = min(b, n), blocks = (n + b - 1) / b
    var v = [Double](repeating: 0, count: n), s = v
    for i in n - rep..<n {
      for j in 0...i {
        v[j] += a[i][j] / Double(rep)
        s[i - j] += a[i][j] / Double(rep)
      }
    }
    func need(_ p: [Double]) -> Int {
      var sum = 0.0, t = 0
      for x in p.sorted(by: >) {
        sum += x
        if sum <= gamma { t += 1 } else { break }
      }
      return min(t + 1, p.count)
    }
    func top(_ p: [Double], _ count: Int) -> Set<Int> {
      let order = p.indices.sorted {
        ($0 == 0 ? 1 : 0, p[$0], -$0) > ($1 == 0 ? 1 : 0, p[$1], -$1)
      }
      return Set(order.prefix(count))
    }
    var pv = [Double](repeating: 0, count: blocks), ps = pv
    for j in 0..<n { pv[j / b] += v[j] }
    for o in 0..<n { ps[blocks - 1 - (n - 1 - o) / b] += s[o] }
    func count(_ p: [Double]) -> Int { min(max(need(p) / b + 1, 1), blocks) }
    let columns = top(pv, count(v)), diagonals = top(ps, count(s))
    let findings = try Self.examine(
      "flexprefill-vs:gamma=\(gamma),B=\(b),min_budget=\(b),fallback=false", Subject(head))
    let field = try #require(findings.field("kept")).field
    for i in 0..<n {
      let row = try field.row(i)
      for j in 0...i {
        let wanted = columns.contains(j / b) || diagonals.contains(i / b - j / b)
        #expect((row[j] == 1) == wanted, "(\(i), \(j))")
      }
    }
  }

  // MARK: ATTN-FIQA

  @Test func fiqaIsTheMeanLogit() throws {
    let heads = [Self.head(1, causal: false), Self.head(2, causal: false)]
    let subject = Subject(
      layers: [heads], focus: (0, 1), tokens: TokenFacts(grid: .init(rows: 5, columns: 8)))
    let findings = try Self.examine("attn-fiqa", subject)
    var means: [Double] = [], received = [Double](repeating: 0, count: 40)
    for head in heads {
      let (query, key) = try #require(head.queryAndKey)
      let q = Self.rows(query), k = Self.rows(key)
      var sum = 0.0
      for i in 0..<40 {
        for j in 0..<40 {
          let logit = zip(q[i], k[j]).reduce(0) { $0 + $1.0 * $1.1 } * head.scale
          sum += logit
          received[j] += logit / 40 / 2
        }
      }
      means.append(sum / 1600)
    }
    #expect(abs(try #require(findings["score"]?.number) - means[1]) < 1e-6)
    #expect(abs(try #require(findings["quality"]?.number) - (means[0] + means[1]) / 2) < 1e-6)
    let said = try #require(findings.series("received"))
    #expect(zip(said, received).allSatisfy { abs(Double($0) - $1) < 1e-5 })
    #expect(findings.field("patches")?.field.rows.count == 5)
  }

  /// The patches are the last tokens, or those from the first one that is told on.
  @Test(arguments: [("3x4", 28), ("3x4@5", 5), ("3x4@28", 28)])
  func fiqaDrawsThePatches(_ text: String, _ first: Int) throws {
    let grid = try #require(TokenFacts.Grid(text))
    #expect(grid.description == text)
    let subject = Subject(Self.head(4), tokens: TokenFacts(grid: grid))
    let findings = try Self.examine("attn-fiqa", subject)
    let said = try #require(findings.series("received"))
    let image = try #require(findings.field("patches")).field
    for row in 0..<3 {
      let start = first + 4 * row
      #expect(try image.row(row) == Array(said[start..<start + 4]))
    }
    let wide = try Self.examine(
      "attn-fiqa", Subject(Self.head(4), tokens: TokenFacts(grid: .init("3x4@29"))))
    #expect(wide.field("patches") == nil && wide.notes.contains { $0.contains("3x4@29") })
  }

  // MARK: Knobs

  /// `[` and `]` move one knob: what else was in force, scaled to the map or not, stays.
  @Test func steppingMovesOneKnobAlone() throws {
    let cards = Registry.standard.cards.filter { $0.knobs.contains(where: \.isPinned) }
    #expect(cards.count >= 4)
    for card in cards {
      let fresh = MethodSetting(card.id), knob = try #require(card.mainKnob)
      let pinned = card.pinned(fresh)
      #expect(!pinned.isEmpty && card.pinned(MethodSetting(card.id, pinned)) == pinned)
      let subject = Subject(Self.head(6, n: 200))
      let before = try Self.examine("\(fresh)", subject)
      // The main knob at its standard, given: without the pin its number would be meant as it is.
      var stepped = MethodSetting(card.id, pinned)
      stepped.knobs[knob.name] = knob.standard
      let after = try Self.examine("\(stepped)", subject)
      #expect(after["density"]?.number == before["density"]?.number, "\(stepped)")
      let given = MethodSetting(card.id, [knob.name: knob.standard])
      #expect(card.pinned(given) == given.knobs)
    }
  }

  /// A constant on all logits moves the score by it and leaves the pattern alone: from a pattern it
  /// cannot be told.
  @Test func fiqaNeedsLogits() throws {
    let scores = (0..<64).map { Float($0 % 7) - 3 }
    func score(_ shift: Float) throws -> Double {
      let head = Head(scores: Tensor(scores.map { $0 + shift }, shape: [8, 8]), causal: false)
      return try #require(try Self.examine("attn-fiqa", Subject(head))["score"]?.number)
    }
    #expect(abs(try score(2.5) - (try score(0)) - 2.5) < 1e-6)
    let pattern = Head(
      pattern: Tensor([Float](repeating: 0.125, count: 64), shape: [8, 8]), causal: false)
    #expect(throws: Missing.self) { try Self.examine("attn-fiqa", Subject(pattern)) }
  }

  // MARK: Lean

  @Test(arguments: [(1280, 2, 4, [3, 3, 2, 2], 10), (1000, 3, 5, [3, 3, 2, 2, 2], 12)])
  func leanDealsEvenly(_ n: Int, _ heads: Int, _ workers: Int, _ loads: [Int], _ total: Int)
    throws
  {
    let key = Tensor([Float](repeating: 0, count: n * 64), shape: [n, 64])
    let head = Head(
      query: Tensor([Float](repeating: 0, count: 64), shape: [1, 64]), key: key, value: nil,
      causal: true)
    let subject = Subject(layers: [[Head](repeating: head, count: heads)])
    let findings = try Self.examine("lean:workers=\(workers)", subject)
    #expect(findings["tiles"]?.number == Double(total))
    #expect(findings.series("loads") == loads.map(Float.init))
    guard case .spans(let spans, _, _) = try #require(findings["lean"]).content else {
      Issue.record("no timeline")
      return
    }
    // Every tile once: spans cover each head's tiles.
    for head in 0..<heads {
      let tiles = spans.filter { $0.key == head }.reduce(0) { $0 + $1.to - $1.from }
      #expect(tiles == Double(total / heads))
    }
    for worker in 0..<workers {
      let mine = spans.filter { $0.lane == worker }.sorted { $0.from < $1.from }
      #expect(zip(mine, mine.dropFirst()).allSatisfy { $0.to <= $1.from })
    }
  }

  /// Partials (m, l, o) of any partition merge to dense attention.
  @Test(arguments: [[64], [10, 30, 24], [1, 62, 1]]) func leanPartialsMerge(_ sizes: [Int]) {
    var random = Seeded(4)
    let s = (0..<64).map { _ in Double.random(in: -4...4, using: &random) }
    let v = (0..<64).map { _ in Double.random(in: -1...1, using: &random) }
    var m = -Double.infinity, l = 0.0, o = 0.0, at = 0
    for size in sizes {
      let range = at..<at + size, top = s[range].max()!
      let e = s[range].map { exp($0 - top) }
      let sum = e.reduce(0, +), out = zip(e, v[range]).reduce(0) { $0 + $1.0 * $1.1 }
      let next = max(m, top)
      l = exp(m - next) * l + exp(top - next) * sum
      o = exp(m - next) * o + exp(top - next) * out
      (m, at) = (next, at + size)
    }
    let top = s.max()!, e = s.map { exp($0 - top) }
    let dense = zip(e, v).reduce(0) { $0 + $1.0 * $1.1 } / e.reduce(0, +)
    #expect(abs(o / l - dense) < 4e-16)
  }

  // MARK: Attention Residuals

  private static func depth(_ setting: String, _ values: [[Double]]) throws -> Findings {
    let width = values[0].count
    let tensor = Tensor(values.flatMap { $0 }.map(Float.init), shape: [values.count, 1, width])
    let subject = Subject(layers: [[G4.head()]]) { need, _ in
      guard need == .residuals else { throw Missing(need) }
      return tensor
    }
    return try examine(setting, subject)
  }

  @Test func depthOfZeroQueriesIsTheMean() throws {
    let values: [[Double]] = (0..<6).map { i -> [Double] in
      (0..<8).map { x -> Double in Double((i * 5 + x * 3) % 7) - 3 }
    }
    let findings = try Self.depth("attention-residuals:query=zero", values)
    let depth = try #require(findings.field("depth")).field
    for l in 0..<depth.rows.count {
      let row = try depth.row(l)
      for (i, weight) in row.enumerated() {
        #expect(abs(Double(weight) - (i <= l ? 1 / Double(l + 1) : 0)) < 1e-7)
      }
    }
    #expect(findings.notes.contains { $0.hasPrefix("U0") })
    #expect(try #require(findings["two_phase_error"]?.number) < 1e-12)
  }

  /// By loops over the definition; scaling a source leaves its weights alone.
  @Test func depthIsWhatTheCardSays() throws {
    var random = SplitMix64(5)
    let values = (0..<7).map { _ in random.gaussians(16) }
    func weights(_ values: [[Double]]) -> [[Double]] {
      (1...values.count).map { l -> [Double] in
        let h = (0..<16).map { x -> Double in values[..<l].reduce(0) { $0 + $1[x] } }
        func norm(_ x: [Double]) -> [Double] {
          let r = (x.reduce(0) { $0 + $1 * $1 } / 16 + 1e-6).squareRoot()
          return x.map { $0 / r }
        }
        let w = norm(h).map { $0 * 3 / 4 }
        let e = values[..<l].map { v in exp(zip(w, norm(v)).reduce(0) { $0 + $1.0 * $1.1 }) }
        return e.map { $0 / e.reduce(0, +) }
      }
    }
    let wanted = weights(values)
    let depth = try #require(
      try Self.depth("attention-residuals:gain=3", values).field("depth")
    ).field
    for (l, row) in wanted.enumerated() {
      let got = try depth.row(l)
      #expect(zip(got, row).allSatisfy { abs(Double($0) - $1) < 1e-5 }, "sublayer \(l)")
    }
    // Blocks of one sublayer repeat the full form, but for the running sum's place.
    let one = try Self.depth("attention-residuals:gain=3,blocks=6", values)
    let blocks = try #require(one.field("block_depth")).field
    for l in 0..<7 {
      let full = try depth.row(l).prefix(l + 1), block = try blocks.row(l).filter { $0 > 0 }
      #expect(zip(full, block).allSatisfy { abs($0 - $1) < 1e-5 }, "sublayer \(l)")
    }
  }

  @Test func depthNeedsResiduals() throws {
    #expect(throws: Missing.self) {
      try Self.examine("attention-residuals", Subject(G4.head()))
    }
  }

  // MARK: Settings and sets

  @Test func settingsHaveOneText() throws {
    for text in ["lucid", "lucid:strength=0.5", "a-shape:initial=16,local=64"] {
      #expect(try MethodSetting(parsing: text).description == text)
    }
    #expect(throws: KnobError.self) { try MethodSetting(parsing: "lucid:strength") }
    #expect(throws: KnobError.self) {
      try Registry.standard.make(try MethodSetting(parsing: "lucid:strength=2"))
    }
    #expect(throws: KnobError.self) { try Registry.standard.make(MethodSetting("no-such")) }
    let setting = try MethodSetting(parsing: "lucid:t=0.5")
    let coded = try JSONDecoder().decode(
      MethodSetting.self, from: try JSONEncoder().encode(setting))
    #expect(coded == setting)
  }

  /// Runs, blocks and their unions against flags of single entries.
  @Test func keptSetsOfRunsAndBlocks() {
    var random = Seeded(12)
    let sight = Visibility(causal: true, queries: 30, keys: 37)
    for tile in [1, 4, 7] {
      var set = KeptSet(queries: 30, keys: 37, visibility: sight)
      let tiles = (0..<(30 + tile - 1) / tile).map { _ in
        (0..<3).map { _ -> Range<Int> in
          let start = Int.random(in: 0..<37, using: &random)
          return start..<min(37, start + Int.random(in: 0...9, using: &random))
        }
      }
      set.keep(KeyRanges(tiles, tileRows: tile))
      var blocks = KeptSet(queries: 30, keys: 37, visibility: sight)
      let flags = (0..<5 * 8).map { _ in UInt8.random(in: 0...1, using: &random) }
      blocks.keep(blocks: flags, rows: 6, keys: 5)
      var squares = KeptSet(queries: 30, keys: 37, visibility: sight)
      let more = (0..<8 * 10).map { _ in UInt8.random(in: 0...1, using: &random) }
      squares.keep(blocks: more, size: 4)
      let all = set.union(blocks).union(squares)
      for i in 0..<30 {
        let row = all.row(i, sight)
        for j in 0..<37 {
          let wanted =
            j < sight.limit(row: i)
            && (tiles[i / tile].contains { $0.contains(j) } || flags[i / 6 * 8 + j / 5] == 1
              || more[i / 4 * 10 + j / 4] == 1)
          #expect((row[j] == 1) == wanted, "tile \(tile) (\(i), \(j))")
        }
      }
    }
  }
}
