import Analysis
import Attention
import Canvas
import Sessions

/// What each action changes. Moves stay within the source, and say so at its edges.
extension Model {
  /// What an action does, `repeats` times where that makes sense. `perform` keeps undo around it.
  mutating func change(_ action: Action, _ repeats: Int?) -> [Effect] {
    switch action {
    case .up, .down, .left, .right, .pageUp, .pageDown, .home, .end:
      if viewpoint.view == .tokens { return moveInText(action, repeats ?? 1) }
      move(action, repeats ?? 1)
    case .zoomIn: zoom(by: 0.5)
    case .zoomOut: zoom(by: 2)
    case .fit: viewpoint.window = MapWindow(queries: 0..<source.queries, keys: 0..<source.keys)
    case .goTo where viewpoint.view == .tokens && live != nil:
      if let repeats { return stepTo(repeats) }
      prompt.mode = .ask(.goToStep, text: "")
    case .goTo: if let repeats { goTo(repeats) } else { prompt.mode = .ask(.goTo, text: "") }
    case .goToQuery:
      if let repeats { goTo(query: repeats) } else { prompt.mode = .ask(.goToQuery, text: "") }
    case .nextHeavy: stepToHeavy()
    case .find: prompt.mode = .ask(.find, text: "")
    case .findNext:
      // n is also normalise while nothing is searched for; Esc forgets a search.
      if prompt.search != nil { return findAgain(forward: true) }
      changePicture(.normalise)
    case .findPrevious: return findAgain(forward: false)
    case .lambdaDown, .lambdaUp, .lambdaDecadeDown, .lambdaDecadeUp:
      stepSetting(action, repeats ?? 1)
    case .field: nextField()
    case .library: prompt.mode = .list(.library, text: "", choice: 0)
    case .previousHead: stepHead(-(repeats ?? 1))
    case .nextHead: stepHead(repeats ?? 1)
    case .previousLayer: stepLayer(-(repeats ?? 1))
    case .nextLayer: stepLayer(repeats ?? 1)
    case .undo: if !travel(to: history.back(from: viewpoint)) { message = "Nothing to undo." }
    case .redo: if !travel(to: history.forth(from: viewpoint)) { message = "Nothing to redo." }
    case .palette: prompt.mode = .palette(text: "", choice: 0)
    case .help: prompt.mode = .help(scroll: 0)
    case .quit:
      isQuitting = true
      return [.cancelWork, .quit]
    case .export: prompt.mode = .ask(.export, text: exportName)
    case .otherBranch where viewpoint.view == .compare: swapSides()
    case .otherHeadDown: stepOther(-(repeats ?? 1))
    case .otherHeadUp: stepOther(repeats ?? 1)
    case .nextFile: nextFile(repeats ?? 1)
    case .mark: prompt.mode = .ask(.mark, text: markName)
    case .marks: showMarks()
    case .lessonNext, .lessonHint, .lessonShow, .lessonAgain, .lessonSkip, .lessonBack,
      .lessonTurn, .lessonLeave:
      return lessonAction(action)
    case .pause: return togglePause()
    case .branch: return branchHere(attention())
    case .otherBranch: return exchangeBranch()
    default: changePicture(action)
    }
    return []
  }

  /// Toggles and cycles of how things are shown.
  private mutating func changePicture(_ action: Action) {
    switch action {
    case .overlay: viewpoint.overlay = viewpoint.overlay.following
    case .scale: viewpoint.scale = viewpoint.scale.following
    case .normalise: viewpoint.normaliseRows.toggle()
    case .pooling: viewpoint.pooling = viewpoint.pooling.following
    case .mute: toggleMute()
    case .colorMap: viewpoint.colors = viewpoint.colors.next
    case .background: viewpoint.light.toggle()
    case .sort: viewpoint.sort = viewpoint.sort.following
    case .tile: nextTile()
    case .vote: setSpec { $0.vote = $0.vote.following }
    case .order: setSpec { $0.order = $0.order.following }
    case .open: viewpoint.view = .map
    case .viewMap: viewpoint.view = .map
    case .viewHeads: viewpoint.view = .heads
    case .viewBlocks: viewpoint.view = .blocks
    case .viewSinks: viewpoint.view = .sinks
    case .viewTokens: viewpoint.view = .tokens
    case .nextView: viewpoint.view = viewpoint.view.following
    case .previousView:
      let all = ViewKind.allCases
      viewpoint.view = all[(all.firstIndex(of: viewpoint.view)! + all.count - 1) % all.count]
    case .viewCompare: viewpoint.view = .compare
    default: break
    }
    explain(action)
  }

  /// Says what a toggle is now, where the picture alone might not tell.
  private mutating func explain(_ action: Action) {
    switch action {
    case .scale: message = "Scale: \(viewpoint.scale.rawValue)."
    case .pooling: message = "A cell shows the \(viewpoint.pooling.rawValue) of its entries."
    case .normalise:
      message =
        viewpoint.normaliseRows ? "Each row scaled by its own maximum." : "One scale for all rows."
    case .overlay: message = "Overlay: \(viewpoint.overlay.rawValue)."
    case .colorMap: message = "Colours: \(viewpoint.colors.rawValue)."
    case .sort: message = "Heads by \(viewpoint.sort.rawValue)."
    case .vote where source.storedTile == nil:
      message =
        viewpoint.spec.vote == .head
        ? "Each query head decides alone." : "Query heads of a KV head decide together."
    case .order where source.storedTile == nil:
      message =
        viewpoint.spec.order == .ascending
        ? "Key blocks from the first on." : "Key blocks from the last on: local first."
    default: break
    }
  }

  /// Leaves the sink's column out of the map, or takes it in again.
  private mutating func toggleMute() {
    viewpoint.mute.toggle()
    guard viewpoint.mute else { return }
    if let key = look.mutedKey { message = "Column of key \(key) left out, rows renormalised." }
  }

  /// One view back or forth; false when there is none.
  private mutating func travel(to view: Viewpoint?) -> Bool {
    guard let view else { return false }
    viewpoint = view
    isStopped = false
    return true
  }

  /// Arrows by view: a cursor on a map, or a head among heads.
  mutating func move(_ action: Action, _ count: Int) {
    switch viewpoint.view {
    case .heads: moveInHeads(action, count)
    case .sinks: moveInSinks(action, count)
    case .map, .blocks, .tokens, .compare: moveCursor(action, count)
    }
  }

  /// A step is a cell of the picture, or a block in view 3: what is seen moves by one.
  private mutating func moveCursor(_ action: Action, _ count: Int) {
    let isBlocks = viewpoint.view == .blocks
    let window = viewpoint.window
    let plot = viewpoint.view == .compare ? CompareLayout(look).left.plot : MapLayout(look).plot
    let across = isBlocks ? viewpoint.spec.keys : max(1, window.keys.count / max(plot.width, 1))
    let down = isBlocks ? viewpoint.spec.rows : max(1, window.queries.count / max(plot.height, 1))
    let before = (viewpoint.query, viewpoint.key)
    switch action {
    case .left: viewpoint.key -= count * across
    case .right: viewpoint.key += count * across
    case .up: viewpoint.query -= count * down
    case .down: viewpoint.query += count * down
    case .pageUp: viewpoint.query -= count * max(1, window.queries.count / 2)
    case .pageDown: viewpoint.query += count * max(1, window.queries.count / 2)
    case .home: viewpoint.key = 0
    case .end: viewpoint.key = source.keys - 1
    default: break
    }
    clampCursor()
    if (viewpoint.query, viewpoint.key) == before { message = "This is the edge of the map." }
    followCursor()
  }

  /// Brings the cursor into the map.
  mutating func clampCursor() {
    viewpoint.query = min(max(viewpoint.query, 0), source.queries - 1)
    viewpoint.key = min(max(viewpoint.key, 0), source.keys - 1)
  }

  /// Shifts the window so that the cursor is in it.
  mutating func followCursor() {
    viewpoint.window.queries = Self.shift(
      viewpoint.window.queries, toHold: viewpoint.query, within: source.queries)
    viewpoint.window.keys = Self.shift(
      viewpoint.window.keys, toHold: viewpoint.key, within: source.keys)
  }

  /// The range moved as little as needed to hold a value.
  static func shift(_ range: Range<Int>, toHold value: Int, within limit: Int) -> Range<Int> {
    if range.contains(value) { return range }
    let low = value < range.lowerBound ? value : value - range.count + 1
    let start = min(max(low, 0), max(limit - range.count, 0))
    return start..<min(start + range.count, limit)
  }

  /// Halves or doubles the window around the cursor, which stays where it is on the screen.
  mutating func zoom(by factor: Double) {
    let before = viewpoint.window
    viewpoint.window.queries = Self.zoomed(
      before.queries, by: factor, around: viewpoint.query, within: source.queries)
    viewpoint.window.keys = Self.zoomed(
      before.keys, by: factor, around: viewpoint.key, within: source.keys)
    if viewpoint.window == before {
      message = factor < 1 ? "This is as close as it gets." : "The whole map is shown."
    }
  }

  /// At least 8 tokens, at most all.
  static func zoomed(_ range: Range<Int>, by factor: Double, around value: Int, within limit: Int)
    -> Range<Int>
  {
    let size = min(limit, max(min(8, limit), Int((Double(range.count) * factor).rounded())))
    let share = Double(value - range.lowerBound) / Double(max(range.count, 1))
    let start = min(max(value - Int(share * Double(size)), 0), limit - size)
    return start..<start + size
  }

  /// Puts the cursor on a key, or says which there are.
  mutating func goTo(_ key: Int) {
    guard key >= 0, key < source.keys else {
      message = "There is no token \(key); they are 0 to \(source.keys - 1)."
      return
    }
    viewpoint.key = key
    followCursor()
  }

  /// Puts the cursor on a query row, or says which there are.
  mutating func goTo(query: Int) {
    guard query >= 0, query < source.queries else {
      message = "There is no query \(query); they are 0 to \(source.queries - 1)."
      return
    }
    viewpoint.query = query
    followCursor()
  }

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
    guard source.storedTile == nil || look.table(viewpoint.head)?.isFixed == false else {
      message = "This file stores a mask without margins: lambda has no effect on it."
      return
    }
    viewpoint.lambda = LambdaScale.step(viewpoint.lambda, decades: decades)
    if viewpoint.lambda == 1 { message = "lambda = 1 is the largest that has a meaning." }
    if viewpoint.lambda == 0 { message = "lambda = 0: dense, nothing is skipped." }
  }

  /// Another head of the layer.
  private mutating func stepHead(_ step: Int) {
    let wanted = viewpoint.head.head + step
    if wanted < 0 || wanted >= source.heads {
      message = "Heads are 0 to \(source.heads - 1); < > change the layer."
    }
    viewpoint.head.head = min(max(wanted, 0), source.heads - 1)
  }

  /// Another layer, the same head.
  private mutating func stepLayer(_ step: Int) {
    let wanted = viewpoint.head.layer + step
    if wanted < 0 || wanted >= source.layers.count {
      message = "This file has layers \(source.layers.map(String.init).joined(separator: ", "))."
    }
    viewpoint.head.layer = min(max(wanted, 0), source.layers.count - 1)
  }

  /// The next preset whose tile is not too fine for this map.
  private mutating func nextTile() {
    // Presets of equal tiles are one step, under both names.
    var steps: [(spec: TileSpec, names: [String])] = []
    for preset in TilePreset.all {
      let spec = source.queries == 1 && live == nil ? preset.decode : preset.prefill
      if let at = steps.firstIndex(where: { $0.spec == spec }) {
        steps[at].names.append(preset.name)
      } else {
        steps.append((spec, [preset.name]))
      }
    }
    let here =
      steps.firstIndex {
        ($0.spec.rows, $0.spec.keys) == (viewpoint.spec.rows, viewpoint.spec.keys)
      } ?? -1
    // A tile too fine for this map is passed over.
    let next =
      (1...steps.count).map { steps[(here + $0) % steps.count] }.first {
        source.blocks($0.spec) <= TileLimit.blocks
      }
      ?? steps[max(here, 0)]
    setSpec { ($0.rows, $0.keys, $0.vote) = (next.spec.rows, next.spec.keys, next.spec.vote) }
    guard source.storedTile == nil else { return }
    let names = next.names.joined(separator: ", ")
    message = "Tile \(next.spec.rows)x\(next.spec.keys) (\(names)): query rows that vote x keys."
  }

  /// Changes tile, vote, order, criterion or splits, unless they are given by the file or make too
  /// many blocks.
  mutating func setSpec(_ change: (inout TileSpec) -> Void) {
    guard source.storedTile == nil else {
      message = "This file stores masks: their tile, vote and order are given."
      return
    }
    var spec = viewpoint.spec
    change(&spec)
    guard source.blocks(spec) <= TileLimit.blocks else {
      message =
        "A tile of \(spec.rows)x\(spec.keys) makes \(source.blocks(spec)) blocks of this map; \(TileLimit.blocks) are the most."
      return
    }
    viewpoint.spec = spec
    let tiles = (source.keys - 1) / spec.keys + 1
    if spec.splits > tiles {
      message =
        "\(spec.splits) splits of \(tiles) key tiles: every tile is its own, and none is skipped."
    }
  }

  /// Another of the files opened together.
  private mutating func nextFile(_ step: Int) {
    guard sources.count > 1 else {
      message = "One file is open; attnscope A B opens two, :open FILE another."
      return
    }
    viewpoint.show((viewpoint.head.source + step) % sources.count, sources)
    clampCursor()
    message = "File \(viewpoint.head.source + 1) of \(sources.count): \(source.name)."
  }
}

/// Lambda moves in quarters of a decade from 1 down to 1e-10; below that it is 0, dense.
///
/// Steps land on whole quarters, wherever they began: lambda then has few values, and tables of lse
/// few to be made for.
enum LambdaScale {
  /// The lambda so many decades on.
  static func step(_ lambda: Double, decades: Double) -> Double {
    let smallest = -10.0
    if lambda <= 0 { return decades > 0 ? power(smallest) : 0 }
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
