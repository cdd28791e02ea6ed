import Attention
import Glibc
public import Tensors

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
  }

  /// A generator of its own that has seen the first `count` tokens of another.
  public init(branching other: Generator, at count: Int, plan: AttentionPlan) {
    (model, self.plan, sampler, dense) = (other.model, plan, other.sampler, other.dense)
    threads = other.threads
    state = RunState(copying: other.state, count: count)
    shadow = other.shadow.map { RunState(copying: $0, count: count) }
  }

  public var room: Int { state.room }
  /// Of the last pass: how long it took, and which blocks it saw.
  public var lastPass: (seconds: Double, counts: BlockCounts) { (lastSeconds, state.counts) }

  /// Feeds a prompt. False when cancelled; the state then holds whole blocks of it.
  @discardableResult
  public func prefill(
    _ tokens: some Collection<Int>, isCancelled: @escaping @Sendable () -> Bool = { false }
  ) -> Bool {
    let start = now()
    guard
      model.prefill(
        tokens, state, plan, observer: observer, threads: threads, isCancelled: isCancelled)
    else { return false }
    lastSeconds = now() - start
    if let shadow, let dense {
      return model.prefill(tokens, shadow, dense, threads: threads, isCancelled: isCancelled)
    }
    return true
  }

  /// Feeds one token.
  public func feed(_ token: Int) {
    let start = now()
    model.decode(token, state, plan, observer: observer)
    lastSeconds = now() - start
    if let shadow, let dense { model.decode(token, shadow, dense) }
  }

  /// The next token, from the logits of the last pass; nil before the first.
  public func choose(topCount: Int = 5) -> Choice? {
    let logits = state.logits
    guard !logits.isEmpty else { return nil }
    let token = sampler.choose(logits, position: state.count)
    let total = logits.withUnsafeBufferPointer(logSumExp)
    let best = top(logits, max(topCount, 1))
    var apart: Double?, agrees: Bool?
    if let shadow, shadow.logits.count == logits.count {
      apart = Models.divergence(shadow.logits, from: logits)
      agrees = Models.top(shadow.logits, 1)[0] == best[0]
    }
    return Choice(
      position: state.count, token: token, logProbability: Double(logits[token]) - total,
      top: best.map { ($0, logits[$0]) }, counts: state.counts, divergence: apart, agrees: agrees,
      seconds: lastSeconds)
  }
}

private func now() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Double(time.tv_sec) + 1e-9 * Double(time.tv_nsec)
}
