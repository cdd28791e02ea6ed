import Attention
import Foundation
import Methods
import Tensors
import Testing

/// A kernel's blocks as a probe saw them: made here from the definition in double precision, in
/// tiles of 4x4 that are written in blocks of 2x4.
@Suite struct DeployedTests {
  private static let group = LearnedTests.Group(heads: 2, queries: 48, keys: 48, causal: true)
  private static let rule = TileSpec(rows: 4, keys: 4), lambda = 0.8

  /// `[12][12]` margins of a head, by the words of the paper; nil where no row sees the block.
  private static func margins(_ head: Int) -> [[Double?]] {
    let q = group.q(head), k = group.k
    return (0..<12).map { tile in
      var top = [Double](repeating: -.infinity, count: 4)
      return (0..<12).map { block -> Double? in
        var best: Double?
        for (slot, i) in (tile * 4..<tile * 4 + 4).enumerated() {
          let seen = (block * 4..<block * 4 + 4).filter { $0 < group.limit(i) }
          guard let own = seen.map({ group.score(q[i], k[$0]) }).max() else { continue }
          best = max(best ?? -.infinity, top[slot] == -.infinity ? .infinity : own - top[slot])
          top[slot] = max(top[slot], own)
        }
        return best
      }
    }
  }

  /// The array of a kernel that follows the rule: `[24][12]` blocks of 2x4 of a head.
  private static func probed(_ head: Int) -> [[UInt8]] {
    let margins = margins(head)
    return (0..<24).map { row in
      (0..<12).map { key in
        guard key <= row / 2, let margin = margins[row / 2][key] else { return 255 }
        return margin < log(lambda) ? 1 : 0
      }
    }
  }

  private static func examine(_ heads: [[[UInt8]]], _ focus: Int, rule: TileSpec? = rule) throws
    -> Findings
  {
    let bytes = heads.flatMap { $0.flatMap { $0 } }
    let storage = OwnedStorage(byteCount: bytes.count) { out in
      bytes.withUnsafeBytes { out.copyMemory(from: $0) }
    }
    let all = Tensor(storage: storage, dtype: .uint8, shape: Shape([2, 24, bytes.count / 48]))
    var subject = group.subject(focus) { need, _ in
      guard need == .probe else { throw Missing(need) }
      return all
    }
    subject.probe = Probe(tile: (2, 4), lambda: lambda, rule: rule)
    return try Registry.standard.make(MethodSetting("deployed")).examine(subject, MethodRun())
  }

  @Test(arguments: [0, 1]) func aKernelThatFollowsItsRule(_ head: Int) throws {
    let findings = try Self.examine([Self.probed(0), Self.probed(1)], head)
    let all = Self.margins(head).flatMap { $0 }.compactMap { $0 }
    let skipped = all.count { $0 < log(Self.lambda) }
    #expect(skipped > 0 && findings["disagreements"]?.number == 0)
    let share = Double(skipped) / Double(all.count)
    #expect(abs(try #require(findings["sparsity"]?.number) - share) < 1e-12)
    #expect(findings["expected_sparsity"]?.number == findings["sparsity"]?.number)
    let near = try #require(all.filter(\.isFinite).map { abs($0 - log(Self.lambda)) }.min())
    #expect(abs(try #require(findings["nearest_margin"]?.number) - near) < 1e-4)
    #expect(findings["unsure"]?.number == 0 && findings.notes.isEmpty)
    #expect(findings["worst_margin"]?.number == nil)
  }

  /// One skipped tile is computed after all, one is unsure: the first is named with its margin, the
  /// second counts as computed and is no disagreement.
  @Test func flippedAndUnsure() throws {
    var heads = [Self.probed(0), Self.probed(1)]
    let margins = Self.margins(0)
    let skipped = (0..<144).filter { index in
      margins[index / 12][index % 12].map { $0 < log(Self.lambda) } ?? false
    }
    let (flipped, unsure) = (try #require(skipped.first), try #require(skipped.last))
    try #require(flipped != unsure)
    for (tile, value) in [(flipped, UInt8(0)), (unsure, 2)] {
      for row in [tile / 12 * 2, tile / 12 * 2 + 1] where heads[0][row][tile % 12] != 255 {
        heads[0][row][tile % 12] = value
      }
    }
    let findings = try Self.examine(heads, 0)
    #expect(findings["disagreements"]?.number == 1 && findings["unsure"]?.number == 1)
    #expect(findings["skipped_blocks"]?.number == Double(skipped.count - 2))
    let wanted = try #require(margins[flipped / 12][flipped % 12])
    #expect(abs(try #require(findings["worst_margin"]?.number) - wanted) < 1e-4)
    let apart = try #require(findings.field("disagreements_at")).field.row(flipped / 12)
    #expect(abs(Double(apart[flipped % 12]) - wanted) < 1e-4)
    #expect(apart.count { !$0.isNaN } == 1)
    let blocks = try #require(findings.field("blocks")).field.row(unsure / 12)
    #expect(blocks[unsure % 12] == 2)
    let kept = try #require(findings.field("kept")).field.row(unsure / 12 * 4 + 3)
    #expect(kept[unsure % 12 * 4] == 1)
  }

  @Test func whatIsMissing() throws {
    let method = try Registry.standard.make(MethodSetting("deployed"))
    let none = #expect(throws: Missing.self) {
      try method.examine(Subject(Self.group.all[0]), MethodRun())
    }
    #expect(none.map { "\($0)" } == "needs a probe: attnscope.probe writes one")
    var odd = Self.probed(0)
    odd[0][0] = 7
    let wrong = #expect(throws: Missing.self) { try Self.examine([odd, odd], 0) }
    #expect(wrong.map { "\($0)" }?.contains("hold 7") ?? false)
    let wide = Self.probed(0).map { $0 + $0 }
    #expect(throws: Missing.self) { try Self.examine([wide, wide], 0) }
    let free = try Self.examine([Self.probed(0), Self.probed(1)], 0, rule: nil)
    #expect(free["expected_sparsity"]?.number == nil && free.notes.count == 1)
  }
}
