import Attention
import Glibc
import Synchronization
public import Tensors

/// Blocks that a forward pass saw and skipped, by layer and query head.
public struct BlockCounts: Sendable, Equatable {
  public let layers: Int
  public let heads: Int
  /// [layers * heads]
  public private(set) var visible: [Int32]
  public private(set) var skipped: [Int32]

  public init(layers: Int, heads: Int) {
    (self.layers, self.heads) = (layers, heads)
    visible = [Int32](repeating: 0, count: layers * heads)
    skipped = visible
  }

  public init(layers: Int, heads: Int, visible: [Int32], skipped: [Int32]) {
    precondition(visible.count == layers * heads && skipped.count == visible.count)
    (self.layers, self.heads, self.visible, self.skipped) = (layers, heads, visible, skipped)
  }

  public var totalVisible: Int { visible.reduce(0) { $0 + Int($1) } }
  public var totalSkipped: Int { skipped.reduce(0) { $0 + Int($1) } }
  /// 0 when nothing was visible.
  public var sparsity: Double {
    totalVisible == 0 ? 0 : Double(totalSkipped) / Double(totalVisible)
  }

  public mutating func add(_ other: BlockCounts) {
    for i in visible.indices {
      visible[i] += other.visible[i]
      skipped[i] += other.skipped[i]
    }
  }

  mutating func add(layer: Int, head: Int, _ mask: BlockMask) {
    for verdict in mask.verdicts where verdict != .invisible {
      visible[layer * heads + head] += 1
      if verdict == .skipped { skipped[layer * heads + head] += 1 }
    }
  }
}

/// Runs a model: a prompt, then one token after another, with an attention method that may change in between.
///
/// Example: `try g.prefill(ids); while let step = g.choose() { ...; g.feed(step.token) }`. With a shadow, the same tokens
/// go through dense attention beside it, and every step tells how far the two distributions are apart. The catch: a
/// shadow costs a second cache and a second pass.
public final class Generator {
  /// What is known when a token has been chosen: about the pass that gave its distribution.
  public struct Choice: Sendable {
    /// Where the token will stand.
    public let position: Int
    public let token: Int
    /// Of the token, in nats.
    public let logProbability: Double
    /// The largest logits, largest first.
    public let top: [(token: Int, logit: Float)]
    public let counts: BlockCounts
    /// KL(dense || this) in nats, and whether both think the same token most likely; nil without a shadow.
    public let divergence: Double?
    public let agrees: Bool?
    public let seconds: Double
  }

  public let model: LanguageModel
  public let state: RunState
  public private(set) var shadow: RunState?
  public var plan: AttentionPlan
  public var sampler: Sampler
  /// Looks at every pass of `state`, not of the shadow.
  public weak var observer: (any ForwardObserver)?
  private let dense: AttentionPlan?
  private let threads: ComputeThreads
  private var lastCounts: BlockCounts
  private var lastSeconds = 0.0

  /// `dense` is the plan of a shadow; nil runs without.
  public init(
    _ model: LanguageModel, _ plan: AttentionPlan, sampler: Sampler = Sampler(),
    dense: AttentionPlan? = nil, threads: ComputeThreads = .shared
  ) {
    (self.model, self.plan, self.sampler, self.dense) = (model, plan, sampler, dense)
    self.threads = threads
    state = RunState(model, threads: threads)
    shadow = dense.map { _ in RunState(model, threads: threads) }
    lastCounts = BlockCounts(layers: model.config.layers, heads: model.config.heads)
  }

  /// A generator of its own that has seen the first `count` tokens of another.
  public init(branching other: Generator, at count: Int, plan: AttentionPlan) {
    (model, self.plan, sampler, dense) = (other.model, plan, other.sampler, other.dense)
    threads = other.threads
    state = RunState(copying: other.state, count: count)
    shadow = other.shadow.map { RunState(copying: $0, count: count) }
    lastCounts = BlockCounts(layers: model.config.layers, heads: model.config.heads)
  }

  public var room: Int { state.room }

  /// Feeds a prompt. False when cancelled; the state then holds whole blocks of it.
  @discardableResult
  public func prefill(
    _ tokens: some Collection<Int>, isCancelled: @escaping @Sendable () -> Bool = { false }
  ) -> Bool {
    let watch = Watch(model.config, observer)
    let start = now()
    guard
      model.prefill(
        tokens, state, plan, observer: watch, threads: threads, isCancelled: isCancelled)
    else { return false }
    (lastSeconds, lastCounts) = (now() - start, watch.counts)
    if let shadow, let dense {
      return model.prefill(tokens, shadow, dense, threads: threads, isCancelled: isCancelled)
    }
    return true
  }

  /// Feeds one token.
  public func feed(_ token: Int) {
    let watch = Watch(model.config, observer)
    let start = now()
    model.decode(token, state, plan, observer: watch)
    (lastSeconds, lastCounts) = (now() - start, watch.counts)
    if let shadow, let dense { model.decode(token, shadow, dense) }
  }

  /// The next token, from the logits of the last pass; nil before the first.
  public func choose(topCount: Int = 5) -> Choice? {
    guard !state.logits.isEmpty else { return nil }
    return describe(sampler.choose(state.logits, position: state.count), topCount)
  }

  /// What would be said of `token` if it came next.
  public func describe(_ token: Int, _ topCount: Int = 5) -> Choice {
    let logits = state.logits
    let total = logits.withUnsafeBufferPointer(logSumExp)
    let best = top(logits, max(topCount, 1))
    var apart: Double?, agrees: Bool?
    if let shadow, shadow.logits.count == logits.count {
      apart = Models.divergence(shadow.logits, from: logits)
      agrees = Models.top(shadow.logits, 1)[0] == best[0]
    }
    return Choice(
      position: state.count, token: token, logProbability: Double(logits[token]) - total,
      top: best.map { ($0, logits[$0]) }, counts: lastCounts, divergence: apart, agrees: agrees,
      seconds: lastSeconds)
  }
}

/// Counts blocks, and passes everything on.
private final class Watch: ForwardObserver {
  /// KV heads of a layer are attended on several threads.
  private let all: Mutex<BlockCounts>
  private let next: (any ForwardObserver)?
  private let groupSize: Int

  var counts: BlockCounts { all.withLock { $0 } }

  init(_ config: ModelConfig, _ next: (any ForwardObserver)?) {
    all = Mutex(BlockCounts(layers: config.layers, heads: config.heads))
    groupSize = config.groupSize
    self.next = next
  }

  func queries(_ layer: Int, _ positions: Range<Int>, _ rows: UnsafePointer<Float>) {
    next?.queries(layer, positions, rows)
  }

  func attended(_ layer: Int, kv: Int, _ positions: Range<Int>, _ trace: Trace) {
    all.withLock { counts in
      for (slot, mask) in trace.masks.enumerated() {
        counts.add(layer: layer, head: kv * groupSize + slot, mask)
      }
    }
    next?.attended(layer, kv: kv, positions, trace)
  }

  func finished(_ layer: Int, _ positions: Range<Int>) { next?.finished(layer, positions) }
}

private func now() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Double(time.tv_sec) + 1e-9 * Double(time.tv_nsec)
}
