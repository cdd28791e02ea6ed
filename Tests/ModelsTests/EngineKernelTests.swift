import Attention
import Foundation
import Kernels
import Support
import Tensors
import Testing

/// The engine's loops on every instruction set of this machine, against the scalar oracle.
@Suite struct EngineKernelTests {
  private static let others = InstructionSet.allCases.filter { $0 != .plain && $0.isAvailable }
  private static let columns = TinyModel.width
  private static let rows = 37

  /// 37 rows of 256 weights, and the types they are of.
  private static func weights(_ type: WeightType) -> [UInt8] {
    let bytes = TinyModel("llama", type, seed: 8).gguf.tensors[0].bytes
    return Array(bytes.prefix(type.bytes(columns) * rows))
  }

  private static func activations(_ rows: Int) -> [Float] {
    var random = Seeded(12)
    return (0..<rows * columns).map { _ in random.normal() }
  }

  private static func quantised(_ isa: InstructionSet, _ x: [Float], rows: Int) -> [UInt8] {
    let stride = as_q8_bytes(Int32(columns))
    var out = [UInt8](repeating: 0, count: stride * rows)
    for r in 0..<rows {
      out.withUnsafeMutableBytes { bytes in
        x.withUnsafeBufferPointer { x in
          as_quantise(
            isa.rawValue, x.baseAddress! + r * columns, Int32(columns),
            bytes.baseAddress! + r * stride)
        }
      }
    }
    return out
  }

  private static func apart(_ a: [Float], _ b: [Float]) -> Float {
    let size = (b.reduce(0) { $0 + $1 * $1 } / Float(b.count)).squareRoot()
    return zip(a, b).map { abs($0 - $1) }.max()! / max(size, 1e-9)
  }

  @Test(arguments: others) func activationsAreTheSameBytes(_ isa: InstructionSet) {
    let x = Self.activations(1)
    #expect(
      Self.quantised(isa, x, rows: 1).prefix(Self.columns)
        == Self.quantised(.plain, x, rows: 1).prefix(Self.columns))
    let zero = [Float](repeating: 0, count: Self.columns)
    #expect(Self.quantised(isa, zero, rows: 1).allSatisfy { $0 == 0 })
  }

  @Test(arguments: WeightType.allCases, others)
  func rowsOfWeights(_ type: WeightType, _ isa: InstructionSet) {
    let w = Self.weights(type), x = Self.activations(1), q8 = Self.quantised(.plain, x, rows: 1)
    func product(_ isa: InstructionSet, _ q8: [UInt8]?) -> [Float] {
      var out = [Float](repeating: 0, count: Self.rows)
      as_gemv(
        isa.rawValue, as_weight(type.rawValue), w, type.bytes(Self.columns), Int32(Self.columns),
        Int32(Self.rows), x, q8, &out)
      return out
    }
    #expect(Self.apart(product(isa, nil), product(.plain, nil)) < 1e-5)
    #expect(Self.apart(product(isa, q8), product(.plain, q8)) < 1e-5)
    // Eight bits of activation are near enough to no rounding at all.
    #expect(Self.apart(product(.plain, q8), product(.plain, nil)) < 0.05)
  }

  @Test(arguments: WeightType.allCases.filter(\.isQuantised), others)
  func panels(_ type: WeightType, _ isa: InstructionSet) {
    let w = Self.weights(type), kind = as_weight(type.rawValue), count = 11
    let x = Self.activations(count), q8 = Self.quantised(.plain, x, rows: count)
    for rows in [16, 5] {
      func panel(_ isa: InstructionSet) -> [UInt8] {
        var out = [UInt8](repeating: 7, count: as_panel_bytes(kind, Int32(Self.columns)))
        as_pack_panel(
          isa.rawValue, kind, w, type.bytes(Self.columns), Int32(Self.columns), Int32(rows), &out)
        return out
      }
      #expect(panel(isa) == panel(.plain), "\(rows) rows")
      func product(_ isa: InstructionSet) -> [Float] {
        var out = [Float](repeating: 0, count: count * 16)
        as_gemm_q8(
          isa.rawValue, kind, panel(.plain), Int32(Self.columns), q8, Int32(count), &out, 16)
        return out
      }
      #expect(Self.apart(product(isa), product(.plain)) < 1e-5, "\(rows) rows")
    }
  }

  @Test(arguments: others) func betweenTheProducts(_ isa: InstructionSet) {
    for n in [256, 250, 7] {
      let x = Array(Self.activations(1).prefix(n)), y = x.reversed().map { $0 * 2 }
      func norm(_ isa: InstructionSet) -> [Float] {
        var out = [Float](repeating: 0, count: n)
        as_rms_norm(isa.rawValue, x, y, Int32(n), 1e-5, &out)
        return out
      }
      func glu(_ isa: InstructionSet) -> [Float] {
        var out = x
        as_swiglu(isa.rawValue, &out, y, Int32(n))
        return out
      }
      #expect(Self.apart(norm(isa), norm(.plain)) < 1e-6)
      #expect(Self.apart(glu(isa), glu(.plain)) < 1e-6)
      let lse = { (isa: InstructionSet) in as_log_sum_exp(isa.rawValue, x, Int32(n)) }
      #expect(abs(lse(isa) - lse(.plain)) < 1e-6)
      let kl = { (isa: InstructionSet) in as_divergence(isa.rawValue, x, y, Int32(n)) }
      #expect(
        abs(kl(isa) - kl(.plain)) < 1e-5 && as_divergence(isa.rawValue, x, x, Int32(n)) < 1e-6)
      func top(_ isa: InstructionSet) -> [Int32] {
        var out = [Int32](repeating: -1, count: 5)
        as_top(isa.rawValue, x, Int32(n), 5, &out)
        return out
      }
      #expect(top(isa) == top(.plain))
    }
  }

  @Test func aRowIsTheSameBitsEitherWay() throws {
    var random = Seeded(21)
    for (keys, tile, vote) in [(1, 16, Vote.group), (77, 16, .head), (300, 128, .group)] {
      let cache = KeyCache(dim: 32, valueDim: 32)
      for _ in 0..<keys {
        let k = (0..<32).map { _ in random.normal() }, v = (0..<32).map { _ in random.normal() }
        k.withUnsafeBufferPointer { k in
          v.withUnsafeBufferPointer { v in
            cache.append(key: k.baseAddress!, value: v.baseAddress!)
          }
        }
      }
      let query = (0..<3 * 32).map { _ in random.normal() }
      let spec = TileSpec(rows: 1, keys: tile, vote: vote)
      for lambda in [0, 0.3] {
        let group = HeadGroup(
          (0..<3).map { h in
            Head(
              query: Tensor(Array(query[h * 32..<(h + 1) * 32]), shape: [1, 32]),
              cached: cache.snapshot)
          })
        let pass = TilePass(group, keysPerTile: tile, withValues: true, precision: .float)
        let expected = try #require(pass.forward(spec, .blasst(lambda: lambda)))
        let row = DecodeRow(heads: 3, dim: 32)
        var out = [Float](repeating: 0, count: 96)
        #expect(row.blasst(query, cache.snapshot, spec, lambda: lambda, into: &out))
        #expect(out == expected.flatMap(\.values), "\(keys) keys, \(spec), lambda \(lambda)")
        #expect(
          row.skipped.map(Int.init)
            == expected.map { $0.mask.verdicts.filter { $0 == .skipped }.count })
      }
    }
  }

  @Test func aTeamDoesEveryItemOnce() {
    let team = Team(ComputeThreads(count: 3))
    team.run {
      for round in 0..<2000 {
        let count = 1 + round % 9
        let done = (0..<count).map { _ in Counter() }
        team.forEach(count) { done[$0].add() }
        #expect(done.allSatisfy { $0.value == 1 })
      }
    }
  }
}

private final class Counter: @unchecked Sendable {
  private(set) var value = 0
  func add() { value += 1 }
}
