import Kernels

/// One new query row of every head that shares a KV head, against the cache: the inner loop of
/// decoding, with memory that is taken once.
///
/// The arithmetic is that of `TilePass.forward` on the same group, kernel by kernel, so the results
/// are the same bits. Not for use by two threads at once: an engine has one for each KV head.
///
/// Cost O(heads * keys * d) a token; memory one tile of scores and weights per voting head, grown
/// when a longer tile comes and never returned.
public final class DecodeRow {
  /// Query heads that share the KV head.
  public let heads: Int
  /// Width of a query, a key and a value.
  public let dim: Int
  /// Blocks that the last row saw, `[heads]`.
  public private(set) var visible: [Int32]
  /// Blocks that the last row skipped, `[heads]`.
  public private(set) var skipped: [Int32]
  private let plan: as_plan
  private let isa: as_isa
  private let paddedDim: Int
  private var scores: UnsafeMutablePointer<Float>
  private var weights: UnsafeMutablePointer<Float>
  private var stride = 0
  private let t, m, l, sums: UnsafeMutablePointer<Float>
  private let screenQuery: ScreenQuery
  private let strip: Floats
  /// Of those, blocks skipped on the word of the int8 bound alone, `[heads]`.
  public private(set) var decidedByBound: [Int32]

  /// Allocates what does not depend on the length of the context.
  public init(heads: Int, dim: Int, isa set: InstructionSet = .best) {
    plan = as_plan(isa: set.rawValue, precision: 0)
    isa = as_isa(rawValue: UInt32(set.rawValue))
    (self.heads, self.dim) = (heads, dim)
    paddedDim = (dim + 15) / 16 * 16
    visible = [Int32](repeating: 0, count: heads)
    skipped = visible
    decidedByBound = visible
    screenQuery = ScreenQuery(isa, dim: dim)
    strip = Floats(dim * Strips.lanes)
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

  /// BLASST over `keys.count` keys: the last position looks at all of them. `query` and `output`
  /// are `[heads, dim]`.
  ///
  /// With `screen` int8 blocks are skipped on the word of a bound where it can tell; the results
  /// are the same bits. False when the general way must go: a tile that is no multiple of 16 keys,
  /// the lse criterion, or split-K.
  public func blasst(
    _ query: UnsafePointer<Float>, _ keys: CachedKeys, _ spec: TileSpec, lambda: Double,
    screen: Screening = .none, into output: UnsafeMutablePointer<Float>
  ) -> Bool {
    guard spec.keys % 16 == 0, keys.count > 0, keys.dim == dim, keys.valueDim == dim,
      spec.criterion == .max, spec.splits == 1
    else {
      return false
    }
    let rows = spec.vote == .group ? heads : 1
    let isScreened =
      screen == .int8 && lambda > 0 && rows <= Strips.lanes && ScreenedKeys.holds(dim)
    let screened = isScreened ? keys.screened() : nil
    reserve(min(spec.keys, (keys.count + 15) / 16 * 16))
    let threshold = Lambda.threshold(lambda)
    if spec.vote == .group {
      unit(0..<heads, query, keys, screened, spec, threshold, output)
    } else {
      for head in 0..<heads {
        unit(head..<head + 1, query, keys, screened, spec, threshold, output)
      }
    }
    return true
  }

  /// Makes room for `tile` scores of every head. Nothing is kept: a tile is scored anew each time.
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
  /// The first block of a visit is never skipped: there is no running maximum to compare it with.
  /// Screening therefore begins with the second.
  private func unit(
    _ unit: Range<Int>, _ query: UnsafePointer<Float>, _ keys: CachedKeys,
    _ screened: ScreenedKeys?, _ spec: TileSpec, _ threshold: Float,
    _ output: UnsafeMutablePointer<Float>
  ) {
    let rows = Int32(unit.count), storage = keys.storage
    let tiles = (keys.count + spec.keys - 1) / spec.keys
    for r in 0..<unit.count { (m[r], l[r]) = (-.infinity, 0) }
    sums.update(repeating: 0, count: unit.count * paddedDim)
    var dropped: Int32 = 0, decided: Int32 = 0
    if let screened { quantise(query + unit.lowerBound * dim, unit.count, screened) }
    for step in 0..<tiles {
      let j = spec.order == .ascending ? step : tiles - 1 - step
      let start = j * spec.keys, count = min(spec.keys, keys.count - start)
      let ld = (count + 15) / 16 * 16
      // A panel that is not full has no bound yet.
      if step > 0, let screened, start + count <= keys.count / 16 * 16,
        isBelow(screened, start, count, unit.count, threshold)
      {
        dropped += 1
        decided += 1
        continue
      }
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
      decidedByBound[head] = decided
      for x in 0..<dim { output[head * dim + x] = sums[r * paddedDim + x] / l[r] }
    }
  }

  /// The int8 form of the query rows, once a token: every block is screened against the same.
  private func quantise(
    _ query: UnsafePointer<Float>, _ rows: Int, _ screened: ScreenedKeys
  ) {
    as_wide_query(isa, query, Int64(dim), Int32(rows), Int32(dim), strip.base)
    screenQuery.set(strip.base, screened)
  }

  /// True when the bound alone proves that no row's maximum in the block reaches m + threshold.
  private func isBelow(
    _ screened: ScreenedKeys, _ start: Int, _ count: Int, _ rows: Int, _ threshold: Float
  ) -> Bool {
    withUnsafePointer(to: screened.raw) { keys in
      withUnsafePointer(to: screenQuery.raw) { query in
        as_screen_rows_below(
          isa, keys, Int32(start / 16), Int32(count), query, Int32(rows),
          Float(1 / Double(dim).squareRoot()), m, threshold) != 0
      }
    }
  }
}
