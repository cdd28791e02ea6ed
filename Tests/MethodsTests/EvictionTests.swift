import Attention
import Foundation
import Methods
import Support
import Tensors
import Testing

/// Caches that evict, each against a replay in double precision that keeps a plain list.
@Suite struct EvictionTests {
  /// Kept keys of every row: `sees` gets a row's weights on the living, `leaves` the living and the
  /// newest key, and says who goes.
  private static func replay(
    _ input: PackTests.Case, cache: Int, sees: ([Int: Double]) -> Void = { _ in },
    leaves: ([Int], Int) -> Int
  ) -> [Set<Int>] {
    let scores = input.scores
    var living: [Int] = [], rows: [Set<Int>] = [], next = 0
    for i in 0..<input.queries {
      while next < input.limit(i) {
        living.append(next)
        next += 1
      }
      let top = living.map { scores[i][$0] }.max() ?? 0
      let e = living.map { exp(scores[i][$0] - top) }, sum = e.reduce(0, +)
      let weights = Dictionary(uniqueKeysWithValues: zip(living, e.map { $0 / sum }))
      rows.append(Set(living))
      sees(weights)
      while living.count > cache {
        let key = leaves(living, next - 1)
        living.removeAll { $0 == key }
      }
    }
    return rows
  }

  private static func check(_ setting: String, _ input: PackTests.Case, _ wanted: [Set<Int>]) throws
  {
    let method = try Registry.standard.make(MethodSetting(parsing: setting))
    let found = try method.examine(Subject(input.head), MethodRun())
    let field = try #require(found.field("kept")).field
    for i in 0..<input.queries {
      let row = try field.row(i)
      #expect(
        Set(row.indices.filter { row[$0] == 1 }) == wanted[i], "\(setting), \(input), query \(i)")
    }
    let alive = try #require(found.all.first { $0.name == "alive" })
    if case .series(_, let values, _) = alive.content {
      #expect(values.map(Int.init) == wanted.map(\.count))
    }
  }

  @Test(arguments: PackTests.cases) func heavyHitters(_ input: PackTests.Case) throws {
    var sums: [Int: Double] = [:]
    let rows = Self.replay(input, cache: 10) { weights in
      for (key, weight) in weights { sums[key, default: 0] += weight }
    } leaves: { living, last in
      let open = living.filter { $0 <= last - 5 }
      return open.min { (sums[$0] ?? 0, $0) < (sums[$1] ?? 0, $1) } ?? living[0]
    }
    try Self.check("h2o:cache=10,recent=0.5", input, rows)
  }

  @Test(arguments: PackTests.cases) func theNewestQueryDecides(_ input: PackTests.Case) throws {
    var now: [Int: Double] = [:]
    let rows = Self.replay(input, cache: 9) {
      now = $0
    } leaves: { living, _ in
      living.min { (now[$0] ?? 0, $0) < (now[$1] ?? 0, $1) } ?? living[0]
    }
    try Self.check("tova:cache=9", input, rows)
  }

  @Test(arguments: PackTests.cases) func longKeysGo(_ input: PackTests.Case) throws {
    let norms = input.k.map { $0.reduce(0) { $0 + $1 * $1 }.squareRoot() }
    let rows = Self.replay(input, cache: 9) { living, last in
      let open = living.filter { $0 <= last - 3 }
      return open.min { (-norms[$0], $0) < (-norms[$1], $1) } ?? living[0]
    }
    try Self.check("key-norm:cache=9,recent=3", input, rows)
  }

  @Test(arguments: PackTests.cases) func keysLikeTheOthersGo(_ input: PackTests.Case) throws {
    let units = input.k.map { row in
      let norm = row.reduce(0) { $0 + $1 * $1 }.squareRoot()
      return row.map { $0 / norm }
    }
    let rows = Self.replay(input, cache: 9) { living, _ in
      let anchor = (0..<input.d).map { c in living.reduce(0) { $0 + units[$1][c] } }
      func likeness(_ key: Int) -> Double { zip(units[key], anchor).reduce(0) { $0 + $1.0 * $1.1 } }
      return living.min { (-likeness($0), $0) < (-likeness($1), $1) } ?? living[0]
    }
    try Self.check("keydiff:cache=9", input, rows)
  }

  /// Rows of a long head are made as they are looked at: from the lives of keys, which a plain
  /// replay finds too. Keys protected for a while are told from those that are open.
  @Test(arguments: [0, 5]) func longHeadsAreReplayed(_ recent: Int) throws {
    let n = 12_000, cache = 24
    var random = Seeded(31)
    let key = random.tensor([n, 4])
    let head = Head(query: random.tensor([n, 4]), key: key, value: nil, causal: true)
    #expect(head.isLong)
    let values = key.floats()
    let units = (0..<n).map { row -> [Double] in
      let all = values[row * 4..<row * 4 + 4].map(Double.init)
      let norm = all.reduce(0) { $0 + $1 * $1 }.squareRoot()
      return all.map { $0 / norm }
    }
    var living: [Int] = [], anchor = [0.0, 0, 0, 0], wanted: [Int: [Int]] = [:]
    let looked = [0, 23, 24, 500, 7777, n - 1]
    for row in 0..<n {
      living.append(row)
      for c in 0..<4 { anchor[c] += units[row][c] }
      if looked.contains(row) { wanted[row] = living }
      guard living.count > cache else { continue }
      let likeness = living.filter { $0 <= row - recent }.map { key in
        (key, zip(units[key], anchor).reduce(0) { $0 + $1.0 * $1.1 })
      }
      let gone = likeness.max { ($0.1, -$0.0) < ($1.1, -$1.0) }?.0 ?? living[0]
      for c in 0..<4 { anchor[c] -= units[gone][c] }
      living.removeAll { $0 == gone }
    }
    let method = try Registry.standard.make(
      MethodSetting(parsing: "keydiff:cache=\(cache),recent=\(recent),budget=paper"))
    let found = try method.examine(Subject(head), MethodRun(wantsNumbers: false))
    let field = try #require(found.field("kept")).field
    for row in looked {
      let kept = try field.row(row)
      #expect(kept.indices.filter { kept[$0] == 1 } == wanted[row], "query \(row)")
    }
  }

  @Test func thePromptsLastQueriesVote() throws {
    let input = PackTests.cases[0], a = input.dense
    let votes = (0..<40).map { key in (36..<40).reduce(0) { $0 + a[$1][key] } }
    let pooled = (0..<36).map { key in votes[max(0, key - 1)...min(35, key + 1)].max() ?? 0 }
    let chosen = pooled.indices.sorted { (-pooled[$0], $0) < (-pooled[$1], $1) }.prefix(8)
    let method = try Registry.standard.make(
      MethodSetting(parsing: "snapkv:cache=12,window=4,kernel=3,prompt=40"))
    let found = try method.examine(Subject(input.head), MethodRun())
    let field = try #require(found.field("kept")).field
    var recall = 0.0
    for i in 0..<64 {
      let row = try field.row(i)
      let wanted = i < 40 ? Set(0...i) : Set(chosen).union(36...i)
      #expect(Set(row.indices.filter { row[$0] == 1 }) == wanted, "query \(i)")
      if i >= 40 { recall += wanted.reduce(0) { $0 + a[i][$1] } / 24 }
    }
    #expect(abs(try #require(found["answer_recall"]?.number) - recall) < 1e-5)
  }

  /// What cannot decide rows as they come is not handed to an engine, and says why.
  @Test(arguments: [
    ("duoattention", "all rows of a head"), ("sale", "means over all tokens"),
    ("tri-shape", "last rows"), ("xattention", "groups of queries"),
    ("hyper", "outside of its mask"), ("natsl-softmax", "rows that come later"),
    ("zipvl", "last rows of a whole prompt"), ("natten:plane=grid", "grid of an image"),
    ("lucid", "describes attention"),
  ]) func enginesAreNotHandedARow(_ setting: String, _ why: String) throws {
    let error = try #require(throws: KnobError.self) {
      _ = try Registry.standard.makeEngine(MethodSetting(parsing: setting))
    }
    #expect(error.description.contains(why), "\(error)")
    #expect(error.description.contains("quest") && error.description.contains("natten"))
    for id in ["quest", "natten"] { _ = try Registry.standard.makeEngine(MethodSetting(id)) }
  }
}
