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
      var rows: [[Range<Int>]] = []
      rows.reserveCapacity(head.queries)
      try replay(
        head, run, attends: { _, living in rows.append(TopPicks.runs(living)) },
        leaves: { _, _ in })
      return KeyRanges(rows)
    }

    /// Who was alive when, and the rows as runs of keys but of long heads, where they would fill
    /// the memory. The cache must be empty. Throws `Missing`, `CancellationError`.
    mutating func lives(_ head: Head, _ run: MethodRun) throws -> (Lives, KeyRanges?) {
      var lives = Lives(head), rows: [[Range<Int>]] = []
      try replay(
        head, run,
        attends: { row, living in
          lives.attend(row, living)
          if !head.isLong { rows.append(TopPicks.runs(living)) }
        }, leaves: { row, key in lives.leave(row, key) })
      return (lives, head.isLong ? nil : KeyRanges(rows))
    }

    /// The rows in order: `attends` gets a row and who is alive for it, `leaves` a row and a key
    /// that goes after it.
    private mutating func replay(
      _ head: Head, _ run: MethodRun, attends: (Int, [Int]) -> Void, leaves: (Int, Int) -> Void
    ) throws {
      let last = head.queries > 0 ? head.visibility.limit(row: head.queries - 1) : 0
      try policy.meet(min(next, last)..<last, of: head)
      let pattern = run.pattern(head)
      for start in stride(from: 0, to: head.queries, by: 64) {
        try run.checkCancellation()
        let part = start..<min(start + 64, head.queries)
        guard P.wantsWeights else {
          for row in part {
            step(head.visibility.limit(row: row), { _ in [] }, { attends(row, $0) }) {
              leaves(row, $0)
            }
          }
          continue
        }
        pattern.withRows(part) { row, p, _ in
          let weights = { (living: [Int]) -> [Double] in
            let mass = living.reduce(0.0) { $0 + Double(p[$1]) }
            return living.map { mass > 0 ? Double(p[$0]) / mass : 0 }
          }
          step(head.visibility.limit(row: row), weights, { attends(row, $0) }) { leaves(row, $0) }
        }
      }
    }

    /// One query that sees the keys below `limit`: who is alive for it, before any of them goes.
    private mutating func step(
      _ limit: Int, _ weights: ([Int]) -> [Double], _ attends: ([Int]) -> Void,
      _ leaves: (Int) -> Void
    ) {
      living += next..<max(next, limit)
      next = max(next, limit)
      policy.see(living, weights(living))
      attends(living)
      while living.count > size {
        let open = living.firstPlace(atLeast: next - recent)
        // Where the protected ones alone are too many, the oldest of them goes.
        leaves(living.remove(at: open == 0 ? 0 : policy.victim(living, open: open)))
      }
    }
  }

  /// When each key of a head was alive: from the first query that saw it to the one after which it
  /// was evicted.
  struct Lives: Sendable {
    /// `[keys]` first rows at which a key is alive, and at which it no longer is.
    private var from: [Int], to: [Int]
    /// `[queries]` keys alive when a row attends.
    private(set) var alive: [Float] = []
    private var next = 0

    /// Nobody came yet.
    init(_ head: Head) {
      from = [Int](repeating: head.queries, count: head.keys)
      to = [Int](repeating: head.queries, count: head.keys)
      alive.reserveCapacity(head.queries)
    }

    /// Keys come in their order.
    mutating func attend(_ row: Int, _ living: [Int]) {
      alive.append(Float(living.count))
      for key in living[living.firstPlace(atLeast: next)...] { from[key] = row }
      next = max(next, (living.last ?? -1) + 1)
    }

    mutating func leave(_ row: Int, _ key: Int) { to[key] = row + 1 }

    /// `[keys]` rows that each lived for.
    var lived: [Float] { zip(from, to).map { Float(max(0, $1 - $0)) } }

    func isAlive(_ key: Int, _ row: Int) -> Bool { from[key] <= row && row < to[key] }

    /// Who is alive when a row attends, as runs of keys. Cost: the keys.
    func runs(row: Int) -> [Range<Int>] {
      TopPicks.runs(from.indices.filter { isAlive($0, row) })
    }
  }

  /// The kept set, and what the policies report alike: living keys by query, rows lived by key, and
  /// how many of the first four keys are alive at the end. Of a long head kept rows are made as
  /// they are looked at.
  /// Throws `Missing`, and where a long head is to be read whole; `CancellationError`.
  static func keep(
    _ head: Head, _ cache: inout Cache<some Policy>, _ run: MethodRun, _ aside: inout Aside
  ) throws -> KeptSet {
    if head.isLong && run.isWhole { try RowPicks.checkLength(head) }
    let (lives, rows) = try cache.lives(head, run)
    aside.findings.series(
      "alive", Axis(.query, head.queries), lives.alive, .count, title: "keys alive, by query")
    aside.findings.series(
      "lived", Axis(.key, head.keys), lives.lived, .count, title: "queries that a key lived for")
    let first = (0..<min(4, head.keys)).filter { lives.isAlive($0, head.queries - 1) }
    aside.findings.number(
      "first_kept", Double(first.count), .count, title: "of the first four keys alive at the end")
    guard let rows else {
      return try RowPicks.looked(head, run, &aside) { lives.runs(row: $0) }
    }
    var set = KeptSet(queries: head.queries, keys: head.keys, visibility: head.visibility)
    set.keep(rows)
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

extension [Int] {
  /// Where the first number stands that is not below `least`, of ascending ones; the count where
  /// there is none.
  func firstPlace(atLeast least: Int) -> Int {
    var low = 0, high = count
    while low < high {
      let middle = (low + high) / 2
      if self[middle] < least { low = middle + 1 } else { high = middle }
    }
    return low
  }
}
