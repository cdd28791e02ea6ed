import Algebra
import Attention
import Foundation
import Methods
import Support
import Tensors
import Testing

/// Heads with NaN and infinities through every method that reweights rows or puts a kernel in the
/// place of softmax: nothing traps, curves hold finite points alone, and rows that saw nothing of
/// the odd number are what they were.
@Suite struct RowwiseOddNumbersTests {
  /// What is put in, and where: row 9 of Q, key 13, or everything.
  enum Odd: String, CaseIterable, Sendable {
    case none, query, key, value, infiniteQuery, infiniteKey, minusInfiniteKey, huge, everything
    case scores, infiniteScores, pattern, infinitePattern
  }

  static let n = 24

  /// 24 tokens of 4 channels, drawn by a seed.
  static func head(_ odd: Odd, causal: Bool) -> Head {
    var random = Seeded(40)
    var q = random.tensor([n, 4]).floats(), k = random.tensor([n, 4]).floats()
    var v = random.tensor([n, 4]).floats()
    var map = (0..<n * n).map { Float($0 % 7 + 1) }
    switch odd {
    case .none: break
    case .query: q[9 * 4 + 1] = .nan
    case .key: k[13 * 4 + 2] = .nan
    case .value: v[13 * 4] = .nan
    case .infiniteQuery: q[9 * 4 + 1] = .infinity
    case .infiniteKey: k[13 * 4 + 2] = .infinity
    case .minusInfiniteKey: k[13 * 4 + 2] = -.infinity
    case .huge: k[13 * 4 + 2] = 3e38
    case .everything: (q, k, v) = (q.map { _ in .nan }, k.map { _ in .nan }, v.map { _ in .nan })
    case .scores, .pattern: map[9 * n + 3] = .nan
    case .infiniteScores, .infinitePattern: map[9 * n + 3] = .infinity
    }
    let value = Tensor(v, shape: [n, 4]), stored = Tensor(map, shape: [n, n])
    switch odd {
    case .scores, .infiniteScores: return Head(scores: stored, causal: causal)
    case .pattern, .infinitePattern: return Head(pattern: stored, causal: causal)
    default:
      return Head(
        query: Tensor(q, shape: [n, 4]), key: Tensor(k, shape: [n, 4]), value: value,
        causal: causal)
    }
  }

  /// Every id and variant of the two families, and the knobs that read more of a head.
  static let settings: [String] =
    Registry.standard.cards.filter { ["kernel", "reweighting"].contains($0.family) }.flatMap {
      [$0.id] + $0.variants.keys.sorted()
    } + [
      "flashbias:bias=fit", "nprf:bias=fit,m=8", "alibi:slopes=heads", "taylor:P=9,cut=true",
      "taylor:denominator=L2norm", "inline:local=line", "l2vit:tau=0.5", "ssa:value=position",
      "affine:alpha=U0", "soft:landmarks=block-first", "hedgehog:features=exp",
      "sigmoid:tile=8,tau=0.5",
    ]

  /// The text of a setting, brought to few steps where it learns.
  private static func text(_ setting: String) -> String {
    setting == "hedgehog-fit" ? "hedgehog-fit:steps=2" : setting
  }

  @Test(arguments: settings, [true, false])
  func nothingTraps(_ setting: String, _ causal: Bool) throws {
    for odd in Odd.allCases {
      let found: Findings
      do {
        found = try RowwiseTests.examine(Self.text(setting), Self.head(odd, causal: causal))
      } catch is Missing { continue }
      for finding in found.all {
        guard case .curve(let curve) = finding.content else { continue }
        let isFinite = curve.points.allSatisfy { $0.x.isFinite && $0.y.isFinite }
        #expect(isFinite, "\(setting), \(odd), causal \(causal): \(finding.name)")
      }
    }
  }

  /// Whose rows hang on rows beside them: by a mean or a deviation over the text, by what was
  /// fitted, or by landmarks.
  private static let mixed: Set<String> = [
    "affine", "ssa", "hedgehog-fit", "soft", "soft-tied", "soft-nystrom", "soft-nystrom-symmetric",
    "soft:landmarks=block-first", "softpag", "rala", "l2vit-smoothed", "ssa:value=position",
  ]

  /// A NaN in one query is in one row, and none in the others; one in a key is in no row before it.
  @Test(arguments: settings.filter { !mixed.contains($0) }) func otherRowsStay(_ setting: String)
    throws
  {
    let clean = try? RowwiseTests.map(
      RowwiseTests.examine(setting, Self.head(.none, causal: true)))
    guard let clean else { return }
    for (odd, rows) in [
      (Odd.query, Array(0..<9) + Array(10..<Self.n)), (.infiniteQuery, Array(0..<9)),
      (.key, Array(0..<13)), (.infiniteKey, Array(0..<13)), (.value, Array(0..<Self.n)),
    ] {
      let map = try ReweightingTests.rows(
        RowwiseTests.examine(setting, Self.head(odd, causal: true)), "map")
      for row in rows {
        let seen = map[row][...row], wanted = clean[row][...row]
        let hair = setting.contains("fit") ? Double.infinity : 1e-6
        let isSame = zip(seen, wanted).allSatisfy { abs($0 - $1) <= hair }
        #expect(isSame, "\(setting), \(odd), row \(row): \(seen)")
      }
      guard odd == .query, !setting.hasPrefix("gated") else { continue }
      #expect(map[9][...9].contains { !$0.isFinite || $0 == 0 }, "\(setting): \(map[9])")
    }
  }

  /// What is counted of weights counts those that are numbers: shares of the histogram sum to 1.
  @Test(arguments: [Odd.query, .key, .infiniteKey, .everything])
  func histogramsCountNumbers(_ odd: Odd) throws {
    let found = try RowwiseTests.examine("sigmoid", Self.head(odd, causal: false))
    guard case .curve(let curve)? = found["gates"]?.content else { throw Missing(.length) }
    let sum = curve.points.reduce(0) { $0 + $1.y }
    #expect(abs(sum - (odd == .everything ? 0 : 1)) < 1e-9)
    let map = try ReweightingTests.rows(found, "map").joined().filter(\.isFinite)
    let low = map.count { $0 < 0.01 }
    if map.isEmpty {
      #expect(found["saturated_low"]?.number == nil)
    } else {
      let share = Double(low) / Double(map.count)
      #expect(abs(try RowwiseTests.number(found, "saturated_low") - share) < 1e-12)
    }
  }

  /// α is of the queries that have a length; the others have none, and their rows are no numbers.
  @Test func alphaOfKnownLengths() throws {
    let clean = Self.head(.none, causal: true), odd = Self.head(.query, causal: true)
    let found = try RowwiseTests.examine("affine", odd)
    let alpha = try #require(found.series("alpha")).map(Double.init)
    #expect(alpha[9].isNaN && alpha.count(where: \.isNaN) == 1)
    let query = try #require(clean.queryAndKey).query
    let known = (0..<Self.n).filter { $0 != 9 }
    let norms = known.map { row in
      RowwiseTests.dot(query[row].floats(), query[row].floats()).squareRoot()
    }
    let wanted = AffineTests.standardised(norms).map { min(1, max(0, 0.5 + 0.1 * $0)) }
    for (row, a) in zip(known, wanted) { #expect(abs(alpha[row] - a) < 1e-6) }
    let mean = wanted.reduce(0, +) / Double(wanted.count)
    #expect(abs(try RowwiseTests.number(found, "alpha_ma") - mean) < 1e-6)
  }
}
