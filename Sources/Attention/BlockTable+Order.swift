/// The order of the margins, in which every question about one lambda is a binary search.
extension BlockTable {
  /// Sorts the margins of visible blocks, and sums what skipping them loses in that order. Every
  /// question about a lambda reads these, so this must follow the last change of margins and
  /// masses.
  mutating func seal() {
    let order = ascending()
    sortedMargins = order.map { margins[$0] }
    guard visibleRows > 0 else { return }
    droppedSums = [0]
    droppedMost = [0]
    droppedSums.reserveCapacity(order.count + 1)
    droppedMost.reserveCapacity(order.count + 1)
    var sum = 0.0, most: Float = 0
    for block in order {
      sum += Double(massSum[block])
      // `worstDropped` holds sums already, so the worst row is a maximum here.
      most = max(most, worstDropped[block])
      droppedSums.append(sum)
      droppedMost.append(most)
    }
  }

  /// Visible blocks by their margins, the smallest first; equal ones as they lie. Each is sorted as
  /// one number, its margin above its place: as fast as the margins alone.
  private func ascending() -> [Int] {
    var keys: [UInt64] = []
    keys.reserveCapacity(margins.count)
    for (block, margin) in margins.enumerated() where !margin.isNaN {
      // Zeros are equal, whatever their signs.
      let bits = (margin == 0 ? 0 : margin).bitPattern
      let rank = bits >> 31 == 1 ? ~bits : bits | 1 << 31
      keys.append(UInt64(rank) << 32 | UInt64(block))
    }
    keys.sort()
    return keys.map { Int($0 & 0xffff_ffff) }
  }
}
