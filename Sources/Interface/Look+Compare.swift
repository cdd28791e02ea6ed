import Analysis
import Attention
import Sessions

/// What view 6 puts side by side.
extension Look {
  /// The right side; without a choice it is the next head.
  var counterpart: Counterpart {
    if let other = viewpoint.other, sources.indices.contains(other.head.source) {
      let about = sources[other.head.source]
      if about.layers.has(other.head.layer), other.head.head < about.heads { return other }
    }
    var head = viewpoint.head
    if sources.count > 1 {
      // Of two files the same head is what one wants to see.
      var place = viewpoint
      place.show((head.source + 1) % sources.count, sources)
      return Counterpart(place.head)
    }
    head.head = head.head + 1 < source.heads ? head.head + 1 : max(0, head.head - 1)
    return Counterpart(head)
  }

  /// What both sides can show: tokens that both have.
  var sharedWindow: MapWindow {
    let other = sources[counterpart.head.source]
    func shared(_ range: Range<Int>, _ limit: Int) -> Range<Int> {
      let end = min(range.upperBound, limit)
      return min(range.lowerBound, end - 1)..<end
    }
    return MapWindow(
      queries: shared(viewpoint.window.queries, other.queries),
      keys: shared(viewpoint.window.keys, other.keys))
  }

  /// The look as either side has it: its own head and tile, the shared window, cursor and lambda.
  var leftSide: Look {
    var side = self
    side.viewpoint.window = sharedWindow
    side.showMainMap(beside: counterpart.method)
    return side
  }

  /// The other side of it: the counterpart's head, method and tile, within its own file's bounds.
  var rightSide: Look {
    var side = self
    let other = counterpart
    side.viewpoint.method = other.method
    side.showMainMap(beside: viewpoint.method)
    side.viewpoint.window = sharedWindow
    side.viewpoint.head = other.head
    side.viewpoint.spec = other.spec ?? sources[other.head.source].storedTile ?? viewpoint.spec
    if other.spec == nil, source.storedTile != nil, sources[other.head.source].storedTile == nil {
      side.viewpoint.spec = .standard(queries: sources[other.head.source].queries)
    }
    side.viewpoint.query = min(viewpoint.query, sources[other.head.source].queries - 1)
    side.viewpoint.key = min(viewpoint.key, sources[other.head.source].keys - 1)
    return side
  }

  /// A method that mixes otherwise is compared by its own map, two that keep some entries by what
  /// they keep; others by the pattern and their blocks.
  private mutating func showMainMap(beside other: MethodSetting?) {
    let main = isByTable ? nil : card?.mainField
    let otherMain = other.flatMap { source.card($0.id) }?.mainField
    switch main {
    case "map": viewpoint.field = main
    case "kept" where otherMain == "kept": viewpoint.field = main
    default: viewpoint.field = nil
    }
  }

  /// Entries that two methods keep stand side by side, and no attention.
  var comparesKept: Bool {
    leftSide.viewpoint.field == "kept" && rightSide.viewpoint.field == "kept"
  }

  /// One side is a stored mask, which has no attention to subtract.
  var comparesMasks: Bool {
    source.storedTile != nil || sources[counterpart.head.source].storedTile != nil
  }

  /// How much of the attention lies elsewhere on the other side, over all rows that both have; nil
  /// where kept entries or masks are compared.
  var movedQuestion: Question? {
    guard !comparesKept, !comparesMasks else { return nil }
    let rows = min(source.queries, sources[counterpart.head.source].queries)
    return .moved(leftSide.mapField, rightSide.mapField, rows: rows)
  }

  /// What has moved, once it is there.
  var moved: MovedMass? {
    guard let question = movedQuestion, case .moved(let moved) = known.answer(question) else {
      return nil
    }
    return moved
  }

  /// A sentence where the two files have other tokens, so that the same cell is not the same word:
  /// from long to short, for places of a fixed width. Empty where they are the same or not known.
  var tokensDiffer: [String] {
    let other = sources[counterpart.head.source]
    guard counterpart.head.source != viewpoint.head.source else { return [] }
    let (a, b) = (source.tokens, other.tokens)
    let names = "\(source.name) and \(other.name)"
    func counted(_ what: String, _ left: Int, _ right: Int) -> [String] {
      guard left != right else { return [] }
      let counts = "\(left) and \(right) \(what)"
      return [
        "\(names) have \(counts): only the first of them are compared",
        "\(counts): only the first are compared", counts,
      ]
    }
    guard !a.isEmpty, !b.isEmpty else { return counted("keys", source.keys, other.keys) }
    guard let first = zip(a, b).enumerated().first(where: { $1.0 != $1.1 })?.offset else {
      return counted("tokens", a.count, b.count)
    }
    return [
      "\(names) have other tokens from \(first) on: the same place is another word there",
      "other tokens from \(first) on: the same place is another word there",
      "other tokens from \(first) on: other words there", "other tokens from \(first) on",
    ]
  }

  /// The blocks of the right side: of its method, or of BLASST.
  var otherTable: BlockTable? { rightSide.shownTable(counterpart.head) }
}

extension Look {
  /// What the model calls the chosen head: its place, but for slices.
  var chosenHeadNumber: Int { source.headNumber(viewpoint.head.head) }
}
