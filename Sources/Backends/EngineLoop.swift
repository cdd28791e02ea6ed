import Tensors
import Attention
import Formats
import Models
import Sessions
import Synchronization

/// The engine's side of a local backend: generators, one a branch, and what one turn does with
/// them.
///
/// `@unchecked Sendable`: only the backend's one job touches it, one turn after another.
///
/// A turn obeys orders first, then feeds tokens until its slice is over or there is no reason to go
/// on. Questions wait no longer than that: they compute on the same threads.
final class EngineLoop: @unchecked Sendable {
  private let model: LanguageModel
  private let options: LocalBackend.Options
  private var generators: [Generator] = []
  private var stores: [BranchStore] = []
  private var current = 0
  /// How each branch attends, `[branches]`.
  private var attending: [AttentionChoice]
  /// How long a turn may last.
  private static let slice = Duration.milliseconds(12)

  /// The trunk alone. Throws `KnobError` for attention that the library cannot do.
  init(_ model: LanguageModel, _ options: LocalBackend.Options) throws {
    (self.model, self.options) = (model, options)
    attending = [options.attention]
    let generator = Generator(
      model, try options.attention.plan(), sampler: Sampler(options.sampler),
      dense: options.hasShadow ? try Self.dense(options.attention).plan() : nil)
    generators = [generator]
    let branch = Branch(id: 0, parent: nil, fork: 0, attention: options.attention.description)
    stores = [
      BranchStore(
        branch, layers: model.config.layers, heads: model.config.heads,
        kvHeads: model.config.kvHeads,
        queries: QueryRecord(model.config, budget: options.queryBudget))
    ]
  }

  /// The same tiles with nothing skipped: what a shadow runs.
  private static func dense(_ choice: AttentionChoice) -> AttentionChoice {
    AttentionChoice(lambda: 0, prefill: choice.prefill, decode: choice.decode)
  }

  private var generator: Generator { generators[current] }
  private var store: BranchStore { stores[current] }

  /// True when it wants another turn.
  func turn(_ backend: LocalBackend) -> Bool {
    if store.count == 0 {
      readPrompt(backend)
      return true
    }
    for order in backend.withShared({ shared in
      defer { shared.orders = [] }
      return shared.orders
    }) {
      obey(order, backend)
    }
    guard wantsMore(backend) else {
      backend.withShared { if $0.status.phase == .running { $0.status.phase = .paused } }
      return false
    }
    let clock = ContinuousClock(), start = clock.now
    var count = 0
    generator.state.team.run {
      repeat {
        guard one(backend) else { break }
        count += 1
      } while clock.now - start < Self.slice && wantsMore(backend)
    }
    store.publish(generator.state.caches, layers: 0..<model.config.layers)
    let seconds = (clock.now - start) / .seconds(1)
    let frame = Frame(branch: current, tokens: store.count)
    let more = wantsMore(backend)
    let lengths = stores.map(\.count)
    backend.withShared { [count] shared in
      shared.status.frame = frame
      shared.status.lengths = lengths
      if count > 0 { shared.status.tokensPerSecond = Double(count) / max(seconds, 1e-9) }
      if case .ended = shared.status.phase { return }
      shared.status.phase = more ? .running : .paused
    }
    return more
  }

  /// Running, steps left to do, or a branch that has not caught up; sets the phase when the run was
  /// stopped.
  private func wantsMore(_ backend: LocalBackend) -> Bool {
    let count = store.count, branch = current
    return backend.withShared { shared in
      if shared.isStopped {
        shared.status.phase = .ended("stopped")
        return false
      }
      if case .ended = shared.status.phase { return false }
      return shared.isRunning || shared.stepsLeft > 0 || shared.catchUp[branch, default: 0] > count
    }
  }

  // MARK: The prompt

  /// The whole prompt in one turn: cancelled by `stop` alone, told of after every layer, so that
  /// the screen can draw layers that are done.
  private func readPrompt(_ backend: LocalBackend) {
    let prompt = backend.promptTokens, generator = generator, store = store
    let isStopped: @Sendable () -> Bool = { backend.withShared { $0.isStopped } }
    backend.withShared { shared in
      shared.stores = [store]
      shared.status.branches = [store.branch]
    }
    let layers = model.config.layers
    let watch = PromptWatch(store.queries) {
      layer, positions, revision in
      store.publish(generator.state.caches, layers: layer..<layer + 1)
      backend.withShared { shared in
        shared.status.phase = .prefill(layer: layer + 1, layers: layers)
        shared.status.frame = Frame(branch: 0, tokens: positions.upperBound, revision: revision)
      }
      backend.tell()
    }
    generator.observer = watch
    for (position, token) in prompt.enumerated() {
      let step = Step(
        position: position, token: token, text: "", isPrompt: true,
        attention: attending[0].description)
      store.append(step, bytes: model.tokenizer.bytes(token), counts: nil)
    }
    backend.withShared { $0.status.lengths = [prompt.count] }
    let done = withExtendedLifetime(watch) {
      generator.prefill(prompt, isCancelled: isStopped)
    }
    generator.observer = store.queries
    store.publish(generator.state.caches, layers: 0..<model.config.layers)
    let known = generator.state.count
    backend.withShared { shared in
      shared.status.frame = Frame(branch: 0, tokens: done ? prompt.count : known)
      if !done {
        shared.status.phase = .ended("stopped while the prompt was read")
      } else {
        shared.status.phase = shared.isRunning ? .running : .paused
      }
    }
  }

  // MARK: One token

  /// Chooses the next token and feeds it; false when there is none to come.
  private func one(_ backend: LocalBackend) -> Bool {
    let wanted = backend.withShared { $0.attention }
    if wanted != attending[current] { attend(wanted, backend) }
    if let last = store.steps(store.count - 1..<store.count).last, !last.isPrompt,
      model.tokenizer.ends(last.token)
    {
      return end("the model ended its text", backend)
    }
    guard let choice = generator.choose() else { return end("there is nothing to go on", backend) }
    guard generator.room > 0 else {
      return end("the context of \(model.config.context) tokens is full", backend)
    }
    guard store.count - backend.promptTokens.count < options.maxTokens else {
      return end("\(options.maxTokens) tokens, as asked", backend)
    }
    generator.feed(choice.token)
    // What the pass that reads this token did belongs to its row.
    let told = generator.lastPass
    let step = Step(
      position: choice.position, token: choice.token, text: "", isPrompt: false,
      logProbability: choice.logProbability,
      top: choice.top.map {
        Step.Candidate(token: $0.token, piece: model.tokenizer.piece($0.token), logit: $0.logit)
      }, visibleBlocks: told.counts.totalVisible, skippedBlocks: told.counts.totalSkipped,
      divergence: choice.divergence, agrees: choice.agrees, milliseconds: told.seconds * 1000,
      attention: attending[current].description,
      lambda: isByLambda ? attending[current].lambda : nil,
      tile: isByLambda ? attending[current].decode : nil)
    store.append(step, bytes: model.tokenizer.bytes(choice.token), counts: told.counts)
    backend.withShared { if $0.stepsLeft > 0 { $0.stepsLeft -= 1 } }
    if model.tokenizer.ends(choice.token) { return end("the model ended its text", backend) }
    return !isAtBreakpoint(step, backend)
  }

  /// The method of block tables attends, so that lambda and tile mean something for the step.
  private var isByLambda: Bool { attending[current].method == nil }

  /// The run is over for this branch: says why, and drops what was still to be done. Always false,
  /// the answer of `one`.
  private func end(_ why: String, _ backend: LocalBackend) -> Bool {
    backend.withShared { shared in
      shared.status.phase = .ended(why)
      shared.stepsLeft = 0
      shared.catchUp = [:]
    }
    return false
  }

  /// Changes the branch's method from the next token on; what fails leaves it as it was and is
  /// said.
  private func attend(_ choice: AttentionChoice, _ backend: LocalBackend) {
    do {
      generator.plan = try choice.plan()
      attending[current] = choice
    } catch {
      let old = attending[current]
      backend.withShared { $0.attention = old }
      backend.say("\(error)")
    }
  }

  /// Stops everything that would go on when a breakpoint is hit, and says which.
  private func isAtBreakpoint(_ step: Step, _ backend: LocalBackend) -> Bool {
    let points = backend.withShared { $0.breakpoints }
    guard let hit = points.first(where: { isHit($0, step) }) else { return false }
    backend.withShared { shared in
      (shared.isRunning, shared.stepsLeft) = (false, 0)
      shared.catchUp = [:]
    }
    backend.say("Stopped at token \(step.position): break \(hit).")
    return true
  }

  /// Whether a step meets a breakpoint; conditions on what is not known are not met.
  private func isHit(_ point: Breakpoint, _ step: Step) -> Bool {
    switch point {
    case .sparsityBelow(let x): return step.sparsity.map { $0 < x } ?? false
    case .sparsityAbove(let x): return step.sparsity.map { $0 > x } ?? false
    case .divergenceAbove(let x): return step.divergence.map { $0 > x } ?? false
    case .token(let text): return model.tokenizer.piece(step.token).contains(text)
    case .divergence:
      if step.agrees == false { return true }
      guard let parent = store.branch.parent, step.position >= store.branch.fork else {
        return false
      }
      return stores[parent].steps(step.position..<step.position + 1).first
        .map { $0.token != step.token } ?? false
    }
  }

  // MARK: Orders

  /// Orders that need the generators, and so wait for a turn: branch, select, save.
  private func obey(_ order: Command, _ backend: LocalBackend) {
    switch order {
    case .branch(let frame, let choice): branch(frame, choice, backend)
    case .select(let id) where generators.indices.contains(id):
      current = id
      let choice = attending[id]
      let frame = Frame(branch: id, tokens: store.count)
      backend.withShared { shared in
        shared.attention = choice
        shared.status.frame = frame
        // What ended was the other branch.
        if case .ended = shared.status.phase, !shared.isStopped { shared.status.phase = .paused }
      }
    case .save(let path):
      backend.say("Saving to \(path)…")
      backend.tell()
      do {
        let recording = Recording(
          model: model.config, promptTokens: backend.promptTokens.count, stores: stores)
        let bytes = try recording.write(to: path)
        backend.say("Recording saved to \(path), \(bytes / 1_000_000) MB; attnscope open shows it.")
      } catch let error as FormatError where error.code == .exists {
        backend.say("\(path) exists; choose another name.")
      } catch {
        backend.say("\(error)")
      }
    default: break
    }
  }

  /// The token at the frame's end is chosen anew: the branch shares everything before it.
  /// Branches do not share caches after the fork: memory is that of another run.
  private func branch(_ frame: Frame, _ choice: AttentionChoice, _ backend: LocalBackend) {
    guard generators.count < 8 else { return backend.say("Eight branches are the most.") }
    guard generators.indices.contains(frame.branch) else { return }
    let prompt = backend.promptTokens.count, parent = stores[frame.branch]
    // The first token that can differ is the first after the prompt.
    let fork = max(prompt, min(frame.tokens - 1, parent.count))
    do {
      let branch = Branch(
        id: generators.count, parent: frame.branch, fork: fork, attention: choice.description)
      let fresh = Generator(
        branching: generators[frame.branch], at: fork - 1, plan: try choice.plan())
      let store = BranchStore(branch, copying: parent, count: fork)
      fresh.observer = store.queries
      // The last shared token is read again, with the new attention, for the logits of the first
      // new one.
      fresh.feed(parent.steps(fork - 1..<fork)[0].token)
      store.publish(fresh.state.caches, layers: 0..<model.config.layers)
      generators.append(fresh)
      stores.append(store)
      attending.append(choice)
      current = generators.count - 1
      // As far as the branch it left, and far enough to see something.
      let goal = max(parent.count, fork + 24), id = current
      let all = stores
      backend.withShared { shared in
        shared.stores = all
        shared.status.branches = all.map(\.branch)
        shared.status.lengths = all.map(\.count)
        shared.catchUp[id] = goal
        shared.attention = choice
        shared.status.phase = .running
        shared.status.frame = Frame(branch: id, tokens: fork)
      }
    } catch {
      backend.say("\(error)")
    }
  }
}

/// Records queries, and tells after every layer how far the prompt has come.
private final class PromptWatch: ForwardObserver {
  private let record: QueryRecord
  private let tell: (Int, Range<Int>, Int) -> Void
  private var revision = 0

  /// `tell` gets the layer, the positions that are done in it, and a number that grows with every
  /// call.
  init(_ record: QueryRecord, _ tell: @escaping (Int, Range<Int>, Int) -> Void) {
    (self.record, self.tell) = (record, tell)
  }

  /// Passes the rows on to the record.
  func queries(_ layer: Int, _ positions: Range<Int>, _ rows: UnsafePointer<Float>) {
    record.queries(layer, positions, rows)
  }

  /// A layer is done for a block of positions.
  func finished(_ layer: Int, _ positions: Range<Int>) {
    revision += 1
    tell(layer, positions, revision)
  }
}
