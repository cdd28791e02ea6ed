public import Analysis
public import Attention
public import Canvas
public import Sessions

/// What is looked at, and how: everything that undo brings back.
public struct Viewpoint: Sendable, Hashable {
  public enum Scale: String, Sendable, CaseIterable { case log, linear, rank }
  public enum Pooling: String, Sendable, CaseIterable { case max, mean }
  public enum Overlay: String, Sendable, CaseIterable { case skipped, grid, none }
  public enum Sort: String, Sendable, CaseIterable {
    case layer, sparsity, sink, entropy, pattern, number
  }

  public var view = ViewKind.map
  public var head = HeadID(layer: 0, head: 0)
  /// Query row and key column under the cursor, in tokens.
  public var query = 0
  public var key = 0
  public var window: MapWindow
  /// 0 is dense.
  public var lambda = 0.01
  public var spec: TileSpec
  public var scale = Scale.log
  public var normaliseRows = false
  public var pooling = Pooling.max
  public var mute = false
  public var overlay = Overlay.skipped
  public var colors = ColorMap.cividis
  public var light = false
  public var sort = Sort.layer
  /// The method in force; nil: the one whose blocks are read off one table, with `lambda` and `spec`.
  public var method: MethodSetting?
  /// The field on the map; nil: the source's own pattern.
  public var field: String?
  /// The number that heads are shown, sorted and ranked by; nil: what the view is for.
  public var score: String?
  /// Heads that the Heads view shows; nil: all.
  public var filter: NumberFilter?
  /// What view 6 shows on the right; nil is the next head.
  public var other: Counterpart?

  public init(_ source: SourceDescription) {
    head.source = source.index
    window = MapWindow(queries: 0..<source.queries, keys: 0..<source.keys)
    // A live source begins with nothing; what it will hold is a map with many rows.
    spec = source.storedTile ?? .standard(queries: source.live == nil ? source.queries : 2)
    query = source.queries - 1
    key = 0
  }
}

extension CaseIterable where Self: Equatable, AllCases == [Self] {
  var following: Self {
    let all = Self.allCases
    return all[(all.firstIndex(of: self)! + 1) % all.count]
  }
}
