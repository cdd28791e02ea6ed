public import Analysis
public import Attention
import HeapModule
import Tensors

/// Key norms: keys of small length are looked at, so that long ones go.
///
/// When the cache is full the key with the largest ||k|| goes, the last `recent` excepted; ties to
/// the lower key. It needs no attention weights at all. Paper: Devoto et al., "A Simple and
/// Effective L2 Norm-Based Strategy for KV Cache Compression", EMNLP 2024, arXiv 2406.11430; it
/// leaves the first layers alone, where the relation does not hold. Findings: those of every mask,
/// `alive`, `lived`, `first_kept`, and the series `norm` along keys. Needs Q and K. Cost n log
/// cache.
public struct KeyNorm: ReplayedMask {
  static let recent = Knob("recent", "last keys that stay", 0...1 << 30, standard: 0)

  public static let card = MethodCard(
    id: "key-norm", title: "Key norms", family: "eviction",
    idea: "Evict the longest key: short ones are those that are looked at.",
    source: "Devoto et al., L2 Norm-Based KV Cache Compression, 2024, arXiv 2406.11430",
    needs: [.queryKey], knobs: [Eviction.knob.facts, recent.facts, Budget.knob.facts],
    mainField: "kept", mainNumber: "recall_mean", denseKnobs: Eviction.dense,
    growth: Growth("n · cache") { $0 * min($0, 2048) })

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for knobs that are unknown or out of range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// What is kept of a head. Throws `Missing`, `CancellationError`.
  public func keep(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> KeptSet {
    guard let (_, key) = head.queryAndKey else { throw Missing(.queryKey) }
    var cache = cache(Eviction.size(knobs, keys: head.keys, &aside))
    aside.findings.series(
      "norm", Axis(.key, head.keys), KeyVectors(key).norms.map(Float.init), .none,
      title: "length of a key")
    return try Eviction.keep(head, &cache, run, &aside)
  }

  /// What the rows before leave behind, for engines; nil where nothing is to be remembered.
  public func memory(prompt: Int) -> (any RowMemory)? {
    cache(Eviction.size(knobs, prompt: prompt))
  }

  /// An empty cache of so many keys.
  private func cache(_ size: Int) -> Eviction.Cache<Longest> {
    Eviction.Cache(size: size, recent: knobs[Self.recent], Longest())
  }

  private struct Longest: Eviction.Policy {
    static let wantsWeights = false
    private var norms: [Double] = []
    private var open = OpenKeys()

    mutating func meet(_ keys: Range<Int>, of head: Head) throws {
      norms += try KeyVectors(keys, of: head).norms
    }

    func see(_ living: [Int], _ weights: [Double]) {}

    mutating func victim(_ living: [Int], open count: Int) -> Int {
      open.add(living, count) { norms[$0] }
      return open.heap.popMax().map { living.firstPlace(atLeast: $0.key) } ?? 0
    }
  }
}

/// KeyDiff: keys that are like the others go, keys that stand apart stay.
///
/// The anchor is the mean of the living keys, each divided by its length; when the cache is full
/// the key whose cosine with the anchor is largest goes, the last `recent` excepted; ties to the
/// lower key. Paper: Park et al., "KeyDiff", 2025, arXiv 2504.15364. The paper evicts after blocks
/// of tokens; here after each. Findings: those of every mask, `alive`, `lived`, `first_kept`. Needs
/// Q and K. Cost n cache d.
public struct KeyDiff: ReplayedMask {
  static let recent = Knob("recent", "last keys that stay", 0...1 << 30, standard: 0)

  public static let card = MethodCard(
    id: "keydiff", title: "KeyDiff", family: "eviction",
    idea: "Evict the key that is most like the mean of all: those that stand apart stay.",
    source: "Park et al., KeyDiff, 2025, arXiv 2504.15364", needs: [.queryKey],
    knobs: [Eviction.knob.facts, recent.facts, Budget.knob.facts], mainField: "kept",
    mainNumber: "recall_mean", denseKnobs: Eviction.dense,
    growth: Growth("n · cache") { $0 * min($0, 2048) })

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for knobs that are unknown or out of range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// What is kept of a head. Throws `Missing`, `CancellationError`.
  public func keep(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> KeptSet {
    var cache = cache(Eviction.size(knobs, keys: head.keys, &aside))
    return try Eviction.keep(head, &cache, run, &aside)
  }

  /// What the rows before leave behind, for engines; nil where nothing is to be remembered.
  public func memory(prompt: Int) -> (any RowMemory)? {
    cache(Eviction.size(knobs, prompt: prompt))
  }

  /// An empty cache of so many keys.
  private func cache(_ size: Int) -> Eviction.Cache<Likeness> {
    Eviction.Cache(size: size, recent: knobs[Self.recent], Likeness())
  }

  /// The anchor follows the living: the sum of their unit vectors, whose length all cosines share.
  ///
  /// A key's likeness moves by no more than the anchor does, so that one that was far from the
  /// largest when it was computed need not be computed again for a while.
  private struct Likeness: Eviction.Policy {
    static let wantsWeights = false
    /// `[keys * d]`
    private var units: [Double] = []
    /// `[d]`
    private var sum: [Double] = []
    private var last = -1
    /// By a bound of the likeness, from which the anchor's way up to then was taken off.
    private var open = OpenKeys()
    /// How far the anchor went altogether, a little more for rounding.
    private var way = 0.0

    mutating func meet(_ keys: Range<Int>, of head: Head) throws {
      units += try KeyVectors(keys, of: head).units.flatMap { $0 }
      if sum.isEmpty { sum = [Double](repeating: 0, count: head.dim) }
    }

    mutating func see(_ living: [Int], _ weights: [Double]) {
      for key in living[living.firstPlace(atLeast: last + 1)...] { move(key, 1) }
      last = max(last, living.last ?? -1)
    }

    private mutating func move(_ key: Int, _ sign: Double) {
      for c in sum.indices { sum[c] += sign * units[key * sum.count + c] }
      way += 1 + 1e-6
    }

    private func likeness(_ key: Int) -> Double {
      let first = key * sum.count
      return sum.indices.reduce(0) { $0 + units[first + $1] * sum[$1] }
    }

    mutating func victim(_ living: [Int], open count: Int) -> Int {
      open.add(living, count) { _ in .infinity }
      var fresh: [OpenKeys.Entry] = []
      while let top = open.heap.max, fresh.isEmpty || top.score + way >= fresh[0].score {
        open.heap.removeMax()
        fresh.append(OpenKeys.Entry(score: likeness(top.key), key: top.key))
        if fresh[0] < fresh[fresh.count - 1] { fresh.swapAt(0, fresh.count - 1) }
      }
      guard let chosen = fresh.first else { return 0 }
      for entry in fresh.dropFirst() {
        open.heap.insert(OpenKeys.Entry(score: entry.score - way, key: entry.key))
      }
      move(chosen.key, -1)
      return living.firstPlace(atLeast: chosen.key)
    }
  }
}

/// Living keys that may be evicted, the one with the largest score on top, ties to the lower key.
private struct OpenKeys {
  /// One key.
  struct Entry: Comparable {
    let score: Double
    let key: Int

    static func < (a: Entry, b: Entry) -> Bool {
      a.score != b.score ? a.score < b.score : a.key > b.key
    }
  }

  var heap = Heap<Entry>()
  private var last = -1

  /// Adds those of the first `count` living keys that are new; they never close again.
  mutating func add(_ living: [Int], _ count: Int, _ score: (Int) -> Double) {
    for key in living[min(living.firstPlace(atLeast: last + 1), count)..<count] {
      heap.insert(Entry(score: score(key), key: key))
    }
    last = max(last, living[count - 1])
  }
}

/// Keys in double precision.
struct KeyVectors {
  /// `[keys][d]`
  let rows: [[Double]]

  /// K `[keys, d]`.
  init(_ key: Tensor) {
    let dim = key.shape[1], values = key.floats()
    rows = (0..<key.shape[0]).map { row in
      values[row * dim..<(row + 1) * dim].map(Double.init)
    }
  }

  /// Some keys of a head. Throws `Missing` for stored maps.
  init(_ keys: Range<Int>, of head: Head) throws {
    guard let rows = head.keyRows(keys) else { throw Missing(.queryKey) }
    self.init(rows)
  }

  /// `[keys]`
  var norms: [Double] { rows.map { $0.reduce(0) { $0 + $1 * $1 }.squareRoot() } }

  /// `[keys][d]`, of length 1; a key of zeros stays zeros.
  var units: [[Double]] {
    zip(rows, norms).map { row, norm in norm > 0 ? row.map { $0 / norm } : row }
  }
}
