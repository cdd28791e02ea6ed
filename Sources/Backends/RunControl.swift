package import Sessions

/// What a run was told and how far it may go: a plain value that turns commands, and what became of
/// them, into what is to be done next.
///
/// Example: `control.take(.step(2))`, then `control.next()` is `.decode` until two tokens were
/// heard of. Nothing here computes, waits or locks; `EngineLoop` does what `next` says and tells
/// the events back through a `StepSink`.
///
/// Phases: a prompt that is being read; then running or paused, as told; then ended, from which
/// only another branch leads on. Orders that were asked for are done in their order, before any
/// token.
package struct RunControl: Sendable, Equatable {
  /// What the loop is to do next.
  package enum Order: Sendable, Hashable {
    /// The whole prompt, once, before anything else.
    case readPrompt
    /// Tokens of the current branch, with this attention, as long as the order stands.
    case decode(AttentionChoice)
    /// A new branch from the last token of a frame on, with this attention.
    case branch(from: Frame, AttentionChoice)
    /// Another branch becomes the current one.
    case select(Int)
    /// A recording under this path.
    case save(String)
  }

  /// What became of an order.
  package enum Event: Sendable, Equatable {
    /// So many layers of a block of the prompt are done.
    case reading(layer: Int)
    /// The prompt was read, or only a part of it because the run was stopped.
    case read(isWhole: Bool)
    /// One token of the current branch.
    case took(Taken)
    /// The branch can have no more tokens, and why.
    case ended(String)
    /// A new branch of `tokens` tokens is the current one, and is to have `goal` of them at least.
    case branched(id: Int, tokens: Int, goal: Int, AttentionChoice)
    /// A branch of `tokens` tokens is the current one, with the attention it had.
    case selected(id: Int, tokens: Int, AttentionChoice)
    /// The attention that was asked for cannot be had: it goes on with this one.
    case kept(AttentionChoice)
  }

  /// A token that was decoded, and what breakpoints ask about it.
  package struct Taken: Sendable, Equatable {
    /// What is recorded of it.
    package let step: Step
    /// Its text as the tokenizer shows it: what a breakpoint on a token looks at.
    package let piece: String
    /// The branch that this one left says another token here.
    package let parts: Bool

    /// `parts` is false for the trunk.
    package init(step: Step, piece: String, parts: Bool = false) {
      (self.step, self.piece, self.parts) = (step, piece, parts)
    }
  }

  /// As a reader is told. A run that only has steps to take counts as paused: the next key may ask
  /// for one more.
  package private(set) var phase: LiveStatus.Phase
  /// How the current branch attends, or will from its next token on.
  package private(set) var attention: AttentionChoice
  /// Where decoding pauses; all are looked at after every token.
  package private(set) var breakpoints: Set<Breakpoint> = []
  /// The program ends: what is under way is not gone on with.
  package private(set) var isStopped = false
  /// Layers of the model, for the phase of a prompt.
  private let layers: Int
  /// Tokens are wanted without end.
  private var isRunning: Bool
  /// Tokens that were asked for one by one.
  private var steps = 0
  /// Asked for and not yet given out, oldest first.
  private var orders: [Order] = []
  /// Branches that are to have so many tokens at least, once they are the current one.
  private var goals: [Int: Int] = [:]
  /// The current branch.
  private var branch = 0
  /// Tokens of the current branch.
  private var tokens = 0

  /// A prompt is to be read; after it the run waits where `startsPaused` says so.
  package init(attention: AttentionChoice, layers: Int, startsPaused: Bool) {
    (self.attention, self.layers, isRunning) = (attention, layers, !startsPaused)
    phase = .prefill(layer: 0, layers: layers)
  }

  // MARK: What is to be done

  /// What `next` would say.
  package var upcoming: Order? {
    if case .prefill = phase { return .readPrompt }
    if let order = orders.first { return order }
    if case .ended = phase { return nil }
    return isRunning || steps > 0 || isCatchingUp ? .decode(attention) : nil
  }

  /// What the loop is to do next; nil when there is nothing. Reading and decoding are said until an
  /// event ends them.
  package mutating func next() -> Order? {
    let order = upcoming
    if order == orders.first, !orders.isEmpty { orders.removeFirst() }
    return order
  }

  /// True while the loop shall go on with an order.
  package func stands(_ order: Order) -> Bool { !isStopped && upcoming == order }

  /// The current branch is still shorter than it is to be.
  private var isCatchingUp: Bool { goals[branch, default: 0] > tokens }

  // MARK: Commands

  /// Takes a command; a sentence for the reader when it is refused, nil otherwise. Steps add up; a
  /// second run or pause changes nothing.
  package mutating func take(_ command: Command) -> String? {
    if let why = refusal(command) { return why }
    switch command {
    case .run: isRunning = true
    case .pause: rest()
    case .step(let count): steps = min(steps + min(max(count, 0), Self.mostSteps), Self.mostSteps)
    case .attend(let choice): attention = choice
    case .branch(let frame, let choice): orders.append(.branch(from: frame, choice))
    case .select(let id): orders.append(.select(id))
    case .save(let path): orders.append(.save(path))
    case .breakAt(let point): breakpoints.insert(point)
    case .clearBreakpoints: breakpoints = []
    case .stop:
      isStopped = true
      rest()
    }
    settle()
    return nil
  }

  /// More than any context holds.
  private static let mostSteps = 1 << 30

  /// Why no more tokens can be asked for: what ended has none, unless another branch is about to be
  /// the current one.
  private func refusal(_ command: Command) -> String? {
    switch command {
    case .run, .step, .branch: break
    default: return nil
    }
    if isStopped { return "The run was stopped: nothing more is decoded." }
    guard case .ended(let why) = phase, !isTurning else { return nil }
    if case .branch = command { return nil }
    return "Nothing more comes: \(why)."
  }

  /// Another branch is about to be the current one.
  private var isTurning: Bool {
    orders.contains {
      switch $0 {
      case .branch, .select: true
      default: false
      }
    }
  }

  // MARK: Events

  /// Hears what became of an order; a sentence when the run stops at a breakpoint.
  package mutating func hear(_ event: Event) -> String? {
    var sentence: String?
    switch event {
    case .reading(let layer): phase = .prefill(layer: layer, layers: layers)
    case .read(let isWhole):
      phase = isWhole ? .paused : .ended("stopped while the prompt was read")
    case .took(let taken):
      tokens = taken.step.position + 1
      steps = max(0, steps - 1)
      if let point = hit(taken) {
        rest()
        sentence = "Stopped at token \(taken.step.position): break \(point)."
      }
    case .ended(let why):
      phase = .ended(why)
      rest()
    case .branched(let id, let tokens, let goal, let choice):
      goals[id] = goal
      turn(to: id, tokens, choice)
    case .selected(let id, let tokens, let choice): turn(to: id, tokens, choice)
    case .kept(let choice): attention = choice
    }
    settle()
    return sentence
  }

  /// What ended was the other branch.
  private mutating func turn(to id: Int, _ count: Int, _ choice: AttentionChoice) {
    (branch, tokens, attention) = (id, count, choice)
    if case .ended = phase, !isStopped { phase = .paused }
  }

  /// Nothing is to be decoded until it is asked for again.
  private mutating func rest() { (isRunning, steps, goals) = (false, 0, [:]) }

  /// Brings the phase in line with what was told; a prompt and an end keep theirs.
  private mutating func settle() {
    switch phase {
    case .prefill, .ended: break
    case .running, .paused:
      phase = isStopped ? .ended("stopped") : isRunning || isCatchingUp ? .running : .paused
    }
  }

  /// The first breakpoint, by its text, that a token meets.
  private func hit(_ taken: Taken) -> Breakpoint? {
    breakpoints.filter { isHit($0, taken) }.min { $0.description < $1.description }
  }

  /// Shares, divergences in nats and texts, each against what the token brought; what was not
  /// measured meets nothing.
  private func isHit(_ point: Breakpoint, _ taken: Taken) -> Bool {
    switch point {
    case .sparsityBelow(let x): taken.step.sparsity.map { $0 < x } ?? false
    case .sparsityAbove(let x): taken.step.sparsity.map { $0 > x } ?? false
    case .divergenceAbove(let x): taken.step.divergence.map { $0 > x } ?? false
    case .token(let text): taken.piece.contains(text)
    case .divergence: taken.step.agrees == false || taken.parts
    }
  }
}
