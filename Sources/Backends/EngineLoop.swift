import Attention
import Formats
package import Models
import Sessions
import Tensors

/// The engine's side of a run: generators, one a branch, and what each order of a `RunControl`
/// makes them do.
///
/// It does one order at a time and tells a `StepSink` what became of it; who gives the orders it
/// does not know. Example, as a backend turns it:
/// `if let order = control.next() { loop.obey(order, sink) }`.
///
/// The catch: `obey` computes on the calling thread and the team of the model, so it belongs on a
/// compute thread and never on Swift's pool. Memory: a cache of keys and values for each branch,
/// beside the queries that are recorded.
///
/// `@unchecked Sendable`: whoever gives the orders gives one after another, never two at once.
package final class EngineLoop: @unchecked Sendable {
  /// Weights and tokenizer, shared by all branches.
  private let model: LanguageModel
  /// Token numbers of the prompt.
  private let prompt: [Int]
  /// What the run began with.
  private let options: RunOptions
  /// `[branches]`, each with caches of its own.
  private var generators: [Generator] = []
  /// `[branches]`, what can be asked about.
  private var stores: [BranchStore] = []
  /// The branch that decodes.
  private var current = 0
  /// `[branches]`, the one that decodes last, those that did longest ago first.
  private var lately = [0]
  /// `[branches]`, how each attends now.
  private var attending: [AttentionChoice]
  /// How long it decodes before others have their turn.
  private static let slice = Duration.milliseconds(12)
  /// Each costs a whole cache.
  private static let mostBranches = 8

  /// Makes the first branch and reads nothing yet. Throws `KnobError` for an attention that an
  /// engine cannot run.
  package init(_ model: LanguageModel, prompt: [Int], _ options: RunOptions) throws {
    (self.model, self.prompt, self.options) = (model, prompt, options)
    attending = [options.attention]
    let generator = Generator(
      model, try options.attention.plan(), sampler: Sampler(options.sampler),
      dense: options.hasShadow ? try Self.dense(options.attention).plan() : nil)
    generators = [generator]
    let branch = Branch(id: 0, parent: nil, fork: 0, attention: options.attention.description)
    let queries = QueryRecord(model.config, budget: options.queryBudget)
    let residuals =
      options.residualBudget > 0
      ? ResidualRecord(model.config, beside: queries, budget: options.residualBudget) : nil
    stores = [
      BranchStore(
        branch, layers: model.config.layers, heads: model.config.heads,
        kvHeads: model.config.kvHeads, queries: queries, residuals: residuals)
    ]
  }

  /// The same tiles with nothing skipped: what the shadow beside a branch attends with.
  private static func dense(_ choice: AttentionChoice) -> AttentionChoice {
    AttentionChoice(lambda: 0, prefill: choice.prefill, decode: choice.decode)
  }

  /// That of the current branch.
  private var generator: Generator { generators[current] }
  /// That of the current branch.
  private var store: BranchStore { stores[current] }

  /// Where the run stands, with every branch in it.
  private func standing(tokensPerSecond: Double? = nil) -> Standing {
    Standing(
      Frame(branch: current, tokens: store.count), stores, tokensPerSecond: tokensPerSecond)
  }

  /// Does what is to be done next; decoding lasts a few milliseconds, or until the order no longer
  /// stands. What fails is said through the sink.
  package func obey(_ order: RunControl.Order, _ sink: any StepSink) {
    switch order {
    case .readPrompt: readPrompt(sink)
    case .decode(let choice): decode(choice, sink)
    case .branch(let frame, let choice): branch(frame, choice, sink)
    case .select(let id): select(id, sink)
    case .save(let path): save(path, sink)
    }
  }

  // MARK: The prompt

  /// Feeds the whole prompt, layer by layer in blocks of positions, and tells after each layer what
  /// can be looked at. When the order is withdrawn the prompt stays as far as it came.
  private func readPrompt(_ sink: any StepSink) {
    let generator = generator, store = store
    for (position, token) in prompt.enumerated() {
      let step = Step(
        position: position, token: token, text: "", isPrompt: true,
        attention: attending[0].description)
      store.append(step, bytes: model.tokenizer.bytes(token), counts: nil)
    }
    sink.tell(Standing(Frame(tokens: 0), stores))
    let watch = PromptWatch(store.observer) { layer, positions, revision in
      store.publish(generator.state.caches, layer: layer)
      sink.tell(.reading(layer: layer.value + 1))
      sink.tell(Standing(Frame(tokens: positions.upperBound, revision: revision), [store]))
    }
    generator.observer = watch
    let isWhole = withExtendedLifetime(watch) {
      generator.prefill(prompt, isCancelled: { !sink.stands(.readPrompt) })
    }
    generator.observer = store.observer
    store.publish(generator.state.caches)
    sink.tell(.read(isWhole: isWhole))
    sink.tell(Standing(Frame(tokens: isWhole ? prompt.count : generator.state.count), stores))
  }

  // MARK: Tokens

  /// Tokens of the current branch for one slice of time, then where the run stands; the speed is
  /// that of the slice, in tokens a second.
  private func decode(_ choice: AttentionChoice, _ sink: any StepSink) {
    if choice != attending[current] { attend(choice, sink) }
    let order = RunControl.Order.decode(attending[current])
    let clock = ContinuousClock(), start = clock.now
    var count = 0
    generator.state.team.run {
      while one(sink) {
        count += 1
        guard clock.now - start < Self.slice, sink.stands(order) else { break }
      }
    }
    store.publish(generator.state.caches)
    if let sentence = options.memory.tidy(stores, order: lately) { sink.say(sentence) }
    let seconds = (clock.now - start) / .seconds(1)
    sink.tell(standing(tokensPerSecond: count > 0 ? Double(count) / max(seconds, 1e-9) : nil))
  }

  /// Changes how the current branch attends; one that cannot be had is told, and the old one stays.
  private func attend(_ choice: AttentionChoice, _ sink: any StepSink) {
    do {
      try generator.attend(try choice.plan(), record: store.queries)
      attending[current] = choice
    } catch {
      sink.tell(.kept(attending[current]))
      sink.say("\(error)")
    }
  }

  /// Chooses the next token and feeds it; false when there is none to come.
  private func one(_ sink: any StepSink) -> Bool {
    guard whyOver == nil, let choice = generator.choose() else {
      sink.tell(.ended(whyOver ?? "there is nothing to go on"))
      return false
    }
    generator.feed(choice.token)
    let step = step(choice)
    store.append(
      step, bytes: model.tokenizer.bytes(choice.token), counts: generator.lastPass.counts)
    sink.tell(
      .took(
        RunControl.Taken(
          step: step, piece: model.tokenizer.piece(choice.token), parts: parts(step))))
    if model.tokenizer.ends(choice.token) { sink.tell(.ended(Self.endOfText)) }
    return true
  }

  /// What is told when the model chose a token that ends texts.
  private static let endOfText = "the model ended its text"

  /// Why the current branch can have no more tokens.
  private var whyOver: String? {
    if let last = store.steps(store.count - 1..<store.count).last, !last.isPrompt,
      model.tokenizer.ends(last.token)
    {
      return Self.endOfText
    }
    if generator.room <= 0 { return "the context of \(model.config.context) tokens is full" }
    return store.count - prompt.count < options.maxTokens
      ? nil : "\(options.maxTokens) tokens, as asked"
  }

  /// A token that was fed: what the pass that read it did belongs to its row. Milliseconds are
  /// those of the whole pass.
  private func step(_ choice: Generator.Choice) -> Step {
    let told = generator.lastPass, attention = attending[current]
    let isByLambda = attention.method == nil
    return Step(
      position: choice.position, token: choice.token, text: "", isPrompt: false,
      logProbability: choice.logProbability,
      top: choice.top.map {
        Step.Candidate(token: $0.token, piece: model.tokenizer.piece($0.token), logit: $0.logit)
      }, visibleBlocks: told.counts.totalVisible, skippedBlocks: told.counts.totalSkipped,
      divergence: choice.divergence, agrees: choice.agrees, milliseconds: told.seconds * 1000,
      attention: attention.description, lambda: isByLambda ? attention.lambda : nil,
      tile: isByLambda ? attention.decode : nil)
  }

  /// True when the branch that this one left says another token there.
  private func parts(_ step: Step) -> Bool {
    guard let parent = store.branch.parent, step.position >= store.branch.fork else { return false }
    return stores[parent].steps(step.position..<step.position + 1).first
      .map { $0.token != step.token } ?? false
  }

  // MARK: Other orders

  /// A branch becomes the one that decodes.
  private func decode(on id: Int) {
    current = id
    lately = lately.filter { $0 != id } + [id]
  }

  /// Bytes of keys and values of so many tokens.
  private func cacheBytes(_ tokens: Int) -> Int {
    let c = model.config
    return 4 * c.layers * c.kvHeads * 2 * c.headDim * tokens * (options.hasShadow ? 2 : 1)
  }

  /// Another branch becomes the current one; a number that is not there is passed over.
  private func select(_ id: Int, _ sink: any StepSink) {
    guard generators.indices.contains(id) else { return }
    decode(on: id)
    sink.tell(.selected(id: id, tokens: store.count, attending[id]))
    sink.tell(standing())
  }

  /// Writes a recording of all branches, and says how that went; nothing is thrown, so that the run
  /// goes on.
  private func save(_ path: String, _ sink: any StepSink) {
    sink.say("Saving to \(path)…")
    do {
      let recording = Recording(model: model.config, promptTokens: prompt.count, stores: stores)
      let lengths = stores.map(\.count)
      let bytes = try recording.write(to: path)
      sink.saved(lengths)
      sink.say("Recording saved to \(path), \(bytes / 1_000_000) MB; attnscope open shows it.")
    } catch let error as FormatError where error.code == .exists {
      sink.say("\(path) exists; choose another name.")
    } catch {
      sink.say("\(error)")
    }
  }

  /// The token at the frame's end is chosen anew: the branch shares everything before it. Said
  /// through the sink: eight branches are the most, caches that would be too large, and what making
  /// one threw.
  private func branch(_ frame: Frame, _ choice: AttentionChoice, _ sink: any StepSink) {
    guard generators.count < Self.mostBranches else {
      return sink.say("Eight branches are the most.")
    }
    guard generators.indices.contains(frame.branch) else { return }
    let parent = stores[frame.branch]
    // The first token that can differ is the first after the prompt.
    let fork = max(prompt.count, min(frame.tokens - 1, parent.count))
    let held = cacheBytes(stores.reduce(0) { $0 + $1.count })
    if let why = options.memory.refusal(held: held, more: cacheBytes(fork)) {
      return sink.say(why)
    }
    do {
      let branch = Branch(
        id: generators.count, parent: frame.branch, fork: fork, attention: choice.description)
      let fresh = try Generator(
        branching: generators[frame.branch], at: fork - 1, plan: try choice.plan(),
        record: parent.queries)
      let store = BranchStore(branch, copying: parent, count: fork)
      fresh.observer = store.observer
      // The last shared token is read again, with the new attention, for the logits of the first
      // new one.
      fresh.feed(parent.steps(fork - 1..<fork)[0].token)
      store.publish(fresh.state.caches)
      generators.append(fresh)
      stores.append(store)
      attending.append(choice)
      decode(on: branch.id)
      if let sentence = options.memory.tidy(stores, order: lately) { sink.say(sentence) }
      // As far as the branch it left, and far enough to see something.
      let goal = max(parent.count, fork + 24)
      sink.tell(.branched(id: current, tokens: fork, goal: goal, choice))
      sink.tell(standing())
    } catch {
      sink.say("\(error)")
    }
  }
}

/// Passes everything on, and tells after every layer how far the prompt has come.
private final class PromptWatch: ForwardObserver {
  private let record: any ForwardObserver
  private let tell: (LayerIndex, Range<Int>, Int) -> Void
  private var revision = 0

  /// `tell` hears a layer's index, the positions it is done with, and a number that grows.
  init(_ record: any ForwardObserver, _ tell: @escaping (LayerIndex, Range<Int>, Int) -> Void) {
    (self.record, self.tell) = (record, tell)
  }

  /// `rows` is `[positions][heads * headDim]`, after rotation.
  func queries(_ layer: LayerIndex, _ positions: Range<Int>, _ rows: UnsafePointer<Float>) {
    record.queries(layer, positions, rows)
  }

  var wantsResiduals: Bool { record.wantsResiduals }

  func residual(_ source: Int, _ positions: Range<Int>, _ rows: UnsafePointer<Float>) {
    record.residual(source, positions, rows)
  }

  /// One layer is done with some positions: all before them are, too.
  func finished(_ layer: LayerIndex, _ positions: Range<Int>) {
    revision += 1
    tell(layer, positions, revision)
  }
}
