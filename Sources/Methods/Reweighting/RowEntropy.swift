import Attention

/// Entropies of rows beside their position: whether attention thins out as a text grows.
enum RowEntropy {
  /// -Σ p ln p in nats of p = |w| / Σ|w|; NaN of a row of zeros.
  static func of(_ weights: some Sequence<Double>) -> Double {
    var size = 0.0, sum = 0.0
    for weight in weights where weight != 0 {
      let w = weight.magnitude
      size += w
      sum += w * logarithm(w)
    }
    return size > 0 ? max(0, logarithm(size) - sum / size) : .nan
  }

  /// The least-squares slope of entropies on ln i, i counted from 1, over rows from the second on;
  /// NaN is left out. Nil below two such rows.
  static func slope(_ entropies: [Double], at positions: [Int]) -> Double? {
    var n = 0.0, x = 0.0, y = 0.0, xx = 0.0, xy = 0.0
    for (entropy, position) in zip(entropies, positions) where position >= 2 && !entropy.isNaN {
      let l = logarithm(Double(position))
      n += 1
      x += l
      y += entropy
      xx += l * l
      xy += l * entropy
    }
    let spread = n * xx - x * x
    return n > 1 && spread > 1e-12 * n * xx ? (n * xy - x * y) / spread : nil
  }

  /// The slopes `entropy_slope` and `entropy_slope_dense` of some rows, and where these are all of
  /// the head's the series `entropies` and `entropies_dense`, of W and of softmax.
  static func add(
    _ head: Head, rows: [Int], map: [Double], dense: [Double], to findings: inout Findings
  ) {
    let positions = rows.map { head.visibility.position(row: $0) + 1 }
    findings.number(
      "entropy_slope", slope(map, at: positions), .nats, title: "entropy gained per ln i")
    findings.number(
      "entropy_slope_dense", slope(dense, at: positions), .nats,
      title: "entropy gained per ln i, softmax")
    guard rows.count == head.queries else { return }
    let axis = Axis(.query, head.queries)
    findings.series(
      "entropies", axis, map.map { Float($0) }, .nats, title: "entropy by query")
    findings.series(
      "entropies_dense", axis, dense.map { Float($0) }, .nats,
      title: "entropy by query, softmax")
  }
}
