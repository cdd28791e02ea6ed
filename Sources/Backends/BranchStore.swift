import Attention
import Models
import Sessions
import Synchronization
import Tensors

/// What is recorded of one branch: tokens, what each pass did, queries, and the keys and values in
/// their caches.
///
/// Written by the engine between passes, or by a reader of recordings; read by any thread. Rows,
/// maps and tables are computed from it when asked and never stored.
///
/// Example: `store.head(3, 5, tokens: 120)` is head 5 of layer 3 as it was after 120 tokens. The
/// catch: keys become visible only when `publish` says so, and old queries may be let go to stay
/// within the budget; `available` tells which positions have both. Memory: the queries, and a
/// snapshot of caches that the engine has anyway.
package final class BranchStore: Sendable {
  /// What the branch is, and where it left its parent.
  let branch: Branch
  /// Query rows of every layer, as far as the budget goes.
  let queries: QueryRecord
  /// What every sublayer added to the residual stream; nil where nobody tells it.
  let residuals: ResidualRecord?
  /// Query heads of a layer.
  private let heads: Int
  /// Key and value heads of a layer; divides `heads`.
  private let kvHeads: Int
  private let state: Mutex<State>

  /// What one lock guards. `steps` and `counts` grow together, a position at a time.
  private struct State: Sendable {
    /// `[tokens]`, the prompt's first.
    var steps: [Step] = []
    /// `[steps]`; nil for prompt tokens.
    var counts: [BlockCounts?] = []
    /// `[layers][kvHeads]`.
    var keys: [[CachedKeys]]
    /// Bytes of a character that no token has completed yet.
    var text = UTF8Stream()
  }

  /// An empty branch; `observer` hears of the engine's passes.
  init(
    _ branch: Branch, layers: Int, heads: Int, kvHeads: Int, queries: QueryRecord,
    residuals: ResidualRecord? = nil
  ) {
    (self.branch, self.queries, self.heads, self.kvHeads) = (branch, queries, heads, kvHeads)
    self.residuals = residuals
    state = Mutex(State(keys: [[CachedKeys]](repeating: [], count: layers)))
  }

  /// A branch that begins with the first `count` tokens of another; the last of them is read again,
  /// and the residual stream goes on from it.
  init(_ branch: Branch, copying other: BranchStore, count: Int) {
    self.branch = branch
    (heads, kvHeads) = (other.heads, other.kvHeads)
    let queries = QueryRecord(copying: other.queries, count: count)
    self.queries = queries
    residuals = other.residuals.map {
      ResidualRecord(copying: $0, beside: queries, count: count - 1)
    }
    let old = other.state.withLock { $0 }
    state = Mutex(
      State(
        steps: Array(old.steps.prefix(count)), counts: Array(old.counts.prefix(count)),
        keys: old.keys.map { layer in layer.map { $0.prefix(count) } }))
  }

  /// What the engine tells of its passes.
  var observer: any ForwardObserver {
    if let residuals { residuals } else { queries }
  }
  /// Query heads that share a KV head.
  var groupSize: Int { heads / kvHeads }
  /// Tokens of the branch.
  var count: Int { state.withLock { $0.steps.count } }

  /// The steps of some positions, as far as they are there: `[positions]`, the first at the lower
  /// bound.
  func steps(_ range: Range<Int>) -> [Step] {
    state.withLock { Array($0.steps[range.clamped(to: 0..<$0.steps.count)]) }
  }

  /// What the pass that read the token at `position` did; nil for prompt tokens and beyond the end.
  func counts(_ position: Int) -> BlockCounts? {
    state.withLock { $0.counts.indices.contains(position) ? $0.counts[position] : nil }
  }

  /// Appends a token; its text is what its bytes complete, so that a character of several tokens
  /// stands with the last of them.
  func append(_ step: Step, bytes: [UInt8], counts: BlockCounts?) {
    state.withLock { state in
      var step = step
      step.text = state.text.add(bytes)
      state.steps.append(step)
      state.counts.append(counts)
    }
  }

  /// Makes what the caches of one layer, or of all, hold visible to questions; `caches` are
  /// `[layers][kvHeads]`.
  func publish(_ caches: [[KeyCache]], layer: LayerIndex? = nil) {
    state.withLock { state in
      for at in layer.map({ $0.value..<$0.value + 1 }) ?? caches.indices {
        state.keys[at] = caches[at].map(\.snapshot)
      }
    }
  }

  /// Snapshots of the caches of a layer, `[kvHeads]`; empty before the first `publish`.
  func keys(_ layer: LayerIndex) -> [CachedKeys] { state.withLock { $0.keys[layer.value] } }

  /// Positions of a layer whose queries and keys are known, of the first `tokens`.
  func available(_ layer: LayerIndex, tokens: Int) -> Range<Int> {
    let recorded = queries.positions(layer)
    let keys = keys(layer).map(\.count).min() ?? 0
    let end = min(tokens, recorded.upperBound, keys)
    return min(recorded.lowerBound, end)..<end
  }

  /// The query heads of a KV group, up to `tokens` positions: `[groupSize]` heads of
  /// `[positions, d]` queries each.
  ///
  /// Nil when a query head is missing. `kv` is a KV head, and the group's rows begin at the first
  /// position that is available.
  func group(_ layer: LayerIndex, kv: Int, tokens: Int) -> HeadGroup? {
    let keys = keys(layer)
    let positions = available(layer, tokens: tokens)
    guard keys.indices.contains(kv), !positions.isEmpty else { return nil }
    let all = (kv * groupSize..<(kv + 1) * groupSize).compactMap { head in
      queries.tensor(layer, head: head, positions).map {
        Head(query: $0, cached: keys[kv].prefix(positions.upperBound), offset: positions.lowerBound)
      }
    }
    return all.count == groupSize ? HeadGroup(all) : nil
  }

  /// One query head of its group, under the same conditions.
  func head(_ layer: LayerIndex, _ head: Int, tokens: Int) -> Head? {
    group(layer, kv: head / groupSize, tokens: tokens)?.heads[head % groupSize]
  }
}
