public import Analysis
public import Attention
public import Canvas
public import Sessions

/// What is looked at, and how: everything that undo brings back.
///
/// Example: `var view = Viewpoint(source); view.lambda = 0.1`. Small and comparable: undo keeps
/// hundreds, bookmarks and state files write it as text (`ViewSetting`).
public struct Viewpoint: Sendable, Hashable {
  /// How weights become colours.
  public enum Scale: String, Sendable, CaseIterable { case log, linear, rank }
  /// What a cell shows of the entries under it.
  public enum Pooling: String, Sendable, CaseIterable { case max, mean }
  /// What is drawn over the heat.
  public enum Overlay: String, Sendable, CaseIterable { case skipped, grid, none }
  /// The order of the Heads view.
  public enum Sort: String, Sendable, CaseIterable {
    case layer, sparsity, sink, entropy, pattern, number
  }

  /// How view 2 shows what is skipped and what that costs: not, as a list of heads, or as maps of
  /// layers by heads.
  public enum Costs: String, Sendable, CaseIterable { case off, list, map }

  /// The number of every query that stands beside the map: none, how many keys it reads, how far
  /// away, or the share that its blocks keep.
  public enum Strip: String, Sendable, CaseIterable { case off, keys, distance, kept }

  /// Which of the six.
  public var view = ViewKind.map
  /// The head that is looked at.
  public var head = HeadID(layer: 0, head: 0)
  /// Query row under the cursor, in tokens.
  public var query = 0
  /// Key column under the cursor, in tokens.
  public var key = 0
  /// The part of the map that is shown, in tokens.
  public var window: MapWindow
  /// 0 is dense.
  public var lambda = 0.01
  /// Tile, vote, order and criterion in force.
  public var spec: TileSpec
  /// How weights become colours.
  public var scale = Scale.log
  /// Each row is coloured by its own largest weight.
  public var normaliseRows = false
  /// What a cell shows of the entries under it.
  public var pooling = Pooling.max
  /// The sink's column is left out.
  public var mute = false
  /// What is drawn over the heat.
  public var overlay = Overlay.skipped
  /// The ramp of weights.
  public var colors = ColorMap.cividis
  /// The page is light.
  public var light = false
  /// The order of the Heads view.
  public var sort = Sort.layer
  /// The method in force; nil: the one whose blocks are read off one table, with `lambda` and
  /// `spec`.
  public var method: MethodSetting?
  /// The field on the map; nil: the source's own pattern.
  public var field: String?
  /// Whose pattern is on the map: the head's, or several heads pooled.
  public var heads = HeadPool.one
  /// The number that heads are shown, sorted and ranked by; nil: what the view is for.
  public var score: String?
  /// Heads that the Heads view shows; nil: all.
  public var filter: NumberFilter?
  /// What view 2 shows in place of pictures.
  public var costs = Costs.off
  /// Methods that view 2 shows side by side on the head, as `MethodGallery` reads them; nil: heads.
  public var gallery: String?
  /// What stands beside the map.
  public var strip = Strip.off
  /// Keys that are marked; nil: none.
  public var selection: KeySelection?
  /// What view 6 shows on the right; nil is the next head.
  public var other: Counterpart?
  /// Which masks views 4 and 6 lay over one another; nil: none.
  public var overlap: OverlapRequest.Along?
  /// What sharing a mask must keep of a layer's mass, in 0...1.
  public var recall = 0.95
  /// The share of 64x64 tiles at which all methods are laid side by side, over any view; nil: they
  /// are not.
  public var budget: Double?
  /// The line of that overlay that is chosen.
  var budgetRow = 0

  /// All of the first head, the cursor at the last query and the first key.
  public init(_ source: SourceDescription) {
    head.source = source.index
    window = MapWindow(queries: 0..<source.queries, keys: 0..<source.keys)
    // A live source begins with nothing; what it will hold is a map with many rows.
    spec = source.storedTile ?? .standard(queries: source.live == nil ? source.queries : 2)
    query = source.queries - 1
    key = 0
  }
}

/// For keys that cycle through choices.
extension CaseIterable where Self: Equatable, AllCases == [Self] {
  /// The next case, the first after the last.
  var following: Self {
    let all = Self.allCases
    return all[(all.firstIndex(of: self)! + 1) % all.count]
  }
}
