import Analysis
import Attention
import Foundation
import Methods
import Support
import Tensors
import Testing

/// The golden fixture G4: four queries and keys of width 2, and values.
enum G4 {
  static let query: [Float] = [1, -1, 0.5, 2, -1, 0.5, 2, 1]
  static let key: [Float] = [1, 0, -1, 1, 0.5, 0.5, 1, -2]
  static let value: [Float] = [1, 0, 0, 1, 1, 1, -1, 2]

  static func head(causal: Bool = true) -> Head {
    Head(
      query: Tensor(query, shape: [4, 2]), key: Tensor(key, shape: [4, 2]),
      value: Tensor(value, shape: [4, 2]), causal: causal)
  }

  static func values(_ x: [Float]) -> [[Double]] {
    stride(from: 0, to: x.count, by: 2).map { [Double(x[$0]), Double(x[$0 + 1])] }
  }
}

/// The eight inputs of the shared bench, as Q, K and V whose logits are those of the rule where a
/// rule says them.
enum Bench: String, CaseIterable, Sendable {
  case uniform, identity, column, diagonal, blocks, sinkLocal, random, needle

  static let n = 64

  /// Logit of (i, j); nil for the input of random projections.
  private func logit(_ i: Int, _ j: Int) -> Float {
    switch self {
    case .uniform, .random: 0
    case .identity: i == j ? 20 : 0
    case .column: j == 20 && i >= 20 ? 12 : 0
    case .diagonal: i - j == 9 ? 12 : 0
    case .blocks: i / 16 == j / 16 ? 6 : 0
    case .sinkLocal: (j == 0 ? 8 : 0) + (i - j < 8 && j <= i ? 4 : 0)
    case .needle: i == 10 && j == 3 ? 12 : 0
    }
  }

  /// Keys are unit vectors, so that a query is its row of logits.
  var head: Head {
    let n = Self.n
    guard self != .random else {
      var random = Seeded(7)
      func draw(_ count: Int) -> [Float] {
        (0..<count).map { _ in Float(Double.random(in: -1...1, using: &random)) * 1.7 }
      }
      return Head(
        query: Tensor(draw(n * 32), shape: [n, 32]), key: Tensor(draw(n * 32), shape: [n, 32]),
        value: Tensor(draw(n * 8), shape: [n, 8]), causal: true)
    }
    let query = (0..<n * n).map { logit($0 / n, $0 % n) }
    let key = (0..<n * n).map { $0 / n == $0 % n ? Float(1) : 0 }
    var random = Seeded(11)
    let value = (0..<n * 8).map { _ in Float(Double.random(in: -1...1, using: &random)) }
    return Head(
      query: Tensor(query, shape: [n, n]), key: Tensor(key, shape: [n, n]),
      value: Tensor(value, shape: [n, 8]), causal: true, scale: 1)
  }
}

@Suite struct GoldenTests {
  /// Residuals that a rule gives, for methods over depth: `[5, 6, 4]`; probabilities, and texts of
  /// which the second half is the first again. Methods that ask for an image get one within the
  /// text: three patches of the short input, 48 of the others.
  private static func subject(_ head: Head, _ needs: Set<Need>) -> Subject {
    let isImage = !needs.isDisjoint(with: [.roles, .imageGrid])
    let grid = isImage ? TokenFacts.Grid(head.keys == 4 ? "1x3@0" : "6x8@8") : .init("2x2")
    let texts = (0..<head.keys).map { "\($0 % max(head.keys / 2, 1))" }
    let facts = TokenFacts(texts: texts, grid: grid)
    var subject = Subject(layers: [[head]], tokens: facts) { need, _ in
      // Every fourth block was skipped.
      if need == .probe {
        let (down, across) = ((head.queries + 15) / 16, (head.keys + 15) / 16)
        let blocks = (0..<down * across).map { $0 % 4 == 2 ? Float(1) : 0 }
        return Tensor(blocks, shape: [1, down, across])
      }
      // Every third key from the first on, and the query's own.
      if need == .selection {
        let (rows, last) = (head.queries, head.visibility.position(row: 0))
        let chosen = (0..<rows).flatMap { row in
          (0..<8).map { slot in
            let key = slot == 0 ? row + last : 3 * (slot - 1)
            return Float(key <= row + last && (slot == 0 || key < row + last) ? key : -1)
          }
        }
        return Tensor(chosen, shape: [1, rows, 8])
      }
      if need == .probabilities {
        return Tensor((0..<head.keys).map { Float(($0 * 5 + 3) % 11) / 11 }, shape: [head.keys])
      }
      guard need == .residuals else { throw Missing(need) }
      return Tensor((0..<120).map { Float(($0 * 37 + 11) % 23) - 11 }, shape: [5, 6, 4])
    }
    subject.probe = Probe(tile: (16, 16), lambda: 0.1, rule: TileSpec(rows: 16, keys: 16))
    return subject
  }

  private static func text(_ value: Double) -> String {
    guard value.isFinite else { return "\(value)" }
    // Five digits, and nothing below what float sums in another order may move.
    if abs(value) < 2e-6 { return "0" }
    return String(format: "%.5g", value)
  }

  private static func lines(_ id: String, _ input: String, _ head: Head) throws -> [String] {
    let method = try Registry.standard.make(MethodSetting(id))
    let findings = try method.examine(
      subject(head, type(of: method).card.needs), MethodRun())
    return try findings.all.map { finding in
      let start = "\(input) \(finding.name) "
      switch finding.content {
      case .number(let value, _): return start + (value.map(text) ?? "-")
      case .series(let axis, let values, _):
        return start + "\(axis.kind.rawValue) \(axis.count) sum \(text(total(values)))"
      case .field(let field, _):
        var all: [Float] = []
        try field.withRows(0..<field.rows.count) { _, row in all += row }
        let seen = all.filter { !$0.isNaN }.count
        return start
          + "\(field.rows.count)x\(field.columns.count) seen \(seen) sum \(text(total(all)))"
      case .curve(let curve):
        return start + "\(curve.points.count) points, last \(text(curve.points.last?.y ?? 0))"
      case .spans(let spans, let lanes, _):
        return start
          + "\(spans.count) spans on \(lanes.count), end \(text(spans.map(\.to).max() ?? 0))"
      }
    }
  }

  private static func total(_ values: [Float]) -> Double {
    values.reduce(0) { $1.isFinite ? $0 + Double($1) : $0 }
  }

  /// Every method of the registry on G4, causal and not, and on the eight inputs of the bench:
  /// against texts in Golden, which RECORD_GOLDEN=1 writes anew.
  @Test(arguments: Registry.standard.cards.map(\.id)) func everyMethodOnEveryInput(_ id: String)
    throws
  {
    var lines = try Self.lines(id, "g4", G4.head())
    do {
      lines += try Self.lines(id, "g4-bidirectional", G4.head(causal: false))
    } catch {
      // Methods that count tokens back refuse, in words.
      guard let missing = error as? Missing else { throw error }
      lines.append("g4-bidirectional \(missing)")
    }
    for input in Bench.allCases { lines += try Self.lines(id, input.rawValue, input.head) }
    let file = URL(fileURLWithPath: #filePath).deletingLastPathComponent()
      .appendingPathComponent("Golden/\(id).txt")
    if ProcessInfo.processInfo.environment["RECORD_GOLDEN"] == "1" {
      try (lines.joined(separator: "\n") + "\n").write(to: file, atomically: true, encoding: .utf8)
    }
    let golden = try String(contentsOf: file, encoding: .utf8).split(separator: "\n").map(
      String.init)
    #expect(
      lines.count == golden.count, "\(id) says \(lines.count) things, the golden \(golden.count)")
    for (line, wanted) in zip(lines, golden) {
      let isLoose = Self.magnified[id]?.contains { wanted.hasPrefix($0) } == true
      guard !(isLoose ? Self.sayTheSame(line, wanted) : Self.agree(line, wanted)) else { continue }
      Issue.record("\(id): \(line), golden: \(wanted)")
    }
  }

  /// Beginnings of lines whose numbers are another on another processor, by method; names and kinds
  /// are held to the golden all the same.
  ///
  /// The fit of Hedgehog divides every slope by its own size, as Adam does. On `blocks`, whose
  /// equal queries cancel, slopes are rounding and steps are full ones: a scale of 1 + 1e-13 moves
  /// the sum of H by a fifth within 20 steps, so that fewer steps are no remedy. On `column` a rank
  /// is decided by what is left of it, 1e-3 after 200 steps. All other inputs stay within 1e-7.
  private static let magnified: [String: [String]] = [
    "hedgehog-fit": [
      "effective_rank", "numerical_rank", "entropy", "error", "h_query", "h_key", "kl_softmax",
      "loss_end", "loss 201", "map_gap", "max_weight", "output", "sink_mass", "spikiness",
      "rank_correlation", "weight_by_score",
    ].map { "blocks \($0)" } + ["column rank_correlation"]
  ]

  /// Equal words, whatever the numbers.
  private static func sayTheSame(_ line: String, _ wanted: String) -> Bool {
    let a = line.split(separator: " "), b = wanted.split(separator: " ")
    return a.count == b.count
      && zip(a, b).allSatisfy { $0 == $1 || (Double($0) != nil && Double($1) != nil) }
  }

  /// Equal words, and numbers to a few parts in ten thousand: instruction sets sum in different
  /// orders.
  private static func agree(_ line: String, _ wanted: String) -> Bool {
    let a = line.split(separator: " "), b = wanted.split(separator: " ")
    guard a.count == b.count else { return false }
    return zip(a, b).allSatisfy { x, y in
      if x == y { return true }
      guard let p = Double(x), let q = Double(y) else { return false }
      return abs(p - q) <= 2e-4 * max(abs(p), abs(q)) + 5e-6
    }
  }

  /// Row 4 of W, its sum, and the error over all rows, as the card prints them.
  @Test(arguments: [
    ("lucid", [0.220215, -0.027651, 0.321714, 0.117722], 0.632000, 0.198744),
    ("lucid:strength=0", [0.484220, 0.058045, 0.340013, 0.117722], 1.0, 0.0),
  ]) func tableOfG4(_ setting: String, _ row: [Double], _ sum: Double, _ error: Double) throws {
    let method = try Registry.standard.make(MethodSetting(parsing: setting))
    let findings = try method.examine(Subject(G4.head()), MethodRun())
    let map = try #require(findings.field("map"))
    let last = try map.field.row(3).map(Double.init)
    for (got, wanted) in zip(last, row) { #expect(abs(got - wanted) < 2e-6, "\(last)") }
    #expect(abs(last.reduce(0, +) - sum) < 2e-6)
    #expect(abs(try #require(findings["error"]?.number) - error) < 2e-6)
  }

  /// Identities 1, 4 and 5 of every mask method, on every input: nothing unseen is kept, every row
  /// keeps something, the oracle is never worse, KL is -ln R, and the error is bounded by the
  /// recall.
  /// Identities 1, 4 and 5 of every mask method, on every input: nothing unseen is kept, every row
  /// that is computed keeps something, the oracle is never worse, KL is -ln R, and the error is
  /// bounded by the recall.
  @Test(
    arguments: Registry.standard.methods.filter { $0 is any MaskMethod.Type }.map { $0.card.id })
  func identitiesOfMasks(_ id: String) throws {
    let leavesOut = (Registry.standard.method(id) as? any MaskMethod.Type)?.leavesRowsOut == true
    for input in Bench.allCases {
      let head = input.head
      let findings = try Registry.standard.make(MethodSetting(id)).examine(
        Subject(head), MethodRun())
      let kept = try #require(findings.field("kept")).field
      let dense = ReferenceAttention(HeadGroup([head])).run(
        TileSpec(rows: 64, keys: 64), lambda: 0)
      var recalls: [Double] = [], gap = 0.0, held = 0
      for i in 0..<Bench.n {
        let flags = try kept.row(i), limit = head.visibility.limit(row: i)
        let isUnseen = flags[limit...].allSatisfy(\.isNaN)
        #expect(isUnseen, "\(input) \(i)")
        let isKept = flags[..<limit].contains(1)
        #expect(leavesOut || isKept, "\(input) \(i)")
        let p = Array(dense.patterns[0][i * Bench.n..<i * Bench.n + limit])
        let count = flags[..<limit].filter { $0 == 1 }.count
        held += count
        guard count > 0 else { continue }
        let recall = zip(p, flags).reduce(0) { $0 + ($1.1 == 1 ? $1.0 : 0) }
        recalls.append(recall)
        gap += p.sorted(by: >).prefix(count).reduce(0, +) - recall
        if input == .uniform {
          #expect(abs(recall - Double(count) / Double(limit)) < 1e-9)
        }
      }
      let n = Double(Bench.n), computed = Double(recalls.count)
      func said(_ name: String) throws -> Double { try #require(findings[name]?.number) }
      #expect(abs(try said("recall_mean") - recalls.reduce(0, +) / computed) < 1e-5)
      #expect(abs(try said("recall_min") - (recalls.min() ?? 0)) < 1e-5)
      #expect(abs(try said("kl") + recalls.map { log($0) }.reduce(0, +) / computed) < 2e-4)
      #expect(abs(try said("oracle_gap") - gap / computed) < 1e-5)
      #expect(try said("oracle_gap") >= 0)
      if leavesOut { #expect(try said("rows_left_out") == n - computed) }
      #expect(abs(try said("density") - Double(held) / (n * (n + 1) / 2)) < 1e-9)
    }
  }
}
