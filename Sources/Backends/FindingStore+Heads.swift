import Analysis
import Attention
import Sessions

extension FindingStore {
  /// The dense pattern that is asked for: the head's own, or that of several heads of its layer.
  /// Throws `Missing` where the source has not got all of them.
  func pattern(_ pool: HeadPool, _ place: Place) throws -> any RowField {
    let scope: Subject.Scope
    switch pool {
    case .one: return PatternRows(place.head)
    case .mean, .max: scope = .layer
    case .group: scope = .group
    }
    let subject = try place.subject(scope), first = place.id.head - subject.focus.head
    let patterns = subject.layer.enumerated().map { index, head in
      let id = HeadID(layer: place.id.layer, head: first + index, source: place.id.source)
      // Keys that are packed already serve here, too.
      let other = Place(id: id, frame: place.frame, head: head, subject: place.subject)
      return pass(other)?.rows ?? PatternRows(head)
    }
    guard let pooled = PooledHeads(patterns, byMaximum: pool == .max) else {
      throw Missing(.layer, hint: "its heads differ in length")
    }
    return pooled
  }

  /// A row of several heads, in the convention of a head's own: 0 where nothing may be seen, NaN
  /// for a NaN of the data. Throws what `pattern` throws.
  func pooledRow(_ pool: HeadPool, _ query: Int, _ place: Place) throws -> Answer {
    try .row(
      pattern(pool, place).row(query).map { $0.isNaN ? 0 : ($0 == .infinity ? .nan : $0) })
  }
}
