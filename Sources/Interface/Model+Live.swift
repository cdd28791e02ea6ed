import Attention
import Analysis
import Sessions

/// What a live source adds to the model: the frame that is looked at, and how it moves.
extension Model {
  /// A status of the run: follows its newest frame, unless the person looks elsewhere.
  mutating func take(_ status: LiveStatus) -> [Effect] {
    let before = live
    live = status
    if status.noteNumber != before?.noteNumber, !status.note.isEmpty { message = status.note }
    if before.map({ $0.branches.count < status.branches.count }) ?? false {
      isFollowing = true
      // The screen shows the lambda that the new branch is decoded with.
      if let new = status.attention, new.method == nil { viewpoint.lambda = new.lambda }
    }
    if isFollowing, status.frame.tokens > 0 { look(at: status.frame) }
    return []
  }

  /// Shows the source as of a frame. A window that showed everything goes on to do so.
  mutating func look(at new: Frame) {
    let all = MapWindow(queries: 0..<source.queries, keys: 0..<source.keys)
    let isFit = viewpoint.window == all || frame.tokens == 0
    let wasNewest = viewpoint.query == source.queries - 1 || frame.tokens == 0
    frame = new
    source.queries = max(1, new.tokens)
    source.keys = source.queries
    source.visibility = Visibility(causal: true, queries: source.queries, keys: source.keys)
    source.tokens = known.steps(of: new.branch).map(\.text)
    if isFit {
      viewpoint.window = MapWindow(queries: 0..<source.queries, keys: 0..<source.keys)
    } else {
      viewpoint.window.queries = Self.fitted(viewpoint.window.queries, within: source.queries)
      viewpoint.window.keys = Self.fitted(viewpoint.window.keys, within: source.keys)
    }
    if wasNewest || viewpoint.view == .tokens { viewpoint.query = source.queries - 1 }
    clampCursor()
    if !isFit { followCursor() }
  }

  /// The range moved and cut to end within the limit.
  private static func fitted(_ range: Range<Int>, within limit: Int) -> Range<Int> {
    let size = min(range.count, limit)
    let start = min(range.lowerBound, limit - size)
    return start..<start + size
  }

  // MARK: Stepping

  /// Moves to the frame that ends with token `position`; beyond the newest one a paused run takes
  /// one step.
  mutating func stepTo(_ position: Int) -> [Effect] {
    guard let live else { return [] }
    if case .prefill = live.phase {
      message = "The prompt is being read."
      return []
    }
    if position >= look.length {
      guard position == look.length, live.phase == .paused, !live.isReplay,
        frame.tokens == look.length, frame.branch == live.frame.branch
      else {
        message =
          live.phase == .running ? "This is the newest token." : "Nothing was recorded after this."
        goToNewest()
        return []
      }
      isFollowing = true
      return [.send(.step(1))]
    }
    if position < 0 { message = "This is the first token." }
    let tokens = max(position, 0) + 1
    isFollowing = tokens == look.length && frame.branch == live.frame.branch
    look(at: Frame(branch: frame.branch, tokens: tokens))
    return []
  }

  /// The last token of the branch that is looked at.
  mutating func goToNewest() {
    guard let live else { return }
    isFollowing = frame.branch == live.frame.branch
    look(at: isFollowing ? live.frame : Frame(branch: frame.branch, tokens: look.length))
  }

  /// Runs what is paused and pauses what runs; on a branch of its own the run goes on there.
  mutating func togglePause() -> [Effect] {
    guard let live else {
      message = "Nothing is live here: this is a saved dump, there is nothing to pause."
      return []
    }
    switch live.phase {
    case .prefill:
      message = "The prompt is being read; it cannot be paused."
      return []
    case .running:
      message = "Paused. ← → step through the tokens, B branches, Space goes on."
      return [.send(.pause)]
    case .paused:
      isFollowing = true
      if frame.branch != live.frame.branch {
        return [.send(.select(frame.branch)), .send(.run)]
      }
      goToNewest()
      return [.send(.run)]
    case .ended(let why):
      message = "Nothing more comes: \(why). ← → step through what was recorded."
      return []
    }
  }

  // MARK: Branches

  /// The attention that the screen's settings stand for.
  func attention(method: MethodSetting? = nil) -> AttentionChoice {
    AttentionChoice(
      method: method, lambda: viewpoint.lambda, prefill: viewpoint.spec, decode: look.decodeSpec)
  }

  /// What a live run is told when lambda or the tile has changed.
  mutating func attentionOrder(_ before: Viewpoint) -> Command? {
    guard let live, !live.isReplay,
      before.lambda != viewpoint.lambda || before.spec != viewpoint.spec
    else { return nil }
    if let last = known.steps(of: frame.branch).last, !last.isPrompt, last.lambda == nil {
      message = "lambda and tile belong to BLASST; this branch attends by \(last.attention)."
      return nil
    }
    return .attend(attention())
  }

  /// Decodes anew from the token that is looked at, beside what is there.
  mutating func branchHere(_ choice: AttentionChoice) -> [Effect] {
    guard let live else {
      message = "Branching needs a model that runs: attnscope run."
      return []
    }
    guard !live.isReplay else {
      message = "This is a recording: branching needs the model, attnscope run."
      return []
    }
    if case .prefill = live.phase {
      message = "The prompt is being read."
      return []
    }
    guard look.length > live.promptTokens else {
      message = "Nothing was decoded yet: Space runs, then B branches."
      return []
    }
    isFollowing = true
    message = "Decoding anew from token \(max(frame.tokens - 1, live.promptTokens)) with \(choice)."
    return [.send(.branch(from: frame, choice))]
  }

  /// Looks at the next branch at the same token; a run is paused, and that branch is the one that
  /// would go on.
  mutating func exchangeBranch() -> [Effect] {
    guard let live, live.branches.count > 1 else {
      message =
        live == nil
        ? "Only a live model has branches."
        : "There is one branch; B makes another from this token."
      return []
    }
    let next = (frame.branch + 1) % live.branches.count
    frame.branch = next
    let tokens = min(frame.tokens, look.length)
    isFollowing = false
    look(at: Frame(branch: next, tokens: max(tokens, 1)))
    let last = known.steps(of: next).last { !$0.isPrompt }
    // The screen shows the lambda that this branch is decoded with.
    if let lambda = last?.lambda { viewpoint.lambda = lambda }
    message = "Branch \(next): \(last?.attention ?? live.branches[next].attention)."
    guard !live.isReplay else { return [] }
    return live.phase == .running
      ? [.send(.pause), .send(.select(next))] : [.send(.select(next))]
  }
}
