import Algebra
import Analysis
import Attention

/// What there is to say of a bias and its factors beside the map: for `alibi` and `flashbias`.
struct BiasFacts: Sendable {
  /// Scores without the bias.
  let rows: DoubleRows
  /// The table.
  let bias: AdditiveBias
  /// Its factors; nil where the table is too large to be decomposed.
  let factors: BiasFactors?

  /// The head that the rows are of.
  private var head: Head { rows.head }

  /// Softmax of scores and bias, `[keys]`.
  func biased(_ row: Int) -> [Double] {
    weights(row) { bias.value(row, $0) }
  }

  /// The same with the factors in force, as the product of `[q / √d, U]` and `[k, U']` gives it.
  func factored(_ row: Int) -> [Double] {
    guard let factors else { return biased(row) }
    let low = factors.row(row)
    return weights(row) { low[$0] }
  }

  /// Softmax of a row's scores and what `bias` adds at a key: `[keys]`, 0 where unseen.
  private func weights(_ row: Int, _ bias: (Int) -> Double) -> [Double] {
    var logits = rows.logits(row)
    let limit = head.visibility.limit(row: row)
    for key in 0..<limit { logits[key] += bias(key) }
    return Elementary.softmax(logits, limit: limit)
  }

  /// Fields, and where the run wants them numbers, spectrum and curves: of all rows up to `whole`
  /// tokens, of 64 above. Throws `CancellationError`.
  func add(_ run: MethodRun, whole: Int, to findings: inout Findings) throws {
    let bias = bias, keys = head.keys, rows = rows
    func field(_ row: @escaping @Sendable (Int) -> [Double]) -> RuleField {
      KernelRows.field(rows.head, row)
    }
    @Sendable func table(_ row: Int) -> [Double] { (0..<keys).map { bias.value(row, $0) } }
    findings.field("bias", field(table), .signed, title: "bias B")
    if let factors {
      findings.field(
        "bias_low_rank", field { factors.row($0) }, .signed, title: "B of rank \(factors.rank)")
      findings.field(
        "residual", field { row in zip(table(row), factors.row(row)).map { $0 - $1 } }, .signed,
        title: "B less its factors")
    }
    findings.field("dense", field { rows.weights($0) }, .weights, title: "softmax without B")
    findings.field("biased", field { self.biased($0) }, .weights, title: "softmax with B")
    guard run.wantsNumbers else { return }
    guard let factors else {
      findings.note(
        "no closed form, and more than \(BiasFactors.mostTokens) tokens: the bias is not factored")
      return
    }
    addSpectrum(factors, &findings)
    let chosen = KernelRows.chosen(head, whole: whole)
    let parts = try RowPicks.spread(chosen.count, by: 8, run) { part in
      [RankSums(part.map { chosen[$0] }, self, factors)]
    }
    let sum = parts.reduce(into: RankSums(ranks: factors.available)) { $0.add($1) }
    sum.add(rows: chosen.count, rank: factors.rank, to: &findings)
  }

  /// Singular values, ranks for three shares of their energy, and what factors cost.
  private func addSpectrum(_ factors: BiasFactors, _ findings: inout Findings) {
    let spectrum = factors.spectrum, total = spectrum.reduce(0) { $0 + $1 * $1 }
    findings.series(
      "spectrum", Axis(.rank, spectrum.count), spectrum.map { Float($0) },
      title: "singular values of B")
    findings.number("rank", Double(factors.rank), .count, title: "factors in force")
    for (name, energy) in [("rank_99", 0.99), ("rank_995", 0.995), ("rank_999", 0.999)] {
      findings.number(
        name, Double(BiasFactors.rank(energy, spectrum)), .count,
        title: "rank for \(energy * 100) % of the energy")
    }
    findings.number(
      "bias_rank", Double(SingularValues(values: spectrum).numericalRank()), .count,
      title: "numerical rank of B")
    var sum = 0.0
    let points = spectrum.enumerated().map { index, value in
      sum += value * value
      return Curve.Point(Double(index + 1), total > 0 ? sum / total : 1)
    }
    let kept =
      factors.rank > 0 ? points[min(factors.rank, points.count) - 1].y : (total > 0 ? 0 : 1)
    findings.number("energy_kept", kept, .share, title: "energy kept")
    findings.curve(
      "energy_by_rank",
      Curve(
        x: "rank", y: "share of the energy", points: points,
        marks: [.init("R", x: Double(factors.rank), y: kept)]))
    let n = Double(head.queries), m = Double(head.keys), r = Double(factors.rank)
    findings.number("memory_bias", 4 * n * m, .bytes, title: "the table, in float32")
    findings.number("memory_factors", 4 * (n + m) * r, .bytes, title: "the factors")
    let d = Double(rows.dim)
    findings.number(
      "flop_ratio", d > 0 ? (d + r) / d : nil, title: "work of Q K, with factors to without")
  }
}

/// Sums over rows of how far factors are from the bias.
private struct RankSums: Sendable {
  /// Largest |B - B_R| of what is seen; Σ (B - B_R)² of the whole rows.
  private var worst = 0.0, squares = 0.0
  /// `[ranks + 1]`, sums over rows of half of Σ |softmax(S + B) - softmax(S + B_r)|.
  private var gaps: [Double]

  /// Nothing yet; `ranks` are those that there are factors for.
  init(ranks: Int) { gaps = [Double](repeating: 0, count: ranks + 1) }

  /// Of these rows: every rank up to 16, and the one in force.
  init(_ rows: [Int], _ facts: BiasFacts, _ factors: BiasFactors) {
    self.init(ranks: factors.available)
    let sight = facts.rows.head.visibility, keys = facts.bias.keys
    for row in rows {
      let limit = sight.limit(row: row), logits = facts.rows.logits(row)
      let wanted = (0..<keys).map { facts.bias.value(row, $0) }
      func weights(_ bias: [Double]) -> [Double] {
        Elementary.softmax(zip(logits, bias).map { $0 + $1 }, limit: limit)
      }
      let whole = weights(wanted)
      var low = [Double](repeating: 0, count: keys)
      for rank in 0...factors.available {
        if rank > 0 { factors.add(rank - 1, row, to: &low) }
        if rank == factors.rank {
          for key in 0..<keys {
            let off = abs(low[key] - wanted[key])
            squares += off * off
            if key < limit { worst = max(worst, off) }
          }
        }
        guard rank <= 16 || rank == factors.rank else { continue }
        let got = weights(low)
        gaps[rank] += zip(got, whole).reduce(0) { $0 + abs($1.0 - $1.1) } / 2
      }
    }
  }

  /// Sums of other rows, of the same ranks.
  mutating func add(_ other: RankSums) {
    worst = max(worst, other.worst)
    squares += other.squares
    for rank in gaps.indices { gaps[rank] += other.gaps[rank] }
  }

  /// Residuals of the rank in force, and the curve of map gaps; `rows` were summed.
  func add(rows: Int, rank: Int, to findings: inout Findings) {
    let n = Double(max(rows, 1))
    findings.number("max_residual", worst, .logits, title: "largest |B - B_R|")
    findings.number("residual_norm", squares.squareRoot(), .logits, title: "norm of B - B_R")
    findings.number(
      "map_gap_biased", gaps[rank] / n, .share, title: "map gap to softmax with B")
    findings.curve(
      "gap_by_rank",
      Curve(
        x: "rank", y: "map gap to softmax with B",
        points: gaps.indices.filter { ($0 <= 16 || $0 == rank) && gaps[$0].isFinite }.map {
          .init(Double($0), gaps[$0] / n)
        },
        marks: gaps[rank].isFinite ? [.init("R", x: Double(rank), y: gaps[rank] / n)] : []),
      title: "map gap by rank")
  }
}
