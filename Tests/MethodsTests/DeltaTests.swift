import Attention
import Foundation
import Methods
import Support
import Tensors
import Testing

/// The checks of card S6, and its maps against a second computation.
@Suite struct DeltaTests {
  private static func examine(_ setting: String, _ head: Head) throws -> Findings {
    try Registry.standard.make(MethodSetting(parsing: setting)).examine(Subject(head), MethodRun())
  }

  private static func rows(_ findings: Findings, _ name: String) throws -> [[Double]] {
    let field = try #require(findings.field(name)).field
    return try (0..<field.rows.count).map { try field.row($0).map(Double.init) }
  }

  /// Random walks of `steps` tokens in `d` channels, as keys; queries are drawn.
  private static func walk(_ steps: Int, _ d: Int, causal: Bool = true) -> (Head, [[Double]]) {
    var random = Seeded(17)
    func draw(_ size: Double) -> Double { Double.random(in: -size...size, using: &random) }
    var at = [Double](repeating: 0, count: d), keys: [[Double]] = []
    for _ in 0..<steps {
      at = at.map { Double(Float($0 + draw(0.16))) }
      keys.append(at)
    }
    let query = (0..<steps * d).map { _ in Float(draw(1.5)) }
    let head = Head(
      query: Tensor(query, shape: [steps, d]),
      key: Tensor(keys.flatMap { $0.map(Float.init) }, shape: [steps, d]),
      value: Tensor(query, shape: [steps, d]), causal: causal)
    return (head, keys)
  }

  // MARK: Checks

  @Test(arguments: PackTests.cases, ["theta=0,window=0", "theta=100,window=1000", "sparsity=0"])
  func denseWhereNothingIsLost(_ input: PackTests.Case, _ knobs: String) throws {
    let map = try Self.rows(try Self.examine("delta:\(knobs)", input.head), "map")
    for (i, row) in input.dense.enumerated() {
      for j in 0..<input.keys {
        #expect(j < input.limit(i) ? abs(map[i][j] - row[j]) < 1e-6 : map[i][j].isNaN)
      }
    }
  }

  @Test func constantKeysAreSentOnce() throws {
    let head = Head(
      query: Tensor([1, 2, 3, 4, 5, 6], shape: [3, 2]),
      key: Tensor([1, 2, 1, 2, 1, 2], shape: [3, 2]), value: nil, causal: true)
    let found = try Self.examine("delta:theta=0,window=0", head)
    #expect(found["element_sparsity"]?.number == 1 && found["vector_sparsity"]?.number == 1)
    #expect(try Self.rows(found, "delta") == [[1, 1], [0, 0], [0, 0]])
    // Of six pairs three are of the first key, whose elements are always sent.
    #expect(found["macs_saved"]?.number == 0.5)
    #expect(found["trade_off"] == nil)
  }

  /// Check 3: what was sent last is compared with; against the key before, errors add up.
  @Test func errorsStayBelowTheThreshold() throws {
    let (head, keys) = Self.walk(200, 8)
    let found = try Self.examine("delta:theta=0.3", head)
    let error = try #require(found["key_error_max"]?.number)
    let sparsity = try #require(found["element_sparsity"]?.number)
    #expect(error <= 0.3 && error > 0.25 && sparsity > 0.85 && sparsity < 0.97)
    var held = keys[0], most = 0.0
    for t in 1..<200 {
      for c in 0..<8 {
        let change = keys[t][c] - keys[t - 1][c]
        if abs(change) > 0.3 { held[c] += change }
        most = max(most, abs(held[c] - keys[t][c]))
      }
    }
    #expect(most > 1)
  }

  /// Check 5. A row's own key is exact with a window of one, so that the difference of logarithms
  /// to it is that of scores.
  @Test func scoresAreOffByNoMoreThanTheirBound() throws {
    let (head, _) = Self.walk(120, 8)
    let found = try Self.examine("delta:theta=0.3,window=1", head)
    let dense = try Self.rows(try Self.examine("delta:theta=0", head), "map")
    let map = try Self.rows(found, "map")
    let query = try #require(head.queryAndKey).query.floats()
    var most = 0.0
    for i in 1..<120 {
      let size = query[i * 8..<i * 8 + 8].reduce(0) { $0 + abs(Double($1)) }
      let bound = 0.3 * size / 8.0.squareRoot()
      for j in 0..<i {
        let off = log(map[i][j] / dense[i][j]) - log(map[i][i] / dense[i][i])
        #expect(abs(off) <= bound + 1e-4, "query \(i), key \(j)")
        most = max(most, abs(off) / bound)
      }
    }
    #expect(most > 0.3)
  }

  // MARK: Ours

  @Test func theThresholdIsTheOneThatIsAskedFor() throws {
    let (head, _) = Self.walk(100, 8)
    for share in [0.3, 0.6, 0.9] {
      let found = try Self.examine("delta:sparsity=\(share)", head)
      let got = try #require(found["element_sparsity"]?.number)
      #expect(got >= share && got < share + 0.02, "\(share): \(got)")
      #expect(found["window"]?.number == 25)
    }
    guard case .curve(let curve)? = try Self.examine("delta", head)["trade_off"]?.content else {
      throw Missing(.values)
    }
    #expect(curve.points.count > 5 && curve.points[0].y < 1e-9)
    #expect(zip(curve.points, curve.points.dropFirst()).allSatisfy { $0.x < $1.x })
  }

  @Test func storedMapsHaveNoKeys() {
    let head = Head(pattern: Tensor([1, 0, 0.5, 0.5], shape: [2, 2]), causal: true)
    #expect(throws: Missing.self) { try Self.examine("delta", head) }
  }

  /// Every setting by the recurrence of scores, as the card has it.
  @Test(
    arguments: PackTests.cases.filter { $0.queries > 1 },
    ["keys,level=element", "keys,level=vector", "queries,level=element", "queries,level=vector"])
  func byTheRecurrence(_ input: PackTests.Case, _ knobs: String) throws {
    let isKeys = knobs.hasPrefix("keys"), isWhole = knobs.hasSuffix("vector")
    let theta = isWhole ? 1.9 : 1.2, window = 5, vectors = isKeys ? input.k : input.q
    let found = try Self.examine("delta:theta=\(theta),window=5,of=\(knobs)", input.head)
    var held = vectors[0], changes = [vectors[0]]
    for vector in vectors.dropFirst() {
      let change = zip(vector, held).map { $0 - $1 }
      let isSent = change.contains { abs($0) > theta }
      let sent = change.map { (isWhole ? isSent : abs($0) > theta) ? $0 : 0 }
      held = zip(held, sent).map { $0 + $1 }
      changes.append(sent)
    }
    let flags = try Self.rows(found, "delta")
    for t in 1..<changes.count { #expect(flags[t] == changes[t].map { $0 == 0 ? 0 : 1 }) }
    let exact = input.scores, map = try Self.rows(found, "map")
    var saved = 0, visible = 0
    let others = isKeys ? input.q : input.k
    // Scores of what is held, summed change by change.
    let sums = others.map { other -> [Double] in
      var sum = 0.0
      return changes.map { change in
        sum += zip(other, change).reduce(0) { $0 + $1.0 * $1.1 } / Double(input.d).squareRoot()
        return sum
      }
    }
    for i in 0..<input.queries {
      let p = input.position(i), limit = input.limit(i)
      let row = (0..<limit).map { j -> Double in
        if input.causal ? p - j < window : abs(p - j) < window { return exact[i][j] }
        let t = isKeys ? j : i
        saved += t == 0 ? 0 : changes[t].filter { $0 == 0 }.count
        return isKeys ? sums[i][j] : sums[j][i]
      }
      visible += limit
      let total = row.reduce(0) { $0 + exp($1) }
      for j in 0..<limit { #expect(abs(map[i][j] - exp(row[j]) / total) < 1e-6, "\(i), \(j)") }
    }
    let wanted = Double(saved) / Double(visible * input.d)
    #expect(abs((found["macs_saved"]?.number ?? -1) - wanted) < 1e-12 && wanted > 0.05)
  }
}
