import Glibc
public import Attention
public import Tensors

/// A small generator with a seed (xorshift64*), so that a failure can be run again.
public struct Seeded: RandomNumberGenerator {
  private var state: UInt64

  public init(_ seed: UInt64) { state = seed &* 0x9e37_79b9_7f4a_7c15 | 1 }

  public mutating func next() -> UInt64 {
    state ^= state >> 12
    state ^= state << 25
    state ^= state >> 27
    return state &* 0x2545_f491_4f6c_dd1d
  }

  /// About normal: the sum of twelve uniforms.
  public mutating func normal() -> Float {
    (0..<12).reduce(Float(-6)) { sum, _ in sum + Float.random(in: 0..<1, using: &self) }
  }

  public mutating func tensor(_ shape: [Int], scale: Float = 1) -> Tensor {
    Tensor((0..<shape.reduce(1, *)).map { _ in normal() * scale }, shape: shape)
  }
}

/// A case of the tile pass: shapes and how blocks are decided.
public struct Case: Sendable, CustomStringConvertible {
  public var heads: Int
  public var queries: Int
  public var keys: Int
  public var dim: Int
  public var valueDim: Int
  public var causal: Bool
  public var offset: Int?
  public var spec: TileSpec
  public var lambda: Double
  public var scale: Float = 1

  public init(
    heads: Int, queries: Int, keys: Int, dim: Int = 16, valueDim: Int? = nil, causal: Bool = true,
    offset: Int? = nil,
    _ spec: TileSpec, lambda: Double = 0.1, scale: Float = 1
  ) {
    (self.heads, self.queries, self.keys, self.dim, self.valueDim) = (
      heads, queries, keys, dim, valueDim ?? dim
    )
    (self.causal, self.offset, self.spec, self.lambda, self.scale) = (
      causal, offset, spec, lambda, scale
    )
  }

  public var description: String {
    """
    \(heads) heads, \(queries)x\(keys), d \(dim)/\(valueDim), \(causal ? "causal" : "full"), \
    offset \(offset.map(String.init) ?? "-"), \(spec), lambda \(lambda), scale \(scale)
    """
  }

  public func group(seed: UInt64) -> HeadGroup {
    var random = Seeded(seed)
    let key = random.tensor([keys, dim], scale: scale), value = random.tensor([keys, valueDim])
    return HeadGroup(
      (0..<heads).map { _ in
        Head(
          query: random.tensor([queries, dim], scale: scale), key: key, value: value,
          causal: causal, offset: offset)
      })
  }

  /// MHA, GQA, MQA; causal, bidirectional, chunked prefill, decode; ragged tails; both votes, both
  /// orders.
  public static let all: [Case] = {
    let tiles: [(Int, Int)] = [(16, 16), (5, 7), (32, 16), (1, 33), (128, 128)]
    let shapes: [(heads: Int, queries: Int, keys: Int, causal: Bool, offset: Int?)] = [
      (1, 33, 33, true, nil), (3, 40, 40, true, nil), (2, 17, 50, true, nil), (4, 1, 70, true, nil),
      (2, 24, 24, false, nil), (2, 20, 30, true, 3), (2, 20, 30, true, -5), (2, 9, 30, false, nil),
    ]
    var cases: [Case] = []
    for (index, shape) in shapes.enumerated() {
      for (number, tile) in tiles.enumerated() {
        let spec = TileSpec(
          rows: tile.0, keys: tile.1, vote: (index + number) % 2 == 0 ? .head : .group,
          order: (index / 2 + number) % 2 == 0 ? .ascending : .descending)
        cases.append(
          Case(
            heads: shape.heads, queries: shape.queries, keys: shape.keys,
            dim: [16, 7, 20][number % 3],
            valueDim: [16, 5, 24][index % 3], causal: shape.causal, offset: shape.offset, spec,
            lambda: [0.1, 0.5, 1, 0.01][(index + number) % 4], scale: [1, 3][number % 2]))
      }
    }
    return cases + kernels
  }()

  /// Split-K and the lse criterion, and the head dims of the field, on the tiles that take the fast
  /// path and on others.
  private static let kernels: [Case] = {
    var cases: [Case] = []
    for (number, dims) in [
      (32, 32), (64, 64), (80, 80), (96, 96), (128, 128), (192, 128), (576, 512),
    ].enumerated() {
      var spec = TileSpec(rows: [16, 32, 64, 128][number % 4], keys: [32, 16, 48][number % 3])
      spec.order = number % 2 == 0 ? .descending : .ascending
      cases.append(
        Case(
          heads: 1 + number % 2, queries: 45, keys: 70, dim: dims.0, valueDim: dims.1, spec,
          lambda: 0.3, scale: 1))
    }
    for preset in TilePreset.all {
      cases.append(Case(heads: 2, queries: 130, keys: 150, preset.prefill, lambda: 0.4, scale: 2))
      cases.append(Case(heads: 3, queries: 1, keys: 150, preset.decode, lambda: 0.4, scale: 2))
    }
    for splits in [2, 3, 9] {
      for rows in [1, 16] {
        let spec = TileSpec(
          rows: rows, keys: 16, vote: splits == 2 ? .group : .head,
          order: splits == 3 ? .descending : .ascending, splits: splits)
        cases.append(
          Case(heads: 2, queries: rows == 1 ? 1 : 40, keys: 90, spec, lambda: 0.5, scale: 3))
      }
    }
    for (rows, splits) in [(1, 1), (16, 1), (32, 2), (5, 1)] {
      let spec = TileSpec(
        rows: rows, keys: 16, vote: rows == 1 ? .group : .head, criterion: .lse, splits: splits)
      cases.append(
        Case(heads: 3, queries: rows == 1 ? 1 : 50, keys: 90, spec, lambda: 0.1, scale: 2))
    }
    return cases
  }()
}

/// Finds a file of `shared/data` beside the checkout; nil where it is not there.
public func sharedData(_ name: String, from file: String = #filePath) -> String? {
  var folder = file.split(separator: "/").dropLast(3)
  folder.removeLast()
  let path = "/" + folder.joined(separator: "/") + "/shared/data/" + name
  return access(path, R_OK) == 0 ? path : nil
}

/// The folder of the checkout.
public func checkout(from file: String = #filePath) -> String {
  "/" + file.split(separator: "/").dropLast(3).joined(separator: "/")
}

/// Whether the tests were built with optimisation.
public let isRelease: Bool = {
  #if DEBUG
    return false
  #else
    return true
  #endif
}()
