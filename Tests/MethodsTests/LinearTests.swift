import Attention
import Foundation
import Methods
import Support
import Tensors
import Testing

/// Cards A8, A10, A12, A14 and A18: linear forms of attention, each against a second computation by
/// its definition, and by the figures that the cards print.
@Suite struct LinearTests {
  static func examine(_ setting: String, _ head: Head, _ grid: TokenFacts.Grid? = nil)
    throws -> Findings
  {
    try ReweightingTests.examine(setting, Subject(head, tokens: TokenFacts(grid: grid)))
  }

  static func number(_ findings: Findings, _ name: String) throws -> Double {
    try ReweightingTests.number(findings, name)
  }

  static func map(_ setting: String, _ head: Head) throws -> [[Double]] {
    try ReweightingTests.rows(try examine(setting, head), "map")
  }

  /// Entries agree, and NaN stands in the same places.
  static func expectEqual(
    _ got: [[Double]], _ wanted: [[Double]], within most: Double = 2e-6, _ what: String
  ) {
    for (i, (a, b)) in zip(got, wanted).enumerated() {
      let off = zip(a, b).map { $0.isNaN && $1.isNaN ? 0 : abs($0 - $1) / max(1, abs($1)) }
      let isNear = off.allSatisfy { $0 < most }
      #expect(isNear, "\(what), row \(i): \(off.max() ?? 0)")
    }
    #expect(got.count == wanted.count)
  }

  // MARK: Definitions

  static func elu1(_ x: Double) -> Double { x > 0 ? x + 1 : exp(x) }
  static func relu(_ x: Double) -> Double { max(x, 0) }
  private static let names = ["elu1", "relu", "exp", "identity", "leaky-relu"]

  private static func feature(_ name: String) -> (Double) -> Double {
    switch name {
    case "elu1": return elu1
    case "relu": return relu
    case "exp": return { exp(0.2 * $0) }
    case "leaky-relu": return { $0 > 0 ? $0 : 0.01 * $0 }
    default: return { $0 }
    }
  }

  /// What a definition needs of a head.
  struct Plain {
    let q: [[Double]], k: [[Double]], limits: [Int], scale: Double

    init(_ head: Head) throws {
      let (query, key) = try #require(head.queryAndKey)
      func rows(_ tensor: Tensor) -> [[Double]] {
        (0..<tensor.shape[0]).map { tensor[$0].floats().map(Double.init) }
      }
      (q, k, scale) = (rows(query), rows(key), head.scale)
      limits = q.indices.map { head.visibility.limit(row: $0) }
    }

    /// A row of weights from the products of a row, NaN where nothing is seen.
    func weights(
      _ f: ([Double]) -> [Double], _ g: ([Double]) -> [Double],
      _ rule: (_ row: [Double], _ i: Int) -> [Double]
    ) -> [[Double]] {
      let keys = k.map(g)
      return q.indices.map { i in
        let a = f(q[i])
        let r = keys[..<limits[i]].map { b in zip(a, b).reduce(0) { $0 + $1.0 * $1.1 } }
        return rule(r, i) + [Double](repeating: .nan, count: k.count - limits[i])
      }
    }

    func of(_ phi: (Double) -> Double, _ rule: ([Double], Int) -> [Double]) -> [[Double]] {
      weights({ $0.map(phi) }, { $0.map(phi) }, rule)
    }

    func linear(_ phi: (Double) -> Double) -> [[Double]] { of(phi) { r, _ in Plain.divided(r) } }

    static func divided(_ r: [Double]) -> [Double] {
      let z = r.reduce(0, +)
      return r.map { z == 0 ? 0 : $0 / z }
    }

    func mala(_ phi: (Double) -> Double, paper: Bool = false) -> [[Double]] {
      of(phi) { r, _ in
        let n = Double(r.count), s = r.map { paper ? $0 : $0 * scale / n }
        let z = s.reduce(0, +)
        return s.map { z == 0 ? 0 : (1 + 1 / z) * $0 - z / n }
      }
    }

    func inline(_ phi: (Double) -> Double) -> [[Double]] {
      of(phi) { r, _ in
        let n = Double(r.count), s = r.map { $0 * scale / n }
        return s.map { $0 - s.reduce(0, +) / n + 1 / n }
      }
    }

    func l2vit(_ c: Double, tau: Double? = nil) -> [[Double]] {
      let tau = tau ?? 1 / Double(q[0].count).squareRoot()
      return of(relu) { r, _ in r.map { tau * $0 / max(r.reduce(0, +), c) } }
    }

    func nalaformer(_ divisor: Double) -> [[Double]] {
      func both(_ x: [Double]) -> [Double] { x.map(relu) + x.map { relu(-$0) } }
      return weights(
        { q in
          let norm = q.reduce(0) { $0 + $1 * $1 }.squareRoot()
          guard norm > 0 else { return both(q) }
          return both(q.map { $0 / norm }).map { pow($0, 3 * (0.5 + tanh(norm / divisor))) }
        }, { both($0.map { $0 * $0 * $0 }) }, { r, _ in Plain.divided(r) })
    }

    func rala() -> [[Double]] {
      of(elu1) { r, i in
        let last = limits[i] < k.count || limits[0] < k.count ? i : q.count - 1
        let mean = q[0].indices.map { x in
          (0...last).reduce(0) { $0 + elu1(q[$1][x]) } / Double(last + 1)
        }
        let e = r.indices.map { j in
          exp(zip(mean, k[j]).reduce(0) { $0 + $1.0 * elu1($1.1) } * scale)
        }
        return Plain.divided(zip(r, e).map { $0 * $1 })
      }
    }
  }

  /// Every form on causal, bidirectional, rectangular and single-row heads.
  @Test(arguments: PackTests.cases) func byDefinition(_ input: PackTests.Case) throws {
    let plain = try Plain(input.head)
    for name in Self.names {
      let phi = Self.feature(name)
      // Signed sums may be near 0; the forms that divide by them are compared where they are not.
      if name != "identity", name != "leaky-relu" {
        let linear = try Self.map("linear:phi=\(name)", input.head)
        Self.expectEqual(linear, plain.linear(phi), "linear \(name) \(input)")
        let mala = try Self.map("mala:phi=\(name)", input.head)
        Self.expectEqual(mala, plain.mala(phi), "mala \(name) \(input)")
      }
      let inline = try Self.map("inline:phi=\(name)", input.head)
      Self.expectEqual(inline, plain.inline(phi), "inline \(name) \(input)")
    }
    let root = 8.0.squareRoot()
    for (setting, wanted) in [
      ("mala-paper", plain.mala(Self.elu1, paper: true)), ("l2vit", plain.l2vit(1)),
      ("l2vit-100", plain.l2vit(100)), ("l2vit:c=5,tau=0.5", plain.l2vit(5, tau: 0.5)),
      ("nalaformer", plain.nalaformer(1)), ("nalaformer-sqrt-d", plain.nalaformer(root)),
      ("rala", plain.rala()),
    ] {
      Self.expectEqual(try Self.map(setting, input.head), wanted, "\(setting) \(input)")
    }
  }

  // MARK: Golden figures

  private static let table: [(String, [Double], Double, Double)] = [
    ("linear", [0.297682, 0.189908, 0.279077, 0.233333], 1, 0.338269),
    ("mala", [0.524208, -0.095576, 0.417214, 0.154154], 1, 0.128295),
    ("inline-elu1", [0.476526, -0.035484, 0.388137, 0.170821], 1, 0.163510),
    ("inline", [0.493068, -0.037262, 0.404680, 0.139515], 1, 0.037730),
    ("l2vit", [0.217571, 0.108786, 0.163178, 0.217571], 0.707107, 0.415647),
    ("l2vit-100", [0.014142, 0.007071, 0.010607, 0.014142], 0.045962, 0.982376),
    ("nalaformer", [0.459325, 0.021276, 0.060075, 0.459325], 1, 0.512247),
  ]

  @Test(arguments: LinearTests.table)
  func tableOfG4(_ setting: String, _ row: [Double], _ sum: Double, _ error: Double) throws {
    let found = try Self.examine(setting, G4.head())
    let last = try ReweightingTests.rows(found, "map")[3]
    for (got, wanted) in zip(last, row) { #expect(abs(got - wanted) < 1e-6, "\(last)") }
    #expect(abs(last.reduce(0, +) - sum) < 1e-6)
    #expect(abs(try Self.number(found, "error") - error) < 1e-6)
  }

  /// The table's error is that of the bidirectional output to the causal one of softmax.
  @Test func ralaOfG4() throws {
    let found = try Self.examine("rala", G4.head(causal: false))
    let last = try ReweightingTests.rows(found, "map")[3]
    for (a, b) in zip(last, [0.398725, 0.118077, 0.373805, 0.109392]) { #expect(abs(a - b) < 1e-6) }
    #expect(abs(last.reduce(0, +) - 1) < 1e-6)
    let output = try ReweightingTests.rows(found, "output").joined()
    let dense = try ReweightingTests.rows(Self.examine("alibi:m=0", G4.head()), "output").joined()
    let off = zip(output, dense).reduce(0) { $0 + ($1.0 - $1.1) * ($1.0 - $1.1) }
    #expect(abs((off / dense.reduce(0) { $0 + $1 * $1 }).squareRoot() - 0.525261) < 1e-6)
  }

  @Test func panelOfG4() throws {
    let found = try Self.examine("mala", G4.head())
    for (name, wanted) in [
      ("entropy", 0.717966), ("entropy_normalised", 0.913978), ("effective_rank", 3.084806),
      ("numerical_rank", 4), ("negative_mass", 0.022804), ("error_row_max", 0.222030),
      ("map_gap", 0.101971), ("max_weight", 0.656061), ("spikiness", 0.563621),
    ] {
      #expect(abs(try Self.number(found, name) - wanted) < 1.5e-6, "\(name)")
    }
  }

  // MARK: Identities

  /// A head of the sample: query head 4 of layer 12 and its keys, the first tokens.
  static func real(_ tokens: Int, causal: Bool) throws -> Head {
    let path = checkout() + "/samples/smollm2-log-832.safetensors"
    let bytes = [UInt8](try Data(contentsOf: URL(fileURLWithPath: path)))
    let length = bytes[..<8].reversed().reduce(0) { $0 << 8 | Int($1) }
    let header = try #require(
      try JSONSerialization.jsonObject(with: Data(bytes[8..<8 + length])) as? [String: Any])
    func rows(_ name: String, _ head: Int) throws -> Tensor {
      let entry = try #require(header["layers.12.\(name)"] as? [String: Any])
      let offsets = try #require(entry["data_offsets"] as? [Int])
      let start = 8 + length + offsets[0] + head * 832 * 64 * 2
      let values = (0..<tokens * 64).map { at in
        let low = UInt16(bytes[start + 2 * at]), high = UInt16(bytes[start + 2 * at + 1])
        return Float(Float16(bitPattern: high << 8 | low))
      }
      return Tensor(values, shape: [tokens, 64])
    }
    return Head(
      query: try rows("q", 4), key: try rows("k", 1), value: try rows("v", 1), causal: causal)
  }

  /// MALA less InLine is linear attention less uniform rows, entry by entry, also on rows of zeros.
  @Test(arguments: ["elu1", "relu", "exp"]) func malaLessInLine(_ phi: String) throws {
    var heads = [G4.head(), G4.head(causal: false)] + Bench.allCases.map(\.head)
    for causal in [true, false] { heads.append(try Self.real(160, causal: causal)) }
    for (at, head) in heads.enumerated() {
      let mala = try Self.map("mala:phi=\(phi)", head)
      let inline = try Self.map("inline:phi=\(phi)", head)
      for (i, row) in try Self.map("linear:phi=\(phi)", head).enumerated() {
        let seen = head.visibility.limit(row: i)
        // The maps are float32, so that a difference is as good as their largest entry.
        let size = (mala[i][..<seen] + inline[i][..<seen]).reduce(1) { max($0, abs($1)) }
        for j in 0..<seen {
          let off = mala[i][j] - inline[i][j] - (row[j] - 1 / Double(seen))
          #expect(abs(off) < 3e-7 * size, "\(phi), head \(at), row \(i), key \(j)")
        }
      }
    }
  }

  @Test(arguments: PackTests.cases) func rowsSumToOne(_ input: PackTests.Case) throws {
    let settings = ["linear", "linear:phi=exp", "mala", "mala-paper", "mala:phi=exp"]
    let inline = Self.names.map { "inline:phi=\($0)" }
    for setting in settings + inline + ["rala", "nalaformer"] {
      for (i, row) in try Self.map(setting, input.head).enumerated() {
        let seen = row.prefix(input.limit(i)), size = seen.reduce(1) { max($0, abs($1)) }
        let isZero = setting == "nalaformer" && seen.allSatisfy { $0 == 0 }
        #expect(isZero || abs(seen.reduce(0, +) - 1) < 2e-6 * size, "\(setting) \(input) row \(i)")
      }
    }
  }

  // MARK: MALA

  /// Keys 0 and 2 have features 1 and 3 under elu(x) + 1; queries 0 and 1 have 1 and 2.
  private static func narrow(_ query: [Float]) -> Head {
    Head(
      query: Tensor(query, shape: [query.count, 1]), key: Tensor([0, 2], shape: [2, 1]),
      value: Tensor([1, -1], shape: [2, 1]), causal: false, scale: 1)
  }

  @Test func malaSharpensAsItsCardSays() throws {
    let head = Self.narrow([0, 1]), released = try Self.map("mala", head)
    Self.expectEqual(released, [[-0.25, 1.25], [-0.75, 1.75]], within: 1e-7, "released")
    Self.expectEqual([try Self.map("mala-paper", head)[0]], [[-0.75, 1.75]], within: 1e-7, "paper")
    Self.expectEqual(try Self.map("linear", head), [[0.25, 0.75], [0.25, 0.75]], "linear")
    let found = try Self.examine("mala", head)
    #expect(found.series("beta") == [1.5, 1.25] && found.series("gamma") == [1, 2])
    #expect(found.series("query_norm") == [0, 1])
  }

  /// W(t) = linear + t (R' - mean): what φ(q) scales is all that differs from linear attention.
  @Test(arguments: [true, false]) func malaIsLinearInTheFeatures(_ causal: Bool) throws {
    let input = PackTests.Case(seed: 21, queries: 24, keys: 24, causal: causal)
    let linear = try Self.map("linear:phi=relu", input.head)
    let once = try Self.map("mala:phi=relu", input.head)
    let triple = try Self.map("mala:phi=relu", Self.scaled(input.head, by: 3))
    for i in 0..<24 {
      for j in 0..<input.limit(i) {
        let wanted = linear[i][j] + 3 * (once[i][j] - linear[i][j])
        #expect(abs(triple[i][j] - wanted) < 3e-6 * max(1, abs(wanted)))
      }
    }
  }

  static func scaled(_ head: Head, by t: Float) throws -> Head {
    let (query, key) = try #require(head.queryAndKey)
    return Head(
      query: Tensor(query.floats().map { $0 * t }, shape: [head.queries, head.dim]), key: key,
      value: head.value, causal: head.visibility.causal)
  }

  /// The correlation that is said, from rows and norms; linear attention knows no norm, MALA does.
  @Test func entropyFollowsTheNorm() throws {
    let head = try Self.real(160, causal: false), plain = try Plain(head)
    let norms = plain.q.map { $0.reduce(0) { $0 + $1 * $1 }.squareRoot() }
    let found = try Self.examine("mala-paper", head)
    for (name, map) in [
      ("norm_entropy", plain.mala(Self.elu1, paper: true)),
      ("norm_entropy_linear", plain.linear(Self.elu1)),
    ] {
      let entropies = map.map { row in
        let p = row.map { abs($0) / row.reduce(0) { $0 + abs($1) } }
        return p.reduce(0) { $1 > 0 ? $0 - $1 * log($1) : $0 }
      }
      let n = Double(norms.count), x = norms.reduce(0, +) / n, y = entropies.reduce(0, +) / n
      let xy = zip(norms, entropies).reduce(0) { $0 + ($1.0 - x) * ($1.1 - y) }
      let xx = norms.reduce(0) { $0 + ($1 - x) * ($1 - x) }
      let yy = entropies.reduce(0) { $0 + ($1 - y) * ($1 - y) }
      #expect(abs(try Self.number(found, name) - xy / (xx * yy).squareRoot()) < 1e-9, "\(name)")
    }
    guard case .curve(let curve)? = found["entropy_by_norm"]?.content else {
      throw Missing(.length)
    }
    #expect(curve.points.count == 160 && curve.points.map(\.x) == norms.sorted())
  }
}
