import Algebra
import Attention
import Foundation
import Methods
import Support
import Tensors
import Testing

// What the cards of InLine, L2ViT, RALA and NaLaFormer promise beyond their maps.
extension LinearTests {
  // MARK: InLine

  /// One vector added to every key changes nothing where φ is the identity, as in softmax.
  @Test(arguments: [true, false]) func inlineKnowsNoShift(_ causal: Bool) throws {
    let head = PackTests.Case(seed: 22, queries: 30, keys: 30, causal: causal).head
    let (query, key) = try #require(head.queryAndKey)
    // Quarters, so that the sum of float32 keys and shift is exact enough to compare.
    let shifted = Head(
      query: query,
      key: Tensor(
        key.floats().enumerated().map { $1 + Float($0 % 8) / 4 - 0.5 }, shape: [30, 8]),
      value: head.value, causal: causal)
    Self.expectEqual(
      try Self.map("inline", shifted), try Self.map("inline", head), "shifted keys")
    let gap = zip(
      try Self.map("linear", shifted).joined(), try Self.map("linear", head).joined()
    ).reduce(0) { $1.0.isNaN ? $0 : max($0, abs($1.0 - $1.1)) }
    #expect(gap > 1e-3)
  }

  /// Twice the features: the same row of linear attention, another of InLine.
  @Test func inlineTellsLengthsApart() throws {
    let head = PackTests.Case(seed: 23, queries: 20, keys: 20, causal: true).head
    let twice = try Self.scaled(head, by: 2)
    for (setting, isSame) in [("linear:phi=relu", true), ("inline:phi=relu", false)] {
      let gap = zip(try Self.map(setting, twice)[19], try Self.map(setting, head)[19]).reduce(0) {
        max($0, abs($1.0 - $1.1))
      }
      #expect(isSame ? gap < 1e-7 : gap > 1e-3, "\(setting): \(gap)")
    }
    let found = try Self.examine("inline:query=7", head)
    let panel = try ReweightingTests.rows(found, "injectivity")
    #expect(panel.count == 6 && panel[0][8].isNaN)
    Self.expectEqual([panel[1], panel[2]], [panel[0], panel[0]], within: 1e-7, "linear")
    Self.expectEqual([panel[3]], [try Self.map("inline", head)[7]], within: 1e-7, "InLine")
    Self.expectEqual([panel[4]], [try Self.map("inline", twice)[7]], within: 1e-7, "InLine, twice")
    #expect(try Self.number(found, "injectivity_change_linear") == 0)
    let change = zip(panel[3].prefix(8), panel[4]).reduce(0) { $0 + pow($1.0 - $1.1, 2) }
    #expect(abs(try Self.number(found, "injectivity_change") - change.squareRoot()) < 1e-6)
  }

  /// Ten queries of one direction, two of them equal: linear attention takes all for one.
  @Test(arguments: [true, false]) func confusedPairs(_ causal: Bool) throws {
    let key = PackTests.Case(seed: 24, queries: 10, keys: 10, causal: causal)
    let lengths: [Float] = [0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 0.2]
    let query = lengths.flatMap { t in (0..<8).map { t * (1 + Float($0) / 4) } }
    let head = Head(
      query: Tensor(query, shape: [10, 8]), key: try #require(key.head.queryAndKey).key,
      value: nil, causal: causal)
    let found = try Self.examine("inline", head)
    for (name, wanted) in [
      ("confusion", 1.0), ("confusion_linear", 45), ("confusion_softmax", 1),
      ("confusion_pairs", 45),
    ] {
      #expect(try Self.number(found, name) == wanted, "\(name)")
    }
  }

  /// ‖W V - A V‖ / ‖A V‖ in double precision, A being softmax; NaN of W counts for nothing.
  private static func error(_ map: [[Double]], _ head: Head) throws -> Double {
    let plain = try Plain(head), v = try #require(head.value).floats().map(Double.init)
    let width = v.count / head.keys
    var off = 0.0, size = 0.0
    for (i, limit) in plain.limits.enumerated() {
      let e = plain.k[..<limit].map { key in
        exp(zip(plain.q[i], key).reduce(0) { $0 + $1.0 * $1.1 } * plain.scale)
      }
      let sum = e.reduce(0, +)
      for x in 0..<width {
        let dense = (0..<limit).reduce(0) { $0 + e[$1] / sum * v[$1 * width + x] }
        let mixed = (0..<limit).reduce(0) { $0 + map[i][$1] * v[$1 * width + x] }
        off += (mixed - dense) * (mixed - dense)
        size += dense * dense
      }
    }
    return (off / size).squareRoot()
  }

  /// Mass near the diagonal, and the local term, by their definitions.
  @Test(arguments: [true, false]) func inlineLooksNearby(_ causal: Bool) throws {
    let head = PackTests.Case(seed: 25, queries: 26, keys: 26, causal: causal).head
    let grid = TokenFacts.Grid(rows: 4, columns: 6)
    let line = try Self.examine("inline:local=line", head)
    let map = try ReweightingTests.rows(line, "map")
    func size(_ isNear: (Int, Int) -> Bool) -> Double {
      (0..<26).reduce(0) { sum, i in
        (0..<26).reduce(sum) { isNear(i, $1) && !map[i][$1].isNaN ? $0 + abs(map[i][$1]) : $0 }
      }
    }
    for reach in [1, 3] {
      let share = size { abs($0 - $1) <= reach } / size { _, _ in true }
      #expect(abs(try Self.number(line, "local_mass_\(reach)") - share) < 1e-6)
    }
    let plane = try Self.examine("inline:local=grid", head, grid)
    let terms: [(Findings, Double, (Int, Int) -> Bool)] = [
      (line, 1.0 / 3, { i, j in abs(i - j) <= 1 }),
      (
        plane, 1.0 / 9,
        { i, j in
          guard i >= 2, j >= 2 else { return i == j }
          return abs((i - 2) / 6 - (j - 2) / 6) <= 1 && abs((i - 2) % 6 - (j - 2) % 6) <= 1
        }
      ),
    ]
    for (found, weight, isNear) in terms {
      let wanted = map.indices.map { i in
        map[i].indices.map { map[i][$0] + (isNear(i, $0) ? weight : 0) }
      }
      Self.expectEqual(try ReweightingTests.rows(found, "with_local"), wanted, "\(weight)")
      let local = try Self.number(found, "error_with_local")
      #expect(abs(local - (try Self.error(wanted, head))) < 1e-6 * local)
      #expect(abs(try Self.number(found, "error") - local) > 1e-3)
      #expect(found.notes.contains { $0.hasPrefix("U3") })
    }
    #expect(throws: Missing.self) { try Self.examine("inline:local=grid", head) }
  }

  // MARK: L2ViT

  /// Rows sum to τ, or τ ΣR / c where c is in force; nothing is negative; a longer query changes
  /// nothing where it is not; a query without a positive coordinate sees nothing.
  @Test func l2vitRows() throws {
    let input = PackTests.Case(seed: 26, queries: 40, keys: 40, causal: true)
    let (query, key) = try #require(input.head.queryAndKey)
    var values = query.floats()
    for x in 8 * 11..<8 * 12 { values[x] = -abs(values[x]) - 0.1 }
    let head = Head(
      query: Tensor(values, shape: [40, 8]), key: key, value: input.head.value, causal: true)
    let found = try Self.examine("l2vit:clamp=20", head)
    let map = try ReweightingTests.rows(found, "map")
    let long = try Self.map("l2vit:clamp=20", Self.scaled(head, by: 2))
    let sums = try #require(found.series("normaliser")).map(Double.init)
    let clamped = try #require(found.series("clamped"))
    #expect(Set(clamped) == [0, 1])
    for (i, row) in map.enumerated() {
      let seen = Array(row.prefix(i + 1)), wanted = 1 / 8.0.squareRoot() * min(1, sums[i] / 20)
      #expect(abs(seen.reduce(0, +) - wanted) < 1e-6)
      #expect(seen.allSatisfy { $0 >= 0 } && (clamped[i] == 1) == (sums[i] < 20))
      if clamped[i] == 0 {
        #expect(zip(seen, long[i]).allSatisfy { abs($0 - $1) < 1e-7 })
      }
    }
    #expect(map[11].prefix(12).allSatisfy { $0 == 0 })
    #expect(try Self.number(found, "dead_rows") == Double(sums.count { $0 == 0 }))
    let share = Double(clamped.count { $0 == 1 }) / 40
    #expect(abs(try Self.number(found, "clamped_rows") - share) < 1e-12)
    #expect(abs(try Self.number(found, "tau") - 1 / 8.0.squareRoot()) < 1e-12)
  }

  /// Windows and the Gaussian along the text and on a grid, by their definitions; a part is the
  /// same as map and beside the map.
  @Test(arguments: [true, false], ["line", "grid"])
  func l2vitMixesNeighbours(_ causal: Bool, _ plane: String) throws {
    let head = PackTests.Case(seed: 27, queries: 83, keys: 83, causal: causal).head
    let grid = TokenFacts.Grid(rows: 9, columns: 9), isGrid = plane == "grid"
    func place(_ i: Int) -> (y: Int, x: Int)? { i < 2 ? nil : ((i - 2) / 9, (i - 2) % 9) }
    let found = try Self.examine("l2vit:plane=\(plane)", head, grid)
    let map = try ReweightingTests.rows(found, "map")
    let dense = try ReweightingTests.rows(Self.examine("alibi:m=0", head), "map")
    let windows = dense.indices.map { i -> [Double] in
      let own = dense[i].indices.map { j -> Double in
        guard isGrid else { return i / 49 == j / 49 ? dense[i][j] : 0 }
        guard let a = place(i), let b = place(j) else {
          return place(i) == nil && place(j) == nil ? dense[i][j] : 0
        }
        return a.y / 7 == b.y / 7 && a.x / 7 == b.x / 7 ? dense[i][j] : 0
      }
      let sum = own.reduce(0) { $1.isNaN ? $0 : $0 + $1 }
      return own.indices.map { dense[i][$0].isNaN ? .nan : own[$0] / sum }
    }
    Self.expectEqual(
      try ReweightingTests.rows(found, "window_softmax"), windows, "windows, \(plane)")
    let smoothed = map.indices.map { i -> [Double] in
      let weights = map.indices.map { t -> Double in
        guard !causal || t <= i else { return 0 }
        guard isGrid else { return abs(i - t) <= 3 ? exp(-Double((i - t) * (i - t)) / 4.5) : 0 }
        guard let a = place(i), let b = place(t) else { return i == t ? 1 : 0 }
        let (y, x) = (a.y - b.y, a.x - b.x)
        return abs(y) <= 3 && abs(x) <= 3 ? exp(-Double(y * y + x * x) / 4.5) : 0
      }
      let sum = weights.reduce(0, +)
      return map[i].indices.map { j -> Double in
        guard !map[i][j].isNaN else { return .nan }
        return map.indices.reduce(0) {
          $0 + (map[$1][j].isNaN ? 0 : weights[$1] / sum * map[$1][j])
        }
      }
    }
    Self.expectEqual(
      try ReweightingTests.rows(found, "smoothed"), smoothed, "Gaussian, \(plane)")
    for (id, name) in [("l2vit-window", "window_softmax"), ("l2vit-smoothed", "smoothed")] {
      let part = try Self.examine("\(id):plane=\(plane)", head, grid)
      let rows = try ReweightingTests.rows(part, "map")
      Self.expectEqual(rows, try ReweightingTests.rows(found, name), within: 1e-9, id)
      Self.expectEqual(try ReweightingTests.rows(part, "linear"), map, within: 1e-9, id)
      #expect(part.field(name) == nil)
    }
  }

  // MARK: RALA

  /// q̄ = 1 and features 1 and 3 of keys, without a scale.
  @Test func ralaOfItsCard() throws {
    let head = Head(
      query: Tensor([0, 0], shape: [2, 1]), key: Tensor([0, 2], shape: [2, 1]),
      value: Tensor([1, -1], shape: [2, 1]), causal: false, scale: 1)
    let found = try Self.examine("rala", head)
    let alpha = try #require(found.series("alpha")).map(Double.init)
    Self.expectEqual([alpha], [[0.2384, 1.7616]], within: 5e-5, "alpha")
    Self.expectEqual([try Self.map("rala", head)[0]], [[0.0432, 0.9568]], within: 5e-5, "W")
  }

  /// Σα = n; equal scores leave linear attention; no rank above d without a mask.
  @Test func ralaWeighsKeys() throws {
    for input in PackTests.cases {
      let alpha = try #require(try Self.examine("rala", input.head).series("alpha"))
      let sum = alpha.reduce(0) { $1.isNaN ? $0 : $0 + Double($1) }
      #expect(abs(sum - Double(input.limit(input.queries - 1))) < 1e-4, "\(input)")
    }
    // Rotations of one vector: the mean query is constant, so all keys are liked the same.
    let turn = (0..<64).map { Float([0.3, -1, 2, 0.5, -0.2, 1, 0, -2][($0 / 8 + $0) % 8]) }
    let head = Head(
      query: Tensor(turn, shape: [8, 8]), key: Tensor(turn.reversed(), shape: [8, 8]), value: nil,
      causal: false)
    let rala = try Self.examine("rala", head)
    #expect(try #require(rala.series("alpha")).allSatisfy { abs($0 - 1) < 1e-6 })
    Self.expectEqual(
      try ReweightingTests.rows(rala, "map"), try Self.map("linear", head), "equal scores")
    let wide = PackTests.Case(seed: 28, queries: 50, keys: 50, causal: false).head
    for setting in ["linear", "rala"] {
      // The map is float32: what is below 1e-6 of the largest singular value may be rounding.
      let found = try Self.examine(setting, wide)
      #expect(try Self.number(found, "numerical_rank") <= 8, "\(setting)")
    }
  }

  /// Σσ² of a spectrum is the square of the matrix's norm, which is computed here by definition.
  @Test func ralaSpectra() throws {
    let head = PackTests.Case(seed: 29, queries: 32, keys: 32, causal: false).head
    let found = try Self.examine("rala", head), plain = try Plain(head)
    let value = try #require(head.value).floats().map(Double.init)
    let alpha = try #require(found.series("alpha")).map(Double.init)
    func square(_ name: String) throws -> Double {
      try #require(found.series(name)).reduce(0) { $0 + Double($1) * Double($1) }
    }
    for (name, weights) in [
      ("buffer_spectrum", alpha), ("buffer_spectrum_plain", alpha.map { _ in 1 }),
    ] {
      var wanted = 0.0
      for x in 0..<8 {
        for y in 0..<8 {
          let entry = (0..<32).reduce(0) {
            $0 + weights[$1] * Self.elu1(plain.k[$1][x]) * value[$1 * 8 + y]
          }
          wanted += entry * entry
        }
      }
      #expect(abs(try square(name) / wanted - 1) < 1e-5, "\(name)")
    }
    let output = try ReweightingTests.rows(found, "output")
    let size = output.joined().reduce(0) { $0 + $1 * $1 }
    #expect(abs(try square("output_spectrum") / size - 1) < 1e-5)
    var random = SplitMix64(1)
    let gate = random.gaussianMatrix(rows: 8, columns: 8)
    var gated = 0.0
    for i in 0..<32 {
      let g = gate.multiplied(by: Array(value[i * 8..<i * 8 + 8]))
      for x in 0..<8 { gated += pow(0.02 * g[x] * output[i][x], 2) }
    }
    #expect(abs(try square("output_spectrum_gated") / gated - 1) < 1e-5)
    let again = try Self.examine("rala:seed=2", head)
    #expect(again.series("output_spectrum_gated") != found.series("output_spectrum_gated"))
    #expect(again.series("output_spectrum") == found.series("output_spectrum"))
    for name in ["buffer", "output"] {
      let sigma = try #require(found.series("\(name)_spectrum")).map(Double.init)
      let p = sigma.map { $0 / sigma.reduce(0, +) }
      let rank = exp(-p.reduce(0) { $1 > 0 ? $0 + $1 * log($1) : $0 })
      #expect(abs(try Self.number(found, "\(name)_rank") - rank) < 1e-4)
    }
  }

  // MARK: NaLaFormer

  @Test func nalaformerOfItsCard() throws {
    func head(_ query: [Float], _ key: [Float]) -> Head {
      Head(
        query: Tensor(query, shape: [query.count / 2, 2]),
        key: Tensor(key, shape: [key.count / 2, 2]), value: nil, causal: false)
    }
    let axes = head([3, 4, 0.3, 0.4], [1, 0, 0, 1]), found = try Self.examine("nalaformer", axes)
    let rows = try ReweightingTests.rows(found, "map")
    Self.expectEqual(rows, [[0.2151, 0.7849], [0.3036, 0.6964]], within: 5e-5, "card")
    let powers = try #require(found.series("power"))
    #expect(abs(powers[0] - 4.4997) < 5e-5 && abs(powers[1] - 2.8864) < 5e-5)
    // A key t times as long scores t³ as much: 27 of 27 + 1 where they are alike but for it.
    let long = try Self.map("nalaformer", head([1, 2], [3, 3, 1, 1]))
    Self.expectEqual(long, [[27.0 / 28, 1.0 / 28]], within: 1e-6, "t cubed")
    // Opposite signs score nothing, and half of them the other half.
    let opposite = try Self.examine("nalaformer", head([1, 2, 0, 0], [-1, -2, 1, -2]))
    let map = try ReweightingTests.rows(opposite, "map")
    Self.expectEqual(map, [[0, 1], [0, 0]], within: 1e-12, "opposite")
    let dead = try ReweightingTests.rows(opposite, "dead_coordinates")
    Self.expectEqual(dead, [[1, 0.5], [0, 0]], within: 1e-12, "dead")
    #expect(try Self.number(opposite, "zero_rows") == 1)
    #expect(opposite.notes.contains { $0.contains("normaliser of 0") })
  }

  // MARK: All

  private static let forms = ["linear", "mala", "inline", "l2vit", "nalaformer", "rala"]

  /// A stored map has no features.
  @Test(arguments: LinearTests.forms) func featuresNeedQAndK(_ id: String) throws {
    let stored = Head(pattern: Tensor([1, 0, 0.5, 0.5], shape: [2, 2]), causal: true)
    #expect(throws: Missing(.queryKey)) { try Self.examine(id, stored) }
  }

  /// Above 2048 tokens rows are computed as they are looked at, and are the same as before.
  @Test(arguments: LinearTests.forms) func longMapsHaveRows(_ id: String) throws {
    var random = Seeded(30)
    let head = Head(
      query: random.tensor([2100, 4]), key: random.tensor([2100, 4]),
      value: random.tensor([2100, 2]), causal: true)
    let found = try Self.examine(id, head)
    #expect(found.notes.contains { $0.hasPrefix("rows only") })
    let row = try #require(found.field("map")).field.row(699)
    let whole = try Self.map(id, head.slice(0..<700, keys: 700))[699]
    for (a, b) in zip(row, whole) { #expect(abs(Double(a) - b) < 1e-6) }
    let isUnseen = row[700...].allSatisfy(\.isNaN)
    #expect(isUnseen)
  }

  /// States do not grow: m d_v and what is divided by, or subtracted; RALA's causal form has none.
  @Test func costsOfAToken() throws {
    let causal = PackTests.Case(seed: 31, queries: 64, keys: 64, causal: true).head
    let whole = PackTests.Case(seed: 31, queries: 64, keys: 64, causal: false).head
    for (id, state) in [
      ("linear", 72), ("mala", 80), ("inline", 80), ("l2vit", 72), ("nalaformer", 144),
    ] {
      let found = try Self.examine(id, causal)
      #expect(try Self.number(found, "state_size") == Double(state), "\(id)")
      #expect(try Self.number(found, "flops_token") == Double(4 * state), "\(id)")
      #expect(try Self.number(found, "flops_token_softmax") == 64 * 2 * 16)
    }
    #expect(try Self.number(Self.examine("rala", whole), "state_size") == 72)
    #expect(try Self.examine("rala", causal)["state_size"] == nil)
  }
}
