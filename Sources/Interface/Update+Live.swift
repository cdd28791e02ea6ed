import Attention
import Canvas
import Sessions

/// A run and the screen: statuses, and keys, mouse and commands of the Tokens view.
extension Model {
  /// A status of the run.
  mutating func take(_ status: LiveStatus) -> [Effect] {
    if live == nil { live = Live(status) }
    return follow { $0.take(status) }
  }

  /// Moves the run, and the screen with it; nothing without a run.
  private mutating func follow(_ move: (inout Live) -> Live.Outcome) -> [Effect] {
    guard var live else { return [] }
    let outcome = move(&live)
    self.live = live
    if let lambda = outcome.lambda { viewpoint.lambda = lambda }
    if let frame = outcome.frame { look(at: frame) }
    if let says = outcome.says { message = says }
    return outcome.effects
  }

  /// Shows the source as of a frame. A window that showed everything goes on to do so.
  mutating func look(at new: Frame) {
    let wasFit = viewpoint.isFit(source) || frame.tokens == 0
    let wasNewest = viewpoint.query == source.queries - 1 || frame.tokens == 0
    live?.frame = new
    source.queries = max(1, new.tokens)
    source.keys = source.queries
    source.visibility = Visibility(causal: true, queries: source.queries, keys: source.keys)
    source.tokens = known.steps(of: new.branch).map(\.text)
    viewpoint.follow(source, wasFit: wasFit, wasNewest: wasNewest)
  }

  // MARK: Keys

  /// Moves to the frame that ends with token `position`; nothing without a run.
  mutating func stepTo(_ position: Int) -> [Effect] { follow { $0.step(to: position) } }

  /// Runs what is paused and pauses what runs.
  mutating func togglePause() -> [Effect] {
    guard live != nil else {
      return say("Nothing is live here: this is a saved dump, there is nothing to pause.")
    }
    return follow { $0.togglePause() }
  }

  /// Decodes anew from the token that is looked at, beside what is there.
  mutating func branchHere(_ choice: AttentionChoice) -> [Effect] {
    guard live != nil else { return say("Branching needs a model that runs: attnscope run.") }
    return follow { $0.branch(choice) }
  }

  /// Asks what the new branch is decoded with; what is in force is proposed.
  mutating func askForBranch() -> [Effect] {
    // What cannot be branched says so at once.
    guard let live, !live.isReplay, !live.isReading, live.length > live.promptTokens else {
      return branchHere(attention())
    }
    prompt.propose(.branch, branchProposal)
    return []
  }

  /// The words for what is in force.
  private var branchProposal: String {
    viewpoint.lambda <= 0 ? "dense" : Numbers.threshold(viewpoint.lambda)
  }

  /// The answer: what was proposed means what is in force, to the last digit of lambda.
  mutating func branch(with text: String) -> [Effect] {
    text == branchProposal ? branchHere(attention()) : liveCommand("branch " + text) ?? []
  }

  /// One line a branch: its number, where it left which, how it attends, and where it first differs
  /// from the branch that is looked at.
  var branchNames: [String] {
    guard let live else { return [] }
    return live.branches.map { branch in
      var text = "\(branch.id)  \(branch.attention)"
      if let parent = branch.parent { text += ", from token \(branch.fork) of branch \(parent)" }
      if branch.id == frame.branch { return text + "  (here)" }
      if let at = look.divergence(frame.branch, branch.id) { text += ", ≠ \(at)" }
      return text
    }
  }

  /// Opens the list of branches.
  mutating func listBranches() -> [Effect] {
    guard live != nil else { return say("Only a live model has branches.") }
    prompt.mode = .list(.branches, text: "", choice: 0)
    return []
  }

  /// Looks at a branch of the list.
  mutating func goTo(branch name: String) -> [Effect] {
    guard let id = Int(name.prefix { $0.isNumber }) else { return [] }
    guard id != frame.branch else { return say("This is branch \(id).") }
    return follow { [known] in $0.exchangeBranch(to: id, known.steps(of:)) }
  }

  /// Steps to the first token in which the branch differs from the one below it.
  mutating func goToDifference() -> [Effect] {
    guard let live else { return say("Only a live model has branches.") }
    guard let other = live.otherBranch else { return say(live.oneBranch) }
    guard let at = look.divergence(frame.branch, other) else {
      return say("Branches \(frame.branch) and \(other) have the same tokens so far.")
    }
    let effects = stepTo(at)
    message = "Token \(at) is the first that branches \(frame.branch) and \(other) differ in."
    return effects
  }

  /// Looks at the branch below at the same token.
  mutating func exchangeBranch() -> [Effect] {
    guard live != nil else { return say("Only a live model has branches.") }
    return follow { [known] in $0.exchangeBranch(known.steps(of:)) }
  }

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

  /// Arrows in the text: a live model steps through its frames, a dump moves its query.
  mutating func moveInText(_ action: Action, _ count: Int) -> [Effect] {
    let here =
      live == nil ? source.visibility.position(row: viewpoint.query) : frame.tokens - 1
    let area = TokensScreen.halves(look, ScreenLayout(look).main).0.inset(2, 1)
    let texts = live == nil ? source.tokens : known.steps(of: frame.branch).map(\.text)
    func line(_ lines: Int) -> Int {
      TextFlow.token(texts, width: area.width, from: here, lines: lines)
    }
    let wanted: Int
    switch action {
    case .left: wanted = here - count
    case .right: wanted = here + count
    case .up: wanted = line(-count)
    case .down: wanted = line(count)
    case .pageUp: wanted = line(-count * max(1, area.height - 1))
    case .pageDown: wanted = line(count * max(1, area.height - 1))
    case .home: wanted = live?.promptTokens ?? 0
    default: wanted = (live == nil ? source.keys : look.length) - 1
    }
    guard live != nil else {
      viewpoint.query = wanted - source.visibility.offset
      let before = viewpoint.query
      viewpoint.clampCursor(in: source)
      if viewpoint.query != before { message = "This is the edge of the text." }
      return []
    }
    // Only the arrow to the right decodes one more; leaps stop at the newest.
    return stepTo(action == .right ? wanted : min(wanted, look.length - 1))
  }

  /// The token under the mouse becomes the frame's last one, or the query of a dump.
  mutating func pointAtToken(_ mouse: Mouse) -> [Effect] {
    let area = TokensScreen.halves(look, ScreenLayout(look).main).0
    guard area.contains(mouse.x, mouse.y) else { return [] }
    let texts = live == nil ? source.tokens : known.steps(of: frame.branch).map(\.text)
    let cursor =
      live == nil ? source.visibility.position(row: viewpoint.query) : frame.tokens - 1
    let flow = TextFlow(texts, in: area.inset(2, 1), cursor: cursor)
    guard let token = flow.token(x: mouse.x, y: mouse.y) else { return [] }
    guard live == nil else { return stepTo(token) }
    viewpoint.query = token - source.visibility.offset
    viewpoint.clampCursor(in: source)
    return []
  }

  /// `break`, `save`, `branch` and `method`; nil when the text is none of them.
  mutating func liveCommand(_ text: String) -> [Effect]? {
    let parts = text.split(separator: " ", maxSplits: 1).map(String.init)
    guard let name = parts.first, ["break", "save", "branch", "method"].contains(name) else {
      return nil
    }
    let value = parts.count > 1 ? parts[1].trimmed : ""
    if name == "method", live == nil { return nil }
    guard live != nil else { return say("\(name) needs a live model: attnscope run.") }
    switch name {
    case "break": return setBreakpoint(value)
    case "save":
      guard !value.isEmpty else { return say("Give it a file: save run.safetensors.") }
      return [.send(.save(value))]
    case "branch":
      guard let choice = choice(value) else {
        return say("A branch takes a lambda, dense, or a method: branch 0.1, branch a-shape.")
      }
      return branchHere(choice)
    default:
      if let why = unknownMethod(value) { return say(why) }
      guard let choice = choice(value), !value.isEmpty else {
        return say("Give it a method: method a-shape, method dense.")
      }
      message = "From the next token on: \(choice)."
      return [.send(.attend(choice))]
    }
  }

  /// Why a word is no method that is known; nil when it is, or when it is something else.
  private func unknownMethod(_ word: String) -> String? {
    guard word != "dense", Double(word) == nil, word.first?.isLetter ?? false else { return nil }
    do throws(SettingError) { _ = try MethodChoice.read(word, source) } catch {
      let text = error.description
      return text.prefix(1).uppercased() + text.dropFirst() + "."
    }
    return nil
  }

  /// What a word after `branch` or `method` means; the screen's own settings when there is none.
  private func choice(_ word: String) -> AttentionChoice? {
    var choice = attention()
    if word.isEmpty { return choice }
    if word == "dense" {
      choice.lambda = 0
      return choice
    }
    if let lambda = Double(word) {
      guard lambda <= 1 else { return nil }
      choice.lambda = max(0, lambda)
      return choice
    }
    guard let setting = try? MethodChoice.read(word, source) else { return nil }
    choice.method = setting
    return choice
  }

  /// `:break ..` sets one, alone lists them, `off` forgets all, `off 2` the second.
  private mutating func setBreakpoint(_ text: String) -> [Effect] {
    let points = live?.breakpoints ?? []
    if text.isEmpty, !points.isEmpty {
      let list = points.enumerated().map { "\($0 + 1) \($1)" }.joined(separator: ", ")
      return say("Stops at: \(list). break off 1 takes one away, break off all.")
    }
    if text.hasPrefix("off") { return clearBreakpoint(String(text.dropFirst(3)).trimmed) }
    guard let point = Breakpoint(text) else {
      return say(
        """
        Breakpoints: break sparsity<0.3, break divergence, break kl>0.5, break token \"x\", break \
        off.
        """
      )
    }
    if case .divergenceAbove = point, live?.status.hasShadow != true {
      return say("kl needs the dense model beside this one: attnscope run --shadow dense.")
    }
    if !points.contains(point) { live?.breakpoints.append(point) }
    message = "Stops at \(point)."
    return [.send(.breakAt(point))]
  }

  /// Forgets all breakpoints, or one by its number in the list.
  private mutating func clearBreakpoint(_ text: String) -> [Effect] {
    var points = live?.breakpoints ?? []
    guard !text.isEmpty, text != "all" else {
      live?.breakpoints = []
      message = "No breakpoints."
      return [.send(.clearBreakpoints)]
    }
    guard let number = Int(text), points.indices.contains(number - 1) else {
      return say("There are \(points.count) breakpoints; break lists them.")
    }
    let gone = points.remove(at: number - 1)
    live?.breakpoints = points
    message = "Stops no longer at \(gone)."
    return [.send(.clearBreakpoints)] + points.map { .send(.breakAt($0)) }
  }
}
