import Analysis
import Attention

/// A cache of bounded size, replayed row by row: what is evicted is gone for every later query.
///
/// At each query the new keys come in, the query attends to what is alive, and then keys leave
/// until the cache fits. The kept row is what was alive when the query attended, its own key
/// included, so that it holds one key more than the cache. Weights are those of the dense row
/// renormalised over the living, as a model that never saw the others would compute them from these
/// Q and K; what it would have computed in later layers is not known from a dump.
struct Eviction {
  /// Whom the cache loses next, of the living; `protected` ones stay.
  protocol Policy: Sendable {
    /// It decides by what queries look at; without, no row of the pattern is computed.
    static var wantsWeights: Bool { get }
    /// Keys come in, in their order. Throws `Missing` where the head has none.
    mutating func meet(_ keys: Range<Int>, of head: Head) throws
    /// Sees the weights `[living]` of a query on the living, which are ascending keys.
    mutating func see(_ living: [Int], _ weights: [Double])
    /// The index into `living` of who goes, among the first `open` of them.
    mutating func victim(_ living: [Int], open: Int) -> Int
  }

  /// A cache on its way through the rows: who lives, and what the policy knows of them. Memory: the
  /// living and the policy, whatever the length of the text.
  struct Cache<P: Policy>: RowMemory {
    /// Keys that the cache holds.
    let size: Int
    /// The last so many keys that are never evicted.
    let recent: Int
    /// Grows with the keys that it meets.
    private(set) var policy: P
    /// Ascending keys, and the first that did not come yet.
    private var living: [Int] = []
    private var next = 0

    /// An empty cache.
    init(size: Int, recent: Int, _ policy: P) {
      (self.size, self.recent, self.policy) = (size, recent, policy)
    }

    /// What was alive when each row attended. Throws `Missing`, `CancellationError`. Cost: `size`
    /// steps a row, and the pattern where the policy wants weights.
    mutating func take(_ head: Head, _ run: MethodRun) throws -> KeptSet {
      var set = KeptSet(queries: head.queries, keys: head.keys, visibility: head.visibility)
      set.keep(try rows(head, run))
      return set
    }

    /// The same as runs of keys.
    mutating func rows(_ head: Head, _ run: MethodRun) throws -> KeyRanges {
      let last = head.queries > 0 ? head.visibility.limit(row: head.queries - 1) : 0
      try policy.meet(min(next, last)..<last, of: head)
      var rows: [[Range<Int>]] = []
      rows.reserveCapacity(head.queries)
      let pattern = run.pattern(head)
      for start in stride(from: 0, to: head.queries, by: 64) {
        try run.checkCancellation()
        let part = start..<min(start + 64, head.queries)
        guard P.wantsWeights else {
          for row in part { rows.append(step(head.visibility.limit(row: row)) { _ in [] }) }
          continue
        }
        pattern.withRows(part) { row, p, _ in
          rows.append(
            step(head.visibility.limit(row: row)) { living in
              let mass = living.reduce(0.0) { $0 + Double(p[$1]) }
              return living.map { mass > 0 ? Double(p[$0]) / mass : 0 }
            })
        }
      }
      return KeyRanges(rows)
    }

    /// One query that sees the keys below `limit`: who is alive for it, before any of them goes.
    private mutating func step(_ limit: Int, _ weights: ([Int]) -> [Double]) -> [Range<Int>] {
      living += next..<max(next, limit)
      next = max(next, limit)
      policy.see(living, weights(living))
      let alive = TopPicks.runs(living)
      while living.count > size {
        let open = living.firstIndex { $0 >= next - recent } ?? living.count
        // Where the protected ones alone are too many, the oldest of them goes.
        living.remove(at: open == 0 ? 0 : policy.victim(living, open: open))
      }
      return alive
    }
  }

  /// The kept set, and what the policies report alike: living keys by query, rows lived by key, and
  /// how many of the first four keys are alive at the end.
  /// Throws `Missing` for long heads, `CancellationError`.
  static func keep(
    _ head: Head, _ cache: inout Cache<some Policy>, _ run: MethodRun, _ aside: inout Aside
  ) throws -> KeptSet {
    try RowPicks.checkLength(head)
    let ranges = try cache.rows(head, run)
    var lived = [Float](repeating: 0, count: head.keys), alive: [Float] = []
    for row in 0..<head.queries {
      let runs = ranges.runs(row: row)
      alive.append(Float(runs.reduce(0) { $0 + $1.count }))
      for run in runs { for key in run { lived[key] += 1 } }
    }
    aside.findings.series(
      "alive", Axis(.query, head.queries), alive, .count, title: "keys alive, by query")
    aside.findings.series(
      "lived", Axis(.key, head.keys), lived, .count, title: "queries that a key lived for")
    let last = ranges.runs(row: head.queries - 1)
    let first = (0..<min(4, head.keys)).filter { key in last.contains { $0.contains(key) } }
    aside.findings.number(
      "first_kept", Double(first.count), .count, title: "of the first four keys alive at the end")
    var set = KeptSet(queries: head.queries, keys: head.keys, visibility: head.visibility)
    set.keep(ranges)
    return set
  }

  /// The cache's size, which every policy has.
  static let knob = Knob(
    "cache", "keys that the cache holds", 1...1 << 30, standard: 2048, step: .multiply(2),
    isMain: true, aliases: ["size"])

  /// Nothing is evicted where the cache holds all.
  static let dense: Knobs = ["cache": .number(Double(1 << 30))]

  /// The size in force, which the note names. Sizes are scaled from 16k tokens.
  static func size(_ knobs: CheckedKnobs, keys: Int, _ aside: inout Aside) -> Int {
    let budget = Budget(knobs, of: ["cache"], keys: keys, reference: 16 * 1024)
    let size = budget.tokens(knobs[knob])
    budget.note(["cache": size], &aside)
    return size
  }

  /// The same for a run that begins with so many tokens; it has nobody to tell.
  static func size(_ knobs: CheckedKnobs, prompt: Int) -> Int {
    var aside = Aside()
    return size(knobs, keys: prompt, &aside)
  }
}
