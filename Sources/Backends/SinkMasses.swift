import Attention
import Glibc
import Sessions
import Synchronization

/// How much of each head's rows a learned sink takes, worked out once a head.
///
/// A sink of logit b adds e^b to the denominator of every row and belongs to no key: of a row whose
/// log-sum-exp over its keys is l it takes 1 / (1 + e^(l - b)), and the keys share the rest. The
/// running maximum, and so margins and masks, know nothing of it.
final class SinkMasses: Sendable {
  private let known = Mutex<[HeadID: Double]>([:])

  /// The mass of a head, made by `make` where it is not known.
  func mass(_ id: HeadID, _ make: () -> Double?) -> Double? {
    if let ready = known.withLock({ $0[id] }) { return ready }
    let mass = make()
    known.withLock { $0[id] = mass }
    return mass
  }

  /// Rows of a long head that are looked at.
  private static let rowsLooked = 512

  /// The mean share over the rows that see a key; nil where none does, or where the rows are not
  /// numbers. Cost: a pass over the head's rows.
  static func mean(_ head: Head, logit: Float) -> Double? {
    let rows = PatternRows(head)
    var sum = 0.0, count = 0
    func look(_ part: Range<Int>) {
      rows.withRows(part) { row, _, lse in
        guard head.visibility.count(row: row) > 0 else { return }
        sum += share(logit: Double(logit), logSum: lse)
        count += 1
      }
    }
    if head.isLong {
      let step = max(1, head.queries / rowsLooked)
      for row in stride(from: step / 2, to: head.queries, by: step) { look(row..<row + 1) }
    } else {
      look(0..<head.queries)
    }
    let mean = sum / Double(max(count, 1))
    return count > 0 && mean.isFinite ? mean : nil
  }

  /// e^b / (e^l + e^b), without overflow.
  static func share(logit: Double, logSum: Double) -> Double { 1 / (1 + exp(logSum - logit)) }
}

extension Findings {
  /// The number under which reports and the screen say it.
  package static let sinkNumber = "learned_sink"

  /// Adds what a learned sink takes of a head's rows; nothing where there is none.
  mutating func addSink(_ heads: DumpHeads, _ id: HeadID) {
    guard let mass = heads.sinkMass(id.layer, id.head) else { return }
    number(Self.sinkNumber, mass, .share, title: "mass that the learned sink takes of a row")
  }
}
