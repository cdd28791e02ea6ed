public import Attention
import Tensors

/// How much softmax mass a kept set loses.
public enum Recall {
  /// 1 - Σ of the dense pattern over kept entries: mean over rows that see something, and the worst
  /// row.
  /// Shares in 0...1 of a dense row. Cost: the whole pattern, on all threads; for long heads
  /// `MaskNumbers` samples.
  public static func dropped(_ head: Head, _ set: KeptSet) -> (mean: Double, max: Double) {
    let rows = PatternRows(head)
    let chunk = max(1, (head.queries + 31) / 32)
    let parts = Gathered<(sum: Double, worst: Double, rows: Int)>()
    ComputeThreads.shared.forEach(0..<(head.queries + chunk - 1) / chunk) { index in
      var part = (sum: 0.0, worst: 0.0, rows: 0)
      rows.withRows(index * chunk..<min((index + 1) * chunk, head.queries)) { row, p, lse in
        guard lse != -.infinity else { return }
        let lost = max(0, 1 - set.mass(of: p, row: row, head.visibility).0)
        part = (part.sum + lost, max(part.worst, lost), part.rows + 1)
      }
      parts.add(index, part)
    }
    let all = parts.inOrder
    let rowsSeen = all.reduce(0) { $0 + $1.rows }
    return (all.reduce(0) { $0 + $1.sum } / Double(max(rowsSeen, 1)), all.map(\.worst).max() ?? 0)
  }
}
