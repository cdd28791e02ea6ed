import Kernels
import Tensors

/// Float memory on a cache line, freed with its owner.
///
/// `@unchecked Sendable`: who shares one among threads gives each of them its own part.
final class Floats: @unchecked Sendable {
  /// The first of `count` floats; aligned to 64 bytes.
  let base: UnsafeMutablePointer<Float>
  /// Floats.
  let count: Int

  /// At least one cache line, even for no floats at all.
  init(_ count: Int, fill: Float = 0) {
    self.count = count
    let bytes = UnsafeMutableRawPointer.allocate(byteCount: max(64, 4 * count), alignment: 64)
    base = bytes.bindMemory(to: Float.self, capacity: count)
    set(fill)
  }

  deinit { base.deallocate() }

  /// Every float the same.
  func set(_ value: Float) { base.update(repeating: value, count: count) }
}

/// The query rows of a tile in strips of 32 lanes, and how many keys each of them sees.
final class Strips {
  /// Rows that a kernel works on at once.
  static let lanes = Int(AS_LANES)

  /// Strips, the last one perhaps with lanes that are no row.
  let count: Int
  /// Lanes that are rows.
  let used: Int
  /// Width of a query.
  let dim: Int
  /// `[strips][dim][32]`
  let query: Floats
  /// How many keys each lane sees; 0 for lanes that are no row. `[strips * 32]`
  let limits: [Int32]
  /// The largest limit of each strip.
  let most: [Int]
  private var relative = [Int32](repeating: 0, count: lanes)

  convenience init(_ pass: TilePass, _ rows: TileRows) {
    self.init(
      pass, rows: rows.heads.flatMap { head in rows.rows.map { (head, $0) } },
      pieces: rows.heads.map { ($0, rows.rows) })
  }

  /// Any rows of one head.
  convenience init(_ pass: TilePass, head: Int, rows: [Int]) {
    self.init(
      pass, rows: rows.map { (head, $0) },
      pieces: rows.isEmpty ? [] : Range.runs(of: rows).map { (head, $0) })
  }

  /// `pieces` are the same rows as runs.
  private init(
    _ pass: TilePass, rows: [(head: Int, row: Int)], pieces: [(head: Int, rows: Range<Int>)]
  ) {
    let lanes = Self.lanes
    let count = (rows.count + lanes - 1) / lanes, dim = pass.group.heads[0].dim
    let query = Floats(count * dim * lanes)
    (self.count, self.dim, self.query, used) = (count, dim, query, rows.count)
    var stacked = [Float](repeating: 0, count: rows.count * dim)
    stacked.withUnsafeMutableBufferPointer { out in
      var at = 0
      for (head, rows) in pieces {
        pass.group.heads[head].query!.slice(axis: 0, rows).copyFloats(
          into: UnsafeMutableBufferPointer(rebasing: out[at..<at + rows.count * dim]))
        at += rows.count * dim
      }
      for strip in 0..<count {
        as_wide_query(
          pass.isa, out.baseAddress! + strip * lanes * dim, Int64(dim),
          Int32(min(lanes, rows.count - strip * lanes)), Int32(dim),
          query.base + strip * dim * lanes)
      }
    }
    var limits = [Int32](repeating: 0, count: count * lanes)
    for (r, row) in rows.enumerated() {
      limits[r] = Int32(pass.group.visibility.limit(row: row.row))
    }
    self.limits = limits
    most = (0..<count).map { Int(limits[$0 * lanes..<($0 + 1) * lanes].max()!) }
  }

  /// How many keys of a tile the strip sees at all; 0 when it need not be computed.
  func width(_ strip: Int, _ keys: Range<Int>) -> Int {
    max(0, min(keys.count, most[strip] - keys.lowerBound))
  }

  /// S `[keys][32]`, maxima of 16 keys and row maxima of one strip over keys that start a panel.
  func score(
    _ pass: TilePass, _ strip: Int, _ keys: Range<Int>, _ panel: UnsafePointer<Float>,
    _ scores: UnsafeMutablePointer<Float>, _ gmax: UnsafeMutablePointer<Float>,
    _ t: UnsafeMutablePointer<Float>
  ) {
    let first = strip * Self.lanes
    for lane in 0..<Self.lanes {
      relative[lane] = limits[first + lane] - Int32(keys.lowerBound)
    }
    as_wide_scores(
      pass.isa, panel, query.base + first * dim, Int32(dim), Int32(width(strip, keys)), relative,
      Float(pass.group.heads[0].scale), scores, gmax, t)
  }
}

/// Rows in lanes: the fast float path. Within a row sums run over 64 keys at a time, in float32.
///
/// All arrays are strip by strip with the row last, so that a vector holds the same key of
/// neighbouring rows and nothing is ever summed across a vector.
final class WideTile: OnlineTile {
  private let pass: TilePass
  private let strips: Strips
  private let screen: ScreenTile?
  /// `[strips][keys rounded up to 16][32]`, P after `accumulate`
  private let scores: Floats
  private let stride: Int
  private let gmax: Floats
  private let t, m, l: Floats
  /// `[strips][padded value dim][32]`
  private let output: Floats
  private let level = Floats(Strips.lanes)

  /// `screen` quantises the same keys; nil computes every block's scores.
  init(_ pass: TilePass, _ rows: TileRows, screen: ScreenedKeys?) {
    self.pass = pass
    let strips = Strips(pass, rows)
    self.strips = strips
    self.screen = screen.map { ScreenTile(pass, $0, strips) }
    let lanes = Strips.lanes
    stride = pass.groupsPerTile * 16 * lanes
    scores = Floats(strips.count * stride)
    gmax = Floats(pass.groupsPerTile * lanes)
    (t, m) = (
      Floats(strips.count * lanes, fill: -.infinity), Floats(strips.count * lanes, fill: -.infinity)
    )
    l = Floats(strips.count * lanes)
    output = Floats(strips.count * pass.paddedValueDim * lanes)
  }

  func score(_ j: Int) -> Bool {
    let keys = pass.keyRange(j)
    for strip in 0..<strips.count {
      let here = t.base + strip * Strips.lanes
      if strips.width(strip, keys) > 0 {
        strips.score(
          pass, strip, keys, pass.panel(j), scores.base + strip * stride, gmax.base, here)
      } else {
        here.update(repeating: -.infinity, count: Strips.lanes)
      }
    }
    return true
  }

  func isBelow(_ threshold: Float, _ j: Int) -> Bool {
    guard let screen, threshold > -.infinity else { return false }
    return screen.isBelow(threshold, pass.keyRange(j), m.base)
  }

  func margin(_ criterion: Criterion) -> Float {
    var best = -Float.infinity
    for strip in 0..<strips.count {
      let at = strip * Strips.lanes
      if criterion == .lse {
        for lane in 0..<Strips.lanes {
          level.base[lane] = m.base[at + lane] + Float(logarithm(Double(l.base[at + lane])))
        }
      }
      let before = criterion == .max ? m.base + at : level.base
      best = max(best, as_wide_margin(pass.isa, t.base + at, before))
    }
    return best
  }

  func accumulate(_ j: Int) {
    let keys = pass.keyRange(j), width = pass.paddedValueDim
    pass.withValues { values in
      for strip in 0..<strips.count where strips.width(strip, keys) > 0 {
        let at = strip * Strips.lanes
        as_wide_attend(
          pass.isa, scores.base + strip * stride, Int32(strips.width(strip, keys)), t.base + at,
          m.base + at, l.base + at, values! + keys.lowerBound * width, Int32(width),
          output.base + at * width)
      }
    }
    if !pass.brokenValues.isEmpty { addBrokenValues(keys) }
  }

  /// NaN and infinity in V reach exactly the rows that give their key any weight.
  private func addBrokenValues(_ keys: Range<Int>) {
    let lanes = Strips.lanes, width = pass.paddedValueDim
    for (key, row) in pass.brokenValues where keys.contains(key) {
      for r in 0..<strips.count * lanes where Int(strips.limits[r]) > key {
        let weight = scores.base[r / lanes * stride + (key - keys.lowerBound) * lanes + r % lanes]
        guard weight != 0 else { continue }
        for (x, value) in row.enumerated() where !value.isFinite {
          output.base[(r / lanes * width + x) * lanes + r % lanes] += value
        }
      }
    }
  }

  func takePartial() -> PartialOutput {
    let lanes = Strips.lanes, dv = pass.group.heads[0].valueDim, rows = strips.used
    var out = [Float](repeating: 0, count: rows * dv)
    var lse = [Double](repeating: -.infinity, count: rows)
    out.withUnsafeMutableBufferPointer { out in
      for strip in 0..<strips.count {
        let at = strip * lanes
        as_wide_output(
          pass.isa, output.base + at * pass.paddedValueDim, l.base + at,
          Int32(min(lanes, rows - at)), Int32(dv), out.baseAddress.map { $0 + at * dv })
      }
    }
    for r in 0..<rows where l.base[r] != 0 {
      lse[r] = Double(m.base[r]) + logarithm(Double(l.base[r]))
    }
    m.set(-.infinity)
    l.set(0)
    output.set(0)
    return PartialOutput(output: out, lse: lse)
  }
}

extension TilePass {
  /// The instruction set, as the kernels name it.
  var isa: as_isa { as_isa(rawValue: UInt32(plan.isa)) }

  /// Whether so many stacked rows go the fast float way.
  func isWide(_ rows: Int) -> Bool { !isDouble && hasPanels && rows >= 16 }
}

extension Range where Bound == Int {
  /// Ascending numbers with neighbours put together.
  package static func runs(of rows: some Sequence<Int>) -> [Range<Int>] {
    var runs: [Range<Int>] = []
    for row in rows {
      if let last = runs.last, last.upperBound == row {
        runs[runs.count - 1] = last.lowerBound..<row + 1
      } else {
        runs.append(row..<row + 1)
      }
    }
    return runs
  }
}
