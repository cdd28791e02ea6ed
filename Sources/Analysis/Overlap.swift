public import Attention
public import Tensors

/// The kept entries of a head as bits, a row of words a query: what overlaps are counted from.
///
/// Of long heads 512 rows stand for all. Memory `rows * keys / 8` bytes.
public struct KeptBits: Sendable {
  /// Query rows that were read, ascending.
  public let rows: [Int]
  /// Keys of the head.
  public let keys: Int
  /// `[rows]`, how many keys each sees.
  let limits: [Int]
  private let wide: Int
  /// `[rows * wide]`
  private let words: [UInt64]

  /// All rows of a head, some of a long one; at most `most`.
  public init(_ field: KeptField, isLong: Bool, most: Int = .max) {
    let queries = field.set.queries, keys = field.set.keys
    let count = min(queries, isLong ? min(512, most) : most)
    // The last row is always there.
    let rows = (1...max(count, 1)).map { $0 * queries / max(count, 1) - 1 }
    (self.rows, self.keys) = (rows, keys)
    limits = rows.map { min(max(field.visibility.limit(row: $0), 0), keys) }
    let wide = (keys + 63) / 64
    self.wide = wide
    var words = [UInt64](repeating: 0, count: rows.count * wide)
    for (index, row) in rows.enumerated() {
      for (key, flag) in field.set.row(row, field.visibility).enumerated() where flag != 0 {
        words[index * wide + key / 64] |= 1 << UInt64(key % 64)
      }
    }
    self.words = words
  }

  /// Entries of both, and of either, of a row of this and a row of another, among the first `limit`
  /// keys.
  func common(_ row: Int, _ other: KeptBits, _ otherRow: Int, limit: Int) -> (
    both: Int, either: Int
  ) {
    var both = 0, either = 0
    for word in 0..<(limit + 63) / 64 {
      let left = limit - 64 * word
      let mask: UInt64 = left >= 64 ? .max : (1 << UInt64(left)) - 1
      let a = words[row * wide + word] & mask, b = other.words[otherRow * wide + word] & mask
      both += (a & b).nonzeroBitCount
      either += (a | b).nonzeroBitCount
    }
    return (both, either)
  }
}

/// How far masks are the same: intersection over union of kept entries, in 0...1.
///
/// Example: `Overlap.masks([a, b])` is `[1, x, x, 1]`. The catch: two dense masks overlap by 1
/// whatever the heads look at; read it beside the density. NaN where neither keeps anything.
public enum Overlap {
  /// `[masks * masks]` of masks of equal sides.
  public static func masks(_ masks: [KeptBits]) -> [Float] {
    let count = masks.count
    var values = [Float](repeating: .nan, count: count * count)
    for a in 0..<count {
      for b in a..<count {
        var both = 0, either = 0
        for row in masks[a].rows.indices {
          let found = masks[a].common(row, masks[b], row, limit: masks[a].limits[row])
          both += found.both
          either += found.either
        }
        let value = either == 0 ? Float.nan : Float(Double(both) / Double(either))
        values[a * count + b] = value
        values[b * count + a] = value
      }
    }
    return values
  }

  /// `[rows * rows]` of the rows of one mask, as decode steps: of the keys that both see, so that
  /// what a later step alone can see does not count.
  public static func steps(_ mask: KeptBits, threads: ComputeThreads = .shared) -> [Float] {
    let count = mask.rows.count
    let parts = Gathered<[Float]>()
    // Some milliseconds: a square with rows left out would be none.
    threads.forEach(0..<count, isCancelled: { false }) { a in
      parts.add(
        a,
        (0..<count).map { b in
          let limit = min(mask.limits[a], mask.limits[b])
          let found = mask.common(a, mask, b, limit: limit)
          return found.either == 0 ? .nan : Float(Double(found.both) / Double(found.either))
        })
    }
    return parts.inOrder.flatMap { $0 }
  }

  /// Two masks of equal sides: intersection over union, the part of either that the other keeps too
  /// (nil where there is nothing to be a part of), and the overlap of each row, `[rows]`.
  public static func pair(_ a: KeptBits, _ b: KeptBits) -> (
    all: Double?, left: Double?, right: Double?, rows: [Float]
  ) {
    var both = 0, either = 0, left = 0, right = 0
    var rows: [Float] = []
    for row in a.rows.indices {
      let limit = a.limits[row]
      let found = a.common(row, b, row, limit: limit)
      both += found.both
      either += found.either
      left += a.common(row, a, row, limit: limit).both
      right += b.common(row, b, row, limit: limit).both
      rows.append(found.either == 0 ? .nan : Float(Double(found.both) / Double(found.either)))
    }
    func share(_ whole: Int) -> Double? { whole == 0 ? nil : Double(both) / Double(whole) }
    return (share(either), share(left), share(right), rows)
  }

  /// Mean of each place over several matrices, those left out where it is NaN.
  public static func mean(_ all: [[Float]]) -> [Float] {
    (all.first ?? []).indices.map { place in
      let values = all.map { $0[place] }.filter { !$0.isNaN }
      return values.isEmpty
        ? .nan : Float(values.reduce(0.0) { $0 + Double($1) } / Double(values.count))
    }
  }

  /// Mean overlap of rows that lie 1, 2, 4, ... apart, in entries of `steps` `[rows * rows]`.
  public static func byDistance(_ steps: [Float], rows: Int) -> [(distance: Int, overlap: Double)] {
    var found: [(distance: Int, overlap: Double)] = [], distance = 1
    while distance < rows {
      let values = (0..<rows - distance).map { steps[$0 * rows + $0 + distance] }
        .filter { !$0.isNaN }
      if !values.isEmpty {
        found.append((distance, values.reduce(0.0) { $0 + Double($1) } / Double(values.count)))
      }
      distance *= 2
    }
    return found
  }
}

/// Which layers could do with the mask of an earlier one.
///
/// `recall[a][b]` is the share of the dense mass of layer b that the mask of layer a keeps, mean
/// over rows and heads. Going down the layers, each takes the earlier donor that recalls most of
/// it, and makes a mask of its own, as a donor, where none reaches the target.
public struct DonorLayers: Sendable {
  /// `[layers * layers]`, donor by receiver, in 0...1.
  public let recall: [Float]
  /// `[layers]`, whose mask each takes; its own index for a donor.
  public let donors: [Int]

  /// `recall` `[layers * layers]`; `target` in 0...1.
  public init(recall: [Float], target: Double) {
    let count = Int(Double(recall.count).squareRoot().rounded())
    var donors: [Int] = []
    for layer in 0..<count {
      let earlier = donors.indices.filter { donors[$0] == $0 }
      let best = earlier.max { recall[$0 * count + layer] < recall[$1 * count + layer] }
      donors.append(
        best.flatMap { Double(recall[$0 * count + layer]) >= target ? $0 : nil } ?? layer)
    }
    (self.recall, self.donors) = (recall, donors)
  }

  /// Mass of the pattern of a head on the masks of others, mean over rows, one number a mask; of
  /// long heads some tiles of rows stand for all. Throws `CancellationError`.
  public static func recall(of head: Head, on sets: [KeptSet], _ run: MethodRun) throws -> [Double]
  {
    let pattern = run.pattern(head), tile = MaskNumbers.tile
    let tiles = (head.queries + tile - 1) / tile
    let chosen = Array(
      stride(from: tiles - 1, through: 0, by: -run.sampling(head, tiles: tiles, rows: tile)))
    let parts = Gathered<(sums: [Double], rows: Int)>()
    run.threads.forEach(0..<chosen.count, isCancelled: run.isCancelled) { item in
      var sums = [Double](repeating: 0, count: sets.count), rows = 0
      let range = chosen[item] * tile..<min((chosen[item] + 1) * tile, head.queries)
      pattern.withRows(range) { row, p, lse in
        guard lse != -.infinity else { return }
        rows += 1
        for (index, set) in sets.enumerated() {
          sums[index] += min(set.mass(of: p, row: row, head.visibility).0, 1)
        }
      }
      parts.add(item, (sums, rows))
    }
    try run.checkCancellation()
    let all = parts.inOrder, rows = all.reduce(0) { $0 + $1.rows }
    return sets.indices.map { set in
      all.reduce(0) { $0 + $1.sums[set] } / Double(max(rows, 1))
    }
  }
}
