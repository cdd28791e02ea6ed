/// Keys that were marked: runs of tokens, ascending and apart.
///
/// Example: `KeySelection("3-9,14")?.contains(5)`; a run is written with its last key. Touching
/// runs are one.
public struct KeySelection: Sendable, Hashable, CustomStringConvertible {
  /// Ascending, with at least one key between two of them; never empty.
  public let runs: [Range<Int>]

  /// Runs in any order, overlapping or not; nil where no key is in them.
  public init?(_ runs: [Range<Int>]) {
    var joined: [Range<Int>] = []
    for run in runs.filter({ !$0.isEmpty }).sorted(by: { $0.lowerBound < $1.lowerBound }) {
      if let last = joined.last, run.lowerBound <= last.upperBound {
        joined[joined.count - 1] = last.lowerBound..<max(last.upperBound, run.upperBound)
      } else {
        joined.append(run)
      }
    }
    guard !joined.isEmpty else { return nil }
    self.runs = joined
  }

  /// Single keys, in any order.
  public init?(keys: [Int]) { self.init(keys.map { $0..<$0 + 1 }) }

  /// Reads `3-9,14`; nil for anything else, and for keys below 0.
  public init?(_ text: String) {
    var runs: [Range<Int>] = []
    for part in text.filter({ $0 != " " }).split(separator: ",", omittingEmptySubsequences: false) {
      let ends = part.split(separator: "-", omittingEmptySubsequences: false).map { Int($0) }
      guard (1...2).contains(ends.count), let low = ends[0], let high = ends[ends.count - 1],
        low >= 0, high >= low, high < Int.max
      else { return nil }
      runs.append(low..<high + 1)
    }
    self.init(runs)
  }

  /// How many keys.
  public var count: Int { runs.reduce(0) { $0 + $1.count } }

  /// The largest key.
  public var last: Int { runs[runs.count - 1].upperBound - 1 }

  /// Whether a key is selected.
  public func contains(_ key: Int) -> Bool {
    var low = 0, high = runs.count
    while low < high {
      let middle = (low + high) / 2
      if runs[middle].upperBound <= key { low = middle + 1 } else { high = middle }
    }
    return low < runs.count && runs[low].contains(key)
  }

  /// Whether any key of a range is selected.
  public func touches(_ keys: Range<Int>) -> Bool { runs.contains { $0.overlaps(keys) } }

  /// What lies within so many keys; nil where nothing does.
  public func clamped(to keys: Int) -> KeySelection? {
    KeySelection(runs.map { $0.clamped(to: 0..<max(keys, 0)) })
  }

  /// A key more, or one less where it was there; nil when none is left.
  public func toggling(_ key: Int) -> KeySelection? {
    guard contains(key) else { return KeySelection(runs + [key..<key + 1]) }
    return KeySelection(
      runs.flatMap { run in
        run.contains(key) ? [run.lowerBound..<key, key + 1..<run.upperBound] : [run]
      })
  }

  /// All keys from the nearest selected one to `key`.
  public func reaching(_ key: Int) -> KeySelection {
    let ends = runs.flatMap { [$0.lowerBound, $0.upperBound - 1] }
    let near = ends.min { abs($0 - key) < abs($1 - key) } ?? key
    return KeySelection(runs + [min(near, key)..<max(near, key) + 1]) ?? self
  }

  /// A run as it is written: `3-9`, or `14`.
  public static func text(_ run: Range<Int>) -> String {
    run.count == 1 ? "\(run.lowerBound)" : "\(run.lowerBound)-\(run.upperBound - 1)"
  }

  /// As it is typed: `3-9,14`.
  public var description: String { runs.map(Self.text).joined(separator: ",") }
}
