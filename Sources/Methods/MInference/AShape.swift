public import Attention

/// MInference 1.0, A-shape: the first tokens and a local window.
///
/// Keep (i, j) <=> j < initial or 0 <= i - j < local. No search. Paper: Jiang et al., "MInference 1.0", 2024, arXiv
/// 2407.02490 (card 1). Budgets are the paper's (1024, 4096), scaled from 128k unless `budget` is `paper`.
public struct AShape: AttentionMethod {
  public static let card = MethodCard(
    id: "a-shape", title: "A-shape", family: "minference",
    idea: "Keep the first tokens (where sinks are) and a window of recent ones.",
    citation: "Jiang et al., MInference 1.0, 2024, arXiv 2407.02490",
    knobs: [
      Knob("initial", "first tokens kept", .integer(0...1 << 30), standard: .number(1024)),
      Knob("local", "recent tokens kept", .integer(1...1 << 30), standard: .number(4096)),
      MInference.budgetKnob,
    ], denseKnobs: ["initial": .number(Double(1 << 30)), "budget": .word("paper")])

  private let knobs: CheckedKnobs

  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  public func attend(_ group: HeadGroup, state: inout AttentionState, trace: inout Trace)
    -> [[Float]]?
  {
    let budget = MInference.Budget(knobs, keys: group.keys)
    let sets = group.heads.map { head in
      Shapes.aShape(
        head, initial: min(budget.tokens(knobs.integer("initial")), group.keys),
        local: min(budget.tokens(knobs.integer("local")), group.keys))
    }
    return MInference.attend(group, sets, state, &trace)
  }
}

/// What the three shapes share.
enum MInference {
  static let reference = 128 * 1024
  static let block = 64

  static let budgetKnob = Knob(
    "budget", "the paper's numbers as they are, or scaled from 128k tokens to this map",
    .words(["scaled", "paper"]),
    standard: .word("scaled"))

  struct Budget {
    let isScaled: Bool
    let keys: Int

    init(_ knobs: CheckedKnobs, keys: Int) {
      isScaled = knobs.word("budget") == "scaled"
      self.keys = keys
    }

    func tokens(_ count: Int) -> Int {
      isScaled && count > 0 ? Scaled.tokens(count, n: keys, reference: MInference.reference) : count
    }
  }

  static func attend(
    _ group: HeadGroup, _ sets: [KeptSet], _ state: AttentionState, _ trace: inout Trace
  )
    -> [[Float]]?
  {
    let output = attendByTiles(
      group, TileSpec(rows: block, keys: block), .kept(sets), state, &trace)
    trace.keptSets = sets
    return output
  }
}
