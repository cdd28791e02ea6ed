public import Tensors

/// Which keys a query may see.
///
/// Causal rows are aligned bottom-right: query row r has position `r + offset` and sees keys
/// `0...position`, with offset = keys - queries unless told otherwise (chunked prefill, decode
/// rows).
///
/// Example: 4 queries against 10 keys have offset 6: query row 0 stands at position 6 and sees 7
/// keys.
public struct Visibility: Sendable, Hashable {
  /// A query sees no key behind its own position.
  public let causal: Bool
  /// Keys before the first query, in tokens; between `-queries` and `keys`.
  public let offset: Int
  /// Keys in all, in tokens.
  public let keys: Int
  /// The first key that each query sees `[queries]`, where it is not key 0: padding, windows,
  /// packed sequences. Never falls from one row to the next. A row whose first key lies beyond its
  /// last sees nothing.
  public let firsts: [Int]?
  /// How many leading keys each query sees at most `[queries]`, where that is neither its position
  /// nor all: windows and packed sequences that look ahead. Never falls from one row to the next.
  public let lasts: [Int]?

  /// `queries` rows against `keys` keys; `offset` in tokens, `keys - queries` unless given. One
  /// beyond what any row could tell apart is moved to the nearest that is not.
  public init(
    causal: Bool, queries: Int, keys: Int, offset: Int? = nil, firsts: [Int]? = nil,
    lasts: [Int]? = nil
  ) {
    self.causal = causal
    self.keys = keys
    (self.firsts, self.lasts) = (firsts, lasts)
    // Beyond these every row sees nothing, or everything; arrays are sized by positions.
    self.offset = min(max(offset ?? keys - queries, -queries), keys)
  }

  /// How many leading keys query `row` sees; 0 when it sees none.
  public func limit(row: Int) -> Int {
    var limit = causal ? min(keys, max(0, row + offset + 1)) : keys
    if let lasts, lasts.indices.contains(row) { limit = min(limit, max(0, lasts[row])) }
    guard let firsts, firsts.indices.contains(row) else { return limit }
    return firsts[row] < limit ? limit : 0
  }

  /// The first key that query `row` may see; scores before it are -infinity.
  public func first(row: Int) -> Int {
    guard let firsts, firsts.indices.contains(row) else { return 0 }
    return firsts[row]
  }

  /// How many keys query `row` sees.
  public func count(row: Int) -> Int { max(0, limit(row: row) - first(row: row)) }

  /// Tiles of `width` keys between the first key and the last that some of `rows` sees; none where
  /// they see nothing.
  public func tiles(_ rows: Range<Int>, width: Int) -> Range<Int> {
    let seeing = rows.filter { limit(row: $0) > 0 }
    let low = seeing.first.map { first(row: $0) } ?? 0
    let high = seeing.reduce(low) { max($0, limit(row: $1)) }
    return low / width..<(high + width - 1) / width
  }

  /// The position of a query row among the keys.
  public func position(row: Int) -> Int { row + offset }
}

/// One query head: queries and the keys they attend to, or a stored map of them.
///
/// Scores are `scale * q k^T` (scale = 1/sqrt(d) unless given); they are computed when asked for
/// and never stored. From a stored pattern p the score is log p, which differs from the true score
/// by a constant per row, so margins, masks and masses come out the same; only outputs need V.
///
/// Example: `Head(query: q, key: k, value: v, causal: true)`. The catch: a stored pattern that
/// holds zeros gives scores of -infinity there, and rows that do not sum to 1 are renormalised by
/// every reader. Memory: none of its own, tensors are shared views.
public struct Head: Sendable {
  /// Where the scores of a head come from.
  public enum Source: Sendable {
    /// query `[queries, d]`, key `[keys, d]`, value `[keys, dv]` or nil
    case projections(query: Tensor, key: Tensor, value: Tensor?)
    /// query `[queries, d]` against the cache of a running engine
    case cached(query: Tensor, CachedKeys)
    /// `[queries, keys]`, after softmax
    case pattern(Tensor)
    /// `[queries, keys]`, before softmax
    case scores(Tensor)
  }

  /// The arrays behind the head.
  public let source: Source
  /// Which keys each query may see.
  public let visibility: Visibility
  /// Query rows, in tokens.
  public let queries: Int
  /// What dot products are multiplied with; 1 for stored maps.
  public let scale: Double

  /// V beside stored scores; the other sources have their own.
  private let valueBeside: Tensor?

  /// Keys, in tokens.
  public var keys: Int { visibility.keys }

  /// Q `[queries, d]`, K `[keys, d]` and V `[keys, dv]`; `offset` in tokens as in `Visibility`, and
  /// `scale` 1/sqrt(d) unless given.
  public init(
    query: Tensor, key: Tensor, value: Tensor?, causal: Bool, offset: Int? = nil,
    scale: Double? = nil
  ) {
    source = .projections(query: query, key: key, value: value)
    valueBeside = nil
    queries = query.shape[0]
    visibility = Visibility(causal: causal, queries: queries, keys: key.shape[0], offset: offset)
    self.scale = scale ?? 1 / Double(max(query.shape[1], 1)).squareRoot()
  }

  /// The last `queries` positions of a cache, or those from `offset` on.
  public init(query: Tensor, cached: CachedKeys, offset: Int? = nil) {
    source = .cached(query: query, cached)
    valueBeside = nil
    queries = query.shape[0]
    visibility = Visibility(causal: true, queries: queries, keys: cached.count, offset: offset)
    scale = 1 / Double(max(query.shape[1], 1)).squareRoot()
  }

  /// A stored map `[queries, keys]` after softmax; `firsts` and `lasts` as in `Visibility`.
  public init(
    pattern: Tensor, causal: Bool, offset: Int? = nil, firsts: [Int]? = nil, lasts: [Int]? = nil
  ) {
    self.init(map: pattern, .pattern(pattern), causal, offset, (firsts, lasts), nil)
  }

  /// A stored map `[queries, keys]` before softmax, and V `[keys, dv]` where it is known.
  public init(
    scores: Tensor, value: Tensor? = nil, causal: Bool, offset: Int? = nil, firsts: [Int]? = nil,
    lasts: [Int]? = nil
  ) {
    self.init(map: scores, .scores(scores), causal, offset, (firsts, lasts), value)
  }

  private init(
    map: Tensor, _ source: Source, _ causal: Bool, _ offset: Int?,
    _ ends: (firsts: [Int]?, lasts: [Int]?), _ value: Tensor?
  ) {
    self.source = source
    valueBeside = value
    queries = map.shape[0]
    visibility = Visibility(
      causal: causal, queries: queries, keys: map.shape[1], offset: offset, firsts: ends.firsts,
      lasts: ends.lasts)
    scale = 1
  }

  /// One query of this head, seeing what it sees here; nil for stored maps.
  public func row(_ index: Int) -> Head? {
    let limit = visibility.limit(row: index)
    switch source {
    case .projections(let query, let key, let value):
      return Head(
        query: query.slice(axis: 0, index..<index + 1), key: key.slice(axis: 0, 0..<limit),
        value: value?.slice(axis: 0, 0..<limit), causal: true, scale: scale)
    case .cached(let query, let keys):
      return Head(query: query.slice(axis: 0, index..<index + 1), cached: keys.prefix(limit))
    case .pattern, .scores: return nil
    }
  }

  /// Some of its queries against its first `keys` keys, as if nothing came after them.
  public func slice(_ rows: Range<Int>, keys count: Int) -> Head {
    let offset = visibility.offset + rows.lowerBound, causal = visibility.causal
    switch source {
    case .projections(let query, let key, let value):
      return Head(
        query: query.slice(axis: 0, rows), key: key.slice(axis: 0, 0..<count),
        value: value?.slice(axis: 0, 0..<count), causal: causal, offset: offset, scale: scale)
    case .cached(let query, let keys):
      return Head(query: query.slice(axis: 0, rows), cached: keys.prefix(count), offset: offset)
    case .pattern(let map):
      let part = map.slice(axis: 0, rows).slice(axis: 1, 0..<count)
      let (firsts, lasts) = ends(rows)
      return Head(pattern: part, causal: causal, offset: offset, firsts: firsts, lasts: lasts)
    case .scores(let map):
      let part = map.slice(axis: 0, rows).slice(axis: 1, 0..<count)
      let (firsts, lasts) = ends(rows)
      return Head(
        scores: part, value: valueBeside?.slice(axis: 0, 0..<count), causal: causal,
        offset: offset, firsts: firsts, lasts: lasts)
    }
  }

  /// Where some of its rows begin and end to see, where the visibility says it row by row.
  private func ends(_ rows: Range<Int>) -> (firsts: [Int]?, lasts: [Int]?) {
    func part(_ list: [Int], _ other: Int) -> [Int] {
      rows.map { list.indices.contains($0) ? list[$0] : other }
    }
    return (visibility.firsts.map { part($0, 0) }, visibility.lasts.map { part($0, keys) })
  }

  /// So many entries that a screen cannot wait for all of them: it shows a sample first, and says
  /// so.
  public var isLong: Bool { queries * keys >= Head.longEntries }

  /// Entries, queries times keys, from which a head is long: 2^27, a square map of some 11,600
  /// tokens.
  public static let longEntries = 1 << 27

  /// Entries that the queries see, one query after another; n (n + 1) / 2 of a causal square.
  public var visibleEntries: Int {
    (0..<queries).reduce(0) { $0 + visibility.count(row: $1) }
  }

  /// V `[keys, dv]`; nil for stored maps and where a source holds none.
  public var value: Tensor? {
    switch source {
    case .projections(_, _, let value): value
    case .cached(_, let keys): keys.valueRows
    case .pattern, .scores: valueBeside
    }
  }

  /// Queries `[queries, d]` and keys `[keys, d]`; nil for stored maps. Keys of a cache are copied.
  public var queryAndKey: (query: Tensor, key: Tensor)? {
    switch source {
    case .projections(let query, let key, _): (query, key)
    case .cached(let query, let keys): (query, keys.keyRows)
    case .pattern, .scores: nil
    }
  }

  /// Queries `[queries, d]`; nil for stored maps.
  var query: Tensor? {
    switch source {
    case .projections(let query, _, _), .cached(let query, _): query
    case .pattern, .scores: nil
    }
  }

  /// The same queries and keys, by where they lie, seen and scaled alike; false for stored maps and
  /// caches, of which that is not known.
  public func isSame(as other: Head) -> Bool {
    guard case .projections(let q, let k, _) = source,
      case .projections(let otherQ, let otherK, _) = other.source,
      let one = q.plainBytes?.baseAddress, let two = k.plainBytes?.baseAddress
    else { return false }
    return one == otherQ.plainBytes?.baseAddress && two == otherK.plainBytes?.baseAddress
      && queries == other.queries && keys == other.keys && visibility == other.visibility
      && scale == other.scale
  }

  /// Width of a query and a key; 0 for stored maps.
  public var dim: Int {
    query?.shape[1] ?? 0
  }

  /// Width of a value row; 0 without V.
  public var valueDim: Int { value?.shape[1] ?? 0 }
}

/// The query heads that share one KV head (one head in MHA, all of them in MQA): the unit that may
/// vote together.
public struct HeadGroup: Sendable {
  /// `[heads]`, at least one, all with as many queries and keys.
  public let heads: [Head]

  /// Traps for no heads, and for heads of different sides.
  public init(_ heads: [Head]) {
    precondition(!heads.isEmpty, "a head group holds at least one query head")
    precondition(
      heads.allSatisfy { $0.queries == heads[0].queries && $0.keys == heads[0].keys },
      "unequal heads")
    self.heads = heads
  }

  /// Query rows of each head, in tokens.
  public var queries: Int { heads[0].queries }
  /// Keys of each head, in tokens.
  public var keys: Int { heads[0].keys }
  /// What each head's queries may see: the first head's, since heads of a group come from one
  /// layer.
  public var visibility: Visibility { heads[0].visibility }
}
