import Kernels

/// One new query row of every head that shares a KV head, against the cache: the inner loop of decoding, with memory that
/// is taken once.
///
/// The arithmetic is that of `TilePass.forward` on the same group, kernel by kernel, so the results are the same bits.
/// Not for use by two threads at once: an engine has one for each KV head.
public final class DecodeRow {
  public let heads: Int
  public let dim: Int
  /// Blocks that the row saw and skipped, per head.
  public private(set) var visible: [Int32]
  public private(set) var skipped: [Int32]
  private let plan = as_plan(isa: InstructionSet.best.rawValue, precision: 0)
  private let paddedDim: Int
  private var scores: UnsafeMutablePointer<Float>
  private var weights: UnsafeMutablePointer<Float>
  private var stride = 0
  private let t, m, l, sums: UnsafeMutablePointer<Float>

  public init(heads: Int, dim: Int) {
    (self.heads, self.dim) = (heads, dim)
    paddedDim = (dim + 15) / 16 * 16
    visible = [Int32](repeating: 0, count: heads)
    skipped = visible
    func floats(_ count: Int) -> UnsafeMutablePointer<Float> {
      UnsafeMutableRawPointer.allocate(byteCount: 4 * (count + 16), alignment: 64)
        .initializeMemory(as: Float.self, repeating: 0, count: count + 16)
    }
    (t, m, l) = (floats(heads), floats(heads), floats(heads))
    sums = floats(heads * paddedDim)
    scores = floats(0)
    weights = floats(0)
  }

  deinit { for buffer in [scores, weights, t, m, l, sums] { buffer.deallocate() } }

  /// BLASST over `keys.count` keys: the last position looks at all of them. `query` and `output` are `[heads, dim]`.
  ///
  /// False when the tile is not a multiple of 16 keys: then the general way must go.
  public func blasst(
    _ query: UnsafePointer<Float>, _ keys: CachedKeys, _ spec: TileSpec, lambda: Double,
    into output: UnsafeMutablePointer<Float>
  ) -> Bool {
    guard spec.keys % 16 == 0, keys.count > 0 else { return false }
    reserve(min(spec.keys, (keys.count + 15) / 16 * 16))
    let threshold = Lambda.threshold(lambda)
    if spec.vote == .group {
      unit(0..<heads, query, keys, spec, threshold, output)
    } else {
      for head in 0..<heads { unit(head..<head + 1, query, keys, spec, threshold, output) }
    }
    return true
  }

  private func reserve(_ tile: Int) {
    guard heads * tile > stride else { return }
    stride = heads * tile
    scores.deallocate()
    weights.deallocate()
    func floats() -> UnsafeMutablePointer<Float> {
      UnsafeMutableRawPointer.allocate(byteCount: 4 * stride, alignment: 64)
        .bindMemory(to: Float.self, capacity: stride)
    }
    (scores, weights) = (floats(), floats())
  }

  /// Heads that vote together.
  private func unit(
    _ unit: Range<Int>, _ query: UnsafePointer<Float>, _ keys: CachedKeys, _ spec: TileSpec,
    _ threshold: Float, _ output: UnsafeMutablePointer<Float>
  ) {
    let rows = Int32(unit.count), storage = keys.storage
    let tiles = (keys.count + spec.keys - 1) / spec.keys
    for r in 0..<unit.count { (m[r], l[r]) = (-.infinity, 0) }
    sums.update(repeating: 0, count: unit.count * paddedDim)
    var dropped: Int32 = 0
    for step in 0..<tiles {
      let j = spec.order == .ascending ? step : tiles - 1 - step
      let start = j * spec.keys, count = min(spec.keys, keys.count - start)
      let ld = (count + 15) / 16 * 16
      as_scores(
        plan, query + unit.lowerBound * dim, storage.panels + start * dim, rows, Int32(dim),
        Int32(ld / 16), 1 / Double(dim).squareRoot(), scores, Int64(ld))
      as_row_max(plan, scores, Int64(ld), rows, Int32(count), t)
      let margin = step == 0 ? Float.infinity : Float(as_margin(plan, rows, t, m))
      if margin < threshold {
        dropped += 1
        continue
      }
      as_accumulate(
        plan, scores, Int64(ld), rows, Int32(count), t, m, l, weights,
        storage.values + start * paddedDim, Int32(paddedDim), sums)
    }
    for (r, head) in unit.enumerated() {
      (visible[head], skipped[head]) = (Int32(tiles), dropped)
      for x in 0..<dim { output[head * dim + x] = sums[r * paddedDim + x] / l[r] }
    }
  }
}
