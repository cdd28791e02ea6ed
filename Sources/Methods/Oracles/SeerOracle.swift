public import Analysis
public import Attention

/// SeerAttention's teacher: the max-pooled dense map that its gate is trained to predict, read as a
/// mask.
///
/// A block's score is the largest entry of the dense pattern inside it, each row of blocks divided
/// by its sum. Keep the k blocks with the largest scores of every query block, or every block whose
/// score is at least `threshold` where that is above 0. Paper: Gao et al., "SeerAttention", 2024,
/// arXiv 2410.13276. The trained gate itself needs its weights; this is what it would say if it had
/// learned everything. Decided from the whole pattern. Findings: those of every mask and the field
/// `pooled` `[query blocks, key blocks]`. Cost n² d.
public struct SeerOracle: MaskMethod {
  static let count = Knob(
    "k", "key blocks kept a query block", 1...1 << 30, standard: 8, step: .multiply(2),
    isMain: true, aliases: ["count"])
  static let threshold = Knob(
    "threshold", "keep blocks with at least this score instead; 0 keeps the k largest", 0...1,
    standard: 0.0, step: .add(0.001))
  static let block = Knob(
    "block", "tokens of a block", 1...4096, standard: 64, step: .multiply(2), aliases: ["B"])

  public static let card = MethodCard(
    id: "seer-oracle", title: "SeerAttention's oracle", family: "oracle",
    idea: "Keep the blocks with the largest single entries: what SeerAttention's gate learns.",
    source: "Gao et al., SeerAttention, 2024, arXiv 2410.13276",
    knobs: [count.facts, threshold.facts, block.facts],
    fidelity: .proxy("the map that the gate is trained on, not the gate"), mainField: "kept",
    mainNumber: "recall_mean", denseKnobs: ["k": .number(Double(1 << 30))],
    growth: .wholeMap)

  private let knobs: CheckedKnobs

  /// Throws `KnobError` for knobs that are unknown or out of range.
  public init(knobs: Knobs) throws(KnobError) {
    self.knobs = try CheckedKnobs(knobs, for: Self.card)
  }

  /// As the knob says: a prompt is cut before its length is known.
  public var rowsTogether: Int { knobs[Self.block] }

  /// What is kept of a head. Throws `Missing`, `CancellationError`.
  public func keep(_ head: Head, _ run: MethodRun, _ aside: inout Aside) throws -> KeptSet {
    let size = knobs[Self.block], count = knobs[Self.count], least = knobs[Self.threshold]
    aside.selection = head.visibleEntries
    let pooled = try BlockMass(head, size: size, .max, run)
    var scores = [Float](repeating: .nan, count: pooled.high * pooled.wide)
    var row = 0
    let set = BlockPicks.set(head, pooled, size: size) { largest in
      let sum = largest.reduce(0, +)
      let shares = largest.map { sum > 0 ? $0 / sum : 0 }
      for (b, share) in shares.enumerated() { scores[row * pooled.wide + b] = Float(share) }
      row += 1
      guard least > 0 else { return Shapes.top(count, of: shares) }
      return shares.indices.filter { index in shares[index] >= least }
    }
    aside.findings.field(
      "pooled",
      WholeField(
        rows: Axis(.block, pooled.high, span: size, tokens: head.queries),
        columns: Axis(.block, pooled.wide, span: size, tokens: head.keys), values: scores),
      .weights, title: "max-pooled map, rows sum to 1")
    return set
  }
}
