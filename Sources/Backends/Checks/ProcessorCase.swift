import Algebra
import Attention
import Tensors

/// A fixed input for `ProcessorCheck`: heads that share a KV head, drawn from a seed.
struct ProcessorCase: Sendable {
  /// For a person.
  let name: String
  /// Query heads, query rows and keys.
  var heads = 1, queries = 150, keys = 170
  /// Width of keys and of values.
  var dim = 64, valueDim = 64
  /// Element type of the arrays.
  var dtype = DType.float32
  /// What queries and keys are multiplied with.
  var factor = 1.0
  /// Position of query row 0; nil: bottom-right.
  var offset: Int?
  /// A key of NaN and one of infinity lie among the others.
  var isBroken = false
  /// The tile, and the threshold that outputs are made with.
  var spec = TileSpec(rows: 16, keys: 16)
  var lambda = 0.2

  /// Everything that takes another way through the kernels.
  static let all: [ProcessorCase] = {
    var cases = [64, 96, 128, 192].map { dim in
      ProcessorCase(name: "prefill d \(dim)", dim: dim, valueDim: dim == 192 ? 128 : dim)
    }
    for dtype in [DType.float16, .bfloat16] {
      cases.append(ProcessorCase(name: "prefill \(dtype.rawValue)", dtype: dtype))
    }
    cases += [
      ProcessorCase(name: "tile 128x128", spec: TileSpec(rows: 128, keys: 128)),
      ProcessorCase(
        name: "tile 24x40 descending", spec: TileSpec(rows: 24, keys: 40, order: .descending)),
      ProcessorCase(
        name: "GQA, votes of a group", heads: 3, spec: TileSpec(rows: 32, keys: 32, vote: .group)),
      ProcessorCase(
        name: "log-sum-exp, splits",
        spec: TileSpec(rows: 16, keys: 16, criterion: .lse, splits: 2)),
      ProcessorCase(
        name: "decode", heads: 3, queries: 1, keys: 333,
        spec: TileSpec(rows: 1, keys: 32, vote: .group)),
      ProcessorCase(
        name: "decode d 128", heads: 4, queries: 1, keys: 333, dim: 128, valueDim: 128,
        spec: TileSpec(rows: 1, keys: 64)),
      ProcessorCase(name: "large scores", factor: 30),
      ProcessorCase(name: "tiny scores", factor: 1e-9),
      ProcessorCase(name: "rows that see nothing", keys: 150, offset: -20),
      ProcessorCase(name: "NaN and infinite keys", isBroken: true),
    ]
    return cases
  }()

  /// The heads twice: as the program reads arrays of this type, and straight.
  func made(seed: UInt64) -> (group: HeadGroup, straight: [StraightHead]) {
    var random = SplitMix64(seed)
    func draw(_ rows: Int, _ width: Int, _ factor: Double) -> [Float] {
      random.gaussians(rows * width).map { rounded(Float($0 * factor)) }
    }
    var key = draw(keys, dim, factor)
    if isBroken {
      for c in 0..<dim { key[40 * dim + c] = .nan }
      key[90 * dim] = .infinity
    }
    let value = draw(keys, valueDim, 1)
    var rules = StraightRules(causal: true, offset: offset ?? keys - queries)
    rules.scale = 1 / Double(dim).squareRoot()
    var own: [Head] = [], straight: [StraightHead] = []
    for _ in 0..<heads {
      let query = draw(queries, dim, factor)
      own.append(
        Head(
          query: tensor(query, queries, dim), key: tensor(key, keys, dim),
          value: tensor(value, keys, valueDim), causal: true, offset: offset))
      straight.append(
        StraightHead(
          .projections(
            query: Tensor(query, shape: [queries, dim]), key: Tensor(key, shape: [keys, dim])),
          value: Tensor(value, shape: [keys, valueDim]), rules: rules))
    }
    return (HeadGroup(own), straight)
  }

  /// The nearest number that the type holds.
  private func rounded(_ x: Float) -> Float {
    switch dtype {
    case .float16: Float(Float16(x))
    case .bfloat16: Float(bitPattern: x.bitPattern & 0xffff_0000)
    default: x
    }
  }

  /// Numbers as an array of the type holds them.
  private func tensor(_ values: [Float], _ rows: Int, _ width: Int) -> Tensor {
    guard dtype != .float32 else { return Tensor(values, shape: [rows, width]) }
    let words = values.map {
      dtype == .float16 ? Float16($0).bitPattern : UInt16($0.bitPattern >> 16)
    }
    let storage = OwnedStorage(byteCount: 2 * words.count) { out in
      words.withUnsafeBytes { out.copyMemory(from: $0) }
    }
    return Tensor(storage: storage, dtype: dtype, shape: Shape([rows, width]))
  }
}
