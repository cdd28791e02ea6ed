import Attention
import Foundation
import Methods
import Tensors
import Testing

/// Indices that a file holds, as a mask.
@Suite struct SelectedTests {
  private typealias Group = LearnedTests.Group
  private static let group = Group(heads: 4, queries: 40, keys: 48, causal: true)

  private static func tensor(_ rows: [[Int64]], sets: Int = 1) -> Tensor {
    let flat = rows.flatMap { $0 }
    let storage = OwnedStorage(byteCount: 8 * flat.count) { out in
      flat.withUnsafeBytes { out.copyMemory(from: $0) }
    }
    return Tensor(
      storage: storage, dtype: .int64, shape: Shape([sets, rows.count / sets, rows[0].count]))
  }

  private static func examine(
    _ chosen: Tensor, _ group: Group, head: Int = 0, scores: Tensor? = nil, _ setting: String = ""
  ) throws -> Findings {
    try Registry.standard.make(MethodSetting(parsing: "selected" + setting)).examine(
      group.subject(head) { need, _ in
        if need == .selection { return chosen }
        guard need == .indexScores, let scores else { throw Missing(need) }
        return scores
      }, MethodRun())
  }

  private static func row(_ findings: Findings, _ i: Int) throws -> [Bool] {
    try #require(findings.field("kept")).field.row(i).map { $0 == 1 }
  }

  /// Two sets serve two heads each; the overlap with the heaviest entries, by hand.
  @Test func setsAndOverlap() throws {
    let group = Self.group
    var rows: [[Int64]] = []
    for set in 0..<2 {
      for i in 0..<40 {
        let first = i * 3 + set
        rows.append((0..<5).map { slot in Int64((slot * 7 + first) % (i + 9)) })
      }
    }
    for head in 0..<4 {
      let findings = try Self.examine(Self.tensor(rows, sets: 2), group, head: head)
      var overlaps: [Double] = []
      for i in 0..<40 {
        let wanted = Set(rows[head / 2 * 40 + i].map { Int($0) })
        let kept = try Self.row(findings, i)
        #expect(Set(kept.indices.filter { kept[$0] }) == wanted)
        let p = group.dense(head, i)
        let best = Set(
          p.indices.sorted { (-p[$0], $0) < (-p[$1], $1) }.prefix(wanted.count))
        overlaps.append(
          Double(best.intersection(wanted).count) / Double(best.union(wanted).count))
      }
      let mean = overlaps.reduce(0, +) / Double(overlaps.count)
      #expect(abs(try #require(findings["overlap"]?.number) - mean) < 1e-9)
      #expect(findings["out_of_range"]?.number == 0 && findings["future"]?.number == 0)
    }
  }

  /// Huge, negative, later and repeated indices are counted and said, and keep nothing.
  @Test func hostileIndices() throws {
    let group = Self.group
    var rows = [[Int64]](repeating: [0, -1, -1, -1, -1, -1], count: 40)
    rows[0] = [.max, .min, -2, 48, 9, 10]
    rows[3] = [2, 2, 2, 5, -1, 47]
    let findings = try Self.examine(Self.tensor(rows), group)
    #expect(try !Self.row(findings, 0).contains(true))
    let third = try Self.row(findings, 3)
    #expect(third.indices.filter { third[$0] } == [2, 5])
    #expect(findings["out_of_range"]?.number == 4)
    #expect(findings["future"]?.number == 3)
    #expect(findings["repeated"]?.number == 2)
    #expect(findings["padded"]?.number == 191)
    #expect(findings.notes.contains { $0.hasPrefix("4 indices lie outside") })
    #expect(findings.notes.contains("1 rows keep no key at all"))
    let blocks = try Self.examine(Self.tensor(rows), group, ":block=1048576")
    #expect(try Self.row(blocks, 39).filter { $0 }.count == 48)
  }

  @Test func alarms() throws {
    let group = Self.group
    var window: [[Int64]] = []
    for i in 0..<40 { window.append((i + 5...i + 8).map { key in Int64(key) }) }
    var scores = [Float](repeating: 1, count: 40 * 48)
    for i in 0..<40 { for j in 30..<48 { scores[i * 48 + j] = 0 } }
    let seen = try Self.examine(
      Self.tensor(window), group, scores: Tensor(scores, shape: [1, 40, 48]))
    #expect(seen.notes.contains("the selection is only a window"))
    #expect(seen.notes.contains { $0.hasPrefix("sinks kept 0 of 4") })
    #expect(seen.notes.contains("scores are all zero beyond key 29"))
    #expect(seen["scored_keys"]?.number == 30 && seen["window_rows"]?.number == 1)
    #expect(seen["sinks_kept"]?.number == 0)
    let sinks: [[Int64]] = window.map { row in [0, 1, 2, 3] + row }
    let ones = Tensor(.init(repeating: 1, count: 1920), shape: [1, 40, 48])
    let whole = try Self.examine(Self.tensor(sinks), group, scores: ones)
    #expect(whole.notes.isEmpty && whole["sinks_kept"]?.number == 1, "\(whole.notes)")
  }

  @Test func whatIsMissing() throws {
    let subject = Subject(Self.group.all[0])
    let method = try Registry.standard.make(MethodSetting("selected"))
    let error = #expect(throws: Missing.self) { try method.examine(subject, MethodRun()) }
    let text = error.map { "\($0)" } ?? ""
    #expect(error?.need == .selection && text.contains("layers.N.selected"), "\(text)")
    #expect(throws: Missing.self) {
      try Self.examine(Self.tensor([[1], [2], [3]], sets: 3), Self.group)
    }
  }
}
