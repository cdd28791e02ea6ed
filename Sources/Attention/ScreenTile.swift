import Kernels
import Tensors

/// Keys of a pass quantised to int8, for the bound that skips blocks before their scores are known
/// (screen.h says why that is sound).
///
/// `@unchecked Sendable`: a group is written once, by `init` or by an `extend` under the lock of
/// the cache that keeps these, and readers stay below what was written before they got them.
final class ScreenedKeys: @unchecked Sendable {
  /// The arrays as the kernels take them; owned and freed here. The struct itself changes only
  /// before it is first handed out.
  private(set) var raw: as_screen
  private let isa: as_isa
  /// Groups of 16 keys that are quantised.
  private(set) var filled = 0
  private var isCentred = false

  /// Whether the bound can be had of heads this wide.
  static func holds(_ dim: Int) -> Bool { dim <= Int(AS_MOST_DIM) }

  /// Room for `groups` groups of 16 keys; nothing is quantised yet.
  init(groups: Int, dim: Int, isa: as_isa) {
    precondition(Self.holds(dim), "heads of \(dim) are too wide for the bound")
    self.isa = isa
    func memory<T>(_ count: Int, of type: T.Type) -> UnsafeMutablePointer<T> {
      let bytes = UnsafeMutableRawPointer.allocate(
        byteCount: max(64, count * MemoryLayout<T>.stride), alignment: 64)
      return bytes.bindMemory(to: type, capacity: count)
    }
    raw = as_screen(
      panels: memory(groups * ((dim + 3) / 4) * 64, of: Int8.self),
      correction: memory(groups * 16, of: Int32.self), scale: memory(groups * 16, of: Float.self),
      residual: memory(groups, of: Float.self), norm: memory(groups, of: Float.self),
      centre: memory(dim, of: Float.self), centre_norm: 0, dim: Int32(dim))
    for c in 0..<dim { raw.centre[c] = 0 }
  }

  /// The mean of the first `count` keys: any vector would be right, this one leaves the smallest
  /// rest.
  private func setCentre(_ panels: UnsafePointer<Float>, _ count: Int) {
    let dim = Int(raw.dim), step = max(1, count / 4096)
    var sums = [Double](repeating: 0, count: dim)
    var used = 0
    for key in stride(from: 0, to: count, by: step) {
      let panel = panels + key / 16 * dim * 16 + key % 16
      for c in 0..<dim { sums[c] += Double(panel[c * 16]) }
      used += 1
    }
    var norm = 0.0
    for c in 0..<dim {
      let mean = Float(sums[c] / Double(max(used, 1)))
      raw.centre[c] = mean.isFinite ? mean : 0
      norm += Double(raw.centre[c]) * Double(raw.centre[c])
    }
    raw.centre_norm = Float(norm.squareRoot()) * 1.0001
  }

  deinit {
    raw.panels.deallocate()
    raw.correction.deallocate()
    for floats in [raw.scale, raw.residual, raw.norm, raw.centre] { floats!.deallocate() }
  }

  /// Quantises panels up to `groups`, from the first that is not. All their lanes must hold keys: a
  /// panel that others read is never done again.
  func extend(_ panels: UnsafePointer<Float>, to groups: Int) {
    guard groups > filled else { return }
    if !isCentred {
      setCentre(panels, 16 * groups)
      isCentred = true
    }
    var arrays = raw
    as_screen_keys(isa, panels, Int32(filled), Int32(groups - filled), &arrays)
    filled = groups
  }

  /// All keys of a pass, quantised on all threads.
  /// Nil where the bound does not apply: too few rows for strips, tiles that are no multiple of 16
  /// keys, or a scale that is not positive and would turn the inequality round.
  convenience init?(_ pass: TilePass, threads: ComputeThreads) {
    guard pass.isWide(pass.group.queries * pass.group.heads.count), pass.keysPerTile % 16 == 0,
      pass.group.heads.allSatisfy({ $0.scale > 0 }), Self.holds(pass.group.heads[0].dim)
    else { return nil }
    let groups = (pass.group.keys + 15) / 16
    self.init(groups: groups, dim: pass.group.heads[0].dim, isa: pass.isa)
    setCentre(pass.panel(0), pass.group.keys)
    let piece = 512
    threads.forEach(0..<(groups + piece - 1) / piece, isCancelled: { false }) { [self] item in
      var out = raw
      let first = item * piece
      as_screen_keys(
        pass.isa, pass.panel(0), Int32(first), Int32(min(piece, groups - first)), &out)
    }
    filled = groups
  }
}

/// The quantised query rows of one tile.
///
/// Made once a tile of rows and asked once a key tile; quantising is O(rows * d), small beside the
/// scores it may save.
final class ScreenTile {
  private let keys: ScreenedKeys
  private let strips: Strips
  private let pass: TilePass
  private let queries: [ScreenQuery]
  private var relative = [Int32](repeating: 0, count: Strips.lanes)
  /// The strip whose bound failed last: most likely to fail again, so it is asked first.
  private var hardest = 0

  /// Quantises the strips against the centre of `keys`.
  init(_ pass: TilePass, _ keys: ScreenedKeys, _ strips: Strips) {
    (self.pass, self.keys, self.strips) = (pass, keys, strips)
    queries = (0..<strips.count).map {
      ScreenQuery(pass.isa, strips.query.base + $0 * strips.dim * Strips.lanes, keys)
    }
  }

  /// True when every row that sees a key of the tile has its bound below m + threshold.
  func isBelow(
    _ threshold: Float, _ range: Range<Int>, _ m: UnsafeMutablePointer<Float>
  ) -> Bool {
    for offset in 0..<strips.count {
      let strip = (hardest + offset) % strips.count
      let width = strips.width(strip, range), at = strip * Strips.lanes
      guard width > 0 else { continue }
      for lane in 0..<Strips.lanes {
        relative[lane] = strips.limits[at + lane] - Int32(range.lowerBound)
      }
      let isBelow = withUnsafePointer(to: keys.raw) { raw in
        withUnsafePointer(to: queries[strip].raw) { query in
          as_screen_strip_below(
            pass.isa, raw, Int32(range.lowerBound / 16), Int32(width), query, relative,
            Float(pass.group.heads[0].scale), m + at, threshold)
        }
      }
      if isBelow == 0 {
        hardest = strip
        return false
      }
    }
    return true
  }
}

/// A strip of query rows in int8, with scales, residuals and norms.
final class ScreenQuery {
  private(set) var raw: as_screen_query
  private let isa: as_isa
  private let facts = Floats(4 * Strips.lanes)

  /// Memory for one strip of rows `dim` wide; `set` fills it.
  init(_ isa: as_isa, dim: Int) {
    self.isa = isa
    let bytes = UnsafeMutableRawPointer.allocate(
      byteCount: (dim + 3) / 4 * 4 * Strips.lanes, alignment: 64)
    raw = as_screen_query(
      bytes: bytes.assumingMemoryBound(to: UInt8.self), scale: facts.base,
      residual: facts.base + Strips.lanes, norm: facts.base + 2 * Strips.lanes,
      offset: facts.base + 3 * Strips.lanes)
  }

  /// `query` is `[dim][32]`.
  convenience init(_ isa: as_isa, _ query: UnsafePointer<Float>, _ keys: ScreenedKeys) {
    self.init(isa, dim: Int(keys.raw.dim))
    set(query, keys)
  }

  /// Quantises another strip, `[dim][32]`, into the same memory.
  func set(_ query: UnsafePointer<Float>, _ keys: ScreenedKeys) {
    withUnsafePointer(to: keys.raw) { as_screen_strip(isa, query, $0, &raw) }
  }

  deinit { raw.bytes.deallocate() }
}
