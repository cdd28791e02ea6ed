import Analysis
import Attention
import Sessions

/// Several heads on the map as one: which they are, and what is still true of it.
extension Look {
  /// How the heads of the layer are pooled on the map. Fields that a method found are of one head,
  /// and so is every other view.
  var pool: HeadPool {
    viewpoint.view == .map && viewpoint.field == nil ? viewpoint.heads : .one
  }

  /// The dense pattern on the map. The same for all heads that are pooled, so that going from one
  /// to the next asks nothing.
  var patternOnMap: FieldID {
    var head = viewpoint.head
    switch pool {
    case .one: break
    case .mean, .max: head.head = 0
    case .group: head.head = head.head / headsOfGroup * headsOfGroup
    }
    return .pattern(head, pool: pool)
  }

  /// Query heads that share a KV head.
  private var headsOfGroup: Int { max(1, source.heads / max(1, source.kvHeads)) }

  /// The KV head of the chosen head: its number, or of a slice, which does not know it, the heads
  /// that share it: `of H6-8`.
  var keyHeadName: String {
    let group = viewpoint.head.head / headsOfGroup
    guard !source.headNumbers.isEmpty else { return "\(group)" }
    let heads = group * headsOfGroup..<min((group + 1) * headsOfGroup, source.heads)
    let keys = KeySelection(keys: heads.map { source.headNumber($0) })
    return "of H\(keys?.description ?? "")"
  }

  /// What is pooled, for titles: `mean of 9 heads`, from long to short. Empty for one head.
  var poolNames: [String] {
    switch pool {
    case .one: return []
    case .mean: return ["mean of \(source.heads) heads", "mean"]
    case .max: return ["max of \(source.heads) heads", "max"]
    case .group:
      let first = viewpoint.head.head / headsOfGroup * headsOfGroup
      let numbers = (first..<min(first + headsOfGroup, source.heads)).map {
        "H\(source.headNumber($0))"
      }
      let count = "mean of \(numbers.count) heads of a KV group"
      return ["mean of the KV group \(numbers.joined(separator: " "))", count, "group mean"]
    }
  }

  /// The word before p of several heads: `mean `; empty of one.
  var poolWord: String { pool == .one ? "" : (pool == .max ? "max " : "mean ") }

  /// What is pooled and what is not, in a sentence; empty of one head.
  var poolSentence: String {
    guard let name = poolNames.first else { return "" }
    let blocks = hasBlocksOnMap ? "" : " Blocks are not drawn: each head has its own."
    return "The map is the \(name) of layer \(layerNumber), entry by entry." + blocks
  }

  /// Blocks are drawn on the map: those of one head, or those that a group votes on together.
  var hasBlocksOnMap: Bool {
    pool == .one || (pool == .group && isByTable && viewpoint.spec.vote == .group)
  }

  /// The blocks over the map; nil where each head would have its own.
  var mapTable: BlockTable? { hasBlocksOnMap ? shownTable(viewpoint.head) : nil }

  /// Why heads cannot be pooled now; nil where they can.
  var whyOneHead: String? {
    if source.storedTile != nil { return "This file stores block masks: there is no p to pool." }
    if source.heads < 2 { return "There is one head a layer: nothing to pool." }
    guard viewpoint.field == nil else {
      return "Heads are pooled on the pattern: :field pattern shows it."
    }
    return nil
  }
}

extension Viewpoint {
  /// The next way to pool heads, and what the map shows now.
  mutating func turnHeads(in source: SourceDescription) -> String {
    let ways = HeadPool.allCases.filter {
      $0 != .group || (source.kvHeads < source.heads && source.kvHeads > 0)
    }
    heads = ways[((ways.firstIndex(of: heads) ?? 0) + 1) % ways.count]
    switch heads {
    case .one: return "The map shows one head."
    case .mean: return "The map shows the mean of p over the \(source.heads) heads of the layer."
    case .max: return "The map shows the largest p of the \(source.heads) heads of the layer."
    case .group: return "The map shows the mean of p over the heads of one KV head."
    }
  }
}
