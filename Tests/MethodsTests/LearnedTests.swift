import Attention
import Foundation
import Methods
import Support
import Tensors
import Testing

/// Selectors: those that a file brings along, and those that mean keys stand in for. Kept sets
/// against second computations in double precision by the words of the papers.
@Suite struct LearnedTests {
  /// Query heads of one KV head.
  struct Group: Sendable, CustomStringConvertible {
    let heads: Int, queries: Int, keys: Int
    let causal: Bool
    let d = 8

    var description: String { "\(heads) heads, \(queries)x\(keys), causal \(causal)" }
    func limit(_ i: Int) -> Int { causal ? min(keys, max(0, i + keys - queries + 1)) : keys }

    /// `[rows][d]`; salts above 9 are queries.
    func rows(_ count: Int, _ salt: Int) -> [[Double]] {
      var random = Seeded(UInt64(salt * 1000 + keys))
      return (0..<count).map { _ in
        (0..<d).map { _ in Double(Float(Double.random(in: -2...2, using: &random))) }
      }
    }
    func q(_ head: Int) -> [[Double]] { rows(queries, 10 + head) }
    var k: [[Double]] { rows(keys, 1) }
    var v: [[Double]] { rows(keys, 2) }

    var all: [Head] {
      func tensor(_ x: [[Double]]) -> Tensor {
        Tensor(x.flatMap { $0.map(Float.init) }, shape: [x.count, d])
      }
      let (k, v) = (tensor(k), tensor(v))
      return (0..<heads).map { Head(query: tensor(q($0)), key: k, value: v, causal: causal) }
    }

    typealias Arrays = @Sendable (Need, LayerIndex) throws -> Tensor

    func subject(
      _ focus: Int, arrays: @escaping Arrays = { need, _ in throw Missing(need) }
    ) -> Subject {
      Subject(layers: [all], focus: (0, focus), groupSize: heads, arrays: arrays)
    }

    func score(_ a: [Double], _ b: [Double]) -> Double {
      zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } / Double(d).squareRoot()
    }

    func softmax(_ x: [Double]) -> [Double] {
      let e = x.map { exp($0 - (x.max() ?? 0)) }, sum = e.reduce(0, +)
      return e.map { $0 / sum }
    }

    /// Attention of a head's row to means over `size` keys, `stride` apart, that end before its
    /// limit.
    func pooled(_ head: Int, _ i: Int, _ size: Int, _ stride: Int) -> [Double] {
      let k = k, limit = limit(i), query = q(head)[i]
      var scores: [Double] = []
      var start = 0
      while start + size <= limit {
        let mean = (0..<d).map { c in
          k[start..<start + size].reduce(0) { $0 + $1[c] } / Double(size)
        }
        scores.append(score(query, mean))
        start += stride
      }
      return softmax(scores)
    }

    func dense(_ head: Int, _ i: Int) -> [Double] {
      let query = q(head)[i]
      return softmax(k.prefix(limit(i)).map { score(query, $0) })
    }
  }

  static let groups = [
    Group(heads: 2, queries: 64, keys: 64, causal: true),
    Group(heads: 3, queries: 37, keys: 61, causal: true),
    Group(heads: 1, queries: 50, keys: 50, causal: false),
    Group(heads: 4, queries: 1, keys: 53, causal: true),
    Group(heads: 2, queries: 5, keys: 5, causal: true),
  ]

  private static func examine(_ setting: String, _ subject: Subject) throws -> Findings {
    try Registry.standard.make(MethodSetting(parsing: setting)).examine(subject, MethodRun())
  }

  private static func flags(_ findings: Findings, _ name: String, _ row: Int) throws -> [Float] {
    try #require(findings.field(name)).field.row(row)
  }

  /// The forced ones, then the best; ties to the lower.
  private static func pick(_ count: Int, _ scores: [Double], own: Int, initial: Int, local: Int)
    -> Set<Int>
  {
    let forced = scores.indices.filter {
      $0 < initial || ($0 <= own && $0 > own - local) || $0 == own
    }
    let order =
      [own] + forced.filter { $0 != own }
      + scores.indices.filter { !forced.contains($0) }.sorted {
        (-scores[$0], $0) < (-scores[$1], $1)
      }
    return Set(order.prefix(count))
  }

  // MARK: NSA

  @Test(arguments: groups) func nsaByThePaper(_ group: Group) throws {
    let (l, d, size, count, w) = (8, 4, 16, 3, 6)
    let setting = "nsa:block=8,stride=4,selection=16,count=3,window=6,initial=1,local=1"
    let slot = group.heads - 1
    let findings = try Self.examine(setting, group.subject(slot))
    var distance = 0.0
    for i in 0..<group.queries {
      let limit = group.limit(i), position = i + group.keys - group.queries
      let each = (0..<group.heads).map { group.pooled($0, i, l, d) }
      let p = each[0].indices.map { c in each.reduce(0) { $0 + $1[c] } }
      // Eq. 9 by strides: block j holds the strides u, compressed block c the strides c to c + l /
      // d - 1.
      let blocks = (limit + size - 1) / size
      let scores = (0..<blocks).map { j in
        (0..<size / d).reduce(0.0) { sum, m in
          (0..<l / d).reduce(sum) { sum, n in
            let c = size / d * j + m - n
            return p.indices.contains(c) ? sum + p[c] : sum
          }
        }
      }
      let chosen = Self.pick(
        count, scores, own: min(position, limit - 1) / size, initial: 1, local: 1)
      let kept = try Self.flags(findings, "kept", i)
      let window = try Self.flags(findings, "window", i)
      let selected = try Self.flags(findings, "selected", i)
      let compressed = try Self.flags(findings, "compressed", i)
      let importance = try Self.flags(findings, "importance", i)
      for j in 0..<limit {
        let near = abs(position - j) < w
        #expect((window[j] == 1) == near)
        #expect((kept[j] == 1) == (near || chosen.contains(j / size)), "\(group) \(i) \(j)")
      }
      #expect(!kept[limit...].contains { !$0.isNaN })
      for j in selected.indices where j < blocks {
        #expect((selected[j] == 1) == chosen.contains(j))
        #expect(abs(Double(importance[j]) - scores[j]) < 1e-5)
      }
      for (c, weight) in each[slot].enumerated() {
        #expect(abs(Double(compressed[c]) - weight) < 1e-6)
      }
      #expect(compressed.filter { !$0.isNaN }.count == each[slot].count)
      // Three branches, a third each.
      let dense = group.dense(slot, i), map = try Self.flags(findings, "map", i)
      func share(_ j: Int, _ keeps: (Int) -> Bool) -> Double {
        keeps(j) ? dense[j] / (0..<limit).filter(keeps).reduce(0) { $0 + dense[$1] } : 0
      }
      let gate = 1 / (p.isEmpty ? 2.0 : 3.0)
      for j in 0..<limit {
        let coarse = each[slot].indices.filter { $0 * d <= j && j < $0 * d + l }.reduce(0.0) {
          $0 + each[slot][$1] / Double(l)
        }
        let wanted =
          gate
          * (coarse + share(j) { chosen.contains($0 / size) }
            + share(j) { abs(position - $0) < w })
        #expect(abs(Double(map[j]) - wanted) < 1e-5)
        distance += abs(wanted - dense[j]) / 2
      }
    }
    let said = try #require(findings["map_distance"]?.number)
    #expect(abs(said - distance / Double(group.queries)) < 1e-5)
    #expect(findings.notes.contains { $0.hasPrefix("U0") })
  }

  // MARK: InfLLM

  @Test(arguments: groups) func infllmByThePaper(_ group: Group) throws {
    let (kernel, stride, size) = (8, 4, 8)
    let setting = "infllm:kernel=8,stride=4,block=8,count=4,initial=1,window=10"
    let findings = try Self.examine(setting, group.subject(0))
    for i in 0..<group.queries {
      let limit = group.limit(i), position = i + group.keys - group.queries
      let each = (0..<group.heads).map { group.pooled($0, i, kernel, stride) }
      let s = each[0].indices.map { c in each.reduce(0) { $0 + $1[c] } }
      // Max-pooling over the kernels 2 j - 1 to 2 j + 1.
      let blocks = (limit + size - 1) / size
      let scores = (0..<blocks).map { j in
        (2 * j - 1...2 * j + 1).reduce(0.0) { s.indices.contains($1) ? max($0, s[$1]) : $0 }
      }
      let chosen = Self.pick(
        4, scores, own: min(position, limit - 1) / size, initial: 1, local: 2)
      let kept = try Self.flags(findings, "kept", i)
      let importance = try Self.flags(findings, "importance", i)
      for j in 0..<limit {
        #expect((kept[j] == 1) == chosen.contains(j / size), "\(group) \(i) \(j)")
        #expect(abs(Double(importance[j / size]) - scores[j / size]) < 1e-5)
      }
      #expect(!kept[limit...].contains { !$0.isNaN })
    }
  }

  /// All heads of a group keep the same, and as an engine runs it.
  @Test(arguments: [
    "nsa:block=8,stride=4,selection=8,count=2,window=3",
    "infllm:block=8,count=2,kernel=4,stride=2,window=4",
  ])
  func groupsAgree(_ setting: String) throws {
    let group = Self.groups[1]
    let all = try (0..<3).map { try Self.examine(setting, group.subject($0)) }
    var state = AttentionState(), trace = Trace()
    let method = try Registry.standard.makeEngine(MethodSetting(parsing: setting))
    _ = method.attend(HeadGroup(group.all), state: &state, trace: &trace)
    for i in 0..<group.queries {
      let rows = try all.map { try Self.flags($0, "kept", i).map { $0 == 1 } }
      #expect(rows[0] == rows[1] && rows[1] == rows[2])
      for set in trace.keptSets {
        #expect(set.row(i, group.all[0].visibility).map { $0 == 1 } == rows[0])
      }
    }
  }

  @Test(arguments: ["nsa", "infllm"]) func standardsOfThePapers(_ id: String) throws {
    let card = try #require(Registry.standard.method(id)).card
    let wanted: [String: Double] =
      id == "nsa"
      ? ["block": 32, "stride": 16, "selection": 64, "count": 16, "window": 512]
      : ["kernel": 32, "stride": 16, "block": 64, "initial": 1, "window": 2048]
    for (name, value) in wanted { #expect(card.knob(name)?.standard == .number(value), "\(name)") }
    let whole = try Self.examine("\(id):count=1000", Self.groups[0].subject(0))
    #expect(whole["density"]?.number == 1)
    let map = Head(pattern: Tensor([1, 0, 0.5, 0.5], shape: [2, 2]), causal: true)
    #expect(throws: Missing.self) { try Self.examine(id, Subject(map)) }
  }
}
