public import Sessions

/// A run or a recording as it is looked at: how far it is, and the frame on the screen.
///
/// Example: `live.step(to: 12).frame` is where to look after the arrow. Each of its moves changes
/// this value alone and says in an `Outcome` what else follows, so that a test of stepping needs no
/// screen.
public struct Live: Sendable {
  /// What the source last said of itself.
  public private(set) var status: LiveStatus
  /// The frame that is looked at; none of its tokens before the first status came.
  public internal(set) var frame = Frame.whole
  /// The newest token is looked at as it comes.
  public private(set) var isFollowing = true

  /// Breakpoints that were set, in their order.
  var breakpoints: [Breakpoint] = []
  /// The person was told what leaving loses and has done nothing since; a run that goes on
  /// meanwhile does not ask again with every token.
  var mayLeave = false

  /// Tokens of branches of these lengths that are not of the prompt, each once.
  private func decoded(_ lengths: [Int]) -> Int {
    zip(branches, lengths).reduce(0) { sum, pair in
      sum + pair.1 - (pair.0.parent == nil ? promptTokens : pair.0.fork)
    }
  }

  /// Decoded tokens that no file holds which was asked for; nil where nothing would be lost.
  var unsaved: Int? {
    let missing = decoded(lengths) - max(0, decoded(status.savedLengths))
    return isReplay || missing <= 0 ? nil : missing
  }

  /// As the source describes itself before its first status. A recording is whole from the start:
  /// it is looked at from its end.
  init(_ status: LiveStatus) {
    self.status = status
    if status.isReplay { frame = status.frame }
  }

  /// What follows from a move.
  struct Outcome {
    /// The frame to look at from now on.
    var frame: Frame?
    /// The lambda that the branch is decoded with, for the screen to show.
    var lambda: Double?
    /// For the caption.
    var says: String?
    /// What the source is told.
    var effects: [Effect] = []
  }

  // MARK: Facts

  /// What it is doing now.
  public var phase: LiveStatus.Phase { status.phase }
  /// The frame with the newest token.
  public var newest: Frame { status.frame }
  /// Tokens of the prompt.
  public var promptTokens: Int { status.promptTokens }
  /// The trunk first, then in the order in which they were begun.
  public var branches: [Branch] { status.branches }
  /// Tokens of each branch, by its id.
  public var lengths: [Int] { status.lengths }
  /// A recording: nothing can be computed anew.
  public var isReplay: Bool { status.isReplay }

  /// Tokens of the branch that is looked at.
  var length: Int { lengths.indices.contains(frame.branch) ? lengths[frame.branch] : frame.tokens }

  /// The prompt is being read.
  var isReading: Bool { if case .prefill = phase { true } else { false } }

  /// The branch beside the one that is looked at, where `x` goes: its parent, or the trunk's newest
  /// child.
  var otherBranch: Int? {
    guard branches.indices.contains(frame.branch) else { return nil }
    return branches[frame.branch].parent ?? branches.last { $0.parent == frame.branch }?.id
  }

  // MARK: Status

  /// A status of the run: follows its newest frame, unless the person looks elsewhere.
  mutating func take(_ new: LiveStatus) -> Outcome {
    let before = status
    status = new
    var outcome = Outcome()
    if new.noteNumber != before.noteNumber, !new.note.isEmpty {
      outcome.says = new.note
    }
    // What the person stopped was said when it was stopped.
    if case .ended(let why) = new.phase, before.phase != new.phase, !isReplay,
      !why.hasPrefix("stopped")
    {
      outcome.says = outcome.says ?? "Nothing more comes: \(why)."
    }
    if before.branches.count < new.branches.count {
      isFollowing = true
      // The screen shows the lambda that the new branch is decoded with.
      if let choice = new.attention, choice.method == nil { outcome.lambda = choice.lambda }
    }
    if isFollowing, new.frame.tokens > 0 { outcome.frame = new.frame }
    return outcome
  }

  // MARK: Stepping

  /// Moves to the frame that ends with token `position`; beyond the newest one a paused run takes
  /// one step.
  mutating func step(to position: Int) -> Outcome {
    guard !isReading else { return Outcome(says: "The prompt is being read.") }
    if position >= length {
      guard position == length, phase == .paused, !isReplay, frame.tokens == length,
        frame.branch == newest.branch
      else {
        var outcome = goToNewest()
        outcome.says =
          phase == .running ? "This is the newest token." : "Nothing was recorded after this."
        return outcome
      }
      isFollowing = true
      return Outcome(effects: [.send(.step(1))])
    }
    let tokens = max(position, 0) + 1
    isFollowing = tokens == length && frame.branch == newest.branch
    return Outcome(
      frame: Frame(branch: frame.branch, tokens: tokens),
      says: position < 0 ? "This is the first token." : nil)
  }

  /// The last token of the branch that is looked at.
  private mutating func goToNewest() -> Outcome {
    isFollowing = frame.branch == newest.branch
    return Outcome(frame: isFollowing ? newest : Frame(branch: frame.branch, tokens: length))
  }

  /// Runs what is paused and pauses what runs; on a branch of its own the run goes on there.
  mutating func togglePause() -> Outcome {
    switch phase {
    case .prefill: return Outcome(says: "The prompt is being read; it cannot be paused.")
    case .running:
      return Outcome(
        says: "Paused. ← → step through the tokens, B branches, Space goes on.",
        effects: [.send(.pause)])
    case .paused:
      if frame.branch != newest.branch {
        isFollowing = true
        return Outcome(effects: [.send(.select(frame.branch)), .send(.run)])
      }
      var outcome = goToNewest()
      outcome.effects = [.send(.run)]
      return outcome
    case .ended(let why):
      return Outcome(
        says: "Nothing more comes: \(why). ← → step through what was recorded.")
    }
  }

  // MARK: Branches

  /// Decodes anew from the token that is looked at, beside what is there.
  mutating func branch(_ choice: AttentionChoice) -> Outcome {
    guard !isReplay else {
      return Outcome(says: "This is a recording: branching needs the model, attnscope run.")
    }
    guard !isReading else { return Outcome(says: "The prompt is being read.") }
    guard length > promptTokens else {
      return Outcome(says: "Nothing was decoded yet: Space runs, then B branches.")
    }
    isFollowing = true
    let from = max(frame.tokens - 1, promptTokens)
    return Outcome(
      says: "Decoding anew from token \(from) with \(choice).",
      effects: [.send(.branch(from: frame, choice))])
  }

  /// Why there is no other branch to go to.
  var oneBranch: String {
    isReplay
      ? "This recording has one branch." : "There is one branch; B makes another from this token."
  }

  /// Looks at the branch that is shown below, at the same token, or at any other; a run is paused,
  /// and that branch is the one that would go on. `steps` gives the steps of a branch.
  mutating func exchangeBranch(to wanted: Int? = nil, _ steps: (Int) -> [Step]) -> Outcome {
    guard branches.count > 1, let next = wanted ?? otherBranch, branches.indices.contains(next)
    else { return Outcome(says: oneBranch) }
    frame.branch = next
    isFollowing = false
    let last = steps(next).last { !$0.isPrompt }
    var outcome = Outcome(
      frame: Frame(branch: next, tokens: max(min(frame.tokens, length), 1)), lambda: last?.lambda,
      says: "Branch \(next): \(last?.attention ?? branches[next].attention).")
    if !isReplay {
      outcome.effects = (phase == .running ? [.send(.pause)] : []) + [.send(.select(next))]
    }
    return outcome
  }
}
