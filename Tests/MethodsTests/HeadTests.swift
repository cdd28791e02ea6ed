import Attention
import Foundation
import Methods
import Support
import Tensors
import Testing

/// Cards S16, S17 and S20: sinks, dependence on queries, and heads moved to the identity.
@Suite struct HeadTests {
  private static func examine(_ setting: String, _ subject: Subject) throws -> Findings {
    try ReweightingTests.examine(setting, subject)
  }

  private static func number(_ findings: Findings, _ name: String) throws -> Double {
    try ReweightingTests.number(findings, name)
  }

  /// A stored pattern.
  private static func pattern(_ rows: [[Double]], causal: Bool = false) -> Head {
    Head(
      pattern: Tensor(
        rows.flatMap { $0.map(Float.init) }, shape: [rows.count, rows[0].count]), causal: causal)
  }

  // MARK: UNIP

  private static let patterns: [([[Double]], Double)] = {
    func square(_ n: Int, _ rule: (Int, Int) -> Double) -> [[Double]] {
      (0..<n).map { i in (0..<n).map { rule(i, $0) } }
    }
    return [
      (square(6) { $0 == $1 ? 1 : 0 }, 1),
      (square(6) { $1 == 2 ? 0.75 : 0.05 + 0 * Double($0) }, 0),
      (square(4) { $0 / 2 == $1 / 2 ? 0.5 : 0 }, 0.5),
      (square(16) { $0 / 8 == $1 / 8 ? 0.125 : 0 }, 0.25),
      (square(4) { ($0 == $1 ? 0.5 : 0) + 0.125 }, 0.22560),
      (square(4) { $1 == 1 ? 1 : 0 * Double($0) }, 0),
    ]
  }()

  @Test(arguments: patterns) func nmiOfTheCard(_ rows: [[Double]], _ wanted: Double) throws {
    let found = try Self.examine("unip", Subject(Self.pattern(rows)))
    #expect(abs(try Self.number(found, "nmi") - wanted) < 1e-5)
    // The same names for queries and keys, or for keys alone.
    let order = rows.indices.sorted { ($0 * 5 + 3) % 7 < ($1 * 5 + 3) % 7 }
    let both = order.map { i in order.map { rows[i][$0] } }
    let keys = rows.map { row in order.map { row[$0] } }
    for other in [both, keys] {
      let again = try Self.examine("unip", Subject(Self.pattern(other)))
      #expect(abs(try Self.number(again, "nmi") - wanted) < 1e-5)
    }
    let mi = try Self.number(found, "mutual_information")
    let most = min(log(Double(rows.count)), try Self.number(found, "key_entropy"))
    #expect(mi >= 0 && mi <= most)
  }

  /// Distances on the grid, without a class token; the layer nearest to s.
  @Test func distanceAndChoice() throws {
    let grid = TokenFacts(grid: .init(rows: 2, columns: 3))
    let stay = (0..<7).map { i in (0..<7).map { i == $0 ? 1.0 : 0 } }
    // Every patch looks at the first one; the class token takes half of each row.
    let first = (0..<7).map { _ in (0..<7).map { $0 < 2 ? 0.5 : 0 } }
    let subject = Subject(
      layers: [[Self.pattern(stay)], [Self.pattern(first)]], numbers: [3, 8], focus: (1, 0),
      tokens: grid)
    let found = try Self.examine("unip", subject)
    let wanted = (0 + 1 + 2 + 1 + 2.0.squareRoot() + 5.0.squareRoot()) / 6
    #expect(abs(try Self.number(found, "distance") - wanted) < 1e-6)
    #expect(try Self.number(found, "chosen_layer") == 8 && Self.number(found, "nmi") == 0)
    #expect(try ReweightingTests.rows(found, "band") == [[2], [0]])
    #expect(found.series("key_mass")?[0].isNaN == true && found.series("key_mass")?[1] == 1)
    let causal = try Self.examine("unip", Subject(Bench.random.head))
    #expect(causal["band"] == nil && causal["distance"]?.number == nil)
  }

  // MARK: Sinks

  @Test func alphaOfUniformRows() throws {
    let found = try Self.examine("sinks", Subject(Bench.uniform.head))
    let harmonic = (1...64).reduce(0.0) { $0 + 1 / Double($1) }
    #expect(abs(try Self.number(found, "alpha_k") - harmonic / 64) < 1e-6)
    #expect(abs(harmonic / 64 - 0.07412) < 1e-5)
    #expect(try Self.number(found, "sink_rate") == 0)
    // The last key is seen by one row alone.
    #expect(abs(Double(try #require(found.series("importance")?.last)) - 1 / 64.0) < 1e-7)
  }

  @Test func allOnTheFirst() throws {
    let rows = (0..<64).map { _ in (0..<64).map { $0 == 0 ? 1.0 : 0 } }
    let subject = Subject(Self.pattern(rows, causal: true))
    let found = try Self.examine("sinks", subject)
    #expect(try Self.number(found, "alpha_k") == 1 && Self.number(found, "sink_rate") == 1)
    #expect(try Self.number(Self.examine("sinks:epsilon=1", subject), "sink_rate") == 0)
    #expect(try Self.number(found, "residual_mass") == 0)
    #expect(found["sink_logit"]?.number == nil && found["key_bias"] == nil)
    for input in Bench.allCases {
      let all = try Self.examine("sinks:epsilon=-0.01", Subject(input.head))
      #expect(try Self.number(all, "sink_rate") == 1)
      guard case .curve(let curve)? = all["rate_by_epsilon"]?.content else { throw Missing(.layer) }
      #expect(zip(curve.points, curve.points.dropFirst()).allSatisfy { $0.y >= $1.y })
      #expect(curve.points.last?.y == 0)
    }
  }

  /// An extra key of logit b and a value of 0 scales rows by Z / (Z + e^b); without the key the
  /// rest is renormalised; more logit, more α.
  @Test(arguments: PackTests.cases) func keyBias(_ input: PackTests.Case) throws {
    let found = try Self.examine("sinks:b=1.5,T=0", Subject(input.head)), dense = input.dense
    let biased = try ReweightingTests.rows(found, "key_bias")
    let rest = try ReweightingTests.rows(found, "without_sink")
    for i in 0..<input.queries {
      let seen = input.scores[i].prefix(input.limit(i)), z = seen.reduce(0) { $0 + exp($1) }
      for j in seen.indices {
        #expect(abs(biased[i][j] - dense[i][j] * z / (z + exp(1.5))) < 1e-6)
        let wanted = j == 0 || seen.count == 1 ? 0 : dense[i][j] / (1 - dense[i][0])
        #expect(abs(rest[i][j] - wanted) < 1e-5)
      }
    }
    let alpha = (0..<input.queries).reduce(0) { $0 + dense[$1][0] } / Double(input.queries)
    #expect(abs(try Self.number(found, "alpha_k") - alpha) < 1e-6)
    #expect(abs(try Self.number(found, "residual_mass") - (1 - alpha)) < 1e-6)
  }

  @Test func moreLogitMoreSink() throws {
    var last = 0.0
    for shift in [-2.0, 0, 1, 3] {
      var logits = [[Double]](repeating: [Double](repeating: 0, count: 12), count: 12)
      for i in 0..<12 {
        for j in 0..<12 { logits[i][j] = Double((i * 7 + j * 3) % 5) / 3 }
        logits[i][0] += shift
      }
      let head = ReweightingTests.head(logits, causal: true)
      let alpha = try Self.number(Self.examine("sinks", Subject(head)), "alpha_k")
      #expect(alpha > last)
      last = alpha
    }
  }

  // MARK: SoftPAG

  @Test(arguments: PackTests.cases.filter { $0.causal || $0.queries == $0.keys })
  func softPAG(_ input: PackTests.Case) throws {
    let subject = Subject(input.head), dense = input.dense
    let value = try #require(input.head.value)
    let values = (0..<input.keys).map { value[$0].floats().map(Double.init) }
    for u in [0.0, 0.5, 1.0] {
      let found = try Self.examine("softpag:u=\(u),w=0", subject)
      let map = try ReweightingTests.rows(found, "map")
      var trace = 0.0
      for i in 0..<input.queries {
        let at = input.position(i)
        trace += dense[i][at] / Double(input.queries)
        for j in 0..<input.limit(i) {
          #expect(abs(map[i][j] - ((1 - u) * dense[i][j] + (j == at ? u : 0))) < 1e-5)
        }
        #expect(abs(map[i].prefix(input.limit(i)).reduce(0, +) - 1) < 1e-5)
      }
      #expect(abs(try Self.number(found, "diagonal_after") - ((1 - u) * trace + u)) < 1e-6)
      let out = try ReweightingTests.rows(found, "output")
      let guided = try ReweightingTests.rows(found, "guided")
      let plain = dense.map { weights in
        let sums: [Double] = (0..<8).map { x in
          zip(weights, values).reduce(0) { $0 + $1.0 * $1.1[x] }
        }
        return sums
      }
      for i in 0..<input.queries {
        let own = values[input.position(i)]
        for x in 0..<8 {
          #expect(abs(out[i][x] - ((1 - u) * plain[i][x] + u * own[x])) < 1e-5)
          #expect(abs(guided[i][x] - plain[i][x]) < 1e-5)
        }
      }
    }
  }

  /// Rounds take the next largest guidance; other tokens have no identity.
  @Test func headsByRound() throws {
    let heads = (0..<3).map {
      PackTests.Case(seed: 20 + $0, queries: 20, keys: 20, causal: true).head
    }
    let subject = Subject(layers: [heads, [Bench.uniform.head]], focus: (0, 1))
    let found = try Self.examine("softpag:k=1,rounds=3", subject)
    let sizes = try ReweightingTests.rows(found, "objective")
    let rounds = try ReweightingTests.rows(found, "round")
    let flat = zip(sizes.joined(), rounds.joined()).filter { !$0.0.isNaN }
    let sorted = flat.sorted { $0.0 > $1.0 }.map(\.1)
    #expect(sorted == [1, 2, 3, 0] && sizes[1][1].isNaN)
    let half = try Self.examine("softpag:u=0.25", subject)
    let other = try ReweightingTests.rows(half, "objective")
    for (a, b) in zip(sizes[0], other[0]) { #expect(abs(a - 2 * b) < 1e-4) }
    let cross = PackTests.Case(seed: 3, queries: 4, keys: 9, causal: false).head
    let none = try Self.examine("softpag", Subject(cross))
    #expect(none["map"] == nil && none.notes.contains { $0.hasPrefix("n/a") })
  }
}
