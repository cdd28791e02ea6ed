import Kernels
public import Tensors

/// The fast path: a head group with its keys packed for the kernels, ready to be walked tile by
/// tile.
///
/// Example: `TilePass(group, keysPerTile: 128).tables(spec)` gives one `BlockTable` per query head.
/// Checked against
/// `ReferenceAttention`. Scores are float32 while the norms promise an error below `floatError`,
/// and float64 beyond that (and for stored maps), so that a decision is wrong only where the margin
/// is within rounding of ln(lambda). Queries, keys and maps are float32 numbers in any case,
/// whatever their file holds. Cost O(queries * keys * d / 2) when causal; memory O(keys * d) for
/// the packed keys, O(tile) for everything else.
///
/// `@unchecked Sendable`: written by `init`, read-only after.
public final class TilePass: @unchecked Sendable {
  /// The heads that are walked together.
  public let group: HeadGroup
  /// Keys of a tile; the panels are laid out for this one width.
  public let keysPerTile: Int
  /// Scores are float64.
  public let isDouble: Bool
  /// What was asked for; passes made from this one ask for the same.
  let precision: Precision
  let plan: as_plan
  /// Bytes of a score: 4 or 8.
  let real: Int
  /// Panels of 16 keys in a tile.
  let groupsPerTile: Int
  private let panels: UnsafeMutableRawPointer?
  private let panelBytes: Int
  /// Panels and values of an engine's cache, used where they lie.
  private let cached: KeyStorage?
  /// V padded to a multiple of 16 columns, `[keys, paddedValueDim]`; empty without V, and when it
  /// lies in a cache.
  private let ownValues: [Float]
  /// Width of a value row rounded up to 16; 0 without V.
  let paddedValueDim: Int
  /// Value rows that hold NaN or infinity, by key; zero in `values`, so that they reach only the
  /// rows that see them.
  let brokenValues: [Int: [Float]]

  /// |scale| |q| |k| above this is computed in double, if the precision is automatic.
  ///
  /// Below it scores, margins and outputs (of values of about 1) are within `floatError` of double
  /// precision: the error of a float32 dot product grows with the score; outputs were within 3e-5
  /// at 60, 7e-5 at 150 and 1.3e-4 at 250.
  package static let floatBound = 256.0
  package static let floatError = 2e-4

  /// How exactly scores are computed: as the norms demand, or always one way. Stored maps are
  /// float64 whatever is asked for.
  public enum Precision: Sendable { case automatic, float, double }

  /// Packs the keys, and V when `withValues`. Cost O(keys * d) on `threads`; nothing is copied for
  /// a cache in float precision when tiles are multiples of 16 keys.
  public init(
    _ group: HeadGroup, keysPerTile: Int, withValues: Bool = false,
    precision: Precision = .automatic, isa: InstructionSet = .best,
    threads: ComputeThreads = .shared
  ) {
    self.group = group
    self.keysPerTile = keysPerTile
    self.precision = precision
    // One tile that is wider than the map holds just the map.
    let width = min(keysPerTile, max(group.keys, 1))
    groupsPerTile = (width + 15) / 16
    let head = group.heads[0]
    if case .cached(_, let cache) = head.source, precision == .float, keysPerTile % 16 == 0 {
      cached = cache.storage
      plan = as_plan(isa: isa.rawValue, precision: 0)
      (isDouble, real, panels, ownValues, brokenValues) = (false, 4, nil, [], [:])
      panelBytes = groupsPerTile * head.dim * 16 * 4
      paddedValueDim = withValues ? cache.storage.paddedValueDim : 0
      return
    }
    cached = nil
    isDouble =
      switch precision {
      case .float: head.storedMap != nil
      case .double: true
      case .automatic: Self.needsDouble(group, threads)
      }
    let plan = as_plan(isa: isa.rawValue, precision: isDouble ? 1 : 0)
    let panelBytes = groupsPerTile * head.dim * 16 * (isDouble ? 8 : 4)
    (self.plan, self.panelBytes, real) = (plan, panelBytes, isDouble ? 8 : 4)
    panels = head.queryAndKey.map {
      Self.packed($0.key, plan, keysPerTile: keysPerTile, width: width, panelBytes, threads)
    }
    (ownValues, paddedValueDim, brokenValues) = withValues ? Self.padded(head.value) : ([], 0, [:])
  }

  deinit { panels?.deallocate() }

  /// Whether the norms of queries and keys leave room for float32; stored maps are always taken in
  /// double.
  private static func needsDouble(_ group: HeadGroup, _ threads: ComputeThreads) -> Bool {
    guard let key = group.heads[0].queryAndKey?.key else { return true }
    let keyNorm = largestNorm(key, threads)
    return group.heads.contains {
      guard let query = $0.query else { return true }
      return !(abs($0.scale) * largestNorm(query, threads) * keyNorm <= floatBound)
    }
  }

  /// The largest Euclidean norm of any row; NaN when a row holds one, which `needsDouble` then
  /// takes for too large.
  private static func largestNorm(_ rows: Tensor, _ threads: ComputeThreads) -> Double {
    let piece = 2048, dim = rows.shape[1]
    let norms = Slots<Double>(count: (rows.shape[0] + piece - 1) / piece)
    threads.forEach(0..<norms.count, isCancelled: { false }) { item in
      let range = item * piece..<min((item + 1) * piece, rows.shape[0])
      let floats = rows.slice(axis: 0, range).floats()
      norms[item] = as_max_norm(floats, Int32(range.count), Int32(dim), Int64(dim))
    }
    // Not `max`: NaN must come out as what it is.
    return (0..<norms.count).reduce(0) { most, item in
      guard let norm = norms[item] else { return most }
      return norm > most || norm.isNaN ? norm : most
    }
  }

  /// Every key tile as panels `[groups][d][16]`, ragged ones padded: kernels then need no special
  /// case at the end.
  private static func packed(
    _ key: Tensor, _ plan: as_plan, keysPerTile: Int, width: Int, _ panelBytes: Int,
    _ threads: ComputeThreads
  ) -> UnsafeMutableRawPointer {
    let keys = key.shape[0], dim = key.shape[1]
    let tiles = (keys + keysPerTile - 1) / keysPerTile
    let memory = PackedPanels(byteCount: tiles * panelBytes)
    let per = max(1, 2048 / max(width, 1))
    threads.forEach(0..<(tiles + per - 1) / per, isCancelled: { false }) { item in
      let first = item * per
      let range = first * keysPerTile..<min((first + per) * keysPerTile, keys)
      let floats = key.slice(axis: 0, range).floats()
      as_pack_keys(
        plan, floats, Int64(dim), Int32(dim), Int32(range.count), Int32(width),
        memory.base + first * panelBytes)
    }
    return memory.base
  }

  /// V with rows rounded up to 16 columns, its width, and the rows that hold NaN or infinity. Those
  /// are 0 in the array: 0 weight times NaN would spoil rows that never see the key.
  private static func padded(_ value: Tensor?) -> ([Float], Int, [Int: [Float]]) {
    guard let value else { return ([], 0, [:]) }
    let dim = value.shape[1], width = (dim + 15) / 16 * 16
    let plain = value.floats()
    var out = [Float](repeating: 0, count: value.shape[0] * width)
    var broken: [Int: [Float]] = [:]
    for key in 0..<value.shape[0] {
      let row = plain[key * dim..<(key + 1) * dim]
      var first = 0
      let isBroken = row.withUnsafeBufferPointer {
        as_count_nonfinite($0.baseAddress, dim, &first) > 0
      }
      if isBroken { broken[key] = Array(row) }
      for (x, value) in row.enumerated() {
        out[key * width + x] = isBroken && !value.isFinite ? 0 : value
      }
    }
    return (out, width, broken)
  }

  /// Memory that many threads fill, each its own part.
  private struct PackedPanels: @unchecked Sendable {
    let base: UnsafeMutableRawPointer

    init(byteCount: Int) {
      base = UnsafeMutableRawPointer.allocate(byteCount: max(64, byteCount), alignment: 64)
    }
  }

  /// Key tiles of the map, the last one perhaps narrower.
  var keyTiles: Int { (group.keys + keysPerTile - 1) / keysPerTile }

  /// The key tiles that a tile of rows may see something of.
  func visibleTiles(_ rows: TileRows) -> [Int] {
    Array(group.visibility.tiles(rows.rows, width: keysPerTile))
  }

  /// The keys of a tile.
  func keyRange(_ tile: Int) -> Range<Int> {
    tile * keysPerTile..<min((tile + 1) * keysPerTile, group.keys)
  }
}

/// The rows that a query tile stacks: the same rows of one head, or of every head of a voting
/// group.
struct TileRows {
  /// Indices into the group.
  let heads: [Int]
  /// The query rows, the same of every head.
  let rows: Range<Int>

  /// Rows stacked: heads times rows, head by head.
  var count: Int { heads.count * rows.count }
}

/// Buffers of one tile of rows, allocated once a tile and reused for every key block.
final class TileScratch {
  let rows: TileRows
  /// Stacked rows.
  let count: Int
  /// Scores from one row to the next.
  let ld: Int
  private let pass: TilePass
  private let query: UnsafeMutableRawPointer
  private var mapRows: [Float] = []
  /// `[count][ld]` scores of the key tile at hand, float32 or float64 as the pass is.
  let scores: UnsafeMutableRawPointer
  /// How many keys each stacked row sees.
  let limits: [Int32]
  /// The largest limit: no key tile behind it needs to be visited.
  let maxLimit: Int
  /// `[count]` running maxima.
  let m: UnsafeMutableRawPointer

  /// Packs the query rows; a stored map has none and is read tile by tile.
  init(_ pass: TilePass, _ rows: TileRows) {
    self.pass = pass
    self.rows = rows
    count = rows.count
    ld = pass.groupsPerTile * 16
    let dim = pass.group.heads[0].dim
    query = .allocate(byteCount: max(64, count * dim * pass.real), alignment: 64)
    scores = .allocate(byteCount: max(64, count * ld * pass.real), alignment: 64)
    m = .allocate(byteCount: max(64, count * pass.real), alignment: 64)
    let visibility = pass.group.visibility
    limits = rows.heads.flatMap { _ in rows.rows.map { Int32(visibility.limit(row: $0)) } }
    maxLimit = Int(limits.max() ?? 0)
    for (slot, head) in rows.heads.enumerated() {
      guard let q = pass.group.heads[head].query else { continue }
      let floats = q.slice(axis: 0, rows.rows).floats()
      as_pack_rows(
        pass.plan, floats, floats.count, query + slot * rows.rows.count * dim * pass.real)
    }
    startAnew()
  }

  /// Forgets the running maxima.
  func startAnew() { fill(m, count, -.infinity) }

  deinit {
    query.deallocate()
    scores.deallocate()
    m.deallocate()
  }

  /// Fills a buffer of the pass's own precision.
  private func fill(_ buffer: UnsafeMutableRawPointer, _ count: Int, _ value: Double) {
    if pass.isDouble {
      buffer.initializeMemory(as: Double.self, repeating: value, count: count)
    } else {
      buffer.initializeMemory(as: Float.self, repeating: Float(value), count: count)
    }
  }

  /// Fills S with the scores of key tile `j` and `t` with each row's maximum; masked entries become
  /// -infinity.
  func score(_ j: Int, into t: UnsafeMutableRawPointer) {
    let keys = pass.keyRange(j)
    pass.score(self, keys, j, query: query)
    let relative = limits.map { $0 - Int32(keys.lowerBound) }
    as_tile_max(pass.plan, scores, Int64(ld), Int32(count), Int32(keys.count), relative, t)
  }
}

extension TilePass {
  /// Unmasked scores of a key tile: a product for projections, the stored entries or their
  /// logarithms for maps.
  func score(_ scratch: TileScratch, _ keys: Range<Int>, _ j: Int, query: UnsafeMutableRawPointer) {
    let first = group.heads[0]
    if let panels = panelAddress(j) {
      as_scores(
        plan, query, panels, Int32(scratch.count), Int32(first.dim),
        Int32((keys.count + 15) / 16), first.scale,
        scratch.scores, Int64(scratch.ld))
      return
    }
    let rows = scratch.rows
    for (slot, head) in rows.heads.enumerated() {
      let (map, takeLog) = group.heads[head].storedMap!
      let part = map.slice(axis: 0, rows.rows).slice(axis: 1, keys).floats()
      as_load_scores(
        plan, part, Int64(keys.count), Int32(rows.rows.count), Int32(keys.count), takeLog ? 1 : 0,
        scratch.scores + slot * rows.rows.count * scratch.ld * real, Int64(scratch.ld))
    }
  }

  /// Keys are packed; false for stored maps.
  var hasPanels: Bool { cached != nil || panels != nil }

  /// Keys of tile `j` in panels of floats.
  func panel(_ j: Int) -> UnsafePointer<Float> {
    UnsafePointer(panelAddress(j)!.assumingMemoryBound(to: Float.self))
  }

  /// The panel that starts with `key`, a multiple of 16; tiles are multiples of 16 wide.
  func panel(key: Int) -> UnsafePointer<Float> { panel(0) + key * group.heads[0].dim }

  /// Where a tile's panels begin, in the pass's own memory or in the cache's.
  private func panelAddress(_ j: Int) -> UnsafeMutableRawPointer? {
    if let cached {
      // A tile narrower than a map of one tile is the whole of it: panels are never padded between
      // tiles.
      return UnsafeMutableRawPointer(cached.panels) + j * panelBytes
    }
    return panels.map { $0 + j * panelBytes }
  }

  /// Rows of V, padded; nil without V.
  func withValues(_ body: (UnsafePointer<Float>?) -> Void) {
    if let cached { return body(UnsafePointer(cached.values)) }
    ownValues.withUnsafeBufferPointer { body($0.baseAddress) }
  }
}

extension Head {
  /// The stored map and whether its logarithm is the score.
  var storedMap: (Tensor, takeLog: Bool)? {
    switch source {
    case .projections, .cached: nil
    case .pattern(let map): (map, true)
    case .scores(let map): (map, false)
    }
  }
}
