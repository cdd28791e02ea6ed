package import Sessions

/// What a run was told and how far it may go: a plain value that turns commands, and what became of them, into what is
/// to be done next.
///
/// Example: `control.take(.step(2))`, then `control.next()` is `.decode` until two tokens were heard of. Nothing here
/// computes, waits or locks; `EngineLoop` does what `next` says and tells the events back through a `StepSink`.
package struct RunControl: Sendable, Equatable {
  /// What the loop is to do next.
  package enum Order: Sendable, Hashable {
    case readPrompt
    /// Tokens of the current branch, with this attention, as long as the order stands.
    case decode(AttentionChoice)
    case branch(from: Frame, AttentionChoice)
    case select(Int)
    case save(String)
  }

  /// What became of an order.
  package enum Event: Sendable, Equatable {
    /// So many layers of a block of the prompt are done.
    case reading(layer: Int)
    /// The prompt was read, or only a part of it because the run was stopped.
    case read(isWhole: Bool)
    case took(Taken)
    /// The branch can have no more tokens, and why.
    case ended(String)
    /// A new branch of `tokens` tokens is the current one, and is to have `goal` of them at least.
    case branched(id: Int, tokens: Int, goal: Int, AttentionChoice)
    case selected(id: Int, tokens: Int, AttentionChoice)
    /// The attention that was asked for cannot be had: it goes on with this one.
    case kept(AttentionChoice)
  }

  /// A token that was decoded, and what breakpoints ask about it.
  package struct Taken: Sendable, Equatable {
    package let step: Step
    package let piece: String
    /// The branch that this one left says another token here.
    package let parts: Bool

    package init(step: Step, piece: String, parts: Bool = false) {
      (self.step, self.piece, self.parts) = (step, piece, parts)
    }
  }

  /// As a reader is told. A run that only has steps to take counts as paused: the next key may ask for one more.
  package private(set) var phase: LiveStatus.Phase
  package private(set) var attention: AttentionChoice
  package private(set) var breakpoints: Set<Breakpoint> = []
  package private(set) var isStopped = false
  private let layers: Int
  private var isRunning: Bool
  /// Tokens that were asked for one by one.
  private var steps = 0
  private var orders: [Order] = []
  /// Branches that are to have so many tokens at least, once they are the current one.
  private var goals: [Int: Int] = [:]
  /// The current branch and its tokens.
  private var branch = 0
  private var tokens = 0

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

  /// What the loop is to do next; nil when there is nothing. Reading and decoding are said until an event ends them.
  package mutating func next() -> Order? {
    let order = upcoming
    if order == orders.first, !orders.isEmpty { orders.removeFirst() }
    return order
  }

  /// True while the loop shall go on with an order.
  package func stands(_ order: Order) -> Bool { !isStopped && upcoming == order }

  private var isCatchingUp: Bool { goals[branch, default: 0] > tokens }

  // MARK: Commands

  /// Takes a command; a sentence when it is refused.
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

  /// Why no more tokens can be asked for: what ended has none, unless another branch is about to be the current one.
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

  private mutating func settle() {
    switch phase {
    case .prefill, .ended: break
    case .running, .paused:
      phase = isStopped ? .ended("stopped") : isRunning || isCatchingUp ? .running : .paused
    }
  }

  private func hit(_ taken: Taken) -> Breakpoint? {
    breakpoints.filter { isHit($0, taken) }.min { $0.description < $1.description }
  }

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
