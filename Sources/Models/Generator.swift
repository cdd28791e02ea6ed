import Attention
import Glibc
public import Tensors

/// Runs a model: a prompt, then one token after another, with an attention method that may
/// change in between.
///
/// Example: `g.prefill(ids); while let step = g.choose() { ...; g.feed(step.token) }`. With a
/// shadow, the same tokens go through dense attention beside it, and every step tells how far
/// the two distributions are apart. The catch: a shadow costs a second cache and a second
/// pass. One thread at a time.
public final class Generator {
  /// What is known when a token has been chosen: about the pass that gave its distribution.
  public struct Choice: Sendable {
    /// Where the token will stand.
    public let position: Int
    /// Its number in the vocabulary.
    public let token: Int
    /// Of the token, in nats.
    public let logProbability: Double
    /// The largest logits, largest first.
    public let top: [(token: Int, logit: Float)]
    /// Blocks that the pass saw and skipped.
    public let counts: BlockCounts
    /// KL(dense
    ///
    /// this) in nats, and whether both think the same token most likely; nil without a
    /// shadow.
    public let divergence: Double?
    /// Whether the dense pass has the same most likely token; nil without a shadow.
    public let agrees: Bool?
    /// How long the pass took, the shadow's left out.
    public let seconds: Double
  }

  /// What runs; shared by branches.
  public let model: LanguageModel
  /// The cache, tokens and logits of the run itself.
  public let state: RunState
  /// The same for dense attention, when one runs beside.
  public private(set) var shadow: RunState?
  /// Which methods attend; `attend` changes it.
  public private(set) var plan: AttentionPlan
  /// How the next token is chosen; may change at any time, since it has no memory.
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

  /// A generator of its own that has seen the first `count` tokens of another. Caches are
  /// copied; the logits are unknown until it is fed something. A method that remembers rows has
  /// them replayed over `record`, the queries of the other; throws `ModelError` when they are not
  /// there.
  public init(
    branching other: Generator, at count: Int, plan: AttentionPlan, record: QueryRecord? = nil
  ) throws {
    (model, self.plan, sampler, dense) = (other.model, plan, other.sampler, other.dense)
    threads = other.threads
    state = RunState(copying: other.state, count: count)
    shadow = other.shadow.map { RunState(copying: $0, count: count) }
    try state.replay(plan, record, threads: threads)
  }

  /// Another plan from the next pass on; what is in the cache stays. A method that remembers rows
  /// has them replayed over `record`, the queries of this run. Throws `ModelError` when they are
  /// not there; the old plan stays then.
  public func attend(_ plan: AttentionPlan, record: QueryRecord? = nil) throws {
    try state.replay(plan, record, threads: threads)
    self.plan = plan
  }

  /// Positions left before the model's limit.
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

  /// The next token, from the logits of the last pass; nil before the first. Chooses and does
  /// not feed: the same question has the same answer until `feed`. `topCount` is how many
  /// candidates the choice lists.
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

/// Seconds of a clock that never goes back.
private func now() -> Double {
  var time = timespec()
  clock_gettime(CLOCK_MONOTONIC, &time)
  return Double(time.tv_sec) + 1e-9 * Double(time.tv_nsec)
}
