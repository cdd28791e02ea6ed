public import Analysis
public import Attention

/// H2O, heavy hitters: keys that gathered the most attention so far stay, and the last ones.
///
/// Every key sums the weights it got from the queries it lived to see. When the cache is full the
/// key with the smallest sum goes, the last `recent` share of the cache excepted; ties to the lower
/// key. Paper: Zhang et al., "H2O", NeurIPS 2023, arXiv 2306.14048 (half heavy, half recent). A key
/// that came late had less time to gather: that is the method's known bias. Findings: those of
/// every mask, `alive`, `lived`, `first_kept`, and the series `gathered` along keys. Cost n cache,
/// and the pattern.
public struct H2O: ReplayedMask {
  static let recent = Knob(
    "recent", "share of the cache for the last keys", 0...1, standard: 0.5, step: .add(0.1))

  public static let card = MethodCard(
    id: "h2o", title: "H2O", family: "eviction",
    idea: "Evict the key that gathered the least attention so far, never the last ones.",
    source: "Zhang et al., H2O, NeurIPS 2023, arXiv 2306.14048",
    knobs: [Eviction.knob.facts, recent.facts, Budget.knob.facts], mainField: "kept",
    mainNumber: "recall_mean", denseKnobs: Eviction.dense,
    growth: .wholeMap)

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for knobs that are unknown or out of range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// What is kept of a head. Throws `Missing`, `CancellationError`.
  public func keep(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> KeptSet {
    var cache = cache(Eviction.size(knobs, keys: head.keys, &aside))
    let set = try Eviction.keep(head, &cache, run, &aside)
    aside.findings.series(
      "gathered", Axis(.key, head.keys), cache.policy.sums(head.keys), .none,
      title: "attention a key gathered")
    return set
  }

  /// What the rows before leave behind, for engines; nil where nothing is to be remembered.
  public func memory(prompt: Int) -> (any RowMemory)? {
    cache(Eviction.size(knobs, prompt: prompt))
  }

  /// An empty cache of so many keys.
  private func cache(_ size: Int) -> Eviction.Cache<Gathered> {
    let recent = Int((Double(size) * knobs[Self.recent]).rounded())
    return Eviction.Cache(size: size, recent: recent, Gathered())
  }

  /// Sums of weights by key.
  private struct Gathered: Eviction.Policy {
    static let wantsWeights = true
    /// `[keys]`, of those that came.
    private var sums: [Double] = []

    /// `[keys]`, 0 for those that no row sees.
    func sums(_ keys: Int) -> [Float] {
      sums.map(Float.init) + [Float](repeating: 0, count: keys - sums.count)
    }

    mutating func meet(_ keys: Range<Int>, of head: Head) {
      sums += repeatElement(0, count: keys.count)
    }

    mutating func see(_ living: [Int], _ weights: [Double]) {
      for (key, weight) in zip(living, weights) { sums[key] += weight }
    }

    func victim(_ living: [Int], open: Int) -> Int {
      (0..<open).min { sums[living[$0]] < sums[living[$1]] } ?? 0
    }
  }
}
