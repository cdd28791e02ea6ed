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
///
///     let backend = try LocalBackend(model, prompt: ids, options)
///     backend.start()
///     backend.send(.run)
///
/// A program that ends awaits `finish()` first.
public final class LocalBackend: Backend {
  /// What a run begins with.
  public typealias Options = RunOptions

  private let description: SourceDescription
  private let answers: LiveAnswers
  /// Computes; knows nothing of this backend but that it is a `StepSink`.
  private let loop: EngineLoop
  private let feed = MomentFeed()
  /// Writes the run while it goes on; nil where nobody wants that.
  private let autosave: Autosave?
  /// The one lock of the run. Nothing is computed while it is held.
  private let state: Mutex<State>

  /// What commands change, the loop tells and questions read.
  private struct State: Sendable {
    /// What is to be done next.
    var control: RunControl
    /// `[branches]`, what questions are answered from; empty until the prompt is begun.
    var stores: [BranchStore] = []
    /// A job is under way or about to be.
    var isBusy = false
    /// Those who wait for the end of that job.
    var waiting: [CheckedContinuation<Void, Never>] = []
    /// The phase is that of `control`.
    private var newest: LiveStatus

    /// Nothing recorded yet.
    init(_ control: RunControl, _ status: LiveStatus) { (self.control, newest) = (control, status) }

    /// The newest status with the phase and attention of `control`.
    var status: LiveStatus {
      var status = newest
      status.phase = control.phase
      status.attention = control.attention
      return status
    }

    /// Takes in how far the branches are; a speed that is nil leaves the last one.
    mutating func take(_ standing: Standing) {
      stores = standing.stores
      (newest.frame, newest.lengths) = (standing.frame, standing.lengths)
      newest.branches = stores.map(\.branch)
      if let speed = standing.tokensPerSecond { newest.tokensPerSecond = speed }
    }

    /// A file holds so many tokens of each branch.
    mutating func saved(_ lengths: [Int]) { newest.savedLengths = lengths }

    /// A sentence for the reader; its number tells it from an equal one before.
    mutating func say(_ sentence: String) {
      newest.note = sentence
      newest.noteNumber += 1
    }
  }

  /// Reads nothing yet. The prompt must have tokens and fit the context. Throws `ModelError` for
  /// one that does not, and `KnobError` for an attention that an engine cannot run.
  /// `registry` is what methods are looked up in.
  public init(
    _ model: LanguageModel, prompt: [Int], _ options: Options, registry: Registry = .standard
  ) throws {
    let config = model.config
    try model.check(prompt: prompt)
    let control = RunControl(
      attention: options.attention, layers: config.layers, startsPaused: options.startsPaused)
    var status = LiveStatus(
      phase: control.phase, frame: Frame(tokens: 0), promptTokens: prompt.count, branches: [],
      hasShadow: options.hasShadow)
    status.attention = options.attention
    let name = model.path.split(separator: "/").last.map(String.init) ?? model.path
    var about = SourceDescription(
      name: name, kind: "live", model: config.name, layers: config.layerNumbers,
      heads: config.heads, kvHeads: config.kvHeads, queries: 1, keys: 1, headDim: config.headDim,
      visibility: Visibility(causal: true, queries: 1, keys: 1), tokens: [], hasValues: true,
      live: status, methods: registry.cards)
    about.holds = [.queryKey, .logits, .values, .layer, .weights]
    about.families = registry.families
    if options.residualBudget > 0 { about.holds.insert(.residuals) }
    description = about
    answers = LiveAnswers(
      layers: config.layerNumbers, heads: config.heads, registry: registry,
      projections: model.projections)
    state = Mutex(State(control, status))
    autosave = options.autosave.map {
      Autosave($0, model: config, promptTokens: prompt.count)
    }
    loop = try EngineLoop(model, prompt: prompt, options)
  }

  /// The model's shape; lengths come with the frames of its status.
  public func describe() -> SourceDescription { description }

  /// The newest status, for one listener: what comes faster than it is read is left out.
  public var moments: AsyncStream<Moment> { feed.stream }

  // MARK: Questions

  /// Steps come from memory at once, all else is computed on `ComputeThreads` from what is recorded
  /// at `frame`. Throws `CancellationError`.
  public func answer(_ question: Question, at frame: Frame) async throws -> Answer {
    if let moved = try await moved(question, at: frame) { return moved }
    let branch = if case .steps(let branch, _) = question { branch } else { frame.branch }
    let store = state.withLock { $0.stores.indices.contains(branch) ? $0.stores[branch] : nil }
    guard let store else { return .unavailable("the prompt is being read") }
    if case .steps = question { return try answers.answer(question, at: frame, store) }
    return try await ComputeThreads.shared.cancellable { [answers] isCancelled in
      try answers.answer(question, at: frame, store, isCancelled: isCancelled)
    }
  }

  // MARK: Orders

  /// Begins to read the prompt.
  public func start() { work() }

  /// Takes a command from any thread and returns at once; one that is refused becomes a note of the
  /// status.
  public func send(_ command: Command) {
    let reason = refusal(command) ?? state.withLock { $0.control.take(command) }
    if let reason { say(reason) }
    work()
  }

  /// Why a choice of attention cannot be had.
  private func refusal(_ command: Command) -> String? {
    switch command {
    case .attend(let choice), .branch(_, let choice):
      do {
        _ = try choice.plan()
        return nil
      } catch { return "\(error)" }
    default: return nil
    }
  }

  /// Ends the run and waits for what is under way: a recording that is being saved is written to
  /// its end, and so is the file that grows with the run.
  public func finish() async {
    send(.stop)
    await withCheckedContinuation { done in
      let isIdle = state.withLock { state in
        if state.isBusy { state.waiting.append(done) }
        return !state.isBusy
      }
      if isIdle { done.resume() }
    }
    let stores = state.withLock { $0.stores }
    await autosave?.finish(stores)
  }

  /// Takes away the file that grew with the run: after `finish`, when nothing would be lost.
  public func dropAutosave() { autosave?.drop() }

  /// Starts a job when none is under way.
  private func work() {
    let begin = state.withLock { state in
      defer { state.isBusy = true }
      return !state.isBusy
    }
    guard begin else { return }
    Task(executorPreference: ComputeThreads.shared) { [self] in
      while turn() { await Task.yield() }
    }
  }

  /// Lets the file grow that is kept for recovery; what hinders it is said, and the run goes on.
  private func keep(isResting: Bool) {
    guard let autosave else { return }
    autosave.look(state.withLock { $0.stores }, isResting: isResting) { [weak self] in
      self?.say($0)
    }
  }

  /// One turn of a few milliseconds; false when there is nothing more to do for now.
  private func turn() -> Bool {
    if let order = state.withLock({ $0.control.next() }) { loop.obey(order, self) }
    let (goesOn, waiting) = state.withLock { state in
      // What came meanwhile is told here, or is still to be done: nothing falls between.
      feed.tell(.live(state.status))
      state.isBusy = state.control.upcoming != nil
      guard !state.isBusy else { return (true, [CheckedContinuation<Void, Never>]()) }
      defer { state.waiting = [] }
      return (false, state.waiting)
    }
    for one in waiting { one.resume() }
    keep(isResting: !goesOn)
    return goesOn
  }
}

extension LocalBackend: StepSink {
  /// Asked by the loop between tokens; the lock is held for the question alone.
  package func stands(_ order: RunControl.Order) -> Bool {
    state.withLock { $0.control.stands(order) }
  }

  /// Lets `control` hear; what it has to say about it becomes a note.
  package func tell(_ event: RunControl.Event) {
    state.withLock { state in
      if let sentence = state.control.hear(event) { state.say(sentence) }
    }
  }

  /// From here on questions see these tokens.
  package func tell(_ standing: Standing) {
    state.withLock { state in
      state.take(standing)
      // Between turns it is told anyway; a prompt is read in one.
      if case .prefill = state.status.phase { feed.tell(.live(state.status)) }
    }
  }

  /// The screen asks before it leaves tokens that no file holds.
  package func saved(_ lengths: [Int]) {
    state.withLock { state in
      state.saved(lengths)
      feed.tell(.live(state.status))
    }
  }

  /// A note, told at once.
  package func say(_ sentence: String) {
    state.withLock { state in
      state.say(sentence)
      feed.tell(.live(state.status))
    }
  }
}

/// The newest moment, for one listener.
final class MomentFeed: Sendable {
  /// What the listener awaits; holds one moment.
  let stream: AsyncStream<Moment>
  private let continuation: AsyncStream<Moment>.Continuation

  /// No moment yet.
  init() { (stream, continuation) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1)) }

  /// Puts a moment in the place of one that was not read yet.
  func tell(_ moment: Moment) { continuation.yield(moment) }
}

extension AttentionChoice {
  /// The methods that do it, for the prompt and for one token. Throws `KnobError` for one that is
  /// not there or that an engine cannot run.
  public func plan(_ registry: Registry = .standard) throws -> AttentionPlan {
    if let method { return AttentionPlan(try registry.makeEngine(method)) }
    func make(_ spec: TileSpec) throws -> any EngineMethod {
      guard let setting = registry.tableCard?.blockTables?.setting(spec, lambda) else {
        throw KnobError("The library has no method whose blocks are read off a table.")
      }
      return try registry.makeEngine(setting)
    }
    return AttentionPlan(prefill: try make(prefill), decode: try make(decode))
  }
}
