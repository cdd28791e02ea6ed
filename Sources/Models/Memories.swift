import Attention
import Tensors

/// What the methods of a plan remember of the query heads of one KV head.
///
/// `@unchecked Sendable`: one thread at a time attends for a group.
final class GroupMemory: @unchecked Sendable {
  /// `[methods][heads]`, in the order of the plan's `remembering`.
  var methods: [[any RowMemory]]

  /// Takes them as they are.
  init(_ methods: [[any RowMemory]]) { self.methods = methods }

  /// Tells one method of rows that another attended. False when it was cancelled or lacks
  /// something.
  func tell(_ method: Int, _ group: HeadGroup, _ run: MethodRun) -> Bool {
    var told = methods[method]
    for (slot, head) in group.heads.enumerated() {
      guard (try? told[slot].take(head.recorded, run)) != nil else { return false }
    }
    methods[method] = told
    return true
  }
}

/// Memories begin with the first row and go on row by row; where a method comes in later they are
/// replayed.
extension RunState {
  /// Before the first of `count` rows: fresh memories where the plan remembers. Traps when rows
  /// went by that nobody remembers; `replay` tells them.
  func begin(_ plan: AttentionPlan, rows count: Int) {
    if self.count == 0 {
      promptTokens = count
      memories = plan.isRemembering ? fresh(plan) : []
    }
    precondition(memories.isEmpty != plan.isRemembering, "the method knows nothing of the past")
  }

  /// Memories that have seen nothing, `[layers][kvHeads]`.
  private func fresh(_ plan: AttentionPlan) -> [[GroupMemory]] {
    let config = model.config
    return (0..<config.layers).map { _ in
      (0..<config.kvHeads).map { _ in
        GroupMemory(
          plan.remembering.map { phase in
            (0..<config.groupSize).compactMap { _ in plan[phase].memory(prompt: promptTokens) }
          })
      }
    }
  }

  /// Other methods from here on: their memories are made by replaying all rows over the record of
  /// queries and the caches. Throws `ModelError` when some of the queries are not there any more.
  ///
  /// Cost: a row of the pattern for every token and head, that is the attention of a prompt of so
  /// many tokens, for methods that look at weights; less for others, nothing for those that
  /// remember nothing.
  func replay(_ plan: AttentionPlan, _ record: QueryRecord?, threads: ComputeThreads) throws {
    guard plan.isRemembering, count > 0 else {
      memories = []
      return
    }
    let config = model.config, count = count
    guard let record,
      (0..<config.layers).allSatisfy({
        let known = record.positions(LayerIndex($0))
        return known.lowerBound == 0 && known.upperBound >= count
      })
    else {
      throw ModelError(
        .badSetting,
        "the method depends on all rows before, and the queries of some were not kept",
        place: "attention")
    }
    let fresh = fresh(plan), caches = caches.map { $0.map(\.snapshot) }
    threads.forEach(0..<config.layers * config.kvHeads, isCancelled: { false }) { item in
      let layer = item / config.kvHeads, kv = item % config.kvHeads
      let memory = fresh[layer][kv],
        run = MethodRun(
          threads: .callerOnly, precision: .float, wantsNumbers: false, isCancelled: { false })
      for slot in 0..<config.groupSize {
        let head = kv * config.groupSize + slot
        guard let query = record.tensor(LayerIndex(layer), head: head, 0..<count) else { continue }
        let past = Head(query: query, cached: caches[layer][kv].prefix(count), offset: 0)
        for method in memory.methods.indices {
          _ = try? memory.methods[method][slot].take(past, run)
        }
      }
    }
    memories = fresh
  }

  /// The memories as they are, `[layers][kvHeads][methods][heads]`, to go back to.
  var remembered: [[[[any RowMemory]]]] { memories.map { $0.map(\.methods) } }

  /// Goes back to what `remembered` said.
  func restore(_ past: [[[[any RowMemory]]]]) {
    for (layer, groups) in past.enumerated() {
      for (kv, methods) in groups.enumerated() { memories[layer][kv].methods = methods }
    }
  }

  /// Attention of one group by the method of a phase, which goes on from what its memory holds; the
  /// other method's memory is told. Nil when a method gave up.
  func attend(
    _ plan: AttentionPlan, _ phase: AttentionPlan.Phase, _ group: HeadGroup, layer: Int, kv: Int,
    threads: ComputeThreads, _ trace: inout Trace
  ) -> [[Float]]? {
    var context = AttentionState(threads: threads, precision: .float)
    guard !memories.isEmpty else {
      return plan[phase].attend(group, state: &context, trace: &trace)
    }
    let memory = memories[layer][kv], own = plan.memory(of: phase)
    if let own { swap(&context.memories, &memory.methods[own]) }
    let outputs = plan[phase].attend(group, state: &context, trace: &trace)
    if let own { swap(&context.memories, &memory.methods[own]) }
    return outputs != nil && tellOthers(plan, phase, group, layer: layer, kv: kv, threads)
      ? outputs : nil
  }

  /// Some method remembers rows that the method of a phase attends without it.
  func hasListener(_ plan: AttentionPlan, _ phase: AttentionPlan.Phase) -> Bool {
    plan.remembering.count > (plan.memory(of: phase) == nil ? 0 : 1)
  }

  /// Tells the rows of a group to every memory but that of the method which attended them. False
  /// when a method gave up.
  func tellOthers(
    _ plan: AttentionPlan, _ phase: AttentionPlan.Phase, _ group: HeadGroup, layer: Int, kv: Int,
    _ threads: ComputeThreads
  ) -> Bool {
    guard hasListener(plan, phase) else { return true }
    let run = MethodRun(AttentionState(threads: threads, precision: .float))
    let own = plan.memory(of: phase), memory = memories[layer][kv]
    return memory.methods.indices.allSatisfy { $0 == own || memory.tell($0, group, run) }
  }
}
