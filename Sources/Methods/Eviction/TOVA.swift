public import Analysis
public import Attention

/// TOVA, token omission via attention: the key that the newest query looks at least goes.
///
/// No sums and no protected keys: when the cache is full, the smallest weight of the current row
/// decides; ties to the lower key. Paper: Oren et al., "Transformers are Multi-State RNNs", EMNLP
/// 2024, arXiv 2401.06104. The paper averages the weights over the heads of a layer; here each head
/// decides for itself. Findings: those of every mask, `alive`, `lived`, `first_kept`. Cost n cache,
/// and the pattern.
public struct TOVA: ReplayedMask {
  public static let card = MethodCard(
    id: "tova", title: "TOVA", family: "eviction",
    idea: "Evict the key that the newest query looks at least.",
    source: "Oren et al., Transformers are Multi-State RNNs, 2024, arXiv 2401.06104",
    knobs: [Eviction.knob.facts, Budget.knob.facts],
    fidelity: .proxy("each head decides alone; the paper averages a layer's heads"),
    mainField: "kept", mainNumber: "recall_mean", denseKnobs: Eviction.dense,
    growth: .wholeMap)

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for knobs that are unknown or out of range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// What is kept of a head. Throws `Missing`, `CancellationError`.
  public func keep(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> KeptSet {
    let size = Eviction.size(knobs, keys: head.keys, &aside)
    var cache = Eviction.Cache(size: size, recent: 0, Newest())
    return try Eviction.keep(head, &cache, run, &aside)
  }

  /// What the rows before leave behind, for engines; nil where nothing is to be remembered.
  public func memory(prompt: Int) -> (any RowMemory)? {
    Eviction.Cache(size: Eviction.size(knobs, prompt: prompt), recent: 0, Newest())
  }

  /// The weights of the newest row, which lose an entry with every victim.
  private struct Newest: Eviction.Policy {
    static let wantsWeights = true
    var weights: [Double] = []

    func meet(_ keys: Range<Int>, of head: Head) {}

    mutating func see(_ living: [Int], _ weights: [Double]) { self.weights = weights }

    mutating func victim(_ living: [Int], open: Int) -> Int {
      let index = (0..<open).min { weights[$0] < weights[$1] } ?? 0
      weights.remove(at: index)
      return index
    }
  }
}
