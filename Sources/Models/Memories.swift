import Attention
import Tensors

/// What a method remembers of the query heads of one KV head.
///
/// `@unchecked Sendable`: one thread at a time attends for a group.
final class GroupMemory: @unchecked Sendable {
  /// `[heads]`
  var heads: [any RowMemory]

  /// Takes them as they are.
  init(_ heads: [any RowMemory]) { self.heads = heads }
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
          (0..<config.groupSize).compactMap { _ in plan.prefill.memory(prompt: promptTokens) })
      }
    }
  }

  /// Another method from here on: its memories are made by replaying all rows over the record of
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
      for slot in memory.heads.indices {
        let head = kv * config.groupSize + slot
        guard let query = record.tensor(LayerIndex(layer), head: head, 0..<count) else { continue }
        let past = Head(query: query, cached: caches[layer][kv].prefix(count), offset: 0)
        _ = try? memory.heads[slot].take(past, run)
      }
    }
    memories = fresh
  }

  /// The memories as they are, to go back to.
  var remembered: [[[any RowMemory]]] { memories.map { $0.map(\.heads) } }

  /// Goes back to what `remembered` said.
  func restore(_ past: [[[any RowMemory]]]) {
    for (layer, groups) in past.enumerated() {
      for (kv, heads) in groups.enumerated() { memories[layer][kv].heads = heads }
    }
  }

  /// Attention of one group, which goes on from what its memory holds. Nil when the method gave up.
  func attend(
    _ method: any EngineMethod, _ group: HeadGroup, layer: Int, kv: Int, threads: ComputeThreads,
    _ trace: inout Trace
  ) -> [[Float]]? {
    var context = AttentionState(threads: threads, precision: .float)
    let memory = memories.isEmpty ? nil : memories[layer][kv]
    if let memory { swap(&context.memories, &memory.heads) }
    defer { if let memory { swap(&context.memories, &memory.heads) } }
    return method.attend(group, state: &context, trace: &trace)
  }
}
