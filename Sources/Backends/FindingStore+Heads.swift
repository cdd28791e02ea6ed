import Analysis
import Attention
import Sessions

extension FindingStore.Place {
  /// The logit of the head's learned sink; nil: it has none.
  var sink: Float? { sinks.flatMap { $0.indices.contains(id.head) ? $0[id.head] : nil } }
}

extension FindingStore {
  /// What the source itself holds: the dense pattern of the head or of several heads of its layer,
  /// a learned sink's part taken off, or a number a row. Throws `Missing` where the source has not
  /// got all heads, and `KnobError` for a name that is none.
  func own(_ id: FieldID, _ place: Place) throws -> any RowField {
    if id.isPattern { return try pattern(id.pool, place) }
    guard let fact = RowFact(rawValue: id.name) else {
      throw KnobError("a head has no field '\(id.name)' of its own")
    }
    return RowFactField(fact, sunkRows(place))
  }

  /// The rows of a head beside its learned sink, if it has one.
  private func sunkRows(_ place: Place) -> SunkRows {
    SunkRows(pass(place)?.rows ?? PatternRows(place.head), sink: place.sink)
  }

  /// The dense pattern of one or several heads.
  private func pattern(_ pool: HeadPool, _ place: Place) throws -> any RowField {
    let scope: Subject.Scope
    switch pool {
    case .one: return place.sink == nil ? PatternRows(place.head) : sunkRows(place)
    case .mean, .max: scope = .layer
    case .group: scope = .group
    }
    let subject = try place.subject(scope), first = place.id.head - subject.focus.head
    let patterns = subject.layer.enumerated().map { index, head -> SunkRows in
      let id = HeadID(layer: place.id.layer, head: first + index, source: place.id.source)
      // Keys that are packed already serve here, too.
      var other = Place(id: id, frame: place.frame, head: head, subject: place.subject)
      other.sinks = place.sinks
      return sunkRows(other)
    }
    guard let pooled = PooledHeads(patterns, byMaximum: pool == .max) else {
      throw Missing(.layer, hint: "its heads differ in length")
    }
    return pooled
  }

  /// A row of what is the source's own, in the convention of a head's pattern: 0 where nothing may
  /// be seen, NaN for a NaN of the data. Throws what `own` throws.
  func ownRow(_ id: FieldID, _ query: Int, _ place: Place) throws -> Answer {
    try .row(
      own(id, place).row(query).map { $0.isNaN ? 0 : ($0 == .infinity ? .nan : $0) })
  }

  /// What lies on marked keys. Throws `CancellationError`.
  func selected(_ keys: KeySelection, _ place: Place) throws -> Answer {
    guard keys.clamped(to: place.head.keys) != nil else {
      return .unavailable("none of the selected keys is there")
    }
    guard
      let mass = SelectedMass.of(
        place.head, pass(place)?.rows, keys, sink: place.sink)
    else {
      guard !Task.isCancelled else { throw CancellationError() }
      return .unavailable("no row of this head has numbers")
    }
    return .selected(mass)
  }
}

extension Findings {
  /// Adds what lies on marked keys, under the names that reports and the screen use.
  mutating func addSelected(_ mass: SelectedMass?) {
    number("selected", mass?.mean, .share, title: "mass on the selected keys")
    number(
      "selected_most", mass?.most, .share, title: "the most that a query puts on the selected keys")
  }
}
