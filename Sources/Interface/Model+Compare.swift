import Analysis
import Attention
import Sessions

/// What view 6 puts side by side.
extension Model {
  /// The right side; without a choice it is the next head.
  var counterpart: Counterpart {
    if let other = viewpoint.other, sources.indices.contains(other.head.source) {
      let about = sources[other.head.source]
      if other.head.layer < about.layers.count, other.head.head < about.heads { return other }
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

  /// The model as either side sees it: its own head and tile, the shared window, cursor and lambda.
  var leftSide: Model {
    var side = self
    side.viewpoint.window = sharedWindow
    side.showMainMap()
    return side
  }

  /// The other side of it: the counterpart's head, method and tile, within its own file's bounds.
  var rightSide: Model {
    var side = self
    let other = counterpart
    side.viewpoint.method = other.method
    side.showMainMap()
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

  /// A method that mixes otherwise is compared by its own map; others by the pattern and their
  /// blocks.
  private mutating func showMainMap() {
    viewpoint.field = !isByTable && card?.mainField == "map" ? "map" : nil
  }

  /// Of the right side, when it is another method.
  var methodQuestion: Question? {
    counterpart.method.flatMap { findingsQuestion(counterpart.head, $0) }
  }

  /// The blocks of the right side: of its method, or of BLASST.
  var otherTable: BlockTable? {
    guard let method = counterpart.method else { return rightSide.table(counterpart.head) }
    return blocks(counterpart.head, method)
  }

  /// Another head on the right, within its file; at the end it says which there are.
  mutating func stepOther(_ step: Int) {
    var other = counterpart
    let heads = sources[other.head.source].heads
    let wanted = other.head.head + step
    if !(0..<heads).contains(wanted) {
      message = "Heads are 0 to \(heads - 1); :compare 18.0 takes another layer."
    }
    other.head.head = min(max(wanted, 0), heads - 1)
    viewpoint.other = other
  }

  /// Left becomes right and right becomes left, methods and tiles with them.
  mutating func swapSides() {
    var other = counterpart
    let mine = Counterpart(
      viewpoint.head, method: viewpoint.method,
      spec: other.spec == nil ? nil : viewpoint.spec)
    if let spec = other.spec { viewpoint.spec = spec }
    other.spec = nil
    if other.head.source != viewpoint.head.source {
      viewpoint.show(other.head.source, sources)
    }
    (viewpoint.head, viewpoint.method, viewpoint.field) = (other.head, other.method, nil)
    viewpoint.other = mine
    clampCursor()
  }

  /// `:compare ..`
  mutating func compareWith(_ text: String) -> [Effect] {
    do throws(SettingError) {
      let other = try Counterpart(text, beside: viewpoint, sources)
      return performing {
        $0.viewpoint.other = other
        $0.viewpoint.view = .compare
      }
    } catch {
      return say(error.description + ".")
    }
  }
}
