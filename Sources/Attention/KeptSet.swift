import Kernels

/// Runs of keys that each tile of query rows keeps, compressed: tile t has runs
/// `starts[t]..<starts[t + 1]`.
///
/// What columns, diagonals and blocks cannot say: trees, hash buckets, 2-D neighbourhoods, picks of
/// every row.
///
/// Example: `KeyRanges([[0..<4], [0..<4, 8..<9]])` keeps keys 0 to 3 for both rows, and key 8 for
/// the second. Memory 16 bytes a run and 8 a tile, whatever the length of the runs.
public struct KeyRanges: Sendable, Equatable {
  /// Query rows that share their runs.
  public let tileRows: Int
  /// `[tiles + 1]`
  public let starts: [Int]
  /// Ascending within a tile, without overlaps.
  public let runs: [Range<Int>]

  /// `[tiles]` lists of runs, in any order; they are sorted and joined.
  public init(_ tiles: [[Range<Int>]], tileRows: Int = 1) {
    precondition(tileRows > 0, "a tile has at least one row")
    self.tileRows = tileRows
    var starts = [0], runs: [Range<Int>] = []
    for tile in tiles {
      let first = runs.count
      for run in tile.filter({ !$0.isEmpty }).sorted(by: { $0.lowerBound < $1.lowerBound }) {
        if runs.count > first, let last = runs.last, run.lowerBound <= last.upperBound {
          runs[runs.count - 1] = last.lowerBound..<max(last.upperBound, run.upperBound)
        } else {
          runs.append(run)
        }
      }
      starts.append(runs.count)
    }
    (self.starts, self.runs) = (starts, runs)
  }

  /// The runs of keys of single rows, from flags `[keys]`.
  public static func runs(of flags: some RandomAccessCollection<UInt8>) -> [Range<Int>] {
    var runs: [Range<Int>] = [], start: Int?
    for (key, flag) in flags.enumerated() {
      if flag != 0 {
        start = start ?? key
      } else if let first = start {
        runs.append(first..<key)
        start = nil
      }
    }
    if let first = start { runs.append(first..<flags.count) }
    return runs
  }

  /// The runs of a query row.
  public func runs(row: Int) -> ArraySlice<Range<Int>> {
    let tile = row / tileRows
    return tile + 1 < starts.count ? runs[starts[tile]..<starts[tile + 1]] : []
  }
}

/// Which entries a sparse pattern keeps: columns, diagonals, blocks, runs of keys, or any union of
/// them.
///
/// Entry (i, j) is kept when it is visible and column j, or offset |position(i) - j|, or its block
/// is kept, or a run of its row holds j. An A-shape is the first columns and the smallest offsets;
/// a tree or a hash needs runs.
///
/// Example:
/// ```
/// var set = KeptSet(queries: 512, keys: 512, visibility: head.visibility)
/// set.keep(columns: 0..<4)
/// for offset in 0..<64 { set.keep(offset: offset) }
/// ```
/// The catch: visibility is not stored; `row` and `measure` take it again and must get the one the
/// set was made with. Cost O(keys) a row; memory `bytes`, never `[queries, keys]`.
public struct KeptSet: Sendable, Equatable {
  /// Query rows, in tokens.
  public let queries: Int
  /// Keys, in tokens.
  public let keys: Int
  /// `[keys]`, 1 where the column is kept.
  public var columns: [UInt8]
  /// Mirrored around its centre, so that one pointer serves a whole row: index `centre + j -
  /// position`.
  private var mirrored: [UInt8]
  private let centre: Int
  /// `[query blocks][key blocks]`, or empty.
  public private(set) var blocks: [UInt8] = []
  /// Query rows and keys of a block; 0 without blocks.
  public private(set) var blockRows = 0
  public private(set) var blockKeys = 0
  /// Runs of keys of rows or tiles of rows; nil without.
  public private(set) var ranges: KeyRanges?

  /// Nothing kept, for a map of these sides.
  public init(queries: Int, keys: Int, visibility: Visibility) {
    self.queries = queries
    self.keys = keys
    columns = [UInt8](repeating: 0, count: keys)
    centre = max(keys, visibility.position(row: queries - 1) + 1)
    mirrored = [UInt8](repeating: 0, count: 2 * centre + 1)
  }

  /// Keeps the diagonals at distance `offset` (on both sides when not causal).
  public mutating func keep(offset: Int) {
    guard offset >= 0, offset <= centre else { return }
    mirrored[centre - offset] = 1
    mirrored[centre + offset] = 1
  }

  /// Keeps whole columns; keys beyond the map are passed over.
  public mutating func keep(columns range: Range<Int>) {
    for j in range.clamped(to: 0..<keys) { columns[j] = 1 }
  }

  /// `[query blocks][key blocks]` of `size` tokens on a side, 1 kept; replaces blocks kept before.
  public mutating func keep(blocks: [UInt8], size: Int) {
    keep(blocks: blocks, rows: size, keys: size)
  }

  /// `[query blocks][key blocks]` of `rows` query rows and `keys` keys, 1 kept; replaces blocks
  /// kept before.
  public mutating func keep(blocks: [UInt8], rows: Int, keys wide: Int) {
    precondition(
      blocks.count == ((queries + rows - 1) / rows) * ((keys + wide - 1) / wide),
      "blocks do not tile")
    (self.blocks, blockRows, blockKeys) = (blocks, rows, wide)
  }

  /// Runs of keys of every row or tile of rows; replaces runs kept before.
  public mutating func keep(_ ranges: KeyRanges) { self.ranges = ranges }

  /// Distances of kept diagonals, in tokens, ascending.
  public var offsets: [Int] { (0...centre).filter { mirrored[centre + $0] != 0 } }

  /// About how many bytes it holds.
  public var bytes: Int {
    columns.count + mirrored.count + blocks.count
      + (ranges.map { 16 * $0.runs.count + 8 * $0.starts.count } ?? 0)
  }

  /// The union with another set of the same sides.
  public func union(_ other: KeptSet) -> KeptSet {
    var result = self
    for j in columns.indices { result.columns[j] |= other.columns[j] }
    for o in mirrored.indices { result.mirrored[o] |= other.mirrored[o] }
    var runs = [other.ranges].compactMap { $0 }
    if blocks.isEmpty {
      (result.blocks, result.blockRows, result.blockKeys) = (
        other.blocks, other.blockRows, other.blockKeys
      )
    } else if !other.blocks.isEmpty {
      if blockRows == other.blockRows, blockKeys == other.blockKeys {
        for b in blocks.indices { result.blocks[b] |= other.blocks[b] }
      } else {
        runs.append(other.blockRanges)
      }
    }
    for more in runs {
      result.ranges = result.ranges.map { Self.joined($0, more, queries) } ?? more
    }
    return result
  }

  /// Its blocks as runs of keys.
  private var blockRanges: KeyRanges {
    let wide = (keys + blockKeys - 1) / blockKeys
    return KeyRanges(
      (0..<blocks.count / max(wide, 1)).map { a in
        (0..<wide).filter { blocks[a * wide + $0] != 0 }.map {
          $0 * blockKeys..<min(($0 + 1) * blockKeys, keys)
        }
      }, tileRows: blockRows)
  }

  /// Both kinds of runs in one. Tiles of equal height stay tiles; otherwise every row gets a list
  /// of its own, which costs memory but is always right.
  private static func joined(_ a: KeyRanges, _ b: KeyRanges, _ queries: Int) -> KeyRanges {
    let rows = a.tileRows == b.tileRows ? a.tileRows : 1
    return KeyRanges(
      (0..<(queries + rows - 1) / rows).map {
        Array(a.runs(row: $0 * rows)) + Array(b.runs(row: $0 * rows))
      }, tileRows: rows)
  }

  /// Writes 1 for each kept, visible key of `keys` for query `row`.
  /// The layers are written one over the other: columns and diagonals by a kernel, then runs, then
  /// blocks. `out` holds `range.count` flags, and what is not visible is set to 0.
  func fill(
    _ out: UnsafeMutableBufferPointer<UInt8>, row: Int, keys range: Range<Int>,
    _ visibility: Visibility
  ) {
    let limit = min(range.count, visibility.limit(row: row) - range.lowerBound)
    guard let base = out.baseAddress, !range.isEmpty else { return }
    if limit < range.count { for c in max(limit, 0)..<range.count { base[c] = 0 } }
    guard limit > 0 else { return }
    let hidden = min(max(visibility.first(row: row) - range.lowerBound, 0), limit)
    defer { base.update(repeating: 0, count: hidden) }
    let position = min(max(visibility.position(row: row), 0), centre)
    columns.withUnsafeBufferPointer { columns in
      mirrored.withUnsafeBufferPointer { offsets in
        as_kept_row(
          base, Int32(limit), columns.baseAddress! + range.lowerBound,
          offsets.baseAddress! + (centre - position + range.lowerBound), nil)
      }
    }
    for run in ranges?.runs(row: row) ?? [] {
      let part = run.clamped(to: range.lowerBound..<range.lowerBound + limit)
      for key in part { base[key - range.lowerBound] = 1 }
    }
    guard !blocks.isEmpty else { return }
    let wide = (keys + blockKeys - 1) / blockKeys, first = row / blockRows * wide
    let shown = range.lowerBound..<range.lowerBound + limit
    for block in shown.lowerBound / blockKeys...(shown.upperBound - 1) / blockKeys
    where blocks[first + block] != 0 {
      let part = (block * blockKeys..<(block + 1) * blockKeys).clamped(to: shown)
      (base + part.lowerBound - range.lowerBound).update(repeating: 1, count: part.count)
    }
  }

  /// 1 for each kept, visible key of query `row`.
  public func row(_ row: Int, _ visibility: Visibility) -> [UInt8] {
    // An empty array is one for all threads, and is not to be written to.
    guard keys > 0 else { return [] }
    return [UInt8](unsafeUninitializedCapacity: keys) { buffer, filled in
      fill(
        UnsafeMutableBufferPointer(rebasing: buffer[0..<keys]), row: row, keys: 0..<keys, visibility
      )
      filled = keys
    }
  }
}

extension KeptSet {
  /// How many entries of some query rows are kept.
  public func count(_ rows: some Sequence<Int>, _ visibility: Visibility) -> Int {
    let nothing = [Float](repeating: 0, count: max(keys, 1))
    return nothing.withUnsafeBufferPointer { nothing in
      rows.reduce(0) { $0 + mass(of: nothing, row: $1, visibility).kept }
    }
  }

  /// Mass of a row on kept entries, and how many are kept.
  /// `pattern` is `[keys]`; the mass is a share of the row, in 0...1 when the row sums to 1.
  public func mass(of pattern: UnsafeBufferPointer<Float>, row: Int, _ visibility: Visibility) -> (
    Double, kept: Int
  ) {
    let measured = measure(pattern, row: row, visibility)
    return (measured.mass, measured.kept)
  }

  /// A row against its pattern `[keys]`: mass and number of kept entries, which key tiles hold one
  /// (set in `tiles`), and the mass that the best choice of as many entries would have (nil unless
  /// `wantsBest`; read from `PatternRows.bestMasses` where `best` has them).
  public func measure(
    _ pattern: UnsafeBufferPointer<Float>, row: Int, _ visibility: Visibility,
    tile: Int = 0, tiles: UnsafeMutableBufferPointer<UInt8>? = nil, wantsBest: Bool = false,
    best known: UnsafeBufferPointer<Double>? = nil
  ) -> (mass: Double, kept: Int, best: Double?) {
    withUnsafeTemporaryAllocation(of: UInt8.self, capacity: max(keys, 1)) { buffer in
      let limit = visibility.limit(row: row)
      // Whole vectors of what is visible: nothing behind it is kept, and sums stay as they are.
      let seen = min(max(limit + 15, 0) / 16 * 16, keys)
      let out = UnsafeMutableBufferPointer(rebasing: buffer[0..<seen])
      fill(out, row: row, keys: 0..<seen, visibility)
      var kept: Int64 = 0
      let mass = as_kept_mass(pattern.baseAddress, out.baseAddress, Int32(seen), &kept)
      if let tiles, tile > 0 {
        as_kept_tiles(out.baseAddress, Int32(seen), Int32(tile), tiles.baseAddress)
      }
      guard wantsBest else { return (mass, Int(kept), nil) }
      guard kept > 0 else { return (mass, 0, 0) }
      if let known { return (mass, Int(kept), known[Int(kept) - 1]) }
      let best = withUnsafeTemporaryAllocation(of: Double.self, capacity: limit) { sums in
        withUnsafeTemporaryAllocation(of: UInt32.self, capacity: 2 * limit) { scratch in
          as_descending_sums(
            pattern.baseAddress!, Int32(limit), scratch.baseAddress!, sums.baseAddress!)
          return sums[Int(kept) - 1]
        }
      }
      return (mass, Int(kept), best)
    }
  }
}
