import Attention

/// What clipped softmax says of some rows, as sums.
struct ClippedRows: Sendable {
  /// Where the curve of zeros stands: 0, 0.5, ... 8.
  static let alphas = (0...16).map { Double($0) / 2 }
  /// Bins of a decade of the histogram, and the decades below 1 that it has; the first bin holds
  /// all that is smaller.
  private static let perDecade = 4, decades = 8

  /// `[rows]`, sums of W and largest entries of A, in the order of rows.
  private(set) var sums: [Double] = [], tops: [Double] = []
  /// Counts of visible entries: all, exact zeros, exact ones, zeros on skipped tiles, and those on
  /// skipped tiles.
  private var entries = 0, zeros = 0, ones = 0, zerosInSkipped = 0, skipped = 0
  /// `[alphas]`, zeros that each would make.
  private var zerosByAlpha: [Int]
  /// `[bins]`, visible entries by their softmax weight.
  private var bins: [Int]
  /// `[keys]`, mass before and after.
  private var dense: [Double], after: [Double]

  /// Nothing yet.
  init(keys: Int) {
    zerosByAlpha = [Int](repeating: 0, count: Self.alphas.count)
    bins = [Int](repeating: 0, count: Self.perDecade * Self.decades + 1)
    (dense, after) = (
      [Double](repeating: 0, count: keys), [Double](repeating: 0, count: keys)
    )
  }

  /// A row of A, `[keys]`, of which `limit` are seen.
  mutating func add(
    _ weights: [Double], _ row: Int, _ limit: Int, _ clip: Clip, _ steps: [Clip],
    _ mask: BlockMask?
  ) {
    var sum = 0.0, top = 0.0
    for key in 0..<limit {
      let weight = weights[key], label = clip.label(weight)
      entries += 1
      let isSkipped =
        mask.map { $0[row / $0.spec.rows, key / $0.spec.keys] == .skipped } ?? false
      if isSkipped { skipped += 1 }
      if label == 1 {
        zeros += 1
        if isSkipped { zerosInSkipped += 1 }
      }
      if label == 2 { ones += 1 }
      let value = clip(weight)
      sum += value
      top = max(top, weight)
      dense[key] += weight
      after[key] += value
      for (step, cut) in steps.enumerated() where cut.label(weight) == 1 {
        zerosByAlpha[step] += 1
      }
      bins[Self.bin(weight)] += 1
    }
    sums.append(sum)
    tops.append(top)
  }

  /// Where a weight stands in the histogram; 0 for zero and for all that is smaller.
  private static func bin(_ weight: Double) -> Int {
    guard weight > 0 else { return 0 }
    let place = logarithm(weight) / logarithm(10) + Double(decades)
    return min(perDecade * decades, max(0, Int((place * Double(perDecade)).rounded(.up))))
  }

  /// Rows that come after.
  mutating func add(_ other: ClippedRows) {
    sums += other.sums
    tops += other.tops
    entries += other.entries
    zeros += other.zeros
    ones += other.ones
    skipped += other.skipped
    zerosInSkipped += other.zerosInSkipped
    for step in zerosByAlpha.indices { zerosByAlpha[step] += other.zerosByAlpha[step] }
    for bin in bins.indices { bins[bin] += other.bins[bin] }
    for key in dense.indices {
      dense[key] += other.dense[key]
      after[key] += other.after[key]
    }
  }

  /// Numbers and curves; `hasMask` where skipped tiles are known.
  func add(_ clip: Clip, hasMask: Bool, to findings: inout Findings) {
    /// Nil of nothing.
    func share(_ part: Int, _ whole: Int) -> Double? {
      whole > 0 ? Double(part) / Double(whole) : nil
    }
    findings.number("gamma", clip.gamma, .setting, title: "gamma in force")
    findings.number("threshold", clip.threshold, title: "weights up to this become 0")
    findings.number("zero_share", share(zeros, entries), .share, title: "exactly zero")
    findings.number("saturated", share(ones, entries), .share, title: "exactly one")
    findings.number(
      "noop_rows", share(sums.count { $0 < 0.1 }, sums.count), .share,
      title: "rows with a sum below 0.1")
    let total = dense.reduce(0, +), left = after.reduce(0, +)
    let top = dense.indices.max { dense[$0] < dense[$1] || (dense[$0] == dense[$1] && $0 > $1) }
    findings.number("top_key", top.map(Double.init), .count, title: "key with most mass")
    findings.number(
      "top_key_mass_dense", top.flatMap { total > 0 ? dense[$0] / total : nil }, .share,
      title: "its share of softmax mass")
    findings.number(
      "top_key_mass", top.flatMap { left > 0 ? after[$0] / left : nil }, .share,
      title: "its share after the cut")
    findings.number(
      "zeros_in_skipped", hasMask ? share(zerosInSkipped, zeros) : nil, .share,
      title: "zeros on tiles that BLASST skips")
    findings.number(
      "skipped_zero", hasMask ? share(zerosInSkipped, skipped) : nil, .share,
      title: "zeros among entries of skipped tiles")
    let all = Double(max(entries, 1))
    findings.curve(
      "zeros_by_alpha",
      Curve(
        x: "alpha", y: "exactly zero",
        points: zip(Self.alphas, zerosByAlpha).map { .init($0, Double($1) / all) }),
      title: "exactly zero, by alpha")
    let points = bins.enumerated().map { bin, count in
      Curve.Point(
        tenTo(Double(bin) / Double(Self.perDecade) - Double(Self.decades)), Double(count) / all)
    }
    let mark = Curve.Mark(
      "threshold", x: clip.threshold, y: points[Self.bin(clip.threshold)].y)
    findings.curve(
      "weights",
      Curve(
        x: "softmax weight", y: "share of entries", points: points,
        marks: clip.threshold > 0 ? [mark] : [], isLogarithmic: true),
      title: "entries by their weight")
  }
}
