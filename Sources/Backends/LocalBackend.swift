import Attention
public import Methods
public import Models
public import Sessions
import Synchronization
import Tensors

/// A model that runs inside this program, looked at while it runs.
///
/// One job at a time on a compute thread feeds tokens for a few milliseconds and then lets waiting
/// questions in; between jobs it reads what it was told. Everything recorded can be asked about
/// while it goes on. Branches keep a cache of their own, so memory grows with each: see README.
///
/// Example:
/// ```
/// let backend = try LocalBackend(model, prompt: tokens, .init(attention: choice))
/// backend.start()
/// for await moment in backend.moments { ... }
/// ```
public final class LocalBackend: Backend {
  /// How a run attends, chooses and ends.
  public struct Options: Sendable {
    /// How the trunk attends at first; `Command.attend` changes it.
    public var attention: AttentionChoice
    /// How the next token is chosen.
    public var sampler: SamplerSettings
    /// Tokens to decode; the model's context bounds it in any case.
    public var maxTokens: Int
    /// Dense attention on the same tokens beside every branch.
    public var hasShadow: Bool
    /// The prompt is read, and then nothing until told.
    public var startsPaused: Bool
    /// Bytes of query rows that a branch keeps; the oldest go first.
    public var queryBudget: Int

    /// Greedy or not as `sampler` says, without a bound, a shadow or a pause.
    public init(
      attention: AttentionChoice, sampler: SamplerSettings = .init(), maxTokens: Int = .max,
      hasShadow: Bool = false, startsPaused: Bool = false,
      queryBudget: Int = QueryRecord.standardBudget
    ) {
      (self.attention, self.sampler, self.maxTokens) = (attention, sampler, maxTokens)
      (self.hasShadow, self.startsPaused, self.queryBudget) = (
        hasShadow, startsPaused, queryBudget
      )
    }
  }

  private let model: LanguageModel
  private let prompt: [Int]
  private let options: Options
  private let description: SourceDescription
  private let answers: LiveAnswers
  private let loop: EngineLoop
  private let feed = MomentFeed()
  private let shared: Mutex<Shared>

  /// What commands change and questions read.
  struct Shared: Sendable {
    var status: LiveStatus
    var stores: [BranchStore] = []
    var attention: AttentionChoice
    var breakpoints: Set<Breakpoint> = []
    var isRunning: Bool
    var stepsLeft = 0
    var isStopped = false
    var orders: [Command] = []
    /// A job is under way or about to be.
    var isBusy = false
    /// Something was said since the last turn began.
    var hasNews = false
    /// On the current branch, decode at least up to here.
    var catchUp: [Int: Int] = [:]
  }

  /// The prompt must have tokens and fit the context.
  /// Throws `ModelError` when it has none or does not fit, and `KnobError` for attention that the
  /// library cannot do. Nothing is read before `start`.
  public init(_ model: LanguageModel, prompt: [Int], _ options: Options) throws {
    (self.model, self.prompt, self.options) = (model, prompt, options)
    let config = model.config
    try model.check(prompt: prompt)
    let status = LiveStatus(
      phase: .prefill(layer: 0, layers: config.layers), frame: Frame(tokens: 0),
      promptTokens: prompt.count, branches: [], hasShadow: options.hasShadow)
    let name = model.path.split(separator: "/").last.map(String.init) ?? model.path
    description = SourceDescription(
      name: name, kind: "live", model: config.name, layers: Array(0..<config.layers),
      heads: config.heads, kvHeads: config.kvHeads, queries: 1, keys: 1, headDim: config.headDim,
      visibility: Visibility(causal: true, queries: 1, keys: 1), tokens: [], hasValues: true,
      live: status, methods: Registry.standard.cards)
    answers = LiveAnswers(layers: config.layers, heads: config.heads)
    shared = Mutex(
      Shared(
        status: status, attention: options.attention, isRunning: !options.startsPaused))
    loop = try EngineLoop(model, options)
  }

  /// As it was before the first token; how far it is comes as moments.
  public func describe() -> SourceDescription { description }

  /// The newest status alone, for one listener: one that is slow skips states and never falls
  /// behind.
  public var moments: AsyncStream<Moment> { feed.stream }

  // MARK: Questions

  /// Steps at once, everything else on `ComputeThreads`. Throws what computing throws.
  public func answer(_ question: Question, at frame: Frame) async throws -> Answer {
    let branch = if case .steps(let branch, _) = question { branch } else { frame.branch }
    let store = shared.withLock { shared in
      shared.stores.indices.contains(branch) ? shared.stores[branch] : nil
    }
    guard let store else { return .unavailable("the prompt is being read") }
    if case .steps = question { return try answers.answer(question, at: frame, store) }
    return try await ComputeThreads.shared.value { [answers] in
      try answers.answer(question, at: frame, store)
    }
  }

  // MARK: Orders

  /// Begins to read the prompt.
  public func start() { work() }

  /// Never waits: orders are read at the next turn, refusals are said as a note.
  public func send(_ command: Command) {
    if case .attend(let choice) = command, let reason = refusal(choice) { return refuse(reason) }
    if case .branch(_, let choice) = command, let reason = refusal(choice) { return refuse(reason) }
    shared.withLock { shared in
      shared.hasNews = true
      switch command {
      case .run: shared.isRunning = true
      case .pause:
        (shared.isRunning, shared.stepsLeft) = (false, 0)
        shared.catchUp = [:]
      case .step(let count): shared.stepsLeft += count
      case .attend(let choice): shared.attention = choice
      case .breakAt(let point): shared.breakpoints.insert(point)
      case .clearBreakpoints: shared.breakpoints = []
      case .stop:
        (shared.isRunning, shared.stepsLeft, shared.isStopped) = (false, 0, true)
      case .branch, .save, .select: shared.orders.append(command)
      }
    }
    work()
  }

  /// Why a choice of attention cannot be had.
  private func refusal(_ choice: AttentionChoice) -> String? {
    do {
      _ = try choice.plan()
      return nil
    } catch { return "\(error)" }
  }

  /// Says it now, since no turn may follow.
  private func refuse(_ reason: String) {
    say(reason)
    tell()
  }

  /// Ends the run and waits for what is under way: a recording that is being saved is written to
  /// its end.
  public func finish() async {
    send(.stop)
    while shared.withLock({ $0.isBusy }) { try? await Task.sleep(for: .milliseconds(2)) }
  }

  /// Starts a job when there is something to do and none is under way.
  private func work() {
    let begin = shared.withLock { shared in
      guard !shared.isBusy else { return false }
      shared.isBusy = true
      return true
    }
    guard begin else { return }
    Task(executorPreference: ComputeThreads.shared) { [self] in
      while turn() { await Task.yield() }
    }
  }

  /// One turn of a few milliseconds; false when there is nothing more to do for now.
  private func turn() -> Bool {
    shared.withLock { $0.hasNews = false }
    let goesOn = loop.turn(self)
    tell()
    return shared.withLock { shared in
      if goesOn || shared.hasNews { return true }
      shared.isBusy = false
      return false
    }
  }

  // MARK: For the loop

  /// The shared state under its lock; keep it short, questions wait for it.
  func withShared<R: Sendable>(_ body: (inout sending Shared) -> sending R) -> R {
    shared.withLock(body)
  }

  /// Sends the status as it is.
  func tell() { feed.tell(.live(shared.withLock { $0.status })) }

  /// Sets the note; the next `tell` sends it.
  func say(_ text: String) {
    shared.withLock { shared in
      shared.status.note = text
      shared.status.noteNumber += 1
    }
  }

  /// Ids of the prompt.
  var promptTokens: [Int] { prompt }
}

/// The newest moment, for one listener.
///
/// A status replaces the one before it, so that nothing is lost by forgetting.
final class MomentFeed: Sendable {
  /// For one reader.
  let stream: AsyncStream<Moment>
  private let continuation: AsyncStream<Moment>.Continuation

  /// A buffer of one.
  init() { (stream, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1)) }

  /// Replaces a moment that nobody has read.
  func tell(_ moment: Moment) { continuation.yield(moment) }
}

extension AttentionChoice {
  /// The methods that do it. Throws `KnobError` for one that is not there or that an engine cannot
  /// run.
  public func plan(_ registry: Registry = .standard) throws -> AttentionPlan {
    func make(_ spec: TileSpec) throws -> any EngineMethod {
      guard let setting = method ?? registry.tableCard?.blockTables?.setting(spec, lambda) else {
        throw KnobError("The library has no method whose blocks are read off a table.")
      }
      return try registry.makeEngine(setting)
    }
    return AttentionPlan(prefill: try make(prefill), decode: try make(decode))
  }
}
