import Attention

/// What clipped softmax says of some rows, as sums.
struct ClippedRows: Sendable {
  /// Where the curve of zeros stands: 0, 0.5, ... 8.
  static let alphas = (0...16).map { Double($0) / 2 }
  /// `[rows]`, sums of W and largest entries of A, in the order of rows.
  private(set) var sums: [Double] = [], tops: [Double] = []
  /// Visible entries, their exact zeros, and both on skipped tiles.
  private var overlap = ZeroOverlap()
  /// Exact ones.
  private var ones = 0
  /// `[alphas]`, zeros that each would make.
  private var zerosByAlpha: [Int]
  /// Visible entries by their softmax weight.
  private var weights = DecadeHistogram()
  /// `[keys]`, mass before and after.
  private var dense: [Double], after: [Double]

  /// Nothing yet.
  init(keys: Int) {
    zerosByAlpha = [Int](repeating: 0, count: Self.alphas.count)
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
      overlap.add(isZero: label == 1, row: row, key: key, mask)
      if label == 2 { ones += 1 }
      let value = clip(weight)
      sum += value
      top = max(top, weight)
      dense[key] += weight
      after[key] += value
      for (step, cut) in steps.enumerated() where cut.label(weight) == 1 {
        zerosByAlpha[step] += 1
      }
      self.weights.add(weight)
    }
    sums.append(sum)
    tops.append(top)
  }

  /// Rows that come after.
  mutating func add(_ other: ClippedRows) {
    sums += other.sums
    tops += other.tops
    overlap.add(other.overlap)
    weights.add(other.weights)
    ones += other.ones
    for step in zerosByAlpha.indices { zerosByAlpha[step] += other.zerosByAlpha[step] }
    for key in dense.indices {
      dense[key] += other.dense[key]
      after[key] += other.after[key]
    }
  }

  /// Numbers and curves; `hasMask` where skipped tiles are known.
  func add(_ clip: Clip, hasMask: Bool, to findings: inout Findings) {
    findings.number("gamma", clip.gamma, .setting, title: "gamma in force")
    findings.number("threshold", clip.threshold, title: "weights up to this become 0")
    findings.number("zero_share", overlap.zeroShare, .share, title: "exactly zero")
    findings.number(
      "saturated", ZeroOverlap.share(ones, overlap.entries), .share, title: "exactly one")
    findings.number(
      "noop_rows", ZeroOverlap.share(sums.count { $0 < 0.1 }, sums.count), .share,
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
    overlap.addTiles(hasMask: hasMask, to: &findings)
    let all = Double(max(overlap.entries, 1))
    findings.curve(
      "zeros_by_alpha",
      Curve(
        x: "alpha", y: "exactly zero",
        points: zip(Self.alphas, zerosByAlpha).map { .init($0, Double($1) / all) }),
      title: "exactly zero, by alpha")
    findings.curve(
      "weights",
      weights.curve(
        "softmax weight", mark: clip.threshold > 0 ? ("threshold", clip.threshold) : nil),
      title: "entries by their weight")
  }
}
