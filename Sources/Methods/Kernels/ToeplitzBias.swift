import Algebra
import Analysis
import Attention

/// A number for every distance δ = j - i that a head has, i being the place of a query among the
/// keys.
struct ToeplitzBias: Sendable {
  /// Where queries stand among the keys, and which keys they see.
  private let visibility: Visibility
  /// Query rows of the head.
  private let queries: Int
  /// `[queries + keys - 1]`, from the farthest key before a query to the farthest behind.
  private let values: [Double]

  /// b_δ of every distance by a rule.
  init(_ head: Head, _ rule: (Int) -> Double) {
    (visibility, queries) = (head.visibility, head.queries)
    let least = -(head.visibility.offset + head.queries - 1)
    values = (0..<max(head.queries + head.keys - 1, 0)).map { rule(least + $0) }
  }

  /// The distance of the first value.
  private var least: Int { -(visibility.offset + queries - 1) }

  /// b of a query row and a key, in logits.
  subscript(row: Int, key: Int) -> Double { values[key - row + queries - 1] }

  /// By distance, those that are seen.
  var curve: Curve {
    let last = visibility.causal ? min(0, least + values.count - 1) : least + values.count - 1
    let points = values.indices.filter { least + $0 <= last }.map {
      Curve.Point(Double(least + $0), values[$0])
    }
    return Curve(x: "key behind query, tokens", y: "bias, logits", points: points)
  }

  /// e^{b_δ - max b} of the distance -t for t = first ... , in the order in which a convolution
  /// takes them: element u is that of a query u - keys + 1 places behind the first query's distance
  /// to key 0. Zero where a causal query does not see. `[queries + keys - 1]`
  var weights: [Double] {
    let causal = visibility.causal, least = least
    let seen = values.indices.filter { !causal || least + $0 <= 0 }
    let top = seen.reduce(-Double.infinity) { max($0, values[$1]) }
    return values.indices.reversed().map { index in
      causal && least + index > 0 ? 0 : exponential(values[index] - top)
    }
  }
}

/// The bias by distance that is nearest to a head's logits less its cosines, in least squares.
struct ToeplitzFit: Sendable {
  /// The mean along each diagonal of what is seen; 0 where nothing is.
  let bias: ToeplitzBias
  /// `[queries + keys - 1]`, the same from the farthest key before a query to the farthest behind;
  /// nil where nothing is seen.
  private let means: [Double?]
  /// The distance of the first of them.
  private let least: Int
  /// 1 - Σ (D - b)² / Σ (D - mean D)² over what is seen; nil where all is equal.
  let explained: Double?

  /// One pass over all pairs; those whose score is no finite number are left out. Throws
  /// `CancellationError`. Cost n² d.
  init(_ rows: DoubleRows, _ unit: UnitVectors, _ run: MethodRun) throws {
    let head = rows.head, count = head.queries + head.keys - 1
    let parts = try RowPicks.spread(head.queries, by: 32, run) { part in
      [part.reduce(into: DiagonalSums(count: count)) { $0.add($1, rows, unit) }]
    }
    let sum = parts.reduce(into: DiagonalSums(count: count)) { $0.add($1) }
    let means = sum.means, least = -(head.visibility.offset + head.queries - 1)
    (self.means, self.least) = (means, least)
    bias = ToeplitzBias(head) { means[$0 - least] ?? 0 }
    explained = sum.explained
  }

  /// b of a distance j - i, in logits; nil where no pair of that distance is seen.
  func mean(_ distance: Int) -> Double? {
    means.indices.contains(distance - least) ? means[distance - least] : nil
  }
}

/// Sums over the diagonals of some rows.
private struct DiagonalSums: Sendable {
  /// `[diagonals]`
  private var sums: [Double], counts: [Int]
  /// Σ D² of all.
  private var squares = 0.0

  /// Nothing yet, of so many diagonals.
  init(count: Int) {
    sums = [Double](repeating: 0, count: count)
    counts = [Int](repeating: 0, count: count)
  }

  /// D of one row.
  mutating func add(_ row: Int, _ rows: DoubleRows, _ unit: UnitVectors) {
    let limit = rows.head.visibility.limit(row: row), queries = rows.head.queries
    let logits = rows.logits(row), cosines = unit.cosines(row, limit: limit)
    for key in 0..<limit {
      let off = logits[key] - cosines[key], place = key - row + queries - 1
      guard off.isFinite else { continue }
      sums[place] += off
      counts[place] += 1
      squares += off * off
    }
  }

  /// Other rows.
  mutating func add(_ other: DiagonalSums) {
    for place in sums.indices {
      sums[place] += other.sums[place]
      counts[place] += other.counts[place]
    }
    squares += other.squares
  }

  /// The mean of each diagonal; nil where nothing is seen.
  var means: [Double?] { zip(sums, counts).map { $1 > 0 ? $0 / Double($1) : nil } }

  /// See `ToeplitzFit`.
  var explained: Double? {
    let count = counts.reduce(0, +), sum = sums.reduce(0, +)
    guard count > 0 else { return nil }
    let total = squares - sum * sum / Double(count)
    let between = zip(sums, counts).reduce(0) { $1.1 > 0 ? $0 + $1.0 * $1.0 / Double($1.1) : $0 }
    let floor = 1e-12 * squares
    return total > floor ? 1 - (squares - between) / total : nil
  }
}

/// Rows of Σ_j φ(q_i)·φ(k_j) c_{j-i} [v_j, 1] by Fourier transforms of their columns.
struct ToeplitzProduct: Sendable {
  /// Columns that are transformed at once by one thread are those of so many features.
  private static let chunk = 4

  /// Σ ... v_j over Σ ... 1, `[queries][channels]`, for the first `channels` of V. Throws
  /// `CancellationError`. Cost m (channels + 1) transforms of at least queries + keys points, two
  /// real columns in one complex one.
  static func outputs(_ map: NPRFMap, _ values: Matrix, channels: Int, _ run: MethodRun) throws
    -> Matrix
  {
    let head = map.head, (rows, keys) = (head.queries, head.keys), width = channels + 1
    let plan = FFT(atLeast: rows + keys - 1), bias = plan.forward(map.limit.bias.weights)
    let parts = try RowPicks.spread(map.draw.count, by: chunk, run) { part in
      var sums = [Double](repeating: 0, count: rows * width)
      for feature in part {
        for first in stride(from: 0, to: width, by: 2) {
          let column: (Int) -> [Double] = { channel in
            (0..<keys).map { key in
              channel > channels
                ? 0
                : map.key[key, feature] * (channel < channels ? values[key, channel] : 1)
            }
          }
          let signal = FFT.Spectrum(real: column(first), imaginary: column(first + 1))
          let mixed = plan.inverse(plan.forward(signal).multiplied(by: bias))
          for row in 0..<rows {
            let weight = map.query[row, feature]
            sums[row * width + first] += weight * mixed.real[row + keys - 1]
            guard first + 1 < width else { continue }
            sums[row * width + first + 1] += weight * mixed.imaginary[row + keys - 1]
          }
        }
      }
      return [sums]
    }
    let total = parts.reduce(into: [Double](repeating: 0, count: rows * width)) { sum, part in
      for index in sum.indices { sum[index] += part[index] }
    }
    return Matrix(rows: rows, columns: channels) { row, channel in
      let sum = total[row * width + channels]
      return sum != 0 ? total[row * width + channel] / sum : 0
    }
  }
}
