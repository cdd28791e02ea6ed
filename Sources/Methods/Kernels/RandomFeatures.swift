import Algebra
import Analysis
import Attention

/// Positive random features of the exponential kernel.
struct RandomFeatures: Sendable {
  /// m.
  let count: Int
  /// ω, `[m][d]`.
  let draws: Matrix
  /// The same the other way round, `[d][m]`.
  private let columns: Matrix

  /// Standard normal draws of a seed, row by row; orthogonal within each block of d rows if asked,
  /// at the lengths that they had. The same seed and sizes are the same draws everywhere.
  init(count: Int, dim: Int, seed: UInt64, isOrthogonal: Bool = false) {
    var random = SplitMix64(seed)
    var draws = random.gaussianMatrix(rows: count, columns: dim)
    if isOrthogonal {
      for start in stride(from: 0, to: count, by: max(dim, 1)) {
        Self.orthogonalise(&draws, start..<min(start + dim, count))
      }
    }
    (self.count, self.draws, columns) = (count, draws, draws.transposed())
  }

  /// φ(x) = e^{-‖x‖²/2} m^{-½} e^{ω x} of every row of x `[rows][d]`: `[rows][m]`, on one thread.
  func features(_ x: Matrix) -> Matrix {
    var out = x.multiplied(by: columns)
    let size = 1 / Double(count).squareRoot()
    for row in 0..<x.rows {
      let half = x.row(row).reduce(0) { $0 + $1 * $1 } / 2
      for feature in row * count..<(row + 1) * count {
        out.elements[feature] = size * exponential(out.elements[feature] - half)
      }
    }
    return out
  }

  /// Gram and Schmidt, twice for what rounding leaves.
  private static func orthogonalise(_ draws: inout Matrix, _ rows: Range<Int>) {
    let norms = rows.map { draws.row($0).reduce(0) { $0 + $1 * $1 }.squareRoot() }
    for row in rows {
      for _ in 0..<2 {
        for other in rows.lowerBound..<row {
          var dot = 0.0, size = 0.0
          for x in 0..<draws.columns {
            dot += draws[row, x] * draws[other, x]
            size += draws[other, x] * draws[other, x]
          }
          guard size > 0 else { continue }
          for x in 0..<draws.columns { draws[row, x] -= dot / size * draws[other, x] }
        }
      }
    }
    for (place, row) in rows.enumerated() {
      let size = draws.row(row).reduce(0) { $0 + $1 * $1 }.squareRoot()
      guard size > 0 else { continue }
      for x in 0..<draws.columns { draws[row, x] *= norms[place] / size }
    }
  }
}

/// What there is to say of random features beside their map.
struct NPRFFacts: Sendable {
  /// Features, their limit, and the bias.
  let map: NPRFMap

  /// Counts of features and lengths of vectors that errors are drawn for, and seeds of each.
  private static let counts = [16, 64, 256, 1024], norms = [1.0, 2, 4], seeds = 5
  /// Queries and keys of those samples.
  private static let sample = 48
  /// Butterflies of all transforms together that are worth their number.
  private static let mostWork = 4e8

  /// Numbers and curves. Throws `CancellationError`.
  ///
  /// The error of the kernel is over all pairs that are seen, up to `whole` tokens, and over those
  /// of 64 rows above; the curves are of 48 queries and 48 keys, seen or not.
  func add(_ run: MethodRun, whole: Int, to findings: inout Findings) throws {
    let head = map.head, chosen = KernelRows.chosen(head, whole: whole)
    let errors = try RowPicks.spread(chosen.count, by: 16, run) { part in
      part.map { place -> (sum: Double, count: Int) in
        let row = chosen[place], limit = head.visibility.limit(row: row)
        let got = map.kernel(row), wanted = map.limit.unit.cosines(row, limit: limit)
        let known = (0..<limit).map { abs(got[$0] / exponential(wanted[$0]) - 1) }.filter(
          \.isFinite)
        return (known.reduce(0, +), known.count)
      }
    }
    findings.number(
      "kernel_error",
      KernelRows.mean(errors.reduce(0) { $0 + $1.sum }, errors.reduce(0) { $0 + $1.count }),
      title: "relative error of the kernel, mean")
    findings.number(
      "random_features", Double(map.draw.count), .count, title: "random features in force")
    try addTransform(run, isWhole: max(head.queries, head.keys) <= whole, &findings)
    try addByCount(run, &findings)
    try addByNorm(run, &findings)
    CostFacts(head, features: map.draw.count).add(to: &findings)
  }

  /// The outputs by Fourier transforms against those of the rows.
  ///
  /// Both are of one head and one draw: what differs is rounding, and anything beyond that is a
  /// mistake. Throws `CancellationError`.
  private func addTransform(_ run: MethodRun, isWhole: Bool, _ findings: inout Findings) throws {
    guard isWhole, let values = KernelRows.values(map.head) else {
      return findings.number("fft_difference", nil, title: "outputs by FFT, largest difference")
    }
    let size = Double(FFT(atLeast: map.head.queries + map.head.keys - 1).size)
    let work = Double(map.draw.count) * size * max(1, logarithm(size) / logarithm(2)) / 2
    let channels = max(1, min(values.columns, Int(min(Self.mostWork / work, 1e6))))
    let fast = try ToeplitzProduct.outputs(map, values, channels: channels, run)
    let transposed = values.transposed()
    let worst = try RowPicks.spread(map.head.queries, by: 16, run) { part in
      part.map { row in
        let direct = transposed.multiplied(by: map.weights(row))
        return (0..<channels).reduce(0) { max($0, abs(direct[$1] - fast[row, $1])) }
      }
    }
    findings.number(
      "fft_difference", worst.max(), title: "outputs by FFT, largest difference")
    if channels < values.columns {
      findings.note("the FFT was taken of \(channels) of \(values.columns) channels")
    }
  }

  /// A few queries, or keys.
  private func some(_ matrix: Matrix) -> Matrix {
    let rows = MapPass.sample(0..<matrix.rows, Self.sample)
    return Matrix(
      rows: rows.count, columns: matrix.columns, elements: rows.flatMap { matrix.row($0) })
  }

  /// Relative errors of the kernel of some pairs, under one draw.
  private func errors(_ query: Matrix, _ key: Matrix, _ count: Int, _ seed: UInt64) -> [Double] {
    let draw = RandomFeatures(count: count, dim: query.columns, seed: seed)
    let got = draw.features(query).multiplied(by: draw.features(key).transposed())
    let wanted = query.multiplied(by: key.transposed())
    return zip(got.elements, wanted.elements).map { abs($0 / exponential($1) - 1) }
  }

  /// Mean error against m: its mean, least and most over five seeds. Throws `CancellationError`.
  private func addByCount(_ run: MethodRun, _ findings: inout Findings) throws {
    let query = some(map.limit.unit.query), key = some(map.limit.unit.key)
    // A draw of a number of features by a seed is a piece of work.
    let means = try RowPicks.spread(Self.counts.count * Self.seeds, by: 1, run) { part in
      part.map { piece in
        let (place, seed) = piece.quotientAndRemainder(dividingBy: Self.seeds)
        let found = errors(query, key, Self.counts[place], UInt64(seed + 1)).filter(\.isFinite)
        return found.isEmpty ? Double.nan : found.reduce(0, +) / Double(found.count)
      }
    }
    let all = Self.counts.indices.map { Array(means[$0 * Self.seeds..<($0 + 1) * Self.seeds]) }
    func curve(_ name: String, _ title: String, _ pick: ([Double]) -> Double) {
      findings.curve(
        name,
        Curve(
          x: "random features", y: "relative error of the kernel",
          points: zip(Self.counts, all).map { Curve.Point(Double($0), pick($1)) }.filter {
            $0.y.isFinite
          },
          isLogarithmic: true), title: title)
    }
    curve("error_by_features", "kernel error by features, mean of five seeds") {
      $0.reduce(0, +) / Double($0.count)
    }
    curve("error_by_features_least", "the same, least of five seeds") { $0.min() ?? 0 }
    curve("error_by_features_most", "the same, most of five seeds") { $0.max() ?? 0 }
  }

  /// Median error of vectors of one length, queries and keys alike: why they are normalised. Throws
  /// `CancellationError`.
  private func addByNorm(_ run: MethodRun, _ findings: inout Findings) throws {
    @Sendable func scaled(_ matrix: Matrix, _ norm: Double) -> Matrix {
      KernelRows.unit(some(matrix).elements, dim: matrix.columns, length: norm)
    }
    let points = try RowPicks.spread(Self.norms.count, by: 1, run) { part in
      part.compactMap { place -> Curve.Point? in
        let norm = Self.norms[place]
        let found = errors(
          scaled(map.limit.unit.query, norm), scaled(map.limit.unit.key, norm), 256, 1
        ).filter(\.isFinite).sorted()
        return found.isEmpty ? nil : Curve.Point(norm, found[found.count / 2])
      }
    }
    findings.curve(
      "error_by_norm",
      Curve(x: "length of queries and keys", y: "relative error, median", points: points),
      title: "kernel error by length, 256 features")
  }
}
