import Analysis
import Attention
import Canvas
import Sessions

/// What each action changes. Moves stay within the source, and say so at its edges.
extension Model {
  /// What an action does, `repeats` times where that makes sense. `perform` keeps undo around it.
  mutating func change(_ action: Action, _ repeats: Int?) -> [Effect] {
    if takeInBudget(action, repeats ?? 1) { return [] }
    switch action {
    case .up, .down, .left, .right, .pageUp, .pageDown, .home, .end:
      if viewpoint.view == .tokens { return moveInText(action, repeats ?? 1) }
      let before = viewpoint
      move(action, repeats ?? 1)
      if let repeats, message == nil { message = passed(action, repeats, from: before) }
    case .zoomIn, .zoomOut: mention(viewpoint.zoom(by: action == .zoomIn ? 0.5 : 2, in: source))
    case .fit: viewpoint.fit(source)
    case .goTo where viewpoint.view == .tokens && live != nil:
      if let repeats { return stepTo(repeats) }
      prompt.mode = .ask(.goToStep, text: "")
    case .goTo: if let repeats { goTo(repeats) } else { prompt.mode = .ask(.goTo, text: "") }
    case .goToQuery:
      if let repeats { goTo(query: repeats) } else { prompt.mode = .ask(.goToQuery, text: "") }
    case .nextHeavy: stepToHeavy()
    case .select, .selectTo: markKeys(run: action == .selectTo)
    case .find: prompt.mode = .ask(.find, text: "")
    case .findNext:
      // n is also normalise while nothing is searched for; Esc forgets a search.
      if prompt.search != nil { return findAgain(forward: true) }
      changePicture(.normalise)
    case .findPrevious: return findAgain(forward: false)
    case .lambdaDown, .lambdaUp, .lambdaDecadeDown, .lambdaDecadeUp:
      stepSetting(action, repeats ?? 1)
    case .field, .gallery, .budget, .overlap, .library: turnMethods(action)
    case .open where viewpoint.view == .heads && viewpoint.gallery != nil: openFromGallery()
    case .previousHead, .nextHead, .previousLayer, .nextLayer: turnHead(action, repeats ?? 1)
    case .undo: travel(to: history.back(from: viewpoint), "undo", "Undone")
    case .redo: travel(to: history.forth(from: viewpoint), "redo", "Redone")
    case .palette: prompt.mode = .palette(text: "", choice: 0)
    case .help: prompt.mode = .help(scroll: 0)
    case .quit: return quit()
    case .export: prompt.propose(.export, exportName)
    case .otherBranch where viewpoint.view == .compare: swapSides()
    case .otherHeadDown, .otherHeadUp: stepOther((repeats ?? 1) * (action == .otherHeadUp ? 1 : -1))
    case .nextFile: nextFile(repeats ?? 1)
    case .mark: prompt.propose(.mark, markName)
    case .marks: showMarks()
    case .lessonNext, .lessonHint, .lessonShow, .lessonAgain, .lessonSkip, .lessonBack,
      .lessonTurn, .lessonLeave:
      return lessonAction(action)
    case .pause, .branch, .branches, .difference, .otherBranch: return runAction(action)
    default: changePicture(action)
    }
    return []
  }

  /// To another head or layer, so many steps.
  private mutating func turnHead(_ action: Action, _ steps: Int) {
    switch action {
    case .previousHead: mention(viewpoint.stepHead(-steps, in: source))
    case .nextHead: mention(viewpoint.stepHead(steps, in: source))
    case .previousLayer: mention(viewpoint.stepLayer(-steps, in: source))
    default: mention(viewpoint.stepLayer(steps, in: source))
    }
  }

  /// What a live run is told, and where its branches are gone to.
  private mutating func runAction(_ action: Action) -> [Effect] {
    switch action {
    case .pause: togglePause()
    case .branch: askForBranch()
    case .branches: listBranches()
    case .difference: goToDifference()
    default: exchangeBranch()
    }
  }

  /// Ends; the first time it only asks, where decoded tokens would be lost.
  private mutating func quit() -> [Effect] {
    if let unsaved = live?.unsaved, !(live?.mayLeave ?? true) {
      live?.mayLeave = true
      return say("\(unsaved) decoded tokens are not saved: :save FILE keeps them, q leaves them.")
    }
    (isQuitting, wasLeft) = (true, true)
    return [.cancelWork, .quit]
  }

  /// What is seen of methods: a map of the one in force, or many side by side.
  private mutating func turnMethods(_ action: Action) {
    switch action {
    case .gallery: toggleGallery()
    case .budget: toggleBudget()
    case .overlap: turnOverlap()
    case .library: prompt.mode = .list(.library, text: "", choice: 0)
    default: nextField()
    }
  }

  /// Toggles and cycles of how things are shown, and of what decides.
  private mutating func changePicture(_ action: Action) {
    switch action {
    case .mute: toggleMute()
    case .poolHeads: mention(look.whyOneHead ?? viewpoint.turnHeads(in: source))
    case .tile, .vote, .order:
      mention(viewpoint.turnTile(action, in: source, isLive: live != nil))
    default: mention(viewpoint.turn(action))
    }
  }

  /// Changes tile, vote, order, criterion or splits, as far as the source lets them be changed.
  mutating func setSpec(_ change: (inout TileSpec) -> Void) {
    mention(viewpoint.setSpec(in: source, change))
  }

  /// A sentence for the caption, where there is one.
  mutating func mention(_ sentence: String?) { if let sentence { message = sentence } }

  /// Leaves the sink's column out of the map, or takes it in again.
  private mutating func toggleMute() {
    viewpoint.mute.toggle()
    guard viewpoint.mute else { return }
    if let key = look.mutedKey { message = "Column of key \(key) left out, rows renormalised." }
  }

  /// One view back or forth, and what changed by it; or that there is none.
  private mutating func travel(to view: Viewpoint?, _ verb: String, _ done: String) {
    guard let view else {
      message = "Nothing to \(verb)."
      return
    }
    let changes = ViewSetting.changes(from: viewpoint, to: view, sources)
    message = changes.isEmpty ? nil : "\(done): \(changes)."
    viewpoint = view
    // The source of a run has another length at every frame, and frames are not undone.
    if live != nil { viewpoint.follow(source, wasFit: false, wasNewest: false) }
    isStopped = false
  }

  /// Arrows by view: a cursor on a map, or a head among heads.
  mutating func move(_ action: Action, _ count: Int) {
    switch viewpoint.view {
    case .heads where viewpoint.gallery != nil: moveInGallery(action, count)
    case .heads where viewpoint.costs == .map:
      mention(viewpoint.moveInMatrix(action, count, in: source))
    case .heads: moveInHeads(action, count)
    case .sinks: mention(viewpoint.moveInMatrix(action, count, in: source))
    case .map, .blocks, .tokens, .compare: moveCursor(action, count)
    }
  }

  /// A step is a cell of the picture, or a block in view 3: what is seen moves by one.
  private mutating func moveCursor(_ action: Action, _ count: Int) {
    let (across, down) = step
    mention(viewpoint.move(action, count, across: across, down: down, in: source))
  }

  /// Keys and queries that a move passes over.
  private var step: (across: Int, down: Int) {
    guard viewpoint.view != .blocks else { return (viewpoint.spec.keys, viewpoint.spec.rows) }
    let window = viewpoint.window
    let plot = viewpoint.view == .compare ? CompareLayout(look).left.plot : MapLayout(look).plot
    return (
      max(1, window.keys.count / max(plot.width, 1)),
      max(1, window.queries.count / max(plot.height, 1))
    )
  }

  /// What a counted move passed over, in the units of its view; nil where the choice is seen to
  /// move.
  private func passed(_ action: Action, _ count: Int, from old: Viewpoint) -> String? {
    let isAcross = action == .left || action == .right
    guard isAcross || action == .up || action == .down else { return nil }
    switch viewpoint.view {
    case .heads, .tokens: return nil
    case .sinks:
      let (a, b) = (old.head, viewpoint.head)
      return isAcross
        ? "\(abs(b.head - a.head)) heads \(action.rawValue)."
        : "\(abs(b.layer.value - a.layer.value)) layers \(action.rawValue)."
    case .map, .blocks, .compare:
      let tokens = isAcross ? step.across : step.down, axis = isAcross ? "keys" : "queries"
      let moved = isAcross ? abs(viewpoint.key - old.key) : abs(viewpoint.query - old.query)
      guard moved == count * tokens else {
        return "\(moved) \(axis) \(action.rawValue), to the edge."
      }
      let cells = viewpoint.view == .blocks ? "blocks" : "cells"
      return tokens == 1
        ? "\(count) \(axis) \(action.rawValue)."
        : "\(count) \(cells) \(action.rawValue): \(moved) \(axis), \(tokens) a step."
    }
  }

  /// Puts the cursor on a key, or says which there are.
  mutating func goTo(_ key: Int) { mention(viewpoint.goTo(key, in: source)) }

  /// Puts the cursor on a query row, or says which there are.
  mutating func goTo(query: Int) { mention(viewpoint.goTo(query: query, in: source)) }

  /// From the key under the cursor to the next lighter one of its row; from the lightest round to
  /// the heaviest.
  private mutating func stepToHeavy() {
    guard let row = look.row(viewpoint.query), viewpoint.key < row.count else {
      message = "The row is still being computed."
      return
    }
    func isBefore(_ a: Int, _ b: Int) -> Bool { row[a] != row[b] ? row[a] > row[b] : a < b }
    let here = viewpoint.key
    let lighter = row.indices.filter { row[$0] > 1e-4 && isBefore(here, $0) }
    guard let next = lighter.min(by: isBefore) ?? row.indices.min(by: isBefore) else { return }
    goTo(next)
    message = "key \(next) takes \(Numbers.short(Double(row[next]))) of query \(viewpoint.query)."
  }

  /// `[ ] { }`: lambda of the block table, or the main knob of another method.
  private mutating func stepSetting(_ action: Action, _ count: Int) {
    let isUp = action == .lambdaUp || action == .lambdaDecadeUp
    let isDecade = action == .lambdaDecadeDown || action == .lambdaDecadeUp
    let steps = (isUp ? count : -count) * (isDecade ? 4 : 1)
    if look.isByTable { stepLambda(0.25 * Double(steps)) } else { stepKnob(steps) }
  }

  /// Moves lambda by decades; a stored mask has no use for it.
  mutating func stepLambda(_ decades: Double) {
    guard look.hasLambda else {
      message = "This file stores a mask without margins: lambda has no effect on it."
      return
    }
    viewpoint.lambda = LambdaScale.step(
      viewpoint.lambda, decades: decades, lowest: look.table(viewpoint.head)?.sortedMargins.first)
    if viewpoint.lambda == 1 { message = "lambda = 1 is the largest that has a meaning." }
    if viewpoint.lambda == 0 { message = "lambda = 0: dense, nothing is skipped." }
  }

  /// Another of the files opened together.
  private mutating func nextFile(_ step: Int) {
    guard sources.count > 1 else {
      message = "One file is open; attnscope A B opens two, :open FILE another."
      return
    }
    viewpoint.show((viewpoint.head.source + step) % sources.count, sources)
    viewpoint.clampCursor(in: source)
    message = "File \(viewpoint.head.source + 1) of \(sources.count): \(source.name)."
  }
}

/// Lambda moves in quarters of a decade from 1 down to 1e-10; below that it is 0, dense.
///
/// Steps land on whole quarters, wherever they began: lambda then has few values, and tables of lse
/// few to be made for.
enum LambdaScale {
  /// The lambda so many decades on. From 0 the first step is to where the block of the `lowest`
  /// margin, in nats, is skipped: below it every lambda is as good as none.
  static func step(_ lambda: Double, decades: Double, lowest: Float? = nil) -> Double {
    let smallest = -10.0
    if lambda <= 0 {
      guard decades > 0 else { return 0 }
      guard let lowest, lowest.isFinite else { return power(smallest) }
      // The first quarter above it; the block is skipped below ln lambda, not at it.
      let quarter = (Double(lowest) / Scale.ln(10) * 4).rounded(.down) + 1
      return power(min(max(quarter / 4, smallest), 0))
    }
    let quarters = (Scale.log10(lambda) + decades) * 4
    let snapped = (quarters.rounded()) / 4
    if snapped < smallest { return 0 }
    return power(min(snapped, 0))
  }

  /// Exactly 1 at the end of the scale, whatever the C library makes of it.
  private static func power(_ exponent: Double) -> Double {
    exponent == 0 ? 1 : Scale.pow10(exponent)
  }
}
