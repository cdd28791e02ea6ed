import Analysis
import Attention
import Methods
import Sessions

/// What any method of the library does to one head, for comparisons.
extension HeadAnswers {
  func method(
    _ name: String, _ head: Head, _ spec: TileSpec, _ lambda: Lambda,
    _ group: () -> (HeadGroup, slot: Int)?
  ) throws -> Answer? {
    guard let type = Registry.method(name) else {
      let known = Registry.methods.map { $0.card.id }.joined(separator: ", ")
      return .unavailable("there is no method '\(name)'; there are \(known)")
    }
    guard !head.isLong else { return .unavailable("methods are compared on shorter heads only") }
    let (heads, slot) = (spec.vote == .group ? group() : nil) ?? (HeadGroup([head]), 0)
    let knobs = name == BLASST.card.id ? BLASST.knobs(spec, lambda: lambda.value) : [:]
    var state = AttentionState()
    var trace = Trace()
    let outputs = try type.init(knobs: knobs).attend(heads, state: &state, trace: &trace) ?? []
    guard trace.masks.indices.contains(slot) else { return .unavailable("\(name) gave no mask") }
    let mask = trace.masks[slot], member = heads.heads[slot]
    let table = BlockTable(
      storedMask: mask.verdicts.map(\.rawValue), margins: nil, spec: mask.spec,
      queries: head.queries, keys: head.keys)
    var dropped: (mean: Double, max: Double)?
    if trace.keptSets.indices.contains(slot) {
      dropped = Recall.dropped(member, trace.keptSets[slot])
    } else if name == BLASST.card.id {
      dropped = TilePass(heads, keysPerTile: spec.keys).tables(spec, lambda: lambda.value)?[slot]
        .droppedMass(lambda)
    } else if mask.verdicts.allSatisfy({ $0 != .skipped }) {
      dropped = (0, 0)
    }
    var error: OutputError?
    if head.value != nil, outputs.indices.contains(slot),
      let dense = TilePass(heads, keysPerTile: spec.keys, withValues: true).forward(
        spec, .blasst(lambda: 0))
    {
      error = OutputError(dense: dense[slot].values, sparse: outputs[slot])
    }
    return .method(MethodEffect(table: table, dropped: dropped, error: error))
  }
}
