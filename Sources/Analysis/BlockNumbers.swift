public import Attention

extension Findings {
  /// The three numbers of every mask of blocks, under the names that all methods share: `sparsity`,
  /// `visible_blocks` and `skipped_blocks`.
  ///
  /// Example: `findings.blockNumbers(visible: 91, skipped: 55)`. `sparsity` is skipped over visible
  /// blocks, in 0...1, unless it is given. Nil cannot be known: of a sample of rows the share is an
  /// estimate for all, and the count is none.
  public mutating func blockNumbers(visible: Int, skipped: Int?, sparsity: Double? = nil) {
    let share = skipped.map { visible == 0 ? 0 : Double($0) / Double(visible) }
    number("sparsity", sparsity ?? share, .share)
    number("visible_blocks", Double(visible), .blocks)
    number("skipped_blocks", skipped.map(Double.init), .blocks)
  }

  /// The same, of a table at a threshold.
  public mutating func blockNumbers(_ table: BlockTable, _ lambda: Lambda) {
    blockNumbers(visible: table.visibleBlocks, skipped: table.skippedBlocks(lambda))
  }
}

extension BlockMask {
  /// Blocks that some row may see.
  public var visibleBlocks: Int { verdicts.reduce(0) { $0 + ($1 == .invisible ? 0 : 1) } }
  /// Blocks that some row may see and that were skipped.
  public var skippedBlocks: Int { verdicts.reduce(0) { $0 + ($1 == .skipped ? 1 : 0) } }
}
