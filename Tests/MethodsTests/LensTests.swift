// What is internal can be tested in a debug build alone.
#if DEBUG
  import Algebra
  import Attention
  import Foundation
  @testable import Methods
  import Support
  import Tensors
  import Testing

  /// Cards A2, A5, A19 and A24: recurrences as maps, regression in context, pairs of keys and steps
  /// that are shifts, each against its definition in double precision.
  @Suite struct LensTests {
    static func examine(_ setting: String, _ subject: Subject) throws -> Findings {
      try ReweightingTests.examine(setting, subject)
    }

    static func number(_ findings: Findings, _ name: String) throws -> Double {
      try ReweightingTests.number(findings, name)
    }

    /// A map, NaN as 0.
    static func map(_ setting: String, _ head: Head, _ name: String = "map") throws -> [[Double]] {
      try ReweightingTests.rows(examine(setting, Subject(head)), name).map { row in
        row.map { $0.isNaN ? 0 : $0 }
      }
    }

    static func isNear(_ a: [[Double]], _ b: [[Double]], _ tolerance: Double = 1e-5) -> Bool {
      let top = b.joined().reduce(0) { max($0, abs($1)) }
      return a.count == b.count
        && zip(a.joined(), b.joined()).allSatisfy { abs($0 - $1) <= tolerance * max(top, 1e-30) }
    }

    static func dot(_ a: [Double], _ b: [Double]) -> Double {
      zip(a, b).reduce(0) { $0 + $1.0 * $1.1 }
    }

    /// A causal head of these rows.
    static func head(
      _ q: [[Double]], _ k: [[Double]], _ v: [[Double]]? = nil, causal: Bool = true,
      scale: Double? = nil
    ) -> Head {
      func tensor(_ x: [[Double]]) -> Tensor {
        Tensor(x.flatMap { $0.map(Float.init) }, shape: [x.count, x[0].count])
      }
      return Head(
        query: tensor(q), key: tensor(k), value: v.map(tensor), causal: causal, scale: scale)
    }

    private static let golden: [(String, [Double], Double)] = [
      ("dsf-linear", [0.297682, 0.189908, 0.279077, 0.233333], 0.338269),
      ("tensor", [0.104938, 0.093430, 0.054277, 0.747355], 0.918997),
    ]

    /// The last row of the golden fixture, its sum, and the error over all.
    @Test(arguments: LensTests.golden) func rowsOfG4(
      _ setting: String, _ wanted: [Double], _ error: Double
    ) throws {
      let found = try Self.examine(setting, Subject(G4.head()))
      let row = try ReweightingTests.rows(found, "map")[3]
      for (a, b) in zip(row, wanted) { #expect(abs(a - b) < 1e-6, "\(row)") }
      #expect(abs(row.reduce(0, +) - 1) < 1e-6)
      #expect(abs(try Self.number(found, "error") - error) < 1e-6)
    }

    // MARK: Dynamical systems

    private static let members = [
      "dsf-linear", "dsf-normalised", "dsf-ssd", "dsf-s6", "dsf-qlstm", "dsf-qlstm-reversed",
    ]
    private static let causal = PackTests.cases.filter(\.causal)

    /// W_ij by the table of the card.
    private static func member(_ setting: String, _ input: PackTests.Case) throws -> [[Double]] {
      let q = input.q, k = input.k, n = k.count
      let v = try #require(input.head.value).floats().map(Double.init)
      let norms = k.map { dot($0, $0).squareRoot() }, mean = norms.reduce(0, +) / Double(n)
      let spread = (norms.reduce(0) { $0 + ($1 - mean) * ($1 - mean) } / Double(n)).squareRoot()
      let delta = norms.map { log(2) / 32 * (1 + tanh(($0 - mean) / spread)) }
      func gate(_ x: Double) -> Double { 1 / (1 + exp(-x)) }
      func phi(_ x: [Double]) -> [Double] { x.map { $0 > 0 ? $0 + 1 : exp($0) } }
      let sign = setting == "dsf-qlstm-reversed" ? -1.0 : 1.0
      return q.indices.map { i in
        let limit = input.limit(i)
        let row = (0..<n).map { j -> Double in
          guard j < limit else { return 0 }
          let time = delta[(j + 1)..<max(limit, j + 1)].reduce(0, +)
          switch setting {
          case "dsf-linear": return dot(phi(q[i]), phi(k[j]))
          case "dsf-normalised": return dot(q[i], k[j]) / Double(limit)
          case "dsf-ssd": return dot(q[i], k[j]) * delta[j] * exp(-time)
          case "dsf-s6":
            return (0..<8).reduce(0) {
              $0 + q[i][$1] * k[j][$1] * delta[j] * exp(-Double($1 + 1) * time)
            }
          default:
            return (0..<8).reduce(0) { sum, c in
              let kept = (j + 1..<max(limit, j + 1)).reduce(1) { $0 * gate(sign * k[$1][c]) }
              return sum + gate(q[i][c]) * kept * gate(v[j * 8 + c]) / 8
            }
          }
        }
        let sum = row.reduce(0, +)
        return setting == "dsf-linear" ? row.map { $0 / sum } : row
      }
    }

    /// Every member by its definition, and the recurrence against the map.
    @Test(arguments: LensTests.causal, LensTests.members) func membersByDefinition(
      _ input: PackTests.Case, _ setting: String
    ) throws {
      let found = try Self.examine(setting, Subject(input.head))
      let map = try Self.map(setting, input.head)
      #expect(Self.isNear(map, try Self.member(setting, input)), "\(setting) \(input)")
      if input.queries == input.keys {
        #expect(try Self.number(found, "recurrence_gap") < 1e-12, "\(setting)")
      } else {
        #expect(found["recurrence_gap"]?.number == nil)
      }
      let names = ["softmax", "linear", "normalised", "ssd", "s6", "qlstm", "members"]
      #expect(names.allSatisfy { found.field($0) != nil })
      let sides = try ReweightingTests.rows(found, "members")[0]
      #expect(sides.count == 6 * input.keys && sides.allSatisfy { $0.isNaN || abs($0) <= 1 })
      if setting == "dsf-linear" {
        #expect(map.allSatisfy { abs($0.reduce(0, +) - 1) < 1e-5 })
      }
    }

    /// I9: decay 1 and Δ = 1 leave unnormalised linear attention, for both state-space models.
    @Test(arguments: ["dsf-ssd:a=0,delta=one", "dsf-s6:a_s=a,a=0,delta=one"])
    func nothingIsForgotten(_ setting: String) throws {
      let input = PackTests.cases[0], q = input.q, k = input.k
      let wanted = q.indices.map { i in k.indices.map { $0 <= i ? Self.dot(q[i], k[$0]) : 0 } }
      #expect(Self.isNear(try Self.map(setting, input.head), wanted, 1e-7))
    }

    /// Rates that are one rate make S6 the same as SSD; a third of the half-life is another map.
    @Test func s6OfOneRateIsSSD() throws {
      let head = PackTests.cases[0].head
      let ssd = try Self.map("dsf-ssd:half_life=5", head)
      #expect(Self.isNear(try Self.map("dsf-s6:a_s=a,half_life=5", head), ssd, 1e-6))
      #expect(!Self.isNear(try Self.map("dsf-ssd:half_life=15", head), ssd, 1e-2))
    }

    /// Three tokens with q·k = 1, Δ = 1 and decay ½; keys of one norm decay by distance alone.
    @Test func decayByHand() throws {
      let ones = [[Double]](repeating: [1], count: 3), head = Self.head(ones, ones)
      let map = try Self.map("dsf-ssd:delta=one,a=0.6931471805599453", head)
      #expect(Self.isNear(map, [[1, 0, 0], [0.5, 1, 0], [0.25, 0.5, 1]], 1e-7))
      let many = [[Double]](repeating: [1, 1], count: 20)
      let found = try Self.examine("dsf-ssd:half_life=4", Subject(Self.head(many, many)))
      #expect(abs(try Self.number(found, "distance_r2") - 1) < 1e-9)
      #expect(abs(try Self.number(found, "distance_half_life") - 4) < 1e-9)
      let decay = try #require(found.series("decay"))
      #expect(decay[19] == 1 && abs(decay[15] - 0.5) < 1e-6)
    }

    /// States of d = 8, d_v = 8 and 64 tokens, what is not there, and levels of what stands in.
    @Test func statesAndRefusals() throws {
      let input = PackTests.cases[0], found = try Self.examine("dsf-s6", Subject(input.head))
      let wanted = [
        ("linear", 64.0), ("ssd", 64), ("s6", 64), ("qlstm", 8), ("taylor_1", 72),
        ("taylor_2", 584), ("softmax", 1024),
      ]
      for (name, size) in wanted { #expect(try Self.number(found, "state_\(name)") == size) }
      #expect(found.notes.contains { $0.hasPrefix("U3") })
      #expect(try Self.number(found, "state_size") == 64)
      guard case .curve(let curve)? = found["error_by_state"]?.content else {
        throw Missing(.values)
      }
      #expect(curve.points.count == 9 && curve.points[8].y < 1e-2 * curve.points[0].y)
      let stored = Head(pattern: Tensor([1, 0, 0.5, 0.5], shape: [2, 2]), causal: true)
      for head in [PackTests.cases[1].head, stored] {
        #expect(throws: Missing.self) { try Self.examine("dsf-linear", Subject(head)) }
      }
      let bare = Self.head(input.q, input.k)
      #expect(throws: Missing.self) { try Self.examine("dsf-qlstm", Subject(bare)) }
      #expect(try Self.examine("dsf-ssd", Subject(bare)).field("qlstm") == nil)
    }

    // MARK: Tensor attention

    /// E_i by its definition over what a query sees, `[j][l]`.
    private static func pairs(_ input: PackTests.Case, _ i: Int, shifted: Bool) -> [[Double]] {
      let first = [[Double](repeating: 0, count: 8)]
      return pairs(input, i, second: shifted ? first + input.k.dropLast() : input.k)
    }

    /// The same for any second keys `[keys][8]`.
    private static func pairs(_ input: PackTests.Case, _ i: Int, second: [[Double]]) -> [[Double]] {
      let q = input.q[i], k = input.k, limit = input.limit(i)
      let scores = (0..<limit).map { j in
        (0..<limit).map { l -> Double in
          (0..<8).reduce(0) { $0 + q[$1] * k[j][$1] * second[l][$1] } / 8.squareRoot()
        }
      }
      let e = scores.map { $0.map { exp($0) } }, sum = e.joined().reduce(0, +)
      return e.map { $0.map { $0 / sum } }
    }

    @Test(arguments: PackTests.cases, [false, true]) func marginalsByDefinition(
      _ input: PackTests.Case, _ shifted: Bool
    ) throws {
      let setting = shifted ? "tensor-shifted" : "tensor"
      let found = try Self.examine(setting, Subject(input.head))
      let rows = try ReweightingTests.rows(found, "map")
      let second = try ReweightingTests.rows(found, "map_second")
      var information = 0.0
      for i in 0..<input.queries {
        let e = Self.pairs(input, i, shifted: shifted), limit = input.limit(i)
        let one = e.map { $0.reduce(0, +) }
        let two = (0..<limit).map { l in e.reduce(0) { $0 + $1[l] } }
        for j in 0..<limit {
          #expect(abs(rows[i][j] - one[j]) < 1e-6 && abs(second[i][j] - two[j]) < 1e-6)
          for l in 0..<limit {
            information += e[j][l] * log(e[j][l] / (one[j] * two[l])) / Double(input.queries)
          }
        }
        guard i == input.queries - 1 else { continue }
        let pair = try ReweightingTests.rows(found, "pair")
        let rest = try ReweightingTests.rows(found, "interaction")
        for j in 0..<limit {
          for l in 0..<limit {
            #expect(abs(pair[j][l] - e[j][l]) < 1e-6)
            #expect(abs(rest[j][l] - (e[j][l] - one[j] * two[l])) < 1e-6)
          }
        }
      }
      #expect(abs(try Self.number(found, "mutual_information") - information) < 1e-9)
    }

    /// I6: second keys of ones leave softmax, an even second marginal, and nothing mutual.
    @Test(arguments: PackTests.cases) func onesAreSoftmax(_ input: PackTests.Case) throws {
      let found = try Self.examine("tensor:k2=ones,V2=1", Subject(input.head))
      let map = try Self.map("tensor:k2=ones", input.head)
      #expect(Self.isNear(map, input.dense, 1e-6))
      let second = try ReweightingTests.rows(found, "map_second")
      for (i, row) in second.enumerated() {
        for l in 0..<input.limit(i) { #expect(abs(row[l] * Double(input.limit(i)) - 1) < 1e-6) }
      }
      #expect(try Self.number(found, "mutual_information") < 1e-12)
      #expect(try Self.number(found, "error") < 1e-6)
    }

    /// One channel, q = 1, k = (0, 1); tied keys make E symmetric.
    @Test func pairsByHand() throws {
      let head = Self.head([[1], [1]], [[0], [1]], causal: false)
      let found = try Self.examine("tensor", Subject(head))
      let pair = try ReweightingTests.rows(found, "pair")
      let wanted = [0.1749, 0.1749, 0.1749, 0.4754]
      for (a, b) in zip(pair.joined(), wanted) { #expect(abs(a - b) < 5e-5) }
      #expect(pair[0][1] == pair[1][0])
      let row = try ReweightingTests.rows(found, "map")[1]
      #expect(abs(row[0] - 0.3498) < 5e-5 && abs(row[1] - 0.6502) < 5e-5)
      #expect(try ReweightingTests.rows(found, "map_second")[1] == row)
    }

    /// A knob is given once, whatever it is called, and `True` is `true`.
    @Test(arguments: [
      ("tensor", "k2=ones,K2=shifted"), ("tensor-shifted", "K2=ones,k2=K"),
      ("icl-regression", "H=2,heads=4"),
    ]) func aNameAndItsAlias(_ id: String, _ knobs: String) throws {
      let setting = try MethodSetting(parsing: "\(id):\(knobs)")
      let error = #expect(throws: KnobError.self) { try Registry.standard.make(setting) }
      #expect("\(try #require(error))".hasSuffix("give it once"))
      // Whoever wrote the alias alone over a variant is understood.
      let shifted = try Registry.standard.make(MethodSetting(parsing: "tensor-shifted:K2=ones"))
      let ones = try Registry.standard.make(MethodSetting(parsing: "tensor:k2=ones"))
      let head = PackTests.cases[0].head
      func map(_ method: any AttentionMethod) throws -> [[Double]] {
        try ReweightingTests.rows(method.examine(Subject(head), MethodRun()), "map")
      }
      #expect(try map(shifted).last == map(ones).last)
      #expect(
        try Self.map("dsf-qlstm:reversed=True", head) == Self.map("dsf-qlstm-reversed", head))
    }

    /// V twice by its definition; longer heads by rows; what is refused.
    @Test func valuesTwiceAndLongHeads() throws {
      let input = PackTests.cases[2], v = try #require(input.head.value).floats().map(Double.init)
      let out = try Self.map("tensor:v2=V", input.head, "output")
      let i = input.queries - 1, e = Self.pairs(input, i, shifted: false)
      for x in 0..<8 {
        let wanted = e.enumerated().reduce(0.0) { sum, row in
          sum + row.element.enumerated().reduce(0) { $0 + $1.element * v[$1.offset * 8 + x] }
            * v[row.offset * 8 + x]
        }
        #expect(abs(out[i][x] - wanted) < 1e-6)
      }
      let long = PackTests.Case(seed: 8, queries: 150, keys: 150, causal: true)
      let found = try Self.examine("tensor", Subject(long.head))
      let row = try #require(found.field("map")).field.row(140)
      let wanted = Self.pairs(long, 140, shifted: false).map { $0.reduce(0, +) }
      for (a, b) in zip(row, wanted) { #expect(abs(Double(a) - b) < 1e-6) }
      #expect(found.notes.contains { $0.hasPrefix("rows only") })
      #expect(throws: Missing.self) { try Self.examine("tensor:query=150", Subject(long.head)) }
      let other = "tensor:k2=other,other=1"
      #expect(throws: Missing.self) { try Self.examine(other, Subject(long.head)) }
      let second = PackTests.Case(seed: 9, queries: 150, keys: 150, causal: true)
      let two = Subject(layers: [[long.head, second.head]])
      let mixed = try #require(Self.examine(other, two).field("map")).field.row(140)
      let both = Self.pairs(long, 140, second: second.k).map { $0.reduce(0, +) }
      for (a, b) in zip(mixed, both) { #expect(abs(Double(a) - b) < 1e-6) }
      #expect(zip(mixed, row).contains { abs($0 - $1) > 1e-3 })
    }
  }
#endif
