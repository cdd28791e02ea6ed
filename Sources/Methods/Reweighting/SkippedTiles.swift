import Attention
import Tensors

/// The tiles that BLASST skips on a head: what methods with zeros, or near zeros, of their own are
/// compared with.
enum SkippedTiles {
  /// λ of the comparison; the tile is the method's own affair.
  static let lambda = Knob(
    "lambda", "of BLASST, whose skipped tiles are compared", 0...1, standard: 0.01,
    step: .multiply(10))

  /// Verdicts on tiles of `tile` queries and keys, of this head alone; the table that is there
  /// already, or one pass. Throws `CancellationError`, `LambdaError`.
  static func mask(_ head: Head, _ run: MethodRun, lambda: Double, tile: Int = 64) throws
    -> BlockMask
  {
    let spec = TileSpec(rows: tile, keys: tile), lambda = try Lambda(lambda)
    let table =
      try run.table(spec, 0)
      ?? TilePass(HeadGroup([head]), keysPerTile: spec.keys, threads: run.threads).tables(
        spec, lambda: 0, threads: run.threads, isCancelled: run.isCancelled)?[0]
    guard let table else { throw CancellationError() }
    return table.mask(lambda)
  }
}

/// Entries that a method makes exactly zero, beside those on tiles that BLASST skips.
struct ZeroOverlap: Sendable {
  /// Visible entries, in all and on skipped tiles.
  private(set) var entries = 0, skipped = 0
  /// Zeros among both.
  private(set) var zeros = 0, zerosInSkipped = 0

  /// One visible entry. `mask` is nil where skipped tiles are not known.
  mutating func add(isZero: Bool, row: Int, key: Int, _ mask: BlockMask?) {
    entries += 1
    if isZero { zeros += 1 }
    guard let mask, mask[row / mask.spec.rows, key / mask.spec.keys] == .skipped else { return }
    skipped += 1
    if isZero { zerosInSkipped += 1 }
  }

  /// Those of other rows.
  mutating func add(_ other: ZeroOverlap) {
    entries += other.entries
    skipped += other.skipped
    zeros += other.zeros
    zerosInSkipped += other.zerosInSkipped
  }

  /// `part` of `whole`; nil of nothing.
  static func share(_ part: Int, _ whole: Int) -> Double? {
    whole > 0 ? Double(part) / Double(whole) : nil
  }

  /// Zeros over visible entries; nil where nothing is visible.
  var zeroShare: Double? { Self.share(zeros, entries) }

  /// `zeros_in_skipped` and `skipped_zero`; unknown without a mask.
  func addTiles(hasMask: Bool, to findings: inout Findings) {
    findings.number(
      "zeros_in_skipped", hasMask ? Self.share(zerosInSkipped, zeros) : nil, .share,
      title: "zeros on tiles that BLASST skips")
    findings.number(
      "skipped_zero", hasMask ? Self.share(zerosInSkipped, skipped) : nil, .share,
      title: "zeros among entries of skipped tiles")
  }
}
