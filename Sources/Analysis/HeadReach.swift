/// How far back a head looks, and how much of it goes where two known kinds of heads look: to the
/// token before, and to what followed the same token earlier.
///
/// Example: `summary.reach?.induction` near 1 is an induction head. The catch: in ordinary text
/// common tokens repeat everywhere; compare heads of one text, or use one that is repeated whole.
/// Source: Olsson and others, "In-context Learning and Induction Heads", 2022, arXiv 2209.11895,
/// which calls the score prefix matching.
public struct HeadReach: Sendable, Equatable {
  /// Mean distance between a query and what it attends to, in tokens.
  public let meanDistance: Double
  /// Mean attention on the token right before the query's; nil where no row sees one.
  public let previousToken: Double?
  /// Mean attention on tokens that followed an earlier copy of the query's token, over the rows
  /// that have one; nil without tokens or without a copy.
  public let induction: Double?
  /// Rows that `induction` was read from.
  public let inductionRows: Int
  /// Shares of the attention by distance: element 0 at the query's own token, element i at 2^(i-1)
  /// to 2^i - 1 tokens away, `[1 + log2 of the farthest]`; sums to 1.
  public let profile: [Double]

  /// The distances of an element of `profile`, in tokens.
  public static func distances(_ element: Int) -> ClosedRange<Int> {
    element == 0 ? 0...0 : 1 << (element - 1)...(1 << element) - 1
  }
}

/// The sums behind a `HeadReach`, of some rows; those of several strips are added.
struct ReachSums: Sendable {
  /// Sum of distances weighted by attention, in tokens.
  private var distance = 0.0
  /// Attention by distance, `[elements of the profile]`.
  private var profile: [Double]
  private var rows = 0
  private var previous = 0.0, previousRows = 0
  private var induction = 0.0, inductionRows = 0

  /// Of a head with so many keys.
  init(keys: Int) {
    let bits = keys < 2 ? 0 : Int.bitWidth - (keys - 1).leadingZeroBitCount
    profile = [Double](repeating: 0, count: bits + 1)
  }

  /// A row of weights `[keys]` of the query at `position`, which sees keys from `first` on;
  /// `followers` are keys that followed an earlier copy of its token, nil where tokens are not
  /// known.
  mutating func add(
    _ row: UnsafeBufferPointer<Float>, position: Int, first: Int, followers: ArraySlice<Int>?
  ) {
    rows += 1
    for element in profile.indices {
      let away = HeadReach.distances(element)
      let isLast = element == profile.count - 1
      let near = position - away.lowerBound + 1, far = position + max(away.lowerBound, 1)
      let back = (isLast ? min(0, near) : position - away.upperBound)..<near
      let ahead = far..<(isLast ? max(row.count, far) : max(position + away.upperBound + 1, far))
      for keys in [back, ahead] where !keys.isEmpty { add(row, keys, position, element) }
    }
    if position > first, row.indices.contains(position - 1) {
      previous += Double(row[position - 1])
      previousRows += 1
    }
    guard let followers, !followers.isEmpty else { return }
    inductionRows += 1
    for key in followers where row.indices.contains(key) { induction += Double(row[key]) }
  }

  /// The weights of some keys, all within one element of the profile.
  private mutating func add(
    _ row: UnsafeBufferPointer<Float>, _ keys: Range<Int>, _ position: Int, _ element: Int
  ) {
    var mass = 0.0, moment = 0.0
    for key in keys.clamped(to: 0..<row.count) {
      mass += Double(row[key])
      moment += Double(row[key]) * Double(abs(position - key))
    }
    profile[element] += mass
    distance += moment
  }

  /// Of both.
  mutating func add(_ other: ReachSums) {
    distance += other.distance
    for element in profile.indices { profile[element] += other.profile[element] }
    rows += other.rows
    previous += other.previous
    previousRows += other.previousRows
    induction += other.induction
    inductionRows += other.inductionRows
  }

  /// The means; nil where no row has weights.
  var reach: HeadReach? {
    let mass = profile.reduce(0, +)
    guard rows > 0, mass > 0 else { return nil }
    return HeadReach(
      meanDistance: distance / mass,
      previousToken: previousRows > 0 ? previous / Double(previousRows) : nil,
      induction: inductionRows > 0 ? induction / Double(inductionRows) : nil,
      inductionRows: inductionRows, profile: profile.map { $0 / mass })
  }
}

/// Where equal tokens stand, and what followed them.
struct TokenCopies: Sendable {
  /// `[tokens]`, the number of each token's text.
  private let ids: [Int]
  /// For each number the places behind its tokens, ascending.
  private let behind: [[Int]]

  /// Nil where there are fewer texts than `keys`.
  init?(_ texts: [String], keys: Int) {
    guard keys > 0, texts.count >= keys else { return nil }
    var numbers: [String: Int] = [:], ids: [Int] = [], behind: [[Int]] = []
    for (place, text) in texts.prefix(keys).enumerated() {
      let id = numbers[text] ?? behind.count
      if id == behind.count {
        numbers[text] = id
        behind.append([])
      }
      ids.append(id)
      behind[id].append(place + 1)
    }
    (self.ids, self.behind) = (ids, behind)
  }

  /// Keys that followed a copy of the token at `position`, before that token itself and behind key
  /// `first`; nil for a position without a token.
  func followers(_ position: Int, from first: Int) -> ArraySlice<Int>? {
    guard ids.indices.contains(position) else { return nil }
    return behind[ids[position]].prefix { $0 < position }.drop { $0 <= first }
  }
}
